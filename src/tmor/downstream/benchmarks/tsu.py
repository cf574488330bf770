"""Toyota Smarthome Untrimmed (TSU): 51 classes that overlap, 536 videos of elderly people at home.

The root folder holds

- ``smarthome_CS_51.json`` and ``smarthome_CV_51.json``, the annotation with the official cross-subject and cross-view
  splits: ``{"P11T15C01": {"subset": "training" | "testing", "duration": 22760, "actions": [[class, start, end], ...]},
  ...}``, times in frames. The name says subject, task and camera. Segments and durations are taken from the first;
- ``skeletons/`` or ``json/`` with one pose file per video, named after it: LCR-Net JSON as Smarthome has it, or
  anything that :func:`tmor.skeleton.formats.read_tracks` reads. :func:`tmor.downstream.benchmarks.videos.persons` says
  what becomes of it.

A pose i of n is at i / n of the video, as the authors' code has it. A segment that is of no class, begins outside its
video, or does not end after it begins is positive nowhere: it is left out, and reported.

Unconfirmed: that a frame of the annotation lasts 1 / 20 s (:data:`FPS`), and how the official poses are packed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tmor.downstream.benchmarks.protocol import Benchmark, Protocol, Published, Raw, Sample, Skipped, by_flag
from tmor.downstream.benchmarks.videos import annotated, with_persons
from tmor.errors import FormatError
from tmor.skeleton.formats.files import numbers, read_json
from tmor.skeleton.layouts import UNIK17

_log = logging.getLogger("tmor")

FPS = 20.0
"""Frames of the annotation per second (unconfirmed)."""

TRAIN_SUBJECTS = (3, 4, 6, 7, 9, 12, 13, 15, 17, 19, 25)
TRAIN_CAMERAS = (1, 3, 4, 6, 7)
"""What the official splits come to; the flags in the files decide, and the log counts those that differ."""

SPLITS = {"is_train_cs": "smarthome_CS_51.json", "is_train_cv": "smarthome_CV_51.json"}
POSE_FOLDERS = ("skeletons", "json")

CLASSES = (
    *("Enter", "Walk", "Make_coffee", "Get_water", "Make_coffee.Pour_water", "Use_Drawer", "Make_coffee.Pour_grains"),
    *("Use_telephone", "Leave", "Put_something_on_table", "Take_something_off_table", "Pour.From_kettle"),
    *("Stir_coffee/tea", "Drink.From_cup", "Dump_in_trash", "Make_tea", "Make_tea.Boil_water", "Use_cupboard"),
    *("Insert_tea_bag", "Read", "Take_pills", "Use_fridge", "Clean_dishes", "Clean_dishes.Put_something_in_sink"),
    *("Eat_snack", "Sit_down", "Watch_TV", "Use_laptop", "Get_up", "Drink.From_bottle", "Pour.From_bottle"),
    *("Drink.From_glass", "Lay_down", "Drink.From_can", "Write", "Breakfast", "Breakfast.Spread_jam_or_butter"),
    *("Breakfast.Cut_bread", "Breakfast.Eat_at_table", "Breakfast.Take_ham", "Clean_dishes.Dry_up", "Wipe_table"),
    *("Cook", "Cook.Cut", "Cook.Use_stove", "Cook.Stir", "Cook.Use_oven", "Clean_dishes.Clean_with_water"),
    *("Use_tablet", "Use_glasses", "Pour.From_can"),
)

_NAME = re.compile(r"P(\d{2})T\d{2}C(\d{2})")


def _read(root: Path) -> Iterator[Sample | Skipped]:
    """The videos in the order of the annotation.

    Raises:
        FormatError: an annotation file or the folder of poses is missing or damaged.
    """
    splits = {flag: _annotation(root / name) for flag, name in SPLITS.items()}
    folder = next((root / name for name in POSE_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise FormatError(f"{root}: has no folder {' or '.join(POSE_FOLDERS)}; expected one pose file per video in it")
    videos: list[Sample] = []
    for id in dict.fromkeys(id for split in splits.values() for id in split):
        absent = [SPLITS[flag] for flag, split in splits.items() if id not in split]
        if absent:
            yield Skipped(id, "not in both splits", f"not in {absent[0]}")
            continue
        try:
            video, left_out = _video(id, {flag: split[id] for flag, split in splits.items()})
        except FormatError as error:
            yield Skipped(id, "unreadable", str(error))
            continue
        yield from left_out
        videos.append(video)
    for flag, column, train in (("is_train_cs", "subject", TRAIN_SUBJECTS), ("is_train_cv", "camera", TRAIN_CAMERAS)):
        odd = [video.id for video in videos if video.columns[flag] != (video.columns[column] in train)]
        if odd:
            _log.warning("%s: %d videos are not in the part of their %s: %s", SPLITS[flag], len(odd), column, odd[:5])
    yield from with_persons(videos, folder)


def _annotation(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise FormatError(f"{path}: holds {type(content).__name__}; expected an object with one entry per video")
    return content


def _video(id: str, entries: Mapping[str, Any]) -> tuple[Sample, list[Skipped]]:
    """A video without its persons, from its entries in both annotation files."""
    name = _NAME.fullmatch(id)
    if name is None:
        raise FormatError(f"video '{id[:40]}'; expected a name such as P11T15C01")
    columns: dict[str, int | float | bool | str] = {"subject": int(name[1]), "camera": int(name[2])}
    for flag, entry in entries.items():
        subset = entry.get("subset") if isinstance(entry, dict) else None
        if subset not in ("training", "testing"):
            raise FormatError(f"{id} in {SPLITS[flag]}: subset is {str(subset)[:40]}; expected training or testing")
        columns[flag] = subset == "training"
    entry = entries["is_train_cs"]
    actions = entry.get("actions")
    if not isinstance(actions, list):
        raise FormatError(f"{id}: actions is {type(actions).__name__}; expected a list of [class, start, end]")
    rows = []
    for i, action in enumerate(actions, start=1):
        row = numbers(action, where=f"{id}, action {i},").tolist()
        if len(row) != 3:
            raise FormatError(f"{id}, action {i}, has {len(row)} numbers; expected class, start, end")
        rows.append((row[0], row[1] / FPS, row[2] / FPS))
    duration = numbers([entry.get("duration")], where=f"{id}: duration").item()
    return annotated(id, rows, duration_s=duration / FPS, classes=len(CLASSES), columns=columns)


_PUBLISHED = (Published("PDAN (RGB)", "frame-mAP", 32.7), Published("MS-TCT (RGB), about", "frame-mAP", 34.0))

BENCHMARK = Benchmark(
    name="tsu",
    title="Toyota Smarthome Untrimmed",
    task="detect",
    protocols=(Protocol("cs", by_flag("is_train_cs"), published=_PUBLISHED), Protocol("cv", by_flag("is_train_cv"))),
    raw=Raw(_read, tuple(SPLITS.values()), CLASSES, UNIK17.name, samples=536),
)
