"""Metrics as pure functions of arrays.

Shares and segment metrics that papers give in percent are in percent here; each function says which. NaN in a result
means that there was nothing to measure. Arrays of the wrong shape and NaN among the inputs are ValueErrors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import numpy as np

Bounds = Literal["inclusive", "strict"]
CHARADES_POINTS = 25
TMR_RANKS = (1, 2, 3, 5, 10)


# ---- classification


def accuracy(truth: np.ndarray, answer: np.ndarray) -> float:
    """Share of right answers; NaN where there is nothing to answer."""
    return float((truth == answer).mean()) if len(truth) else float("nan")


def mean_class_accuracy(truth: np.ndarray, answer: np.ndarray) -> float:
    """Accuracy of each class that occurs in ``truth``, averaged over these classes."""
    classes = np.unique(truth)
    return (
        float(np.mean([accuracy(truth[truth == k], answer[truth == k]) for k in classes]))
        if len(classes)
        else float("nan")
    )


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: how often a sample of the row's class was answered with the column's.

    Raises:
        ValueError: the lengths differ, or a label is not one of 0 ... classes - 1.
    """
    truth, answer = np.asarray(truth), np.asarray(answer)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise ValueError(f"truth is {truth.shape} and answer {answer.shape}; expected (n,) both")
    for name, labels in (("truth", truth), ("answer", answer)):
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise ValueError(f"{name} holds class {wrong[0]}; expected 0 to {classes - 1}")
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth.astype(np.int64), answer.astype(np.int64)), 1)
    return counts


def harmonic_mean(seen: float, unseen: float) -> float:
    """Of the accuracies on seen and on unseen classes, as generalised zero-shot protocols (SynSE) report it.

    0 where either is 0; NaN where either is NaN.
    """
    return 2 * seen * unseen / (seen + unseen) if seen + unseen != 0 else 0.0


def over_seeds(rows: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """A figure by seed and fold -> ``mean`` over both, and ``std`` of the seeds' means, None for one seed; NaN folds
    are left out."""
    means = [float(np.nanmean(folds)) for folds in rows]
    return {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1)) if len(means) > 1 else None}


