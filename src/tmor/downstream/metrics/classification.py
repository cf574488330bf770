"""Metrics of one label per sample."""

from __future__ import annotations

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


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: how often a sample of the row's class was answered with the column's.

    Raises:
        ValueError: the lengths differ, or a label is not one of 0 ... classes - 1.
    """
    truth, answer = np.asarray(truth), np.asarray(answer)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise ValueError(f"truth is {truth.shape} and answer {answer.shape}; expected (n,) both")
    for name, labels in (("truth", truth), ("answer", answer)):
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise ValueError(f"{name} holds class {wrong[0]}; expected 0 to {classes - 1}")
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth.astype(np.int64), answer.astype(np.int64)), 1)
    return counts


def harmonic_mean(seen: float, unseen: float) -> float:
    """Of the accuracies on seen and on unseen classes, as generalised zero-shot protocols (SynSE) report it.

    0 where either is 0; NaN where either is NaN.
    """
    return 2 * seen * unseen / (seen + unseen) if seen + unseen != 0 else 0.0
