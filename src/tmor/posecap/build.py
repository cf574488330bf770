"""The pipeline that turns videos and pose files into a data set of triplets; it can be stopped at any moment.

videos -> poses -> tracks -> clips -> texts -> triplets, source by source, in the order of their names; then the
teachers' embeddings. Sources are known by their content: what is in the data set is done, whoever runs the same command
again goes on where the last commit ended. Poses are kept in the cache, so that what was not yet committed is not lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from tmor.config import BuildConfig
from tmor.errors import FormatError, LayoutError, TmorError
from tmor.pose import PoseEstimator, find_people, load_estimator
from tmor.pose.videos import content_id
from tmor.posecap.captioners import Captioner
from tmor.posecap.clip_texts import ClipTexts, caption_name
from tmor.posecap.duplicates import Seen, signature
from tmor.posecap.shards import Record, Shards, create_shards, discard_shards, is_shards, open_shards
from tmor.posecap.texts import Caption
from tmor.posecap.triplets import SequenceCaptions, Triplet, read_captioned
from tmor.skeleton.canonical import is_seen, prepare
from tmor.skeleton.formats import read_tracks
from tmor.skeleton.formats.files import is_video, read_arrays, read_bytes, whole_file
from tmor.skeleton.formats.packed import is_packed
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track
from tmor.teachers.cache import embed_texts, embed_videos
from tmor.teachers.huggingface import TextTeacher, VideoTeacher

_log = logging.getLogger("tmor")

REPORT = "build-report.json"
"""What became of every source, beside the data set."""

_LOCK = "build.lock"
_FPS = 15.0
_VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp"}
_POSES = {".npz", ".json", ".skeleton", ".bvh", ".pkl"}

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Source:
    """A file to build from.

    Args:
        path: where it is.
        name: as the data set calls it: its path relative to the folder that was given, ``#part`` added where only a
            part of it is taken.
        collection: the folder's name, or a packed set's.
    """

    path: Path
    name: str
    collection: str


@dataclass(frozen=True, eq=False)
class Clips:
    """What a reader made of a source: clips, what found the poses (empty = not known), what was left out and why."""

    triplets: list[Triplet]
    estimator: str = ""
    estimator_hash: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    chosen: bool = False  # somebody chose these clips: near-duplicates stay
    unused_captions: tuple[str, ...] = ()  # captions of the reader's own that are not about this source


class Reader(Protocol):
    """Makes clips of a source. It is sent to other processes, so it loads what is heavy when it is first called."""

    def __call__(self, source: Source) -> Clips:
        """The clips, with the texts and labels that the source itself knows; raises a TmorError or OSError where it
        can't be read."""
        ...


@dataclass(frozen=True)
class VideoReader:
    """Finds the people of a video and cuts their tracks into clips.

    Args:
        estimator: the name of a pose estimator (:func:`tmor.pose.load_estimator`).
        every_s: look at a picture about every so many seconds.
    """

    config: BuildConfig
    estimator: str = "rtmlib"
    every_s: float = 1 / _FPS

    def __call__(self, source: Source) -> Clips:
        estimator = _estimator(self.estimator)
        found = find_people(source.path, estimator, every_s=self.every_s)
        return _cut_all(found.tracks, source, self.config, estimator.name, estimator.hash)


@dataclass(frozen=True)
class PoseReader:
    """Reads packed sets as they are, near-duplicates and all, and cuts the tracks of other pose files into clips.

    Args:
        part: of packed sets (:meth:`tmor.skeleton.formats.PackedSet.part`).
        captions: of packed sets, by sequence: the clips of these sequences are then those of the captions.
    """

    config: BuildConfig
    part: str | None = None
    captions: SequenceCaptions = field(default_factory=dict)

    def __call__(self, source: Source) -> Clips:
        if source.path.suffix != ".npz" or not is_packed(read_arrays(source.path)):
            clips, ids = _cut_all(read_tracks(source.path), source, self.config), set[str]()
        else:
            triplets, ids = read_captioned(source.path, self.captions, part=self.part)
            seen = [t for t in triplets if is_seen(t.track)]
            unseen = len(triplets) - len(seen)
            clips = Clips(seen, left_out=Counter({"nobody is seen": unseen} if unseen else {}), chosen=True)
        unused = tuple(caption_name(id, start_s) for id, start_s, _ in self.captions if id not in ids)
        return replace(clips, unused_captions=unused)


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

    @property
    def failed(self) -> bool:
        """Whether there were sources, and not one of them could be taken."""
        return self.sources > 0 and not (self.built or self.already)

    def skip(self, source: Source, reason: str) -> None:
        """Note, and log, that a source is skipped."""
        self.skipped[source.name] = reason
        _log.warning("%s is skipped: %s", source.name, reason)


