"""Watching live: who is who picture by picture, sources that break, the same segments as from a file, the command."""

import io
import itertools
import json
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tmor import cli
from tmor.errors import FormatError, TmorError
from tmor.model.checkpoint import load_model
from tmor.model.model import Model
from tmor.model.segments import Segment
from tmor.pose import cameras, find_people
from tmor.pose.cameras import LiveSource, Source, open_camera, open_input
from tmor.pose.estimators import People
from tmor.pose.tracking import Follower, follow
from tmor.pose.videos import VideoFrame
from tmor.serve.examples import write_examples
from tmor.serve.predict import predict_tracks
from tmor.serve.watch import Answer, Left, Watcher, as_json
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

ACTIONS = ("squat", "wave with one hand", "jumping jacks", "boxing")
NOBODY = People(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), np.zeros((0, 4), np.float32))
SHAPE = np.random.default_rng(0).uniform((-25, -50), (25, 50), size=(17, 2)).astype(np.float32)


def people(*bodies: np.ndarray, score: float = 0.9) -> People:
    points = np.array(bodies, dtype=np.float32).reshape(-1, 17, 2)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1) if len(points) else np.zeros((0, 4))
    return People(points, np.full(points.shape[:2], score, np.float32), boxes.astype(np.float32))


def body(x: float) -> np.ndarray:
    return SHAPE + np.array([x, 100], dtype=np.float32)


# ---- who is who, picture by picture


def test_a_person_is_confirmed_once_seen_for_half_a_second():
    for fps in (4, 10, 15, 30):
        follower = Follower("coco17")
        confirmed = [follower.push(i / fps, people(body(i)))[0].confirmed for i in range(2 * fps)]
        assert confirmed == sorted(confirmed)
        # the first picture of all counts for no time
        assert confirmed.index(True) == (fps + 1) // 2


def test_ghosts_are_never_confirmed_and_numbers_never_come_back():
    follower, seen, sure = Follower("coco17"), [], set()
    for i in range(150):
        here = [body(0)] + [body(300)] * (i % 15 < 4)  # a ghost of four pictures every 1.5 s
        found = follower.push(i / 10, people(*here))
        assert next(iter(found)) == 0
        seen += [id for id in found if id not in seen]
        sure |= {id for id, sighting in found.items() if sighting.confirmed}
        assert len(follower) <= 2
    assert seen == list(range(11))
    assert sure == {0}


def test_an_unsure_person_is_confirmed_when_it_gets_surer_and_stays_so():
    follower = Follower("coco17")
    follower.push(0.0, people(body(0), score=0.6))
    levels = [0.25] * 10 + [0.9] * 10 + [0.25] * 10
    confirmed = [follower.push((i + 1) / 10, people(body(0), score=s))[0].confirmed for i, s in enumerate(levels)]
    at = confirmed.index(True)
    assert confirmed == [False] * at + [True] * (30 - at)
    assert np.mean([0.6, *levels[:at]]) < 0.4 <= np.mean([0.6, *levels[: at + 1]])


def test_a_long_pause_confirms_nobody_by_itself():
    follower = Follower("coco17", bridge_s=60.0)
    assert [follower.push(t, people(body(0)))[0].confirmed for t in (0.0, 30.0, 60.0)] == [False, False, True]


def test_following_live_and_afterwards_is_the_same():
    rng = np.random.default_rng(1)
    frames = []
    for i in range(80):
        here = [body(100 * k + 3 * i + rng.normal()) for k in range(3) if rng.random() < 0.8]
        frames.append((i / 15, people(*here)))
    tracks = follow(frames, layout="coco17").tracks
    follower, paths = Follower("coco17"), {}
    for time_s, found in frames:
        for id, sighting in follower.push(time_s, found).items():
            paths.setdefault(id, []).append(sighting.keypoints)
    assert len(tracks) == len(paths) == 3
    live = {tuple(np.concatenate(points).ravel().tolist()) for points in paths.values()}
    assert live == {
        tuple(track.keypoints[~np.isnan(track.keypoints[..., 0]).any(axis=1)].ravel().tolist()) for track in tracks
    }


