"""Procedurally animated everyday motions: the sample data that comes with the package.

Written by us, computed on demand, never trained on. A puppet with human proportions is moved the way a person thinks of
moving: where hips, hands and feet go, how pelvis, spine and head turn. Elbows and knees follow by two-bone inverse
kinematics, so bones stay rigid; sway, breath, shrugging shoulders and an uneven clock keep it from looking robotic.

Conventions: layout unik17, 30 fps, metres, y up, floor at y = 0. The person starts near the origin and faces +z, within
a few degrees, with the left side towards +x (right-handed axes). Left-handed styles are the mirror image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from tmor.errors import TmorError
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track

FPS = 30.0
_SIDES = {"left": 1.0, "right": -1.0}  # the sign of x
_STANDING = 0.994  # share of the leg's length in use at rest: nobody locks the knees

# Axes of places and of angles, as _Puppet defines them.
OUT, UP, AHEAD = np.eye(3)
BEND, TURN, TILT = np.eye(3)

HANG, LAP = np.array((0.12, -0.97, 0.08)), np.array((-0.03, -0.70, 0.44))  # hands of somebody standing, sitting
MIDDLE = -0.32  # "out" of a wrist in front of the breastbone
CHAIR = np.array((0.0, -0.47, -0.47))  # mid hip of somebody sitting


def _body(height: float, legs: float = 1.0, breadth: float = 1.0) -> dict[str, float]:
    """Segment lengths in metres; their shares of the height are about those of Winter's Biomechanics."""
    shares = {"height": 1.0, "thigh": 0.245 * legs, "shank": 0.242 * legs, "leg": 0.487 * legs, "ankle": 0.042}
    shares |= {"upper_arm": 0.182, "forearm": 0.148, "arm": 0.33, "neck": 0.09, "nose": 0.066}
    shares |= {"loin": 0.155, "thorax": 0.145, "hip": 0.052 * breadth, "shoulder": 0.105 * breadth}  # half widths
    return {segment: share * height for segment, share in shares.items()}


@dataclass(frozen=True)
class _Style:
    """Speed, amplitude, how many repetitions more or fewer than usual, and which hand leads."""

    tempo: float = 1.0
    size: float = 1.0
    more: int = 0
    left_handed: bool = False


_BODIES = (_body(1.72), _body(1.60, 0.985, 0.95), _body(1.84, 1.02, 1.04), _body(1.66, 0.97, 1.06))
_STYLES = (_Style(), _Style(0.86, 1.1, -1), _Style(1.15, 0.92, 1, left_handed=True), _Style(0.95, 0.96))

_Keys = Mapping[float, Any]  # seconds: a number or a triple


class _Puppet:
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

    def __init__(self, body: dict[str, float], style: _Style, variant: int, rng: np.random.Generator) -> None:
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
        return self.arc({s: np.asarray(p) - _STANDING * UP for s, p in keys.items()}, loose=0) + _STANDING * UP

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


# ---- The motions: each animates one puppet whose leading side is the right; seconds at usual tempo.


def _wave(p: _Puppet) -> None:
    n, beat = p.times(4), p.pick(0.52, 0.6, 0.45, 0.5)
    end = p.clock(1.2 + n * beat)
    up = p.pick((0.34, 0.37, 0.37), (0.22, 0.77, 0.18), (0.34, 0.32, 0.46))
    shown = p.keys({0.1: 0, 0.6: 1, end - 0.6: 1, end: 0})
    swing = shown**3 * p.sine(beat, p.pick(0.0, 0.3)) * p.size
    p.right_hand = p.arc({0.1: HANG, 0.6: up, end - 0.6: up, end: HANG}) + swing * (0.31, -0.05, 0.04)
    p.right_elbow = (0.5, -1.0, -0.2)
    p.spine = shown * (-2, 2, -4) + swing * (0, 1.5, 1.5)
    p.head = shown * (-4, -3, 4)


def _clap(p: _Puppet) -> None:
    n, beat = p.times(p.pick(5, 4, 6)), p.pick(0.36, 0.5, 0.32)
    end = p.clock(0.95 + n * beat)
    shut = (MIDDLE + 0.04, p.pick(-0.22, -0.05, -0.34), 0.52)
    apart = p.pulses(0.5, beat, n) * p.size * (p.pick(0.36, 0.6, 0.3), 0.02, -0.06)
    right, left = p.arcs({0: HANG, 0.5: shut, end - 0.5: shut, end: HANG}, loose=0.006)
    p.right_hand, p.left_hand = right + apart, left + apart
    p.spine = p.keys({0: 0, 0.5: 4, end - 0.4: 4, end: 0}) * BEND


