"""Timing of several sides in one process, by turns, so that ratios hold on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def by_turns(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each side; one untimed round goes before."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, call in sides.items():
            start = time.process_time()
            call()
            if repeat:
                seconds[name].append(time.process_time() - start)
    return {name: median(values) for name, values in seconds.items()}
