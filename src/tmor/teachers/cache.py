"""Embeddings of teachers, computed once per text or stretch of video and kept on disk."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tmor.config import cache_folder
from tmor.errors import FormatError, TmorError
from tmor.pose.videos import content_id
from tmor.teachers.frames import check_stretch, read_stretches
from tmor.teachers.huggingface import TextTeacher, VideoTeacher

_log = logging.getLogger("tmor")


def embed_texts(teacher: TextTeacher, texts: Sequence[str]) -> np.ndarray:
    """The teacher's embeddings of texts; only those never seen before are computed.

    A cache that can't be read or written is not an error: everything is computed then.

    Returns:
        (len(texts), teacher.width) float32, L2-normalised.
    """
    unique = list(dict.fromkeys(texts))
    store = _Store("texts", teacher)
    found = store.get(unique)
    missing = [text for text in unique if text not in found]
    if missing:
        new = dict(zip(missing, teacher.encode(missing), strict=True))
        store.put(new)
        found |= new
    return np.stack([found[text] for text in texts]) if texts else np.zeros((0, teacher.width), dtype=np.float32)


def embed_videos(
    teacher: VideoTeacher,
    clips: Sequence[tuple[str | Path, float, float]],
    *,
    batch: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The teacher's embeddings of clips of videos; only those never seen before are computed.

    They are kept by the content of the file, the stretch and the teacher's weights, batch by batch: a run that was
    stopped goes on where it was, and a file may move or have several names. All clips of a file are taken in one
    pass over it. A cache that can't be read or written is not an error. Clips without an embedding are counted by
    reason and logged.

    Args:
        clips: (file, start, end), in seconds since the start of the file.
        batch: clips that the teacher gets at once.
        progress: called with how many clips are done, and of how many.

    Returns:
        (len(clips), teacher.width) float32, L2-normalised; NaN = the file can't be read, or ends before the clip does.

    Raises:
        TmorError: a clip does not end after its start or starts before 0, the teacher gives no finite numbers, or PyAV
            is not installed.
    """
    of_file: dict[Path, dict[tuple[float, float], list[int]]] = {}
    for i, (path, start, end) in enumerate(clips):
        check_stretch(path, start, end)
        of_file.setdefault(Path(path), {}).setdefault((float(start), float(end)), []).append(i)
    rows = np.full((len(clips), teacher.width), np.nan, dtype=np.float32)
    run = _VideoRun(teacher, rows, batch, progress)
    for path, wanted in of_file.items():
        run.file(path, wanted)
    run.flush()
    if run.skipped:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in run.skipped.items())
        _log.warning("%d of %d clips have no video embedding (%s)", run.skipped.total(), len(clips), reasons)
    return rows


class _VideoRun:
    """One call of :func:`embed_videos`: fills rows, one file after the other; batches go across files."""

    def __init__(
        self, teacher: VideoTeacher, rows: np.ndarray, batch: int, progress: Callable[[int, int], None]
    ) -> None:
        self.skipped: Counter[str] = Counter()
        self._teacher, self._rows, self._batch, self._progress = teacher, rows, batch, progress
        self._store = _Store("videos", teacher)
        self._waiting: list[tuple[str, list[int], Tensor]] = []
        self._done = 0

    def file(self, path: Path, wanted: dict[tuple[float, float], list[int]]) -> None:
        try:
            id = content_id(path)
        except FormatError as error:
            self._skip("can't be read", error, wanted.values())
            return
        keys = {stretch: f"{id} {stretch[0]!r} {stretch[1]!r}" for stretch in wanted}
        found = self._store.get(keys.values())
        for stretch, key in keys.items():
            if key in found:
                self._fill(wanted.pop(stretch), found[key])
        if not wanted:
            return
        stretches = list(wanted)
        try:
            for i, pixels in read_stretches(path, stretches, frames=self._teacher.frames, size=self._teacher.size):
                places = wanted.pop(stretches[i])
                if pixels is None:
                    self._skip("video ends before", None, [places])
                    continue
                self._waiting.append((keys[stretches[i]], places, pixels))
                if len(self._waiting) >= self._batch:
                    self.flush()
        except FormatError as error:
            self._skip("can't be decoded", error, wanted.values())

    def flush(self) -> None:
        """Embed what waits."""
        if not self._waiting:
            return
        keys, places, pixels = zip(*self._waiting, strict=True)
        self._waiting = []
        rows = self._teacher.encode_video(torch.stack(pixels))
        if not np.isfinite(rows).all():  # NaN says that a clip can't be read
            raise TmorError(f"teacher '{self._teacher.name}' gives NaN or infinite embeddings; is its file damaged?")
        self._store.put(dict(zip(keys, rows, strict=True)))
        for where, row in zip(places, rows, strict=True):
            self._fill(where, row)

    def _fill(self, places: list[int], row: np.ndarray) -> None:
        self._rows[places] = row
        self._count(len(places))

    def _skip(self, reason: str, error: FormatError | None, clips: Iterable[list[int]]) -> None:
        if error is not None:
            _log.warning("%s", error)
        count = sum(map(len, clips))
        self.skipped[reason] += count
        self._count(count)

    def _count(self, more: int) -> None:
        self._done += more
        self._progress(self._done, len(self._rows))


class _Store:
    """What a teacher has said, on disk by key. Where the disk fails it remembers nothing."""

    def __init__(self, name: str, teacher: TextTeacher | VideoTeacher) -> None:
        self._path = cache_folder() / f"{name}.sqlite"
        self._hash, self._width = teacher.hash, teacher.width

    def get(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """Those that are there, (width,) float32 each."""
        found = {}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._opened()) as store, store:
                for key in keys:
                    hit = store.execute(
                        "SELECT row FROM embeddings WHERE teacher = ? AND key = ?", (self._hash, key)
                    ).fetchone()
                    if hit is not None and len(hit[0]) == 4 * self._width:
                        found[key] = np.frombuffer(hit[0], dtype="<f4")
        except (sqlite3.Error, OSError):
            return {}
        return found

    def put(self, rows: Mapping[str, np.ndarray]) -> None:
        values = [(self._hash, key, row.astype("<f4").tobytes()) for key, row in rows.items()]
        try:
            with closing(self._opened()) as store, store:
                store.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", values)
        except (sqlite3.Error, OSError):
            pass

    def _opened(self) -> sqlite3.Connection:
        store = sqlite3.connect(self._path, timeout=10)
        store.execute(
            "CREATE TABLE IF NOT EXISTS embeddings (teacher TEXT, key TEXT, row BLOB, PRIMARY KEY (teacher, key))"
        )
        return store
