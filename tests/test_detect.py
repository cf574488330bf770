"""Detection: scores over time become segments and moments as worked out by hand; heads learn and are measured."""

import math
import warnings
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import letters
import tmor.model.model
from tmor.downstream import detect
from tmor.downstream.benchmarks import charades
from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold, Published
from tmor.downstream.benchmarks.untrimmed import Recording, UntrimmedSet, joined
from tmor.downstream.detect import (
    HEADS,
    Detection,
    FrameScores,
    against_the_next,
    evaluate_detection,
    recording_features,
    train_encoder,
    train_head,
)
from tmor.downstream.metrics.frames import frame_truth
from tmor.downstream.tables import result_rows
from tmor.errors import TmorError
from tmor.model.model import Model
from tmor.model.unik import UnikShape
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

TINY = replace(letters.TINY, views_deg=(0.0,))
ACTIONS = ("walk", "clap", "squat")


@pytest.fixture(autouse=True)
def _offline_and_quick(monkeypatch, tmp_path):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", lambda name: letters.Teacher())
    monkeypatch.setattr(detect, "train_head", lambda *args, **options: train_head(*args, **{**options, "steps": 10}))
    torch.manual_seed(0)


def scores(*columns: list[float], step: float = 0.25, start: float = 0.0) -> FrameScores:
    return FrameScores(start + step * np.arange(len(columns[0])), np.array(columns, dtype=float).T)


# --- segments and moments --------------------------------------------------------------------------------------------


def test_a_segment_reaches_the_high_threshold_and_lasts_while_above_the_low_one():
    #                0    1    2    3    4    5    6    7    8    9
    found = scores([0.0, 0.4, 0.6, 0.4, 0.2, 0.4, 0.4, 0.0, 0.9, 0.8]).segments(high=0.5, low=0.3, shortest_s=0.3)
    # Steps 1-3; 5 and 6 never reach 0.5; 8 and 9. Each step stands for the time half-way to its neighbours.
    assert found == [
        (0, pytest.approx(0.125), pytest.approx(0.875), pytest.approx(1.4 / 3)),
        (0, pytest.approx(1.875), pytest.approx(2.375), pytest.approx(0.85)),
    ]


def test_segments_of_classes_may_overlap_and_short_ones_are_left_out():
    found = scores([0.9, 0.9, 0.9, 0.0], [0.0, 0.9, 0.9, 0.9], [0.0, 0.0, 0.9, 0.0]).segments(shortest_s=0.5)
    assert [(k, round(start, 3), round(end, 3)) for k, start, end, _ in found] == [(0, 0.0, 0.625), (1, 0.125, 0.875)]
    assert scores([0.35, 0.35], step=1.0).segments() == [], "at the low threshold is not above it"
    assert len(scores([0.5, 0.35], step=1.0).segments()) == 1, "at the high threshold is reaching it"
    assert scores([0.0, 0.0]).segments() == []


def test_a_segment_of_a_later_recording_keeps_its_times():
    ((_, start, end, _),) = scores([0.0, 0.9, 0.9, 0.0], start=10.0).segments()
    assert (start, end) == (10.125, 10.625)


def test_moments_are_refined_by_a_parabola():
    # A parabola with its top at 2.3 steps.
    top = 0.8 - 0.05 * (np.arange(6) - 2.3) ** 2
    ((k, time),) = scores(list(top)).moments(np.array([0.5]))
    assert (k, time) == (0, pytest.approx(2.3 * 0.25))
    assert scores([0.1, 0.6, 0.6, 0.1]).moments(np.array([0.5])) == [(0, pytest.approx(1.5 * 0.25))], "a plateau"
    assert scores([0.9, 0.1, 0.1]).moments(np.array([0.5])) == [(0, 0.0)], "none before the beginning"
    assert scores([0.1, 0.1, 0.9]).moments(np.array([0.5])) == [(0, 0.5)]


def test_moments_lie_above_their_class_s_threshold():
    found = scores([0.0, 0.4, 0.0, 0.6, 0.0], [0.0, 0.4, 0.0, 0.6, 0.0])
    assert found.moments(np.array([0.5, 0.3]), apart_s=0.0) == [(0, 0.75), (1, 0.75), (1, 0.25)]
    assert found.moments(np.array([0.6, 0.7]), apart_s=0.0) == []


