"""From the people of single pictures to tracks: who is who over time.

Association is by the distance of whole skeletons, in body lengths and real seconds, not by the overlap of boxes in
counted frames: where two people cross, boxes fall together long before poses do. The ``trackers`` package (ByteTrack,
OC-SORT) knows boxes only, does not name a person's first frame, and needs OpenCV with a window system.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from tmor.errors import TmorError
from tmor.pose.estimators import People
from tmor.skeleton.formats.persons import MAX_FRAMES, person_id
from tmor.skeleton.layouts import Layout, find_layout
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

MAX_PEOPLE = 100
"""Further people of a picture, the least certain ones, are left out and counted."""

_REACH = 0.3  # how far a skeleton may be from where it was expected, in body lengths, ...
_PACE = 1.5  # ... and how much further per second
_FARTHEST = 1.0
_TWICE = 0.1  # skeletons of one picture that are closer than this are one person's
_COAST_S = 0.3  # people who are lost are expected to move on for this long, then to stay
_JUMP = 0.15  # two people's distances must improve by this much, in body lengths, for an exchange to be suspected


@dataclass(frozen=True)
class FollowReport:
    """What became of the people found in single pictures.

    Args:
        pictures: how many were looked at.
        people: found in all of them together.
        bridged: gaps in tracks that were closed; the frames in them are NaN.
        suspected_switches: moments at which two people's poses fit better with their identities exchanged. A switch
            between two who look alike in pose can't be seen.
        dropped_people: people of single pictures that were left out, by reason.
        dropped_tracks: tracks that were left out, by reason.
    """

    pictures: int
    people: int
    bridged: int
    suspected_switches: int
    dropped_people: Mapping[str, int]
    dropped_tracks: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Followed:
    """Tracks in order of appearance (the largest first where several appear at once), and what was left out."""

    tracks: list[Track]
    report: FollowReport


@dataclass(eq=False)
class _Path:
    """One person so far: by picture, and where they are expected next."""

    keypoints: dict[int, np.ndarray] = field(default_factory=dict)
    scores: dict[int, np.ndarray] = field(default_factory=dict)
    time_s: float = 0.0
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2, dtype=np.float32))

    def add(self, picture: int, time_s: float, keypoints: np.ndarray, scores: np.ndarray) -> None:
        if self.keypoints:
            shift = _shift(self.last, keypoints) / (time_s - self.time_s)
            self.velocity = 0.5 * self.velocity + 0.5 * shift if len(self.keypoints) > 1 else shift
        self.keypoints[picture], self.scores[picture], self.time_s = keypoints, scores, time_s

    @property
    def last(self) -> np.ndarray:
        return self.keypoints[max(self.keypoints)]

    def expected(self, time_s: float) -> np.ndarray:
        return self.last + self.velocity * min(time_s - self.time_s, _COAST_S)


def follow(
    frames: Iterable[tuple[float, People]],
    *,
    layout: Layout | str,
    id: str = "person",
    bridge_s: float = 1.0,
    shortest_s: float = 0.5,
    least_score: float = 0.4,
    joint_score: float = 0.2,
) -> Followed:
    """Follow people through pictures in which they have no identity.

    Args:
        frames: time in seconds (strictly increasing) and people of each picture; an empty picture counts, too.
        layout: of the people.
        id: of the first track; the others are ``id#1``, ``id#2``, ...
        bridge_s: who comes back within so many seconds, near where they are expected, is the same person.
        shortest_s: tracks in which the person is seen for less are left out (half of the video, if that is shorter).
        least_score: tracks whose mean score is less are left out; people below it can go on with a track, but not
            begin one.
        joint_score: joints below it are unseen (NaN).

    Raises:
        TmorError: the times are not strictly increasing, or the people have not the joints of ``layout``.
    """
    layout = find_layout(layout)
    times: list[float] = []
    paths: list[_Path] = []
    alive: list[_Path] = []
    dropped = Counter[str]()
    count = switches = 0
    for picture, (time_s, people) in enumerate(frames):
        if times and not time_s > times[-1]:
            raise TmorError(
                f"picture {picture} is at {time_s} s, after one at {times[-1]} s; expected increasing times"
            )
        if people.keypoints.shape[1] != len(layout):
            raise TmorError(
                f"picture {picture} has people of {people.keypoints.shape[1]} joints; layout '{layout.name}' has "
                f"{len(layout)}"
            )
        times.append(time_s)
        count += len(people)
        keypoints, scores = _distinct(people, joint_score, dropped)
        alive = [path for path in alive if time_s - path.time_s <= bridge_s]
        expected = np.array([path.expected(time_s) for path in alive]).reshape(-1, len(layout), 2)
        costs = _distances(expected, keypoints)
        reach = np.array([min(_REACH + _PACE * (time_s - path.time_s), _FARTHEST) for path in alive]).reshape(-1, 1)
        pairs = [
            (row, column)
            for row, column in zip(*linear_sum_assignment(np.where(costs <= reach, costs, 1e3)), strict=True)
            if costs[row, column] <= reach[row, 0]
        ]
        switches += _switches(alive, keypoints, pairs)
        for row, column in pairs:
            alive[row].add(picture, time_s, keypoints[column], scores[column])
        for column in sorted(set(range(len(keypoints))) - {column for _, column in pairs}):
            if scores[column].mean() < least_score:
                dropped["unsure, and nobody's continuation"] += 1
                continue
            path = _Path()
            path.add(picture, time_s, keypoints[column], scores[column])
            alive.append(path)
            paths.append(path)
    kept, dropped_tracks = _kept(paths, np.array(times), shortest_s, least_score)
    report = FollowReport(
        pictures=len(times),
        people=count,
        bridged=sum(int((np.diff(sorted(path.keypoints)) > 1).sum()) for path in kept),
        suspected_switches=switches,
        dropped_people=dict(dropped),
        dropped_tracks=dict(dropped_tracks),
    )
    return Followed(_tracks(kept, np.array(times), layout, id), report)


def _distinct(people: People, joint_score: float, dropped: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (n, joints, 2), unseen ones NaN, and scores (n, joints), without doubles; the surest first."""
    order = np.argsort(-people.scores.mean(axis=1), kind="stable")
    points = people.keypoints[order].astype(np.float32)
    scores = np.nan_to_num(people.scores[order].astype(np.float32))
    points[(scores < joint_score) | ~np.isfinite(points).all(axis=2)] = np.nan
    seen = (~np.isnan(points[..., 0])).sum(axis=1)
    dropped.update({"without a seen joint": n} if (n := int((seen == 0).sum())) else {})
    points, scores = points[seen > 0], scores[seen > 0]
    between = _distances(points, points)
    keep: list[int] = []
    for i in range(len(points)):
        if any(between[i, j] < _TWICE for j in keep):
            dropped["found twice"] += 1
        elif len(keep) == MAX_PEOPLE:
            dropped[f"beyond {MAX_PEOPLE} in a picture"] += 1
        else:
            keep.append(i)
    return points[keep], scores[keep]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m): mean distance of the joints that both see, in lengths of the larger body; inf without a shared joint."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)), dtype=np.float32)
    size = np.maximum(_sizes(a)[:, None], _sizes(b)[None])
    gaps = np.linalg.norm(a[:, None] - b[None], axis=3)
    shared = ~np.isnan(gaps)
    total = np.where(shared, gaps, 0).sum(axis=2)
    return np.where(shared.any(axis=2), total / np.maximum(shared.sum(axis=2), 1) / size, np.inf)


