"""Live streams: the same answer as offline, in bounded memory, on time; bad input."""

import itertools
import math
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import tmor.model.model
from letters import TINY, Teacher
from tmor.errors import LayoutError, TmorError
from tmor.model.checkpoint import load_model
from tmor.model.model import Model
from tmor.model.segments import Segment, frames_seen, rate_of
from tmor.serve.stream import Stream, StreamAnswer, StreamGroup
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import prepare
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

ACTIONS = ("squat", "wave with one hand", "jumping jacks", "sit down", "boxing", "clap")


def flat(track: Track) -> Track:
    """As a camera in front sees it, in pixels."""
    points = 100 * np.array(track.keypoints[..., :2])
    points[..., 1] *= -1
    return replace(track, keypoints=points)


def sampled(action: str, k: int, seed: int = 0) -> Track:
    return sample_track(action, body=k % 4, style=k % 4, seed=seed)


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped one, that knows some sample motions by example: no text teacher is needed."""
    torch.set_num_threads(1)
    return load_model("tmor-small").enroll({a: [flat(sampled(a, k, 5)) for k in range(4)] for a in ACTIONS})


@pytest.fixture(scope="module")
def tiny() -> Model:
    torch.manual_seed(0)
    return Model(replace(TINY, classes=("a", "b", "c"))).eval()


@cache
def act(rounds: int = 2, *, fps: float = 30.0, dims: int = 2, start_s: float = 0.0) -> Track:
    """All actions one after the other, resampled by time."""
    tracks = [sampled(a, k) for k in range(rounds) for a in ACTIONS]
    points = np.concatenate([(flat(t) if dims == 2 else t).keypoints for t in tracks])
    times = np.arange(int((len(points) - 1) / 30 * fps) + 1) / fps
    at = np.minimum(times * 30, len(points) - 1)
    low = np.minimum(at.astype(int), len(points) - 2)
    share = (at - low)[:, None, None]
    return Track(points[low] * (1 - share) + points[low + 1] * share, UNIK17, fps, start_s=start_s)


def worn(track: Track, seed: int = 0) -> Track:
    """Joints flicker and vanish for a while, frames are lost."""
    rng = np.random.default_rng(seed)
    points = np.array(track.keypoints)
    points[rng.random(points.shape[:2]) < 0.05] = np.nan
    points[rng.random(len(points)) < 0.03] = np.nan
    for _ in range(len(points) // 40):
        start, joint = rng.integers(len(points)), rng.integers(17)
        points[start : start + rng.integers(5, 40), joint] = np.nan
    return replace(track, keypoints=points)


def run(stream: Stream, track: Track, times: np.ndarray | None = None) -> tuple[list[StreamAnswer], list[Segment]]:
    assert track.fps is not None
    times = track.start_s + np.arange(len(track)) / track.fps if times is None else times
    answers = [stream.push(t, frame) for t, frame in zip(times.tolist(), track.keypoints, strict=True)]
    return [a for a in answers if a is not None], stream.finish()


def assert_same(found: list[Segment], expected: list[Segment], *, seconds: float = 1e-5, score: float = 1e-5) -> None:
    assert [s.label for s in found] == [s.label for s in expected]
    for name, tolerance in (("start_s", seconds), ("end_s", seconds), ("score", score)):
        ours, theirs = ([getattr(s, name) for s in side] for side in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0, err_msg=name)


def agreement(found: list[Segment], expected: list[Segment]) -> float:
    """The share of the time in which both say the same."""
    both = sum(
        max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
        for a in found
        for b in expected
        if a.label == b.label
    )
    return both / sum(s.end_s - s.start_s for s in expected)


# --- the same answer as offline --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "wear", "start_s"),
    [
        (15.0, False, 0.0),
        (15.0, True, 7.3),
        (15.01, True, 0.0),
        (30.0, True, 1.7e9),
        (25.0, True, 0.0),
        (10.0, True, 3.0),
    ],
)
def test_a_finished_stream_gives_the_segments_of_detect_within_1e_5(model, fps, wear, start_s):
    track = act(fps=fps, start_s=start_s)
    track = worn(track) if wear else track
    expected = model.detect(track, ACTIONS)
    answers, found = run(Stream(model, "unik17", 2, fps, ACTIONS), track)
    assert len({s.label for s in expected}) >= 4, "or the test says little"
    assert_same(found, expected)
    closed = [s for a in answers for s in a.closed]
    assert closed == found[: len(closed)]
    assert len(closed) >= len(found) - 2
    x = prepare(track, fps=model.spec.fps)
    seen = np.flatnonzero(frames_seen(x))
    rate = rate_of(fps, model.spec)
    first, last = seen[0] / rate, (seen[-1] + 1) / rate if seen[-1] + 1 < len(x) else len(track) / fps
    assert found[0].start_s == pytest.approx(start_s + first, abs=1e-6)
    assert found[-1].end_s == pytest.approx(start_s + last, abs=1e-6)


def test_so_it_does_in_3d_and_in_another_layout(model):
    track = worn(act(1, dims=3))
    assert_same(run(Stream(model, UNIK17, 3, 30.0, ACTIONS), track)[1], model.detect(track, ACTIONS))
    coco = worn(act(1)).to("coco17")
    assert_same(run(Stream(model, "coco17", 2, 30.0, ACTIONS), coco)[1], model.detect(coco, ACTIONS))


@pytest.mark.parametrize("fps", [15.0, 24.0, 30.0])
@pytest.mark.parametrize("model_frames", [0.1, 1, 16, 44, 45, 75, 76, 90])
def test_whatever_the_length(tiny, fps, model_frames):
    frames = max(1, round(model_frames * fps / 15))
    for n in (frames, frames + 1):
        track = worn(act(1, fps=fps).frames(0, n), seed=n)
        if track.missing_share < 1:
            expected = tiny.detect(track)
            assert_same(run(Stream(tiny, UNIK17, 2, fps, None), track)[1], expected)
            assert len(expected) == 1 or n / fps > 5


def test_answers_are_those_of_their_windows(model):
    track = worn(act(1))
    answers, _ = run(Stream(model, UNIK17, 2, 30.0, ACTIONS), track)
    rate = round(model.spec.fps)
    x = prepare(track, fps=model.spec.fps)
    spans = [(0, rate), (0, 2 * rate), *((s, s + 3 * rate) for s in range(0, len(x) - 3 * rate + 1, rate))]
    assert len(answers) >= len(spans) - 1, "the last one may wait for a joint"
    _, judge = model.judge(ACTIONS)
    for answer, (start, stop) in zip(answers, spans, strict=False):
        assert (answer.start_s, answer.end_s) == (start / rate, stop / rate)
        expected = judge(model.clip_features([x[start:stop]]))[0]
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
        assert answer.label == ACTIONS[expected.argmax()]
        assert answer.score == pytest.approx(expected.max(), abs=1e-5)


def test_at_irregular_times_it_is_close_to_offline(model):
    # Within 3 % of the time; what differs is how times are rounded to frames.
    track, rng = act(2), np.random.default_rng(0)
    kept = np.flatnonzero(rng.random(len(track)) > 0.15)
    times = (kept + rng.uniform(-0.4, 0.4, len(kept))) / 30
    points = np.stack(
        [np.interp(times * 30, np.arange(len(track)), column) for column in track.keypoints.reshape(len(track), -1).T],
        axis=1,
    )
    points = points.reshape(-1, 17, 2)
    expected = model.detect(Track.from_times(points, UNIK17, times), ACTIONS)
    for fps in (30.0, None):
        stream = Stream(model, UNIK17, 2, fps, ACTIONS)
        for t, frame in zip(times, points, strict=True):
            stream.push(t, frame)
        assert agreement(stream.finish(), expected) > 0.97
        assert agreement(model.detect(track, ACTIONS), expected) > 0.9  # of the whole track, before frames were lost


def test_of_unknown_rate_it_is_close_to_offline_at_the_rate(model):
    # Equal labels, a tenth of a second and 0.02 of a score; with missing joints 95 % of the time.
    track = act()
    for frames in (track, worn(track)):
        expected = model.detect(frames, ACTIONS)
        found = run(Stream(model, UNIK17, 2, None, ACTIONS), frames)[1]
        assert agreement(found, expected) > 0.95
        if frames is track:
            assert_same(found, expected, seconds=0.1, score=0.02)


# --- on time, in bounded memory --------------------------------------------------------------------------------------


def test_an_answer_comes_with_the_frame_that_completes_its_window(tiny):
    track = act(1)
    answers, _ = run(Stream(tiny, UNIK17, 2, 30.0, None), track)
    assert [round(a.time_s, 2) for a in answers[:5]] == [0.97, 1.93, 2.97, 3.93, 4.97]
    assert all(a.end_s - 2 / 30 <= a.time_s + 1e-6 <= a.end_s for a in answers)
    assert [a.current is None for a in answers[:6]] == [True] * 5 + [False]


def test_it_waits_half_a_second_at_most_for_a_joint_that_vanished(tiny):
    points = np.array(act(1).keypoints)
    wrist = UNIK17.joints.index("left_wrist")

    def first_full(gone: slice) -> float:
        worn = points.copy()
        worn[gone, wrist] = np.nan
        answers, _ = run(Stream(tiny, UNIK17, 2, 30.0, None), Track(worn, UNIK17, 30.0))
        return next(a.time_s for a in answers if a.end_s > 2.9)

    on_time = 89 / 30
    assert first_full(slice(0, 0)) == pytest.approx(on_time)
    assert first_full(slice(80, 95)) == pytest.approx(95 / 30), "until it is back"
    assert on_time < first_full(slice(80, None)) < on_time + 0.5
    assert first_full(slice(60, None)) == pytest.approx(on_time), "it is away for long"
    assert first_full(slice(0, None)) == pytest.approx(on_time), "it never was there"


def test_hours_take_the_memory_of_seconds(tiny):
    stream = Stream(tiny, UNIK17, 2, 30.0, None)
    frames, sizes = worn(act(1)).keypoints, []
    for i in range(5000):
        stream.push(i / 30, frames[i % len(frames)])
        sizes.append(len(stream._frames))
    assert max(sizes[300:]) == sizes[300] < 30 * 8
    assert len(stream._joiner._rows) == 2  # pyright: ignore[reportOptionalMemberAccess]


def test_texts_are_embedded_once(monkeypatch, tmp_path):
    calls = []

    class Counted(Teacher):
        def encode(self, texts):
            calls.append(len(texts))
            return super().encode(texts)

    monkeypatch.setenv("TMOR_CACHE", str(tmp_path))
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", lambda name: Counted())
    monkeypatch.setattr(tmor.model.model, "embed_texts", lambda teacher, texts: teacher.encode(texts))
    model = Model(TINY).eval()
    group = StreamGroup(model, UNIK17, 2, 30.0, ["juggle five clubs", "whistle"])
    for i, frame in enumerate(act(1).keypoints):
        group.push(i / 30, {"a": frame, i // 100: frame})
    assert len(calls) == 1


# --- nobody there ----------------------------------------------------------------------------------------------------


def test_where_nobody_is_seen_there_is_no_segment(model):
    track = act()
    points = np.array(track.keypoints)
    points[300:750] = np.nan
    track = replace(track, keypoints=points)
    expected = model.detect(track, ACTIONS)
    answers, found = run(Stream(model, UNIK17, 2, 30.0, ACTIONS), track)
    assert_same(found, expected)
    (before, after) = next((a, b) for a, b in itertools.pairwise(found) if b.start_s - a.end_s > 1)
    assert 10 <= before.end_s <= 12.5
    assert 22.5 <= after.start_s <= 25
    nobody = [a for a in answers if a.label is None]
    assert all(math.isnan(a.score) and a.start_s >= 10 - 1 / 15 and a.end_s <= 25 + 1 / 15 for a in nobody)
    assert nobody


def test_a_pause_is_as_if_nobody_was_seen(model):
    track = act()
    points = np.array(track.keypoints)
    points[300:750] = np.nan
    kept = np.r_[0:300, 750 : len(points)]
    found = run(Stream(model, UNIK17, 2, 30.0, ACTIONS), Track(points[kept], UNIK17, 30.0), kept / 30)[1]
    assert_same(found, model.detect(replace(track, keypoints=points), ACTIONS))


def test_a_pause_of_minutes_is_quick_and_of_more_an_error(tiny):
    stream, frame = Stream(tiny, UNIK17, 2, 30.0, None), act(1).keypoints[0]
    stream.push(0.0, frame)
    started = time.monotonic()
    answer = stream.push(600.0, frame)
    assert time.monotonic() - started < 3
    assert answer is not None
    assert answer.label is None
    with pytest.raises(
        TmorError,
        match=r"^a frame at 1200\.5 s comes 600 s after the last one; expected at most 600 s: finish this stream and "
        r"begin another$",
    ):
        stream.push(1200.5, frame)
    stream.push(601.0, frame)
    assert len(stream.finish()) == 2


def test_a_stream_of_nobody_has_no_segments(tiny):
    assert Stream(tiny, UNIK17, 2, None, None).finish() == []
    stream = Stream(tiny, UNIK17, 2, 15.0, None)
    answers = [stream.push(i / 15, np.full((17, 2), np.nan)) for i in range(100)]
    assert [a.label for a in answers if a is not None] == [None] * 6
    assert stream.finish() == []


# --- several persons -------------------------------------------------------------------------------------------------


def test_persons_come_and_go(model):
    first, second = act(1), act(2)
    group = StreamGroup(model, UNIK17, 2, 30.0, ACTIONS, unseen_s=1.0)
    answers: dict[str, int] = {"a": 0, "b": 0}
    left = {}
    for i in range(900):
        persons = {}
        if i < len(first):
            persons["a"] = first.keypoints[i]
        if 100 <= i < 400 or 500 <= i < 800:
            persons["b"] = second.keypoints[i]
        if i == 450:
            persons["ghost"] = np.full((17, 2), np.nan)
        now = group.push(i / 30, persons)
        assert len(group) <= 2
        for id in now.answers:
            answers[str(id)] += 1
        for id, segments in now.left.items():
            left.setdefault(id, []).append(segments)
    assert group.finish() == {}
    assert {id: len(found) for id, found in left.items()} == {"a": 1, "b": 2}
    assert_same(left["a"][0], model.detect(first, ACTIONS))
    for found, start in zip(left["b"], (100, 500), strict=True):
        assert_same(found, model.detect(second.frames(start, start + 300), ACTIONS))
    assert min(answers.values()) > 8


def test_whoever_is_still_there_at_the_end_gets_segments_then(tiny):
    group, frame = StreamGroup(tiny, UNIK17, 2, 30.0, None), act(1).keypoints[0]
    for i in range(30):
        assert group.push(i / 30, {7: frame}).left == {}
    (segment,) = group.finish()[7]
    assert (segment.start_s, segment.end_s) == (0.0, 1.0)
    assert group.finish() == {}
    with pytest.raises(TmorError, match=r"^a frame at 1\.5 s came after the group was finished$"):
        group.push(1.5, {})


def test_who_comes_back_late_leaves_and_comes_in_one_frame(tiny):
    group, frame = StreamGroup(tiny, UNIK17, 2, 30.0, None, unseen_s=2.0), act(1).keypoints[0]
    group.push(0.0, {1: frame})
    now = group.push(1e6, {1: frame})
    assert list(now.left) == [1]
    assert len(group) == 1


def test_a_bad_person_leaves_the_group_as_it_was(tiny):
    group, frame = StreamGroup(tiny, UNIK17, 2, 30.0, None), act(1).keypoints[0]
    group.push(0.0, {1: frame})
    with pytest.raises(TmorError, match=r"^person '2': the frame at 0\.1 s has keypoints of shape \(16, 2\)"):
        group.push(0.1, {1: frame, 2: frame[:16]})
    group.push(0.1, {1: frame})
    with pytest.raises(TmorError, match=r"^time goes backwards: a frame at 0\.05 s came after one at 0\.1 s$"):
        group.push(0.05, {})
    with pytest.raises(TmorError, match=r"^unseen_s is 0; expected above 0, at most 600 seconds$"):
        StreamGroup(tiny, UNIK17, 2, 30.0, None, unseen_s=0)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_frames_that_are_none(tiny):
    stream, frame = Stream(tiny, "unik17", 2, 30.0, None), act(1).keypoints[0]
    stream.push(1.0, frame)
    bad = [
        (1.0, frame, r"^time goes backwards: a frame at 1\.0 s came after one at 1\.0 s$"),
        (0.5, frame, r"^time goes backwards: a frame at 0\.5 s came after one at 1\.0 s$"),
        (math.nan, frame, r"^a frame's time is nan; expected seconds$"),
        (
            2.0,
            frame[None],
            r"^the frame at 2\.0 s has keypoints of shape \(1, 17, 2\) and type float32; expected \(17, 2\) of floats: "
            r"the joints of layout 'unik17' in 2D$",
        ),
        (2.0, np.zeros((17, 3)), r"has keypoints of shape \(17, 3\)"),
        (2.0, np.full((17, 2), "1"), r"and type <U1; expected \(17, 2\) of floats"),
        (2.0, np.full((17, 2), np.inf), r"^the frame at 2\.0 s holds infinite values; use NaN for unseen joints$"),
    ]
    for time_s, keypoints, message in bad:
        with pytest.raises(TmorError, match=message):
            stream.push(time_s, keypoints)
    stream.push(1.1, frame)  # the stream is as it was
    assert len(stream.finish()) == 1
    assert stream.finish() == stream.finish()
    with pytest.raises(TmorError, match=r"^a frame at 1\.2 s came after the stream was finished$"):
        stream.push(1.2, frame)


def test_settings_that_are_none(tiny):
    def refuses(message: str, *settings, error: type[TmorError] = TmorError) -> None:
        with pytest.raises(error, match=message):
            Stream(tiny, *settings)

    refuses("^no labels were given; expected at least one$", UNIK17, 2, 30.0, [])
    refuses("^a label is empty; expected words$", UNIK17, 2, 30.0, ["wave", " "])
    refuses("^label 'Wave' is given twice$", UNIK17, 2, 30.0, ["wave", "Wave"])
    refuses("^dims is 4; expected 2 or 3$", UNIK17, 4, 30.0, None)
    for fps in (0, -1, math.nan, math.inf, 1e6):
        refuses(f"^fps is {fps}; expected 1 to 1000, or None$", UNIK17, 2, fps, None)
    refuses("layout", "no such layout", 2, 30.0, None, error=LayoutError)
    with pytest.raises(TmorError, match="has no classes of its own; give labels"):
        Stream(Model(TINY), UNIK17, 2, 30.0, None)
    with pytest.raises(TmorError, match="sees 25 joints"):
        Stream(Model(replace(TINY, joints=25, classes=("a",))), UNIK17, 2, 30.0, None)


def test_the_caller_may_use_its_array_again(tiny):
    track = act(1)
    stream, array = Stream(tiny, UNIK17, 2, 30.0, None), np.empty((17, 2), np.float32)
    for i, frame in enumerate(track.keypoints):
        array[:] = frame
        stream.push(i / 30, array)
        array[:] = -1
    assert_same(stream.finish(), tiny.detect(track))