def _raise_arms(p: _Puppet) -> None:
    p.clock(3.2)
    up, way = (0.08, 0.965, 0.06), p.pick((0.06, 0.0, 0.97), (0.965, 0.0, 0.12))  # by the front or the side
    p.right_hand, p.left_hand = p.arcs({0.3: HANG, 0.8: way, 1.3: up, 1.9: up, 2.4: way, 2.95: HANG})
    p.spine = p.keys({0.3: 0, 0.6: 3, 1.4: -7, 2.0: -7, 2.8: 0}) * BEND
    p.head = p.keys({0.3: 0, 1.3: -14, 2.0: -14, 2.7: 3}) * BEND


def _circle_arms(p: _Puppet) -> None:
    n, beat = p.times(3), p.pick(1.0, 1.15, 0.9)
    end = p.clock(n * beat + 0.4)
    a = 2 * np.pi * n * p.keys({0.1: 0, end - 0.1: 1})
    p.right_hand = p.left_hand = 0.97 * ((0.22 + 0.18 * np.sin(a / 2) ** 2) * OUT - np.cos(a) * UP + np.sin(a) * AHEAD)
    p.right_elbow = p.left_elbow = (1.0, -0.3, 0.0)
    p.spine = (-5 * np.sin(a / 2) ** 2 - 2 * np.sin(a)) * BEND
    p.hip = 0.004 * (1 - np.cos(a)) * UP - 0.02 * np.sin(a) * AHEAD


def _sit_down(p: _Puppet) -> None:
    p.clock(2.6)
    p.hip = p.keys({0.2: (0, 0, 0), 0.7: (0, -0.10, -0.14), 1.6: CHAIR})
    p.pelvis = p.keys({0.1: 0, 1.0: 28, 1.55: 18, 2.2: -6}) * BEND
    p.spine = p.keys({0.1: 0, 0.9: 20, 1.6: 14, 2.3: 4}) * BEND + p.pulses(0.1, 1.5) * p.pick(0, -16) * TURN
    p.head = p.keys({0: 0, 0.7: 12, 1.5: -12, 2.3: 2}) * BEND + p.pulses(0, 1.5) * p.pick(0, -38) * TURN
    reach = p.pick((0.10, -0.80, 0.35), (0.18, -0.88, -0.15), (0.0, -0.72, 0.55))
    p.right_hand, p.left_hand = p.arcs({0.2: HANG, 1.1: reach, 2.1: p.pick(LAP, LAP, (-0.2, -0.68, 0.40))})


def _stand_up(p: _Puppet) -> None:
    p.clock(2.4)
    p.hip = p.keys({0.65: CHAIR, 1.05: CHAIR * (1, 0.72, 0.62), 1.7: (0, 0, 0)})
    p.pelvis = p.keys({0.1: -6, 0.8: 24, 1.0: 24, 1.75: 0}) * BEND
    p.spine = p.keys({0: 6, 0.75: 24, 1.7: -2, 2.2: 0}) * BEND
    p.head = p.keys({0.1: 2, 0.75: -18, 1.7: 0}) * BEND
    push = p.pick((0.02, -0.66, 0.42), (0.0, -0.55, 0.62), (0.15, -0.86, 0.1))
    hands = {0.1: LAP, 0.8: push, 1.3: (0.1, -0.9, 0.25), 1.8: (0.14, -0.95, -0.08), 2.3: HANG}
    p.right_hand, p.left_hand = p.arcs(hands)


def _squat(p: _Puppet) -> None:
    n = p.times(2)
    end = p.clock(0.9 + 1.5 * n)
    down = p.pulses(0.45, 1.5, n) ** 0.85
    p.hip = down * p.size * (0, -0.54, -0.20)
    p.pelvis, p.spine, p.head = 32 * down * BEND, 12 * down * BEND, -24 * down * BEND
    ahead = p.pick((0.02, -0.06, 0.96), (0.1, 0.0, 0.94), (MIDDLE + 0.06, -0.22, 0.48))
    p.right_hand, p.left_hand = p.arcs({0: HANG, 0.8: ahead, end - 0.75: ahead, end: HANG})
    p.right_foot = p.left_foot = p.pick(0.10, 0.15, 0.08) * OUT


