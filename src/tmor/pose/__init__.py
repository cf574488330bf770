"""From pixels to tracks: videos, pose estimators, following people."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tmor.config import cache_folder
from tmor.errors import FormatError, TmorError
from tmor.pose.estimators import People, PoseEstimator, load_estimator
from tmor.pose.tracking import Followed, FollowReport, follow
from tmor.pose.videos import VideoInfo, content_id, probe, read_frames
from tmor.skeleton.formats.files import read_arrays, write_arrays
from tmor.skeleton.layouts import find_layout
from tmor.skeleton.tracks import Track

__all__ = ["Followed", "People", "PoseEstimator", "PoseResult", "find_people", "follow", "load_estimator", "probe"]

_log = logging.getLogger("tmor")

_VERSION = 1
"""Of the cache's files; another one is made anew."""


@dataclass(frozen=True, eq=False)
class PoseResult:
    """Who is in a video.

    Args:
        tracks: one per person, in order of appearance.
        info: the video.
        report: what following the people left out.
        cached: the poses were found before; no frame was decoded now.
    """

    tracks: list[Track]
    info: VideoInfo
    report: FollowReport
    cached: bool


def find_people(
    path: str | Path,
    estimator: PoseEstimator,
    *,
    every_s: float | None = 1 / 15,
    cache: bool = True,
    progress: Callable[[float, float | None], None] | None = None,
) -> PoseResult:
    """Find the people of a video and follow each.

    The poses of single pictures are kept under the cache folder (:func:`tmor.config.cache_folder`), by the file's
    content, the estimator and ``every_s``: a second time nothing is decoded. A cache that can't be read or written is
    not an error. Pictures are not kept.

    Args:
        path: the video.
        estimator: finds the people of one picture.
        every_s: look at a picture about every so many seconds; None = at all.
        cache: False: nothing is read from or written to the cache.
        progress: called after every picture with the seconds of video done and the video's length (None = not known).
            An exception that it raises ends the work and leaves no trace.

    Raises:
        FormatError: the file is not a video that can be read (:func:`tmor.pose.videos.probe`).
        TmorError: a package is missing, or ``every_s`` is not positive.
    """
    path = Path(path)
    joints = len(find_layout(estimator.layout))
    kept = _cache_file(path, estimator, every_s) if cache else None
    found = None if kept is None else _read(kept, joints)
    cached = found is not None
    if found is None:
        info = probe(path)
        frames: list[tuple[float, People]] = []
        for frame in read_frames(path, every_s=every_s):
            frames.append((frame.time_s, estimator(frame.image, frame.time_s)))
            if progress is not None:
                progress(frame.time_s, info.duration_s)
        if kept is not None:
            _write(kept, info, frames, joints)
    else:
        info, frames = found
        if progress is not None and frames:
            progress(frames[-1][0], info.duration_s)
    followed = follow(frames, layout=estimator.layout, id=path.stem)
    return PoseResult(followed.tracks, info, followed.report, cached)


def _cache_file(path: Path, estimator: PoseEstimator, every_s: float | None) -> Path:
    key = json.dumps([_VERSION, content_id(path), estimator.hash, estimator.layout, every_s])
    return cache_folder() / "poses" / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"


def _write(path: Path, info: VideoInfo, frames: list[tuple[float, People]], joints: int) -> None:
    people = [people for _, people in frames]
    arrays = {
        "version": np.array(_VERSION),
        "info": np.array(json.dumps(asdict(info))),
        "times_s": np.array([time_s for time_s, _ in frames], dtype=np.float64),
        "people": np.array([len(p) for p in people], dtype=np.int64),
        "keypoints": np.concatenate([np.zeros((0, joints, 2)), *(p.keypoints for p in people)]).astype(np.float32),
        "scores": np.concatenate([np.zeros((0, joints)), *(p.scores for p in people)]).astype(np.float32),
        "boxes": np.concatenate([np.zeros((0, 4)), *(p.boxes for p in people)]).astype(np.float32),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, arrays, overwrite=True)
    except (OSError, TmorError) as error:
        _log.info("poses are not kept: %s", error)


def _read(path: Path, joints: int) -> tuple[VideoInfo, list[tuple[float, People]]] | None:
    """What :func:`_write` wrote; None where there is nothing, or nothing that can be used."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        if int(arrays["version"]) != _VERSION:
            raise FormatError(f"{path}: version {arrays['version']}; expected {_VERSION}")
        info = VideoInfo(**json.loads(str(arrays["info"])))
        return info, list(_pictures(path, arrays, joints))
    except (FormatError, OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        _log.warning("%s: cached poses can't be used and are found anew: %s", path, reason)
        return None


def _pictures(path: Path, arrays: dict[str, np.ndarray], joints: int) -> Iterator[tuple[float, People]]:
    times, people = arrays["times_s"], arrays["people"]
    total = int(people.sum()) if people.dtype == np.int64 and (people >= 0).all() else -1
    shapes = {"keypoints": (total, joints, 2), "scores": (total, joints), "boxes": (total, 4)}
    if times.dtype != np.float64 or times.shape != people.shape or times.ndim != 1 or not (np.diff(times) > 0).all():
        raise FormatError(f"{path}: its times are not those of pictures")
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32:
            raise FormatError(f"{path}: {name} are {arrays[name].shape} {arrays[name].dtype}; expected {shape} float32")
    stop = np.cumsum(people)
    for time_s, start, end in zip(times.tolist(), (stop - people).tolist(), stop.tolist(), strict=True):
        yield time_s, People(*(arrays[name][start:end] for name in shapes))
