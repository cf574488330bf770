"""A puppet with human proportions that is moved the way a person thinks of moving: where hips, hands and feet go, how
pelvis, spine and head turn.

Elbows and knees follow by two-bone inverse kinematics, so bones stay rigid; sway, breath, shrugging shoulders and an
uneven clock keep it from looking robotic.

Conventions: layout unik17, 30 fps, metres, y up, floor at y = 0. The person starts near the origin and faces +z, with
the left side towards +x (right-handed axes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from tmor.skeleton.layouts import UNIK17

FPS = 30.0
_SIDES = {"left": 1.0, "right": -1.0}  # the sign of x
STANDING = 0.994  # share of the leg's length in use at rest: nobody locks the knees

# Axes of places and of angles, as Puppet defines them.
OUT, UP, AHEAD = np.eye(3)
BEND, TURN, TILT = np.eye(3)

HANG, LAP = np.array((0.12, -0.97, 0.08)), np.array((-0.03, -0.70, 0.44))  # hands of somebody standing, sitting
MIDDLE = -0.32  # "out" of a wrist in front of the breastbone
CHAIR = np.array((0.0, -0.47, -0.47))  # mid hip of somebody sitting


def body_of(height: float, legs: float = 1.0, breadth: float = 1.0) -> dict[str, float]:
    """Segment lengths in metres; their shares of the height are about those of Winter's Biomechanics."""
    shares = {"height": 1.0, "thigh": 0.245 * legs, "shank": 0.242 * legs, "leg": 0.487 * legs, "ankle": 0.042}
    shares |= {"upper_arm": 0.182, "forearm": 0.148, "arm": 0.33, "neck": 0.09, "nose": 0.066}
    shares |= {"loin": 0.155, "thorax": 0.145, "hip": 0.052 * breadth, "shoulder": 0.105 * breadth}  # half widths
    return {segment: share * height for segment, share in shares.items()}


@dataclass(frozen=True)
class Style:
    """Speed, amplitude, how many repetitions more or fewer than usual, and which hand leads."""

    tempo: float = 1.0
    size: float = 1.0
    more: int = 0
    left_handed: bool = False


_Keys = Mapping[float, Any]  # seconds: a number or a triple


