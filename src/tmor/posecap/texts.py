"""Text about stretches of videos and sequences, wherever it comes from, in one schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["label", "description", "caption", "subtitle", "generated"]


@dataclass(frozen=True)
class Caption:
    """One text about what somebody does.

    Args:
        source: what it is about: the path of a video or pose file relative to the data set's folder, or the id of a
            sequence; names without a suffix match any suffix.
        text: the words.
        start_s, end_s: the stretch that it is about, in seconds of the source; None = the whole of it.
        kind: a class name, a written description of a class, a free caption, a subtitle, or made by a captioner.
        origin: the file that it comes from, or the captioner's name: its provenance.
    """

    source: str
    text: str
    start_s: float | None = None
    end_s: float | None = None
    kind: Kind = "caption"
    origin: str = ""
