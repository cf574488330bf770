"""Frame-wise temporal detection: what happens at each moment of a long recording (METHOD section 7).

Moments are those of :meth:`tmor.model.model.Model.frame_features`, four frames apart. Several classes may hold at one
moment. Everything but the training of heads runs in memory that does not grow with a window's surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F

from tmor.downstream.benchmarks import charades
from tmor.downstream.benchmarks.protocol import Fold
from tmor.downstream.benchmarks.untrimmed import Recording, UntrimmedSet
from tmor.downstream.classify import VARIED, check_share, from_scratch
from tmor.downstream.metrics.averages import mean_of_numbers, over_seeds
from tmor.downstream.metrics.events import edit_score, event_map, segmental_f1, tag_f_score
from tmor.downstream.metrics.frames import (
    CHARADES_POINTS,
    charades_localisation,
    charades_points,
    charades_submission,
    dense_localisation,
    dense_times,
    frame_truth,
)
from tmor.errors import TmorError
from tmor.model.compute import PROCESSOR, Compute
from tmor.model.frame_head import FrameHead
from tmor.model.model import FRAME_STRIDE, FRAME_WINDOW, Model
from tmor.model.segments import Segment, rate_of
from tmor.posecap.triplets import Triplet
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import step_generator
from tmor.skeleton.canonical import is_seen, sees_depth
from tmor.skeleton.normalize import prepare, shown, to_body, views_of

Head = Literal["text", "raw", "linear", "tcn", "causal", "finetune", "scratch"]
HEADS: tuple[Head, ...] = get_args(Head)

_TAG_REACH_S = 0.3
_UNCUT = replace(VARIED, shortest_crop=1.0)  # what happens when must stay in its place
_LAYERS = 5
_HEAD_RATE, _ENCODER_RATE = 3e-3, 2e-3  # the highest learning rates
_PAST = (16, 32)  # frames of the clips that end with a moment, for decisions without a look ahead

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Scores over time of one recording.

    Args:
        times_s: (m,) seconds, evenly spaced.
        scores: (m, classes) in [0, 1].
    """

    times_s: np.ndarray
    scores: np.ndarray

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """(n, classes) scores at other times, interpolated; before the first and after the last they are held."""
        columns = [np.interp(times_s, self.times_s, column) for column in self.scores.T]
        return np.stack(columns, axis=1)

    def segments(
        self, *, high: float = 0.5, low: float = 0.35, shortest_s: float = 0.3
    ) -> list[tuple[int, float, float, float]]:
        """Stretches in which a class's score stays above ``low`` and reaches ``high`` (hysteresis).

        Returns:
            (class, start, end, mean score), seconds; those shorter than ``shortest_s`` are left out.
        """
        step = _step(self.times_s)
        found = []
        for k in range(self.scores.shape[1]):
            above = np.concatenate([[False], self.scores[:, k] > low, [False]])
            edges = np.flatnonzero(np.diff(above.astype(np.int8)))
            for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                own = self.scores[a:b, k]
                if own.max() >= high and (b - a) * step >= shortest_s:
                    start = float(self.times_s[a] - step / 2)
                    found.append((k, max(0.0, start), start + (b - a) * step, float(own.mean())))
        return found

    def moments(self, threshold: np.ndarray, *, apart_s: float = 1.0) -> list[tuple[int, float]]:
        """Local maxima of each class's score above its threshold, the highest first, at least ``apart_s`` apart.

        Args:
            threshold: (classes,).

        Returns:
            (class, seconds); the time is refined by a parabola through the maximum and its neighbours.
        """
        step, found = _step(self.times_s), []
        for k in range(self.scores.shape[1]):
            s = np.concatenate([[-1.0], self.scores[:, k], [-1.0]])
            peaks = np.flatnonzero((s[1:-1] >= s[:-2]) & (s[1:-1] > s[2:]) & (s[1:-1] > threshold[k]))
            taken: list[float] = []
            for i in peaks[np.argsort(-self.scores[peaks, k], kind="stable")].tolist():
                before, here, after = (
                    self.scores[max(i - 1, 0), k],
                    self.scores[i, k],
                    self.scores[min(i + 1, len(s) - 3), k],
                )
                bend = before - 2 * here + after
                shift = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
                time = float(np.clip(self.times_s[i] + shift * step, self.times_s[0], self.times_s[-1]))
                if all(abs(time - other) >= apart_s for other in taken):
                    taken.append(time)
                    found.append((k, time))
        return found

    def firings(self, threshold: np.ndarray, *, apart_s: float = 1.0) -> list[tuple[int, float]]:
        """When each class's score rises to its threshold: what somebody knows who does not see what comes after.

        A class can fire again ``apart_s`` later, once its score has been below the threshold.

        Args:
            threshold: (classes,).

        Returns:
            (class, seconds).
        """
        found = []
        for k in range(self.scores.shape[1]):
            above = self.scores[:, k] >= threshold[k]
            rises = np.flatnonzero(above & ~np.concatenate([[False], above[:-1]]))
            last = -np.inf
            for time in self.times_s[rises].tolist():
                if time - last >= apart_s:
                    found.append((k, time))
                    last = time
        return found


