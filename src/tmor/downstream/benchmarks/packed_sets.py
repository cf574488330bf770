"""Benchmarks that come as packed sets: their usual protocols, by the columns of the sets.

Where authors publish no split, the one here is ours and says so in its name: ``odd-subjects``, ``subject-4``.
"""

from __future__ import annotations

import hashlib

import numpy as np

from tmor.downstream.benchmarks.protocol import Benchmark, Fold, Protocol, by_flag, leave_one_out
from tmor.errors import TmorError
from tmor.skeleton.formats import PackedSet


def _cmu86(packed: PackedSet) -> list[Fold]:
    """Trials 86_01 and 86_09, the two with frame labels: each trains once."""
    trials = [np.array([id == name for id in packed.ids]) for name in ("86_01", "86_09")]
    if not all(trial.any() for trial in trials):
        raise TmorError(f"set '{packed.name}' lacks trial 86_01 or 86_09, which this protocol goes by")
    first, second = trials
    return [Fold("86_01 to 86_09", first, second), Fold("86_09 to 86_01", second, first)]


def _without_copies(packed: PackedSet) -> list[Fold]:
    """Cross-view without the test sequences that are bit by bit a training sequence: in copies of NW-UCLA that go
    around, 95 of view 3 are those of view 2, all of two classes."""
    (fold,) = by_flag("is_train_xview")(packed)
    digests = [
        hashlib.sha256(b"".join(track.keypoints.tobytes() for track in packed.tracks(i))).digest()
        for i in range(len(packed))
    ]
    trained = {digests[i] for i in np.flatnonzero(fold.train)}
    copies = np.array([digest in trained for digest in digests])
    return [Fold("without copies", fold.train, fold.test & ~copies)]


_half_of_subjects = by_flag("is_train_xsub")

UTD_MHAD = Benchmark(
    "utd-mhad",
    "UTD-MHAD",
    "classify",
    (Protocol("cross-subject", _half_of_subjects),),
    also=("utd_mhad_skeleton",),
)
NW_UCLA = Benchmark(
    "nw-ucla",
    "Northwestern-UCLA",
    "classify",
    (Protocol("cross-view", by_flag("is_train_xview")), Protocol("cross-view-without-copies", _without_copies)),
)
KARD = Benchmark(
    "kard",
    "KARD",
    "classify",
    (Protocol("odd-subjects", _half_of_subjects), Protocol("leave-one-subject-out", leave_one_out("subject"))),
)
FLORENCE_3D = Benchmark(
    "florence3d",
    "Florence 3D Actions",
    "classify",
    (Protocol("leave-one-subject-out", leave_one_out("subject")), Protocol("first-subjects", _half_of_subjects)),
)
CAD_60 = Benchmark(
    "cad60",
    "CAD-60",
    "classify",
    (Protocol("leave-one-subject-out", leave_one_out("subject")), Protocol("subject-4", by_flag("subject != 4"))),
)
SBU_INTERACTION = Benchmark(
    "sbu-interaction",
    "SBU Kinect Interaction (two persons)",
    "classify",
    (Protocol("5-fold", leave_one_out("fold")), Protocol("fold-0", by_flag("fold != 0"))),
)
HDM05_11 = Benchmark("hdm05-11", "HDM05, 11 classes", "classify", (Protocol("cross-subject", _half_of_subjects),))
BANDAI_NAMCO = Benchmark(
    "bandai-namco",
    "Bandai-Namco motion",
    "classify",
    (Protocol("held-out-styles", by_flag("not is_test_xstyle_suggested")),),
)
CMU_EVAL8 = Benchmark(
    "cmu-eval8", "CMU motion capture, 8 actions", "classify", (Protocol("official", by_flag("is_train")),)
)
MSRC_12 = Benchmark("msrc12", "MSRC-12 Kinect gestures", "detect", (Protocol("odd-subjects", _half_of_subjects),))
CMU_86 = Benchmark(
    "cmu86",
    "CMU motion capture, subject 86",
    "detect",
    (Protocol("one-trial-to-the-other", _cmu86),),
    also=("cmu_mocap",),
)
