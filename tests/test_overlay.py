"""A video with skeletons on it: what is drawn is where the joints are, when they are there."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from test_pose import steady, times, write_video
from tmor.errors import FormatError, TmorError
from tmor.model.segments import Segment
from tmor.pose.videos import probe, read_frames
from tmor.serve import overlay
from tmor.serve.overlay import COLOURS, write_overlay
from tmor.serve.predict import TrackResult
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")

# head, nose, neck, chest, mid hip, then left and right: shoulder, elbow, wrist, hip, knee, ankle; y down
BODY = np.array(
    [
        *[(0, -50), (8, -48), (0, -35), (0, -20), (0, 0)],
        *[(15, -35), (-15, -35), (25, -20), (-25, -20), (25, 0), (-25, 0)],
        *[(10, 0), (-10, 0), (12, 25), (-12, 25), (12, 50), (-12, 50)],
    ],
    dtype=np.float32,
)
SIZE = (320, 240)


def person(points: np.ndarray, label: str = "wave", *, fps: float | None = 25.0, start_s: float = 0.0, id: str = "a"):
    """(frames, 17, 2) pixels of somebody who does one thing all the time."""
    track = Track(points, UNIK17, fps, start_s=start_s, id=id)
    end_s = start_s + len(track) / (fps or 30)
    return TrackResult(track, {label: 1.0}, (Segment(start_s, end_s, label, 1.0),))


def still(x: float, y: float, frames: int = 25) -> np.ndarray:
    return np.broadcast_to(np.add(BODY, (x, y)), (frames, 17, 2))


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def is_near(image: np.ndarray, at: np.ndarray, colour: str) -> bool:
    """Whether a pixel has about this colour; video blurs colours."""
    x, y = np.round(at).astype(int)
    spot = image[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
    return bool(np.abs(spot - rgb(colour)).max(axis=1).min() < 60)


def drawn(path: Path, video: Path, *results: TrackResult) -> list[np.ndarray]:
    write_overlay(path, video, results)
    return [frame.image for frame in read_frames(path)]


def changed(images: list[np.ndarray], video: Path) -> list[int]:
    """The frames on which something is drawn."""
    return [n for n, f in enumerate(read_frames(video)) if np.abs(images[n] - f.image.astype(int)).max() > 60]


@pytest.fixture
def video(tmp_path) -> Path:
    return write_video(tmp_path / "clip.mp4", steady(10), size=SIZE)


def test_bones_and_joints_are_drawn_where_they_are_and_nothing_else(tmp_path, video):
    points = still(200, 140)
    for image, frame in zip(drawn(tmp_path / "out.mp4", video, person(points)), read_frames(video), strict=True):
        assert image.shape == frame.image.shape
        for joint in points[0]:
            assert is_near(image, joint, COLOURS[0])
        for a, b in UNIK17.bone_indices:
            assert is_near(image, points[0][[a, b]].mean(axis=0), COLOURS[0])
        far = np.ones(SIZE[::-1], dtype=bool)
        far[60:200, 130:270] = False
        assert np.abs(image.astype(int) - frame.image)[far].max() < 50


def test_it_is_h264_that_any_player_shows(tmp_path):
    path = write_video(tmp_path / "clip.mkv", steady(5), size=SIZE, sound=True)
    drawn(tmp_path / "out.mp4", path, person(still(200, 140)))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video"], "sound is not copied"
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_a_variable_frame_rate_stays_variable(tmp_path):
    at = [0, 40, 80, 280, 300, 1000, 1001 + 333]
    video = write_video(tmp_path / "clip.mkv", at, size=SIZE)
    points = np.stack([np.add(BODY, (60 + 100 * t, 140)) for t in np.arange(25) / 15])
    images = drawn(tmp_path / "out.mp4", video, person(points, fps=15.0))
    assert times(tmp_path / "out.mp4") == times(video) == [t / 1000 for t in at]
    for image, ms in zip(images, at, strict=True):
        for joint in np.add(BODY, (60 + ms / 10, 140)):
            assert is_near(image, joint, COLOURS[0]), "between two poses, in the middle between them"


def test_rotation_is_respected(tmp_path):
    path = write_video(tmp_path / "clip.mp4", steady(5), size=SIZE, rotate=90)
    points = still(100, 200)
    image = drawn(tmp_path / "out.mp4", path, person(points))[0]
    assert image.shape == (320, 240, 3) and probe(tmp_path / "out.mp4").rotation_deg == 0
    assert all(is_near(image, joint, COLOURS[0]) for joint in points[0])


def test_odd_sizes_lose_a_pixel(tmp_path):
    path = write_video(tmp_path / "clip.mkv", steady(5), size=(321, 241), codec="ffv1", pix_fmt="bgr0")
    points = still(200, 140)
    image = drawn(tmp_path / "out.mp4", path, person(points))[0]
    assert image.shape == (240, 320, 3)
    assert all(is_near(image, joint, COLOURS[0]) for joint in points[0])


def test_people_are_drawn_while_they_are_there(tmp_path, video):
    """Poses at 12.5 per second of a video at 25: the last one lasts for two frames."""
    late = person(still(200, 140, frames=3), fps=12.5, start_s=0.08)
    assert changed(drawn(tmp_path / "out.mp4", video, late), video) == [2, 3, 4, 5, 6, 7]
    points = still(200, 140).copy()
    points[4:6] = np.nan
    assert changed(drawn(tmp_path / "gap.mp4", video, person(points)), video) == [0, 1, 2, 3, 6, 7, 8, 9]
    one = person(still(200, 140, frames=1), fps=None)
    assert changed(drawn(tmp_path / "one.mp4", video, one), video) == [0]
    assert changed(drawn(tmp_path / "none.mp4", video), video) == []
    away = person(still(-500, 140), id="away")
    assert changed(drawn(tmp_path / "away.mp4", video, away), video) == []


def test_unseen_joints_are_not_drawn_and_do_not_flicker(tmp_path, video):
    points = still(200, 140).copy()
    elbow, wrist = UNIK17.joints.index("left_elbow"), UNIK17.joints.index("left_wrist")
    points[:, wrist] = np.nan
    points[1::2, elbow] = np.nan
    images = drawn(tmp_path / "out.mp4", video, person(points, fps=8.0))
    assert not any(is_near(image, BODY[wrist] + (200, 140), COLOURS[0]) for image in images)
    seen = [is_near(image, BODY[elbow] + (200, 140), COLOURS[0]) for image in images]
    assert seen == [True, True, False, False, False, True, True, True, False, False], "as in the nearest pose"


def test_several_people_have_colours_and_names(tmp_path, video, monkeypatch):
    said = []
    monkeypatch.setattr(overlay, "_draw_plate", lambda p, text, colour, *_: said.append((text, colour)) or (0, 0, 0, 0))
    people = [
        person(still(80 * n, 140), label, id=id) for n, (id, label) in enumerate([("clip", "a"), ("clip#1", "b")])
    ]
    images = drawn(tmp_path / "out.mp4", video, *people)
    assert said == [("#0 a", COLOURS[0]), ("#1 b", COLOURS[1])] * len(images)
    said.clear()
    drawn(tmp_path / "named.mp4", video, people[0], person(still(160, 140), id="Anna"))
    assert [text for text, _ in said[:2]] == ["#0 a", "Anna wave"]
    said.clear()
    changes = TrackResult(people[0].track, {"a": 1}, (Segment(0, 0.2, "a", 1), Segment(0.28, 1, "b", 1)))
    drawn(tmp_path / "changes.mp4", video, changes)
    assert [text for text, _ in said] == ["a"] * 5 + ["b"] * 3, "one person needs no name, and no label is no plate"


def plates(image: np.ndarray, count: int, text: str, at: list[tuple[float, float]]) -> list[tuple]:
    """Where the plates of people that stand there lie."""
    from PIL import Image

    pen = overlay._Pen.of_size(image.shape[1], image.shape[0])
    picture, found = Image.fromarray(image), []
    for x, y in at[:count]:
        box = (x - 25, y - 50, x + 25, y + 50)
        found.append(overlay._draw_plate(picture, text, COLOURS[0], box, found, pen))
    return found


@pytest.mark.parametrize("size", [(340, 256), (1920, 1080), (64, 48)])
def test_plates_stay_in_the_picture_and_off_each_other(size):
    width, height = size
    blank = np.zeros((height, width, 3), np.uint8)
    crowd = [(x * width, y * height) for x in (0, 0.5, 1) for y in (0.1, 0.9)]
    found = plates(blank, 6, "#1 raise both arms above the head, then " + "on and on " * 40, crowd)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if height > 200:
        for n, a in enumerate(found):
            for b in found[:n]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_letters_are_legible_at_any_size():
    assert overlay._Pen.of_size(340, 256).font.size >= 12
    assert overlay._Pen.of_size(1920, 1080).font.size == overlay._Pen.of_size(1080, 1920).font.size >= 32


def test_ink_stands_out_on_every_colour():
    """WCAG 2 asks for a contrast of 4.5."""

    def luminance(colour: str) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour) / 255]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for colour in COLOURS:
        a, b = sorted((luminance(colour), luminance(overlay._ink(colour))))
        assert (b + 0.05) / (a + 0.05) >= 4.5


def test_nothing_is_left_of_work_that_was_stopped(tmp_path, video):
    seen = []

    class StopError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))
        if done > 100:
            raise StopError

    with pytest.raises(StopError):
        write_overlay(tmp_path / "out.mp4", video, [person(still(200, 140))], progress=stop)
    assert seen == [("drawing", 0, 400), ("drawing", 40, 400), ("drawing", 80, 400), ("drawing", 120, 400)]
    assert list(tmp_path.iterdir()) == [video]


def test_what_can_not_be_drawn_on(tmp_path, video):
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "poses.json").write_text("{}")
    flat, deep = person(still(1, 1)), TrackResult(Track(np.zeros((2, 17, 3)), UNIK17, 30.0, id="d"), {"a": 1.0}, ())
    out = tmp_path / "out.mp4"
    for path, source, who, message in (
        (tmp_path / "there.mp4", video, flat, f"{tmp_path / 'there.mp4'}: exists already; choose another name"),
        (tmp_path / "out.avi", video, flat, f"{tmp_path / 'out.avi'}: the name ends in '.avi'; expected .mp4"),
        (out, video, deep, f"track 'd' is 3D; expected 2D in pixels of {video}"),
        (out, tmp_path / "poses.json", flat, "poses.json: can't be read as a video"),
    ):
        with pytest.raises(TmorError) as error:
            write_overlay(path, source, [who])
        assert message in str(error.value)
    assert (tmp_path / "there.mp4").read_text() == "mine" and not out.exists()
    with pytest.raises(FormatError):
        write_overlay(out, tmp_path / "absent.mp4", [])


def test_memory_does_not_grow_with_length(tmp_path):
    peaks = []
    for frames in (20, 120):
        path = write_video(tmp_path / f"{frames}.mp4", steady(frames), size=SIZE)
        results = [person(still(200, 140, frames=frames))]
        tracemalloc.start()
        write_overlay(tmp_path / f"out{frames}.mp4", path, results)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4 * SIZE[0] * SIZE[1] * 3


@pytest.mark.slow
@pytest.mark.shared
def test_thirty_people_on_a_real_video(shared_data, tmp_path):
    path = shared_data / "videos" / "stgcn_tai_chi.mp4"
    if not path.is_file():
        pytest.skip(f"not there: {path}")
    people = [person(still(11 * n, 60 + 5 * n), "walk", id=f"stgcn_tai_chi#{n}") for n in range(30)]
    write_overlay(tmp_path / "out.mp4", path, people)
    assert times(tmp_path / "out.mp4") == pytest.approx(times(path), abs=1e-3)
