"""Keypoints of the people in one picture, behind one small protocol: rtmlib (ONNX Runtime) and MediaPipe (offline)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tmor.errors import FormatError, TmorError

MAX_PEOPLE = 32
"""Further people of a picture, the least certain ones, are left out: each costs a run of the keypoint model."""

_PUBLISHED = {
    family + size: (family, size[1:] or "balanced")
    for family in ("rtmlib", "rtmo")
    for size in ("", ":lightweight", ":balanced", ":performance")
}
"""Family and size of models that can be fetched, by name."""

_SEEN = 0.3  # score from which a joint counts for the box around a person


@dataclass(frozen=True, eq=False)
class People:
    """Who is in one picture.

    Args:
        keypoints: (people, joints, 2) float32 pixels, y down; may lie outside of the picture.
        scores: (people, joints) float32 in [0, 1], how sure the estimator is that the joint is seen there.
        boxes: (people, 4) float32 pixels: left, top, right, bottom.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    def __post_init__(self) -> None:
        people, joints = self.keypoints.shape[:2]
        assert self.keypoints.shape == (people, joints, 2)
        assert self.scores.shape == (people, joints)
        assert self.boxes.shape == (people, 4)

    def __len__(self) -> int:
        return len(self.keypoints)


class PoseEstimator(Protocol):
    """Finds people and their keypoints in the pictures of one video after another.

    An estimator may use what it saw in the picture before. A time that does not come after the one before begins a
    new video. It is not safe to share between threads.

    Attributes:
        name: for people to read.
        hash: changes whenever its answers may: models, settings, version. Cached poses are kept under it.
        layout: the name of its joints' layout in :mod:`tmor.skeleton.layouts`.
    """

    name: str
    hash: str
    layout: str

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        """The people in a picture.

        Args:
            image: (height, width, 3) uint8 RGB.
            time_s: when the picture is, in seconds.
        """
        ...

    def close(self) -> None:
        """Free what the estimator holds; it can't be called any more."""
        ...


def load_estimator(name: str | Path) -> PoseEstimator:
    """The pose estimator of that name.

    Args:
        name: ``mediapipe`` works without a network; ``rtmlib`` (or ``rtmlib:lightweight``, ``rtmlib:balanced``,
            ``rtmlib:performance``; ``rtmo`` and ``rtmo:...`` for the one-stage models) fetches its models when first
            used; or the path of an RTMO model (``.onnx``), or of a folder that holds one, or a person detector
            (``yolox*.onnx``) and an RTMPose model (``rtmpose*.onnx``).

    Raises:
        TmorError: the name is unknown, a package is missing, or a model can't be fetched: says what to do.
        FormatError: a file is not a model of this kind.
    """
    check_estimator(name)
    if str(name) == "mediapipe":
        return MediaPipeEstimator()
    if str(name) in _PUBLISHED:
        return RtmlibEstimator.fetched(*_PUBLISHED[str(name)])
    return RtmlibEstimator.from_path(Path(name))


def check_estimator(name: str | Path) -> None:
    """Check, before anything is loaded, that :func:`load_estimator` knows the name.

    Raises:
        TmorError: it does not.
    """
    if str(name) != "mediapipe" and str(name) not in _PUBLISHED and not Path(name).exists():
        raise TmorError(
            f"unknown pose estimator '{name}'; expected mediapipe, rtmlib, rtmlib:lightweight, rtmlib:performance, "
            "rtmo, or the path of an .onnx model or a folder of them"
        )


# ---- rtmlib


