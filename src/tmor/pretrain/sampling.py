"""Who is positive and who is negative: batches, the memory bank, masks from clusters and texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SAME_TEXT = 0.95
"""Texts whose teacher embeddings are closer than this cosine say the same."""


def step_generator(seed: int, *counters: int) -> torch.Generator:
    """Randomness as a function of where training stands, so that a resumed run draws what the uninterrupted one
    drew."""
    state = seed
    for counter in counters:
        state = (state * 6364136223846793005 + 1442695040888963407 + counter) % 2**63
    return torch.Generator().manual_seed(state)


def epoch_order(sources: Tensor, *, count: int, balance: float, generator: torch.Generator) -> Tensor:
    """Which samples an epoch visits.

    Args:
        sources: (n,) int, the data set of each sample.
        count: samples per epoch.
        balance: 0 = every sample alike; 1 = every data set alike; between: large sets count with size ** (1 - balance).

    Returns:
        (count,) int64 sample indices; a sample comes again only after all of its chance's worth were drawn.
    """
    size = torch.bincount(sources)[sources].double()
    share = size.pow(-balance)
    expected = share / share.sum() * count
    # Systematic sampling: each sample comes floor or ceil of its expected number of times.
    order = torch.randperm(len(sources), generator=generator)
    edges = expected[order].cumsum(0)
    ticks = torch.arange(count, dtype=torch.float64) + torch.rand(1, generator=generator, dtype=torch.float64)
    drawn = order[torch.searchsorted(edges, ticks).clamp(max=len(sources) - 1)]
    return drawn[torch.randperm(count, generator=generator)]


def instance(ids: Tensor, mirrored: Tensor) -> Tensor:
    """A clip and its mirror image are two instances: 2 * id, plus 1 where mirrored."""
    return 2 * ids + mirrored.long()


def cluster_masks(rows: Tensor, columns: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
    """P and N of METHOD section 2 by clusters.

    Whether a movement and the mirror image of its cluster's are the same action is not known (a clap is, a wave of
    the left hand is not), so such pairs are neither positive nor negative.

    Args:
        rows: (n,) instances.
        columns: (m,) instances.
        clusters: (samples,) cluster of every sample; singletons have one of their own.

    Returns:
        positive, negative: (n, m) bool, disjoint. A row is positive with its own instance.
    """
    same = clusters[rows // 2][:, None] == clusters[columns // 2][None, :]
    same_side = (rows % 2)[:, None] == (columns % 2)[None, :]
    return same & same_side, ~same


@dataclass
class Bank:
    """The most recent embeddings of one modality, oldest overwritten first.

    Args:
        ids: (size,) sample indices; -1 = still empty.
        rows: (size, d) L2-normalised embeddings, without gradient.
        keys: (size,) a further index kept beside them (the text's), or zeros.
        at: where the next rows go.
    """

    ids: Tensor
    rows: Tensor
    keys: Tensor
    at: int = 0

    @classmethod
    def empty(cls, size: int, width: int, *, device: torch.device | None = None) -> Bank:
        ids, keys = (torch.full((size,), value, device=device) for value in (-1, 0))
        return cls(ids, torch.zeros(size, width, device=device), keys)

    def push(self, ids: Tensor, rows: Tensor, keys: Tensor | None = None) -> None:
        if not len(self.ids):
            return
        # Of more rows than there is room for, the newest: which of two writes to one place wins, torch leaves open.
        newest = slice(-len(self.ids), None)
        where = ((self.at + torch.arange(len(ids), device=self.ids.device)) % len(self.ids))[newest]
        self.ids[where], self.rows[where] = ids[newest], rows[newest].detach().float()
        if keys is not None:
            self.keys[where] = keys[newest]
        self.at = int((self.at + len(ids)) % len(self.ids))

    def filled(self) -> tuple[Tensor, Tensor, Tensor]:
        """(m,) ids, (m, d) rows, (m,) keys of what has been pushed."""
        there = self.ids >= 0
        return self.ids[there], self.rows[there], self.keys[there]
