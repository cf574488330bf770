"""Frames of stretches of real encoded videos, and their embeddings: which frames, once only, nothing lost silently."""

import logging

import numpy as np
import pytest
import torch

from tmor.errors import TmorError
from tmor.teachers.cache import embed_videos
from tmor.teachers.frames import normalised, read_stretches

av = pytest.importorskip("av")


def write_video(path, values, *, fps=10, side=32):
    """A lossless grey video; frame i is of brightness values[i]."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "bgr0"
        for value in values:
            image = np.full((side, side, 3), value, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        file.mux(stream.encode())
    return path


@pytest.fixture
def video(tmp_path):
    """Four seconds at 10 frames a second; the brightness is the number of the frame."""
    return write_video(tmp_path / "counting.mkv", range(40))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))


class Counting:
    """A teacher whose embedding of a clip is its frames' brightness."""

    name, hash, width, frames, size = "counting", "abc", 4, 4, 8

    def __init__(self):
        self.seen = []

    def encode_video(self, pixels):
        assert pixels.dtype == torch.uint8 and pixels.shape[1:] == (4, 3, 8, 8)
        self.seen.append(len(pixels))
        return pixels.float().mean(dim=(2, 3, 4)).numpy()


def brightness(path, stretches, *, frames=4):
    found = dict(read_stretches(path, stretches, frames=frames, size=8))
    return [None if found[i] is None else found[i][:, 0, 0, 0].tolist() for i in range(len(stretches))]


def test_frames_are_those_on_screen_in_the_middle_of_equal_parts(video):
    # Parts of 0.4 s have their middles at 0.2, 0.6, ...; frame i is on screen from i / 10 to (i + 1) / 10.
    assert brightness(video, [(0.05, 1.65)]) == [[2, 6, 10, 14]]
    assert brightness(video, [(0.05, 1.65), (1.05, 1.45), (0.05, 1.65)]) == [
        [2, 6, 10, 14],
        [11, 12, 13, 14],
        [2, 6, 10, 14],
    ]
    # Shorter than a frame: the same one again.
    assert brightness(video, [(2.01, 2.09)]) == [[20] * 4]


def test_a_stretch_may_end_with_the_last_frame_but_not_a_part_later(video):
    assert brightness(video, [(3.56, 3.96), (0.05, 3.95), (3.91, 3.99)]) == [
        [36, 37, 38, 39],
        [5, 15, 24, 34],
        [39] * 4,
    ]
    # Its last part, from 3.9 s, still begins on screen; from 4.0 s on nothing is.
    assert brightness(video, [(3.0, 4.2), (3.2, 4.3), (9.0, 10.0)]) == [[31, 34, 37, 39], None, None]


