"""NTU RGB+D 60 and 120: Kinect skeletons of one or two persons.

``nturgb+d_skeletons/SsssCcccPpppRrrrAaaa.skeleton`` (setup, camera, subject, replication, action), in the format of
:mod:`tmor.skeleton.formats.ntu`. The later setups, 18 to 32, are usually extracted to ``nturgb+d_skeletons120`` beside
it; any folder whose name begins so is read. NTU RGB+D 60 is setups 1 to 17 with actions 1 to 60.

302 samples of the 60 and 535 of the 120 classes have no (or no complete) skeleton and are ignored by everybody, so that
56,578 and 113,945 stay. A file without a body is skipped; so are those that the authors' list names, where it lies in
the root (``*missing_skeletons*.txt``). That the files on the list are all without bodies is unconfirmed.

Bodies are cleaned as peers do, none going by the label: see :func:`two_persons` and :func:`_without_ghosts`. Peers
differ in details; ours are the thresholds of the usual pre-processing.

SynSE's splits: the unseen classes are those of its released lists. An early version of its README names other classes
for 96/24. Whether its NTU RGB+D 120 figures are cross-subject is unconfirmed; here they are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
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
    by_column,
    column_of,
    files_in,
    sample_per_file,
)
from tmor.errors import TmorError
from tmor.skeleton.formats import PackedSet
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.formats.ntu import read_ntu
from tmor.skeleton.formats.persons import person_id
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

SHORT = 11
"""A body of this many frames or fewer is noise."""

WIDE, WIDE_SHARE = 0.8, 0.7
"""A frame is wide above this width by height; a body is no person when more than this share of its frames are."""

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")

CLASSES = (
    *("drink water", "eat meal/snack", "brushing teeth", "brushing hair", "drop", "pickup", "throw", "sitting down"),
    *("standing up (from sitting position)", "clapping", "reading", "writing", "tear up paper", "wear jacket"),
    *("take off jacket", "wear a shoe", "take off a shoe", "wear on glasses", "take off glasses", "put on a hat/cap"),
    *("take off a hat/cap", "cheer up", "hand waving", "kicking something", "reach into pocket"),
    *("hopping (one foot jumping)", "jump up", "make a phone call/answer phone", "playing with phone/tablet"),
    *("typing on a keyboard", "pointing to something with finger", "taking a selfie", "check time (from watch)"),
    *("rub two hands together", "nod head/bow", "shake head", "wipe face", "salute", "put the palms together"),
    *("cross hands in front (say stop)", "sneeze/cough", "staggering", "falling", "touch head (headache)"),
    *("touch chest (stomachache/heart pain)", "touch back (backache)", "touch neck (neckache)"),
    *("nausea or vomiting condition", "use a fan (with hand or paper)/feeling warm", "punching/slapping other person"),
    *("kicking other person", "pushing other person", "pat on back of other person"),
    *("point finger at the other person", "hugging other person", "giving something to other person"),
    *("touch other person's pocket", "handshaking", "walking towards each other", "walking apart from each other"),
    *("put on headphone", "take off headphone", "shoot at the basket", "bounce ball", "tennis bat swing"),
    *("juggling table tennis balls", "hush (quite)", "flick hair", "thumb up", "thumb down", "make ok sign"),
    *("make victory sign", "staple book", "counting money", "cutting nails", "cutting paper (using scissors)"),
    *("snapping fingers", "open bottle", "sniff (smell)", "squat down", "toss a coin", "fold paper", "ball up paper"),
    *("play magic cube", "apply cream on face", "apply cream on hand back", "put on bag", "take off bag"),
    *("put something into a bag", "take something out of a bag", "open a box", "move heavy objects", "shake fist"),
    *("throw up cap/hat", "hands up (both hands)", "cross arms", "arm circles", "arm swings", "running on the spot"),
    *("butt kicks (kick backward)", "cross toe touch", "side kick", "yawn", "stretch oneself", "blow nose"),
    *("hit other person with something", "wield knife towards other person", "knock over other person (hit with body)"),
    *("grab other person’s stuff", "shoot at other person with a gun", "step on foot", "high-five", "cheers and drink"),
    *("carry something with other person", "take a photo of other person", "follow other person"),
    *("whisper in other person’s ear", "exchange things with other person", "support somebody with hand"),
    *("finger-guessing game (playing rock-paper-scissors)",),
)
"""A1 to A120; NTU RGB+D 60 has the first 60. As the authors write them."""

_XSUB_60 = (1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38)
_XSUB_120 = (
    *(*_XSUB_60, 45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96)),
    *(97, 98, 100, 103),
)

NOVEL = tuple(CLASSES[a - 1] for a in range(1, 116, 6))
"""The 20 classes of the one-shot protocol: A1, A7, A13, ..., A115."""


def two_persons(tracks: Sequence[Track], *, id: str) -> tuple[Track, ...]:
    """The two persons of a sample who move most, out of all its tracks.

    In order of motion (the variance over time of the seen joints), each track goes to the first of two persons who is
    not there at its time: whom the sensor lost and found again is one person so. Tracks that find no place are left out
    and counted in the log. Frames at the start and the end in which neither person is seen are cut off.

    Args:
        tracks: of one layout and rate; those without a rate begin at the same frame.
        id: of the first person; the second is ``id#1``.

    Returns:
        None, one or two tracks of the same length, which begin at 0 s.
    """
    placed = [(round(track.start_s * track.fps) if track.fps else 0, track) for track in tracks]
    placed = [(start, track) for start, track in placed if track.missing_share < 1]
    if not placed:
        return ()
    placed.sort(key=lambda own: -_motion(own[1]))
    length = max(start + len(track) for start, track in placed)
    persons: list[np.ndarray] = []
    spans: list[list[tuple[int, int]]] = []
    left_out = 0
    for start, track in placed:
        seen = np.flatnonzero(_seen(track))
        first, stop = start + int(seen[0]), start + int(seen[-1]) + 1
        free = [all(stop <= a or b <= first for a, b in own) for own in spans]
        if any(free):
            slot = free.index(True)
        elif len(persons) < 2:
            slot = len(persons)
            persons.append(np.full((length, *track.keypoints.shape[1:]), np.nan, dtype=np.float32))
            spans.append([])
        else:
            left_out += 1
            continue
        persons[slot][first:stop] = track.keypoints[first - start : stop - start]
        spans[slot].append((first, stop))
    if left_out:
        _log.info("%s: left out %d of %d tracks, which move less than two others", id, left_out, len(tracks))
    start = min(first for own in spans for first, _ in own)
    stop = max(last for own in spans for _, last in own)
    layout, fps = placed[0][1].layout, placed[0][1].fps
    return tuple(Track(own[start:stop], layout, fps, id=person_id(id, i)) for i, own in enumerate(persons))


def _seen(track: Track) -> np.ndarray:
    """(frames,) bool: some joint is seen."""
    return np.asarray(~np.isnan(track.keypoints[..., 0]).all(axis=1))


def _motion(track: Track) -> float:
    """Variance over time, summed over the axes; mean over the joints that are ever seen."""
    points = track.keypoints[:, ~np.isnan(track.keypoints[..., 0]).all(axis=0)].astype(np.float64)
    return float(np.nanvar(points, axis=0).sum(axis=-1).mean())


def _without_ghosts(tracks: Sequence[Track]) -> list[Track]:
    """Bodies that can be persons: more than 11 frames, and seldom wider than 0.8 times their height.

    A rule that would leave nobody is not applied: somebody who lies is wide as well.
    """
    kept = [track for track in tracks if _seen(track).sum() > SHORT] or list(tracks)
    kept = [track for track in kept if not _is_wide(track)] or kept
    if len(kept) < len(tracks):
        _log.info("%s: left out %d of %d bodies as noise", tracks[0].id, len(tracks) - len(kept), len(tracks))
    return kept


def _is_wide(track: Track) -> bool:
    points = track.keypoints[_seen(track), :, :2]
    size = np.nanmax(points, axis=1) - np.nanmin(points, axis=1)
    return bool((size[:, 0] > WIDE * size[:, 1]).mean() > WIDE_SHARE)


def _read(root: Path, *, setups: int, actions: int) -> Iterator[Sample | Skipped]:
    without: set[str] = set()
    for file in sorted(root.glob("*missing_skeletons*.txt")):
        without.update(found[0] for found in _NAME.finditer(read_text(file)))

    def read(path: Path) -> Sample | Skipped:
        name = _NAME.fullmatch(path.stem)
        if name is None:
            return Skipped(path.name, "file name", "expected SsssCcccPpppRrrrAaaa.skeleton")
        setup, camera, subject, replication, action = map(int, name.groups())
        if not (1 <= setup <= setups and 1 <= action <= actions):
            return Skipped(path.stem, "not of this data set", f"expected setups to {setups} and actions to {actions}")
        if path.stem in without:
            return Skipped(path.stem, "no skeleton", "on the authors' list")
        persons = two_persons(_without_ghosts(read_ntu(path)), id=path.stem)
        if not persons:
            return Skipped(path.stem, "no skeleton", "no body in any frame")
        columns = {"setup": setup, "camera": camera, "subject": subject, "replication": replication}
        return Sample(path.stem, persons, action - 1, columns=columns)

    return sample_per_file(files_in(root, "nturgb+d_skeletons*/*.skeleton"), read)


def _one_shot(packed: PackedSet) -> list[Fold]:
    """The exemplars of the novel classes against all other samples of them; other classes are in neither part."""
    setup, camera, subject, replication = (
        column_of(packed, name) for name in ("setup", "camera", "subject", "replication")
    )
    names = packed.class_names
    train, test = np.zeros(len(packed), dtype=bool), np.zeros(len(packed), dtype=bool)
    for name in NOVEL:
        action = CLASSES.index(name) + 1
        own = np.zeros(len(packed), dtype=bool)
        if packed.labels is not None and name in names:
            own = packed.labels == names.index(name)
        of_setup = 1 if action <= 55 else 18
        exemplar = own & (setup == of_setup) & (camera == 3) & (subject == 8) & (replication == 1)
        if exemplar.sum() != 1:
            raise TmorError(
                f"set '{packed.name}' holds {int(exemplar.sum())} samples S{of_setup:03}C003P008R001A{action:03}; "
                "expected one, the exemplar of its class in the one-shot protocol"
            )
        train |= exemplar
        test |= own & ~exemplar
    return [Fold("one-shot", train, test)]


def _names(*actions: int) -> tuple[str, ...]:
    return tuple(CLASSES[action - 1] for action in actions)


def _figures(measure: str, figures: Iterable[tuple[str, float]]) -> tuple[Published, ...]:
    return tuple(Published(method, measure, value) for method, value in figures)


_HELD_OUT = "zero-shot top-1 of the held-out classes"
"""What peers call zero-shot: the unseen classes' samples, told apart among these classes alone."""

