"""What an exported model loses and gains: torch, ONNX and 8-bit ONNX side by side.

Run `python benchmarks/onnx_int8.py PENN_NPZ`. Accuracy is that on Penn Action's official test part, by text alone and
with a linear probe that is trained on torch's features of the training part. Speed is that of the encoder with
normalisation on prepared clips, in one process on one thread, the sides by turns, so the ratios hold on a busy machine
too; the figures are medians of CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import by_turns

from tmor.downstream.benchmarks.labelled import LabelledSet, read_labelled
from tmor.downstream.benchmarks.penn_action import BENCHMARK
from tmor.downstream.classify import linear_probe
from tmor.downstream.metrics.classification import accuracy
from tmor.model.checkpoint import load_model
from tmor.model.model import Model
from tmor.serve.export import export_onnx
from tmor.serve.onnx import OnnxModel, load_onnx
from tmor.skeleton.canonical import prepare, stretch

Side = Model | OnnxModel


def accuracies(sides: dict[str, Side], data: LabelledSet, texts: np.ndarray) -> None:
    """Print top-1 of every side, and how often it answers as the first does."""
    (fold,) = data.folds
    tracks = [sample[0] for sample in data.samples]
    truth = data.labels[fold.test]
    features = {name: side.features(tracks) for name, side in sides.items()}
    units = {name: side.unit(features[name]) for name, side in sides.items()}
    by_text = [(side.project(features[name][fold.test]) @ texts.T).argmax(axis=1) for name, side in sides.items()]
    # One probe for all: fitted to each, its strength would be chosen by chance.
    test = np.concatenate([unit[fold.test] for unit in units.values()])
    linear = np.split(linear_probe(units["torch"][fold.train], data.labels[fold.train], test), len(sides))
    print(f"{data.name}, {len(truth)} test samples         by text   as torch     linear   as torch")
    for name, *answers in zip(sides, by_text, linear, strict=True):
        figures = [
            100 * value
            for answer, reference in zip(answers, (by_text[0], linear[0]), strict=True)
            for value in (accuracy(truth, answer), float((answer == reference).mean()))
        ]
        print(f"  {name:28}" + "".join(f"{figure:9.2f} %" for figure in figures))


def speeds(sides: dict[str, Side], model: Model, data: LabelledSet, repeats: int) -> None:
    """Print clips per second of every side, for one clip at a time and for many."""
    frames = model.spec.clip_frames
    clips = [stretch(prepare(sample[0], fps=model.spec.fps), frames) for sample in data.samples[:32]]

    for count, rounds in ((1, 10 * repeats), (len(clips), repeats)):
        calls = {name: partial(side.clip_features, clips[:count]) for name, side in sides.items()}
        seconds = by_turns(calls, rounds)
        print(f"{count} clip{'s' * (count > 1)} of {frames} frames at a time")
        for name, value in seconds.items():
            print(f"  {name:28}{count / value:9.0f} clips/s{seconds['torch'] / value:8.2f} x torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("penn", type=Path, help="the packed set")
    parser.add_argument("--model", default="tmor-small", help="tmor-small, or a checkpoint file")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model)
    data = read_labelled(args.penn, BENCHMARK.protocols[0])
    sides: dict[str, Side] = {"torch": model}
    with tempfile.TemporaryDirectory() as folder:
        for name, int8 in (("onnx", False), ("onnx, 8 bits", True)):
            path = Path(folder, f"{int(int8)}.onnx")
            export_onnx(model, path, int8=int8)
            sides[name] = load_onnx(path)
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB")
    accuracies(sides, data, model.project_labels(data.class_names))
    speeds(sides, model, data, args.repeats)


if __name__ == "__main__":
    main()
