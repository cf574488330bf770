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

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """(batch, times, width) -> (batch, times, classes) logits.

        Args:
            there: (batch, times, 1), 0 beyond the end of a row: convolutions see what they see beyond the edges.
        """
        inside = torch.ones(1, device=x.device) if there is None else there.transpose(1, 2)
        x = self.norm(x.transpose(1, 2)) * inside
        if self.enter is not None:
            x = self.enter(x) * inside
        for layer in self.layers:
            x = layer(x) * inside
        return self.leave(x).transpose(1, 2)

    def standardise(self, rows: Tensor) -> None:
        """Let (n, width) features, all that it will learn from, have mean 0 and variance 1 from now on."""
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        self.norm.running_mean.copy_(rows.mean(dim=0))
        self.norm.running_var.copy_(rows.var(dim=0, correction=0))
        self.norm.eval()


class _Layer(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.reach = nn.Conv1d(_HIDDEN, _HIDDEN, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(_HIDDEN, _HIDDEN, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.mix(torch.relu(self.reach(x))))
