"""UNIK, the motion encoder: spatio-temporal blocks that learn which joints depend on which (arXiv 2107.08580).

Written from METHOD section 5 for speed: inside the network a tensor is laid out (batch, joints, frames, width), so that
every 1x1 convolution is one matrix product, the joint mixing of all heads is one batched product, and the 9x1
convolution runs in the channels-last kernels. Persons that are not there are never computed. Inference on CPUs goes
through ``fast.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmor.model.fast import FastBlocks
from tmor.skeleton.layouts import UNIK17


@dataclass(frozen=True)
class UnikShape:
    """The sizes of a UNIK network.

    Args:
        widths: channels of each block's output.
        strides: temporal stride of each block.
        heads: dependency matrices per block, or a number for each block.
        persons: None: every person is encoded alike and absent ones take no part. A number: that many person slots
            with an input normalisation each, absent persons being counted in the mean, as in the authors' published
            networks.
        separable: a convolution over time is one of each channel by itself and then a 1x1 convolution.
        parts: joints that are averaged together; the features are the means of the parts, side by side. Empty: one mean
            over all joints, as in the paper.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    heads: int | tuple[int, ...] = 3
    persons: int | None = None
    separable: bool = False
    parts: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(map(tuple, self.parts)))
        if len(self.widths) != len(self.strides):
            raise ValueError(
                f"{len(self.widths)} widths and {len(self.strides)} strides; expected one stride per block"
            )
        if not isinstance(self.heads, int):
            object.__setattr__(self, "heads", tuple(self.heads))
        if len(self.block_heads) != len(self.widths):
            raise ValueError(
                f"{len(self.block_heads)} numbers of heads for {len(self.widths)} blocks; expected one or one each"
            )

    @property
    def features(self) -> int:
        """How many features a network of this shape gives."""
        return self.widths[-1] * max(1, len(self.parts))

    @property
    def block_heads(self) -> tuple[int, ...]:
        """The number of heads of each block."""
        return (self.heads,) * len(self.widths) if isinstance(self.heads, int) else self.heads


