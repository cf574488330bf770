"""The losses of METHOD section 2: closed forms, limits and invariances."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmor.pretrain.losses import cluster_nce, paired_nce

OWN = torch.eye(6, dtype=torch.bool)


def unit(n: int, d: int = 5, *, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_with_singletons_it_is_infonce() -> None:
    x, y = unit(6), unit(6, seed=1)
    expected = F.cross_entropy(x @ y.T / 0.07, torch.arange(6))
    torch.testing.assert_close(cluster_nce(x, y, OWN, ~OWN), expected)


def test_in_both_directions_it_is_the_loss_of_clip() -> None:
    x, y = unit(6), unit(6, seed=1)
    logits, own = x @ y.T / 0.1, torch.arange(6)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(paired_nce(x, y, OWN, ~OWN, temperature=0.1), expected)


def test_two_orthogonal_singletons_give_log_1_plus_1_over_e() -> None:
    x, own = torch.eye(2), torch.eye(2, dtype=torch.bool)
    assert float(cluster_nce(x, x, own, ~own, temperature=1.0)) == pytest.approx(math.log(1 + 1 / math.e), abs=1e-6)


def test_without_negatives_it_is_zero() -> None:
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert float(cluster_nce(unit(6), unit(6, seed=1), everything, ~everything)) == pytest.approx(0, abs=1e-6)


def test_k_positives_among_n_equal_similarities_give_log_n_over_k() -> None:
    x = torch.ones(6, 1)
    for k in range(1, 7):
        positive = (torch.arange(6) < k).expand(6, 6)
        assert float(cluster_nce(x, x, positive, ~positive, temperature=1.0)) == pytest.approx(
            math.log(6 / k), abs=1e-6
        )


def test_excluded_pairs_have_no_influence() -> None:
    x, y = unit(6).requires_grad_(), unit(7, seed=1).requires_grad_()
    positive = torch.eye(6, 7, dtype=torch.bool)
    negative = ~positive & (torch.arange(7) < 6)
    loss = cluster_nce(x, y, positive, negative)
    torch.testing.assert_close(loss, cluster_nce(x, y[:6], positive[:, :6], negative[:, :6]))
    loss.backward()
    assert y.grad is not None
    assert y.grad[6].eq(0).all()
    assert y.grad[:6].ne(0).any(dim=1).all()


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    x, y, same = unit(6), unit(6, seed=1), torch.tensor([0, 0, 1, 2, 2, 2])
    positive = same[:, None] == same
    rows, columns = torch.tensor([3, 5, 0, 1, 4, 2]), torch.tensor([1, 0, 5, 2, 3, 4])
    shuffled = cluster_nce(x[rows], y[columns], positive[rows][:, columns], ~positive[rows][:, columns])
    torch.testing.assert_close(shuffled, cluster_nce(x, y, positive, ~positive))


def test_swapping_both_sides_leaves_the_paired_loss_alone() -> None:
    x, y = unit(6), unit(6, seed=1)
    torch.testing.assert_close(paired_nce(y, x, OWN, ~OWN), paired_nce(x, y, OWN, ~OWN))


def test_small_temperatures_do_not_overflow() -> None:
    assert cluster_nce(unit(6), unit(6), OWN, ~OWN, temperature=1e-3).isfinite()


@pytest.mark.parametrize("loss", [cluster_nce, paired_nce])
def test_the_gradient_is_that_of_finite_differences(loss) -> None:
    x, y = unit(6).double().requires_grad_(), unit(6, seed=1).double().requires_grad_()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    same = torch.tensor([0, 0, 1, 2, 2, 3])
    positive = same[:, None] == same
    negative = ~positive & (torch.arange(6) != 5)
    assert torch.autograd.gradcheck(lambda x, y, t: loss(x, y, positive, negative, temperature=t), (x, y, temperature))


def test_half_precision_embeddings_are_compared_in_single_precision() -> None:
    loss = cluster_nce(unit(6).bfloat16(), unit(6, seed=1).bfloat16(), OWN, ~OWN)
    assert loss.dtype == torch.float32


def test_a_row_without_a_positive_is_an_error() -> None:
    positive = OWN.clone()
    positive[3] = False
    with pytest.raises(ValueError, match=r"^row 3 of positive is empty; expected at least its own pair$"):
        cluster_nce(unit(6), unit(6), positive, ~positive)


@pytest.mark.parametrize("temperature", [0.0, -0.5])
def test_a_temperature_that_is_not_positive_is_an_error(temperature: float) -> None:
    with pytest.raises(ValueError, match=rf"^temperature is {temperature}; expected a positive number$"):
        cluster_nce(unit(6), unit(6), OWN, ~OWN, temperature=temperature)