# ---- sources


def find_videos(paths: Sequence[Path]) -> list[Source]:
    """The videos among files and in folders, by name or content, in the order of their names.

    Raises:
        TmorError: a path does not exist, or there are none.
    """
    return _find(paths, lambda path: path.suffix.lower() in _VIDEOS or is_video(path), "videos")


def find_poses(paths: Sequence[Path], *, part: str | None = None) -> list[Source]:
    """The pose files among files and in folders (a folder with OpenPose's ``*_keypoints.json`` is one), in order.

    Raises:
        TmorError: a path does not exist, or there are none.
    """
    found = _find(paths, lambda path: path.suffix.lower() in _POSES or _is_openpose(path), "pose files")
    return [
        Source(s.path, f"{s.name}#{part}" if part and s.path.suffix == ".npz" else s.name, s.collection) for s in found
    ]


def _find(paths: Sequence[Path], wanted: Callable[[Path], bool], what: str) -> list[Source]:
    found: dict[str, Source] = {}
    for path in paths:
        if not path.exists():
            raise TmorError(f"{path}: there is no such file or folder; expected {what}")
        inside = [path] if path.is_file() or _is_openpose(path) else sorted(path.rglob("*"))
        root = path.parent if inside == [path] else path
        data_sets = [folder for folder in inside if folder.is_dir() and is_shards(folder)]
        frames = {file.parent for file in inside if file.name.endswith("_keypoints.json")}
        for file in inside:
            name = file.relative_to(root).as_posix()
            if any(part.startswith(".") for part in name.split("/")) or (file.is_dir() and not _is_openpose(file)):
                continue
            if file.parent in frames and file != path:
                continue  # the folder is a source itself
            if any(folder in file.parents for folder in data_sets):
                continue
            if wanted(file):
                collection = root.resolve().name or "root"
                found.setdefault(f"{collection}/{name}", Source(file, name, collection))
    if not found:
        raise TmorError(f"{', '.join(map(str, paths))}: no {what} found")
    return list(found.values())


def _is_openpose(path: Path) -> bool:
    return path.is_dir() and next(path.glob("*_keypoints.json"), None) is not None


def _hash(path: Path) -> str:
    if path.suffix.lower() in _POSES and not path.is_dir():
        try:
            read_bytes(path, 1)
        except FormatError as error:
            raise FormatError(f"{error}; expected a pose file ({', '.join(sorted(_POSES))})") from None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return content_id(path)
    digest = hashlib.sha256()
    for file in sorted(path.glob("*_keypoints.json")):
        digest.update(f"{file.name} {content_id(file)}\n".encode())
    return digest.hexdigest()


# ---- clips


@cache
def _estimator(name: str) -> PoseEstimator:
    return load_estimator(name)


def _cut_all(
    tracks: Sequence[Track], source: Source, config: BuildConfig, estimator: str = "", estimator_hash: str = ""
) -> Clips:
    triplets, left_out = [], Counter[str]()
    if not tracks:
        left_out["nobody is seen"] += 1
    for n, track in enumerate(tracks):
        clips, reasons = cut(track, config)
        left_out += reasons
        for clip in clips:
            id = f"{source.collection}/{source.name}/{n}@{clip.start_s:.2f}"
            triplets.append(Triplet(id, source.collection, clip))
    return Clips(triplets, estimator, estimator_hash, left_out)


def cut(track: Track, config: BuildConfig) -> tuple[list[Track], Counter[str]]:
    """A track in clips, and how many were left out by reason. A track of unknown rate stays whole."""
    if track.fps is None:
        pieces = [track]
    else:
        length = max(1, round(config.clip_s * track.fps))
        step = max(1, round(length * (1 - config.overlap)))
        # The last clip is the first that reaches the track's end.
        firsts = range(0, max(1, len(track) - length + step), step)
        pieces = [track.frames(first, min(first + length, len(track))) for first in firsts if first < len(track)]
    kept, left_out = [], Counter[str]()
    for piece in pieces:
        reason = _reason(piece, config)
        if reason is None:
            kept.append(piece)
        else:
            left_out[reason] += 1
    return kept, left_out


