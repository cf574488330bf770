"""From a track to canonical joints at a fixed rate, in numpy alone: an exported model runs where there is no torch."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.layouts import UNIK17, convert
from tmor.skeleton.tracks import Track, sample_at

_AT = {joint: i for i, joint in enumerate(UNIK17.joints)}
_HEAD, _NOSE, _NECK, _CHEST, _MID_HIP = (_AT[j] for j in ("head", "nose", "neck", "chest", "mid_hip"))
_SHOULDERS = [_AT["left_shoulder"], _AT["right_shoulder"]]
_HIPS = [_AT["left_hip"], _AT["right_hip"]]

Stream = Literal["joint", "bone", "joint-3d", "bone-3d"]
"""What an encoder is shown: joints, or bones (each joint relative to the one that carries it); in the camera's picture,
or in 3D, where the velocities of the joints stand beside them."""
STREAMS: tuple[Stream, ...] = get_args(Stream)

_LONGEST_GAP_S = 0.5
_LONGEST_GAP_FRAMES = 8  # where the rate is unknown
_MOST_FRAMES = 10_000_000  # that a track is brought to: four days


def is_seen(track: Track) -> bool:
    """Whether somebody is seen: a joint of the 17 that models see, in any frame. (Toes alone are nobody.)

    Raises:
        LayoutError: the layout has no shoulders or hips.
    """
    return not np.isnan(convert(track.keypoints, track.layout, UNIK17)).all()


def sees_depth(stream: Stream) -> bool:
    """Whether an encoder is shown 3D."""
    return stream.endswith("-3d")


def check_dims(dims: int, model: str, *, sees_depth: bool) -> None:
    """Movements in 2D, or 3D, for the model of that name.

    Raises:
        TmorError: it sees 3D alone, and they are in 2D.
    """
    if sees_depth and dims != 3:
        raise TmorError(f"model '{model}' sees movements in 3D; this one is in {dims}D")


def prepare(track: Track, *, fps: float) -> np.ndarray:
    """Canonical joints at the model's rate.

    Layouts differ in where they put neck, chest and mid hip, so these (and the nose) are always taken from shoulders,
    hips and head where those are seen: every source then looks alike. Of a person seen from the side, one of whose
    shoulders or hips is hidden, the other one stands for both. Gaps of up to half a second (8 frames where the rate is
    unknown) are interpolated.

    Args:
        track: any layout with shoulders and hips.
        fps: the rate to resample to. A track of unknown rate keeps its frames.

    Returns:
        (frames, 17, 2 | 3) float32, y up, NaN = unseen.

    Raises:
        TmorError: no joint is seen in any frame, it is no track, or lasts for days.
        LayoutError: the layout has no shoulders or hips.
    """
    if not isinstance(track, Track):
        raise TmorError(f"track is a {type(track).__name__}; expected a Track")
    x = np.array(track.to(UNIK17).keypoints)
    who = f"track '{track.id}'" if track.id is not None else "the track"
    if np.isnan(x).all():
        raise TmorError(f"{who} has no visible joint in any of its {len(track)} frames")
    if track.dims == 2:
        x[..., 1] *= -1
    longest = _LONGEST_GAP_FRAMES if track.fps is None else max(1, round(_LONGEST_GAP_S * track.fps))
    _bridge_gaps(x, longest)
    for joint, pair in ((_NECK, _SHOULDERS), (_MID_HIP, _HIPS)):
        sides = x[:, pair]
        _put_between(x, joint, np.where(np.isnan(sides), sides[:, ::-1], sides))
    for joint, pair in ((_CHEST, [_NECK, _MID_HIP]), (_NOSE, [_HEAD, _NECK])):
        _put_between(x, joint, x[:, pair])
    if track.fps is None or math.isclose(track.fps, fps, rel_tol=1e-3):
        return x
    if len(x) * fps / track.fps > _MOST_FRAMES:
        raise TmorError(
            f"{who} has {len(x)} frames at {track.fps:g} per second, which last {len(x) / track.fps / 86400:.3g} days; "
            "expected its frames per second"
        )
    count = max(1, round(len(x) * fps / track.fps))
    return sample_at(x, np.minimum(np.arange(count) * (track.fps / fps), len(x) - 1))


def _put_between(x: np.ndarray, joint: int, ends: np.ndarray) -> None:
    """Put a joint half-way between two, in place, where both of these (frames, 2, dims) are seen."""
    mean = ends.mean(axis=1)
    seen = ~np.isnan(mean[:, 0])
    x[seen, joint] = mean[seen]


def _bridge_gaps(x: np.ndarray, longest: int) -> None:
    """Interpolate, in place, runs of at most ``longest`` unseen frames between two seen ones, per joint."""
    unseen = np.isnan(x[..., 0])
    for joint in np.flatnonzero(unseen.any(axis=0) & ~unseen.all(axis=0)):
        seen, at = np.flatnonzero(~unseen[:, joint]), np.flatnonzero(unseen[:, joint])
        at = at[(at > seen[0]) & (at < seen[-1])]
        following = np.searchsorted(seen, at)
        before, after = seen[following - 1], seen[following]
        short = after - before <= longest + 1
        at, before, after = at[short], before[short], after[short]
        weight = ((at - before) / (after - before))[:, None]
        x[at, joint] = (1 - weight) * x[before, joint] + weight * x[after, joint]


def stretch(x: np.ndarray, frames: int) -> np.ndarray:
    """Resample a whole clip to ``frames`` frames by linear interpolation."""
    return sample_at(x, np.linspace(0, len(x) - 1, frames))