@pytest.mark.parametrize("step_s", [4.0, pytest.param(1 / 3, marks=pytest.mark.slow)])
def test_two_hours_keep_only_who_is_there(step_s):
    follower, kept, highest = Follower("coco17", bridge_s=6.0), [], 0
    for i in range(int(7200 / step_s)):
        time_s = i * step_s
        place = 400 * (time_s // 60)  # every minute somebody else, somewhere else
        here = [body(place)] if time_s % 60 < 50 else []
        found = follower.push(time_s, people(*here))
        highest = max(highest, *found, 0)
        kept.append(len(follower))
    assert max(kept) == 1
    assert highest == 119  # and everybody had a number of their own
    assert follower.pictures == len(kept)


# ---- sources


def pictures(times: Iterator[float] | list[float]) -> Generator[VideoFrame, None, None]:
    for time_s in times:
        yield VideoFrame(time_s, np.zeros((48, 64, 3), np.uint8))


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 5
    while not true():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.005)


def test_who_is_slow_gets_the_newest_picture_and_the_others_are_counted():
    ask, asked = threading.Semaphore(0), []

    def camera() -> Generator[VideoFrame, None, None]:
        for frame in pictures([i / 10 for i in range(10)]):
            ask.acquire()
            yield frame
            asked.append(frame.time_s)

    source = LiveSource("fake", camera())
    ask.release(3)
    until(lambda: len(asked) == 3)
    looked = iter(source)
    assert next(looked).time_s == 0.2
    assert source.dropped == 0, "nobody had asked for them"
    ask.release(4)
    until(lambda: len(asked) == 7)
    assert next(looked).time_s == 0.6
    assert source.dropped == 3
    ask.release(3)
    assert [frame.time_s for frame in looked][-1] == 0.9
    source.close()


def test_a_live_source_ends_with_its_last_picture_and_then_its_error():
    def breaks() -> Generator[VideoFrame, None, None]:
        yield from pictures([0.0])
        raise TmorError("fake: unplugged")

    looked = iter(LiveSource("fake", breaks()))
    assert next(looked).time_s == 0.0
    with pytest.raises(TmorError, match=r"^fake: unplugged$"):
        next(looked)
    assert [f.time_s for f in LiveSource("fake", pictures([0.0]))] == [0.0]


def test_a_live_source_that_hangs_can_be_stopped_and_times_out():
    go = threading.Event()

    def hangs() -> Generator[VideoFrame, None, None]:
        yield from pictures([0.0])
        go.wait()

    source = LiveSource("fake", hangs())
    looked = iter(source)
    next(looked)
    threading.Timer(0.1, source.stop).start()
    assert list(looked) == []
    impatient = iter(LiveSource("fake", hangs(), timeout_s=0.2))
    next(impatient)
    with pytest.raises(TmorError, match=r"^fake: no picture came for 0\.2 s$"):
        next(impatient)
    go.set()


def test_the_clock_is_the_cameras_until_it_leaps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(cameras.time, "monotonic", lambda: now[0])
    clock, at = cameras._Clock(), []
    for arrived, shown in [(0, 7000.0), (0.3, 7000.1), (0.3, 7000.2), (0.5, 3.0), (0.6, 3.1), (0.7, None), (0.8, 99.0)]:
        now[0] = 100 + arrived
        at.append(round(clock.time(shown), 3))
    assert at == [0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8]
    # a new connection counts from when it came, but never backwards
    clock.anchor_s = None
    now[0] = 100.5
    assert 0.8 < clock.time(5.0) < 0.81


@pytest.fixture
def clip(tmp_path) -> Path:
    return write_video(tmp_path / "clip.mp4", 10)


