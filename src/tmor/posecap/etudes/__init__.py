"""Etudes: movements that are computed from parts (arms, legs, trunk), with texts put together from the same parts.

Real sets name a few hundred actions; an etude says exactly which hand goes where, how often and with which legs, so
that words such as left, sideways or clockwise are learnt by themselves. A puppet performs them
(:mod:`tmor.skeleton.puppet`), in other proportions, tempos and amplitudes each time. The parts are everyday vocabulary
of movement. Some etudes show what classes of data sets are called (squat, swipe, clap): their texts count as names that
training knew.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from tmor.posecap.etudes.arms import ARMS, CARRIAGES, PLACES, Arms, Turns
from tmor.posecap.etudes.legs import LEGS, TRUNKS, Legs, Trunk
from tmor.posecap.triplets import Triplet
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.puppet import FPS, HANG, LAP, Puppet, Style, body_of, joints_of, other_side
from tmor.skeleton.tracks import Track

SOURCE = "etudes"
"""What their triplets call their data set."""

_T = TypeVar("_T")

_TEMPOS = ((0.72, "slowly"), (0.9, ""), (1.0, ""), (1.15, ""), (1.45, "fast"))


@dataclass(frozen=True)
class Etude:
    """Which parts are put together.

    Args:
        arms: None: they are carried.
        held: the place where the other hand is meanwhile; None = it hangs.
        carriage: index into ``CARRIAGES``.
    """

    arms: Arms | None
    turns: Turns
    held: str | None
    legs: Legs
    trunk: Trunk
    carriage: int
    tempo: tuple[float, str]

    def texts(self) -> tuple[str, ...]:
        """The plainest first."""
        said = [part for part in (self.legs, self.trunk) if part.name]
        if self.arms is not None:
            texts = [self.turns.fill(text) for text in (self.arms.name, self.arms.sentence, self.arms.wording)]
            if self.held is not None:
                held, other = PLACES[self.held][1:], other_side(self.turns.sides)
                texts = [f"{text}, the {other} hand held {held[i % 2]}" for i, text in enumerate(texts)]
        else:
            alone, *said = said
            carried = CARRIAGES[self.carriage][2]
            texts = [f"{text} {carried}".strip() for text in (alone.name, f"a person moves {alone.meanwhile}")]
        for part in said:
            texts = [f"{text} {(part.after, part.meanwhile)[i % 2]}" for i, text in enumerate(texts)]
        if word := self.tempo[1]:
            texts = [f"{texts[0]}, {word}", *(f"{text} {word}" for text in texts[1:])]
        return tuple(dict.fromkeys(texts))

    def perform(self, seed: str) -> np.ndarray:
        """(frames, 17, 3) somebody who does it, in metres; equal seeds give the same bits."""
        rng = np.random.default_rng(zlib.crc32(seed.encode()))
        body = body_of(rng.uniform(1.5, 1.95), rng.uniform(0.96, 1.04), rng.uniform(0.93, 1.08))
        style = Style(self.tempo[0] * rng.uniform(0.9, 1.1), rng.uniform(0.85, 1.1))
        puppet = Puppet(body, style, 0, rng)
        rest = LAP if self.legs.sitting else HANG
        if self.arms is not None:
            right, left = self.arms.move(puppet, rng, self.turns, rest)
            puppet.right_hand, puppet.left_hand = (
                self._idle(puppet, rest) if self.turns.sides == other_side(side) else path
                for side, path in (("right", right), ("left", left))
            )
        else:
            puppet.clock(rng.uniform(1.8, 4.0))
            place, elbow, _ = CARRIAGES[self.carriage]
            held = rest if place is None else np.array(place)
            puppet.right_hand, puppet.left_hand = puppet.arcs({0: held, 1: held})
            puppet.right_elbow = puppet.left_elbow = elbow
        seconds = float(puppet.t[-1])
        self.legs.move(puppet, seconds, rng)
        self.trunk.move(puppet, seconds, rng)
        joints = joints_of(puppet)
        joints = joints - joints[0, UNIK17.joints.index("mid_hip")] * (1, 0, 1)
        heading = Rotation.from_euler("Y", rng.uniform(-6, 6), degrees=True)
        return heading.apply(joints.reshape(-1, 3)).reshape(joints.shape)

    def _idle(self, p: Puppet, rest: np.ndarray) -> np.ndarray:
        if self.held is None:
            return rest
        end, place = float(p.t[-1]), PLACES[self.held][0]
        return p.arc({0.05: rest, 0.5: place, end - 0.5: place, end - 0.02: rest})


def etudes(texts: int = 500, performances: int = 4, *, seed: int = 0) -> list[Triplet]:
    """Movements of one person with three sentences each, or two.

    Args:
        texts: how many etudes, no two of which have the same texts.
        performances: of each, which are clips of their own.
        seed: equal seeds give the same bits.

    Returns:
        ``texts * performances`` triplets without labels: tracks of about 1 to 7 s in unik17, 3D in metres, 30 fps; the
        person faces +z within a few degrees and has the left side towards +x.
    """
    rng = np.random.default_rng([seed, 7])
    chosen: dict[tuple[str, ...], Etude] = {}
    while len(chosen) < texts:
        etude = _draw(rng)
        chosen.setdefault(etude.texts(), etude)
    return [
        Triplet(
            f"{SOURCE}/{i:04d}/{k}",
            SOURCE,
            Track(etude.perform(f"{seed}/{i}/{k}"), UNIK17, FPS, id=f"{i:04d}/{k}"),
            said,
        )
        for i, (said, etude) in enumerate(chosen.items())
        for k in range(performances)
    ]


def _draw(rng: np.random.Generator) -> Etude:
    """Three of four move the arms, half of these legs or trunk as well; one moves legs or trunk alone."""
    tempo = _one(_TEMPOS, rng)
    if rng.uniform() < 0.75:
        arms = _one(ARMS, rng)
        turns = Turns(int(rng.integers(arms.times[0], arms.times[1] + 1)), _one(arms.sides, rng))
        held = _one(tuple(PLACES), rng) if turns.sides in ("right", "left") and rng.uniform() < 0.3 else None
        legs = _one(LEGS, rng) if rng.uniform() < 0.5 else LEGS[0]
        upright = legs.lying or rng.uniform() < 0.85
        return Etude(arms, turns, held, legs, TRUNKS[0] if upright else _one(TRUNKS, rng), 0, tempo)
    carriage = int(rng.integers(len(CARRIAGES)))
    kind = rng.uniform()
    legs = _one(LEGS[1:], rng) if kind < 0.7 else LEGS[0]
    upright = legs.lying or kind < 0.5
    trunk = TRUNKS[0] if upright else _one(TRUNKS[1:], rng)
    return Etude(None, Turns(1, "both"), None, legs, trunk, carriage, tempo)


def _one(options: Sequence[_T], rng: np.random.Generator) -> _T:
    return options[int(rng.integers(len(options)))]