@dataclass(frozen=True, eq=False)
class Detection:
    """Figures, and what they come from.

    Args:
        result: plain values, as :func:`evaluate_detection` says.
        class_names: of the columns of ``scores``.
        scores: of the test recordings by id, by the last head with the first seed.
        durations_s: of these recordings.
    """

    result: dict[str, Any]
    class_names: tuple[str, ...]
    scores: dict[str, FrameScores]
    durations_s: dict[str, float]

    def segments(self) -> dict[str, list[dict[str, Any]]]:
        """What happens when in each recording, as plain values for JSON."""
        return {
            id: [
                Segment(start, end, self.class_names[k], score).as_json()
                for k, start, end, score in sorted(own.segments(), key=lambda segment: segment[1])
            ]
            for id, own in self.scores.items()
        }

    def submission(self) -> str:
        """The official submission file of Charades' localisation: lines ``id frame s0 ... s156``, 0 for a class that no
        recording shows."""
        points = np.zeros((len(self.scores), CHARADES_POINTS, len(charades.CLASSES)))
        columns = [charades.CLASSES.index(name) for name in self.class_names]
        for n, (id, own) in enumerate(self.scores.items()):
            points[n][:, columns] = own.at(charades_points(self.durations_s[id]))
        return "".join(f"{line}\n" for line in charades_submission(list(self.scores), points))


