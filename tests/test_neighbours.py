"""The radius search finds all pairs where it says so, and only true ones where it does not."""

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from torch.nn.functional import normalize

from tmor.pretrain import clusters
from tmor.pretrain.clusters import cluster, dbscan
from tmor.pretrain.neighbours import Neighbours


def mixture(rows=3000, d=64, centres=60, spread=0.3, seed=0):
    """Clusters of different sizes on the sphere, and a fifth of noise."""
    generator = torch.Generator().manual_seed(seed)
    clustered = rows * 4 // 5
    of = torch.multinomial(1 / torch.arange(1.0, centres + 1), clustered, replacement=True, generator=generator)
    middle = normalize(torch.randn(centres, d, generator=generator), dim=1)
    x = middle[of] + torch.randn(clustered, d, generator=generator) * spread / d**0.5
    x = normalize(torch.cat([x, torch.randn(rows - clustered, d, generator=generator)]), dim=1)
    return x[torch.randperm(rows, generator=generator)]


def found(search):
    """All pairs that a search finds, as indices of its input, the smaller first."""
    pairs, compared = set(), 0
    for tile in search.tiles():
        compared += len(tile.rows) * (tile.cols.stop - tile.cols.start)
        i, j = search.near(tile.rows, tile.cols).pairs(tile.cols)
        i, j = search.order[i].tolist(), search.order[j].tolist()
        fresh = [(a, b) for a, b in zip(i, j, strict=True) if (a < b if tile.same else a != b)]
        for a, b in fresh:
            pair = (min(a, b), max(a, b))
            assert pair not in pairs, "a pair is in one tile only"
            pairs.add(pair)
    return pairs, compared


def truth(x, eps):
    near = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist") <= eps
    return {(i, j) for i, j in near.triu(1).nonzero().tolist()}


@pytest.mark.parametrize("d", [8, 32, 33, 64])  # beyond 32 columns the first product is of a few directions
def test_every_pair_within_the_radius_is_found_once(d):
    x = mixture(500, d=d, centres=12)
    for eps in (0.2, 0.5, 0.9, 1.5):
        pairs, _ = found(Neighbours(x, eps=eps, block=64))
        assert pairs == truth(x, eps)


def test_cells_leave_out_most_of_the_work_where_points_are_clustered():
    x = mixture(2000, spread=0.1)
    pairs, compared = found(Neighbours(x, eps=0.2, block=128))
    assert pairs == found(Neighbours(x, eps=0.2, block=4000))[0]
    assert compared < 0.3 * len(x) * (len(x) + 1) / 2


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e3, 1e25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale_and_offset_lose_nothing(scale, dtype):
    # far from the origin, and so tight that products of float32 can't tell the points apart
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    x = middle[torch.arange(300) % 6] * 1e3 + torch.randn(300, 40, generator=generator, dtype=torch.float64) + 1e4
    x = (x * scale).to(dtype)
    eps = 8.5 * scale
    assert found(Neighbours(x, eps=eps, block=32))[0] == truth(x, eps)


def test_more_probes_find_more_true_pairs_until_all_are_found():
    x = mixture(1000, centres=20)
    every = truth(x, 0.6)
    before: set = set()
    for probes in (1, 4, 16, 61):
        search = Neighbours(x, eps=0.6, block=64, probes=probes)
        pairs, _ = found(search)
        assert before <= pairs <= every
        assert pairs == every or not search.exact
        before = pairs
    assert before == every
    assert Neighbours(x, eps=0.6, block=64, probes=10**6).exact


def test_where_a_bound_on_the_cells_was_not_needed_the_search_is_exact():
    x = normalize(torch.eye(64).repeat_interleave(8, dim=0) + 1e-3 * torch.randn(512, 64), dim=1)
    search = Neighbours(x, eps=0.1, block=32, probes=8)
    assert search.exact
    assert found(search)[0] == truth(x, 0.1)


@pytest.mark.parametrize("block", [100, 1000])
def test_dbscan_of_many_directions_is_that_of_scikit_learn(block):
    x = mixture(2000)
    for eps in (0.4, 0.5, 0.7):
        theirs = DBSCAN(eps=eps, min_samples=4, algorithm="brute").fit_predict(x.numpy())
        np.testing.assert_array_equal(dbscan(x, eps=eps, min_samples=4, block=block), theirs)


def test_beyond_so_many_rows_clustering_is_approximate_and_says_so(monkeypatch):
    x = mixture(4000)
    exactly = cluster(x, eps=0.45, min_samples=4)
    assert exactly.exact
    monkeypatch.setattr(clusters, "_EXACT_UP_TO", 3000)
    monkeypatch.setattr(clusters, "_PROBES", 2)
    about = cluster(x, eps=0.45, min_samples=4)
    assert not about.exact
    assert torch.equal(about.labels, cluster(x, eps=0.45, min_samples=4).labels)
    assert adjusted_rand_score(exactly.sample_clusters(), about.sample_clusters()) > 0.95
    # Pairs can be missed, not made up: no two clusters are merged.
    joined = {(int(a), int(b)) for a, b in zip(about.labels, exactly.labels, strict=True) if a >= 0}
    core = [b for a, b in joined]
    assert -1 not in core
    assert len({a for a, _ in joined}) == about.count


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_device_labels_are_the_same():
    x = mixture(20000, d=128, centres=500)
    labels = dbscan(x.cuda(), eps=0.45, min_samples=4)
    assert labels.device.type == "cuda"
    assert torch.equal(labels.cpu(), dbscan(x, eps=0.45, min_samples=4))
