"""The pipeline that turns videos and pose files into a data set of triplets; it can be stopped at any moment.

videos -> poses -> tracks -> clips -> texts -> triplets, source by source, in the order of their names; then the
teachers' embeddings. Sources are known by their content: what is in the data set is done, whoever runs the same command
again goes on where the last commit ended. Poses are kept in the cache, so that what was not yet committed is not lost.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tmor.config import BuildConfig
from tmor.errors import TmorError
from tmor.posecap.captioners import Captioner
from tmor.posecap.clip_texts import ClipTexts
from tmor.posecap.duplicates import Seen, signature
from tmor.posecap.engines import Engine, Made, read_all
from tmor.posecap.readers import Clips, Reader
from tmor.posecap.rows import MAX_FRAMES, Record
from tmor.posecap.shards import Shards, create_shards, discard_shards, is_shards, open_shards
from tmor.posecap.sources import Source, file_and_part, is_npz, source_hash
from tmor.posecap.texts import Caption
from tmor.posecap.triplets import Triplet
from tmor.skeleton.formats.files import is_video, readable, whole_file
from tmor.teachers.cache import embed_texts, embed_videos
from tmor.teachers.huggingface import TextTeacher, VideoTeacher

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("tmor")

REPORT = "build-report.json"
"""What became of every source, beside the data set."""

_LOCK = "build.lock"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass
class BuildReport:
    """What became of everything; also written to ``build-report.json``.

    Args:
        sources: files that were given.
        built: read now. ``already``: in the data set before; ``same_content``: copies of another one.
        skipped: {source: why} of those that could not be read.
        without_clips: {source: {reason: clips}} of those of which nothing was kept.
        clips: triplets added now, of ``triplets`` that there are.
        left_out: clips by reason.
        without_text: sources none of whose clips has a text.
        unused_captions: captions, as "source at time", that belong to no source.
        rewritten: older triplets that got other texts.
        embedded: {column: triplets that have an embedding}; ``not_embedded``: that have none (no text, no video).
        seconds: of work.
    """

    sources: int = 0
    built: int = 0
    already: int = 0
    same_content: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    without_clips: dict[str, dict[str, int]] = field(default_factory=dict)
    clips: int = 0
    triplets: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    without_text: list[str] = field(default_factory=list)
    unused_captions: list[str] = field(default_factory=list)
    rewritten: int = 0
    embedded: dict[str, int] = field(default_factory=dict)
    not_embedded: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, later: BuildReport) -> BuildReport:
        """Of two builds into one folder, with the same captions, as if they had been one."""
        return BuildReport(
            sources=self.sources + later.sources,
            built=self.built + later.built,
            already=self.already + later.already,
            same_content=self.same_content | later.same_content,
            skipped=self.skipped | later.skipped,
            without_clips=self.without_clips | later.without_clips,
            clips=self.clips + later.clips,
            triplets=later.triplets,
            left_out=self.left_out + later.left_out,
            without_text=self.without_text + later.without_text,
            unused_captions=[c for c in later.unused_captions if c in set(self.unused_captions)],
            rewritten=self.rewritten + later.rewritten,
            embedded=self.embedded | later.embedded,
            not_embedded=self.not_embedded | later.not_embedded,
            seconds=self.seconds + later.seconds,
        )

    @property
    def failed(self) -> bool:
        """Whether there were sources, and not one of them could be taken."""
        return self.sources > 0 and not (self.built or self.already)

    def skip(self, source: Source, reason: str) -> None:
        """Note, and log, that a source is skipped."""
        self.skipped[source.name] = reason
        _log.warning("%s is skipped: %s", source.name, reason)


def build(
    out: str | Path,
    sources: Sequence[Source],
    reader: Reader | None,
    *,
    config: BuildConfig | None = None,
    captions: Sequence[Caption] = (),
    captioner: Captioner | None = None,
    licence: str = "",
    split: str = "",
    workers: int | None = None,
    engine: Engine = "local",
    commit_rows: int = 4096,
    commit_s: float = 60.0,
    earlier: BuildReport | None = None,
    progress: Progress = lambda what, done, total: None,
) -> BuildReport:
    """Build, go on building, or extend a data set. Of a new one nothing is left where not one source can be read.

    Args:
        out: the data set's folder; new, or one that was built before.
        sources: what to build from; what is in the data set already (by content) is done. None of them: only the texts
            of what is there are made again.
        reader: makes clips of a source.
        config: how tracks are cut; a data set keeps to the one that it began with.
        captions: of the sources. Clips get those that are theirs (:func:`tmor.posecap.texts.texts_of`), before the
            texts of the source itself; older triplets of these collections, too, in place of those of older captions.
        captioner: puts clips into words that have no text but a class name at most.
        licence: of the sources.
        split: of their triplets: train, test, or empty.
        workers: processes that make clips; None = this one. One of several that dies takes only its source with it.
        engine: ``ray`` makes clips on Ray Data, in ``workers`` tasks at once.
        commit_rows, commit_s: how often clips are committed; always those of whole sources.
        earlier: of other sources, which the same call of the user's built before: ``build-report.json`` is about both.

    Raises:
        TmorError: another build works on ``out``, it was built with another config or pose estimator, or it can't be
            written. The data set is then as of its last commit, and the same command goes on from there.
    """
    started = time.monotonic()
    out, config = Path(out), config or BuildConfig()
    report = BuildReport(sources=len(sources))
    texts = ClipTexts(captions, captioner)
    _check_place(out, sources)
    there = out.exists()
    with _locked(out):
        new = not is_shards(out)
        shards = create_shards(out, settings=asdict(config)) if new else _opened(out, config)
        before = shards.version
        try:
            if sources and reader is not None:
                writer = _Writer(shards, texts, report, licence, split, commit_rows, commit_s)
                items = _pending(sources, writer.hashes, report)
                for n, made in enumerate(read_all(reader, items, workers=workers, engine=engine)):
                    writer.add(made)
                    progress(made.source.name, report.already + len(report.skipped) + n + 1, len(sources))
                writer.flush()
            if captions or captioner is not None:
                report.rewritten = _rewrite(shards, texts, sources, before, progress)
            if shards.files > 8 + 2 * len(shards) // 65_536:
                progress("joining files", 0, 1)
                shards.compact()
        finally:
            report.triplets = len(shards)
            report.unused_captions = texts.unused(sources, shards)
            report.seconds = time.monotonic() - started
            _write_report(out, report if earlier is None else earlier + report)
        if new and report.failed:
            (out / REPORT).unlink(missing_ok=True)
            discard_shards(out)
            (out / _LOCK).unlink(missing_ok=True)
    if new and report.failed and not there:
        with suppress(OSError):  # somebody else has put something into it
            out.rmdir()
    return report


def rehearse(
    out: str | Path,
    sources: Sequence[Source],
    reader: Reader | None,
    *,
    captioner: Captioner,
    config: BuildConfig | None = None,
    captions: Sequence[Caption] = (),
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress = lambda what, done, total: None,
) -> BuildReport:
    """Show the captioner the clips that :func:`build` would show it, and write nothing.

    Clips that turn out to be nearly the same as others are shown, too. Poses that are found stay in the cache.
    """
    out, report, texts = Path(out), BuildReport(sources=len(sources)), ClipTexts(captions, captioner)
    _check_place(out, sources)
    hashes = {}
    if is_shards(out):
        shards = _opened(out, config or BuildConfig())
        hashes = _hashes(shards)
        for _ in _retold(shards, texts, sources, progress):
            pass
    if reader is not None:
        for made in read_all(reader, _pending(sources, hashes, report), workers=workers, engine=engine):
            if made.clips is None:
                report.skip(made.source, made.error)
                continue
            report.built += 1
            for triplet in made.clips.triplets:
                texts.first(made.source, triplet)
            progress(made.source.name, report.already + len(report.skipped) + report.built, len(sources))
    return report


def _check_place(out: Path, sources: Sequence[Source]) -> None:
    if re.match(r"\w{2,}:/", str(out)):
        raise TmorError(f"{out}: can't be built in an object store; build in a folder and copy that")
    if not sources and not is_shards(out):
        raise TmorError(f"{out}: holds no data set yet, and there is nothing to build from; expected videos or poses")
    if (out / REPORT).exists() and not is_shards(out):
        raise TmorError(
            f"{out / REPORT}: exists already, without a data set beside it; remove it, or choose another folder"
        )


def _opened(out: Path, config: BuildConfig) -> Shards:
    shards = open_shards(out)
    own = asdict(config)
    if shards.settings != own:
        was = ", ".join(f"{key} {value}" for key, value in shards.settings.items() if own.get(key) != value)
        was = was or f"other settings than {', '.join(own)}"
        raise TmorError(f"{out}: was built with {was}; use the same, or build into another folder")
    return shards


def _hashes(shards: Shards) -> dict[tuple[str, str], str]:
    """{(collection, source): hash} of the sources that are in the data set."""
    table = shards.column("collection", "source", "source_hash")
    names = zip(*(table.column(c).to_pylist() for c in ("collection", "source", "source_hash")), strict=True)
    return {(collection, source): digest for collection, source, digest in names}


class _Writer:
    """Clips to triplets, in commits of whole sources."""

    def __init__(
        self,
        shards: Shards,
        texts: ClipTexts,
        report: BuildReport,
        licence: str,
        split: str,
        commit_rows: int,
        commit_s: float,
    ) -> None:
        self._shards, self._texts, self._report = shards, texts, report
        self._licence, self._split = licence, split
        self._commit_rows, self._commit_s = commit_rows, commit_s
        # Within the split only: what a test part shares with a training part is for tmor verify to name.
        self._seen = Seen()
        for own in shards.column("signature", where=f"split = '{split}'").column("signature").to_pylist():
            self._seen.add(own)
        self._ids: set[str] = set(shards.column("id").column("id").to_pylist())
        self.hashes = _hashes(shards)
        table = shards.column("estimator", "estimator_hash")
        used = zip(*(table.column(c).to_pylist() for c in ("estimator_hash", "estimator")), strict=True)
        self._estimators: dict[str, str] = {h: name for h, name in set(used) if h}
        self._pending: list[Record] = []
        self._since = time.monotonic()

    def add(self, made: Made) -> None:
        source, report = made.source, self._report
        if made.clips is None:
            report.skip(source, made.error)
            return
        self._check_estimator(made.clips)
        self._texts.leave(made.clips.unused_captions)
        kept, left_out, own_ids = [], Counter(made.clips.left_out), set[str]()
        for triplet in made.clips.triplets:
            if triplet.id in own_ids:
                left_out["of the same id as another of its file"] += 1
                continue
            if len(triplet.track) > MAX_FRAMES:
                left_out[f"more than {MAX_FRAMES:,} frames"] += 1
                continue
            own_ids.add(triplet.id)
            if triplet.id in self._ids:
                left_out["there already, from another part or file"] += 1
                continue
            own = signature(triplet.track)
            if not made.clips.chosen and self._seen.find(own) is not None:
                left_out["nearly the same as another clip of its split"] += 1
                continue
            self._seen.add(own)
            self._ids.add(triplet.id)
            kept.append(self._record(made, made.clips, triplet, own))
        report.built += 1
        report.clips += len(kept)
        report.left_out += left_out
        if not kept:
            report.without_clips[source.name] = dict(left_out)
        elif not any(record.texts for record in kept):
            report.without_text.append(source.name)
        self._pending += kept
        if len(self._pending) >= self._commit_rows or time.monotonic() - self._since >= self._commit_s:
            self.flush()

    def flush(self) -> None:
        self._shards.append(self._pending)
        self._pending, self._since = [], time.monotonic()

    def _record(self, made: Made, clips: Clips, triplet: Triplet, own: bytes) -> Record:
        texts, label = self._texts.first(made.source, triplet)
        return Record(
            id=triplet.id,
            collection=triplet.source,
            source=made.source.name,
            source_hash=made.source_hash,
            track=triplet.track,
            signature=own,
            texts=texts,
            label=label,
            licence=self._licence,
            estimator=clips.estimator,
            estimator_hash=clips.estimator_hash,
            split=self._split,
        )

    def _check_estimator(self, clips: Clips) -> None:
        if not clips.estimator_hash or clips.estimator_hash in self._estimators:
            return
        if self._estimators:
            raise TmorError(
                f"{self._shards.path}: its poses were found by {', '.join(self._estimators.values())}; those of "
                f"{clips.estimator} can't be mixed in: use the same estimator, or build into another folder"
            )
        self._estimators[clips.estimator_hash] = clips.estimator


def _pending(
    sources: Sequence[Source], hashes: Mapping[tuple[str, str], str], report: BuildReport
) -> Iterator[tuple[Source, str]]:
    """What is not in the data set yet; a part of a packed set is a source of its own."""

    def key(name: str, digest: str) -> tuple[str, str]:
        return digest, file_and_part(name)[1]

    done = {key(name, digest): name for (_, name), digest in hashes.items()}
    new: dict[tuple[str, str], str] = {}
    for source in sources:
        try:
            digest = source_hash(source.path)
        except (TmorError, OSError) as error:
            report.skip(source, str(error))
            continue
        own = key(source.name, digest)
        if own in done:
            report.already += 1
        elif own in new:
            report.same_content[source.name] = new[own]
        elif (source.collection, source.name) in hashes:
            reason = "its content has changed since it was built; its clips of then stay"
            report.skip(source, f"{reason} (build into another folder to take the new one)")
        else:
            new[own] = source.name
            yield source, digest


def _rewrite(shards: Shards, texts: ClipTexts, sources: Sequence[Source], version: int, progress: Progress) -> int:
    """Give the triplets of an older version the texts that are theirs now, and count those that changed."""
    changed: dict[int, tuple[Caption, ...]] = {}
    labels: dict[int, str | None] = {}
    count = 0
    for row, found, label in _retold(open_shards(shards.path, version=version), texts, sources, progress):
        changed[row], labels[row] = found, label
        if len(changed) == 4096:
            shards.set_texts(changed, labels)
            count, changed, labels = count + len(changed), {}, {}
    shards.set_texts(changed, labels)
    return count + len(changed)


def _retold(
    shards: Shards, texts: ClipTexts, sources: Sequence[Source], progress: Progress
) -> Iterator[tuple[int, tuple[Caption, ...], str | None]]:
    """(_rowid, texts, label) of triplets whose texts are other ones now."""
    collections = {source.collection for source in sources}
    collections |= {readable(source.path.stem) for source in sources if is_npz(source.path)}  # of packed sets
    videos = {(s.collection, s.name): s.path for s in sources if is_video(s.path)}
    for n, (row, record) in enumerate(shards.records()):
        if n % 1024 == 0:
            progress("texts", n, len(shards))
        if collections and record.collection not in collections:
            continue
        again = texts.again(record, videos.get((record.collection, record.source)))
        if again is None:
            continue
        found, label = again
        if [(t.text, t.kind, t.origin) for t in found] != [(t.text, t.kind, t.origin) for t in record.texts]:
            yield row, found, label


def _write_report(out: Path, report: BuildReport) -> None:
    try:
        with whole_file(out / REPORT) as file:
            file.write(json.dumps(vars(report), indent=1, ensure_ascii=False).encode("utf-8", "replace"))
    except OSError as error:
        _log.warning("%s can't be written: %s", out / REPORT, error.strerror)


# ---- embeddings


def embed(
    out: str | Path,
    *,
    report: BuildReport,
    text: TextTeacher | None = None,
    video: VideoTeacher | None = None,
    sources: Sequence[Source] = (),
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Add or complete the teachers' embeddings: of the plainest text, and of the stretch of video.

    Args:
        report: gets the counts, and is written again.
        video: its embeddings of the stretches of ``sources`` that are there and can be read.

    Raises:
        TmorError: a column holds another teacher's embeddings, or another build works on ``out``.
    """
    out = Path(out)
    with _locked(out):
        shards = open_shards(out)
        if text is not None:
            _embed_texts(shards, text, progress)
        if video is not None:
            _embed_videos(shards, video, sources, progress)
        for column in ("video", "text"):
            if shards.width(column):
                missing = len(shards.column(where=f"{column} IS NULL"))
                report.embedded[column] = len(shards) - missing
                report.not_embedded[column] = missing
        _write_report(out, report)


