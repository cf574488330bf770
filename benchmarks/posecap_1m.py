"""How fast a data set of a million triplets is opened, shuffled and read, and whether its order repeats.

    python benchmarks/posecap_1m.py FOLDER [--triplets 1000000] [--batch 256] [--seconds 60] [--keep]

Makes a simulated data set in FOLDER (64 frames x 17 joints x 2, two 512-d float16 embeddings, captions; 6.6 GB for a
million), prints the figures, and removes it. Keypoints and embeddings are cut at random places out of a long random
walk and out of noise, so that they can't be compressed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from tmor.errors import TmorError
from tmor.posecap.rows import schema, to_batch
from tmor.posecap.shards import _ROWS_PER_FILE, _TABLE, create_shards, open_shards

FRAMES, JOINTS, WIDTH = 64, 17, 512
COLUMNS = ("keypoints", "texts", "video", "text")
VERBS = ("walks", "waves", "sits down", "jumps", "throws a ball", "drinks", "claps", "bends over")


def simulated(count: int, *, chunk: int = 4096) -> Iterator[pa.RecordBatch]:
    """Rows as the schema wants them, made by whole arrays: a million records one by one would take an hour."""
    rng = np.random.default_rng(0)
    wanted = with_embeddings()
    size = 2 * FRAMES * JOINTS * 2
    walk = rng.standard_normal((1 << 15, JOINTS * 2), dtype=np.float32).cumsum(axis=0).astype("<f2").tobytes()
    noise = (rng.standard_normal(1 << 20) / WIDTH**0.5).astype(np.float16)
    for first in range(0, count, chunk):
        n = min(chunk, count - first)
        cuts = (2 * rng.integers(0, (len(walk) - size) // 2, n)).tolist()
        names = [f"simulated/{i:07d}.mp4/0@0.00" for i in range(first, first + n)]
        texts = [
            [{"text": f"a person {VERBS[i % len(VERBS)]} for the {i}th time", "kind": "caption", "origin": "simulated"}]
            for i in range(first, first + n)
        ]
        columns = {
            "id": names,
            "source": [name.split("/")[1] for name in names],
            "source_hash": [f"{i:064x}" for i in range(first, first + n)],
            "start_s": np.zeros(n),
            "end_s": np.full(n, FRAMES / 15.0),
            "fps": np.full(n, 15.0),
            "frames": np.full(n, FRAMES, dtype=np.int32),
            "dims": np.full(n, 2, dtype=np.int8),
            "origin": [[320.0, 240.0]] * n,
            "keypoints": [walk[cut : cut + size] for cut in cuts],
            "content": [f"{i:064x}" for i in range(first, first + n)],
            "signature": [i.to_bytes(32, "big") for i in range(first, first + n)],
            "texts": texts,
            "split": ["train" if i % 10 else "test" for i in range(first, first + n)],
        }
        constant = {"collection": "simulated", "layout": "coco17", "licence": "none", "estimator": "simulated"}
        arrays = []
        for field in wanted:
            if field.name in ("video", "text"):
                starts = rng.integers(0, len(noise) - WIDTH, n)
                flat = pa.array(noise[(starts[:, None] + np.arange(WIDTH)).ravel()])
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, WIDTH))
            elif field.name in columns:
                arrays.append(pa.array(columns[field.name], field.type))
            elif field.name in constant:
                arrays.append(pa.array([constant[field.name]] * n, field.type))
            else:
                arrays.append(pa.nulls(n, field.type))
        yield pa.RecordBatch.from_arrays(arrays, schema=wanted)


def with_embeddings() -> pa.Schema:
    """The schema after both teachers were there."""
    found = schema()
    for column in ("video", "text"):
        metadata = {"teacher": "simulated", "hash": "0"}
        found = found.append(pa.field(column, pa.list_(pa.float16(), WIDTH), metadata=metadata))
    return found


def write(folder: Path, count: int) -> None:
    """The simulated data set."""
    import lance

    create_shards(folder)
    batches = pa.RecordBatchReader.from_batches(with_embeddings(), simulated(count))
    lance.write_dataset(batches, str(folder / _TABLE), mode="overwrite", max_rows_per_file=_ROWS_PER_FILE)


def rss_gb() -> float:
    """Memory of this process now, without pages that the system only caches."""
    fields = Path("/proc/self/status").read_text().split("VmRSS:")
    return int(fields[1].split()[0]) / 1e6


def main() -> None:
    """Make, measure, remove."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--triplets", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--keep", action="store_true", help="leave the data set there; a second run uses it")
    given = parser.parse_args()
    folder, count = given.folder / "posecap-simulated", given.triplets
    if not folder.exists():
        free = shutil.disk_usage(given.folder).free
        if free < 8_000 * count:
            raise TmorError(f"{given.folder}: {free / 1e9:.1f} GB are free; expected {8_000 * count / 1e9:.1f}")
        started = time.monotonic()
        write(folder, count)
        print(f"made {count:,} triplets in {time.monotonic() - started:.0f} s")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"size on disk       {size / 1e9:.2f} GB, {size / count:,.0f} bytes per triplet")

    import lance  # noqa: F401  (which takes a moment the first time, whatever is opened)

    started = time.monotonic()
    shards = open_shards(folder)
    assert len(shards) == count
    print(f"open               {time.monotonic() - started:.3f} s (goal: under 2)")

    started, worked, read = time.monotonic(), time.process_time(), 0
    scanner = shards._dataset.scanner(columns=["fps", "frames", "dims", "layout", "origin", *COLUMNS], batch_size=1024)
    for table in scanner.to_batches():
        batch = to_batch(np.arange(len(table)), table, COLUMNS, shards.path)
        read += len(batch)
        if time.monotonic() - started > given.seconds / 2:
            break
    sequential = read / (time.monotonic() - started)
    per_cpu = read / (time.process_time() - worked)
    print(f"sequential         {sequential:,.0f} triplets/s, {per_cpu:,.0f} per second of one processor; decoded")

    started, worked, read, most = time.monotonic(), time.process_time(), 0, 0.0
    for batch in shards.batches(batch=given.batch, seed=0, epoch=0, columns=COLUMNS):
        read += len(batch)
        if read % (50 * given.batch) == 0:
            most = max(most, rss_gb())
        if time.monotonic() - started > given.seconds:
            break
    seconds = time.monotonic() - started
    per_cpu = read / (time.process_time() - worked)
    print(
        f"shuffled           {read / seconds:,.0f} triplets/s, {per_cpu:,.0f} per second of one processor; goal: 10,000"
    )
    print(f"                   in batches of {given.batch}, {read:,} read")
    print(f"ratio              {read / seconds / sequential:.2f} of sequential")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"memory             {max(most, rss_gb()):.2f} GB while shuffling, {peak:.2f} GB at most (goal: under 2)")

    def rows(start: int, steps: int) -> np.ndarray:
        found = []
        for batch in shards.batches(batch=given.batch, seed=7, epoch=3, columns=("text",), start=start):
            found.append(batch.rows)
            if len(found) == steps:
                break
        return np.concatenate(found)

    whole = rows(0, 40)
    print(f"same order again   {np.array_equal(whole, rows(0, 40))}")
    print(f"resume at step 17  {np.array_equal(whole[17 * given.batch :], rows(17, 23))}")
    if not given.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
