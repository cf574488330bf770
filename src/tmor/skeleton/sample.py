"""Procedurally animated everyday motions: the sample data that comes with the package.

Written by us, computed on demand, never trained on; a puppet (:mod:`tmor.skeleton.puppet`) performs them. The person
faces +z within a few degrees. Left-handed styles are the mirror image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from tmor.errors import TmorError
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.puppet import (
    AHEAD,
    BEND,
    CHAIR,
    FPS,
    HANG,
    LAP,
    MIDDLE,
    OUT,
    STANDING,
    TILT,
    TURN,
    UP,
    Puppet,
    Style,
    body_of,
    joints_of,
)
from tmor.skeleton.tracks import Track

_BODIES = (body_of(1.72), body_of(1.60, 0.985, 0.95), body_of(1.84, 1.02, 1.04), body_of(1.66, 0.97, 1.06))
_STYLES = (Style(), Style(0.86, 1.1, -1), Style(1.15, 0.92, 1, left_handed=True), Style(0.95, 0.96))


# ---- The motions: each animates one puppet whose leading side is the right; seconds at usual tempo.


def _wave(p: Puppet) -> None:
    n, beat = p.times(4), p.pick(0.52, 0.6, 0.45, 0.5)
    end = p.clock(1.2 + n * beat)
    up = p.pick((0.34, 0.37, 0.37), (0.22, 0.77, 0.18), (0.34, 0.32, 0.46))
    shown = p.keys({0.1: 0, 0.6: 1, end - 0.6: 1, end: 0})
    swing = shown**3 * p.sine(beat, p.pick(0.0, 0.3)) * p.size
    p.right_hand = p.arc({0.1: HANG, 0.6: up, end - 0.6: up, end: HANG}) + swing * (0.31, -0.05, 0.04)
    p.right_elbow = (0.5, -1.0, -0.2)
    p.spine = shown * (-2, 2, -4) + swing * (0, 1.5, 1.5)
    p.head = shown * (-4, -3, 4)


def _clap(p: Puppet) -> None:
    n, beat = p.times(p.pick(5, 4, 6)), p.pick(0.36, 0.5, 0.32)
    end = p.clock(0.95 + n * beat)
    shut = (MIDDLE + 0.04, p.pick(-0.22, -0.05, -0.34), 0.52)
    apart = p.pulses(0.5, beat, n) * p.size * (p.pick(0.36, 0.6, 0.3), 0.02, -0.06)
    right, left = p.arcs({0: HANG, 0.5: shut, end - 0.5: shut, end: HANG}, loose=0.006)
    p.right_hand, p.left_hand = right + apart, left + apart
    p.spine = p.keys({0: 0, 0.5: 4, end - 0.4: 4, end: 0}) * BEND


def _raise_arms(p: Puppet) -> None:
    p.clock(3.2)
    up, way = (0.08, 0.965, 0.06), p.pick((0.06, 0.0, 0.97), (0.965, 0.0, 0.12))  # by the front or the side
    p.right_hand, p.left_hand = p.arcs({0.3: HANG, 0.8: way, 1.3: up, 1.9: up, 2.4: way, 2.95: HANG})
    p.spine = p.keys({0.3: 0, 0.6: 3, 1.4: -7, 2.0: -7, 2.8: 0}) * BEND
    p.head = p.keys({0.3: 0, 1.3: -14, 2.0: -14, 2.7: 3}) * BEND


def _circle_arms(p: Puppet) -> None:
    n, beat = p.times(3), p.pick(1.0, 1.15, 0.9)
    end = p.clock(n * beat + 0.4)
    a = 2 * np.pi * n * p.keys({0.1: 0, end - 0.1: 1})
    p.right_hand = p.left_hand = 0.97 * ((0.22 + 0.18 * np.sin(a / 2) ** 2) * OUT - np.cos(a) * UP + np.sin(a) * AHEAD)
    p.right_elbow = p.left_elbow = (1.0, -0.3, 0.0)
    p.spine = (-5 * np.sin(a / 2) ** 2 - 2 * np.sin(a)) * BEND
    p.hip = 0.004 * (1 - np.cos(a)) * UP - 0.02 * np.sin(a) * AHEAD


def _sit_down(p: Puppet) -> None:
    p.clock(2.6)
    p.hip = p.keys({0.2: (0, 0, 0), 0.7: (0, -0.10, -0.14), 1.6: CHAIR})
    p.pelvis = p.keys({0.1: 0, 1.0: 28, 1.55: 18, 2.2: -6}) * BEND
    p.spine = p.keys({0.1: 0, 0.9: 20, 1.6: 14, 2.3: 4}) * BEND + p.pulses(0.1, 1.5) * p.pick(0, -16) * TURN
    p.head = p.keys({0: 0, 0.7: 12, 1.5: -12, 2.3: 2}) * BEND + p.pulses(0, 1.5) * p.pick(0, -38) * TURN
    reach = p.pick((0.10, -0.80, 0.35), (0.18, -0.88, -0.15), (0.0, -0.72, 0.55))
    p.right_hand, p.left_hand = p.arcs({0.2: HANG, 1.1: reach, 2.1: p.pick(LAP, LAP, (-0.2, -0.68, 0.40))})


def _stand_up(p: Puppet) -> None:
    p.clock(2.4)
    p.hip = p.keys({0.65: CHAIR, 1.05: CHAIR * (1, 0.72, 0.62), 1.7: (0, 0, 0)})
    p.pelvis = p.keys({0.1: -6, 0.8: 24, 1.0: 24, 1.75: 0}) * BEND
    p.spine = p.keys({0: 6, 0.75: 24, 1.7: -2, 2.2: 0}) * BEND
    p.head = p.keys({0.1: 2, 0.75: -18, 1.7: 0}) * BEND
    push = p.pick((0.02, -0.66, 0.42), (0.0, -0.55, 0.62), (0.15, -0.86, 0.1))
    hands = {0.1: LAP, 0.8: push, 1.3: (0.1, -0.9, 0.25), 1.8: (0.14, -0.95, -0.08), 2.3: HANG}
    p.right_hand, p.left_hand = p.arcs(hands)


def _squat(p: Puppet) -> None:
    n = p.times(2)
    end = p.clock(0.9 + 1.5 * n)
    down = p.pulses(0.45, 1.5, n) ** 0.85
    p.hip = down * p.size * (0, -0.54, -0.20)
    p.pelvis, p.spine, p.head = 32 * down * BEND, 12 * down * BEND, -24 * down * BEND
    ahead = p.pick((0.02, -0.06, 0.96), (0.1, 0.0, 0.94), (MIDDLE + 0.06, -0.22, 0.48))
    p.right_hand, p.left_hand = p.arcs({0: HANG, 0.8: ahead, end - 0.75: ahead, end: HANG})
    p.right_foot = p.left_foot = p.pick(0.10, 0.15, 0.08) * OUT


def _bow(p: Puppet) -> None:
    hold = p.pick(0.4, 0.8, 0.2)
    end = p.clock(2.2 + hold)
    bent = p.keys({0.2: 0, 1.0: 1, 1.0 + hold: 1, end - 0.2: 0}) * p.size
    p.pelvis, p.spine, p.head = 38 * bent * BEND, p.pick(16, 26, 10) * bent * BEND, p.pick(8, 16) * bent * BEND
    p.hip = bent * (0, -0.03, -0.15)
    p.right_hand = p.left_hand = HANG + bent * p.pick((-0.04, 0, -0.08), (-0.12, 0.08, 0.12), (-0.05, 0, -0.2))


def _pick_up(p: Puppet) -> None:
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


def _drink(p: Puppet) -> None:
    sip = p.pick(0.9, 1.3, 0.7, 1.0)
    end = p.clock(2.6 + sip)
    low = p.pick((0.0, -0.52, 0.50), HANG, (0.0, -0.45, 0.42))
    mouth, tipped = (-0.16, 0.12, 0.36), (-0.14, 0.22, 0.35)
    hand = {0.2: low, 1.1: mouth, 1.5: tipped, 1.2 + sip: tipped, 1.6 + sip: mouth, end - 0.1: low}
    p.right_hand, p.right_elbow = p.arc(hand), (0.9, -1.1, -0.1)
    p.head = p.keys({0.6: 4, 1.1: 0, 1.5: -20 * p.size, 1.2 + sip: -24 * p.size, end - 0.6: 4}) * BEND
    p.spine = p.keys({0.5: 2, 1.5: -4, 1.2 + sip: -4, end - 0.5: 2}) * BEND


def _phone(p: Puppet) -> None:
    end = p.clock(p.pick(3.4, 3.8))
    ear, pocket, belly = (-0.08, 0.14, 0.22), (0.06, -0.72, 0.22), (-0.25, -0.3, 0.42)
    p.right_hand = p.arc({0.1: HANG, 0.5: pocket, 1.2: ear, 2.2: ear, end: p.pick(ear, ear, pocket)}, loose=0.012)
    p.right_elbow = (0.7, -1.0, -0.1)
    p.left_hand = p.arc({0.5: HANG, 1.6: p.pick(HANG, belly), end: p.pick(HANG, belly)})
    p.head = p.keys({0.2: (10, -6, 0), 1.1: (0, 4, 9), 2.2: (4, 10, 8), end: (-2, -6, 8)})
    p.hip, p.pelvis = p.sine(2.6) * (0.03, -0.004, 0.01), p.sine(2.6, 0.05) * (0, 5, 2)


def _knock(p: Puppet) -> None:
    n, beat = p.times(4), p.pick(0.30, 0.36, 0.26)
    end = p.clock(1.5 + n * beat)
    door = (-0.02, p.pick(0.22, 0.36, 0.08), 0.54)
    p.right_hand = p.arc({0.1: HANG, 0.65: door, end - 0.7: door, end: HANG})
    p.right_hand = p.right_hand + p.pulses(0.65, beat, n) * p.size * (-0.02, 0.03, 0.24)
    p.spine = p.keys({0.1: 0, 0.7: 1, end - 0.6: 1, end: 0}) * (4, 6, 0)
    p.left_foot = 0.12 * AHEAD


def _push(p: Puppet) -> None:
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


def _box(p: Puppet) -> None:
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


def _throw(p: Puppet) -> None:
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


def _kick(p: Puppet) -> None:
    p.clock(2.2)

    def swung(degrees: float, reach: float) -> np.ndarray:
        a = np.radians(degrees)
        return (STANDING - reach * np.cos(a)) * UP + reach * np.sin(a) * AHEAD

    kick = {0.15: 0 * UP, 0.55: swung(-34, 0.84), 0.78: swung(24, 0.74), 0.98: swung(p.pick(78, 92, 62), 0.955)}
    p.right_foot = p.step(kick | {1.22: swung(48, 0.72), 1.6: swung(4, 0.95), 1.75: 0 * UP})
    p.hip = p.keys({0.1: 0, 0.5: 1, 1.4: 1, 1.9: 0}) * (0.08, -0.012, 0.01) + 0.05 * p.pulses(0.4, 1.2) * AHEAD
    p.pelvis = p.keys({0.1: (0, 0, 0), 0.55: (10, -14, 0), 1.0: (-15, 16, 0), 1.5: (0, 0, 0)})
    p.spine = p.keys({0.1: (0, 0, 0), 0.55: (6, 10, 0), 1.0: (6, -18, 0), 1.6: (0, 0, 0)})
    p.head = p.keys({0.1: 8, 1.0: 12, 1.7: 0}) * BEND
    left = {0.1: HANG, 0.55: (0.45, -0.75, -0.2), 1.0: (0.30, -0.42, 0.70), 1.4: (0.35, -0.75, 0.2), 2.0: HANG}
    right = {0.1: HANG, 0.55: (0.30, -0.70, 0.45), 1.0: (0.50, -0.70, -0.35), 1.4: (0.35, -0.82, 0.0), 2.0: HANG}
    p.left_hand, p.right_hand = p.arc(left), p.arc(right)


def _golf(p: Puppet) -> None:
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


def _walk(p: Puppet) -> None:
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


def _run(p: Puppet) -> None:
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


def _jumping_jacks(p: Puppet) -> None:
    n, beat = p.times(3), 0.96
    p.clock(n * beat)
    apart, flight = p.pulses(0, beat, n), p.sine(beat) ** 2
    p.hip = (0.11 * flight - 0.05) * UP
    p.right_foot = p.left_foot = 0.30 * p.size * apart * OUT + 0.13 * np.clip(flight - 0.45, 0, 1) * UP
    right, left = (np.radians(10 + wide * p.size**0.5 * apart) for wide in (152, 147))
    p.right_hand, p.left_hand = (0.97 * (np.sin(a) * OUT - np.cos(a) * UP) + 0.08 * AHEAD for a in (right, left))
    p.spine = 4 * (1 - flight) * BEND


def _jump(p: Puppet) -> None:
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


def _lunge(p: Puppet) -> None:
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


def _push_up(p: Puppet) -> None:
    n = p.times(2)
    p.clock(0.5 + 1.35 * n)
    leg, tiptoe, wrist = p.body["leg"], 0.055 * p.body["height"], 0.045
    line = STANDING * leg + p.body["loin"] + p.body["thorax"]  # ankle to neck
    high, low = 0.95 * p.body["arm"] + wrist - tiptoe - p.body["ankle"], p.pick(0.08, 0.14, 0.06, 0.10)
    a = np.arcsin((high - (high - low) * p.pulses(0.3, 1.35, n) ** 0.8) / line)  # of the line above the floor
    p.hip = (STANDING * (np.sin(a) - 1) + tiptoe / leg) * UP + STANDING * np.cos(a) * AHEAD
    p.right_foot = p.left_foot = 0.02 * OUT + tiptoe / leg * UP
    p.pelvis, p.spine = (90 - np.degrees(a) - 2 * p.pulses(0.5, 1.35, n)) * BEND, 2 * BEND
    p.head = (10 * p.pulses(0.4, 1.35, n) - 26) * BEND
    p.hands_in = "room"
    hand = (p.body["shoulder"] + 0.07) * OUT + wrist * UP + (np.sqrt(line**2 - high**2) - 0.02) * AHEAD
    p.right_hand = p.left_hand = hand / p.body["arm"]
    p.right_elbow = p.left_elbow = (0.75, 0.5, -0.8)


def _sit_up(p: Puppet) -> None:
    n = p.times(2)
    p.clock(0.5 + 1.7 * n)
    up, early = p.pulses(0.25, 1.7, n), p.pulses(0.12, 1.7, n)
    p.hip = ((0.10 - p.body["ankle"]) / p.body["leg"] - STANDING) * UP
    p.pelvis, p.spine = (62 * p.size * up - 88) * BEND, (44 * early - 2) * BEND
    p.head = (14 * early + 4) * BEND
    p.right_foot = p.left_foot = 0.05 * OUT + 0.74 * AHEAD
    p.hands_in = "chest"
    # Behind the head, crossed on the chest, or reaching out.
    p.right_hand = p.left_hand = np.array(p.pick((-0.14, 0.30, 0.12), (-0.42, -0.14, 0.30), (0.02, -0.48, 0.82)))
    p.right_elbow = p.left_elbow = p.pick((1.0, 0.25, 0.4), (0.7, -1.0, 0.2), (0.8, -0.5, 0))


_MOTIONS: dict[str, Callable[[Puppet], None]] = {
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
    puppet = Puppet(_BODIES[body], _STYLES[style], style, rng)
    _MOTIONS[action](puppet)
    joints = joints_of(puppet)
    heading, spot = Rotation.from_euler("Y", rng.uniform(-6, 6), degrees=True), rng.uniform(-0.15, 0.15, 3) * (1, 0, 1)
    turned = heading.apply(joints.reshape(-1, 3)).reshape(joints.shape)
    track = Track(turned + spot, UNIK17, FPS, id=action)
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
