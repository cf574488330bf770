"""What happens at each moment, from the encoder's features over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_HIDDEN = 96


class FrameHead(nn.Module):
    """Per-frame scores of classes that may overlap.

    Args:
        width: of the features.
        classes: how many.
        layers: dilated temporal convolutions, each reaching twice as far as the one before; 0 = a linear head that
            judges every moment by itself.
    """

    def __init__(self, width: int, classes: int, *, layers: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.enter = nn.Conv1d(width, _HIDDEN, 1) if layers else None
        self.layers = nn.ModuleList(_Layer(2**i) for i in range(layers))
        self.leave = nn.Conv1d(_HIDDEN if layers else width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, times, width) -> (batch, times, classes) logits."""
        x = self.norm(x.transpose(1, 2))
        if self.enter is not None:
            x = self.enter(x)
        for layer in self.layers:
            x = layer(x)
        return self.leave(x).transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.reach = nn.Conv1d(_HIDDEN, _HIDDEN, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(_HIDDEN, _HIDDEN, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.mix(torch.relu(self.reach(x))))
