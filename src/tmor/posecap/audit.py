"""Whether a data set of triplets can be trusted, and what is in it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmor.errors import TmorError
from tmor.posecap.duplicates import Seen
from tmor.posecap.shards import Shards, open_shards
from tmor.posecap.sources import file_and_part, source_hash
from tmor.skeleton.formats.files import readable
from tmor.skeleton.layouts import UNIK17

_MOST_EXAMPLES = 20
_ROWS = 16_384  # of embeddings in memory at once


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        what: in words.
        count: how often.
        examples: the first of them.
    """

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What :func:`verify` found.

    Args:
        triplets: how many were looked at.
        wrong: empty where all is well.
        notes: what could not be looked at.
    """

    triplets: int
    wrong: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def verify(
    path: str | Path,
    *,
    sources: Sequence[Path] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Audit:
    """Look at every triplet: sizes, values and content hashes, ids, copies, leaks between splits, licences, embeddings.

    Args:
        sources: folders that the data set was built from; the hashes of files that are there are compared.

    Raises:
        TmorError: it can't be opened.
    """
    shards = open_shards(path)
    table = shards.column("id", "collection", "source", "source_hash", "content", "split", "licence", "signature")
    rows = table.drop_columns(["signature", "_rowid"]).to_pylist()
    wrong = []
    progress("contents", 0, 4)
    wrong.append(_finding("damaged triplets", (f"{id}: {reason}" for id, reason in shards.damaged())))
    progress("copies", 1, 4)
    ids = Counter(row["id"] for row in rows)
    wrong.append(_finding("ids that occur more than once", (id for id, count in ids.items() if count > 1)))
    contents: dict[str, str] = {}
    copies = []
    for row in rows:
        first = contents.setdefault(row["content"], row["id"])
        if first != row["id"]:
            copies.append(f"{row['id']} is {first}")
    wrong.append(_finding("triplets with the same movement as another, to the bit", copies))
    progress("splits", 2, 4)
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if not file_and_part(row["source"])[1]:  # parts of a packed set are apart though they come from one file
            splits[row["source_hash"]].add(row["split"] or "")
    leaked = [row["source"] for row in rows if len(splits[row["source_hash"]]) > 1]
    wrong.append(_finding("sources in more than one split", dict.fromkeys(leaked)))
    near = _near_duplicates(table.column("signature").to_pylist(), [row["split"] or "" for row in rows])
    across = [f"{rows[a]['id']} is nearly {rows[b]['id']}" for a, b in near if rows[a]["split"] != rows[b]["split"]]
    wrong.append(_finding("triplets that are nearly the same as one of another split", across))
    unlicensed = dict.fromkeys(row["source"] for row in rows if not row["licence"])
    wrong.append(_finding("sources whose licence is not said (build with --licence)", unlicensed))
    for column in ("video", "text"):
        if shards.width(column):
            null = len(shards.column(where=f"{column} IS NULL"))
            bad = sum(int(np.isnan(x).any(axis=1).sum()) for x in embeddings(shards, column)) - null
            wrong.append(Finding(f"{column} embeddings that are not finite", bad, ()))
    progress("sources", 3, 4)
    changed, unreachable = _compare(rows, sources)
    wrong.append(_finding("sources whose content is not what was built from", changed))
    notes = [_finding("sources that could not be compared, as they were not found (--sources)", unreachable)]
    return Audit(len(rows), tuple(f for f in wrong if f.count), tuple(f for f in notes if f.count))


def _finding(what: str, examples: Iterable[str]) -> Finding:
    found = list(examples)
    return Finding(what, len(found), tuple(found[:_MOST_EXAMPLES]))


def _near_duplicates(signatures: Sequence[bytes], splits: Sequence[str]) -> list[tuple[int, int]]:
    """(row, earlier row) that are nearly the same."""
    seen, numbers, found = Seen(), [], []
    for i, own in enumerate(signatures):
        before = seen.find(own)
        if before is not None:
            found.append((i, numbers[before]))
        if before is None or splits[numbers[before]] != splits[i]:
            seen.add(own)
            numbers.append(i)
    return found


def _compare(rows: Sequence[dict[str, Any]], folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Sources whose content differs, and those that are not there, in the folders and below."""
    files: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for file in folder.rglob("*"):
            files[readable(file.name)].append(file)
    changed, unreachable = [], []
    for name, digest in sorted({(file_and_part(row["source"])[0], row["source_hash"]) for row in rows}):
        there = [f for f in files[Path(name).name] if f"/{readable(f.as_posix())}".endswith(f"/{name}")]
        try:
            if not there:
                unreachable.append(name)
            elif all(source_hash(path) != digest for path in there):
                changed.append(name)
        except (TmorError, OSError):
            unreachable.append(name)
    return changed, unreachable


