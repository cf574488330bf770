"""Frame by frame: poses of a live person in, answers out, in memory that does not grow with time.

A stream of frames ends with the segments that :meth:`tmor.model.model.Model.detect` finds in the same frames.

How late an answer is: it comes with the frame that completes its window of 3 s, so what it tells lies 1.5 s back on
average. A segment is closed 2.5 to 3.5 s after it ends, as the window after the one around its end has a say in it.
Where a joint vanished less than half a second ago, both wait up to half a second longer to see whether it comes back.
(Times for models with ``longest_s`` of 5, as those shipped.)
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from tmor.errors import TmorError
from tmor.model.answers import Labels
from tmor.model.model import Model
from tmor.model.segments import Joiner, Segment, frames_seen, rate_of, windows_of
from tmor.skeleton.layouts import UNIK17, Layout, convert, find_layout
from tmor.skeleton.normalize import prepare
from tmor.skeleton.tracks import Track, sample_at

_GAP_S = 0.5  # what prepare() bridges, and Track.from_times interpolates
_NEAR = 0.05  # of a frame's duration: cameras' clocks are not exact
_LONGEST_PAUSE_S = 600.0
_FASTEST = 1000.0


@dataclass(frozen=True, eq=False)
class StreamAnswer:
    """What a person does now.

    Args:
        time_s: of the newest frame.
        start_s, end_s: of the window that was judged, in seconds of the source; ``end_s`` exclusive.
        labels: the k labels.
        probabilities: (k,) float32 that sum to 1, of the window alone; NaN where nobody was seen in it.
        current: the segment that goes on, as far as it is decided, smoothed; None while the stream could still end as
            one clip (5 s) or where nobody was seen.
        closed: the segments that ended since the last answer; final.
    """

    time_s: float
    start_s: float
    end_s: float
    labels: tuple[str, ...]
    probabilities: np.ndarray
    current: Segment | None
    closed: tuple[Segment, ...]

    @property
    def label(self) -> str | None:
        """The most probable label; None where nobody was seen."""
        return None if np.isnan(self.probabilities[0]) else self.labels[int(self.probabilities.argmax())]

    @property
    def score(self) -> float:
        """Its probability; NaN where nobody was seen."""
        return float(self.probabilities.max())


class Stream:
    """One live person.

    Frames are brought to a steady rate by time (as :meth:`tmor.skeleton.tracks.Track.from_times` does), kept for
    some 6 s, and judged in the windows of :meth:`tmor.model.model.Model.detect`, one answer for each (every second).
    Until the first window is complete, answers are about all frames so far. Beside that buffer only the closed segments
    are kept. Not for several threads at once.

    Args:
        model: must not be changed while the stream lasts.
        layout: a :class:`Layout` or the name of a known one.
        dims: 2 (any consistent unit, y down) or 3 (metres, y up).
        fps: the source's nominal rate, 1 to 1000; frames may come irregularly all the same. None = unknown: frames are
            interpolated straight to the model's rate, which differs from the above where joints are missing.
        labels, none: as in :meth:`tmor.model.model.Model.classify`; texts are embedded here, once.

    Raises:
        LayoutError: the layout is not known, or lacks shoulders, hips or limbs.
        TmorError: no labels, a label twice or empty; the model can't tell them apart, or sees 3D alone; dims or fps out
            of range.
    """

    def __init__(
        self,
        model: Model,
        layout: Layout | str,
        dims: int,
        fps: float | None,
        labels: Labels | None,
        *,
        none: bool = False,
    ) -> None:
        if dims not in (2, 3):
            raise TmorError(f"dims is {dims}; expected 2 or 3")
        if fps is not None and not 1 <= fps <= _FASTEST:
            raise TmorError(f"fps is {fps}; expected 1 to {_FASTEST:g}, or None")
        model.check_joints()
        model.check_dims(dims)
        self._model, self._layout, self._dims = model, find_layout(layout), dims
        convert(np.zeros((1, len(self._layout), dims), np.float32), self._layout, UNIK17)  # says what the layout lacks
        self.labels, self._judge = model.judge(labels, none=none)
        self._fps = model.spec.fps if fps is None else float(fps)
        self._rate = rate_of(self._fps, model.spec)
        self._ratio = self._fps / self._rate
        self._windows = windows_of(self._fps, model.spec)
        # prepare() may look this far to either side of a frame.
        self._reach = round(_GAP_S * self._fps) + 2
        longest = max(self._windows.longest, self._windows.length)
        self._kept = math.ceil((longest + 1) * self._ratio) + 2 * self._reach + 2
        self._begin()

    def another(self) -> Stream:
        """A stream without frames for somebody else, of the same settings; costs next to nothing."""
        other = copy.copy(self)
        other._begin()
        return other

    def _begin(self) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=self._kept)
        self._count = 0
        self._last_seen = np.full(len(UNIK17), -1)
        self._start_s = 0.0
        self._last: tuple[float, np.ndarray] | None = None
        self._next = 0
        self._next_early = self._windows.hop
        self._joiner: Joiner | None = None
        self._handed = 0
        self._someone = False
        self._finished: list[Segment] | None = None

    def push(self, time_s: float, keypoints: np.ndarray) -> StreamAnswer | None:
        """The next frame.

        Args:
            time_s: seconds of the source, larger than at the last frame.
            keypoints: (joints, dims) float in the stream's layout; NaN = unseen, all NaN = nobody is seen.

        Returns:
            An answer where the frame completes a window (of several after a pause, the newest), else None.

        Raises:
            TmorError: the stream is finished, time does not go forwards or pauses for more than 10 minutes, or the
                keypoints are not such an array. The stream is as it was before.
        """
        if self._finished is not None:
            raise TmorError(f"a frame at {time_s} s came after the stream was finished")
        _check_time(time_s, None if self._last is None else self._last[0])
        frame = self._checked(time_s, keypoints)
        if self._last is not None and time_s - self._last[0] > _LONGEST_PAUSE_S:
            raise TmorError(
                f"a frame at {time_s} s comes {time_s - self._last[0]:.0f} s after the last one; expected at most "
                f"{_LONGEST_PAUSE_S:.0f} s: finish this stream and begin another"
            )
        return self._feed(time_s, frame)

    def _feed(self, time_s: float, frame: np.ndarray) -> StreamAnswer | None:
        if self._last is None:
            self._start_s = float(time_s)
            self._joiner = Joiner(self.labels, length=self._windows.length, start_s=self._start_s, rate=self._rate)
            found = self._append(frame)
        else:
            found = None
            before_s, before = self._last
            near = _NEAR / self._fps
            while (at := self._start_s + self._count / self._fps) <= time_s + near:
                if time_s - at <= near:
                    here = frame
                elif time_s - before_s > _GAP_S:
                    here = np.full_like(frame, np.nan)
                else:
                    share = np.float32((at - before_s) / (time_s - before_s))
                    here = before * (1 - share) + frame * share
                found = self._append(here) or found
        self._last = float(time_s), frame
        if found is None:
            return None
        assert self._joiner is not None
        span, probabilities = found
        many = self._prepared_count() > self._windows.longest
        closed = tuple(self._joiner.segments[self._handed :]) if many else ()
        self._handed += len(closed)
        return StreamAnswer(
            float(time_s), *span, self.labels, probabilities, self._joiner.open if many else None, closed
        )

    def finish(self) -> list[Segment]:
        """End the stream; again, and it says the same.

        Returns:
            All segments of the stream, those that answers gave as closed among them, in order; none where nobody was
            ever seen. As :meth:`tmor.model.model.Model.detect` of the same frames gives.
        """
        if self._finished is not None:
            return list(self._finished)
        self._finished = []
        if self._someone:
            assert self._joiner is not None
            count, windows = self._prepared_count(), self._windows
            joiner, length = self._joiner, windows.length
            if count <= windows.longest:
                length = count
                joiner = Joiner(self.labels, length=length, start_s=self._start_s, rate=self._rate)
                self._next = 0
            for start in windows.starts(count):
                if start >= self._next or start % windows.hop:
                    joiner.add(start, *self._judged(start, start + length))
            self._finished = joiner.finish(self._start_s + self._count / self._fps)
        self._frames.clear()
        return list(self._finished)

    def _checked(self, time_s: float, keypoints: np.ndarray) -> np.ndarray:
        """(17, dims) float32."""
        points = np.asarray(keypoints)
        shape = (len(self._layout), self._dims)
        if points.shape != shape or not (np.issubdtype(points.dtype, np.number) and np.isrealobj(points)):
            raise TmorError(
                f"the frame at {time_s} s has keypoints of shape {points.shape} and type {points.dtype}; expected "
                f"{shape} of floats: the joints of layout '{self._layout.name}' in {self._dims}D"
            )
        points = np.array(points, dtype=np.float32)
        if np.isinf(points).any():
            raise TmorError(f"the frame at {time_s} s holds infinite values; use NaN for unseen joints")
        points[np.isnan(points).any(axis=1)] = np.nan
        return convert(points[None], self._layout, UNIK17)[0]

    def _append(self, frame: np.ndarray) -> tuple[tuple[float, float], np.ndarray] | None:
        """A frame of the steady rate; the answer of the window that it completes."""
        self._frames.append(frame)
        seen = ~np.isnan(frame[:, 0])
        if not seen.all() and seen.any():
            # As prepare() derives joints from others.
            seen = ~np.isnan(prepare(Track(frame[None], UNIK17, self._fps), fps=self._fps)[0, :, 0])
        self._last_seen[seen] = self._count
        self._someone = self._someone or bool(seen.any())
        self._count += 1
        found = None
        while self._next_early < self._windows.length and self._has(self._next_early):
            found = self._answer(0, self._next_early, self._judged(0, self._next_early)[1])
            self._next_early += self._windows.hop
        while self._has(self._next + self._windows.length):
            stop = self._next + self._windows.length
            seen, row = self._judged(self._next, stop)
            found = self._answer(self._next, stop, row)
            assert self._joiner is not None
            self._joiner.add(self._next, seen, row)
            self._next += self._windows.hop
        return found

    def _has(self, stop: int) -> bool:
        """Whether the prepared frames before ``stop`` are there, and nothing that may come will change them."""
        newest = self._count - 1
        if stop > self._prepared_count() or math.ceil((stop - 1) * self._ratio) > newest:
            return False
        # A joint that vanished a short while ago is interpolated if it comes back.
        missing = newest - self._last_seen
        undecided = (missing > 0) & (missing <= self._reach) & (self._last_seen >= 0)
        return not undecided.any() or math.ceil((stop - 1) * self._ratio) <= self._last_seen[undecided].min()

    def _prepared_count(self) -> int:
        """As many frames as prepare() makes of those that have come."""
        return self._count if self._ratio == 1 else max(1, round(self._count * self._rate / self._fps))

    def _answer(self, start: int, stop: int, row: np.ndarray | None) -> tuple[tuple[float, float], np.ndarray]:
        span = self._start_s + start / self._rate, self._start_s + stop / self._rate
        return span, np.full(len(self.labels), np.nan, np.float32) if row is None else row

    def _judged(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """In which of a stretch of prepared frames anybody is seen, and its (labels,) probabilities; None where nobody
        is."""
        positions = np.minimum(np.arange(start, stop) * self._ratio, self._count - 1)
        oldest = self._count - len(self._frames)
        first = max(int(positions[0]) - self._reach, 0)
        assert first >= oldest, "frames were dropped that a window needs"
        chunk = np.stack([self._frames[i - oldest] for i in range(first, self._count)])
        if np.isnan(chunk).all():
            return np.zeros(stop - start, dtype=bool), None
        x = sample_at(prepare(Track(chunk, UNIK17, self._fps), fps=self._fps), positions - first)
        seen = frames_seen(x)
        return seen, self._judge(self._model.clip_features([x]))[0] if seen.any() else None


@dataclass(frozen=True, eq=False)
class GroupAnswer:
    """What a frame with several persons brought about.

    Args:
        answers: of the persons for whom the frame completed a window.
        left: all segments of each person who has not been seen for a while and whose stream ended.
    """

    answers: dict[Hashable, StreamAnswer]
    left: dict[Hashable, list[Segment]]


class StreamGroup:
    """Live persons who come and go: a :class:`Stream` for each, by the person's id.

    Memory grows with the number of persons seen within ``unseen_s``, not with those that ever were. Each answer of each
    person takes its time; with n persons there are n times as many.

    Args:
        model, layout, dims, fps, labels, none: as for :class:`Stream`.
        unseen_s: a person who is not seen for longer than that has left; the same id begins anew.

    Raises:
        LayoutError, TmorError: as for :class:`Stream`.
    """

    def __init__(
        self,
        model: Model,
        layout: Layout | str,
        dims: int,
        fps: float | None,
        labels: Labels | None,
        *,
        none: bool = False,
        unseen_s: float = 2.0,
    ) -> None:
        if not 0 < unseen_s <= _LONGEST_PAUSE_S:
            raise TmorError(f"unseen_s is {unseen_s}; expected above 0, at most {_LONGEST_PAUSE_S:g} seconds")
        self._blank = Stream(model, layout, dims, fps, labels, none=none)
        self._unseen_s = unseen_s
        self._streams: dict[Hashable, Stream] = {}
        self._seen_s: dict[Hashable, float] = {}
        self._time_s: float | None = None
        self._finished = False

    def __len__(self) -> int:
        """How many persons are there."""
        return len(self._streams)

    def __contains__(self, id: Hashable) -> bool:
        """Whether that person is there."""
        return id in self._streams

    def push(self, time_s: float, persons: Mapping[Hashable, np.ndarray]) -> GroupAnswer:
        """The next frame.

        Args:
            time_s: seconds of the source, larger than at the last frame.
            persons: (joints, dims) keypoints by id, as for :meth:`Stream.push`; nobody, too, is a frame worth pushing,
                as it tells who has left.

        Raises:
            TmorError: as :meth:`Stream.push`, but for pauses, which may be of any length. The group is as it was
                before.
        """
        if self._finished:
            raise TmorError(f"a frame at {time_s} s came after the group was finished")
        _check_time(time_s, self._time_s)
        frames: dict[Hashable, np.ndarray] = {}
        for id, keypoints in persons.items():
            try:
                frame = self._blank._checked(time_s, keypoints)
            except TmorError as error:
                raise TmorError(f"person '{id}': {error}") from error
            if not np.isnan(frame).all():
                frames[id] = frame
        self._time_s = time_s
        gone = [id for id, seen_s in self._seen_s.items() if time_s - seen_s > self._unseen_s]
        left = {id: self._end(id) for id in gone}
        answers: dict[Hashable, StreamAnswer] = {}
        for id, frame in frames.items():
            if id not in self._streams:
                self._streams[id] = self._blank.another()
            self._seen_s[id] = time_s
            answer = self._streams[id]._feed(time_s, frame)
            if answer is not None:
                answers[id] = answer
        return GroupAnswer(answers, left)

    def finish(self) -> dict[Hashable, list[Segment]]:
        """End all streams; again, and there are none.

        Returns:
            All segments of each person who was still there.
        """
        self._finished = True
        return {id: self._end(id) for id in list(self._streams)}

    def _end(self, id: Hashable) -> list[Segment]:
        del self._seen_s[id]
        return self._streams.pop(id).finish()


def _check_time(time_s: float, last_s: float | None) -> None:
    if not math.isfinite(time_s):
        raise TmorError(f"a frame's time is {time_s}; expected seconds")
    if last_s is not None and time_s <= last_s:
        raise TmorError(f"time goes backwards: a frame at {time_s} s came after one at {last_s} s")
