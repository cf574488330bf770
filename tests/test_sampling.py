"""Who is positive and who is negative, which clips an epoch visits, and what is remembered."""

import pytest
import torch

from tmor.pretrain.sampling import Bank, cluster_masks, epoch_order, instance, step_generator

CLUSTERS = torch.tensor([7, 7, 9])  # of samples 0, 1, 2


@pytest.mark.parametrize(
    ("row", "column", "positive", "negative"),
    [
        # (sample, mirrored) of the row and of the column
        ((0, 0), (0, 0), True, False),  # itself
        ((0, 1), (0, 1), True, False),
        ((0, 0), (1, 0), True, False),  # of the same cluster
        ((0, 1), (1, 1), True, False),
        ((0, 0), (0, 1), False, False),  # its own mirror image: not known
        ((0, 0), (1, 1), False, False),
        ((0, 1), (1, 0), False, False),
        ((0, 0), (2, 0), False, True),  # of another cluster
        ((0, 0), (2, 1), False, True),
        ((2, 1), (1, 0), False, True),
    ],
)
def test_truth_table_of_the_masks(row, column, positive: bool, negative: bool) -> None:
    rows, columns = (instance(torch.tensor([s]), torch.tensor([bool(m)])) for s, m in (row, column))
    assert [mask.tolist() for mask in cluster_masks(rows, columns, CLUSTERS)] == [[[positive]], [[negative]]]


def test_masks_are_disjoint_and_a_row_is_its_own_positive() -> None:
    rows = instance(torch.arange(30) % 10, torch.arange(30) >= 15)
    positive, negative = cluster_masks(rows, rows, torch.arange(10) // 3)
    assert positive.diagonal().all()
    assert not (positive & negative).any()
    assert torch.equal(positive, positive.T)


def test_with_singletons_only_the_same_instance_is_positive() -> None:
    rows = instance(torch.arange(5), torch.zeros(5, dtype=torch.bool))
    positive, negative = cluster_masks(rows, rows, torch.arange(5))
    assert torch.equal(positive, torch.eye(5, dtype=torch.bool))
    assert torch.equal(negative, ~positive)


def test_the_bank_keeps_the_newest_and_overwrites_the_oldest() -> None:
    bank = Bank.empty(5, 1)
    assert len(bank.filled()[0]) == 0
    for start in (0, 3, 6):
        ids = torch.arange(start, start + 3)
        bank.push(ids, ids[:, None].float(), ids + 100)
    ids, rows, keys = bank.filled()
    assert ids.tolist() == [5, 6, 7, 8, 4]
    assert torch.equal(rows[:, 0], ids.float())
    assert torch.equal(keys, ids + 100)


def test_a_bank_that_is_not_full_yet_gives_what_it_has() -> None:
    bank = Bank.empty(5, 2)
    bank.push(torch.tensor([3, 1]), torch.ones(2, 2))
    assert [part.tolist() for part in bank.filled()] == [[3, 1], [[1, 1], [1, 1]], [0, 0]]


def test_of_more_than_the_bank_holds_the_newest_stay() -> None:
    bank = Bank.empty(4, 1)
    for start in (0, 11):
        ids = torch.arange(start, start + 11)
        bank.push(ids, ids[:, None].float(), ids)
    ids, rows, keys = bank.filled()
    assert sorted(ids.tolist()) == [18, 19, 20, 21]
    assert torch.equal(rows[:, 0], ids.float())
    assert torch.equal(keys, ids)
    bank.push(torch.tensor([50]), torch.tensor([[50.0]]), torch.tensor([50]))
    assert sorted(bank.ids.tolist()) == [19, 20, 21, 50]


def test_the_bank_holds_no_gradient() -> None:
    bank, rows = Bank.empty(2, 2), torch.ones(2, 2, requires_grad=True)
    bank.push(torch.arange(2), rows * 2)
    assert not bank.filled()[1].requires_grad


def test_a_bank_of_size_zero_stays_empty() -> None:
    bank = Bank.empty(0, 3)
    bank.push(torch.arange(2), torch.ones(2, 3))
    assert [tuple(part.shape) for part in bank.filled()] == [(0,), (0, 3), (0,)]


SOURCES = torch.tensor([0] * 80 + [1] * 20)


@pytest.mark.parametrize(
    ("balance", "shares"),
    [(0.0, (0.8, 0.2)), (1.0, (0.5, 0.5)), (0.5, (80**0.5 / (80**0.5 + 20**0.5), 20**0.5 / (80**0.5 + 20**0.5)))],
)
@pytest.mark.parametrize("count", [30, 300])
def test_sources_come_as_often_as_the_balance_says(balance: float, shares: tuple[float, ...], count: int) -> None:
    order = epoch_order(SOURCES, count=count, balance=balance, generator=step_generator(0))
    assert order.shape == (count,)
    drawn = torch.bincount(order, minlength=len(SOURCES))
    for source, share in enumerate(shares):
        size = int((source == SOURCES).sum())
        times = drawn[source == SOURCES]
        expected = count * share / size
        # A sample comes floor or ceil of its expected number of times, so that none repeats before its turn.
        assert int(expected) <= times.min()
        assert times.max() <= int(expected) + 1
        assert int(times.sum()) == pytest.approx(count * share, abs=3 * size**0.5 * min(1, expected))


def test_an_epoch_as_long_as_the_set_visits_every_sample_once() -> None:
    order = epoch_order(SOURCES, count=100, balance=0.0, generator=step_generator(3))
    assert sorted(order.tolist()) == list(range(100))
    assert order.tolist() != list(range(100))


def test_over_epochs_every_sample_has_its_turn() -> None:
    orders = [epoch_order(SOURCES, count=25, balance=0.0, generator=step_generator(0, e)) for e in range(40)]
    assert len(torch.cat(orders).unique()) == 100


def test_the_same_generator_gives_the_same_order() -> None:
    a, b, other = (epoch_order(SOURCES, count=50, balance=0.5, generator=step_generator(0, e)) for e in (4, 4, 5))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)


def test_randomness_is_a_function_of_the_counters_alone() -> None:
    torch.manual_seed(1)
    first = torch.rand(4, generator=step_generator(5, 2, 7))
    torch.manual_seed(2)
    assert torch.equal(first, torch.rand(4, generator=step_generator(5, 2, 7)))


def test_no_two_counters_share_their_randomness() -> None:
    draws = {
        tuple(torch.rand(2, generator=step_generator(seed, what, step)).tolist())
        for seed in range(4)
        for what in range(3)
        for step in range(100)
    }
    assert len(draws) == 4 * 3 * 100
    assert abs(sum(a for a, _ in draws) / len(draws) - 0.5) < 0.03


def test_large_seeds_and_counters_will_do() -> None:
    assert 0 <= step_generator(2**63 - 1, 1, 10**9).initial_seed() < 2**63