def write_video(path: Path, frames: int, *, fps: int = 15, codec: str = "mpeg4") -> Path:
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            image = np.full((48, 64, 3), 5 * i % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_file_drops_nothing_and_waits_only_if_asked(clip):
    source = open_input(str(clip))
    assert (source.name, source.live, source.fps) == (str(clip), False, 15.0)
    times = [frame.time_s for frame in source]
    np.testing.assert_allclose(times, np.arange(10) / 15, atol=1e-3)
    started = time.monotonic()
    slow = open_input(str(clip), real_time=True)
    assert len(list(slow)) == 10
    assert time.monotonic() - started >= 9 / 15 - 0.01
    stopped = open_input(str(clip), real_time=True)
    for frame in stopped:
        assert frame.time_s == 0
        stopped.stop()
    assert (source.dropped, slow.dropped) == (0, 0)
    with pytest.raises(FormatError, match="there is no such file"):
        open_input(str(clip) + "x")


def test_a_camera_that_is_not_there_is_named(monkeypatch):
    pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cameras, "_cameras", lambda format: [("0", "HD Webcam"), ("2", "Depth")])
    here = "cameras here: 0 (HD Webcam), 2 (Depth)"
    for camera, why in (
        ("77", "there is no such camera (/dev/video77)"),
        ("/dev/video78", "there is no such camera (/dev/video78)"),
        ("/dev/null", "there is no such camera (/dev/null)"),
        ("-1", "there is no such camera (-1)"),
    ):
        with pytest.raises(TmorError) as error:
            open_camera(camera)
        assert str(error.value) == f"camera {camera}: {why}; {here}"


