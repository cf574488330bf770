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
_CONFIRM_S = 0.5  # who is seen for so long in all is a person, ...
_LEAST_SCORE = 0.4  # ... if the mean score is no less; who is less sure can go on with a path, but not begin one
_JOINT_SCORE = 0.2  # joints below it are unseen
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


@dataclass(frozen=True, eq=False)
class Sighting:
    """One person in one picture.

    Args:
        keypoints: (joints, 2) float32 pixels, y down; NaN = unseen.
        scores: (joints,) float32 in [0, 1].
        confirmed: whether this has proved to be a person; once True it stays so.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    confirmed: bool


@dataclass(eq=False)
class _Path:
    """One person so far: where they are expected next, and whether they are one."""

    last: np.ndarray
    time_s: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2, dtype=np.float32))
    sightings: int = 0
    seen_s: float = 0.0
    total_score: float = 0.0
    confirmed: bool = False

    def add(self, time_s: float, keypoints: np.ndarray) -> None:
        if self.sightings:
            shift = _shift(self.last, keypoints) / (time_s - self.time_s)
            self.velocity = 0.5 * self.velocity + 0.5 * shift if self.sightings > 1 else shift
        self.last, self.time_s = keypoints, time_s
        self.sightings += 1

    def expected(self, time_s: float) -> np.ndarray:
        return self.last + self.velocity * min(time_s - self.time_s, _COAST_S)


_Seen = dict[int, Sighting]  # one person by picture, in order


class Follower:
    """Who is who, picture by picture, in memory that grows with the people who are there, not with time.

    A path begins with the first picture that shows somebody, and its number is given at once, but the person is
    *confirmed* only once seen for half a second together, in at least two pictures, with a mean score of at least 0.4
    so far: ghosts of a few pictures don't get there. (Each picture counts for the time since the one before, at most
    for a quarter of a second.) It is over once nobody was near where the person is expected for ``bridge_s``; who comes
    later is somebody else, with another number.

    Args:
        layout: of the people.
        bridge_s: as for :func:`follow`.
    """

    def __init__(self, layout: Layout | str, *, bridge_s: float = 1.0) -> None:
        self._layout, self._bridge_s = find_layout(layout), bridge_s
        self._alive: dict[int, _Path] = {}
        self._next = 0
        self._time_s: float | None = None
        self.pictures = self.people = self.suspected_switches = 0
        self.dropped = Counter[str]()
        """People of single pictures that were left out, by reason; the counts beside it are those of
        :class:`FollowReport`."""

    def __len__(self) -> int:
        """How many paths are kept."""
        return len(self._alive)

    def push(self, time_s: float, people: People) -> dict[int, Sighting]:
        """The people of the next picture by their numbers, which rise in order of appearance and are never used again.

        Raises:
            TmorError: the time is not after that of the picture before, or the people have not the joints of the
                layout.
        """
        if self._time_s is not None and not time_s > self._time_s:
            raise TmorError(
                f"picture {self.pictures} is at {time_s} s, after one at {self._time_s} s; expected increasing times"
            )
        if people.keypoints.shape[1] != len(self._layout):
            raise TmorError(
                f"picture {self.pictures} has people of {people.keypoints.shape[1]} joints; layout "
                f"'{self._layout.name}' has {len(self._layout)}"
            )
        step_s = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        self.pictures += 1
        self.people += len(people)
        keypoints, scores = _distinct(people, self.dropped)
        self._alive = {id: path for id, path in self._alive.items() if time_s - path.time_s <= self._bridge_s}
        ids, alive = list(self._alive), list(self._alive.values())
        expected = np.array([path.expected(time_s) for path in alive]).reshape(-1, len(self._layout), 2)
        costs = _distances(expected, keypoints)
        reach = np.array([min(_REACH + _PACE * (time_s - path.time_s), _FARTHEST) for path in alive]).reshape(-1, 1)
        pairs = [
            (row, column)
            for row, column in zip(*linear_sum_assignment(np.where(costs <= reach, costs, 1e3)), strict=True)
            if costs[row, column] <= reach[row, 0]
        ]
        self.suspected_switches += _switches(alive, keypoints, pairs)
        found = {ids[row]: column for row, column in pairs}
        for column in sorted(set(range(len(keypoints))) - set(found.values())):
            if scores[column].mean() < _LEAST_SCORE:
                self.dropped["unsure, and nobody's continuation"] += 1
                continue
            self._alive[self._next] = _Path(keypoints[column], time_s)
            found[self._next] = column
            self._next += 1
        sightings: dict[int, Sighting] = {}
        for id, column in found.items():
            path = self._alive[id]
            path.add(time_s, keypoints[column])
            path.seen_s += min(step_s, _CONFIRM_S / 2)
            path.total_score += float(scores[column].mean())
            path.confirmed = path.confirmed or (
                path.sightings > 1
                # A hair of grace: sums of steps are not exact.
                and path.seen_s > _CONFIRM_S - 1e-6
                and path.total_score >= _LEAST_SCORE * path.sightings
            )
            sightings[id] = Sighting(keypoints[column], scores[column], path.confirmed)
        return sightings


def follow(
    frames: Iterable[tuple[float, People]],
    *,
    layout: Layout | str,
    id: str = "person",
    bridge_s: float = 1.0,
) -> Followed:
    """Follow people through pictures in which they have no identity.

    Joints whose score is below 0.2 are unseen (NaN). Tracks in which the person is seen for less than half a second (or
    half of the video, if that is shorter), or whose mean score is below 0.4, are left out and counted.

    Args:
        frames: time in seconds (strictly increasing) and people of each picture; an empty picture counts, too.
        layout: of the people.
        id: of the first track; the others are ``id#1``, ``id#2``, ...
        bridge_s: who comes back within so many seconds, near where they are expected, is the same person.

    Raises:
        TmorError: the times are not strictly increasing, or the people have not the joints of ``layout``.
    """
    layout = find_layout(layout)
    follower = Follower(layout, bridge_s=bridge_s)
    times: list[float] = []
    paths: dict[int, _Seen] = {}
    for picture, (time_s, people) in enumerate(frames):
        for number, sighting in follower.push(time_s, people).items():
            paths.setdefault(number, {})[picture] = sighting
        times.append(time_s)
    kept, dropped_tracks = _kept(list(paths.values()), np.array(times))
    report = FollowReport(
        pictures=follower.pictures,
        people=follower.people,
        bridged=sum(int((np.diff(list(seen)) > 1).sum()) for seen in kept),
        suspected_switches=follower.suspected_switches,
        dropped_people=dict(follower.dropped),
        dropped_tracks=dict(dropped_tracks),
    )
    return Followed(_tracks(kept, np.array(times), layout, id), report)


def _distinct(people: People, dropped: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (n, joints, 2), unseen ones NaN, and scores (n, joints), without doubles; the surest first."""
    order = np.argsort(-people.scores.mean(axis=1), kind="stable")
    points = people.keypoints[order].astype(np.float32)
    scores = np.nan_to_num(people.scores[order].astype(np.float32))
    points[(scores < _JOINT_SCORE) | ~np.isfinite(points).all(axis=2)] = np.nan
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


