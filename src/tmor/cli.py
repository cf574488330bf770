"""The command line: a thin shell that parses, calls and prints. Heavy parts are imported by the commands that need
them."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
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
    from tmor.pose.cameras import Source
    from tmor.posecap.build import BuildReport
    from tmor.posecap.build import Source as BuildSource
    from tmor.serve.onnx import OnnxModel
    from tmor.serve.predict import TrackResult
    from tmor.serve.watch import Answer, Watcher
    from tmor.skeleton.tracks import Track
    from tmor.teachers.huggingface import TextTeacher, VideoTeacher

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
_REDRAW_S = 0.2

ModelOption = Annotated[str, typer.Option("--model", "-m", help="tmor-small, tmor-base, or a checkpoint file.")]
ClosedOption = Annotated[bool, typer.Option("--closed", help='Always one of the labels, never "none of these".')]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
EstimatorOption = Annotated[
    str, typer.Option(help="Finds the poses in a video: rtmlib (fetches its models), mediapipe, or a model file.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Also write a self-contained HTML page here.")]
ProtocolOption = Annotated[
    str | None, typer.Option(help="Of a known benchmark (prepare --list); the usual one when not given.")
]
PartOption = Annotated[
    str | None, typer.Option(help="Training part of a set of your own, for example is_train or 'subject != 4'.")
]
SeedOption = Annotated[int, typer.Option(help="Of everything random.")]


class Device(StrEnum):
    """What pre-training computes on."""

    cpu = "cpu"
    cuda = "cuda"


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
        results = predict_tracks(load_model(model), [track for _, track in samples], ACTIONS, none=False)
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
    closed: ClosedOption = False,
    estimator: EstimatorOption = "rtmlib",
    examples: Annotated[
        Path | None, typer.Option(help="Actions by example, a file of `tmor enroll`; their labels join yours.")
    ] = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    segments: Annotated[
        list[Path],
        typer.Option(help="Write who does what when here: .csv, .srt, .vtt, .eaf (ELAN) or .json; may be repeated."),
    ] = [],  # noqa: B006
    overlay: Annotated[
        Path | None, typer.Option(help="Write the video again here (.mp4) with skeletons and labels drawn on it.")
    ] = None,
) -> None:
    """Say what each person in a video or pose file does, and when, among labels of your own."""
    from tmor.serve.predict import as_json as results_as_json
    from tmor.serve.predict import predict_file

    _check_outputs(file, segments, overlay, report)
    names = None if labels is None else [label.strip() for label in labels.split(",")]
    enrolled = _examples(examples, onnx)
    if enrolled:
        from tmor.serve.examples import joined_labels

        names = joined_labels(names, enrolled)
    loaded = _load(model, onnx, names, enrolled)
    with _progress(f"reading {file.name}") as progress:
        results = predict_file(loaded, file, names, none=not closed, estimator=estimator, progress=progress)
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
    for path in segments:
        from tmor.serve.segment_files import write_segments

        write_segments(path, file, results)
        err.print(f"wrote {path}", markup=False)
    if overlay is not None:
        from tmor.serve.overlay import write_overlay

        with _progress("drawing") as progress:
            write_overlay(overlay, file, results, progress=progress)
        err.print(f"wrote {overlay}", markup=False)


def _check_outputs(file: Path, segments: list[Path], overlay: Path | None, report: Path | None) -> None:
    """Say before the long work that an outcome of it could not be written."""
    from tmor.skeleton.formats.files import check_new_file, is_video

    if segments:
        from tmor.serve.segment_files import FORMATS

        for n, path in enumerate(segments):
            check_new_file(path, [f".{name}" for name in FORMATS])
            if path in segments[:n]:
                raise TmorError(f"--segments {path} is given twice")
    if overlay is not None:
        check_new_file(overlay, [".mp4"])
        if file.exists() and not is_video(file):
            raise TmorError(f"--overlay draws on a video, and {file} is none")
    if report is not None and not report.parent.is_dir():
        raise TmorError(f"{report}: the folder {report.parent} does not exist")


def _examples(examples: Path | None, onnx: Path | None) -> dict[str, list[Track]]:
    if examples is None:
        return {}
    if onnx is not None:
        raise TmorError("--onnx and --examples are both given, and an exported model can't learn from examples")
    from tmor.serve.examples import read_examples

    return read_examples(examples)


@app.command(rich_help_panel="Use")
def enroll(
    examples: Annotated[Path, typer.Argument(help="The file of examples (.npz), made where it is not there.")],
    label: Annotated[str | None, typer.Argument(help='What the movement shall be called: "my exercise".')] = None,
    file: Annotated[Path | None, typer.Argument(help="A video or pose file that shows it.")] = None,
    start: Annotated[float | None, typer.Option(help="Where it begins, in seconds; the file's start.")] = None,
    end: Annotated[float | None, typer.Option(help="Where it ends; the file's end.")] = None,
    person: Annotated[
        str | None, typer.Option(help="Who does it, as `predict` names them: clip#1, or #1 for short.")
    ] = None,
    estimator: EstimatorOption = "rtmlib",
    show_list: Annotated[bool, typer.Option("--list", help="List what the file holds.")] = False,
    remove: Annotated[str | None, typer.Option(metavar="LABEL", help="Take this label's examples out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Teach an action by example: adds a stretch of a video or pose file to a file that `predict --examples` reads."""
    from tmor.serve import examples as of

    if show_list + (remove is not None) + (label is not None) != 1 or (label is None) != (file is None):
        raise TmorError(
            'expected a label and a file (tmor enroll mine.npz "my exercise" clip.mp4 --start 3.2 --end 6), or --list, '
            "or --remove LABEL"
        )
    if show_list:
        known = of.read_examples(examples)
        if as_json:
            lengths = {label: [track.duration_s for track in own] for label, own in known.items()}
            print(json.dumps({"source": str(examples), "labels": lengths}, ensure_ascii=False))
            return
        table = Table("label", "examples", "lengths")
        for known_label, own in known.items():
            lengths = ", ".join(
                f"{len(track)} frames" if track.fps is None else f"{track.duration_s:.1f} s" for track in own
            )
            table.add_row(_plain(known_label), str(len(own)), lengths)
        out.print(table)
        return
    if remove is not None:
        count = of.remove_label(examples, remove)
        out.print(f"took out {remove.strip()}: {count} example{'s' * (count > 1)}", markup=False)
    elif label is not None and file is not None:
        from tmor.serve.predict import read_people

        of.check_examples(examples, label)
        with _progress(f"reading {file.name}") as progress:
            people = read_people(file, estimator=estimator, progress=progress)
        cut = of.cut_example(people, file, start_s=start, end_s=end, person=person)
        count = of.add_example(examples, label, cut)
        stretch = f"{cut.start_s:.1f}-{cut.start_s + len(cut) / (cut.fps or 30.0):.1f} s of {file.name}"
        out.print(f"{label.strip()}: example {count} is {stretch}, person {cut.id}", markup=False, soft_wrap=True)
    err.print(f"wrote {examples}", markup=False)


