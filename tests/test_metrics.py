"""Every metric twice: by hand, and against scikit-learn or a slow, literal reading of its official definition."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, confusion_matrix

from tmor.downstream.metrics.averages import over_seeds
from tmor.downstream.metrics.classification import confusion, harmonic_mean
from tmor.downstream.metrics.events import edit_score, event_map, label_runs, segmental_f1, tag_f_score
from tmor.downstream.metrics.frames import (
    average_precision,
    charades_localisation,
    charades_points,
    charades_submission,
    dense_localisation,
    dense_times,
    frame_map,
    frame_truth,
)
from tmor.downstream.metrics.retrieval import dissimilar_subset, retrieval, retrieval_protocols

NAN = float("nan")
MEANS = ("precision", "recall", "f", "latency_s")
few = settings(max_examples=60, deadline=None)


def same(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def mean_of_numbers(values) -> float:
    values = [v for v in values if not np.isnan(v)]
    return sum(values) / len(values) if values else NAN


@pytest.mark.filterwarnings("error")
def test_means_over_seeds_leave_out_what_there_was_nothing_to_measure_in():
    assert over_seeds([[10.0, NAN], [20.0, 40.0], [NAN, NAN]]) == {"mean": 20, "std": pytest.approx(20 / 2**0.5)}
    assert over_seeds([[NAN, NAN], [5.0, NAN]]) == {"mean": 5, "std": pytest.approx(NAN, nan_ok=True)}
    assert over_seeds([[NAN, 5.0]]) == {"mean": 5, "std": None}
    same(over_seeds([[NAN]])["mean"], NAN)


# ---- classification


def test_harmonic_mean_by_hand():
    assert harmonic_mean(60.0, 30.0) == pytest.approx(40)
    assert harmonic_mean(50.0, 50.0) == 50
    assert harmonic_mean(80.0, 0.0) == harmonic_mean(0.0, 0.0) == 0
    assert np.isnan(harmonic_mean(NAN, 30.0))


def test_confusion_by_hand_and_by_scikit_learn():
    same(confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3), [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    found = confusion(truth, answer, 5)
    assert found.dtype == np.int64
    same(found, confusion_matrix(truth, answer, labels=range(5)))
    assert confusion(truth[:0], answer[:0], 2).tolist() == [[0, 0], [0, 0]]


def test_confusion_says_what_is_out_of_range():
    with pytest.raises(ValueError, match="answer holds class 3; expected 0 to 2"):
        confusion(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="truth holds class -1; expected 0 to 2"):
        confusion(np.array([-1, 1]), np.array([0, 2]), 3)
    with pytest.raises(ValueError, match=r"truth is \(2,\) and answer \(1,\)"):
        confusion(np.array([0, 1]), np.array([0]), 3)


# ---- average precision and frame mAP


def literal_ap(truth, score) -> float:
    """Walk down the scores; at each positive note the precision so far. Only for scores that are all different."""
    positives = 0
    precisions = []
    for seen, i in enumerate(sorted(range(len(score)), key=lambda i: -score[i]), start=1):
        if truth[i]:
            positives += 1
            precisions.append(positives / seen)
    return sum(precisions) / len(precisions) if precisions else NAN


def test_average_precision_by_hand():
    truth = np.array([True, False, True, False])
    assert average_precision(truth, np.array([4.0, 3, 2, 1])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(truth, np.array([4, 1, 3, 2])) == 1
    # A block of equal scores has the precision at its end.
    assert average_precision(truth, np.zeros(4)) == 0.5
    assert average_precision(truth, np.array([1.0, 1, 0, -np.inf])) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))
    assert np.isnan(average_precision(np.zeros(0, bool), np.zeros(0)))
    assert average_precision(np.ones(3, bool), np.arange(3.0)) == 1


def test_average_precision_refuses_what_it_cannot_rank():
    with pytest.raises(ValueError, match="score 1 is NaN; expected a number"):
        average_precision(np.array([True, False]), np.array([0.0, NAN]))
    with pytest.raises(ValueError, match=r"truth is \(2,\) and score \(3,\); expected \(n,\) both"):
        average_precision(np.zeros(2, bool), np.zeros(3))


def test_average_precision_agrees_with_the_definition_on_random_scores():
    rng = np.random.default_rng(1)
    for n in (1, 2, 5, 50, 500):
        truth, score = rng.random(n) < 0.3, rng.permutation(n)
        truth[0] = True
        same(average_precision(truth, score), literal_ap(truth, score))


scored = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        arrays.arrays(bool, n),
        arrays.arrays(np.float64, n, elements=st.sampled_from([-2.0, 0.0, 0.25, 0.5, 1.0])),
        st.permutations(range(n)),
    )
)


@given(scored)
@few
def test_average_precision_with_ties_is_that_of_scikit_learn_in_any_order(case):
    truth, score, order = case
    found = average_precision(truth, score)
    if not truth.any():
        assert np.isnan(found)
        return
    assert 0 < found <= 1
    same(found, average_precision_score(truth, score))
    assert average_precision(truth[order], score[order]) == found
    # Only the order of the scores counts.
    assert average_precision(truth, np.exp(score) * 3) == found


def test_frame_map_by_hand():
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    scores = np.array([[0.9, 0.9, 0.1], [0.8, 0.8, 0.2], [0.7, 0.1, 0.3]])
    found = frame_map(truth, scores)
    same(found["per_class"], [100 * (1 + 2 / 3) / 2, 50, NAN])
    assert found["plain"] == pytest.approx((500 / 6 + 50) / 2)
    assert found["authors"] == found["plain"]


def test_frame_map_of_nothing_is_nan():
    found = frame_map(np.zeros((4, 2), bool), np.zeros((4, 2)))
    assert np.isnan([found["plain"], found["authors"], *found["per_class"]]).all()
    assert np.isnan(frame_map(np.zeros((0, 2), bool), np.zeros((0, 2)))["plain"])
    with pytest.raises(ValueError, match=r"expected \(frames, classes\) both"):
        frame_map(np.zeros((4, 2), bool), np.zeros((4, 3)))


@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 5))
@few
def test_frame_map_is_the_mean_over_the_classes_there_are(seed, frames, classes):
    rng = np.random.default_rng(seed)
    truth, scores = rng.random((frames, classes)) < 0.2, rng.integers(0, 6, (frames, classes)) / 5
    found = frame_map(truth, scores)
    present = [k for k in range(classes) if truth[:, k].any()]
    same(found["plain"], mean_of_numbers([100 * average_precision_score(truth[:, k], scores[:, k]) for k in present]))
    # The authors give a class without positives 0, and leave out what is 0.
    zeros = np.nan_to_num(found["per_class"])
    same(found["authors"], zeros.sum() / np.count_nonzero(zeros) if zeros.any() else NAN)
    f, k = rng.permutation(frames), rng.permutation(classes)
    moved = frame_map(truth[f][:, k], scores[f][:, k])
    same(moved["plain"], found["plain"])
    same(moved["per_class"], found["per_class"][k])


# ---- frame labels, TSU and Charades


def test_bounds_of_frame_labels():
    segments = [(0, 1.0, 3.0), (0, 2.0, 4.0), (1, 2.0, 2.0), (1, 4.0, 3.0)]
    times = np.arange(6.0)
    inclusive = frame_truth(segments, times, 3, bounds="inclusive")
    strict = frame_truth(segments, times, 3, bounds="strict")
    assert inclusive.T.astype(int).tolist() == [[0, 1, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0], [0] * 6]
    assert strict.T.astype(int).tolist() == [[0, 0, 1, 1, 0, 0], [0] * 6, [0] * 6]
    assert not frame_truth([], times, 2, bounds="strict").any()


def test_frame_labels_refuse_bad_segments():
    with pytest.raises(ValueError, match=r"segment \(2, 0.0, 1.0\) is of class 2; expected 0 to 1"):
        frame_truth([(2, 0.0, 1.0)], np.arange(2), 2, bounds="strict")
    with pytest.raises(ValueError, match=r"segment \(0, nan, 1.0\) has a time that is not finite"):
        frame_truth([(0, NAN, 1.0)], np.arange(2), 2, bounds="strict")
    with pytest.raises(ValueError, match="bounds is 'open'; expected inclusive or strict"):
        frame_truth([], np.arange(2), 2, bounds="open")  # pyright: ignore


segment = st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 12)).map(lambda s: (s[0], s[1] / 2, s[2] / 2))


@given(st.lists(segment, max_size=6), st.permutations(range(6)))
@few
def test_frame_labels_are_read_moment_by_moment(segments, order):
    times = np.arange(0, 6, 0.5)
    for bounds in ("inclusive", "strict"):
        found = frame_truth(segments, times, 3, bounds=bounds)
        for i, k in itertools.product(range(len(times)), range(3)):
            within = [
                (a <= times[i] <= b) if bounds == "inclusive" else (a < times[i] < b) for c, a, b in segments if c == k
            ]
            assert found[i, k] == any(within)
        shuffled = [segments[i] for i in order if i < len(segments)]
        assert (frame_truth(shuffled, times, 3, bounds=bounds) == found).all()


def test_dense_times_are_those_of_the_authors():
    fps = 7 / 22.3
    assert dense_times(7, 22.3).tolist() == [i / fps for i in range(7)]
    with pytest.raises(ValueError, match="duration is 0; expected above 0"):
        dense_times(3, 0)


def literal_tsu(annotated, durations, scores, classes) -> float:
    """``make_gt`` and ``APMeter``: strict bounds, then the mean over the APs that are not 0."""
    rows, said = [], []
    for actions, duration, own in zip(annotated, durations, scores, strict=True):
        fps = len(own) / duration
        for frame in range(len(own)):
            row = [False] * classes
            for k, start, end in actions:
                if frame / fps > start and frame / fps < end:
                    row[k] = True
            rows.append(row)
            said.append(own[frame])
    aps = [literal_ap([row[k] for row in rows], [s[k] for s in said]) for k in range(classes)]
    aps = [ap for ap in aps if not np.isnan(ap) and ap != 0]
    return 100 * sum(aps) / len(aps)


def random_videos(rng, videos, classes, length):
    return [
        [
            (int(rng.integers(classes)), float(start), float(start + rng.integers(1, length)))
            for start in rng.integers(0, length, rng.integers(0, 5))
        ]
        for _ in range(videos)
    ]


def test_dense_localisation_is_the_frame_map_of_tsu():
    rng = np.random.default_rng(3)
    annotated = [*random_videos(rng, 6, 4, 30), [(0, 2.0, 9.0)]]
    durations = [float(d) for d in rng.integers(20, 60, 7)]
    scores = [rng.random((int(n), 5)) for n in rng.integers(5, 40, 7)]
    found = dense_localisation(annotated, durations, scores)
    same(found["plain"], literal_tsu(annotated, durations, scores, 5))
    assert np.isnan(found["per_class"][4])
    truth = [
        frame_truth(s, dense_times(len(own), d), 5, bounds="strict")
        for s, d, own in zip(annotated, durations, scores, strict=True)
    ]
    same(found["per_class"], frame_map(np.concatenate(truth), np.concatenate(scores))["per_class"])
    with pytest.raises(ValueError, match="segments of 6 videos, lengths of 7, scores of 7"):
        dense_localisation(annotated[1:], durations, scores)
    with pytest.raises(ValueError, match="the same in all"):
        dense_localisation(annotated, durations, [*scores[1:], np.zeros((3, 4))])


def literal_charades(annotated, lengths, scores) -> np.ndarray:
    """``Charades_v1_localize.m``, moment by moment; percent per class."""
    classes = scores.shape[2]
    aps = []
    for k in range(classes):
        labels, values = [], []
        for video, (actions, length) in enumerate(zip(annotated, lengths, strict=True)):
            for j in range(1, 26):
                point = (j - 1) / 25 * length
                labels.append(any(c == k and start <= point <= end for c, start, end in actions))
                values.append(scores[video, j - 1, k])
        aps.append(100 * literal_ap(labels, values))
    return np.array(aps)


def test_charades_points():
    same(charades_points(50.0), np.arange(25) * 2)
    assert charades_points(0.0).tolist() == [0.0] * 25


def test_charades_localisation_by_hand():
    # Points at 0, 1, ..., 24 s: 3 to 5 are positive, both ends among them.
    scores = np.zeros((1, 25, 1))
    scores[0, 3:6] = 1
    assert charades_localisation([[(0, 3.0, 5.0)]], [25.0], scores)["official"] == 100
    scores[0, 6] = 1
    assert charades_localisation([[(0, 3.0, 5.0)]], [25.0], scores)["official"] == pytest.approx(75)
    scores[0, :, 0] = np.arange(25)
    found = charades_localisation([[(0, 3.0, 5.0)]], [25.0], scores)["official"]
    assert found == pytest.approx(100 * (1 / 20 + 2 / 21 + 3 / 22) / 3)


def test_charades_localisation_follows_the_official_code():
    rng = np.random.default_rng(4)
    annotated = [*random_videos(rng, 8, 3, 20), [(k, 0.0, 3.0) for k in range(3)]]
    lengths = [*rng.uniform(10, 40, 8), 25.0]
    scores = rng.random((9, 25, 3))
    found = charades_localisation(annotated, lengths, scores)
    same(found["per_class"], literal_charades(annotated, lengths, scores))
    same(found["official"], found["plain"])
    # A class that never happens: the official code divides 0 by 0.
    more = np.concatenate([scores, rng.random((9, 25, 1))], axis=2)
    absent = charades_localisation(annotated, lengths, more)
    assert np.isnan(absent["official"])
    same(absent["plain"], found["plain"])


def test_charades_localisation_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"scores are \(1, 24, 2\); expected \(videos, 25, classes\)"):
        charades_localisation([[]], [1.0], np.zeros((1, 24, 2)))
    with pytest.raises(ValueError, match="segments of 2 videos, lengths of 1, scores of 1"):
        charades_localisation([[], []], [1.0], np.zeros((1, 25, 2)))


def test_charades_submission_reads_back():
    scores = np.random.default_rng(5).random((2, 25, 157))
    lines = list(charades_submission(["AAAAA", "46GP8"], scores))
    assert len(lines) == 50
    fields = [line.split() for line in lines]
    assert [f[:2] for f in fields[24:26]] == [["AAAAA", "25"], ["46GP8", "1"]]
    np.testing.assert_allclose(np.array([f[2:] for f in fields], float).reshape(scores.shape), scores, rtol=1e-5)
    for name in ("a b", "", " a"):
        with pytest.raises(ValueError, match="expected one without blanks"):
            list(charades_submission([name], scores[:1]))
    with pytest.raises(ValueError, match=r"expected \(videos, 25, classes\)"):
        list(charades_submission(["a"], scores[:1, :3]))
    with pytest.raises(ValueError, match="zip"):
        list(charades_submission(["a"], scores))


# ---- event mAP


@cache
def literal_iou(a, b) -> float:
    """Of (start, end) on a line; half steps are counted, so times are multiples of 1/2."""
    first, second = (set(range(int(2 * x), int(2 * y))) for x, y in (a, b))
    return len(first & second) / len(first | second) if first | second else 0.0


def literal_hits(truths, predictions, iou):
    """Greedy by score, for scores that are all different: [(video, class, score, hit)]."""
    taken, rows = set(), []
    flat = [(v, *p) for v, own in enumerate(predictions) for p in own]
    for video, k, start, end, score in sorted(flat, key=lambda p: -p[4]):
        best, right = 0.0, None
        for index, (c, a, b) in enumerate(truths[video]):
            overlap = literal_iou((start, end), (a, b)) if c == k else 0.0
            better = overlap > best or (overlap == best and (video, right) in taken and (video, index) not in taken)
            if overlap >= iou and better:
                best, right = overlap, index
        rows.append((video, k, score, right is not None and (video, right) not in taken))
        if right is not None:
            taken.add((video, right))
    return rows


def literal_event_ap(hits, total) -> float:
    """Precision at each hit, over all truths."""
    if not total:
        return NAN
    found, precisions = 0, []
    for seen, (*_, hit) in enumerate(hits, start=1):
        if hit:
            found += 1
            precisions.append(found / seen)
    return 100 * sum(precisions) / total


def literal_authors_ap(truths, predictions, iou) -> float:
    """The released script: rows of truths (video, class, start, end) and predictions (..., score), in percent."""
    if not truths or not predictions:
        return 0.0
    ranked = sorted(predictions, key=lambda p: p[4])
    owner = []
    for video, k, start, end, _ in ranked:
        own = -1
        for index, (v, c, a, b) in enumerate(truths):
            if (v, c) != (video, k) or literal_iou((start, end), (a, b)) < iou:
                continue
            if own == -1 or literal_iou((start, end), (a, b)) >= literal_iou((start, end), truths[own][2:]):
                own = index
        owner.append(own)
    left = len(ranked)
    counts = [owner.count(i) for i in range(len(truths))]
    recall = sum(c > 0 for c in counts) / len(truths)
    ceiling, total = sum(c > 0 for c in counts) / left, 0.0
    for own in owner:
        left -= 1
        if own == -1:
            continue
        counts[own] -= 1
        positive = sum(c > 0 for c in counts)
        ceiling = max(ceiling, positive / left if left else 0.0)
        total += ceiling * (recall - (positive / len(truths) if left else 0.0))
        recall = positive / len(truths) if left else 0.0
    return 100 * total


def check_events(truths, predictions, classes, iou):
    found = event_map(truths, predictions, classes=classes, iou=iou)
    truths = [sorted(own) for own in truths]  # Ties in overlap go by time.
    hits = literal_hits(truths, predictions, iou)
    per_class = [
        literal_event_ap([h for h in hits if h[1] == k], sum(c == k for own in truths for c, *_ in own))
        for k in range(classes)
    ]
    per_video = [literal_event_ap([h for h in hits if h[0] == v], len(own)) for v, own in enumerate(truths)]
    same(found["per_class"], per_class)
    same(found["per_video"], per_video)
    same(found["action"], mean_of_numbers(per_class))
    same(found["video"], mean_of_numbers(per_video))
    flat = [(v, *t) for v, own in enumerate(truths) for t in own]
    said = [(v, *p) for v, own in enumerate(predictions) for p in own]
    by_class = [
        literal_authors_ap([t for t in flat if t[1] == k], [p for p in said if p[1] == k], iou) for k in range(classes)
    ]
    by_video = [
        literal_authors_ap([t for t in flat if t[0] == v], [p for p in said if p[0] == v], iou)
        for v in range(len(truths))
    ]
    same(found["authors_action"], np.mean(by_class))
    same(found["authors_video"], np.mean(by_video))
    return found


def test_event_map_by_hand():
    truths = [[(0, 0.0, 10.0), (0, 20.0, 30.0)], [(1, 0.0, 4.0)]]
    predictions = [
        [(0, 0.0, 10.0, 0.9), (0, 1.0, 10.0, 0.8), (0, 21.0, 30.0, 0.7), (1, 0.0, 10.0, 0.6)],
        [(1, 2.0, 4.0, 0.5)],
    ]
    found = check_events(truths, predictions, 3, 0.5)
    # Right, twice the same, right: precision 1 and 2/3. Class 1: one in the wrong video, then right at IoU 0.5.
    same(found["per_class"], [100 * (1 + 2 / 3) / 2, 50, NAN])
    same(found["per_video"], [100 * (1 + 2 / 3) / 2, 100])
    stricter = check_events(truths, predictions, 3, 0.51)
    same(stricter["per_class"][1], 0)
    same(stricter["per_video"][1], 0)


def test_event_map_of_a_perfect_answer_and_of_none():
    truths = [[(0, 0.0, 2.0), (1, 1.0, 5.0)], []]
    perfect = event_map(truths, [[(0, 0.0, 2.0, 0.1), (1, 1.0, 5.0, 0.1)], []], classes=3, iou=1.0)
    assert perfect["action"] == perfect["video"] == 100
    # The authors count the class and the video without truths as 0.
    assert (perfect["authors_action"], perfect["authors_video"]) == (pytest.approx(200 / 3), 50)
    nothing = event_map(truths, [[], []], classes=3)
    assert nothing["action"] == nothing["video"] == nothing["authors_action"] == nothing["authors_video"] == 0
    empty = event_map([[]], [[(0, 0.0, 1.0, 0.5)]], classes=2)
    assert np.isnan([empty["action"], empty["video"]]).all() and empty["authors_action"] == 0
    assert np.isnan(event_map([], [], classes=2)["authors_video"])


def test_authors_event_ap_charges_for_wrong_predictions_below_all_right_ones():
    truths, wrong = [[(0, 0.0, 2.0)]], [[(0, 0.0, 2.0, 0.9), (0, 5.0, 6.0, 0.1)]]
    found = check_events(truths, wrong, 1, 0.5)
    assert (found["action"], found["authors_action"]) == (100, 50)


def test_two_like_truths_can_both_be_found_and_empty_intervals_overlap_nothing():
    truths = [[(0, 0.0, 4.0), (0, 0.0, 4.0)]]
    assert event_map(truths, [[(0, 0.0, 4.0, 0.9), (0, 0.0, 4.0, 0.8)]], classes=1)["action"] == 100
    assert event_map([[(0, 1.0, 1.0)]], [[(0, 1.0, 1.0, 0.5)]], classes=1)["action"] == 0
    assert event_map([[(0, 3.0, 1.0)]], [[(0, 0.0, 5.0, 0.5), (0, 3.0, 1.0, 0.4)]], classes=1, iou=0.01)["action"] == 0


def test_event_map_refuses_bad_input():
    with pytest.raises(ValueError, match="iou is 0; expected above 0, at most 1"):
        event_map([], [], classes=1, iou=0)
    with pytest.raises(ValueError, match="truths of 1 videos and predictions of 0; expected the same"):
        event_map([[]], [], classes=1)
    with pytest.raises(ValueError, match="is of class 1; expected 0 to 0"):
        event_map([[]], [[(1, 0.0, 1.0, 0.5)]], classes=1)
    with pytest.raises(ValueError, match="has a score that is NaN"):
        event_map([[]], [[(0, 0.0, 1.0, NAN)]], classes=1)
    with pytest.raises(ValueError, match="not finite"):
        event_map([[(0, 0.0, np.inf)]], [[]], classes=1)


interval = st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(1, 8)).map(
    lambda s: (s[0], s[1] / 2, s[1] / 2 + s[2] / 2)
)
video = st.tuples(st.lists(interval, max_size=5), st.lists(interval, max_size=6))


@given(st.lists(video, min_size=1, max_size=3), st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]), st.randoms())
@few
def test_event_map_agrees_with_its_definition_and_ignores_the_order_of_lists(videos, iou, random):
    truths = [own for own, _ in videos]
    scores = list(range(sum(len(said) for _, said in videos)))
    random.shuffle(scores)
    predictions = [[(*p, float(scores.pop())) for p in said] for _, said in videos]
    found = check_events(truths, predictions, 3, iou)
    for rows in (*truths, *predictions):
        random.shuffle(rows)
    moved = event_map(truths, predictions, classes=3, iou=iou)
    for key in ("action", "video", "per_class"):
        same(moved[key], found[key])
    back = event_map(truths[::-1], predictions[::-1], classes=3, iou=iou)
    same(back["per_video"], found["per_video"][::-1])
    same(back["per_class"], found["per_class"])


@given(st.lists(video, min_size=1, max_size=2), st.randoms())
@few
def test_event_map_with_ties_does_not_depend_on_order_and_is_at_most_that_of_a_lucky_order(videos, random):
    truths = [own for own, _ in videos]
    predictions = [[(*p, random.choice([0.2, 0.5])) for p in said] for _, said in videos]
    found = event_map(truths, predictions, classes=3)
    for rows in predictions:
        random.shuffle(rows)
    moved = event_map(truths, predictions, classes=3)
    same(moved["per_class"], found["per_class"])
    same(moved["per_video"], found["per_video"])


# ---- tags


def most_pairs(tags, answers, tolerance) -> int:
    """The largest one-to-one matching, by trying everything."""
    if not tags:
        return 0
    best = most_pairs(tags[1:], answers, tolerance)
    for j, answer in enumerate(answers):
        if abs(answer - tags[0]) <= tolerance:
            best = max(best, 1 + most_pairs(tags[1:], answers[:j] + answers[j + 1 :], tolerance))
    return best


def test_tag_f_score_by_hand():
    truths = [[(0, 1.0), (0, 2.0), (1, 5.0)], [(0, 1.0)]]
    predictions = [[(0, 1.25), (0, 1.3), (0, 3.0), (1, 4.75)], [(1, 1.0)]]
    found = tag_f_score(truths, predictions)
    assert found["per_class"][0] == {
        "precision": pytest.approx(100 / 3),
        "recall": pytest.approx(100 / 3),
        "f": pytest.approx(100 / 3),
        "latency_s": pytest.approx(0.25),
    }
    assert (found["per_class"][1]["precision"], found["per_class"][1]["recall"]) == (50, 100)
    assert found["f"] == pytest.approx((100 / 3 + 200 / 3) / 2)
    assert found["latency_s"] == pytest.approx(0)


def test_tags_pair_for_the_most_not_for_the_nearest():
    # 1.2 is nearest to 1.1, but then 0.9 would find nothing.
    found = tag_f_score([[(0, 1.1), (0, 1.4)]], [[(0, 0.9), (0, 1.2)]], tolerance_s=0.25)
    assert found["recall"] == 100
    assert found["latency_s"] == pytest.approx(-0.2)


def test_tags_at_the_limits():
    assert tag_f_score([[(0, 1.0)]], [[(0, 1.5)]], tolerance_s=0.5)["f"] == 100
    assert tag_f_score([[(0, 1.0)]], [[(0, 1.51)]], tolerance_s=0.5)["f"] == 0
    nothing = tag_f_score([[(2, 1.0)]], [[]])
    assert (nothing["recall"], nothing["f"]) == (0, 0)
    assert np.isnan([nothing["precision"], nothing["latency_s"]]).all()
    untagged = tag_f_score([[]], [[(2, 1.0)]])
    assert np.isnan([untagged["f"], untagged["per_class"][2]["recall"]]).all()
    assert untagged["per_class"][2]["f"] == untagged["per_class"][2]["precision"] == 0
    assert tag_f_score([], [])["per_class"] == {}
    with pytest.raises(ValueError, match="a time is nan; expected seconds"):
        tag_f_score([[(0, NAN)]], [[]])
    with pytest.raises(ValueError, match="tags of 1 recordings, predictions of 0"):
        tag_f_score([[]], [])


tags = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12).map(float)), max_size=6)


@given(st.lists(st.tuples(tags, tags), min_size=1, max_size=2), st.integers(0, 4))
@few
def test_tag_f_score_finds_the_largest_matching(recordings, tolerance):
    truths, predictions = [a for a, _ in recordings], [b for _, b in recordings]
    found = tag_f_score(truths, predictions, tolerance_s=tolerance)
    for k, own in found["per_class"].items():
        a = [[t for c, t in rows if c == k] for rows in truths]
        b = [[t for c, t in rows if c == k] for rows in predictions]
        pairs = sum(most_pairs(x, y, tolerance) for x, y in zip(a, b, strict=True))
        total, said = sum(map(len, a)), sum(map(len, b))
        same(own["recall"], 100 * pairs / total if total else NAN)
        same(own["precision"], 100 * pairs / said if said else NAN)
        same(own["f"], 200 * pairs / (total + said))
        assert not pairs or abs(own["latency_s"]) <= tolerance
    back = tag_f_score([r[::-1] for r in truths], [r[::-1] for r in predictions], tolerance_s=tolerance)
    same([back[key] for key in MEANS], [found[key] for key in MEANS])


# ---- segmentation


def literal_distance(a, b) -> int:
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
    return table[-1][-1]


def literal_runs(labels, background):
    runs, start = [], 0
    for i in range(1, len(labels) + 1):
        if i == len(labels) or labels[i] != labels[start]:
            if labels[start] not in background:
                runs.append((labels[start], start, i))
            start = i
    return runs


def literal_f1(videos, threshold, background) -> float:
    tp = fp = fn = 0
    for truth, answer in videos:
        true, said = literal_runs(truth, background), literal_runs(answer, background)
        used = [False] * len(true)
        for label, start, end in said:
            ious = [literal_iou((start, end), (a, b)) * (label == k) for k, a, b in true]
            best = int(np.argmax(ious)) if ious else 0
            if ious and ious[best] >= threshold and not used[best]:
                tp, used[best] = tp + 1, True
            else:
                fp += 1
        fn += used.count(False)
    if not tp + fp + fn:
        return NAN
    return 200 * tp / (2 * tp + fp + fn)


def test_runs_and_edit_score_by_hand():
    truth = np.array([0, 0, 1, 1, 2, 2])
    assert label_runs(truth) == [(0, 0, 2), (1, 2, 4), (2, 4, 6)]
    assert label_runs(truth, background=(0,)) == [(1, 2, 4), (2, 4, 6)]
    assert label_runs(truth[:0]) == []
    assert edit_score(truth, truth) == 100
    # Where the borders lie does not matter, a segment too many does.
    assert edit_score(truth, np.array([0, 1, 1, 1, 1, 2])) == 100
    assert edit_score(truth, np.array([0, 1, 0, 1, 2, 2])) == pytest.approx(60)
    assert edit_score(truth, np.array([0, 1, 0, 1, 2, 2]), background=(0,)) == pytest.approx(100 * (1 - 1 / 3))
    assert edit_score(truth, np.array([3])) == 0
    assert edit_score(truth, np.zeros(6, int), background=(0,)) == 0
    assert np.isnan(edit_score(np.zeros(3, int), np.zeros(3, int), background=(0,)))


def test_segmental_f1_by_hand():
    truth = np.repeat([0, 1], 10)
    assert segmental_f1([truth], [truth]) == {"F1@10": 100, "F1@25": 100, "F1@50": 100}
    # 0 for 4 of 10 frames: IoU 0.4; 1 for 16 frames: IoU 10/16.
    found = segmental_f1([truth], [np.repeat([0, 1], [4, 16])])
    assert found == {"F1@10": 100, "F1@25": 100, "F1@50": 50}
    # The second of two answers to one segment is wrong: 2 right of 3, all of 2.
    split = segmental_f1([truth], [np.repeat([0, 2, 0, 1], [4, 2, 4, 10])], overlaps=(0.3,))
    assert split == {"F1@30": pytest.approx(200 * 2 / 6)}
    assert np.isnan(segmental_f1([truth], [truth], background=(0, 1))["F1@10"])
    assert segmental_f1([truth], [np.full(20, 5)])["F1@10"] == 0
    # The last answer overlaps both true segments of 1 alike, and the first of them, which counts, is taken.
    truth, answer = np.repeat([0, 1, 0, 1], [4, 3, 1, 3]), np.repeat([0, 1, 0, 1], [4, 1, 1, 3])
    assert segmental_f1([truth], [answer])["F1@10"] == 50


frames = st.lists(st.integers(0, 2), max_size=14)


@given(st.lists(st.tuples(frames, frames), min_size=1, max_size=3), st.sampled_from([(), (0,)]))
@few
def test_segment_metrics_agree_with_their_definitions(videos, background):
    pairs = [(np.array(a, int), np.array(b, int)) for a, b in videos]
    for a, b in pairs:
        x, y = ([k for k, *_ in literal_runs(labels.tolist(), background)] for labels in (a, b))
        found = edit_score(a, b, background=background)
        same(found, 100 * (1 - literal_distance(x, y) / max(len(x), len(y))) if x or y else NAN)
        same(edit_score(b, a, background=background), found)
    found = segmental_f1([a for a, _ in pairs], [b for _, b in pairs], background=background)
    for name, threshold in (("F1@10", 0.10), ("F1@25", 0.25), ("F1@50", 0.50)):
        same(found[name], literal_f1([(a.tolist(), b.tolist()) for a, b in pairs], threshold, background))


# ---- retrieval


def literal_tmr(similarity, right) -> dict[str, float]:
    """Rank of the best right item in each sorted row; for similarities that are all different."""
    ranks = []
    for row, own in zip(similarity, right, strict=True):
        order = sorted(range(len(row)), key=lambda j: -row[j])
        ranks.append(min(order.index(j) for j in range(len(row)) if own[j]))
    found = {f"R@{k}": 100 * sum(r < k for r in ranks) / len(ranks) for k in (1, 2, 3, 5, 10)}
    return found | {"median_rank": float(np.median(ranks)) + 1}


def test_retrieval_has_the_ranks_it_is_asked_for():
    similarity = np.array([[0.9, 0.1, 0.5], [0.2, 0.1, 0.3]])
    relevant = np.array([[True, False, False], [False, True, False]])
    assert retrieval(similarity, relevant, ranks=(2, 3)) == {"R@2": 50, "R@3": 100, "median_rank": 2}
    assert set(retrieval(similarity, relevant)) == {"R@1", "R@5", "R@10", "median_rank"}


def pairs(seed, n, d=6, noise=0.7):
    """Similarity of texts and motions, and cosine of texts; some texts are said twice."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(n, d))
    texts[n // 2 : n // 2 + n // 8] = texts[: n // 8]
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    motions = texts + noise * rng.normal(size=(n, d))
    motions /= np.linalg.norm(motions, axis=1, keepdims=True)
    # A little noise: rows of equal texts would tie with each other.
    return texts @ motions.T + 1e-6 * rng.normal(size=(n, n)), texts @ texts.T


def test_retrieval_protocols_follow_tmr():
    similarity, cosine = pairs(0, 75)
    found = retrieval_protocols(similarity, cosine, subset=20)
    own = np.eye(75, dtype=bool)
    alike = cosine > 2 * 0.95 - 1
    for way, s, a in (("text_to_motion", similarity, alike), ("motion_to_text", similarity.T, alike.T)):
        assert found["all"][way] == pytest.approx(literal_tmr(s, own))
        assert found["threshold"][way] == pytest.approx(literal_tmr(s, a))
        chosen = dissimilar_subset(cosine, 20)
        assert found["dissimilar"][way] == pytest.approx(literal_tmr(s[np.ix_(chosen, chosen)], own[:20, :20]))
        order = np.arange(75)
        state = np.random.get_state()
        np.random.seed(0)  # as their code does
        np.random.shuffle(order)
        np.random.set_state(state)
        batches = [literal_tmr(s[np.ix_(r, r)], own[:32, :32]) for r in (order[:32], order[32:64])]
        for key, value in found["batches"][way].items():
            assert value == pytest.approx(np.mean([b[key] for b in batches]))
    assert found["threshold"]["text_to_motion"]["R@1"] > found["all"]["text_to_motion"]["R@1"]
    assert found["batches"] != retrieval_protocols(similarity, cosine, seed=1)["batches"]


def test_retrieval_protocols_of_few_pairs():
    found = retrieval_protocols(np.eye(3), np.eye(3))
    for protocol in ("all", "threshold", "dissimilar"):
        for way in ("text_to_motion", "motion_to_text"):
            assert found[protocol][way]["R@1"] == 100
            assert found[protocol][way]["median_rank"] == 1
    assert np.isnan(list(found["batches"]["text_to_motion"].values())).all()
    with pytest.raises(ValueError, match=r"similarities are \(2, 3\) and \(2, 2\); expected \(n, n\) both"):
        retrieval_protocols(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="a similarity is NaN"):
        retrieval_protocols(np.full((2, 2), NAN), np.zeros((2, 2)))


def test_protocols_order_as_they_must():
    similarity, cosine = pairs(1, 64)
    found = retrieval_protocols(similarity, cosine, subset=16)
    for way in ("text_to_motion", "motion_to_text"):
        for k in (1, 2, 3, 5, 10):
            # More right answers, or fewer wrong ones, never hurt.
            assert found["threshold"][way][f"R@{k}"] >= found["all"][way][f"R@{k}"]
            assert found["batches"][way][f"R@{k}"] >= found["all"][way][f"R@{k}"]


def within(similarity, chosen) -> float:
    part = similarity[np.ix_(chosen, chosen)]
    return float(part.sum() - np.trace(part))


def test_dissimilar_subset_by_hand():
    # Four directions, each said three times: one of each is as unlike as can be.
    texts = np.repeat(np.eye(4), 3, axis=0)
    chosen = dissimilar_subset(texts @ texts.T, 4)
    assert sorted(chosen // 3) == [0, 1, 2, 3]
    assert dissimilar_subset(texts @ texts.T, 12).tolist() == list(range(12))
    assert dissimilar_subset(texts @ texts.T, 99).tolist() == list(range(12))


@given(st.integers(0, 10**6), st.integers(4, 10), st.integers(1, 4))
@few
def test_dissimilar_subset_cannot_be_bettered_by_one_exchange(seed, n, size):
    x = np.random.default_rng(seed).normal(size=(n, 4))
    similarity = x @ x.T
    chosen = dissimilar_subset(similarity, size)
    assert (chosen == dissimilar_subset(similarity.copy(), size)).all()
    assert len(set(chosen.tolist())) == size
    value = within(similarity, chosen)
    for out, new in itertools.product(chosen, set(range(n)) - set(chosen.tolist())):
        assert within(similarity, [new if i == out else i for i in chosen]) >= value - 1e-6
    best = min(within(similarity, list(c)) for c in itertools.combinations(range(n), size))
    everything = [within(similarity, list(c)) for c in itertools.combinations(range(n), size)]
    # Not always the best of all, but never a poor one.
    assert value <= np.median(everything) + 1e-9
    assert value >= best - 1e-9
