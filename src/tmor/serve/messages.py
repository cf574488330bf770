"""What goes over the wire between the page and its server, for the description of the API."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, FiniteFloat

from tmor.serve.sessions import Job, Session


class Question(BaseModel):
    """What to tell apart, beside the enrolled labels; a mapping says in sentences what the body does."""

    labels: list[str] | dict[str, list[str]]


class Marked(BaseModel):
    """A moment that is an example of a label, in seconds of the source."""

    label: str
    person: int
    start_s: FiniteFloat
    end_s: FiniteFloat


class JobState(BaseModel):
    """Where a file stands."""

    id: str
    name: str
    state: Literal["waiting", "working", "done", "failed"]
    done_s: float
    duration_s: float | None
    error: str | None
    people: int

    @classmethod
    def of(cls, job: Job) -> JobState:
        return cls(
            id=job.id,
            name=job.name,
            state=job.state,
            done_s=round(job.done_s, 3),
            duration_s=None if job.duration_s is None else round(job.duration_s, 3),
            error=None if job.failure is None else str(job.failure),
            people=len(job.tracks) if job.state == "done" else 0,
        )


class Example(BaseModel):
    """When an example was, in seconds of its source; null = the frame rate is not known."""

    start_s: float
    duration_s: float | None


class SessionState(BaseModel):
    """What a session holds."""

    jobs: list[JobState]
    examples: dict[str, list[Example]]

    @classmethod
    def of(cls, session: Session) -> SessionState:
        return cls(
            jobs=[JobState.of(job) for job in session.jobs.values()],
            examples={
                label: [Example(start_s=track.start_s, duration_s=track.duration_s) for track in tracks]
                for label, tracks in session.examples.items()
            },
        )


class FoundSegment(BaseModel):
    """An action, in seconds of the source."""

    start_s: float
    end_s: float
    label: str
    score: float


class FoundTrack(BaseModel):
    """What one person does."""

    id: str
    start_s: float
    end_s: float
    label: str
    score: float
    probabilities: dict[str, float]
    segments: list[FoundSegment]


class Found(BaseModel):
    """The JSON of ``tmor predict --json``."""

    source: str
    tracks: list[FoundTrack]
