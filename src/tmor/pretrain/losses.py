"""The contrastive losses of T-MOR, as pure functions of embeddings and masks."""

from __future__ import annotations

import torch
from torch import Tensor


def cluster_nce(
    x: Tensor, y: Tensor, positive: Tensor, negative: Tensor, *, temperature: float | Tensor = 0.07
) -> Tensor:
    """Contrast each row of ``x`` with the ``y`` of its own cluster against other clusters (T-MOR eq. 1-3).

    Args:
        x: (n, d) L2-normalised embeddings.
        y: (m, d) L2-normalised embeddings of the paired modality.
        positive: (n, m) bool, True where ``y`` is in the row's positive set; each row has at least one.
        negative: (n, m) bool, disjoint from ``positive``.
        temperature: divides the cosine similarities; > 0.

    Returns:
        Mean loss in nats. With one positive per row it is InfoNCE.

    Raises:
        ValueError: a row of ``positive`` is empty, or ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {float(temperature)}; expected a positive number")
    if not bool(positive.any(dim=1).all()):
        row = int((~positive.any(dim=1)).nonzero()[0])
        raise ValueError(f"row {row} of positive is empty; expected at least its own pair")
    similarity = x @ y.T
    # At least single precision: 16-bit logits would be too coarse.
    similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32)) / temperature
    align = similarity.masked_fill(~positive, -torch.inf).logsumexp(dim=1)
    total = similarity.masked_fill(~(positive | negative), -torch.inf).logsumexp(dim=1)
    return (total - align).mean()


def paired_nce(
    x: Tensor, y: Tensor, positive: Tensor, negative: Tensor, *, temperature: float | Tensor = 0.07
) -> Tensor:
    """:func:`cluster_nce` in both directions, averaged; for masks whose columns have a positive each as well."""
    return 0.5 * (
        cluster_nce(x, y, positive, negative, temperature=temperature)
        + cluster_nce(y, x, positive.T, negative.T, temperature=temperature)
    )
