"""Toyota Smarthome: 31 daily activities of older people at home, 2D poses by LCR-Net.

``smarthome_skeletons/WatchTV_p02_r03_v05_c05.json``: class, subject 2, camera 5 (``r`` and ``v`` are not documented and
not kept); the format is that of :mod:`tmor.skeleton.formats.smarthome`, pixels of 640 x 480. The folder's name is that
of UNIK's instructions, for the refined poses (v2.0); that of other releases is unconfirmed: rename it. The rate is not
stated, hence unknown.

We keep the two persons who move most (:func:`tmor.downstream.benchmarks.ntu_rgbd.two_persons`); frames without anybody
are NaN, and are cut off at the ends. The joints stay LCR-Net's 13: UNIK's 17 come of the conversion of layouts.

Cross-view: camera 5 is said to be for validation (unconfirmed); we leave it out. CV2 is by cameras, as documented.
UNIK's released script compares the *subject* with that list of cameras instead, so that its training part holds samples
of camera 2, the test part: the published figure for CV2 may owe to that. It also repeats rare classes in training.
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
from tmor.skeleton.formats.smarthome import read_smarthome

CLASSES = (
    *("Cook.Cleandishes", "Cook.Cleanup", "Cook.Cut", "Cook.Stir", "Cook.Usestove", "Cutbread", "Drink.Frombottle"),
    *("Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack", "Enter", "Getup", "Laydown"),
    *("Leave", "Makecoffee.Pourgrains", "Makecoffee.Pourwater", "Maketea.Boilwater", "Maketea.Insertteabag"),
    *("Pour.Frombottle", "Pour.Fromcan", "Pour.Fromkettle", "Readbook", "Sitdown", "Takepills", "Uselaptop"),
    *("Usetelephone", "Usetablet", "Walk", "WatchTV"),
)
"""In UNIK's order."""

CV_CLASSES = (
    *("Cutbread", "Drink.Frombottle", "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack"),
    *("Enter", "Getup", "Leave", "Pour.Frombottle", "Pour.Fromcan", "Readbook", "Sitdown", "Takepills", "Uselaptop"),
    *("Usetablet", "Usetelephone", "Walk"),
)
"""The 19 classes of the cross-view protocols, in UNIK's order."""

_NAME = re.compile(r"([A-Za-z.]+)_p(\d{1,4})_r\d+_v\d+_c(\d{1,4})")


def _read(root: Path) -> Iterator[Sample | Skipped]:
    return sample_per_file(files_in(root, "smarthome_skeletons/*.json"), _read_sample)


def _read_sample(path: Path) -> Sample | Skipped:
    name = _NAME.fullmatch(path.stem)
    if name is None:
        return Skipped(path.name, "file name", "expected Class_p##_r##_v##_c##.json")
    if name[1] not in CLASSES:
        return Skipped(path.stem, "unknown class", name[1])
    persons = two_persons(read_smarthome(path), id=path.stem)
    if not persons:
        return Skipped(path.stem, "no skeleton")
    columns = {"subject": int(name[2]), "camera": int(name[3])}
    return Sample(path.stem, persons, CLASSES.index(name[1]), columns=columns)


def _figure(value: float) -> tuple[Published, ...]:
    return (Published("UNIK + Posetics", "mean_class", value),)


BENCHMARK = Benchmark(
    "toyota-smarthome",
    "Toyota Smarthome",
    "classify",
    (
        Protocol(
            "cs",
            by_column("subject", (3, 4, 6, 7, 9, 12, 13, 15, 17, 19, 25)),
            metric="mean_class",
            published=_figure(64.3),
        ),
        Protocol(
            "cv1",
            by_column("camera", (1,), (2,)),
            metric="mean_class",
            classes=CV_CLASSES,
            published=_figure(36.1),
        ),
        Protocol(
            "cv2",
            by_column("camera", (1, 3, 4, 6, 7), (2,)),
            metric="mean_class",
            classes=CV_CLASSES,
            published=_figure(65.0),
        ),
    ),
    Raw(_read, ("smarthome_skeletons",), CLASSES, "lcrnet13", 16_115),
    also=("smarthome",),
)
