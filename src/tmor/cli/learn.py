"""Commands for those who train and measure models. Heavy parts are imported by the commands that need them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tmor.cli.shell import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    PartOption,
    ProtocolOption,
    SeedOption,
    app,
    choices,
    err,
    numbers,
    out,
    plain,
    progress_bar,
    tell_written,
    write_text,
)
from tmor.errors import TmorError

if TYPE_CHECKING:
    from tmor.downstream.benchmarks.labelled import LabelledSet
    from tmor.downstream.evaluate import Evaluation
    from tmor.model.model import Model


class Device(StrEnum):
    """What training computes on."""

    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """Of the encoder's products in training."""

    fp32 = "fp32"
    bf16 = "bf16"


class Stream(StrEnum):
    """What an encoder is shown."""

    joint = "joint"
    bone = "bone"
    joint_3d = "joint-3d"
    bone_3d = "bone-3d"


DeviceOption = Annotated[Device, typer.Option(help="Where an encoder is fine-tuned.")]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Of fine-tuning: bf16 takes half the time on processors and cards that have it.")
]


class Part(StrEnum):
    """What an ablation can leave out of pre-training."""

    clusters = "clusters"
    motion = "motion"
    video = "video"
    text = "text"
    camera = "camera"
    descriptions = "descriptions"


@app.command(rich_help_panel="Learn")
def pretrain(
    config: Annotated[Path, typer.Argument(help="The run's TOML file.")],
    data: Annotated[Path, typer.Option(help="The folder that the config's paths are relative to.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for this run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that the folder holds.")] = False,
    leave_out: Annotated[list[str], typer.Option(help="Leave a data set out, by the name of its file or source.")] = [],  # noqa: B006
    without: Annotated[list[Part], typer.Option(help="Leave a part of the method out.")] = [],  # noqa: B006
    seed: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    size: Annotated[str | None, typer.Option(help="Instead of the config's: base or small.")] = None,
    distilled_from: Annotated[list[str], typer.Option(help="Instead of the config's: trained models.")] = [],  # noqa: B006
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; with 1 a run repeats bit by bit.", min=1)
    ] = None,
    device: Annotated[Device | None, typer.Option(help="cuda if there is one, when not given.")] = None,
    devices: Annotated[int, typer.Option(help="Processes that train together, on each machine.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines that train together.")] = 1,
) -> None:
    """Train a model from skeletons, with their videos and texts where they have them; writes a run folder."""
    import torch

    from tmor.config import pretrain_config, read_pretrain_config
    from tmor.pretrain.loop import pretrain as run
    from tmor.pretrain.ranks import start

    if threads is not None:
        torch.set_num_threads(threads)
    settings = read_pretrain_config(config)
    changed = {"seed": seed, "size": size, "distilled_from": distilled_from or None}
    if any(value is not None for value in changed.values()):
        values = settings.as_dict() | {key: value for key, value in changed.items() if value is not None}
        settings = pretrain_config(values, source="command line")
    for name in leave_out:
        settings = settings.leaving_out(name)
    for part in without:
        settings = settings.without(part.value)
    ranks = start(None if device is None else device.value, devices=devices, nodes=nodes)
    err.quiet = not ranks.first
    with progress_bar("preparing the data") as progress:
        run(settings, data=data, out=output, resume=resume, ranks=ranks, progress=progress)
    tell_written(output / "model.safetensors")


