"""A picture of sample motions that a model names wrongly, one of each action.

Run `python benchmarks/failures.py -o FILE.png`. The motions are computed, as in `tmor demo`; what goes wrong on
recorded ones is in MODEL_CARD.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tmor.model.checkpoint import load_model
from tmor.skeleton.drawing import contact_sheet
from tmor.skeleton.sample import ACTIONS, sample_set
from tmor.skeleton.tracks import Track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tmor-small")
    parser.add_argument("--output", "-o", type=Path, required=True)
    args = parser.parse_args()
    truths, tracks = zip(*sample_set(), strict=True)
    answers = load_model(args.model).classify(tracks, ACTIONS).best
    wrong: dict[str, Track] = {}
    for truth, track, answer in zip(truths, tracks, answers, strict=True):
        if answer != truth:
            wrong.setdefault(truth, replace(track, id=f"{truth}: {answer}?"))
    figure = contact_sheet(list(wrong.values()))
    figure.savefig(args.output)
    right = sum(a == b for a, b in zip(answers, truths, strict=True))
    print(f"{right} of {len(tracks)} right; of {len(wrong)} actions of {len(ACTIONS)} at least one is named wrongly")


if __name__ == "__main__":
    main()
