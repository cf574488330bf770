"""PYSKL and MMAction2 pickles, read without executing them.

``{"split": {name: [frame_dir, ...]}, "annotations": [...]}`` or only the list; an annotation has ``frame_dir``,
``label``, ``total_frames``, ``keypoint`` (persons, frames, joints, 2 | 3) and maybe ``keypoint_score`` (persons,
frames, joints).

A pickle is a program. Here it can only build dicts, lists, tuples, str, bytes, numbers and numeric arrays: whatever
else it names is refused before it is looked up, and the arrays are made by this module, not by numpy's own unpickling.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.formats.files import read_bytes
from tmor.skeleton.formats.persons import person_id
from tmor.skeleton.layouts import Layout, find_layout
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

_BY_COUNT = {17: "coco17", 18: "openpose18", 20: "kinect20", 25: "ntu25"}


@dataclass(frozen=True)
class _Annotation:
    """keypoints (persons, frames, joints, 2 | 3), NaN = unseen; scores (persons, frames, joints) or None."""

    id: str
    keypoints: np.ndarray
    scores: np.ndarray | None
    layout: Layout


def read_pyskl(path: str | Path, *, layout: str | Layout | None = None) -> list[Track]:
    """Read every person of every annotation as a track, with scores, named after ``frame_dir``; labels are not kept.

    The frame rate is not stated, hence unknown. A 2D joint at (0, 0), and a person with every joint at zero in a frame,
    are unseen. People who are never seen are padding and left out.

    Args:
        path: the pickle.
        layout: of the joints; by their number when not given: 17 COCO, 18 OpenPose, 20 Kinect v1, 25 NTU.

    Raises:
        FormatError: the pickle names anything but numbers, text and containers, or is not PYSKL's.
    """
    tracks, padding = [], 0
    for own in _annotations(Path(path), _content(Path(path)), layout):
        kept = 0
        for m, points in enumerate(own.keypoints):
            if np.isnan(points).any(axis=-1).all() and (m or len(own.keypoints) > 1):
                padding += 1
                continue
            scores = None if own.scores is None else own.scores[m]
            tracks.append(Track(points, own.layout, None, scores=scores, id=person_id(own.id, kept)))
            kept += 1
    if padding:
        _log.info("%s: left out %d people who are never seen (padding)", path, padding)
    return tracks


def _content(path: Path) -> Any:
    try:
        return _Unpickler(io.BytesIO(read_bytes(path)), path).load()
    except FormatError:
        raise
    # What a damaged pickle can raise has no common base; none of it is a bug of ours.
    except (pickle.UnpicklingError, EOFError, MemoryError, ImportError, LookupError, RecursionError) as error:
        raise FormatError(f"{path}: not a complete pickle: {error or type(error).__name__}") from error
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: not a pickle of numbers, text and containers: {error}") from error


def _annotations(path: Path, content: Any, layout: str | Layout | None) -> Iterator[_Annotation]:
    found = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(found, list) or not found:
        keys = f" with keys {', '.join(map(str, content))[:80]}" if isinstance(content, dict) else ""
        raise FormatError(f"{path}: holds {type(content).__name__}{keys}; expected PYSKL's 'annotations', a list")
    for i, own in enumerate(found):
        if not isinstance(own, dict) or not {"frame_dir", "label", "keypoint"} <= own.keys():
            raise FormatError(f"{path}: annotation {i} lacks 'frame_dir', 'label' or 'keypoint'")
        what = f"{path}: annotation {i} ('{own['frame_dir']}')"
        points = _array(own["keypoint"], f"{what}: keypoint").astype(np.float32)
        if points.ndim != 4 or points.shape[-1] not in (2, 3) or 0 in points.shape:
            raise FormatError(f"{what}: keypoint has shape {points.shape}; expected (persons, frames, joints, 2 or 3)")
        if np.isinf(points).any():
            raise FormatError(f"{what}: keypoint holds infinite values")
        total = _number(own.get("total_frames", points.shape[1]), f"{what}: total_frames")
        if total != points.shape[1]:
            raise FormatError(f"{what}: total_frames is {total}, but keypoint has {points.shape[1]} frames")
        label = _number(own["label"], f"{what}: label")
        if not isinstance(label, int) or not -1 <= label < 2**31:
            raise FormatError(f"{what}: label is {label}; expected a class number, or -1 for none")
        scores = own.get("keypoint_score")
        if scores is not None:
            scores = _array(scores, f"{what}: keypoint_score")
            if scores.shape != points.shape[:3]:
                raise FormatError(f"{what}: keypoint_score has shape {scores.shape}; expected {points.shape[:3]}")
        if points.shape[-1] == 2:
            points[(points == 0).all(axis=-1)] = np.nan
        points[(points == 0).all(axis=(-2, -1))] = np.nan
        if layout is None and points.shape[2] not in _BY_COUNT:
            counts = ", ".join(f"{count} ({name})" for count, name in _BY_COUNT.items())
            raise FormatError(f"{what}: keypoint has {points.shape[2]} joints; expected {counts}, or pass the layout")
        named = find_layout(_BY_COUNT[points.shape[2]] if layout is None else layout)
        if len(named) != points.shape[2]:
            raise FormatError(f"{what}: keypoint has {points.shape[2]} joints; layout '{named.name}' has {len(named)}")
        yield _Annotation(str(own["frame_dir"]), points, scores, named)


def _array(value: Any, what: str) -> np.ndarray:
    if isinstance(value, _Array):
        return value.array(what)
    raise FormatError(f"{what} is {type(value).__name__}; expected an array")


def _number(value: Any, what: str) -> Any:
    """The number in one of numpy's scalars; any other value as it is."""
    if isinstance(value, _Array):
        array = value.array(what)
        return array.item() if array.size == 1 else array.tolist()
    return value


