"""One track in an .npz that people write by hand: ``numpy.savez("me.npz", keypoints=..., layout="coco17", fps=25)``.

``keypoints`` (frames, joints, 2 | 3), NaN = unseen. Optional: ``layout``, the name of a known one; or ``joint_names``;
``fps``; ``scores`` (frames, joints). Without a layout or joint names the number of joints decides where only one layout
of a pose estimator has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats.files import frame_rate, warn_of_zeros
from tmor.skeleton.layouts import LAYOUTS, Layout, find_layout, layout_of
from tmor.skeleton.tracks import Track

# Not by LAYOUTS alone: 21 joints are a hand more often than a body of ours.
_UNAMBIGUOUS = {18: "openpose18", 22: "smpl22", 26: "halpe26", 33: "blazepose33"}


def unpack(path: Path, arrays: Mapping[str, np.ndarray]) -> list[Track]:
    """The track of an .npz whose arrays have been read.

    Raises:
        FormatError: the array can't be keypoints, or its layout is not said and not clear.
    """
    points = arrays["keypoints"]
    if points.ndim != 3 or points.shape[2] not in (2, 3) or points.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: keypoints has shape {points.shape} and type {points.dtype}; "
            "expected (frames, joints, 2 or 3) numbers"
        )
    warn_of_zeros(path, points)
    scores = arrays.get("scores")
    if scores is not None and scores.dtype.kind not in "fiu":
        raise FormatError(f"{path}: scores has type {scores.dtype}; expected numbers")
    try:
        layout = _layout(path, arrays, points.shape[1])
        return [Track(points, layout, frame_rate(path, arrays), scores=scores, id=path.stem)]
    except FormatError:
        raise
    except (TmorError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {error}") from error


def _layout(path: Path, arrays: Mapping[str, np.ndarray], joints: int) -> Layout:
    if "joint_names" in arrays:
        names = tuple(map(str, arrays["joint_names"].tolist()))
        return layout_of(names) or Layout(str(arrays.get("layout", path.stem)), names)
    if "layout" in arrays:
        return find_layout(str(arrays["layout"]))
    if joints in _UNAMBIGUOUS:
        return LAYOUTS[_UNAMBIGUOUS[joints]]
    candidates = [layout.name for layout in LAYOUTS.values() if len(layout) == joints]
    could = f"could be {', '.join(candidates)}" if candidates else "are those of no known layout"
    raise FormatError(
        f"{path}: keypoints has {joints} joints, which {could}; "
        "add an array 'layout' with the layout's name, or 'joint_names' with the name of each joint"
    )