def _bow(p: _Puppet) -> None:
    hold = p.pick(0.4, 0.8, 0.2)
    end = p.clock(2.2 + hold)
    bent = p.keys({0.2: 0, 1.0: 1, 1.0 + hold: 1, end - 0.2: 0}) * p.size
    p.pelvis, p.spine, p.head = 38 * bent * BEND, p.pick(16, 26, 10) * bent * BEND, p.pick(8, 16) * bent * BEND
    p.hip = bent * (0, -0.03, -0.15)
    p.right_hand = p.left_hand = HANG + bent * p.pick((-0.04, 0, -0.08), (-0.12, 0.08, 0.12), (-0.05, 0, -0.2))


def _pick_up(p: _Puppet) -> None:
    p.clock(3.0)
    down = p.keys({0.15: 0, 1.2: 1, 1.5: 1, 2.5: 0})
    p.hip = down * (0.02, p.pick(-0.44, -0.32, -0.54), -0.18)
    p.pelvis, p.spine = down * (p.pick(50, 62, 44), -6, 0), down * (32, -6, 6)
    p.head = p.keys({0: 12, 1.0: -18, 1.6: -14, 2.5: 14}) * BEND
    floor, held = (-0.12, -0.93, 0.22), p.pick((-0.12, -0.52, 0.48), (0.0, -0.60, 0.42), (-0.18, -0.40, 0.48))
    knee = p.pick((0.06, -0.66, 0.24), (0.15, -0.9, 0.1))
    p.right_hand = p.arc({0.2: HANG, 1.2: floor, 1.5: floor, 2.5: held})
    p.left_hand = p.arc({0.3: HANG, 1.2: knee, 1.6: knee, 2.6: HANG})
    p.right_foot, p.left_foot = 0.05 * OUT - 0.14 * AHEAD, 0.05 * OUT + 0.10 * AHEAD


def _drink(p: _Puppet) -> None:
    sip = p.pick(0.9, 1.3, 0.7, 1.0)
    end = p.clock(2.6 + sip)
    low = p.pick((0.0, -0.52, 0.50), HANG, (0.0, -0.45, 0.42))
    mouth, tipped = (-0.16, 0.12, 0.36), (-0.14, 0.22, 0.35)
    hand = {0.2: low, 1.1: mouth, 1.5: tipped, 1.2 + sip: tipped, 1.6 + sip: mouth, end - 0.1: low}
    p.right_hand, p.right_elbow = p.arc(hand), (0.9, -1.1, -0.1)
    p.head = p.keys({0.6: 4, 1.1: 0, 1.5: -20 * p.size, 1.2 + sip: -24 * p.size, end - 0.6: 4}) * BEND
    p.spine = p.keys({0.5: 2, 1.5: -4, 1.2 + sip: -4, end - 0.5: 2}) * BEND


def _phone(p: _Puppet) -> None:
    end = p.clock(p.pick(3.4, 3.8))
    ear, pocket, belly = (-0.08, 0.14, 0.22), (0.06, -0.72, 0.22), (-0.25, -0.3, 0.42)
    p.right_hand = p.arc({0.1: HANG, 0.5: pocket, 1.2: ear, 2.2: ear, end: p.pick(ear, ear, pocket)}, loose=0.012)
    p.right_elbow = (0.7, -1.0, -0.1)
    p.left_hand = p.arc({0.5: HANG, 1.6: p.pick(HANG, belly), end: p.pick(HANG, belly)})
    p.head = p.keys({0.2: (10, -6, 0), 1.1: (0, 4, 9), 2.2: (4, 10, 8), end: (-2, -6, 8)})
    p.hip, p.pelvis = p.sine(2.6) * (0.03, -0.004, 0.01), p.sine(2.6, 0.05) * (0, 5, 2)


def _knock(p: _Puppet) -> None:
    n, beat = p.times(4), p.pick(0.30, 0.36, 0.26)
    end = p.clock(1.5 + n * beat)
    door = (-0.02, p.pick(0.22, 0.36, 0.08), 0.54)
    p.right_hand = p.arc({0.1: HANG, 0.65: door, end - 0.7: door, end: HANG})
    p.right_hand = p.right_hand + p.pulses(0.65, beat, n) * p.size * (-0.02, 0.03, 0.24)
    p.spine = p.keys({0.1: 0, 0.7: 1, end - 0.6: 1, end: 0}) * (4, 6, 0)
    p.left_foot = 0.12 * AHEAD


