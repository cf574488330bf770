"""A model in one ONNX file (:mod:`tmor.serve.export`) and how it is run, without torch.

The graph takes clips as :func:`tmor.skeleton.canonical.prepare` gives them and does everything after that: it stretches
them to the model's clip, sees 3D ones through cameras, normalises, encodes and projects. What lies around the graph
(labels with their embeddings, enrolled examples, rate, where the model comes from) is JSON in the file's metadata.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.model.answers import Labels, Matching, Prediction, check_labels, judge_by_similarity, softmax
from tmor.model.segments import Segment, find_segments, windows_of
from tmor.posecap.captions import plain_label
from tmor.skeleton.canonical import check_dims, prepare
from tmor.skeleton.formats.files import read_bytes
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track, check_tracks

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEY, FORMAT = "tmor", 1
JOINTS = len(UNIK17)
_LARGEST_FILE = 1 << 28
_LARGEST_METADATA = 1 << 26
_MOST_FIELDS = 10_000
_BATCH = 32


@dataclass(frozen=True, eq=False)
class OnnxSpec:
    """What lies around the graph.

    Args:
        name: of the model.
        fps, clip_frames, longest_s, longest_frames, classes, matching: as in
            :class:`tmor.model.model.ModelSpec`.
        sees_depth: the graph takes 3D alone.
        features: width of the encoder's features.
        width: of the space where movements and labels meet; 0 = there is none.
        texts: (width,) of each exported label, its words as in :func:`tmor.posecap.captions.plain_label`.
        labels: the exported labels as they were given.
        examples: (n, features) of each enrolled label, L2-normalised.
        card: facts for people: shape, stream, teacher, training, whether weights are 8-bit.
    """

    name: str
    fps: float
    clip_frames: int
    longest_s: float
    longest_frames: int
    matching: Matching
    classes: tuple[str, ...]
    sees_depth: bool
    features: int
    width: int
    labels: tuple[str, ...]
    texts: dict[str, np.ndarray]
    examples: dict[str, np.ndarray]
    card: dict[str, Any]


class OnnxModel:
    """An exported model, run by ONNX Runtime on the CPU. Made by :func:`load_onnx`.

    Its methods mean what those of :class:`tmor.model.model.Model` do; but the text teacher is not at hand, so labels
    are those that were exported or enrolled.
    """

    def __init__(self, spec: OnnxSpec, session: InferenceSession) -> None:
        self.spec, self._session = spec, session

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it can tell apart: exported and enrolled."""
        return (*self.spec.labels, *(label for label in self.spec.examples if label not in self.spec.labels))

    def features(self, tracks: Sequence[Track]) -> np.ndarray:
        """The encoder's features of whole tracks: the mean over each track's clips and views.

        Returns:
            (len(tracks), features) float32.

        Raises:
            TmorError: a track has no visible joint.
        """
        check_tracks(tracks)
        rows = np.zeros((len(tracks), self.spec.features), np.float32)
        for row, track in zip(rows, tracks, strict=True):
            x = prepare(track, fps=self.spec.fps)
            spans = windows_of(track.fps, self.spec).of_whole(len(x))
            row[:] = self.clip_features([x[start:stop] for start, stop in spans]).mean(axis=0)
        return rows

    def clip_features(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The encoder's features of stretches of prepared tracks, each seen as one clip.

        Args:
            clips: one or more (frames, 17, 2 | 3) of one number of frames, as :func:`tmor.skeleton.canonical.prepare`
                gives them; all 2D or all 3D.

        Returns:
            (len(clips), features) float32.
        """
        x = np.stack(clips).astype(np.float32, copy=False)
        self.check_dims(x.shape[-1])
        parts = [x[i : i + _BATCH] for i in range(0, len(x), _BATCH)]
        return np.concatenate([self._run("features", part, np.zeros((0, self.spec.features))) for part in parts])

    def check_dims(self, dims: int) -> None:
        """
        Raises:
            TmorError: the model sees movements in 3D alone, and ``dims`` is 2.
        """
        check_dims(dims, self.spec.name, sees_depth=self.spec.sees_depth)

    def unit(self, features: np.ndarray) -> np.ndarray:
        """(n, features) to compare by cosine, as :meth:`tmor.model.model.Model.unit` gives them."""
        return self._head("units", features)

    def project(self, features: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, width) in the space of labels, L2-normalised."""
        if not self.spec.width:
            raise TmorError(f"model '{self.spec.name}' has no projection heads and can't compare movements with text")
        return self._head("embeddings", features)

    def classify(self, tracks: Sequence[Track], labels: Labels | None = None, *, none: bool = False) -> Prediction:
        """Which of the labels each track shows.

        Args:
            labels: None: the classes that the model was fine-tuned for; where there are none, all of :attr:`labels`.
                Descriptions had their say when the model was exported; those given here do nothing.
            none: as in :meth:`tmor.model.model.Model.classify`.

        Raises:
            TmorError: a label was neither exported nor enrolled; no labels, a label twice, or an empty label; a track
                has no visible joint.
        """
        names, judge = self.judge(labels, none=none)
        return Prediction(names, judge(self.features(tracks)))

    def detect(self, track: Track, labels: Labels | None = None, *, none: bool = False) -> list[Segment]:
        """What the track shows when (:meth:`tmor.model.model.Model.detect`).

        Raises:
            TmorError: as :meth:`classify`.
        """
        return self.detect_with(*self.judge(labels, none=none), track)

    def detect_with(
        self, names: tuple[str, ...], judge: Callable[[np.ndarray], np.ndarray], track: Track
    ) -> list[Segment]:
        """:meth:`detect` with what :meth:`judge` gave: for many tracks and the same labels."""
        x = prepare(track, fps=self.spec.fps)
        return find_segments(track, x, names, lambda clips: judge(self.clip_features(clips)), self.spec, batch=_BATCH)

    def _names(self, labels: Labels | None) -> tuple[str, ...]:
        """The labels to tell apart; none where the class head is meant."""
        if labels is None:
            if not (self.spec.classes or self.labels):
                raise TmorError(
                    f"model '{self.spec.name}' has no classes of its own and was exported without labels: export it "
                    "again with labels"
                )
            return () if self.spec.classes else self.labels
        names = check_labels(labels)
        missing = [n for n in names if n not in self.spec.examples and plain_label(n) not in self.spec.texts]
        if missing:
            known = ", ".join(self.labels[:20]) + (", ..." if len(self.labels) > 20 else "")
            raise TmorError(
                f"'{self.spec.name}' was exported without label{'s' * (len(missing) > 1)} {', '.join(missing)}; it "
                f"knows {known or 'none'}. An exported model has no text teacher: export it again with these labels"
            )
        return names

    def judge(
        self, labels: Labels | None, *, none: bool = False
    ) -> tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]:
        """The labels, and a function from (n, features) to (n, labels) float32 probabilities.

        Raises:
            TmorError: as :meth:`classify`.
        """
        names = self._names(labels)
        if not names:
            return self.spec.classes, lambda features: softmax(self._head("logits", features))
        examples = self.spec.examples
        texts = np.array([self.spec.texts[plain_label(name)] for name in names if name not in examples])
        return judge_by_similarity(
            names,
            texts,
            examples,
            project=self.project,
            unit=self.unit,
            matching=self.spec.matching,
            none=none,
        )

    def _head(self, output: str, features: np.ndarray) -> np.ndarray:
        return self._run(output, np.zeros((0, 1, JOINTS, 3)), features)

    def _run(self, output: str, clips: np.ndarray, known: np.ndarray) -> np.ndarray:
        feeds = {"clips": clips.astype(np.float32, copy=False), "known": known.astype(np.float32, copy=False)}
        try:
            found = np.asarray(self._session.run([output], feeds)[0])
        except _runtime_errors() as error:
            raise FormatError(f"model '{self.spec.name}': ONNX Runtime can't run it: {str(error)[:300]}") from error
        if found.ndim != 2 or len(found) != len(clips) + len(known):
            raise FormatError(
                f"model '{self.spec.name}' gives {output} of shape {found.shape} for {len(clips)} clips and "
                f"{len(known)} known; expected a row for each"
            )
        return found


