"""Sets read for detection: recordings with what happens when, and long sequences made from trimmed samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold, Protocol, Published, folds_of, protocol_of
from tmor.errors import FormatError, TmorError
from tmor.skeleton.canonical import is_seen
from tmor.skeleton.formats import PackedSet, read_packed
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track


@dataclass(frozen=True, eq=False)
class Recording:
    """A person, or several, over a long time.

    Args:
        track: of a known rate; it begins at 0 s. Somebody is seen in it.
        segments: (class, start, end) in seconds; they may overlap.
        tags: (class, time) in seconds of single moments.
        duration_s: of the recording, where it is known better than by its frames.
        others: further persons, on the frames of ``track``; what happens is what any of them does.
    """

    id: str
    track: Track
    segments: tuple[tuple[int, float, float], ...] = ()
    tags: tuple[tuple[int, float], ...] = ()
    duration_s: float | None = None
    others: tuple[Track, ...] = ()


@dataclass(frozen=True, eq=False)
class UntrimmedSet:
    """Recordings and how they are divided.

    Args:
        class_names: the classes that occur in it.
        folds: divisions of the recordings into a training and a test part.
        skipped: recordings that were left out, counted by reason.
        metric: the protocol's.
        published: figures of others.
    """

    name: str
    protocol: str
    recordings: tuple[Recording, ...]
    class_names: tuple[str, ...]
    folds: tuple[Fold, ...]
    skipped: dict[str, int]
    metric: str = ""
    published: tuple[Published, ...] = ()

    @property
    def has_tags(self) -> bool:
        """Whether moments are to be found, not segments."""
        return any(recording.tags for recording in self.recordings)


def read_untrimmed(path: str | Path, protocol: Protocol | None = None, *, part: str | None = None) -> UntrimmedSet:
    """A packed set with tags, segments or frame labels, and the folds of a protocol.

    Left out are classes of which no recording shows anything, and tags of no class.

    Args:
        path: a packed set of a known frame rate.
        protocol: of a benchmark; or None, and
        part: the training part of a set of one's own; the rest is the test part.

    Raises:
        FormatError: the file is not a packed set, or its column ``duration_s`` holds no durations.
        LayoutError: its joints can't become the 17 that models see.
        TmorError: nothing in it says what happens when, its rate is unknown, or a fold has nothing on one side.
    """
    packed = read_packed(path)
    if packed.fps is None and packed.times_s is None:
        raise TmorError(f"{path}: its frame rate is unknown; detection needs array 'fps' or 'timestamp_ms'")
    protocol = protocol_of(packed, path, protocol, part)
    folds = protocol.folds(packed)
    used = np.any([fold.train | fold.test for fold in folds], axis=0)
    durations = packed.columns.get("duration_s")
    if durations is not None and not (durations.ndim == 1 and durations.dtype.kind in "fiu" and (durations > 0).all()):
        raise FormatError(
            f"{path}: duration_s has type {durations.dtype} or is not above 0; expected seconds, a number per recording"
        )
    kept, recordings, skipped = [], [], {}
    for i in np.flatnonzero(used).tolist():
        # The recording's clock may begin at any time.
        tracks = [replace(track, start_s=0.0) for track in packed.tracks(i)]
        seen = [track for track in tracks if is_seen(track)]
        reason = None if seen else "nobody is seen"
        reason = "a single frame" if tracks[0].fps is None else reason
        if reason:
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        duration_s = None if durations is None else float(durations[i])
        happens = segments_of(packed, i), _tags(packed, i)
        recordings.append(Recording(packed.ids[i], seen[0], *happens, duration_s, tuple(seen[1:])))
        kept.append(i)
    present = sorted({s[0] for r in recordings for s in r.segments} | {t[0] for r in recordings for t in r.tags})
    if not present:
        raise TmorError(f"{path}: has no tags, segments or frame labels; detection needs to know what happens when")
    if not packed.class_names:
        raise TmorError(f"{path}: has no class names; detection needs array 'class_names'")
    at = {k: n for n, k in enumerate(present)}
    recordings = [
        replace(
            r,
            segments=tuple((at[k], start, end) for k, start, end in r.segments),
            tags=tuple((at[k], time) for k, time in r.tags),
        )
        for r in recordings
    ]
    own = folds_of(folds, kept, path=path, protocol=protocol.name, what="recordings")
    names = tuple(packed.class_names[k] for k in present)
    return UntrimmedSet(
        name=packed.name,
        protocol=protocol.name,
        recordings=tuple(recordings),
        class_names=names,
        folds=own,
        skipped=skipped,
        metric=protocol.metric,
        published=protocol.published,
    )


def joined(
    data: LabelledSet, *, clips: int = 12, overlap_s: float = 0.4, fps: float = 15.0, seed: int = 0
) -> UntrimmedSet:
    """Long recordings from the trimmed samples of a set: each joins several of one part of its first fold.

    While one sample fades into the next both of their labels hold. Bodies are moved to begin where the one before was
    seen last. Samples of an unknown rate are taken as at 30 fps.

    Args:
        clips: samples per recording.
        overlap_s: length of a cross-fade.
        fps: the rate of the recordings.
    """
    rng = np.random.default_rng(seed)
    fold = data.folds[0]
    recordings: list[Recording] = []
    train: list[bool] = []
    for part, is_train in ((fold.train, True), (fold.test, False)):
        rows = rng.permutation(np.flatnonzero(part))
        for chunk in np.array_split(rows, max(1, len(rows) // clips)):
            name = f"{data.name} joined {len(recordings)}"
            recordings.append(_join([(data.samples[i][0], int(data.labels[i])) for i in chunk], name, overlap_s, fps))
            train.append(is_train)
    own = np.array(train)
    return UntrimmedSet(
        f"{data.name} joined", data.protocol, tuple(recordings), data.class_names, (Fold("joined", own, ~own),), {}
    )


def _join(samples: Sequence[tuple[Track, int]], name: str, overlap_s: float, fps: float) -> Recording:
    total: np.ndarray | None = None
    previous = 0
    segments = []
    for track, label in samples:
        x = np.array(track.to(UNIK17).keypoints)
        source = track.rate
        count = max(2, round(len(x) * fps / source))
        x = x[np.minimum(np.arange(count) * source / fps, len(x) - 1).round().astype(int)]
        if total is None:
            total, start = x, 0
        else:
            fade = min(round(overlap_s * fps), previous // 2, len(x) // 2)  # no three samples at once
            x = x + np.nan_to_num(_place(total[::-1]) - _place(x))
            start = len(total) - fade
            weight = (np.arange(1, fade + 1) / (fade + 1))[:, None, None]
            mixed = total[start:] * (1 - weight) + x[:fade] * weight
            total = np.concatenate([total[:start], mixed, x[fade:]])
        previous = count
        segments.append((label, start / fps, len(total) / fps))
    assert total is not None
    return Recording(name, Track(total.astype(np.float32), UNIK17, fps, id=name), tuple(segments))


def _place(poses: np.ndarray) -> np.ndarray:
    """Where the body is in the first of its poses that shows it, by its hips or else its seen joints; else NaN."""
    seen = np.flatnonzero(~np.isnan(poses[..., 0]).all(axis=1))
    if not len(seen):
        return np.full(poses.shape[2], np.nan)
    pose = poses[seen[0]]
    hip = pose[UNIK17.joints.index("mid_hip")]
    return np.nanmean(pose, axis=0) if np.isnan(hip).any() else hip


def segments_of(packed: PackedSet, i: int) -> tuple[tuple[int, float, float], ...]:
    """(class, start, end) in seconds from the start of sequence i, of its segments or frame labels."""
    found: list[tuple[int, float, float]] = []
    if packed.segments_s is not None:
        own = packed.segments_s[packed.segments_s[:, 0] == i]
        found += [(int(k), start, end) for _, k, start, end in own.tolist()]
    if packed.segments is not None:
        own = packed.segments[packed.segments[:, 0] == i]
        found += [(k, _seconds(packed, i, start), _seconds(packed, i, end)) for _, k, start, end in own.tolist()]
    elif packed.frame_labels is not None:
        labels = packed.frame_labels[packed.offsets[i] : packed.offsets[i + 1]]
        edges = np.flatnonzero(np.diff(labels, prepend=-2, append=-2))
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if labels[start] >= 0:
                found.append((int(labels[start]), _seconds(packed, i, start), _seconds(packed, i, end)))
    return tuple(found)


def _tags(packed: PackedSet, i: int) -> tuple[tuple[int, float], ...]:
    if packed.tags is None:
        return ()
    rows = packed.tags[packed.tags[:, 0] == i]
    label = -1 if packed.labels is None else int(packed.labels[i])
    found = ((int(row[2]) if len(row) > 2 else label, _seconds(packed, i, int(row[1]))) for row in rows)
    return tuple((k, time) for k, time in found if k >= 0)


def _seconds(packed: PackedSet, i: int, frame: int) -> float:
    """When a frame of a sequence begins; the one after the last begins when the last ends."""
    if packed.times_s is None:
        return frame / (packed.fps or 1.0)
    start, stop = packed.offsets[i : i + 2]
    own = packed.times_s[start:stop] - packed.times_s[start]
    last = own[-1] + (np.median(np.diff(own)) if len(own) > 1 else 0.0)
    return float(own[frame] if frame < len(own) else last)