def test_of_moments_less_than_a_second_apart_the_highest_stays():
    own = [0.0, 0.6, 0.0, 0.9, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0]
    times = [time for _, time in scores(own).moments(np.array([0.5]))]
    assert times == [0.75, 2.75], "0.25 and 1.25 are half a second from 0.75"
    assert len(scores(own).moments(np.array([0.5]), apart_s=0.5)) == 4, "just as far as they must be"


def test_a_score_fires_when_it_rises_and_again_after_a_second_and_a_fall():
    own = [0.0, 0.6, 0.9, 0.6, 0.0, 0.7, 0.7, 0.7, 0.4, 0.5, 0.0]
    assert scores(own).firings(np.array([0.5])) == [(0, 0.25), (0, 1.25), (0, 2.25)]
    assert scores(own).firings(np.array([0.5]), apart_s=1.1) == [(0, 0.25), (0, 2.25)], "1.25 is too soon"
    assert scores([0.9, 0.9]).firings(np.array([0.5])) == [(0, 0.0)]
    assert scores([0.9] * 20).firings(np.array([0.95])) == []
    later = scores([*own[:6], *[0.0] * 5]).firings(np.array([0.5]), apart_s=0.5)
    assert later == [(0, 0.25), (0, 1.25)], "what comes later changes nothing"


# --- features --------------------------------------------------------------------------------------------------------


def test_features_of_the_past_know_nothing_of_what_comes():
    model, whole = Model(TINY), sample_track(ACTIONS[0], seed=1)
    features, times = detect.past_features(model, Recording("a", whole))
    stop = 61 * len(whole) // 100
    cut = detect.past_features(model, Recording("a", whole.frames(0, stop)))
    n = len(cut[0])
    assert 0 < n < len(features)
    np.testing.assert_allclose(cut[0][:-1], features[: n - 1], atol=1e-4)
    np.testing.assert_allclose(cut[1], times[:n])
    assert times[-1] <= whole.duration_s + 1 / 15, "a moment's row is there when its frames are over"


def test_raw_features_are_the_coordinates_of_four_frames_at_the_moments_of_the_encoder_s():
    model, track = Model(TINY), sample_track(ACTIONS[0], seed=1)
    rows, times = detect.raw_features(model, Recording("a", track))
    features, expected = model.frame_features(track)
    assert rows.shape == (len(features), 4 * 17 * 2)
    np.testing.assert_allclose(times, expected - track.start_s)
    assert np.isfinite(rows).all()
    again, _ = detect.raw_features(model, Recording("a", replace(track, keypoints=track.keypoints + 1)))
    np.testing.assert_allclose(again, rows, atol=1e-3)


# --- heads -----------------------------------------------------------------------------------------------------------


def test_a_linear_head_learns_what_a_moment_shows_and_only_convolutions_what_came_before():
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(length, 4)).astype(np.float32) for length in (60, 20)]
    truth = [np.stack([x[:, 0] > 0, np.roll(x[:, 1], 1) > 0], axis=1) for x in features]
    right = []
    for layers, steps in ((0, 600), (1, 100)):
        head = train_head(features, truth, layers=layers, steps=steps)
        assert not head.training
        with torch.inference_mode():
            said = [head(torch.from_numpy(x)[None])[0].numpy() > 0 for x in features]
        right.append(np.concatenate([a[1:] == b[1:] for a, b in zip(said, truth, strict=True)]).mean(axis=0))
    (now, before), both = right
    assert now > 0.85
    assert before < 0.65
    assert (both > 0.95).all()


