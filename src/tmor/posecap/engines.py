"""Many sources read at once: in this process, in several, or on a Ray cluster; one that dies takes only its source."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal

from tmor.errors import TmorError
from tmor.posecap.readers import Clips, Reader
from tmor.posecap.sources import Source

Engine = Literal["local", "ray"]


@dataclass(frozen=True, eq=False)
class Made:
    """What a worker sends back: clips, or why there are none."""

    source: Source
    source_hash: str
    clips: Clips | None
    error: str = ""


@dataclass(frozen=True)
class _Work:
    reader: Reader

    def __call__(self, item: tuple[Source, str]) -> Made:
        source, source_hash = item
        try:
            return Made(source, source_hash, self.reader(source))
        except (TmorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            # Files from outside make libraries raise anything; each is reported with its reason.
            return Made(source, source_hash, None, str(error) or type(error).__name__)


def read_all(
    reader: Reader, items: Iterator[tuple[Source, str]], *, workers: int | None, engine: Engine
) -> Iterator[Made]:
    """What a reader makes of sources, in their order, however many work on them.

    Args:
        items: sources and their hashes.
        workers: processes, or Ray tasks; None = this process.
        engine: ``ray`` reads on a Ray cluster, all of whose machines must see the sources under the same path.

    Raises:
        TmorError: Ray is not installed.
    """
    work = _Work(reader)
    if engine == "ray":
        return _on_ray(work, list(items), workers or 1)
    return map(work, items) if workers is None else _in_pool(work, items, workers)


def _in_pool(work: _Work, items: Iterator[tuple[Source, str]], workers: int) -> Iterator[Made]:
    context = get_context("spawn")  # Lance and most estimators do not survive a fork
    waiting: list[tuple[tuple[Source, str], Future[Made]]] = []
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        more = True
        while more or waiting:
            while more and len(waiting) < 2 * workers:
                item = next(items, None)
                more = item is not None
                if item is not None:
                    waiting.append((item, _submitted(pool, work, item)))
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
                            yield Made(*again, None, "the process that read it died")
                waiting = []
                pool = ProcessPoolExecutor(workers, mp_context=context)
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: _Work, item: tuple[Source, str]) -> Future[Made]:
    """What will be the item's result; broken as the pool is where a process died since the last one."""
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:
        broken: Future[Made] = Future()
        broken.set_exception(error)
        return broken


def _on_ray(work: _Work, items: list[tuple[Source, str]], workers: int) -> Iterator[Made]:
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
        yield Made(*item, None, "the task that read it died")
