"""Charades: 157 classes that overlap, 9,848 videos of about half a minute that people filmed at home.

The root folder holds

- ``Charades_v1_train.csv`` and ``Charades_v1_test.csv``, the official annotation, read by header: ``id``, ``actions``
  (``c092 11.90 21.20;c147 0.00 12.60``: class, start, end in seconds; may be empty), ``length`` (seconds), and others;
- ``skeletons/`` with one pose file per video, named after its id: there are no official poses; anything that
  :func:`tmor.skeleton.formats.read_tracks` reads. :func:`tmor.downstream.benchmarks.videos.persons` says what becomes
  of it.

Almost a third of the segments end after their video, by up to 1.5 s; they stay as they are. Seven are reversed, hence
positive nowhere: they are left out, and reported.

Unconfirmed: the spelling of the class names, which come from a public script.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tmor.downstream.benchmarks.protocol import Benchmark, Protocol, Published, Raw, Sample, Skipped, by_flag
from tmor.downstream.benchmarks.videos import annotated, with_persons
from tmor.errors import FormatError
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.layouts import UNIK17

# The test part first: an id that is listed in both is tested, and not trained on.
SPLITS = {"Charades_v1_test.csv": False, "Charades_v1_train.csv": True}
POSE_FOLDER = "skeletons"

CLASSES = (
    *("Holding some clothes", "Putting clothes somewhere", "Taking some clothes from somewhere"),
    *("Throwing clothes somewhere", "Tidying some clothes", "Washing some clothes", "Closing a door", "Fixing a door"),
    *("Opening a door", "Putting something on a table", "Sitting on a table", "Sitting at a table"),
    *("Tidying up a table", "Washing a table", "Working at a table", "Holding a phone/camera"),
    *("Playing with a phone/camera", "Putting a phone/camera somewhere", "Taking a phone/camera from somewhere"),
    *("Talking on a phone/camera", "Holding a bag", "Opening a bag", "Putting a bag somewhere"),
    *("Taking a bag from somewhere", "Throwing a bag somewhere", "Closing a book", "Holding a book", "Opening a book"),
    *("Putting a book somewhere", "Smiling at a book", "Taking a book from somewhere", "Throwing a book somewhere"),
    *("Watching/Reading/Looking at a book", "Holding a towel/s", "Putting a towel/s somewhere"),
    *("Taking a towel/s from somewhere", "Throwing a towel/s somewhere", "Tidying up a towel/s"),
    *("Washing something with a towel", "Closing a box", "Holding a box", "Opening a box", "Putting a box somewhere"),
    *("Taking a box from somewhere", "Taking something from a box", "Throwing a box somewhere", "Closing a laptop"),
    *("Holding a laptop", "Opening a laptop", "Putting a laptop somewhere", "Taking a laptop from somewhere"),
    *("Watching a laptop or something on a laptop", "Working/Playing on a laptop", "Holding a shoe/shoes"),
    *("Putting shoes somewhere", "Putting on shoe/shoes", "Taking shoes from somewhere", "Taking off some shoes"),
    *("Throwing shoes somewhere", "Sitting in a chair", "Standing on a chair", "Holding some food"),
    *("Putting some food somewhere", "Taking food from somewhere", "Throwing food somewhere", "Eating a sandwich"),
    *("Making a sandwich", "Holding a sandwich", "Putting a sandwich somewhere", "Taking a sandwich from somewhere"),
    *("Holding a blanket", "Putting a blanket somewhere", "Snuggling with a blanket"),
    *("Taking a blanket from somewhere", "Throwing a blanket somewhere", "Tidying up a blanket/s", "Holding a pillow"),
    *("Putting a pillow somewhere", "Snuggling with a pillow", "Taking a pillow from somewhere"),
    *("Throwing a pillow somewhere", "Putting something on a shelf", "Tidying a shelf or something on a shelf"),
    *("Reaching for and grabbing a picture", "Holding a picture", "Laughing at a picture"),
    *("Putting a picture somewhere", "Taking a picture of something", "Watching/looking at a picture"),
    *("Closing a window", "Opening a window", "Washing a window", "Watching/Looking outside of a window"),
    *("Holding a mirror", "Smiling in a mirror", "Washing a mirror"),
    *("Watching something/someone/themselves in a mirror", "Walking through a doorway", "Holding a broom"),
    *("Putting a broom somewhere", "Taking a broom from somewhere", "Throwing a broom somewhere"),
    *("Tidying up with a broom", "Fixing a light", "Turning on a light", "Turning off a light"),
    *("Drinking from a cup/glass/bottle", "Holding a cup/glass/bottle of something"),
    *("Pouring something into a cup/glass/bottle", "Putting a cup/glass/bottle somewhere"),
    *("Taking a cup/glass/bottle from somewhere", "Washing a cup/glass/bottle", "Closing a closet/cabinet"),
    *("Opening a closet/cabinet", "Tidying up a closet/cabinet", "Someone is holding a paper/notebook"),
    *("Putting their paper/notebook somewhere", "Taking paper/notebook from somewhere", "Holding a dish"),
    *("Putting a dish/es somewhere", "Taking a dish/es from somewhere", "Wash a dish/dishes", "Lying on a sofa/couch"),
    *("Sitting on sofa/couch", "Lying on the floor", "Sitting on the floor", "Throwing something on the floor"),
    *("Tidying something on the floor", "Holding some medicine", "Taking/consuming some medicine"),
    *("Putting groceries somewhere", "Laughing at television", "Watching television", "Someone is awakening in bed"),
    *("Lying on a bed", "Sitting in a bed", "Fixing a vacuum", "Holding a vacuum", "Taking a vacuum from somewhere"),
    *("Washing their hands", "Fixing a doorknob", "Grasping onto a doorknob", "Closing a refrigerator"),
    *("Opening a refrigerator", "Fixing their hair", "Working on paper/notebook", "Someone is awakening somewhere"),
    *("Someone is cooking something", "Someone is dressing", "Someone is laughing", "Someone is running somewhere"),
    *("Someone is going from standing to sitting", "Someone is smiling", "Someone is sneezing"),
    *("Someone is standing up from somewhere", "Someone is undressing", "Someone is eating something"),
)

_ACTION = re.compile(r"c(\d{3}) (\S+) (\S+)")


def _read(root: Path) -> Iterator[Sample | Skipped]:
    """The test part, then the training part, each in the order of its file.

    Raises:
        FormatError: an annotation file or the folder of poses is missing or damaged.
    """
    parts = {name: _rows(root / name) for name in SPLITS}
    videos: dict[str, Sample] = {}
    for name, rows in parts.items():
        for row in rows:
            id = row["id"]
            if id in videos:
                yield Skipped(id, "listed twice", f"in {name}, and before")
                continue
            try:
                videos[id], left_out = _video(row, is_train=SPLITS[name])
            except FormatError as error:
                yield Skipped(id, "unreadable", str(error))
                continue
            yield from left_out
    yield from with_persons(videos.values(), root / POSE_FOLDER)


def _rows(path: Path) -> list[dict[str, str]]:
    needed = ("id", "actions", "length")
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        absent = [key for key in needed if key not in (reader.fieldnames or ())]
        if absent:
            raise FormatError(f"{path}: has no column {', '.join(absent)}; expected a header with {', '.join(needed)}")
        return [{key: row[key] or "" for key in needed} for row in reader]
    except csv.Error as error:
        raise FormatError(f"{path}, after line {reader.line_num}: {error}") from None


def _video(row: Mapping[str, str], *, is_train: bool) -> tuple[Sample, list[Skipped]]:
    id, segments = row["id"], []
    try:
        for action in filter(None, row["actions"].split(";")):
            found = _ACTION.fullmatch(action)
            if found is None:
                raise FormatError(f"{id}: action '{action[:40]}'; expected such as 'c092 11.90 21.20'")
            segments.append((float(found[1]), float(found[2]), float(found[3])))
        length = float(row["length"])
    except ValueError as error:
        raise FormatError(f"{id}: {error}; expected seconds") from None
    columns = {"is_train": is_train}
    return annotated(id, segments, duration_s=length, classes=len(CLASSES), columns=columns)


_PUBLISHED = (Published("I3D", "localisation", 17.2), Published("Super-events", "localisation", 19.4))

BENCHMARK = Benchmark(
    name="charades",
    title="Charades",
    task="detect",
    protocols=(Protocol("official", by_flag("is_train"), "localisation", published=_PUBLISHED),),
    raw=Raw(_read, (*SPLITS, POSE_FOLDER), CLASSES, UNIK17.name, samples=9848),
)
