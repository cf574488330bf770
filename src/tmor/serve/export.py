"""Writing a model as one ONNX file, for :mod:`tmor.serve.onnx`."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmor.errors import TmorError
from tmor.model.answers import Labels, described_labels
from tmor.model.model import Model, ModelSpec, camera_views, meet
from tmor.model.unik import UNIK
from tmor.serve.onnx import FORMAT, JOINTS, KEY, pack_array
from tmor.skeleton.canonical import prepare, sees_depth, stretch
from tmor.skeleton.formats.files import write_whole
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import shown, to_body
from tmor.skeleton.sample import sample_set

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_OPSET = 20  # the first with GELU


def export_onnx(model: Model, path: str | Path, *, labels: Labels | None = None, int8: bool = False) -> None:
    """Write a model as one ONNX file, for :func:`tmor.serve.onnx.load_onnx` or any other ONNX runtime.

    The graph's input ``clips`` is (clips, frames, 17, 2 | 3) float32 as :func:`tmor.skeleton.canonical.prepare` gives
    them: y up, NaN = unseen; any number of clips and frames, all 2D or all 3D. The optional input ``known``
    (m, features) are features to send through the heads along with those of the clips, such as the mean of several
    clips of one person. The outputs have a row for each clip, then one for each known: ``features``; ``units``, which
    are features to compare by cosine (:meth:`tmor.model.model.Model.unit`); ``embeddings`` (L2-normalised, in the space
    of labels) where the model has projection heads; ``logits`` where it has classes.

    Args:
        labels: to be told apart by text; their embeddings go into the file. Enrolled examples always do.
        int8: 8-bit weights and activations in the convolutions and products of the encoder, calibrated on the embedded
            sample motions.

    Raises:
        TmorError: the labels are not valid, or the model has no text head for them, or other joints than unik17; a
            package that export needs is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise TmorError(f"export needs onnx and onnxscript: pip install onnx onnxscript ({error})") from error

    model.check_joints()
    described = {} if labels is None else described_labels(labels)
    texts = model.project_labels(described) if described else np.zeros((0, model.meeting_width), np.float32)
    model.eval()
    trunk = _trunk(model)
    if int8:
        trunk = _quantised(trunk, model)
    whole = _composed(model.spec, trunk, _views(model.spec))
    whole.producer_name = "tmor"
    whole.doc_string = f"{model.spec.name}: skeleton clips to features, and to the space of labels or classes."
    onnx.helper.set_model_props(whole, {KEY: json.dumps(_described(model, tuple(described), texts, int8=int8))})
    onnx.checker.check_model(whole)
    write_whole(path, whole.SerializeToString())


def _described(model: Model, labels: Sequence[str], texts: np.ndarray, *, int8: bool) -> dict[str, Any]:
    """The metadata, as :func:`tmor.serve.onnx.load_onnx` reads them."""
    spec, features = model.spec, model.encoder.features
    facts = asdict(spec)
    own = ("name", "fps", "clip_frames", "longest_s", "matching", "classes")
    return {
        "format": FORMAT,
        **{key: facts.pop(key) for key in own},
        "longest_frames": spec.longest_frames,
        "sees_depth": sees_depth(spec.stream),
        "features": features,
        "width": model.meeting_width,
        "labels": list(labels),
        "texts": pack_array(texts),
        "examples": {label: pack_array(rows) for label, rows in model.examples.items()},
        "card": {**facts, "int8": int8, "layout": UNIK17.name, "joint_names": list(UNIK17.joints)},
    }


def _views(spec: ModelSpec) -> ModelProto | None:
    """``stretched`` (clips, frames, 17, 3) -> ``views`` (clips, views, frames, 17, 2 | 3); None where the encoder takes
    3D as it is."""
    if spec.channels == 3:
        return None

    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return camera_views(x, spec)

    example = torch.randn(3, spec.clip_frames, JOINTS, 3)
    return _converted(Views(), {"stretched": (example, ("clips",))}, ["views"])


