"""NTU RGB+D ``.skeleton`` files, and UAV-Human's ``.txt`` files of the same build with 17 joints.

The number of frames; per frame the number of bodies; per body a line of 10 values (the body's id first), the number of
joints, and a line of 12 values per joint (x, y, z first; NTU: the joint's tracking state last). 25 joints: NTU RGB+D,
Kinect v2, metres, y up, 30 fps. A joint that the Kinect did not track (state 0) is unseen.

17 joints: UAV-Human, in COCO's order. Its unit, axes and rate are not documented, hence: the rate is unknown; where
every z is 0 it is a 2D track; where the nose is below the ankles, the points are turned by 180 degrees about z, so that
y is up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.formats.persons import to_tracks
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")


@dataclass
class _Lines:
    """The lines of a file, read one after the other."""

    path: Path
    lines: list[str]
    at: int = 0

    def row(self, what: str, width: int) -> list[str]:
        if self.at >= len(self.lines):
            raise FormatError(f"{self.path}: ends after {len(self.lines)} lines; expected {what}")
        self.at += 1
        values = self.lines[self.at - 1].split()
        if len(values) != width:
            raise FormatError(f"{self.path}, line {self.at}: {len(values)} values; expected {what} ({width})")
        return values

    def count(self, what: str) -> int:
        """A count of things that take a line each at the least."""
        value = self.row(what, 1)[0]
        if not value.isdecimal() or len(value) > 100:
            raise FormatError(f"{self.path}, line {self.at}: '{value[:20]}'; expected {what}")
        left = len(self.lines) - self.at
        if int(value) > left:
            raise FormatError(f"{self.path}, line {self.at}: {what} is {value}, but only {left} lines follow")
        return int(value)


def read_ntu(path: str | Path) -> list[Track]:
    """Read a ``.skeleton`` file, one track per body, named after the file (``S001C001P001R001A001``, ``...#1``).

    A body that the sensor lost and found again has a new id there, hence two tracks here. A file without any body, as
    302 of NTU RGB+D 60 are, gives no track.

    Raises:
        FormatError: the file ends early, goes on after its last frame, or a line is not what it should be.
    """
    path = Path(path)
    lines = _Lines(path, read_text(path).rstrip().splitlines())
    bodies: dict[tuple[str, int], dict[int, np.ndarray]] = {}
    joints = None
    for frame in range(lines.count("the number of frames")):
        ids: list[str] = []
        for _ in range(lines.count("the number of bodies")):
            id = lines.row("the body's values", 10)[0]
            n = lines.count("the number of joints")
            if n not in (17, 25) or n != (joints or n):
                expected = "25 (NTU) or 17 (UAV-Human)" if joints is None else f"{joints}, as before"
                raise FormatError(f"{path}, line {lines.at}: {n} joints; expected {expected}")
            joints = n
            # Two people of a frame with one id are two people
            bodies.setdefault((id, ids.count(id)), {})[frame] = _body(lines, n)
            ids.append(id)
    if lines.at < len(lines.lines):
        raise FormatError(f"{path}, line {lines.at + 1}: goes on after the number of frames that line 1 states")
    people = list(bodies.values())
    if joints == 17:
        return _uav_tracks(people, path)
    return to_tracks(people, LAYOUTS["ntu25"], path=path, id=path.stem, dims=3, fps=30.0)


def _body(lines: _Lines, joints: int) -> np.ndarray:
    """(joints, 3), NaN = unseen."""
    rows = [lines.row("a joint's values", 12) for _ in range(joints)]
    where = f"{lines.path}, lines {lines.at - joints + 1} to {lines.at}"
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{where}: {error}; expected numbers") from None
    points = values[:, :3]
    if np.isinf(points).any():
        raise FormatError(f"{where}: infinite coordinates")
    if joints == 25:
        points[values[:, 11] == 0] = np.nan
    if (points == 0).all():
        points[:] = np.nan
    return points


def _uav_tracks(people: list[dict[int, np.ndarray]], path: Path) -> list[Track]:
    layout = LAYOUTS["coco17"]
    every = np.array([points for person in people for points in person.values()])
    if not np.nan_to_num(every[..., 2]).any():
        return to_tracks(
            [{t: p[:, :2] for t, p in person.items()} for person in people], layout, path=path, id=path.stem
        )
    ankles = [layout.joints.index("left_ankle"), layout.joints.index("right_ankle")]
    if np.nanmedian(every[:, layout.joints.index("nose"), 1]) < np.nanmedian(every[:, ankles, 1]):
        _log.info("%s: y points down; turned by 180 degrees about z", path)
        people = [{t: p * (-1, -1, 1) for t, p in person.items()} for person in people]
    return to_tracks(people, layout, path=path, id=path.stem, dims=3)
