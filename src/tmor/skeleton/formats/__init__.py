"""Reading and writing the pose file formats that people have, one module per format."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmor.errors import FormatError
from tmor.skeleton.formats import native, packed, plain
from tmor.skeleton.formats.bvh import read_bvh
from tmor.skeleton.formats.coco import read_coco
from tmor.skeleton.formats.files import is_video, read_arrays, read_bytes, read_json
from tmor.skeleton.formats.native import write_tracks
from tmor.skeleton.formats.ntu import read_ntu
from tmor.skeleton.formats.openpose import read_openpose
from tmor.skeleton.formats.packed import PackedSet, read_packed, write_packed
from tmor.skeleton.formats.pyskl import read_pyskl
from tmor.skeleton.formats.smarthome import read_smarthome
from tmor.skeleton.tracks import Track

__all__ = ["PackedSet", "read_packed", "read_tracks", "write_packed", "write_tracks"]

_log = logging.getLogger("tmor")

_EXPECTED = (
    "tracks or a packed set (.npz), COCO or LCR-Net (.json), OpenPose (a folder), NTU (.skeleton), BVH, or PYSKL (.pkl)"
)


def read_tracks(path: str | Path) -> list[Track]:
    """Read the people of a pose file, whatever its format; the content decides, not the name.

    Reads tmor's own tracks and packed sets, a hand-written .npz with ``keypoints``, COCO keypoints, OpenPose folders,
    LCR-Net (Toyota Smarthome), NTU RGB+D and UAV-Human skeletons, BVH, and PYSKL pickles (which are not executed). The
    module of each format in :mod:`tmor.skeleton.formats` says what it makes of it.

    Returns:
        One track per person and sequence; none where nobody was seen. The log says so, and counts whom it left out.

    Raises:
        FormatError: there is no such file, or it is damaged or of no known format; the message says what was found,
            what was expected, and where.
    """
    path = Path(path)
    if path.is_dir():
        return read_openpose(path)
    start = read_bytes(path, 4096)
    if start.startswith(b"PK\x03\x04"):
        return _from_arrays(path)
    if start.startswith(b"\x80") or path.suffix in (".pkl", ".pickle"):
        return read_pyskl(path)
    text = start.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith(("{", "[")):
        return _from_json(path)
    if text[:9].upper() == "HIERARCHY":
        return read_bvh(path)
    if re.match(r"\d+[ \t]*(\r?\n|$)", text):
        return read_ntu(path)
    what = "is a video" if is_video(path) else f"begins with {start[:24]!r}"
    raise FormatError(f"{path}: {what}; expected {_EXPECTED}")


def _from_arrays(path: Path) -> list[Track]:
    arrays = read_arrays(path)
    if "tmor_tracks" in arrays:
        return native.unpack(path, arrays)
    if packed.is_packed(arrays):
        found = packed.unpack(path, arrays)
        tracks = [track for i in range(len(found)) for track in found.tracks(i)]
        persons = 1 if found.keypoints.ndim == 3 else found.keypoints.shape[1]
        if left_out := persons * len(found) - len(tracks):
            _log.info("%s: left out %d people who are never seen", path, left_out)
        return tracks
    if "keypoints" in arrays:
        return plain.unpack(path, arrays)
    raise FormatError(
        f"{path}: has arrays {', '.join(arrays) or 'none'}; expected tmor_tracks (tracks of tmor), "
        "joints, offsets and joint_names (a packed set), or keypoints (one track)"
    )


def _from_json(path: Path) -> list[Track]:
    content: Any = read_json(path)
    readers: dict[str, Callable[[], list[Track]]] = {
        "people": lambda: read_openpose(path),
        "annotations": lambda: read_coco(path, content),
        "frames": lambda: read_smarthome(path, content),
    }
    if isinstance(content, dict):
        for key, read in readers.items():
            if key in content:
                return read()
        found = f"an object with keys {', '.join(content)[:80] or 'none'}"
    elif content and isinstance(content[0], dict) and "keypoints" in content[0]:
        return read_coco(path, content)
    else:
        kind = type(content[0]).__name__ if content else "nothing"
        found = f"a list of {kind}" + (f" with keys {', '.join(content[0])[:80]}" if kind == "dict" else "")
    raise FormatError(
        f"{path}: JSON with {found}; expected COCO keypoints (a list of results, or 'annotations'), "
        "LCR-Net ('frames') or OpenPose ('people')"
    )
