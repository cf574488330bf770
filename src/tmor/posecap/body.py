"""A skeleton as signals: comparable lengths, the person's own directions, swings from one turning point to the next.

Lengths are in heights of the body, angles in degrees, frames come at 30 per second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from tmor.posecap.phrases import Phrase
from tmor.skeleton.canonical import prepare
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import UNKNOWN_FPS, Track

FPS = UNKNOWN_FPS
"""The rate at which movements are read; frames of an unknown rate count as if at this one."""

_AT = {joint: i for i, joint in enumerate(UNIK17.joints)}
SIDES = {"left": 1.0, "right": -1.0}
OTHER_SIDE = {"left": "right", "right": "left"}
_BLUR_S = 0.05  # standard deviation of the smoothing: sensors shake by 2 cm

# Lengths of the body's parts in body heights, after Winter, Biomechanics and Motor Control of Human Movement.
TRUNK, THIGH, SHANK, UPPER_ARM, FOREARM = 0.30, 0.245, 0.242, 0.182, 0.148
ARM, LEG = UPPER_ARM + FOREARM, THIGH + SHANK
WIDTH = 0.157  # mean of the widths of shoulders and hips


@dataclass(frozen=True)
class Body:
    """A track made comparable.

    Args:
        x: (frames, 17, 2 | 3) in body heights, y up, smoothed, at 30 frames per second; NaN = unseen.
        left, ahead: (frames, 2 | 3) unit vectors of the person's left and front; NaN where a view doesn't show that
            direction (2D from the front: ahead; from the side: left).
        turn: (frames,) which way the person is turned. 2D: the width of shoulders and hips in the picture, 1 = seen
            from the front, -1 = from behind; 3D: degrees about the vertical, growing towards the person's left. NaN
            where that can't be told.
        start_s: of the first frame.
        rate_known: whether seconds are seconds.
    """

    x: np.ndarray
    left: np.ndarray
    ahead: np.ndarray
    turn: np.ndarray
    start_s: float
    rate_known: bool

    @classmethod
    def of(cls, track: Track) -> Body:
        """The body of a track; raises as :func:`tmor.skeleton.canonical.prepare` does."""
        x = smooth(prepare(track, fps=FPS).astype(np.float64), _BLUR_S)
        x = x / _height(x)
        across = (x[:, [_AT["left_shoulder"], _AT["left_hip"]]] - x[:, [_AT["right_shoulder"], _AT["right_hip"]]]) / 2
        across = smooth(mean_seen(across, axis=1), 0.25)
        nowhere = np.full_like(across, np.nan)
        if x.shape[2] == 2:
            turn = across[:, 0] / WIDTH
            # A side that is hardly ever seen is hidden behind the other.
            if (~np.isnan(turn)).mean() > 0.3 and np.nanmedian(np.abs(turn)) > 0.4:  # from the front or from behind
                left, ahead = np.stack([np.sign(turn), 0 * turn], axis=1), nowhere
            else:
                way = np.full(len(x), float(np.sign(_profile(x))) or np.nan)
                left, ahead = nowhere, np.stack([way, 0 * way], axis=1)
        else:
            across[:, 1] = 0
            length = np.linalg.norm(across, axis=1)
            # A body that lies on its side has no left along the floor.
            across[~(length > 0.3 * WIDTH)] = np.nan
            across = _bridged(across)
            left = across / np.linalg.norm(across, axis=1, keepdims=True)
            ahead = np.stack([-left[:, 2], left[:, 1], left[:, 0]], axis=1)
            turn = np.degrees(unwrapped(ahead[:, 0], ahead[:, 2]))
        return cls(x, left, ahead, turn, track.start_s, track.fps is not None)

    def at(self, joint: str) -> np.ndarray:
        """(frames, 2 | 3) where a joint is."""
        return self.x[:, _AT[joint]]

    def y(self, joint: str) -> np.ndarray:
        """(frames,) how high a joint is."""
        return self.x[:, _AT[joint], 1]

    @property
    def dims(self) -> int:
        """2 or 3."""
        return self.x.shape[2]

    def leftwards(self, way: np.ndarray) -> np.ndarray:
        """(frames,) how far (frames, 2 | 3) go to the person's left; NaN where the view doesn't show it."""
        return (way * self.left).sum(axis=1)

    def forwards(self, way: np.ndarray) -> np.ndarray:
        """(frames,) how far (frames, 2 | 3) go to the person's front; NaN where the view doesn't show it."""
        return (way * self.ahead).sum(axis=1)

    @cached_property
    def leg(self) -> np.ndarray:
        """How far the hips are over the lower ankle: 1 = standing, about 0.5 = sitting."""
        lower = np.fmin(self.y("left_ankle"), self.y("right_ankle"))
        return (self.y("mid_hip") - lower) / LEG

    @cached_property
    def trunk(self) -> np.ndarray:
        """1 = upright, 0 = level, -1 = upside down."""
        return (self.y("neck") - self.y("mid_hip")) / TRUNK

    def bend(self, a: str, b: str, c: str) -> np.ndarray:
        """(frames,) the angle at joint b: 180 = straight."""
        u, v = self.at(a) - self.at(b), self.at(c) - self.at(b)
        cosine = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)).clip(min=1e-9)
        return np.degrees(np.arccos(cosine.clip(-1, 1)))

    def phrase(
        self, verb: str, limb: str, way: str, span: tuple[int, int], size: float, *, times: int = 1, usual: float = 0
    ) -> Phrase:
        """``usual``: seconds that one such movement takes; it sets the speed word, 0 = none. An unknown rate has no
        speed."""
        start, end = span
        each = (end - start) / FPS / times
        speed = "quickly" if each < 0.3 * usual else "slowly" if usual and each > 2.2 * usual else ""
        speed = speed if self.rate_known else ""
        return Phrase(verb, limb, way, self.start_s + start / FPS, self.start_s + end / FPS, size, times, speed)


def mean_seen(values: np.ndarray, *, axis: int) -> np.ndarray:
    """The mean of what is seen; NaN where nothing is."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=axis)
    return np.where(count > 0, np.where(seen, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    """Gaussian smoothing along the first axis; unseen values take no part and stay unseen."""
    from scipy.ndimage import gaussian_filter1d

    seen = ~np.isnan(x)
    total = gaussian_filter1d(np.where(seen, x, 0.0), seconds * FPS, axis=0, mode="nearest")
    weight = gaussian_filter1d(seen.astype(float), seconds * FPS, axis=0, mode="nearest")
    return np.where(seen, total / np.maximum(weight, 1e-9), np.nan)


def _bridged(x: np.ndarray) -> np.ndarray:
    """Rows that are unseen filled from their neighbours; all NaN where none is seen."""
    seen = np.flatnonzero(~np.isnan(x[:, 0]))
    if not len(seen):
        return x
    return np.stack([np.interp(np.arange(len(x)), seen, column[seen]) for column in x.T], axis=1)


def unwrapped(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle of (x, y) in radians without jumps; NaN where it is unknown."""
    angle = np.arctan2(y, x)
    seen = ~np.isnan(angle)
    angle[seen] = np.unwrap(angle[seen])
    return angle


def _height(x: np.ndarray) -> float:
    """The body's height: the second longest of the estimates from each of its parts, as a view shortens them."""
    parts = {("neck", "mid_hip"): TRUNK}
    for side in SIDES:
        parts |= {(f"{side}_hip", f"{side}_knee"): THIGH, (f"{side}_knee", f"{side}_ankle"): SHANK}
        parts |= {
            (f"{side}_shoulder", f"{side}_elbow"): UPPER_ARM,
            (f"{side}_elbow", f"{side}_wrist"): FOREARM,
        }
    estimates = []
    for (a, b), share in parts.items():
        length = np.linalg.norm(x[:, _AT[a]] - x[:, _AT[b]], axis=1)
        length = length[~np.isnan(length)]
        if len(length):
            estimates.append(float(np.quantile(length, 0.8)) / share)
    # Pairs count as one: a hidden limb is no reason to believe the other less.
    estimates.sort()
    height = estimates[max(len(estimates) - 3, 0)] if estimates else 1.0
    return height if height > 0 else 1.0


def _profile(x: np.ndarray) -> float:
    """Which way somebody seen from the side faces: positive to the right of the picture, as knees bend forwards and
    elbows backwards; 0 = can't be told."""
    total = 0.0
    for side in SIDES:
        for a, b, c, sign in (("hip", "knee", "ankle", 1), ("shoulder", "elbow", "wrist", -1)):
            upper, joint, lower = (x[:, _AT[f"{side}_{part}"], 0] for part in (a, b, c))
            bent = sign * (joint - (upper + lower) / 2)
            total += float(np.nansum(bent)) if sign > 0 else 0.5 * float(np.nansum(bent))
    return total if abs(total) > 0.02 * len(x) else 0.0


@dataclass(frozen=True)
class Swing:
    """A signal's way from one turning point to the next: frames in which it moves, the turning points, their values."""

    start: int
    end: int
    first: int
    last: int
    before: float
    after: float

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end

    @property
    def up(self) -> bool:
        return self.after > self.before

    @property
    def size(self) -> float:
        return abs(self.after - self.before)


def swings_of(signal: np.ndarray, least: float) -> list[Swing]:
    """Swings of at least ``least``, alternately up and down; stretches that are unseen part them."""
    seen = ~np.isnan(signal)
    edges = np.flatnonzero(np.diff(np.r_[False, seen, False]))
    found = []
    for start, stop in edges.reshape(-1, 2):
        piece = signal[start:stop]
        turns = _turning_points(piece, least)
        for a, b in pairwise(turns):
            before, after = float(piece[a]), float(piece[b])
            # It moves between leaving a tenth of the way and reaching the last tenth.
            way = (piece[a : b + 1] - before) / (after - before)
            leaves, arrives = a + int(np.flatnonzero(way <= 0.1)[-1]), a + int(np.flatnonzero(way >= 0.9)[0])
            at = int(start)
            found.append(Swing(at + min(leaves, arrives), at + max(leaves, arrives), at + a, at + b, before, after))
    return found


def _turning_points(signal: np.ndarray, least: float) -> list[int]:
    """Indices of alternating lows and highs that lie at least ``least`` apart."""
    low = high = 0
    turns: list[int] = []
    rising = 0
    for i, value in enumerate(signal):
        if rising >= 0 and value > signal[high]:
            high = i
        if rising <= 0 and value < signal[low]:
            low = i
        if rising >= 0 and signal[high] - value >= least:
            turns.append(high)
            rising, low = -1, i
        elif rising <= 0 and value - signal[low] >= least:
            turns.append(low)
            rising, high = 1, i
    if rising:
        turns.append(high if rising > 0 else low)
    return turns


def runs(true: np.ndarray, least: int = 1) -> list[tuple[int, int]]:
    """(start, stop) of runs of True of at least ``least`` frames."""
    edges = np.flatnonzero(np.diff(np.r_[False, true, False])).reshape(-1, 2)
    return [(int(a), int(b)) for a, b in edges if b - a >= least]


def in_series(swings: Sequence[Swing], *, gap_s: float) -> Iterator[list[Swing]]:
    """Swings that follow each other without a longer rest."""
    series: list[Swing] = []
    for swing in swings:
        if series and swing.start - series[-1].end > gap_s * FPS:
            yield series
            series = []
        series.append(swing)
    if series:
        yield series
