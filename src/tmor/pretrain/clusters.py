"""Which samples belong together: exact DBSCAN on embeddings, the choice of eps, and a guard against collapse.

DBSCAN after Ester, Kriegel, Sander and Xu, "A density-based algorithm for discovering clusters in large spatial
databases with noise", KDD 1996; the numbering of clusters and the tie rules are those of scikit-learn's ``DBSCAN``.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from tmor.pretrain.neighbours import MOST_NUMBERS, Neighbours, Tile, spans

_MOST_IN_ONE = 0.5  # a cluster with a larger share of the samples counts as collapse
_MOST_NOISE = 0.9  # a larger share of noise counts as no clustering
_TRIES = 12
_QUERIES = 2048  # k-distances are taken at this many points at most, each against all points
_KEPT_PAIRS = 1 << 24  # neighbour pairs, of two int32, kept from the first pass; the other tiles are searched again
_EXACT_UP_TO = 200_000  # rows, a minute on one core; all pairs of a million take twenty-five times as long
_PROBES = 16  # cells beyond a point's own in which its neighbours are looked for where there are more rows
_NUDGE = 1 + 1e-6  # above a k-distance by more than float32 rounding of eps, so that its own point is core there


@dataclass(frozen=True, eq=False)
class Clustering:
    """A partition of n samples into clusters and noise.

    Args:
        labels: (n,) int64, 0 ... count - 1, or -1 for noise.
        eps: the radius that ``labels`` came from; the one first asked for when no radius could be used.
        moves: each move of eps by the collapse guard, in words; empty if there was none.
        exact: False: some pairs of neighbours may have been missed (``cluster`` says when).
    """

    labels: Tensor
    eps: float
    moves: tuple[str, ...] = ()
    exact: bool = True

    def cpu(self) -> "Clustering":
        """The same with its labels in the processor's memory."""
        return replace(self, labels=self.labels.cpu())

    @property
    def count(self) -> int:
        """Number of clusters, noise not counted."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    @property
    def noise_share(self) -> float:
        """Share of the samples that are noise, in [0, 1]; 0 without samples."""
        return float((self.labels < 0).double().mean()) if len(self.labels) else 0.0

    @property
    def largest_share(self) -> float:
        """Share of the samples in the largest cluster, in [0, 1]; 0 without clusters."""
        return float(torch.bincount(self.labels[self.labels >= 0]).max()) / len(self.labels) if self.count else 0.0

    def sample_clusters(self) -> Tensor:
        """:func:`noise_as_singletons` of ``labels``."""
        return noise_as_singletons(self.labels)


def noise_as_singletons(labels: Tensor) -> Tensor:
    """(n,) int64 labels, -1 = noise -> (n,) int64 >= 0: each noise point a cluster of its own, after the real ones."""
    noise = labels < 0
    first = int(labels.max()) + 1 if len(labels) else 0
    return torch.where(noise, first + noise.cumsum(0) - 1, labels)


def dbscan(x: Tensor | np.ndarray, *, eps: float, min_samples: int, block: int | None = None) -> Tensor:
    """Exact DBSCAN with Euclidean distances between rows, on the device of ``x``, never holding n x n of anything.

    Labels are those of ``sklearn.cluster.DBSCAN``: clusters are numbered by their core point of smallest index, and a
    border point within reach of several clusters belongs to the one of lowest number. Two points are neighbours if
    the sum of the squared differences, in float64, is at most ``eps * eps``, which for float32 points is rounded to
    float32. This is the rule of scikit-learn's ``algorithm="brute"``, which it also takes by itself beyond 15 columns;
    but it expands the square, and may therefore differ from us, and from the truth, on pairs within float64 rounding
    of eps. (Its k-d tree does not round eps.)

    Time is O(n^2 d) at worst, less where the points lie in clusters (``neighbours.py``). Memory is O(n d + block^2) and
    at most 128 MB of neighbour pairs, also when all points are neighbours of each other.

    Args:
        x: (n, d) points, finite; n may be 0.
        eps: neighbourhood radius, inclusive; > 0.
        min_samples: neighbours, the point itself included, that make a core point; >= 1.
        block: most rows and columns that are searched at a time; by default it suits the device.

    Returns:
        (n,) int64 cluster numbers from 0, -1 = noise.

    Raises:
        ValueError: ``x`` is not 2-d, not real or not finite, or ``eps``, ``min_samples`` or ``block`` is out of range.
    """
    points = _points(x)
    _check(eps, min_samples)
    if block is not None and block < 1:
        raise ValueError(f"block is {block}; expected at least 1")
    labels, _ = _dbscan(points, eps, min_samples, block, None)
    return labels.to(x.device) if isinstance(x, Tensor) else labels


def choose_eps(x: Tensor | np.ndarray, *, min_samples: int) -> float:
    """The knee of the k-distance curve, after Ester et al. (1996), section 4.2.

    The k-distance of a point is the smallest eps at which it is a core point: the distance to its ``min_samples``-th
    nearest point, itself included (to its nearest other point if ``min_samples`` is 1). Sorted, these distances are
    flat within clusters and rise where noise begins. The knee is the point of the curve that lies farthest below the
    chord from its first to its last point; without any point below the chord, the median. Distances of zero are left
    out: points repeated that often are core at every eps. Beyond 2048 points, the curve is that of 2048 of them, drawn
    with a fixed seed, each measured against all points.

    Args:
        x: (n, d) points, finite.
        min_samples: as for ``dbscan``; more than n counts as n.

    Returns:
        eps > 0; where no distance is positive (identical points, fewer than two), 1e-6.

    Raises:
        ValueError: ``x`` is not 2-d, not real or not finite, or ``min_samples`` is out of range.
    """
    points = _points(x)
    _check(1.0, min_samples)
    return _knee(_k_distance_curve(points, min_samples))


def cluster(x: Tensor | np.ndarray, *, eps: float | None, min_samples: int) -> Clustering:
    """DBSCAN with a guard against collapse: no cluster above half of the samples, no more than 90% noise.

    When the result is beyond either limit, eps is moved, also if it was given: down if a cluster is too large, up if
    there is too much noise, bisecting along the k-distance curve (``choose_eps``) between the largest radius known
    to be too small and the smallest known to be too large, at most 12 times. If no radius will do, every sample
    becomes its own cluster (all labels -1). Each move, and that last resort, is told in ``moves``.

    Up to 200,000 points the labels are exact. Beyond, a point's neighbours are looked for in its own k-means cell (some
    250 points; 1,024 cells at most) and in the 16 nearest other ones; pairs farther apart in that sense are missed,
    which can split a cluster or lose points to noise, never merge clusters. ``exact`` is False where a cell was
    left out that the triangle inequality would not have excluded.

    Args:
        x: (n, d) points, finite; n may be 0.
        eps: neighbourhood radius > 0, or None for ``choose_eps``.
        min_samples: as for ``dbscan``.

    Raises:
        ValueError: as ``dbscan``.
    """
    points = _points(x)
    _check(1.0 if eps is None else eps, min_samples)
    asked = choose_eps(points, min_samples=min_samples) if eps is None else float(eps)

    def attempt(radius: float) -> Clustering:
        probes = None if len(points) <= _EXACT_UP_TO else _PROBES
        labels, exact = _dbscan(points, radius, min_samples, None, probes)
        return Clustering(labels, radius, tuple(moves), exact)

    moves: list[str] = []
    found = attempt(asked)
    fault = _fault(found)
    if fault is None:
        return found

    hopeless = _hopeless(points, min_samples)
    if hopeless is None:
        curve = _k_distance_curve(points, min_samples)
        too_small, too_large = 0.0, math.inf
        for _ in range(_TRIES):
            if found.largest_share > _MOST_IN_ONE:
                too_large = found.eps
            else:
                too_small = found.eps
            radius = _between(curve, too_small, too_large)
            if not too_small < radius < too_large:  # the bracket is down to rounding
                break
            moves.append(f"eps {found.eps:.6g} -> {radius:.6g}: {fault}")
            found = attempt(radius)
            fault = _fault(found)
            if fault is None:
                return found
        hopeless = f"at eps {found.eps:.6g}, {fault}"
    moves.append(f"no eps will do, every sample is its own cluster: {hopeless}")
    return Clustering(torch.full_like(found.labels, -1), asked, tuple(moves))


def diagnostics(
    clustering: Clustering, *, previous: Tensor | np.ndarray | None, truth: Tensor | np.ndarray | None
) -> dict[str, float]:
    """What to log about a clustering. For people to read: nothing in training depends on it.

    Noise points count as clusters of their own in the comparisons (as they do in training), in ``previous`` too.

    Args:
        clustering: of n samples.
        previous: (n,) labels of the last epoch, -1 = noise, or None.
        truth: (n,) class labels, -1 = unknown and left out, or None.

    Returns:
        clusters, noise_share, largest_share, and where they can be computed: ari_previous, ari_labels (adjusted Rand
        index, 1 = same partition, about 0 = chance), nmi_labels (normalised mutual information, in [0, 1]).

    Raises:
        ValueError: ``previous`` or ``truth`` is not of shape (n,).
    """
    numbers = {
        "clusters": float(clustering.count),
        "noise_share": clustering.noise_share,
        "largest_share": clustering.largest_share,
    }
    ours = clustering.sample_clusters().cpu().numpy()
    with warnings.catch_warnings():
        # scikit-learn wonders whether so many labels are a regression target; with singletons they are not
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        if previous is not None and len(ours):
            before = noise_as_singletons(_labels_like(ours, previous, "previous")).numpy()
            numbers["ari_previous"] = float(adjusted_rand_score(before, ours))
        if truth is not None:
            classes = _labels_like(ours, truth, "truth").numpy()
            known = classes != -1
            if known.any():
                numbers["ari_labels"] = float(adjusted_rand_score(classes[known], ours[known]))
                numbers["nmi_labels"] = float(normalized_mutual_info_score(classes[known], ours[known]))
    return numbers


# --- the three passes ------------------------------------------------------------------------------------------------


@dataclass
class _Pairs:
    """What the first pass found. One buffer: many small ones between the big ones of a tile scatter the heap."""

    buffer: Tensor  # (2, room) int32; its pages cost nothing until they are written
    used: int  # of the room
    more: set[int]  # the tiles whose pairs found no room


def _dbscan(points: Tensor, eps: float, min_samples: int, block: int | None, probes: int | None) -> tuple[Tensor, bool]:
    """The labels, and whether they are exact."""
    if block is None:
        block = 1024 if points.device.type == "cpu" else 4096
    labels = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    # autocast would turn the products to 16 bits, which no error bound of ours covers
    with torch.no_grad(), torch.autocast(points.device.type, enabled=False):
        search = Neighbours(points, eps=eps, block=block, probes=probes)
        neighbours, pairs = _count_neighbours(search)
        core = neighbours >= min_samples
        if core.any():
            labels[core] = _core_clusters(search, pairs, core)
            border = ~core & (neighbours > 1)  # a point that only has itself is within reach of no core point
            if border.any():
                _join_borders(search, pairs, core, border, labels)
    in_order = torch.empty_like(labels)
    in_order[search.order] = labels
    return in_order, search.exact


def _count_neighbours(search: Neighbours) -> tuple[Tensor, _Pairs]:
    """(n,) int64: points within eps of each, itself included; and the pairs, as room allows."""
    n, device = len(search), search.order.device
    counts = torch.zeros(n, dtype=torch.int64, device=device)
    pairs = _Pairs(torch.empty(2, min(_KEPT_PAIRS, n * n), dtype=torch.int32, device=device), 0, set())
    for tile in search.tiles():
        near = search.near(tile.rows, tile.cols)
        by_row, by_col = (near.mask.view(torch.uint8).sum(dim, dtype=torch.int32) for dim in (1, 0))
        found = int(by_row.sum())
        if not found:
            continue
        counts[near.rows] += by_row
        if not tile.same:
            counts[tile.cols] += by_col
        here = slice(pairs.used, pairs.used + found)
        if here.stop <= pairs.buffer.shape[1]:
            pairs.buffer[0, here], pairs.buffer[1, here] = near.pairs(tile.cols)
            pairs.used = here.stop
        else:
            pairs.more.add(tile.number)
    return counts, pairs


def _again(
    search: Neighbours,
    pairs: _Pairs,
    left: Tensor,
    right: Tensor,
    *,
    skip: Callable[[Tile], bool] = lambda tile: False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs with i in the mask ``left`` and j in the mask ``right``: those that were kept, then, unless ``skip``
    does without a tile, those that are searched again. A pair of different points comes as (i, j), as (j, i) or
    both."""
    for part in spans(pairs.used, MOST_NUMBERS):
        i, j = pairs.buffer[:, : pairs.used][:, part].long()
        wanted = left[i] & right[j]
        yield i[wanted], j[wanted]
    for tile in search.tiles() if pairs.more else ():
        if tile.number in pairs.more and not skip(tile):
            i = tile.rows[left[tile.rows]]
            j = right[tile.cols].nonzero().flatten() + tile.cols.start
            if len(i) and len(j):
                yield search.near(i, j).pairs(j)


