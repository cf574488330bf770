"""Data sets with labels and a split: read, split, metric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.formats import read_packed
from tmor.skeleton.tracks import Track

TRAINING_PART = {
    "penn_action": "is_train",
    "utd_mhad_skeleton": "is_train_xsub",
    "nw_ucla": "is_train_xview",
    "jhmdb": "is_train[0]",
    "bandai_namco": "not is_test_xstyle_suggested",
    "kard": "is_train_xsub",
    "florence3d": "is_train_xsub",
    "sbu_interaction": "fold != 0",
    "hdm05_11": "is_train_xsub",
    "cad60": "subject != 4",
}
"""The split that is usual for a packed set of this name; READMEs and MODEL_CARD say which are official."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Labelled samples, split into a training and a test part.

    Args:
        name: the data set.
        samples: the persons of each of the n samples; nobody is seen in none of them.
        labels: (n,) int64 index into ``class_names``.
        class_names: all classes.
        train: (n,) bool; the others are the test part.
        skipped: samples that were left out, counted by reason.
    """

    name: str
    samples: tuple[tuple[Track, ...], ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    train: np.ndarray
    skipped: dict[str, int]


def read_benchmark(path: str | Path, *, part: str | None = None) -> Benchmark:
    """A packed set as a benchmark.

    Args:
        path: a packed set with labels.
        part: the training part (:meth:`tmor.skeleton.formats.PackedSet.part`); None = the usual one of a known set.

    Raises:
        FormatError: the file is not a packed set.
        TmorError: it has no labels, the split is not known, or a part has no samples.
    """
    packed = read_packed(path)
    if packed.labels is None:
        raise TmorError(f"{path}: has no labels; a benchmark needs array 'label' with 'class_names'")
    part = part or TRAINING_PART.get(packed.name)
    if part is None:
        raise TmorError(
            f"{path}: the training part of '{packed.name}' is not known; name it, for example --part is_train"
        )
    train = packed.part(part)
    samples, kept, skipped = [], [], {}
    for i in range(len(packed)):
        tracks = tuple(t for t in packed.tracks(i) if t.missing_share < 1)
        reason = "no label" if packed.labels[i] < 0 else None if tracks else "nobody is seen"
        if reason:
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        samples.append(tracks)
        kept.append(i)
    train = train[kept]
    if not train.any() or train.all():
        raise TmorError(
            f"{path}: part '{part}' holds {int(train.sum())} of {len(train)} samples; expected some, not all"
        )
    return Benchmark(packed.name, tuple(samples), packed.labels[kept], packed.class_names, train, skipped)
