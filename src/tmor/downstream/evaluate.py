"""A protocol of classification for one model on one set, over folds and seeds, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold
from tmor.downstream.classify import (
    check_share,
    check_stream,
    class_probabilities,
    fine_tune,
    from_scratch,
    linear_probe,
    raw_nearest,
    sample_features,
    share_of,
)
from tmor.downstream.fewshot import check_shots, few_shot
from tmor.downstream.metrics.averages import over_seeds
from tmor.downstream.metrics.classification import accuracy, mean_class_accuracy
from tmor.downstream.zeroshot import zero_shot
from tmor.errors import TmorError
from tmor.model.compute import PROCESSOR, Compute
from tmor.model.model import Model
from tmor.skeleton.canonical import STREAMS, Stream

Mode = Literal["zero-shot", "few-shot", "linear", "adapted", "finetune", "scratch", "raw"]
FROZEN: tuple[Mode, ...] = ("zero-shot", "few-shot", "linear")
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Recipe:
    """How evaluation is done, where there is a choice.

    Args:
        seeds: each repeats what has chance in it (few-shot episodes, fine-tuning); figures are means over them.
        validation: split the training part in two and leave the test part alone: for choosing between models.
        descriptions: zero-shot with our written descriptions beside the class names.
        shots: examples per class of few-shot.
        unlabelled: samples of the training part that adapted sees, without their labels (all, where there are fewer).
        epochs, share, balanced, compute: of finetune and scratch (:func:`tmor.downstream.classify.fine_tune`); the
            share of linear, too.
        streams: of finetune and scratch; two are fused.
    """

    seeds: tuple[int, ...] = (0,)
    validation: bool = False
    descriptions: bool = True
    shots: tuple[int, ...] = (1, 5)
    unlabelled: int = 20
    epochs: int = 30
    share: float = 1.0
    balanced: bool = False
    streams: tuple[Stream, ...] = ("joint",)
    compute: Compute = PROCESSOR

    def __post_init__(self) -> None:
        check_share(self.share)
        for stream in self.streams:
            if stream not in STREAMS:
                raise TmorError(f"stream is '{stream}'; expected one of {', '.join(STREAMS)}")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures, and what they come from.

    Args:
        result: plain values, as :func:`evaluate` says.
        answers: per mode the (truth, answer) of every test sample of all folds, of the first seed: int64 class indices.
        features: (n, d) of all samples with the frozen encoder, 0 of those in no fold (of the test part, where it is
            left alone); or None where no mode needed them.
    """

    result: dict[str, Any]
    answers: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    features: np.ndarray | None = None