@app.command(rich_help_panel="Use")
def serve(
    port: Annotated[int, typer.Option(help="0 = any that is free.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need --token.")] = (
        "127.0.0.1"
    ),
    token: Annotated[
        str | None, typer.Option(help="What every request must carry; the page asks for it.", envvar="TMOR_TOKEN")
    ] = None,
    model: ModelOption = "tmor-small",
    estimator: Annotated[
        str, typer.Option(help="Finds the poses in a video: rtmlib (fetches its models), mediapipe, or a model file.")
    ] = "rtmlib",
    examples: Annotated[Path | None, typer.Option(help="A file of enrolled actions to begin with.")] = None,
) -> None:
    """Open a web page, and an HTTP API, that takes videos and pose files; writes nothing."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.examples import read_examples
    from tmor.serve.web import check_token
    from tmor.serve.web import serve as run

    check_token(host, token)
    loaded = load_model(model)
    known = None if examples is None else read_examples(examples)
    run(
        loaded,
        estimator,
        host=host,
        port=port,
        token=token,
        examples=known,
        started=lambda address: err.print(f"open {address} in a browser; Ctrl+C ends", soft_wrap=True),
    )


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


@app.command(rich_help_panel="Use")
def watch(
    camera: Annotated[str | None, typer.Option(help="A camera: its number (0 is the first) or device.")] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="Instead, a video file or a stream: rtsp://..., http://...")
    ] = None,
    labels: Annotated[str | None, typer.Option(help='Your labels, separated by commas: "sit down, drink".')] = None,
    examples: Annotated[Path | None, typer.Option(help="A file of enrolled actions; their labels join yours.")] = None,
    model: ModelOption = "tmor-small",
    estimator: EstimatorOption = "rtmlib",
    closed: ClosedOption = False,
    real_time: Annotated[bool, typer.Option("--real-time", help="Play a file as fast as it was recorded.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON per answer and person who left.")
    ] = False,
) -> None:
    """Say live what the people in front of a camera do; writes nothing, keeps no picture. Ctrl+C ends."""
    from tmor.pose.cameras import open_camera, open_input

    if (camera is None) == (source is None):
        raise TmorError("expected one of --camera 0 and --input FILE-OR-ADDRESS")
    names = None if labels is None else [label.strip() for label in labels.split(",")]
    pictures = open_camera(camera) if camera is not None else open_input(str(source), real_time=real_time)
    with contextlib.closing(pictures):
        from tmor.model.checkpoint import load_model
        from tmor.pose.estimators import load_estimator
        from tmor.serve.watch import Watcher
        from tmor.serve.watch import as_json as event_as_json

        with _progress("getting ready"):
            loaded = load_model(model)
            if examples is not None:
                from tmor.serve.examples import joined_labels, read_examples

                enrolled = read_examples(examples)
                loaded, names = loaded.enroll(enrolled), joined_labels(names, enrolled)
            finder = load_estimator(estimator)
        with contextlib.closing(finder), _stopping_by_ctrl_c(pictures.stop) as stopped:
            watcher = Watcher(loaded, finder, names, none=not closed, fps=pictures.fps)
            begun_s = time.monotonic()
            try:
                if as_json:
                    for events in watcher.watch(pictures):
                        for event in events:
                            print(json.dumps(event_as_json(event), ensure_ascii=False), flush=True)
                else:
                    _show(watcher, pictures)
            finally:
                err.print(
                    f"{watcher.pictures} pictures in {time.monotonic() - begun_s:.1f} s, {pictures.dropped} dropped; "
                    f"people: {watcher.numbers}, and {watcher.ghosts} seen too little to count"
                )
    if stopped:
        raise typer.Exit(130)


def _show(watcher: Watcher, source: Source) -> None:
    """What ended as lines, and below them, in a terminal, who does what now."""
    from rich.live import Live

    from tmor.serve.watch import Answer

    now: dict[int, Answer] = {}
    drawn_s = 0.0
    with Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else contextlib.nullcontext() as live:
        for events in watcher.watch(source):
            for event in events:
                for s in event.closed:
                    what = f"person {event.person}  {_plain(s.label)} ({s.score:.2f})"
                    out.print(f"{s.start_s:.1f}-{s.end_s:.1f} s  {what}", soft_wrap=True)
                if isinstance(event, Answer):
                    now[event.person] = event
                else:
                    now.pop(event.person, None)
                    out.print(f"[dim]person {event.person} left[/dim]")
            if live is not None and time.monotonic() - drawn_s > _REDRAW_S:
                drawn_s = time.monotonic()
                live.update(_now_table(watcher, source, now), refresh=True)


def _now_table(watcher: Watcher, source: Source, now: Mapping[int, Answer]) -> Group:
    table = Table("person", "action now", "probability", "since")
    for person in watcher.people:
        answer = now.get(person)
        if answer is None or answer.now.label is None:
            table.add_row(str(person), "", "", "")
        else:
            probability, since = f"{answer.now.score:.2f}", f"{answer.since_s:.1f} s"
            table.add_row(str(person), _plain(answer.now.label), probability, since)
    dropped = f", {source.dropped} dropped" if source.live else ""
    status = f"{_plain(source.name)}: {watcher.pictures_per_s:.1f} pictures/s{dropped}, people: {len(watcher.people)}"
    return Group(table, f"[dim]{status}[/dim]")


@contextlib.contextmanager
def _stopping_by_ctrl_c(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Ctrl+C once calls ``stop`` and is noted in the list; twice, it ends everything at once as usual."""
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, usual)
        noted.append(number)
        stop()

    usual = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, usual)


