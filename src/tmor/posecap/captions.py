"""Texts of movements: what a label means in words, and its mirror image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

_SWAP = {
    "left": "right",
    "right": "left",
    "lefts": "rights",
    "rights": "lefts",
    "leftward": "rightward",
    "rightward": "leftward",
    "leftwards": "rightwards",
    "rightwards": "leftwards",
    "lefty": "righty",
    "righty": "lefty",
    "leftmost": "rightmost",
    "rightmost": "leftmost",
}
_SIDED = re.compile(
    rf"(?<!\w)(?:((?:counter|anti)[ -]?)?clock[ -]?wise|{'|'.join(sorted(_SWAP, key=len, reverse=True))})(?!\w)",
    re.IGNORECASE,
)


@cache
def _descriptions() -> dict[str, list[str]]:
    text = resources.files("tmor.posecap").joinpath("descriptions.json").read_text(encoding="utf-8")
    return json.loads(text)


def plain_label(label: str) -> str:
    """A class name as words: ``jumping_jacks`` -> ``jumping jacks``, ``Cook.Stir`` -> ``cook stir``."""
    return " ".join(re.sub(r"[_.]", " ", label).split()).lower()


def describe(label: str, own: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
    """Texts of a label: the label itself as words, then descriptions of its movement where we have written some.

    Known labels get eight: two short phrases, two of the whole body, one of the arms, one of legs and trunk, one of the
    phases, one of the purpose with the most telling cue; or five, that say the same more briefly.

    Args:
        own: further descriptions by plain label (:func:`by_plain_label`), which come last.
    """
    words = plain_label(label)
    return tuple(dict.fromkeys((words, *_descriptions().get(words, ()), *(own or {}).get(words, ()))))


def by_plain_label(own: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Descriptions of one's own by plain label; labels that are the same words share theirs."""
    found: dict[str, tuple[str, ...]] = {}
    for label, texts in own.items():
        found[plain_label(label)] = found.get(plain_label(label), ()) + tuple(texts)
    return found


def mirror_text(text: str) -> str:
    """The text of the mirrored movement: left and right change places, and so do clockwise and counterclockwise."""

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = _SWAP.get(word.lower()) or ("clockwise" if match[1] else "counterclockwise")
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDED.sub(swap, text)
