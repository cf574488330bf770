"""Which texts are worth learning from: rules that drop captions, counted by reason."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tmor.posecap.texts import Caption

_VERBS = """
    arch balance bat bend block bounce bow box bring brush button carry cartwheel cast catch chop circle clap clean
    climb clutch comb cook crawl cross crouch curl cut cycle dab dance dip dive dodge drag draw dribble drink drive
    drop duck eat embrace extend fall fasten fetch flap flex flick fling flip fold follow gallop gesture grab grasp
    grip hammer hand hang haul hit hold hop hug hurl hurry jab jerk jog jump kick kneel knock land lap lead lean
    leap lie lift limp lock lower lunge march massage mop move nod open pace paddle pass pat peel pet pick pivot
    plank play plié point pose pound pour press prop pull pump punch push put raise reach relax release retreat ride
    rise roll rotate row rub run rush salute scoop scratch scrub sew shake shift shoot shove shovel shrug shuffle
    sidestep sip sit skate skip slap slide slip slouch smash snap sneak somersault spin split spread sprint squat
    squeeze stagger stamp stand step stir stomp stoop straighten stretch stride strike stroke strum stumble sway
    sweep swim swing swipe switch tap throw tilt tip tiptoe toss touch transfer travel trip trot tuck tug turn twirl
    twist type unfold vacuum walk wander wash wave wear whip wipe work wrap wrestle wring write yawn zip
"""
_IRREGULAR = """
    bent bound brought caught clung cut drank drawn drew driven drove ate eaten fell fallen flung flown held hung
    knelt lain laid lay led leapt lying put ran risen rose ridden rode sat shaken shook shot slid spread sprang
    stood stridden strode struck swam swept swum swung taken took thrown threw threw tore turned woke worn wore
    wrote wrung handstand somersaults headstand exercise exercises push-up push-ups pushup pushups sit-up sit-ups
    pull-up pull-ups jacks backwards forwards upwards downwards sideways
"""
_ENGLISH = """
    a about above across after again against all and arms around as at away back be before behind both but by do
    does down each feet foot for forward from front goes hands has he her here his into is it its just keep leg legs
    let like me my now of off on one or other out over people person right she side slowly some somebody someone
    something that the their them then there these they this to together two up us we while who with you your
"""


def _forms(verb: str) -> list[str]:
    """``stop`` -> stop, stops, stopped, stopping, and spellings that do no harm if they are none."""
    ends = verb[:-1] if verb.endswith("e") else verb
    doubled = verb + verb[-1] if re.search(r"[^aeiou][aeiou][bdgklmnprt]$", verb) else ends
    forms = [verb, f"{verb}s", f"{verb}es", f"{ends}ed", f"{ends}ing", f"{doubled}ed", f"{doubled}ing"]
    return [*forms, f"{verb[:-1]}ies", f"{verb[:-1]}ied"] if verb.endswith("y") else forms


_MOVING = {form for verb in _VERBS.split() for form in _forms(verb)} | set(_IRREGULAR.split())
_COMMON = set(_ENGLISH.split())

_ADDRESS = re.compile(r"https?://|www\.|\b\w[\w-]*\.(?:com|net|org|io|tv|co|me|ly)\b|[\w.]+@[\w-]+\.\w", re.IGNORECASE)
_ADVERTISED = re.compile(
    r"\b(?:subscri(?:be|bers?|ption)|sponsor(?:ed|s|ing)?|discount|promo code|coupon|free shipping|use code|"
    r"link in (?:the |my )?(?:bio|description)|like and share|(?:hit|smash) (?:the|that) (?:like|bell)|patreon|"
    r"merch|giveaway|download (?:the|our|my) app|sign up|buy now|click (?:here|below|the link)|"
    r"(?:subtitles?|captions?|transcript(?:ion)?) by)\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\bas an ai\b|\bas a (?:large )?language model\b|"
    r"\bi(?:'m| am) (?:sorry|unable|not able|afraid)\b|\bi (?:can't|cannot|can not|won't|don't|do not) "
    r"(?:help|assist|describe|provide|see|view|identify|comply|do|determine|tell)|"
    r"\bunable to (?:describe|determine|identify|see|provide)\b|\b(?:no|not any) (?:person|people|image|video) "
    r"(?:is |are )?(?:visible|provided|shown|attached)\b|\bcannot (?:be )?(?:determin|identif|describ)",
    re.IGNORECASE,
)

FEWEST_WORDS, MOST_WORDS = 2, 77
"""Of captions and subtitles; 77 tokens is what CLIP's text tower reads."""

_EXAMPLES = 3


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+", text.lower().replace("’", "'"))


