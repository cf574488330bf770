"""Named joint layouts, their bones and mirror pairs, and conversion between layouts by joint name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from tmor.errors import LayoutError

# Other spellings of the standard joint names, as data sets use them.
_ALIASES: dict[str, str] = {
    "hips": "mid_hip",
    "hip_center": "mid_hip",
    "pelvis": "mid_hip",
    "spine_base": "mid_hip",
    "shoulder_center": "neck",
    "spine_shoulder": "neck",
    "neck_base": "neck",
    "torso": "chest",
    "belly": "chest",
    "spine_mid": "spine",
    "spine_1": "spine",
    "spine_2": "chest",
    "spine_3": "upper_chest",
    "thorax": "neck",
    "face": "head",
    "left_collar": "left_clavicle",
    "right_collar": "right_clavicle",
    "left_toe": "left_big_toe",
    "right_toe": "right_big_toe",
}

_SIDES = ("left", "right")

# Nearest existing ancestor gives a bone: skeletons differ in which of these joints they have.
_PARENT: dict[str, str] = {
    "head_top": "head",
    "head": "nose_bridge",
    "nose_bridge": "neck",
    "nose": "head",
    "neck": "spine_shoulder",
    "spine_shoulder": "neck_base",
    "neck_base": "upper_chest",
    "upper_chest": "chest",
    "chest": "spine",
    "spine": "mid_hip",
}
for _side in _SIDES:
    _PARENT |= {
        f"{_side}_eye_inner": "nose",
        f"{_side}_eye": "nose",
        f"{_side}_eye_outer": f"{_side}_eye",
        f"{_side}_ear": f"{_side}_eye",
        f"mouth_{_side}": "nose",
        f"{_side}_clavicle": "neck",
        f"{_side}_shoulder": f"{_side}_clavicle",
        f"{_side}_elbow": f"{_side}_shoulder",
        f"{_side}_wrist": f"{_side}_elbow",
        f"{_side}_hand": f"{_side}_wrist",
        f"{_side}_hand_tip": f"{_side}_hand",
        f"{_side}_pinky": f"{_side}_wrist",
        f"{_side}_index": f"{_side}_wrist",
        f"{_side}_thumb": f"{_side}_hand",
        f"{_side}_hip": "mid_hip",
        f"{_side}_knee": f"{_side}_hip",
        f"{_side}_ankle": f"{_side}_knee",
        f"{_side}_foot": f"{_side}_ankle",
        f"{_side}_heel": f"{_side}_ankle",
        f"{_side}_big_toe": f"{_side}_foot",
        f"{_side}_small_toe": f"{_side}_foot",
    }

_SHOULDERS = ("left_shoulder", "right_shoulder")
_HIPS = ("left_hip", "right_hip")
_LIMBS = tuple(f"{side}_{part}" for side in _SIDES for part in ("elbow", "wrist", "knee", "ankle"))

# Where a joint is absent (or unseen in a frame), the mean of these stands in; the first that is seen counts.
_SUBSTITUTES: dict[str, tuple[tuple[str, ...], ...]] = {
    "head": (("left_ear", "right_ear"), ("left_eye", "right_eye"), ("nose",), ("head_top",)),
    "nose": (("head", "neck"), ("head", "head", *_SHOULDERS)),
    "neck": (_SHOULDERS,),
    "chest": (("spine",), _SHOULDERS + _HIPS),
    "spine": (("chest",), _SHOULDERS + _HIPS),
    "mid_hip": (_HIPS,),
}
for _side in _SIDES:
    _SUBSTITUTES |= {
        f"{_side}_wrist": ((f"{_side}_hand",),),
        f"{_side}_hand": ((f"{_side}_wrist",),),
        f"{_side}_ankle": ((f"{_side}_foot",), (f"{_side}_heel",)),
        f"{_side}_foot": ((f"{_side}_ankle",),),
    }


def _standard_names(joints: tuple[str, ...]) -> tuple[str, ...]:
    """``hip_center`` -> ``mid_hip``, ``LShoulder`` and ``l_shoulder`` -> ``left_shoulder``, and so on."""
    names: list[str] = []
    for joint in joints:
        name = joint.strip().replace(" ", "_").replace("-", "_")
        if len(name) > 2 and name[0] in "LR" and name[1].isupper():
            name = {"L": "left_", "R": "right_"}[name[0]] + name[1:]
        name = name.lower()
        if name[:2] in ("l_", "r_"):
            name = {"l": "left", "r": "right"}[name[0]] + name[1:]
        names.append(name)
    # An alias gives way to the joint that bears the name: Kinect v2 has both a neck and a spine_shoulder.
    aliases = [_ALIASES.get(name, name) for name in names]
    return tuple(name if alias in names else alias for name, alias in zip(names, aliases, strict=True))


@dataclass(frozen=True)
class Layout:
    """Which joints a skeleton has, in which order.

    Args:
        name: for people and error messages.
        joints: joint names in array order. Standard names (``left_shoulder``, ``mid_hip``, ...) and their common
            spellings convert to other layouts; any other name is kept but takes no part in conversion.
        bones: pairs of joint names that are drawn as lines; found from the joint names when not given.

    Raises:
        LayoutError: a name that is no text, no joints, a joint named twice, or a bone on an unknown joint.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...] = ()
    standard_joints: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The joints under their standard names."""
    mirror: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """``mirror[j]`` is the index of joint j's counterpart on the other side of the body (itself for the middle)."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise LayoutError(f"a layout is called {self.name!r:.60}; expected text")
        object.__setattr__(self, "joints", tuple(map(str, self.joints)))
        if not self.joints:
            raise LayoutError(f"layout '{self.name}' has no joints")
        names = _standard_names(self.joints)
        object.__setattr__(self, "standard_joints", names)
        for i, name in enumerate(names):
            if name in names[:i]:
                raise LayoutError(f"layout '{self.name}' names joint '{self.joints[i]}' twice (as '{name}')")
        bones = tuple((str(a), str(b)) for a, b in self.bones) or self._bones_by_name()
        for bone in bones:
            for joint in bone:
                if joint not in self.joints:
                    raise LayoutError(
                        f"layout '{self.name}' has a bone on unknown joint '{joint}'; "
                        f"its joints are {', '.join(self.joints)}"
                    )
        object.__setattr__(self, "bones", bones)
        swap = {"left": "right", "right": "left"}
        mirrored = ["_".join(swap.get(word, word) for word in name.split("_")) for name in names]
        object.__setattr__(self, "mirror", tuple(names.index(m) if m in names else i for i, m in enumerate(mirrored)))

    def _bones_by_name(self) -> tuple[tuple[str, str], ...]:
        where = dict(zip(self.standard_joints, self.joints, strict=True))
        bones = []
        for name in where:
            parent = _PARENT.get(name)
            while parent is not None and parent not in where:
                parent = _PARENT.get(parent)
            if parent is not None:
                bones.append((where[name], where[parent]))
        extra = []
        if "neck" not in where:
            extra += [_SHOULDERS, ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")]
            top = "head" if "head" in where else "nose"
            extra += [(top, "left_shoulder"), (top, "right_shoulder")]
        if "mid_hip" not in where:
            extra += [_HIPS]
            if "neck" in where:
                extra += [("left_hip", "neck"), ("right_hip", "neck")]
        bones += [(where[a], where[b]) for a, b in extra if a in where and b in where]
        return tuple(dict.fromkeys(bones))

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def bone_indices(self) -> np.ndarray:
        """(bones, 2) int: the bones as indices into ``joints``."""
        at = {joint: i for i, joint in enumerate(self.joints)}
        return np.array([(at[a], at[b]) for a, b in self.bones], dtype=np.int64).reshape(-1, 2)

    def lacking(self, target: Layout) -> tuple[str, ...]:
        """Joints of ``target`` that this layout neither has nor can derive from its own."""
        return tuple(
            joint for joint, candidates in zip(target.joints, _candidates(self, target), strict=True) if not candidates
        )


@cache
def _candidates(source: Layout, target: Layout) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Per joint of ``target``: groups of joint indices of ``source`` whose mean gives it, best first."""
    at = {name: i for i, name in enumerate(source.standard_joints)}
    found = []
    for name in target.standard_joints:
        groups = ((name,), *_SUBSTITUTES.get(name, ()))
        found.append(tuple(tuple(at[j] for j in group) for group in groups if all(j in at for j in group)))
    return tuple(found)


def convert(values: np.ndarray, source: Layout, target: Layout) -> np.ndarray:
    """Bring keypoints (or per-joint scores) from one layout to another by joint name.

    Args:
        values: (frames, len(source), channels) float; NaN = unseen.
        source, target: layouts with standard joint names.

    Returns:
        (frames, len(target), channels) float32. A joint that ``source`` lacks is derived where it can be (neck,
        chest and mid hip from shoulders and hips, nose from head and neck, wrist from hand, ...), else it is NaN
        throughout.

    Raises:
        LayoutError: ``source`` lacks shoulders, hips, or has no limb joint at all.
    """
    if source == target:
        return np.asarray(values, dtype=np.float32)
    names = set(source.standard_joints)
    missing = [j for j in _SHOULDERS + _HIPS if j not in names]
    if missing:
        raise LayoutError(
            f"layout '{source.name}' lacks {', '.join(missing)}; a conversion to '{target.name}' needs both shoulders "
            f"and both hips (its joints are {', '.join(source.joints)})"
        )
    if not names & set(_LIMBS) and not any(f"{s}_{p}" in names for s in _SIDES for p in ("hand", "foot")):
        raise LayoutError(
            f"layout '{source.name}' has no limb; a conversion to '{target.name}' needs at least one of "
            f"{', '.join(_LIMBS)}"
        )
    out = np.full((values.shape[0], len(target), values.shape[2]), np.nan, dtype=np.float32)
    for j, groups in enumerate(_candidates(source, target)):
        for group in groups:
            unseen = np.isnan(out[:, j]).any(-1)
            if not unseen.any():
                break
            out[unseen, j] = values[unseen][:, group].mean(axis=1)
    return out


def _sided(*parts: str) -> tuple[str, ...]:
    """left_a, right_a, left_b, right_b, ..."""
    return tuple(f"{side}_{part}" for part in parts for side in _SIDES)


def _limb(side: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts)


_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_NITE_ARM, _NITE_LEG = ("shoulder", "elbow", "hand"), ("hip", "knee", "foot")
_CMU19 = (
    *("hips", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_toe", "right_toe"),
    *("spine", "chest", "neck_base", "head"),
    *_sided(*_ARM),
)
_COCO17 = ("nose", *_sided("eye", "ear", *_ARM, *_LEG))

UNIK17 = Layout("unik17", ("head", "nose", "neck", "chest", "mid_hip", *_sided(*_ARM, *_LEG)))
"""The canonical layout, which the models see."""

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        UNIK17,
        Layout("coco17", _COCO17),
        Layout(
            "ntu25",
            (
                *("spine_base", "spine_mid", "neck", "head"),
                *_limb("left", *_ARM, "hand"),
                *_limb("right", *_ARM, "hand"),
                *_limb("left", *_LEG, "foot"),
                *_limb("right", *_LEG, "foot"),
                *("spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
            ),
        ),
        Layout(
            "kinect20",
            (
                *("hip_center", "spine", "shoulder_center", "head"),
                *_limb("left", *_ARM, "hand"),
                *_limb("right", *_ARM, "hand"),
                *_limb("left", *_LEG, "foot"),
                *_limb("right", *_LEG, "foot"),
            ),
        ),
        Layout("lcrnet13", (*(f"{s}_{p}" for p in (*_LEG[::-1], *_ARM[::-1]) for s in _SIDES[::-1]), "head")),
        Layout("penn13", ("head", *_sided(*_ARM, *_LEG))),
        Layout(
            "jhmdb15",
            (
                *("neck", "belly", "face"),
                *(f"{s}_{p}" for p in ("shoulder", "hip", "elbow", "knee", "wrist", "ankle") for s in _SIDES[::-1]),
            ),
        ),
        Layout(
            "smpl22",
            (
                *("pelvis", "left_hip", "right_hip", "spine_1", "left_knee", "right_knee", "spine_2"),
                *("left_ankle", "right_ankle", "spine_3", "left_foot", "right_foot", "neck"),
                *("left_collar", "right_collar", "head", *_sided(*_ARM)),
            ),
        ),
        Layout(
            "h36m17",
            (
                "pelvis",
                *_limb("right", *_LEG),
                *_limb("left", *_LEG),
                *("spine", "thorax", "nose", "head"),
                *_limb("left", *_ARM),
                *_limb("right", *_ARM),
            ),
        ),
        Layout(
            "openpose18",
            (
                *("nose", "neck", *_limb("right", *_ARM), *_limb("left", *_ARM), *_limb("right", *_LEG)),
                *_limb("left", *_LEG),
                *("right_eye", "left_eye", "right_ear", "left_ear"),
            ),
        ),
        Layout(
            "openpose25",
            (
                *("nose", "neck", *_limb("right", *_ARM), *_limb("left", *_ARM), "mid_hip", *_limb("right", *_LEG)),
                *_limb("left", *_LEG),
                *("right_eye", "left_eye", "right_ear", "left_ear"),
                *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
            ),
        ),
        Layout(
            "halpe26",
            (*_COCO17, "head_top", "neck", "mid_hip", *_sided("big_toe", "small_toe", "heel")),
        ),
        Layout(
            "blazepose33",
            (
                "nose",
                *("left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
                *("left_ear", "right_ear", "mouth_left", "mouth_right"),
                *_sided(*_ARM, "pinky", "index", "thumb", *_LEG, "heel", "foot"),
            ),
        ),
        Layout(
            "bandai21",
            (
                *("hips", "spine", "chest", "neck", "head"),
                *_limb("left", "clavicle", *_ARM),
                *_limb("right", "clavicle", *_ARM),
                *_limb("left", *_LEG, "toe"),
                *_limb("right", *_LEG, "toe"),
            ),
        ),
        Layout("cmu19", _CMU19),
        Layout(
            "h36m19",
            (
                "hips",
                *_limb("right", *_LEG, "toe"),
                *_limb("left", *_LEG, "toe"),
                *("spine", "neck_base", "neck", "head"),
                *_limb("left", *_ARM),
                *_limb("right", *_ARM),
            ),
        ),
        Layout(
            "nite15",
            (
                *("head", "neck", *_limb("right", *_NITE_ARM), *_limb("left", *_NITE_ARM), "torso"),
                *_limb("right", *_NITE_LEG),
                *_limb("left", *_NITE_LEG),
            ),
        ),
        Layout(
            "zed20",
            (
                *("pelvis", "spine_1", "spine_2", "spine_3", "neck", "nose"),
                *_sided(*_ARM, *_LEG, "big_toe"),
            ),
        ),
    )
}


def layout_of(joints: tuple[str, ...]) -> Layout | None:
    """The known layout with exactly these joints in this order; None = there is none."""
    return next((layout for layout in LAYOUTS.values() if layout.joints == joints), None)


def find_layout(layout: str | Layout) -> Layout:
    """The layout of that name, or the layout itself.

    Raises:
        LayoutError: no layout has that name.
    """
    if isinstance(layout, Layout):
        return layout
    if layout not in LAYOUTS:
        raise LayoutError(f"unknown layout '{layout}'; known: {', '.join(LAYOUTS)}; or pass a Layout of your own")
    return LAYOUTS[layout]
