"""Gesture Phase Segmentation (UCI): the phases of the gestures of people who tell a story, 7 recordings of 3 users.

``gesture_phase.npz``: a packed set of 6 joints (hands, wrists, head, spine) with a phase for every frame and irregular
times. Its x and y are image-like with y down, so the movements are taken as 2D. There are neither shoulders nor hips:
the spine stands for chest and mid hip, and the joints that are lacking are unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmor.downstream.benchmarks.protocol import Benchmark, Protocol, Raw, Sample, Skipped, leave_one_out
from tmor.downstream.benchmarks.untrimmed import segments_of
from tmor.errors import FormatError
from tmor.skeleton.formats import read_packed
from tmor.skeleton.layouts import UNIK17

CLASSES = ("rest", "preparation", "stroke", "hold", "retraction")
FILE = "gesture_phase.npz"

_FROM = {
    "head": "head",
    "left_wrist": "left_wrist",
    "right_wrist": "right_wrist",
    "chest": "spine",
    "mid_hip": "spine",
}


def _read(root: Path) -> Iterator[Sample | Skipped]:
    packed = read_packed(root / FILE)
    lacking = (set(_FROM.values()) - set(packed.layout.joints)) or (set(packed.class_names) ^ set(CLASSES))
    if lacking or "user" not in packed.columns:
        raise FormatError(
            f"{root / FILE}: lacks {', '.join(sorted(lacking)) or 'user'}; expected joints "
            f"{', '.join(sorted(set(_FROM.values())))}, classes {', '.join(CLASSES)} and column user"
        )
    for i, id in enumerate(packed.ids):
        source = packed.tracks(i)[0]
        points = np.full((len(source), len(UNIK17), 2), np.nan, dtype=np.float32)
        for joint, name in _FROM.items():
            own = source.keypoints[:, source.layout.joints.index(name), :2]
            points[:, UNIK17.joints.index(joint)] = own
        segments = tuple((CLASSES.index(packed.class_names[k]), start, end) for k, start, end in segments_of(packed, i))
        track = replace(source, keypoints=points, layout=UNIK17, scores=None, start_s=0.0, id=id)
        yield Sample(id, (track,), segments=segments, columns={"user": str(packed.columns["user"][i])})


BENCHMARK = Benchmark(
    "gesture-phase",
    "Gesture Phase Segmentation",
    "detect",
    (Protocol("leave-one-user-out", leave_one_out("user")),),
    Raw(_read, (FILE,), CLASSES, UNIK17.name, samples=7),
)
