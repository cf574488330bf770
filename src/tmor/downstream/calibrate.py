"""How sure a model may be: from cosines to probabilities, "none of these" among them, on data that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.classify import sample_features
from tmor.downstream.metrics.averages import mean_of_numbers
from tmor.errors import TmorError
from tmor.model.answers import Examples, Matching
from tmor.model.model import Model

Kind = Literal["text", "example"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TRIALS = 60
_MOST_LABELS, _MOST_EXAMPLES, _MOST_SAMPLES = 12, 5, 150
_BINS = 10


@dataclass(frozen=True, eq=False)
class Trial:
    """A question that a user might ask: which of k labels, drawn from a set's classes, do samples of all classes show?

    Args:
        cosines: (n, k) of samples and labels.
        answers: (n,) int64 index of the right label; k where it is none of them.
    """

    cosines: np.ndarray
    answers: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(n,) that sum to 1: as if "none of these" were right as often as each of the k labels."""
        k = self.cosines.shape[1]
        none = self.answers == k
        return np.where(none, 1 / max(1, none.sum()), k / max(1, (~none).sum())) / (k + 1)


def trials(
    features: np.ndarray, model: Model, data: LabelledSet, kind: Kind, *, test: bool, seed: int = 0
) -> list[Trial]:
    """60 trials of 2 to 12 labels each, told by text, or by 1 to 5 examples of the training part.

    Args:
        features: (samples, features) of the set, as :meth:`tmor.model.model.Model.features` gives them.
        data: its first fold counts.
        test: ask about samples of the test part instead of the training part.

    Raises:
        TmorError: the set has fewer than three classes.
    """
    count = len(data.class_names)
    if count < 3:
        raise TmorError(f"set '{data.name}' has {count} classes; calibration needs at least 3")
    rng = np.random.default_rng([seed, test, KINDS.index(kind)])
    fold = data.folds[0]
    if kind == "text":
        texts, rows = model.project_labels(data.class_names), model.project(features)
    else:
        texts, rows = None, model.unit(features)
    of_class = [np.flatnonzero(fold.train & (data.labels == k)) for k in range(count)]
    offered = [k for k in range(count) if len(of_class[k])]
    found = []
    for _ in range(_TRIALS):
        labels = rng.permutation(offered)[: int(rng.integers(2, min(_MOST_LABELS, count - 1) + 1))]
        asked = np.flatnonzero(fold.test if test else fold.train)
        chosen = []
        if texts is None:
            shots = int(rng.integers(1, _MOST_EXAMPLES + 1))
            chosen = [rng.permutation(of_class[k])[:shots] for k in labels]
            asked = np.setdiff1d(asked, np.concatenate(chosen))
        asked = rng.permutation(asked)[:_MOST_SAMPLES]
        cosines = (
            Examples([rows[own] for own in chosen]).cosines(rows[asked])
            if texts is None
            else rows[asked] @ texts[labels].T
        )
        place = np.full(count, len(labels))
        place[labels] = np.arange(len(labels))
        found.append(Trial(cosines, place[data.labels[asked]]))
    return found


def fit(model: Model, sets: Sequence[LabelledSet], *, seed: int = 0) -> tuple[Matching, dict[str, dict[str, float]]]:
    """Fit level and temperature of both kinds on the training parts of sets, and measure them on the test parts.

    The likelihood of the right answers of :func:`trials` is as great as can be.

    Args:
        sets: that the model never saw; else it will be too sure.

    Returns:
        The fit, and per ``"set, kind"`` in percent: ``right`` (answers of all, "none of these" being right as often as
        a label), ``known_lost`` (samples of a label offered that are said to be none), ``none_found`` (samples of no
        label that are said to be none), ``auroc`` of telling these apart, ``calibration_error`` (expected, 10 bins).

    Raises:
        TmorError: as :func:`trials`.
    """
    features = [sample_features(model, data, np.arange(len(data.samples))) for data in sets]
    values: dict[str, float] = {}
    for kind in KINDS:
        asked = [
            t for f, d in zip(features, sets, strict=True) for t in trials(f, model, d, kind, test=False, seed=seed)
        ]
        level, log_temperature = minimize(_loss, np.array([0.5, np.log(0.1)]), args=(asked,), method="Nelder-Mead").x
        values |= {f"{kind}_level": float(level), f"{kind}_temperature": float(np.exp(log_temperature))}
    matching = Matching(**values)
    measured = {
        f"{data.name}, {kind}": measure(matching, kind, trials(rows, model, data, kind, test=True, seed=seed))
        for rows, data in zip(features, sets, strict=True)
        for kind in KINDS
    }
    return matching, measured


def measure(matching: Matching, kind: Kind, asked: Sequence[Trial]) -> dict[str, float]:
    """The measures of :func:`fit`, in percent; trials that lack samples of either sort tell nothing of that sort, and
    NaN is what none tells anything of."""
    lost, found, auroc = [], [], []
    sure, right, weights = [], [], []
    for trial in asked:
        p = _probabilities(matching, kind, trial)
        none = trial.answers == p.shape[1] - 1
        says_none = p.argmax(axis=1) == p.shape[1] - 1
        if none.any() and not none.all():
            lost.append(says_none[~none].mean())
            found.append(says_none[none].mean())
            auroc.append(roc_auc_score(none, p[:, -1]))
        sure.append(p.max(axis=1))
        right.append(p.argmax(axis=1) == trial.answers)
        weights.append(trial.weights / len(asked))
    p, hit, w = (np.concatenate(parts) for parts in (sure, right, weights))
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    error = np.abs(np.bincount(bins, w * (p - hit), minlength=_BINS)).sum()
    measures = {
        "right": (w * hit).sum() / w.sum(),
        "known_lost": mean_of_numbers(lost),
        "none_found": mean_of_numbers(found),
        "auroc": mean_of_numbers(auroc),
        "calibration_error": error / w.sum(),
    }
    return {name: 100 * float(value) for name, value in measures.items()}


def _probabilities(matching: Matching, kind: Kind, trial: Trial) -> np.ndarray:
    return matching.probabilities(trial.cosines, [kind == "example"] * trial.cosines.shape[1], none=True)


def _loss(parameters: np.ndarray, asked: Sequence[Trial]) -> float:
    """Mean negative log-likelihood; both kinds are the same function of their own two numbers."""
    level, temperature = float(parameters[0]), float(np.exp(parameters[1]))
    matching = Matching(level, temperature, level, temperature)
    total = 0.0
    for trial in asked:
        p = _probabilities(matching, "text", trial)[np.arange(len(trial.answers)), trial.answers]
        total -= float((trial.weights * np.log(p.clip(min=1e-12))).sum())
    return total / len(asked)
