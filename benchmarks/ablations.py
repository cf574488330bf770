"""The ablation table: what each part of the method is worth, Penn Action left out.

Run `python benchmarks/ablations.py DATA -o runs/ablations`. For each row and seed `examples/pretrain/ablation.toml` is
changed as the row says, trained on one thread without Penn Action, and measured on its official test part. Nothing is
chosen by the outcome. A row that the folder has already is not run again, so an interrupted table goes on where it was;
with `--seeds 1` beside `--seeds 0` two processes share the work. The table of all that is there comes at the end, as
Markdown: mean and standard deviation over seeds, and clusters as the last epoch found them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from tmor.config import ClusterConfig, PretrainConfig, read_pretrain_config
from tmor.downstream.benchmarks import labelled_set
from tmor.downstream.evaluate import Recipe, evaluate
from tmor.downstream.tables import as_json
from tmor.model.checkpoint import load_model
from tmor.pretrain.loop import pretrain
from tmor.skeleton.formats.files import write_whole

LEFT_OUT = "penn_action"

ROWS: dict[str, Callable[[PretrainConfig], PretrainConfig]] = {
    "full": lambda c: c,
    "without clusters": lambda c: c.without("clusters"),
    "clusters from labels": lambda c: replace(c, clusters=replace(c.clusters or ClusterConfig(), by_label=True)),
    "without motion-motion": lambda c: c.without("motion"),
    "without motion-video": lambda c: c.without("video"),
    "without motion-text": lambda c: c.without("text"),
    "without virtual camera": lambda c: c.without("camera"),
    "names only": lambda c: c.without("descriptions"),
    "one stage": lambda c: replace(c, self_epochs=0, text_epochs=c.self_epochs + c.text_epochs),
    "50% of the data": lambda c: replace(c, data_share=0.5),
    "25% of the data": lambda c: replace(c, data_share=0.25),
}
"""Each a change of the config."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the training data, Penn Action among them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="runs, and a JSON file of each")
    parser.add_argument("--seeds", default="0,1,2", help="which to run (default: %(default)s)")
    parser.add_argument("--config", type=Path, default=Path("examples/pretrain/ablation.toml"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = read_pretrain_config(args.config).leaving_out(LEFT_OUT)
    for seed in map(int, args.seeds.split(",")):
        for row, change in ROWS.items():
            _run(row, change(replace(config, seed=seed)), args.data, args.output)
    print(_table(args.output))


def _run(row: str, config: PretrainConfig, data: Path, out: Path) -> None:
    name = f"{row.replace(' ', '-').replace('%', '')}-seed-{config.seed}"
    file, run = out / f"{name}.json", out / "runs" / name
    if file.exists():
        return
    print(f"{name} ...", flush=True)
    pretrain(config, data=data, out=run, resume=run.exists())
    # Seeds of the episodes of few-shot; without its text term a model can't name anything.
    recipe = Recipe(seeds=(0, 1, 2), descriptions=config.descriptions)
    modes = ("zero-shot", "few-shot", "linear") if config.text_term else ("few-shot", "linear")
    labelled = labelled_set(data / LEFT_OUT / f"{LEFT_OUT}.npz")
    result = evaluate(load_model(run / "model.safetensors"), labelled, modes=modes, recipe=recipe).result
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    result |= {"row": row, "seed": config.seed, "last_epoch": log[-1]}
    write_whole(file, as_json([result]).encode())


def _table(out: Path) -> str:
    found = [json.loads(file.read_text())[0] for file in sorted(out.glob("*.json"))]
    columns: dict[str, Callable[[dict], float | None]] = {
        "zero-shot": lambda r: r["zero-shot"]["top1"] if "zero-shot" in r else None,
        "1-shot": lambda r: r["few-shot"]["1"]["mean"],
        "5-shot": lambda r: r["few-shot"]["5"]["mean"],
        "linear probe": lambda r: r["linear"]["top1"]["mean"],
        "clusters": lambda r: r["last_epoch"].get("clusters"),
        "% noise": lambda r: 100 * r["last_epoch"]["noise_share"] if "noise_share" in r["last_epoch"] else None,
        "NMI with labels": lambda r: r["last_epoch"].get("nmi_labels"),
    }
    lines = [f"| row | seeds | {' | '.join(columns)} |", f"| --- | --- |{' --- |' * len(columns)}"]
    for row in ROWS:
        own = [result for result in found if result["row"] == row]
        if own:
            cells = [_cell([column(result) for result in own], name) for name, column in columns.items()]
            lines.append(f"| {row} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float | None], name: str) -> str:
    known = [value for value in values if value is not None]
    digits = {"clusters": 0, "% noise": 0, "NMI with labels": 2}.get(name, 1)
    if not known:
        return "-"
    spread = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{mean(known):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
