"""Seeded augmentation of batches of clips: temporal crop and warp, limb lengths, virtual camera, rotation, mirror,
noise, lost joints, parts of the body out of sight."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tmor.config import Augmentation
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import PARENTS, to_body, turn, view

_MIRROR = list(UNIK17.mirror)
# From the mid hip up and then outwards: every joint after the one that carries it.
_OUTWARDS = [3, 2, 1, 0, *range(5, len(UNIK17))]
_MIDDLE = [UNIK17.joints.index(joint) for joint in ("neck", "mid_hip")]  # seen where either side of them is
_KNOTS = 6  # of the keypoints' slow error, which is linear in between
# What may be out of sight together; legs, or all below the arms, behind a table or below the picture most often.
_OUT_OF_SIGHT = torch.tensor(
    [
        [any(word in joint for word in words) for joint in UNIK17.joints]
        for words in (
            *[("knee", "ankle")] * 2,
            *[("chest", "hip", "knee", "ankle")] * 2,
            ("ankle",),
            *[(f"{side}_knee", f"{side}_ankle") for side in ("left", "right")],
            *[(f"{side}_elbow", f"{side}_wrist") for side in ("left", "right")],
            ("head", "nose"),
        )
    ]
)


def crop_positions(
    lengths: Tensor, *, frames: int, longest: Tensor, shortest: float, warp: float, generator: torch.Generator
) -> Tensor:
    """Random temporal crops, stretched to ``frames`` frames.

    Args:
        lengths: (batch,) frames of each clip.
        longest: (batch,) no crop is longer than this many frames.
        shortest: a crop keeps at least this share of what it may be.
        warp: time runs at most this share faster or slower within a crop; 0 = evenly.

    Returns:
        (batch, frames) float: fractional frame indices within each clip.
    """
    usable = torch.minimum(lengths, longest).double()
    share = shortest + (1 - shortest) * torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    span = (usable * share).clamp(min=2).minimum(lengths.double()) - 1
    start = (lengths - 1 - span) * torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    # The slope of even + a sin(pi t) / pi + b sin(2 pi t) / 2 pi is 1 + a cos(pi t) + b cos(2 pi t).
    bend = warp * (torch.rand(len(lengths), 2, generator=generator, dtype=torch.float64) - 0.5)
    even = torch.linspace(0, 1, frames, dtype=torch.float64)
    halves = torch.tensor([[1.0], [2.0]], dtype=torch.float64) * math.pi
    return start[:, None] + span[:, None] * (even + bend @ ((halves * even).sin() / halves)).clamp(0, 1)


def augment(
    x: Tensor,
    *,
    is_3d: Tensor,
    mirrored: Tensor,
    turned: Tensor | None = None,
    settings: Augmentation,
    generator: torch.Generator,
    share: slice = slice(None),
    depth: bool = False,
) -> Tensor:
    """Vary clips and bring them to body-relative 2D, or 3D.

    Args:
        x: (rows, frames, 17, 3), y up, NaN = unseen; z is zero for 2D clips.
        is_3d: (batch,) bool.
        mirrored: (batch,) bool: these become their mirror image.
        turned: (batch,) radians to the person's left from where 3D clips are seen; None = from the front.
        settings: its ``limbs`` is the spread of arms and legs; bones in the middle have sqrt(2) times that.
        share: which rows of the batch ``x`` holds; they become what they would be with all the others beside them.
        depth: keep it; all clips must be 3D.

    Returns:
        (rows, frames, 17, 2), or 3 channels with depth, as :func:`tmor.skeleton.normalize.to_body` gives.
    """
    batch = len(is_3d)
    is_3d, mirrored = is_3d[share], mirrored[share]

    def rand(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator)[share]

    def uniform(limit: float) -> Tensor:
        return (2 * rand() - 1) * limit

    x = torch.where(mirrored[:, None, None, None], x[:, :, _MIRROR] * x.new_tensor([-1.0, 1.0, 1.0]), x)
    draw = torch.randn(batch, x.shape[2], generator=generator)[share]
    x = stretch_limbs(x, (settings.limbs * (draw + draw[:, _MIRROR]) / 2**0.5).exp())
    yaw = uniform(math.radians(settings.camera_deg)) + (0 if turned is None else turned[share])
    pitch = uniform(math.radians(settings.pitch_deg))
    distance = 2.5 + 6 * rand()
    wide = (1 + uniform(settings.stretch))[:, None, None, None] * x.new_tensor([1.0, 0.0]) + x.new_tensor([0.0, 1.0])
    if depth:
        seen = turn(x, yaw=yaw, pitch=pitch)
    else:
        seen = view(x, yaw=yaw, pitch=pitch, distance=distance)
        seen = torch.where(is_3d[:, None, None, None], seen, x[..., :2] * wide)
    roll = uniform(math.radians(settings.roll_deg))
    cos, sin = roll.cos()[:, None, None], roll.sin()[:, None, None]
    right, up = seen[..., 0], seen[..., 1]
    seen = torch.cat((torch.stack((right * cos - up * sin, right * sin + up * cos), dim=-1), seen[..., 2:]), dim=-1)
    clips = rand(1, 1, 1) < settings.lost_joints
    joints = rand(1, x.shape[2], 1) < 0.15
    joints[:, :, _MIDDLE] = False
    seen = seen.masked_fill(clips & joints, torch.nan)
    if settings.hidden:
        seen = seen.masked_fill(_hidden(batch, x.shape[1], settings.hidden, generator)[share], torch.nan)
    body = to_body(seen)
    if settings.noise:
        strength = settings.noise * rand(1, 1, 1)
        error = torch.randn(batch, *body.shape[1:], generator=generator)[share]
        if settings.drift:
            slow = torch.randn(batch, body.shape[2:].numel(), _KNOTS, generator=generator)[share]
            slow = F.interpolate(slow, size=x.shape[1], mode="linear", align_corners=True)
            error = error + settings.drift * slow.transpose(1, 2).reshape(body.shape)
        body = body + strength * error
    return body


def _hidden(batch: int, frames: int, share: float, generator: torch.Generator) -> Tensor:
    """(batch, frames, 17, 1) bool: in a share of the clips a part of the body, in half of these for a fifth to seven
    tenths of the frames alone."""
    part = _OUT_OF_SIGHT[torch.randint(len(_OUT_OF_SIGHT), (batch,), generator=generator)]
    there, whole, long, late = torch.rand(4, batch, 1, generator=generator)
    length = (0.2 + 0.5 * long) * frames
    start = late * (frames - length)
    at = torch.arange(frames)
    when = (whole < 0.5) | ((at >= start) & (at < start + length))
    return ((there < share) & when)[..., None, None] & part[:, None, :, None]


def stretch_limbs(x: Tensor, factors: Tensor) -> Tensor:
    """Bodies with other proportions in the same movement: each bone is lengthened and carries on what hangs from it.

    Args:
        x: (rows, frames, 17, channels), NaN = unseen; a joint whose bone is not seen moves with the joint that carries
            it.
        factors: (rows, 17) of the length of the bone that leads to each joint; alike on both sides, or neck and hips
            would leave the middle. The mid hip has none.
    """
    moved = torch.zeros_like(x)
    for joint in _OUTWARDS:
        parent = PARENTS[joint]
        bone = (x[:, :, joint] - x[:, :, parent]).nan_to_num()
        moved[:, :, joint] = moved[:, :, parent] + (factors[:, joint] - 1)[:, None, None] * bone
    return x + moved
