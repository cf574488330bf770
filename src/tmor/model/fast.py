"""UNIK's blocks for inference on CPUs: the same function as ``unik.py`` computes in eval mode, in less time.

Batch norms are folded into the product before them. A convolution over time that mixes channels is a few large products
in Fourier space, with a third of the multiplications. Rows go through a few at a time, so that what a block hands to
the next is still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 8
_SEGMENT = 40
"""Output frames that one Fourier transform covers at most."""


class FastBlocks:
    """Blocks with their weights prepared; a snapshot: build it again when the weights change.

    Args:
        blocks: the ``blocks`` of a UNIK, in eval mode.
    """

    def __init__(self, blocks: nn.ModuleList) -> None:
        self.blocks = [_FastBlock(block) for block in blocks]

    def __call__(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """(rows, joints, frames, channels) -> what ``pool`` makes of (rows, joints, frames / stride, width), row by
        row."""
        parts = []
        for part in x.split(_ROWS):
            for block in self.blocks:
                part = block(part)
            parts.append(pool(part))
        return torch.cat(parts)


class _FastBlock:
    def __init__(self, block) -> None:
        spatial = block.spatial
        self.heads, self.mixing = spatial.heads, spatial.mixing
        width, width_in = spatial.mix.out_features, spatial.attend.in_features
        scale, shift = _affine(spatial.norm)
        weight = spatial.mix.weight.detach() * scale[:, None]
        self.mix = weight.reshape(width, self.heads, width_in).permute(1, 2, 0).contiguous()
        self.bias = spatial.mix.bias.detach() * scale + shift
        self.down = None if spatial.down is None else _folded(spatial.down)
        separable = isinstance(block.temporal, nn.Sequential)
        self.stride = (block.temporal[0] if separable else block.temporal).conv.stride[1]
        self.temporal = (
            _FastSeparable(*map(_folded, block.temporal), stride=self.stride)
            if separable
            else _FastConv(*_folded(block.temporal), stride=self.stride)
        )
        self.residual = None if block.residual is None else _folded(block.residual)
        self.has_residual = block.has_residual

    def __call__(self, x: Tensor) -> Tensor:
        y = self.temporal(self._spatial(x))
        if self.residual is not None:
            weight, bias = self.residual
            y += F.linear(x[:, :, :: self.stride], weight[:, :, 0], bias)
        elif self.has_residual:
            y += x
        return y.relu_()

    def _spatial(self, x: Tensor) -> Tensor:
        rows, joints, frames, width = x.shape
        mixed = torch.bmm(self.mixing(x), x.reshape(rows, joints, frames * width))
        mixed = mixed.reshape(rows, self.heads, joints * frames, width)
        if self.down is None:
            y = x + self.bias
        else:
            weight, bias = self.down
            y = F.linear(x, weight[:, :, 0], bias + self.bias)
        y = y.flatten(1, 2)
        for head, weight in enumerate(self.mix):
            y.baddbmm_(mixed[:, head], weight.expand(rows, -1, -1))
        return y.relu_().unflatten(1, (joints, frames))


class _FastSeparable:
    """A convolution over time of each channel by itself, zero beyond the ends, then a 1x1 convolution."""

    def __init__(self, own: tuple[Tensor, Tensor], across: tuple[Tensor, Tensor], *, stride: int) -> None:
        self.own, self.stride, self.half = own[0].unsqueeze(2), stride, own[0].shape[2] // 2
        # What the first adds to every frame, the second passes on.
        self.across = across[0][:, :, 0]
        self.bias = F.linear(own[1], self.across, across[1])

    def __call__(self, x: Tensor) -> Tensor:
        y = F.conv2d(
            x.permute(0, 3, 1, 2), self.own, stride=(1, self.stride), padding=(0, self.half), groups=x.shape[-1]
        )
        return F.linear(y.permute(0, 2, 3, 1), self.across, self.bias)


class _FastConv:
    """A convolution over time, zero beyond the ends, of (rows, joints, frames, width)."""

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int) -> None:
        self.stride, self.bias, self.kernel = stride, bias, weight.shape[2]
        self.width_in, self.width = weight.shape[1], weight.shape[0]
        self.taps = weight.permute(2, 1, 0).flatten(1)  # (taps, in x out)
        self.products: dict[int, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        rows, joints, frames, _ = x.shape
        x = x.reshape(rows * joints, frames, self.width_in)
        half, stride = self.kernel // 2, self.stride
        segments = -(-frames // _SEGMENT)
        length = -(-frames // (segments * stride)) * stride
        # As long as no frame meets another around the end of the circle.
        period = length + 2 * half if segments > 1 else frames + half
        products = self._products(period)
        y = x.new_empty(rows * joints, -(-frames // stride), self.width)
        for start in range(0, frames, length):
            stop = min(start + length, frames)
            first, last = max(start - half, 0), min(stop + half, frames)
            there, back = _waves(period, start - first, last - first, stop - start, stride)
            seen = torch.matmul(there, x[:, first:last])
            heard = x.new_empty(rows * joints, len(products), self.width)
            torch.bmm(seen.transpose(0, 1), products, out=heard.transpose(0, 1))
            y[:, start // stride : -(-stop // stride)] = torch.matmul(back, heard)
        y += self.bias
        return y.reshape(rows, joints, *y.shape[1:])

    def _products(self, period: int) -> Tensor:
        """(points, in, out): what each point of Fourier space is multiplied by."""
        if period not in self.products:
            if len(self.products) > 1:
                self.products.clear()  # clips mostly have one length
            self.products[period] = (_tap_waves(period, self.kernel) @ self.taps).reshape(-1, self.width_in, self.width)
        return self.products[period]


# A frequency is a complex product, of three real ones: (x - y)w, x(v - w), y(v + w).
# So it has three points, frequency 0 one.


@lru_cache(maxsize=64)
def _waves(period: int, before: int, frames_in: int, frames_out: int, stride: int) -> tuple[Tensor, Tensor]:
    """From frames to points, (points, frames in), and back, (frames out, points).

    Args:
        before: frames in that lie before the first frame out.
    """
    there, back = [], []
    for number in range(period // 2 + 1):
        real, imaginary = _wave(period, number, range(-before, frames_in - before))
        cos, sin = _wave(period, number, range(0, frames_out, stride))
        if number == 0 or 2 * number == period:
            there.append(real)
            back.append(cos / period)
        else:
            there += [real - imaginary, real, -imaginary]
            back += [2 / period * wave for wave in (cos - sin, -sin, -cos)]
    return torch.stack(there).float(), torch.stack(back, dim=1).float()


@lru_cache(maxsize=64)
def _tap_waves(period: int, kernel: int) -> Tensor:
    """(points, taps)."""
    rows = []
    for number in range(period // 2 + 1):
        cos, sin = _wave(period, number, range(-(kernel // 2), kernel // 2 + 1))
        rows += [cos] if number == 0 or 2 * number == period else [cos, sin - cos, cos + sin]
    return torch.stack(rows).float()


def _wave(period: int, number: int, frames: range) -> tuple[Tensor, Tensor]:
    angle = 2 * torch.pi * number / period * torch.tensor(frames, dtype=torch.float64)
    return angle.cos(), angle.sin()


def _affine(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch norm in eval mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias.detach() - norm.running_mean * scale


def _folded(unit) -> tuple[Tensor, Tensor]:
    """Weight (out, in, kernel) and bias of a convolution with its batch norm."""
    scale, shift = _affine(unit.norm)
    return unit.conv.weight.detach()[:, :, 0] * scale[:, None, None], unit.conv.bias.detach() * scale + shift
