"""Embeddings of teachers, computed once per text and kept on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from tmor.config import cache_folder
from tmor.teachers.huggingface import TextTeacher


def embed_texts(teacher: TextTeacher, texts: Sequence[str]) -> np.ndarray:
    """The teacher's embeddings of texts; only those never seen before are computed.

    A cache that can't be read or written is not an error: everything is computed then.

    Returns:
        (len(texts), teacher.width) float32, L2-normalised.
    """
    unique = list(dict.fromkeys(texts))
    found: dict[str, np.ndarray] = {}
    path = cache_folder() / "texts.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=10)) as store, store:
            store.execute(
                "CREATE TABLE IF NOT EXISTS texts (teacher TEXT, text TEXT, row BLOB, PRIMARY KEY (teacher, text))"
            )
            for text in unique:
                hit = store.execute(
                    "SELECT row FROM texts WHERE teacher = ? AND text = ?", (teacher.hash, text)
                ).fetchone()
                if hit is not None and len(hit[0]) == 4 * teacher.width:
                    found[text] = np.frombuffer(hit[0], dtype="<f4")
    except (sqlite3.Error, OSError):
        found = {}
    missing = [text for text in unique if text not in found]
    if missing:
        rows = teacher.encode(missing)
        found |= dict(zip(missing, rows, strict=True))
        try:
            with closing(sqlite3.connect(path, timeout=10)) as store, store:
                store.executemany(
                    "INSERT OR REPLACE INTO texts VALUES (?, ?, ?)",
                    [
                        (teacher.hash, text, row.astype("<f4").tobytes())
                        for text, row in zip(missing, rows, strict=True)
                    ],
                )
        except (sqlite3.Error, OSError):
            pass
    return np.stack([found[text] for text in texts]) if texts else np.zeros((0, teacher.width), dtype=np.float32)