BODY_PARTS = tuple(
    tuple(UNIK17.joints.index(joint) for joint in part)
    for part in (
        ("head", "nose", "neck", "chest", "mid_hip"),
        *((f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist") for side in ("left", "right")),
        *((f"{side}_hip", f"{side}_knee", f"{side}_ankle") for side in ("left", "right")),
    )
)
"""Trunk, arms and legs of unik17."""

BASE = UnikShape(
    widths=(64, 64, 64, 64, 128, 128, 128, 256, 256, 256), strides=(1, 1, 1, 1, 2, 1, 1, 2, 1, 1), parts=BODY_PARTS
)
"""The paper's network (3.46 M parameters at 17 joints and 2 channels); the features tell trunk and limbs apart."""

SMALL = UnikShape(widths=(32, 64, 64, 128, 128), strides=(2, 1, 2, 1, 1), heads=2, separable=True, parts=BODY_PARTS)
"""For CPUs: the same blocks, fewer and narrower, time halved earlier, two heads, convolutions over time separable."""


class UNIK(nn.Module):
    """The motion encoder E_M.

    Args:
        shape: sizes of the network.
        channels: coordinates per joint, 2 or 3.
        joints: joints per skeleton.
    """

    def __init__(self, shape: UnikShape = BASE, *, channels: int = 2, joints: int = 17) -> None:
        super().__init__()
        self.shape, self.channels, self.joints = shape, channels, joints
        self.features = shape.features
        self.data_bn = nn.BatchNorm1d((shape.persons or 1) * joints * channels)
        widths_in = (channels, *shape.widths[:-1])
        self.blocks = nn.ModuleList(
            _Block(
                width_in, width, joints=joints, stride=stride, heads=heads, residual=i > 0, separable=shape.separable
            )
            for i, (width_in, width, stride, heads) in enumerate(
                zip(widths_in, shape.widths, shape.strides, shape.block_heads, strict=True)
            )
        )
        self._fast: tuple[list[tuple[int, int]], FastBlocks] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Features of whole clips: the mean over time, persons and the joints of each part.

        Args:
            x: (batch, persons, frames, joints, channels) normalised coordinates; a person that is zero throughout is
                absent.

        Returns:
            (batch, features).
        """
        return self._encode(x, lambda h: self._pool(h.mean(dim=2)))

    def frames(self, x: Tensor) -> Tensor:
        """Features over time: the mean over persons and the joints of each part.

        Args:
            x: as in :meth:`forward`.

        Returns:
            (batch, ceil(frames / 4), features) for the named shapes, whose strides multiply to 4.
        """
        return self._encode(x, lambda h: self._pool(h.transpose(1, 2)))

    def _pool(self, h: Tensor) -> Tensor:
        """(..., joints, width) -> (..., features)."""
        if not self.shape.parts:
            return h.mean(dim=-2)
        return torch.cat([h[..., part, :].mean(dim=-2) for part in self.shape.parts], dim=-1)

    def _encode(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        if x.ndim != 5 or x.shape[3:] != (self.joints, self.channels):
            raise ValueError(
                f"input has shape {tuple(x.shape)}; "
                f"expected (batch, persons, frames, {self.joints} joints, {self.channels} channels)"
            )
        batch, persons, frames = x.shape[:3]
        slots = self.shape.persons
        if slots is not None and persons != slots:
            raise ValueError(
                f"input has {persons} persons; this network has {slots} person slots (absent ones all zero)"
            )
        rows = x.reshape(batch * persons, frames, self.joints, self.channels)
        if slots is None and persons == 1:
            return self._blocks(self._normalise(rows), pool)
        present = rows.flatten(1).ne(0).any(dim=1)
        if slots is not None:
            rows = self._normalise_slots(x).reshape(rows.shape)
            if self.training:
                features = self._blocks(rows, pool)
            else:
                computed, answer = self._rows_with_slots(present, persons)
                features = self._blocks(rows[computed], pool)[answer]
            return features.unflatten(0, (batch, persons)).mean(dim=1)
        features = self._blocks(self._normalise(rows[present]), pool)
        owner = torch.arange(batch, device=x.device).repeat_interleave(persons)[present]
        total = features.new_zeros(batch, *features.shape[1:]).index_add(0, owner, features)
        count = present.reshape(batch, persons).sum(dim=1).clamp(min=1)
        return total / count.reshape(-1, *[1] * (total.ndim - 1))

    def _normalise(self, rows: Tensor) -> Tensor:
        """The input batch norm, over (joint, channel)."""
        return self.data_bn(rows.reshape(-1, self.joints * self.channels)).reshape(rows.shape)

    def _normalise_slots(self, x: Tensor) -> Tensor:
        """The input batch norm, over (person slot, joint, channel)."""
        by_frame = x.transpose(1, 2)
        flat = by_frame.reshape(x.shape[0] * x.shape[2], -1)
        return self.data_bn(flat).reshape(by_frame.shape).transpose(1, 2)

    @staticmethod
    def _rows_with_slots(present: Tensor, persons: int) -> tuple[Tensor, Tensor]:
        """Which rows to compute, and where each row's answer lies: the absent persons of a slot share one answer."""
        rows = torch.arange(len(present), device=present.device)
        stand_in = rows.clone()
        for slot in range(persons):
            absent = rows[(rows % persons == slot) & ~present]
            stand_in[absent] = absent[:1].expand(len(absent))
        return torch.unique(stand_in, return_inverse=True)

    def _blocks(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """(rows, frames, joints, channels) -> what ``pool`` makes of (rows, joints, frames / stride, width)."""
        x = x.transpose(1, 2).contiguous()
        if self._may_be_fast(x):
            return self._fast_blocks()(x, pool)
        for block in self.blocks:
            x = block(x)
        return pool(x)

    def _may_be_fast(self, x: Tensor) -> bool:
        """Whether this is inference on a CPU in 32 bits, by PyTorch itself and not an export."""
        learns = self.training or torch.is_grad_enabled()
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        return (
            not (learns or traced or torch.is_autocast_enabled("cpu"))
            and x.device.type == "cpu"
            and x.dtype == torch.float32
        )

    def _fast_blocks(self) -> FastBlocks:
        """The blocks prepared for inference, anew whenever a weight has changed."""
        weights = self.blocks.state_dict(keep_vars=True).values()
        state = [(w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights]
        if self._fast is None or self._fast[0] != state:
            self._fast = state, FastBlocks(self.blocks)
        return self._fast[1]

    def train(self, mode: bool = True) -> UNIK:
        if mode:
            self._fast = None
        return super().train(mode)

    def _apply(self, fn, recurse: bool = True) -> UNIK:
        self._fast = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_fast": None}  # copies and pickles go without


class _Block(nn.Module):
    """y = relu(temporal(spatial(x)) + residual(x)), on (rows, joints, frames, width)."""

    def __init__(
        self,
        width_in: int,
        width: int,
        *,
        joints: int,
        stride: int,
        heads: int,
        residual: bool,
        separable: bool,
    ) -> None:
        super().__init__()
        self.spatial = _Spatial(width_in, width, joints=joints, heads=heads)
        self.temporal = (
            nn.Sequential(
                _Conv(width, width, kernel=9, stride=stride, groups=width), _Conv(width, width, kernel=1, stride=1)
            )
            if separable
            else _Conv(width, width, kernel=9, stride=stride)
        )
        same = width_in == width and stride == 1
        self.residual = _Conv(width_in, width, kernel=1, stride=stride) if residual and not same else None
        self.has_residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.temporal(self.spatial(x))
        if self.has_residual:
            y = y + (x if self.residual is None else self.residual(x))
        return F.relu_(y)


class _Spatial(nn.Module):
    """Joints exchange what they know, by a learned and an attended dependency matrix per head."""

    def __init__(self, width_in: int, width: int, *, joints: int, heads: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, width // 4
        self.dependency = nn.Parameter(torch.empty(heads, joints, joints))
        # a of every head, then b of every head.
        self.attend = nn.Linear(width_in, 2 * heads * self.inner)
        # The sum over heads of one 1x1 convolution each is one product with the heads side by side.
        self.mix = nn.Linear(heads * width_in, width)
        self.norm = nn.BatchNorm2d(width)
        self.down = _Conv(width_in, width, kernel=1, stride=1) if width_in != width else None
        nn.init.kaiming_uniform_(self.dependency, a=math.sqrt(5))
        nn.init.normal_(self.attend.weight, std=math.sqrt(2 / self.inner))  # Kaiming, fan out of one convolution
        nn.init.zeros_(self.attend.bias)
        nn.init.normal_(self.mix.weight, std=math.sqrt(2 / (width * heads)))
        nn.init.zeros_(self.mix.bias)
        nn.init.constant_(self.norm.weight, 1e-6)

    def mixing(self, x: Tensor) -> Tensor:
        """The learned and the attended dependencies together: (rows, head x to, from), float32."""
        rows, joints, frames, _ = x.shape
        ab = self.attend(x).reshape(rows, joints, frames, 2 * self.heads, self.inner)
        a, b = ab.permute(3, 0, 1, 2, 4).reshape(2, self.heads * rows, joints, frames * self.inner)
        scores = torch.bmm(a, b.transpose(1, 2)).float() / (self.inner * frames)
        attention = scores.softmax(dim=1).reshape(self.heads, rows, joints, joints)
        matrix = self.dependency[:, None] + attention  # (heads, rows, from, to)
        return matrix.permute(1, 0, 3, 2).reshape(rows, self.heads * joints, joints)

    def forward(self, x: Tensor) -> Tensor:
        rows, joints, frames, width = x.shape
        mixed = torch.bmm(self.mixing(x).to(x.dtype), x.reshape(rows, joints, frames * width))
        mixed = mixed.reshape(rows, self.heads, joints, frames, width).permute(0, 2, 3, 1, 4)
        y = self.mix(mixed.reshape(rows, joints, frames, self.heads * width))
        y = self.norm(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return F.relu_(y + (x if self.down is None else self.down(x)))


class _Conv(nn.Module):
    """A convolution over time and its batch norm, on (rows, joints, frames, width)."""

    def __init__(self, width_in: int, width: int, *, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), groups=groups)
        self.norm = nn.BatchNorm2d(width)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.conv.bias)  # pyright: ignore

    def forward(self, x: Tensor) -> Tensor:
        # A permuted view of this layout is a channels-last tensor: nothing is copied.
        return self.norm(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
