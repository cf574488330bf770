"""JHMDB: 21 actions in short film clips, 2D joints by hand-fitted puppets.

``joint_positions/CLASS/CLIP/joint_positions.mat``: ``pos_world`` (2 x 15 x frames), image coordinates that are
normalised by the frame's and the person's size, y down; ``pos_img``, pixels, is not read. The files don't say the order
of the joints, but drawings look right. ``splits/CLASS_test_split{1,2,3}.txt``: lines ``CLIP.avi 1`` (training part) or
``CLIP.avi 2`` (test part). 928 clips of 15 to 40 frames; the rate is not stated, hence unknown.

Figures are means over the three splits. The packed set of 609 clips that is in circulation has 14 of the classes: what
is measured on it is not comparable with published figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tmor.downstream.benchmarks.protocol import Benchmark, Fold, Protocol, Raw, Sample, Skipped, sample_per_file
from tmor.errors import FormatError
from tmor.skeleton.formats import PackedSet
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.formats.matlab import read_mat
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

CLASSES = (
    *("brush_hair", "catch", "clap", "climb_stairs", "golf", "jump", "kick_ball", "pick", "pour", "pullup", "push"),
    *("run", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "stand", "swing_baseball", "throw", "walk", "wave"),
)

SPLITS = (1, 2, 3)


def _read(root: Path) -> Iterator[Sample | Skipped]:
    # All lists before the first clip: a list that is wrong should not be found after an hour.
    parts = {name: _read_splits(root / "splits", name) for name in CLASSES}
    for name, clips in parts.items():
        folder = root / "joint_positions" / name
        there = {clip.name for clip in folder.iterdir() if clip.is_dir()} if folder.is_dir() else set()
        for clip in sorted({clip for clip in there if not clip.startswith(".")} - set(clips)):
            yield Skipped(f"{name}/{clip}", "in no split", f"expected it in {name}_test_split1.txt")
        for clip in sorted(set(clips) - there):
            yield Skipped(f"{name}/{clip}", "no joint positions", f"the splits name it; expected it in {folder}")
        files = [folder / clip / "joint_positions.mat" for clip in sorted(set(clips) & there)]
        yield from sample_per_file(files, lambda file, clips=clips: _read_sample(file, clips[file.parent.name]))


def _read_splits(folder: Path, name: str) -> dict[str, tuple[bool, ...]]:
    """Of each clip of a class, whether it is in the training part of splits 1, 2 and 3."""
    lists: list[dict[str, bool]] = []
    for split in SPLITS:
        path = folder / f"{name}_test_split{split}.txt"
        own: dict[str, bool] = {}
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            *clips, part = line.rsplit(maxsplit=1)
            clip = "".join(clips).removesuffix(".avi")
            if not clip or part not in ("1", "2"):
                raise FormatError(f"{path}, line {number}: '{line[:80]}'; expected CLIP.avi 1 or CLIP.avi 2")
            if clip in own:
                raise FormatError(f"{path}, line {number}: names clip '{clip}' twice")
            own[clip] = part == "1"
        lists.append(own)
        if lacking := sorted(set(lists[0]) ^ set(own)):
            raise FormatError(f"{path}: clip '{lacking[0]}' is in this list or that of split 1 alone; expected both")
    return {clip: tuple(own[clip] for own in lists) for clip in lists[0]}


def _read_sample(path: Path, parts: tuple[bool, ...]) -> Sample:
    points = read_mat(path, ("pos_world",))["pos_world"]
    layout = LAYOUTS["jhmdb15"]
    if points.ndim == 2:  # MATLAB drops the axis of a single frame
        points = points[..., None]
    if points.ndim != 3 or points.shape[:2] != (2, len(layout)) or points.dtype.kind not in "fiu":
        raise FormatError(f"{path}: pos_world has shape {points.shape}; expected (2, {len(layout)}, frames) numbers")
    name, clip = path.parent.parent.name, path.parent.name
    id = f"{name}/{clip}"
    track = Track(points.transpose(2, 1, 0), layout, None, id=id)
    columns = {f"is_train_{split}": part for split, part in zip(SPLITS, parts, strict=True)}
    return Sample(id, (track,), CLASSES.index(name), columns=columns)


def _folds(packed: PackedSet) -> list[Fold]:
    """Split 1, 2 and 3, by ``is_train_1`` to ``is_train_3`` or the columns of a (n, 3) ``is_train``."""
    if "is_train" in packed.columns:
        parts = [packed.part(f"is_train[{split - 1}]") for split in SPLITS]
    else:
        parts = [packed.part(f"is_train_{split}") for split in SPLITS]
    return [Fold(f"split {split}", part, ~part) for split, part in zip(SPLITS, parts, strict=True)]


def _one_fold(packed: PackedSet, *, split: int) -> list[Fold]:
    return _folds(packed)[split - 1 : split]


BENCHMARK = Benchmark(
    "jhmdb",
    "JHMDB",
    "classify",
    (
        Protocol("official", _folds),
        *(Protocol(f"split-{split}", partial(_one_fold, split=split)) for split in SPLITS),
    ),
    Raw(_read, ("joint_positions", "splits"), CLASSES, "jhmdb15", 928),
)