@app.command(rich_help_panel="Data")
def describe(
    file: Annotated[Path, typer.Argument(help="A pose file (or a folder of OpenPose files).")],
    phases: Annotated[int, typer.Option(help="At most so many movements after one another.", min=1)] = 3,
    as_json: JsonOption = False,
) -> None:
    """Put the movement of each person in a pose file into words, by rules: which limb moves where, how often."""
    from tmor.posecap.captioners import Clip, KinematicCaptioner
    from tmor.skeleton.formats import read_tracks

    captioner = KinematicCaptioner(phases=phases)
    tracks = read_tracks(file)
    texts = [next(iter(captioner(Clip(track=track))), None) for track in tracks]
    if as_json:
        rows = [{"id": track.id, "text": text} for track, text in zip(tracks, texts, strict=True)]
        print(json.dumps({"source": str(file), "tracks": rows}, ensure_ascii=False))
        return
    table = Table("person", "movement")
    for n, (track, text) in enumerate(zip(tracks[:_MOST_ROWS], texts, strict=False)):
        table.add_row(_plain(track.id or str(n)), text or "[dim]nothing that can be told[/dim]")
    out.print(table)
    if len(tracks) > _MOST_ROWS:
        out.print(f"and {len(tracks) - _MOST_ROWS} more; --json prints them all")


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
    ranks = start(None if device is None else device.value, devices=devices, nodes=nodes)
    err.quiet = not ranks.first
    with _progress("preparing the data") as progress:
        run(settings, data=data, out=output, resume=resume, ranks=ranks, progress=progress)
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
    heads: Annotated[
        str, typer.Option(help="Of detect: text, raw, linear, tcn, causal, finetune, scratch.")
    ] = "text,linear,tcn",
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


