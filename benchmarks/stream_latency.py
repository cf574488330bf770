"""How fast a live stream is, and whether it stays so: milliseconds per frame and answer, memory and throughput.

Run `python benchmarks/stream_latency.py`. One process, one thread, the shipped tmor-small, unik17 in 2D and 3D: first
some minutes frame by frame, then 30 minutes at 30 frames per second of the sample motions one after the other. Wall
time is what a user waits, on a busy machine more than on an idle one; CPU time is much the same on both.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from tmor import load_model
from tmor.model.model import Model
from tmor.serve.stream import Stream
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.sample import ACTIONS, FPS, sample_set


def motions(dims: int) -> np.ndarray:
    """(frames, 17, dims) of all sample motions, 2D ones in pixels."""
    points = np.concatenate([np.array(track.keypoints) for _, track in sample_set()])
    return points if dims == 3 else 300 * points[..., :2] * np.array((1, -1), np.float32)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def figures(name: str, wall: list[float], cpu: list[float]) -> None:
    line = f"  {name:24}{len(wall):7} times"
    for kind, seconds in (("wall", wall), ("CPU", cpu)):
        p50, p95, worst = np.percentile(seconds, [50, 95, 100]) * 1e3
        line += f"   {kind} p50 {p50:6.2f}  p95 {p95:6.2f}  max {worst:6.2f} ms"
    print(line, flush=True)


def latency(model: Model, dims: int, seconds: float) -> None:
    """Every frame by itself; those that bring an answer are shown alone too."""
    stream = Stream(model, UNIK17, dims, FPS, ACTIONS)
    rows: list[tuple[float, float, bool]] = []
    for i, frame in enumerate(islice(cycle(motions(dims)), round(seconds * FPS))):
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = stream.push(i / FPS, frame)
        rows.append((time.perf_counter() - wall, time.thread_time() - cpu, answer is not None))
    print(f"{dims}D, {len(ACTIONS)} labels, {seconds:.0f} s of frames")
    rows = rows[round(4 * FPS) :]  # the first windows also prepare the network's weights
    figures("a pushed frame", [w for w, _, _ in rows], [c for _, c, _ in rows])
    figures("with an answer", [w for w, _, a in rows if a], [c for _, c, a in rows if a])
    figures("without", [w for w, _, a in rows if not a], [c for _, c, a in rows if not a])
    wall = time.perf_counter()
    found = stream.finish()
    print(f"  finish: {1e3 * (time.perf_counter() - wall):.1f} ms, {len(found)} segments")


def endurance(model: Model, minutes: float) -> None:
    """Memory after a tenth and at the end, speed in the first tenth and in the last."""
    stream, frames = Stream(model, UNIK17, 2, FPS, ACTIONS), cycle(motions(2))
    tenth = round(6 * minutes * FPS)
    memory, cpu, wall = [], [], []
    answers = closed = 0
    for part in range(10):
        start_wall, start_cpu = time.perf_counter(), time.thread_time()
        for i, frame in enumerate(islice(frames, tenth), part * tenth):
            answer = stream.push(i / FPS, frame)
            answers += answer is not None
            closed += 0 if answer is None else len(answer.closed)
        wall.append(tenth / (time.perf_counter() - start_wall))
        cpu.append(tenth / (time.thread_time() - start_cpu))
        memory.append(resident_mib())
    found = stream.finish()
    print(f"{minutes:g} minutes, {10 * tenth} frames, {answers} answers, {len(found)} segments ({closed} live)")
    print(
        f"  resident memory: {memory[0]:.1f} MiB at 10 %, {memory[-1]:.1f} MiB at the end: {memory[-1] / memory[0]:.3f}"
    )
    for kind, speed in (("CPU", cpu), ("wall", wall)):
        print(
            f"  frames per {kind} second: first tenth {speed[0]:.0f}, last {speed[-1]:.0f}: {speed[-1] / speed[0]:.2f}"
            f" (all: {', '.join(f'{s:.0f}' for s in speed)})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tmor-small")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the long stream; 0 = none")
    parser.add_argument("--seconds", type=float, default=180.0, help="of the stream that is timed frame by frame")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    for dims in (2, 3):
        latency(model, dims, options.seconds)
    if options.minutes:
        endurance(model, options.minutes)


if __name__ == "__main__":
    main()
