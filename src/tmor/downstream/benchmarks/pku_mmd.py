"""PKU-MMD: 51 classes, 1,076 untrimmed videos, Kinect v2 from three sides.

The root folder holds

- ``skeleton/`` (officially ``PKU_Skeleton_Renew``) with ``XXXX-V.skeleton`` or ``.txt``, V in L, M, R: one line per
  frame, 150 numbers = 2 persons x 25 joints x (x, y, z), metres, y up, 30 fps; a person whose numbers are all zero is
  absent;
- ``label/`` (officially ``Train_Label_PKU_final``) with files of the same names: lines ``class,start,end,confidence``,
  times in frames;
- ``cross-subject.txt`` and ``cross-view.txt``: a header line, the training names separated by commas, a header line,
  the test names. A video has to be in both files.

Frame f of the annotation is taken to be at f / 30 s. Segments that are positive nowhere are left out
(:func:`tmor.downstream.benchmarks.videos.annotated`).

Unconfirmed: that classes count from 1 (:data:`FIRST_CLASS`), that frames count from 0, and that the class names, which
come from a public loader, have the official order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.protocol import Benchmark, Protocol, Raw, Sample, Skipped, by_flag
from tmor.downstream.benchmarks.videos import annotated, files_by_id
from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats.files import numbers, read_text
from tmor.skeleton.formats.persons import person_id
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

FPS = 30.0
FIRST_CLASS = 1
"""The number of the first class (unconfirmed)."""

PERSONS = 2
SPLITS = {"is_train_xsub": "cross-subject.txt", "is_train_xview": "cross-view.txt"}
POSE_FOLDER, LABEL_FOLDER = "skeleton", "label"

CLASSES = (
    *("bow", "brushing hair", "brushing teeth", "check time (from watch)", "cheer up", "clapping"),
    *("cross hands in front (say stop)", "drink water", "drop", "eat meal/snack", "falling"),
    *("giving something to other person", "hand waving", "handshaking", "hopping (one foot jumping)"),
    *("hugging other person", "jump up", "kicking other person", "kicking something", "make a phone call/answer phone"),
    *("pat on back of other person", "pickup", "playing with phone/tablet", "point finger at the other person"),
    *("pointing to something with finger", "punching/slapping other person", "pushing other person"),
    *("put on a hat/cap", "put something inside pocket", "reading", "rub two hands together", "salute", "sitting down"),
    *("standing up", "take off a hat/cap", "take off glasses", "take off jacket", "take out something from pocket"),
    *("taking a selfie", "tear up paper", "throw", "touch back (backache)", "touch chest (stomachache/heart pain)"),
    *("touch head (headache)", "touch neck (neckache)", "typing on a keyboard"),
    *("use a fan (with hand or paper)/feeling warm", "wear jacket", "wear on glasses", "wipe face", "writing"),
)

_NAME = re.compile(r"\w+-[LMR]")


def _read(root: Path) -> Iterator[Sample | Skipped]:
    """The videos in the order of their names.

    Raises:
        FormatError: a split file or a folder is missing or damaged.
    """
    splits: dict[str, dict[str, bool]] = {}
    for flag, name in SPLITS.items():
        splits[flag], twice = _split(root / name)
        yield from twice
    poses, labels = files_by_id(root / POSE_FOLDER), files_by_id(root / LABEL_FOLDER)
    for id in sorted({*poses, *(id for split in splits.values() for id in split)}):
        absent = [SPLITS[flag] for flag, split in splits.items() if id not in split]
        if absent:
            yield Skipped(id, "not in both splits", f"not in {' and '.join(absent)}")
            continue
        for what, files in (("pose", poses), ("label", labels)):
            if len(own := files.get(id, [])) != 1:
                reason = f"several {what} files" if own else f"no {what} file"
                yield Skipped(id, reason, ", ".join(path.name for path in own))
                break
        else:
            flags = {flag: split[id] for flag, split in splits.items()}
            try:
                video, left_out = _video(id, poses[id][0], labels[id][0], flags)
            except TmorError as error:
                yield Skipped(id, "unreadable", str(error))
                continue
            yield from left_out
            yield video


def _split(path: Path) -> tuple[dict[str, bool], list[Skipped]]:
    """Whether each video is in the training part, and those that are listed twice."""
    parts: list[list[str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        names = [name.strip() for name in line.split(",") if name.strip()]
        if not all(map(_NAME.fullmatch, names)):
            parts.append([])  # a header
        elif names and not parts:
            raise FormatError(f"{path}, line {number}: '{line[:40]}'; expected a header line before the names")
        elif names:
            parts[-1] += names
    if len(parts) != 2:
        raise FormatError(f"{path}: {len(parts)} header lines; expected 2, before the training and the test names")
    is_train: dict[str, bool] = {}
    twice = []
    for train in (False, True):  # the test part first: what is listed in both is tested, and not trained on
        for name in parts[0 if train else 1]:
            if name in is_train:
                twice.append(Skipped(name, "listed twice", f"in {path.name}"))
            else:
                is_train[name] = train
    return is_train, twice


def _video(id: str, poses: Path, labels: Path, flags: Mapping[str, bool]) -> tuple[Sample, list[Skipped]]:
    points = _points(poses)
    rows = []
    for number, line in enumerate(read_text(labels).splitlines(), start=1):
        if not line.strip():
            continue
        row = numbers(line.split(","), where=f"{labels}, line {number},").tolist()
        if len(row) != 4:
            raise FormatError(f"{labels}, line {number}: {len(row)} numbers; expected class, start, end, confidence")
        if not FIRST_CLASS <= row[0] < FIRST_CLASS + len(CLASSES):
            expected = f"{FIRST_CLASS} to {FIRST_CLASS + len(CLASSES) - 1}"
            raise FormatError(f"{labels}, line {number}: class {row[0]:g}; expected {expected}")
        rows.append((row[0] - FIRST_CLASS, row[1] / FPS, row[2] / FPS))
    video, left_out = annotated(id, rows, duration_s=len(points) / FPS, classes=len(CLASSES), columns=flags)
    tracks = [Track(points[:, i], LAYOUTS["ntu25"], FPS, id=person_id(id, i)) for i in range(PERSONS)]
    return replace(video, tracks=tuple(track for track in tracks if track.missing_share < 1)), left_out


def _points(path: Path) -> np.ndarray:
    """(frames, persons, 25, 3) float64, NaN = absent."""
    joints = len(LAYOUTS["ntu25"])
    width = PERSONS * joints * 3
    lines = read_text(path).rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        if len(values := line.split()) != width:
            raise FormatError(f"{path}, line {number}: {len(values)} numbers; expected {width}")
    if not lines:
        raise FormatError(f"{path}: has no frames")
    try:
        points = np.loadtxt(lines, ndmin=2, comments=None)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from None
    points = points.reshape(len(lines), PERSONS, joints, 3)
    points[(points == 0).all(axis=(2, 3))] = np.nan
    return points


BENCHMARK = Benchmark(
    name="pku-mmd",
    title="PKU-MMD",
    task="detect",
    protocols=(
        Protocol("cross-subject", by_flag("is_train_xsub")),
        Protocol("cross-view", by_flag("is_train_xview")),
    ),
    raw=Raw(_read, (POSE_FOLDER, LABEL_FOLDER, *SPLITS.values()), CLASSES, "ntu25", samples=1076),
)
