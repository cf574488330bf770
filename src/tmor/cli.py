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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from tmor.errors import TmorError

if TYPE_CHECKING:
    from tmor.config import PretrainConfig
    from tmor.serve.predict import TrackResult

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

ModelOption = Annotated[str, typer.Option("--model", "-m", help="tmor-small, or a checkpoint file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Also write a self-contained HTML page here.")]
PartOption = Annotated[
    str | None, typer.Option(help="Training part of the set, for example is_train; known for the usual sets.")
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
    file: Annotated[Path, typer.Argument(help="A pose file (or a folder of OpenPose files).")],
    labels: Annotated[
        str | None, typer.Option(help='Your labels, separated by commas: "sit down, drink, wave".')
    ] = None,
    model: ModelOption = "tmor-small",
    as_json: JsonOption = False,
    report: ReportOption = None,
) -> None:
    """Say what each person in a pose file does, and when, among labels of your own."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.predict import as_json as results_as_json
    from tmor.serve.predict import predict_file

    names = None if labels is None else [label.strip() for label in labels.split(",")]
    loaded = load_model(model)
    if names is None and not loaded.spec.classes:
        raise TmorError(f"model '{model}' has no classes of its own; give labels: --labels \"sit down, drink\"")
    with _progress(f"reading {file.name}"):
        results = predict_file(loaded, file, names)
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


@app.command(rich_help_panel="Learn")
def finetune(
    data: Annotated[Path, typer.Argument(help="A packed set with labels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The fine-tuned checkpoint to write.")],
    model: ModelOption = "tmor-small",
    part: PartOption = None,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    share: Annotated[float, typer.Option(help="Share of the training labels that is used.")] = 1.0,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a model on labels of your own; writes a checkpoint that `predict` uses without --labels."""
    from tmor.downstream.benchmarks import read_benchmark
    from tmor.downstream.classify import fine_tune
    from tmor.model.checkpoint import load_model, save_model

    if output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    benchmark = read_benchmark(data, part=part)
    with _progress("fine-tuning") as progress:
        tuned, result = fine_tune(
            load_model(model), benchmark, epochs=epochs, share=share, seed=seed, progress=progress
        )
    save_model(tuned, output)
    if as_json:
        print(json.dumps({"benchmark": benchmark.name, **result}))
    else:
        out.print(
            f"{benchmark.name}: {result['top1']:.1f}% right on the test part ({result['samples']} training samples)"
        )
        err.print(f"wrote {output}")


@app.command(rich_help_panel="Learn")
def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Packed sets with labels.")],
    model: ModelOption = "tmor-small",
    mode: Annotated[
        list[str], typer.Option(help="zero-shot, few-shot, linear, finetune, scratch, raw; retrieve (with --captions).")
    ] = ["zero-shot", "few-shot", "linear"],  # noqa: B006
    part: PartOption = None,
    validation: Annotated[
        bool, typer.Option("--validation", help="Leave the test part alone; halve the training part.")
    ] = False,
    without_descriptions: Annotated[
        bool, typer.Option("--without-descriptions", help="Zero-shot by class names alone.")
    ] = False,
    captions: Annotated[Path | None, typer.Option(help="Captions of the set, for retrieval.")] = None,
    epochs: Annotated[int, typer.Option(help="Of finetune and scratch.", min=1)] = 20,
    share: Annotated[float, typer.Option(help="Share of the labels that finetune and scratch use.")] = 1.0,
    seed: SeedOption = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the results as JSON here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on labelled sets: zero-shot, few-shot, linear probe, fine-tuning, retrieval."""
    from tmor.downstream.benchmarks import read_benchmark
    from tmor.downstream.evaluate import evaluate as run
    from tmor.downstream.retrieve import retrieve
    from tmor.downstream.tables import result_rows
    from tmor.model.checkpoint import load_model
    from tmor.posecap.triplets import read_triplets

    if output is not None and output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    loaded = load_model(model)
    results: list[dict[str, Any]] = []
    for path in data:
        if "retrieve" in mode:
            if captions is None:
                raise TmorError("mode retrieve needs --captions")
            with _progress(f"{path.stem}: retrieval"):
                found = retrieve(loaded, read_triplets(path, captions=captions))
            results.append({"model": loaded.spec.name, "benchmark": path.stem, "retrieve": found})
        modes = [m for m in mode if m != "retrieve"]
        if modes:
            with _progress(path.stem) as progress:
                results.append(
                    run(
                        loaded,
                        read_benchmark(path, part=part),
                        modes=modes,  # pyright: ignore (checked by evaluate)
                        validation=validation,
                        descriptions=not without_descriptions,
                        epochs=epochs,
                        share=share,
                        seed=seed,
                        progress=progress,
                    )
                )
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(results, indent=1), encoding="utf-8")
        err.print(f"wrote {output}")
    if as_json:
        print(json.dumps(results))
    else:
        table = Table("set", "measure", "value", "note")
        for row in result_rows(results):
            table.add_row(*map(_plain, row))
        out.print(table)


@app.command(rich_help_panel="Learn")
def report(results: Annotated[Path, typer.Argument(help="A folder of JSON files that evaluate wrote.")]) -> None:
    """Print the tables of MODEL_CARD from evaluation results, as Markdown."""
    from tmor.downstream.tables import markdown_tables

    print(markdown_tables(results))


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
