"""From a benchmark's official files to a packed set that everything else here reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tmor.downstream.benchmarks.protocol import Benchmark, Sample, Skipped
from tmor.errors import TmorError
from tmor.skeleton.formats.files import check_new_file, write_arrays, write_whole
from tmor.skeleton.formats.packed import unpack
from tmor.skeleton.layouts import LAYOUTS


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare` did.

    Args:
        path: the packed set.
        samples: how many it holds.
        skipped: what is not in it, and why.
        published: how many the authors count; None = they don't say.
    """

    path: Path
    samples: int
    skipped: tuple[Skipped, ...]
    published: int | None

    @property
    def reasons(self) -> dict[str, int]:
        """Skipped samples, counted by reason."""
        return dict(Counter(skip.reason for skip in self.skipped))


def prepare(
    benchmark: Benchmark,
    root: str | Path,
    out: str | Path,
    *,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Prepared:
    """Read a benchmark's official files into ``out``.

    ``out`` gets the packed set ``NAME.npz``, ``prepared.json`` (what was read, skipped and why) and, where the
    benchmark has captions, ``captions.json``.

    Args:
        root: the folder with the official files.
        out: a folder; files in it are not overwritten.

    Raises:
        TmorError: the root lacks what the benchmark needs, no sample can be read, two have one id, or ``out`` is a
            file, can't be written or holds such files already.
    """
    root, out, raw = Path(root), Path(out), benchmark.raw
    if raw is None:
        raise TmorError(f"{benchmark.name} comes as a packed set; give its .npz to tmor evaluate as it is")
    if not root.is_dir():
        raise TmorError(f"{root}: is not a folder; expected the root folder of {benchmark.title}")
    lacking = [name for name in raw.expects if not (root / name).exists()]
    if lacking:
        inside = sorted(path.name for path in root.iterdir())
        listed = ", ".join(inside[:8]) + (f" and {len(inside) - 8} more" if len(inside) > 8 else "")
        raise TmorError(
            f"{root}: not the root folder of {benchmark.title}: expected {', '.join(lacking)} inside it; "
            f"it holds {listed or 'nothing'}"
        )
    if out.exists() and not out.is_dir():
        raise TmorError(f"{out}: is a file; expected a folder, which need not exist")
    path = out / f"{benchmark.name.replace('-', '_')}.npz"
    for file in (path, out / "prepared.json", out / "captions.json"):
        if file.exists():
            raise TmorError(f"{file}: exists already; choose another folder")
    check_new_file(path, makes_folder=True)
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for found in raw.read(root):
        progress(f"reading {benchmark.title}", len(samples) + len(skipped), raw.samples or 0)
        if isinstance(found, Skipped):
            skipped.append(found)
        elif not found.tracks or all(track.missing_share == 1 for track in found.tracks):
            skipped.append(Skipped(found.id, "nobody is seen"))
        else:
            samples.append(found)
    if not samples:
        why = ", ".join(f"{count} {reason}" for reason, count in Counter(s.reason for s in skipped).items())
        raise TmorError(f"{root}: no sample of {benchmark.title} could be read ({why or 'there are none'})")
    arrays = pack(samples, class_names=raw.class_names, layout=raw.layout)
    unpack(path, arrays)  # what we write, we can read
    out.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, overwrite=False)
    captions = [
        {"seq_id": sample.id, "start_s": start, "end_s": end, "text": text}
        for sample in samples
        for text, start, end in sample.captions
    ]
    if captions:
        _write_json(out / "captions.json", captions)
    prepared = Prepared(path, len(samples), tuple(skipped), raw.samples)
    report: dict[str, Any] = {
        "benchmark": benchmark.name,
        "samples": prepared.samples,
        "published": prepared.published,
        "skipped": prepared.reasons,
        "skipped_samples": [asdict(skip) for skip in skipped],
        "date": date.today().isoformat(),
    }
    _write_json(out / "prepared.json", report)
    return prepared


def pack(samples: Iterable[Sample], *, class_names: tuple[str, ...], layout: str) -> dict[str, np.ndarray]:
    """The arrays of a packed set (:mod:`tmor.skeleton.formats.packed`).

    Persons of a sample share its frames, the first of which is at 0 s.

    Raises:
        TmorError: two samples have one id, their layouts, dimensions or columns differ, only some have a rate, or a
            person begins before the sample or at an unknown frame.
    """
    samples = list(samples)
    joints, first = LAYOUTS[layout], samples[0]
    seen: set[str] = set()
    people = max(len(sample.tracks) for sample in samples)
    blocks: list[np.ndarray] = []
    for sample in samples:
        if sample.id in seen:
            raise TmorError(f"sample '{sample.id}' is there twice; expected every id once")
        seen.add(sample.id)
        for what, own, expected in (
            *(("layout", track.layout.name, layout) for track in sample.tracks),
            *(("dimensions", track.dims, first.tracks[0].dims) for track in sample.tracks),
            ("columns", sorted(sample.columns), sorted(first.columns)),
        ):
            if own != expected:
                raise TmorError(
                    f"sample '{sample.id}' has {what} {own}, expected {expected}, as all must have the same"
                )
        blocks.append(_block(sample, people, len(joints)))
    arrays: dict[str, np.ndarray] = {
        "joints": np.concatenate(blocks) if people > 1 else np.concatenate(blocks)[:, 0],
        "offsets": np.cumsum([0, *map(len, blocks)], dtype=np.int64),
        "joint_names": np.array(joints.joints),
        "edges": joints.bone_indices,
        "layout": np.array(layout),
        "seq_id": np.array([sample.id for sample in samples]),
        "label": np.array([sample.label for sample in samples], dtype=np.int64),
        "class_names": np.array(class_names, dtype=np.str_),
    }
    rates = {sample.tracks[0].fps for sample in samples}
    if len(rates) == 1:
        arrays["fps"] = np.array(next(iter(rates)) or 0.0)
    else:  # every sample has a rate of its own: times of frames say it
        arrays["timestamp_ms"] = np.concatenate(
            [1000 * np.arange(len(block)) / _rate(sample) for sample, block in zip(samples, blocks, strict=True)]
        )
    rows = [(i, *segment) for i, sample in enumerate(samples) for segment in sample.segments]
    if rows:
        arrays["segments_s"] = np.array(rows, dtype=np.float64)
    for key in first.columns:
        arrays[key] = np.array([sample.columns[key] for sample in samples])
    return arrays


def _write_json(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def _rate(sample: Sample) -> float:
    fps = sample.tracks[0].fps
    if fps is None:
        raise TmorError(f"sample '{sample.id}' has no frame rate, others have; expected all or none")
    return fps


def _block(sample: Sample, people: int, joints: int) -> np.ndarray:
    """(frames, people, joints, dims) float32 of a sample, NaN = unseen."""
    for track in sample.tracks:
        if track.start_s < 0 or (track.start_s and track.fps is None):
            rate = "unknown rate" if track.fps is None else f"{track.fps:g} fps"
            raise TmorError(
                f"sample '{sample.id}': a person begins at {track.start_s:g} s, at {rate}; expected 0, or later where "
                "the rate is known"
            )
    starts = [round(track.start_s * (track.fps or 0.0)) for track in sample.tracks]
    frames = max(start + len(track) for start, track in zip(starts, sample.tracks, strict=True))
    block = np.full((frames, people, joints, sample.tracks[0].dims), np.nan, dtype=np.float32)
    for person, (start, track) in enumerate(zip(starts, sample.tracks, strict=True)):
        block[start : start + len(track), person] = track.keypoints
    return block
