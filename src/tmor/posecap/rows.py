"""A triplet as a row of an Arrow table: what is written, and read back or refused.

==================  =====================  ============================================================================
column              type                   meaning
==================  =====================  ============================================================================
``id``              str                    unique: ``collection/source/person@start``, or a packed set's own ids
``collection``      str                    the folder of videos, or the packed set, that it belongs to
``source``          str                    the file, relative to the folder that was built from; ``#part`` of a packed
                                           set where only a part was taken
``source_hash``     str                    SHA-256 of that file's bytes
``start_s, end_s``  float64                the stretch of the source; ``end_s`` is null where the rate is unknown
``fps``             float64                frames per second, constant within a triplet; null = unknown
``frames, dims``    int32, int8            of the keypoints
``layout``          str                    a known layout's name, or a JSON object {"name", "joints", "bones"}
``origin``          list<float32>          (dims,) the keypoints' median, in their own unit
``keypoints``       binary                 (frames, joints, dims) little-endian float16 relative to ``origin``; NaN =
                                           unseen. A keypoint is off by at most 2^-11 of its distance from the origin
``scores``          binary                 (frames, joints) float16, or null
``content``         str                    SHA-256 of layout, rate and the arrays above: what ``tmor verify`` checks
``signature``       fixed_size_binary[32]  equal in all but a few bits where the movement is the same
``texts``           list<struct>           {text, kind, origin}: the plainest first; the origin is the captioner
``label``           str                    class name, for diagnostics and evaluation; null = none
``licence``         str                    words of the licence; empty = not said
``estimator``       str                    what found the keypoints, and (``estimator_hash``) its weights; empty = not
                                           said
``split``           str                    ``train``, ``test``, or empty
``video``           float16[d]             added later: the video teacher's embedding of the stretch; null = none
``text``            float16[e]             added later: the text teacher's embedding of the plainest text
==================  =====================  ============================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.posecap.duplicates import SIGNATURE_BYTES
from tmor.posecap.texts import Caption
from tmor.skeleton.layouts import LAYOUTS, Layout
from tmor.skeleton.tracks import Track

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Of the schema. A newer one can't be read; an older one would be brought up when opened."""

MAX_FRAMES = 1_000_000
"""A triplet that claims more frames is damaged or hostile."""

VERSION_KEY = b"tmor.posecap"
"""Of the schema's metadata, under which the version is kept."""

MOVEMENT = ("frames", "dims", "layout", "origin", "keypoints")
RECORD = (
    *("id", "collection", "source", "source_hash", "start_s", "fps", *MOVEMENT, "scores", "signature", "texts"),
    *("label", "licence", "estimator", "estimator_hash", "split"),
)
"""What a :class:`Record` is made of."""


@dataclass(frozen=True, eq=False)
class Record:
    """A triplet without its embeddings, with its provenance: a row of the data set (see this module).

    Args:
        texts: the plainest first; their kind and origin are kept, their source and times are the record's own.
        signature: of the movement (:func:`tmor.posecap.duplicates.signature`).
    """

    id: str
    collection: str
    source: str
    source_hash: str
    track: Track
    signature: bytes
    texts: tuple[Caption, ...] = ()
    label: str | None = None
    licence: str = ""
    estimator: str = ""
    estimator_hash: str = ""
    split: str = ""

    @property
    def end_s(self) -> float | None:
        """Seconds of the source; None where the rate is unknown."""
        return None if self.track.fps is None else self.track.end_s


@dataclass(frozen=True, eq=False)
class Batch:
    """b triplets as training wants them; what was not asked for is empty or None.

    Args:
        rows: (b,) int64: which they are.
        keypoints: one (frames, joints, 2 | 3) float32 array per triplet, NaN = unseen.
        layouts: of each triplet's joints.
        fps: (b,) float64, NaN = unknown.
        texts: of each triplet, the plainest first.
        video, text: (b, d) float32 embeddings; a row of NaN = none.
    """

    rows: np.ndarray
    keypoints: list[np.ndarray]
    layouts: list[Layout]
    fps: np.ndarray
    texts: list[tuple[str, ...]]
    video: np.ndarray | None
    text: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)


# ---- writing


def to_table(records: Sequence[Record]) -> pa.Table:
    """Records as rows."""
    import pyarrow as pa

    rows = []
    for record in records:
        track = record.track
        origin, keypoints, scores = _encoded(track)
        rows.append(
            {
                **{name: getattr(record, name) for name in ("id", "collection", "source", "source_hash", "label")},
                **{name: getattr(record, name) for name in ("licence", "estimator", "estimator_hash", "split")},
                "start_s": track.start_s,
                "end_s": record.end_s,
                "fps": track.fps,
                "frames": len(track),
                "dims": track.dims,
                "layout": _layout_text(track.layout),
                "origin": origin.tolist(),
                "keypoints": keypoints,
                "scores": scores,
                "content": _content(track.layout, track.fps, origin, keypoints, scores),
                "signature": record.signature,
                "texts": text_values(record.texts),
            }
        )
    return pa.Table.from_pylist(rows, schema=schema())


