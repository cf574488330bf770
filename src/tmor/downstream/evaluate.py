"""The whole protocol for one model on one benchmark, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Literal

import numpy as np

from tmor.downstream.benchmarks import Benchmark
from tmor.downstream.classify import fine_tune, from_scratch, linear_probe, raw_nearest, sample_features
from tmor.downstream.fewshot import few_shot
from tmor.downstream.zeroshot import zero_shot
from tmor.errors import TmorError
from tmor.model.model import Model

Mode = Literal["zero-shot", "few-shot", "linear", "finetune", "scratch", "raw"]
FROZEN: tuple[Mode, ...] = ("zero-shot", "few-shot", "linear")
MODES: tuple[Mode, ...] = (*FROZEN, "finetune", "scratch", "raw")


def evaluate(
    model: Model,
    benchmark: Benchmark,
    *,
    modes: Sequence[Mode] = FROZEN,
    validation: bool = False,
    descriptions: bool = True,
    epochs: int = 20,
    share: float = 1.0,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Any]:
    """Run the modes; the test part is read for the figures only, never to choose anything.

    Args:
        modes: zero-shot, few-shot (k = 1 and 5) and linear use the frozen encoder; finetune trains it on, scratch
            trains the same network from random weights, raw compares coordinates without learning.
        validation: split the training part in two and leave the test part alone: for choosing between models.
        descriptions: zero-shot with our written descriptions beside the class names.
        epochs, share: of finetune and scratch (:func:`tmor.downstream.classify.fine_tune`).

    Returns:
        model, benchmark, part sizes, seed, date, and per mode its result, all figures in percent.
    """
    for mode in modes:
        if mode not in MODES:
            raise TmorError(f"mode is '{mode}'; expected one of {', '.join(MODES)}")
    if validation:
        benchmark = _validation_of(benchmark, seed)
    train, test = np.flatnonzero(benchmark.train), np.flatnonzero(~benchmark.train)
    y_train, y_test = benchmark.labels[train], benchmark.labels[test]
    result: dict[str, Any] = {
        "model": model.spec.name,
        "trained": {k: model.spec.training.get(k) for k in ("date", "clips", "sources")},
        "benchmark": benchmark.name,
        "part": "validation, from the training part" if validation else "test",
        "train": len(train),
        "test": len(test),
        "skipped": benchmark.skipped,
        "classes": len(benchmark.class_names),
        "seed": seed,
        "date": date.today().isoformat(),
    }
    if set(modes) & set(FROZEN):
        progress("embedding", 0, 1)
        features = sample_features(model, benchmark, np.arange(len(benchmark.samples)))
        unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-12)
        if "zero-shot" in modes:
            seen = model.spec.training.get("class_names", [])
            motion = model.project(features[test])
            result["zero-shot"] = zero_shot(
                model, motion, y_test, benchmark.class_names, seen=seen, descriptions=descriptions
            )
        if "few-shot" in modes:
            result["few-shot"] = few_shot(unit[train], y_train, unit[test], y_test, seed=seed)
        if "linear" in modes:
            result["linear"] = linear_probe(unit[train], y_train, unit[test], y_test, seed=seed)
    if "raw" in modes:
        result["raw"] = raw_nearest(benchmark)
    for mode, start in (("finetune", lambda: model), ("scratch", lambda: from_scratch(model, seed=seed))):
        if mode in modes:
            _, result[mode] = fine_tune(start(), benchmark, epochs=epochs, share=share, seed=seed, progress=progress)
    return result


def _validation_of(benchmark: Benchmark, seed: int) -> Benchmark:
    """The training part alone, every other sample of each class (in seeded order) being held out."""
    rows = np.flatnonzero(benchmark.train)
    shuffled = rows[np.random.default_rng(seed).permutation(len(rows))]
    by_class = shuffled[np.argsort(benchmark.labels[shuffled], kind="stable")]
    rank = np.concatenate([np.arange(n) for n in np.bincount(benchmark.labels[by_class]) if n])
    return Benchmark(
        benchmark.name,
        tuple(benchmark.samples[i] for i in by_class),
        benchmark.labels[by_class],
        benchmark.class_names,
        rank % 2 == 0,
        benchmark.skipped,
    )
