"""MATLAB files (.mat) of version 5 to 7.2: variables of numbers and text, in which several sets have annotations."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tmor.errors import FormatError
from tmor.skeleton.formats.files import read_bytes

MAX_BYTES = 2**20
"""Penn Action's longest sample takes a quarter of it uncompressed."""

MAX_UNPACKED = 2**24
"""More bytes than this in all compressed variables together are no annotations."""

# MATLAB's numbers for types of stored data and for classes of arrays, as numpy calls them.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED, _CHAR, _COMPLEX = 14, 15, 4, 0x800
_NAMELESS = 17
"""Objects of newer kinds, which have another build."""


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Variables of numbers or text in a small MATLAB file (version 5 to 7.2); other variables are passed over.

    An own reader, as scipy's reads beyond its memory in damaged files.

    Returns:
        Numbers in MATLAB's shape, with all its axes; text of one line as shape ().

    Raises:
        FormatError: the file is damaged or too large to be an annotation, or lacks a variable, or one is of another
            kind.
    """
    content = read_bytes(path, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise FormatError(f"{path}: has more than {MAX_BYTES} bytes; expected the annotations of one short video")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise FormatError(f"{path}: begins with {content[:19]!r}; expected a MATLAB file of version 5 to 7.2")
    found: dict[str, np.ndarray | str] = {}
    try:
        for matrix in _matrices(content[128:], order):
            name, value = _variable(matrix, order)
            found[name] = value
    except (ValueError, zlib.error) as error:
        raise FormatError(f"{path}: not a complete MATLAB file: {error}") from error
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        if name not in found:
            listed = ", ".join(name for name in found if name)[:200]
            raise FormatError(f"{path}: has no variable '{name}'; it has {listed or 'none'}")
        value = found[name]
        if isinstance(value, str):
            raise FormatError(f"{path}: variable '{name}' is {value}; expected numbers or a line of text")
        arrays[name] = value
    return arrays


def _matrices(content: bytes, order: str) -> Iterator[bytes]:
    budget = MAX_UNPACKED
    for kind, data in _elements(content, order):
        if kind == _MATRIX:
            yield data
        elif kind == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(data, budget)
            budget -= len(unpacked)
            if budget <= 0:
                raise ValueError(f"its variables take more than {MAX_UNPACKED} bytes")
            yield from (inner for kind, inner in _elements(unpacked, order) if kind == _MATRIX)


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Each data element's type and bytes."""
    at = 0
    while at < len(content):
        if len(content) - at < 8:
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from(f"{order}II", content, at)
        start, step = at + 8, 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if kind >> 16:  # up to 4 bytes share one word of 8 with their type and size
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
        if start + size > len(content) or (step == 8 and size > 4):
            raise ValueError(f"an element of {size} bytes has {len(content) - start} left")
        yield kind, content[start : start + size]
        at += step


def _variable(matrix: bytes, order: str) -> tuple[str, np.ndarray | str]:
    """Its name, and its value or, where that is neither numbers nor a line of text, what it is."""
    parts = _elements(matrix, order)
    header = [next(parts, (0, b"")) for _ in range(3)]
    flags, sizes, named = (data for _, data in header)
    if len(flags) != 8:
        raise ValueError("a variable has no flags")
    flag = struct.unpack_from(f"{order}I", flags)[0]
    kind = flag & 0xFF
    if kind == _NAMELESS:
        return "", "an object"
    shape = tuple(np.frombuffer(sizes, f"{order}i4").tolist())
    name = named.decode("latin-1")
    stored, data = next(parts, (0, b""))
    count = math.prod(shape)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"variable '{name[:40]}' has shape {shape}")
    if kind == _CHAR and stored in _TEXT and shape[0] <= 1 and len(shape) == 2:
        codec = _TEXT[stored]
        codec += {"<": "-le", ">": "-be"}[order] if codec in ("utf-16", "utf-32") else ""
        return name, np.array(data.decode(codec))
    if kind not in _CLASS or stored not in _STORED or flag & _COMPLEX:
        return name, f"of MATLAB class {kind}"
    values = np.frombuffer(data, f"{order}{_STORED[stored]}")
    if len(values) != count:
        raise ValueError(f"variable '{name[:40]}' has {len(values)} values; expected {shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        return name, values.astype(_CLASS[kind]).reshape(shape, order="F")