def text_values(texts: Sequence[Caption]) -> list[dict[str, str]]:
    """Texts as the column ``texts`` holds them."""
    return [{"text": t.text, "kind": t.kind, "origin": t.origin} for t in texts]


def _encoded(track: Track) -> tuple[np.ndarray, bytes, bytes | None]:
    points = track.keypoints
    seen = points[~np.isnan(points[..., 0])]
    origin = np.median(seen, axis=0) if len(seen) else np.zeros(track.dims)
    origin = origin.astype(np.float32)
    with np.errstate(over="ignore"):
        offsets = (points - origin).astype("<f2")
    # 65,504 units from the person's middle nobody has a joint.
    offsets[np.isinf(offsets).any(axis=2)] = np.nan
    offsets[np.isnan(offsets)] = np.nan  # one bit pattern of NaN, for the hash's sake
    scores = None if track.scores is None else track.scores.astype("<f2").tobytes()
    return origin, offsets.tobytes(), scores


def _content(layout: Layout, fps: float | None, origin: np.ndarray, keypoints: bytes, scores: bytes | None) -> str:
    head = json.dumps([_layout_text(layout), fps, [float(x) for x in origin], scores is not None])
    return hashlib.sha256(head.encode() + b"\0" + keypoints + (scores or b"")).hexdigest()


@lru_cache(maxsize=1)
def schema() -> pa.Schema:
    """The columns, without the teachers'."""
    import pyarrow as pa

    text = pa.struct([("text", pa.string()), ("kind", pa.string()), ("origin", pa.string())])
    strings = ("label", "licence", "estimator", "estimator_hash", "split")
    return pa.schema(
        [
            *(pa.field(name, pa.string()) for name in ("id", "collection", "source", "source_hash")),
            *(pa.field(name, pa.float64()) for name in ("start_s", "end_s", "fps")),
            pa.field("frames", pa.int32()),
            pa.field("dims", pa.int8()),
            pa.field("layout", pa.string()),
            pa.field("origin", pa.list_(pa.float32())),
            *(pa.field(name, pa.binary()) for name in ("keypoints", "scores")),
            pa.field("content", pa.string()),
            pa.field("signature", pa.binary(SIGNATURE_BYTES)),
            pa.field("texts", pa.list_(text)),
            *(pa.field(name, pa.string()) for name in strings),
        ],
        metadata={VERSION_KEY: str(VERSION)},
    )


def is_embedding(field: pa.Field) -> bool:
    """Whether a column can hold a teacher's embeddings."""
    import pyarrow as pa

    kind = field.type
    return pa.types.is_fixed_size_list(kind) and pa.types.is_float16(kind.value_type) and 0 < kind.list_size <= 65536


# ---- reading


def to_records(table: Any, path: str) -> Iterator[Record]:
    """The records of a table with the columns :data:`RECORD`.

    Raises:
        FormatError: a triplet's sizes don't fit each other.
    """
    keypoints, layouts = _movement(table, path)
    for i, row in enumerate(table.drop_columns(list(MOVEMENT)).to_pylist()):
        yield _record(row, keypoints[i], layouts[i], path)


def to_batch(rows: np.ndarray, table: Any, columns: Sequence[str], path: str) -> Batch:
    """A table's ``columns`` (``keypoints``, ``texts``, ``video``, ``text``) and ``fps`` as training wants them.

    Args:
        rows: (b,) where they are in the data set at ``path``, which errors name.

    Raises:
        FormatError: a triplet's sizes don't fit each other.
    """
    keypoints, layouts = _movement(table, path) if "keypoints" in columns else ([], [])
    return Batch(
        rows=rows,
        keypoints=keypoints,
        layouts=layouts,
        fps=np.asarray(table.column("fps").to_numpy(zero_copy_only=False), dtype=np.float64),
        texts=_plain_texts(table.column("texts")) if "texts" in columns else [],
        video=vectors(table.column("video")) if "video" in columns else None,
        text=vectors(table.column("text")) if "text" in columns else None,
    )


def damage(row: dict[str, Any], path: str) -> str | None:
    """What is wrong with a row: sizes that don't fit each other, values that are no keypoints, content that is not what
    was once written; None = nothing."""
    import pyarrow as pa

    try:
        one = pa.Table.from_pylist([row], schema=pa.schema([f for f in schema() if f.name in row]))
        keypoints, layouts = _movement(one, path)
        _record(row, keypoints[0], layouts[0], path)
    except TmorError as error:
        return str(error).removeprefix(f"{path}: ")
    if np.isnan(keypoints[0]).all():
        return "nobody is seen in any frame"
    origin = np.asarray(row["origin"], dtype=np.float32)
    if _content(layouts[0], row["fps"], origin, row["keypoints"], row["scores"]) != row["content"]:
        return "its content is not what was written: its hash differs"
    return None


