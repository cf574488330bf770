"""File in, labelled segments out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmor.errors import NobodyError, TmorError
from tmor.model.answers import Labels
from tmor.model.segments import Segment
from tmor.skeleton.canonical import is_seen
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.files import is_video
from tmor.skeleton.formats.persons import person_names
from tmor.skeleton.tracks import Track

if TYPE_CHECKING:
    from tmor.model.model import Model
    from tmor.serve.onnx import OnnxModel

_log = logging.getLogger("tmor")


@dataclass(frozen=True, eq=False)
class TrackResult:
    """What one person does.

    Args:
        track: the person.
        probabilities: of every label, for the track as a whole; they sum to 1.
        segments: what the person does when.
    """

    track: Track
    probabilities: dict[str, float]
    segments: tuple[Segment, ...]

    @property
    def label(self) -> str:
        """The most probable label."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    @property
    def score(self) -> float:
        """Its probability."""
        return self.probabilities[self.label]


def predict_tracks(
    model: Model | OnnxModel, tracks: Sequence[Track], labels: Labels | None = None, *, none: bool = True
) -> list[TrackResult]:
    """Classify each track and find its segments; tracks in which nobody is seen are left out, counted and logged.

    Args:
        labels, none: as in :meth:`tmor.model.model.Model.classify`.

    Raises:
        TmorError: nobody is seen in any track, or the labels are not valid.
    """
    seen = seen_tracks(tracks)
    names, judge = model.judge(labels, none=none)
    rows = judge(model.features(seen))
    return [
        TrackResult(
            track,
            dict(zip(names, map(float, row), strict=True)),
            tuple(model.detect_with(names, judge, track)),
        )
        for track, row in zip(seen, rows, strict=True)
    ]


def seen_tracks(tracks: Sequence[Track]) -> list[Track]:
    """Those in which somebody is seen; the others are counted and logged.

    Raises:
        TmorError: there are none.
    """
    seen = [track for track in tracks if is_seen(track)]
    if not seen:
        raise TmorError(f"none of the {len(tracks)} tracks has a visible joint")
    if len(seen) < len(tracks):
        _log.warning("%d of %d tracks left out: nobody is seen in them", len(tracks) - len(seen), len(tracks))
    return seen


def predict_file(
    model: Model | OnnxModel,
    path: str | Path,
    labels: Labels | None = None,
    *,
    none: bool = True,
    estimator: str = "rtmlib",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[TrackResult]:
    """:func:`predict_tracks` of a video, or of a pose file in any format that :func:`tmor.read_tracks` reads.

    Args:
        estimator: of the poses of a video (:func:`tmor.pose.load_estimator`).

    Raises:
        TmorError: the file can't be read, nobody is in it, the estimator is not at hand, or the labels are not valid;
            the model sees 3D alone, and the file is a video.
    """
    if is_video(path):  # what can't be is said before the long work
        model.judge(labels, none=none)
        model.check_dims(2)
    return predict_tracks(model, read_people(path, estimator=estimator, progress=progress), labels, none=none)


def read_people(
    path: str | Path,
    *,
    estimator: str = "rtmlib",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Track]:
    """The people of a video, or of a pose file in any format that :func:`tmor.read_tracks` reads; at least one.

    Raises:
        NobodyError: nobody is in it.
        TmorError: else as :func:`predict_file`.
    """
    if not is_video(path):
        if not (tracks := read_tracks(path)):
            raise NobodyError(f"{path}: nobody is in it")
        return tracks
    from tmor.pose import find_people, load_estimator

    def seen(done_s: float, duration_s: float | None) -> None:
        progress("finding people", round(1000 * done_s), round(1000 * (duration_s or 0)))

    with closing(load_estimator(estimator)) as finder:
        people = find_people(path, finder, progress=seen)
    if not people.tracks:
        raise NobodyError(f"{path}: nobody was found in the video")
    return people.tracks


def as_json(source: str, results: Sequence[TrackResult]) -> dict[str, Any]:
    """The documented JSON of ``tmor predict --json``; times in seconds, as if at 30 fps where the rate is unknown."""
    tracks = []
    names = person_names([result.track for result in results])
    for name, result in zip(names, results, strict=True):
        track = result.track
        tracks.append(
            {
                "id": name,
                "start_s": round(track.start_s, 3),
                "end_s": round(track.end_s, 3),
                "label": result.label,
                "score": round(result.score, 4),
                "probabilities": {label: round(p, 4) for label, p in result.probabilities.items()},
                "segments": [segment.as_json() for segment in result.segments],
            }
        )
    return {"source": source, "tracks": tracks}
