"""Track: the validated keypoints of one person over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.layouts import Layout, convert, find_layout

UNKNOWN_FPS = 30.0
"""Frames per second as which those of an unknown rate count, wherever seconds are needed all the same."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person over time.

    Args:
        keypoints: (frames, joints, 2 | 3) float; NaN = unseen (a joint with any NaN coordinate counts as unseen).
            2D in pixels or any consistent unit, y down as in images; 3D in metres, y up.
        layout: a :class:`Layout` or the name of a known one.
        fps: frames per second; None = unknown (never guessed).
        scores: (frames, joints) float, the estimator's confidence; None = not given.
        start_s: when the first frame is, in seconds of the source.
        id: identifies the person or the sequence within its source.

    The arrays are copied to float32 and can't be written to.

    Raises:
        TmorError: the shape, the rate, the start, the id, or the values can't be a track's.
        LayoutError: ``layout`` is not known.
    """

    keypoints: np.ndarray
    layout: Layout
    fps: float | None
    scores: np.ndarray | None = None
    start_s: float = 0.0
    id: str | None = None

    def __post_init__(self) -> None:
        layout = find_layout(self.layout)
        if not (self.id is None or isinstance(self.id, str)):
            raise TmorError(f"track has id {self.id!r:.60}; expected text, or None")
        who = f"track '{self.id}'" if self.id is not None else "track"
        points = np.array(self.keypoints, dtype=np.float32)
        if points.ndim != 3 or points.shape[2] not in (2, 3):
            raise TmorError(f"{who}: keypoints have shape {points.shape}; expected (frames, joints, 2 or 3)")
        if points.shape[1] != len(layout):
            raise TmorError(f"{who}: keypoints have {points.shape[1]} joints; layout '{layout.name}' has {len(layout)}")
        if points.shape[0] == 0:
            raise TmorError(f"{who}: keypoints have no frames")
        if np.isinf(points).any():
            raise TmorError(f"{who}: keypoints hold infinite values; use NaN for unseen joints")
        points[np.isnan(points).any(axis=2)] = np.nan
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise TmorError(f"{who}: fps is {self.fps}; expected a positive number, or None where the rate is unknown")
        if not math.isfinite(self.start_s):
            raise TmorError(f"{who}: start_s is {self.start_s}; expected seconds")
        scores = self.scores
        if scores is not None:
            scores = np.array(scores, dtype=np.float32)
            if scores.shape != points.shape[:2]:
                raise TmorError(f"{who}: scores have shape {scores.shape}; expected {points.shape[:2]}")
            scores.flags.writeable = False
        points.flags.writeable = False
        object.__setattr__(self, "keypoints", points)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "fps", None if self.fps is None else float(self.fps))

    @classmethod
    def from_times(
        cls, keypoints: np.ndarray, layout: Layout | str, times_s: np.ndarray, *, id: str | None = None
    ) -> Track:
        """A track from frames at irregular times, interpolated linearly to their median rate.

        A new frame is NaN where either of its neighbours is unseen, or where they are more than half a second apart.

        Args:
            keypoints: as in :class:`Track`.
            times_s: (frames,) seconds, strictly increasing.

        Raises:
            TmorError: the times are not one per frame, or not strictly increasing.
        """
        times = np.asarray(times_s, dtype=np.float64)
        points = np.asarray(keypoints, dtype=np.float32)
        if times.shape != points.shape[:1]:
            raise TmorError(f"{times.size} times for {points.shape[0]} frames; expected one time per frame")
        if len(times) < 2:
            return cls(points, find_layout(layout), None, start_s=float(times[0]) if len(times) else 0.0, id=id)
        steps = np.diff(times)
        if not (steps > 0).all():
            bad = int(np.argmax(~(steps > 0)))
            raise TmorError(
                f"times are not strictly increasing: frame {bad} is at {times[bad]}, the next at {times[bad + 1]}"
            )
        fps = 1.0 / float(np.median(steps))
        grid = times[0] + np.arange(int((times[-1] - times[0]) * fps + 1e-6) + 1) / fps
        position = np.interp(grid, times, np.arange(len(times)))
        # Rounding must not let a frame lean on its neighbour, which may be unseen.
        near = np.abs(position - position.round()) < 1e-6
        position[near] = position[near].round()
        resampled = sample_at(points, position)
        before = position.astype(int)
        resampled[(np.append(steps, 0)[before] > 0.5) & (position > before)] = np.nan
        return cls(resampled, find_layout(layout), fps, start_s=float(times[0]), id=id)

    def __len__(self) -> int:
        return self.keypoints.shape[0]

    def __repr__(self) -> str:
        rate = "unknown rate" if self.fps is None else f"{self.fps:g} fps"
        name = "" if self.id is None else f"'{self.id}', "
        missing = f"{self.missing_share:.0%} missing"
        return f"Track({name}{len(self)} frames, {self.layout.name}, {self.dims}D, {rate}, {missing})"

    @property
    def dims(self) -> int:
        """2 or 3."""
        return self.keypoints.shape[2]

    @property
    def duration_s(self) -> float | None:
        """Frames divided by the rate; None where the rate is unknown."""
        return None if self.fps is None else len(self) / self.fps

    @property
    def rate(self) -> float:
        """Frames per second; :data:`UNKNOWN_FPS` where that is not known."""
        return UNKNOWN_FPS if self.fps is None else self.fps

    @property
    def end_s(self) -> float:
        """When the last frame is over, in seconds of the source, by :attr:`rate`."""
        return self.start_s + len(self) / self.rate

    @property
    def missing_share(self) -> float:
        """Share of joints, over all frames, that are unseen."""
        return float(np.isnan(self.keypoints[..., 0]).mean())

    def to(self, layout: Layout | str) -> Track:
        """The same movement in another layout (:func:`tmor.skeleton.layouts.convert`)."""
        target = find_layout(layout)
        if target == self.layout:
            return self
        scores = None
        if self.scores is not None:
            scores = convert(self.scores[..., None], self.layout, target)[..., 0]
        return replace(self, keypoints=convert(self.keypoints, self.layout, target), layout=target, scores=scores)

    def frames(self, start: int, stop: int) -> Track:
        """Frames ``start`` to ``stop`` (exclusive); ``start_s`` moves along where the rate is known.

        Raises:
            TmorError: the range is empty or reaches outside the track.
        """
        if not 0 <= start < stop <= len(self):
            raise TmorError(
                f"frames {start} to {stop} of a track of {len(self)} frames; expected 0 <= start < stop <= {len(self)}"
            )
        return replace(
            self,
            keypoints=self.keypoints[start:stop],
            scores=None if self.scores is None else self.scores[start:stop],
            start_s=self.start_s + (start / self.fps if self.fps else 0.0),
        )

    def mirrored(self) -> Track:
        """The mirror image: x negated, left and right joints swapped. Mirroring twice is the identity."""
        order = list(self.layout.mirror)
        points = self.keypoints[:, order].copy()
        points[..., 0] *= -1
        return replace(self, keypoints=points, scores=None if self.scores is None else self.scores[:, order])


def check_tracks(tracks: Sequence[Track]) -> None:
    """Check that something is a list of tracks.

    Raises:
        TmorError: it is one track, or holds something else.
    """
    if isinstance(tracks, Track):
        raise TmorError("tracks is a Track; expected a list of them")
    for n, track in enumerate(tracks):
        if not isinstance(track, Track):
            raise TmorError(
                f"tracks[{n}] is a {type(track).__name__}; expected a Track, as tmor.read_tracks gives them"
            )


def sample_at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Linear interpolation along the first axis at fractional indices.

    Args:
        values: (frames, ...) float; NaN spreads to every position that leans on it.
        positions: (n,) float within [0, frames - 1].

    Returns:
        (n, ...) float32.
    """
    low = np.floor(positions).astype(np.int64)
    weight = (positions - low).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    high = np.minimum(low + 1, len(values) - 1)
    mixed = values[low] * (1 - weight) + values[high] * weight
    # A position right on a frame must not catch the NaN of its neighbour, which 0 * NaN would spread.
    return np.where(weight == 0, values[low], mixed).astype(np.float32)
