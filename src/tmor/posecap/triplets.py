"""Triplets (skeleton, video, text) of clips, and how packed sets become triplets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tmor.errors import FormatError
from tmor.posecap.captions import describe
from tmor.posecap.texts import read_json_text
from tmor.skeleton.formats import PackedSet, read_packed
from tmor.skeleton.formats.files import read_bytes
from tmor.skeleton.tracks import Track

_BEFORE_TAG_S, _AFTER_TAG_S = 1.5, 1.0


@dataclass(frozen=True, eq=False)
class Triplet:
    """One clip of a person with its texts and its video, either of which may be absent.

    Args:
        id: unique over all data sets: ``source/sequence``, with the person and the times where there are several.
        source: the data set.
        track: the skeleton.
        texts: captions that all hold for the clip, the plainest first; empty = no text.
        label: the class name; read for diagnostics and evaluation, never by the losses.
        video: (d,) the video teacher's embedding of the clip, or None.
    """

    id: str
    source: str
    track: Track
    texts: tuple[str, ...] = ()
    label: str | None = None
    video: np.ndarray | None = None


SequenceCaptions = Mapping[tuple[str, float | None, float | None], Sequence[str]]
"""Texts by sequence, start and end in seconds; None and None = the whole sequence."""


def read_triplets(
    path: str | Path,
    *,
    part: str | None = None,
    captions: str | Path | None = None,
    descriptions: bool = True,
) -> list[Triplet]:
    """Triplets of a packed set.

    A recording with point tags gives one clip per tag, from 1.5 s before to 1 s after it, and of the rest clips of up
    to 2.5 s without text; one with segments a clip per segment; any other sequence is a clip as a whole. Every person
    is a clip of their own, with the same texts.

    Args:
        path: a packed set.
        part: keep only this part of the sequences, for example ``is_train`` or ``not is_test``.
        captions: a file for :func:`read_sequence_captions`: the clips are then those of the captions. Captions of
            sequences that are not there are ignored.
        descriptions: add our written descriptions to the class names.

    Raises:
        FormatError: a file is not what it should be.
        TmorError: the set has no such part.
    """
    packed, sequences = _part(path, part)
    if captions is not None:
        return _captioned(packed, sequences, read_sequence_captions(captions))
    return _labelled(packed, sequences, descriptions)


def read_captioned(
    path: str | Path, captions: SequenceCaptions, *, part: str | None = None
) -> tuple[list[Triplet], set[str]]:
    """Triplets of the captions and, as without captions, of the sequences that no caption is about.

    Returns:
        The triplets, and the ids of all sequences of the set.

    Raises:
        FormatError, TmorError: as :func:`read_triplets`.
    """
    packed, sequences = _part(path, part)
    told = {seq_id for seq_id, _, _ in captions}
    rest = [i for i in sequences if packed.ids[i] not in told]
    return _captioned(packed, sequences, captions) + _labelled(packed, rest, True), set(packed.ids)


def is_by_sequence(path: str | Path) -> bool:
    """Whether a file is a JSON list that begins with an object with ``seq_id``, for :func:`read_sequence_captions`."""
    path = Path(path)
    try:
        # Not a table or subtitles, which need not be decoded to see that.
        if not read_bytes(path, 64).lstrip(b"\xff\xfe\xef\xbb\xbf\0 \t\r\n").startswith(b"["):
            return False
        content = read_json_text(path)
    except FormatError:
        return False  # a folder, or damaged, as :func:`tmor.posecap.texts.read_captions` will say
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "seq_id" in content[0]


def read_sequence_captions(path: str | Path) -> SequenceCaptions:
    """Captions of a packed set's sequences: a JSON list of {"seq_id", "start_s", "end_s", "text"}.

    Raises:
        FormatError: there is no such file, or an entry lacks a field or has another kind of value in it.
    """
    fields = ("seq_id", "start_s", "end_s", "text")
    expected = f"expected a JSON list of objects with {', '.join(fields)}"
    try:
        rows = read_json_text(Path(path))
    except FormatError as error:
        raise FormatError(f"captions {error}; {expected}") from None
    if not isinstance(rows, list):
        raise FormatError(f"captions {path}: is a {type(rows).__name__}; {expected}")
    spans: dict[tuple[str, float | None, float | None], list[str]] = {}
    for n, row in enumerate(rows):
        where = f"captions {path}: entry {n}"
        if not isinstance(row, dict):
            raise FormatError(f"{where} is {row!r:.60}; {expected}")
        for name in fields:
            if name not in row:
                raise FormatError(f"{where} has no {name}; {expected}")
        seq_id, start_s, end_s, text = (row[name] for name in fields)
        for name, value, what in (("seq_id", seq_id, "the id of a sequence"), ("text", text, "words")):
            if not isinstance(value, str):
                raise FormatError(f"{where}: {name} is {value!r:.60}; expected {what}")
        for name, value in (("start_s", start_s), ("end_s", end_s)):
            if not (value is None or _is_time(value)):
                raise FormatError(f"{where}: {name} is {value!r:.60}; expected seconds, or null")
        if start_s is not None and end_s is not None and end_s < start_s:
            raise FormatError(f"{where}: ends at {end_s:g} s, before it starts at {start_s:g} s")
        spans.setdefault((seq_id, start_s, end_s), []).append(text)
    return spans


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _part(path: str | Path, part: str | None) -> tuple[PackedSet, list[int]]:
    """A packed set, and which of its sequences are in a part."""
    packed = read_packed(path)
    keep = np.ones(len(packed), dtype=bool) if part is None else packed.part(part)
    return packed, np.flatnonzero(keep).tolist()


def _labelled(packed: PackedSet, sequences: Sequence[int], descriptions: bool) -> list[Triplet]:
    classes = {name: describe(name) if descriptions else describe(name)[:1] for name in packed.class_names}
    triplets = []
    for i in sequences:
        for track in packed.tracks(i):
            for suffix, clip, k in _pieces(packed, i, track):
                # Classes of tags and segments may have no names.
                name = packed.class_names[k] if k is not None and 0 <= k < len(packed.class_names) else None
                triplets.append(
                    Triplet(
                        id=f"{packed.name}/{track.id}{suffix}",
                        source=packed.name,
                        track=clip,
                        texts=() if name is None else classes[name],
                        label=name,
                    )
                )
    return triplets


def _pieces(packed: PackedSet, i: int, track: Track) -> list[tuple[str, Track, int | None]]:
    label, fps = None if packed.labels is None else int(packed.labels[i]), track.rate
    if packed.tags is not None:
        rows = packed.tags[packed.tags[:, 0] == i]
        pieces: list[tuple[str, Track, int | None]] = []
        covered = np.zeros(len(track), dtype=bool)
        for n, row in enumerate(rows):
            at = _frame(packed, i, track, int(row[1]))
            start = max(0, int(at - _BEFORE_TAG_S * fps))
            stop = min(len(track), int(at + _AFTER_TAG_S * fps) + 1)
            covered[start:stop] = True
            pieces.append((f"@{n}", track.frames(start, stop), int(row[2]) if len(row) > 2 else label))
        return pieces + _rest(track, covered, fps)
    if packed.segments_s is not None:
        rows = packed.segments_s[packed.segments_s[:, 0] == i]
        pieces = []
        for n, (_, k, start_s, end_s) in enumerate(rows.tolist()):
            start = min(int(start_s * fps), len(track) - 1)
            pieces.append((f"@{n}", track.frames(start, max(start + 1, min(round(end_s * fps), len(track)))), int(k)))
        return pieces
    if packed.segments is not None:
        rows = packed.segments[packed.segments[:, 0] == i]
        return [
            (f"@{n}", track.frames(_frame(packed, i, track, a), _frame(packed, i, track, b - 1) + 1), k)
            for n, (_, k, a, b) in enumerate(rows.tolist())
        ]
    return [("", track, label)]


def _rest(track: Track, covered: np.ndarray, fps: float) -> list[tuple[str, Track, int | None]]:
    """What no tag's clip covers, in clips of 1 s to 2.5 s in which somebody is seen."""
    longest, shortest = max(2, round((_BEFORE_TAG_S + _AFTER_TAG_S) * fps)), max(2, round(fps))
    edges = np.flatnonzero(np.diff(covered, prepend=True, append=True))
    pieces: list[tuple[str, Track, int | None]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for first in range(start, stop - shortest + 1, longest):
            clip = track.frames(first, min(first + longest, stop))
            if len(clip) >= shortest and clip.missing_share < 1:
                pieces.append((f"@rest{first}", clip, None))
    return pieces


def _frame(packed: PackedSet, i: int, track: Track, frame: int) -> int:
    """Which frame of the track a frame of sequence i became: where times are irregular, the track has a rate of its
    own."""
    if packed.times_s is None or track.fps is None:
        return frame
    return min(round(float(packed.times_s[packed.offsets[i] + frame] - track.start_s) * track.fps), len(track) - 1)


def _captioned(packed: PackedSet, sequences: Sequence[int], captions: SequenceCaptions) -> list[Triplet]:
    at = {packed.ids[i]: i for i in sequences}
    triplets = []
    for (seq_id, start_s, end_s), texts in captions.items():
        if seq_id not in at:
            continue
        for track in packed.tracks(at[seq_id]):
            clip, suffix = track, ""
            if start_s is not None and end_s is not None and track.fps is not None:
                start = min(int(start_s * track.fps), len(track) - 1)
                stop = max(start + 1, min(int(end_s * track.fps), len(track)))
                clip, suffix = track.frames(start, stop), f"@{start_s:g}-{end_s:g}"
            triplets.append(
                Triplet(f"{packed.name}/{track.id}{suffix}", packed.name, clip, tuple(dict.fromkeys(texts)))
            )
    return triplets


def attach_videos(triplets: Sequence[Triplet], embeddings: dict[str, np.ndarray]) -> list[Triplet]:
    """The triplets with the video embeddings that are given by triplet id; the others stay as they are."""
    return [
        replace(t, video=np.asarray(embeddings[t.id], dtype=np.float32)) if t.id in embeddings else t for t in triplets
    ]