def _sizes(points: np.ndarray) -> np.ndarray:
    """(n,): the longer side of the box around each skeleton's seen joints, at least a pixel."""
    spans = np.nanmax(points, axis=1) - np.nanmin(points, axis=1)
    return np.maximum(spans.max(axis=1), 1.0)


def _shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(2,): how far the joints that both see have moved, by their median; 0 without a shared joint."""
    moved = (b - a)[~np.isnan(a[:, 0]) & ~np.isnan(b[:, 0])]
    return np.median(moved, axis=0) if len(moved) else np.zeros(2, dtype=np.float32)


def _switches(alive: Sequence[_Path], keypoints: np.ndarray, pairs: Sequence[tuple[int, int]]) -> int:
    """Pairs of people whose last poses, each taken by itself, fit much better to the other's present one."""
    if len(pairs) < 2:
        return 0
    rows, columns = (list(side) for side in zip(*pairs, strict=True))
    last = np.array([alive[row].last for row in rows])
    now = keypoints[columns]
    # Place is what association went by; here the poses alone speak.
    shapes = _distances(_centred(last), _centred(now))
    straight = np.diag(shapes)
    with np.errstate(invalid="ignore"):
        gain = straight[:, None] + straight[None] - shapes - shapes.T
    near = _distances(last, last) < 2 * _REACH
    return int((np.triu(near, 1) & (np.nan_to_num(gain, posinf=0, neginf=0) > 2 * _JUMP)).sum())