def evaluate(
    model: Model,
    data: LabelledSet,
    *,
    modes: Sequence[Mode] = FROZEN,
    recipe: Recipe = Recipe(),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Run the modes; the test part is read for the figures only, never to choose anything.

    Args:
        modes: zero-shot, few-shot and linear use the frozen encoder; adapted is zero-shot after
            :meth:`tmor.model.model.Model.adapt`; finetune trains the encoder on, scratch trains the same
            network from random weights, raw compares coordinates without learning.

    Returns:
        In ``result``: model, benchmark, protocol, part sizes (of all folds together), seeds, date, and per mode its
        measures. A measure is ``{"mean", "std"}`` in percent: the mean over folds and seeds, and the standard deviation
        of the seeds' means (None for one seed).

    Raises:
        TmorError: a mode is unknown, a class has too few training samples for the shots, or a stream is in 3D and the
            set is not; before any work is done.
    """
    for mode in modes:
        if mode not in MODES:
            raise TmorError(f"mode is '{mode}'; expected one of {', '.join(MODES)}")
    if recipe.validation:
        data = data.validation(recipe.seeds[0])
    if "few-shot" in modes:
        for fold in data.folds:
            check_shots(data.labels, fold, recipe.shots, data.class_names)
    if {"finetune", "scratch"} & set(modes):
        for stream in recipe.streams:
            check_stream(data, stream)
    result: dict[str, Any] = {
        "model": model.spec.name,
        "trained": {k: model.spec.training.get(k) for k in ("date", "clips", "sources")},
        "benchmark": data.name,
        "protocol": data.protocol,
        "metric": data.metric,
        "part": "validation, from the training part" if recipe.validation else "test",
        "folds": len(data.folds),
        "train": sum(int(fold.train.sum()) for fold in data.folds),
        "test": sum(int(fold.test.sum()) for fold in data.folds),
        "skipped": data.skipped,
        "classes": len(data.class_names),
        "seeds": list(recipe.seeds),
        "date": date.today().isoformat(),
        "published": [[p.method, p.measure, p.value] for p in data.published],
    }
    features = None
    if set(modes) & {*FROZEN, "adapted"}:
        progress("embedding", 0, 1)
        used = np.flatnonzero(np.any([fold.train | fold.test for fold in data.folds], axis=0))
        own = sample_features(model, data, used)
        features = np.zeros((len(data.samples), own.shape[1]), dtype=own.dtype)
        features[used] = own
    run = _Run(model, data, features, recipe, progress)
    answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for mode in modes:
        found, answers_of = run.mode(mode)
        result[mode] = found
        if answers_of is not None:
            answers[mode] = answers_of
    return Evaluation(result, answers, features)


@dataclass(frozen=True, eq=False)
class _Run:
    model: Model
    data: LabelledSet
    features: np.ndarray | None
    recipe: Recipe
    progress: Callable[[str, int, int], None]

    @cached_property
    def unit(self) -> np.ndarray:
        """(n, d) L2-normalised embeddings of all samples."""
        assert self.features is not None
        return self.model.unit(self.features)

    @cached_property
    def texts(self) -> np.ndarray:
        """(classes, width) of the class names; adaptation leaves them as they are."""
        return self.model.project_labels(self.data.class_names, descriptions=self.recipe.descriptions)

    def mode(self, mode: Mode) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray] | None]:
        """The mode's measures, and truth and answers where it classifies."""
        data, recipe = self.data, self.recipe
        if mode == "zero-shot":
            return self._zero_shot()
        if mode == "few-shot":
            rows = [
                [few_shot(self.unit, data.labels, fold, shots=recipe.shots, seed=seed) for fold in data.folds]
                for seed in recipe.seeds
            ]
            return _summary(rows), None
        truth = np.concatenate([data.labels[fold.test] for fold in data.folds])
        first: np.ndarray | None = None
        rows = []
        for seed in recipe.seeds:
            per_fold, answers = [], []
            for fold in data.folds:
                given = self._answers(mode, fold, seed)
                per_fold.append({n: self._measures(fold, answer) for n, answer in given.items()})
                answers.append(next(reversed(given.values())))
            rows.append([_flat(found) for found in per_fold])
            first = np.concatenate(answers) if first is None else first
            if mode == "raw" or (mode == "linear" and recipe.share == 1):  # no chance in these
                break
        assert first is not None
        learns = mode in ("finetune", "scratch")
        about: dict[str, Any] = {"share": recipe.share} if learns or mode == "linear" else {}
        about |= {"epochs": recipe.epochs, "precision": recipe.compute.precision} if learns else {}
        if mode == "adapted":
            about["unlabelled"] = min(recipe.unlabelled, *(int(fold.train.sum()) for fold in data.folds))
        return {**_summary(rows), **about}, (truth, first)

    def _answers(self, mode: Mode, fold: Fold, seed: int) -> dict[str, np.ndarray]:
        """(test samples,) answers; of fine-tuning with several streams also of each, the fusion last."""
        data, recipe = self.data, self.recipe
        if mode == "raw":
            return {"": raw_nearest(data, fold)}
        if mode == "linear":
            rows = np.sort(share_of(data.labels, fold.train, recipe.share, seed))
            return {"": linear_probe(self.unit[rows], data.labels[rows], self.unit[fold.test])}
        if mode == "adapted":
            assert self.features is not None
            rows = np.random.default_rng(seed).permutation(np.flatnonzero(fold.train))[: recipe.unlabelled]
            here = self.model.adapt_to(self.features[rows])
            return {"": (here.project(self.features[fold.test]) @ self.texts.T).argmax(axis=1)}
        start = self.model if mode == "finetune" else from_scratch(self.model, seed=seed)
        probabilities = {}
        for stream in recipe.streams:
            tuned = fine_tune(
                start,
                data,
                fold,
                stream=stream,
                epochs=recipe.epochs,
                # Random weights have no lower layers worth keeping, and no features worth probing.
                layer_decay=0.85 if mode == "finetune" else 1.0,
                probe=mode == "finetune",
                balanced=recipe.balanced,
                share=recipe.share,
                compute=recipe.compute,
                seed=seed,
                progress=self.progress,
            )
            probabilities[stream] = class_probabilities(tuned, data, np.flatnonzero(fold.test))
        answers = {stream: rows.argmax(axis=1) for stream, rows in probabilities.items()}
        if len(answers) == 1:
            return {"": next(iter(answers.values()))}
        return {**answers, "": sum(probabilities.values()).argmax(axis=1)}  # pyright: ignore

    def _measures(self, fold: Fold, answer: np.ndarray) -> dict[str, float]:
        truth = self.data.labels[fold.test]
        return {"top1": 100 * accuracy(truth, answer), "mean_class": 100 * mean_class_accuracy(truth, answer)}

    def _zero_shot(self) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray]]:
        """Every test sample of all folds once: there is nothing to train."""
        assert self.features is not None
        data = self.data
        rows = np.flatnonzero(np.any([fold.test for fold in data.folds], axis=0))
        found, answer = zero_shot(
            self.model,
            self.model.project(self.features[rows]),
            data.labels[rows],
            data.class_names,
            seen=self.model.spec.training.get("class_names", []),
            unseen_classes=data.unseen,
            descriptions=self.recipe.descriptions,
        )
        return found, (data.labels[rows], answer)


def _flat(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{name} {measure}".strip(): value for name, values in found.items() for measure, value in values.items()}


def _summary(rows: Sequence[Sequence[dict[str, float]]]) -> dict[str, Any]:
    """Measures by seed and fold -> each one's mean and spread."""
    return {name: over_seeds([[fold[name] for fold in folds] for folds in rows]) for name in rows[0][0]}
