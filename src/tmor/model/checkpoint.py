"""Models on disk: safetensors with a JSON header, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tmor.errors import CheckpointError
from tmor.model.answers import Matching
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.skeleton.formats.files import write_whole

_KEY = "tmor"
SHIPPED = ("tmor-small", "tmor-base")


def load_model(name_or_path: str | Path = "tmor-small") -> Model:
    """A trained model, ready for use on the CPU.

    Args:
        name_or_path: ``tmor-small`` or ``tmor-base``, which ship with the package, or a checkpoint file.

    Raises:
        CheckpointError: there is no such file, or it is not a checkpoint of a model.
    """
    path = Path(name_or_path)
    if str(name_or_path) in SHIPPED:
        path = Path(str(resources.files("tmor.model").joinpath("weights", f"{name_or_path}.safetensors")))
    tensors, header = read_tensors(path)
    if header.get("kind") != "model":
        raise CheckpointError(f"{path}: holds {header.get('kind', 'something unknown')}; expected a model")
    model = Model(_spec(header, path))
    expected = model.state_dict()
    # Files from before there was such a tensor lack it, where it is empty.
    tensors = {name: tensor for name, tensor in expected.items() if not tensor.numel()} | tensors
    for name in sorted(expected.keys() ^ tensors.keys()):
        there, lacking = (path, "the model") if name in tensors else ("the model", path)
        raise CheckpointError(f"{path}: tensor '{name}' is in {there} but not in {lacking}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tuple(tensor.shape)}; expected {tuple(expected[name].shape)}"
            )
    model.load_state_dict(tensors)
    return model.eval()


def save_model(model: Model, path: str | Path, *, half: bool = False) -> None:
    """Write a model; the file appears whole or not at all.

    Args:
        half: store floating-point weights in 16 bits.
    """
    tensors = model.state_dict()
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    write_tensors(path, tensors, {"kind": "model", "spec": asdict(model.spec)})


def _spec(header: dict[str, Any], path: Path) -> ModelSpec:
    try:
        values = header["spec"]
        shape = dict(values["shape"])
        shape |= {"widths": tuple(shape["widths"]), "strides": tuple(shape["strides"])}
        known = {f.name for f in fields(ModelSpec)}
        unknown = values.keys() - known
        if unknown:
            raise CheckpointError(
                f"{path}: the model has unknown properties {', '.join(sorted(unknown))}; it needs a newer tmor"
            )
        return ModelSpec(
            **{
                **values,
                "shape": UnikShape(**shape),
                "views_deg": tuple(values["views_deg"]),
                "classes": tuple(values["classes"]),
                "matching": Matching(**values["matching"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the description of the model is not valid: {error}") from error


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as safetensors; whatever was at ``path`` stays whole until the new file is.

    Raises:
        OSError: the disk is full or the folder can't be written; the draft is removed.
    """
    write_whole(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {_KEY: json.dumps(header)}))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (16-bit floats widened to 32) and the JSON header of a file that :func:`write_tensors` wrote.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it is not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; shipped models are {', '.join(SHIPPED)}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    try:
        header = dict(json.loads(metadata[_KEY]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: has no '{_KEY}' header; published encoders come in by tmor import-weights"
        ) from error
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}, header
