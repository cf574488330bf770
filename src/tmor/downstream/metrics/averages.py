"""Means and spreads of figures, NaN being left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_of_numbers(values: Sequence[float] | np.ndarray) -> float:
    """Of what is not NaN; NaN if nothing is."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def over_seeds(rows: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """A figure by seed and fold -> ``mean`` over both, and ``std`` of the seeds' means, None for one seed; NaN folds
    are left out."""
    means = [float(np.nanmean(folds)) for folds in rows]
    return {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1)) if len(means) > 1 else None}