def _core_clusters(search: Neighbours, pairs: _Pairs, core: Tensor) -> Tensor:
    """(c,) int64: connected components of the core points, numbered by the first of their points."""
    count, edges = len(core), 0
    component = np.arange(count)
    is_core = core.cpu().numpy()
    waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def connected(tile: Tile) -> bool:  # already: this makes a collapsed set cheap
        ends = (tile.rows.cpu().numpy(), tile.cols)
        seen = np.concatenate([component[part][is_core[part]] for part in ends])
        return not len(seen) or bool((seen == seen[0]).all())

    for ends in _again(search, pairs, core, core, skip=connected):
        a, b = (component[index.cpu().numpy()] for index in ends)
        news = a != b
        waiting.append((a[news], b[news]))
        edges += len(waiting[-1][0])
        if edges > MOST_NUMBERS // 8:
            component, count = _merge(component, count, waiting)
            waiting, edges = [], 0
    component, count = _merge(component, count, waiting)
    rank = search.order.cpu().numpy()[is_core]  # the places that the core points had before they were sorted
    component = component[is_core]
    first = np.full(count, len(core))
    np.minimum.at(first, component, rank)
    number = np.empty(count, dtype=np.int64)
    number[np.argsort(first)] = np.arange(count)
    return torch.from_numpy(number[component]).to(core.device)