def test_a_camera_that_may_not_be_read_or_is_in_use(monkeypatch):
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cameras, "_cameras", lambda format: [])
    for number, why in (
        (13, "this user may not read /dev/video0 (the group 'video' may)"),
        (16, "/dev/video0 is in use by another program"),
        (5, "can't be opened: Input/output error"),
    ):

        def refuse(file, number=number, **how):
            assert (file, how["format"]) == ("/dev/video0", "v4l2")
            raise av.error.OSError(number, "Input/output error")

        monkeypatch.setattr(av, "open", refuse)
        with pytest.raises(TmorError) as error:
            open_camera("0")
        assert str(error.value) == f"camera 0: {why}; cameras here: none"
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(TmorError, match=r"^cameras can't be read on plan9; expected linux, darwin, win32$"):
        open_camera("0")


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Listens on this machine, lets a function answer each connection, and says where: host:port."""
    listening: list[socket.socket] = []

    def serve(answer: Callable[[socket.socket], None]) -> str:
        entrance = socket.create_server(("127.0.0.1", 0))
        listening.append(entrance)

        def loop() -> None:
            while True:
                try:
                    visitor, _ = entrance.accept()
                    with visitor:
                        answer(visitor)
                except OSError:
                    if entrance.fileno() < 0:
                        return

        threading.Thread(target=loop, daemon=True).start()
        return f"127.0.0.1:{entrance.getsockname()[1]}"

    yield serve
    for entrance in listening:
        entrance.close()


def nobody_listens() -> str:
    with socket.create_server(("127.0.0.1", 0)) as entrance:
        return f"127.0.0.1:{entrance.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_an_address_where_nobody_answers(server, scheme):
    pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    gone, over = nobody_listens(), threading.Event()
    with pytest.raises(TmorError) as error:
        open_input(f"{scheme}://{gone}/live", timeout_s=2.0)
    assert str(error.value) == f"{scheme}://{gone}/live: can't be opened: Connection refused"
    mute = server(lambda visitor: over.wait(5) and None)
    started = time.monotonic()
    with pytest.raises(TmorError) as error:
        open_input(f"{scheme}://user:secret@{mute}/live?token=secret", timeout_s=0.5)
    over.set()
    assert str(error.value) == f"{scheme}://{mute}/live?...: can't be opened: nothing came for 0.5 s"
    assert time.monotonic() - started < 3


def test_addresses_that_are_none(monkeypatch):
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    kinds = "rtsp://, rtsps://, http://, https://"
    for address in ("file:///etc/passwd", "concat://a", "ftp://host/a.mp4"):
        with pytest.raises(TmorError) as error:
            open_input(address)
        assert str(error.value) == f"{address}: expected a file, or an address that begins with {kinds}"
    for address in ("rtsp:///live", "http://[bad/live", "https://"):
        with pytest.raises(TmorError, match=r"names no machine; expected an address such as|there is no such file"):
            open_input(address)
    with pytest.raises(TmorError, match="only a file can be slowed down to real time"):
        open_input("rtsp://127.0.0.1/a", real_time=True)

    def unknown(*args: object, **how: object) -> None:
        raise av.error.OSError(5, "Input/output error")

    monkeypatch.setattr(av, "open", unknown)
    monkeypatch.setattr(cameras.socket, "getaddrinfo", unknown)
    with pytest.raises(TmorError) as error:
        open_input("rtsp://me:secret@camera.invalid:554/a?token=secret")
    assert str(error.value) == (
        "rtsp://camera.invalid:554/a?...: can't be opened: no machine is known by the name 'camera.invalid'"
    )


def over_http(content: bytes, kind: str = "video/mp2t", *, piece: int = 188 * 7, pause_s: float = 0.0):
    def answer(visitor: socket.socket) -> None:
        visitor.recv(4096)
        visitor.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
        for start in range(0, len(content), piece):
            visitor.sendall(content[start : start + piece])
            time.sleep(pause_s)

    return answer


def test_a_playlist_can_not_make_us_open_files(server, tmp_path):
    secret = write_video(tmp_path / "secret.ts", 20, codec="mpeg2video")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    for kind in ("application/vnd.apple.mpegurl", "video/mp2t"):
        with pytest.raises(
            TmorError, match=r"opened: it is of a kind that is not read, such as a playlist \(HLS, DASH\)$"
        ):
            open_input(f"http://{server(over_http(playlist.encode(), kind))}/a.m3u8", timeout_s=2.0)


def test_a_network_stream_that_breaks_is_called_again_a_few_times(server, tmp_path, caplog):
    content = write_video(tmp_path / "a.ts", 45, codec="mpeg2video").read_bytes()
    visits = itertools.count()

    def answer(visitor: socket.socket) -> None:
        if next(visits) < 2:
            over_http(content, pause_s=0.02)(visitor)

    where = server(answer)
    source = open_input(f"http://{where}/live.ts", timeout_s=2.0, tries=3, wait_s=0.05)
    assert source.live
    times = []
    with pytest.raises(TmorError) as error:
        for frame in source:
            times.append(frame.time_s)
    assert times and (np.diff(times) > 0).all()
    assert str(error.value).startswith(f"http://{where}/live.ts: ")
    assert str(error.value).endswith("; it did not come back in 3 tries")
    assert "; calling again, up to 3 times" in caplog.text and "is back" in caplog.text
    source.close()


def test_pictures_of_a_network_stream(server, tmp_path):
    content = write_video(tmp_path / "a.ts", 30, codec="mpeg2video").read_bytes()
    source = open_input(f"http://{server(over_http(content))}/live.ts", timeout_s=2.0, tries=0)
    found = []
    with pytest.raises(TmorError, match=r"live\.ts: (ended|broke: .*)$"):
        for frame in source:
            found.append(frame)
    assert found and all(frame.image.shape == (48, 64, 3) for frame in found)
    assert (np.diff([frame.time_s for frame in found]) > 0).all()
    assert found[-1].time_s < 30 / 15


class Rtsp:
    """As small a camera as RTSP allows: one stream of MPEG-TS, interleaved with the answers on one connection."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.asked: list[str] = []

    def __call__(self, visitor: socket.socket) -> None:
        with visitor.makefile("rb") as requests:
            while request := self._read(requests):
                method, headers = request
                self.asked.append(method)
                extra, text = "", ""
                if method == "DESCRIBE":
                    text = (
                        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:one\r\n"
                    )
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(text)}\r\n"
                elif method == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
                answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n{text}"
                visitor.sendall(answer.encode())
                if method == "PLAY":
                    break
            else:
                return
        for number, start in enumerate(range(0, len(self._content), 188 * 7)):
            payload = self._content[start : start + 188 * 7]
            header = bytes([0x80, 33]) + number.to_bytes(2, "big") + (3000 * number).to_bytes(4, "big") + bytes(4)
            packet = header + payload
            visitor.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
            time.sleep(0.005)

    @staticmethod
    def _read(requests) -> tuple[str, dict[str, str]] | None:
        lines = [line.decode().strip() for line in iter(requests.readline, b"\r\n") if line]
        if not lines:
            return None
        pairs = (line.partition(":") for line in lines[1:])
        return lines[0].split()[0], {name.lower(): value.strip() for name, _, value in pairs}


