"""Penn Action: 15 sports and exercises, 2D joints that were annotated by hand.

``labels/0001.mat`` to ``2326.mat``: ``x``, ``y`` and ``visibility`` (frames x 13), ``nframes``, ``train`` (1 or -1),
``action``, and ``bbox``, ``dimensions`` and ``pose``, which are not read. Pixels, y down. The files don't say the order
of the joints, but drawings look right.

A joint that is not visible has a guess or a placeholder, (1, 1) or (0, 0), and is unseen here, as is a placeholder.
``nframes`` is a uint8, so longer videos overflow it. The rate is not stated, hence unknown. By the flag there are 1258
training and 1068 test samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.protocol import (
    Benchmark,
    Protocol,
    Published,
    Raw,
    Sample,
    Skipped,
    by_flag,
    files_in,
    sample_per_file,
)
from tmor.errors import FormatError
from tmor.skeleton.formats.matlab import read_mat
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

CLASSES = (
    *("baseball_pitch", "baseball_swing", "bench_press", "bowl", "clean_and_jerk", "golf_swing", "jump_rope"),
    *("jumping_jacks", "pullup", "pushup", "situp", "squat", "strum_guitar", "tennis_forehand", "tennis_serve"),
)


def _read(root: Path) -> Iterator[Sample | Skipped]:
    return sample_per_file(files_in(root, "labels/*.mat"), _read_sample)


def _read_sample(path: Path) -> Sample:
    found = read_mat(path, ("x", "y", "visibility", "nframes", "train", "action"))
    x, y, visible = found["x"], found["y"], found["visibility"]
    joints = len(LAYOUTS["penn13"])
    for name in ("x", "y", "visibility"):
        own = found[name]
        if own.ndim != 2 or own.shape[1] != joints or own.shape != x.shape or own.dtype.kind not in "fiub":
            raise FormatError(
                f"{path}: {name} has shape {own.shape} and type {own.dtype}; expected (frames, {joints}) numbers, as x"
            )
    frames = _number(path, found, "nframes")
    if frames not in (len(x), len(x) % 256, min(len(x), 255)):
        raise FormatError(f"{path}: nframes is {frames:g}, but x has {len(x)} frames")
    flag = _number(path, found, "train")
    if flag not in (1, -1):
        raise FormatError(f"{path}: train is {flag:g}; expected 1 or -1")
    if not np.isin(visible, (0, 1)).all():
        raise FormatError(f"{path}: visibility holds {visible[~np.isin(visible, (0, 1))][0]}; expected 0 or 1")
    action = str(found["action"].item()).strip() if found["action"].size == 1 else ""
    if action not in CLASSES:
        raise FormatError(f"{path}: action is '{action[:40]}'; expected one of {', '.join(CLASSES)}")
    points = np.stack([x, y], axis=-1).astype(np.float32)
    placeholder = (points == 1).all(axis=-1) | (points == 0).all(axis=-1)
    points[(visible == 0) | placeholder] = np.nan
    track = Track(points, LAYOUTS["penn13"], None, id=path.stem)
    return Sample(path.stem, (track,), CLASSES.index(action), columns={"is_train": flag == 1})


def _number(path: Path, found: dict[str, np.ndarray], name: str) -> float:
    if found[name].size != 1 or found[name].dtype.kind not in "fiub":
        raise FormatError(f"{path}: {name} has shape {found[name].shape}; expected one number")
    return float(found[name].item())


BENCHMARK = Benchmark(
    "penn-action",
    "Penn Action",
    "classify",
    (Protocol("official", by_flag("is_train"), published=(Published("UNIK + Posetics", "top1", 97.9),)),),
    Raw(_read, ("labels",), CLASSES, "penn13", 2326),
)
