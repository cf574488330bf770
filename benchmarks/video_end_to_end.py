"""From a video file to segments on one processor: frames per second, and where the time goes.

Run `python benchmarks/video_end_to_end.py FOLDER` (extra pose-offline). Each video of the folder goes through what
`tmor predict` does: decode, find the people of each picture (MediaPipe), follow them, recognise. One process, tied to
one processor; each step is timed by itself, in CPU time. Shares are ratios of one run and hold on a busy machine;
frames per second are those of a processor that does nothing else. "People" are those found per picture, on average: the
keypoint model runs once for each.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    # Before any library counts the processors.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import torch

from tmor import Model, load_model
from tmor.pose import PoseEstimator, follow, load_estimator
from tmor.pose.videos import read_frames
from tmor.serve.predict import predict_tracks

STEPS: tuple[str, ...] = ("decode", "find people", "follow", "recognise")
LABELS = ("lift a barbell", "tai chi", "side lunge", "hug", "arm wrestling", "walk", "stand still", "clap")


class Stopwatch:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[step] += time.process_time() - start

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def run(path: Path, model: Model, estimator: PoseEstimator, every_s: float, watch: Stopwatch) -> tuple[int, str]:
    """How many pictures were looked at, and a line about what was found."""
    pictures = read_frames(path, every_s=every_s)
    frames = []
    while True:
        with watch("decode"):
            picture = next(pictures, None)
        if picture is None:
            break
        with watch("find people"):
            frames.append((picture.time_s, estimator(picture.image, picture.time_s)))
    with watch("follow"):
        tracks = follow(frames, layout=estimator.layout, id=path.stem).tracks
    segments = 0
    with watch("recognise"):
        if tracks:
            segments = sum(len(result.segments) for result in predict_tracks(model, tracks, LABELS))
    people = sum(len(found) for _, found in frames) / max(len(frames), 1)
    return len(frames), f"{people:4.1f} people  {len(tracks):2} tracks  {segments:3} segments"


def line(name: str, pictures: int, watch: Stopwatch, found: str) -> None:
    shares = "  ".join(f"{step} {seconds / watch.total:6.1%}" for step, seconds in watch.seconds.items())
    print(f"  {name:28}{pictures:5} pictures {pictures / watch.total:6.1f} /s   {shares}   {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="tmor-small")
    parser.add_argument("--every", type=float, default=1 / 15, help="seconds between the pictures that are looked at")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    model.judge(LABELS)  # loads the text teacher
    videos = sorted(path for path in options.folder.iterdir() if path.suffix in (".avi", ".mp4", ".mov", ".mkv"))
    if not videos:
        parser.error(f"{options.folder}: holds no videos")
    everything, pictures = Stopwatch(), 0
    print(f"{options.model}, {len(LABELS)} labels, a picture every {options.every:.3f} s")
    with closing(load_estimator("mediapipe")) as estimator:
        run(videos[0], model, estimator, 1.0, Stopwatch())  # untimed: the first calls prepare the networks
        for path in videos:
            watch = Stopwatch()
            count, found = run(path, model, estimator, options.every, watch)
            line(path.name, count, watch, found)
            pictures += count
            for step, seconds in watch.seconds.items():
                everything.seconds[step] += seconds
    line("all", pictures, everything, "")


if __name__ == "__main__":
    main()