def load_onnx(path: str | Path, *, threads: int = 1) -> OnnxModel:
    """A model that :func:`tmor.serve.export.export_onnx` wrote. Needs ONNX Runtime; neither torch nor the text teacher.

    The metadata are checked before ONNX Runtime sees the file. The graph itself is a program without access to files,
    but one made in bad faith can take any amount of time and memory.

    Args:
        threads: for short clips one is fastest.

    Raises:
        FormatError: there is no such file, it is too large, damaged, or was not written by
            :func:`tmor.serve.export.export_onnx`.
        TmorError: ONNX Runtime is not installed.
    """
    path = Path(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise TmorError("running ONNX files needs ONNX Runtime: pip install onnxruntime") from error
    if path.is_file() and path.stat().st_size > _LARGEST_FILE:
        raise FormatError(f"{path}: has {path.stat().st_size:,} bytes; models have at most {_LARGEST_FILE:,}")
    content = read_bytes(path)
    spec = _read_spec(content, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        # From memory: a graph that names other files as its weights finds none.
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise FormatError(f"{path}: ONNX Runtime can't load it: {str(error).strip()[:300]}") from error
    taken = {i.name: i.shape[-1] for i in (*session.get_inputs(), *session.get_overridable_initializers())}
    given = {o.name: o.shape[-1] for o in session.get_outputs()}
    expected = {"features": spec.features, "units": spec.features}
    expected |= {"embeddings": spec.width} if spec.width else {}
    expected |= {"logits": len(spec.classes)} if spec.classes else {}
    if taken.keys() != {"clips", "known"} or taken["known"] != spec.features or given != expected:
        raise FormatError(
            f"{path}: the graph takes {', '.join(taken)} and gives {given}; "
            f"expected clips and known (of width {spec.features}), and {expected}"
        )
    return OnnxModel(spec, session)


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for graphs that it can't load or run; they have no common parent."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )


def _read_spec(content: bytes, path: Path) -> OnnxSpec:
    try:
        text = dict(_metadata(content)).get(KEY)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise FormatError(f"{path}: not a complete ONNX file; it may be damaged") from error
    if text is None:
        raise FormatError(f"{path}: has no '{KEY}' metadata; only files that tmor export onnx wrote can be run")
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise FormatError(f"{path}: is of format {values['format']!r}; this tmor reads format {FORMAT}")
        features, width = _whole(values["features"], 1, 1 << 16), _whole(values["width"], 0, 1 << 16)
        examples = {str(k): _array(v, (None, features)) for k, v in values["examples"].items()}
        labels = tuple(str(label) for label in values["labels"])
        texts = _array(values["texts"], (len(labels), width))
        return OnnxSpec(
            name=str(values["name"]),
            fps=_positive(values["fps"]),
            clip_frames=_whole(values["clip_frames"], 1, 1 << 16),
            longest_s=_positive(values["longest_s"]),
            longest_frames=_whole(values["longest_frames"], 1, 1 << 24),
            matching=_matching(values["matching"]),
            classes=tuple(str(label) for label in values["classes"]),
            sees_depth=values.get("sees_depth") is True,  # files of older versions do not say
            features=features,
            width=width,
            labels=labels,
            texts=dict(zip(map(plain_label, labels), texts, strict=True)),
            examples=examples,
            card=dict(values["card"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, binascii.Error) as error:
        raise FormatError(f"{path}: the description of the model is not valid: {error!r}"[:500]) from error


def _metadata(content: bytes) -> Iterator[tuple[str, str]]:
    """The metadata of an ONNX file, by the wire format of protocol buffers: field 14 of the model.

    Raises:
        IndexError, ValueError: the bytes are not of that format.
    """
    for count, (number, value) in enumerate(_fields(content)):
        if count == _MOST_FIELDS:
            raise ValueError("too many fields")
        if number == 14 and isinstance(value, bytes):
            if len(value) > _LARGEST_METADATA:
                raise ValueError("metadata are too large")
            entry = {n: v.decode() for n, v in _fields(value) if isinstance(v, bytes)}
            yield entry.get(1, ""), entry.get(2, "")


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(field number, value) of a message; groups are not used in ONNX."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        size, at = _varint(content, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, len(content) + 1), at)
        if at + size > len(content):
            raise ValueError("a field reaches beyond the end")
        yield key >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError("a number has more than ten bytes")


def _whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r}; expected a whole number from {least} to {most}")
    return value


def _matching(values: dict[str, Any]) -> Matching:
    levels = {key: float(values[key]) for key in ("text_level", "example_level")}
    if not all(map(math.isfinite, levels.values())):
        raise ValueError(f"matching has levels {levels}; expected numbers")
    temperatures = {key: _positive(values[key]) for key in ("text_temperature", "example_temperature")}
    return Matching(**levels, **temperatures)


def _positive(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"{value!r}; expected a positive number")
    return float(value)


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON."""
    return {
        "shape": list(array.shape),
        "float32": base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode(),
    }


def _array(value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of :func:`pack_array`; None in ``shape`` = one or more."""
    found = tuple(_whole(n, 0, 1 << 24) for n in value["shape"])
    if len(found) != len(shape) or any(n != m if m is not None else n < 1 for n, m in zip(found, shape, strict=True)):
        raise ValueError(f"an array of shape {found}; expected {shape}")
    content = base64.b64decode(value["float32"], validate=True)
    if len(content) != 4 * math.prod(found):
        raise ValueError(f"an array of {len(content)} bytes; expected {4 * math.prod(found)}")
    array = np.frombuffer(content, "<f4").astype(np.float32).reshape(found)
    if not np.isfinite(array).all():
        raise ValueError("an array holds NaN or infinite numbers")
    return array
