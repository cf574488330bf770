"""DBSCAN equals scikit-learn's; the collapse guard repairs or says that it can't; diagnostics have closed forms."""

import math
import resource
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.cluster import DBSCAN
from sklearn.datasets import make_blobs
from torch.nn.functional import normalize

from tmor.pretrain import clusters
from tmor.pretrain.clusters import Clustering, choose_eps, cluster, dbscan, diagnostics


def reference(x, eps, min_samples):
    return DBSCAN(eps=eps, min_samples=min_samples, algorithm="brute").fit(np.asarray(x)).labels_


def by_definition(x, eps, min_samples):
    """The textbook, with the rule of ``dbscan`` for who is a neighbour: squares summed in order, in float64."""
    x = np.asarray(x)
    limit = float(np.float32(eps) ** 2) if x.dtype == np.float32 else eps * eps
    x = x.astype(np.float64)
    near = np.square(x[:, None] - x[None]).cumsum(2)[:, :, -1] <= limit
    core = near.sum(1) >= min_samples
    labels = np.full(len(x), -1)
    number = 0
    for start in range(len(x)):
        if labels[start] != -1 or not core[start]:
            continue
        front = [start]
        while front:
            i = front.pop()
            if labels[i] == -1:
                labels[i] = number
                front.extend(np.flatnonzero(near[i]) if core[i] else [])
        number += 1
    return labels


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def unit_blobs(n=600, d=24, centers=7, spread=0.6, seed=0):
    x, y = make_blobs(n, d, centers=centers, cluster_std=spread, center_box=(-2, 2), random_state=seed)
    return normalize(torch.from_numpy(x).float(), dim=1), y


# --- equality with scikit-learn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [2, 20])
@pytest.mark.parametrize("seed", range(2))
def test_random_blobs(dtype, d, seed):
    x, _ = make_blobs(400, d, centers=6, cluster_std=1.0, random_state=seed)
    x = x.astype(dtype)
    for eps in np.quantile(pdist(x), [0.002, 0.01, 0.05, 0.15, 0.6]):
        for min_samples in (1, 2, 5, 12):
            ours = dbscan(x, eps=float(eps), min_samples=min_samples, block=150)
            assert ours.dtype == torch.int64
            np.testing.assert_array_equal(ours, reference(x, eps, min_samples))


@pytest.mark.parametrize("block", [1, 7, 64, 599, 600, 5000, None])
def test_block_size_does_not_matter(block):
    x, _ = unit_blobs()
    if block in (1, 7):
        x = x[: 40 * block]
    for eps in (0.3, 0.45, 0.6, 1.5) if block != 1 else (0.6,):
        np.testing.assert_array_equal(dbscan(x, eps=eps, min_samples=5, block=block), reference(x, eps, 5))


@pytest.mark.parametrize("room", [0, 2000])
def test_pairs_that_are_not_kept_are_found_again(room, monkeypatch):
    monkeypatch.setattr(clusters, "_KEPT_PAIRS", room)
    monkeypatch.setattr(clusters, "MOST_NUMBERS", 800)  # components are merged often
    x, _ = unit_blobs()
    for eps in (0.3, 0.45, 0.6):
        np.testing.assert_array_equal(dbscan(x, eps=eps, min_samples=5, block=100), reference(x, eps, 5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1000])
def test_grid_with_exact_ties(dtype, offset):
    x = np.stack(np.meshgrid(np.arange(9), np.arange(9), np.arange(3)), -1).reshape(-1, 3)
    x = np.random.default_rng(0).permutation(x)[:200].astype(dtype) + offset
    for squared in (1, 2, 3, 9):
        for nudge in (1 - 1e-12, 1, 1 + 1e-12):
            for min_samples in (1, 4, 7):
                eps = math.sqrt(squared) * nudge
                labels = dbscan(x, eps=eps, min_samples=min_samples, block=64)
                np.testing.assert_array_equal(labels, reference(x, eps, min_samples))
                np.testing.assert_array_equal(labels, by_definition(x, eps, min_samples))


