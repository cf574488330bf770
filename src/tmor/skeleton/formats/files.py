"""Opening and writing the containers that several formats share: .npz and JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from lzma import LZMAError
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from tmor.errors import FormatError, TmorError

_log = logging.getLogger("tmor")
_SLOWEST_FPS, _FASTEST_FPS = 0.2, 1000.0  # 0.04 are seconds per frame

_MOST_UNPACKED, _MOST_TIMES = 2**30, 50
DAMAGED = (
    *(ValueError, OSError, EOFError, MemoryError, RuntimeError, OverflowError, SyntaxError, LookupError, TypeError),
    *(TokenError, LZMAError, zipfile.BadZipFile, zlib.error),
)
"""What archives and headers of arrays raise that are damaged; some of it numpy lets through from its parser."""


def readable(name: str) -> str:
    """The name of a file as text that can be written: bytes of it that are no UTF-8 become ``\\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode()


def read_bytes(path: Path, size: int = -1) -> bytes:
    """The content of a file that is there and not empty, or its first ``size`` bytes.

    Raises:
        FormatError: there is no such file, it is a folder, it is empty or can't be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        raise FormatError(f"{path}: there is no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {error.strerror}") from error
    if not content:
        raise FormatError(f"{path}: the file is empty")
    return content


def is_video(path: str | Path) -> bool:
    """Whether a file begins as MP4 or MOV, AVI, Matroska or WebM, or MPEG do; False where there is no file."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return (
        start[4:8] == b"ftyp"
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
        or start[:4] in (b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")
    )


def read_text(path: Path) -> str:
    """The content of a UTF-8 text file.

    Raises:
        FormatError: as :func:`read_bytes`, or the bytes are no text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: byte {error.start} is not UTF-8; expected a text file") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FormatError: as :func:`read_text`, or the text is not (all of) a JSON document.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise FormatError(f"{path}: JSON that can't be poses: {error}") from None


def numbers(values: Any, *, where: str) -> np.ndarray:
    """A list of numbers out of JSON as a flat float64 array; null is NaN.

    Raises:
        FormatError: it is no list of numbers, or one of them is infinite. ``where`` begins the message.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        array = None
    if array is None or array.ndim != 1:
        raise FormatError(f"{where} is {type(values).__name__} {str(values)[:60]}; expected a flat list of numbers")
    if np.isinf(array).any():
        raise FormatError(f"{where} holds an infinite number")
    return array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz. Pickled objects are refused.

    Raises:
        FormatError: there is no such file, it is truncated, no .npz, holds pickled objects, or unpacks to over a GiB
            and 50 times its size, as no arrays of poses do.
    """
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}; expected an .npz")
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: the file is empty")
    if not zipfile.is_zipfile(path):
        raise FormatError(f"{path}: not a complete .npz (a zip archive of arrays); the file may be truncated")
    arrays: dict[str, np.ndarray] = {}
    name = None
    try:
        with np.load(path, allow_pickle=False) as archive:
            unpacked = _unpacked(archive.zip)
            if unpacked > max(_MOST_UNPACKED, _MOST_TIMES * path.stat().st_size):
                raise FormatError(
                    f"{path}: unpacks to {unpacked:,} bytes, {unpacked / path.stat().st_size:.0f} times its size; "
                    f"expected at most {_MOST_TIMES} times, or {_MOST_UNPACKED:,} bytes"
                )
            for name in archive.files:
                array = archive[name]
                if not isinstance(array, np.ndarray):
                    raise FormatError(f"{path}: member '{name}' is not an array")
                _check_text(path, name, array)
                arrays[name] = array
    except DAMAGED as error:
        where = "" if name is None else f"array '{name}' "
        raise FormatError(f"{path}: {where}can't be read: {error}") from error
    return arrays


def _check_text(path: Path, name: str, array: np.ndarray) -> None:
    """Refuse half characters, which can't be printed, and numbers that are no characters, on which Python breaks."""
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), dtype=np.uint32)
        bad = codes[(codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))]
        if len(bad):
            raise FormatError(f"{path}: array '{name}' holds U+{bad[0]:04X}, which is no character; expected text")