@app.command(rich_help_panel="Learn")
def calibrate(
    data: Annotated[list[Path], typer.Argument(help="Sets with labels that the model never saw.")],
    model: ModelOption = "tmor-small",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The calibrated checkpoint to write.")] = None,
    protocol: ProtocolOption = None,
    part: PartOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit how sure a model may be, "none of these" included, on training parts; measures it on test parts."""
    from dataclasses import asdict

    from tmor.downstream.calibrate import fit
    from tmor.model.checkpoint import load_model, save_model

    if output is not None and output.exists():
        raise TmorError(f"{output}: exists already; choose another name")
    loaded = load_model(model)
    with _progress("calibrating"):
        matching, measured = fit(loaded, [_labelled(path, protocol, part) for path in data], seed=seed)
    if output is not None:
        loaded.spec = replace(loaded.spec, matching=matching)
        save_model(loaded, output)
        err.print(f"wrote {output}")
    if as_json:
        print(json.dumps({"matching": asdict(matching), "measured": measured}))
        return
    out.print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in asdict(matching).items()))
    table = Table("set, labels by", "right", "known lost", "none found", "AUROC", "calibration error")
    for name, measures in measured.items():
        table.add_row(_plain(name), *(f"{value:.1f}" for value in measures.values()))
    out.print(table)


def _load(
    model: str, onnx: Path | None, names: list[str] | None, examples: dict[str, list[Track]]
) -> Model | OnnxModel:
    if onnx is not None:
        from tmor.serve.onnx import load_onnx

        return load_onnx(onnx)
    from tmor.model.checkpoint import load_model

    loaded = load_model(model)
    if names is None and not loaded.spec.classes:
        raise TmorError(f"model '{model}' has no classes of its own; give labels: --labels \"sit down, drink\"")
    return loaded.enroll(examples) if examples else loaded


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
    captioner: Annotated[
        str | None,
        typer.Option(help="For clips without text: kinematic, a model's folder or hub id, or ENDPOINT#MODEL."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what an endpoint would be asked.")] = False,
    unfiltered: Annotated[bool, typer.Option("--unfiltered", help="Keep captions that say nothing useful.")] = False,
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
    texts, filtered = [], None
    if captions is not None and not by_sequence:
        from tmor.posecap.filters import filter_texts
        from tmor.posecap.texts import read_captions

        texts = read_captions(captions)
        if not unfiltered:
            texts, filtered = filter_texts(texts)
    words = None
    if captioner is not None:
        from tmor.posecap.captioners import load_captioner

        words = load_captioner(captioner, dry_run=dry_run)
    jobs: list[tuple[list[BuildSource], Reader | None]] = []
    if videos:
        jobs.append((find_videos(videos), VideoReader(config, estimator)))
    if from_poses:
        jobs.append((find_poses(from_poses, part=part), PoseReader(config, part, captions if by_sequence else None)))
    text, video = _teachers(text_teacher, video_teacher)
    reports = []
    with _progress("building") as progress:
        for sources, reader in jobs or [([], None)]:
            report = run(
                output,
                sources,
                reader,
                config=config,
                captions=texts,
                captioner=words,
                licence=licence,
                split=split,
                workers=workers if reader is not None and isinstance(reader, VideoReader) else None,
                engine=engine.value,
                progress=progress,
            )
            if text is not None or video is not None:
                embed(output, report=report, text=text, video=video, sources=sources, progress=progress)
            reports.append(report)
    if filtered is not None and filtered.dropped:
        err.print(str(filtered), markup=False)
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


def _teachers(text: str | None, video: str | None) -> tuple[TextTeacher | None, VideoTeacher | None]:
    from tmor.teachers.huggingface import load_text_teacher, load_video_teacher

    return (
        None if text is None else load_text_teacher(text),
        None if video is None else load_video_teacher(video),
    )


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
