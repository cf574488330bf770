"""Metrics of stretches of time: events, tags, and whole sequences cut into segments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tmor.downstream.metrics.averages import mean_of_numbers
from tmor.downstream.metrics.frames import checked_segment, precision_at_hits


def event_map(
    truths: Sequence[Sequence[tuple[int, float, float]]],
    predictions: Sequence[Sequence[tuple[int, float, float, float]]],
    *,
    classes: int,
    iou: float = 0.5,
) -> dict[str, Any]:
    """mAP of detected intervals, over actions and over videos (PKU-MMD; TSU's event-mAP).

    A prediction belongs to the truth of its class and video that it overlaps best, if their interval IoU is at least
    ``iou`` (of truths that it overlaps equally, the earliest that is free). In order of falling score, the first to
    belong to a truth is right; every further one is a false positive, and so is one that belongs to none. AP is the
    mean over the truths of the precision at their right prediction, 0 for a truth that has none, without
    interpolation; equal scores are a block, as in :func:`average_precision`.
    *Action* pools the predictions of a class over all videos, *video* those of a video over all classes.

    The authors' figures follow the script that PKU-MMD released and TSU took over (``Event_based_map.py``, where
    overlaps are mended): there AP is interpolated in its own way. Predictions are taken away from the lowest score on;
    the recall that goes with one is weighted with the highest precision met so far, that after it included. Precision
    is not looked at when a prediction that belongs to no truth goes, so that even those below all right ones cost.
    Classes and videos without truths count as 0. Of equal scores the earlier in the list is taken away first, of
    equal overlaps the later truth counts. Compare these with published figures, and the others with each other.

    Args:
        truths: per video, (class, start, end) in any one unit. One that ends before it starts overlaps nothing.
        predictions: per video, (class, start, end, score).
        classes: number of classes.
        iou: above 0, at most 1.

    Returns:
        Percent. ``action``: mean over classes that have truths; ``video``: mean over videos that have truths;
        ``per_class`` (classes,) and ``per_video`` (videos,): NaN where there are no truths; ``authors_action``,
        ``authors_video``: means over all classes and all videos. NaN where there is nothing to average over.

    Raises:
        ValueError: the numbers of videos differ, a class is out of range, a time is not finite, a score is NaN, or
            ``iou`` is not as above.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; expected above 0, at most 1")
    if len(truths) != len(predictions):
        raise ValueError(f"truths of {len(truths)} videos and predictions of {len(predictions)}; expected the same")
    true = _flat(truths, classes, 3)
    said = _flat(predictions, classes, 4)
    hit = np.zeros(len(said), dtype=bool)
    target = np.full(len(said), -1)
    group_true, group_said = (rows[:, 0] * classes + rows[:, 1] for rows in (true, said))
    # By time within equal scores, and truths by time, so that the order of the lists does not matter.
    by_group = np.lexsort((true[:, 3], true[:, 2], group_true))
    order = np.lexsort((said[:, 3], said[:, 2], -said[:, 4], group_said))
    for own in np.split(order, np.flatnonzero(np.diff(group_said[order])) + 1) if len(order) else []:
        start, end = (np.searchsorted(group_true[by_group], group_said[own[0]], side) for side in ("left", "right"))
        others = by_group[start:end]
        hit[own], nearest = _claim(_interval_iou(said[own, 2:4], true[others, 2:4]), iou)
        # The last element is what -1 = none points at.
        target[own] = np.append(others, -1)[nearest]

    def figures(column: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
        plain, authors = np.full(groups, np.nan), np.zeros(groups)
        for group in range(groups):
            own, total = said[:, column] == group, int((true[:, column] == group).sum())
            plain[group] = 100 * precision_at_hits(hit[own], said[own, 4], total)
            authors[group] = 100 * _authors_event_ap(target[own], said[own, 4], total)
        return plain, authors

    per_class, authors_class = figures(1, classes)
    per_video, authors_video = figures(0, len(truths))
    return {
        "action": mean_of_numbers(per_class),
        "video": mean_of_numbers(per_video),
        "per_class": per_class,
        "per_video": per_video,
        "authors_action": mean_of_numbers(authors_class),
        "authors_video": mean_of_numbers(authors_video),
    }


def tag_f_score(
    truths: Sequence[Sequence[tuple[int, float]]],
    predictions: Sequence[Sequence[tuple[int, float]]],
    *,
    tolerance_s: float = 0.333,
) -> dict[str, Any]:
    """Online detection of gestures that are tagged with one moment each (MSRC-12; Fothergill et al. 2012).

    A prediction finds a tag of its class and recording if they are at most ``tolerance_s`` apart, before or after. Tags
    and predictions are paired one to one in order of time, which finds as many pairs as there can be; a further
    prediction near a found tag is a false positive.

    Args:
        truths: per recording, (class, time in seconds).
        predictions: the same.
        tolerance_s: MSRC-12 uses 333 ms (10 frames at 30 fps); take 1/3 where times are exact thirds.

    Returns:
        Percent, but for latencies. ``per_class``: {class: {``precision``, ``recall``, ``f``, ``latency_s``}} for each
        class that occurs anywhere; precision is NaN where nothing was predicted, recall where nothing is tagged.
        ``precision``, ``recall``, ``f``: means over the tagged classes, NaN left out. ``latency_s``: mean of
        prediction minus tag over all pairs, below 0 = early, NaN without pairs.

    Raises:
        ValueError: the numbers of recordings differ, or a time is not finite.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"tags of {len(truths)} recordings, predictions of {len(predictions)}; expected the same")
    times = [t for rows in (*truths, *predictions) for _, t in rows]
    if not np.isfinite(times).all():
        raise ValueError(f"a time is {next(t for t in times if not np.isfinite(t))}; expected seconds")
    tagged = {k for rows in truths for k, _ in rows}
    per_class: dict[int, dict[str, float]] = {}
    latencies: list[float] = []
    for k in sorted(tagged | {k for rows in predictions for k, _ in rows}):
        own, tags, answers = [], 0, 0
        for true, said in zip(truths, predictions, strict=True):
            a, b = sorted(t for c, t in true if c == k), sorted(t for c, t in said if c == k)
            tags, answers = tags + len(a), answers + len(b)
            own += _pair_in_time(a, b, tolerance_s)
        per_class[k] = {
            "precision": 100 * len(own) / answers if answers else float("nan"),
            "recall": 100 * len(own) / tags if tags else float("nan"),
            "f": 200 * len(own) / (tags + answers),
            "latency_s": mean_of_numbers(own),
        }
        latencies += own
    means = {key: mean_of_numbers([per_class[k][key] for k in sorted(tagged)]) for key in ("precision", "recall", "f")}
    return means | {"latency_s": mean_of_numbers(latencies), "per_class": per_class}


def label_runs(labels: np.ndarray, *, background: Collection[int] = ()) -> list[tuple[int, int, int]]:
    """Segments (label, first frame, frame after the last) of equal labels, those of the background left out.

    Args:
        labels: (frames,) int.
    """
    labels = np.asarray(labels)
    if not len(labels):
        return []
    starts = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1])
    ends = np.append(starts[1:], len(labels))
    return [(int(labels[a]), int(a), int(b)) for a, b in zip(starts, ends, strict=True) if labels[a] not in background]


def edit_score(truth: np.ndarray, answer: np.ndarray, *, background: Collection[int] = ()) -> float:
    """Segmental edit score of one video (Lea et al. 2017), in percent: order counts, not where the borders are.

    100 (1 - d / n), where d is the Levenshtein distance between the two sequences of segment labels and n the length of
    the longer one. Papers give its mean over videos.

    Args:
        truth: (frames,) int.
        answer: (frames,) int; the number of frames may differ.
        background: labels whose segments are left out.

    Returns:
        NaN if neither has a segment.
    """
    a = np.array([k for k, _, _ in label_runs(truth, background=background)])
    b = np.array([k for k, _, _ in label_runs(answer, background=background)])
    if not len(a) and not len(b):
        return float("nan")
    at = np.arange(len(b) + 1)
    row = at
    for i, label in enumerate(a, start=1):
        kept_or_changed = row[:-1] + (b != label)
        best = np.concatenate([[i], np.minimum(kept_or_changed, row[1:] + 1)])
        # Insertions run along the row: the least of best[j] + (distance to j).
        row = np.minimum.accumulate(best - at) + at
    return 100 * (1 - int(row[-1]) / max(len(a), len(b)))


def segmental_f1(
    truths: Sequence[np.ndarray],
    answers: Sequence[np.ndarray],
    *,
    overlaps: Sequence[float] = (0.10, 0.25, 0.50),
    background: Collection[int] = (),
) -> dict[str, float]:
    """Segmental F1 at interval IoU (Lea et al. 2017), in percent.

    In order of time, a predicted segment takes the true one of its label that it overlaps best (of equals the
    earliest); if their IoU is at least the threshold and no other took it before, it is right. Counts are summed over
    the videos. The released codes end a video's last segment a frame early; here it ends where it ends.

    Args:
        truths: per video, (frames,) int.
        answers: the same.
        overlaps: the least IoU, each above 0.
        background: labels whose segments are left out.

    Returns:
        ``F1@10``, ``F1@25``, ``F1@50``; NaN if there are no segments at all.

    Raises:
        ValueError: the numbers of videos differ.
    """
    right, segments = np.zeros(len(overlaps), dtype=np.int64), 0
    for truth, answer in zip(truths, answers, strict=True):
        a = np.array(label_runs(truth, background=background)).reshape(-1, 3)
        b = np.array(label_runs(answer, background=background)).reshape(-1, 3)
        segments += len(a) + len(b)
        iou = np.where(b[:, :1] == a[:, 0], _interval_iou(b[:, 1:], a[:, 1:]), 0.0)
        if iou.size:
            # Of those that take one true segment a single one is right.
            best, taken = iou.max(axis=1), iou.argmax(axis=1)
            right += [len(np.unique(taken[best >= threshold])) for threshold in overlaps]
    return {
        f"F1@{round(100 * threshold)}": 200 * int(count) / segments if segments else float("nan")
        for threshold, count in zip(overlaps, right, strict=True)
    }


def _flat(videos: Sequence[Sequence[Sequence[float]]], classes: int, width: int) -> np.ndarray:
    """(n, 1 + width): the segments of all videos, each after the index of its video."""
    rows = [(video, *segment) for video, segments in enumerate(videos) for segment in segments]
    for row in rows:
        checked_segment(row[1:], classes)
        if np.isnan(row[-1]):
            raise ValueError(f"segment {row[1:]} has a score that is NaN; expected a number")
    return np.array(rows, dtype=np.float64).reshape(-1, 1 + width)


def _interval_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) of intervals (n, 2) and (m, 2); 0 for those of no length or less."""
    shared = np.minimum(a[:, None, 1], b[:, 1]) - np.maximum(a[:, None, 0], b[:, 0])
    hull = np.maximum(a[:, None, 1], b[:, 1]) - np.minimum(a[:, None, 0], b[:, 0])
    # Where they overlap the hull is the union; where they do not, the share is 0 whatever it is divided by.
    return np.where(shared > 0, shared / np.where(hull > 0, hull, 1), 0.0)


def _claim(iou: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Give truths (columns) to predictions (rows), the best first.

    Returns:
        (n,) bool, the prediction is the first of its best truth; (n,) int, its best truth (the last of equals), -1 if
        none overlaps it by at least ``threshold``.
    """
    hit, nearest = np.zeros(len(iou), dtype=bool), np.full(len(iou), -1)
    taken = np.zeros(iou.shape[1], dtype=bool)
    for row, overlap in enumerate(iou):
        best = overlap.max(initial=0.0)
        if best < threshold or best == 0:
            continue
        equals = np.flatnonzero(overlap == best)
        nearest[row] = equals[-1]
        free = equals[~taken[equals]]
        if len(free):
            hit[row] = taken[free[0]] = True
    return hit, nearest


def _authors_event_ap(target: np.ndarray, score: np.ndarray, total: int) -> float:
    """AP of the script that PKU-MMD released (:func:`event_map`), a share.

    Args:
        target: (n,) index of the truth that each prediction belongs to, -1 = none.
        score: (n,).
        total: number of truths.
    """
    if not total or not len(target):
        return 0.0
    target = target[np.argsort(score, kind="stable")[::-1]]
    belongs = np.flatnonzero(target >= 0)
    new = np.zeros(len(target), dtype=np.int64)
    new[belongs[np.unique(target[belongs], return_index=True)[1]]] = 1
    # Element k is about the k best predictions.
    found = np.concatenate([[0], np.cumsum(new)])
    precision = found / np.maximum(np.arange(len(found)), 1)
    going = belongs[::-1]
    highest = np.maximum.accumulate(np.concatenate([precision[-1:], precision[going]]))[1:]
    return float(np.sum(highest * new[going]) / total)


def _pair_in_time(tags: Sequence[float], answers: Sequence[float], tolerance: float) -> list[float]:
    """Answer minus tag of pairs at most ``tolerance`` apart; both ascending.

    All tags having the same tolerance, pairing the earliest that fit never costs a later pair.
    """
    i = j = 0
    gaps = []
    while i < len(tags) and j < len(answers):
        gap = answers[j] - tags[i]
        if abs(gap) <= tolerance:
            gaps.append(gap)
        if gap >= -tolerance:
            i += 1
        if gap <= tolerance:
            j += 1
    return gaps
