"""A look into a data set of triplets: one self-contained page of skeletons, pictures, texts and neighbours."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import TmorError
from tmor.pose.videos import read_frames
from tmor.posecap.audit import embeddings
from tmor.posecap.shards import Embedding, Record, Shards, open_shards
from tmor.serve.report import ReportClip, clip_data, layout_data, script_data
from tmor.skeleton.formats.files import check_new_file, is_video, whole_file
from tmor.skeleton.layouts import Layout

_log = logging.getLogger("tmor")

_PICTURES, _PICTURE_HEIGHT = 6, 120
_NEIGHBOURS = 5
_MOST_FRAMES = 120


def write_browse_page(
    path: str | Path,
    data: str | Path,
    *,
    count: int = 60,
    seed: int = 0,
    where: str | None = None,
    sources: Sequence[Path] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> int:
    """Write a page with a random sample of triplets; it needs no other file and no network.

    Args:
        path: the HTML file; one that exists is not overwritten.
        data: the data set.
        count: triplets on the page.
        where: a condition on columns in SQL that they must meet.
        sources: folders that the data set was built from: pictures of the videos that are there are put into the page.

    Returns:
        How many triplets are on it.

    Raises:
        TmorError: the page exists or can't be written, or there is no such triplet.
    """
    path = Path(path)
    check_new_file(path)
    page, shown = _page(data, count=count, seed=seed, where=where, sources=sources, progress=progress)
    try:
        with whole_file(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise TmorError(f"{path}: can't be written: {error.strerror}") from error
    return shown


def _page(
    data: str | Path,
    *,
    count: int,
    seed: int,
    where: str | None,
    sources: Sequence[Path],
    progress: Callable[[str, int, int], None],
) -> tuple[str, int]:
    """The page as text, and how many triplets it shows."""
    shards = open_shards(data)
    ids = shards.column("id", where=where).column("id").to_pylist()
    if not ids:
        raise TmorError(f"{data}: holds no triplets" + (f" where {where}" if where else ""))
    chosen = sorted(np.random.default_rng(seed).permutation(len(ids))[:count].tolist())
    names = ", ".join("'" + ids[i].replace("'", "''") + "'" for i in chosen)
    records = [record for _, record in shards.records(f"id IN ({names})")]
    neighbours = _neighbours(shards, [record.id for record in records])
    layouts: dict[Layout, int] = {}
    cards = []
    for n, record in enumerate(records):
        progress("pictures", n, len(records))
        cards.append(_card(record, layouts, sources) | {"neighbours": neighbours.get(record.id, {})})
    content = {
        "title": Path(str(data)).name,
        "total": len(shards),
        "matching": len(ids),
        "layouts": [layout_data(layout) for layout in layouts],
        "clips": cards,
    }
    template = files("tmor.serve").joinpath("browse.html").read_text(encoding="utf-8")
    head, tail = template.split("{{data}}", 1)
    return f"{head}{script_data(content)}{tail}", len(records)


def _card(record: Record, layouts: dict[Layout, int], sources: Sequence[Path]) -> dict[str, Any]:
    card = clip_data(ReportClip(record.track, {}), _MOST_FRAMES, {}, layouts)
    facts = {
        "collection": record.collection,
        "source": record.source,
        "label": record.label,
        "split": record.split,
        "licence": record.licence,
        "poses by": record.estimator,
        "SHA-256 of the source": record.source_hash,
    }
    return card | {
        "id": record.id,
        "end_s": None if record.end_s is None else round(record.end_s, 3),
        "texts": [[t.text, t.kind, t.origin] for t in record.texts],
        "facts": {name: value for name, value in facts.items() if value},
        "pictures": _pictures(record, sources),
    }


def _pictures(record: Record, sources: Sequence[Path]) -> list[str]:
    """Evenly spaced frames of the stretch as data URIs; none where the video is not there or can't be read."""
    from PIL import Image

    path = next((folder / record.source for folder in sources if is_video(folder / record.source)), None)
    if path is None or record.end_s is None:
        return []
    start, length = record.track.start_s, record.end_s - record.track.start_s
    due = [start + (n + 0.5) * length / _PICTURES for n in range(_PICTURES)]
    found: list[str] = []
    try:
        for frame in read_frames(path):
            if frame.time_s < due[len(found)]:
                continue
            image = Image.fromarray(frame.image)
            image = image.resize((max(1, round(image.width * _PICTURE_HEIGHT / image.height)), _PICTURE_HEIGHT))
            content = io.BytesIO()
            image.save(content, "JPEG", quality=75)
            found.append("data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode())
            if len(found) == _PICTURES:
                break
    except TmorError as error:
        _log.warning("no pictures of %s: %s", record.source, error)
    return found


def _neighbours(shards: Shards, ids: Sequence[str]) -> dict[str, dict[str, list[list[Any]]]]:
    """id -> {column: [[id, plainest text, cosine similarity], ...]} by the embeddings there are."""
    everyone = shards.column("id").column("id").to_pylist()
    at = {id: row for row, id in enumerate(everyone)}
    rows = np.array([at[id] for id in ids])
    found: dict[str, dict[str, list[list[Any]]]] = {id: {} for id in ids}
    columns: tuple[Embedding, ...] = ("video", "text")
    for column in columns:
        if not shards.width(column):
            continue
        batch = shards.take(rows, columns=(column,))
        own = _unit(batch.video if column == "video" else batch.text)
        best = np.full((len(ids), _NEIGHBOURS), -2.0, dtype=np.float32)
        who = np.full((len(ids), _NEIGHBOURS), -1)
        first = 0
        for block in embeddings(shards, column):
            numbers = np.arange(first, first + len(block))
            alike = np.nan_to_num(own @ _unit(block).T, nan=-2.0)
            alike[rows[:, None] == numbers] = -2.0  # a triplet is not its own neighbour
            both, both_who = np.hstack([best, alike]), np.hstack([who, np.broadcast_to(numbers, alike.shape)])
            order = np.argsort(-both, axis=1)[:, :_NEIGHBOURS]
            best, who = np.take_along_axis(both, order, 1), np.take_along_axis(both_who, order, 1)
            first += len(block)
        wanted = np.unique(who[best > -1.5])
        texts = dict(zip(wanted.tolist(), shards.take(wanted, columns=("texts",)).texts, strict=True))
        for i, id in enumerate(ids):
            found[id][column] = [
                [everyone[row], next(iter(texts[row]), ""), round(float(score), 3)]
                for row, score in zip(who[i].tolist(), best[i], strict=True)
                if score > -1.5
            ]
    return found


def _unit(x: np.ndarray | None) -> np.ndarray:
    assert x is not None
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-9)
