"""What a benchmark is: its official files, its splits, its metric, and figures of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.formats import PackedSet
from tmor.skeleton.tracks import Track


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a benchmark, as its official files have it.

    Args:
        id: unique within the benchmark.
        tracks: its persons; ``start_s`` places each in the sample.
        label: class of a trimmed sample; -1 = none.
        segments: of an untrimmed one: (class, start, end) in seconds from its start; they may overlap.
        columns: what splits go by (subject, camera, ...): the same keys, with values of the same type, in all samples.
        captions: what happens, in words: (text, start, end) in seconds; times None = the whole sample.
    """

    id: str
    tracks: tuple[Track, ...]
    label: int = -1
    segments: tuple[tuple[int, float, float], ...] = ()
    columns: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    captions: tuple[tuple[str, float | None, float | None], ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A sample that could not be used.

    Args:
        id: the sample, or the file.
        reason: a few words, the same for all that were skipped for it.
        detail: what exactly was wrong with this one.
    """

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Raw:
    """The official files of a benchmark.

    Args:
        read: every sample under a root folder, in a fixed order, or why it was skipped.
        expects: files or folders that the root must hold.
        class_names: in the order of the labels.
        layout: name of the joint layout.
        samples: the published number of samples; None = not published.
    """

    read: Callable[[Path], Iterator[Sample | Skipped]]
    expects: tuple[str, ...]
    class_names: tuple[str, ...]
    layout: str
    samples: int | None = None


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of a set: (n,) bool each, disjoint; a sample may be in neither."""

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Published:
    """A figure of others, to stand beside ours: method, measure, value in percent."""

    method: str
    measure: str
    value: float


@dataclass(frozen=True)
class Protocol:
    """One way in which a benchmark is split and measured.

    Args:
        name: as papers call it, in lower case.
        folds: the divisions of the packed set; figures are means over them.
        metric: the headline figure of classification; detection has all of its own, and with ``localisation`` Charades'
            mAP of 25 moments a video as well.
        classes: the names of the classes that take part; None = all.
        unseen: in zero-shot protocols the classes that training may not show.
        published: figures of others.
    """

    name: str
    folds: Callable[[PackedSet], Sequence[Fold]]
    metric: Literal["top1", "mean_class", "localisation"] = "top1"
    classes: tuple[str, ...] | None = None
    unseen: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A data set with its protocols.

    Args:
        name: ``penn-action``; its packed set is ``penn_action.npz``.
        title: the name in full.
        task: trimmed samples to classify, untrimmed ones to detect actions in, or captions to retrieve by.
        protocols: the usual one first.
        raw: its official files; None: it comes as a packed set.
        also: further names that its packed set goes by.
    """

    name: str
    title: str
    task: Literal["classify", "detect", "retrieve"]
    protocols: tuple[Protocol, ...]
    raw: Raw | None = None
    also: tuple[str, ...] = ()

    def protocol(self, name: str | None) -> Protocol:
        """A protocol by name; None or ``official`` = the usual one.

        Raises:
            TmorError: there is no such protocol.
        """
        if name in (None, "official"):
            return self.protocols[0]
        for protocol in self.protocols:
            if protocol.name == name:
                return protocol
        names = ", ".join(protocol.name for protocol in self.protocols)
        raise TmorError(f"{self.name} has no protocol '{name}'; expected official or one of {names}")


def by_column(
    column: str, train: Iterable[int], test: Iterable[int] | None = None
) -> Callable[[PackedSet], list[Fold]]:
    """One fold: samples whose ``column`` is among ``train`` against those among ``test`` (None: all others)."""
    first, second = sorted(train), None if test is None else sorted(test)

    def folds(packed: PackedSet) -> list[Fold]:
        values = column_of(packed, column)
        own = np.isin(values, first)
        return [Fold(column, own, ~own if second is None else np.isin(values, second) & ~own)]

    return folds


def by_flag(flag: str) -> Callable[[PackedSet], list[Fold]]:
    """One fold: a part of the set (:meth:`tmor.skeleton.formats.PackedSet.part`) against the rest."""

    def folds(packed: PackedSet) -> list[Fold]:
        train = packed.part(flag)
        return [Fold(flag, train, ~train)]

    return folds


def leave_one_out(column: str) -> Callable[[PackedSet], list[Fold]]:
    """As many folds as ``column`` has values; each value is the test part once."""

    def folds(packed: PackedSet) -> list[Fold]:
        values = column_of(packed, column)
        return [Fold(f"{column} {value}", values != value, values == value) for value in np.unique(values)]

    return folds


def column_of(packed: PackedSet, name: str) -> np.ndarray:
    """A column that a protocol goes by.

    Raises:
        TmorError: the set lacks it.
    """
    if name not in packed.columns:
        raise TmorError(f"set '{packed.name}' has no column '{name}', which this protocol goes by")
    return packed.columns[name]


def files_in(root: Path, pattern: str) -> list[Path]:
    """The files under ``root`` that match, by name; hidden ones are left out.

    Raises:
        TmorError: there is none, or two have one name.
    """
    files = sorted((f for f in root.glob(pattern) if not f.name.startswith(".")), key=lambda f: (f.name, f))
    if not files:
        raise TmorError(f"{root}: no file matches {pattern}")
    for before, file in pairwise(files):
        if before.name == file.name:
            raise TmorError(f"{file}: sample '{file.stem}' is there twice, also as {before}")
    return files


def protocol_of(packed: PackedSet, path: str | Path, protocol: Protocol | None, part: str | None) -> Protocol:
    """The protocol, or that of a set of one's own: its training part against the rest.

    Raises:
        TmorError: neither is given; ``path`` names the file.
    """
    if protocol is not None:
        return protocol
    if part is None:
        raise TmorError(f"{path}: how '{packed.name}' is split is not known; name its training part with --part")
    return Protocol(part, by_flag(part))


def folds_of(
    folds: Sequence[Fold], kept: Sequence[int], *, path: str | Path, protocol: str, what: str
) -> tuple[Fold, ...]:
    """The folds over the sequences that were kept.

    Args:
        kept: their indices.
        path, protocol, what: name the file, the protocol and what its sequences are, in errors.

    Raises:
        TmorError: a fold has nothing on one side.
    """
    own = tuple(Fold(fold.name, fold.train[kept], fold.test[kept]) for fold in folds)
    for fold in own:
        if not fold.train.any() or not fold.test.any():
            raise TmorError(
                f"{path}: fold '{fold.name}' of protocol {protocol} has {int(fold.train.sum())} training and "
                f"{int(fold.test.sum())} test {what}; expected some of each"
            )
    return own


def sample_per_file(files: Iterable[Path], read: Callable[[Path], Sample | Skipped]) -> Iterator[Sample | Skipped]:
    """Read files one after the other; one that can't be read is skipped for the reason ``unreadable``."""
    for file in files:
        try:
            yield read(file)
        except TmorError as error:
            yield Skipped(file.name, "unreadable", str(error))
