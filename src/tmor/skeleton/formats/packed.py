"""Packed sets: many labelled sequences in one .npz that anyone can write with ``numpy.savez_compressed``.

With n sequences, f frames over all of them, j joints, and optionally p persons in every frame:

=================  ====================  ===============================================================================
array              shape                 meaning
=================  ====================  ===============================================================================
``joints``         (f, [p,] j, 2 | 3)    float: 2D in any consistent unit, y down; 3D in metres, y up; NaN = unseen.
                                         A person with every joint at exactly zero in a frame is taken as unseen there
``joints_milli``   as ``joints``         instead of ``joints``: int16, thousandths of the unit
``offsets``        (n + 1,)              int: sequence i is ``joints[offsets[i]:offsets[i + 1]]``; from 0 up to f
``joint_names``    (j,)                  str: names as in :mod:`tmor.skeleton.layouts`
``edges``          (b, 2)                optional, int: bones as pairs of joint indices
``layout``         ()                    optional, str: the layout's name
``fps``            ()                    optional, float: frames per second; 0 = unknown
``seq_id``         (n,)                  optional, str (or ``clip_id``)
``label``          (n,)                  optional, int: class of the sequence, -1 = none; needs ``class_names``
``class_names``    (k,)                  optional, str: names of the classes
``visible``        (f, [p,] j)           optional, bool or 0/1: joints that were seen
``tracked``        (f, [p])              optional, bool or 0/1: frames in which the person was seen
``timestamp_ms``   (f,)                  optional: time of each frame, increasing within a sequence, at irregular rates
``tags``           (m, 2 | 3)            optional, int: (sequence, frame within the sequence[, class]) of point events
``segments``       (m, 4)                optional, int: (sequence, class, start, end), frames within the sequence, end
                                         exclusive
``segments_s``     (m, 4)                optional, float: the same with start and end in seconds, where whole frames
                                         would not do; they may overlap
``frame_label*``   (f,)                  optional, int: class of each frame, -1 = none; one such array. The names of
                                         ``frame_label_x`` are in ``class_names``, or else in ``class_names_x``
``X_names``        (any,)                optional, str: what the numbers in array ``X`` stand for (not read)
anything else      (n, ...)              a column: one entry per sequence (``is_train``, ``subject``, ``view``, ...)
=================  ====================  ===============================================================================
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tmor.errors import FormatError, LayoutError, TmorError
from tmor.skeleton.formats.files import frame_rate, read_arrays, readable, warn_of_zeros, write_arrays
from tmor.skeleton.formats.persons import MAX_FRAMES, person_id, person_names
from tmor.skeleton.layouts import Layout, layout_of
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

_KNOWN = {
    *("joints", "joints_milli", "offsets", "joint_names", "edges", "layout", "fps", "label", "class_names"),
    *("visible", "tracked", "timestamp_ms", "tags", "tag_columns", "segments", "segment_columns", "segments_s"),
}


@dataclass(frozen=True, eq=False)
class PackedSet:
    """Many sequences with their labels, as read from one .npz (the format is described in this module).

    Args:
        name: the file's name without its extension.
        keypoints: (frames, [persons,] joints, 2 | 3) float32, all sequences one after the other; NaN = unseen.
        offsets: (n + 1,) int64; sequence i is ``keypoints[offsets[i]:offsets[i + 1]]``.
        layout: which joints there are.
        fps: frames per second; None = unknown.
        ids: one per sequence.
        labels: (n,) int64, -1 = none; None = the sequences have no labels.
        class_names: what the numbers in labels, tags, segments and frame labels mean.
        tags: (m, 2 | 3) int64: sequence, frame counted from the start of the sequence, and class if there is a
            third column (else it is the sequence's label); point events in untrimmed recordings.
        segments: (m, 4) int64: sequence, class, start, end (exclusive), frames counted from the start of the sequence.
        segments_s: (m, 4) float64: sequence, class, start, end in seconds from the start of the sequence.
        frame_labels: (frames,) int64, -1 = none.
        times_s: (frames,) float64 seconds, where the frames come at irregular times.
        columns: every other array with one entry per sequence.
    """

    name: str
    keypoints: np.ndarray
    offsets: np.ndarray
    layout: Layout
    fps: float | None
    ids: tuple[str, ...]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    tags: np.ndarray | None
    segments: np.ndarray | None
    segments_s: np.ndarray | None
    frame_labels: np.ndarray | None
    times_s: np.ndarray | None
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        rate = "unknown rate" if self.fps is None else f"{self.fps:g} fps"
        return (
            f"PackedSet('{self.name}', {len(self)} sequences, {len(self.keypoints)} frames, {self.layout.name}, "
            f"{self.keypoints.shape[-1]}D, {rate}, {len(self.class_names)} classes)"
        )

    def tracks(self, i: int) -> tuple[Track, ...]:
        """Sequence i, one track per person; persons after the first who are never seen are left out.

        The first person's track has the sequence's id, the others that id and ``#1``, ``#2``, ... Where the frames
        come at irregular times the tracks are brought to a constant rate, so that frame numbers change:
        go by seconds there, which count from the start of the recording's clock.
        """
        i = range(len(self))[i]
        start, stop = self.offsets[i : i + 2]
        points = self.keypoints[start:stop]
        if points.ndim == 3:
            points = points[:, None]
        tracks = []
        for person in range(points.shape[1]):
            own = points[:, person]
            if person and np.isnan(own).any(axis=-1).all():
                continue
            id = person_id(self.ids[i], person)
            if self.times_s is None:
                tracks.append(Track(own, self.layout, self.fps, id=id))
            else:
                tracks.append(Track.from_times(own, self.layout, self.times_s[start:stop], id=id))
        return tuple(tracks)

    def part(self, name: str) -> np.ndarray:
        """Which sequences belong to a part of the set.

        Args:
            name: a boolean column (``is_train``), one column of a wider one (``is_train[1]``), the complement of either
                (``not is_train``), or an integer column compared with a number (``fold == 0``, ``subject != 4``).

        Returns:
            (n,) bool.

        Raises:
            TmorError: there is no such column; the message lists those that there are.
        """
        compared = re.fullmatch(r"(\w+) (==|!=) (-?\d+)", name)
        if (
            compared
            and (column := self.columns.get(compared[1])) is not None
            and column.dtype.kind in "iu"
            and column.ndim == 1
        ):
            return (column == int(compared[3])) == (compared[2] == "==")
        found = re.fullmatch(r"(not )?(\w+)(?:\[(\d+)\])?", name)
        column = self.columns.get(found[2]) if found else None
        index = int(found[3]) if found and found[3] else None
        if (
            column is not None
            and column.dtype == bool
            and (column.ndim == 1 if index is None else column.ndim == 2 and index < column.shape[1])
        ):
            chosen = column if index is None else column[:, index]
            return ~chosen if found and found[1] else chosen.copy()
        parts = []
        for key, array in self.columns.items():
            if array.dtype == bool:
                parts += [key] if array.ndim == 1 else [f"{key}[{k}]" for k in range(array.shape[1])]
            elif array.dtype.kind in "iu" and array.ndim == 1:
                parts.append(f"{key} == {array[0]}")
        raise TmorError(f"set '{self.name}' has no part '{name}'; its parts are {', '.join(parts) or 'none'}")


def rest_of(part: str) -> str:
    """The part of a set that a part leaves, both as :meth:`PackedSet.part` names them."""
    if part.startswith("not "):
        return part.removeprefix("not ")
    name, sign, number = part.partition(" != " if " != " in part else " == ")
    return f"{name}{' == ' if sign == ' != ' else ' != '}{number}" if sign else f"not {part}"


def is_packed(arrays: Collection[str]) -> bool:
    """Whether the arrays of an .npz, or their names alone, are those of a packed set."""
    return "offsets" in arrays and "joint_names" in arrays and ("joints" in arrays or "joints_milli" in arrays)


def read_packed(path: str | Path) -> PackedSet:
    """Read a packed set.

    Raises:
        FormatError: the file is not a packed set, or an array has a size or a value that can't be right.
    """
    path = Path(path)
    return unpack(path, read_arrays(path))


def unpack(path: Path, arrays: Mapping[str, np.ndarray]) -> PackedSet:
    """:func:`read_packed` for arrays that have been read already; ``path`` names them in errors."""
    if not is_packed(arrays):
        raise FormatError(
            f"{path}: not a packed set: it has arrays {', '.join(arrays) or 'none'}; "
            "expected joints (or joints_milli), offsets and joint_names"
        )
    points = _points(path, arrays)
    offsets = _offsets(path, arrays["offsets"], frames=len(points))
    n, lengths = len(offsets) - 1, np.diff(offsets)
    label_key, class_names = _class_names(path, arrays)
    k = len(class_names) or None

    labels = None
    if "label" in arrays:
        labels = _integers(path, arrays, "label", (n,))
        _check_range(path, "label", labels, -1, k, "class_names")
        if not class_names:
            _log.warning("%s: label is not used, as no class_names say what its numbers mean", path)
            labels = None
    frame_labels = None
    if label_key is not None:
        frame_labels = _integers(path, arrays, label_key, (len(points),))
        _check_range(path, label_key, frame_labels, -1, k, "class names")
    tags = _rows(path, arrays, "tags", (2, 3))
    if tags is not None:
        _check_range(path, "tags, sequence column,", tags[:, 0], 0, n, "offsets")
        _check_frames(path, "tags", tags[:, 1], lengths[tags[:, 0]] - 1)
        if tags.shape[1] == 3:
            _check_range(path, "tags, class column,", tags[:, 2], 0, k, "class_names")
    segments = _rows(path, arrays, "segments", (4,))
    if segments is not None:
        _check_range(path, "segments, sequence column,", segments[:, 0], 0, n, "offsets")
        _check_range(path, "segments, class column,", segments[:, 1], 0, k, "class_names")
        _check_frames(path, "segments", segments[:, 2], segments[:, 3] - 1)
        _check_frames(path, "segments", segments[:, 3], lengths[segments[:, 0]])
    id_key = next((key for key in ("seq_id", "clip_id") if key in arrays), None)
    ids = tuple(map(str, range(n)))
    if id_key is not None:
        _check_shape(path, arrays, id_key, (n,))
        ids = tuple(map(str, arrays[id_key].tolist()))

    taken = _KNOWN | {id_key, label_key}
    columns = {}
    for key, array in arrays.items():
        stem = key.removesuffix("_names")
        if key in taken or key.startswith("class_names") or (stem != key and stem in arrays):
            continue
        if array.ndim and len(array) == n:
            columns[key] = array
        else:
            _log.info("%s: array '%s' of shape %s is not used", path, key, array.shape)
    return PackedSet(
        name=readable(path.stem),
        keypoints=points,
        offsets=offsets,
        layout=_layout(path, arrays, joints=points.shape[-2]),
        fps=frame_rate(path, arrays),
        ids=ids,
        labels=labels,
        class_names=class_names,
        tags=tags,
        segments=segments,
        segments_s=_segments_s(path, arrays, sequences=n, classes=k),
        frame_labels=frame_labels,
        times_s=_times(path, arrays, offsets),
        columns=columns,
    )


def write_packed(
    path: str | Path,
    tracks: Sequence[Track],
    *,
    labels: Sequence[str | None] | None = None,
    class_names: Sequence[str] | None = None,
    columns: Mapping[str, ArrayLike] | None = None,
    overwrite: bool = False,
) -> None:
    """Write tracks as a packed set, one sequence per track; the file appears whole or not at all.

    The format has no place for ``scores`` and ``start_s``: :func:`tmor.skeleton.formats.write_tracks` keeps them.

    Args:
        path: where to, ending in ``.npz``.
        tracks: all of the same layout, dimensions and rate.
        labels: the class name of each track; None = none.
        class_names: the classes in the order of their numbers; sorted ``labels`` when not given.
        columns: further arrays with one entry per track, such as ``is_train``.
        overwrite: replace a file that exists.

    Raises:
        TmorError: the tracks differ, a size is wrong, a label is not among the classes, or the file exists.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise TmorError(f"{path}: a packed set's file name must end in .npz")
    if not tracks:
        raise TmorError(f"{path}: there are no tracks to write")
    first = tracks[0]
    for i, track in enumerate(tracks):
        for what, own, expected in (
            ("layout", track.layout.name, first.layout.name),
            ("joints", track.layout.joints, first.layout.joints),
            ("dimensions", track.dims, first.dims),
            ("fps", track.fps, first.fps),
        ):
            if own != expected:
                raise TmorError(f"{path}: track {i} has {what} {own}, track 0 has {expected}; a packed set has one")
    if any(track.scores is not None or track.start_s for track in tracks):
        _log.warning("%s: a packed set does not keep scores and start times; write_tracks does", path)
    layout = first.layout
    arrays = {
        "joints": np.concatenate([track.keypoints for track in tracks]),
        "offsets": np.cumsum([0, *map(len, tracks)], dtype=np.int64),
        "joint_names": np.array(layout.joints),
        "edges": layout.bone_indices,
        "layout": np.array(layout.name),
        "fps": np.array(first.fps or 0.0),
        "seq_id": np.array(person_names(tracks)),
    }
    if labels is not None:
        if len(labels) != len(tracks):
            raise TmorError(f"{path}: {len(labels)} labels for {len(tracks)} tracks; expected one per track")
        names = sorted({name for name in labels if name is not None}) if class_names is None else list(class_names)
        for name in labels:
            if name is not None and name not in names:
                raise TmorError(f"{path}: label '{name}' is not among class_names {', '.join(names)}")
        arrays["label"] = np.array([-1 if name is None else names.index(name) for name in labels], dtype=np.int64)
        arrays["class_names"] = np.array(names, dtype=np.str_)
    for key, column in (columns or {}).items():
        array = np.asarray(column)
        if key in arrays or key in _KNOWN or key.startswith(("class_names", "frame_label")):
            raise TmorError(f"{path}: a column can't be called '{key}', which the format uses itself")
        if array.ndim == 0 or len(array) != len(tracks) or array.dtype == object:
            raise TmorError(
                f"{path}: column '{key}' has shape {array.shape} and type {array.dtype}; "
                f"expected one number, bool or str for each of {len(tracks)} tracks"
            )
        arrays[key] = array
    unpack(path, arrays)  # what we write, we can read
    write_arrays(path, arrays, overwrite=overwrite)


def _points(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(frames, [persons,] joints, 2 | 3) float32, with NaN for what the masks or zeros mark as unseen."""
    key = "joints" if "joints" in arrays else "joints_milli"
    raw = arrays[key]
    if raw.ndim not in (3, 4) or raw.shape[-1] not in (2, 3) or raw.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: {key} has shape {raw.shape} and type {raw.dtype}; "
            "expected (frames, [persons,] joints, 2 or 3) numbers"
        )
    points = raw.astype(np.float32)
    if key == "joints_milli":
        points /= 1000
    if np.isinf(points).any():
        at = tuple(np.argwhere(np.isinf(points))[0].tolist())
        raise FormatError(f"{path}: {key}{list(at)} is infinite; use NaN for unseen joints")
    for mask_key, axes in (("visible", -1), ("tracked", -2)):
        if mask_key in arrays:
            _check_shape(path, arrays, mask_key, points.shape[:axes])
            mask = arrays[mask_key]
            if not np.isin(mask, (0, 1)).all():
                raise FormatError(f"{path}: {mask_key} holds {mask[~np.isin(mask, (0, 1))].flat[0]}; expected 0 or 1")
            points[mask == 0] = np.nan
    points[(points == 0).all(axis=(-2, -1))] = np.nan
    warn_of_zeros(path, points)
    return points


def _offsets(path: Path, raw: np.ndarray, *, frames: int) -> np.ndarray:
    if raw.ndim != 1 or raw.dtype.kind not in "iu" or len(raw) < 2:
        raise FormatError(
            f"{path}: offsets has shape {raw.shape} and type {raw.dtype}; expected (sequences + 1,) integers"
        )
    offsets = raw.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != frames:
        raise FormatError(
            f"{path}: offsets run from {offsets[0]} to {offsets[-1]}; expected 0 to {frames}, the number of frames"
        )
    bad = np.flatnonzero(np.diff(offsets) <= 0)
    if len(bad):
        i = bad[0]
        raise FormatError(
            f"{path}: offsets[{i}] is {offsets[i]} and offsets[{i + 1}] is {offsets[i + 1]}; "
            "expected them to increase, as every sequence has a frame"
        )
    return offsets


def _layout(path: Path, arrays: Mapping[str, np.ndarray], *, joints: int) -> Layout:
    _check_shape(path, arrays, "joint_names", (joints,))
    names = tuple(map(str, arrays["joint_names"].tolist()))
    if (known := layout_of(names)) is not None:
        return known
    bones = _rows(path, arrays, "edges", (2,))
    if bones is not None:
        _check_range(path, "edges", bones.ravel(), 0, joints, "joint_names")
    name = str(arrays["layout"]) if "layout" in arrays else path.stem
    try:
        return Layout(name, names, () if bones is None else tuple((names[a], names[b]) for a, b in bones))
    except LayoutError as error:
        raise FormatError(f"{path}: joint_names: {error}") from error


def _times(path: Path, arrays: Mapping[str, np.ndarray], offsets: np.ndarray) -> np.ndarray | None:
    """(frames,) float64 seconds."""
    if "timestamp_ms" not in arrays:
        return None
    _check_shape(path, arrays, "timestamp_ms", (int(offsets[-1]),))
    times = arrays["timestamp_ms"]
    if times.dtype.kind not in "fiu" or not np.isfinite(times).all():
        raise FormatError(f"{path}: timestamp_ms has type {times.dtype} or is not finite; expected milliseconds")
    times = times.astype(np.float64) / 1000
    stuck = np.diff(times) <= 0
    stuck[offsets[1:-1] - 1] = False  # a new sequence may begin anew
    if stuck.any():
        i = int(np.argmax(stuck))
        raise FormatError(
            f"{path}: timestamp_ms[{i}] is {times[i] * 1000:g} and timestamp_ms[{i + 1}] is {times[i + 1] * 1000:g}; "
            "expected times to increase within a sequence"
        )
    for i, (start, stop) in enumerate(pairwise(offsets)):
        own = times[start:stop]
        if len(own) > 1 and own[-1] - own[0] > MAX_FRAMES * np.median(np.diff(own)):
            raise FormatError(
                f"{path}: timestamp_ms of sequence {i} runs from {own[0] * 1000:g} to {own[-1] * 1000:g} "
                f"in {len(own)} frames; expected times in milliseconds"
            )
    return times


def _class_names(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str | None, tuple[str, ...]]:
    """The key of the frame labels, if any, and the names of the classes."""
    label_key = next((key for key in arrays if key.startswith("frame_label")), None)
    own = "class_names" + (label_key or "").removeprefix("frame_label")
    key = "class_names" if "class_names" in arrays else own
    if key not in arrays:
        return label_key, ()
    if arrays[key].ndim != 1:
        raise FormatError(f"{path}: {key} has shape {arrays[key].shape}; expected one name per class")
    return label_key, tuple(map(str, arrays[key].tolist()))


def _integers(path: Path, arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]) -> np.ndarray:
    _check_shape(path, arrays, key, shape)
    if arrays[key].dtype.kind not in "iu":
        raise FormatError(f"{path}: {key} has type {arrays[key].dtype}; expected integers")
    return arrays[key].astype(np.int64)


def _rows(path: Path, arrays: Mapping[str, np.ndarray], key: str, widths: tuple[int, ...]) -> np.ndarray | None:
    """(m, one of ``widths``) int64, or None where there is no such array."""
    if key not in arrays:
        return None
    array = arrays[key]
    if array.ndim != 2 or array.shape[1] not in widths or array.dtype.kind not in "iu":
        width = " or ".join(map(str, widths))
        raise FormatError(
            f"{path}: {key} has shape {array.shape} and type {array.dtype}; expected (any, {width}) integers"
        )
    return array.astype(np.int64)


def _segments_s(
    path: Path, arrays: Mapping[str, np.ndarray], *, sequences: int, classes: int | None
) -> np.ndarray | None:
    if "segments_s" not in arrays:
        return None
    rows = arrays["segments_s"]
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise FormatError(
            f"{path}: segments_s has shape {rows.shape} and type {rows.dtype}; expected (any, 4) finite numbers"
        )
    partial = np.flatnonzero((rows[:, :2] % 1 != 0).any(axis=1))
    if len(partial):
        sequence, label = rows[partial[0], :2]
        raise FormatError(
            f"{path}: segments_s row {partial[0]} is of sequence {sequence:g} and class {label:g}; "
            "expected whole numbers"
        )
    _check_range(path, "segments_s, sequence column,", rows[:, 0], 0, sequences, "offsets")
    _check_range(path, "segments_s, class column,", rows[:, 1], 0, classes, "class_names")
    bad = np.flatnonzero((rows[:, 2] < 0) | (rows[:, 3] <= rows[:, 2]))
    if len(bad):
        start, end = rows[bad[0], 2:]
        raise FormatError(f"{path}: segments_s row {bad[0]} runs from {start:g} to {end:g} s; expected start < end")
    return rows.astype(np.float64)


def _check_shape(path: Path, arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]) -> None:
    if arrays[key].shape != shape:
        raise FormatError(f"{path}: {key} has shape {arrays[key].shape}; expected {shape}")


def _check_range(path: Path, what: str, values: np.ndarray, low: int, stop: int | None, why: str) -> None:
    bad = (values < low) | (values >= stop if stop is not None else False)
    if bad.any():
        i = int(np.argmax(bad))
        most = f"at least {low}" if stop is None else f"{low} to {stop - 1}, by {why}"
        raise FormatError(f"{path}: {what} holds {values[i]} at {i}; expected {most}")


def _check_frames(path: Path, what: str, frames: np.ndarray, last: np.ndarray) -> None:
    bad = (frames < 0) | (frames > last)
    if bad.any():
        i = int(np.argmax(bad))
        raise FormatError(f"{path}: {what} row {i} has frame {frames[i]}; expected 0 to {last[i]}, within its sequence")
