"""Few-shot recognition: k examples per class, over seeded episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tmor.downstream.benchmarks.protocol import Fold
from tmor.downstream.metrics.classification import accuracy
from tmor.errors import TmorError
from tmor.model.answers import Examples


def few_shot(
    features: np.ndarray,
    labels: np.ndarray,
    fold: Fold,
    *,
    shots: Sequence[int] = (1, 5),
    episodes: int = 20,
    seed: int = 0,
) -> dict[str, float]:
    """Every episode draws k training samples per class and classifies the whole test part by them, as an enrolled model
    does (:class:`tmor.model.answers.Examples`).

    Args:
        features: (n, d) L2-normalised embeddings.
        labels: (n,) int64.
        fold: which of them train and test.

    Returns:
        Per k (``"1"``, ``"5"``): mean accuracy over the episodes in percent.

    Raises:
        TmorError: a class of the test part has fewer than k training samples.
    """
    check_shots(labels, fold, shots)
    test, truth = features[fold.test], labels[fold.test]
    classes = np.unique(truth)
    rows = {k: np.flatnonzero(fold.train & (labels == k)) for k in classes}
    result: dict[str, float] = {}
    for shot in shots:
        scores = []
        for episode in range(episodes):
            rng = np.random.default_rng([seed, shot, episode])
            examples = Examples([features[rng.choice(rows[k], shot, replace=False)] for k in classes])
            scores.append(100 * accuracy(truth, classes[examples.cosines(test).argmax(axis=1)]))
        result[str(shot)] = float(np.mean(scores))
    return result


def check_shots(labels: np.ndarray, fold: Fold, shots: Sequence[int], names: Sequence[str] | None = None) -> None:
    """
    Raises:
        TmorError: as :func:`few_shot`; ``names`` are those of the classes.
    """
    for k in np.unique(labels[fold.test]):
        count = int((fold.train & (labels == k)).sum())
        for shot in shots:
            if count < shot:
                name = k if names is None else f"'{names[k]}'"
                raise TmorError(f"class {name} has {count} training samples; expected at least {shot} for {shot}-shot")
