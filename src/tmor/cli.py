"""The command line: a thin shell that parses, calls and prints. Heavy parts are imported by the commands that need
them."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Column, Table

from tmor.errors import TmorError

if TYPE_CHECKING:
    from tmor.config import PretrainConfig
    from tmor.downstream.benchmarks.labelled import LabelledSet
    from tmor.downstream.benchmarks.protocol import Benchmark, Protocol
    from tmor.downstream.benchmarks.untrimmed import UntrimmedSet
    from tmor.downstream.evaluate import Evaluation
    from tmor.model.model import Model
    from tmor.posecap.build import BuildReport, Source
    from tmor.serve.onnx import OnnxModel
    from tmor.serve.predict import TrackResult
    from tmor.skeleton.tracks import Track

app = typer.Typer(
    name="tmor",
    help="What a person is doing, and when, from body movement alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_MOST_ROWS = 50

ModelOption = Annotated[str, typer.Option("--model", "-m", help="tmor-small, tmor-base, or a checkpoint file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Also write a self-contained HTML page here.")]
ProtocolOption = Annotated[
    str | None, typer.Option(help="Of a known benchmark (prepare --list); the usual one when not given.")
]
PartOption = Annotated[
    str | None, typer.Option(help="Training part of a set of your own, for example is_train or 'subject != 4'.")
]
SeedOption = Annotated[int, typer.Option(help="Of everything random.")]


class Part(StrEnum):
    """What an ablation can leave out of pre-training."""

    clusters = "clusters"
    motion = "motion"
    video = "video"
    text = "text"
    camera = "camera"
    descriptions = "descriptions"


class Engine(StrEnum):
    """Where a data set is built."""

    local = "local"
    ray = "ray"


def main() -> None:
    """Run the command line: exit code 2 where the user's input was at fault, 1 where we are."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False)],
    )
    try:
        app()
    except TmorError as error:
        err.print("[red]error:[/red] ", end="")
        err.print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)


@app.command(rich_help_panel="Use")
def demo(
    report: ReportOption = Path("demo-report.html"),
    model: ModelOption = "tmor-small",
    as_json: JsonOption = False,
) -> None:
    """Name the actions of the embedded sample motions by text alone; writes an HTML report."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.predict import predict_tracks
    from tmor.skeleton.sample import ACTIONS, sample_set

    samples = sample_set()
    with _progress("naming the sample motions"):
        results = predict_tracks(load_model(model), [track for _, track in samples], ACTIONS)
    truths = [action for action, _ in samples]
    right = sum(result.label == truth for result, truth in zip(results, truths, strict=True))
    summary = f"{right} of {len(samples)} right ({right / len(samples):.0%}; chance {1 / len(ACTIONS):.0%})"
    if as_json:
        rows = [{"truth": truth, "label": r.label, "score": r.score} for truth, r in zip(truths, results, strict=True)]
        print(json.dumps({"model": model, "right": right, "samples": rows}))
    else:
        table = Table("sample", "answer", "probability", "")
        for result, truth in zip(results, truths, strict=True):
            mark = "[green]right[/green]" if result.label == truth else f"[red]was {truth}[/red]"
            table.add_row(result.track.id, result.label, f"{result.score:.2f}", mark)
        out.print(table)
        out.print(f"{model} on procedurally animated motions it was never trained on, by text alone: {summary}")
    if report is not None:
        notes = [
            f"Chance is {1 / len(ACTIONS):.0%}. The motions are computed, not recorded; the model never saw them, "
            "and knows the labels only as text.",
        ]
        _write_report(report, "tmor demo: actions named by text", results, truths, notes)


@app.command(rich_help_panel="Use")
def predict(
    file: Annotated[Path, typer.Argument(help="A video, a pose file, or a folder of OpenPose files.")],
    labels: Annotated[
        str | None, typer.Option(help='Your labels, separated by commas: "sit down, drink, wave".')
    ] = None,
    model: ModelOption = "tmor-small",
    onnx: Annotated[Path | None, typer.Option(help="Run this exported model instead; needs no PyTorch.")] = None,
    estimator: Annotated[
        str, typer.Option(help="Finds the poses in a video: rtmlib (fetches its models), mediapipe, or a model file.")
    ] = "rtmlib",
    as_json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Say what each person in a video or pose file does, and when, among labels of your own."""
    from tmor.serve.predict import as_json as results_as_json
    from tmor.serve.predict import predict_file

    names = None if labels is None else [label.strip() for label in labels.split(",")]
    loaded = _load(model, onnx, names)
    with _progress(f"reading {file.name}") as progress:
        results = predict_file(loaded, file, names, estimator=estimator, progress=progress)
    if as_json:
        print(json.dumps(results_as_json(str(file), results), ensure_ascii=False))
    else:
        table = Table("person", "action", "probability", "segments")
        for n, result in enumerate(results[:_MOST_ROWS]):
            spans = ", ".join(f"{s.start_s:.1f}-{s.end_s:.1f} s {s.label}" for s in result.segments[:8])
            more = f" and {len(result.segments) - 8} more" if len(result.segments) > 8 else ""
            table.add_row(
                _plain(result.track.id or str(n)), _plain(result.label), f"{result.score:.2f}", _plain(spans + more)
            )
        out.print(table)
        if len(results) > _MOST_ROWS:
            out.print(f"and {len(results) - _MOST_ROWS} more; --json prints them all")
        if any(result.track.fps is None for result in results):
            out.print("The frame rate is not known: times count the frames as if there were 30 in a second.")
    if report is not None:
        _write_report(report, f"{file.name}", results, None, [])


