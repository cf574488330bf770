"""What was found as a file for other programs: tables, subtitles, ELAN, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from tmor.errors import TmorError
from tmor.serve.predict import TrackResult, as_json
from tmor.skeleton.formats.files import check_new_file, whole_file
from tmor.skeleton.formats.persons import short_name


def write_segments(path: str | Path, source: str | Path, results: Sequence[TrackResult]) -> None:
    """Write what each person does when, in the format that the name's ending says; whole or not at all.

    Args:
        path: a new file; :data:`FORMATS` are the endings, :func:`segments_text` says what they hold.
        source: where the results come from.
        results: of :func:`tmor.serve.predict.predict_file`.

    Raises:
        TmorError: the file exists, its folder does not or can't be written, or the ending is not known.
    """
    path = Path(path)
    check_new_file(path, [f".{name}" for name in FORMATS])
    format = path.suffix[1:].lower()
    # A link must hold from where the new file lies; elsewhere the source is named as the caller does.
    text = segments_text(format, Path(source).resolve() if format == "eaf" else source, results)
    try:
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise TmorError(f"{path}: can't be written: {error.strerror}") from error


def segments_text(format: str, source: str | Path, results: Sequence[TrackResult]) -> str:
    """What each person does when, as a text in one of :data:`FORMATS`.

    Times are seconds of the source (milliseconds in ``eaf``), as if at 30 frames per second where the rate is unknown.

    - ``csv``: ``person,start_s,end_s,label,score`` (RFC 4180). A cell of text that a spreadsheet would take for a
      formula begins with an apostrophe.
    - ``srt``, ``vtt``: subtitles, one for each stretch of time in which everybody goes on with the same. Where there
      are several persons it names who: ``#1`` for ``clip#1`` of ``clip.mp4``, ``#0`` for ``clip``.
    - ``eaf``: an annotation file of ELAN (EAF 3.0), one tier per person; a video is linked.
    - ``json``: what ``tmor predict --json`` prints (:func:`tmor.serve.predict.as_json`).

    Args:
        source: a name or path; it need not be there.

    Raises:
        TmorError: the format is not known.
    """
    if format not in _WRITERS:
        raise TmorError(f"format is '{format}'; expected one of {', '.join(FORMATS)}")
    text = _WRITERS[format](as_json(str(source), results))
    # File names may hold bytes that are no characters.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _csv(found: dict[str, Any]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["person", "start_s", "end_s", "label", "score"])
    for track in found["tracks"]:
        for s in track["segments"]:
            rows.writerow([_cell(track["id"]), s["start_s"], s["end_s"], _cell(s["label"]), s["score"]])
    return text.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@＝＋－＠") or text[:1] in tuple("\t\r\n") else text


def _srt(found: dict[str, Any]) -> str:
    cues = [
        f"{n}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for n, (start, end, text) in enumerate(_cues(found), start=1)
    ]
    return "\n".join(cues)


def _vtt(found: dict[str, Any]) -> str:
    cues = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{escape(text, quote=False)}\n"
        for start, end, text in _cues(found)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _cues(found: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds and text of each stretch in which everybody goes on with the same."""
    tracks, stem = found["tracks"], Path(found["source"]).stem
    lines = [
        (start, end, n, _line(s["label"] if len(tracks) == 1 else f"{short_name(track['id'], stem)}: {s['label']}"))
        for n, track in enumerate(tracks)
        for s, start, end in _in_ms(track)
    ]
    starting: dict[int, list[tuple[int, str]]] = {}
    ending: dict[int, list[tuple[int, str]]] = {}
    for start, end, n, line in lines:
        starting.setdefault(start, []).append((n, line))
        ending.setdefault(end, []).append((n, line))
    cues: list[tuple[int, int, str]] = []
    going: list[tuple[int, str]] = []
    since = 0
    for moment in sorted({*starting, *ending}):
        text = "\n".join(line for _, line in sorted(going))
        if text and cues and cues[-1][1:] == (since, text):
            cues[-1] = (cues[-1][0], moment, text)
        elif text:
            cues.append((since, moment, text))
        for line in ending.get(moment, []):
            going.remove(line)
        going += starting.get(moment, [])
        since = moment
    return cues


def _in_ms(track: dict[str, Any]) -> list[tuple[dict[str, Any], int, int]]:
    """The segments with their start and end in milliseconds, those that begin before the source does cut off."""
    spans = [(s, max(round(1000 * s["start_s"]), 0), round(1000 * s["end_s"])) for s in track["segments"]]
    return [(s, start, end) for s, start, end in spans if start < end]


def _line(text: str) -> str:
    """In one line: an empty one would end the subtitle. An arrow of three characters would begin another."""
    return re.sub(r"\s+", " ", text).strip().replace("-->", "→")


def _clock(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _eaf(found: dict[str, Any]) -> str:
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "tmor",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{xsi}}}noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    ET.register_namespace("xsi", xsi)
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    media = Path(_xml(found["source"]))
    if (kind := _VIDEOS.get(media.suffix.lower())) is not None:
        beside = f"./{quote(media.name)}"
        url = media.as_uri() if media.is_absolute() else beside
        ET.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=url, RELATIVE_MEDIA_URL=beside, MIME_TYPE=kind)
    order = ET.SubElement(root, "TIME_ORDER")
    spans = [(track, _in_ms(track)) for track in found["tracks"]]
    # Every annotation has two slots of its own, in order of time: in ELAN, those who share one move together.
    moments = [
        (ms, n, which)
        for n, (_, *both) in enumerate(s for _, own in spans for s in own)
        for which, ms in enumerate(both)
    ]
    slots: dict[tuple[int, int], str] = {}
    for ms, n, which in sorted(moments):
        slots[n, which] = f"ts{len(slots) + 1}"
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slots[n, which], TIME_VALUE=str(ms))
    names: set[str] = set()
    count = 0
    for track, segments in spans:
        person = name = _xml(track["id"])
        while name in names:
            name += "'"
        names.add(name)
        tier = ET.SubElement(root, "TIER", TIER_ID=name, PARTICIPANT=person, LINGUISTIC_TYPE_REF="action")
        for s, _, _ in segments:
            annotation = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{count + 1}",
                TIME_SLOT_REF1=slots[count, 0],
                TIME_SLOT_REF2=slots[count, 1],
            )
            ET.SubElement(annotation, "ANNOTATION_VALUE").text = _xml(s["label"])
            count += 1
    ET.SubElement(
        root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="action", TIME_ALIGNABLE="true", GRAPHIC_REFERENCES="false"
    )
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _xml(text: str) -> str:
    """Text without the characters that XML has no way to write."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", text)


def _json(found: dict[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False) + "\n"


_VIDEOS = {
    **dict.fromkeys((".mp4", ".m4v"), "video/mp4"),
    **dict.fromkeys((".mpg", ".mpeg"), "video/mpeg"),
    **{".mov": "video/quicktime", ".avi": "video/x-msvideo", ".mkv": "video/x-matroska", ".webm": "video/webm"},
}

_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "csv": _csv,
    "srt": _srt,
    "vtt": _vtt,
    "eaf": _eaf,
    "json": _json,
}

FORMATS = tuple(_WRITERS)
"""What :func:`segments_text` can write."""
