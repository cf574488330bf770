"""Skeletons as pictures: a contact sheet of tracks, and one skeleton in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.layouts import Layout
from tmor.skeleton.tracks import Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {1: "#2f6fd0", -1: "#d9730d", 0: "#5b6573"}
"""By side of the body: blue left, orange right, grey the middle; told apart by the colour-blind too."""

_MOST_ROWS = 12
_TURN, _TILT = np.radians(35.0), np.radians(12.0)


def joint_sides(layout: Layout) -> np.ndarray:
    """(joints,) int: 1 = left, -1 = right side of the body, 0 = middle or unknown."""
    words = [name.split("_") for name in layout.standard_joints]
    return np.array([("left" in word) - ("right" in word) for word in words], dtype=np.int64)


def bone_sides(layout: Layout) -> np.ndarray:
    """(bones,) int as in :func:`joint_sides`; a bone from the middle outwards belongs to its side."""
    return np.sign(joint_sides(layout)[layout.bone_indices].sum(axis=1))


def head_joint(layout: Layout) -> int | None:
    """The joint that is drawn as a head: ``head``, else ``nose``; None where a layout has neither."""
    return next(
        (layout.standard_joints.index(name) for name in ("head", "nose") if name in layout.standard_joints), None
    )


def facing(track: Track) -> float:
    """Where a 3D body faces on average: radians from +z towards +x; 0 in 2D and where it can't be told."""
    if track.dims == 2:
        return 0.0
    names, mirror = track.layout.standard_joints, track.layout.mirror
    left = [j for j, side in enumerate(joint_sides(track.layout)) if side == 1 and mirror[j] != j]
    left = [j for j in left if names[j].endswith(("shoulder", "hip"))] or left
    across = (track.keypoints[:, left] - track.keypoints[:, [mirror[j] for j in left]]).reshape(-1, 3)
    across = across[~np.isnan(across[:, 0])]
    if not len(across):
        return 0.0
    x, _, z = across.mean(axis=0)
    return float(np.arctan2(-z, x))  # forward = left x up = (-z, 0, x)


def _front_view(track: Track) -> np.ndarray:
    """(frames, joints, 2) float32, x right and y UP: 2D as in the image, 3D from three quarters front."""
    points = track.keypoints
    if track.dims == 2:
        return points * np.array([1, -1], dtype=np.float32)
    turn = _TURN - facing(track)
    x, y, z = np.moveaxis(points, -1, 0)
    right = x * np.cos(turn) + z * np.sin(turn)
    near = z * np.cos(turn) - x * np.sin(turn)
    return np.stack([right, y * np.cos(_TILT) - near * np.sin(_TILT)], axis=-1).astype(np.float32)


