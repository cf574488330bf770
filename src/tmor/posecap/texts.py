"""Text about stretches of videos and sequences, wherever it comes from, in one schema."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tmor.errors import FormatError
from tmor.posecap.captions import by_plain_label, describe
from tmor.posecap.subtitles import is_subtitles, read_cues
from tmor.skeleton.formats.files import read_bytes, readable

_log = logging.getLogger("tmor")

MAX_BYTES = 256 * 2**20
"""A larger file of captions is refused: it is read at once."""

MAX_TEXT = 10_000
"""Characters of one text; a longer one is no caption but a damaged table."""

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

    def shares(self, other: Caption) -> bool:
        """Whether two stretches have at least half of the shorter one in common; a whole source has."""
        (start, end), (low, high) = self._span, other._span
        shorter = min(end - start, high - low)
        if math.isinf(shorter):
            return True
        common = min(end, high) - max(start, low)
        return common >= 0.5 * shorter if shorter > 0 else common >= 0

    @property
    def _span(self) -> tuple[float, float]:
        return self.start_s or 0.0, math.inf if self.end_s is None else self.end_s


# ---- Which captions belong to a clip.


def by_source(captions: Sequence[Caption]) -> dict[str, list[Caption]]:
    """Captions grouped for :func:`texts_of`, which need not search all of them for every clip."""
    groups: dict[str, list[Caption]] = {}
    for caption in captions:
        groups.setdefault(_stem(caption.source), []).append(caption)
    return groups


def texts_of(
    groups: Mapping[str, Sequence[Caption]],
    source: str,
    start_s: float | None = None,
    end_s: float | None = None,
) -> list[Caption]:
    """The captions of a clip, class names first, otherwise in the order given.

    A caption belongs to a clip if they share a stretch (:meth:`Caption.shares`); a caption without times is about the
    whole source and always belongs.

    Args:
        groups: captions, as :func:`by_source` groups them.
        source: as in :class:`Caption`; of two names that differ in the suffix alone, one must have none.
        start_s, end_s: the clip; None = from the beginning, to the end.
    """
    stem = _stem(source)
    clip = Caption(source, "", start_s, end_s)
    found = [
        caption
        for caption in groups.get(stem, ())
        if (_path(caption.source) in (stem, _path(source)) or _path(source) == stem) and caption.shares(clip)
    ]
    return sorted(found, key=lambda caption: caption.kind != "label")


def _path(source: str) -> str:
    return source.replace("\\", "/").removeprefix("./")


def _stem(source: str) -> str:
    """The name without its suffix; ``take 1.5`` has none."""
    return re.sub(r"\.(?=\d*[A-Za-z])\w{1,5}$", "", _path(source))


# ---- Files of captions.

# Header names in small letters and without separators; the first that a table has counts.
_SOURCE = (
    *("seqid", "sequence", "clipid", "clip", "video", "videoid", "videopath", "videoname", "file", "filename"),
    *("filepath", "path", "source", "id", "name"),
)
_START = ("starts", "start", "starttime", "startsec", "startseconds", "begin", "from", "onset")
_END = ("ends", "end", "endtime", "endsec", "endseconds", "stop", "to", "offset")
_TEXT = ("text", "caption", "captions", "description", "sentence", "narration")
_LABEL = ("label", "action", "class", "classname", "category", "activity")
_COLUMNS = (*_SOURCE, *_START, *_END, *_TEXT, *_LABEL)
_LAST = "(end of the table)"  # a line of ours, which a cell swallows whose quotation mark is not closed
_LISTS = ("labels", "label", "classes", "class_names", "classnames", "names", "categories", "actions")  # no class names
_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".srt", ".vtt")
_EXPECTED = (
    "expected a table (CSV, TSV) or a list of objects (JSON, JSONL) with source (or video, file), text (or caption) or "
    "label (or action), and optionally start_s and end_s; or subtitles (SRT, WebVTT)"
)


def read_captions(path: str | Path, *, descriptions: Mapping[str, Sequence[str]] | None = None) -> list[Caption]:
    """Read captions, by content.

    - Tables (CSV, TSV, semicolons) with a header, and JSON or JSONL lists of objects: source, text or label or both,
      and optionally start and end, as seconds or ``[hh:]mm:ss.mmm``. Header names are matched leniently. Entries
      without any text are counted in the log and left out. In JSON a text may be a list of texts.
    - Subtitles (SRT, WebVTT): the source is the file's name without suffix and language (``clip.en.srt`` -> ``clip``).
      Mark-up, speakers' names and sounds are removed, rolling cues of automatic captions are joined.
    - A folder: all such files in it and below; the source of subtitles is then their path in the folder.

    A label gives the class name as words and its descriptions, written by us and by the user.

    Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark; a file that holds no UTF-8 beyond ASCII but other bytes
    is taken for Windows-1252, with a warning.

    Args:
        descriptions: texts of classes of the user's own, as :func:`read_descriptions` gives.

    Raises:
        FormatError: the file is none of these or too large, its bytes are broken, a needed column is missing (the
            message lists those found), a time can't be one, or there is no caption at all.
    """
    path = Path(path)
    own = by_plain_label(descriptions or {})
    if not path.is_dir():
        found = list(_read_file(path, path.stem, own))
    else:
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file())
        if not files:
            raise FormatError(f"{path}: the folder holds no captions; {_EXPECTED}, named {', '.join(_SUFFIXES)}")
        found = []
        for file in files:
            captions = list(_read_file(file, file.relative_to(path).with_suffix("").as_posix(), own))
            if not captions:
                _log.warning("%s: holds no captions", file)
            found += captions
    if not found:
        raise FormatError(f"{path}: holds no captions; expected at least one text")
    return found


def read_descriptions(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read a JSON file of class descriptions, ``{"class name": ["what the body does", ...]}``.

    Raises:
        FormatError: it is not such a file.
    """
    path = Path(path)
    value = read_json_text(path)
    if not isinstance(value, dict):
        raise FormatError(f'{path}: is a {type(value).__name__}; expected {{"class name": ["description", ...]}}')
    found: dict[str, tuple[str, ...]] = {}
    for label, texts in value.items():
        if label in _LISTS:
            raise FormatError(f'{path}: has a key "{label}"; expected {{"class name": ["description", ...], ...}}')
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise FormatError(f"{path}: class '{label}' has {texts!r:.60}; expected a list of descriptions")
        cleaned = [" ".join(text.split()) for text in texts]
        found[label] = tuple(filter(None, cleaned))
    return found