def _push(p: _Puppet) -> None:
    n = p.times(p.pick(1, 2, 1))
    end = p.clock(1.1 + 1.2 * n)
    push, ready = p.pulses(0.5, 1.2, n) ** 0.8, (-0.12, -0.16, 0.30)
    right, left = p.arcs({0.05: HANG, 0.5: ready, end - 0.55: ready, end: HANG})
    out = push * p.size**0.3 * (0.02, 0.16, 0.64)
    p.right_hand, p.left_hand = right + out, left + out
    stance = p.keys({0.1: 0, 0.6: 1})
    p.left_foot = stance * (0.02, 0, 0.26) + 0.05 * p.pulses(0.1, 0.5) * UP
    p.right_foot = 0.03 * OUT - 0.08 * AHEAD
    p.hip = stance * (0, -0.02, 0.06) + push * (0, -0.03, 0.10)
    p.pelvis, p.spine, p.head = 9 * push * BEND, 6 * push * BEND, -8 * push * BEND


def _box(p: _Puppet) -> None:
    n, beat = p.times(3), p.pick(0.84, 1.0, 0.72)
    end = p.clock(0.7 + n * beat)
    ready, chin = p.pick(True, False, False, False), np.array((-0.13, 0.02, 0.40))
    guard = p.keys({0: float(ready), 0.45: 1})
    jab, cross = p.pulses(0.45, beat, n, share=0.5), p.pulses(0.45 + 0.48 * beat, beat, n, share=0.52)
    lead, rear = p.arcs({0: chin if ready else HANG, 0.45: chin, end: chin})
    p.left_hand, p.right_hand = lead + jab * (0.02, 0.02, 0.54), rear + cross * (0.0, 0.02, 0.55)
    p.right_elbow = p.left_elbow = (0.45, -1.0, 0.0)
    p.left_foot, p.right_foot = guard * (0.04, 0, 0.24), guard * (0.08, 0, -0.22) + cross * (0, 0.06, 0.03)
    p.pelvis = guard * (4, -28, 0) + cross * (2, 26, 0) - jab * (0, 6, 0)
    p.spine = guard * (8, -6, 0) + p.size * (cross * (3, 22, 0) - jab * (0, 12, 0))
    p.head = guard * (4, 30, 0) - cross * (0, 40, 0) + jab * (0, 16, 0)
    p.hip = -0.06 * guard * UP + (cross + 0.5 * jab) * (0, -0.015, 0.06) + 0.008 * p.sine(beat / 2) * UP


def _throw(p: _Puppet) -> None:
    p.clock(2.3)
    back = {0.1: HANG, 0.45: (0.35, -0.75, -0.25), 0.8: (0.52, 0.38, -0.32), 0.95: (0.42, 0.62, -0.08)}
    through = {1.08: (0.12, 0.66, 0.62), 1.25: (-0.38, -0.30, 0.72), 1.5: (-0.5, -0.68, 0.30), 2.2: HANG}
    aim = {0.1: HANG, 0.75: (0.05, 0.05, 0.88), 1.0: (0.2, -0.35, 0.5), 1.35: (0.25, -0.62, 0.05), 2.1: HANG}
    p.right_hand, p.right_elbow, p.left_hand = p.arc(back | through), (1.0, -0.35, 0.1), p.arc(aim)
    turn = p.keys({0.1: 0, 0.75: -1, 1.1: 0.5, 1.4: 1, 2.2: 0.1}) * p.size * TURN
    p.pelvis = 30 * turn + p.keys({0: 0, 0.8: -4, 1.25: 16, 2.1: 0}) * BEND
    p.spine = 30 * turn + p.keys({0.3: (0, 0, 0), 0.8: (-12, 0, 8), 1.3: (24, 0, -6), 2.1: (0, 0, 0)})
    p.head = -52 * turn + p.keys({0.7: 0, 1.3: -24, 2.1: 0}) * BEND
    p.left_foot = p.step({0.35: (0, 0, 0), 0.65: (0, 0.13, 0.20), 0.95: (0.02, 0, 0.50)})
    p.right_foot = p.step({1.0: (0.02, 0, -0.05), 1.3: (0.02, 0.14, 0.10), 1.8: (0.02, 0, 0.22)})
    stride = {0.6: (-0.05, -0.03, -0.06), 1.0: (0, -0.07, 0.22), 1.35: (0.02, -0.08, 0.36), 2.1: (0, 0, 0.34)}
    p.hip = p.keys({0.2: (0, 0, 0)} | stride)


