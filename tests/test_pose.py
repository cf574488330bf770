"""From pixels to tracks: video files made here, people made up here; real videos and models where they are at hand."""

import dataclasses
import logging
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import tmor.pose as pose
from tmor.config import cache_folder
from tmor.errors import FormatError, TmorError
from tmor.pose import videos
from tmor.pose.estimators import MAX_PEOPLE, MEDIAPIPE, People, check_estimator, load_estimator
from tmor.pose.tracking import follow
from tmor.pose.videos import VideoInfo, content_id, probe, read_frames
from tmor.skeleton.layouts import LAYOUTS

EXPECTED = "expected a video file (MP4, MOV, MKV, WebM, AVI, MPEG, ...)"


# ---- video files


def picture(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A grey picture whose left upper quarter is red, to see which way up it is."""
    image = np.full((height, width, 3), level, dtype=np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    return image


def write_video(
    path: Path,
    times_ms: list[int],
    *,
    codec: str = "mpeg4",
    size: tuple[int, int] = (64, 48),
    rotate: int = 0,
    sound: bool = False,
    pix_fmt: str = "yuv420p",
    **options: str,
) -> Path:
    """A video with frames at these times, in milliseconds."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    with av.open(str(path), "w") as container:
        if size:
            stream = container.add_stream(codec, rate=Fraction(25), options=options)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.codec_context.time_base = Fraction(1, 1000)
            if rotate:
                stream.set_display_rotation(rotate)
        if sound:
            voice = container.add_stream("aac", rate=16000)
            for packet in voice.encode(silence(av)):
                container.mux(packet)
            container.mux(voice.encode(None))
        if size:
            for i, time_ms in enumerate(times_ms):
                frame = av.VideoFrame.from_ndarray(picture(100 + i % 100, *size), format="rgb24").reformat(
                    format=pix_fmt
                )
                frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            if times_ms:
                container.mux(stream.encode(None))
    return path


def silence(av):
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    frame.pts = 0
    return frame


def steady(frames: int, step_ms: int = 40) -> list[int]:
    return [i * step_ms for i in range(frames)]


def times(path: Path, **how: float) -> list[float]:
    return [round(frame.time_s, 4) for frame in read_frames(path, **how)]


def fails(path: Path, message: str) -> None:
    """Probing and reading fail alike, with exactly this message after the path."""
    for read in (probe, lambda p: list(read_frames(p))):
        with pytest.raises(FormatError) as error:
            read(path)
        assert str(error.value) == f"{path}{message}"


def test_a_video_is_probed(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(10))
    assert probe(path) == VideoInfo(64, 48, 25.0, 0.4, 10, 0)


def test_frames_come_with_their_times_upright_and_in_rgb(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(10))
    frames = list(read_frames(path))
    assert [round(f.time_s, 3) for f in frames] == [t / 1000 for t in steady(10)]
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    red = frames[0].image[5:15, 5:15].mean(axis=(0, 1))
    assert red[0] > 200 and red[1] < 60 and red[2] < 60
    np.testing.assert_allclose(frames[0].image[40, 50], 100, atol=6)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_frame_rate_stays_variable(tmp_path, suffix):
    path = write_video(tmp_path / f"a.{suffix}", [0, 40, 80, 280, 300, 1000])
    assert times(path) == [0, 0.04, 0.08, 0.28, 0.3, 1.0]


def test_some_frames_only(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(25))
    assert times(path, every_s=0.2) == [0, 0.2, 0.4, 0.6, 0.8]
    # 25 frames a second on a beat of 15: every second one
    assert times(path, every_s=1 / 15)[:4] == [0, 0.08, 0.16, 0.24]
    assert times(path, every_s=9) == [0]
    # after a pause the beat starts anew: no burst of frames to catch up
    assert times(write_video(tmp_path / "b.mkv", [0, 40, 2000, 2040, 2080, 2120]), every_s=0.08) == [0, 2.0, 2.08]
    for wrong in (0, -1, float("nan")):
        with pytest.raises(TmorError, match=r"every_s is .*; expected a positive number of seconds, or None for every"):
            read_frames(path, every_s=wrong)


@pytest.mark.parametrize(("degrees", "corner"), [(90, "bottom left"), (180, "bottom right"), (270, "top right")])
def test_rotation_is_undone(tmp_path, degrees, corner):
    path = write_video(tmp_path / "a.mp4", steady(3), rotate=degrees)
    image = next(read_frames(path)).image
    info = probe(path)
    assert info.rotation_deg == degrees
    assert (info.height, info.width) == image.shape[:2] == ((64, 48) if degrees % 180 else (48, 64))
    rows = {"top": slice(4, 14), "bottom": slice(-14, -4)}[corner.split()[0]]
    columns = {"left": slice(4, 14), "right": slice(-14, -4)}[corner.split()[1]]
    assert image[rows, columns, 1].mean() < 60
    assert image[image.shape[0] // 2 :, :, 1].mean() + image[: image.shape[0] // 2, :, 1].mean() > 120


def test_no_duration_and_no_times(tmp_path):
    path = write_video(tmp_path / "a.h264", steady(10), codec="libx264")
    info = probe(path)
    assert (info.duration_s, info.frames) == (None, None)
    found = times(path)
    assert len(found) == 10 and found[0] == 0
    np.testing.assert_allclose(np.diff(found), 0.04, atol=1e-3)


def test_times_count_from_the_start_of_the_file(tmp_path):
    # MPEG-TS begins its clock at 1.4 s
    assert times(write_video(tmp_path / "a.ts", steady(6)))[:3] == [0, 0.04, 0.08]


def test_avi_with_reordered_frames(tmp_path):
    path = write_video(tmp_path / "a.avi", steady(30), codec="libx264", bf="2")
    found = times(path)
    assert len(found) == 30
    np.testing.assert_allclose(np.diff(found), 0.04, atol=1e-3)


def test_a_change_of_size_keeps_the_first(tmp_path):
    small = write_video(tmp_path / "small.h264", steady(5), codec="libx264")
    large = write_video(tmp_path / "large.h264", steady(5), codec="libx264", size=(128, 96))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    shapes = [frame.image.shape for frame in read_frames(both)]
    assert len(shapes) >= 8 and set(shapes) == {(48, 64, 3)}


def test_a_missing_end_is_logged_and_the_rest_counts(tmp_path, caplog):
    path = write_video(tmp_path / "a.mkv", steady(100), codec="mjpeg", pix_fmt="yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = times(path)
    assert 30 < len(found) < 70 and found[:2] == [0, 0.04]
    assert re.search(rf"{re.escape(str(path))}: ends at \d\.\d s, though it says that it lasts 4.0 s", caplog.text)


def test_a_damaged_middle_is_logged_and_the_rest_counts(tmp_path, caplog):
    path = write_video(tmp_path / "a.avi", steady(50), codec="png", pix_fmt="rgb24")
    content = bytearray(path.read_bytes())
    spot = [match.start() for match in re.finditer(b"IDAT", content)][25]
    content[spot + 4 : spot + 40] = bytes(36)
    path.write_bytes(content)
    found = times(path)
    assert found == [i / 25 for i in range(50) if i / 25 in found] and len(found) == 49
    assert f"{path}: 1 damaged pieces could not be decoded and are left out" in caplog.text


def test_what_is_not_a_video(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    text = tmp_path / "a.mp4"
    text.write_text("These are not the pictures")
    fails(
        text,
        ": can't be read as a video: Invalid data found when processing input "
        f"(26 bytes that begin b'These are not th'); {EXPECTED}",
    )
    (tmp_path / "empty.mp4").touch()
    fails(tmp_path / "empty.mp4", f": the file is empty; {EXPECTED}")
    fails(tmp_path / "absent.mp4", f": there is no such file; {EXPECTED}")
    fails(tmp_path, f": is a folder; {EXPECTED}")


def test_sound_alone(tmp_path):
    path = write_video(tmp_path / "a.m4a", [], size=(), sound=True)  # type: ignore[arg-type]
    fails(path, f": has no pictures, only audio (aac); {EXPECTED}")


def test_a_file_cut_off_before_its_index(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(50))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    begin = content[:16]
    fails(
        path,
        f": can't be read as a video: the file may be cut off ({len(content) // 2} bytes that begin {begin!r}); "
        f"{EXPECTED}",
    )


def test_no_frames(tmp_path):
    path = write_video(tmp_path / "a.avi", steady(3), codec="mjpeg", pix_fmt="yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])
    fails(path, f": not one frame can be decoded (its video is mjpeg, 64x48); {EXPECTED}")


def test_absurd_sizes(tmp_path, monkeypatch):
    dot = write_video(tmp_path / "dot.mkv", steady(2), codec="ffv1", size=(1, 1), pix_fmt="bgr0")
    fails(dot, ": its pictures are 1x1; expected at least 16 pixels a side")
    path = write_video(tmp_path / "a.mp4", steady(2))
    monkeypatch.setattr(videos, "MAX_PIXELS", 1000)
    fails(path, ": its pictures are 64x48; expected at most 1000 pixels (8K)")


def test_a_playlist_can_not_make_us_open_other_files(tmp_path):
    secret = write_video(tmp_path / "secret.ts", steady(5))
    path = tmp_path / "a.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(FormatError, match="can't be read as a video"):
        probe(path)
    path.write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    with pytest.raises(FormatError, match="can't be read as a video"):
        probe(path)


def test_frames_faster_than_any_camera_are_left_out(tmp_path, caplog):
    assert times(write_video(tmp_path / "a.mkv", [0, 1, 2, 3, 40, 80])) == [0, 0.04, 0.08]
    assert "3 frames are left out, whose times do not come after those before" in caplog.text


def test_memory_does_not_grow_with_length(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(150), size=(320, 240))
    tracemalloc.start()
    for _ in read_frames(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 320 * 240 * 3


def test_the_content_makes_the_id(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    assert content_id(tmp_path / "a") == content_id(tmp_path / "b")
    assert content_id(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- tracking

SHAPE = np.random.default_rng(0).uniform((-25, -50), (25, 50), size=(17, 2)).astype(np.float32)


def body(x: float, y: float = 100, shape: np.ndarray = SHAPE) -> np.ndarray:
    """(17, 2) pixels of a person 100 tall."""
    return shape + np.array([x, y], dtype=np.float32)


def people(*bodies: np.ndarray, scores: list[float] | float = 0.9) -> People:
    points = np.array(bodies, dtype=np.float32).reshape(-1, 17, 2)
    level = np.broadcast_to(np.asarray(scores, dtype=np.float32).reshape(-1, 1), (len(points), 17)).copy()
    boxes = [[*p.min(0), *p.max(0)] for p in points]
    return People(points, level, np.array(boxes, dtype=np.float32).reshape(-1, 4))


def test_one_person_walks():
    found = follow([(i / 10, people(body(5 * i))) for i in range(20)], layout="coco17", id="clip")
    (track,) = found.tracks
    assert (track.id, track.fps, track.start_s, len(track)) == ("clip", pytest.approx(10), 0.0, 20)
    np.testing.assert_array_equal(track.keypoints[7], body(35))
    np.testing.assert_allclose(track.scores, 0.9)
    assert dataclasses.asdict(found.report) == {
        "pictures": 20,
        "people": 20,
        "bridged": 0,
        "suspected_switches": 0,
        "dropped_people": {},
        "dropped_tracks": {},
    }


@pytest.mark.parametrize("fps", [5, 15, 30])
def test_people_who_cross_keep_their_identity(fps):
    """They pass in 3 seconds, and are one heap in the middle, where the estimator finds only one of them."""
    other = SHAPE * np.array([-1, 1], dtype=np.float32)
    frames = []
    for i in range(3 * fps):
        x = 400 * i / (3 * fps)
        both = [body(x), body(400 - x, shape=other)]
        frames.append((i / fps, people(*(both if abs(x - 200) > 12 else both[:1]))))
    found = follow(frames, layout="coco17")
    assert [len(t) for t in found.tracks] == [3 * fps] * 2
    ends = {round(float(np.nanmean(t.keypoints[-1, :, 0] - t.keypoints[0, :, 0]))) for t in found.tracks}
    travelled = round(400 * (3 * fps - 1) / (3 * fps))
    assert ends == {travelled, -travelled}
    assert found.report.suspected_switches == 0


def test_a_gap_is_bridged_and_stays_nan():
    frames = [(i / 10, people(body(3 * i)) if not 8 <= i < 15 else people()) for i in range(30)]
    found = follow(frames, layout="coco17")
    (track,) = found.tracks
    assert len(track) == 30 and found.report.bridged == 1
    assert np.isnan(track.keypoints[8:15]).all()
    assert not np.isnan(track.keypoints[:8]).any() and not np.isnan(track.keypoints[15:]).any()
    assert (track.scores[8:15] == 0).all()


def test_who_is_away_for_longer_is_somebody_else():
    frames = [(i / 10, people(body(0)) if not 10 <= i < 25 else people()) for i in range(40)]
    found = follow(frames, layout="coco17")
    assert [(t.id, t.start_s, len(t)) for t in found.tracks] == [("person", 0.0, 10), ("person#1", 2.5, 15)]
    assert len(follow(frames, layout="coco17", bridge_s=2).tracks) == 1


def test_who_comes_back_elsewhere_is_somebody_else():
    frames = [(i / 10, people(body(0 if i < 10 else 500))) for i in range(20)]
    assert [len(t) for t in follow(frames, layout="coco17").tracks] == [10, 10]


def test_ghosts_are_dropped_and_counted():
    frames = []
    for i in range(40):
        here = [body(0), body(600)]
        scores = [0.9, 0.45 if i == 0 else 0.25]
        if 10 <= i < 13:
            here.append(body(300))
            scores.append(0.8)
        if i == 20:
            here.append(body(900))
            scores.append(0.3)
        frames.append((i / 10, people(*here, scores=scores)))
    found = follow(frames, layout="coco17")
    assert [t.id for t in found.tracks] == ["person"]
    assert found.report.dropped_tracks == {"seen for less than 0.5 s": 1, "mean score below 0.4": 1}
    assert found.report.dropped_people == {"unsure, and nobody's continuation": 1}


def test_a_short_video_is_not_a_ghost():
    found = follow([(i / 10, people(body(0))) for i in range(3)], layout="coco17")
    assert [len(t) for t in found.tracks] == [3]
    (track,) = follow([(4.0, people(body(0)))], layout="coco17").tracks
    assert (len(track), track.fps, track.start_s) == (1, None, 4.0)
    assert follow([], layout="coco17").tracks == []
    assert follow([(0.0, people()), (0.1, people())], layout="coco17").tracks == []


def test_a_person_found_twice_is_one():
    frames = [(i / 10, people(body(0), body(2), scores=[0.9, 0.5])) for i in range(10)]
    found = follow(frames, layout="coco17")
    assert len(found.tracks) == 1 and found.report.dropped_people == {"found twice": 10}
    np.testing.assert_array_equal(found.tracks[0].keypoints[0], body(0))


def test_unsure_joints_are_unseen():
    one = people(body(0))
    one.scores[0, 3] = 0.1
    (track,) = follow([(i / 10, one) for i in range(10)], layout="coco17").tracks
    assert np.isnan(track.keypoints[:, 3]).all() and not np.isnan(track.keypoints[:, 4]).any()


def test_thirty_people():
    rng = np.random.default_rng(0)
    shapes = [rng.uniform((-25, -50), (25, 50), size=(17, 2)) for _ in range(30)]
    frames = []
    for i in range(30):
        order = rng.permutation(30)  # an estimator has no order of its own
        frames.append((i / 15, people(*(body(60 * (j % 10) + 2 * i, 120 * (j // 10), shapes[j]) for j in order))))
    found = follow(frames, layout="coco17")
    assert len(found.tracks) == 30 and all(len(t) == 30 for t in found.tracks)
    for track in found.tracks:  # everybody keeps their shape
        centred = track.keypoints - track.keypoints.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(centred, np.broadcast_to(centred[:1], centred.shape), atol=1e-3)
    assert found.report.suspected_switches == 0


def test_beyond_a_hundred_people_the_surest_count():
    many = people(*(body(80 * i) for i in range(105)), scores=np.linspace(0.99, 0.6, 105).tolist())
    found = follow([(i / 10, many) for i in range(6)], layout="coco17")
    assert len(found.tracks) == 100 and found.report.dropped_people == {"beyond 100 in a picture": 30}


def test_a_variable_rate_becomes_constant():
    at = np.cumsum([0, *[0.04, 0.04, 0.12] * 10])
    found = follow([(t, people(body(100 * t))) for t in at.tolist()], layout="coco17")
    (track,) = found.tracks
    assert track.fps == pytest.approx(25)
    moved = np.nanmean(track.keypoints[..., 0], axis=1)
    np.testing.assert_allclose(np.diff(moved), 4, atol=1e-2)
    np.testing.assert_allclose(track.scores, 0.9, atol=1e-5)


def test_rounded_times_are_not_interpolated():
    at = np.round(np.arange(60) / 30, 3)  # as Matroska has them
    (track,) = follow([(t, people(body(i))) for i, t in enumerate(at.tolist())], layout="coco17").tracks
    assert track.fps == pytest.approx(30, rel=1e-3)
    np.testing.assert_array_equal(track.keypoints[33], body(33))


def test_an_exchange_is_suspected():
    """From one picture to the next each of two neighbours stands in the other's pose."""
    other = SHAPE * np.array([-1, 1], dtype=np.float32)
    before = people(body(0), body(30, shape=other))
    after = people(body(0, shape=other), body(30))
    found = follow([(i / 10, before if i < 10 else after) for i in range(20)], layout="coco17")
    assert len(found.tracks) == 2 and found.report.suspected_switches == 1
    assert follow([(i / 10, before) for i in range(20)], layout="coco17").report.suspected_switches == 0


def test_what_can_not_be_followed():
    with pytest.raises(TmorError) as error:
        follow([(0.0, people(body(0)))], layout="ntu25")
    assert str(error.value) == "picture 0 has people of 17 joints; layout 'ntu25' has 25"
    with pytest.raises(TmorError) as error:
        follow([(0.0, people()), (0.0, people())], layout="coco17")
    assert str(error.value) == "picture 1 is at 0.0 s, after one at 0.0 s; expected increasing times"


# ---- from a file to tracks


class Walker:
    """Finds somebody who walks to the right by 50 pixels a second, and counts how often it is asked."""

    name, layout = "walker", "coco17"

    def __init__(self, hash: str = "1") -> None:
        self.hash = hash
        self.asked = 0

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        self.asked += 1
        return people(body(50 * time_s))

    def close(self) -> None:
        pass


@pytest.fixture
def clip(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    return write_video(tmp_path / "clip.mp4", steady(50))


def same_result(a: pose.PoseResult, b: pose.PoseResult) -> None:
    assert (a.info, a.report) == (b.info, b.report)
    assert [(t.id, t.fps, t.start_s) for t in a.tracks] == [(t.id, t.fps, t.start_s) for t in b.tracks]
    for one, other in zip(a.tracks, b.tracks, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_people_are_found_and_the_second_time_nothing_is_decoded(clip, monkeypatch):
    walker, done = Walker(), []
    first = pose.find_people(clip, walker, progress=lambda at, of: done.append((round(at, 2), of)))
    (track,) = first.tracks
    assert (track.id, track.start_s, first.info.width, first.cached) == ("clip", 0.0, 64, False)
    assert track.fps == pytest.approx(12.5)
    assert done[0] == (0, 2.0) and done[-1][0] > 1.8 and len(done) == walker.asked == 25
    for gone in ("read_frames", "probe"):
        monkeypatch.delattr(pose, gone)
    again = pose.find_people(clip, walker)
    assert again.cached and walker.asked == 25
    same_result(first, again)
    moved = clip.rename(clip.with_name("moved.mp4"))
    assert pose.find_people(moved, walker).tracks[0].id == "moved" and walker.asked == 25


def test_the_cache_is_per_estimator_and_pace(clip):
    pose.find_people(clip, Walker("1"))
    for how in ({}, {"every_s": None}, {"every_s": 0.2}):
        other = Walker("2")
        assert not pose.find_people(clip, other, **how).cached
        assert pose.find_people(clip, other, **how).cached
    once = Walker("1")
    assert not pose.find_people(clip, once, cache=False).cached and once.asked == 25


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def of_a_later_version(content: bytes) -> bytes:
    """A zip whose members need a version of the format that nobody has."""
    return content.replace(b"PK\x01\x02\x14\x03\x14\x00", b"PK\x01\x02\x14\x03\xbb\x00").replace(
        b"PK\x01\x02-\x03-\x00", b"PK\x01\x02-\x03\xbb\x00"
    )


def test_a_damaged_cache_is_made_anew(clip, caplog):
    first = pose.find_people(clip, Walker())
    (kept,) = (cache_folder() / "poses").iterdir()
    good = dict(np.load(kept))
    content = kept.read_bytes()

    def arrays(**changed: np.ndarray) -> None:
        np.savez(kept, **(good | changed))

    for damage in (
        lambda: kept.write_bytes(content[:100]),
        lambda: kept.write_bytes(b""),
        lambda: kept.write_bytes(content[:-200] + bytes(200)),
        lambda: kept.write_bytes(of_a_later_version(content)),
        lambda: arrays(people=good["people"] + 1),
        lambda: arrays(keypoints=good["keypoints"].astype(np.float64)),
        lambda: arrays(times_s=good["times_s"][::-1]),
        lambda: arrays(version=np.array(99)),
        lambda: arrays(info=np.array("[]")),
        lambda: arrays(keypoints=np.array([Bomb()], dtype=object)),
        lambda: np.savez(kept, version=np.array(1)),
    ):
        damage()
        caplog.clear()
        again = pose.find_people(clip, Walker())
        assert not again.cached and f"{kept}: cached poses can't be used and are found anew" in caplog.text
        same_result(first, again)
        assert pose.find_people(clip, Walker()).cached


def test_a_cache_that_can_not_be_written_is_no_error(clip, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "file"))
    assert len(pose.find_people(clip, Walker()).tracks) == 1


def test_progress_can_stop_the_work(clip):
    class StopError(Exception):
        pass

    def stop(at: float, of: float | None) -> None:
        if at > 1:
            raise StopError

    with pytest.raises(StopError):
        pose.find_people(clip, Walker(), progress=stop)
    assert not (cache_folder() / "poses").exists()


def test_nobody_is_in_it(clip):
    class Blind(Walker):
        def __call__(self, image: np.ndarray, time_s: float) -> People:
            return people()

    result = pose.find_people(clip, Blind())
    assert result.tracks == [] and result.report.pictures == 25
    assert pose.find_people(clip, Blind()).cached


# ---- estimators


def test_unknown_estimators():
    for use in (load_estimator, check_estimator):
        with pytest.raises(TmorError) as error:
            use("openpose")
        assert str(error.value) == (
            "unknown pose estimator 'openpose'; expected mediapipe, rtmlib, rtmlib:lightweight, rtmlib:performance, "
            "rtmo, or the path of an .onnx model or a folder of them"
        )


def test_known_estimators(tmp_path):
    """Nothing is loaded: whether they are installed shows later."""
    for name in ("mediapipe", "rtmlib", "rtmlib:lightweight", "rtmo:balanced", "rtmo:performance", tmp_path):
        check_estimator(name)
    for name in ("mediapip", "rtmlib:", "rtmlib:huge", "rtmo:balanced:", "mediapipe:lightweight", tmp_path / "no.onnx"):
        with pytest.raises(TmorError, match="unknown pose estimator"):
            check_estimator(name)


def test_mediapipe_in_another_release(monkeypatch):
    how = f"pip install 'tmor[pose-offline]', then pip install --no-deps mediapipe=={MEDIAPIPE}"
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.2")
    with pytest.raises(TmorError) as error:
        load_estimator("mediapipe")
    assert str(error.value) == f"mediapipe 1.2.2 is installed, which can't find people without a network; {how}"


@pytest.fixture
def rtmlib():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra pose)")
    pytest.importorskip("onnx", reason="onnx is not installed")
    return pytest.importorskip("rtmlib", reason="rtmlib is not installed (extra pose)")


def constant_model(path: Path, height: int, width: int, **outputs: np.ndarray) -> Path:
    """A model that answers the same to every picture."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value.astype(np.float32)))
        for name, value in outputs.items()
    ]
    given = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, height, width])]
    answers = [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in outputs.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "constant", given, answers), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    checker.check_model(model)
    save(model, path)
    return path


def rtmo(path: Path, *, score: float = 0.9) -> Path:
    """One sure person (at x = 10 + joint, y = 20) and one unsure of a 64x64 picture."""
    boxes = np.array([[[5, 10, 30, 40, score], [40, 40, 60, 60, 0.1]]])
    points = np.zeros((1, 2, 17, 3))
    points[..., 0] = 10 + np.arange(17)
    points[..., 1], points[..., 2] = 20, 0.8
    return constant_model(path, 64, 64, dets=boxes, keypoints=points)


def test_rtmo_from_a_file(tmp_path, rtmlib, capsys):
    estimator = load_estimator(rtmo(tmp_path / "mine.onnx"))
    assert (estimator.name, estimator.layout) == ("rtmlib (mine)", "coco17")
    found = estimator(np.zeros((128, 128, 3), dtype=np.uint8), 0.0)  # twice the model's size
    assert len(found) == 1
    np.testing.assert_allclose(found.keypoints[0, :, 0], 2 * (10 + np.arange(17)))
    np.testing.assert_allclose(found.keypoints[0, :, 1], 40)
    np.testing.assert_allclose(found.scores, 0.8)
    np.testing.assert_allclose(found.boxes, [[20, 40, 52, 40]])
    assert capsys.readouterr().out == ""
    other = load_estimator(rtmo(tmp_path / "other.onnx", score=0.2))
    assert other.hash != estimator.hash
    assert len(other(np.zeros((48, 64, 3), dtype=np.uint8), 0.0)) == 0
    estimator.close()


def test_rtmpose_with_a_detector_from_a_folder(tmp_path, rtmlib):
    boxes = np.array([[[16, 16, 48, 48, 0.9]]])
    constant_model(tmp_path / "yolox_tiny.onnx", 64, 64, dets=boxes)
    x, y = np.zeros((1, 17, 96)), np.zeros((1, 17, 128))  # two bins a pixel
    x[:, :, 48] = y[:, :, 64] = 1.7  # the middle; scores beyond 1 happen
    constant_model(tmp_path / "rtmpose-s.onnx", 64, 48, simcc_x=x, simcc_y=y)
    estimator = load_estimator(tmp_path)
    found = estimator(np.zeros((64, 64, 3), dtype=np.uint8), 0.0)
    np.testing.assert_allclose(found.keypoints, np.full((1, 17, 2), 32), atol=1e-4)
    assert (found.scores == 1).all()
    constant_model(tmp_path / "yolox_tiny.onnx", 64, 64, dets=boxes * [1, 1, 1, 1, 0.1])
    assert len(load_estimator(tmp_path)(np.zeros((64, 64, 3), dtype=np.uint8), 0.0)) == 0


def test_models_that_are_not_what_is_needed(tmp_path, rtmlib):
    with pytest.raises(TmorError) as error:
        load_estimator(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: holds no .onnx; expected one rtmo*.onnx, or one rtmpose*.onnx and one yolox*.onnx"
    )
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(FormatError, match=r"bad\.onnx: not a model that ONNX Runtime can read"):
        load_estimator(tmp_path / "bad.onnx")


def test_models_that_can_not_be_fetched(monkeypatch, rtmlib):
    import rtmlib.tools.file

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(rtmlib.tools.file, "download_checkpoint", no_network)
    with pytest.raises(TmorError) as error:
        load_estimator("rtmo:lightweight")
    assert str(error.value) == (
        "pose model rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211.zip is not on this machine and can't be fetched "
        "(no route to host); bring it here from a machine with a network, unpack its .onnx and pass the path of a "
        "folder with it in place of 'rtmo', or use the offline estimator 'mediapipe' (extra pose-offline)"
    )


@pytest.fixture(scope="module")
def mediapipe():
    try:
        estimator = load_estimator("mediapipe")
    except TmorError as error:
        pytest.skip(str(error))
    yield estimator
    estimator.close()


def test_mediapipe_sees_nobody_in_noise(mediapipe):
    rng = np.random.default_rng(0)
    for i, size in enumerate([(48, 64), (32, 900), (240, 320)]):
        found = mediapipe(rng.integers(0, 255, size=(*size, 3), dtype=np.uint8), float(i))
        assert len(found) == 0 and found.keypoints.shape == (0, 33, 2)
    assert mediapipe.layout in LAYOUTS and len(LAYOUTS[mediapipe.layout]) == 33 and MAX_PEOPLE >= 30


# What a person sees, by shared/data/videos/README.md: file, seconds to look at, people who are there throughout.
REAL = [
    ("felix_exercise.avi", 3),
    ("pyskl_ntu_sample.avi", 2),
    ("stgcn_clean_and_jerk.mp4", 1),
    ("stgcn_tai_chi.mp4", 1),
]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("name", "expected"), REAL)
def test_real_people_with_the_offline_estimator(shared_data, mediapipe, tmp_path, monkeypatch, name, expected):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path))
    path = shared_data / "videos" / name
    if not path.is_file():
        pytest.skip(f"not there: {path}")
    result = pose.find_people(path, mediapipe)
    assert len(result.tracks) == expected
    assert result.info.duration_s is not None
    for track in result.tracks:
        assert track.duration_s == pytest.approx(result.info.duration_s, rel=0.1)
        assert track.missing_share < 0.1
    assert pose.find_people(path, mediapipe).cached


@pytest.mark.slow
@pytest.mark.shared
def test_people_whose_bodies_are_outside_of_the_picture(shared_data, mediapipe, tmp_path, monkeypatch, caplog):
    """Two arm-wrestlers, cut off by the frame on all sides: the offline estimator can't tell them from the crowd."""
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path))
    path = shared_data / "videos" / "mmaction2_demo.mp4"
    if not path.is_file():
        pytest.skip(f"not there: {path}")
    with caplog.at_level(logging.WARNING, "tmor"):
        result = pose.find_people(path, mediapipe)
    assert result.report.pictures == 140 and 1 <= len(result.tracks) <= 10