class _DType:
    """Stands in for numpy.dtype while unpickling."""

    def __init__(self, spec: Any) -> None:
        self.spec, self.order = spec, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise ValueError("an array of records or of subarrays")
        self.order = state[1]

    def plain(self, what: str) -> np.dtype:
        """Only bool, int, float of known sizes: no objects, no records, no text."""
        kinds = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
        if self.spec not in kinds or self.order not in ("<", ">", "=", "|"):
            raise FormatError(f"{what} has dtype {str(self.spec)[:9]}; expected plain numbers")
        return np.dtype(self.spec).newbyteorder(self.order)


class _Array:
    """Stands in for numpy.ndarray, and for numpy's scalars, while unpickling."""

    def __init__(self, shape: Any = (), dtype: Any = None, order: Any = "C", content: Any = b"") -> None:
        self.shape, self.dtype, self.order, self.content = shape, dtype, order, content

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array in an unknown form")
        _, self.shape, self.dtype, fortran, self.content = state
        self.order = "F" if fortran else "C"

    def array(self, what: str) -> np.ndarray:
        if not isinstance(self.dtype, _DType):
            raise FormatError(f"{what} has no dtype")
        dtype = self.dtype.plain(what)
        shape = self.shape
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise FormatError(f"{what} has shape {shape}; expected sizes")
        size = int(np.prod([1, *shape], dtype=object))
        if not isinstance(self.content, bytes | bytearray) or len(self.content) != size * dtype.itemsize:
            raise FormatError(f"{what} has shape {shape} and type {dtype}, but not that many bytes")
        return np.frombuffer(self.content, dtype=dtype).reshape(shape, order="F" if self.order == "F" else "C")


def _encode(text: Any, codec: Any = "utf-8") -> bytes:
    """Old pickle protocols spell bytes as text in latin-1."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise ValueError(f"text in codec {str(codec)[:20]}; expected latin1")
    return text.encode("latin-1")


def _made_by(module: str, name: str) -> Callable[..., Any] | str | None:
    """What stands in for a global of numpy's array pickles; None for any other global."""
    stands_in: dict[tuple[str, str], Callable[..., Any] | str] = {
        ("numpy", "ndarray"): "numpy.ndarray",
        ("numpy", "dtype"): lambda spec, *_: _DType(spec),
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
        ("numpy.core.multiarray", "scalar"): lambda dtype, content=b"": _Array((), dtype, "C", content),
        ("numpy.core.numeric", "_frombuffer"): lambda content, dtype, shape, order: _Array(
            shape, dtype, order, content
        ),
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): lambda items=(): dict(items),
    }
    return stands_in.get((module.replace("numpy._core.", "numpy.core."), name))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        made = _made_by(module, name)
        if made is None:
            raise FormatError(
                f"{self._path}: the pickle asks for {module}.{name}, which could run code; nothing of it was run. "
                "Expected only dicts, lists, text, numbers and numpy arrays"
            )
        return made
