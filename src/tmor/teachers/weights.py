"""Weights that others published: tensors by name, from files in which nothing is run."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from tmor.errors import CheckpointError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
# What torch raises of files in which bytes were changed.
_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OSError,
)


def read_weights(path: Path, *, of: str) -> dict[str, Tensor]:
    """The tensors by name, no larger together than the file.

    Args:
        path: ``.pt`` or ``.pth`` with the tensors by name, bare or under ``state_dict``, ``model_state_dict`` or
            ``model``; or ``.safetensors``. Which it is, its content says. What torch (since 1.6) wrote, and
            safetensors, stay on disk until they are used.
        of: whose weights they are meant to be, for people.

    Raises:
        CheckpointError: there is no such file, it is not a checkpoint, is damaged, or would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; expected a checkpoint of {of}")
    with path.open("rb") as file:
        start = file.read(9)
    # A file of safetensors begins with the length of its header, which is JSON.
    found = _read_safetensors(path) if start[8:] == b"{" and start[:2] != b"PK" else _read_torch(path)
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found:
        raise CheckpointError(
            f"{path}: holds {type(found).__name__}; expected tensors by name, or a dict with one of "
            + ", ".join(_WRAPPERS)
        )
    total = 0
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: entry '{name}' is of type {type(tensor).__name__}; expected tensors by name"
            )
        total += tensor.numel() * tensor.element_size()
    # A few bytes can be dressed up as a tensor of any size.
    if total > path.stat().st_size:
        raise CheckpointError(f"{path}: its tensors claim {total} bytes, more than the file has")
    return found


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _DAMAGED as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise CheckpointError(
                f"{path}: would run code when read ({code[1]}), so it was not; "
                "expected tensors and plain containers only"
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(f"{path}: not tensors and plain containers alone; nothing in it was run") from error
        raise CheckpointError(f"{path}: not a checkpoint that torch wrote, or damaged") from error


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a file of safetensors, or damaged") from error