def recording_features(model: Model, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Features over time of a recording: of several persons the mean, each counting by how much of them is seen then.

    Returns:
        As :meth:`tmor.model.model.Model.frame_features`.
    """
    features, times = model.frame_features(recording.track)
    if not recording.others:
        return features, times
    total, weights = np.zeros_like(features), np.zeros((len(features), 1), dtype=np.float32)
    for track in (recording.track, *recording.others):
        if not is_seen(track):
            continue
        own, _ = (features, times) if track is recording.track else model.frame_features(track)
        seen = ~np.isnan(track.keypoints).all(axis=(1, 2))
        share = np.interp(times, np.arange(len(track)) / track.rate, seen)[:, None].astype(np.float32) + 1e-3
        total, weights = total + own * share, weights + share
    return total / weights, times


def past_features(model: Model, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Features of what has just been: of the clips of 16 and of 32 frames that end with each moment, side by side.

    Only the first person counts. (Unseen joints are interpolated over half a second, which does look ahead.)

    Returns:
        (m, 2 * features) float32, one row per 4 frames at the model's rate, and (m,) float64 seconds: when the last
        frame of the clip is over.
    """
    x = prepare(recording.track, fps=model.spec.fps)
    stops = np.arange(FRAME_STRIDE, len(x) + 1, FRAME_STRIDE) if len(x) >= FRAME_STRIDE else np.array([len(x)])
    columns = []
    for size in _PAST:
        rows = []
        for part in np.array_split(stops, max(1, len(stops) // 256)):
            # What is before the first frame is held; nobody seen is zero, as in the encoder's input.
            at = np.maximum(part[:, None] - size + np.arange(size), 0)
            clips = x[at]
            seen = ~np.isnan(clips).all(axis=(1, 2, 3))
            row = np.zeros((len(part), model.encoder.features), dtype=np.float32)
            if seen.any():
                row[seen] = model.clip_features(list(clips[seen]))
            rows.append(row)
        columns.append(np.concatenate(rows))
    rate = rate_of(recording.track.fps, model.spec)
    return np.concatenate(columns, axis=1), stops / rate


def raw_features(model: Model, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """The anchor without learning: normalised coordinates of the four frames of each moment, 3D seen from the front.

    As in the encoder's windows, front and size are those of 64 frames together. Only the first person counts.

    Returns:
        (m, 4 * 17 * 2) float32 and (m,) float64 seconds, at the moments of
        :meth:`tmor.model.model.Model.frame_features`.
    """
    x = prepare(recording.track, fps=model.spec.fps)
    count = math.ceil(len(x) / FRAME_STRIDE)
    windows = torch.from_numpy(x[np.minimum(np.arange(math.ceil(len(x) / FRAME_WINDOW) * FRAME_WINDOW), len(x) - 1)])
    windows = windows.unflatten(0, (-1, FRAME_WINDOW))
    if windows.shape[-1] == 3:
        windows = views_of(windows, (0.0,))[0]
    rows = to_body(windows).flatten(0, 1).unflatten(0, (-1, FRAME_STRIDE)).flatten(1)[:count]
    return rows.numpy(), FRAME_STRIDE / rate_of(recording.track.fps, model.spec) * np.arange(count)


Rows = tuple[np.ndarray, np.ndarray]
_FROZEN: dict[Head, Callable[[Model, Recording], Rows]] = {
    "text": recording_features,
    "linear": recording_features,
    "tcn": recording_features,
    "raw": raw_features,
    "causal": past_features,
}


def train_head(
    features: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, layers: int, steps: int = 1000, seed: int = 0
) -> FrameHead:
    """Train a head on frozen features of recordings, with binary cross-entropy over moments and classes.

    Args:
        features: (m, d) per recording.
        targets: (m, classes) bool per recording.
        layers: of :class:`tmor.model.frame_head.FrameHead`.
    """
    torch.manual_seed(seed)
    head = FrameHead(features[0].shape[1], targets[0].shape[1], layers=layers)
    head.standardise(torch.from_numpy(np.concatenate(features)))
    optimizer = torch.optim.AdamW(head.parameters(), lr=_HEAD_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _HEAD_RATE, total_steps=steps)
    generator = step_generator(seed, 4)
    lengths = torch.tensor([len(x) for x in features])
    size = int(min(128, lengths.max()))
    for _ in range(steps):
        # Long recordings come as often as they are long.
        chosen = torch.multinomial(lengths.float(), 16, replacement=True, generator=generator)
        x, y, known = (torch.zeros(16, size, width) for width in (features[0].shape[1], targets[0].shape[1], 1))
        for row, i in enumerate(chosen.tolist()):
            start = int(torch.randint(max(1, len(features[i]) - size + 1), (1,), generator=generator))
            part = slice(start, start + size)
            n = len(features[i][part])
            x[row, :n], y[row, :n] = torch.from_numpy(features[i][part]), torch.from_numpy(targets[i][part]).float()
            known[row, :n] = 1
        losses = F.binary_cross_entropy_with_logits(head(x, known), y, reduction="none")
        loss = (losses * known).sum() / (known.sum() * y.shape[2])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def train_encoder(
    model: Model,
    recordings: Sequence[Recording],
    classes: int,
    *,
    epochs: int = 15,
    batch: int = 16,
    compute: Compute = PROCESSOR,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> tuple[Model, FrameHead]:
    """Train an encoder and a linear frame head together, on windows of 64 frames.

    Args:
        model: where to start from; it is left as it is.
        compute: where and how precisely they are trained.

    Returns:
        Both, on the processor.
    """
    torch.manual_seed(seed)
    tuned = Model(model.spec)
    tuned.load_state_dict(model.state_dict())
    head = FrameHead(tuned.encoder.features, classes, layers=0)
    windows, targets = _windows(recordings, classes, model.spec.fps)
    clips = Clips.from_triplets(windows, fps=model.spec.fps)
    y = torch.from_numpy(np.stack(targets)).float()
    # What a shorter last window lacks is not stretched, but held.
    known = (torch.arange(0, FRAME_WINDOW, FRAME_STRIDE) < clips.lengths[:, None]).float()[..., None]
    tuned.to(compute.device)
    head.to(compute.device)
    optimizer = torch.optim.AdamW(
        [*tuned.encoder.parameters(), *head.parameters()], lr=_ENCODER_RATE, weight_decay=0.05
    )
    total = epochs * -(-len(clips) // batch)
    # A tenth and a little: where its rise is exactly one step, OneCycleLR divides by zero.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _ENCODER_RATE, total_steps=total, pct_start=0.1 + 1e-9)
    step, depth = 0, sees_depth(model.spec.stream)
    for epoch in range(epochs):
        generator = step_generator(seed, 5, epoch)
        tuned.train()
        head.train()
        for ids in torch.randperm(len(clips), generator=generator).split(batch):
            progress("training the encoder", step, total)
            step += 1
            never = torch.zeros(len(ids), dtype=torch.bool)
            x = clips.held(ids, never, frames=FRAME_WINDOW, settings=_UNCUT, generator=generator, depth=depth)
            x = shown(x, model.spec.stream)
            truth, seen = y[ids].to(compute.device), known[ids].to(compute.device)
            with compute.autocast():
                features = tuned.encoder.frames(tuned.alone(x).to(compute.device))
            losses = F.binary_cross_entropy_with_logits(head(features.float()), truth, reduction="none") * seen
            loss = losses.sum() / (seen.sum() * classes).clamp(min=1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return tuned.cpu().eval(), head.cpu().eval()


def _windows(recordings: Sequence[Recording], classes: int, fps: float) -> tuple[list[Triplet], list[np.ndarray]]:
    """Each person's stretches of 64 frames at a rate, which overlap by half, and (16, classes) bool of each: what
    happens at its moments."""
    windows, targets = [], []
    for recording in recordings:
        own_fps = recording.track.fps
        assert own_fps is not None
        hop = max(1, round(FRAME_WINDOW / 2 * own_fps / fps))
        size = 2 * hop
        for start in range(0, max(1, len(recording.track) - hop), hop):
            times = start / own_fps + np.arange(0, FRAME_WINDOW, FRAME_STRIDE) / fps
            for track in (recording.track, *recording.others):
                part = track.frames(start, min(start + size, len(track)))
                if is_seen(part):
                    windows.append(Triplet("", "", part))
                    targets.append(_targets(recording, times, classes))
    return windows, targets


def evaluate_detection(
    model: Model,
    data: UntrimmedSet,
    *,
    heads: Sequence[Head] = ("text", "linear", "tcn"),
    seeds: Sequence[int] = (0,),
    share: float = 1.0,
    epochs: int = 15,
    compute: Compute = PROCESSOR,
    progress: Progress = lambda what, done, total: None,
) -> Detection:
    """Train heads on the training recordings of each fold and measure them on its test recordings.

    Args:
        heads: text: no training at all, scores by :func:`against_the_next`; linear and tcn (dilated temporal
            convolutions) on the frozen encoder; raw: tcn on coordinates; causal: linear, on features of what has just
            been; finetune trains encoder and linear head together, scratch the same from random weights.
        share: of the training recordings that is used (at least one).
        epochs, compute: of finetune and scratch.

    Returns:
        In ``result``: model, benchmark, protocol, sizes, seeds, date, and under ``detect`` per head the measures
        ``{"mean", "std"}`` over folds and seeds. For segments: frame-mAP in both means, event-mAP at IoU 0.5 over
        actions and over videos, each as :func:`event_map` and as the authors have it, edit score, segmental F1 at IoU
        0.1, 0.25 and 0.5, in percent; for Charades its localisation mAP as well. For tags: precision, recall and F
        within 333 ms in percent, and the mean latency of found tags in ms; each class's threshold is chosen on a
        quarter of the training recordings that trains nothing. A tag is found by the maximum of a score, but with
        causal by the moment at which the score rises to its threshold: its latency is that of the decision.
    """
    for head in heads:
        if head not in HEADS:
            raise TmorError(f"head is '{head}'; expected one of {', '.join(HEADS)}")
    check_share(share)
    frozen: dict[Callable[[Model, Recording], Rows], list[Rows]] = {}
    for head in heads:
        if head in _FROZEN and _FROZEN[head] not in frozen:
            rows = frozen[_FROZEN[head]] = []
            for i, recording in enumerate(data.recordings):
                progress(f"{data.name}: features for {head}", i, len(data.recordings))
                rows.append(_FROZEN[head](model, recording))
    found: dict[str, Any] = {}
    scores: dict[str, FrameScores] = {}
    for head in heads:
        rows, scores = [], {}
        for seed in seeds:
            run = _Run(model, data, head, seed, share, epochs, compute, frozen, progress)
            found_by_fold = [run.fold(fold) for fold in data.folds]
            rows.append([measures for measures, _ in found_by_fold])
            for _, own in found_by_fold:
                scores = own | scores
            if head == "text":
                break
        found[head] = {name: over_seeds([[fold[name] for fold in folds] for folds in rows]) for name in rows[0][0]}
    result = {
        "model": model.spec.name,
        "trained": {k: model.spec.training.get(k) for k in ("date", "clips", "sources")},
        "benchmark": data.name,
        "protocol": data.protocol,
        "part": "test",
        "folds": len(data.folds),
        "recordings": len(data.recordings),
        "hours": sum(len(r.track) / r.track.rate for r in data.recordings) / 3600,
        "skipped": data.skipped,
        "classes": len(data.class_names),
        "share": share,
        "seeds": list(seeds),
        "date": date.today().isoformat(),
        "published": [[p.method, p.measure, p.value] for p in data.published],
        "detect": found,
    }
    durations = {recording.id: _duration(recording) for recording in data.recordings if recording.id in scores}
    return Detection(result, data.class_names, scores, durations)


@dataclass(frozen=True, eq=False)
class _Run:
    model: Model
    data: UntrimmedSet
    head: Head
    seed: int
    share: float
    epochs: int
    compute: Compute
    frozen: dict[Callable[[Model, Recording], Rows], list[Rows]]
    progress: Progress

    def fold(self, fold: Fold) -> tuple[dict[str, float], dict[str, FrameScores]]:
        """The measures of a fold, and the scores of its test recordings by id."""
        rng = np.random.default_rng(self.seed)
        train = rng.permutation(np.flatnonzero(fold.train))
        train = train[: max(1, round(self.share * len(train)))]
        test = np.flatnonzero(fold.test)
        held = train[: len(train) // 4] if self.data.has_tags else train[:0]
        scorer = self._scorer(train[len(held) :])
        found = [scorer(int(i)) for i in test]
        by_id = {self.data.recordings[i].id: own for i, own in zip(test, found, strict=True)}
        if not self.data.has_tags:
            return _segment_measures(self.data, test, found), by_id
        threshold = _thresholds(self.data, held, [scorer(int(i)) for i in held], self._found)
        moments = [self._found(own, threshold) for own in found]
        result = tag_f_score([list(self.data.recordings[i].tags) for i in test], moments)
        return {
            "f_score": result["f"],
            "precision": result["precision"],
            "recall": result["recall"],
            "latency_ms": 1000 * result["latency_s"],
        }, by_id

    def _found(self, scores: FrameScores, threshold: np.ndarray) -> list[tuple[int, float]]:
        return scores.firings(threshold) if self.head == "causal" else scores.moments(threshold)

    def _scorer(self, train: np.ndarray) -> Callable[[int], FrameScores]:
        """Train on recordings; the answer scores any recording by its index."""
        data, k = self.data, len(self.data.class_names)
        if self.head == "text":
            texts = self.model.project_labels(data.class_names)

            def by_text(i: int) -> FrameScores:
                features, times = self.frozen[recording_features][i]
                cosines = self.model.project(features) @ texts.T
                found = self.model.spec.matching.probabilities(cosines, [False] * k, none=True)
                return FrameScores(times, against_the_next(found)[:, :k])

            return by_text
        if self.head in _FROZEN:
            rows = self.frozen[_FROZEN[self.head]]
            head = train_head(
                [rows[i][0] for i in train],
                [_targets(data.recordings[i], rows[i][1], k) for i in train],
                layers=_LAYERS if self.head in ("raw", "tcn") else 0,
                seed=self.seed,
            )
            return lambda i: FrameScores(rows[i][1], _apply(head, rows[i][0]))
        start = self.model if self.head == "finetune" else from_scratch(self.model, seed=self.seed)
        tuned, head = train_encoder(
            start,
            [data.recordings[i] for i in train],
            k,
            epochs=self.epochs,
            compute=self.compute,
            seed=self.seed,
            progress=self.progress,
        )

        def by_encoder(i: int) -> FrameScores:
            features, times = recording_features(tuned, data.recordings[i])
            return FrameScores(times, _apply(head, features))

        return by_encoder


def against_the_next(probabilities: np.ndarray) -> np.ndarray:
    """How each answer stands against the best of the others: p / (p + p of that one), above one half for the best.

    Probabilities that sum to 1 get smaller the more answers there are; these do not.

    Args:
        probabilities: (n, k), k at least 2.
    """
    second, best = np.partition(probabilities, -2, axis=1)[:, -2:].T
    others = np.where(probabilities == best[:, None], second[:, None], best[:, None])
    return probabilities / (probabilities + others)


def _apply(head: FrameHead, features: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return head(torch.from_numpy(features)[None])[0].sigmoid().numpy()


def _targets(recording: Recording, times_s: np.ndarray, classes: int) -> np.ndarray:
    """(m, classes) bool: within a segment, or within 0.3 s of a tag."""
    segments = list(recording.segments) + [(k, t - _TAG_REACH_S, t + _TAG_REACH_S) for k, t in recording.tags]
    return frame_truth(segments, times_s, classes, bounds="inclusive")


def _step(times_s: np.ndarray) -> float:
    return float(times_s[1] - times_s[0]) if len(times_s) > 1 else FRAME_STRIDE / 15


def _segment_measures(data: UntrimmedSet, test: np.ndarray, scores: Sequence[FrameScores]) -> dict[str, float]:
    k = len(data.class_names)
    recordings = [data.recordings[i] for i in test]
    durations, dense, true_runs, said_runs = [], [], [], []
    for recording, own in zip(recordings, scores, strict=True):
        # To the resolution of the truth first.
        fps = recording.track.fps
        assert fps is not None
        durations.append(len(recording.track) / fps)
        times = dense_times(len(recording.track), durations[-1])
        dense.append(own.at(times))
        true_runs.append(_single(frame_truth(recording.segments, times, k, bounds="strict").astype(float)))
        said_runs.append(_single(dense[-1]))
    segments = [list(recording.segments) for recording in recordings]
    frames = dense_localisation(segments, durations, dense)
    events = event_map(segments, [s.segments() for s in scores], classes=k, iou=0.5)
    runs = list(zip(true_runs, said_runs, strict=True))
    measures = {
        "frame_map": frames["plain"],
        "frame_map_authors": frames["authors"],
        "event_map": events["action"],
        "event_map_authors": events["authors_action"],
        "event_map_videos": events["video"],
        "event_map_videos_authors": events["authors_video"],
        "edit": mean_of_numbers([edit_score(truth, said, background=(k,)) for truth, said in runs]),
        **segmental_f1(true_runs, said_runs, background=(k,)),
    }
    if data.metric == "localisation":
        lengths = [_duration(recording) for recording in recordings]
        at_points = np.stack([own.at(charades_points(s)) for own, s in zip(scores, lengths, strict=True)])
        found = charades_localisation([list(r.segments) for r in recordings], lengths, at_points)
        measures |= {"localisation": found["plain"]}
    return measures


def _duration(recording: Recording) -> float:
    return recording.duration_s or len(recording.track) / recording.track.rate


def _single(scores: np.ndarray) -> np.ndarray:
    """(frames,) the best class, or the number of classes where none reaches one half."""
    return np.where(scores.max(axis=1) >= 0.5, scores.argmax(axis=1), scores.shape[1])


def _thresholds(
    data: UntrimmedSet,
    rows: np.ndarray,
    scores: Sequence[FrameScores],
    find: Callable[[FrameScores, np.ndarray], list[tuple[int, float]]],
) -> np.ndarray:
    """(classes,) each class's threshold with the best F on recordings that trained nothing."""
    k = len(data.class_names)
    grid = np.linspace(0.05, 0.9, 18)
    tags = [list(data.recordings[i].tags) for i in rows]
    best = np.full((len(grid), k), -1.0)
    for n, value in enumerate(grid):
        found = tag_f_score(tags, [find(s, np.full(k, value)) for s in scores])["per_class"]
        for c, measures in found.items():
            best[n, c] = np.nan_to_num(measures["f"], nan=-1.0)
    return np.where(best.max(axis=0) >= 0, grid[best.argmax(axis=0)], 0.5)