@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_that_floating_point_blurs_fall_as_the_rule_says(d, offset, dtype):
    rng = np.random.default_rng(d)
    for step in (0.1, 0.3, 0.7):
        x = (rng.integers(0, 6, size=(150, d)) * step + offset).astype(dtype)
        for i in range(4):
            eps = float(np.linalg.norm(x[i] - x[i + 4])) or step
            np.testing.assert_array_equal(dbscan(x, eps=eps, min_samples=3, block=40), by_definition(x, eps, 3))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_small_integer_points(data):
    d = data.draw(st.integers(1, 3))
    x = data.draw(st.lists(st.lists(st.integers(-4, 4), min_size=d, max_size=d), min_size=1, max_size=30))
    eps = data.draw(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 5.0]))
    min_samples = data.draw(st.integers(1, 6))
    x = np.array(x, dtype=data.draw(st.sampled_from([np.float32, np.float64, np.int64])))
    block = data.draw(st.sampled_from([2, 5, None]))
    np.testing.assert_array_equal(
        dbscan(x, eps=eps, min_samples=min_samples, block=block), reference(x, eps, min_samples)
    )


def test_border_point_goes_to_the_first_cluster():
    #     cluster around 0        border      cluster around 4
    line = [-0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 4.5]
    for order in (line, line[::-1], [2.0, *line[5:], *line[:4]], [line[8], *line[:8]]):
        x = np.array(order)[:, None]
        labels = dbscan(x, eps=1.0, min_samples=4, block=2)
        np.testing.assert_array_equal(labels, reference(x, 1.0, 4))
        assert labels.max() == 1
        assert labels[order.index(2.0)] == 0


def test_a_smaller_core_index_is_not_a_smaller_cluster():
    # The border point at 0 touches core points 1 (of the cluster that starts at index 1) and 2 (of the one at 0).
    x = np.array([3.0, -1.0, 1.0, 2.0, -2.0, -3.0, 0.0, -2.5, 2.5])[:, None]
    labels = dbscan(x, eps=1.0, min_samples=4, block=3)
    np.testing.assert_array_equal(labels, reference(x, 1.0, 4))


def test_chain_is_one_cluster_until_a_link_is_missing():
    x = np.random.default_rng(0).permutation(700.0 + np.arange(700))[:, None]
    assert dbscan(x, eps=1.0, min_samples=3, block=50).unique().tolist() == [0]
    cut = x[x[:, 0] != 1000.0]
    labels = dbscan(cut, eps=1.0, min_samples=3, block=50)
    np.testing.assert_array_equal(labels, reference(cut, 1.0, 3))
    assert labels.max() == 1


def test_duplicates_count():
    x = np.array([[0.0, 0.0]] * 4 + [[-0.0, 5.0]] * 3 + [[9.0, 9.0]])
    assert dbscan(x, eps=1e-12, min_samples=4).tolist() == [0, 0, 0, 0, -1, -1, -1, -1]
    assert dbscan(x, eps=1e-12, min_samples=3).tolist() == [0, 0, 0, 0, 1, 1, 1, -1]


def test_limits():
    assert dbscan(torch.empty(0, 3), eps=1.0, min_samples=1).shape == (0,)
    assert dbscan(torch.zeros(1, 3), eps=1.0, min_samples=1).tolist() == [0]
    assert dbscan(torch.zeros(1, 3), eps=1.0, min_samples=2).tolist() == [-1]
    x, _ = unit_blobs(50)
    assert (dbscan(x, eps=1e-6, min_samples=2) == -1).all()
    assert (dbscan(x, eps=2.0, min_samples=50) == 0).all()
    assert (dbscan(x, eps=2.0, min_samples=51) == -1).all()
    assert dbscan(x, eps=1e-6, min_samples=1).tolist() == list(range(50))


def test_tight_clusters_far_from_the_origin_and_extreme_scales():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 20))[rng.integers(0, 5, 300)] * 1e3 + rng.normal(size=(300, 20)) * 1e-4
    for scale in (1.0, 1e-30, 1e30, 1e-140, 1e140):
        for eps in (3e-4, 5e-4, 8e-4):
            np.testing.assert_array_equal(dbscan(x * scale, eps=eps * scale, min_samples=4), by_definition(x, eps, 4))