def _reason(clip: Track, config: BuildConfig) -> str | None:
    """Why a clip is left out."""
    if clip.fps is not None and len(clip) / clip.fps < config.shortest_s - 1e-6:
        return f"shorter than {config.shortest_s:g} s"
    try:
        if 1 - clip.to(UNIK17).missing_share < config.least_visible:
            return f"less than {config.least_visible:.0%} of the joints are seen"
        x = prepare(clip, fps=_FPS)
    except LayoutError:
        return "the layout has no shoulders or hips"
    except TmorError:
        return "nobody is seen"
    if motion(x) < config.least_motion:
        return f"moves less than {config.least_motion:g} body sizes"
    return None


def motion(x: np.ndarray) -> float:
    """How far the joints are from their mean places over a clip, root mean square, in body sizes.

    Args:
        x: (frames, 17, 2 | 3), NaN = unseen; somebody is seen.
    """
    seen = x[~np.isnan(x[..., 0]).all(axis=1)]
    seen = seen[:, ~np.isnan(seen[..., 0]).all(axis=0)]
    size = np.sqrt(np.nanmean(np.square(seen - np.nanmean(seen, axis=1, keepdims=True)).sum(axis=-1)))
    about = np.sqrt(np.nanmean(np.square(seen - np.nanmean(seen, axis=0)).sum(axis=-1)))
    return float(about / size) if size > 0 else 0.0


# ---- the build


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
    engine: Literal["local", "ray"] = "local",
    commit_rows: int = 4096,
    commit_s: float = 60.0,
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
                for n, made in enumerate(_run(_Work(reader), items, workers, engine)):
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
            _write_report(out, report)
        if new and report.failed:
            discard_shards(out)
            (out / REPORT).unlink(missing_ok=True)
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
    engine: Literal["local", "ray"] = "local",
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
        for made in _run(_Work(reader), _pending(sources, hashes, report), workers, engine):
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


def _opened(out: Path, config: BuildConfig) -> Shards:
    shards = open_shards(out)
    if shards.settings != asdict(config):
        was = ", ".join(f"{key} {value}" for key, value in shards.settings.items() if asdict(config)[key] != value)
        raise TmorError(f"{out}: was built with {was}; use the same, or build into another folder")
    return shards


def _hashes(shards: Shards) -> dict[tuple[str, str], str]:
    """{(collection, source): hash} of the sources that are in the data set."""
    table = shards.column("collection", "source", "source_hash")
    names = zip(*(table.column(c).to_pylist() for c in ("collection", "source", "source_hash")), strict=True)
    return {(collection, source): digest for collection, source, digest in names}


@dataclass(frozen=True, eq=False)
class _Made:
    """What a worker sends back: clips, or why there are none."""

    source: Source
    source_hash: str
    clips: Clips | None
    error: str = ""


