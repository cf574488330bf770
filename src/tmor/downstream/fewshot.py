"""Few-shot recognition: k examples per class, over seeded episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tmor.downstream.metrics import accuracy, interval95
from tmor.errors import TmorError


def few_shot(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    shots: Sequence[int] = (1, 5),
    episodes: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Nearest class mean: every episode draws k training samples per class and classifies the whole test part.

    Args:
        train, test: (n, d) and (m, d) L2-normalised embeddings.
        train_labels, test_labels: (n,) and (m,) int64.

    Returns:
        Per k (``"1"``, ``"5"``): mean accuracy over the episodes in percent, and half its 95% interval.

    Raises:
        TmorError: a class of the test part has fewer than k training samples.
    """
    classes = np.unique(test_labels)
    rows = {k: np.flatnonzero(train_labels == k) for k in classes}
    result: dict[str, Any] = {"episodes": episodes, "seed": seed}
    for shot in shots:
        for k in classes:
            if len(rows[k]) < shot:
                raise TmorError(
                    f"class {k} has {len(rows[k])} training samples; expected at least {shot} for {shot}-shot"
                )
        scores = []
        for episode in range(episodes):
            rng = np.random.default_rng([seed, shot, episode])
            means = np.stack([train[rng.choice(rows[k], shot, replace=False)].mean(axis=0) for k in classes])
            means /= np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-12)
            scores.append(100 * accuracy(test_labels, classes[(test @ means.T).argmax(axis=1)]))
        result[str(shot)] = {"mean": float(np.mean(scores)), "interval95": interval95(scores)}
    return result
