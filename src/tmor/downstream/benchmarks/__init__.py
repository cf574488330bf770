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
from tmor.downstream.benchmarks.labelled import LabelledSet, read_labelled
from tmor.downstream.benchmarks.protocol import Benchmark, Protocol
from tmor.downstream.benchmarks.untrimmed import UntrimmedSet, read_untrimmed
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


def labelled_set(path: str | Path, protocol: str | None = None, part: str | None = None) -> LabelledSet:
    """A packed set for classification, by a protocol of the benchmark that it is.

    Args:
        path: what :func:`packed_file` takes.
        protocol: one of the benchmark's, by name; None = its first.
        part: the condition that training samples meet, instead of a protocol (:func:`read_labelled`).

    Raises:
        TmorError: protocol and part are both given, the benchmark has no such protocol or the set is no known
            benchmark; as :func:`read_labelled`.
    """
    file = packed_file(path)
    return read_labelled(file, _protocol(file, protocol, part), part=part)


def untrimmed_set(path: str | Path, protocol: str | None = None, part: str | None = None) -> UntrimmedSet:
    """As :func:`labelled_set`, for detection (:func:`read_untrimmed`)."""
    file = packed_file(path)
    return read_untrimmed(file, _protocol(file, protocol, part), part=part)


def _protocol(file: Path, name: str | None, part: str | None) -> Protocol | None:
    """What to split by: a part goes before the protocols of a known benchmark."""
    if name is not None and part is not None:
        raise TmorError("--protocol and --part are both given; expected one of them")
    if part is not None:
        return None
    benchmark = benchmark_of(file)
    if benchmark is None and name is not None:
        raise TmorError(f"--protocol {name}: the set is none of the known benchmarks; use --part")
    return None if benchmark is None else benchmark.protocol(name)


def _known(name: str) -> Benchmark | None:
    name = name.replace("_", "-")
    for benchmark in BENCHMARKS:
        if name in (benchmark.name, *(other.replace("_", "-") for other in benchmark.also)):
            return benchmark
    return None
