"""BVH motion capture: the hierarchy, its forward kinematics, and the joint names of common rigs.

Rotations are applied in the order in which the file declares them. Position channels replace the joint's offset. y is
up, as BVH has it.

BVH has no unit. The size of the skeleton in its rest pose, the longest side of the box around it, tells: up to 10 it is
in metres; up to 45 in the unit of CMU's ASF files (0.0254 / 0.45 m), up to 100 in inches, up to 1000 in centimetres,
beyond in millimetres.

Joints get standard names for the rigs of Mixamo, CMU (cgspeed's MotionBuilder, 3ds Max and Daz versions), LaFAN, Bandai
Namco, Xsens, SMPL, 3ds Max Biped and their like: sides as ``Left``, ``L_``, ``l``, ``_L`` ..., ``Arm`` and ``UpperArm``
the shoulder, ``ForeArm`` the elbow, ``Leg`` and ``Shin`` the knee. Joints that have none, such as fingers, are left out
(the log says which), unless hips or shoulders are not found: then every joint is kept under the file's own name.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tmor.errors import FormatError, LayoutError
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.layouts import Layout, layout_of
from tmor.skeleton.tracks import Track

_log = logging.getLogger("tmor")

_UNITS = ((10, 1.0, "metres"), (45, 0.0254 / 0.45, "CMU's unit"), (100, 0.0254, "inches"), (1000, 0.01, "centimetres"))

_MIDDLE = {
    **dict.fromkeys(("hips", "hip", "pelvis", "centerhip"), "mid_hip"),
    "neck": "neck",
    "head": "head",
    **dict.fromkeys(("headtopend", "headtop", "headend"), "head_top"),
}
_SIDED = {
    **dict.fromkeys(("collar", "clavicle", "collarbone"), "clavicle"),
    **dict.fromkeys(("arm", "uparm", "upperarm", "shldr", "shoulder"), "shoulder"),
    **dict.fromkeys(("elbow", "forearm", "lowarm", "lowerarm"), "elbow"),
    **dict.fromkeys(("wrist", "hand"), "wrist"),
    **dict.fromkeys(("hip", "upleg", "upperleg", "thigh"), "hip"),
    **dict.fromkeys(("knee", "leg", "lowleg", "lowerleg", "shin", "calf"), "knee"),
    **dict.fromkeys(("ankle", "foot"), "ankle"),
    **dict.fromkeys(("toe", "toebase", "toes", "toe0", "bigtoe"), "big_toe"),
}
# With the more exact name beside it, these mean the next joint: Mixamo's LeftShoulder, beside LeftArm, is the clavicle.
_SECOND = {"shoulder": "clavicle", "hand": "hand", "foot": "foot"}
_CHANNEL = re.compile("[xyz](position|rotation)")
_HEAD = re.compile(r"\s*Frames:\s*(\d+)\s+Frame\s+Time:\s*(\S+)[ \t]*(?:\n|$)", re.IGNORECASE)
_SPINE = re.compile(r"(spine|lowerback|abdomen|chest|upperchest|waist|torso|thorax)\d*")


@dataclass(frozen=True)
class _Joint:
    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()
    """Such as ``xposition``, ``zrotation``."""
    end: bool = False
    """An end site: the tip of a bone, no joint."""


def read_bvh(path: str | Path) -> list[Track]:
    """Read a BVH file as one 3D track in metres, named after the file.

    Raises:
        FormatError: the hierarchy is not well-formed, or the motion does not have the size that it states.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    joints, at = _hierarchy(path, lines)
    motion, fps = _motion(path, lines, at, channels=sum(len(joint.channels) for joint in joints))
    points = _forward(joints, motion)
    rest = _forward(joints, np.zeros((1, motion.shape[1])), positions=False)[0]
    size = float(np.ptp(rest, axis=0).max())
    scale, unit = next(((scale, unit) for most, scale, unit in _UNITS if size <= most), (0.001, "millimetres"))
    _log.info("%s: the skeleton measures %.4g, taken as %s", path, size, unit)
    real = [i for i, joint in enumerate(joints) if not joint.end]
    names = standard_names([joints[i].name for i in real])
    needed = {f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")}
    if needed <= set(names):
        kept = {i: name for i, name in zip(real, names, strict=True) if name is not None}
        if len(kept) < len(real):
            others = [joints[i].name for i in real if i not in kept]
            _log.info("%s: left out %d joints without a standard name: %s", path, len(others), ", ".join(others))
    else:
        kept = {i: joints[i].name for i in real}
    return [Track(points[:, list(kept)] * scale, _layout(path, joints, kept), fps, id=path.stem)]


def standard_names(names: Sequence[str]) -> list[str | None]:
    """The standard name of each joint of a rig, None where it has none; no name is given twice."""
    bare = [name.rsplit(":", 1)[-1] for name in names]
    first, last = min(bare[1:], default=""), max(bare[1:], default="")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    prefix = first[: max(first.rfind("_", 0, same), first.rfind(" ", 0, same)) + 1]  # Model_, Bip01, ...
    parts = [_side_and_part(name.removeprefix(prefix)) for name in bare]
    spines = [i for i, (side, part) in enumerate(parts) if not side and _SPINE.fullmatch(part)]
    given: dict[str, int] = {}
    if len(spines) == 1:
        low = parts[spines[0]][1].startswith(("spine", "lowerback", "abdomen", "waist"))
        given["spine" if low else "chest"] = spines[0]
    else:
        given |= zip(("spine", "chest", "upper_chest"), spines, strict=False)
    exact = {(side, _SIDED[part]) for side, part in parts if side and part in _SIDED and part not in _SECOND}
    for i, (side, part) in enumerate(parts):
        if not side:
            name = _MIDDLE.get(part)
        elif part in _SECOND and (side, _SIDED[part]) in exact:
            name = f"{side}_{_SECOND[part]}"
        else:
            name = f"{side}_{_SIDED[part]}" if part in _SIDED else None
        if name is not None:
            given.setdefault(name, i)
    by_index = {i: name for name, i in given.items()}
    return [by_index.get(i) for i in range(len(names))]


def _side_and_part(name: str) -> tuple[str, str]:
    """``LeftForeArm``, ``lForeArm``, ``ForeArm_L`` -> ("left", "forearm"); ``Spine_1`` -> ("", "spine1")."""
    part = re.sub(r"[^a-z0-9]", "", name.lower())
    for side in ("left", "right"):
        for mark in (side, side[0]):
            for rest in (part.removeprefix(mark), part.removesuffix(mark)):
                if rest != part and rest in _SIDED:
                    return side, rest
    return "", part


def _hierarchy(path: Path, lines: Sequence[str]) -> tuple[list[_Joint], int]:
    """The joints, parents before children, and the index of the line after MOTION."""
    joints: list[_Joint] = []
    stack: list[int] = []  # the joints whose braces are open
    named: _Joint | None = None  # the joint whose brace is yet to open
    for at, line in enumerate(lines):
        words = line.replace("{", " { ").split()
        if not words or (words[0].upper() == "HIERARCHY" and not joints):
            continue
        key, rest = words[0].upper(), words[1:]
        expected = "a joint, its OFFSET, its CHANNELS, or a brace"
        try:
            if key in ("ROOT", "JOINT", "END") and (key != "ROOT" if stack else key == "ROOT" and not joints):
                name = " ".join(word for word in rest if word != "{")
                named = _Joint(name, stack[-1] if stack else -1, end=key == "END")
                if rest[-1:] == ["{"]:
                    key = "{"
                else:
                    continue
            if key == "{" and named is not None:
                stack.append(len(joints))
                joints.append(named)
                named = None
                continue
            if key == "}" and stack:
                stack.pop()
                continue
            if key == "OFFSET" and stack:
                expected = "three numbers"
                x, y, z = map(float, rest)
                if math.isfinite(x + y + z):
                    joints[stack[-1]] = replace(joints[stack[-1]], offset=(x, y, z))
                    continue
            if key == "CHANNELS" and stack:
                expected = "a count and as many of Xposition, Zrotation and the like"
                channels = tuple(word.lower() for word in rest[1:])
                if len(channels) == int(rest[0]) and all(map(_CHANNEL.fullmatch, channels)):
                    joints[stack[-1]] = replace(joints[stack[-1]], channels=channels)
                    continue
            if key == "MOTION" and joints and not stack:
                return joints, at + 1
        except (ValueError, IndexError):
            pass  # the line is at fault either way
        raise FormatError(f"{path}, line {at + 1}: '{line.strip()[:60]}'; expected {expected}")
    raise FormatError(f"{path}: ends within the hierarchy; expected MOTION after it")


def _motion(path: Path, lines: Sequence[str], at: int, *, channels: int) -> tuple[np.ndarray, float]:
    """(frames, channels) float64 and the rate."""
    head = _HEAD.match("\n".join(lines[at : at + 8]))
    try:
        count, step = (int(head[1]), float(head[2])) if head else (0, 0.0)
    except ValueError:
        head = None
    if head is None:
        raise FormatError(f"{path}, line {at + 1}: expected 'Frames: N' and 'Frame Time: seconds' after MOTION")
    at += head[0].count("\n")
    rows = [(i + 1, line) for i, line in enumerate(lines[at:], start=at) if line.strip()]
    if not (0 < step < np.inf):
        raise FormatError(f"{path}: Frame Time is {step:g}; expected seconds per frame")
    if count < 1 or count != len(rows):
        raise FormatError(f"{path}: Frames is {count}, but {len(rows)} lines of motion follow")
    motion = np.empty((count, channels))
    for frame, (number, line) in enumerate(rows):
        words = line.split()
        if len(words) != channels:
            raise FormatError(f"{path}, line {number}: {len(words)} numbers; expected {channels}, one per channel")
        try:
            motion[frame] = words
        except ValueError as error:
            raise FormatError(f"{path}, line {number}: {error}") from None
    if not np.isfinite(motion).all():
        raise FormatError(f"{path}: the motion holds numbers that are not finite")
    return motion, 1 / step


def _forward(joints: Sequence[_Joint], motion: np.ndarray, *, positions: bool = True) -> np.ndarray:
    """(frames, joints, 3): where the joints are, in the file's unit."""
    frames = len(motion)
    places = np.empty((frames, len(joints), 3))
    turns: list[np.ndarray] = []
    column = 0
    for i, joint in enumerate(joints):
        shift = np.tile(joint.offset, (frames, 1))
        turn = np.broadcast_to(np.eye(3), (frames, 3, 3))
        for channel in joint.channels:
            axis, values = "xyz".index(channel[0]), motion[:, column]
            if channel.endswith("rotation"):
                turn = turn @ _rotation(axis, np.radians(values))
            elif positions:
                shift[:, axis] = values
            column += 1
        if joint.parent < 0:
            places[:, i] = shift
        else:
            places[:, i] = places[:, joint.parent] + np.einsum("fij,fj->fi", turns[joint.parent], shift)
            turn = turns[joint.parent] @ turn
        turns.append(turn)
    return places


def _rotation(axis: int, angles: np.ndarray) -> np.ndarray:
    """(n, 3, 3): right-handed turns about one axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angles), 3, 3))
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = np.cos(angles)
    turn[:, b, a] = np.sin(angles)
    turn[:, a, b] = -turn[:, b, a]
    return turn


def _layout(path: Path, joints: Sequence[_Joint], kept: dict[int, str]) -> Layout:
    bones = []
    for i, name in kept.items():
        parent = joints[i].parent
        while parent >= 0 and parent not in kept:
            parent = joints[parent].parent
        if parent >= 0:
            bones.append((name, kept[parent]))
    try:
        own = Layout("bvh", tuple(kept.values()), tuple(bones))
    except LayoutError as error:
        raise FormatError(f"{path}: {error}") from error
    return layout_of(own.joints) or own
