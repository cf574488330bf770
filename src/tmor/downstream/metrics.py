"""Metrics as pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def accuracy(truth: np.ndarray, answer: np.ndarray) -> float:
    """Share of right answers; NaN where there is nothing to answer."""
    return float((truth == answer).mean()) if len(truth) else float("nan")


def mean_class_accuracy(truth: np.ndarray, answer: np.ndarray) -> float:
    """Accuracy of each class that occurs in ``truth``, averaged over these classes."""
    classes = np.unique(truth)
    return (
        float(np.mean([accuracy(truth[truth == k], answer[truth == k]) for k in classes]))
        if len(classes)
        else float("nan")
    )


def interval95(values: Sequence[float]) -> float:
    """Half the width of the normal 95% confidence interval of the mean; NaN for fewer than two values."""
    return float(1.96 * np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def retrieval(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """How well rows find their columns.

    Args:
        similarity: (queries, items).
        relevant: (queries, items) bool; every query has a relevant item. Ties count against the query.

    Returns:
        R@1, R@5, R@10 in percent and the median rank (1 = best) of the first relevant item.

    Raises:
        ValueError: a query has no relevant item.
    """
    if not relevant.any(axis=1).all():
        raise ValueError(f"query {int(np.argmin(relevant.any(axis=1)))} has no relevant item")
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + ((similarity >= best) & ~relevant).sum(axis=1)
    return {f"R@{k}": 100 * float((rank <= k).mean()) for k in (1, 5, 10)} | {"median_rank": float(np.median(rank))}