def _kick(p: _Puppet) -> None:
    p.clock(2.2)

    def swung(degrees: float, reach: float) -> np.ndarray:
        a = np.radians(degrees)
        return (_STANDING - reach * np.cos(a)) * UP + reach * np.sin(a) * AHEAD

    kick = {0.15: 0 * UP, 0.55: swung(-34, 0.84), 0.78: swung(24, 0.74), 0.98: swung(p.pick(78, 92, 62), 0.955)}
    p.right_foot = p.step(kick | {1.22: swung(48, 0.72), 1.6: swung(4, 0.95), 1.75: 0 * UP})
    p.hip = p.keys({0.1: 0, 0.5: 1, 1.4: 1, 1.9: 0}) * (0.08, -0.012, 0.01) + 0.05 * p.pulses(0.4, 1.2) * AHEAD
    p.pelvis = p.keys({0.1: (0, 0, 0), 0.55: (10, -14, 0), 1.0: (-15, 16, 0), 1.5: (0, 0, 0)})
    p.spine = p.keys({0.1: (0, 0, 0), 0.55: (6, 10, 0), 1.0: (6, -18, 0), 1.6: (0, 0, 0)})
    p.head = p.keys({0.1: 8, 1.0: 12, 1.7: 0}) * BEND
    left = {0.1: HANG, 0.55: (0.45, -0.75, -0.2), 1.0: (0.30, -0.42, 0.70), 1.4: (0.35, -0.75, 0.2), 2.0: HANG}
    right = {0.1: HANG, 0.55: (0.30, -0.70, 0.45), 1.0: (0.50, -0.70, -0.35), 1.4: (0.35, -0.82, 0.0), 2.0: HANG}
    p.left_hand, p.right_hand = p.arc(left), p.arc(right)


def _golf(p: _Puppet) -> None:
    p.clock(2.9)
    ball, top, finish = (0, -0.84, 0.40), (0.56, 0.42, 0.26), (-0.50, 0.42, 0.24)
    back = {0: ball, 0.5: ball, 1.05: (0.40, -0.15, 0.62), 1.4: top, 1.5: (0.52, 0.36, 0.30)}
    grip = p.arc(back | {1.78: (0.02, -0.82, 0.42), 1.98: (-0.38, -0.15, 0.62), 2.25: finish, 2.9: finish})
    p.right_hand = np.array((MIDDLE + 0.03, -0.05, 0.02)) + grip  # the grip is measured from the breastbone
    p.left_hand = np.array((MIDDLE + 0.03, 0.03, -0.02)) + grip * (-1, 1, 1)
    turn = p.keys({0.5: 0, 1.4: -1, 1.5: -1, 1.8: 0.25, 2.3: 1}) * p.size * TURN
    p.pelvis = 38 * turn + p.keys({1.75: 24, 2.35: 4}) * BEND
    p.spine = 42 * turn + p.keys({1.8: 14, 2.35: 0}) * BEND
    p.head = p.keys({1.85: -60, 2.3: -20}) * turn + p.keys({1.8: 12, 2.3: -4}) * BEND  # eyes on the ball
    p.hip = p.keys({0.5: 0, 1.4: -0.05, 1.8: 0.07, 2.3: 0.13}) * OUT + p.keys({1.5: 1, 2.3: 0.2}) * (0, -0.07, -0.10)
    p.right_foot, p.left_foot = p.step({1.7: (0.14, 0, 0), 2.25: (0.10, 0.13, 0.04)}), 0.14 * OUT


