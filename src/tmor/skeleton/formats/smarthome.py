"""LCR-Net JSON, as Toyota Smarthome comes: ``{"frames": [[person, ...], ...]}``, an empty list where nobody is.

``person["pose2d"]`` holds x0 ... x12, then y0 ... y12, in pixels (Smarthome: 640 x 480), y down; a joint at (0, 0) is
unseen. ``pose3d`` is not read: neither its unit nor its axes are documented. People have no identity from frame to
frame and are followed by the nearest mid hip. The rate is that of a number ``fps`` beside ``frames``, else unknown.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.formats.files import numbers, read_json
from tmor.skeleton.formats.persons import link, to_tracks
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track


def read_smarthome(path: str | Path, content: Any = None) -> list[Track]:
    """Read the 2D poses of a LCR-Net file, one track per person, named after the file.

    Args:
        path: the file.
        content: its parsed JSON, where it has been read already.

    Raises:
        FormatError: the file is not what LCR-Net writes.
    """
    path = Path(path)
    content = read_json(path) if content is None else content
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        raise FormatError(f"{path}: no list 'frames'; expected LCR-Net JSON")
    layout = LAYOUTS["lcrnet13"]
    frames: dict[int, list[np.ndarray]] = {}
    for t, people in enumerate(content["frames"]):
        if not isinstance(people, list):
            raise FormatError(f"{path}: frame {t} is {type(people).__name__}; expected a list of people")
        frames[t] = []
        for i, person in enumerate(people):
            if not isinstance(person, dict) or "pose2d" not in person:
                raise FormatError(f"{path}: frame {t}, person {i} has no 'pose2d'")
            values = numbers(person["pose2d"], where=f"{path}: frame {t}, person {i}: pose2d")
            if len(values) != 2 * len(layout):
                raise FormatError(
                    f"{path}: frame {t}, person {i} has {len(values)} numbers in pose2d; "
                    f"expected {2 * len(layout)} (13 x, then 13 y)"
                )
            points = values.reshape(2, -1).T.copy()
            points[(points == 0).all(axis=1)] = np.nan
            frames[t].append(points)
    fps = content.get("fps")
    is_number = isinstance(fps, int | float) and not isinstance(fps, bool)
    if fps is not None and not (is_number and 0 < fps <= sys.float_info.max):
        raise FormatError(f"{path}: fps is {fps!r:.60}; expected a positive number")
    return to_tracks(link(frames, layout), layout, path=path, id=path.stem, fps=fps)
