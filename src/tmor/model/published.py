"""The UNIK authors' published checkpoints, brought into our fused encoder."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from tmor.errors import CheckpointError
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import BASE, UnikShape
from tmor.teachers.weights import read_weights

_KERNEL = 9


def import_unik(path: str | Path, *, strides: tuple[int, ...] = BASE.strides) -> Model:
    """An encoder from a checkpoint of the authors' UNIK: the same features, with their person slots, but no heads.

    The tensors' shapes tell widths, heads, joints, channels and persons. The classifier ``fc`` and the never used
    ``s_unit.bias`` are dropped.

    Args:
        path: what :func:`tmor.teachers.weights.read_weights` takes.
        strides: temporal stride of each block, which no tensor tells.

    Raises:
        CheckpointError: there is no such file, it is not a checkpoint, it would run code, or a tensor is missing,
            unexpected or of another shape.
    """
    path = Path(path)
    tensors = _Tensors(path, {name.removeprefix("module."): x for name, x in read_weights(path, of="UNIK").items()})
    depth = len({name.split(".")[0] for name in tensors.left if re.match(r"l\d+\.", name)})
    if depth != len(strides):
        raise CheckpointError(f"{path}: holds {depth} blocks l1, l2, ... of UNIK; expected {len(strides)}")
    numbers = range(1, depth + 1)
    dependencies = [tensors.sizes(f"l{i}.s_unit.DepM", ndim=3) for i in numbers]
    widths = tuple(tensors.sizes(f"l{i}.t_unit.bn.weight", ndim=1)[0] for i in numbers)
    heads, joints = tuple(sizes[0] for sizes in dependencies), dependencies[0][1]
    channels = tensors.sizes("l1.s_unit.conv_a.0.weight", ndim=4)[1]
    inputs = tensors.sizes("data_bn.weight", ndim=1)[0]
    persons = inputs // max(joints * channels, 1)
    if persons < 1 or persons * joints * channels != inputs:
        raise CheckpointError(
            f"{path}: data_bn covers {inputs}; expected persons x {joints} joints x {channels} channels"
        )
    shape = UnikShape(widths, strides, heads=heads[0] if len(set(heads)) == 1 else heads, persons=persons)

    state = tensors.norm("data_bn", "data_bn", inputs)
    for i, width_in, width, stride, n in zip(numbers, (channels, *widths), widths, strides, heads, strict=False):
        state |= _block(tensors, i, width_in, width, stride=stride, heads=n, joints=joints)
    for name in tensors.left:
        if not re.fullmatch(r"fc\.(weight|bias)|l\d+\.s_unit\.bias", name):
            raise CheckpointError(
                f"{path}: tensor '{name}' is unexpected; a UNIK of {depth} blocks has none of that name"
            )

    spec = ModelSpec(
        path.stem, shape, channels, joints, width=0, teacher="", teacher_width=0, training={"source": path.name}
    )
    model = Model(spec)
    model.encoder.load_state_dict(state)
    return model.eval()


def _block(
    tensors: _Tensors, number: int, width_in: int, width: int, *, stride: int, heads: int, joints: int
) -> dict[str, Tensor]:
    """The tensors of one of our blocks: the heads' convolutions side by side."""
    theirs, ours = f"l{number}", f"blocks.{number - 1}"
    s, spatial, inner = f"{theirs}.s_unit", f"{ours}.spatial", width // 4
    attend = [tensors.conv(f"{s}.conv_{ab}.{h}", width_in, inner) for ab in "ab" for h in range(heads)]
    mix = [tensors.conv(f"{s}.conv_d.{h}", width_in, width) for h in range(heads)]
    state = {
        f"{spatial}.dependency": tensors.take(f"{s}.DepM", heads, joints, joints),
        f"{spatial}.attend.weight": torch.cat([weight for weight, _ in attend])[:, :, 0, 0],
        f"{spatial}.attend.bias": torch.cat([bias for _, bias in attend]),
        f"{spatial}.mix.weight": torch.cat([weight for weight, _ in mix], dim=1)[:, :, 0, 0],
        f"{spatial}.mix.bias": torch.stack([bias for _, bias in mix]).sum(dim=0),
    }
    state |= tensors.norm(f"{s}.bn", f"{spatial}.norm", width)
    units = [(f"{theirs}.t_unit.conv", f"{theirs}.t_unit.bn", f"{ours}.temporal", width, _KERNEL)]
    if width_in != width:
        units.append((f"{s}.down.0", f"{s}.down.1", f"{spatial}.down", width_in, 1))
    if number > 1 and (width_in != width or stride != 1):
        units.append((f"{theirs}.residual.conv", f"{theirs}.residual.bn", f"{ours}.residual", width_in, 1))
    for conv, norm, unit, inputs, kernel in units:
        weight, bias = tensors.conv(conv, inputs, width, kernel=kernel)
        state |= {f"{unit}.conv.weight": weight.transpose(2, 3), f"{unit}.conv.bias": bias}
        state |= tensors.norm(norm, f"{unit}.norm", width)
    return state


class _Tensors:
    """The tensors of a file, each taken once and by its shape."""

    def __init__(self, path: Path, tensors: dict[str, Tensor]) -> None:
        self.path, self.left = path, tensors

    def sizes(self, name: str, *, ndim: int) -> torch.Size:
        """The shape of a tensor that stays."""
        if name not in self.left:
            raise CheckpointError(f"{self.path}: tensor '{name}' is missing")
        if self.left[name].ndim != ndim:
            raise CheckpointError(
                f"{self.path}: tensor '{name}' has shape {tuple(self.left[name].shape)}; expected {ndim} dimensions"
            )
        return self.left[name].shape

    def take(self, name: str, *shape: int) -> Tensor:
        if self.sizes(name, ndim=len(shape)) != shape:
            raise CheckpointError(
                f"{self.path}: tensor '{name}' has shape {tuple(self.left[name].shape)}; expected {shape}"
            )
        return self.left.pop(name).float()

    def conv(self, name: str, width_in: int, width: int, *, kernel: int = 1) -> tuple[Tensor, Tensor]:
        return self.take(f"{name}.weight", width, width_in, kernel, 1), self.take(f"{name}.bias", width)

    def norm(self, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
        parts = ("weight", "bias", "running_mean", "running_var")
        state = {f"{ours}.{part}": self.take(f"{theirs}.{part}", width) for part in parts}
        # Only counts training steps; torch before 0.4.1 did not write it.
        count = self.left.pop(f"{theirs}.num_batches_tracked", torch.zeros(()))
        return state | {f"{ours}.num_batches_tracked": count.long()}