class Puppet:
    """One performance: its clock, and over time the places and angles that make a pose.

    Places are (out, up, ahead), out = away from the middle of the body on either side.
        right_hand, left_hand: the wrist from the shoulder, in arm lengths, along axes that turn with the chest.
            ``hands_in`` = "upright": axes that do not lean with the chest, as arms hang; "chest": axes that do;
            "room": from the spot on the floor between the ankles at rest.
        right_elbow, left_elbow: where the elbow points, along the same axes; None = by the height of the hand.
        right_foot, left_foot: the ankle from where it is at rest, in leg lengths.
        hip: mid hip from where it is at rest, in leg lengths; "out" is to the left.
    Angles are (bend forward, turn left, tilt to the right) in degrees, each on top of the last: pelvis, spine, head.
    """

    def __init__(self, body: dict[str, float], style: Style, variant: int, rng: np.random.Generator) -> None:
        self.body, self.style, self.variant, self.rng = body, style, variant, rng
        self.size = style.size * (1 + 0.03 * rng.uniform(-1, 1))
        self.hip = self.pelvis = self.spine = self.head = self.right_foot = self.left_foot = np.zeros(3)
        self.right_hand = self.left_hand = HANG
        self.right_elbow: Any = None
        self.left_elbow: Any = None
        self.hands_in = "upright"

    def clock(self, seconds: float) -> float:
        """Set how long it takes at usual tempo and let ``t`` be the time of each frame, a little uneven."""
        n = round(seconds / self.style.tempo * FPS) + 1
        self.t = np.linspace(0, seconds, n) + 0.02 * np.hanning(n) * _drift(self.rng, n, 0.4)[:, 0]
        return seconds

    def pick(self, *options: Any) -> Any:
        """The option of this style."""
        return options[self.variant % len(options)]

    def times(self, n: int) -> int:
        """How often to repeat what is usually done ``n`` times."""
        return max(1, n + self.style.more)

    def keys(self, keys: _Keys) -> np.ndarray:
        """(frames, 1 | 3) smooth curve through the keys, at rest where it turns; constant before and after them."""
        times, values = np.array(list(keys)), np.array([np.atleast_1d(v) for v in keys.values()], dtype=float)
        return PchipInterpolator(times, values)(np.clip(self.t, times[0], times[-1]))

    def arc(self, keys: _Keys, *, loose: float = 0.02) -> np.ndarray:
        """Like :meth:`keys` for a hand, which swings around its shoulder; ``loose``: no key is hit quite exactly."""
        points = {s: np.asarray(p, dtype=float) + loose * self.rng.normal(size=3) for s, p in keys.items()}
        path, reach = self.keys(points), self.keys({s: np.linalg.norm(p) for s, p in points.items()})
        return path / np.linalg.norm(path, axis=1, keepdims=True) * reach

    def arcs(self, keys: _Keys, *, loose: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`arc` for both hands, which never do quite the same."""
        return self.arc(keys, loose=loose), self.arc(keys, loose=loose)

    def step(self, keys: _Keys) -> np.ndarray:
        """Like :meth:`keys` for a foot, which swings around its hip."""
        return self.arc({s: np.asarray(p) - STANDING * UP for s, p in keys.items()}, loose=0) + STANDING * UP

    def pulses(self, start: float, period: float, n: int = 1, *, share: float = 1.0) -> np.ndarray:
        """(frames, 1) ``n`` smooth rises from 0 to 1 and back, each within the first ``share`` of its period."""
        phase = np.clip((self.t[:, None] - start) / period, 0, n) % 1
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.minimum(phase / share, 1))

    def sine(self, period: float, lag: float = 0.0) -> np.ndarray:
        """(frames, 1) endless swing between -1 and 1, ``lag`` as a share of the period."""
        return np.sin(2 * np.pi * (self.t[:, None] / period - lag))


def _drift(rng: np.random.Generator, n: int, seconds: float) -> np.ndarray:
    """(n, 3) smooth noise of unit deviation that wanders over about that many seconds."""
    noise = gaussian_filter1d(rng.normal(size=(n + 300, 3)), seconds * FPS, axis=0)
    return (noise / noise.std(axis=0))[150 : 150 + n]


def _rotation(angles: np.ndarray) -> Rotation:
    """From (frames, 3) bend, turn, tilt in degrees."""
    return Rotation.from_euler("YXZ", angles[:, [1, 0, 2]], degrees=True)


def _limb(start: np.ndarray, end: np.ndarray, upper: float, lower: float, towards: np.ndarray) -> list[np.ndarray]:
    """Middle and end joint of a limb from ``start`` to ``end``, or as near as it gets, that bends ``towards``."""
    way = end - start
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    way = way / distance
    reach = np.clip(distance, abs(upper - lower) + 0.02, 0.9985 * (upper + lower))
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    side = towards - (towards * way).sum(axis=1, keepdims=True) * way
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    return [start + along * way + np.sqrt(upper**2 - along**2) * side, start + reach * way]


def joints_of(p: Puppet) -> np.ndarray:
    """(frames, 17, 3) the joints of unik17 in metres, when all that moves is set."""
    n, body, leg = len(p.t), p.body, p.body["leg"]

    def live(values: np.ndarray, sway: float, tremble: float = 0.0) -> np.ndarray:
        smooth = gaussian_filter1d(np.broadcast_to(values, (n, 3)).astype(float), 1.2, axis=0, mode="nearest")
        return smooth + sway * _drift(p.rng, n, 0.5) + tremble * _drift(p.rng, n, 0.08)

    breath = 0.7 * np.sin(2 * np.pi * (np.arange(n)[:, None] / FPS / 3.6 + p.rng.uniform())) * BEND
    pelvis_angles, spine_angles, head_angles = live(p.pelvis, 0.6), live(p.spine, 0.8, 0.15), live(p.head, 1.5, 0.3)
    pelvis, loin, chest = (_rotation(pelvis_angles) * _rotation(k * (spine_angles + breath)) for k in (0, 0.5, 1))
    upright = _rotation((pelvis_angles + spine_angles) * TURN)
    axes = {"upright": upright, "chest": chest, "room": Rotation.identity()}[p.hands_in]

    root = leg * live(p.hip, 0.004) + (body["ankle"] + STANDING * leg) * UP
    hips, ankles, slack = {}, {}, np.zeros(n)
    for side, sign in _SIDES.items():
        hips[side] = pelvis.apply((sign * body["hip"], 0, 0))
        rest = np.array((1.05 * sign * body["hip"], body["ankle"], 0))
        ankles[side] = rest + leg * live(getattr(p, f"{side}_foot"), 0) * (sign, 1, 1)
        # Feet stay where they are: the hips come down until both legs reach.
        x, y, z = (ankles[side] - root - hips[side]).T
        slack = np.minimum(slack, y + np.sqrt(np.maximum((0.996 * leg) ** 2 - x**2 - z**2, 0)))
    root[:, 1] += gaussian_filter1d(slack, 1.5, mode="nearest")

    joints = {"mid_hip": root, "chest": root + loin.apply(body["loin"] * UP)}
    neck = joints["chest"] + chest.apply(body["thorax"] * UP)
    head = neck + (chest * _rotation(head_angles / 2)).apply(body["neck"] * (0.97 * UP + 0.24 * AHEAD))
    nose = head + (chest * _rotation(head_angles)).apply(body["nose"] * (0.954 * AHEAD - 0.3 * UP))
    joints |= {"neck": neck, "head": head, "nose": nose}
    for side, sign in _SIDES.items():
        hip = root + hips[side]
        forward = pelvis.apply((0.1 * sign, 0.5, 1))  # and up: right for deep bends, lying and planks alike
        knee, ankle = _limb(hip, ankles[side], body["thigh"], body["shank"], forward)
        joints |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}

        planted, mirror = p.hands_in == "room", (sign, 1, 1)
        hand = live(getattr(p, f"{side}_hand"), *((0, 0) if planted else (0.008, 0.004)))
        reach = axes.apply(body["arm"] * hand * mirror)
        # The collar bone follows the arm, up to a shrug when the hand is overhead.
        collar = chest.apply((sign * body["shoulder"], -0.015 * body["height"], 0))
        aim = reach - neck - collar if planted else reach
        aim = aim / np.linalg.norm(aim, axis=1, keepdims=True) + chest.apply(UP)
        moved = collar + 0.16 * body["shoulder"] * aim
        shoulder = neck + moved * (np.linalg.norm(collar, axis=1) / np.linalg.norm(moved, axis=1))[:, None]
        towards = getattr(p, f"{side}_elbow")
        if towards is None:
            high = np.clip(0.5 + hand[:, 1:2] / np.linalg.norm(hand, axis=1, keepdims=True), 0, 1)
            towards = (1 - high) * (0.35, -0.35, -0.9) + high * (0.8, -0.5, -0.15)
        towards, wrist = axes.apply(np.multiply(towards, mirror)), reach if planted else shoulder + reach
        elbow, wrist = _limb(shoulder, wrist, body["upper_arm"], body["forearm"], towards)
        joints |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist}
    return np.stack([joints[joint] for joint in UNIK17.joints], axis=1)
