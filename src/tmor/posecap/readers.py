"""From a source to clips: poses are found or read, and tracks are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

import numpy as np

from tmor.config import BuildConfig
from tmor.errors import LayoutError
from tmor.pose import PoseEstimator, find_people, load_estimator
from tmor.posecap.clip_texts import caption_name
from tmor.posecap.sources import Source
from tmor.posecap.triplets import SequenceCaptions, Triplet, read_captioned
from tmor.skeleton.canonical import is_seen, prepare
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.files import array_names
from tmor.skeleton.formats.packed import is_packed
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track

_FPS = 15.0


@dataclass(frozen=True, eq=False)
class Clips:
    """What a reader made of a source: clips, what found the poses (empty = not known), what was left out and why."""

    triplets: list[Triplet]
    estimator: str = ""
    estimator_hash: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    chosen: bool = False  # somebody chose these clips: near-duplicates stay
    unused_captions: tuple[str, ...] = ()  # captions of the reader's own that are not about this source


class Reader(Protocol):
    """Makes clips of a source. It is sent to other processes, so it loads what is heavy when it is first called."""

    def __call__(self, source: Source) -> Clips:
        """The clips, with the texts and labels that the source itself knows; raises a TmorError or OSError where it
        can't be read."""
        ...


@dataclass(frozen=True)
class VideoReader:
    """Finds the people of a video and cuts their tracks into clips.

    Args:
        estimator: the name of a pose estimator (:func:`tmor.pose.load_estimator`).
    """

    config: BuildConfig
    estimator: str = "rtmlib"

    def __call__(self, source: Source) -> Clips:
        estimator = _estimator(self.estimator)
        found = find_people(source.path, estimator)
        return _cut_all(found.tracks, source, self.config, estimator.name, estimator.hash)


@dataclass(frozen=True)
class PoseReader:
    """Reads packed sets as they are, near-duplicates and all, and cuts the tracks of other pose files into clips.

    Args:
        part: of packed sets (:meth:`tmor.skeleton.formats.PackedSet.part`).
        captions: of packed sets, by sequence: the clips of these sequences are then those of the captions.
    """

    config: BuildConfig
    part: str | None = None
    captions: SequenceCaptions = field(default_factory=dict)

    def __call__(self, source: Source) -> Clips:
        if not is_packed(array_names(source.path)):
            clips, ids = _cut_all(read_tracks(source.path), source, self.config), set[str]()
        else:
            triplets, ids = read_captioned(source.path, self.captions, part=self.part)
            seen = [t for t in triplets if is_seen(t.track)]
            unseen = len(triplets) - len(seen)
            clips = Clips(seen, left_out=Counter({"nobody is seen": unseen} if unseen else {}), chosen=True)
        unused = tuple(caption_name(id, start_s) for id, start_s, _ in self.captions if id not in ids)
        return replace(clips, unused_captions=unused)


@cache
def _estimator(name: str) -> PoseEstimator:
    return load_estimator(name)


def _cut_all(
    tracks: Sequence[Track], source: Source, config: BuildConfig, estimator: str = "", estimator_hash: str = ""
) -> Clips:
    triplets, left_out = [], Counter[str]()
    if not tracks:
        left_out["nobody is seen"] += 1
    for n, track in enumerate(tracks):
        clips, reasons = cut(track, config)
        left_out += reasons
        for clip in clips:
            id = f"{source.collection}/{source.name}/{n}@{clip.start_s:.2f}"
            triplets.append(Triplet(id, source.collection, clip))
    return Clips(triplets, estimator, estimator_hash, left_out)


def cut(track: Track, config: BuildConfig) -> tuple[list[Track], Counter[str]]:
    """A track in clips, and how many were left out by reason. A track of unknown rate stays whole."""
    if track.fps is None:
        pieces = [track]
    else:
        length = max(1, round(config.clip_s * track.fps))
        step = max(1, round(length * (1 - config.overlap)))
        # The last clip is the first that reaches the track's end.
        firsts = range(0, max(1, len(track) - length + step), step)
        pieces = [track.frames(first, min(first + length, len(track))) for first in firsts if first < len(track)]
    kept, left_out = [], Counter[str]()
    for piece in pieces:
        reason = _reason(piece, config)
        if reason is None:
            kept.append(piece)
        else:
            left_out[reason] += 1
    return kept, left_out


def _reason(clip: Track, config: BuildConfig) -> str | None:
    """Why a clip is left out."""
    if clip.fps is not None and len(clip) / clip.fps < config.shortest_s - 1e-6:
        return f"shorter than {config.shortest_s:g} s"
    try:
        seen = 1 - clip.to(UNIK17).missing_share
    except LayoutError:
        return "the layout has no shoulders or hips"
    if seen < config.least_visible:
        return f"less than {config.least_visible:.0%} of the joints are seen"
    if not seen:
        return "nobody is seen"
    x = prepare(clip, fps=_FPS)
    if motion(x) < config.least_motion:
        return f"moves less than {config.least_motion:g} body sizes"
    return None


def motion(x: np.ndarray) -> float:
    """How far the joints are from their mean places over a clip, root mean square, in body sizes.

    Args:
        x: (frames, 17, 2 | 3), NaN = unseen; somebody is seen.
    """
    seen = x[~np.isnan(x[..., 0]).all(axis=1)]
    seen = seen[:, ~np.isnan(seen[..., 0]).all(axis=0)]
    size = np.sqrt(np.nanmean(np.square(seen - np.nanmean(seen, axis=1, keepdims=True)).sum(axis=-1)))
    about = np.sqrt(np.nanmean(np.square(seen - np.nanmean(seen, axis=0)).sum(axis=-1)))
    return float(about / size) if size > 0 else 0.0