def _centred(points: np.ndarray) -> np.ndarray:
    return points - np.nanmedian(points, axis=1, keepdims=True)


def _kept(
    paths: Sequence[_Path], times: np.ndarray, shortest_s: float, least_score: float
) -> tuple[list[_Path], Counter[str]]:
    dropped = Counter[str]()
    if not len(times):
        return [], dropped
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    shortest = min(shortest_s, 0.5 * (float(times[-1] - times[0]) + step))
    kept = []
    for path in paths:
        # Half a step of grace: times are rounded in many files.
        if len(path.keypoints) * step < shortest - step / 2:
            dropped[f"seen for less than {shortest:.2g} s"] += 1
        elif float(np.mean(list(path.scores.values()))) < least_score:
            dropped[f"mean score below {least_score:g}"] += 1
        else:
            kept.append(path)
    kept.sort(key=lambda path: (min(path.keypoints), -float(_sizes(path.keypoints[min(path.keypoints)][None])[0])))
    return kept, dropped


def _tracks(paths: Sequence[_Path], times: np.ndarray, layout: Layout, id: str) -> list[Track]:
    tracks = []
    for index, path in enumerate(paths):
        first, last = min(path.keypoints), max(path.keypoints)
        values = np.full((last - first + 1, len(layout), 3), np.nan, dtype=np.float32)
        for picture, points in path.keypoints.items():
            values[picture - first, :, :2] = points
            values[picture - first, :, 2] = path.scores[picture]
        tracks.append(_track(values, times[first : last + 1], layout, person_id(id, index)))
    return tracks


def _track(values: np.ndarray, times: np.ndarray, layout: Layout, id: str) -> Track:
    """A track at a constant rate from x, y and score at these times; only irregular times are interpolated.

    Raises:
        TmorError: the times are so uneven that no recording has them.
    """
    steps = np.diff(times)
    fps = None
    if len(steps):
        # The mean rate, since times are often rounded; frames must stay within a quarter of a step of it.
        fps = len(steps) / float(times[-1] - times[0])
        off = np.abs(times - times[0] - np.arange(len(times)) / fps).max() * fps
        if off > 0.25:
            rows = float(times[-1] - times[0]) / float(np.median(steps))
            if rows > MAX_FRAMES:
                raise TmorError(
                    f"'{id}': {len(times)} times that make {rows:.3g} frames; expected those of one recording"
                )
            # Track.from_times interpolates coordinates: the score rides along as a third.
            even = Track.from_times(values, layout, times)
            values, fps = even.keypoints, even.fps
    scores = np.nan_to_num(values[..., 2])
    return Track(values[..., :2], layout, fps, scores=scores, start_s=float(times[0]), id=id)
