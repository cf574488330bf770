"""From a track to what the encoder sees: canonical joints, a fixed rate, body-relative coordinates.

The same code runs in training, inference and export: :func:`prepare` once per track in numpy (``canonical.py``),
:func:`view` and :func:`to_body` on batches of clips in torch (differentiable and exportable).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tmor.skeleton.canonical import Stream, sees_depth
from tmor.skeleton.canonical import prepare as prepare
from tmor.skeleton.canonical import stretch as stretch
from tmor.skeleton.layouts import UNIK17

_AT = {joint: i for i, joint in enumerate(UNIK17.joints)}
_NECK, _MID_HIP = _AT["neck"], _AT["mid_hip"]
_SHOULDERS = [_AT["left_shoulder"], _AT["right_shoulder"]]
_HIPS = [_AT["left_hip"], _AT["right_hip"]]
_ABOUT_NECK = [i for joint, i in _AT.items() if joint.endswith(("head", "nose", "shoulder", "elbow", "wrist"))]
_NECK_TO_HIP = 1.3  # in root mean square distances of these from the neck, as in the median clip of our training data

PARENTS = [
    _AT[parent]
    for parent in (
        *("nose", "neck", "chest", "mid_hip", "mid_hip", "neck", "neck"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
        *("mid_hip", "mid_hip", "left_hip", "right_hip", "left_knee", "right_knee"),
    )
]
"""The joint of unik17 that carries each joint; the mid hip carries itself."""
_BONES_TO_WRIST = 5  # the longest way out from the mid hip


def facing(x: Tensor) -> Tensor:
    """Which way a person faces, as the yaw of the body's forward direction over the clip.

    Args:
        x: (..., frames, 17, 3), y up, NaN = unseen.

    Returns:
        (...,) radians about the y axis; 0 = facing +z. 0 where neither shoulders nor hips are seen.
    """
    across = (x[..., [_SHOULDERS[0], _HIPS[0]], :] - x[..., [_SHOULDERS[1], _HIPS[1]], :]).nan_to_num()
    across = across.sum(dim=(-3, -2))  # from the person's right to left; forward is across x up
    return torch.atan2(-across[..., 2], across[..., 0])


def view(x: Tensor, *, yaw: Tensor, pitch: Tensor, distance: Tensor) -> Tensor:
    """See 3D clips through a camera.

    Args:
        x: (batch, frames, 17, 3) metres, y up, NaN = unseen.
        yaw: (batch,) radians the camera stands to the person's left; 0 = the person faces the camera.
        pitch: (batch,) radians the camera is raised and looks down.
        distance: (batch,) metres from the body's centre; a large number is an orthographic view.

    Returns:
        (batch, frames, 17, 2): x right and y up as the camera sees it, in metres at the body's depth.
    """
    x = turn(x, yaw=yaw, pitch=pitch)
    distance = distance[:, None, None, None]
    return x[..., :2] * (distance / (distance - x[..., 2:]).clamp(min=0.3))


def turn(x: Tensor, *, yaw: Tensor, pitch: Tensor) -> Tensor:
    """3D clips as a camera is turned.

    Args:
        x, yaw, pitch: as in :func:`view`.

    Returns:
        (batch, frames, 17, 3) metres from the body's centre: right, up, towards the camera.
    """
    # A clip whose hips are never seen keeps its own origin.
    centre = x[:, :, _MID_HIP].nanmean(dim=1).nan_to_num()[:, None, None]
    angle = facing(x) + yaw
    # NaN takes no part in the arithmetic, or it would spread through the gradients.
    unseen = x[..., :1].isnan()
    cos, sin, flat = angle.cos()[:, None, None], angle.sin()[:, None, None], (x - centre).masked_fill(unseen, 0.0)
    right = flat[..., 0] * cos - flat[..., 2] * sin
    depth = flat[..., 0] * sin + flat[..., 2] * cos  # towards the camera
    cos, sin = pitch.cos()[:, None, None], pitch.sin()[:, None, None]
    up = flat[..., 1] * cos - depth * sin
    depth = flat[..., 1] * sin + depth * cos
    return torch.stack((right, up, depth), dim=-1).masked_fill(unseen, torch.nan)


def to_body(x: Tensor) -> Tensor:
    """Body-relative coordinates: sideways centred on the mid hip of every frame, upwards on its mean height over the
    clip.

    So the path along the ground, which a moving camera spoils, is dropped, and rising and falling is kept. What divides
    is the root mean square distance of the joints from the mid hip over the clip: unlike the length of the torso it
    does not vanish when a body is seen from above.

    An unseen joint takes the place of its mirror joint; or it keeps its mean place over the clip relative to the joint
    that carries it; or, never seen, it lies at the joint that carries it. Hips of which nothing is seen are as far
    below the neck as in the clip's other frames, or as the spread of arms and head about it suggests.

    Args:
        x: (..., frames, 17, channels), y up, NaN = unseen.

    Returns:
        The same shape without NaN; a frame in which nobody is seen is 0.
    """
    x = torch.where(x.isnan(), x[..., list(UNIK17.mirror), :], x)
    hip, neck = x[..., _MID_HIP : _MID_HIP + 1, :], x[..., _NECK : _NECK + 1, :]
    below = torch.zeros_like(hip)
    below[..., 1] = -_NECK_TO_HIP * _root_mean_square(x[..., _ABOUT_NECK, :] - neck)[..., None, None]
    usual = _mean_over_frames(hip - neck)
    below = neck + torch.where(usual.isnan(), below, usual)
    centre = torch.where(below.isnan(), x.nanmean(dim=-2, keepdim=True), below)
    centre = torch.where(hip.isnan(), centre, hip)
    x = x - centre
    size = _root_mean_square(x)
    here = centre - centre  # NaN where nobody is seen
    x = torch.cat((x[..., :_MID_HIP, :], here, x[..., _MID_HIP + 1 :, :]), dim=-2)
    usual = _mean_over_frames(x - x[..., PARENTS, :]).nan_to_num()
    for _ in range(_BONES_TO_WRIST):
        x = torch.where(x.isnan(), x[..., PARENTS, :] + usual, x)
    x = x.nan_to_num()
    height = centre[..., 1:2]
    rise = (height - height.nanmean(dim=-3, keepdim=True)).nan_to_num()
    x[..., 1:2] = x[..., 1:2] + rise
    return x / size[..., None, None, None]


def _mean_over_frames(x: Tensor) -> Tensor:
    """(..., 1, joints, channels) of what is seen; NaN where nothing ever is. As nanmean, but its gradient is finite."""
    seen = ~x.isnan()
    count = seen.sum(dim=-3, keepdim=True)
    return (x.nansum(dim=-3, keepdim=True) / count.clamp(min=1)).masked_fill(count == 0, torch.nan)


def _root_mean_square(x: Tensor) -> Tensor:
    """Length of the (..., frames, joints, channels) vectors that are seen, over the clip: (...,); 1 where it is 0."""
    # NaN takes no part in the arithmetic, or it would spread through the gradients.
    squares = x.nan_to_num().square().sum(dim=-1).masked_fill(x.isnan().any(dim=-1), torch.nan)
    square = squares.nanmean(dim=(-1, -2))
    return torch.where(square > 0, square, 1.0).sqrt()


def to_bones(x: Tensor) -> Tensor:
    """Every joint relative to the joint that carries it; the mid hip keeps its place.

    Args:
        x: (..., 17, channels) body-relative, as :func:`to_body` gives.
    """
    bones = x - x[..., PARENTS, :]
    bones[..., _MID_HIP, :] = x[..., _MID_HIP, :]
    return bones


def shown(body: Tensor, stream: Stream) -> Tensor:
    """What an encoder of a stream is shown.

    Args:
        body: (..., frames, 17, 2 | 3) body-relative, as :func:`to_body` gives; 3 channels for a stream in 3D.

    Returns:
        The same shape; for a stream in 3D (..., frames, 17, 6), the velocities of the joints in body sizes per quarter
        of the clip.
    """
    seen = to_bones(body) if stream.startswith("bone") else body
    if not sees_depth(stream):
        return seen
    moved = (body[..., 1:, :, :] - body[..., :-1, :, :]) * (body.shape[-3] / 4)
    return torch.cat((seen, torch.cat((moved, moved[..., -1:, :, :]), dim=-3)), dim=-1)


def views_of(x: Tensor, yaws: Sequence[float], *, depth: bool = False) -> Tensor:
    """3D clips from several cameras at a usual height and distance.

    Args:
        x: (batch, frames, 17, 3).
        yaws: degrees, as in :func:`view`.
        depth: keep it, and see all depths alike.

    Returns:
        (len(yaws), batch, frames, 17, 2), or 3 channels with depth.
    """
    count = x.shape[0]  # len() would fix the number in an export
    yaw = x.new_tensor([math.radians(degrees) for degrees in yaws])[:, None].expand(-1, count).flatten()
    full = torch.ones_like(yaw)
    x, pitch = x.repeat(len(yaws), 1, 1, 1), full * 0.1
    seen = turn(x, yaw=yaw, pitch=pitch) if depth else view(x, yaw=yaw, pitch=pitch, distance=full * 4.0)
    return seen.unflatten(0, (len(yaws), count))