def test_an_rtsp_camera(server, tmp_path):
    camera = Rtsp(write_video(tmp_path / "a.ts", 60, codec="mpeg2video").read_bytes())
    source = open_input(f"rtsp://me:secret@{server(camera)}/live", timeout_s=3.0, tries=0)
    found = []
    with pytest.raises(TmorError, match=r"^rtsp://127\.0\.0\.1:\d+/live: (ended|broke: .*)$"):
        for frame in source:
            found.append(frame)
    assert camera.asked[-3:] == ["DESCRIBE", "SETUP", "PLAY"]
    assert found and found[-1].time_s > found[0].time_s >= 0


# ---- from pictures to what people do


class Actors:
    """Finds who is on stage at the time of a picture, whatever the picture shows; unseen joints among theirs."""

    name, layout, hash = "actors", "unik17", "1"

    def __init__(self, stage: dict[tuple[float, float], Track], *, score: float = 0.9) -> None:
        self._stage, self._score = stage, score
        self.asked: list[float] = []
        self.closed = False

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        self.asked.append(time_s)
        found = []
        for (start, end), track in self._stage.items():
            # Half a frame of grace: times of a file are rounded.
            if start - 0.01 <= time_s < end - 0.01:
                found.append(track.keypoints[min(round((time_s - start) * 30), len(track) - 1)])
        return replace(people(), **_fields(found, self._score))

    def close(self) -> None:
        self.closed = True


def _fields(found: list[np.ndarray], score: float) -> dict[str, np.ndarray]:
    points = np.array(found, np.float32).reshape(-1, 17, 2)
    return {
        "keypoints": points,
        "scores": np.full(points.shape[:2], score, np.float32),
        "boxes": np.zeros((len(points), 4), np.float32),
    }