class RtmlibEstimator:
    """RTMPose or RTMO by rtmlib, on ONNX Runtime; any number of people, 17 COCO joints.

    Args:
        pose: the keypoint model, .onnx: RTMPose where ``detector`` is given, else RTMO.
        detector: the person detector, .onnx (YOLOX).

    Raises:
        TmorError: rtmlib is not installed.
        FormatError: a file is not such a model.
    """

    def __init__(self, pose: Path, detector: Path | None = None) -> None:
        rtmlib = _import_rtmlib()
        files = [path for path in (detector, pose) if path is not None]
        self.name = f"rtmlib ({', '.join(path.stem for path in files)})"
        self.layout = "coco17"
        digest = hashlib.sha256(f"rtmlib {importlib.metadata.version('rtmlib')} 1".encode())
        for path in files:
            digest.update(path.read_bytes())
        self.hash = digest.hexdigest()
        self._detect: Any = None if detector is None else _model(rtmlib.YOLOX, detector)
        self._pose: Any = _model(rtmlib.RTMO if detector is None else rtmlib.RTMPose, pose)

    @classmethod
    def fetched(cls, family: str, size: str) -> RtmlibEstimator:
        """The published models of a family (``rtmlib`` or ``rtmo``) and size, fetched when first used.

        Raises:
            TmorError: they are not here and can't be fetched.
        """
        rtmlib = _import_rtmlib()
        from rtmlib.tools.file import download_checkpoint  # type: ignore[import-not-found]

        urls = rtmlib.Body.MODE[size] if family == "rtmlib" else rtmlib.Body.RTMO_MODE[size]
        paths: dict[str, Path] = {}
        for part in ("pose", "det") if "det" in urls else ("pose",):
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    paths[part] = Path(download_checkpoint(urls[part], progress=False))
            except (OSError, RuntimeError, UnboundLocalError, ValueError) as error:
                file = urls[part].rsplit("/", 1)[-1]
                raise TmorError(
                    f"pose model {file} is not on this machine and can't be fetched ({error}); bring it here from a "
                    f"machine with a network, unpack its .onnx and pass the path of a folder with it in place of "
                    f"'{family}', or use the offline estimator 'mediapipe' (extra pose-offline)"
                ) from error
        return cls(paths["pose"], paths.get("det"))

    @classmethod
    def from_path(cls, path: Path) -> RtmlibEstimator:
        """An RTMO model file, or a folder with one, or with a YOLOX and an RTMPose model.

        Raises:
            TmorError: the folder has not exactly the models that are needed.
        """
        if not path.is_dir():
            return cls(path)
        found = sorted(path.glob("*.onnx"))
        by_kind = {kind: [f for f in found if f.name.lower().startswith(kind)] for kind in ("rtmo", "rtmpose", "yolox")}
        match [len(files) for files in by_kind.values()]:
            case [1, 0, _]:
                return cls(by_kind["rtmo"][0])
            case [0, 1, 1]:
                return cls(by_kind["rtmpose"][0], by_kind["yolox"][0])
        raise TmorError(
            f"{path}: holds {', '.join(f.name for f in found) or 'no .onnx'}; expected one rtmo*.onnx, or one "
            f"rtmpose*.onnx and one yolox*.onnx"
        )

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        picture = np.ascontiguousarray(image[..., ::-1])  # rtmlib takes OpenCV's order of colours
        if self._detect is None:
            keypoints, scores = self._pose(picture)
            found = np.asarray(scores).max(axis=1) > 0  # RTMO says "nobody" by a row of zeros
            keypoints, scores = np.asarray(keypoints)[found], np.asarray(scores)[found]
        else:
            boxes = np.asarray(self._detect(picture), dtype=np.float32).reshape(-1, 4)[:MAX_PEOPLE]
            if not len(boxes):  # without boxes RTMPose would take the whole picture for a person
                return _nobody(17)
            keypoints, scores = self._pose(picture, bboxes=boxes)
        return _people(keypoints[:MAX_PEOPLE], scores[:MAX_PEOPLE])

    def close(self) -> None:
        self._detect = self._pose = None


def _import_rtmlib() -> Any:
    try:
        import onnxruntime  # type: ignore[import-not-found] # noqa: F401
        import rtmlib  # type: ignore[import-not-found]
    except ImportError as error:
        raise TmorError(
            f"the pose estimator 'rtmlib' needs packages that are not installed ({error}); pip install 'tmor[pose]'"
        ) from error
    return rtmlib


