"""Data sets with labels: their official files, their splits, their metrics."""

from __future__ import annotations

from pathlib import Path

from tmor.downstream.benchmarks import (
    charades,
    gesture_phase,
    humanml3d,
    jhmdb,
    ntu_rgbd,
    packed_sets,
    penn_action,
    pku_mmd,
    toyota_smarthome,
    tsu,
    uav_human,
)
from tmor.downstream.benchmarks.protocol import Benchmark
from tmor.errors import TmorError

BENCHMARKS: tuple[Benchmark, ...] = (
    toyota_smarthome.BENCHMARK,
    penn_action.BENCHMARK,
    uav_human.BENCHMARK,
    tsu.BENCHMARK,
    charades.BENCHMARK,
    ntu_rgbd.NTU_60,
    ntu_rgbd.NTU_120,
    pku_mmd.BENCHMARK,
    jhmdb.BENCHMARK,
    humanml3d.BENCHMARK,
    packed_sets.UTD_MHAD,
    packed_sets.NW_UCLA,
    packed_sets.KARD,
    packed_sets.FLORENCE_3D,
    packed_sets.CAD_60,
    packed_sets.SBU_INTERACTION,
    packed_sets.HDM05_11,
    packed_sets.BANDAI_NAMCO,
    packed_sets.CMU_EVAL8,
    packed_sets.MSRC_12,
    gesture_phase.BENCHMARK,
    packed_sets.CMU_86,
)


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by name (dashes and underscores alike).

    Raises:
        TmorError: there is none of that name.
    """
    found = _known(name)
    if found is None:
        raise TmorError(f"benchmark '{name}' is not known; expected one of {', '.join(b.name for b in BENCHMARKS)}")
    return found


def benchmark_of(path: Path) -> Benchmark | None:
    """The benchmark whose packed set a file is, by its name; None = a set of one's own."""
    return _known(path.stem)


def packed_file(path: str | Path) -> Path:
    """The packed set that a path means: an .npz, or the one in a folder that ``tmor prepare`` wrote.

    Raises:
        TmorError: a folder holds none, or several.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.npz"))
    if len(files) != 1:
        raise TmorError(f"{path}: holds {len(files)} .npz files; expected a folder that tmor prepare wrote, with one")
    return files[0]


def _known(name: str) -> Benchmark | None:
    name = name.replace("_", "-")
    for benchmark in BENCHMARKS:
        if name in (benchmark.name, *(other.replace("_", "-") for other in benchmark.also)):
            return benchmark
    return None