def test_the_whole_picture_is_squeezed_into_the_square(tmp_path):
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, :30, 0] = 255  # the left half is red
    image[:, 30:, 2] = 255
    with av.open(str(tmp_path / "wide.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 60, 20, "bgr0"
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        file.mux(stream.encode())
    ((_, pixels),) = read_stretches(tmp_path / "wide.mkv", [(0, 0.4)], frames=2, size=10)
    assert pixels is not None
    assert pixels[0, :, 5, :4].tolist() == [[255] * 4, [0] * 4, [0] * 4]
    assert pixels[0, :, 5, 6:].tolist() == [[0] * 4, [0] * 4, [255] * 4]


def test_normalised_bytes_are_the_usual_formula():
    pixels = torch.randint(256, (2, 4, 3, 5, 5), dtype=torch.uint8)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    own = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(normalised(pixels, mean, std), own)


@pytest.mark.parametrize("stretch", [(1.0, 1.0), (-0.1, 1.0), (2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_a_stretch_that_is_none_is_named_before_any_work(video, stretch):
    message = r"counting\.mkv: stretch from .* s to .* s; expected 0 <= start < end"
    with pytest.raises(TmorError, match=message):
        read_stretches(video, [stretch], frames=4, size=8)
    teacher = Counting()
    with pytest.raises(TmorError, match=message):
        embed_videos(teacher, [(video, 0.0, 1.0), (video, *stretch)])
    assert teacher.seen == []


def test_clips_are_embedded_once_in_batches_across_files(video, tmp_path):
    other = write_video(tmp_path / "other.mkv", range(100, 130))
    teacher = Counting()
    clips = [(video, 0.05, 1.65), (other, 0.05, 1.65), (video, 1.05, 1.45), (str(video), 0.05, 1.65)]
    expected = [[2, 6, 10, 14], [102, 106, 110, 114], [11, 12, 13, 14], [2, 6, 10, 14]]
    done = []
    rows = embed_videos(teacher, clips, batch=2, progress=lambda *said: done.append(said))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected)
    assert teacher.seen == [2, 1] and done[-1] == (4, 4)
    # By content: another name, another order, and one new clip.
    video = video.rename(tmp_path / "renamed.mkv")
    rows = embed_videos(teacher, [(video, 1.05, 1.45), (video, 2.0, 2.4), (video, 0.05, 1.65)])
    np.testing.assert_allclose(rows[[0, 2]], [expected[2], expected[0]])
    assert teacher.seen == [2, 1, 1]
    # Other weights are another teacher.
    teacher.hash = "abd"
    embed_videos(teacher, [(video, 1.05, 1.45)])
    assert teacher.seen == [2, 1, 1, 1]


def test_a_run_that_is_stopped_goes_on_where_it_was(video):
    class Stopping(Counting):
        def encode_video(self, pixels):
            if len(self.seen) == 2:
                raise KeyboardInterrupt
            return super().encode_video(pixels)

    clips = [(video, i / 10, i / 10 + 0.4) for i in range(20)]
    with pytest.raises(KeyboardInterrupt):
        embed_videos(Stopping(), clips, batch=4)
    teacher = Counting()
    rows = embed_videos(teacher, clips, batch=4)
    assert teacher.seen == [4, 4, 4]
    np.testing.assert_allclose(rows, embed_videos(Counting(), clips))


def test_what_can_not_be_embedded_is_nan_and_counted_by_reason(video, tmp_path, caplog):
    (tmp_path / "text.mp4").write_text("no video")
    clips = [
        (tmp_path / "gone.mp4", 0.0, 1.0),
        (video, 0.05, 1.65),
        (tmp_path / "text.mp4", 0.0, 1.0),
        (tmp_path / "text.mp4", 1.0, 2.0),
        (video, 9.0, 10.0),
    ]
    done = []
    with caplog.at_level(logging.WARNING, logger="tmor"):
        rows = embed_videos(Counting(), clips, progress=lambda *said: done.append(said))
    assert np.isnan(rows).all(axis=1).tolist() == [True, False, True, True, True]
    assert caplog.messages[-1] == (
        "4 of 5 clips have no video embedding (can't be read: 1, video ends before: 1, can't be decoded: 2)"
    )
    assert any("gone.mp4: there is no such file" in message for message in caplog.messages)
    assert any("text.mp4: can't be read as a video" in message for message in caplog.messages)
    assert done[-1] == (5, 5)


def test_a_damaged_teacher_is_no_reason_to_leave_clips_out(video):
    class Damaged(Counting):
        def encode_video(self, pixels):
            return super().encode_video(pixels) * np.nan

    with pytest.raises(TmorError, match="teacher 'counting' gives NaN or infinite embeddings; is its file damaged"):
        embed_videos(Damaged(), [(video, 0.05, 1.65)])
    np.testing.assert_allclose(embed_videos(Counting(), [(video, 0.05, 1.65)]), [[2, 6, 10, 14]])


def test_without_a_cache_all_is_computed(video, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "file"))
    teacher = Counting()
    for _ in range(2):
        np.testing.assert_allclose(embed_videos(teacher, [(video, 0.05, 1.65)]), [[2, 6, 10, 14]])
    assert teacher.seen == [1, 1]
    assert embed_videos(teacher, []).shape == (0, 4)


@pytest.mark.shared
def test_a_real_video_gives_pictures_that_change(shared_data):
    path = shared_data / "videos" / "stgcn_tai_chi.mp4"
    ((_, pixels),) = read_stretches(path, [(0.0, 10.0)], frames=8, size=224)
    assert pixels is not None and pixels.shape == (8, 3, 224, 224)
    change = pixels.float().diff(dim=0).abs().mean(dim=(1, 2, 3))
    assert float(change.min()) > 1 and 40 < float(pixels.float().mean()) < 220
