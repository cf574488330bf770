"""Metrics of labels at points in time: average precision of frames, of the 25 points of Charades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tmor.downstream.metrics.averages import mean_of_numbers

Bounds = Literal["inclusive", "strict"]
CHARADES_POINTS = 25


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Mean of the precision at the positives, in order of falling score, without interpolation; a share, not percent.

    Equal scores are taken as one block, whose precision is that at its end, as scikit-learn's
    ``average_precision_score`` does; so the order of the rows does not matter. The official codes of Charades
    (``Charades_v1_localize.m``) and TSU (``apmeter.py``) break ties by position, and agree where there are none.

    Args:
        truth: (n,) bool.
        score: (n,) higher = rather positive; infinite values are allowed.

    Returns:
        NaN if there are no positives; else above 0, at most 1.

    Raises:
        ValueError: the shapes differ, or a score is NaN.
    """
    truth, score = np.asarray(truth, dtype=bool), np.asarray(score)
    if truth.shape != score.shape or truth.ndim != 1:
        raise ValueError(f"truth is {truth.shape} and score {score.shape}; expected (n,) both")
    if np.isnan(score).any():
        raise ValueError(f"score {int(np.argmax(np.isnan(score)))} is NaN; expected a number")
    return precision_at_hits(truth, score, int(truth.sum()))