def embeddings(shards: Shards, column: str) -> Iterable[np.ndarray]:
    """A teacher's embeddings, some at a time: (rows, d) float32; a row of NaN = none."""
    for first in range(0, len(shards), _ROWS):
        batch = shards.take(np.arange(first, min(first + _ROWS, len(shards))), columns=(column,))
        values = batch.video if column == "video" else batch.text
        assert values is not None
        yield values


def statistics(path: str | Path) -> dict[str, Any]:
    """What a data set holds, as plain values: counts, hours, rates, visibility, words, provenance, near-duplicates.

    Hours count a track of unknown rate as if it had 30 frames per second, and say how many there are.
    """
    shards = open_shards(path)
    collections: dict[str, Counter[str]] = defaultdict(Counter)
    labels, kinds, origins, layouts = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    licences, estimators, splits = Counter[str](), Counter[str](), Counter[str]()
    sources: dict[str, set[str]] = defaultdict(set)
    joints, seen = Counter[str](), Counter[str]()
    seconds, words, signatures, own_splits = [], [], [], []
    unknown = texts = untold = 0
    for _, record in shards.records():
        track = record.track
        unknown += track.fps is None
        seconds.append(len(track) / track.rate)
        collections[record.collection] += Counter(triplets=1, frames=len(track))
        sources[record.collection].add(record.source)
        visible = ~np.isnan(track.keypoints[..., 0])
        for joint, count in zip(track.layout.standard_joints, visible.sum(axis=0).tolist(), strict=True):
            if joint in UNIK17.joints:
                joints[joint] += len(track)
                seen[joint] += count
        texts += len(record.texts)
        untold += not record.texts
        words += [len(t.text.split()) for t in record.texts]
        kinds.update(t.kind for t in record.texts)
        origins.update(t.origin for t in record.texts)
        labels.update([record.label] if record.label is not None else [])
        layouts[track.layout.name] += 1
        licences[record.licence] += 1
        estimators[record.estimator] += 1
        splits[record.split] += 1
        signatures.append(record.signature)
        own_splits.append(record.split)
    near = _near_duplicates(signatures, own_splits)
    size = _bytes(path)
    return {
        "triplets": len(seconds),
        "hours": round(sum(seconds) / 3600, 3),
        "unknown_rate": unknown,
        "frames": sum(own["frames"] for own in collections.values()),
        "clip_s": _quantiles(seconds),
        "collections": {
            name: {"triplets": own["triplets"], "frames": own["frames"], "sources": len(sources[name])}
            for name, own in sorted(collections.items())
        },
        "layouts": _sorted(layouts),
        "joints_visible": {name: round(seen[name] / joints[name], 4) for name in UNIK17.joints if joints[name]},
        "texts": texts,
        "without_text": untold,
        "words_per_text": _quantiles(words),
        "text_kinds": _sorted(kinds),
        "text_origins": _sorted(origins),
        "labels": _sorted(labels),
        "licences": _sorted(licences),
        "estimators": _sorted(estimators),
        "splits": _sorted(splits),
        "near_duplicates": len(near),
        "near_duplicates_across_splits": sum(own_splits[a] != own_splits[b] for a, b in near),
        "embeddings": {
            column: {
                **(shards.teacher(column) or {}),
                "width": shards.width(column),
                "missing": len(shards.column(where=f"{column} IS NULL")),
            }
            for column in ("video", "text")
            if shards.width(column)
        },
        "bytes": size,
        "bytes_per_triplet": None if size is None or not seconds else round(size / len(seconds)),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name or "(not said)": count for name, count in counts.most_common()}


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    names = ("least", "median", "most")
    return dict(zip(names, np.quantile(values, (0, 0.5, 1)).round(3).tolist(), strict=True)) | {
        "mean": round(float(np.mean(values)), 3)
    }


def _bytes(path: str | Path) -> int | None:
    """On disk, all versions together; None in an object store."""
    if "://" in str(path):
        return None
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
