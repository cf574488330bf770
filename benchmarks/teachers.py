"""How many clips and texts a second ViCLIP embeds, with random weights: speed does not depend on them.

Run `python benchmarks/teachers.py`. Figures are medians of CPU seconds, on one thread. `--video FILE` also times
what comes before: decoding a stretch and squeezing its frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from timing import by_turns

from tmor.errors import TmorError
from tmor.pose.videos import probe
from tmor.teachers.frames import read_stretches
from tmor.teachers.viclip import B16, L14, ViCLIP

TEXTS = ["a person sits down", "someone waves the left hand above the head", "walks two steps, stops and turns around"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1, help="at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--video")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"ViCLIP, {given.clips} clip(s) of 8 x 224 x 224 at once, one thread")
    models = {"B/16": ViCLIP(B16), "L/14": ViCLIP(L14)}
    pixels = torch.randn(given.clips, 8, 3, 224, 224)
    sides: dict[str, Callable[[], object]] = {
        name: lambda model=model: model.encode_video(pixels) for name, model in models.items()
    }
    seconds = by_turns(sides, given.repeats)
    for name, model in models.items():
        each, gflop = seconds[name] / given.clips, model.shape.gflop
        print(
            f"  {name}: {each:8.3f} s a clip, {1 / each:8.3f} clips/s; {gflop:6.0f} GFLOP, {gflop / each:7.0f} GFLOP/s"
        )
    flop, slower = L14.gflop / B16.gflop, seconds["L/14"] / seconds["B/16"]
    print(f"  L/14 against B/16: {flop:.2f} x the work, {slower:.2f} x the time")

    texts = TEXTS * 20
    sides = {name: lambda model=model: model.encode_text(texts) for name, model in models.items()}
    try:
        seconds = by_turns(sides, given.repeats)
    except TmorError as error:
        print(f"  texts not timed: {error}")
    else:
        for name in models:
            print(f"  {name}: {len(texts) / seconds[name]:8.1f} texts/s, {len(texts)} at once, of 4 to 8 words")

    if given.video is not None:
        info = probe(given.video)
        length = info.duration_s or 1.0
        stretch = [(0.0, 0.98 * length)]
        took = by_turns({"": lambda: list(read_stretches(given.video, stretch, frames=8, size=224))}, given.repeats)[""]
        print(f"  decoding {length:.1f} s of {info.width}x{info.height}: {took:.3f} s, {took / length:.4f} s a second")


if __name__ == "__main__":
    main()