@app.command(rich_help_panel="Learn")
def finetune(
    data: Annotated[Path, typer.Argument(help="A packed set with labels, or a folder that prepare wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The fine-tuned checkpoint to write.")],
    model: ModelOption = DEFAULT_MODEL,
    protocol: ProtocolOption = None,
    part: PartOption = None,
    stream: Annotated[
        Stream, typer.Option(help="What the encoder is shown; of 3D data the streams in 3D tell more.")
    ] = Stream.joint,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    share: Annotated[float, typer.Option(help="Share of the training labels that is used.")] = 1.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    device: DeviceOption = Device.cpu,
    precision: PrecisionOption = Precision.fp32,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a model on labels of your own; writes a checkpoint that `predict` uses without --labels."""
    import numpy as np

    from tmor.downstream.benchmarks import labelled_set
    from tmor.downstream.classify import class_probabilities, fine_tune
    from tmor.downstream.metrics.classification import accuracy
    from tmor.model.checkpoint import load_model, save_model
    from tmor.model.compute import Compute
    from tmor.skeleton.formats.files import check_new_file

    check_new_file(output, [".safetensors"], makes_folder=True)
    compute = Compute(device.value, precision.value)
    labelled = labelled_set(data, protocol, part)
    fold = labelled.folds[0]
    with progress_bar("fine-tuning") as progress:
        tuned = fine_tune(
            load_model(model),
            labelled,
            fold,
            stream=stream.value,
            epochs=epochs,
            share=share,
            balanced=balanced,
            compute=compute,
            seed=seed,
            progress=progress,
        )
    save_model(tuned, output)
    test = np.flatnonzero(fold.test)
    top1 = 100 * accuracy(labelled.labels[test], class_probabilities(tuned, labelled, test).argmax(axis=1))
    if as_json:
        print(json.dumps({"benchmark": labelled.name, "protocol": labelled.protocol, "top1": top1}))
    else:
        out.print(f"{labelled.name}: {top1:.1f}% right on the {len(test)} samples of the test part")
        tell_written(output)


@app.command(rich_help_panel="Learn")
def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Packed sets, or folders that prepare wrote.")],
    model: ModelOption = DEFAULT_MODEL,
    mode: Annotated[
        list[str],
        typer.Option(
            help="zero-shot, few-shot, linear, adapted, finetune, scratch, raw; detect; retrieve (with --captions)."
        ),
    ] = ["zero-shot", "few-shot", "linear"],  # noqa: B006
    protocol: ProtocolOption = None,
    part: PartOption = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Leave the test part alone; halve the training part.")
    ] = False,
    without_descriptions: Annotated[
        bool, typer.Option("--without-descriptions", help="Zero-shot by class names alone.")
    ] = False,
    shots: Annotated[str, typer.Option(help="Examples per class of few-shot.")] = "1,5",
    unlabelled: Annotated[
        int, typer.Option(help="Training samples that adapted sees without labels, before zero-shot.", min=1)
    ] = 20,
    heads: Annotated[
        str, typer.Option(help="Of detect: text, raw, linear, tcn, causal, finetune, scratch.")
    ] = "text,linear,tcn",
    join: Annotated[bool, typer.Option("--join", help="Detect in long sequences joined from trimmed samples.")] = False,
    captions: Annotated[Path | None, typer.Option(help="Captions of the set, for retrieval.")] = None,
    epochs: Annotated[int, typer.Option(help="Of finetune and scratch.", min=1)] = 30,
    share: Annotated[
        float, typer.Option(help="Share of the labels that linear, finetune, scratch and detect use.")
    ] = 1.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    streams: Annotated[
        str, typer.Option(help="Of finetune and scratch: joint, bone, joint-3d, bone-3d; fused.")
    ] = "joint",
    device: DeviceOption = Device.cpu,
    precision: PrecisionOption = Precision.fp32,
    seeds: Annotated[int, typer.Option(help="Repeat with seeds 0, 1, ...: mean and spread.", min=1)] = 1,
    segments: Annotated[Path | None, typer.Option(help="Write what detect's last head found as JSON here.")] = None,
    submission: Annotated[Path | None, typer.Option(help="And as a submission file of Charades here.")] = None,
    views: Annotated[Path | None, typer.Option(help="Write confusion matrices and an embedding map here.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the results as JSON here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model: zero-shot, few-shot, linear probe, fine-tuning, detection, retrieval."""
    from tmor.downstream.benchmarks import labelled_set, untrimmed_set
    from tmor.downstream.benchmarks.untrimmed import joined
    from tmor.downstream.detect import evaluate_detection
    from tmor.downstream.evaluate import MODES, Recipe
    from tmor.downstream.evaluate import evaluate as run
    from tmor.downstream.tables import as_json as to_json
    from tmor.downstream.tables import result_rows
    from tmor.model.checkpoint import load_model
    from tmor.model.compute import Compute
    from tmor.skeleton.formats.files import check_distinct, check_new_file

    if validation and {"detect", "retrieve"} & set(mode):
        raise TmorError("--validation is for modes of classification; detect and retrieve would read the test part")
    outcomes = [path for path in (output, segments, submission, views) if path is not None]
    for path in outcomes:
        check_new_file(path, makes_folder=True)
    check_distinct(outcomes)
    known = (*MODES, "detect", "retrieve")
    for name in mode:
        if name not in known:
            raise TmorError(f"mode is '{name}'; expected one of {', '.join(known)}")
    for option, given, needed in (
        ("--segments", segments, ("detect",)),
        ("--submission", submission, ("detect",)),
        ("--join", join, ("detect",)),
        ("--captions", captions, ("retrieve",)),
        ("--views", views, MODES),
    ):
        if given and not set(needed) & set(mode):
            raise TmorError(f"{option} is for --mode {' or '.join(needed)}; the modes are {', '.join(mode)}")
    if views is not None:
        _check_names(data)
    recipe = Recipe(
        seeds=tuple(range(seeds)),
        validation=validation,
        descriptions=not without_descriptions,
        shots=tuple(numbers("shots", shots)),
        unlabelled=unlabelled,
        epochs=epochs,
        share=share,
        balanced=balanced,
        streams=tuple(choices("streams", streams)),  # pyright: ignore (checked by Recipe)
        compute=Compute(device.value, precision.value),
    )
    loaded = load_model(model)
    if (segments is not None or submission is not None) and len(data) > 1:
        raise TmorError(f"--segments and --submission take one set at a time; {len(data)} are given")
    results: list[dict[str, Any]] = []
    to_draw: list[tuple[LabelledSet, Evaluation]] = []
    for path in data:
        with progress_bar(path.stem) as progress:
            modes = [m for m in mode if m in MODES]
            if "retrieve" in mode:
                results.append(_retrieval(loaded, path, captions, part))
            if "detect" in mode:
                source = joined(labelled_set(path, protocol, part)) if join else untrimmed_set(path, protocol, part)
                if submission is not None and source.metric != "localisation":
                    what = f"'{source.name}' by {source.protocol}"
                    raise TmorError(f"{path}: --submission is for Charades by its official protocol; this is {what}")
                detected = evaluate_detection(
                    loaded,
                    source,
                    heads=choices("heads", heads),  # pyright: ignore (checked by it)
                    seeds=recipe.seeds,
                    share=share,
                    epochs=epochs,
                    compute=recipe.compute,
                    progress=progress,
                )
                results.append(detected.result)
                if segments is not None:
                    write_text(segments, json.dumps(detected.segments(), indent=1))
                if submission is not None:
                    write_text(submission, detected.submission())
            if modes:
                labelled = labelled_set(path, protocol, part)
                found = run(loaded, labelled, modes=modes, recipe=recipe, progress=progress)  # pyright: ignore
                results.append(found.result)
                to_draw.append((labelled, found))
        if output is not None:  # after each set: should the next one fail, this one's figures are there
            write_text(output, to_json(results))
    if views is not None:
        from tmor.downstream.views import write_views

        for labelled, found in to_draw:
            write_views(views / labelled.name, labelled, found)
            tell_written(views / labelled.name)
    if as_json:
        print(to_json(results))
    else:
        table = Table("set", "measure", "value", "note")
        for row in result_rows(results):
            table.add_row(*map(plain, row))
        out.print(table)


def _check_names(data: Sequence[Path]) -> None:
    """Check that no set goes by the name of another, under which its outcome is told."""
    from tmor.downstream.benchmarks import packed_file

    names = [packed_file(path).stem for path in data]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise TmorError(f"{data[n]}: a set named '{name}' is given before it; expected names that differ")


def _retrieval(model: Model, path: Path, captions: Path | None, part: str | None) -> dict[str, Any]:
    from tmor.downstream.benchmarks import benchmark_of, packed_file
    from tmor.downstream.retrieve import first_of_each, retrieve
    from tmor.posecap.triplets import read_triplets
    from tmor.skeleton.formats.packed import rest_of

    file = packed_file(path)
    beside = file.with_name("captions.json")
    if captions is None and not beside.exists():
        raise TmorError(f"mode retrieve needs captions: there is no {beside}; name a file with --captions")
    benchmark = benchmark_of(file)
    if benchmark is None or benchmark.task != "retrieve":
        rest = None if part is None else rest_of(part)
        return retrieve(model, read_triplets(file, captions=captions or beside, part=rest), name=file.stem, part=rest)
    rest = "is_test" if part is None else rest_of(part)
    triplets = first_of_each(read_triplets(file, captions=captions or beside, part=rest))
    return retrieve(model, triplets, name=file.stem, part=rest, published=benchmark.protocols[0].published)


@app.command(rich_help_panel="Learn")
def calibrate(
    data: Annotated[list[Path], typer.Argument(help="Sets with labels that the model never saw.")],
    model: ModelOption = DEFAULT_MODEL,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The calibrated checkpoint to write.")] = None,
    protocol: ProtocolOption = None,
    part: PartOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit how sure a model may be, "none of these" included, on training parts; measures it on test parts."""
    from dataclasses import asdict

    from tmor.downstream.benchmarks import labelled_set
    from tmor.downstream.calibrate import fit
    from tmor.downstream.tables import as_json as to_json
    from tmor.model.checkpoint import load_model, save_model
    from tmor.skeleton.formats.files import check_new_file

    if output is not None:
        check_new_file(output, [".safetensors"], makes_folder=True)
    _check_names(data)
    loaded = load_model(model)
    with progress_bar("calibrating"):
        matching, measured = fit(loaded, [labelled_set(path, protocol, part) for path in data], seed=seed)
    if output is not None:
        loaded.spec = replace(loaded.spec, matching=matching)
        save_model(loaded, output)
        tell_written(output)
    if as_json:
        print(to_json({"matching": asdict(matching), "measured": measured}))
        return
    out.print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in asdict(matching).items()))
    table = Table("set, labels by", "right", "known lost", "none found", "AUROC", "calibration error")
    for name, measures in measured.items():
        table.add_row(plain(name), *(f"{value:.1f}" for value in measures.values()))
    out.print(table)


@app.command(rich_help_panel="Learn")
def report(results: Annotated[Path, typer.Argument(help="A folder of JSON files that evaluate wrote.")]) -> None:
    """Print the tables of MODEL_CARD from evaluation results, as Markdown."""
    from tmor.downstream.tables import markdown_tables

    print(markdown_tables(results))