def unpacked_bytes(path: Path) -> int:
    """What the members of an .npz unpack to, as it says itself; 0 where it is no .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpacked(archive)
    except DAMAGED:
        return 0


def _unpacked(archive: zipfile.ZipFile) -> int:
    return sum(member.file_size for member in archive.infolist())


def array_names(path: Path) -> list[str]:
    """The names of the arrays of an .npz, without reading them; none where it is no .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except DAMAGED:
        return []


def frame_rate(path: Path, arrays: Mapping[str, np.ndarray]) -> float | None:
    """The array ``fps`` of an .npz, frames per second; None where it is 0 or not there.

    Raises:
        FormatError: it is not one number that can be a rate.
    """
    raw = arrays.get("fps", np.array(0.0))
    if raw.size != 1 or raw.dtype.kind not in "fiu" or not (raw == 0 or _SLOWEST_FPS <= raw <= _FASTEST_FPS):
        raise FormatError(
            f"{path}: fps is {raw.tolist()}; expected one number, frames per second from {_SLOWEST_FPS:g} to "
            f"{_FASTEST_FPS:g}, 0 where the rate is unknown"
        )
    return float(raw.item()) or None


def warn_of_zeros(path: Path, points: np.ndarray) -> None:
    """Log it where more than one joint in a thousand lies exactly at the origin: often that means unseen, NaN here.

    Args:
        points: (..., joints, 2 | 3). A joint that never leaves the origin is what the others are relative to.
    """
    zero = (points == 0).all(axis=-1).reshape(-1, points.shape[-2])
    zero = zero[:, ~zero.all(axis=0)] if zero.all(axis=0).sum() == 1 else zero
    if zero.size and zero.mean() > 1e-3:
        _log.warning(
            "%s: %.1f%% of joints lie exactly at zero; if they are unseen, write NaN: zeros count as places",
            path,
            100 * zero.mean(),
        )


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, overwrite: bool) -> None:
    """Write an .npz whole or not at all: a crash leaves what was there before.

    Raises:
        TmorError: the file exists and ``overwrite`` is False, its folder does not exist, or a text holds what is no
            character.
    """
    for name, array in arrays.items():
        _check_text(path, name, np.asanyarray(array))
    if path.exists() and not overwrite:
        raise TmorError(f"{path}: exists already; pass overwrite=True to replace it")
    if not path.parent.is_dir():
        raise TmorError(f"{path}: the folder {path.parent} does not exist")
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        # numpy.savez would take an array called "file" for its own argument
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def check_new_file(path: Path, endings: Sequence[str] = (), *, makes_folder: bool = False) -> None:
    """Check, before long work, that its outcome can be written.

    Args:
        endings: what the name may end in, in any case: ``.csv``; none = in anything.
        makes_folder: its folder is made where it is not there.

    Raises:
        TmorError: the name ends otherwise, there is something at ``path``, or its folder does not exist or can't be
            written.
    """
    if endings and path.suffix.lower() not in endings:
        raise TmorError(f"{path}: the name ends in '{path.suffix}'; expected {', '.join(endings)}")
    if path.exists() or path.is_symlink():
        raise TmorError(f"{path}: exists already; choose another name")
    folder = next(parent for parent in path.parents if parent.exists()) if makes_folder else path.parent
    if not folder.is_dir():
        raise TmorError(
            f"{path}: {folder} is a file" if folder.exists() else f"{path}: the folder {folder} does not exist"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TmorError(f"{path}: the folder {folder} can't be written")


def check_distinct(paths: Sequence[Path]) -> None:
    """Check that no outcome would be written over another.

    Raises:
        TmorError: two names mean the same file.
    """
    for n, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:n]]:
            raise TmorError(f"{path}: is named for two outcomes; choose another name for one of them")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears whole or not at all: until the block ends well, what was at ``path`` stays.

    A link is followed, and who may read and write a file that is there stays as it is.

    Raises:
        OSError: the folder can't be written, or the disk is full; the draft is removed.
    """
    path = path.resolve()
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        # mkstemp makes files that only their owner can read.
        os.chmod(draft, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file, and its folder where it is not there; what was at ``path`` stays whole until the new file is.

    Raises:
        OSError: as :func:`whole_file`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(content)
