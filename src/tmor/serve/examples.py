"""Enrolled actions as a small file: examples of movements, by label.

It is a file of tracks (:func:`tmor.skeleton.formats.native.write_tracks`), in which a track's id is its label
and a number, ``label#0``. As movements are kept and not their embeddings, it holds for any model, and
``tmor inspect`` shows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.model.answers import Labels, check_labels
from tmor.skeleton.formats import packed
from tmor.skeleton.formats.files import check_new_file, read_arrays, read_bytes
from tmor.skeleton.formats.native import unpack, write_tracks
from tmor.skeleton.formats.persons import person_names, short_name
from tmor.skeleton.tracks import Track


def read_examples(path: str | Path) -> dict[str, list[Track]]:
    """The examples of a file, by label, in the file's order; what :meth:`tmor.model.model.Model.enroll` takes.

    A packed set with labels will do, too, and tracks that :func:`tmor.skeleton.formats.write_tracks` wrote, with labels
    as ids. Other pose files call people after the file, which is no label.

    Raises:
        FormatError: it is no such file.
        TmorError: a track has no id.
    """
    path = Path(path)
    content = read_bytes(path, 4)
    arrays = read_arrays(path) if content == b"PK\x03\x04" else {}
    examples: dict[str, list[Track]] = {}
    if packed.is_packed(arrays):
        found = packed.unpack(path, arrays)
        if found.labels is None or not (found.labels >= 0).any():
            raise FormatError(f"{path}: a packed set without labels; expected labels, or a file of tmor enroll")
        for i in np.flatnonzero(found.labels >= 0).tolist():
            examples.setdefault(found.class_names[found.labels[i]], []).extend(found.tracks(i))
        return examples
    if "tmor_tracks" not in arrays:
        raise FormatError(f"{path}: not a file of examples; expected one of tmor enroll, or a packed set with labels")
    for n, track in enumerate(unpack(path, arrays)):
        label = (track.id or "").rpartition("#")[0] or (track.id or "")
        if not label.strip():
            raise TmorError(f"{path}: track {n} has no id; expected the label that it is an example of")
        examples.setdefault(label.strip(), []).append(track)
    return examples


def read_own_examples(path: str | Path) -> dict[str, list[Track]]:
    """The examples of a file that :func:`write_examples` wrote, and of no other: one that may be written again.

    Raises:
        FormatError: there is no such file, or it is something else.
    """
    path = Path(path)
    arrays = read_arrays(path)
    if "tmor_tracks" not in arrays:
        raise FormatError(f"{path}: has arrays {', '.join(arrays) or 'none'}; expected a file of tmor enroll")
    for track in unpack(path, arrays):
        if not re.fullmatch(r"\s*\S.*#\d+", track.id or "", re.DOTALL):
            raise FormatError(
                f"{path}: holds a track '{track.id}'; expected a file of tmor enroll, in which tracks are called after "
                "their labels (label#0)"
            )
    return read_examples(path)


def write_examples(path: str | Path, examples: Mapping[str, Sequence[Track]]) -> None:
    """Write examples by label; a file that is there is replaced, whole or not at all.

    Raises:
        TmorError: there are none, a label is empty, double or without example, the name does not end in ``.npz``, or
            the file can't be written.
    """
    for label, tracks in zip(check_labels(list(examples)), examples.values(), strict=True):
        if not tracks:
            raise TmorError(f"label '{label}' has no example; expected at least one track")
    named = [
        replace(track, id=f"{label.strip()}#{n}") for label, own in examples.items() for n, track in enumerate(own)
    ]
    try:
        write_tracks(path, named, overwrite=True)
    except OSError as error:
        raise TmorError(f"{path}: can't be written: {error.strerror}") from error


def joined_labels(labels: Labels | None, examples: Mapping[str, Sequence[Track]]) -> Labels:
    """Labels told apart by words, if there are any, and those of examples; one in both, whatever the case, is spelled
    as the examples spell it, and so told by them."""
    spelled = {label.casefold(): label for label in examples}
    names = [spelled.pop(label.strip().casefold(), label) for label in labels or ()]
    if isinstance(labels, Mapping):
        return dict(zip(names, labels.values(), strict=True)) | dict.fromkeys(spelled.values(), ())
    return [*names, *spelled.values()]


def check_examples(path: str | Path, label: str) -> None:
    """Check, before long work, that :func:`add_example` will be able to add its outcome.

    Raises:
        TmorError, FormatError: as :func:`add_example`.
    """
    check_labels([label])
    if Path(path).exists():
        read_own_examples(path)
    else:
        check_new_file(Path(path), [".npz"])


def add_example(path: str | Path, label: str, track: Track) -> int:
    """Add an example to a file of them, which is made where it is not there; written whole or not at all.

    Args:
        label: one that the file has, whatever the case, or a new one.

    Returns:
        How many examples of the label there are now.

    Raises:
        TmorError: the label is empty, or the file can't be written.
        FormatError: the file is there and is something else (:func:`read_own_examples`).
    """
    (label,) = check_labels([label])
    examples = read_own_examples(path) if Path(path).exists() else {}
    own = examples.setdefault(known_label(label, examples) or label, [])
    own.append(track)
    write_examples(path, examples)
    return len(own)


def remove_label(path: str | Path, label: str) -> int:
    """Remove a label with all its examples.

    Returns:
        How many examples it had.

    Raises:
        TmorError: the label is not there, or it is the last one.
        FormatError: as :func:`read_own_examples`.
    """
    examples = read_own_examples(path)
    spelled = known_label(label, examples)
    if spelled is None:
        raise TmorError(f"{path}: has no label '{label}'; its labels are {', '.join(examples)}")
    if len(examples) == 1:
        raise TmorError(f"{path}: '{spelled}' is its only label; delete the file instead")
    count = len(examples.pop(spelled))
    write_examples(path, examples)
    return count


def known_label(label: str, examples: Mapping[str, Sequence[Track]]) -> str | None:
    """The label as the examples spell it, whatever the case; None = they have no such label."""
    return next((known for known in examples if known.casefold() == label.strip().casefold()), None)


def cut_example(
    tracks: Sequence[Track],
    source: str | Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    person: str | None = None,
) -> Track:
    """The movement of one person in a stretch of a source.

    Args:
        tracks: everybody in it.
        source: what they come from, for its name.
        start_s, end_s: seconds of the source, as segments count them (as if at 30 frames per second where the rate is
            unknown); ``end_s`` exclusive, None = from the start, to the end.
        person: an id, or its number alone (``#1`` of ``clip#1``, ``#0`` of ``clip``); None = the only one who is seen
            in the stretch.

    Raises:
        TmorError: the stretch is empty, of a single frame, or no part of it lies within the source, nobody is seen in
            it, there is no such person, or several and none is chosen.
    """
    spans = [(track.start_s, track.end_s) for track in tracks]
    if not tracks:
        raise TmorError(f"{source}: nobody is in it")
    begin, stop = min(start for start, _ in spans), max(end for _, end in spans)
    first = begin if start_s is None else start_s
    last = stop if end_s is None else end_s
    if not (math.isfinite(first) and math.isfinite(last) and first < last and first < stop and last > begin):
        raise TmorError(
            f"{source}: from {first:g} to {last:g} s there is nothing; people are in it from {begin:.1f} to "
            f"{stop:.1f} s, and a start must come before its end"
        )
    names = person_names(tracks)
    chosen = list(range(len(tracks)))
    if person is not None:
        chosen = [n for n in chosen if person in (names[n], short_name(names[n], Path(source).stem))]
        if not chosen:
            raise TmorError(f"{source}: has no person '{person}'; there are {', '.join(names)}")
    parts = {n: part for n in chosen if (part := frames_between(tracks[n], first, last)) is not None}
    if not parts:
        who = "nobody is" if person is None else f"person {person} is not"
        seen = "; ".join(f"{names[n]} is there from {spans[n][0]:.1f} to {spans[n][1]:.1f} s" for n in chosen[:10])
        raise TmorError(f"{source}: {who} seen from {first:g} to {last:g} s: {seen}")
    if len(parts) > 1:
        who = ", ".join(names[n] for n in parts)
        raise TmorError(
            f"{source}: several persons are seen from {first:.1f} to {last:.1f} s: {who}; choose one of them"
        )
    part = next(iter(parts.values()))
    if len(part) < 2:
        raise TmorError(f"{source}: from {first:g} to {last:g} s there is a single frame; expected a movement")
    return part


def frames_between(track: Track, start_s: float, end_s: float) -> Track | None:
    """The frames of a stretch in seconds of the source (as if at 30 fps where the rate is unknown), ``end_s``
    exclusive; None where the person is not seen in them."""
    # Times are often rounded: a frame a hair before its time is in time.
    start, stop = (
        min(max(math.ceil((s - track.start_s) * track.rate - 1e-3), 0), len(track)) for s in (start_s, end_s)
    )
    if start >= stop or np.isnan(track.keypoints[start:stop]).all():
        return None
    return track.frames(start, stop)
