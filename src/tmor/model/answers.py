"""Questions and answers: labels, and how probable each is. In numpy alone: an exported model runs where there is no
torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmor.errors import TmorError


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the tracks show, among the labels offered.

    Args:
        labels: the k labels.
        probabilities: (n, k) float32, rows sum to 1.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def best(self) -> tuple[str, ...]:
        """The most probable label of each track."""
        return tuple(self.labels[i] for i in self.probabilities.argmax(axis=1))


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, stripped.

    Raises:
        TmorError: there are none, one is empty, or one occurs twice (without regard to case).
    """
    if isinstance(labels, str):
        raise TmorError(f"labels are one string, {labels!r}; expected a list of labels")
    stripped = tuple(label.strip() for label in labels)
    if not stripped:
        raise TmorError("no labels were given; expected at least one")
    seen: set[str] = set()
    for label in stripped:
        if not label:
            raise TmorError("a label is empty; expected words")
        if label.casefold() in seen:
            raise TmorError(f"label '{label}' is given twice")
        seen.add(label.casefold())
    return stripped
