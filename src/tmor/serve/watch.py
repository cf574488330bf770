"""From live pictures to what people do now: source, pose estimator, following, streams, events."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tmor.errors import TmorError
from tmor.model.answers import Labels
from tmor.model.model import Model
from tmor.model.segments import Segment
from tmor.pose.cameras import Source
from tmor.pose.estimators import PoseEstimator
from tmor.pose.tracking import Follower
from tmor.pose.videos import VideoFrame
from tmor.serve.stream import StreamAnswer, StreamGroup

_log = logging.getLogger("tmor")

# Who is not seen for longer has left. Where pictures come irregularly, not being looked at for a moment is no absence.
_AWAY_S, _AWAY_LIVE_S = 1.0, 2.0
_PACE_S = 3.0  # over which pictures per second are counted
# Sample motions in a row, 24 labels: 78 % of the time right at 15 or more pictures a second, 75 at 2.5, 17 at 1.9.
_FEWEST_PER_S = 2.5


@dataclass(frozen=True, eq=False)
class Answer:
    """What a person does now; for each about once a second.

    Args:
        person: number in order of appearance, from 1; never used again.
        now: of the person's stream.
        closed: segments that have ended and were not told before.
    """

    person: int
    now: StreamAnswer
    closed: tuple[Segment, ...]

    @property
    def since_s(self) -> float:
        """Since when the person has been doing what is most probable now."""
        current = self.now.current
        return self.now.start_s if current is None or current.label != self.now.label else current.start_s


@dataclass(frozen=True, eq=False)
class Left:
    """A person who is gone, or was there when watching ended.

    Args:
        person: as in :class:`Answer`.
        segments: all that the person did, those told before among them.
        closed: of these, the ones that were not told before.
    """

    person: int
    segments: tuple[Segment, ...]
    closed: tuple[Segment, ...]


@dataclass(eq=False)
class _Person:
    number: int | None = None
    untold: list[Segment] = field(default_factory=list)
    told: int = 0


class Watcher:
    """Names what the people in pictures do, as the pictures come.

    The pictures of a file, none left out, give each person the segments that
    :func:`tmor.serve.predict.predict_file` finds in it. Whom the follower has not confirmed
    (:class:`tmor.pose.tracking.Follower`) gets no event and no number, but is judged from the first moment. Memory
    grows with the people who are there; of those who left nothing is kept, and no picture ever.

    Args:
        estimator: finds the people of each picture; stays the caller's to close.
        labels, none: as in :meth:`tmor.model.model.Model.classify`.
        fps: the steady rate of the pictures, however fast they are looked at; None = they come irregularly, and the
            log says once if too few of them are looked at to tell what people do.

    Raises:
        TmorError: no labels, or the model can't tell them apart.
    """

    def __init__(
        self,
        model: Model,
        estimator: PoseEstimator,
        labels: Labels | None = None,
        *,
        none: bool = True,
        fps: float | None = None,
    ) -> None:
        self._estimator = estimator
        away_s = _AWAY_LIVE_S if fps is None else _AWAY_S
        self._follower = Follower(estimator.layout, bridge_s=away_s)
        self._group = StreamGroup(model, estimator.layout, 2, fps, labels, none=none, unseen_s=away_s)
        self._may_be_slow = fps is None
        self._people: dict[Hashable, _Person] = {}
        self._looks: deque[float] = deque()
        self.numbers = 0
        """How many people there were so far."""
        self.pictures = 0
        """How many were looked at."""
        self.ghosts = 0
        """Of whom so little was seen that they are not people, and got no event."""

    @property
    def people(self) -> tuple[int, ...]:
        """Who is there, by number."""
        return tuple(sorted(person.number for person in self._people.values() if person.number is not None))

    @property
    def pictures_per_s(self) -> float:
        """Pictures looked at per second of real time, over the last seconds; 0 before the second picture."""
        looks = self._looks
        return (len(looks) - 1) / (looks[-1] - looks[0]) if len(looks) > 1 else 0.0

    def watch(self, source: Source) -> Iterator[list[Answer | Left]]:
        """The events of each picture, often none; in the end everybody who is still there leaves.

        Raises:
            TmorError: the source broke; raised after the last people's events.
        """
        try:
            for frame in source:
                yield self.push(frame)
        except TmorError:
            yield self.finish()
            raise
        yield self.finish()

    def push(self, frame: VideoFrame) -> list[Answer | Left]:
        """The events that the next picture brings about.

        Raises:
            TmorError: the time is not after that of the picture before.
        """
        found = self._follower.push(frame.time_s, self._estimator(frame.image, frame.time_s))
        now = self._group.push(frame.time_s, {id: sighting.keypoints for id, sighting in found.items()})
        events = self._left(now.left)
        for id, sighting in found.items():
            if id not in self._group:
                continue  # of whom nothing is seen that the model knows: fingers, say
            person = self._people.setdefault(id, _Person())
            if sighting.confirmed and person.number is None:
                self.numbers += 1
                person.number = self.numbers
        self._count()
        for id, answer in now.answers.items():
            person = self._people[id]
            person.untold += answer.closed
            if person.number is not None:
                events.append(Answer(person.number, answer, tuple(person.untold)))
                person.told += len(person.untold)
                person.untold = []
        return events

    def finish(self) -> list[Answer | Left]:
        """Everybody leaves; no picture may follow."""
        return self._left(self._group.finish())

    def _left(self, left: dict[Hashable, list[Segment]]) -> list[Answer | Left]:
        events: list[Answer | Left] = []
        for id, segments in left.items():
            person = self._people.pop(id)
            if person.number is None:
                self.ghosts += 1
            else:
                events.append(Left(person.number, tuple(segments), tuple(segments[person.told :])))
        return events

    def _count(self) -> None:
        self.pictures += 1
        self._looks.append(time.monotonic())
        while self._looks[-1] - self._looks[0] > _PACE_S and len(self._looks) > 2:
            self._looks.popleft()
        if self._may_be_slow and self._looks[-1] - self._looks[0] > _PACE_S / 2 and self.pictures_per_s < _FEWEST_PER_S:
            self._may_be_slow = False
            _log.warning(
                "only %.1f pictures per second are looked at, and actions need %g: take a faster pose estimator or "
                "smaller pictures",
                self.pictures_per_s,
                _FEWEST_PER_S,
            )


def as_json(event: Answer | Left) -> dict[str, Any]:
    """The documented line of ``tmor watch --json``; seconds since the source began."""
    match event:
        case Answer(person, now, closed):
            seen = now.label is not None
            return {
                "event": "answer",
                "person": person,
                "time_s": round(now.time_s, 3),
                "start_s": round(now.start_s, 3),
                "end_s": round(now.end_s, 3),
                "label": now.label,
                "score": round(now.score, 4) if seen else None,
                "probabilities": {
                    label: round(float(p), 4) for label, p in zip(now.labels, now.probabilities, strict=True)
                }
                if seen
                else {},
                "closed": [segment.as_json() for segment in closed],
            }
        case Left(person, segments):
            return {"event": "left", "person": person, "segments": [segment.as_json() for segment in segments]}
