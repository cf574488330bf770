"""UAV-Human: skeletons of one or two persons as a drone sees them, 155 actions of 119 subjects.

``Skeleton/P070S01G10B00H10UC102000LC092000A031R0_09131758.txt``: person, setup, genders, backpacks, hats, clothing,
action (from 0), replication and time of recording; the format is that of :mod:`tmor.skeleton.formats.ntu` with 17
joints. The folder's name is what users of the release have, unconfirmed by the authors; so are unit, axes and rate.

Up to four bodies are recorded. As the authors do we keep the two who move most, of the first 300 frames. Where some
files have depth (z) and others don't, those that differ from the first are skipped, as a set has one kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tmor.downstream.benchmarks.ntu_rgbd import two_persons
from tmor.downstream.benchmarks.protocol import (
    Benchmark,
    Protocol,
    Published,
    Raw,
    Sample,
    Skipped,
    by_column,
    files_in,
    sample_per_file,
)
from tmor.skeleton.formats.ntu import read_ntu

MAX_FRAMES = 300

_NAME = re.compile(r"P(\d{3})S(\d{1,3})G\d+B\d+H\d+UC\d+LC\d+A(\d{3})R(\d{1,3})_\d+")

CLASSES = (
    *("drink", "eat snacks", "brush hair", "drop something", "pick up something", "throw away something", "sit down"),
    *("stand up", "applaud", "read", "write", "put on a coat", "take off a coat", "put on glasses", "take off glasses"),
    *("put on a hat", "take off a hat", "throw away a hat", "cheer", "wave hands", "kick something"),
    *("reach into pockets", "jump on single leg", "jump on two legs", "make a phone call", "play with cell phones"),
    *("point somewhere", "look at the watch", "rub hands", "bow", "shake head", "salute", "cross palms together"),
    *("cross arms in front to say no", "wear headphones", "take off headphones", "make a shh sign", "touch the hair"),
    *("thumb up", "thumb down", "make an OK sign", "make a victory sign", "punch with fists", "figure snap"),
    *("open the bottle", "smell", "squat", "apply cream to face", "apply cream to hands", "grasp a bag"),
    *("put down a bag", "put something into a bag", "take something out of a bag", "open a box", "move a box"),
    *("put up hands", "put hands on hips", "wrap arms around", "shake arms", "step on the spot walk", "kick aside"),
    *("kick backward", "cough", "sneeze", "yawn", "blow nose", "stagger", "headache", "chest discomfort", "backache"),
    *("neck-ache", "vomit", "use a fan", "stretch body", "punching someone", "kicking someone", "pushing someone"),
    *("slap someone on the back", "point someone", "hug", "give something to someone"),
    *("steal something from other’s pocket", "rob something from someone", "shake hands", "walk toward someone"),
    *("walk away from someone", "hit someone with something", "threat some with a knife", "bump into someone"),
    *("walk side by side", "high five", "drink a toast", "move something with someone", "take a phone for someone"),
    *("stalk someone", "whisper in someone’s ear", "exchange something with someone", "lend an arm to support someone"),
    *("rock-paper-scissors", "hover", "land", "land at designated locations", "move forward", "move backward"),
    *("move left", "move right", "ascend", "descend", "accelerate", "decelerate", "come over here"),
    *("stay where you are", "rear right turn", "rear left turn", "abandon landing", "all clear", "not clear"),
    *("have command", "follow me", "turn left", "turn right", "throw litter", "dig a hole", "mow", "set on fire"),
    *("smoke", "cut the tree", "fishing", "pick a lock", "pollute walls", "hold someone hostage"),
    *("threat someone with a gun", "wave a goodbye", "chase someone", "comfort someone", "drag someone"),
    *("sweep the floor", "mop the floor", "bounce the ball", "shoot at the basket", "swing the racket", "leg pressing"),
    *("escape (to survive)", "call for help", "wear a mask", "take off a mask", "bend arms around someone’s shoulder"),
    *("run", "stab someone with a knife", "throw a frisbee", "carry a carrying pole", "use a lever to lift something"),
    *("walk", "open an umbrella", "close an umbrella"),
)
"""A000 to A154, as the authors write them."""

_CSV1 = (
    *(0, 2, *range(5, 9), *range(10, 22), *range(25, 31), *range(32, 41), *range(42, 54), 55, 56, 57, 59),
    *(*range(61, 66), *range(67, 72), 73, *range(76, 91), 98, 100, 102, 103, 105, 106, 110, 111, 112),
    *range(114, 119),
)
_CSV2 = (
    *(0, 3, 4, 5, 6, 8, 10, 11, 12, 14, 16, *range(18, 23), 24, 26, *range(29, 33), *range(35, 41), *range(43, 48)),
    *(49, 52, 54, 56, 57, *range(59, 65), 66, 67, *range(69, 76), *range(77, 82), 83, 84, *range(86, 90)),
    *(*range(91, 98), *range(99, 105), *range(106, 116), 117, 118),
)


def _read(root: Path) -> Iterator[Sample | Skipped]:
    dims = None
    for found in sample_per_file(files_in(root, "Skeleton/*.txt"), _read_sample):
        if isinstance(found, Sample):
            own = found.tracks[0].dims
            dims = dims or own
            if own != dims:
                found = Skipped(found.id, "other dimensions", f"{own}D; the first sample is {dims}D")
        yield found


def _read_sample(path: Path) -> Sample | Skipped:
    name = _NAME.fullmatch(path.stem)
    if name is None:
        return Skipped(path.name, "file name", "expected P###S##G##B##H##UC######LC######A###R#_MMDDHHMM.txt")
    subject, setup, action, replication = map(int, name.groups())
    if action >= len(CLASSES):
        return Skipped(path.stem, "unknown class", f"A{action:03}; expected A000 to A{len(CLASSES) - 1}")
    tracks = read_ntu(path)
    if tracks and tracks[0].layout.name != "coco17":
        return Skipped(path.stem, "unreadable", f"{len(tracks[0].layout)} joints; expected 17")
    persons = two_persons([track.frames(0, min(len(track), MAX_FRAMES)) for track in tracks], id=path.stem)
    if not persons:
        return Skipped(path.stem, "no skeleton")
    return Sample(path.stem, persons, action, columns={"subject": subject, "setup": setup, "replication": replication})


def _figures(*figures: tuple[str, float]) -> tuple[Published, ...]:
    return tuple(Published(method, "top1", value) for method, value in figures)


BENCHMARK = Benchmark(
    "uav-human",
    "UAV-Human",
    "classify",
    (
        Protocol(
            "csv1",
            by_column("subject", _CSV1),
            published=_figures(("ST-GCN", 30.3), ("2s-AGCN", 34.8), ("Shift-GCN", 38.0)),
        ),
        Protocol(
            "csv2",
            by_column("subject", _CSV2),
            published=_figures(("ST-GCN", 56.1), ("2s-AGCN", 66.7), ("Shift-GCN", 67.0)),
        ),
    ),
    Raw(_read, ("Skeleton",), CLASSES, "coco17"),
)