@cache
def act(place: float, rounds: int = 1, first: int = 0) -> Track:
    """Several actions one after the other, as a camera in front sees them, in pixels."""
    order = [*ACTIONS[first:], *ACTIONS[:first]] * rounds
    points = np.concatenate([sample_track(a, body=k % 4, style=k % 4).keypoints for k, a in enumerate(order)])
    return Track(points[..., :2] * (100, -100) + (place, 300), "unik17", 30.0)


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped one, that knows the actions by example: no text teacher is needed."""
    torch.set_num_threads(1)
    return load_model("tmor-small").enroll(examples())


@cache
def examples() -> dict[str, list[Track]]:
    return {a: [sample_track(a, body=k, style=k, seed=5) for k in range(3)] for a in ACTIONS}


@pytest.fixture
def stage() -> dict[tuple[float, float], Track]:
    """One is there throughout, one comes late and leaves, a ghost comes twice, somebody comes where another was."""
    ghost = act(900)
    return {
        (0.0, 20.0): act(100, rounds=2),
        (4.0, 12.0): act(500, first=2),
        (6.0, 6.3): ghost,
        (9.0, 9.3): ghost,
        (15.0, 20.0): act(500, first=1),
    }


def segments(events: list[Answer | Left]) -> dict[int, list[Segment]]:
    return {event.person: list(event.segments) for event in events if isinstance(event, Left)}


def told(events: list[Answer | Left], person: int) -> list[Segment]:
    return [segment for event in events if event.person == person for segment in event.closed]


def test_a_file_gives_the_segments_of_predict(model, stage, tmp_path):
    path = write_video(tmp_path / "clip.mp4", 300)
    expected = [
        r.segments for r in predict_tracks(model, find_people(path, Actors(stage), cache=False).tracks, ACTIONS)
    ]
    source = open_input(str(path))
    watcher = Watcher(model, Actors(stage), ACTIONS, fps=source.fps)
    events = [event for events in watcher.watch(source) for event in events]
    found = segments(events)
    assert (watcher.pictures, watcher.numbers, watcher.ghosts, source.dropped) == (300, 3, 2, 0)
    assert list(found) == [2, 1, 3] and len(expected) == 3
    assert {s.label for s in expected[0]} == {*ACTIONS, "none of these"}, "or the test says little"
    for person, theirs in enumerate(expected, start=1):
        ours = found[person]
        assert [s.label for s in ours] == [s.label for s in theirs]
        # Times in the file are rounded, from which predict takes the rate.
        for name, tolerance in (("start_s", 0.01), ("end_s", 0.01), ("score", 0.01)):
            sides = ([getattr(s, name) for s in side] for side in (ours, theirs))
            np.testing.assert_allclose(*sides, atol=tolerance, rtol=0)
        # Every segment is told once, most before the person leaves.
        assert told(events, person) == ours
    assert len(events[-1].closed) < len(expected[0])
    assert watcher._people == {}


def test_answers_come_each_second_and_know_since_when(model, stage):
    watcher = Watcher(model, Actors(stage), ACTIONS, fps=30.0)
    answers = []
    for frame in pictures([i / 30 for i in range(300)]):
        answers += [event for event in watcher.push(frame) if event.person == 1]
        assert watcher.people == ((1, 2) if frame.time_s > 4.45 else (1,) if frame.time_s >= 0.5 else ())
    assert len(answers) == 10
    assert all(answer.now.start_s - 6 <= answer.since_s <= answer.now.end_s for answer in answers)
    assert watcher.pictures_per_s > 0
    line = as_json(answers[-1])
    assert json.loads(json.dumps(line)) == line
    assert set(line) == {
        *("event", "person", "time_s", "start_s", "end_s", "label", "score", "probabilities", "closed"),
    }
    assert set(line["probabilities"]) == {*ACTIONS, "none of these"} and line["label"] in ACTIONS


def test_whoever_is_confirmed_late_is_told_all(model):
    """So unsure for a while that it might be a ghost, then sure: no segment of it is lost."""
    actors = Actors({(0.0, 18.0): act(100, rounds=2)})
    watcher = Watcher(model, actors, ACTIONS, fps=15.0)
    events: list[Answer | Left] = []
    for frame in pictures([i / 15 for i in range(270)]):
        actors._score = 0.9 if frame.time_s > 9 else 0.25 if frame.time_s else 0.41
        events += watcher.push(frame)
    assert isinstance(events[0], Answer) and events[0].now.time_s > 9
    assert len(events[0].closed) > 1 and events[0].closed[0].start_s == 0
    events += watcher.finish()
    assert told(events, 1) == segments(events)[1]


def test_of_whom_only_fingers_are_seen_is_nobody(model):
    class Hands(Actors):
        layout = "blazepose33"

        def __call__(self, image: np.ndarray, time_s: float) -> People:
            points, scores = np.zeros((1, 33, 2), np.float32), np.zeros((1, 33), np.float32)
            points[0, 17:23], scores[0, 17:23] = np.arange(12).reshape(6, 2), 3.0
            return People(points, scores, np.zeros((1, 4), np.float32))

    watcher = Watcher(model, Hands({}), ACTIONS, fps=15.0)
    for frame in pictures([i / 15 for i in range(60)]):
        assert watcher.push(frame) == []
    assert (watcher.people, watcher._people, watcher.finish()) == ((), {}, [])


def test_slow_looking_at_a_live_source_still_names(model):
    """The estimator manages every third picture of a camera; here the camera waits for it to make that sure."""
    track, looked = act(100), threading.Semaphore(0)

    class Slow(Actors):
        def __call__(self, image: np.ndarray, time_s: float) -> People:
            found = super().__call__(image, time_s)
            looked.release()
            return found

    def camera() -> Generator[VideoFrame, None, None]:
        for n, frame in enumerate(pictures([i / 30 for i in range(300)])):
            yield frame
            if n % 3 == 2:
                looked.acquire()

    source = LiveSource("fake", camera())
    actors = Slow({(0.0, 10.0): track})
    watcher = Watcher(model, actors, ACTIONS, fps=source.fps)
    events = [event for events in watcher.watch(source) for event in events]
    assert watcher.pictures + source.dropped <= 300 and watcher.pictures >= 100
    expected = model.detect(track.frames(0, 300), ACTIONS, none=True)
    (found,) = segments(events).values()
    both = sum(
        max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
        for a in found
        for b in expected
        if a.label == b.label
    )
    assert both / 10 > 0.8


def test_when_the_source_breaks_everybody_still_leaves(model):
    def unplugged() -> Generator[VideoFrame, None, None]:
        yield from pictures([i / 15 for i in range(60)])
        raise TmorError("camera 0: no picture came for 10 s")

    watcher = Watcher(model, Actors({(0.0, 9.0): act(100)}), ACTIONS, fps=15.0)
    events: list[Answer | Left] = []
    with pytest.raises(TmorError, match=r"^camera 0: no picture came"):
        for some in watcher.watch(Source("camera 0", unplugged())):
            events += some
    (found,) = segments(events).values()
    assert (found[0].start_s, found[-1].end_s) == (0.0, 4.0)


def test_too_few_pictures_per_second_are_said_once(model, monkeypatch, caplog):
    now = itertools.count(0.0, 0.6)
    monkeypatch.setattr("tmor.serve.watch.time.monotonic", lambda: next(now))
    for fps, warnings in ((None, 1), (15.0, 0)):
        caplog.clear()
        watcher = Watcher(model, Actors({}), ACTIONS, fps=fps)
        for frame in pictures([0.6 * i for i in range(10)]):
            watcher.push(frame)
        assert caplog.text.count("only 1.7 pictures per second are looked at, and actions need 2.5") == warnings


def test_who_is_not_looked_at_for_a_moment_stays_where_pictures_come_irregularly(model):
    for fps, numbers in ((None, 1), (15.0, 2)):
        watcher = Watcher(model, Actors({(0.0, 9.0): act(100)}), ACTIONS, fps=fps)
        for frame in pictures([i / 15 for i in range(120) if not 45 <= i < 68]):
            watcher.push(frame)
        assert watcher.numbers == numbers


# ---- the command


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Call ``tmor watch`` with people of our own, and actions enrolled; returns what conftest's ``run`` does."""
    write_examples(tmp_path / "mine.npz", examples())

    def call(actors: Actors, *args: object) -> tuple[int, str, str]:
        monkeypatch.setattr("tmor.pose.estimators.load_estimator", lambda name: actors)
        return run("watch", *args)

    return call


