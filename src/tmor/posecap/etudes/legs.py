"""What legs and trunk can do in an etude, and how to say so: places in leg lengths, angles in degrees, as
:mod:`tmor.skeleton.puppet` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from tmor.skeleton.puppet import AHEAD, BEND, CHAIR, OUT, STANDING, TURN, UP, Puppet, other_side

_LegMove = Callable[[Puppet, float, np.random.Generator], None]


@dataclass(frozen=True)
class Legs:
    """Something that the legs can do meanwhile.

    Args:
        move: animates a puppet whose clock is set; given are its seconds.
        name: of it alone; empty = there is nothing to say.
        after, meanwhile: the same, in two ways, after what the arms do.
    """

    move: _LegMove
    name: str = ""
    after: str = ""
    meanwhile: str = ""
    sitting: bool = False
    lying: bool = False


@dataclass(frozen=True)
class Trunk:
    """Where the trunk goes meanwhile.

    Args:
        angles: (bend, turn, tilt) in degrees.
        name, after, meanwhile: as :class:`Legs` has them.
        swings: there and to the other side, again and again.
    """

    angles: tuple[float, float, float]
    name: str = ""
    after: str = ""
    meanwhile: str = ""
    swings: bool = False

    def move(self, p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        """Animate a puppet whose clock is set; given are its seconds."""
        if self.swings:
            there = np.sin(2 * np.pi * p.t[:, None] * rng.integers(2, 4) / seconds)
        else:
            there = p.keys({0.1 * seconds: 0, 0.4 * seconds: 1, 0.6 * seconds: 1, 0.95 * seconds: 0})
        angles = there * np.array(self.angles) * rng.uniform(0.75, 1.1)
        p.pelvis, p.spine = p.pelvis + angles * (0.55, 0.275, 0.275), p.spine + 0.5 * angles
        p.hip = p.hip - max(0.0, self.angles[0]) / 70 * there * (0, 0.03, 0.15)  # the seat goes back


def _stand(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    pass


def _sit(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    p.hip, p.spine, p.pelvis = CHAIR, 6 * BEND, -5 * BEND


def _squat(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    n = int(rng.integers(1, 4))
    down = p.pulses(0.3, (seconds - 0.5) / n, n) ** 0.85 * rng.uniform(0.8, 1.1)
    p.hip = down * (0, -0.5, -0.2)
    p.pelvis, p.spine, p.head = p.pelvis + 30 * down * BEND, p.spine + 12 * down * BEND, p.head - 20 * down * BEND


def _wide(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    p.hip, p.right_foot, p.left_foot, p.pelvis = -0.25 * UP, 0.25 * OUT, 0.25 * OUT, p.pelvis + 8 * BEND


def _march(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    period, lift = rng.uniform(0.7, 1.1), np.array((0, 0.3, 0.28)) * rng.uniform(0.7, 1.1)
    p.right_foot, p.left_foot = (p.sine(period, lag).clip(0) * lift for lag in (0, 0.5))
    p.hip = 0.03 * p.sine(period) * OUT


def _run(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    period = rng.uniform(0.6, 0.75)
    lift = rng.uniform(0.85, 1.1) * np.array((0, 0.36, rng.uniform(-0.25, 0.1)))
    p.right_foot, p.left_foot = (p.sine(period, lag).clip(0) ** 1.2 * lift for lag in (0, 0.5))
    p.hip = (0.024 * p.sine(period / 2, 0.22) - 0.03) * UP


def _hop(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    flight = p.sine((seconds - 0.2) / rng.integers(2, 5)) ** 2
    p.hip, p.right_foot = (0.12 * flight - 0.05) * UP, 0.14 * np.clip(flight - 0.4, 0, 1) * UP
    p.left_foot = p.right_foot


def _walk(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    period, stride = rng.uniform(1.0, 1.3), rng.uniform(1.2, 1.6)
    lift = PchipInterpolator([0, 0.1, 0.4, 0.6, 0.73, 0.9, 1], [0.012, 0, 0, 0.1, 0.165, 0.05, 0.012])
    ahead = PchipInterpolator([0, 0.42, 0.6, 0.8, 0.97, 1], [0, 0, 0.12, 0.68, 1, 1])

    def foot(lag: float) -> np.ndarray:
        cycle, phase = np.divmod(p.t[:, None] / period + lag, 1)
        return -0.03 * OUT + lift(phase) * UP + stride * (cycle - lag + ahead(phase) + 0.29) * AHEAD

    p.right_foot, p.left_foot = foot(0), foot(0.5)
    p.hip = p.t[:, None] / period * stride * AHEAD - 0.022 * p.sine(period, 0.05) * OUT
    p.pelvis = p.pelvis + 5 * p.sine(period, -0.25) * TURN


def _crouch(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    down = p.keys({0.1: 0, 0.35 * seconds: 1, 0.65 * seconds: 1, seconds - 0.05: 0})
    p.hip, p.pelvis, p.spine = down * (0, -0.5, -0.2), p.pelvis + 45 * down * BEND, p.spine + 25 * down * BEND


def _kneel(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    p.hip, p.right_foot, p.left_foot = -0.48 * UP, -0.47 * AHEAD, -0.47 * AHEAD


def _lie(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
    p.hip = ((0.10 - p.body["ankle"]) / p.body["leg"] - STANDING) * UP
    p.pelvis, p.spine, p.head, p.hands_in = -88 * BEND, 0 * BEND, rng.uniform(0, 12) * BEND, "chest"
    p.right_foot = p.left_foot = 0.05 * OUT + rng.uniform(0.7, 0.97) * AHEAD
    # The floor is in the way of hands and elbows.
    p.right_hand, p.left_hand = (np.maximum(hand, (-np.inf, -np.inf, -0.05)) for hand in (p.right_hand, p.left_hand))
    p.right_elbow = p.left_elbow = (1.0, -0.3, 0.4)


def _step(way: int) -> _LegMove:
    """Forward (1) or back (-1), the other foot after it."""

    def move(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        first, second = p.keys({0.1: 0, 0.4 * seconds: 1}), p.keys({0.45 * seconds: 0, 0.8 * seconds: 1})
        p.right_foot = 0.4 * way * first * AHEAD + 0.06 * p.pulses(0.1, 0.35 * seconds) * UP
        p.left_foot = 0.4 * way * second * AHEAD + 0.06 * p.pulses(0.45 * seconds, 0.35 * seconds) * UP
        p.hip = 0.4 * way * p.keys({0.1: 0, 0.8 * seconds: 1}) * AHEAD

    return move


def _step_aside(side: str) -> _LegMove:
    sign = 1 if side == "left" else -1

    def move(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        setattr(p, f"{side}_foot", 0.35 * p.keys({0.1: 0, 0.4 * seconds: 1}) * OUT)
        setattr(p, f"{other_side(side)}_foot", -0.35 * p.keys({0.45 * seconds: 0, 0.8 * seconds: 1}) * OUT)
        p.hip = 0.35 * sign * p.keys({0.1: 0, 0.8 * seconds: 1}) * OUT

    return move


def _lift(side: str, foot: tuple[float, float, float], hip: tuple[float, float, float], bend: float) -> _LegMove:
    """One leg goes somewhere and back, once or twice; the hip shifts and the pelvis bends with it."""

    def move(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        n = int(rng.integers(1, 3))
        up = p.pulses(0.1, (seconds - 0.2) / n, n)
        setattr(p, f"{side}_foot", up * np.array(foot) * rng.uniform(0.8, 1.1))
        p.hip = up**0.5 * np.array(hip) * (1 if side == "right" else -1, 1, 1)
        p.pelvis = p.pelvis + bend * up * BEND

    return move


def _lunge(side: str) -> _LegMove:
    def move(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        there = p.keys({0.1: 0, 0.4 * seconds: 1, 0.6 * seconds: 1, seconds - 0.1: 0})
        setattr(p, f"{side}_foot", 0.8 * there * AHEAD + 0.1 * p.pulses(0.1, 0.4 * seconds) * UP)
        setattr(p, f"{other_side(side)}_foot", there * (0, 0.13, 0.04))
        p.hip = there * (0, -0.4, 0.44)

    return move


def _lunge_aside(side: str) -> _LegMove:
    sign = 1 if side == "left" else -1

    def move(p: Puppet, seconds: float, rng: np.random.Generator) -> None:
        there = p.keys({0.1: 0, 0.4 * seconds: 1, 0.6 * seconds: 1, seconds - 0.1: 0})
        setattr(p, f"{side}_foot", 0.75 * there * OUT + 0.06 * p.pulses(0.1, 0.35 * seconds) * UP)
        p.hip, p.pelvis = there * (0.55 * sign, -0.3, -0.1), p.pelvis + 15 * there * BEND

    return move


def _of_one_leg() -> Iterator[Legs]:
    for side in ("right", "left"):
        for move, name, meanwhile in (
            (
                _lift(side, (0, 0.75, 0.8), (0.07, 0, 0.02), -12),
                f"kick the {side} leg to the front",
                f"while the straight {side} leg swings up ahead",
            ),
            (
                _lift(side, (0.62, 0.28, 0), (0.1, 0, 0), 0),
                f"lift the {side} leg to the side",
                f"while the straight {side} leg is spread sideways",
            ),
            (
                _lift(side, (0, 0.25, -0.6), (0.07, -0.02, 0.05), 14),
                f"stretch the {side} leg back",
                f"while the {side} leg is raised behind",
            ),
            (
                _lift(side, (0, 0.46, 0.4), (0.07, 0, 0), -4),
                f"lift the {side} knee",
                f"while the {side} knee comes up to the belly",
            ),
            (
                _lunge(side),
                f"lunge forward with the {side} leg",
                f"while stepping far ahead with the {side} leg and sinking down",
            ),
            (
                _lunge_aside(side),
                f"lunge to the {side} side",
                f"while stepping wide to the {side} and bending that knee",
            ),
            (_step_aside(side), f"step to the {side}", f"while making a step to the {side} side"),
        ):
            yield Legs(move, name, f"and {name}", meanwhile)


LEGS = (
    Legs(_stand),
    Legs(_sit, "sit", "while sitting", "seated on a chair", sitting=True),
    Legs(_lie, "lie on the back", "while lying on the back", "stretched out on the back on the floor", lying=True),
    Legs(_kneel, "kneel", "while kneeling", "on both knees"),
    Legs(_squat, "squat", "and squat", "while bending and stretching both knees"),
    Legs(_crouch, "crouch down low", "and crouch down low", "while ducking down and coming up again"),
    Legs(_wide, "stand wide and low", "in a wide low stance", "with the legs apart and the knees bent"),
    Legs(_march, "march on the spot", "while marching on the spot", "while lifting the knees in turn"),
    Legs(_run, "run on the spot", "while running on the spot", "with quick running steps"),
    Legs(_hop, "hop", "while hopping", "while jumping up and down"),
    Legs(_walk, "walk", "while walking", "while walking forward"),
    Legs(_step(1), "step forward", "and step forward", "while making a step ahead"),
    Legs(_step(-1), "step back", "and step back", "while making a step backwards"),
    *_of_one_leg(),
)


TRUNKS = (
    Trunk((0, 0, 0)),
    Trunk((70, 0, 0), "bend forward", "and bend forward", "with the trunk folding forward and down"),
    Trunk((-20, 0, 0), "lean back", "and lean back", "with the trunk arching backwards"),
    Trunk((0, 50, 0), "turn to the left", "and turn the trunk to the left", "with the shoulders turning left"),
    Trunk((0, -50, 0), "turn to the right", "and turn the trunk to the right", "with the shoulders turning right"),
    Trunk((0, 0, -30), "lean to the left", "and lean to the left", "with the trunk bending sideways to the left"),
    Trunk((0, 0, 30), "lean to the right", "and lean to the right", "with the trunk bending sideways to the right"),
    Trunk(
        (0, 45, 0),
        "twist left and right",
        "and twist left and right",
        "with the trunk turning from side to side",
        swings=True,
    ),
)
