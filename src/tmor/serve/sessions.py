"""What the web page remembers and works on: sessions apart from each other, uploads that are removed after use, one
thread that finds poses and one that runs the model.

Everything is kept in memory and bounded by :class:`Limits`; only an upload lies on disk, in a folder of the server's
own, until its poses are found. Sessions are opened, used and closed by one thread (the server's event loop); the two
working threads touch nothing but their own job.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tmor.errors import FormatError, TmorError
from tmor.model.answers import Labels
from tmor.pose import PoseEstimator, find_people
from tmor.pose.videos import VideoInfo, probe
from tmor.serve.examples import frames_between, known_label
from tmor.serve.limits import (
    Limits,
    asked_labels,
    check_label,
    check_length,
    check_pose_file,
    check_tracks,
    held_bytes,
    printable,
    shown_name,
    spoken,
)
from tmor.serve.predict import TrackResult, predict_tracks
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.files import is_video
from tmor.skeleton.tracks import Track

if TYPE_CHECKING:
    from tmor.model.model import Model

T = TypeVar("T")

_log = logging.getLogger("tmor")

OUR_FAULT = "something went wrong on our side; the server's log says what"


class BusyError(TmorError):
    """There is no room for this now; there will be later."""


class MissingError(TmorError):
    """There is no such thing in this session."""


@dataclass(eq=False)
class Job:
    """One uploaded file on its way to poses, and what is known of it afterwards.

    Args:
        id: can't be guessed.
        name: of the file, to be shown only (:func:`shown_name`).
        state: where it stands.
        done_s, duration_s: seconds of video done, of how many (None = not known).
        failure: what went wrong, where it failed; a :class:`TmorError` where the file was at fault.
        tracks: the people, each of whom is seen at some time.
        video: None = it was a pose file.
        results: the last answer about it.
        finished: done when the file is not needed any more, and removed.
    """

    id: str
    name: str
    state: Literal["waiting", "working", "done", "failed"] = "waiting"
    done_s: float = 0.0
    duration_s: float | None = None
    failure: Exception | None = None
    tracks: list[Track] = field(default_factory=list)
    video: VideoInfo | None = None
    results: list[TrackResult] | None = None
    finished: Future[None] = field(default_factory=Future)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def bytes(self) -> int:
        """Memory that its poses take."""
        return held_bytes(self.tracks)

    def stop(self) -> None:
        """Do no more than is being done; a job that is done already stays so."""
        self._stop.set()
        self.finished.cancel()


@dataclass(eq=False)
class Session:
    """One person's work.

    Args:
        key: unguessable; who has it is the person.
        jobs: by id, the oldest first.
        examples: of enrolled labels; replaced as a whole, never changed, as the thread of the model reads it too.
        used_s: when it was used last.
        returned: it was used again after it was begun.
    """

    key: str
    jobs: dict[str, Job] = field(default_factory=dict)
    examples: Mapping[str, Sequence[Track]] = field(default_factory=dict)
    used_s: float = field(default_factory=time.monotonic)
    returned: bool = False
    _enrolled: tuple[Mapping[str, Sequence[Track]], Model] | None = None

    @property
    def bytes(self) -> int:
        """Memory that its poses and examples take."""
        return sum(job.bytes for job in self.jobs.values()) + sum(map(held_bytes, self.examples.values()))

    @property
    def at_work(self) -> bool:
        """Whether a file of it is waiting or worked on."""
        return any(job.state in ("waiting", "working") for job in self.jobs.values())

    def job(self, id: str) -> Job:
        """
        Raises:
            MissingError: there is no such job in this session.
        """
        if id not in self.jobs:
            raise MissingError("there is no such file in this session; it may have been forgotten")
        return self.jobs[id]

    def done(self, id: str) -> Job:
        """
        Raises:
            MissingError: there is no such job in this session.
            TmorError: it has no poses (yet).
        """
        job = self.job(id)
        if job.state != "done":
            raise TmorError(f"{job.name}: has no poses: {job.failure or 'they are still being looked for'}")
        return job

    def check_room(self, limits: Limits) -> None:
        """Check, before a file is received, that it can be kept.

        Raises:
            BusyError: as many are kept as may be.
        """
        kept = sum(job.state != "failed" for job in self.jobs.values())
        if kept >= limits.session_files:
            raise BusyError(f"{kept} files are kept for you already; remove one of them first, or forget everything")

    def add(self, job: Job, limits: Limits) -> None:
        """Keep a job; those that failed make room, the oldest first.

        Raises:
            BusyError: as :meth:`check_room`.
        """
        self.check_room(limits)
        while len(self.jobs) >= limits.session_files:
            self.forget(next(id for id, old in self.jobs.items() if old.state == "failed"))
        self.jobs[job.id] = job

    def forget(self, id: str) -> None:
        """Stop a job and forget it.

        Raises:
            MissingError: there is no such job in this session.
        """
        self.job(id).stop()
        del self.jobs[id]

    def enrol(self, label: str, example: Track, limits: Limits) -> None:
        """Take one more example of a label.

        Raises:
            TmorError: the label is empty or too long, or has as many examples as it may have.
        """
        label = check_label(label, limits)
        label = known_label(label, self.examples) or label
        own = self.examples.get(label, ())
        if len(own) >= limits.examples:
            raise TmorError(
                f"label '{label}' has {len(own)} examples; expected at most {limits.examples}: remove it to begin anew"
            )
        if not own and len(self.examples) >= limits.labels:
            raise TmorError(f"{len(self.examples)} labels are enrolled; expected at most {limits.labels}")
        self.examples = {**self.examples, label: (*own, example)}

    def enrol_all(self, examples: Mapping[str, Sequence[Track]], limits: Limits) -> None:
        """Take the examples of a file; a label that was enrolled before gets the new ones alone.

        Raises:
            TmorError: there would be too many labels.
        """
        new = {label.casefold() for label in examples}
        kept = {label: own for label, own in self.examples.items() if label.casefold() not in new}
        if (count := len(kept) + len(examples)) > limits.labels:
            raise TmorError(f"{count} labels would be enrolled; expected at most {limits.labels}")
        self.examples = kept | {label: tuple(own) for label, own in examples.items()}

    def unenrol(self, label: str) -> None:
        """
        Raises:
            MissingError: the label is not enrolled.
        """
        if label not in self.examples:
            raise MissingError(f"label '{label}' is not enrolled; enrolled are: {', '.join(self.examples) or 'none'}")
        self.examples = {other: own for other, own in self.examples.items() if other != label}

    def answer(self, model: Model, tracks: Sequence[Track], labels: Labels, limits: Limits) -> list[TrackResult]:
        """What people do, among the labels given and those that are enrolled: the one place where the server asks the
        model (in the thread that runs it: :meth:`Sessions.think`).

        Args:
            labels: none, and nothing is enrolled: the classes of a model that was fine-tuned.

        Raises:
            TmorError: as :func:`asked_labels`, or as :func:`tmor.serve.predict.predict_tracks`.
        """
        examples = self.examples
        names = asked_labels(model, labels, examples, limits)
        if examples:
            if self._enrolled is None or self._enrolled[0] is not examples:
                self._enrolled = examples, model.enroll(examples)
            enrolled = self._enrolled[1]
            if model.text_head is not None and not set(names or ()) <= set(examples):
                enrolled.teacher = model.teacher  # large, and the same for all
            model = enrolled
        return predict_tracks(model, tracks, names)


class Sessions:
    """All sessions of a server, and the two threads that work for them.

    Args:
        model: answers; it is never changed.
        estimator_factory: makes the pose estimator when the first video comes, in the thread that uses it.
        limits: how much is taken.
        examples: that every session begins with.
    """

    def __init__(
        self,
        model: Model,
        estimator_factory: Callable[[], PoseEstimator],
        limits: Limits,
        *,
        examples: Mapping[str, Sequence[Track]] | None = None,
    ) -> None:
        self.model, self.limits = model, limits
        self.examples = examples or {}
        self._make_estimator = estimator_factory
        self._estimator: PoseEstimator | None = None
        self._sessions: dict[str, Session] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="tmor-serve-", ignore_cleanup_errors=True)
        self._finding, self._thinking = ThreadPoolExecutor(1, "poses"), ThreadPoolExecutor(1, "model")
        self._uploads = threading.BoundedSemaphore(limits.waiting)
        self._questions = threading.BoundedSemaphore(limits.waiting)
        self._jobs: set[Job] = set()

    # ---- sessions

    def find(self, key: str | None) -> Session | None:
        """The session of a key, which counts as used now; None = there is none (any more)."""
        self.sweep()
        session = self._sessions.get(key or "")
        if session is not None:
            session.used_s, session.returned = time.monotonic(), True
        return session

    def replaced(self) -> Session | None:
        """Who would make room for a new session: the one unused the longest of those that nobody came back to (programs
        often keep no cookie) and in which nothing is worked on; None = nobody has to.

        Raises:
            BusyError: there are as many as the server takes, and none such.
        """
        self.sweep()
        if len(self._sessions) < self.limits.sessions:
            return None
        left = [s for s in self._sessions.values() if not s.returned and not s.at_work]
        if not left:
            raise BusyError(f"{self.limits.sessions} people use this server already; try again later")
        return min(left, key=lambda session: session.used_s)

    def open(self) -> Session:
        """
        Raises:
            BusyError: as :meth:`replaced`.
        """
        if (replaced := self.replaced()) is not None:
            self.close_session(replaced)
        session = Session(secrets.token_urlsafe(32), examples=self.examples)
        self._sessions[session.key] = session
        return session

    def close_session(self, session: Session) -> None:
        """Forget it and all that it holds."""
        for job in session.jobs.values():
            job.stop()
        self._sessions.pop(session.key, None)

    def sweep(self) -> None:
        """Forget the sessions that have not been used for long."""
        now = time.monotonic()
        for session in [s for s in self._sessions.values() if now - s.used_s > self.limits.idle_s]:
            self.close_session(session)

    # ---- uploads and poses

    def admit(self) -> Upload:
        """A place for an upload.

        Raises:
            BusyError: too many wait already, or too many poses are held.
        """
        if sum(session.bytes for session in self._sessions.values()) >= self.limits.total_bytes:
            raise BusyError("the server holds as many poses as it can; remove files, or try again later")
        if not self._uploads.acquire(blocking=False):
            raise BusyError(f"{self.limits.waiting} files are waiting already; try again when one is done")
        return Upload(Path(self._folder.name) / f"upload-{secrets.token_hex(16)}", self._uploads)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Where to put a file for the time of the block.

        Raises:
            BusyError: as :meth:`admit`.
        """
        upload = self.admit()
        try:
            yield upload.path
        finally:
            upload.remove()

    def start(self, upload: Upload, name: str, session: Session | None = None) -> Job:
        """Find the people of an upload in the background; the job removes the file.

        Args:
            name: as the user calls the file.
            session: holds the job, which gives back the upload's place; None = the caller does both.

        Raises:
            BusyError: the session holds as much as it may (:meth:`Session.add`); the upload is still the caller's.
        """
        job = Job(secrets.token_urlsafe(16), shown_name(name))
        if session is not None:
            session.add(job, self.limits)
        self._jobs.add(job)

        def finished(_: Future[None]) -> None:
            upload.remove_file()
            if session is not None:
                upload.leave()
            self._jobs.discard(job)

        job.finished = self._finding.submit(self._find, job, upload.path)
        job.finished.add_done_callback(finished)
        return job

    def _find(self, job: Job, path: Path) -> None:
        def seen(done_s: float, duration_s: float | None) -> None:
            job.done_s = done_s
            check_length(path, done_s, self.limits)
            if job._stop.is_set():
                raise TmorError("cancelled")

        try:
            job.state = "working"
            tracks = self._people(job, path, seen)
            if not tracks:
                raise TmorError(f"{path}: nobody is in it")
            check_tracks(path, tracks, self.limits)
            own, shown = path.stem, Path(job.name).stem
            job.tracks = [_renamed(track, own, shown) for track in tracks if track.missing_share < 1]
            if not job.tracks:
                raise TmorError(f"none of the {len(tracks)} tracks has a visible joint")
            job.state = "done"
        except TmorError as error:
            job.failure, job.state = spoken(error, path, job.name), "failed"
        except Exception:
            # One broken file must not end the thread that all others wait for, nor leave an estimator in disorder.
            _log.exception("%s: finding poses failed", job.name)
            job.failure, job.state = RuntimeError(OUR_FAULT), "failed"
            self._close_estimator()

    def _people(self, job: Job, path: Path, seen: Callable[[float, float | None], None]) -> list[Track]:
        if not is_video(path):
            check_pose_file(path, self.limits)
            try:
                return read_tracks(path)
            except FormatError as error:
                if "begins with" in str(error):
                    raise FormatError(f"{error}; or a video (MP4, MOV, AVI, MKV, WebM, MPEG)") from error
                raise
        self.model.check_dims(2)
        info = probe(path)
        job.duration_s = info.duration_s
        check_length(path, info.duration_s or 0.0, self.limits)
        if self._estimator is None:
            self._estimator = self._make_estimator()
        people = find_people(path, self._estimator, cache=False, progress=seen)
        job.video = people.info
        if not people.tracks:
            raise TmorError(f"{path}: nobody was found in the video")
        return people.tracks

    def _close_estimator(self) -> None:
        estimator, self._estimator = self._estimator, None
        if estimator is not None:
            with suppress(Exception):
                estimator.close()

    # ---- the model

    def think(self, work: Callable[[], T], *, admitted: bool = False) -> Future[T]:
        """Do something with the model, one thing after the other.

        Args:
            admitted: it is for an upload that keeps its place until then, so it is never refused.

        Raises:
            BusyError: too many wait already.
        """
        if admitted:
            return self._thinking.submit(work)
        if not self._questions.acquire(blocking=False):
            raise BusyError(f"{self.limits.waiting} questions are waiting for the model already; try again in a moment")
        future = self._thinking.submit(work)
        future.add_done_callback(lambda _: self._questions.release())
        return future

    def close(self) -> None:
        """Stop all work and remove everything."""
        for job in list(self._jobs):
            job.stop()
        for session in list(self._sessions.values()):
            self.close_session(session)
        self._finding.submit(self._close_estimator)
        self._finding.shutdown(wait=True)
        self._thinking.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()