def test_products_of_fewer_bits_do_not_touch_the_result():
    x, _ = unit_blobs()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            labels = dbscan(x, eps=0.45, min_samples=5)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(labels, reference(x, 0.45, 5))


def test_permutation_keeps_the_partition_of_core_points_and_the_noise():
    x, _ = unit_blobs()
    labels = dbscan(x, eps=0.45, min_samples=5)
    core = (torch.cdist(x.double(), x.double()) <= 0.45).sum(1) >= 5
    assert labels.max() > 1
    assert (labels == -1).any()
    for seed in range(5):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        shuffled = torch.empty_like(labels)
        shuffled[order] = dbscan(x[order], eps=0.45, min_samples=5)
        assert same_partition(labels[core], shuffled[core])
        assert torch.equal(labels == -1, shuffled == -1)


def test_input_stays_as_it_was_and_may_require_grad():
    x, _ = unit_blobs(100)
    copy = x.clone()
    labels = dbscan(x.requires_grad_(), eps=0.5, min_samples=4)
    assert not labels.requires_grad
    assert torch.equal(x.detach(), copy)
    view = copy.numpy()[::-1]
    view.setflags(write=False)
    np.testing.assert_array_equal(dbscan(view, eps=0.5, min_samples=4), reference(view, 0.5, 4))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
@pytest.mark.parametrize("jitter", [0.0, 1e-6])
def test_collapse_needs_little_memory(jitter):
    x = torch.full((12000, 16), 0.25)
    x += jitter * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    labels = dbscan(x, eps=1e-3, min_samples=8)
    assert (labels == 0).all()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 900e6  # n x n: 1.15 GB of int64


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "eps", "min_samples", "message"),
    [
        (torch.zeros(3, 2), 0.0, 2, "eps is 0.0; expected a finite number > 0"),
        (torch.zeros(3, 2), -1.0, 2, "eps is -1.0; expected a finite number > 0"),
        (torch.zeros(3, 2), math.nan, 2, "eps is nan; expected a finite number > 0"),
        (torch.zeros(3, 2), 1.0, 0, "min_samples is 0; expected a whole number >= 1"),
        (torch.zeros(3, 2), 1.0, 2.5, "min_samples is 2.5; expected a whole number >= 1"),
        (torch.zeros(3), 1.0, 2, "x has shape (3,); expected (n, d), one row per sample, d at least 1"),
        (torch.zeros(3, 0), 1.0, 2, "x has shape (3, 0); expected (n, d), one row per sample, d at least 1"),
        (torch.tensor([[0.0], [math.nan]]), 1.0, 2, "x has NaN or infinity in 1 of 2 rows; expected finite numbers"),
        (torch.zeros(3, 2, dtype=torch.complex64), 1.0, 2, "x has dtype torch.complex64; expected real numbers"),
    ],
)
def test_errors_name_value_and_expectation(x, eps, min_samples, message):
    for function in (dbscan, cluster):
        with pytest.raises(ValueError) as caught:
            function(x, eps=eps, min_samples=min_samples)
        assert str(caught.value) == message


def test_block_must_be_positive():
    with pytest.raises(ValueError, match="block is 0; expected at least 1"):
        dbscan(torch.zeros(3, 2), eps=1.0, min_samples=1, block=0)


# --- eps -------------------------------------------------------------------------------------------------------------


def test_knee_is_where_noise_begins():
    # 90 points one apart on a line (k-distance 1), 10 with growing gaps: the curve turns at the last 1.
    gaps = np.concatenate([np.ones(89), 10.0 * np.arange(2, 12)])
    x = np.concatenate([[0.0], gaps.cumsum()])[:, None]
    assert choose_eps(x, min_samples=2) == pytest.approx(1.0, rel=1e-5)


def test_chosen_eps_finds_separate_blobs():
    x, y = make_blobs(500, 16, centers=6, cluster_std=0.3, random_state=1)
    found = cluster(x, eps=None, min_samples=5)
    assert found.moves == ()
    assert found.eps == choose_eps(x, min_samples=5)
    assert found.count == 6
    assert diagnostics(found, previous=None, truth=y)["ari_labels"] > 0.9


