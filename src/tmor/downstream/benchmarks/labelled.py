"""A packed set read for classification: its labelled samples, and the folds of a protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tmor.downstream.benchmarks.protocol import Fold, Protocol, Published, folds_of, protocol_of
from tmor.errors import TmorError
from tmor.skeleton.canonical import is_seen
from tmor.skeleton.formats import read_packed
from tmor.skeleton.tracks import Track


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labelled samples and how they are divided.

    Args:
        name: the data set.
        protocol: the name of the protocol.
        samples: the persons of each of the n samples; nobody is seen in none of them.
        labels: (n,) int64 index into ``class_names``.
        class_names: the classes that take part.
        folds: divisions of the n samples into a training and a test part.
        skipped: samples that were left out, counted by reason.
        metric: the protocol's measure of classification.
        unseen: indices of the classes that zero-shot training may not show.
        published: figures of others.
    """

    name: str
    protocol: str
    samples: tuple[tuple[Track, ...], ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    folds: tuple[Fold, ...]
    skipped: dict[str, int]
    metric: Literal["top1", "mean_class", "localisation"] = "top1"
    unseen: tuple[int, ...] = ()
    published: tuple[Published, ...] = ()

    def validation(self, seed: int) -> LabelledSet:
        """The training part alone, every other sample of each class (in seeded order) being held out as test part.

        Of several folds that of the first: the training parts of the others hold its test samples.

        Raises:
            TmorError: no class has two training samples.
        """
        fold = self.folds[0]
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(fold.train))
        by_class = rows[np.argsort(self.labels[rows], kind="stable")]
        rank = np.concatenate([np.arange(n) for n in np.bincount(self.labels[by_class]) if n])
        train, test = np.zeros_like(fold.train), np.zeros_like(fold.test)
        train[by_class[rank % 2 == 0]], test[by_class[rank % 2 == 1]] = True, True
        if not test.any():
            raise TmorError(
                f"set '{self.name}' has at most 1 training sample of each class; expected 2, to hold out one of them"
            )
        return replace(self, folds=(Fold(fold.name, train, test),))


def read_labelled(path: str | Path, protocol: Protocol | None = None, *, part: str | None = None) -> LabelledSet:
    """A packed set with the folds of a protocol.

    Args:
        path: a packed set with labels.
        protocol: of a benchmark; or None, and
        part: the training part of a set of one's own (:meth:`tmor.skeleton.formats.PackedSet.part`); the rest is the
            test part.

    Raises:
        FormatError: the file is not a packed set.
        TmorError: it has no labels or lacks a class of the protocol, or a fold has no samples on one side.
    """
    packed = read_packed(path)
    if packed.labels is None or not packed.class_names or (packed.labels < 0).all():
        raise TmorError(f"{path}: has no labels; classification needs array 'label' with 'class_names'")
    protocol = protocol_of(packed, path, protocol, part)
    folds = protocol.folds(packed)
    used = np.any([fold.train | fold.test for fold in folds], axis=0)
    names = protocol.classes or packed.class_names
    absent = {*names, *protocol.unseen} - set(packed.class_names)
    if absent:
        raise TmorError(f"{path}: lacks class {', '.join(sorted(absent))}, which protocol {protocol.name} has")
    new_label = {packed.class_names.index(name): k for k, name in enumerate(names)}
    samples, labels, kept, skipped = [], [], [], {}
    for i in np.flatnonzero(used).tolist():
        label = int(packed.labels[i])
        tracks = tuple(t for t in packed.tracks(i) if is_seen(t))
        reason = None if tracks else "nobody is seen"
        reason = "no label" if label < 0 else "class is not in the protocol" if label not in new_label else reason
        if reason:
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        samples.append(tracks)
        labels.append(new_label[label])
        kept.append(i)
    own = folds_of(folds, kept, path=path, protocol=protocol.name, what="samples")
    return LabelledSet(
        name=packed.name,
        protocol=protocol.name,
        samples=tuple(samples),
        labels=np.array(labels, dtype=np.int64),
        class_names=tuple(names),
        folds=own,
        skipped=skipped,
        metric=protocol.metric,
        unseen=tuple(names.index(name) for name in protocol.unseen),
        published=protocol.published,
    )
