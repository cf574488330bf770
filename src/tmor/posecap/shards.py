"""Triplets on disk: a Lance data set that is appended to, gets columns added, and is read at random.

A data set is a folder (or an address in an object store) with ``triplets.lance`` in it; one row per triplet, whose
columns :mod:`tmor.posecap.rows` documents.

Every write is one commit: whoever is killed leaves the version before. Columns are added and filled without rewriting
the others. Lance is not fork-safe: worker processes must be spawned.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tmor.errors import FormatError, TmorError
from tmor.posecap.rows import (
    MOVEMENT,
    RECORD,
    VERSION,
    VERSION_KEY,
    Batch,
    Record,
    damage,
    is_embedding,
    schema,
    text_values,
    to_batch,
    to_records,
    to_table,
    vectors,
)
from tmor.posecap.texts import Caption
from tmor.posecap.triplets import Triplet

if TYPE_CHECKING:
    import pyarrow as pa

Embedding = Literal["video", "text"]
"""The columns that teachers add."""

_TABLE, _DRAFT = "triplets.lance", ".triplets.lance.part"  # there whole or not at all
_SETTINGS_KEY = b"tmor.build"
_ROWS_PER_FILE = 65_536
_RUN, _WINDOW = 8, 8192


def is_shards(path: str | Path) -> bool:
    """Whether a folder (or an address) holds a data set of triplets, by its content."""
    return "://" in str(path) or (Path(path) / _TABLE).is_dir()


def create_shards(path: str | Path, *, settings: Mapping[str, Any] | None = None) -> Shards:
    """An empty data set in a folder that need not be there yet.

    Args:
        settings: how its triplets are made, kept as :attr:`Shards.settings`.

    Raises:
        TmorError: there is a data set already, the folder can't be written, or pylance is not installed.
    """
    if is_shards(path):
        raise TmorError(f"{path}: holds a data set already; choose another folder")
    lance, draft = _lance(), Path(path) / _DRAFT
    with _writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
        empty = schema().empty_table()
        kept = {**empty.schema.metadata, _SETTINGS_KEY: json.dumps(dict(settings or {}))}
        shutil.rmtree(draft, ignore_errors=True)  # of a build that was killed here
        lance.write_dataset(empty.replace_schema_metadata(kept), str(draft), mode="create")
        draft.rename(Path(path) / _TABLE)
    return open_shards(path)


def discard_shards(path: str | Path) -> None:
    """Take back a data set that :func:`create_shards` made and that holds nothing."""
    assert not len(open_shards(path))
    draft = Path(path) / _DRAFT
    (Path(path) / _TABLE).rename(draft)
    shutil.rmtree(draft)


def open_shards(path: str | Path, *, version: int | None = None) -> Shards:
    """Open a data set for reading.

    Args:
        path: the folder that ``tmor build`` wrote, or its address in an object store (``s3://...``).
        version: of the data, as :attr:`Shards.version` gives it; None = the latest.

    Raises:
        FormatError: there is no data set, it was written by a newer tmor, or lacks a column.
        TmorError: pylance is not installed.
    """
    lance = _lance()
    remote = "://" in str(path)
    if not remote and not (Path(path) / _TABLE).is_dir():
        raise FormatError(f"{path}: holds no data set of triplets (a folder with {_TABLE} in it, from tmor build)")
    try:
        dataset = lance.dataset(f"{path}/{_TABLE}" if remote else str(Path(path) / _TABLE), version=version)
    except (ValueError, OSError) as error:
        raise FormatError(f"{path}: can't be opened as a data set of triplets: {_short(error)}") from error
    found = (dataset.schema.metadata or {}).get(VERSION_KEY)
    if found is None or not found.isdigit():
        raise FormatError(f"{path}: is a Lance data set, but not of tmor's triplets")
    if int(found) > VERSION:
        raise FormatError(
            f"{path}: schema version {int(found)}; this tmor reads up to {VERSION}: upgrade tmor to read it"
        )
    for field in schema():
        if field.name not in dataset.schema.names or dataset.schema.field(field.name).type != field.type:
            own = dataset.schema.field(field.name).type if field.name in dataset.schema.names else "missing"
            raise FormatError(f"{path}: column '{field.name}' is {own}; expected {field.type}")
    for name in ("video", "text"):
        if name in dataset.schema.names and not is_embedding(dataset.schema.field(name)):
            raise FormatError(f"{path}: column '{name}' is {dataset.schema.field(name).type}; expected float16 vectors")
    return Shards(str(path), dataset)


class Shards:
    """A data set of triplets; see this module. Use :func:`open_shards` or :func:`create_shards`.

    Can be sent to spawned processes, where the same version is opened again.
    """

    def __init__(self, path: str, dataset: Any) -> None:
        self.path, self._dataset, self._pid = path, dataset, os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.version)

    def __len__(self) -> int:
        return self._here().count_rows()

    @property
    def version(self) -> int:
        """Counts the commits: the same version always holds the same rows in the same order."""
        return self._dataset.version

    @property
    def settings(self) -> dict[str, Any]:
        """How its triplets are made, as :func:`create_shards` was told."""
        try:
            return dict(json.loads(self._dataset.schema.metadata.get(_SETTINGS_KEY, b"{}")))
        except (ValueError, TypeError) as error:
            raise FormatError(f"{self.path}: its settings are damaged: {error}") from error

    @property
    def files(self) -> int:
        """How many pieces the rows lie in; :meth:`compact` joins them."""
        return len(self._dataset.get_fragments())

    def teacher(self, column: Embedding) -> dict[str, str] | None:
        """Name and weights' hash of the teacher whose embeddings a column holds; None = there is no such column."""
        if column not in self._dataset.schema.names:
            return None
        return {
            key.decode(): value.decode() for key, value in (self._dataset.schema.field(column).metadata or {}).items()
        }

    def width(self, column: Embedding) -> int:
        """Of the embeddings in a column; 0 where there are none."""
        return self._dataset.schema.field(column).type.list_size if column in self._dataset.schema.names else 0

    # ---- reading

    def take(self, rows: Sequence[int] | np.ndarray, *, columns: Sequence[str] = ("keypoints", "texts")) -> Batch:
        """The triplets at these rows, in this order.

        Args:
            columns: what is read of them: ``keypoints``, ``texts``, ``video``, ``text``.

        Raises:
            TmorError: a row or a column does not exist.
            FormatError: a triplet's sizes don't fit each other.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            bad = rows[(rows < 0) | (rows >= len(self))]
            raise TmorError(f"{self.path}: row {bad[0]}; expected rows 0 to {len(self) - 1}")
        wanted = self._wanted(columns)
        with self._reading():
            table = self._here().take(rows, columns=wanted)
        return to_batch(rows, table, columns, self.path)

    def batches(
        self,
        *,
        batch: int,
        seed: int,
        epoch: int,
        columns: Sequence[str] = ("keypoints", "texts"),
        start: int = 0,
        rank: int = 0,
        ranks: int = 1,
        worker: int = 0,
        workers: int = 1,
    ) -> Iterator[Batch]:
        """One epoch in random order (:func:`epoch_rows`), read from disk while what was read before is used.

        The order is a function of the version, ``seed`` and ``epoch`` alone. Ranks see different triplets, equally
        many; a rank's workers take its batches in turn. The last batch may be smaller.

        Args:
            start: leave out this many batches of the rank: a run that stopped after k steps goes on with ``start=k``.

        Raises:
            TmorError: there are fewer triplets than ranks, or a number is out of range.
        """
        if not (batch > 0 and start >= 0 and 0 <= rank < ranks and 0 <= worker < workers):
            raise TmorError(
                f"batch {batch}, start {start}, rank {rank} of {ranks}, worker {worker} of {workers}; "
                "expected batch > 0, start >= 0, rank < ranks and worker < workers"
            )
        order = epoch_rows(len(self), seed=seed, epoch=epoch, rank=rank, ranks=ranks)
        steps = range(start + (worker - start) % workers, -(-len(order) // batch), workers)
        # Neighbours are read together: a window's rows in order of their place on disk.
        together = max(1, _WINDOW // batch)
        windows = [list(group) for _, group in groupby(steps, key=lambda step: step // together)]
        wanted = self._wanted(columns)

        def read(window: list[int]) -> tuple[Any, list[np.ndarray]]:
            parts = [order[step * batch : (step + 1) * batch] for step in window]
            rows = np.sort(np.concatenate(parts))
            with self._reading():
                table = self._here().take(rows, columns=wanted).combine_chunks()
            return table, [np.searchsorted(rows, part) for part in parts]

        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(read, windows[0]) if windows else None
            for n, window in enumerate(windows):
                assert ahead is not None
                table, places = ahead.result()
                ahead = reader.submit(read, windows[n + 1]) if n + 1 < len(windows) else None
                for step, at in zip(window, places, strict=True):
                    yield to_batch(order[step * batch : (step + 1) * batch], table.take(at), columns, self.path)

    def records(self, where: str | None = None) -> Iterator[tuple[int, Record]]:
        """The triplets with their provenance and their ``_rowid``, in order of rows.

        Args:
            where: a condition on columns in SQL, such as ``collection = 'kard' AND label IS NOT NULL``; None = all.
        """
        for row, record, _ in self._scan(where):
            yield row, record

    def triplets(self, *, part: str | None = None, descriptions: bool = True) -> list[Triplet]:
        """The triplets as training takes them, in memory.

        Args:
            part: a split (``train``), or a condition on columns in SQL; None = all.
            descriptions: False: without the written descriptions of class names.

        Raises:
            TmorError: no triplet is in this part, or it is neither a split nor a condition.
        """
        where = f"split = '{part}'" if part is not None and re.fullmatch(r"\w+", part) else part
        extra = ["video"] if self.width("video") else []
        found = []
        for _, record, embeddings in self._scan(where, extra):
            texts = tuple(t.text for t in record.texts if descriptions or t.kind != "description")
            video = embeddings.get("video")
            found.append(Triplet(record.id, record.collection, record.track, texts, record.label, video))
        if not found:
            splits = sorted({row["split"] or "(none)" for row in self.column("split").to_pylist()})
            if part is None:
                raise TmorError(f"{self.path}: holds no triplets")
            raise TmorError(
                f"{self.path}: no triplet is in part '{part}'; the splits are {', '.join(splits) or 'none'}"
            )
        return found

    def column(self, *names: str, where: str | None = None) -> pa.Table:
        """Whole columns as a table (and ``_rowid``, which :meth:`set_texts` and :meth:`fill` go by).

        Raises:
            TmorError: a column is not there, or ``where`` can't be understood.
            FormatError: the data set is damaged.
        """
        with self._reading(names, where):
            return self._here().scanner(columns=list(names), filter=where, with_row_id=True).to_table()

    def damaged(self) -> Iterator[tuple[str, str]]:
        """(id, reason) of every triplet whose sizes don't fit each other, whose values are no keypoints, or whose
        content is not what was once written.

        Raises:
            FormatError: the files are so damaged that a column can't be read.
        """
        with self._reading():
            columns = [*RECORD, "content"]
            for table in self._here().scanner(columns=columns, batch_size=1024, scan_in_order=True).to_batches():
                for row in table.to_pylist():
                    if reason := damage(row, self.path):
                        yield row["id"], reason

    # ---- writing

    def append(self, records: Sequence[Record]) -> None:
        """Add triplets in one commit: all of them or, where it fails, none.

        Raises:
            TmorError: they can't be written; what was there before is whole.
        """
        if not records:
            return
        with _writing(self.path):
            table = to_table(records)
            self._dataset = _lance().write_dataset(
                table, self._dataset.uri, mode="append", max_rows_per_file=_ROWS_PER_FILE
            )

    def set_texts(self, texts: Mapping[int, Sequence[Caption]], labels: Mapping[int, str | None]) -> None:
        """Replace texts and labels of triplets, by ``_rowid``, in one commit; embeddings of the old texts go."""
        import pyarrow as pa

        if not texts:
            return
        table = pa.table(
            {
                "_rowid": pa.array(list(texts), pa.uint64()),
                "texts": pa.array([text_values(own) for own in texts.values()], schema().field("texts").type),
                "label": pa.array([labels.get(row) for row in texts], pa.string()),
            }
        )
        if width := self.width("text"):
            table = table.append_column("text", pa.nulls(len(table), pa.list_(pa.float16(), width)))
        self._update(table)

    def add_embeddings(self, column: Embedding, *, teacher: str, teacher_hash: str, width: int) -> None:
        """Make room for a teacher's embeddings; nothing to do where this very teacher's are there.

        Raises:
            TmorError: the column holds another teacher's.
        """
        import pyarrow as pa

        held = self.teacher(column)
        if held is not None:
            if held.get("hash") != teacher_hash or self.width(column) != width:
                raise TmorError(
                    f"{self.path}: column '{column}' holds embeddings of teacher {held.get('teacher')} "
                    f"({held.get('hash')}, width {self.width(column)}); teacher {teacher} ({teacher_hash}, "
                    f"width {width}) can't be mixed in: use the same, or build into another folder"
                )
            return
        field = pa.field(column, pa.list_(pa.float16(), width), metadata={"teacher": teacher, "hash": teacher_hash})
        with _writing(self.path):
            self._dataset.add_columns(pa.schema([field]))

    def fill(
        self,
        column: Embedding,
        compute: Callable[[pa.Table], np.ndarray],
        *,
        columns: Sequence[str],
        where: str | None = None,
        chunk: int = 4096,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> int:
        """Compute the embeddings that are missing, a commit per chunk: a killed call goes on where it was.

        Args:
            compute: gets a table of ``columns`` and returns (n, width); a row of NaN stays missing.
            where: only these rows.

        Returns:
            How many are still missing among them.
        """
        import pyarrow as pa

        condition = f"{column} IS NULL" + (f" AND ({where})" if where else "")
        rows = self.column(where=condition).column("_rowid")
        left = 0
        for first in range(0, len(rows), chunk):
            wanted = rows.slice(first, chunk)
            with self._reading(columns):
                table = self._here()._take_rows(wanted.to_pylist(), columns=list(columns))
            values = np.asarray(compute(table), dtype=np.float32)
            if values.shape != (len(table), self.width(column)):
                raise ValueError(f"embeddings have shape {values.shape}; expected {(len(table), self.width(column))}")
            good = np.isfinite(values).all(axis=1)
            left += int((~good).sum())
            flat = pa.array(values[good].astype(np.float16).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, self.width(column))
            self._update(pa.table({"_rowid": wanted.filter(pa.array(good)).combine_chunks(), column: vectors}))
            progress(min(first + chunk, len(rows)), len(rows))
        return left

    def compact(self) -> None:
        """Join the small files of many commits; rows keep their order. Versions older than a day go."""
        from datetime import timedelta

        with _writing(self.path):
            self._dataset.optimize.compact_files(target_rows_per_fragment=_ROWS_PER_FILE, num_threads=1)
            self._dataset = _lance().dataset(self._dataset.uri)
            self._dataset.cleanup_old_versions(older_than=timedelta(days=1))

    # ---- inside

    def _wanted(self, columns: Sequence[str]) -> list[str]:
        for column in columns:
            if column not in ("keypoints", "texts", "video", "text") or column not in self._dataset.schema.names:
                raise TmorError(f"{self.path}: has no column '{column}' to train on")
        movement = MOVEMENT if "keypoints" in columns else ()
        return ["fps", *movement, *(column for column in columns if column != "keypoints")]

    def _here(self) -> Any:
        if os.getpid() != self._pid:
            raise TmorError(
                f"{self.path}: was opened before this process was forked, which Lance does not survive; "
                "start workers with spawn (multiprocessing_context='spawn')"
            )
        return self._dataset

    def _update(self, table: pa.Table) -> None:
        """Replace columns of the rows that ``_rowid`` names, in one commit."""
        import pyarrow.compute as pc

        if not len(table):
            return
        lance = _lance()
        with _writing(self.path):
            fragment_ids = pc.shift_right(table.column("_rowid"), 32)  # pyright: ignore[reportAttributeAccessIssue]
            changed, fields = [], set()
            for fragment in pc.unique(fragment_ids).to_pylist():  # pyright: ignore[reportAttributeAccessIssue]
                own = table.filter(pc.equal(fragment_ids, fragment))  # pyright: ignore[reportAttributeAccessIssue]
                metadata, modified = self._here().get_fragment(fragment).update_columns(own)
                changed.append(metadata)
                fields |= set(modified)
            operation = lance.LanceOperation.Update(updated_fragments=changed, fields_modified=sorted(fields))
            self._dataset = lance.LanceDataset.commit(self._dataset.uri, operation, read_version=self._dataset.version)

    def _scan(
        self, where: str | None, extra: Sequence[str] = ()
    ) -> Iterator[tuple[int, Record, dict[str, np.ndarray | None]]]:
        """(_rowid, record, embeddings) in order of rows."""
        with self._reading(where=where):
            scanner = self._here().scanner(
                columns=[*RECORD, *extra], filter=where, with_row_id=True, batch_size=1024, scan_in_order=True
            )
            for table in scanner.to_batches():
                embeddings = {name: vectors(table.column(name)) for name in extra}
                rows = table.column("_rowid").to_pylist()
                for i, record in enumerate(to_records(table.drop_columns([*extra, "_rowid"]), self.path)):
                    found = {name: None if np.isnan(x[i, 0]) else x[i] for name, x in embeddings.items()}
                    yield rows[i], record, found

    @contextmanager
    def _reading(self, names: Sequence[str] = (), where: str | None = None) -> Iterator[None]:
        """Tell what can't be selected from what can't be read, as files are damaged."""
        try:
            yield
        except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
            try:
                self._here().scanner(columns=list(names) or None, filter=where).explain_plan()
            except (OSError, ValueError):
                what = f"{', '.join(names) or 'triplets'} where {where}"
                raise TmorError(f"{self.path}: can't select {what}: {_short(error)}") from error
            raise FormatError(f"{self.path}: the data set is damaged: {self._unreadable() or _short(error)}") from error

    def _unreadable(self) -> str:
        """Which columns can't be read, each for itself, and why."""
        columns, found = self._dataset.schema.names, dict[str, list[str]]()
        for name in columns:
            try:
                for _ in self._here().scanner(columns=[name]).to_batches():
                    pass
            except (OSError, ValueError) as error:
                found.setdefault(_short(error), []).append(f"'{name}'")
        said = []
        for why, names in found.items():
            which = f"column{'s' * (len(names) > 1)} {', '.join(names)} can't be read"
            said.append(f"{which if len(names) < len(columns) else 'no column can be read'} ({why})")
        return ", ".join(said)


def epoch_rows(n: int, *, seed: int, epoch: int, rank: int = 0, ranks: int = 1) -> np.ndarray:
    """Which of n rows a rank visits in an epoch, in order: every rank others, equally many.

    Runs of 8 neighbours are shuffled, and then the rows within windows of 8192: reading rows one by one costs ten times
    as much, and a batch of 256 still comes from some 230 places. The up to ``ranks - 1`` rows that are left over are
    other ones in every epoch.

    Raises:
        TmorError: there are fewer rows than ranks.
    """
    if n < ranks:
        raise TmorError(f"{n} triplets can't be shared by {ranks} ranks; expected at least one each")
    runs = _random(seed, epoch, 0).permutation(-(-n // _RUN))
    order = (runs[:, None] * _RUN + np.arange(_RUN)).ravel()
    share = n // ranks
    own = order[order < n][rank * share : (rank + 1) * share]
    chance = _random(seed, epoch, rank + 1)
    for first in range(0, share, _WINDOW):
        own[first : first + _WINDOW] = chance.permutation(own[first : first + _WINDOW])
    return own


def _random(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, (stream << 32) + epoch]))


# ---- Lance


def _lance() -> Any:
    try:
        import lance
    except ImportError:
        raise TmorError(
            "data sets of triplets need pylance, which is not installed; pip install 'tmor[posecap]'"
        ) from None
    return lance


def _reopen(path: str, version: int) -> Shards:
    return open_shards(path, version=version)


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise TmorError(
            f"{path}: can't be written: {_short(error)}; the data set is as it was after its last commit"
        ) from error


def _short(error: BaseException) -> str:
    """The first sentence of what Lance says, without its source's lines and where to write to its authors."""
    said = re.sub(r"Encountered internal error\. Please file a bug report at \S+ ", "", str(error))
    return re.split(r", /|\. Valid fields|\n", said)[0][:300]
