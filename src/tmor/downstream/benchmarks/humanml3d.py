"""HumanML3D: 14,616 motions, mirrored as well, each with three or four captions.

The root folder holds

- ``new_joints/ID.npy``: (frames, 22, 3) float, the body joints of SMPL, metres, y up, 20 fps;
- ``texts/ID.txt``: lines ``caption#tokens/POS#start#end``, times in seconds; 0.0 and 0.0 = the whole motion;
- ``train.txt``, ``val.txt``, ``test.txt``: one id per line. Ids that begin with M are mirrored copies, whose captions
  are mirrored too; a copy is in the same part as its original.

The three lists name 29,228 motions; four of the 29,232 are in none. ``val`` takes no part in the protocol.

Unconfirmed: what a time that is not a number means (taken as 0.0, as peers do).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.protocol import (
    Benchmark,
    Fold,
    Protocol,
    Published,
    Raw,
    Sample,
    Skipped,
    sample_per_file,
)
from tmor.errors import FormatError
from tmor.skeleton.formats import PackedSet
from tmor.skeleton.formats.files import DAMAGED, read_bytes, read_text
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

FPS = 20.0
# The test part first: an id that is listed in several is tested, and not trained on.
SPLITS = ("test", "val", "train")

_ID = re.compile(r"\w+")


def _read(root: Path) -> Iterator[Sample | Skipped]:
    """The test, the validation and the training part, each in the order of its list.

    Raises:
        FormatError: a list is missing, empty, or holds something that is no id.
    """
    lists = {split: _ids(root / f"{split}.txt") for split in SPLITS}
    of: dict[str, str] = {}
    for split, ids in lists.items():
        for id in ids:
            if id in of:
                yield Skipped(id, "listed twice", f"in {of[id]}.txt and {split}.txt")
                continue
            of[id] = split
            motion, text = root / "new_joints" / f"{id}.npy", root / "texts" / f"{id}.txt"
            if not motion.is_file():
                yield Skipped(id, "no motion", str(motion))
            elif not text.is_file():
                yield Skipped(id, "no captions", str(text))
            else:
                yield from sample_per_file([motion], partial(_motion, text=text, split=split))


def _ids(path: Path) -> list[str]:
    ids = read_text(path).split()
    for id in ids:
        if not _ID.fullmatch(id):
            raise FormatError(f"{path}: '{id[:40]}' is no id; expected such as 000021 or M000021")
    return ids


def _motion(path: Path, *, text: Path, split: str) -> Sample:
    return Sample(
        path.stem,
        (Track(_points(path), LAYOUTS["smpl22"], FPS, id=path.stem),),
        columns={**{f"is_{name}": name == split for name in SPLITS}, "is_mirrored": path.stem.startswith("M")},
        captions=_captions(text),
    )


def _points(path: Path) -> np.ndarray:
    """(frames, 22, 3)."""
    if read_bytes(path, 6) != b"\x93NUMPY":
        raise FormatError(f"{path}: is no .npy file")
    try:
        # Mapped, not loaded: a header that promises more than the file holds must not take memory.
        points = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise FormatError(f"{path}: can't be read: {error}") from error
    joints = len(LAYOUTS["smpl22"])
    if points.dtype.kind != "f" or points.ndim != 3 or points.shape[1:] != (joints, 3):
        raise FormatError(
            f"{path}: has shape {points.shape} and type {points.dtype}; expected (frames, {joints}, 3) float"
        )
    return np.asarray(points)


def _captions(path: Path) -> tuple[tuple[str, float | None, float | None], ...]:
    captions = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        parts = line.rsplit("#", 3)
        if len(parts) != 4 or not parts[0].strip():
            raise FormatError(f"{where}: '{line[:40]}'; expected caption#tokens#start#end")
        try:
            start, end = (0.0 if math.isnan(time) else time for time in map(float, parts[2:]))
        except ValueError as error:
            raise FormatError(f"{where}: {error}; expected seconds") from None
        whole = start == end == 0
        if not whole and not 0 <= start < end < math.inf:
            raise FormatError(f"{where}: lasts from {start:g} to {end:g} s; expected start < end, or 0 and 0")
        captions.append((parts[0].strip(), None if whole else start, None if whole else end))
    if not captions:
        raise FormatError(f"{path}: holds no caption")
    return tuple(captions)


def _official(packed: PackedSet) -> list[Fold]:
    return [Fold("official", packed.part("is_train"), packed.part("is_test"))]


_PUBLISHED = tuple(
    Published(method, f"text-to-motion R@{k}, {gallery}", value)
    for method, figures in (("TMR", (8.9, 33.4, 67.5, 95.5)), ("MotionPatches", (10.8, 38.0, 71.6, 97.7)))
    for (gallery, k), value in zip(
        (("all", 1), ("all", 10), ("batches of 32", 1), ("batches of 32", 10)), figures, strict=True
    )
)

BENCHMARK = Benchmark(
    name="humanml3d",
    title="HumanML3D",
    task="retrieve",
    protocols=(Protocol("official", _official, published=_PUBLISHED),),
    raw=Raw(_read, ("new_joints", "texts", *(f"{split}.txt" for split in SPLITS)), (), "smpl22", samples=29_228),
)