def frame_map(truth: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """Frame-level mAP of multi-label detection, over the frames of all videos laid end to end.

    Args:
        truth: (frames, classes) bool.
        scores: (frames, classes).

    Returns:
        Percent. ``per_class``: (classes,), NaN where a class has no positives. ``plain``: mean over the classes that
        have positives. ``authors``: mean over the classes whose AP is not 0, a class without positives having 0, as the
        TSU authors' ``Frame_based_map.py`` has it. A positive's precision is never 0, so the two means are the same
        number; both are given since papers name the second. NaN if no class has positives.

    Raises:
        ValueError: as :func:`average_precision`.
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(f"truth is {truth.shape} and scores {scores.shape}; expected (frames, classes) both")
    return _class_means([average_precision(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])


def frame_truth(
    segments: Sequence[tuple[int, float, float]], times_s: np.ndarray, classes: int, *, bounds: Bounds
) -> np.ndarray:
    """Which classes are under way at which moment.

    Args:
        segments: (class, start, end), in the unit of ``times_s``; they may overlap. One that ends before it starts
            holds no moment.
        times_s: (t,) moments.
        classes: number of classes.
        bounds: ``inclusive``: start <= time <= end (Charades); ``strict``: start < time < end (TSU, dense Charades).

    Returns:
        (t, classes) bool.

    Raises:
        ValueError: a class out of range, a time that is not finite, or other bounds than these.
    """
    times_s = np.asarray(times_s, dtype=np.float64)
    if bounds not in ("inclusive", "strict"):
        raise ValueError(f"bounds is '{bounds}'; expected inclusive or strict")
    truth = np.zeros((len(times_s), classes), dtype=bool)
    for segment in segments:
        k, start, end = checked_segment(segment, classes)
        within = (start <= times_s) & (times_s <= end) if bounds == "inclusive" else (start < times_s) & (times_s < end)
        truth[:, k] |= within
    return truth


def dense_times(frames: int, duration: float) -> np.ndarray:
    """(frames,) moments i / (frames / duration) of scores spread over a video, as the codes of TSU and PDAN have them.

    Args:
        frames: how many scores there are.
        duration: of the video, above 0; the unit of the result (TSU: frames, Charades: seconds).

    Raises:
        ValueError: the duration is not above 0.
    """
    if not duration > 0:
        raise ValueError(f"duration is {duration}; expected above 0")
    # Divided twice, as they do: at strict bounds the last bit decides.
    return np.arange(frames) / (frames / duration)


def dense_localisation(
    segments: Sequence[Sequence[tuple[int, float, float]]],
    durations: Sequence[float],
    scores: Sequence[np.ndarray],
) -> dict[str, Any]:
    """Frame-level mAP with every frame, bounds strict: TSU's, and the dense variant of Charades (PDAN, MS-TCT).

    Args:
        segments: per video, (class, start, end).
        durations: per video, in the unit of the segments.
        scores: per video, (frames, classes), spread evenly over the duration (:func:`dense_times`).

    Returns:
        As :func:`frame_map`.

    Raises:
        ValueError: the numbers of videos or classes differ; or as :func:`frame_truth` and :func:`average_precision`.
    """
    times = [dense_times(len(own), duration) for own, duration in zip(scores, durations, strict=True)]
    return _localisation(segments, times, scores, "strict")


def charades_points(length_s: float) -> np.ndarray:
    """(25,) the moments of a Charades video that its official localisation metric looks at: (j - 1) / 25 * length."""
    return np.arange(CHARADES_POINTS) / CHARADES_POINTS * length_s


def charades_localisation(
    segments: Sequence[Sequence[tuple[int, float, float]]], lengths_s: Sequence[float], scores: np.ndarray
) -> dict[str, Any]:
    """The official localisation mAP of Charades (``Charades_v1_localize.m``): 25 moments a video, bounds inclusive.

    The dense variant is :func:`dense_localisation`.

    Args:
        segments: per video, (class, start, end) in seconds.
        lengths_s: (videos,) as the CSV gives them.
        scores: (videos, 25, classes); -inf for a moment that was not predicted, as the official code does.

    Returns:
        As :func:`frame_map`, and ``official``: mean over all classes. The official code divides by the number of
        positives of each class, so one class without positives makes it NaN; the official test set has no such class,
        but a part of it may, and there ``plain`` is the figure to read.

    Raises:
        ValueError: the numbers of videos differ, there are not 25 moments, or as :func:`frame_truth`.
    """
    scores = np.asarray(scores)
    _check_points(scores)
    times = [charades_points(length) for length in lengths_s]
    found = _localisation(segments, times, list(scores), "inclusive")
    return found | {"official": float(np.mean(found["per_class"])) if len(found["per_class"]) else float("nan")}


def charades_submission(ids: Sequence[str], scores: np.ndarray) -> Iterator[str]:
    """Lines ``id frame s0 ... s156`` (no line ends) of a submission to the official localisation code.

    Args:
        ids: (videos,) without blanks.
        scores: (videos, 25, classes); frames count from 1.

    Raises:
        ValueError: the numbers of videos differ, there are not 25 frames, or an id is empty or has a blank.
    """
    _check_points(scores)
    for name, own in zip(ids, scores, strict=True):
        if len(name.split()) != 1 or name.strip() != name:
            raise ValueError(f"video id '{name}'; expected one without blanks")
        for frame, row in enumerate(own, start=1):
            yield f"{name} {frame} {' '.join(f'{value:.6g}' for value in row)}"


def precision_at_hits(hit: np.ndarray, score: np.ndarray, total: int) -> float:
    """Sum of the precision at the hits over ``total``, equal scores being one block; NaN if ``total`` is 0."""
    if not total:
        return float("nan")
    order = np.argsort(score, kind="stable")[::-1]
    hit, score = hit[order], score[order]
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1) if len(score) else np.zeros(0, np.int64)
    found = np.cumsum(hit)[ends]
    return float(np.sum(np.diff(found, prepend=0) * found / (ends + 1)) / total)


def checked_segment(segment: Sequence[float], classes: int) -> tuple[int, float, float]:
    """Class, start and end of a segment that makes sense."""
    k, start, end = segment[:3]
    if int(k) != k or not 0 <= k < classes:
        raise ValueError(f"segment {tuple(segment)} is of class {k}; expected 0 to {classes - 1}")
    if not np.isfinite([start, end]).all():
        raise ValueError(f"segment {tuple(segment)} has a time that is not finite; expected numbers")
    return int(k), start, end


def _class_means(aps: Sequence[float]) -> dict[str, Any]:
    """The result of :func:`frame_map` from the APs (shares) of its classes."""
    per_class = 100 * np.array(aps, dtype=np.float64)
    return {
        "plain": mean_of_numbers(per_class),
        "authors": mean_of_numbers(per_class[per_class != 0]),
        "per_class": per_class,
    }


def _check_points(scores: np.ndarray) -> None:
    if scores.ndim != 3 or scores.shape[1] != CHARADES_POINTS:
        raise ValueError(f"scores are {scores.shape}; expected (videos, {CHARADES_POINTS}, classes)")


def _localisation(
    segments: Sequence[Sequence[tuple[int, float, float]]],
    times: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    bounds: Bounds,
) -> dict[str, Any]:
    """:func:`frame_map` of videos, class by class: all scores of a data set are never copied at once."""
    if not len(segments) == len(times) == len(scores):
        raise ValueError(
            f"segments of {len(segments)} videos, lengths of {len(times)}, scores of {len(scores)}; expected the same"
        )
    sizes = {np.shape(own)[1:] for own in scores}
    if len(sizes) > 1 or any(len(size) != 1 for size in sizes):
        raise ValueError(f"scores have shapes (frames, *{sorted(sizes)}); expected (frames, classes), the same in all")
    classes = sizes.pop()[0] if sizes else 0
    truth = [frame_truth(own, at, classes, bounds=bounds) for own, at in zip(segments, times, strict=True)]
    return _class_means(
        [
            average_precision(np.concatenate([t[:, k] for t in truth]), np.concatenate([s[:, k] for s in scores]))
            for k in range(classes)
        ]
    )