def _record(row: dict[str, Any], keypoints: np.ndarray, layout: Layout, path: str) -> Record:
    scores = row["scores"]
    if scores is not None:
        if len(scores) != 2 * keypoints.shape[0] * keypoints.shape[1]:
            raise FormatError(
                f"{path}: triplet '{row['id']}' has {len(scores)} bytes of scores; expected "
                f"{keypoints.shape[0]} frames x {keypoints.shape[1]} joints of float16"
            )
        scores = np.frombuffer(scores, "<f2").reshape(keypoints.shape[:2])
    track = Track(keypoints, layout, row["fps"], scores=scores, start_s=row["start_s"], id=row["id"])
    end_s = None if track.fps is None else track.end_s
    texts = tuple(
        Caption(row["source"], t["text"], track.start_s, end_s, t["kind"], t["origin"]) for t in row["texts"] or ()
    )
    return Record(
        **{name: row[name] for name in ("id", "collection", "source", "source_hash", "label")},
        signature=bytes(row["signature"]),
        **{name: row[name] or "" for name in ("licence", "estimator", "estimator_hash", "split")},
        track=track,
        texts=texts,
    )


def _movement(table: Any, path: str) -> tuple[list[np.ndarray], list[Layout]]:
    """Decode a table's keypoints at once; sizes that don't fit are an error before anything is allocated."""
    layouts = [_layout(name, path) for name in table.column("layout").to_pylist()]
    frames, dims = (np.asarray(table.column(name), dtype=np.int64) for name in ("frames", "dims"))
    joints = np.array([len(layout) for layout in layouts], dtype=np.int64)
    keypoints, origins = (_whole(table.column(name)) for name in ("keypoints", "origin"))
    sizes = np.asarray(_lengths(keypoints), dtype=np.int64)
    axes = np.asarray(_lengths(origins), dtype=np.int64)
    good = (frames > 0) & (frames <= MAX_FRAMES) & np.isin(dims, (2, 3)) & (axes == dims)
    good &= sizes == 2 * frames * joints * dims
    if not good.all():
        i = int(np.argmin(good))
        raise FormatError(
            f"{path}: row with {frames[i]} frames, {joints[i]} joints and {dims[i]} dimensions has "
            f"{sizes[i]} bytes of keypoints and {axes[i]} numbers of origin; the data set is damaged"
        )
    starts = np.asarray(keypoints.buffers()[1]).view(np.int32)[keypoints.offset :][: len(keypoints) + 1]
    content = memoryview(keypoints.buffers()[2] or b"")[starts[0] : starts[-1]]
    flat = np.frombuffer(content, "<f2").astype(np.float32)
    middles = np.asarray(origins.flatten(), dtype=np.float32)
    found, first, axis = [], 0, 0
    with np.errstate(invalid="ignore"):  # of damaged numbers, which verify names
        for layout, count, d in zip(layouts, frames.tolist(), dims.tolist(), strict=True):
            stop = first + count * len(layout) * d
            points = flat[first:stop].reshape(count, len(layout), d)
            points += middles[axis : axis + d]
            found.append(points)
            first, axis = stop, axis + d
    return found, layouts


def _whole(column: Any) -> Any:
    """A column as one array."""
    if not hasattr(column, "chunks"):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _lengths(column: Any) -> Any:
    """Of lists or bytes; -1 for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    measure = pc.binary_length if pa.types.is_binary(column.type) else pc.list_value_length  # pyright: ignore[reportAttributeAccessIssue]
    return measure(column).fill_null(-1)


def _plain_texts(column: Any) -> list[tuple[str, ...]]:
    column = _whole(column)
    stops = np.diff(np.asarray(column.offsets))
    words = column.flatten().field("text").to_pylist()
    texts, first = [], 0
    for count in stops.tolist():
        texts.append(tuple(words[first : first + count]))
        first += count
    return texts


def vectors(column: Any) -> np.ndarray:
    """(n, width) float32; a row of NaN where there is null."""
    column = _whole(column)
    width = column.type.list_size
    values = np.full((len(column), width), np.nan, dtype=np.float32)
    there = ~np.asarray(column.is_null())
    # flatten() leaves out the nulls
    values[there] = np.asarray(column.flatten()).reshape(-1, width)
    return values


def _layout_text(layout: Layout) -> str:
    if LAYOUTS.get(layout.name) == layout:
        return layout.name
    return json.dumps({"name": layout.name, "joints": layout.joints, "bones": layout.bones})


@lru_cache(maxsize=1024)
def _layout(text: str, path: str) -> Layout:
    if text in LAYOUTS:
        return LAYOUTS[text]
    try:
        found = json.loads(text)
        return Layout(found["name"], tuple(found["joints"]), tuple((a, b) for a, b in found["bones"]))
    except (ValueError, KeyError, TypeError, TmorError) as error:
        raise FormatError(f"{path}: layout {text[:80]!r} is not known, and no description of one: {error}") from error