def _model(kind: Any, path: Path) -> Any:
    """A model of rtmlib from a file, at the picture size that the file asks for."""
    import onnxruntime  # type: ignore[import-not-found]

    try:
        inputs = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()
    except Exception as error:  # ONNX Runtime's errors have no parent of their own
        raise FormatError(f"{path}: not a model that ONNX Runtime can read: {error}") from error
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or not all(isinstance(side, int) for side in shape[1:]) or shape[1] != 3:
        raise FormatError(
            f"{path}: its inputs are {', '.join(f'{i.name} {i.shape}' for i in inputs)}; expected one of shape "
            f"(batch, 3, height, width) with a fixed size, as {kind.__name__} models have"
        )
    height, width = shape[2:]
    with contextlib.redirect_stdout(io.StringIO()):  # rtmlib prints
        # RTMPose takes (width, height), the others (height, width)
        size = (width, height) if kind.__name__ == "RTMPose" else (height, width)
        return kind(str(path), model_input_size=size, backend="onnxruntime", device="cpu")


# ---- MediaPipe

MEDIAPIPE = "0.10.21"
"""The last release whose wheel carries its pose models and lets its graphs be put together anew."""

_TILES = (2.0, 1.0, 2 / 3)  # sides of the tiles that are searched, in shorter picture sides; 2 = the whole picture
_OVERLAP = 0.5  # of neighbouring tiles
_SEARCH_S = 0.5  # newcomers are searched in all tiles this often
_FORGET_S = 1.0  # after such a pause nobody is where they were
# Two skeletons are one person's below this mean distance of the joints in body lengths, or above this overlap of their
# boxes. Two people who are known already may come closer (an embrace) than a newcomer.
_SAME_KNOWN, _OVERLAP_KNOWN = 0.12, 0.75
_SAME_NEW, _OVERLAP_NEW = 0.3, 0.5

