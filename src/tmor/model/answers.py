"""Questions and answers: labels, and how probable each is. In numpy alone: an exported model runs where there is no
torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tmor.errors import TmorError

NONE = "none of these"
"""The answer that a movement is none of the labels offered."""

Labels = Sequence[str] | Mapping[str, Sequence[str]]
"""Labels to tell apart; a mapping also says in further texts what the body does, or nothing (an empty list)."""

_PRIOR = 0.1
"""Chosen on validation parts, docs/experiments.md."""


@dataclass(frozen=True)
class Matching:
    """How cosines become probabilities: log-odds of a label against "none of these" are (cosine - level) / temperature.

    Cosines with texts and with enrolled examples are of different sizes, so each kind has its own pair. Fitted on data
    that a model never saw, where "none of these" is right as often as each label (:mod:`tmor.downstream.calibrate`);
    the defaults are those of the models that ship (docs/experiments.md).

    Args:
        text_level, example_level: the cosine at which a label is as probable as none.
        text_temperature, example_temperature: how gradually that changes, > 0.
    """

    text_level: float = 0.16
    text_temperature: float = 0.19
    example_level: float = 0.37
    example_temperature: float = 0.078

    def probabilities(self, cosines: np.ndarray, by_example: Sequence[bool] | np.ndarray, *, none: bool) -> np.ndarray:
        """Of each label, and of none where that is asked.

        Args:
            cosines: (n, k) of movements with labels.
            by_example: (k,) which labels are told by examples.
            none: whether "none of these" is a possible answer.

        Returns:
            (n, k) float32, or (n, k + 1) with "none of these" last; rows sum to 1.
        """
        examples = np.asarray(by_example, dtype=bool)
        level = np.where(examples, self.example_level, self.text_level)
        temperature = np.where(examples, self.example_temperature, self.text_temperature)
        logits = (cosines - level) / temperature
        if none:
            logits = np.concatenate([logits, np.zeros((len(logits), 1))], axis=1)
        return softmax(logits).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, k) log-odds -> (n, k) probabilities; rows sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Examples:
    """Labels told by examples: the nearest mean, where directions in which examples of one label differ count less.

    That is a linear discriminant (Fisher 1936) with a prior: as if ``_PRIOR`` of squared length had been seen spread
    evenly over all directions. With one example per label it is the nearest example by cosine.

    Args:
        examples: per label (n, features) embeddings, L2-normalised.
    """

    def __init__(self, examples: Sequence[np.ndarray]) -> None:
        differences = np.concatenate([rows - rows.mean(axis=0) for rows in examples]).astype(np.float64)
        _, lengths, self._directions = np.linalg.svd(differences, full_matrices=False)
        self._factors = 1 / np.sqrt(1 + lengths**2 / _PRIOR) - 1
        self._means = self._weighed(np.stack([rows.mean(axis=0) for rows in examples]))

    def cosines(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, features) embeddings, L2-normalised -> (n, labels)."""
        return self._weighed(embeddings) @ self._means.T

    def _weighed(self, x: np.ndarray) -> np.ndarray:
        x = x + (x @ self._directions.T * self._factors) @ self._directions
        return (x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)).astype(np.float32)


def judge_by_similarity(
    labels: tuple[str, ...],
    texts: np.ndarray,
    examples: Mapping[str, np.ndarray],
    *,
    project: Callable[[np.ndarray], np.ndarray],
    unit: Callable[[np.ndarray], np.ndarray],
    matching: Matching,
    none: bool,
) -> tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]:
    """The possible answers, and a function from (n, features) to (n, answers) float32 probabilities.

    Args:
        labels: those to tell apart; by example where there are examples, else by text.
        texts: of the labels without examples, in order: (m, width) in the space of texts.
        examples: per label (n, features) embeddings, L2-normalised.
        project, unit: bring (n, features) to where texts are, and to where examples are.
        none: "none of these" is an answer, too, the last one.
    """
    by_example = np.array([label in examples for label in labels])
    enrolled = Examples([examples[label] for label in labels if label in examples]) if by_example.any() else None

    def judge(features: np.ndarray) -> np.ndarray:
        cosines = np.empty((len(features), len(labels)), np.float32)
        if len(texts):
            cosines[:, ~by_example] = project(features) @ texts.T
        if enrolled is not None:
            cosines[:, by_example] = enrolled.cosines(unit(features))
        return matching.probabilities(cosines, by_example, none=none)

    return (*labels, NONE) if none else labels, judge


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


def split_labels(text: str) -> list[str]:
    """Labels out of one text, separated by lines or commas; blank lines say nothing."""
    return [label for line in text.splitlines() if line.strip() for label in line.split(",")]


def check_labels(labels: Labels) -> tuple[str, ...]:
    """The labels, stripped.

    Raises:
        TmorError: there are none, one is empty, one occurs twice (without regard to case), or is "none of these".
    """
    if isinstance(labels, str):
        raise TmorError(f"labels are one string, {labels!r}; expected a list of labels")
    for label in labels:
        if not isinstance(label, str):
            raise TmorError(f"a label is {label!r}; expected words")
    stripped = tuple(label.strip() for label in labels)
    if not stripped:
        raise TmorError("no labels were given; expected at least one")
    seen: set[str] = set()
    for label in stripped:
        if not label:
            raise TmorError("a label is empty; expected words")
        if label.casefold() == NONE:
            raise TmorError(f"label '{label}' is what tmor answers by itself where no label fits; leave it out")
        if label.casefold() in seen:
            raise TmorError(f"label '{label}' is given twice")
        seen.add(label.casefold())
    return stripped


def described_labels(labels: Labels) -> dict[str, Sequence[str]]:
    """The labels, stripped, each with the texts that a mapping describes it by.

    Raises:
        TmorError: as :func:`check_labels`.
    """
    names = check_labels(labels)
    return dict(zip(names, labels.values() if isinstance(labels, Mapping) else [()] * len(names), strict=True))