def test_what_short_recordings_lack_teaches_a_head_nothing():
    rng = np.random.default_rng(0)
    x = [rng.normal(5, 2, (n, 3)).astype(np.float32) for n in (40, 4, 7)]
    y = [rng.random((len(own), 2)) < 0.5 for own in x]
    head = train_head(x, y, layers=2, steps=5)
    rows = np.concatenate(x)
    np.testing.assert_allclose(head.norm.running_mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(head.norm.running_var, rows.var(axis=0), rtol=1e-5)
    # A row among longer ones is judged as it is by itself.
    padded, there = torch.zeros(3, 40, 3), torch.zeros(3, 40, 1)
    for row, own in enumerate(x):
        padded[row, : len(own)], there[row, : len(own)] = torch.from_numpy(own), 1
    with torch.inference_mode():
        together = head(padded, there)
        for row, own in enumerate(x):
            alone = head(torch.from_numpy(own)[None])[0]
            np.testing.assert_allclose(together[row, : len(own)], alone, rtol=0, atol=1e-5)


def test_heads_repeat_under_their_seed():
    x, y = [np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)], [np.arange(30)[:, None] % 2 == 0]

    def weights(seed):
        return torch.cat([p.flatten() for p in train_head(x, y, layers=1, steps=5, seed=seed).parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def recordings(count: int = 2, seconds: float = 10.0) -> list[Recording]:
    """Somebody who squats (class 0) in the middle third, and else stands."""
    found = []
    for n in range(count):
        squat = sample_track("squat", body=n % 4, seed=n)
        still = np.repeat(np.array(squat.keypoints[:1]), round(seconds * 10), axis=0)
        middle = np.array(squat.keypoints)[np.arange(round(seconds * 10)) % len(squat)]
        points = np.concatenate([still, middle, still])
        track = Track(points, UNIK17, 30.0, id=str(n))
        found.append(Recording(str(n), track, ((0, seconds / 3, 2 * seconds / 3),), ((0, seconds / 2),)))
    return found


@pytest.mark.parametrize(
    "spec",
    [
        TINY,
        replace(TINY, stream="bone"),
        replace(TINY, stream="bone-3d", channels=6),
        replace(TINY, shape=UnikShape((8, 8), (2, 2), persons=2), width=0),
    ],
    ids=["joint", "bone", "3D", "person slots"],
)
def test_an_encoder_and_a_head_train_together_and_leave_their_start_alone(spec, monkeypatch):
    streams = set()
    original = detect.shown
    monkeypatch.setattr(detect, "shown", lambda x, stream: (streams.add(stream), original(x, stream))[1])
    model = Model(spec)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned, head = train_encoder(model, recordings(), 1, epochs=1)
    assert (tuned.training, head.training) == (False, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in tuned.state_dict().items())
    assert streams == {spec.stream}
    with torch.inference_mode():
        features, times = tuned.frame_features(recordings()[0].track)
        assert head(torch.from_numpy(features)[None]).shape == (1, len(times), 1)


def test_an_encoder_and_a_head_train_where_they_are_told():
    # What stayed behind on the processor could not be combined with tensors that have no data.
    told = []
    nowhere = SimpleNamespace(device="meta", autocast=nullcontext)
    with pytest.raises(NotImplementedError, match=r"^Cannot copy out of meta tensor"):
        train_encoder(
            Model(TINY),
            recordings(),
            1,
            epochs=1,
            compute=nowhere,  # pyright: ignore[reportArgumentType]
            progress=lambda *args: told.append(args),
        )
    assert [done for _, done, _ in told] == list(range(told[0][2]))


@pytest.mark.parametrize("epochs", [1, 5, 10])
def test_an_encoder_trains_for_any_number_of_steps(epochs):
    told = []
    train_encoder(Model(TINY), recordings(1, 6.0), 1, epochs=epochs, batch=3, progress=lambda *args: told.append(args))
    assert [done for _, done, _ in told] == list(range(told[0][2]))
    assert told[0][2] % epochs == 0


# --- evaluation ------------------------------------------------------------------------------------------------------

SEGMENT_MEASURES = {"frame_map", "frame_map_authors", "edit", "F1@10", "F1@25", "F1@50"}
SEGMENT_MEASURES |= {"event_map", "event_map_authors", "event_map_videos", "event_map_videos_authors"}
TAG_MEASURES = {"f_score", "precision", "recall", "latency_ms"}


@pytest.fixture(scope="module")
def labelled() -> LabelledSet:
    actions = [a for _ in range(8) for a in range(len(ACTIONS))]
    tracks = tuple((sample_track(ACTIONS[a], body=n % 4, style=n % 3, seed=n),) for n, a in enumerate(actions))
    train = np.arange(24) < 16
    return LabelledSet("toy", "halves", tracks, np.array(actions), ACTIONS, (Fold("halves", train, ~train),), {"x": 1})


@pytest.fixture
def data(labelled) -> UntrimmedSet:
    """Four training and two test recordings of four clips each."""
    return joined(labelled, clips=4)


@pytest.fixture
def tagged(data) -> UntrimmedSet:
    """The same with a tag in the middle of each segment, of one class fewer."""
    own = [
        replace(r, segments=(), tags=tuple((k, (a + b) / 2) for k, a, b in r.segments if k < 2))
        for r in data.recordings
    ]
    return replace(data, recordings=tuple(own), class_names=ACTIONS[:2])


def test_recordings_are_joined_from_samples_of_one_part(data, labelled):
    assert [len(r.segments) for r in data.recordings] == [4] * 6
    assert data.folds[0].train.tolist() == [True] * 4 + [False] * 2
    for part, rows in ((slice(0, 4), slice(0, 16)), (slice(4, 6), slice(16, 24))):
        shown = Counter(k for r in data.recordings[part] for k, _, _ in r.segments)
        assert shown == Counter(labelled.labels[rows].tolist())
    for recording in data.recordings:
        assert recording.segments[0][1] == 0
        assert recording.segments[-1][2] == pytest.approx(recording.track.duration_s)
        for (_, _, end), (_, start, _) in zip(recording.segments, recording.segments[1:], strict=False):
            assert end - start == pytest.approx(0.4)


@pytest.mark.parametrize("kind", ["segments", "tags"])
def test_every_head_is_measured_in_full(kind, data, tagged):
    source = data if kind == "segments" else tagged
    model = Model(TINY)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # means of nothing, where nothing was found
        detection = evaluate_detection(model, source, heads=HEADS, seeds=(0, 1), epochs=1)
    found = detection.result
    assert list(found["detect"]) == list(HEADS)
    for head, measures in found["detect"].items():
        assert set(measures) == (SEGMENT_MEASURES if kind == "segments" else TAG_MEASURES)
        for name, measure in measures.items():
            assert set(measure) == {"mean", "std"}
            assert math.isnan(measure["mean"]) or name == "latency_ms" or 0 <= measure["mean"] <= 100
            assert (measure["std"] is None) == (head == "text"), "only the text head has no chance in it"
    about = {key: found[key] for key in ("benchmark", "protocol", "part", "folds", "recordings", "classes", "seeds")}
    assert list(about.values()) == ["toy joined", "halves", "test", 1, 6, len(source.class_names), [0, 1]]
    assert found["hours"] == pytest.approx(sum(len(r.track) for r in data.recordings) / 15 / 3600)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    rows = result_rows([found])
    assert len(rows) == sum(map(len, found["detect"].values()))
    assert {row[0] for row in rows} == {"toy joined, halves"}
    assert sorted(detection.scores) == ["toy joined 4", "toy joined 5"], "those of the test part"
    assert all(own.scores.shape == (len(own.times_s), found["classes"]) for own in detection.scores.values())


def test_detection_repeats(data):
    one, other = (
        evaluate_detection(Model(TINY), data, heads=("scratch",), epochs=1).result["detect"] for _ in range(2)
    )
    assert one == other


def test_heads_and_shares_that_are_none(data):
    with pytest.raises(
        TmorError, match=r"^head is 'lstm'; expected one of text, raw, linear, tcn, causal, finetune, scratch$"
    ):
        evaluate_detection(Model(TINY), data, heads=("linear", "lstm"))  # pyright: ignore
    for share in (0.0, 1.1):
        with pytest.raises(TmorError, match=rf"^share is {share}; expected a number above 0, at most 1$"):
            evaluate_detection(Model(TINY), data, share=share)


@pytest.mark.parametrize(("share", "segments", "tags"), [(1.0, 4, 3), (0.5, 2, 2), (0.01, 1, 1)])
def test_heads_learn_from_a_share_of_the_training_recordings_alone(share, segments, tags, data, tagged, monkeypatch):
    seen: list[set[str]] = []
    first = {}
    frame_features = Model.frame_features

    def remember(self, track):
        found = frame_features(self, track)
        first[found[0][0].tobytes()] = track.id
        return found

    def watch(features, targets, **options):
        seen.append({first[x[0].tobytes()] for x in features})
        return train_head(features, targets, **{**options, "steps": 1})

    monkeypatch.setattr(detect, "train_head", watch)
    monkeypatch.setattr(Model, "frame_features", remember)
    for source, expected in ((data, segments), (tagged, tags)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            evaluate_detection(Model(TINY), source, heads=("linear",), share=share)
        # Where there are tags, a quarter of these recordings chooses the thresholds and trains nothing.
        assert len(seen[-1]) == expected
        assert seen[-1] <= {f"toy joined {n}" for n in range(4)}


def oracle(self, train):
    """In place of a trained head: what is true, at 15 moments a second, and near a tag a peak."""

    def score(i):
        recording, k = self.data.recordings[i], len(self.data.class_names)
        times = np.arange(len(recording.track)) / 15
        own = frame_truth(recording.segments, times, k, bounds="strict").astype(float)
        for label, tag in recording.tags:
            own[:, label] = np.maximum(own[:, label], np.exp(-(((times - tag) / 0.2) ** 2)))
        return FrameScores(times, own)

    return score


def by_hand(**changes) -> UntrimmedSet:
    points = np.array(sample_track("walk").keypoints)[np.arange(300) % 60]
    tracks = [Track(points, UNIK17, 15.0, id=str(n)) for n in range(4)]
    segments = [((0, 1.0, 6.0), (1, 4.0, 9.0), (0, 12.0, 16.0))] * 4
    own = [Recording(t.id or "", t, s) for t, s in zip(tracks, segments, strict=True)]
    train = np.arange(4) < 2
    return UntrimmedSet("toy", "halves", tuple(own), ("walk", "wave"), (Fold("halves", train, ~train),), {})


def test_who_knows_all_segments_has_all_points(monkeypatch):
    monkeypatch.setattr(detect._Run, "_scorer", oracle)
    detection = evaluate_detection(Model(TINY), by_hand(), heads=("scratch",))
    found = detection.result["detect"]["scratch"]
    assert {name: measure["mean"] for name, measure in found.items() if name != "edit"} == {
        "frame_map": 100,
        "frame_map_authors": 100,
        **dict.fromkeys(("event_map", "event_map_authors", "event_map_videos", "event_map_videos_authors"), 100),
        **dict.fromkeys(("F1@10", "F1@25", "F1@50"), 100),
    }
    # One class at a time, the first of the best: walk, wave, walk, as the truth is read too.
    assert found["edit"]["mean"] == 100
    assert list(detection.segments()) == ["2", "3"]
    walk, wave, again = detection.segments()["3"]
    assert (walk["label"], wave["label"], again["label"]) == ("walk", "wave", "walk")
    assert (again["start_s"], again["end_s"]) == (pytest.approx(12, abs=0.07), pytest.approx(16, abs=0.07))
    assert again["score"] == 1


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_where_nothing_happens_and_nothing_is_found_there_is_nothing_to_measure(monkeypatch):
    monkeypatch.setattr(detect._Run, "_scorer", oracle)
    source = by_hand()
    source = replace(
        source, recordings=(*source.recordings[:2], *(replace(r, segments=()) for r in source.recordings[2:]))
    )
    found = evaluate_detection(Model(TINY), source, heads=("scratch",)).result["detect"]["scratch"]
    assert all(np.isnan(found[name]["mean"]) for name in ("frame_map", "event_map", "edit", "F1@50"))


def test_charades_has_its_own_measure(monkeypatch):
    monkeypatch.setattr(detect._Run, "_scorer", oracle)
    source = replace(by_hand(), metric="localisation", published=(Published("others", "localisation", 17.2),))
    # The official moments are shares of the length in the authors' list, which need not be that of the frames.
    source = replace(source, recordings=tuple(replace(r, duration_s=20.4) for r in source.recordings))
    found = evaluate_detection(Model(TINY), source, heads=("scratch",)).result
    assert found["detect"]["scratch"]["localisation"]["mean"] == 100
    assert result_rows([found])[-2:] == [
        ("toy, halves", "scratch: Charades localisation mAP", "100.0", ""),
        ("toy, halves", "Charades localisation mAP", "17.2", "published: others"),
    ]
    assert {p.measure for p in charades.BENCHMARK.protocols[0].published} == {"localisation"}


def test_means_of_detection_are_over_folds_and_seeds(monkeypatch):
    values = {(0, "a"): 10.0, (0, "b"): 20.0, (1, "a"): 30.0, (1, "b"): float("nan")}
    monkeypatch.setattr(detect._Run, "fold", lambda self, fold: ({"edit": values[self.seed, fold.name]}, {}))
    source = by_hand()
    train = source.folds[0].train
    source = replace(source, folds=(Fold("a", train, ~train), Fold("b", ~train, train)))
    found = evaluate_detection(Model(TINY), source, heads=("tcn",), seeds=(0, 1)).result
    # What a fold could not measure does not count.
    assert found["detect"]["tcn"]["edit"] == {"mean": 22.5, "std": pytest.approx(15 / math.sqrt(2))}
    assert found["folds"] == 2


def test_who_knows_all_tags_has_all_points(monkeypatch):
    monkeypatch.setattr(detect._Run, "_scorer", oracle)
    source = by_hand()
    tags = ((0, 2.0), (1, 2.0), (0, 7.03), (0, 15.5))
    source = replace(source, recordings=tuple(replace(r, segments=(), tags=tags) for r in source.recordings))
    assert source.has_tags
    found = evaluate_detection(Model(TINY), source, heads=("scratch",)).result["detect"]["scratch"]
    assert [found[name]["mean"] for name in ("f_score", "precision", "recall")] == [100, 100, 100]
    assert abs(found["latency_ms"]["mean"]) < 5


def test_thresholds_are_chosen_for_the_best_f_on_held_out_recordings():
    source = by_hand()
    tags = ((0, 2.0), (1, 5.0))
    source = replace(source, recordings=tuple(replace(r, segments=(), tags=tags) for r in source.recordings))
    times = np.arange(80) / 4
    own = np.zeros((80, 2))
    own[8] = (0.5, 0.0)  # right, at 2 s
    own[40] = (0.3, 0.2)  # wrong
    own[20, 1] = 0.9
    found = detect._thresholds(source, np.array([0]), [FrameScores(times, own)], FrameScores.moments)
    # The least that leaves the wrong ones out: the grid goes from 0.05 in steps of 0.05.
    assert found == pytest.approx([0.3, 0.2])
    assert detect._thresholds(source, np.array([], dtype=int), [], FrameScores.moments).tolist() == [0.5, 0.5], (
        "nothing"
    )


def test_targets_are_segments_and_what_is_near_a_tag():
    track = Track(np.zeros((150, 17, 2)), UNIK17, 15.0)
    recording = Recording("a", track, ((0, 1.0, 2.0),), ((1, 3.0),))
    times = np.array([0.9, 1.0, 2.0, 2.69, 2.75, 3.25, 3.31])
    found = detect._targets(recording, times, 2)
    assert found[:, 0].tolist() == [False, True, True, False, False, False, False]
    assert found[:, 1].tolist() == [False, False, False, False, True, True, False]


def test_a_second_person_counts_by_how_much_is_seen_of_them() -> None:
    model = Model(TINY).eval()
    first, second = (sample_track(action, body=0, style=0, seed=1) for action in ("walk", "squat"))
    n = min(len(first), len(second))
    first, second = first.frames(0, n), second.frames(0, n)
    alone, times = model.frame_features(first)
    other, _ = model.frame_features(second)
    both, same_times = recording_features(model, Recording("both", first, others=(second,)))
    assert np.array_equal(times, same_times)
    np.testing.assert_allclose(both, (alone + other) / 2, atol=1e-6)
    absent = replace(second, keypoints=np.full_like(second.keypoints, np.nan))
    without, _ = recording_features(model, Recording("both", first, others=(absent,)))
    np.testing.assert_allclose(without, alone, atol=1e-6)


def test_a_charades_submission_has_25_lines_per_video() -> None:
    scores = {"A1": FrameScores(np.array([0.0, 10.0]), np.array([[0.0, 1.0], [1.0, 0.0]]))}
    names = charades.CLASSES[3], charades.CLASSES[156]  # the others are shown by no recording
    lines = Detection({}, names, scores, {"A1": 10.0}).submission().splitlines()
    assert len(lines) == 25
    assert lines[0] == f"A1 1 {'0 ' * 156}1"
    assert lines[5] == f"A1 6 0 0 0 0.2 {'0 ' * 152}0.8"  # at 5 / 25 of ten seconds


def test_an_answer_stands_against_the_best_of_the_others():
    found = against_the_next(np.array([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2], [0.02, 0.01, 0.97]]))
    expected = [[1 / 7, 2 / 3, 1 / 3], [1 / 2, 1 / 2, 1 / 3], [2 / 99, 1 / 98, 97 / 99]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # More answers make none of them smaller, as long as they are worse ones.
    np.testing.assert_allclose(against_the_next(np.array([[0.3, 0.2, *[0.05] * 10]]))[0, :2], [0.6, 0.4])
