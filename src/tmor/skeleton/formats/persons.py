"""From the people of single frames to tracks: what several 2D and 3D formats have in common."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.layouts import Layout
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

MAX_GAP = 30
"""A person who is away for more frames than this comes back as somebody else."""

MAX_FRAMES = 10_000_000
"""More frames than this, over all people of a file, are a mistake in its frame numbers."""


def person_id(source: str, index: int) -> str:
    """``source`` for the first person, ``source#1`` for the second, and so on."""
    return f"{source}#{index}" if index else source


def person_names(tracks: Sequence[Track]) -> list[str]:
    """What people are called: their ids, or the number of the track that has none."""
    return [str(n) if track.id is None else track.id for n, track in enumerate(tracks)]


def short_name(id: str, source: str) -> str:
    """A person's id where there is little room: ``#1`` of ``source#1``, ``#0`` of ``source``; others stay."""
    return id[len(source) :] or "#0" if id == source or id.startswith(f"{source}#") else id


def link_identified(
    people: Sequence[tuple[int, Hashable | None, np.ndarray]], layout: Layout
) -> list[dict[int, np.ndarray]]:
    """Follow people by the identities that a file gives them; by :func:`link` unless each has one of their own in every
    frame.

    Args:
        people: frame number, identity (None = none), and the person as in :func:`link`.
        layout: of the people.

    Returns:
        As :func:`link`.
    """
    people = sorted(people, key=lambda person: person[0])
    identified = {(frame, own) for frame, own, _ in people if own is not None}
    if len(identified) == len(people):
        followed: dict[Hashable, dict[int, np.ndarray]] = {}
        for frame, own, points in people:
            followed.setdefault(own, {})[frame] = points
        return list(followed.values())
    frames: dict[int, list[np.ndarray]] = {}
    for frame, _, points in people:
        frames.setdefault(frame, []).append(points)
    return link(frames, layout)


def link(frames: Mapping[int, Sequence[np.ndarray]], layout: Layout) -> list[dict[int, np.ndarray]]:
    """Follow people through frames in which they have no identity, by the nearest mid hip.

    Pairs are made nearest first. A step is at most the size of the person (the longer side of the box around it), and
    nobody is looked for after :data:`MAX_GAP` frames. The middle of the seen joints stands in for unseen hips.

    Args:
        frames: frame number -> people, each (joints, >= 2): x, y first; NaN = unseen.
        layout: of the people.

    Returns:
        Per person, in order of appearance: frame number -> that person.
    """
    hips = [i for i, name in enumerate(layout.standard_joints) if name in ("mid_hip", "left_hip", "right_hip")]
    people: list[dict[int, np.ndarray]] = []
    last: dict[int, tuple[int, np.ndarray, float]] = {}  # who may come back: index in people -> frame, place, size
    for frame in sorted(frames):
        last = {j: seen for j, seen in last.items() if frame - seen[0] <= MAX_GAP}
        seen = [person for person in frames[frame] if not np.isnan(person[:, :2]).any(axis=1).all()]
        places = [_place(person, hips) for person in seen]
        pairs = []
        for i, (place, size) in enumerate(places):
            for j, (_, before, size_before) in last.items():
                distance = float(np.linalg.norm(place - before))
                if distance <= max(size, size_before):
                    pairs.append((distance, i, j))
        chosen: dict[int, int] = {}
        for _, i, j in sorted(pairs):
            if i not in chosen and j not in chosen.values():
                chosen[i] = j
        for i, (person, (place, size)) in enumerate(zip(seen, places, strict=True)):
            if i not in chosen:
                chosen[i] = len(people)
                people.append({})
            people[chosen[i]][frame] = person
            last[chosen[i]] = (frame, place, size)
    return people


def _place(person: np.ndarray, hips: Sequence[int]) -> tuple[np.ndarray, float]:
    points = person[:, :2]
    seen = points[~np.isnan(points).any(axis=1)]
    of_hips = points[list(hips)]
    of_hips = of_hips[~np.isnan(of_hips).any(axis=1)]
    return (of_hips if len(of_hips) else seen).mean(axis=0), float(np.ptp(seen, axis=0).max())


def to_tracks(
    people: Sequence[Mapping[int, np.ndarray]],
    layout: Layout,
    *,
    path: Path,
    id: str,
    dims: int = 2,
    first: int = 0,
    fps: float | None = None,
) -> list[Track]:
    """One track per person; frames in which a person is absent are NaN.

    With a known rate a track begins where its person appears, and ``start_s`` says when. With an unknown rate nothing
    else could tell, so every track begins at the file's first frame. Scores are 0 where the person is absent. People
    without any seen joint are left out, and counted in the log.

    Args:
        people: per person: frame number -> (joints, dims), NaN = unseen; or (joints, dims + 1), confidence last.
        layout: of the people.
        path: the file, for messages.
        id: of the first person.
        dims: 2 or 3.
        first: the number of the file's first frame.
        fps: frames per second; None = unknown.

    Raises:
        FormatError: the frame numbers span too much to be one recording's.
    """
    seen = [person for person in people if any(not np.isnan(p[:, :dims]).any(axis=1).all() for p in person.values())]
    if len(seen) < len(people):
        _log.info("%s: left out %d of %d people, who have no seen joint", path, len(people) - len(seen), len(people))
    if not seen:
        _log.warning("%s: nobody is in it", path)
    spans = [(first if fps is None else min(person), max(person) + 1) for person in seen]
    total = sum(stop - start for start, stop in spans)
    if total > MAX_FRAMES:
        raise FormatError(
            f"{path}: its {len(seen)} people come to {total} frames, as the frame numbers run up to "
            f"{max(stop for _, stop in spans) - 1}; expected the frames of one recording"
        )
    tracks = []
    for index, (person, (start, stop)) in enumerate(zip(seen, spans, strict=True)):
        channels = next(iter(person.values())).shape[1]
        values = np.full((stop - start, len(layout), channels), np.nan, dtype=np.float32)
        for frame, points in person.items():
            values[frame - start] = points
        tracks.append(
            Track(
                values[..., :dims],
                layout,
                fps,
                scores=np.nan_to_num(values[..., dims]) if channels > dims else None,
                start_s=0.0 if fps is None else (start - first) / fps,
                id=person_id(id, index),
            )
        )
    return tracks