def _box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest seen coordinate of (..., 2) points; both NaN where none is seen."""
    seen = points[~np.isnan(points[..., 0])]
    return (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.full(2, np.nan), np.full(2, np.nan))


def contact_sheet(tracks: Sequence[Track], *, columns: int = 8, rows: int | None = None) -> Figure:
    """Evenly spaced frames of each track side by side, one row per track; left blue, right orange.

    Within a row the scale and the height are the same, and each skeleton is centred sideways. Unseen joints are not
    drawn; a frame (or a whole track) without any seen joint stays empty and says so.

    Args:
        columns: frames per row; a track with fewer frames leaves the rest of its row blank.
        rows: tracks that are drawn, the first ones; None = all, but at most 12. The sheet says how many there are.

    Returns:
        A matplotlib figure with rows x columns axes, on the Agg canvas: ``contact_sheet(tracks).savefig("sheet.png")``.

    Raises:
        TmorError: no tracks, or ``columns`` or ``rows`` below 1.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not tracks:
        raise TmorError("no tracks to draw; a contact sheet needs at least one")
    if columns < 1 or (rows is not None and rows < 1):
        raise TmorError(f"a contact sheet of {rows} rows and {columns} columns; expected at least 1 of each")
    shown = tracks[: _MOST_ROWS if rows is None else rows]
    figure = Figure(figsize=(max(1.35 * columns, 4.5), 1.75 * len(shown) + 0.3), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    inch = 1 / figure.get_figheight()
    top = 1 - 0.25 * inch
    grid = figure.subplots(len(shown), columns, squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=top - 0.25 * inch, wspace=0.02, hspace=0.2)
    count = f"the first {len(shown)} of {len(tracks)} tracks" if len(shown) < len(tracks) else ""
    figure.text(0.01, top, count, fontsize=8, color=_COLOURS[0])
    for x, side, text in ((0.94, 1, "● left"), (0.99, -1, "● right")):
        figure.text(x, top, text, fontsize=7, color=_COLOURS[side], ha="right")

    for axes_row, track in zip(grid, shown, strict=True):
        _draw_row(axes_row, track)
    return figure


def _draw_row(axes_row: Sequence[Axes], track: Track) -> None:
    """Evenly spaced frames of a track, one in each of these axes; the rest of a short track's stay blank."""
    from matplotlib.collections import LineCollection

    chosen = np.unique(np.linspace(0, len(track) - 1, len(axes_row)).round().astype(int))
    points = _front_view(track)[chosen]
    boxes = np.array([_box(frame) for frame in points])  # (frames, lowest | highest, x | y)
    low, high = _box(points)
    with np.errstate(all="ignore"):
        half = 0.56 * max(high[1] - low[1], np.nanmax(boxes[:, 1, 0] - boxes[:, 0, 0], initial=0.0))
    half = half if half > 0 else 1.0
    bones, bone_colours = track.layout.bone_indices, [_COLOURS[s] for s in bone_sides(track.layout)]
    joint_colours = np.array([_COLOURS[s] for s in joint_sides(track.layout)])
    joint_sizes = np.full(len(track.layout), 5.0)
    if (head := head_joint(track.layout)) is not None:
        joint_sizes[head] = 32.0
    for axes in axes_row:
        axes.set_axis_off()
        axes.set_aspect("equal")
    axes_row[0].set_title(_caption(track), loc="left", fontsize=8, color="#2b313a", pad=3, parse_math=False)
    for axes, frame, index, box in zip(axes_row, points, chosen, boxes, strict=False):
        if np.isnan(box).any():
            axes.text(0.5, 0.5, "not seen", transform=axes.transAxes, ha="center", fontsize=7, color="#8a93a0")
        else:
            middle = box[:, 0].mean()
            axes.set_xlim(middle - half, middle + half)
            axes.set_ylim((low[1] + high[1]) / 2 - half, (low[1] + high[1]) / 2 + half)
            axes.add_collection(LineCollection(frame[bones], colors=bone_colours, linewidths=1.8, capstyle="round"))
            axes.scatter(*frame.T, s=joint_sizes, c=joint_colours, linewidths=0, zorder=3)
        axes.text(0.98, 0.02, str(index), transform=axes.transAxes, ha="right", fontsize=6, color="#8a93a0")


def _caption(track: Track) -> str:
    rate = "unknown rate" if track.fps is None else f"{track.fps:.4g} fps"
    name = "" if track.id is None else f"{track.id}  ·  "
    what = f"{track.layout.name}, {track.dims}D"
    return f"{name}{what}  ·  {rate}  ·  {len(track)} frames  ·  {track.missing_share:.1%} missing"


def braille_skeleton(track: Track, *, width: int = 44, height: int = 22) -> str:
    """One frame of a track in braille dots: of those with most joints seen, the one nearest the middle.

    Args:
        width, height: size in characters; a character holds 2 x 4 dots.

    Returns:
        ``height`` lines of ``width`` characters (U+2800 to U+28FF), without a final line break.

    Raises:
        TmorError: no joint of the track is ever seen, or the size is below 1 x 1.
    """
    if width < 1 or height < 1:
        raise TmorError(f"a drawing of {width} x {height} characters; expected at least 1 x 1")
    seen = (~np.isnan(track.keypoints[..., 0])).sum(axis=1)
    if not seen.any():
        raise TmorError(f"track '{track.id}' has no seen joint in any frame; there is nothing to draw")
    best = np.flatnonzero(seen == seen.max())
    frame = _front_view(track)[best[np.abs(best - len(track) / 2).argmin()]]

    low, high = _box(frame)
    room = np.array([2 * width - 1, 4 * height - 1]) - 2 * (head_radius := round(min(2 * width, 4 * height) / 24))
    scale = (room / np.maximum(high - low, 1e-9)).min() if (high > low).any() else 1.0
    dots = (frame - (low + high) / 2) * scale * (1, -1) + room / 2 + head_radius  # y down
    canvas = np.zeros((4 * height, 2 * width), dtype=bool)

    def line(start: np.ndarray, end: np.ndarray) -> None:
        count = int(np.abs(end - start).max()) + 2
        x, y = np.linspace(start, end, count).round().astype(int).T
        canvas[np.clip(y, 0, 4 * height - 1), np.clip(x, 0, 2 * width - 1)] = True

    for a, b in [*track.layout.bone_indices, *((j, j) for j in range(len(track.layout)))]:
        if not np.isnan(dots[[a, b]]).any():
            line(dots[a], dots[b])
    if (head := head_joint(track.layout)) is not None and not np.isnan(dots[head]).any():
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = dots[head] + head_radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        for start, end in pairwise(ring):
            line(start, end)
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    cells = (canvas.reshape(height, 4, width, 2) * bits[:, None]).sum(axis=(1, 3))
    return "\n".join("".join(chr(0x2800 + cell) for cell in row) for row in cells)