def read_json_text(path: Path) -> Any:
    """The content of a JSON file in any of the encodings of :func:`read_captions`.

    Raises:
        FormatError: there is no such file, it is too large, or no JSON.
    """
    return _json(path, _decoded(path))


def _read_file(path: Path, name: str, descriptions: Mapping[str, Sequence[str]]) -> Iterator[Caption]:
    text, name, origin = _decoded(path), readable(name), readable(path.name)
    if is_subtitles(text):
        # Downloads carry their language: clip.en.srt, clip.pt-BR.vtt
        source = re.sub(r"\.[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", "", name)
        for start, end, words in read_cues(text, path):
            yield Caption(source, words, start, end, "subtitle", origin)
        return
    rows = _objects(path, text) if text.lstrip()[:1] in ("[", "{") else _table(path, text)
    left_out = 0
    for where, row in rows:
        own = list(_captions(row, where, origin, descriptions))
        left_out += not own
        yield from own
    if left_out:
        _log.warning("%s: %d entries without text are left out", path, left_out)


def _captions(
    row: Mapping[str, Any], where: str, origin: str, descriptions: Mapping[str, Sequence[str]]
) -> Iterator[Caption]:
    columns = {_bare(key): key for key in row}

    def value(names: tuple[str, ...]) -> Any:
        key = next((columns[name] for name in names if name in columns), None)
        return None if key is None else row[key]

    wanted = {"source": _SOURCE, "text or label": _TEXT + _LABEL}
    for what, names in wanted.items():
        if not any(name in columns for name in names):
            found = ", ".join(repr(key) for key in list(row)[:20]) or "nothing"
            raise FormatError(f"{where}: there is no column for the {what} ({', '.join(names)}); found {found}")
    source = value(_SOURCE)
    if not isinstance(source, str | int) or not str(source).strip():
        raise FormatError(f"{where}: the source is {source!r:.60}; expected the name of a file or sequence")
    start, end = (_seconds(value(names), where, what) for names, what in ((_START, "start"), (_END, "end")))
    if start is not None and end is not None and end < start:
        raise FormatError(f"{where}: ends at {end:g} s, before it starts at {start:g} s")
    base = Caption(str(source).strip(), "", start, end, origin=origin)
    for label in _texts(value(_LABEL), where):
        words, *described = describe(label, descriptions)
        yield replace(base, text=words, kind="label")
        yield from (replace(base, text=text, kind="description") for text in described)
    for text in _texts(value(_TEXT), where):
        yield replace(base, text=text)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _texts(value: Any, where: str) -> list[str]:
    texts = value if isinstance(value, list) else [] if value is None else [value]
    for text in texts:
        if not isinstance(text, str):
            raise FormatError(f"{where}: the text is {text!r:.60}; expected words")
        if len(text) > MAX_TEXT:
            raise FormatError(f"{where}: a text of {len(text)} characters; expected at most {MAX_TEXT}")
    return list(filter(None, (" ".join(text.split()) for text in texts)))