@dataclass(frozen=True, eq=False)
class Upload:
    """A file that somebody sends, and its place in the queue.

    Args:
        path: where to write it. No part of the user's name is in it.
    """

    path: Path
    _places: threading.BoundedSemaphore

    def remove_file(self) -> None:
        """When it is not needed any more."""
        self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Give back the place, once."""
        self._places.release()

    def remove(self) -> None:
        """Both."""
        try:
            self.remove_file()
        finally:
            self.leave()


def moment(job: Job, person: int, start_s: float, end_s: float, limits: Limits) -> Track:
    """What a person does from one time to another, both in seconds of the source.

    Raises:
        TmorError: there is no such person, the person isn't there at that time, or it is too short or too long.
    """
    if not 0 <= person < len(job.tracks):
        raise TmorError(f"{job.name}: there is no person {person}; it has {len(job.tracks)}, counted from 0")
    if not start_s < end_s <= start_s + limits.example_s:
        raise TmorError(
            f"an example from {start_s:g} to {end_s:g} s; expected an end after the start, by {limits.example_s:g} s "
            f"at most"
        )
    part = frames_between(job.tracks[person], start_s, end_s)
    if part is None or len(part) < 2:
        raise TmorError(f"person {person} is seen in fewer than 2 frames from {start_s:g} to {end_s:g} s")
    return part


def _renamed(track: Track, own: str, shown: str) -> Track:
    """Ids that come from the file's name here, which means nothing, get the user's."""
    return track if track.id is None else replace(track, id=printable(track.id, r"#\d{1,9}").replace(own, shown))