def is_refusal(text: str) -> bool:
    """Whether a model says that it can't or won't, instead of an answer."""
    return _REFUSED.search(text.replace("’", "'")) is not None


def tells_movement(text: str) -> bool:
    """Whether a text holds a verb of body movement, from a list of ours."""
    words = _words(text)
    return any(word in _MOVING or any(part in _MOVING for part in word.split("-")) for word in words)


def _foreign(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c < "\u0250" for c in letters) < 0.9 * len(letters):
        return True  # beyond Latin letters
    if sum(c < "\x80" for c in letters) < 0.85 * len(letters):
        return True
    words = _words(text)
    # Left out of the list: what other languages write alike (an, arm, die, hand, in, so, war).
    return len(words) >= 6 and sum(word in _COMMON or word in _MOVING for word in words) < 0.2 * len(words)


# Reason -> (which kinds it looks at, whether a text is dropped), in the order of asking.
_FREE = ("caption", "subtitle", "generated")
_RULES: dict[str, tuple[tuple[str, ...], Callable[[str], bool]]] = {
    "empty": (("label", "description", *_FREE), lambda text: not _words(text)),
    "refusal": (("description", "generated"), is_refusal),
    "address or advertisement": (_FREE, lambda text: bool(_ADDRESS.search(text) or _ADVERTISED.search(text))),
    "not English": (_FREE, _foreign),
    "too short": (("subtitle", "generated"), lambda text: len(_words(text)) < FEWEST_WORDS),
    "too long": (_FREE, lambda text: len(_words(text)) > MOST_WORDS),
    "no movement": (("subtitle", "generated"), lambda text: not tells_movement(text)),
}
_REASONS = (*_RULES, "duplicate", "near-duplicate")


@dataclass(frozen=True)
class FilterReport:
    """What was dropped, and why.

    Args:
        kept: how many captions stay.
        dropped: reason -> how many; reasons that never held are left out.
        examples: reason -> the first few that were dropped.
    """

    kept: int
    dropped: dict[str, int]
    examples: dict[str, tuple[Caption, ...]]

    def __str__(self) -> str:
        lines = [f"{self.kept} texts kept, {sum(self.dropped.values())} dropped"]
        for reason, count in self.dropped.items():
            shown = ", ".join(f"'{caption.text[:60]}'" for caption in self.examples[reason])
            lines.append(f"  {reason}: {count}, such as {shown}")
        return "\n".join(lines)


def filter_texts(captions: Sequence[Caption]) -> tuple[list[Caption], FilterReport]:
    """Drop texts that nothing can be learned from.

    Class names are only dropped where they are empty or said twice; people's captions may be short and without a verb
    of movement ("tai chi"), subtitles and generated texts may not. Of two texts of the same source about the same
    stretch (half of the shorter in common) that say the same in the same words, or in nearly the same (nine of ten
    words; sides and numbers always count), the first stays; near-duplicates are looked for among the last hundred
    texts of the source.

    Returns:
        The captions that stay, in their order, and the report.
    """
    kept: list[Caption] = []
    dropped: dict[str, list[Caption]] = {}
    same: dict[tuple[str, ...], list[Caption]] = {}
    recent: dict[str, deque[Caption]] = {}
    for caption in captions:
        words = (caption.source, *_words(caption.text))
        lately = recent.setdefault(caption.source, deque(maxlen=100))
        reason = next((rule for rule in _REASONS if _drops(rule, caption, same.get(words, ()), lately)), None)
        if reason is None:
            kept.append(caption)
            same.setdefault(words, []).append(caption)
            lately.append(caption)
        else:
            dropped.setdefault(reason, []).append(caption)
    reasons = [rule for rule in _REASONS if rule in dropped]
    return kept, FilterReport(
        len(kept),
        {reason: len(dropped[reason]) for reason in reasons},
        {reason: tuple(dropped[reason][:_EXAMPLES]) for reason in reasons},
    )


def _drops(rule: str, caption: Caption, same: Sequence[Caption], lately: Iterable[Caption]) -> bool:
    if rule == "duplicate":
        return any(caption.shares(other) for other in same)
    if rule == "near-duplicate":
        free = caption.kind not in ("label", "description")
        return free and any(caption.shares(other) and _nearly_same(caption.text, other.text) for other in lately)
    kinds, holds = _RULES[rule]
    return caption.kind in kinds and holds(caption.text)


_COUNTED = re.compile(r"\d+|left|right|once|twice|one|two|three|four|five|six|seven|eight|nine|ten|not|no")


def _nearly_same(a: str, b: str) -> bool:
    x, y = set(_words(a)), set(_words(b))
    telling = {word for word in x ^ y if _COUNTED.fullmatch(word)}
    return bool(x & y) and not telling and len(x & y) >= 0.9 * max(len(x), len(y))
