"""Phrases of movements: one verb, one part of the body, one way; how they join into a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_GERUNDS = {
    "raises": "raising",
    "lowers": "lowering",
    "raises and lowers": "raising and lowering",
    "lowers and raises": "lowering and raising",
    "bends": "bending",
    "straightens": "straightening",
    "bends and straightens": "bending and straightening",
    "straightens and bends": "straightening and bending",
    "brings": "bringing",
    "brings together": "bringing together",
    "stretches": "stretching",
    "pulls back": "pulling back",
    "stretches and pulls back": "stretching and pulling back",
    "pulls back and stretches": "pulling back and stretching",
    "waves": "waving",
    "shakes": "shaking",
    "circles": "circling",
    "draws circles with": "drawing circles with",
    "draws a circle with": "drawing a circle with",
    "swings": "swinging",
    "punches with": "punching with",
    "pushes with": "pushing with",
    "claps": "clapping",
    "kicks with": "kicking with",
    "lifts": "lifting",
    "spreads": "spreading",
    "closes": "closing",
    "spreads and closes": "spreading and closing",
    "closes and spreads": "closing and spreading",
    "squats": "squatting",
    "lunges": "lunging",
    "crouches": "crouching",
    "sits": "sitting",
    "stands": "standing",
    "rises": "rising",
    "jumps": "jumping",
    "walks": "walking",
    "runs": "running",
    "walks or runs": "walking or running",
    "steps": "stepping",
    "turns": "turning",
    "leans": "leaning",
    "lies": "lying",
    "gets": "getting",
    "stays": "staying",
    "sits up": "sitting up",
    "lies back": "lying back",
    "sits up and lies back": "sitting up and lying back",
    "lies back and sits up": "lying back and sitting up",
    "pulls": "pulling",
    "does": "doing",
}


@dataclass(frozen=True)
class Phrase:
    """One movement of one part of the body.

    Args:
        verb: in the third person: ``raises``.
        limb: what moves, sides being the person's: ``the left arm``; empty = the body as a whole.
        way: where to: ``above the head``; may be empty.
        times: how often; movements that repeat by nature, as walking, count once.
        start_s, end_s: when, in seconds of the track; frames of an unknown rate count as 1/30 s.
        size: how much of a movement it is; whole-body movements are above 1.
        speed: ``quickly``, ``slowly``, or empty; always empty where the rate is unknown.
    """

    verb: str
    limb: str
    way: str
    start_s: float
    end_s: float
    size: float
    times: int = 1
    speed: str = ""

    def __str__(self) -> str:
        return self.words()

    def words(self, *, gerund: bool = False) -> str:
        """``quickly raises the left arm above the head twice``, or with ``raising``."""
        verb, limb = _GERUNDS[self.verb] if gerund else self.verb, self.limb
        for particle in ("together", "back"):
            if limb and verb.endswith(f" {particle}"):
                verb, limb = verb.removesuffix(f" {particle}"), f"{limb} {particle}"
        often = {1: "", 2: "twice"}.get(self.times) or f"{_NUMBERS.get(self.times, 'many')} times"
        parts = (self.speed, verb, limb, self.way, "" if self.times == 1 else often)
        return " ".join(filter(None, parts))


_NUMBERS = dict(enumerate(("three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=3))


# ---- The sentence.


def sentence(phrases: Sequence[Phrase], phases: int) -> str:
    """The largest phrases, at most ``phases`` of them one after the other, each with one that goes on meanwhile."""
    largest = max((phrase.size for phrase in phrases), default=0.0)
    groups: list[list[Phrase]] = []
    for phrase in sorted((p for p in phrases if p.size >= 0.4 * largest), key=lambda p: -p.size):
        beside = next((group for group in groups if overlap(phrase, group[0]) >= 0.5), None)
        if beside is None and len(groups) < phases:
            groups.append([phrase])
        elif beside is not None and len(beside) == 1:
            beside.append(phrase)
    groups.sort(key=lambda group: group[0].start_s)
    said: list[str] = []
    before = ""
    for first, *meanwhile in groups:
        # "raises both arms, then lowers them"
        limb = first.limb if first.limb != before else "them" if before.startswith("both") else "it" if before else ""
        words = replace(first, limb=limb).words()
        said.append(words + "".join(f" while {phrase.words(gerund=True)}" for phrase in meanwhile))
        before = "" if meanwhile else first.limb
    return ", then ".join(said)


def overlap(a: Phrase, b: Phrase) -> float:
    """What two have in common of the shorter one."""
    shorter = min(a.end_s - a.start_s, b.end_s - b.start_s)
    return (min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) / max(shorter, 1 / 30)


# ---- Putting movements together.

_PLURALS = {"arm": "arms", "hand": "hands", "elbow": "elbows", "knee": "knees", "leg": "legs", "foot": "feet"}
_PAIRS = {
    "raises": "lowers",
    "brings": "lowers",
    "bends": "straightens",
    "stretches": "pulls back",
}


def _side(phrase: Phrase) -> str:
    return next((side for side in ("left", "right") if f"the {side} " in phrase.limb), "")


def _part(phrase: Phrase) -> str:
    return phrase.limb.rsplit(" ", 1)[-1]


def both_sides(phrases: list[Phrase]) -> list[Phrase]:
    """The same on both sides at the same time is one movement of both."""
    pairs = [
        (a, b)
        for a in phrases
        for b in phrases
        if (_side(a), _side(b)) == ("left", "right") and _alike(a, b) and overlap(a, b) > 0.5
    ]
    # The best pairs first, by a measure that does not tell left from right.
    pairs.sort(key=lambda ab: (-overlap(*ab), abs(ab[0].start_s - ab[1].start_s), ab[0].start_s + ab[1].start_s))
    paired: list[Phrase] = []
    merged: list[Phrase] = []
    for a, b in pairs:
        if a not in paired and b not in paired:
            paired += (a, b)
            merged.append(_merged(a, b))
    return [*merged, *(phrase for phrase in phrases if phrase not in paired)]


def _alike(a: Phrase, b: Phrase) -> bool:
    together = a.way == b.way or a.verb not in ("swings", "brings", "kicks with")
    return a.verb == b.verb and _part(a) == _part(b) and abs(a.times - b.times) <= 1 and together


def _merged(a: Phrase, b: Phrase) -> Phrase:
    return Phrase(
        "pushes with" if a.verb == "punches with" else a.verb,
        f"both {_PLURALS[_part(a)]}",
        a.way if a.way == b.way else "",
        min(a.start_s, b.start_s),
        max(a.end_s, b.end_s),
        max(a.size, b.size) + 0.2,
        max(a.times, b.times),
        a.speed if a.speed == b.speed else "",
    )


def repeated(phrases: list[Phrase]) -> list[Phrase]:
    """Up and down and up and down is raising and lowering twice; the same again and again is a number of times."""
    limbs: dict[str, list[Phrase]] = {}
    for phrase in sorted(phrases, key=lambda p: p.start_s):
        lifted = phrase.verb in _PAIRS or phrase.verb in _PAIRS.values()
        # Bringing the hand to the face and lowering the arm is the same limb up and down.
        key = phrase.limb.replace("hand", "arm").replace("elbow", "arm") if lifted else phrase.limb
        limbs.setdefault(key, []).append(phrase)
    found: list[Phrase] = []
    for own in limbs.values():
        n = 0
        while n < len(own):
            alternating, swinging = _run(own[n:], _back), _run(own[n:], _to_and_fro)
            if alternating >= 3:
                length, joined = alternating, _up_and_down(own[n : n + alternating])
            elif swinging >= 3:
                length = swinging
                joined = replace(_all(own[n : n + length]), way="from side to side", times=1)
            else:
                length = _run(own[n:], _again)
                joined = _all(own[n : n + length]) if length > 1 else own[n]
            found.append(joined)
            n += length
    return found


def _run(own: Sequence[Phrase], follows: Callable[[Phrase, Phrase], bool]) -> int:
    """How many phrases from the first each follow the one before."""
    n = 1
    while n < len(own) and follows(own[n - 1], own[n]):
        n += 1
    return n


def _back(a: Phrase, b: Phrase) -> bool:
    pair = _PAIRS.get(a.verb) == b.verb or _PAIRS.get(b.verb) == a.verb
    return pair and b.start_s - a.end_s < 1.0


def _to_and_fro(a: Phrase, b: Phrase) -> bool:
    return a.verb == b.verb == "swings" and a.limb == b.limb and a.way != b.way and b.start_s - a.end_s < 1.0


def _again(a: Phrase, b: Phrase) -> bool:
    return (a.verb, a.limb, a.way) == (b.verb, b.limb, b.way) and b.start_s - a.end_s < 1.5


def _up_and_down(own: Sequence[Phrase]) -> Phrase:
    ups = [phrase for phrase in own if phrase.verb in _PAIRS]
    verb, way = f"{own[0].verb} and {own[1].verb}", ups[0].way if len({up.way for up in ups}) == 1 else ""
    first = [phrase for phrase in own if phrase.verb == own[0].verb]
    if verb not in _GERUNDS or len({up.verb for up in ups}) > 1:
        first, verb = ups, ups[0].verb
    if ups[0].verb == "stretches":
        verb, way = "stretches", "forward and back"
    return replace(_all(own), verb=verb, limb=ups[0].limb, way=way or ups[0].way * (verb == "brings"), times=len(first))


def _all(own: Sequence[Phrase]) -> Phrase:
    speeds = {phrase.speed for phrase in own}
    return replace(
        own[0],
        end_s=own[-1].end_s,
        size=max(phrase.size for phrase in own) + 0.2,
        times=sum(phrase.times for phrase in own),
        speed=speeds.pop() if len(speeds) == 1 else "",
    )


def in_turn(phrases: list[Phrase]) -> list[Phrase]:
    """The same with the left and with the right one after the other."""
    kept = list(phrases)
    for verb in ("punches with", "lifts", "kicks with"):
        for part in _PLURALS:
            own = [p for p in kept if p.verb == verb and _part(p) == part and _side(p)]
            if {_side(p) for p in own} == {"left", "right"}:
                kept = [p for p in kept if p not in own]
                start, end = min(p.start_s for p in own), max(p.end_s for p in own)
                size = max(p.size for p in own) + 0.3
                kept.append(Phrase(verb, f"both {_PLURALS[part]}", "in turn", start, end, size))
    return kept
