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
    """A figure by seed and fold -> ``mean`` over both, and ``std`` of the seeds' means, None for one seed; folds and
    seeds that are NaN are left out, and NaN is what is then left of too few."""
    means = [mean_of_numbers(folds) for folds in rows]
    known = [mean for mean in means if not np.isnan(mean)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
    return {"mean": mean_of_numbers(means), "std": spread if len(means) > 1 else None}