def _trunk(model: Model) -> ModelProto:
    """``views`` (clips, views, frames, 17, 2 | 3) and ``known`` -> the outputs."""
    encoder, empty = _person(model)
    spec = model.spec
    slots = spec.shape.persons or 1

    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.unit = nn.Linear(len(model.centre), len(model.centre))
            self.unit.weight.data = model.whitening.T.clone()
            self.unit.bias.data = -model.centre @ model.whitening
            self.motion_head = copy.deepcopy(model.motion_head)
            self.class_head = copy.deepcopy(model.class_head)
            self.register_buffer("empty", empty)
            self.middle: Tensor
            self.register_buffer("middle", model.middle)

        def forward(self, views: Tensor, known: Tensor) -> tuple[Tensor, ...]:
            seen = shown(to_body(views), spec.stream)
            rows = self.encoder(seen.flatten(0, 1)[:, None])
            if slots > 1:
                rows = (rows + self.empty) / slots
            features = torch.cat([rows.unflatten(0, views.shape[:2]).mean(dim=1), known])
            found = [features, F.normalize(self.unit(features), dim=1)]
            if self.motion_head is not None:
                projected = F.normalize(self.motion_head.layers(features), dim=-1)
                found.append(meet(projected, found[1], self.middle))
            if self.class_head is not None:
                found.append(self.class_head(features))
            return tuple(found)

    outputs = ["features", "units", *["embeddings"] * bool(spec.width), *["logits"] * bool(spec.classes)]
    views = torch.randn(5, 3, spec.clip_frames, JOINTS, 2 if spec.channels == 2 else 3)
    known = torch.randn(2, model.encoder.features)
    inputs = {"views": (views, ("clips", "views")), "known": (known, ("known",))}
    return _converted(Trunk().cpu().eval(), inputs, outputs)


def _person(model: Model) -> tuple[nn.Module, Tensor]:
    """The encoder of one person, and what the empty person slots add to the sum over slots."""
    spec = model.spec
    encoder = UNIK(replace(spec.shape, persons=None), channels=spec.channels, joints=spec.joints)
    own = encoder.state_dict()
    # In the input norm the first slot's numbers come first.
    encoder.load_state_dict({k: v[: len(own[k])] if v.ndim else v for k, v in model.encoder.state_dict().items()})
    encoder.eval()
    nobody = torch.zeros(1, spec.clip_frames, spec.joints, spec.channels)
    slots = spec.shape.persons or 1
    with torch.no_grad():
        empty = slots * model.encoder(model.alone(nobody))[0] - encoder(nobody[:, None])[0]
    return encoder, empty