def _walk(p: _Puppet) -> None:
    period, stride = p.pick(1.10, 1.20, 1.02, 1.12), 1.55 * p.size
    p.clock(period * p.pick(2.6, 2.3, 3.0))
    # How far above the floor and ahead of its last place, by phase from one heel strike to the next.
    lift = PchipInterpolator([0, 0.1, 0.40, 0.60, 0.73, 0.90, 1], [0.012, 0, 0, 0.10, 0.165, 0.05, 0.012])
    ahead = PchipInterpolator([0, 0.42, 0.60, 0.80, 0.97, 1], [0, 0, 0.12, 0.68, 1, 1])

    def foot(lag: float) -> np.ndarray:
        cycle, phase = np.divmod(p.t[:, None] / period + lag, 1)
        return -0.03 * OUT + lift(phase) * UP + stride * (cycle - lag + ahead(phase) + 0.29) * AHEAD

    p.right_foot, p.left_foot = foot(0), foot(0.5)
    p.hip = p.t[:, None] / period * stride * AHEAD - 0.022 * p.sine(period, 0.05) * OUT
    reach = p.sine(period, -0.25)  # 1 as the right heel strikes
    p.pelvis = 6 * reach * TURN - 2.5 * p.sine(period) * TILT + 3 * BEND
    p.spine, p.head = -12 * reach * TURN, 6 * reach * TURN - 2 * BEND
    swing, arm = p.size * p.sine(period, -0.23), np.array((0.13, -0.93, 0.11))
    p.left_hand = arm + swing * (-0.02, 0, 0.36) + 0.03 * np.abs(swing) * UP
    p.right_hand = arm - swing * (-0.02, 0, 0.36) + 0.03 * np.abs(swing) * UP


def _run(p: _Puppet) -> None:
    period = p.pick(0.66, 0.74, 0.60, 0.70)
    p.clock(period * p.pick(4.2, 4.0, 5.0))
    lift = p.size * np.array(p.pick((0, 0.38, -0.14), (0, 0.42, 0.10), (0, 0.34, -0.24)))
    p.right_foot, p.left_foot = (p.sine(period, lag).clip(0) ** 1.2 * lift for lag in (0, 0.5))
    p.hip = 0.024 * p.sine(period / 2, 0.22) * UP + np.array((0, -0.032, 0.02)) + 0.025 * p.sine(period) * OUT
    p.pelvis, p.spine = 5 * p.sine(period) * TURN + 6 * BEND, -13 * p.sine(period) * TURN + 2 * BEND
    p.head = 8 * p.sine(period) * TURN - 6 * BEND
    swing, bent = p.sine(period, 0.03) * p.size * (-0.10, 0.20, 0.36), np.array((0.08, -0.50, 0.24))
    p.left_hand, p.right_hand = bent + swing, bent - swing
    p.right_elbow = p.left_elbow = (0.35, -0.1, -1.0)


def _jumping_jacks(p: _Puppet) -> None:
    n, beat = p.times(3), 0.96
    p.clock(n * beat)
    apart, flight = p.pulses(0, beat, n), p.sine(beat) ** 2
    p.hip = (0.11 * flight - 0.05) * UP
    p.right_foot = p.left_foot = 0.30 * p.size * apart * OUT + 0.13 * np.clip(flight - 0.45, 0, 1) * UP
    right, left = (np.radians(10 + wide * p.size**0.5 * apart) for wide in (152, 147))
    p.right_hand, p.left_hand = (0.97 * (np.sin(a) * OUT - np.cos(a) * UP) + 0.08 * AHEAD for a in (right, left))
    p.spine = 4 * (1 - flight) * BEND


def _jump(p: _Puppet) -> None:
    p.clock(2.4)
    height = 0.40 * p.size
    airtime = np.sqrt(8 * height * p.body["leg"] / 9.81) * p.style.tempo  # gravity has a tempo of its own
    off, land = 0.95, 0.95 + airtime
    u = np.clip((p.t[:, None] - off) / airtime, 0, 1)
    flight, tuck = 4 * height * u * (1 - u), p.pick(0.06, 0.14, 0.04) * p.pulses(off, airtime)
    tiptoe = p.keys({off - 0.12: 0, off: 0.10, land: 0.08, land + 0.08: 0})
    p.right_foot = p.left_foot = (flight + tiptoe + tuck) * UP + 0.02 * OUT
    crouch = p.keys({0.2: 0, 0.68: -0.38, 0.74: -0.38, off: 0.10, land: 0.06, land + 0.22: -0.26, land + 0.7: 0})
    folded = p.keys({0.2: 0, 0.7: 1, off: 0, land: 0.1, land + 0.2: 0.75, land + 0.65: 0})
    p.hip = (flight + crouch) * UP - 0.16 * folded * AHEAD
    p.pelvis, p.spine = 38 * folded * BEND, (22 * folded - 6 * p.pulses(off - 0.2, airtime + 0.4)) * BEND
    p.head = p.keys({0.2: 0, 0.7: -22, off: -10, land: 8, land + 0.6: 0}) * BEND
    back, up, out = (0.22, -0.68, -0.58), (0.12, p.pick(0.86, 0.5), p.pick(0.32, 0.75)), (0.45, -0.55, 0.45)
    swing = {0.15: HANG, 0.65: back, 0.82: (0.2, -0.85, 0.2), off + 0.18: up, land: out, land + 0.7: HANG}
    p.right_hand, p.left_hand = p.arcs(swing)