def _merge(component: np.ndarray, count: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, int]:
    """The components, and their number, when ``edges`` between ``count`` components are added."""
    if not any(len(a) for a, _ in edges):
        return component, count
    a, b = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(a), dtype=np.bool_), (a, b)), shape=(count, count))
    count, merged = connected_components(graph, directed=False)
    return merged[component], count


def _join_borders(search: Neighbours, pairs: _Pairs, core: Tensor, border: Tensor, labels: Tensor) -> None:
    """Give each ``border`` point, in place, the lowest label among the core points within eps, if there are any."""
    none = torch.iinfo(torch.int64).max
    lowest = torch.full_like(labels, none)
    for i, j in _again(search, pairs, border, core):
        lowest.scatter_reduce_(0, i, labels[j], "amin")
    for i, j in _again(search, pairs, core, border):
        lowest.scatter_reduce_(0, j, labels[i], "amin")
    labels[lowest != none] = lowest[lowest != none]


# --- eps -------------------------------------------------------------------------------------------------------------


def _k_distance_curve(x: Tensor, min_samples: int) -> np.ndarray:
    """Sorted positive k-distances, float64, at up to ``_QUERIES`` points; empty where there are none."""
    n = len(x)
    k = min(max(2, min_samples), n)
    if k < 2:
        return np.empty(0)
    queries = torch.arange(n)
    if n > _QUERIES:
        queries = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:_QUERIES]
    queries = queries.to(x.device)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        points = x.double() - x.double().mean(0)
        half = torch.linalg.vector_norm(points, dim=1).square_() / 2
        # One tensor: small ones that stay between big ones that go would scatter the heap over gigabytes.
        curve = torch.empty(len(queries), dtype=torch.float64, device=x.device)
        for part in spans(len(queries), max(1, MOST_NUMBERS // n)):
            index = queries[part]
            # to rank the neighbours of one point its own norm is not needed
            kth = torch.addmm(half, points[index], points.T, alpha=-1).topk(k, largest=False).indices[:, -1]
            # the distance itself from the differences, so that equal points are at zero
            curve[part] = (x[index].double() - x[kth].double()).norm(dim=1)
        distances = curve.sort().values.cpu().numpy()
    return distances[distances > 0] * _NUDGE


def _knee(curve: np.ndarray) -> float:
    if not len(curve):
        return 1e-6
    # Distances below the chord, up to a factor that is the same for all points.
    below = np.linspace(curve[0], curve[-1], len(curve)) - curve
    if below.max() > 1e-9 * curve[-1]:
        return float(curve[below.argmax()])
    return float(curve[len(curve) // 2])


def _between(curve: np.ndarray, too_small: float, too_large: float) -> float:
    """The next radius to try: the median k-distance between the bounds, else their geometric mean."""
    inside = curve[(curve > too_small) & (curve < too_large)]
    if len(inside):
        return float(inside[len(inside) // 2])
    if math.isinf(too_large):
        return 2 * too_small
    return math.sqrt(max(too_small, 1e-6 * too_large)) * math.sqrt(too_large)


def _fault(clustering: Clustering) -> str | None:
    if clustering.largest_share > _MOST_IN_ONE:
        return f"the largest cluster held {clustering.largest_share:.1%} of the samples, more than {_MOST_IN_ONE:.0%}"
    if clustering.noise_share > _MOST_NOISE:
        return f"{clustering.noise_share:.1%} of the samples were noise, more than {_MOST_NOISE:.0%}"
    return None


def _hopeless(x: Tensor, min_samples: int) -> str | None:
    """Why no eps can help, if it is plain to see."""
    if min_samples > len(x):
        return f"min_samples is {min_samples}, and there are {len(x)} samples"
    # + 0.0 makes equal bytes of 0.0 and -0.0
    rows = np.ascontiguousarray((x.cpu().double() + 0.0).numpy())
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    repeats = int(np.unique(keys, return_counts=True)[1].max())
    if repeats >= min_samples and repeats > _MOST_IN_ONE * len(x):
        return f"{repeats} of {len(x)} samples are identical"
    return None


# --- inputs ----------------------------------------------------------------------------------------------------------


def _points(x: Tensor | np.ndarray) -> Tensor:
    points = x.detach() if isinstance(x, Tensor) else torch.from_numpy(np.array(x))
    if points.ndim != 2 or (len(points) and not points.shape[1]):
        raise ValueError(f"x has shape {tuple(points.shape)}; expected (n, d), one row per sample, d at least 1")
    if points.is_complex():
        raise ValueError(f"x has dtype {points.dtype}; expected real numbers")
    if points.is_floating_point() and not torch.isfinite(points).all():
        bad = int((~torch.isfinite(points)).any(1).sum())
        raise ValueError(f"x has NaN or infinity in {bad} of {len(points)} rows; expected finite numbers")
    # Apple's devices have no float64, on which exactness rests
    return points.cpu() if points.device.type == "mps" else points


def _check(eps: float, min_samples: int) -> None:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps is {eps}; expected a finite number > 0")
    if isinstance(min_samples, bool) or not isinstance(min_samples, (int, np.integer)) or min_samples < 1:
        raise ValueError(f"min_samples is {min_samples!r}; expected a whole number >= 1")


def _labels_like(ours: np.ndarray, labels: Tensor | np.ndarray, name: str) -> Tensor:
    theirs = torch.as_tensor(labels).detach().cpu()
    if theirs.shape != ours.shape:
        raise ValueError(f"{name} has shape {tuple(theirs.shape)}; expected {ours.shape}, one label per sample")
    return theirs.to(torch.int64)