def test_the_command_prints_the_documented_lines(run, stage, tmp_path):
    write_video(tmp_path / "clip.mp4", 150)
    actors = Actors(stage)
    code, out, err = run(actors, "--input", "clip.mp4", "--examples", "mine.npz", "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["event"] for line in lines} == {"answer", "left"}
    left = [line for line in lines if line["event"] == "left"]
    assert [set(line) for line in left] == [{"event", "person", "segments"}] * 2
    assert {line["person"] for line in left} == {1, 2}
    assert set(left[0]["segments"][0]) == {"start_s", "end_s", "label", "score"}
    assert "150 pictures in" in err and "0 dropped; people: 2, and 2 seen too little to count" in err
    assert actors.closed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "mine.npz"], "nothing is written"


def test_the_command_prints_segments_and_who_left(run, stage, tmp_path):
    write_video(tmp_path / "clip.mp4", 150)
    code, out, _ = run(Actors(stage), "--input", "clip.mp4", "--examples", "mine.npz", "--labels", "Squat")
    assert code == 0
    assert out.startswith("0.0-")
    assert "  person 1  squat (" in out
    assert "person 1 left" in out and "person 2 left" in out


def test_in_a_terminal_a_table_shows_who_does_what(run, stage, tmp_path, monkeypatch):
    write_video(tmp_path / "clip.mp4", 60)
    screen = io.StringIO()
    monkeypatch.setattr(cli.use, "out", Console(file=screen, force_terminal=True, width=90, highlight=False))
    monkeypatch.setattr(cli.use, "_REDRAW_S", 0.0)
    assert run(Actors(stage), "--input", "clip.mp4", "--examples", "mine.npz")[0] == 0
    text = screen.getvalue()
    assert all(title in text for title in ("person", "action now", "probability", "since"))
    assert re.search(r"clip\.mp4: \d+\.\d pictures/s, people: 1", text)
    assert re.search(r"1 +│ squat +│ [01]\.\d\d +│ 0\.0 s", text)