@app.command(rich_help_panel="Data")
def inspect(
    file: Annotated[Path, typer.Argument(help="A pose file (or a folder of OpenPose files).")],
    png: Annotated[Path | None, typer.Option(help="Write a picture of the skeletons over time here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a pose file holds (layout, persons, rate, missing joints, length), and draw it."""
    from tmor.skeleton.drawing import braille_skeleton, contact_sheet
    from tmor.skeleton.formats import read_tracks
    from tmor.skeleton.layouts import UNIK17

    tracks = read_tracks(file)
    facts = [
        {
            "id": track.id,
            "layout": track.layout.name,
            "joints": len(track.layout),
            "dims": track.dims,
            "fps": track.fps,
            "frames": len(track),
            "duration_s": track.duration_s,
            "missing_share": round(track.missing_share, 4),
        }
        for track in tracks
    ]
    if as_json:
        print(json.dumps({"source": str(file), "tracks": facts}, ensure_ascii=False))
    else:
        table = Table("person", "layout", "frames", "rate", "length", "missing")
        for fact in facts[:_MOST_ROWS]:
            rate = "unknown" if fact["fps"] is None else f"{fact['fps']:g} fps"
            length = "unknown" if fact["duration_s"] is None else f"{fact['duration_s']:.1f} s"
            layout = f"{fact['layout']}, {fact['joints']} joints, {fact['dims']}D"
            table.add_row(
                _plain(str(fact["id"])),
                _plain(layout),
                str(fact["frames"]),
                rate,
                length,
                f"{fact['missing_share']:.0%}",
            )
        out.print(table)
        if len(facts) > _MOST_ROWS:
            out.print(f"and {len(facts) - _MOST_ROWS} more; --json prints them all")
        for lacking in {track.layout: track.layout.lacking(UNIK17) for track in tracks}.values():
            if lacking:
                out.print(f"joints that the models use and this layout lacks: {', '.join(lacking)}")
        seen = next((track for track in tracks if track.missing_share < 1), None)
        if seen is not None:
            out.print(braille_skeleton(seen), markup=False)
    if png is not None:
        contact_sheet(tracks).savefig(png)
        err.print(f"wrote {png}")


@app.command(rich_help_panel="Learn")
def pretrain(
    config: Annotated[Path, typer.Argument(help="The run's TOML file.")],
    data: Annotated[Path, typer.Option(help="The folder that the config's paths are relative to.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for this run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that the folder holds.")] = False,
    leave_out: Annotated[list[str], typer.Option(help="Leave a data set out, by the name of its file.")] = [],  # noqa: B006
    without: Annotated[list[Part], typer.Option(help="Leave a part of the method out.")] = [],  # noqa: B006
    seed: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    size: Annotated[str | None, typer.Option(help="Instead of the config's: base or small.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads; with 1 a run repeats bit by bit.")] = None,
) -> None:
    """Train a model from skeletons, with their videos and texts where they have them; writes a run folder."""
    import torch

    from tmor.config import pretrain_config, read_pretrain_config
    from tmor.pretrain.loop import pretrain as run

    if threads is not None:
        torch.set_num_threads(threads)
    settings = read_pretrain_config(config)
    for name in leave_out:
        kept = tuple(entry for entry in settings.data if Path(entry.path).stem != name)
        if len(kept) == len(settings.data):
            stems = ", ".join(Path(entry.path).stem for entry in settings.data)
            raise TmorError(f"--leave-out {name}: the config has no such data set; it has {stems}")
        if not kept:
            raise TmorError(f"--leave-out {name}: nothing is left to train on")
        settings = replace(settings, data=kept)
    for part in without:
        settings = _without(settings, part)
    changed = {"seed": seed, "size": size}
    if any(value is not None for value in changed.values()):
        values = settings.as_dict() | {key: value for key, value in changed.items() if value is not None}
        settings = pretrain_config(values, source="command line")
    with _progress("preparing the data") as progress:
        run(settings, data=data, out=output, resume=resume, progress=progress)
    err.print(f"wrote {output / 'model.safetensors'}")


def _without(settings: PretrainConfig, part: Part) -> PretrainConfig:
    match part:
        case Part.clusters:
            return replace(settings, clusters=None)
        case Part.camera:
            return replace(settings, augment=replace(settings.augment, camera_deg=0.0, pitch_deg=0.0))
        case Part.descriptions:
            return replace(settings, descriptions=False)
        case Part.motion:
            return replace(settings, motion_term=False)
        case Part.video:
            return replace(settings, video_term=False)
        case Part.text:
            return replace(settings, text_term=False)


@app.command(rich_help_panel="Data")
def prepare(
    name: Annotated[str | None, typer.Argument(help="The benchmark.")] = None,
    root: Annotated[Path | None, typer.Argument(help="The folder with its official files.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A folder for the packed set.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the benchmarks and their protocols.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read a benchmark's official files; writes a packed set that `evaluate` takes."""
    from tmor.downstream.benchmarks import BENCHMARKS, find_benchmark
    from tmor.downstream.benchmarks.prepare import prepare as run

    if show_list:
        wide = (Column(title, overflow="fold") for title in ("protocols", "comes as"))
        table = Table(Column("name", no_wrap=True), "data set", "task", *wide)
        for known in BENCHMARKS:
            protocols = ", ".join(protocol.name for protocol in known.protocols)
            needs = "a packed set" if known.raw is None else ", ".join(known.raw.expects)
            table.add_row(known.name, known.title, known.task, protocols, needs)
        out.print(table)
        return
    if name is None or root is None or output is None:
        raise TmorError("expected a benchmark, its folder and -o FOLDER; tmor prepare --list shows the benchmarks")
    benchmark = find_benchmark(name)
    with _progress(f"reading {benchmark.title}") as progress:
        found = run(benchmark, root, output, progress=progress)
    if as_json:
        print(json.dumps({"path": str(found.path), "samples": found.samples, "skipped": found.reasons}))
        return
    out.print(f"{benchmark.title}: {found.samples} samples")
    for reason, count in found.reasons.items():
        out.print(f"skipped {count}: {reason}", markup=False)
    if found.published is not None and found.samples != found.published:
        out.print(f"[yellow]the authors count {found.published} samples[/yellow]; prepared.json lists what was skipped")
    err.print(f"wrote {found.path}")


@app.command(rich_help_panel="Learn")
def finetune(
    data: Annotated[Path, typer.Argument(help="A packed set with labels, or a folder that prepare wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The fine-tuned checkpoint to write.")],
    model: ModelOption = "tmor-small",
    protocol: ProtocolOption = None,
    part: PartOption = None,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    share: Annotated[float, typer.Option(help="Share of the training labels that is used.")] = 1.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a model on labels of your own; writes a checkpoint that `predict` uses without --labels."""
    import numpy as np

    from tmor.downstream.classify import class_probabilities, fine_tune
    from tmor.downstream.metrics import accuracy
    from tmor.model.checkpoint import load_model, save_model

    if output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    labelled = _labelled(data, protocol, part)
    fold = labelled.folds[0]
    with _progress("fine-tuning") as progress:
        tuned = fine_tune(
            load_model(model),
            labelled,
            fold,
            epochs=epochs,
            share=share,
            balanced=balanced,
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
        err.print(f"wrote {output}")


@app.command(rich_help_panel="Learn")
def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Packed sets, or folders that prepare wrote.")],
    model: ModelOption = "tmor-small",
    mode: Annotated[
        list[str],
        typer.Option(help="zero-shot, few-shot, linear, finetune, scratch, raw; detect; retrieve (with --captions)."),
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
    heads: Annotated[str, typer.Option(help="Of detect: text, linear, tcn, finetune, scratch.")] = "text,linear,tcn",
    join: Annotated[bool, typer.Option("--join", help="Detect in long sequences joined from trimmed samples.")] = False,
    captions: Annotated[Path | None, typer.Option(help="Captions of the set, for retrieval.")] = None,
    epochs: Annotated[int, typer.Option(help="Of finetune and scratch.", min=1)] = 30,
    share: Annotated[float, typer.Option(help="Share of the labels that finetune, scratch and detect use.")] = 1.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    streams: Annotated[str, typer.Option(help="Of finetune and scratch: joint, bone, or both for fusion.")] = "joint",
    seeds: Annotated[int, typer.Option(help="Repeat with seeds 0, 1, ...: mean and spread.", min=1)] = 1,
    segments: Annotated[Path | None, typer.Option(help="Write what detect's last head found as JSON here.")] = None,
    submission: Annotated[Path | None, typer.Option(help="And as a submission file of Charades here.")] = None,
    views: Annotated[Path | None, typer.Option(help="Write confusion matrices and an embedding map here.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the results as JSON here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model: zero-shot, few-shot, linear probe, fine-tuning, detection, retrieval."""
    from tmor.downstream.benchmarks.untrimmed import joined
    from tmor.downstream.detect import evaluate_detection
    from tmor.downstream.evaluate import Recipe
    from tmor.downstream.evaluate import evaluate as run
    from tmor.downstream.tables import as_json as to_json
    from tmor.downstream.tables import result_rows
    from tmor.model.checkpoint import load_model

    if validation and {"detect", "retrieve"} & set(mode):
        raise TmorError("--validation is for modes of classification; detect and retrieve would read the test part")
    for path in (output, segments, submission):
        if path is not None and path.exists():
            raise TmorError(f"{path}: exists already; choose another name")
    recipe = Recipe(
        seeds=tuple(range(seeds)),
        validation=validation,
        descriptions=not without_descriptions,
        shots=tuple(_numbers("shots", shots)),
        epochs=epochs,
        share=share,
        balanced=balanced,
        streams=tuple(_choices("streams", streams)),  # pyright: ignore (checked by Recipe)
    )
    loaded = load_model(model)
    if (segments is not None or submission is not None) and len(data) > 1:
        raise TmorError(f"--segments and --submission take one set at a time; {len(data)} are given")
    if views is not None and views.exists():
        raise TmorError(f"{views}: exists already; choose another name")
    results: list[dict[str, Any]] = []
    to_draw: list[tuple[LabelledSet, Evaluation]] = []
    for path in data:
        with _progress(path.stem) as progress:
            modes = [m for m in mode if m not in ("detect", "retrieve")]
            if "retrieve" in mode:
                results.append(_retrieval(loaded, path, captions, part))
            if "detect" in mode:
                source = joined(_labelled(path, protocol, part)) if join else _untrimmed(path, protocol, part)
                detected = evaluate_detection(
                    loaded,
                    source,
                    heads=_choices("heads", heads),  # pyright: ignore (checked by it)
                    seeds=recipe.seeds,
                    share=share,
                    epochs=epochs,
                    progress=progress,
                )
                results.append(detected.result)
                if segments is not None:
                    _write(segments, json.dumps(detected.segments(), indent=1))
                if submission is not None:
                    _write(submission, detected.submission())
            if modes:
                labelled = _labelled(path, protocol, part)
                found = run(loaded, labelled, modes=modes, recipe=recipe, progress=progress)  # pyright: ignore
                results.append(found.result)
                to_draw.append((labelled, found))
    if output is not None:
        _write(output, to_json(results))
    if views is not None:
        from tmor.downstream.views import write_views

        for labelled, found in to_draw:
            write_views(views / labelled.name, labelled, found)
            err.print(f"wrote {views / labelled.name}")
    if as_json:
        print(to_json(results))
    else:
        table = Table("set", "measure", "value", "note")
        for row in result_rows(results):
            table.add_row(*map(_plain, row))
        out.print(table)


def _load(model: str, onnx: Path | None, names: list[str] | None) -> Model | OnnxModel:
    if onnx is not None:
        from tmor.serve.onnx import load_onnx

        return load_onnx(onnx)
    from tmor.model.checkpoint import load_model

    loaded = load_model(model)
    if names is None and not loaded.spec.classes:
        raise TmorError(f"model '{model}' has no classes of its own; give labels: --labels \"sit down, drink\"")
    return loaded


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    err.print(f"wrote {path}")


def _retrieval(model: Model, path: Path, captions: Path | None, part: str | None) -> dict[str, Any]:
    from tmor.downstream.benchmarks import benchmark_of, packed_file
    from tmor.downstream.retrieve import retrieve
    from tmor.posecap.triplets import read_triplets

    file = packed_file(path)
    beside = file.with_name("captions.json")
    if captions is None and not beside.exists():
        raise TmorError(f"mode retrieve needs captions: there is no {beside}; name a file with --captions")
    benchmark = benchmark_of(file)
    if part is None and benchmark is not None and benchmark.task == "retrieve":
        part = "is_test"
    triplets = read_triplets(file, captions=captions or beside, part=part)
    published = benchmark.protocols[0].published if benchmark is not None and benchmark.task == "retrieve" else ()
    return retrieve(model, triplets, name=file.stem, part=part, published=published)


def _labelled(path: Path, protocol: str | None, part: str | None) -> LabelledSet:
    from tmor.downstream.benchmarks import benchmark_of, packed_file
    from tmor.downstream.benchmarks.labelled import read_labelled

    file = packed_file(path)
    return read_labelled(file, _protocol(benchmark_of(file), protocol, part), part=part)


def _untrimmed(path: Path, protocol: str | None, part: str | None) -> UntrimmedSet:
    from tmor.downstream.benchmarks import benchmark_of, packed_file
    from tmor.downstream.benchmarks.untrimmed import read_untrimmed

    file = packed_file(path)
    return read_untrimmed(file, _protocol(benchmark_of(file), protocol, part), part=part)


def _protocol(benchmark: Benchmark | None, protocol: str | None, part: str | None) -> Protocol | None:
    """What to split by: --part goes before the protocols of a known benchmark."""
    if protocol is not None and part is not None:
        raise TmorError("--protocol and --part are both given; expected one of them")
    if part is not None:
        return None
    if benchmark is None and protocol is not None:
        raise TmorError(f"--protocol {protocol}: the set is none of the known benchmarks; use --part")
    return None if benchmark is None else benchmark.protocol(protocol)


def _choices(what: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values:
        raise TmorError(f"--{what} is empty; expected at least one, separated by commas")
    return values


def _numbers(what: str, text: str) -> list[int]:
    values = _choices(what, text)
    for value in values:
        if not value.isdecimal() or int(value) < 1:
            raise TmorError(f"--{what} holds '{value}'; expected whole numbers above 0")
    return [int(value) for value in values]


@app.command(rich_help_panel="Learn")
def report(results: Annotated[Path, typer.Argument(help="A folder of JSON files that evaluate wrote.")]) -> None:
    """Print the tables of MODEL_CARD from evaluation results, as Markdown."""
    from tmor.downstream.tables import markdown_tables

    print(markdown_tables(results))


@app.command(rich_help_panel="Models")
def export(
    kind: Annotated[str, typer.Argument(help="onnx.")],
    model: Annotated[str, typer.Argument(help="tmor-small, tmor-base, or a checkpoint file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
    labels: Annotated[str | None, typer.Option(help="Labels that it shall know without a text teacher.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Smaller and faster, a little less exact.")] = False,
) -> None:
    """Turn a model into one ONNX file, normalisation inside, that `predict --onnx` and ONNX Runtime run."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.onnx import export_onnx

    if kind != "onnx":
        raise TmorError(f"kind is '{kind}'; expected onnx")
    if output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    with _progress("exporting"):
        export_onnx(load_model(model), output, labels=None if labels is None else _choices("labels", labels), int8=int8)
    err.print(f"wrote {output}")


@app.command("import-weights", rich_help_panel="Models")
def import_weights(
    kind: Annotated[str, typer.Argument(help="unik: the authors' published motion encoders.")],
    file: Annotated[Path, typer.Argument(help="The published checkpoint; nothing in it is executed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The safetensors file to write.")],
) -> None:
    """Turn published weights into a checkpoint of ours; writes safetensors."""
    from tmor.model.checkpoint import save_model
    from tmor.model.published import import_unik

    if kind != "unik":
        raise TmorError(f"kind is '{kind}'; expected unik")
    if output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    save_model(import_unik(file), output)
    err.print(f"wrote {output}")


# ---- data sets of triplets

DataSetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="A folder that build wrote, or its address.")]
SourcesOption = Annotated[list[Path], typer.Option(help="A folder that it was built from; may be repeated.")]


@app.command(rich_help_panel="Data")
def build(
    videos: Annotated[list[Path] | None, typer.Argument(help="Videos, or folders of them.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The data set's folder, new or to be extended.")] = ...,  # pyright: ignore[reportArgumentType]
    from_poses: Annotated[list[Path], typer.Option(help="Pose files, packed sets, or folders of them, as well.")] = [],  # noqa: B006
    captions: Annotated[Path | None, typer.Option(help="Texts: CSV, JSON, SRT, VTT, or a folder of them.")] = None,
    describe: Annotated[bool, typer.Option("--describe", help="Put movements without a text into words.")] = False,
    licence: Annotated[str, typer.Option(help="Words of the sources' licence.")] = "",
    split: Annotated[str, typer.Option(help="Of the sources: train, test, or empty.")] = "",
    part: Annotated[str | None, typer.Option(help="Of packed sets, for example is_train or 'not is_test'.")] = None,
    estimator: Annotated[str, typer.Option(help="Finds the poses: rtmlib, mediapipe, or a model file.")] = "rtmlib",
    video_teacher: Annotated[str | None, typer.Option(help="Embeds the videos: a folder or hub id.")] = None,
    text_teacher: Annotated[str | None, typer.Option(help="Embeds the texts: offline, a folder or hub id.")] = None,
    clip_s: Annotated[float, typer.Option(help="Seconds of a clip.")] = 4.0,
    overlap: Annotated[float, typer.Option(help="Share of a clip that the next one repeats.")] = 0.0,
    shortest_s: Annotated[float, typer.Option(help="A shorter rest of a track is left out.")] = 1.0,
    least_visible: Annotated[float, typer.Option(help="Least share of joints that are seen.")] = 0.4,
    least_motion: Annotated[float, typer.Option(help="Least movement, in body sizes.")] = 0.02,
    workers: Annotated[int, typer.Option(help="Processes (or Ray tasks) that find poses.", min=1)] = 1,
    engine: Annotated[Engine, typer.Option(help="local, or ray for many machines.")] = Engine.local,
    as_json: JsonOption = False,
) -> None:
    """Make a data set of (skeleton, video, text) triplets out of videos or pose files; the same command goes on."""
    from tmor.config import build_config
    from tmor.posecap.build import PoseReader, Reader, VideoReader, embed, find_poses, find_videos
    from tmor.posecap.build import build as run

    config = build_config(
        {
            "clip_s": clip_s,
            "overlap": overlap,
            "shortest_s": shortest_s,
            "least_visible": least_visible,
            "least_motion": least_motion,
        }
    )
    if split not in ("", "train", "test"):
        raise TmorError(f"--split {split}; expected train, test, or nothing")
    by_sequence = captions is not None and _is_by_sequence(captions)
    texts, texts_of, words = _texts_for_build(None if by_sequence else captions, describe)
    jobs: list[tuple[list[Source], Reader | None]] = []
    if videos:
        jobs.append((find_videos(videos), VideoReader(config, estimator)))
    if from_poses:
        jobs.append((find_poses(from_poses, part=part), PoseReader(config, part, captions if by_sequence else None)))
    reports = []
    with _progress("building") as progress:
        for sources, reader in jobs or [([], None)]:
            report = run(
                output,
                sources,
                reader,
                config=config,
                captions=texts,
                texts_of=texts_of,
                describe=words,
                licence=licence,
                split=split,
                workers=workers if reader is not None and isinstance(reader, VideoReader) else None,
                engine=engine.value,
                progress=progress,
            )
            if video_teacher is not None or text_teacher is not None:
                _embed(embed, output, report, text_teacher, video_teacher, sources, progress)
            reports.append(report)
    for report in reports:
        if as_json:
            print(json.dumps(vars(report), ensure_ascii=False))
        else:
            _print_build(report)
    err.print(f"wrote {output}; build-report.json has the details", markup=False)


def _is_by_sequence(captions: Path) -> bool:
    """Whether it is a packed set's own file of captions."""
    from tmor.skeleton.formats.files import read_json

    if captions.suffix != ".json" or not captions.is_file():
        return False
    content = read_json(captions)
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "seq_id" in content[0]


def _texts_for_build(captions: Path | None, describe: bool) -> tuple[Any, Any, Any]:
    """The captions, what finds a clip's among them, and what describes a movement."""
    texts, texts_of, words = [], None, None
    if captions is not None:
        from tmor.posecap import texts as reading

        texts = reading.read_captions(captions)  # pyright: ignore[reportAttributeAccessIssue]
        groups = reading.by_source(texts)  # pyright: ignore[reportAttributeAccessIssue]
        texts_of = partial(_of_groups, reading.texts_of, groups)  # pyright: ignore[reportAttributeAccessIssue]
    if describe:
        from tmor.posecap.captioners import Clip, KinematicCaptioner  # pyright: ignore[reportMissingImports]

        class Words(KinematicCaptioner):
            def __call__(self, video: Path | None, track: Track, label: str | None) -> Any:
                return super().__call__(Clip(track=track, label=label))

        words = Words()
    return texts, texts_of, words


def _of_groups(texts_of: Callable[..., Any], groups: Any, _: Any, *stretch: Any) -> Any:
    return texts_of(groups, *stretch)


def _embed(
    embed: Callable[..., None],
    output: Path,
    report: BuildReport,
    text_teacher: str | None,
    video_teacher: str | None,
    sources: list[Source],
    progress: Callable[[str, int, int], None],
) -> None:
    from tmor.teachers.huggingface import load_text_teacher

    text = None if text_teacher is None else load_text_teacher(text_teacher)
    video = embed_videos = None
    if video_teacher is not None:
        from tmor.teachers.cache import embed_videos  # pyright: ignore[reportAttributeAccessIssue]
        from tmor.teachers.huggingface import load_video_teacher  # pyright: ignore[reportAttributeAccessIssue]

        video = load_video_teacher(video_teacher)
    embed(output, report=report, text=text, video=video, embed_videos=embed_videos, sources=sources, progress=progress)


def _print_build(report: BuildReport) -> None:
    out.print(
        f"{report.sources} sources: {report.built} built, {report.already} there before, "
        f"{len(report.skipped)} skipped; {report.clips} new triplets, {report.triplets} in all"
    )
    for name, reason in list(report.skipped.items())[:_MOST_ROWS]:
        out.print(f"skipped {name}: {reason}", markup=False)
    for reason, count in report.left_out.items():
        out.print(f"left out {count} clips: {reason}", markup=False)
    if report.rewritten:
        out.print(f"{report.rewritten} older triplets have new texts")
    if report.without_text:
        out.print(
            f"{len(report.without_text)} sources have no text: {', '.join(report.without_text[:5])}", markup=False
        )
    if report.unused_captions:
        names = ", ".join(report.unused_captions[:5])
        out.print(f"{len(report.unused_captions)} captions are about no source: {names}", markup=False)
    for column, count in report.embedded.items():
        out.print(f"{count} triplets have a {column} embedding, {report.not_embedded[column]} have none")


@app.command(rich_help_panel="Data")
def verify(
    dataset: DataSetArgument,
    sources: SourcesOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check a data set: hashes, sizes, values, copies, leaks between splits, licences; exits with 2 if one is wrong."""
    from dataclasses import asdict

    from tmor.posecap.audit import verify as run

    with _progress("verifying") as progress:
        audit = run(dataset, sources=sources, progress=progress)
    if as_json:
        print(json.dumps(asdict(audit), ensure_ascii=False))
    else:
        for finding in (*audit.wrong, *audit.notes):
            out.print(f"{finding.count} {finding.what}", markup=False)
            for example in finding.examples:
                out.print(f"  {example}", markup=False)
        out.print(f"{audit.triplets} triplets: " + ("all is well" if not audit.wrong else "not all is well"))
    if audit.wrong:
        raise typer.Exit(2)


@app.command(rich_help_panel="Data")
def stats(dataset: DataSetArgument, as_json: JsonOption = False) -> None:
    """Tell what a data set holds: counts, hours, joints, words, sources, licences, near-duplicates."""
    from tmor.posecap.audit import statistics

    found = statistics(dataset)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    table = Table("", "", show_header=False)
    for name, value in found.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{key}: {_fact(own)}" for key, own in list(value.items())[:30])
            shown += f" and {len(value) - 30} more" if len(value) > 30 else ""
        else:
            shown = _fact(value)
        table.add_row(name.replace("_", " "), _plain(shown))
    out.print(table)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_fact(own)}" for key, own in value.items()) + ")"
    return f"{value:,}" if isinstance(value, int) else str(value)


@app.command(rich_help_panel="Data")
def browse(
    dataset: DataSetArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("browse.html"),
    count: Annotated[int, typer.Option("--count", "-n", help="Triplets on the page.", min=1)] = 60,
    where: Annotated[str | None, typer.Option(help="Only these, in SQL: \"label = 'wave'\".")] = None,
    seed: SeedOption = 0,
    sources: SourcesOption = [],  # noqa: B006
) -> None:
    """Look into a data set: writes an HTML page of skeletons, pictures, texts and nearest neighbours."""
    from tmor.serve.browse import write_browse_page

    with _progress("reading") as progress:
        shown = write_browse_page(
            output, dataset, count=count, seed=seed, where=where, sources=sources, progress=progress
        )
    err.print(f"wrote {output} with {shown} triplets", markup=False)


def _plain(text: str) -> str:
    """Text of the user's, with brackets that rich would take for markup made harmless."""
    return text.replace("[", r"\[")


def _write_report(
    path: Path, title: str, results: list[TrackResult], truths: list[str] | None, notes: list[str]
) -> None:
    from tmor.serve.report import ReportClip, write_report

    clips = [
        ReportClip(
            track=result.track,
            probabilities=result.probabilities,
            segments=tuple((s.start_s, s.end_s, s.label, s.score) for s in result.segments),
            truth=None if truths is None else truths[n],
        )
        for n, result in enumerate(results)
    ]
    write_report(path, title=title, clips=clips, notes=notes)
    err.print(f"wrote {path}")


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, which shows what a long call reports of itself."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


if __name__ == "__main__":
    main()
