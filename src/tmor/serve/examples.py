"""Enrolled actions as a small file: examples of movements, by label.

It is a file of tracks (:func:`tmor.skeleton.formats.native.write_tracks`), in which a track's id is its label
and a number, ``label#0``. As movements are kept and not their embeddings, it holds for any model, and
``tmor inspect`` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tmor.errors import TmorError
from tmor.model.answers import check_labels
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.native import write_tracks
from tmor.skeleton.tracks import Track


def read_examples(path: str | Path) -> dict[str, list[Track]]:
    """The examples of a file, by label, in the file's order; what :meth:`tmor.model.model.Model.enroll` takes.

    Any pose file whose tracks have labels as ids will do.

    Raises:
        FormatError: it is no file of tracks.
        TmorError: a track has no id.
    """
    examples: dict[str, list[Track]] = {}
    for n, track in enumerate(read_tracks(path)):
        label = (track.id or "").rpartition("#")[0] or (track.id or "")
        if not label.strip():
            raise TmorError(f"{path}: track {n} has no id; expected the label that it is an example of")
        examples.setdefault(label.strip(), []).append(track)
    return examples


def write_examples(path: str | Path, examples: Mapping[str, Sequence[Track]]) -> None:
    """Write examples by label; a file that is there is replaced, whole or not at all.

    Raises:
        TmorError: there are none, a label is empty, double or without example, or the name does not end in ``.npz``.
    """
    for label, tracks in zip(check_labels(list(examples)), examples.values(), strict=True):
        if not tracks:
            raise TmorError(f"label '{label}' has no example; expected at least one track")
    named = [
        replace(track, id=f"{label.strip()}#{n}") for label, own in examples.items() for n, track in enumerate(own)
    ]
    write_tracks(path, named, overwrite=True)