def _lunge(p: _Puppet) -> None:
    p.clock(2.9)
    there, over = 0.80 * AHEAD, 0.16 * UP + 0.40 * AHEAD
    p.right_foot = p.step({0.2: 0 * UP, 0.55: over, 0.95: there, 1.75: there, 2.1: over, 2.5: 0 * UP})
    p.left_foot = p.keys({0.5: 0, 1.1: 1, 1.7: 1, 2.2: 0}) * (0, 0.13, 0.04)
    low = (0, -0.42 * p.size, 0.44)
    p.hip = p.keys({0.2: 0 * UP, 0.9: (0, -0.12, 0.36), 1.3: low, 1.5: low, 1.9: (0, -0.10, 0.28), 2.5: 0 * UP})
    p.spine = p.keys({0.3: 0, 1.0: 8, 1.6: 8, 2.3: 0}) * BEND
    hands = p.pick((0.12, -0.48, 0.18), (-0.05, -0.72, 0.40), (0.2, -0.9, 0.15))  # on the waist, on the knee, hanging
    p.right_hand, p.left_hand = p.arcs({0.2: HANG, 0.9: hands, 1.8: hands, 2.6: HANG})
    p.right_elbow = p.left_elbow = p.pick((1.0, 0.0, -0.5), None, None)


def _push_up(p: _Puppet) -> None:
    n = p.times(2)
    p.clock(0.5 + 1.35 * n)
    leg, tiptoe, wrist = p.body["leg"], 0.055 * p.body["height"], 0.045
    line = _STANDING * leg + p.body["loin"] + p.body["thorax"]  # ankle to neck
    high, low = 0.95 * p.body["arm"] + wrist - tiptoe - p.body["ankle"], p.pick(0.08, 0.14, 0.06, 0.10)
    a = np.arcsin((high - (high - low) * p.pulses(0.3, 1.35, n) ** 0.8) / line)  # of the line above the floor
    p.hip = (_STANDING * (np.sin(a) - 1) + tiptoe / leg) * UP + _STANDING * np.cos(a) * AHEAD
    p.right_foot = p.left_foot = 0.02 * OUT + tiptoe / leg * UP
    p.pelvis, p.spine = (90 - np.degrees(a) - 2 * p.pulses(0.5, 1.35, n)) * BEND, 2 * BEND
    p.head = (10 * p.pulses(0.4, 1.35, n) - 26) * BEND
    p.hands_in = "room"
    hand = (p.body["shoulder"] + 0.07) * OUT + wrist * UP + (np.sqrt(line**2 - high**2) - 0.02) * AHEAD
    p.right_hand = p.left_hand = hand / p.body["arm"]
    p.right_elbow = p.left_elbow = (0.75, 0.5, -0.8)


def _sit_up(p: _Puppet) -> None:
    n = p.times(2)
    p.clock(0.5 + 1.7 * n)
    up, early = p.pulses(0.25, 1.7, n), p.pulses(0.12, 1.7, n)
    p.hip = ((0.10 - p.body["ankle"]) / p.body["leg"] - _STANDING) * UP
    p.pelvis, p.spine = (62 * p.size * up - 88) * BEND, (44 * early - 2) * BEND
    p.head = (14 * early + 4) * BEND
    p.right_foot = p.left_foot = 0.05 * OUT + 0.74 * AHEAD
    p.hands_in = "chest"
    # Behind the head, crossed on the chest, or reaching out.
    p.right_hand = p.left_hand = np.array(p.pick((-0.14, 0.30, 0.12), (-0.42, -0.14, 0.30), (0.02, -0.48, 0.82)))
    p.right_elbow = p.left_elbow = p.pick((1.0, 0.25, 0.4), (0.7, -1.0, 0.2), (0.8, -0.5, 0))