def test_ctrl_c_ends_in_good_order(run, stage, tmp_path):
    write_video(tmp_path / "clip.mp4", 150)

    class Interrupted(Actors):
        def __call__(self, image: np.ndarray, time_s: float) -> People:
            if len(self.asked) == 60:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(image, time_s)

    usual = signal.getsignal(signal.SIGINT)
    actors = Interrupted(stage)
    code, out, err = run(actors, "--input", "clip.mp4", "--examples", "mine.npz", "--json")
    assert code == 130
    assert [json.loads(line)["event"] for line in out.splitlines()].count("left") == 1
    assert json.loads(out.splitlines()[-1])["segments"][-1]["end_s"] == pytest.approx(61 / 15, abs=0.01)
    assert "61 pictures in" in err and actors.closed
    assert signal.getsignal(signal.SIGINT) is usual


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected one of --camera 0 and --input FILE-OR-ADDRESS"),
        (("--camera", "0", "--input", "a.mp4"), "expected one of --camera 0 and --input FILE-OR-ADDRESS"),
        (("--camera", "93", "--labels", "squat"), "camera 93: there is no such camera"),
        (("--input", "gone.mp4", "--labels", "squat"), "gone.mp4: there is no such file"),
        (("--input", "clip.mp4"), "has no classes of its own; give labels"),
        (("--input", "clip.mp4", "--labels", "a,,b"), "a label is empty; expected words"),
        (("--input", "clip.mp4", "--examples", "gone.npz"), "gone.npz: there is no such file"),
    ],
)
def test_what_is_asked_wrongly_is_said(run, clip, args, message):
    code, out, err = run(Actors({}), *args)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_dead_address_is_said_in_time(run):
    where = nobody_listens()
    code, _, err = run(Actors({}), "--input", f"rtsp://{where}/live", "--labels", "squat")
    assert code == 2
    assert f"rtsp://{where}/live: can't be opened: Connection refused" in err
