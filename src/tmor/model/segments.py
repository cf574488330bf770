"""What happens when: one rule for recordings and live streams, so that both give the same answer.

A track is judged in windows that start at fixed places from its first frame. Each window answers for the moments around
its middle, half-way to its neighbours; its answer is smoothed with theirs, and a label stays until another is clearly
more probable. Nothing depends on what comes more than one window later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tmor.skeleton.tracks import UNKNOWN_FPS, Track

# Hop and smoothing were measured on sample motions strung together, 24 labels: F at IoU 0.5 by examples 68, without
# smoothing and half overlapping 54. The lead on joined training clips of UTD-MHAD and KARD (docs/experiments.md).
_SHARE = 0.6
_HOPS = 3
_LEAD = 1.35  # how many times as probable another label must be; a ratio, as few labels and many are alike to it


@dataclass(frozen=True)
class Segment:
    """An action within a track; times in seconds of the source, ``end_s`` exclusive.

    ``score`` is the mean over the segment of the label's smoothed probability.
    """

    start_s: float
    end_s: float
    label: str
    score: float

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON: times to the millisecond, the score to four digits."""
        times = {"start_s": round(self.start_s, 3), "end_s": round(self.end_s, 3)}
        return {**times, "label": self.label, "score": round(self.score, 4)}


class Paced(Protocol):
    """What a model's description says of time; see :class:`tmor.model.model.ModelSpec`."""

    @property
    def fps(self) -> float: ...
    @property
    def longest_s(self) -> float: ...
    @property
    def longest_frames(self) -> int: ...


@dataclass(frozen=True)
class Windows:
    """Where the windows of a track lie, in frames of the track as prepared.

    A track up to ``longest`` frames is one window. In a longer one, windows of ``length`` start every ``hop`` frames
    from the first, and one more ends with the last frame.
    """

    longest: int

    @property
    def length(self) -> int:
        """Frames of a window."""
        return max(1, round(_SHARE * self.longest))

    @property
    def hop(self) -> int:
        """Frames from one window's start to the next one's."""
        return max(1, round(self.length / _HOPS))

    def starts(self, frames: int) -> list[int]:
        """The first frame of each window of a track of that many frames."""
        if frames <= self.longest:
            return [0]
        last = frames - self.length
        regular = list(range(0, last + 1, self.hop))
        return regular if regular[-1] == last else [*regular, last]

    def of_whole(self, frames: int) -> list[tuple[int, int]]:
        """The first frame and the one after the last of each clip of a track that is judged as a whole: of a longer one
        than ``longest``, windows that overlap by half or a little more."""
        if frames <= self.longest:
            return [(0, frames)]
        count = 1 + math.ceil((frames - self.length) / (self.length / 2))
        starts = [round(start) for start in np.linspace(0, frames - self.length, count)]
        return [(start, start + self.length) for start in starts]


def windows_of(fps: float | None, spec: Paced) -> Windows:
    """The windows in which a model judges tracks of a rate, None = unknown."""
    return Windows(spec.longest_frames if fps is None else round(spec.longest_s * spec.fps))


def rate_of(fps: float | None, spec: Paced) -> float:
    """Frames per second that a track of a rate has when prepared for a model; an unknown rate stays as it is taken to
    be."""
    if fps is None:
        return UNKNOWN_FPS
    return fps if math.isclose(fps, spec.fps, rel_tol=1e-3) else spec.fps


def find_segments(
    track: Track,
    x: np.ndarray,
    names: Sequence[str],
    judge: Callable[[list[np.ndarray]], np.ndarray],
    spec: Paced,
    *,
    batch: int = 64,
) -> list[Segment]:
    """What a recorded track shows when.

    Args:
        x: (frames, 17, dims) the track as prepared for the model.
        names: the k answers.
        judge: from stretches of ``x`` of one length, at most ``batch`` of them, to (n, k) probabilities.
        spec: of the model.

    Returns:
        At least one segment, in order, without overlap.
    """
    windows, rate = windows_of(track.fps, spec), rate_of(track.fps, spec)
    starts = windows.starts(len(x))
    length = windows.length if len(starts) > 1 else len(x)
    joiner = Joiner(names, length=length, start_s=track.start_s, rate=rate)
    for first in range(0, len(starts), batch):
        part = starts[first : first + batch]
        clips = [x[start : start + length] for start in part]
        seen = [frames_seen(clip) for clip in clips]
        shown = [clip for clip, own in zip(clips, seen, strict=True) if own.any()]
        rows = iter(judge(shown) if shown else ())
        for start, own in zip(part, seen, strict=True):
            joiner.add(start, own, next(rows) if own.any() else None)
    return joiner.finish(track.end_s)