def test_chosen_eps_on_a_subsample_is_deterministic_and_close():
    x, _ = unit_blobs(3000)
    generator = torch.get_rng_state()
    eps = choose_eps(x, min_samples=5)
    assert torch.equal(torch.get_rng_state(), generator)
    assert choose_eps(x, min_samples=5) == eps
    assert choose_eps(x * 4, min_samples=5) == pytest.approx(4 * eps, rel=1e-6)
    whole = torch.cdist(x.double(), x.double()).kthvalue(5, dim=1).values
    assert whole.quantile(0.5) < eps < whole.max()


def test_chosen_eps_of_degenerate_inputs():
    for x in (torch.empty(0, 2), torch.zeros(1, 2), torch.full((50, 8), 0.3)):
        assert choose_eps(x, min_samples=5) == 1e-6
    # equal distances have no knee: each point must still be within reach of its neighbour
    assert (dbscan(torch.eye(6), eps=choose_eps(torch.eye(6), min_samples=3), min_samples=3) == 0).all()
    assert choose_eps(torch.tensor([[0.0], [2.0]]), min_samples=1) == pytest.approx(2.0, rel=1e-5)
    assert choose_eps(torch.tensor([[0.0], [2.0]]), min_samples=9) == pytest.approx(2.0, rel=1e-5)
    # most points repeated: zero is no radius
    many = torch.cat([torch.zeros(90, 1), torch.arange(1.0, 11.0)[:, None]])
    assert choose_eps(many, min_samples=5) >= 1.0
    with pytest.raises(ValueError, match="min_samples is 0"):
        choose_eps(many, min_samples=0)


# --- collapse guard --------------------------------------------------------------------------------------------------


def test_good_eps_is_left_alone():
    x, _ = unit_blobs()
    found = cluster(x, eps=0.45, min_samples=5)
    assert (found.eps, found.moves) == (0.45, ())
    assert torch.equal(found.labels, dbscan(x, eps=0.45, min_samples=5))


@pytest.mark.parametrize("eps", [1.9, 100.0])
def test_too_large_eps_is_moved_down_and_told(eps):
    x, _ = unit_blobs()
    found = cluster(x, eps=eps, min_samples=5)
    assert found.eps < eps
    assert found.largest_share <= 0.5
    assert found.noise_share <= 0.9
    assert found.moves[0].startswith(f"eps {eps:.6g} -> ")
    assert found.moves[0].endswith("the largest cluster held 100.0% of the samples, more than 50%")
    assert found.moves[-1].split(": ")[0].endswith(f"-> {found.eps:.6g}")
    assert torch.equal(found.labels, dbscan(x, eps=found.eps, min_samples=5))


@pytest.mark.parametrize("eps", [0.01, 1e-9])
def test_too_small_eps_is_moved_up_and_told(eps):
    x, _ = unit_blobs()
    found = cluster(x, eps=eps, min_samples=5)
    assert found.eps > eps
    assert found.largest_share <= 0.5
    assert found.noise_share <= 0.9
    assert found.moves[0].startswith(f"eps {eps:.6g} -> ")
    assert found.moves[0].endswith("100.0% of the samples were noise, more than 90%")


def test_the_bracket_is_narrowed_from_both_sides():
    # A dense line of 60 and a sparse one of 40: noise below 1, one of 60% from 1 on, until 3 below joins the others.
    x = torch.cat([torch.arange(60.0), 1000 + 3 * torch.arange(40.0)])[:, None]
    found = cluster(x, eps=0.5, min_samples=2)
    assert 1 < len(found.moves) <= 13
    assert any("noise" in move for move in found.moves)
    assert any("largest" in move for move in found.moves)
    assert found.moves[-1].startswith("no eps will do, every sample is its own cluster: ")
    assert (found.labels == -1).all()


def test_repeated_points_may_need_an_eps_below_every_k_distance():
    x = torch.arange(10.0).repeat_interleave(20)[:, None]
    found = cluster(x, eps=5.0, min_samples=4)
    assert found.count == 10
    assert found.eps < 1
    assert found.moves