@dataclass(frozen=True)
class _Work:
    reader: Reader

    def __call__(self, item: tuple[Source, str]) -> _Made:
        source, source_hash = item
        try:
            return _Made(source, source_hash, self.reader(source))
        except (TmorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            # Files from outside make libraries raise anything; each is reported with its reason.
            return _Made(source, source_hash, None, str(error) or type(error).__name__)


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

    def add(self, made: _Made) -> None:
        source, report = made.source, self._report
        if made.clips is None:
            report.skip(source, made.error)
            return
        self._check_estimator(made.clips)
        self._texts.leave(made.clips.unused_captions)
        kept, left_out = [], Counter(made.clips.left_out)
        for triplet in made.clips.triplets:
            if triplet.id in self._ids:
                left_out["there already, from another part or file"] += 1
                continue
            own = signature(triplet.track)
            if not made.clips.chosen and self._seen.find(own) is not None:
                left_out["nearly the same as another clip of its split"] += 1
                continue
            self._seen.add(own)
            self._ids.add(triplet.id)
            kept.append(self._record(made, triplet, own))
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

    def _record(self, made: _Made, triplet: Triplet, own: bytes) -> Record:
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
            estimator=made.clips.estimator if made.clips else "",
            estimator_hash=made.clips.estimator_hash if made.clips else "",
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
        return digest, name.partition("#")[2]

    done = {key(name, digest): name for (_, name), digest in hashes.items()}
    new: dict[tuple[str, str], str] = {}
    for source in sources:
        try:
            digest = _hash(source.path)
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
    collections |= {
        source.path.stem for source in sources if source.path.suffix == ".npz"
    }  # packed sets have their own
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


# ---- engines


def _run(
    work: _Work, items: Iterator[tuple[Source, str]], workers: int | None, engine: Literal["local", "ray"]
) -> Iterator[_Made]:
    """Results in the order of the items, however many work on them."""
    if engine == "ray":
        return _on_ray(work, list(items), workers or 1)
    return map(work, items) if workers is None else _in_pool(work, items, workers)


def _in_pool(work: _Work, items: Iterator[tuple[Source, str]], workers: int) -> Iterator[_Made]:
    context = get_context("spawn")  # Lance and most estimators do not survive a fork
    waiting: list[tuple[tuple[Source, str], Future[_Made]]] = []
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        more = True
        while more or waiting:
            while more and len(waiting) < 2 * workers:
                item = next(items, None)
                more = item is not None
                if item is not None:
                    waiting.append((item, pool.submit(work, item)))
            if not waiting:
                break
            item, future = waiting.pop(0)
            try:
                yield future.result()
            except BrokenProcessPool:
                # Whose file it was nobody knows: the ones that were being worked on are tried again, each by itself.
                pool.shutdown(cancel_futures=True)
                for again in [item, *(own for own, _ in waiting)]:
                    with ProcessPoolExecutor(1, mp_context=context) as alone:
                        try:
                            yield alone.submit(work, again).result()
                        except BrokenProcessPool:
                            yield _Made(*again, None, "the process that read it died")
                waiting = []
                pool = ProcessPoolExecutor(workers, mp_context=context)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(work: _Work, items: list[tuple[Source, str]], workers: int) -> Iterator[_Made]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise TmorError("--engine ray needs Ray Data, which is not installed; pip install 'tmor[ray]'") from None
    if not items:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.max_errored_blocks = -1  # a source whose task dies is missing in the end, and listed then
    rows = ray.data.from_items([{"n": n} for n in range(len(items))], override_num_blocks=len(items))

    def make(row: dict[str, int]) -> dict[str, object]:
        return {"n": row["n"], "made": work(items[row["n"]])}

    missing = dict(enumerate(items))
    for row in rows.map(make, concurrency=workers).iter_rows():
        del missing[int(row["n"])]
        yield row["made"]
    for item in missing.values():
        yield _Made(*item, None, "the task that read it died")


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
    import pyarrow as pa

    out = Path(out)
    with _locked(out):
        shards = open_shards(out)

        def told(column: str) -> Callable[[int, int], None]:
            return lambda done, total: progress(f"{column} embeddings", done, total)

        if text is not None:
            teacher = text

            def of_texts(table: pa.Table) -> np.ndarray:
                return embed_texts(teacher, [texts[0]["text"] for texts in table.column("texts").to_pylist()])

            shards.add_embeddings("text", teacher=text.name, teacher_hash=text.hash, width=text.width)
            shards.fill("text", of_texts, columns=["texts"], where="array_length(texts) > 0", progress=told("text"))
        if video is not None:
            watched = video
            paths = {(source.collection, source.name): source.path for source in sources}
            names = ", ".join("'" + c.replace("'", "''") + "'" for c in sorted({s.collection for s in sources}))

            def of_videos(table: pa.Table) -> np.ndarray:
                rows = table.to_pylist()
                values = np.full((len(rows), watched.width), np.nan, dtype=np.float32)
                at = [i for i, row in enumerate(rows) if (row["collection"], row["source"]) in paths]
                stretches = [
                    (paths[rows[i]["collection"], rows[i]["source"]], max(0.0, rows[i]["start_s"]), rows[i]["end_s"])
                    for i in at
                ]
                if stretches:
                    values[at] = embed_videos(watched, stretches)
                return values

            shards.add_embeddings("video", teacher=video.name, teacher_hash=video.hash, width=video.width)
            if names:
                columns = ["collection", "source", "start_s", "end_s"]
                shards.fill(
                    "video",
                    of_videos,
                    columns=columns,
                    where=f"collection IN ({names})",
                    chunk=256,
                    progress=told("video"),
                )
        for column in ("video", "text"):
            if shards.width(column):
                missing = len(shards.column(where=f"{column} IS NULL"))
                report.embedded[column] = len(shards) - missing
                report.not_embedded[column] = missing
        _write_report(out, report)


# ---- one build at a time


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold ``build.lock``. The system lets go of it when a process dies, however it dies."""
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise TmorError(f"{out}: can't be written: {error.strerror}") from error
    with file:
        file.seek(0)
        said = file.read(500)
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
        if holder:
            _log.warning("%s: %s died while building it; going on from its last commit", out, who)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