def frames_seen(x: np.ndarray) -> np.ndarray:
    """(frames,) bool: in which of (frames, joints, dims) anything is seen."""
    return np.asarray(~np.isnan(x[..., 0]).all(axis=1))


class Joiner:
    """Makes segments of the windows' answers, one window after the other.

    Args:
        labels: the k labels.
        length: frames of a window.
        start_s: when the track's first frame is, in seconds of the source.
        rate: frames per second in which the windows' starts are given.
    """

    def __init__(self, labels: Sequence[str], *, length: int, start_s: float, rate: float) -> None:
        self._labels, self._length, self._start_s, self._rate = tuple(labels), length, start_s, rate
        self.segments: list[Segment] = []
        """Those that are closed: what comes later does not change them."""
        # The window before, and the one that is undecided.
        self._rows: list[tuple[int, np.ndarray, np.ndarray | None]] = []
        self._decided_s = start_s
        self._label: int | None = None
        self._since_s = self._until_s = start_s
        self._mass = self._shown_s = 0.0

    @property
    def open(self) -> Segment | None:
        """The segment that goes on, as far as it is decided; None where nobody was seen."""
        if self._label is None:
            return None
        return Segment(self._since_s, self._until_s, self._labels[self._label], self._mass / self._shown_s)

    def add(self, start: int, seen: np.ndarray, probabilities: np.ndarray | None) -> None:
        """The answer of the next window.

        Args:
            start: its first frame; larger than the one before.
            seen: (length,) bool: in which of its frames anybody is seen.
            probabilities: (k,); None = nobody is seen in it.
        """
        self._rows.append((start, seen, probabilities))
        if len(self._rows) > 1:
            middle = (self._rows[-2][0] + start + self._length) / 2
            self._decide(len(self._rows) - 2, self._start_s + middle / self._rate)
        self._rows = self._rows[-2:]

    def finish(self, end_s: float) -> list[Segment]:
        """All segments, the last of them up to ``end_s``; at least one window was added, and none may follow."""
        self._decide(len(self._rows) - 1, end_s)
        self._close()
        return self.segments

    def _decide(self, i: int, until_s: float) -> None:
        """Give the moments around window ``i`` of those kept a label."""
        _, _, own = self._rows[i]
        shown = self._shown(i, until_s)
        if own is None or shown is None:
            self._close()
            self._decided_s = until_s
            return
        beside = [row for _, _, row in (*self._rows[max(i - 1, 0) : i], *self._rows[i + 1 : i + 2]) if row is not None]
        smooth = np.stack([own, own, *beside]).mean(axis=0, dtype=np.float64)
        best = int(smooth.argmax())
        label = self._label
        if label is None or smooth[best] > smooth[label] * _LEAD:
            label = best
        if label != self._label:
            self._close()
            self._label, self._since_s = label, shown[0]
        self._mass += float(smooth[label]) * (shown[1] - shown[0])
        self._shown_s += shown[1] - shown[0]
        self._decided_s, self._until_s = until_s, shown[1]

    def _shown(self, i: int, until_s: float) -> tuple[float, float] | None:
        """From when to when somebody is seen in the moments around window ``i``; None where nobody is."""
        start, seen, _ = self._rows[i]
        times = self._start_s + (start + np.arange(len(seen))) / self._rate
        half = 0.5 / self._rate
        inside = np.flatnonzero((times > self._decided_s - half) & (times < until_s - half))
        own = inside[seen[inside]]
        if not len(inside):  # less than a frame
            return self._decided_s, until_s
        if not len(own):
            return None
        first = self._decided_s if own[0] == inside[0] else float(times[own[0]])
        return first, until_s if own[-1] == inside[-1] else float(times[own[-1]] + 1 / self._rate)

    def _close(self) -> None:
        segment = self.open
        if segment is not None:
            self.segments.append(segment)
        self._label, self._mass, self._shown_s = None, 0.0, 0.0