def _seconds(value: Any, where: str, what: str) -> float | None:
    """Seconds, or ``[hh:]mm:ss.mmm``, with a point or a comma; None = not given."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        seconds = float(value)
    elif isinstance(value, str) and re.fullmatch(r"\s*(?:\d{1,3}:){0,2}\d{1,9}(?:[.,]\d+)?\s*", value):
        *larger, last = value.strip().replace(",", ".").split(":")
        seconds = float(last) + sum(int(part) * 60 ** (k + 1) for k, part in enumerate(reversed(larger)))
    if not (math.isfinite(seconds) and seconds >= 0):
        raise FormatError(f"{where}: the {what} is {value!r:.60}; expected seconds or hh:mm:ss.mmm")
    return seconds


def _table(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, row) of a table with a header."""
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max("\t;,", key=header.count)
    if delimiter not in header:
        raise FormatError(f"{path}: begins with {header[:60].strip()!r}; {_EXPECTED}")
    reader = csv.reader(io.StringIO(f"{text.lstrip()}\n{_LAST}"), delimiter=delimiter)
    skipped = text[: len(text) - len(text.lstrip())].count("\n")
    first, names = 1 + skipped, list[str]()
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num + skipped}"
            if cells and cells[-1].endswith(f"\n{_LAST}"):
                raise FormatError(f"{path}, line {first}: a quotation mark opens, and nothing closes it")
            first = reader.line_num + skipped + 1
            if not names:
                names = [name.strip() for name in cells]
                bare = [_bare(name) for name in names]
                if twice := next((name for name in _COLUMNS if bare.count(name) > 1), None):
                    raise FormatError(f"{path}: has two columns '{twice}' ({', '.join(names)}); expected one")
            elif cells != [_LAST] and any(cell.strip() for cell in cells):
                if len(cells) != len(names):
                    raise FormatError(
                        f"{where}: has {len(cells)} cells; expected {len(names)} as in the header ({', '.join(names)})"
                    )
                yield where, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num + skipped}: not a table: {error}") from None


def _objects(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of a JSON list or of JSON lines."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if text.lstrip().startswith("{") and all(line.strip()[0] == "{" and line.strip()[-1] == "}" for _, line in lines):
        values = [(f"{path}, line {n}", _json(path, line, first_line=n)) for n, line in lines]
    else:
        value = _json(path, text)
        values = [(f"{path}, entry {n}", v) for n, v in enumerate(value if isinstance(value, list) else [value])]
    for where, value in values:
        if not isinstance(value, dict):
            raise FormatError(f"{where}: is {value!r:.60}; {_EXPECTED}")
        yield where, value


def _json(path: Path, text: str, *, first_line: int = 1) -> Any:
    try:
        value = json.loads(text)
        if "\\u" in text:  # nothing but an escape makes half a character
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.start]
        raise FormatError(
            f"{path}: holds half a character, {ascii(error.object[error.start])[1:-1]}, after {around!r}; expected text"
        ) from None
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{path}: not valid JSON at line {error.lineno + first_line - 1}, column {error.colno}: {error.msg}"
        ) from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise FormatError(f"{path}: JSON that can't be captions: {error}") from None


def _decoded(path: Path) -> str:
    content = read_bytes(path, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise FormatError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB; expected captions in smaller files")
    encoding = "utf-8-sig"
    for mark, name in ((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32")):
        encoding = name if content.startswith(mark) else encoding
    if encoding == "utf-8-sig" and content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, errors="replace").count("\n") + 1
        # Valid UTF-8 elsewhere in the file: it is UTF-8 that has been damaged, not an older encoding.
        damaged = any(c > "\x7f" and c != "\ufffd" for c in content.decode("utf-8", errors="replace"))
        try:
            if damaged or encoding != "utf-8-sig":
                raise error
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise FormatError(
                f"{path}, line {line}: byte 0x{content[error.start]:02x} is not {encoding.removesuffix('-sig').upper()}"
                "; expected text in UTF-8"
            ) from None
        if "\0" not in text:
            _log.warning("%s: line %d is not UTF-8; the file is read as Windows-1252", path, line)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise FormatError(f"{path}, line {line}: holds a zero byte; {_EXPECTED}")
    if not text.strip():
        raise FormatError(f"{path}: the file is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")
