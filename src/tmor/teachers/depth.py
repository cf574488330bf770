"""A frozen video teacher for depth video that needs no weights: depth motion maps described by oriented gradients."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats.files import read_arrays

_log = logging.getLogger("tmor")

MILLIMETRES_PER_STEP = 20
"""Of ``depth_u8`` in files of depth thumbnails."""

# Chosen on UTD-MHAD's training part alone: subjects 1, 3 and 5 against 7, ties by each of the four against the others.
_SETTINGS = {
    "version": 1,  # of the code: count up whenever the embeddings change by anything but these settings
    "window": 64,  # pixels: the person's box over the clip, as high as wide
    "bins": 32,  # along the line of sight
    "reach_mm": 600,  # before and behind the person's median depth
    "smooth": 2 / 35,  # standard deviation of the blur of a map, in windows
    "segments": [1, 3],  # of the temporal pyramid
    "cells": 4,  # of a histogram, along each side of a map
    "orientations": 9,
    "power": 0.5,
    "width": 512,
    "seed": 0,
}


class _NoMotionError(FormatError):
    """A sound clip in which there is nothing to describe. ``reason`` is the same for all clips of a kind."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class DepthMotionMaps:
    """A video teacher E_V: where a person's depth silhouette appears and vanishes, seen from front, side and top.

    Each projection's frame differences are summed over the whole clip and over each third of it (depth motion maps:
    Yang, Zhang, Tian, ACM MM 2012; Chen, Liu, Kehtarnavaz, J. Real-Time Image Proc. 2013), here apart for gain and
    loss, so that the direction of time tells. Every map becomes one histogram of oriented gradients (Dalal, Triggs,
    CVPR 2005) that is normalised as a whole: normalised by small blocks, the flicker of a resting silhouette would
    weigh as much as the moving arm. A fixed random projection brings all of them to ``width``. Nothing is learned.

    ``name`` says what it is, ``hash`` identifies its settings, ``width`` is the size of its embeddings.

    Raises:
        TmorError: scikit-image is not installed.
    """

    name = "depth-motion-maps"
    width: int = _SETTINGS["width"]
    hash = hashlib.sha256(json.dumps(_SETTINGS, sort_keys=True).encode()).hexdigest()[:16]

    def __init__(self) -> None:
        try:
            from skimage.feature import hog
        except ImportError:
            raise TmorError("depth video needs scikit-image: pip install 'tmor[depth]'") from None
        self._hog = hog
        maps = 3 * 2 * sum(_SETTINGS["segments"])
        size = maps * _SETTINGS["cells"] ** 2 * _SETTINGS["orientations"]
        # RandomState, not default_rng: only its stream is promised to stay the same in later versions of NumPy.
        random = np.random.RandomState(_SETTINGS["seed"])
        self._projection = random.standard_normal((size, self.width)).astype(np.float32)

    def encode(self, depth: np.ndarray) -> np.ndarray:
        """The embedding of one clip of one person before a removed background.

        The person's place in the frame, distance and size do not matter, the frame rate hardly.

        Args:
            depth: (frames, h, w) float or int, millimetres; 0, negative, NaN or infinite = no reading.

        Returns:
            (width,) float32, L2-normalised.

        Raises:
            FormatError: ``depth`` is no such array, or there is nothing to describe: fewer than two frames, no reading
                at all, or no motion. A zero vector would be a neighbour of everything.
        """
        depth = np.asarray(depth)
        if depth.ndim != 3 or depth.dtype.kind not in "iuf":
            raise FormatError(
                f"'depth' is {depth.dtype} of shape {depth.shape}; expected numbers of shape (frames, height, width)"
            )
        if len(depth) < 2:
            raise _NoMotionError("fewer than two frames", f"'depth' has shape {depth.shape}; motion needs two or more")
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
        if not depth.any():
            raise _NoMotionError("no reading", f"'depth' of shape {depth.shape} is 0 everywhere; expected millimetres")
        parts = [self._describe(view) for view in _projections(_window(depth))]
        x = np.concatenate(parts) @ self._projection
        norm = np.linalg.norm(x)
        if norm == 0:
            raise _NoMotionError("no motion", f"the {len(depth)} frames of 'depth' are all alike; expected movement")
        return (x / norm).astype(np.float32)

    def _describe(self, view: np.ndarray) -> np.ndarray:
        """(frames, a, b) of one projection -> (segments * 2 * cells * cells * orientations,) float32."""
        cells = _SETTINGS["cells"]
        size = view.shape[1:]
        change = np.diff(view, axis=0)
        rows = []
        for count in _SETTINGS["segments"]:
            for segment in np.array_split(change, count):
                for energy in (segment.clip(min=0).sum(axis=0), -segment.clip(max=0).sum(axis=0)):
                    energy = gaussian_filter(energy, [_SETTINGS["smooth"] * side for side in size])
                    row = self._hog(
                        energy,
                        orientations=_SETTINGS["orientations"],
                        pixels_per_cell=(size[0] // cells, size[1] // cells),
                        cells_per_block=(cells, cells),
                    )
                    row = row ** _SETTINGS["power"]
                    rows.append(row / max(np.linalg.norm(row), 1e-9))
        return np.concatenate(rows).astype(np.float32)


def _window(depth: np.ndarray) -> np.ndarray:
    """(frames, h, w) -> (frames, window, window): the person's box over the clip, as high as wide, by nearest pixel."""
    seen = depth > 0
    rows = np.flatnonzero(seen.any(axis=(0, 2)))
    top, height = rows[0], rows[-1] + 1 - rows[0]
    columns = seen.sum(axis=(0, 1)).cumsum()
    middle = np.searchsorted(columns, columns[-1] / 2) + 0.5  # the median: an arm held out hardly moves it
    steps = (np.arange(_SETTINGS["window"]) + 0.5) / _SETTINGS["window"]
    row = np.floor(top + steps * height).astype(int)
    column = np.floor(middle + (steps - 0.5) * height).astype(int)
    outside = (column < 0) | (column >= depth.shape[2])
    cut = depth[:, row][:, :, column.clip(0, depth.shape[2] - 1)]
    cut[:, :, outside] = 0
    return cut


def _projections(depth: np.ndarray) -> Iterator[np.ndarray]:
    """(frames, s, s) millimetres -> front (frames, s, s), nearer is brighter; side (frames, s, bins) and top
    (frames, bins, s), 1 where the line of sight meets the person."""
    seen = depth > 0
    reach, bins = _SETTINGS["reach_mm"], _SETTINGS["bins"]
    far = ((depth - np.median(depth[seen])) / (2 * reach) + 0.5).clip(0, 1)
    # From 0.25 at the far end: the person is apart from the background everywhere.
    yield np.where(seen, 1.25 - far, 0)
    bin_ = np.minimum((far * bins).astype(int), bins - 1)
    frame, row, column = np.nonzero(seen)
    side = np.zeros((len(depth), depth.shape[1], bins), dtype=np.float32)
    side[frame, row, bin_[seen]] = 1
    yield side
    top = np.zeros((len(depth), bins, depth.shape[2]), dtype=np.float32)
    top[frame, bin_[seen], column] = 1
    yield top


def embed_depth_file(path: str | Path) -> dict[str, np.ndarray]:
    """The embeddings of all clips of a file of depth thumbnails, by sequence id.

    Clips in which nothing is seen or nothing moves are left out, counted by reason and logged.

    Args:
        path: an .npz with ``depth_u8`` (n, frames, h, w) uint8, millimetres / 20 rounded, 0 = no reading or background,
            and ``seq_id`` (n,) text, unique.

    Returns:
        seq_id -> (DepthMotionMaps.width,) float32, L2-normalised, in the order of the file.

    Raises:
        FormatError: the file can't be read, or an array is missing or not as above.
        TmorError: scikit-image is not installed.
    """
    path = Path(path)
    arrays = read_arrays(path)
    for name in ("depth_u8", "seq_id"):
        if name not in arrays:
            raise FormatError(f"{path}: no array '{name}'; it holds {', '.join(sorted(arrays)) or 'none'}")
    depth, ids = arrays["depth_u8"], arrays["seq_id"]
    if depth.dtype != np.uint8 or depth.ndim != 4:
        raise FormatError(
            f"{path}: array 'depth_u8' is {depth.dtype} of shape {depth.shape}; "
            "expected uint8 of shape (n, frames, height, width)"
        )
    if ids.dtype.kind != "U" or ids.shape != depth.shape[:1]:
        raise FormatError(
            f"{path}: array 'seq_id' is {ids.dtype} of shape {ids.shape}; expected text of shape {depth.shape[:1]}"
        )
    repeated = [id for id, count in Counter(ids.tolist()).items() if count > 1]
    if repeated:
        raise FormatError(f"{path}: array 'seq_id' holds '{repeated[0]}' more than once; expected one clip per id")
    teacher = DepthMotionMaps()
    found: dict[str, np.ndarray] = {}
    skipped: Counter[str] = Counter()
    for id, clip in zip(ids.tolist(), depth, strict=True):
        try:
            found[id] = teacher.encode(clip.astype(np.float32) * MILLIMETRES_PER_STEP)
        except _NoMotionError as error:
            skipped[error.reason] += 1
    if skipped:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in skipped.items())
        _log.warning("%s: %d of %d depth clips left out (%s)", path, skipped.total(), len(ids), reasons)
    return found
