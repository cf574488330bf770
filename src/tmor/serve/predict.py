"""File in, labelled segments out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmor.errors import TmorError
from tmor.model.model import Model, Segment
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.tracks import Track

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


def predict_tracks(model: Model, tracks: Sequence[Track], labels: Sequence[str] | None = None) -> list[TrackResult]:
    """Classify each track and find its segments; tracks in which nobody is seen are left out, counted and logged.

    Args:
        labels: as in :meth:`tmor.model.model.Model.classify`.

    Raises:
        TmorError: nobody is seen in any track, or the labels are not valid.
    """
    seen = [track for track in tracks if track.missing_share < 1]
    if not seen:
        raise TmorError(f"none of the {len(tracks)} tracks has a visible joint")
    if len(seen) < len(tracks):
        _log.warning("%d of %d tracks left out: nobody is seen in them", len(tracks) - len(seen), len(tracks))
    prediction = model.classify(seen, labels)
    return [
        TrackResult(
            track,
            dict(zip(prediction.labels, map(float, row), strict=True)),
            tuple(model.detect(track, labels)),
        )
        for track, row in zip(seen, prediction.probabilities, strict=True)
    ]


def predict_file(model: Model, path: str | Path, labels: Sequence[str] | None = None) -> list[TrackResult]:
    """:func:`predict_tracks` of a pose file in any format that :func:`tmor.read_tracks` reads."""
    return predict_tracks(model, read_tracks(path), labels)


def as_json(source: str, results: Sequence[TrackResult]) -> dict[str, Any]:
    """The documented JSON of ``tmor predict --json``; times in seconds, as if at 30 fps where the rate is unknown."""
    tracks = []
    for n, result in enumerate(results):
        track = result.track
        segments = [
            {"start_s": round(s.start_s, 3), "end_s": round(s.end_s, 3), "label": s.label, "score": round(s.score, 4)}
            for s in result.segments
        ]
        tracks.append(
            {
                "id": track.id if track.id is not None else str(n),
                "start_s": round(track.start_s, 3),
                "end_s": segments[-1]["end_s"],
                "label": result.label,
                "score": round(result.score, 4),
                "probabilities": {label: round(p, 4) for label, p in result.probabilities.items()},
                "segments": segments,
            }
        )
    return {"source": source, "tracks": tracks}
