"""Untrimmed videos with an annotation, whose poses lie in a folder: what TSU, Charades and PKU-MMD share."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.protocol import Sample, Skipped, sample_per_file
from tmor.errors import FormatError
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.files import read_json
from tmor.skeleton.formats.persons import MAX_FRAMES, person_id
from tmor.skeleton.formats.smarthome import read_smarthome
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

MAX_PERSONS = 2
"""Persons that are kept of a video at one time."""


def annotated(
    id: str,
    rows: Iterable[tuple[float, float, float]],
    *,
    duration_s: float,
    classes: int,
    columns: Mapping[str, int | float | bool | str],
) -> tuple[Sample, list[Skipped]]:
    """An untrimmed video without its persons, and those of its segments that are positive nowhere.

    A segment that runs over the end of the video stays as it is: in Charades almost a third do.

    Args:
        id: of the video.
        rows: class, start, end of each segment, in seconds.
        duration_s: of the video; becomes a column too.
        classes: how many there are.
        columns: as in :class:`Sample`.

    Raises:
        FormatError: the duration is not a positive number.
    """
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise FormatError(f"{id}: lasts {duration_s:g}; expected a positive number")
    segments, left_out = [], []
    for number, (label, start, end) in enumerate(rows, start=1):
        reason = None
        if not (0 <= label < classes and label == int(label)):
            reason = "segment of an unknown class"
        elif not end > start:
            reason = "segment that does not end after it begins"
        elif not (0 <= start < duration_s and math.isfinite(end)):
            reason = "segment outside the video"
        if reason:
            detail = f"class {label:g} from {start:g} to {end:g} s of {duration_s:g} s"
            left_out.append(Skipped(f"{id} segment {number}", reason, detail))
        else:
            segments.append((int(label), float(start), float(end)))
    columns = {**columns, "duration_s": float(duration_s)}
    return Sample(id, (), segments=tuple(segments), columns=columns), left_out


def with_persons(videos: Iterable[Sample], folder: Path) -> Iterator[Sample | Skipped]:
    """Annotated videos with the :func:`persons` of their pose files in ``folder``."""
    files = files_by_id(folder)
    for video in videos:
        own = files.get(video.id, [])
        if len(own) == 1:
            yield from sample_per_file(own, partial(_with_persons, video))
        else:
            reason = "several pose files" if own else "no pose file"
            yield Skipped(video.id, reason, ", ".join(path.name for path in own))


def files_by_id(folder: Path) -> dict[str, list[Path]]:
    """Files and folders of a folder by their names without extension.

    Raises:
        FormatError: there is no such folder.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: there is no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            found.setdefault(path.name if path.is_dir() else path.stem, []).append(path)
    return found


def persons(path: Path, duration_s: float) -> tuple[Track, ...]:
    """The persons of a video's pose file, as 17 joints over the whole video.

    People are followed only as long as they are seen, so that one who comes and goes has many tracks. Those that are
    seen in most frames fill :data:`MAX_PERSONS` places, several where they don't overlap; the log counts the others.

    The n poses span the video: the rate becomes n / ``duration_s``. An LCR-Net file says n itself. In another file with
    a known rate n follows from that, as nobody may be seen at the end; with an unknown rate the longest track has it.

    Returns:
        At most :data:`MAX_PERSONS` tracks of n frames each, whose unseen frames are NaN; none where nobody is seen.

    Raises:
        FormatError: the file can't be read, its tracks differ in rate or dimensions, or lie outside the video.
    """
    tracks, frames = _tracks(path)
    if not tracks:
        return ()
    if len({(track.fps, track.dims) for track in tracks}) > 1:
        raise FormatError(f"{path}: its tracks have several rates or dimensions; expected one of each")
    fps, dims = tracks[0].fps, tracks[0].dims
    if fps is not None and not 0.01 <= fps <= 10_000:
        raise FormatError(f"{path}: {fps:g} frames per second; expected a camera's rate")
    starts = []
    for track in tracks:
        last_s = track.start_s + (track.duration_s or 0.0)
        if not (track.start_s >= 0 and (frames or last_s <= 1.05 * duration_s + 1)):
            raise FormatError(
                f"{path}: a track lasts from {track.start_s:g} to {last_s:g} s; the video lasts {duration_s:g} s"
            )
        starts.append(round(track.start_s * (fps or 0.0)))
    last = max(start + len(track) for start, track in zip(starts, tracks, strict=True))
    if frames is None:
        frames = max(last, round(duration_s * (fps or 0.0)))
    if frames > MAX_FRAMES:
        raise FormatError(f"{path}: {frames} frames; expected those of one video")
    places: list[np.ndarray] = []
    left_out = 0
    seen = [~np.isnan(track.keypoints).all(axis=(1, 2)) for track in tracks]
    for i in sorted(range(len(tracks)), key=lambda i: -int(seen[i].sum())):
        at = starts[i] + np.flatnonzero(seen[i])
        place = next((place for place in places if np.isnan(place[at]).all()), None)
        if place is None:
            if len(places) == MAX_PERSONS:
                left_out += 1
                continue
            place = np.full((frames, len(UNIK17), dims), np.nan, dtype=np.float32)
            places.append(place)
        place[at] = tracks[i].to(UNIK17).keypoints[seen[i]]
    if left_out:
        _log.info("%s: left out %d tracks beside %d others", path, left_out, MAX_PERSONS)
    return tuple(
        Track(place, UNIK17, frames / duration_s, id=person_id(path.stem, i)) for i, place in enumerate(places)
    )


def _tracks(path: Path) -> tuple[list[Track], int | None]:
    """The tracks of a pose file, and its number of frames where the file says it."""
    if path.suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "frames" in content:
            return read_smarthome(path, content), len(content["frames"])
    return read_tracks(path), None


def _with_persons(video: Sample, path: Path) -> Sample:
    return replace(video, tracks=persons(path, float(video.columns["duration_s"])))