def _kept(paths: Sequence[_Seen], times: np.ndarray) -> tuple[list[_Seen], Counter[str]]:
    """Those that are long and sure enough, in order of appearance, and how many are not, by reason."""
    dropped = Counter[str]()
    if not len(times):
        return [], dropped
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    shortest = min(_CONFIRM_S, 0.5 * (float(times[-1] - times[0]) + step))
    kept = []
    for seen in paths:
        # Half a step of grace: times are rounded in many files.
        if len(seen) * step < shortest - step / 2:
            dropped[f"seen for less than {shortest:.2g} s"] += 1
        elif float(np.mean([sighting.scores for sighting in seen.values()])) < _LEAST_SCORE:
            dropped[f"mean score below {_LEAST_SCORE:g}"] += 1
        else:
            kept.append(seen)
    kept.sort(key=lambda seen: (min(seen), -float(_sizes(seen[min(seen)].keypoints[None])[0])))
    return kept, dropped


def _tracks(paths: Sequence[_Seen], times: np.ndarray, layout: Layout, id: str) -> list[Track]:
    tracks = []
    for index, seen in enumerate(paths):
        first, last = min(seen), max(seen)
        values = np.full((last - first + 1, len(layout), 3), np.nan, dtype=np.float32)
        for picture, sighting in seen.items():
            values[picture - first, :, :2] = sighting.keypoints
            values[picture - first, :, 2] = sighting.scores
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
