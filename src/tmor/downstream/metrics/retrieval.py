"""Metrics of finding motions by text and texts by motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmor.downstream.metrics.averages import mean_of_numbers

TMR_RANKS = (1, 2, 3, 5, 10)
_ALIKE, _BATCH = 0.95, 32  # TMR's


def retrieval(similarity: np.ndarray, relevant: np.ndarray, *, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """How well rows find their columns.

    Args:
        similarity: (queries, items).
        relevant: (queries, items) bool; every query has a relevant item. Ties count against the query.
        ranks: the k of R@k.

    Returns:
        R@k in percent and the median rank (1 = best) of the first relevant item.

    Raises:
        ValueError: a query has no relevant item.
    """
    if not relevant.any(axis=1).all():
        raise ValueError(f"query {int(np.argmin(relevant.any(axis=1)))} has no relevant item")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + ((similarity >= best) & ~relevant).sum(axis=1)
    return {f"R@{k}": 100 * float((rank <= k).mean()) for k in ranks} | {"median_rank": float(np.median(rank))}


def retrieval_protocols(
    similarity: np.ndarray,
    text_similarity: np.ndarray,
    *,
    subset: int = 100,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, float]]]:
    """The four text-motion retrieval protocols of TMR (Petrovich et al. 2023), for one text per motion.

    - ``all`` (there: normal): only the motion of a text is right.
    - ``threshold``: right is every motion whose text is like the query's by more than 0.95, on a scale where
      cosine -1 is 0 and 1 is 1; the best of them counts.
    - ``dissimilar`` (nsim): as ``all`` within :func:`dissimilar_subset`. TMR ships a list of 100 test ids instead,
      without the code that chose them: for its very subset, pass the rows of these ids and read ``all``.
    - ``batches`` (guo): as ``all`` within shuffled batches of 32, an incomplete last one dropped; the mean over them,
      of the median ranks too. If the rows are in order of their ids and ``seed`` is 0, the batches are those of TMR.

    TMR gives a tie the mean of its ranks; here ties count against the query.

    Args:
        similarity: (n, n) of text i and motion j; pairs on the diagonal.
        text_similarity: (n, n) cosine of texts i and j, by a sentence encoder, in [-1, 1].
        subset: size of the dissimilar one.
        seed: of the batches.

    Returns:
        {protocol: {``text_to_motion`` | ``motion_to_text``: R@1, 2, 3, 5, 10 in percent and ``median_rank``}}; NaN for
        ``batches`` where there is not one whole batch.

    Raises:
        ValueError: the matrices are not (n, n) both, or hold NaN.
    """
    n = len(similarity)
    if similarity.shape != (n, n) or text_similarity.shape != (n, n) or not n:
        raise ValueError(f"similarities are {similarity.shape} and {text_similarity.shape}; expected (n, n) both")
    if np.isnan(similarity).any() or np.isnan(text_similarity).any():
        raise ValueError("a similarity is NaN; expected numbers")
    own = np.eye(n, dtype=bool)
    alike = ((1 + text_similarity) / 2 > _ALIKE) | own
    chosen = dissimilar_subset(text_similarity, subset)
    # The legacy generator, not default_rng: TMR's batches are its shuffle under seed 0.
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    batches = order[: n // _BATCH * _BATCH].reshape(-1, _BATCH)

    def both_ways(rows: np.ndarray, relevant: np.ndarray) -> dict[str, dict[str, float]]:
        part = similarity[np.ix_(rows, rows)]
        return {
            "text_to_motion": retrieval(part, relevant, ranks=TMR_RANKS),
            "motion_to_text": retrieval(part.T, relevant.T, ranks=TMR_RANKS),
        }

    everything = np.arange(n)
    found = {
        "all": both_ways(everything, own),
        "threshold": both_ways(everything, alike),
        "dissimilar": both_ways(chosen, np.eye(len(chosen), dtype=bool)),
    }
    parts = [both_ways(rows, np.eye(_BATCH, dtype=bool)) for rows in batches]
    found["batches"] = {
        way: {key: mean_of_numbers([part[way][key] for part in parts]) for key in figures}
        for way, figures in found["all"].items()
    }
    return found


def dissimilar_subset(similarity: np.ndarray, size: int = 100) -> np.ndarray:
    """A subset whose members are least like each other: an approximate solution of the quadratic knapsack problem.

    The sum of similarities within the subset is made small: from all items, the one that adds most to the sum is
    dropped until ``size`` are left; then the exchange of one member for one other that lowers the sum most is made
    until none does. Deterministic; the lower index goes first among equals. A local optimum, not always the global one.

    Args:
        similarity: (n, n), symmetric; the diagonal is not used.
        size: at least 1.

    Returns:
        (min(n, size),) indices, ascending.
    """
    n = len(similarity)
    if n <= size:
        return np.arange(n)
    s = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(s, 0)
    kept, load = np.ones(n, dtype=bool), s.sum(axis=1)
    for _ in range(n - size):
        worst = int(np.argmax(np.where(kept, load, -np.inf)))
        kept[worst] = False
        load -= s[worst]
    while True:
        load = s[:, kept].sum(axis=1)
        inside, outside = np.flatnonzero(kept), np.flatnonzero(~kept)
        change = load[outside, None] - s[np.ix_(outside, inside)] - load[inside]
        o, i = divmod(int(np.argmin(change)), len(inside))
        # Below rounding errors an exchange could be undone for ever.
        if change[o, i] > -1e-9:
            return inside
        kept[outside[o]], kept[inside[i]] = True, False