_DETECT = """
input_stream: "image"
output_stream: "detections"
node { calculator: "PoseDetectionCpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }
"""
_LANDMARKS = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
output_stream: "next_roi"
node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE_CPU:image" output_stream: "SIZE:size" }
node {
  calculator: "PoseLandmarkByRoiCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary"
}
node {
  calculator: "PoseLandmarksToRoi"
  input_stream: "LANDMARKS:auxiliary"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "ROI:next_roi"
}
"""


@dataclass(frozen=True)
class _Roi:
    """A turned square around a person, in pixels; the middle, the side, radians."""

    x: float
    y: float
    side: float
    angle: float


@dataclass(frozen=True, eq=False)
class _Person:
    """(33, 2) pixels, (33,) scores, and where to look in the next picture."""

    keypoints: np.ndarray
    scores: np.ndarray
    roi: _Roi

    @property
    def score(self) -> float:
        return float(self.scores.mean())


class MediaPipeEstimator:
    """BlazePose (33 joints) out of MediaPipe's wheel; needs no network.

    MediaPipe's own solution follows one person. Here its two models run apart: the person detector looks for newcomers
    over the whole picture and over overlapping tiles of it, twice a second; the keypoint model runs once per person,
    around where the person was in the picture before. Skeletons that fall onto each other are one person's.

    Raises:
        TmorError: MediaPipe is not installed, or is another release.
    """

    def __init__(self) -> None:
        self.name = f"mediapipe {MEDIAPIPE}"
        settings = (_TILES, _OVERLAP, _SEARCH_S, _FORGET_S, _SAME_KNOWN, _OVERLAP_KNOWN, _SAME_NEW, _OVERLAP_NEW)
        self.hash = hashlib.sha256(f"mediapipe {MEDIAPIPE} {settings} 1".encode()).hexdigest()
        self.layout = "blazepose33"
        self._detector = _Graph(_DETECT, ("detections",))
        self._landmarker = _Graph(_LANDMARKS, ("landmarks", "next_roi"))
        self._rois: list[_Roi] = []
        self._last_s = self._searched_s = math.inf

    def __call__(self, image: np.ndarray, time_s: float) -> People:
        if not 0 < time_s - self._last_s <= _FORGET_S:
            self._rois, self._searched_s = [], -math.inf
        self._last_s = time_s
        if time_s - self._searched_s >= _SEARCH_S:
            self._searched_s = time_s
            newcomers = self._search(image, _TILES)
        else:
            newcomers = [] if self._rois else self._search(image, _TILES[:1])
        picture = self._landmarker.picture(image)
        seen = [person for roi in self._rois if (person := self._look(picture, roi, image.shape))]
        # Somebody whose hips are known already is no newcomer: saves the run of the keypoint model.
        known = [person.roi for person in seen]
        fresh = [
            person
            for roi in newcomers[: MAX_PEOPLE - len(seen)]
            if not any(_near(roi, other) for other in known) and (person := self._look(picture, roi, image.shape))
        ]
        people: list[_Person] = []
        for person, same, overlap in (
            *((p, _SAME_KNOWN, _OVERLAP_KNOWN) for p in sorted(seen, key=lambda p: -p.score)),
            *((p, _SAME_NEW, _OVERLAP_NEW) for p in sorted(fresh, key=lambda p: -p.score)),
        ):
            if not any(_distance(person, other) < same or _iou(person, other) > overlap for other in people):
                people.append(person)
        self._rois = [person.roi for person in people]
        if not people:
            return _nobody(33)
        return _people(np.stack([p.keypoints for p in people]), np.stack([p.scores for p in people]))

    def close(self) -> None:
        self._detector.close()
        self._landmarker.close()

    def _search(self, image: np.ndarray, scales: tuple[float, ...]) -> list[_Roi]:
        """Where the detector sees people in the tiles of these sizes; the surest first, each person once."""
        # The detector's picture is 224 pixels wide: more than about 360 on the shorter side only cost time.
        stride = max(1, min(image.shape[:2]) // 360)
        small = image[::stride, ::stride]
        height, width = small.shape[:2]
        found: list[tuple[float, _Roi]] = []
        for scale in scales:
            # A picture much longer than wide is not cut into ever more tiles.
            side = max(round(scale * min(height, width)), max(height, width) // 4) if scale <= 1 else max(height, width)
            for left, top in ((x, y) for y in _steps(height, side) for x in _steps(width, side)):
                tile = small[top : top + side, left : left + side]
                for detection in self._detector.run(image=self._detector.picture(tile)).get("detections", ()):
                    hip, reach = (
                        ((left + p.x * tile.shape[1]) * stride, (top + p.y * tile.shape[0]) * stride)
                        for p in detection.location_data.relative_keypoints[:2]
                    )
                    # The square reaches from the hips as far as the whole body does, with a margin of a quarter.
                    side_px = 2 * 1.25 * math.dist(hip, reach)
                    angle = math.pi / 2 - math.atan2(hip[1] - reach[1], reach[0] - hip[0])
                    if side_px > 0:
                        found.append((detection.score[0], _Roi(*hip, side_px, angle)))
        found.sort(key=lambda item: -item[0])
        kept: list[_Roi] = []
        for _, roi in found:
            if not any(_near(roi, other) for other in kept):
                kept.append(roi)
        return kept

    def _look(self, picture: Any, roi: _Roi, shape: tuple[int, ...]) -> _Person | None:
        """The person in a square, if there is one."""
        from mediapipe.framework.formats import rect_pb2  # type: ignore[import-not-found]

        height, width = shape[:2]
        rect = rect_pb2.NormalizedRect(  # type: ignore[attr-defined]
            x_center=roi.x / width,
            y_center=roi.y / height,
            width=roi.side / width,
            height=roi.side / height,
            rotation=roi.angle,
        )
        answer = self._landmarker.run(image=picture, roi=self._landmarker.message(rect))
        if "landmarks" not in answer or "next_roi" not in answer:
            return None
        landmarks, after = answer["landmarks"].landmark, answer["next_roi"]
        return _Person(
            np.array([(p.x * width, p.y * height) for p in landmarks], dtype=np.float32),
            np.array([p.visibility for p in landmarks], dtype=np.float32),
            _Roi(after.x_center * width, after.y_center * height, after.width * width, after.rotation),
        )


class _Graph:
    """A running MediaPipe graph: packets in, the answers to them out."""

    def __init__(self, text: str, outputs: tuple[str, ...]) -> None:
        how = f"pip install 'tmor[pose-offline]', then pip install --no-deps mediapipe=={MEDIAPIPE}"
        try:
            version = importlib.metadata.version("mediapipe")
        except importlib.metadata.PackageNotFoundError:
            raise TmorError(f"the pose estimator 'mediapipe' is not installed; {how}") from None
        if version != MEDIAPIPE:
            raise TmorError(f"mediapipe {version} is installed, which can't find people without a network; {how}")
        # Its C++ part logs every start to standard error.
        os.environ.setdefault("GLOG_minloglevel", "2")
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                import mediapipe  # type: ignore[import-not-found]

                # Registers the messages that the graphs exchange.
                import mediapipe.python.solutions.pose  # type: ignore[import-not-found]
        except ImportError as error:
            raise TmorError(f"the pose estimator 'mediapipe' lacks a package ({error}); {how}") from error
        from google.protobuf import text_format  # type: ignore[import-not-found]
        from mediapipe.framework import calculator_pb2  # type: ignore[import-not-found]
        from mediapipe.python import packet_creator, packet_getter  # type: ignore[import-not-found]
        from mediapipe.python._framework_bindings import (  # type: ignore[import-not-found]
            calculator_graph,
            image_frame,
            resource_util,
        )

        resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
        self._create, self._get, self._format = packet_creator, packet_getter, image_frame.ImageFormat.SRGB
        self._answers: dict[str, Any] = {}
        self._time = 0
        config = text_format.Parse(text, calculator_pb2.CalculatorGraphConfig())  # type: ignore[attr-defined]
        self._graph = calculator_graph.CalculatorGraph(graph_config=config)
        for output in outputs:
            self._graph.observe_output_stream(output, self._answers.__setitem__, False)
        self._graph.start_run({})

    def picture(self, image: np.ndarray) -> Any:
        """A packet of (height, width, 3) uint8 RGB."""
        return self._create.create_image_frame(image_format=self._format, data=np.ascontiguousarray(image))

    def message(self, value: Any) -> Any:
        """A packet of a protobuf message."""
        return self._create.create_proto(value)

    def run(self, **packets: Any) -> dict[str, Any]:
        """The answers to these packets by output; an output without an answer is absent."""
        self._time += 1
        self._answers.clear()
        for stream, packet in packets.items():
            self._graph.add_packet_to_input_stream(stream, packet.at(self._time))
        self._graph.wait_until_idle()
        return {
            name: self._get.get_proto_list(packet) if name == "detections" else self._get.get_proto(packet)
            for name, packet in self._answers.items()
            if not packet.is_empty()
        }

    def close(self) -> None:
        self._graph.close()


def _steps(length: int, side: int) -> list[int]:
    """Where tiles of a side begin so that they cover a length and overlap."""
    if side >= length:
        return [0]
    count = math.ceil((length - side) / (side * (1 - _OVERLAP))) + 1
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def _near(a: _Roi, b: _Roi) -> bool:
    """Whether two squares have the same hips in their middle; a square's side is about one and a half bodies."""
    return math.hypot(a.x - b.x, a.y - b.y) < 0.2 * min(a.side, b.side)