_xsub_60 = by_column("subject", _XSUB_60)
_xsub_120 = by_column("subject", _XSUB_120)

NTU_60 = Benchmark(
    "ntu60",
    "NTU RGB+D 60",
    "classify",
    (
        Protocol(
            "xsub",
            _xsub_60,
            published=_figures("linear probe top-1", (("SkeletonMAE", 74.8), ("MAMP", 84.9), ("STARS", 87.1))),
        ),
        Protocol(
            "xview",
            by_column("camera", (2, 3), (1,)),
            published=_figures("linear probe top-1", (("SkeletonMAE", 77.7), ("MAMP", 89.1), ("STARS", 90.9))),
        ),
        Protocol(
            "synse-55/5",
            _xsub_60,
            unseen=_names(11, 12, 20, 27, 57),
            published=_figures(_HELD_OUT, (("SA-DVAE", 82.4), ("FS-VAE", 86.9), ("SkeletonContext", 89.6))),
        ),
        Protocol(
            "synse-48/12",
            _xsub_60,
            unseen=_names(4, 6, 10, 13, 16, 41, 43, 48, 52, 57, 59, 60),
            published=_figures(_HELD_OUT, (("SA-DVAE", 41.4), ("FS-VAE", 57.2), ("SkeletonContext", 64.4))),
        ),
    ),
    Raw(partial(_read, setups=17, actions=60), ("nturgb+d_skeletons",), CLASSES[:60], "ntu25", 56_880),
    also=("ntu-60", "ntu-rgbd-60"),
)
"""``Raw.samples`` counts the 302 without a skeleton."""

NTU_120 = Benchmark(
    "ntu120",
    "NTU RGB+D 120",
    "classify",
    (
        Protocol("xsub", _xsub_120),
        Protocol("xset", by_column("setup", range(2, 33, 2))),
        Protocol("synse-110/10", _xsub_120, unseen=_names(5, 14, 38, 44, 50, 66, 89, 96, 100, 107)),
        Protocol(
            "synse-96/24",
            _xsub_120,
            unseen=_names(
                *(6, 10, 12, 17, 19, 21, 23, 30, 36, 40, 46, 50, 60, 69, 71, 82, 85, 88, 94, 95, 105, 114, 115, 120)
            ),
        ),
        Protocol("one-shot", _one_shot, classes=NOVEL),
    ),
    Raw(partial(_read, setups=32, actions=120), ("nturgb+d_skeletons",), CLASSES, "ntu25", 114_480),
    also=("ntu-120", "ntu-rgbd-120"),
)
"""``Raw.samples`` counts the 535 without a skeleton."""