def _embed_texts(shards: Shards, teacher: TextTeacher, progress: Progress) -> None:
    def of(table: pa.Table) -> np.ndarray:
        return embed_texts(teacher, [texts[0]["text"] for texts in table.column("texts").to_pylist()])

    def told(done: int, total: int) -> None:
        progress("text embeddings", done, total)

    shards.add_embeddings("text", teacher=teacher.name, teacher_hash=teacher.hash, width=teacher.width)
    shards.fill("text", of, columns=["texts"], where="array_length(texts) > 0", progress=told)


def _embed_videos(shards: Shards, teacher: VideoTeacher, sources: Sequence[Source], progress: Progress) -> None:
    paths = {(source.collection, source.name): source.path for source in sources}

    def of(table: pa.Table) -> np.ndarray:
        rows = [(paths.get((row["collection"], row["source"])), row) for row in table.to_pylist()]
        values = np.full((len(rows), teacher.width), np.nan, dtype=np.float32)
        stretches = {
            i: (path, max(0.0, row["start_s"]), row["end_s"]) for i, (path, row) in enumerate(rows) if path is not None
        }
        if stretches:
            values[list(stretches)] = embed_videos(teacher, list(stretches.values()))
        return values

    def told(done: int, total: int) -> None:
        progress("video embeddings", done, total)

    shards.add_embeddings("video", teacher=teacher.name, teacher_hash=teacher.hash, width=teacher.width)
    if paths:
        names = ", ".join("'" + c.replace("'", "''") + "'" for c in sorted({collection for collection, _ in paths}))
        columns, where = ["collection", "source", "start_s", "end_s"], f"collection IN ({names})"
        shards.fill("video", of, columns=columns, where=where, chunk=256, progress=told)


# ---- one build at a time


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold ``build.lock``. The system lets go of it when a process dies, however it dies."""
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / _LOCK).open("a+b", buffering=0)
    except OSError as error:
        raise TmorError(f"{out}: can't be written: {error.strerror}") from error
    with file:
        file.seek(0)
        said = file.read(500).decode(errors="replace")
        holder = re.fullmatch(r"process (\d+) on (.+)\n", said)
        who = said.strip() or "another process"
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TmorError(f"{out}: {who} is building it; wait for it to end, or stop it") from None
        if holder and holder[2] != socket.gethostname():
            raise TmorError(
                f"{out}: {who} is building it, or died there; if it died, delete {out / _LOCK} and try again"
            )
        if said and not said.startswith("process "):
            raise TmorError(f"{out / _LOCK}: begins with {said[:30]!r}, no lock of a build; choose another folder")
        if holder:
            _log.warning("%s: %s died while building it; going on from its last commit", out, who)
        file.truncate(0)
        try:
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise TmorError(f"{out}: can't be written: {error.strerror}") from error
        try:
            yield
        finally:
            file.truncate(0)
