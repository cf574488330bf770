"""Projection heads: from an encoder's space to the one where modalities meet (phi in T-MOR eq. 1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """A two-layer perceptron whose output is L2-normalised.

    The input is standardised per feature first: what all movements (or all texts) have in common would otherwise
    outweigh what tells them apart.

    Args:
        width_in: width of the encoder's embedding.
        width: width of the common space.
    """

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width_in), nn.Linear(width_in, width), nn.GELU(), nn.Linear(width, width)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, width_in) -> (n, width), of length 1."""
        return F.normalize(self.layers(x), dim=-1)