def interval95(values: Sequence[float]) -> float:
    """Half the width of the normal 95% confidence interval of the mean; NaN for fewer than two values."""
    return float(1.96 * np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


# ---- frames


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
    return _precision_at_hits(truth, score, int(truth.sum()))


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
        k, start, end = _checked(segment, classes)
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
    *,
    bounds: Bounds = "strict",
) -> dict[str, Any]:
    """Frame-level mAP with every frame: TSU's frame-mAP, and the dense variant of Charades (PDAN, MS-TCT).

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
    return _localisation(segments, times, scores, bounds)


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


# ---- events


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
            plain[group] = 100 * _precision_at_hits(hit[own], said[own, 4], total)
            authors[group] = 100 * _authors_event_ap(target[own], said[own, 4], total)
        return plain, authors

    per_class, authors_class = figures(1, classes)
    per_video, authors_video = figures(0, len(truths))
    return {
        "action": _mean(per_class),
        "video": _mean(per_video),
        "per_class": per_class,
        "per_video": per_video,
        "authors_action": _mean(authors_class),
        "authors_video": _mean(authors_video),
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
            "latency_s": _mean(own),
        }
        latencies += own
    means = {key: _mean([per_class[k][key] for k in sorted(tagged)]) for key in ("precision", "recall", "f")}
    return means | {"latency_s": _mean(latencies), "per_class": per_class}


# ---- segmentation


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

    In order of time, a predicted segment takes the true one of its label that it overlaps best; if their IoU is at
    least the threshold and no other took it before, it is right. Counts are summed over the videos. The released codes
    end a video's last segment a frame early; here it ends where it ends.

    Args:
        truths: per video, (frames,) int.
        answers: the same.
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
        right += [int(_claim(iou, threshold)[0].sum()) for threshold in overlaps]
    return {
        f"F1@{round(100 * threshold)}": 200 * int(count) / segments if segments else float("nan")
        for threshold, count in zip(overlaps, right, strict=True)
    }


# ---- retrieval


def retrieval(similarity: np.ndarray, relevant: np.ndarray, *, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """How well rows find their columns.

    Args:
        similarity: (queries, items).
        relevant: (queries, items) bool; every query has a relevant item. Ties count against the query.
        ranks: the k of R@k.

    Returns:
        R@k in percent and the median rank (1 = best) of the first relevant item.

    Raises:
        ValueError: a query has no relevant item.
    """
    if not relevant.any(axis=1).all():
        raise ValueError(f"query {int(np.argmin(relevant.any(axis=1)))} has no relevant item")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + ((similarity >= best) & ~relevant).sum(axis=1)
    return {f"R@{k}": 100 * float((rank <= k).mean()) for k in ranks} | {"median_rank": float(np.median(rank))}


def retrieval_protocols(
    similarity: np.ndarray,
    text_similarity: np.ndarray,
    *,
    threshold: float = 0.95,
    subset: int = 100,
    batch: int = 32,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, float]]]:
    """The four text-motion retrieval protocols of TMR (Petrovich et al. 2023), for one text per motion.

    - ``all`` (there: normal): only the motion of a text is right.
    - ``threshold``: right is every motion whose text is like the query's by more than ``threshold``, on a scale where
      cosine -1 is 0 and 1 is 1; the best of them counts.
    - ``dissimilar`` (nsim): as ``all`` within :func:`dissimilar_subset`. TMR ships a list of 100 test ids instead,
      without the code that chose them: for its very subset, pass the rows of these ids and read ``all``.
    - ``batches`` (guo): as ``all`` within shuffled batches, an incomplete last one dropped; the mean over batches, of
      the median ranks too. If the rows are in order of their ids and ``seed`` is 0, the batches are those of TMR.

    TMR gives a tie the mean of its ranks; here ties count against the query.

    Args:
        similarity: (n, n) of text i and motion j; pairs on the diagonal.
        text_similarity: (n, n) cosine of texts i and j, by a sentence encoder, in [-1, 1].

    Returns:
        {protocol: {``text_to_motion`` | ``motion_to_text``: R@1, 2, 3, 5, 10 in percent and ``median_rank``}}; NaN for
        ``batches`` where there is not one whole batch.

    Raises:
        ValueError: the matrices are not (n, n) both, or hold NaN.
    """
    n = len(similarity)
    if similarity.shape != (n, n) or text_similarity.shape != (n, n) or not n:
        raise ValueError(f"similarities are {similarity.shape} and {text_similarity.shape}; expected (n, n) both")
    if np.isnan(similarity).any() or np.isnan(text_similarity).any():
        raise ValueError("a similarity is NaN; expected numbers")
    own = np.eye(n, dtype=bool)
    alike = ((1 + text_similarity) / 2 > threshold) | own
    chosen = dissimilar_subset(text_similarity, subset)
    # The legacy generator, not default_rng: TMR's batches are its shuffle under seed 0.
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    batches = order[: n // batch * batch].reshape(-1, batch)

    def both_ways(rows: np.ndarray, relevant: np.ndarray) -> dict[str, dict[str, float]]:
        part = similarity[np.ix_(rows, rows)]
        return {
            "text_to_motion": retrieval(part, relevant, ranks=TMR_RANKS),
            "motion_to_text": retrieval(part.T, relevant.T, ranks=TMR_RANKS),
        }

    everything = np.arange(n)
    found = {
        "all": both_ways(everything, own),
        "threshold": both_ways(everything, alike),
        "dissimilar": both_ways(chosen, np.eye(len(chosen), dtype=bool)),
    }
    parts = [both_ways(rows, np.eye(batch, dtype=bool)) for rows in batches]
    found["batches"] = {
        way: {key: _mean([part[way][key] for part in parts]) for key in figures}
        for way, figures in found["all"].items()
    }
    return found


def dissimilar_subset(similarity: np.ndarray, size: int = 100) -> np.ndarray:
    """A subset whose members are least like each other: an approximate solution of the quadratic knapsack problem.

    The sum of similarities within the subset is made small: from all items, the one that adds most to the sum is
    dropped until ``size`` are left; then the exchange of one member for one other that lowers the sum most is made
    until none does. Deterministic; the lower index goes first among equals. A local optimum, not always the global one.

    Args:
        similarity: (n, n), symmetric; the diagonal is not used.
        size: at least 1.

    Returns:
        (min(n, size),) indices, ascending.
    """
    n = len(similarity)
    if n <= size:
        return np.arange(n)
    s = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(s, 0)
    kept, load = np.ones(n, dtype=bool), s.sum(axis=1)
    for _ in range(n - size):
        worst = int(np.argmax(np.where(kept, load, -np.inf)))
        kept[worst] = False
        load -= s[worst]
    while True:
        load = s[:, kept].sum(axis=1)
        inside, outside = np.flatnonzero(kept), np.flatnonzero(~kept)
        change = load[outside, None] - s[np.ix_(outside, inside)] - load[inside]
        o, i = divmod(int(np.argmin(change)), len(inside))
        # Below rounding errors an exchange could be undone for ever.
        if change[o, i] > -1e-9:
            return inside
        kept[outside[o]], kept[inside[i]] = True, False


# ---- parts of the above


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Of what is not NaN; NaN if nothing is."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _class_means(aps: Sequence[float]) -> dict[str, Any]:
    """The result of :func:`frame_map` from the APs (shares) of its classes."""
    per_class = 100 * np.array(aps, dtype=np.float64)
    return {"plain": _mean(per_class), "authors": _mean(per_class[per_class != 0]), "per_class": per_class}


def _precision_at_hits(hit: np.ndarray, score: np.ndarray, total: int) -> float:
    """Sum of the precision at the hits over ``total``, equal scores being one block; NaN if ``total`` is 0."""
    if not total:
        return float("nan")
    order = np.argsort(score, kind="stable")[::-1]
    hit, score = hit[order], score[order]
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1) if len(score) else np.zeros(0, np.int64)
    found = np.cumsum(hit)[ends]
    return float(np.sum(np.diff(found, prepend=0) * found / (ends + 1)) / total)


def _check_points(scores: np.ndarray) -> None:
    if scores.ndim != 3 or scores.shape[1] != CHARADES_POINTS:
        raise ValueError(f"scores are {scores.shape}; expected (videos, {CHARADES_POINTS}, classes)")


def _checked(segment: Sequence[float], classes: int) -> tuple[int, float, float]:
    """Class, start and end of a segment that makes sense."""
    k, start, end = segment[:3]
    if int(k) != k or not 0 <= k < classes:
        raise ValueError(f"segment {tuple(segment)} is of class {k}; expected 0 to {classes - 1}")
    if not np.isfinite([start, end]).all():
        raise ValueError(f"segment {tuple(segment)} has a time that is not finite; expected numbers")
    return int(k), start, end


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


def _flat(videos: Sequence[Sequence[Sequence[float]]], classes: int, width: int) -> np.ndarray:
    """(n, 1 + width): the segments of all videos, each after the index of its video."""
    rows = [(video, *segment) for video, segments in enumerate(videos) for segment in segments]
    for row in rows:
        _checked(row[1:], classes)
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