def test_identical_points_become_singletons_and_it_is_told():
    for eps in (None, 0.5):
        found = cluster(torch.full((40, 3), 0.5), eps=eps, min_samples=4)
        assert found.moves == ("no eps will do, every sample is its own cluster: 40 of 40 samples are identical",)
        assert (found.labels == -1).all()
        assert found.sample_clusters().tolist() == list(range(40))
        assert found.eps == (eps or 1e-6)


def test_too_few_samples_become_singletons():
    found = cluster(torch.eye(3), eps=0.5, min_samples=4)
    assert found.moves == (
        "no eps will do, every sample is its own cluster: min_samples is 4, and there are 3 samples",
    )
    assert cluster(torch.empty(0, 3), eps=None, min_samples=4).moves == ()


# --- Clustering and diagnostics --------------------------------------------------------------------------------------


def test_clustering_counts():
    found = Clustering(torch.tensor([0, -1, 1, 0, -1, 0]), eps=1.0)
    assert (found.count, found.noise_share, found.largest_share) == (2, pytest.approx(1 / 3), 0.5)
    assert found.sample_clusters().tolist() == [0, 2, 1, 0, 3, 0]
    nothing = Clustering(torch.empty(0, dtype=torch.int64), eps=1.0)
    assert (nothing.count, nothing.noise_share, nothing.largest_share) == (0, 0.0, 0.0)
    assert nothing.sample_clusters().shape == (0,)
    assert diagnostics(nothing, previous=nothing.labels, truth=nothing.labels) == {
        "clusters": 0.0,
        "noise_share": 0.0,
        "largest_share": 0.0,
    }


def test_diagnostics_closed_forms():
    found = Clustering(torch.tensor([0, 0, 1, 1]), eps=1.0)
    assert diagnostics(found, previous=None, truth=None) == {"clusters": 2.0, "noise_share": 0.0, "largest_share": 0.5}
    same = diagnostics(found, previous=torch.tensor([1, 1, 0, 0]), truth=np.array([5, 5, 7, 7]))
    assert (same["ari_previous"], same["ari_labels"], same["nmi_labels"]) == (1.0, 1.0, pytest.approx(1.0))
    # crossed: 2 pairs within each, none in common; by chance 2 * 2 / 6, so (0 - 2/3) / (2 - 2/3) = -1/2
    crossed = diagnostics(found, previous=None, truth=np.array([0, 1, 0, 1]))
    assert crossed["ari_labels"] == pytest.approx(-0.5)
    assert crossed["nmi_labels"] == pytest.approx(0.0, abs=1e-12)


def test_diagnostics_leave_out_unknown_and_take_noise_as_singletons():
    found = Clustering(torch.tensor([0, 0, 1, 1, -1, -1]), eps=1.0)
    known = diagnostics(found, previous=found.labels, truth=np.array([3, 3, 4, 4, -1, -1]))
    assert known["ari_labels"] == 1.0
    assert known["ari_previous"] == 1.0
    # noise is not one cluster: against a previous epoch that had the last two together, less than 1
    assert diagnostics(found, previous=torch.tensor([0, 0, 1, 1, 2, 2]), truth=None)["ari_previous"] < 1.0
    assert "ari_labels" not in diagnostics(found, previous=None, truth=np.full(6, -1))


@pytest.mark.filterwarnings("error")
def test_diagnostics_of_singletons_are_silent():
    found = Clustering(torch.full((30,), -1), eps=1.0)
    numbers = diagnostics(found, previous=found.labels, truth=np.arange(30) % 3)
    assert numbers["ari_previous"] == 1.0
    assert numbers["ari_labels"] == pytest.approx(0.0)


def test_diagnostics_need_one_label_per_sample():
    found = Clustering(torch.tensor([0, 0]), eps=1.0)
    with pytest.raises(ValueError) as caught:
        diagnostics(found, previous=torch.zeros(3), truth=None)
    assert str(caught.value) == "previous has shape (3,); expected (2,), one label per sample"