def _converted(
    module: nn.Module, inputs: Mapping[str, tuple[Tensor, tuple[str, ...]]], outputs: list[str]
) -> ModelProto:
    """A module as ONNX; each input is an example with the names of its leading axes, which are dynamic."""
    axes = {axis: torch.export.Dim(axis, min=0, max=1 << 24) for _, names in inputs.values() for axis in names}
    with _quietly():
        program = torch.onnx.export(
            module.eval(),
            tuple(example for example, _ in inputs.values()),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple({i: axes[axis] for i, axis in enumerate(names)} for _, names in inputs.values()),
            verbose=False,
        )
    assert program is not None
    found = program.model_proto
    # The exporter notes where in the source every node comes from, with the paths of this machine.
    for part in (found, found.graph, *found.graph.node, *found.graph.value_info, *found.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on operators that are not used here."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


_STRETCH = """
stretch (float[clips, frames, 17, coordinates] clips) => (float[clips, clip_frames, 17, coordinates] stretched) {
    one = Constant <value_ints = [1]> ()
    count = Shape <start = 1, end = 2> (clips)
    last = Sub (count, one)
    whole = Cast <to = 11> (last)
    step = Div (whole, gaps)
    inner = Mul (order, step)
    position = Concat <axis = 0> (inner, whole)
    below = Floor (position)
    past = Sub (position, below)
    flat = Cast <to = 1> (past)
    weight = Reshape (flat, column)
    low = Cast <to = 7> (below)
    next = Add (low, one)
    high = Min (next, last)
    before = Gather <axis = 1> (clips, low)
    after = Gather <axis = 1> (clips, high)
    rest = Sub (unit, weight)
    near = Mul (before, rest)
    far = Mul (after, weight)
    mixed = Add (near, far)
    exact = Equal (weight, zero)
    stretched = Where (exact, before, mixed)
}
"""
"""As :func:`tmor.skeleton.canonical.stretch`, to the bit: a frame must not catch the NaN of a neighbour."""

_DEPTH = """
depth (float[clips, clip_frames, 17, coordinates] stretched) => (float[clips, one, clip_frames, 17, three] views) {
    three = Constant <value_ints = [3]> ()
    coordinates = Shape <start = 3, end = 4> (stretched)
    lacking = Sub (three, coordinates)
    none = Constant <value_ints = [0, 0, 0, 0, 0, 0, 0]> ()
    pads = Concat <axis = 0> (none, lacking)
    deep = Pad (stretched, pads)
    axis = Constant <value_ints = [1]> ()
    views = Unsqueeze (deep, axis)
}
"""

_FLAT = """
flat () => (float[clips, one, clip_frames, 17, coordinates] views) {
    axis = Constant <value_ints = [1]> ()
    views = Unsqueeze (stretched, axis)
}
"""

_IS_3D = """
is_3d (float[clips, clip_frames, 17, coordinates] stretched) => (bool is_3d) {
    three = Constant <value_int = 3> ()
    coordinates = Shape <start = 3, end = 4> (stretched)
    equal = Equal (coordinates, three)
    scalar = Constant <value_ints = [0]> ()
    is_3d = Squeeze (equal, scalar)
}
"""


def _composed(spec: ModelSpec, trunk: ModelProto, views: ModelProto | None) -> ModelProto:
    """The graph from ``clips`` to the outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    frames = spec.clip_frames
    assert frames > 1
    constants = {
        "order": np.arange(frames - 1, dtype=np.float64),
        "gaps": np.array([frames - 1], np.float64),
        "column": np.array([-1, 1, 1], np.int64),
        "unit": np.ones(1, np.float32),
        "zero": np.zeros(1, np.float32),
    }
    front = _parsed(_STRETCH, "stretch/", {"clips", "stretched"})
    start = [numpy_helper.from_array(value, f"stretch/{name}") for name, value in constants.items()]
    if views is None:
        nodes = [*front.node, *_parsed(_DEPTH, "depth/", {"stretched", "views"}).node]
    elif sees_depth(spec.stream):
        seen = onnx.compose.add_prefix(views, "view/", rename_inputs=False, rename_outputs=False).graph
        start += seen.initializer
        nodes = [*front.node, *seen.node]
    else:
        seen = onnx.compose.add_prefix(views, "view/", rename_inputs=False).graph
        del seen.input[:]
        # A branch has no inputs; it sees the tensors around it.
        choice = helper.make_node(
            "If", ["is_3d"], ["views"], then_branch=seen, else_branch=_parsed(_FLAT, "flat/", {"stretched"})
        )
        nodes = [*front.node, *_parsed(_IS_3D, "is_3d/", {"stretched", "is_3d"}).node, choice]
    graph = onnx.compose.add_prefix(trunk, "net/", rename_inputs=False, rename_outputs=False).graph
    coordinates = 3 if sees_depth(spec.stream) else "coordinates"
    inputs = [
        helper.make_tensor_value_info("clips", TensorProto.FLOAT, ["clips", "frames", JOINTS, coordinates]),
        *(info for info in graph.input if info.name == "known"),
    ]
    # An input with a value of its own is optional.
    nothing = np.zeros((0, spec.shape.features), np.float32)
    whole = helper.make_graph(
        [*nodes, *graph.node],
        "tmor",
        inputs,
        list(graph.output),
        [*start, *graph.initializer, numpy_helper.from_array(nothing, "known")],
    )
    return helper.make_model(whole, opset_imports=list(trunk.opset_import), ir_version=trunk.ir_version)


def _parsed(text: str, prefix: str, kept: set[str]) -> GraphProto:
    """A graph out of its text, with every name prefixed but those that are kept."""
    import onnx

    graph = onnx.parser.parse_graph(text)
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = name if name in kept else prefix + name
    for info in graph.output:
        info.name = info.name if info.name in kept else prefix + info.name
    return graph


def _quantised(trunk: ModelProto, model: Model) -> ModelProto:
    """The encoder's convolutions and products in 8 bits."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    known = np.zeros((0, model.encoder.features), np.float32)
    samples = iter([{"views": views, "known": known} for views in _sample_views(model.spec)])

    class Samples(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            return next(samples, None)

    with tempfile.TemporaryDirectory() as folder, _quietly():
        plain, clean, small = (Path(folder, name) for name in ("plain.onnx", "clean.onnx", "small.onnx"))
        onnx.save(trunk, plain)
        quant_pre_process(plain, clean, skip_symbolic_shape=True)
        quantize_static(
            clean,
            small,
            Samples(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "MatMul"],
        )
        return onnx.load(small)


def _sample_views(spec: ModelSpec) -> Iterator[np.ndarray]:
    """The embedded sample motions, one after the other, as the trunk takes them."""
    for _, track in sample_set():
        clip = torch.from_numpy(stretch(prepare(track, fps=spec.fps), spec.clip_frames))[None]
        yield camera_views(clip, spec).numpy()
