"""Which of many points lie within a radius of each other: all such pairs, proven, or those that a bounded search finds.

Three things make the search fast, and none of them costs exactness. Points are sorted into the cells of a k-means
partition, and the triangle inequality says which cells a point's neighbours can't be in. The first product of a tile
takes only the directions in which the points spread most: a part of a squared distance is a lower bound of it. And a
point of which that product shows no neighbour in the tile is not looked at again. With ``probes`` a point looks into so
many cells at most, the nearest ones, which bounds the time and may miss pairs: the inverted file of Sivic and Zisserman
(2003), "Video Google", with a radius instead of a number of neighbours.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

MOST_NUMBERS = 1 << 22
"""Held at once where work is not cut into tiles."""

_DIRECTIONS = 30  # of the first product, which has two columns more
_MOST_CELLS = 1024
_SAMPLE = 64  # points per cell that k-means learns from
_ROUNDS = 5  # of k-means
_TOGETHER = 16  # cells whose distances to all points are computed at once


@dataclass(frozen=True)
class Tile:
    """Points that are to be compared with each other: every row with every column, or all pairs of one set.

    Args:
        number: its place in the order of all tiles, the same each time.
        rows: (r,) int64.
        cols: they are consecutive.
        same: rows and columns are the same points.
    """

    number: int
    rows: Tensor
    cols: slice
    same: bool


@dataclass(frozen=True)
class Near:
    """Which rows of a tile have neighbours among its columns.

    Args:
        rows: (r,) int64, those rows that may have any.
        mask: (r, c) bool.
        places: where few pairs are near, as mostly, their (p,) int64 places in the flattened mask; else None.
    """

    rows: Tensor
    mask: Tensor
    places: Tensor | None

    def pairs(self, cols: Tensor | slice) -> tuple[Tensor, Tensor]:
        """(p,) and (p,) int64: the near pairs as points, by row."""
        places = self.mask.view(-1).nonzero().flatten() if self.places is None else self.places
        row = places.div(self.mask.shape[1], rounding_mode="floor")
        col = places - row * self.mask.shape[1]
        return self.rows[row], col + cols.start if isinstance(cols, slice) else cols[col]


class Neighbours:
    """All pairs of n points within a radius of each other, found tile by tile, never holding n x n of anything.

    Points are known by their rank in ``order``, which sorts them by cell.

    Two points are neighbours if the sum of the squared differences, in float64, is at most ``eps * eps``, which for
    float32 points is rounded to float32.

    Args:
        x: (n, d) finite points.
        eps: the radius, > 0.
        block: most rows, and most columns, of a tile; up to so many points there is one cell only.
        probes: None: all pairs. A number: each point is compared with its own cell, and with that many of the
            cells of higher number at most, the nearest ones.
    """

    def __init__(self, x: Tensor, *, eps: float, block: int, probes: int | None = None) -> None:
        self._limit = _limit(eps, x.dtype)
        self._block = block
        # lifted rows are (y, -|y|^2 / 2, 1) with y = (x - centre) / sqrt(limit), float32, so that a row times another
        # with its last two columns swapped is -|y - y'|^2 / 2, to be compared with -1/2. Centring keeps the rounding of
        # that product relative to the spread of the points, so that collapsed embeddings are told apart too.
        self._centre = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
        for part in spans(len(x), block):
            self._centre += x[part].double().sum(0) / len(x)
        self._x = x
        turn = self._directions() if len(x) > block else None
        self._lift(turn)
        if len(x) > block:
            cell, centres = _cells(self._lifted[:, :-2], max(1, min(_MOST_CELLS, 4 * len(x) // block)))
            self.order = cell.argsort(stable=True)
            self._cell, self._centres = cell[self.order], centres
            self._x, self._lifted, self._squared = x[self.order], self._lifted[self.order], self._squared[self.order]
            self._first = None if self._first is None else self._first[self.order]
        else:
            self.order = torch.arange(len(x), device=x.device)
            self._cell, self._centres = torch.zeros_like(self.order), self._lifted[:0, :-2]
        self._probes = probes if probes is not None and probes < len(self._centres) - 1 else None

    def __len__(self) -> int:
        return len(self._x)

    @cached_property
    def exact(self) -> bool:
        """Whether no pair can have been missed."""
        return self._probes is None or self._nearest_wanted[1]

    def tiles(self) -> Iterator[Tile]:
        """Every pair of points that can be near is in one tile (with ``probes``: those that are to be compared)."""
        device, number = self._x.device, 0
        for cols, rows in self._candidates():
            for part in spans(len(rows), self._block):
                yield Tile(number, rows[part], cols, False)
                number += 1
            yield Tile(number, torch.arange(cols.start, cols.stop, device=device), cols, True)
            number += 1

    def near(self, rows: Tensor, cols: Tensor | slice) -> Near:
        """Which points are neighbours.

        Args:
            rows: (r,) int64, at least one.
            cols: (c,) int64 or a slice, at least one.
        """
        reach = float(self._squared[rows].max() + self._squared[cols].max())
        slack = self._slack(torch.float32, reach)
        single = _full_float32(self._x.device) and slack < 0.25
        lifted = self._lifted[cols]
        if single and self._first is not None and len(rows) > 1:
            best = _product(self._first[rows], self._first[cols]).amax(1)
            rows = rows[(best < -0.5 - slack).logical_not_()]  # not ">=": NaN, of an overflow, needs a closer look
            if not len(rows):
                empty = torch.zeros(0, len(lifted), dtype=torch.bool, device=rows.device)
                return Near(rows, empty, rows)
        settled = False
        if single:
            near, places, unsure = _split(self._lifted[rows], lifted, slack)
            settled = len(unsure) * 64 <= near.numel()
        if not settled:
            slack = self._slack(torch.float64, reach)
            near, places, unsure = _split(self._lift64(rows), self._lift64(cols), slack)
        if len(unsure):
            i = unsure.div(near.shape[1], rounding_mode="floor")
            j = unsure - i * near.shape[1]
            near.view(-1)[unsure] = self._exact(rows[i], j + cols.start if isinstance(cols, slice) else cols[j])
            places = None if places is None else places[near.view(-1)[places]]
        return Near(rows, near, places)

    # --- which cells a point's neighbours can be in

    def _candidates(self) -> Iterator[tuple[slice, Tensor]]:
        """Columns, and all rows before them that they are to be compared with."""
        if not len(self._centres):
            for cols in spans(len(self), self._block):
                yield cols, torch.arange(cols.start, device=self._x.device)
            return
        ends = torch.bincount(self._cell, minlength=len(self._centres)).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        for group in spans(len(starts), _TOGETHER):
            before = starts[group.stop - 1]
            wanted = self._wanted(slice(0, before), group) if self._probes is None else None
            for cell in range(group.start, group.stop):
                if wanted is None:
                    rows = self._nearest_wanted[0][cell]
                else:
                    rows = wanted[: starts[cell], cell - group.start].nonzero().flatten()
                for cols in spans(ends[cell] - starts[cell], self._block):
                    cols = slice(starts[cell] + cols.start, starts[cell] + cols.stop)
                    own = torch.arange(starts[cell], cols.start, device=rows.device)
                    yield cols, torch.cat([rows, own]) if len(own) else rows

    def _wanted(self, rows: slice, cells: slice) -> Tensor:
        """(r, c) bool: False where no point of the cell can be a neighbour, or the cell is not a higher one.

        A neighbour lies in the ball around its cell's centre; and nearer to that centre than to the row's own, so that
        the row's distance to the plane half-way between the two is less than the radius.
        """
        squared = self._to_centres(rows, cells)
        radius = self._radius[cells]
        far = (squared - self._error).clamp(min=0).sqrt() > radius + self._one
        own, between = self._own[rows], self._between[cells].T
        behind = squared - own[:, None] > between[self._cell[rows]] * (2 * self._one) + 4 * self._error
        numbers = torch.arange(cells.start, cells.stop, device=squared.device)
        return ~(far | behind) & (numbers > self._cell[rows][:, None])

    def _to_centres(self, rows: slice, cells: slice) -> Tensor:
        y, centres = self._lifted[rows], self._centres[cells]
        half = centres.square().sum(1) / 2
        return (torch.addmm(half, y[:, :-2], centres.T, alpha=-1) - y[:, -2:-1]) * 2

    @cached_property
    def _error(self) -> float:
        """Of the squared distances to centres, in float32: as in ``_slack``."""
        largest = float(self._squared.max() + self._centres.double().square().sum(1).max())
        return (self._x.shape[1] + 16) * torch.finfo(torch.float32).eps * largest * 2

    @cached_property
    def _one(self) -> float:
        """The radius, and by how much rounding to float32 may have moved two points."""
        return 1 + 8 * torch.finfo(torch.float32).eps * (1 + float(self._squared.max().sqrt()))

    @cached_property
    def _own(self) -> Tensor:
        """(n,) squared distance of each point to its own centre."""
        own = torch.empty(len(self), device=self._x.device)
        for part in spans(len(self), max(1, MOST_NUMBERS // self._x.shape[1])):
            y = self._lifted[part]
            centres = self._centres[self._cell[part]]
            own[part] = centres.square().sum(1) - 2 * (y[:, :-2] * centres).sum(1) - 2 * y[:, -2]
        return own

    @cached_property
    def _radius(self) -> Tensor:
        """(cells,) no point of a cell is farther from its centre."""
        radius = torch.zeros(len(self._centres), device=self._x.device)
        return radius.scatter_reduce_(0, self._cell, (self._own + self._error).clamp(min=0).sqrt(), "amax")

    @cached_property
    def _between(self) -> Tensor:
        """(cells, cells) distances between centres, never below the true ones."""
        centres = self._centres.double()
        return (torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist") * (1 + 1e-6)).float()

    @cached_property
    def _nearest_wanted(self) -> tuple[tuple[Tensor, ...], bool]:
        """For each cell the points that look into it, each looking into its ``probes`` nearest wanted ones at most; and
        whether that is all that they want."""
        assert self._probes is not None
        chosen = torch.full((len(self), self._probes), -1, dtype=torch.int32, device=self._x.device)
        complete, every = True, slice(0, len(self._centres))
        for rows in spans(len(self), max(1, MOST_NUMBERS // len(self._centres))):
            wanted = self._wanted(rows, every)
            squared = self._to_centres(rows, every).masked_fill_(~wanted, math.inf)
            distance, cell = squared.topk(self._probes, largest=False)
            chosen[rows] = torch.where(distance < math.inf, cell, -1).int()
            complete = complete and int(wanted.sum(1).max()) <= self._probes
        cell, place = chosen.flatten().sort(stable=True)
        counts = torch.bincount(cell + 1, minlength=len(self._centres) + 1).tolist()
        return place.div(self._probes, rounding_mode="floor").split(counts)[1:], complete

    # --- distances

    def _directions(self) -> Tensor | None:
        """(d, d) float64 orthogonal: the directions of the points' spread, the widest first; None: as they are."""
        n, d = self._x.shape
        if not _DIRECTIONS + 2 < d <= 1024:
            return None
        sample = self._x[:: max(1, n // 8192)].double() - self._centre
        covariance = sample.T @ sample
        if not bool(covariance.isfinite().all()):
            return None
        return torch.linalg.eigh(covariance).eigenvectors.flip(1)

    def _lift(self, turn: Tensor | None) -> None:
        n, d = self._x.shape
        few = d > _DIRECTIONS + 2
        self._lifted = torch.empty(n, d + 2, dtype=torch.float32, device=self._x.device)
        self._squared = torch.empty(n, dtype=torch.float64, device=self._x.device)
        self._first = torch.empty(n, _DIRECTIONS + 2, dtype=torch.float32, device=self._x.device) if few else None
        for part in spans(n, self._block):
            y = self._scaled(part)
            y = y if turn is None else y @ turn
            self._lifted[part], self._squared[part] = _lifted(y)
            if self._first is not None:
                self._first[part] = _lifted(y[:, :_DIRECTIONS])[0]

    def _scaled(self, index: Tensor | slice) -> Tensor:
        return (self._x[index].double() - self._centre) / math.sqrt(self._limit)

    def _lift64(self, index: Tensor | slice) -> Tensor:
        return _lifted(self._scaled(index))[0]

    def _slack(self, kind: torch.dtype, reach: float) -> float:
        # Standard bound of an inner product (Higham 2002, section 3.1): (terms + roundings of the terms) * unit
        # roundoff * sum of |products|, the sum being at most |y|^2 + |y'|^2; then the rounding of the exact rule.
        terms = self._x.shape[1] + 16
        return terms * (torch.finfo(kind).eps * reach / 2 + torch.finfo(torch.float64).eps) + 1e-30

    def _exact(self, i: Tensor, j: Tensor) -> Tensor:
        answer = torch.empty(len(i), dtype=torch.bool, device=i.device)
        for part in spans(len(i), max(1, MOST_NUMBERS // self._x.shape[1])):
            difference = self._x[i[part]].double() - self._x[j[part]].double()
            # a running sum, as scikit-learn's k-d tree adds up: a tie must fall to the same side
            answer[part] = difference.square_().cumsum(1)[:, -1] <= self._limit
        return answer


def spans(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``range(n)``."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _cells(y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """k-means, always the same for the same points: (n,) the cell of each, and (at most count, d) centres."""
    generator = torch.Generator().manual_seed(0)
    sample = y[torch.randperm(len(y), generator=generator)[: _SAMPLE * count].to(y.device)]
    centres = sample[:count].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(sample, centres)
        size = torch.bincount(nearest, minlength=len(centres))
        total = torch.zeros_like(centres).index_add_(0, nearest, sample)
        centres = torch.where(size[:, None] > 0, total / size.clamp(min=1)[:, None], centres)
    cell = _nearest(y, centres)
    used, cell = cell.unique(return_inverse=True)
    return cell, centres[used]


def _nearest(y: Tensor, centres: Tensor) -> Tensor:
    half = centres.square().sum(1) / 2
    nearest = torch.empty(len(y), dtype=torch.int64, device=y.device)
    # Into one tensor: small ones that stay between big ones that go would scatter the heap over gigabytes.
    for part in spans(len(y), max(1, MOST_NUMBERS // len(centres))):
        nearest[part] = torch.addmm(half, y[part], centres.T, alpha=-1).argmin(1)
    return nearest


def _lifted(y: Tensor) -> tuple[Tensor, Tensor]:
    squared = y.square().sum(1)
    return torch.cat([y, -squared[:, None] / 2, torch.ones_like(squared)[:, None]], 1), squared


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(r, c) minus half the squared distances of lifted rows."""
    width = right.shape[1] - 2
    return left @ torch.cat([right[:, :width], right[:, width + 1 :], right[:, width : width + 1]], 1).T


def _split(left: Tensor, right: Tensor, slack: float) -> tuple[Tensor, Tensor | None, Tensor]:
    """Where the product of lifted rows is at least -1/2 - ``slack``, and where of these it is below -1/2 + ``slack``.

    Returns:
        (r, c) bool; its (p,) int64 places in the flattened mask, unless they are many; (u,) those of the latter.
    """
    product = _product(left, right)
    near = (product < -0.5 - slack).logical_not_()  # not ">=": NaN, of an overflow, needs a closer look
    if near.count_nonzero() * 8 <= near.numel():
        places = near.view(-1).nonzero().flatten()
        return near, places, places[(product.view(-1)[places] >= slack - 0.5).logical_not_()]
    return near, None, (product >= slack - 0.5).logical_xor_(near).view(-1).nonzero().flatten()


def _limit(eps: float, kind: torch.dtype) -> float:
    """eps^2, rounded as scikit-learn rounds it, where that does not under- or overflow."""
    if kind == torch.float32 and 1e-18 < eps < 1e18:
        return float(np.float32(eps) * np.float32(eps))
    return min(max(eps * eps, sys.float_info.min), sys.float_info.max)


def _full_float32(device: torch.device) -> bool:
    """Whether float32 products are such, not fewer bits (TF32, bfloat16) by the user's leave."""
    full = torch.get_float32_matmul_precision() == "highest"
    return full and not (device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32)
