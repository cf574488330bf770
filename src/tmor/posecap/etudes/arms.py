"""What arms can do in an etude, and how to say so: places in arm lengths as :mod:`tmor.skeleton.puppet` has them,
seconds at usual tempo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tmor.skeleton.puppet import AHEAD, MIDDLE, OUT, TURN, UP, Puppet, other_side

Sides = Literal["right", "left", "both", "in turn"]
Place = tuple[float, float, float]
_Hands = tuple[np.ndarray, np.ndarray]

_TIMES = ("", "once", "twice", "three times", "four times", "many times")

# Where a hand can be, as Puppet has it (out, up, ahead), and two ways to say so.
PLACES: dict[str, tuple[Place, str, str]] = {
    "front": ((0.0, 0.02, 0.95), "to the front", "straight ahead at shoulder height"),
    "side": ((0.95, 0.02, 0.08), "to the side", "out sideways at shoulder height"),
    "overhead": ((0.1, 0.95, 0.05), "above the head", "straight up"),
    "high side": ((0.62, 0.62, 0.25), "up to the side", "diagonally upwards"),
    "low": ((-0.02, -0.74, 0.5), "low in front of the body", "down in front"),
    "chest": ((MIDDLE + 0.06, -0.25, 0.42), "in front of the chest", "to the breast"),
    "belly": ((MIDDLE + 0.1, -0.55, 0.38), "in front of the belly", "to the stomach"),
    "mouth": ((-0.17, 0.14, 0.36), "to the mouth", "to the face"),
    "ear": ((-0.08, 0.15, 0.2), "to the ear", "to the side of the head"),
    "head": ((-0.2, 0.36, 0.08), "onto the head", "to the top of the head"),
    "hip": ((0.1, -0.52, 0.18), "to the hip", "to the waist"),
    "across": ((-0.66, -0.05, 0.58), "across the body to the other side", "to the opposite shoulder"),
    "back": ((0.0, -0.6, -0.28), "behind the back", "to the lower back"),
}

# How the arms are kept while only legs or trunk move: where the hands and elbows are, and how to say so.
CARRIAGES: tuple[tuple[Place | None, Place | None, str], ...] = (
    (None, None, ""),
    (PLACES["hip"][0], (1.0, 0.0, -0.4), "with the hands on the hips"),
    (PLACES["front"][0], None, "with the arms stretched to the front"),
    (PLACES["side"][0], None, "with the arms stretched sideways"),
    (PLACES["overhead"][0], None, "with the arms straight up"),
    ((-0.1, 0.33, -0.02), (1.0, 0.25, 0.1), "with the hands behind the head"),
    ((-0.5, -0.25, 0.32), None, "with the arms crossed"),
)


@dataclass(frozen=True)
class Turns:
    """How often something is done, and by which hands."""

    n: int
    sides: Sides

    def fill(self, text: str) -> str:
        """The text about these hands, this often: {hand} and {arm} without an article, {Hand} and {Arm} with; {s} and
        {es} end a verb; {side}, {other}, {times}."""
        words = {}
        for word in ("hand", "arm"):
            bare, full = {
                "both": (f"both {word}s", f"both {word}s"),
                "in turn": (f"left and right {word} in turn", f"the {word}s, one after the other,"),
            }.get(self.sides, (f"{self.sides} {word}", f"the {self.sides} {word}"))
            words |= {word: bare, word.capitalize(): full}
        one = self.sides in ("right", "left")
        filled = text.format(
            **words,
            s="s" if one else "",
            es="es" if one else "",
            side=self.sides,
            other=other_side(self.sides),
            times=_TIMES[self.n],
        )
        return filled.removesuffix(",")


_Move = Callable[[Puppet, np.random.Generator, Turns, np.ndarray], _Hands]
"""Sets the clock of a puppet and gives the paths of the right and the left hand, of which the one that does nothing is
not used. Given are how often and by which hands, and where a hand is at rest."""


@dataclass(frozen=True)
class Arms:
    """Something that one arm or both can do.

    Args:
        name, sentence, wording: three texts for :meth:`Turns.fill`.
        times: how often it can be done, from and to.
    """

    move: _Move
    name: str
    sentence: str
    wording: str
    sides: tuple[Sides, ...] = ("right", "left", "both")
    times: tuple[int, int] = (1, 4)


def _hold(place: Place) -> _Move:
    """There, a while, and back."""

    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        stay = rng.uniform(0.2, 1.2)
        p.clock(1.6 + stay)
        return p.arcs({0.1: rest, 0.75: place, 0.75 + stay: place, 1.5 + stay: rest})

    return move


def _swing(place: np.ndarray, way: np.ndarray, beat: tuple[float, float]) -> _Move:
    """To and fro about a place, along ``way``; both hands alike, or one against the other."""

    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        period = rng.uniform(*beat)
        end = p.clock(1.3 + turns.n * period)
        swing = p.keys({0.1: 0, 0.65: 1, end - 0.65: 1, end - 0.05: 0}) ** 2 * p.sine(period, rng.uniform()) * p.size
        right, left = p.arcs({0.1: rest, 0.65: place, end - 0.65: place, end - 0.05: rest})
        against = rng.choice((1.0, 1.0, -1.0))
        return right + swing * way, left + against * swing * way

    return move


def _stroke(start: Place, end: Place, *, back: bool = True, beat: tuple[float, float] = (0.6, 1.3)) -> _Move:
    """From one place to another, again and again.

    Args:
        back: the way back is part of it; else the hand returns lower.
        beat: seconds of one time, from and to.
    """
    a, b = np.array(start), np.array(end)

    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        period = rng.uniform(*beat)
        whole = p.clock(1.1 + turns.n * period)

        def path(late: float) -> np.ndarray:
            keys = {0.05: rest, 0.5: a}
            for i in range(turns.n):
                at = 0.5 + (i + late) * period
                keys |= {min(at + 0.45 * period, whole - 0.15): b}
                if back or i < turns.n - 1:
                    keys |= {min(at + 0.92 * period, whole - 0.1): a if back else 0.9 * a - 0.15 * UP}
            return p.arc(keys | {whole - 0.02: rest})

        return path(0.0), path(0.5 if turns.sides == "in turn" else 0.0)

    return move


def _circle(middle: Place, radius: tuple[float, float], axes: tuple[np.ndarray, np.ndarray], turn: int) -> _Move:
    """Round about a place, in the plane of the axes, from the second towards the first (turn = 1) or away from it."""

    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        r, period = rng.uniform(*radius) * p.size, rng.uniform(0.9, 1.5)
        end = p.clock(1.1 + turns.n * period)
        angle = 2 * np.pi * turns.n * turn * p.keys({0.5: 0, end - 0.55: 1})
        top = np.array(middle) + r * axes[1]
        right, left = p.arcs({0.05: rest, 0.5: top, end - 0.5: top, end - 0.02: rest})

        def around(a: np.ndarray) -> np.ndarray:
            return r * (np.sin(a) * axes[0] + (np.cos(a) - 1) * axes[1])

        # "Out" points the other way on the left.
        return right + around(angle), left + around(-angle if axes[0] is OUT else angle)

    return move


def _roll(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
    period, middle = rng.uniform(0.5, 0.9), PLACES["chest"][0]
    end = p.clock(1.1 + turns.n * period)
    right, left = p.arcs({0.05: rest, 0.5: middle, end - 0.5: middle, end - 0.02: rest})
    angle = 2 * np.pi * turns.n * p.keys({0.5: 0, end - 0.55: 1})
    around = 0.14 * p.keys({0.45: 0, 0.6: 1, end - 0.6: 1, end - 0.5: 0}) * (np.sin(angle) * UP + np.cos(angle) * AHEAD)
    return right + around, left - around


def _lines(*corners: Place) -> _Move:
    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        beat = rng.uniform(0.4, 0.7)
        end = p.clock(1.05 + len(corners) * beat)
        keys: dict[float, object] = {0.55 + i * beat: corner for i, corner in enumerate(corners)}
        return p.arcs({0.05: rest} | keys | {end - 0.02: rest}, loose=0.01)

    return move


def _both_on_one(start: Place, end: Place, side: int) -> _Move:
    """Both hands hold one thing, wind up on one side (1 = the right) and swing it to the other."""
    a, b = np.array(start) * (side, 1, 1), np.array(end) * (side, 1, 1)

    def move(p: Puppet, rng: np.random.Generator, turns: Turns, rest: np.ndarray) -> _Hands:
        p.clock(1.9)
        low = (0.0, -0.6, 0.4)
        grip = p.arc({0: low, 0.6: a, 0.8: a, 1.15: b, 1.4: b, 1.85: low})  # from the breastbone
        turn = side * 40 * p.keys({0.2: 0, 0.7: -1, 1.2: 1, 1.8: 0.2}) * TURN
        p.pelvis, p.spine, p.head = 0.5 * turn, 0.5 * turn, -0.7 * turn
        return np.array((MIDDLE + 0.03, -0.03, 0.02)) + grip, np.array((MIDDLE + 0.03, 0.03, -0.02)) + grip * (-1, 1, 1)

    return move


_ONE: tuple[Sides, ...] = ("right", "left")
_ANY: tuple[Sides, ...] = ("right", "left", "both", "in turn")


def _at_places() -> Iterator[Arms]:
    for name, (place, to, to_too) in PLACES.items():
        verb = "raise" if name in ("front", "side", "overhead", "high side") else "put"
        yield Arms(
            _hold(place),
            f"{verb} {{{'arm' if verb == 'raise' else 'hand'}}} {to}",
            f"a person {verb}s {{Hand}} {to_too}, holds still and lowers again",
            f"{{Arm}} go{{es}} {to}, rest{{s}} there, and come{{s}} back",
            times=(1, 1),
        )
    for name in ("front", "side", "overhead", "high side", "chest", "low"):
        place, to, _ = PLACES[name]
        at = np.array(place)
        yield Arms(
            _swing(0.88 * at, 0.22 * OUT + 0.01 * AHEAD, (0.45, 0.8)),
            f"swing {{hand}} left and right {to}",
            f"{{Hand}} move{{s}} from side to side {to}, {{times}}",
            f"a person shakes {{Hand}} sideways {to}",
            times=(3, 5),
        )
        yield Arms(
            _swing(0.85 * at - 0.1 * UP, 0.2 * UP, (0.35, 0.75)),
            f"shake {{hand}} up and down {to}",
            f"{{Hand}} beat{{s}} up and down {to}, {{times}}",
            f"a person pumps {{Arm}} up and down {to}",
            times=(3, 5),
        )
        yield Arms(
            _swing(0.7 * at, 0.16 * at / np.linalg.norm(at), (0.35, 0.75)),
            f"push {{hand}} out and back {to}",
            f"{{Arm}} stretch{{es}} and bend{{s}} {to}, {{times}}",
            f"a person pokes {to} with {{Hand}} again and again",
            times=(2, 5),
        )


def _sweeps() -> Iterator[Arms]:
    for height, where in ((0.0, "at chest height"), (0.45, "at head height"), (-0.45, "at hip height")):
        out, across = (0.55, height - 0.05, 0.7), (-0.68, height - 0.05, 0.58)
        yield Arms(
            _stroke(out, across, back=False, beat=(0.7, 1.2)),
            "swipe {arm} to the {other}",
            f"{{Hand}} sweep{{s}} from the {{side}} to the {{other}} {where}, {{times}}",
            "a person moves {Arm} sideways across the body towards the {other}",
            _ONE,
            (1, 2),
        )
        yield Arms(
            _stroke(across, out, back=False, beat=(0.7, 1.2)),
            "swipe {arm} to the {side}",
            f"{{Hand}} sweep{{s}} from the {{other}} to the {{side}} {where}, {{times}}",
            "a person moves {Arm} sideways from across the body out to the {side}",
            _ONE,
            (1, 2),
        )


def _circles() -> Iterator[Arms]:
    for turn, way in ((1, "clockwise"), (-1, "counter-clockwise")):  # as the person sees it
        yield Arms(
            _circle((-0.05, 0.05, 0.68), (0.2, 0.38), (OUT, UP), turn),
            f"draw a circle {way} with {{hand}}",
            f"{{Hand}} go{{es}} round {way} in front of the body, {{times}}",
            f"a person traces a big ring in the air with {{Arm}}, {way}",
            _ONE,
            (1, 3),
        )
    for turn, way in ((1, "forwards"), (-1, "backwards")):
        yield Arms(
            _circle((0.2, -0.02, 0.0), (0.85, 0.9), (AHEAD, UP), turn),
            f"circle {{arm}} {way}",
            f"{{Arm}} turn{{s}} {way} like a windmill beside the body, {{times}}",
            f"a person swings {{Arm}} round {way} from the shoulder",
        )
    for turn in (1, -1):
        yield Arms(
            _circle((-0.1, -0.45, 0.5), (0.15, 0.2), (OUT, AHEAD), turn),
            "stir with {hand}",
            "{Hand} go{es} round flat in front of the belly, {times}",
            "a person turns something in a pot with {Hand}",
            _ONE,
            (2, 4),
        )


def _swings_of_both() -> Iterator[Arms]:
    for side, sign in (("right", 1), ("left", -1)):
        for start, end, way in (
            ((0.6, 0.15, 0.2), (-0.55, 0.1, 0.3), "level"),
            ((0.5, -0.65, 0.2), (-0.5, 0.4, 0.25), "from low to high"),
            ((0.5, 0.45, 0.2), (-0.45, -0.55, 0.3), "from high to low"),
        ):
            yield Arms(
                _both_on_one(start, end, sign),
                f"swing with both hands from the {side}, {way}",
                f"both hands hold one thing and swing it {way} from the {side} to the other side",
                f"a person winds up to the {side} and strikes with two hands, {way}",
                ("both",),
                (1, 1),
            )


ARMS = (
    *_at_places(),
    *_sweeps(),
    *_circles(),
    *_swings_of_both(),
    Arms(
        _roll,
        "roll both hands around each other",
        "the forearms turn round one another before the chest, {times}",
        "a person winds the hands about each other",
        ("both",),
        (3, 5),
    ),
    Arms(
        _stroke((MIDDLE + 0.08, -0.1, 0.75), (0.9, 0.0, 0.3), beat=(0.7, 1.4)),
        "open both arms wide and close them",
        "both hands meet in front and spread out to the sides, {times}",
        "a person opens and closes the arms like wings",
        ("both",),
    ),
    Arms(
        _stroke((0.7, -0.1, 0.6), (-0.52, -0.22, 0.36), beat=(0.7, 1.4)),
        "cross both arms on the chest",
        "both forearms cross in front of the chest and open again, {times}",
        "a person folds the arms over each other",
        ("both",),
    ),
    Arms(
        _stroke((0.9, 0.0, 0.15), (MIDDLE + 0.05, 0.88, 0.15), beat=(0.7, 1.4)),
        "bring both hands together above the head",
        "both arms rise from the sides until the hands meet overhead, {times}",
        "a person makes big wing beats that end above the head",
        ("both",),
    ),
    Arms(
        _stroke((-0.1, -0.15, 0.32), (0.0, 0.0, 0.95)),
        "push {hand} forward",
        "{Arm} push{es} straight ahead from the chest and come{s} back, {times}",
        "a person thrusts {Hand} to the front",
        _ANY,
    ),
    Arms(
        _stroke((0.0, 0.0, 0.95), (0.1, -0.25, 0.25)),
        "pull {hand} back",
        "{Hand} reach{es} ahead and pull{s} to the body, {times}",
        "a person draws {Arm} back with a bending elbow",
        _ANY,
    ),
    Arms(
        _stroke((0.08, 0.1, 0.25), (0.08, 0.95, 0.05)),
        "press {hand} up overhead",
        "{Arm} push{es} from the shoulder straight up and come{s} down, {times}",
        "a person lifts something from the shoulder to above the head with {Hand}",
        _ANY,
    ),
    Arms(
        _stroke((0.08, -0.95, 0.2), (0.02, -0.2, 0.4)),
        "bend {arm} at the elbow",
        "{Hand} come{s} up from the thigh to the shoulder and go{es} down, {times}",
        "a person curls {Arm} like lifting a weight",
        _ANY,
    ),
    Arms(
        _stroke((0.1, 0.8, 0.3), (-0.1, -0.6, 0.55)),
        "chop {hand} down",
        "{Hand} strike{s} from above the head down in front, {times}",
        "a person hits downwards with {Arm}",
        _ANY,
    ),
    Arms(
        _stroke((0.05, -0.8, 0.55), (0.1, -0.8, -0.55)),
        "swing {arm} forward and back",
        "{Arm} swing{s} like a pendulum past the hip, {times}",
        "a person lets {Arm} swing to the front and behind, straight",
        _ANY,
    ),
    Arms(
        _stroke((0.0, -0.5, 0.35), (-0.3, -0.3, 0.3)),
        "pat the chest with {hand}",
        "{Hand} strike{s} the own breast, {times}",
        "a person taps the chest with {Hand}",
        _ANY,
    ),
    Arms(
        _stroke((0.15, 0.93, 0.1), (0.25, 0.0, 0.25)),
        "pull {hand} down from above",
        "{Hand} reach{es} up and pull{s} down to the shoulder, {times}",
        "a person drags something down with {Arm}",
    ),
    Arms(
        _stroke((-0.1, -0.9, 0.3), (0.05, 0.9, 0.25)),
        "swing {arm} up from below",
        "{Hand} rise{s} in a long arc from below to overhead, {times}",
        "a person throws {Arm} upwards",
    ),
    Arms(
        _stroke((0.55, 0.6, 0.35), (-0.6, -0.5, 0.45)),
        "slash {hand} diagonally down",
        "{Hand} cut{s} from high on its own side down across the body, {times}",
        "a person strikes with {Arm} from above to the opposite hip",
    ),
    Arms(
        _stroke((-0.55, -0.6, 0.4), (0.6, 0.55, 0.35)),
        "slash {hand} diagonally up",
        "{Hand} go{es} from the opposite hip up and out, {times}",
        "a person draws {Arm} up across the body as if drawing a sword",
    ),
    Arms(
        _stroke((0.1, -0.75, -0.5), (-0.05, 0.1, 0.9)),
        "toss underhand with {hand}",
        "{Hand} swing{s} from behind the hip forward and up, {times}",
        "a person tosses something low with {Arm}",
    ),
    Arms(
        _stroke((0.45, 0.5, -0.3), (-0.25, 0.15, 0.85)),
        "hurl overhand with {hand}",
        "{Hand} go{es} back behind the head and whip{s} forward, {times}",
        "a person flings something ahead with {Arm}",
    ),
    Arms(
        _stroke((0.8, 0.0, 0.3), (-0.35, 0.05, 0.7)),
        "swing {hand} round in a hook",
        "{Arm}, bent, swing{s} in from the side to the front, {times}",
        "a person hits in a curve with {Hand}",
    ),
    Arms(
        _stroke((0.2, -0.6, 0.25), (0.1, 0.3, 0.85)),
        "reach {hand} up and ahead",
        "{Hand} reach{es} up in front to take something and bring{s} it back, {times}",
        "a person grasps something high in front with {Hand}",
    ),
    Arms(
        _stroke((-0.05, -0.6, 0.45), (-0.18, 0.14, 0.34)),
        "bring {hand} to the mouth",
        "{Hand} go{es} from the belly to the mouth and back, {times}",
        "a person feeds with {Hand}",
    ),
    Arms(
        _lines((-0.35, 0.35, 0.7), (0.3, 0.35, 0.7), (0.3, -0.3, 0.7), (-0.35, -0.3, 0.7), (-0.35, 0.35, 0.7)),
        "draw a square with {hand}",
        "{Hand} draws four straight lines with corners in the air",
        "a person traces a box in front with {Arm}",
        _ONE,
        (1, 1),
    ),
    Arms(
        _lines((-0.4, 0.4, 0.65), (0.3, 0.2, 0.7), (-0.4, 0.0, 0.7), (0.3, -0.2, 0.7), (-0.4, -0.4, 0.65)),
        "draw a zigzag with {hand}",
        "{Hand} go{es} left and right while it comes down",
        "a person traces a zigzag from top to bottom with {Arm}",
        _ONE,
        (1, 1),
    ),
    Arms(
        _lines((-0.05, 0.6, 0.6), (-0.05, -0.5, 0.7)),
        "draw a line down with {hand}",
        "{Hand} moves straight from above down in front",
        "a person traces a line from top to bottom with {Arm}",
        _ONE,
        (1, 1),
    ),
    Arms(
        _lines((-0.5, 0.05, 0.7), (0.45, 0.05, 0.75)),
        "draw a level line with {hand}",
        "{Hand} moves flat from one side to the other in front",
        "a person traces the horizon with {Arm}",
        _ONE,
        (1, 1),
    ),
)
