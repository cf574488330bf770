"""Subtitles (SRT, WebVTT): when something is said, and the words alone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tmor.errors import FormatError

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
# What is heard but not said: [music], (applause), whole sung lines.
_SOUND = re.compile(r"\[[^\[\]]*\]|\((?:[\w'’-]+[ ,]*){1,4}\)|[♪♫][^♪♫]*[♪♫]?")
# An upper-case name before a colon, chevrons, or a dash of a dialogue.
_SPEAKER = re.compile(r"^\s*(?:>+\s*|[-–—]\s+)*(?:[A-Z][A-Z0-9 .'’-]{1,24}:\s*)?")
_MOST_CUE_CHARACTERS = 2000


def is_subtitles(text: str) -> bool:
    """Whether a decoded file is WebVTT or SRT."""
    return text.startswith("WEBVTT") or any(_TIMING.match(line) for line in text.lstrip().split("\n", 3)[:3])


def read_cues(text: str, path: Path) -> list[tuple[float, float, str]]:
    """(start_s, end_s, words) of all cues that say something, in order of time.

    Lines that a cue repeats from the one before, as automatic captions do while they roll, are taken once, and a text
    that grows word by word is one cue.

    Raises:
        FormatError: a cue ends before it starts, or is absurdly long; ``path`` and the line are named.
    """
    found: list[tuple[float, float, str]] = []
    shown: list[str] = []  # the lines of the cue before, as they stand there
    for start, end, lines in sorted(_cues(text, path), key=lambda cue: cue[:2]):
        touching = bool(found) and start <= found[-1][1] + 0.1
        known = next((n for n in range(min(len(shown), len(lines)), 0, -1) if shown[-n:] == lines[:n]), 0)
        fresh = " ".join(lines[known if touching else 0 :])
        shown = lines
        if touching and fresh.startswith(found[-1][2] + " "):
            found[-1] = (found[-1][0], end, fresh)
        elif touching and (not fresh or fresh == found[-1][2]):
            found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2])
        elif fresh:
            found.append((start, end, fresh))
    return found


def _cues(text: str, path: Path) -> Iterator[tuple[float, float, list[str]]]:
    """(start_s, end_s, cleaned lines) as the file has them; cues that say nothing are left out."""
    lines = text.split("\n")
    vtt = text.startswith("WEBVTT")
    at = [n for n, line in enumerate(lines) if _TIMING.match(line)]
    for n, following in pairwise([*at, len(lines) + 1]):
        times = _TIMING.match(lines[n])
        assert times is not None
        start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
        if end < start:
            raise FormatError(f"{path}, line {n + 1}: the cue ends at {end:g} s, before it starts at {start:g} s")
        body = lines[n + 1 : following]
        if vtt:  # an empty line ends a cue
            body = body[: body.index("") if "" in body else len(body)]
        elif following <= len(lines) and body and body[-1].strip().isdecimal():
            body = body[:-1]  # the number of the next cue
        if sum(map(len, body)) > _MOST_CUE_CHARACTERS:
            raise FormatError(f"{path}, line {n + 1}: a cue of over {_MOST_CUE_CHARACTERS} characters")
        cleaned = [line for line in map(_words, body) if line]
        if cleaned:
            yield start, end, cleaned


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _words(line: str) -> str:
    line = html.unescape(_TAG.sub("", line))
    line = _SOUND.sub(" ", _SPEAKER.sub("", line))
    line = " ".join(_SPEAKER.sub("", line).split())
    return line if re.search(r"\w", line) else ""