_MOTIONS: dict[str, Callable[[_Puppet], None]] = {
    "wave with one hand": _wave,
    "clap": _clap,
    "raise both arms": _raise_arms,
    "arm circles": _circle_arms,
    "sit down": _sit_down,
    "stand up": _stand_up,
    "squat": _squat,
    "bow": _bow,
    "pick something up from the floor": _pick_up,
    "drink": _drink,
    "phone call": _phone,
    "knock on a door": _knock,
    "push with both hands": _push,
    "boxing": _box,
    "throw": _throw,
    "kick": _kick,
    "golf swing": _golf,
    "walk": _walk,
    "run in place": _run,
    "jumping jacks": _jumping_jacks,
    "jump": _jump,
    "lunge": _lunge,
    "push-up": _push_up,
    "sit-up": _sit_up,
}
ACTIONS: tuple[str, ...] = tuple(_MOTIONS)
"""The names of the motions, as one would type them as labels."""


# ---- From a puppet to joints.


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


def _joints(p: _Puppet) -> dict[str, np.ndarray]:
    """(frames, 3) per joint of unik17, in metres."""
    n, body, leg = len(p.t), p.body, p.body["leg"]

    def live(values: np.ndarray, sway: float, tremble: float = 0.0) -> np.ndarray:
        smooth = gaussian_filter1d(np.broadcast_to(values, (n, 3)).astype(float), 1.2, axis=0, mode="nearest")
        return smooth + sway * _drift(p.rng, n, 0.5) + tremble * _drift(p.rng, n, 0.08)

    breath = 0.7 * np.sin(2 * np.pi * (np.arange(n)[:, None] / FPS / 3.6 + p.rng.uniform())) * BEND
    pelvis_angles, spine_angles, head_angles = live(p.pelvis, 0.6), live(p.spine, 0.8, 0.15), live(p.head, 1.5, 0.3)
    pelvis, loin, chest = (_rotation(pelvis_angles) * _rotation(k * (spine_angles + breath)) for k in (0, 0.5, 1))
    upright = _rotation((pelvis_angles + spine_angles) * TURN)
    axes = {"upright": upright, "chest": chest, "room": Rotation.identity()}[p.hands_in]

    root = leg * live(p.hip, 0.004) + (body["ankle"] + _STANDING * leg) * UP
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
    return joints


def sample_track(action: str, *, body: int = 0, style: int = 0, seed: int = 0) -> Track:
    """One person doing ``action``; equal arguments give the same bits.

    Args:
        action: one of :data:`ACTIONS`.
        body: 0 to 3, who: height and proportions.
        style: 0 to 3, how: tempo, amplitude, repetitions, variant of the movement; 2 is left-handed.
        seed: another performance of the same.

    Returns:
        Track of about 2 to 5 s, id = ``action``; axes as the module says.

    Raises:
        TmorError: there is no such action, body or style.
    """
    if action not in _MOTIONS:
        raise TmorError(f"no sample motion '{action}'; there are: {', '.join(ACTIONS)}")
    for name, value, options in (("body", body, _BODIES), ("style", style, _STYLES)):
        if not 0 <= value < len(options):
            raise TmorError(f"sample motions have no {name} {value}; expected 0 to {len(options) - 1}")
    rng = np.random.default_rng(zlib.crc32(f"{action}/{body}/{style}/{seed}".encode()))
    puppet = _Puppet(_BODIES[body], _STYLES[style], style, rng)
    _MOTIONS[action](puppet)
    joints = _joints(puppet)
    heading, spot = Rotation.from_euler("Y", rng.uniform(-6, 6), degrees=True), rng.uniform(-0.15, 0.15, 3) * (1, 0, 1)
    track = Track(np.stack([heading.apply(joints[j]) + spot for j in UNIK17.joints], axis=1), UNIK17, FPS, id=action)
    return track.mirrored() if puppet.style.left_handed else track


def sample_set() -> list[tuple[str, Track]]:
    """The embedded set: (action, track), three performances of each action by different people in different styles.

    The tracks have ids such as ``wave with one hand/1``.
    """
    return [
        (action, replace(sample_track(action, body=(i + k) % 4, style=(i + k) % 4), id=f"{action}/{k + 1}"))
        for i, action in enumerate(ACTIONS)
        for k in range(3)
    ]