def _distance(a: _Person, b: _Person) -> float:
    """Mean distance of the joints in lengths of the smaller body."""
    size = min(float(np.ptp(p.keypoints, axis=0).max()) for p in (a, b))
    return float(np.linalg.norm(a.keypoints - b.keypoints, axis=1).mean()) / max(size, 1e-6)


def _iou(a: _Person, b: _Person) -> float:
    """Intersection over union of the boxes around all joints."""
    (low_a, high_a), (low_b, high_b) = ((p.keypoints.min(axis=0), p.keypoints.max(axis=0)) for p in (a, b))
    shared = float(np.prod(np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)))
    return shared / max(float(np.prod(high_a - low_a) + np.prod(high_b - low_b)) - shared, 1e-6)


# ---- what both share


def _nobody(joints: int) -> People:
    empty = np.zeros((0, joints), dtype=np.float32)
    return People(np.zeros((0, joints, 2), dtype=np.float32), empty, np.zeros((0, 4), dtype=np.float32))


def _people(keypoints: np.ndarray, scores: np.ndarray) -> People:
    """With a box around the joints that are seen (all, where none is)."""
    keypoints = np.asarray(keypoints, dtype=np.float32)
    scores = np.clip(np.nan_to_num(np.asarray(scores, dtype=np.float32)), 0, 1)
    seen = scores >= _SEEN
    seen |= ~seen.any(axis=1, keepdims=True)
    low = np.where(seen[..., None], keypoints, np.inf).min(axis=1)
    high = np.where(seen[..., None], keypoints, -np.inf).max(axis=1)
    return People(keypoints, scores, np.concatenate([low, high], axis=1))
