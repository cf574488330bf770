"""How well actions are told apart by a few enrolled examples: five classes of a data set.

Run `python benchmarks/enroll.py DATA/utd_mhad/utd_mhad_skeleton.npz`, or of another set with `--part TRAINING_PART`.
For each of five seeds, five of the classes are drawn. Of each, 1, 3 and 5 training samples are written to a file of
examples and enrolled from it as `tmor predict --examples` does; all test samples of the five classes are classified.
Nothing is chosen by the outcome. Beside it: the same five by their names alone. The shipped models have seen the
training parts of the sets that MODEL_CARD lists, UTD-MHAD's among them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from tmor import load_model
from tmor.downstream.benchmarks import labelled_set
from tmor.serve.examples import read_examples, write_examples
from tmor.serve.predict import predict_tracks

SEEDS, CLASSES, SHOTS = 5, 5, (1, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a packed set")
    parser.add_argument("--part", help="its training part, of a set that is no known benchmark")
    parser.add_argument("--model", default="tmor-small")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, model = labelled_set(args.data, part=args.part), load_model(args.model)
    fold = data.folds[0]
    right: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        classes = rng.choice(len(data.class_names), CLASSES, replace=False)
        names = [data.class_names[c] for c in classes]
        test = np.flatnonzero(fold.test & np.isin(data.labels, classes))
        tracks = [data.samples[i][0] for i in test]
        truth = [data.class_names[c] for c in data.labels[test]]
        drawn = {c: rng.permutation(np.flatnonzero(fold.train & (data.labels == c))) for c in classes}
        models = {"by name": model}
        for shots in SHOTS:
            chosen = {data.class_names[c]: [data.samples[i][0] for i in rows[:shots]] for c, rows in drawn.items()}
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "examples.npz"
                write_examples(file, chosen)
                models[f"{shots} examples"] = model.enroll(read_examples(file))
        row = []
        for how, asked in models.items():
            answers = predict_tracks(asked, tracks, names, none=False)
            right.setdefault(how, []).append(100 * np.mean([a.label == t for a, t in zip(answers, truth, strict=True)]))
            row.append(f"{how} {right[how][-1]:.1f}")
        print(f"seed {seed}: {len(test)} samples of {'; '.join(names)}: {', '.join(row)}", flush=True)
    print(f"{data.name}, {args.model}, chance {100 / CLASSES:.0f} %")
    for how, values in right.items():
        print(f"{how}: {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} %")


if __name__ == "__main__":
    main()
