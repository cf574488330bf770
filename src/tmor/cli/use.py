"""Commands for those who want to know what people do. Heavy parts are imported by the commands that need them."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from tmor.cli.shell import (
    DEFAULT_MODEL,
    MOST_ROWS,
    ClosedOption,
    EstimatorOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    ReportOption,
    app,
    counted,
    err,
    out,
    plain,
    print_table,
    progress_bar,
    read_labels,
    tell_written,
)
from tmor.errors import NobodyError, TmorError

if TYPE_CHECKING:
    from tmor.model.answers import Labels
    from tmor.model.model import Model
    from tmor.pose.cameras import Source
    from tmor.serve.onnx import OnnxModel
    from tmor.serve.predict import TrackResult
    from tmor.serve.watch import Answer, Watcher
    from tmor.skeleton.tracks import Track

_REDRAW_S = 0.2
_MANY_CLIPS = 20
_DEMO_REPORT = Path("demo-report.html")


@app.command(rich_help_panel="Use")
def demo(
    report: ReportOption = _DEMO_REPORT,
    model: ModelOption = DEFAULT_MODEL,
    as_json: JsonOption = False,
) -> None:
    """Name the actions of the embedded sample motions by text alone; writes an HTML report."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.predict import predict_tracks
    from tmor.skeleton.formats.files import check_new_file
    from tmor.skeleton.sample import ACTIONS, sample_set

    if report is not None and report != _DEMO_REPORT:  # its own file of the last time may go
        check_new_file(report, [".html"])
    samples = sample_set()
    with progress_bar("naming the sample motions"):
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
    labels: LabelsOption = None,
    model: ModelOption = DEFAULT_MODEL,
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
    from tmor.skeleton.formats.persons import person_names

    _check_outputs(file, segments, overlay, report)
    loaded, names = (
        _load(model, labels, examples) if onnx is None else _load_onnx(onnx, labels, model=model, examples=examples)
    )
    with progress_bar(f"reading {file.name}") as progress:
        results = predict_file(loaded, file, names, none=not closed, estimator=estimator, progress=progress)
    if as_json:
        print(json.dumps(results_as_json(str(file), results), ensure_ascii=False))
    else:
        table = Table("person", "action", "probability", "segments")
        people = person_names([result.track for result in results])
        for person, result in zip(people[:MOST_ROWS], results, strict=False):
            spans = ", ".join(f"{s.start_s:.1f}-{s.end_s:.1f} s {s.label}" for s in result.segments[:8])
            more = f" and {len(result.segments) - 8} more" if len(result.segments) > 8 else ""
            table.add_row(plain(person), plain(result.label), f"{result.score:.2f}", plain(spans + more))
        print_table(table, len(results))
        if any(result.track.fps is None for result in results):
            out.print("The frame rate is not known: times count the frames as if there were 30 in a second.")
    if report is not None:
        _write_report(report, f"{file.name}", results, None, [])
    for path in segments:
        from tmor.serve.segment_files import write_segments

        write_segments(path, file, results)
        tell_written(path)
    if overlay is not None:
        from tmor.serve.overlay import write_overlay

        with progress_bar("drawing") as progress:
            write_overlay(overlay, file, results, progress=progress)
        tell_written(overlay)


def _check_outputs(file: Path, segments: list[Path], overlay: Path | None, report: Path | None) -> None:
    """Say before the long work that an outcome of it could not be written."""
    from tmor.skeleton.formats.files import check_distinct, check_new_file, is_video

    if segments:
        from tmor.serve.segment_files import FORMATS

        for path in segments:
            check_new_file(path, [f".{name}" for name in FORMATS])
    if overlay is not None:
        check_new_file(overlay, [".mp4"])
        if file.exists() and not is_video(file):
            raise TmorError(f"--overlay draws on a video, and {file} is none")
    if report is not None:
        check_new_file(report, [".html"])
    check_distinct([path for path in (*segments, overlay, report) if path is not None])


def _examples(examples: Path | None) -> dict[str, list[Track]]:
    if examples is None:
        return {}
    from tmor.serve.examples import read_examples

    return read_examples(examples)


def _load(model: str, labels: str | None, examples: Path | None) -> tuple[Model, Labels | None]:
    """A model that knows the examples, and the labels of the command with those that are enrolled; None where there
    are neither, and the model has classes of its own."""
    enrolled = _examples(examples)
    names = read_labels(labels)
    if enrolled:
        from tmor.serve.examples import joined_labels

        names = joined_labels(names, enrolled)
    from tmor.model.checkpoint import load_model

    loaded = load_model(model)
    if names is None and not loaded.spec.classes:
        raise TmorError(f"model '{model}' has no classes of its own; give labels: --labels \"sit down, drink\"")
    return loaded.enroll(enrolled) if enrolled else loaded, names


def _load_onnx(onnx: Path, labels: str | None, *, model: str, examples: Path | None) -> tuple[OnnxModel, Labels | None]:
    """An exported model and the labels of the command, where nothing is asked that it can't do."""
    from tmor.serve.onnx import load_onnx

    if examples is not None:
        raise TmorError("--onnx and --examples are both given, and an exported model can't learn from examples")
    if model != DEFAULT_MODEL:
        raise TmorError(f"--onnx {onnx} and --model {model} are both given; expected one of them")
    names = read_labels(labels)
    if isinstance(names, Mapping):
        raise TmorError(
            f"--labels {labels} holds sentences, and --onnx names labels by the texts that they were exported with; "
            "export the model with this file, then give the names"
        )
    return load_onnx(onnx), names


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
            table.add_row(plain(known_label), str(len(own)), lengths)
        out.print(table)
        return
    if remove is not None:
        count = of.remove_label(examples, remove)
        if as_json:
            print(json.dumps({"label": remove.strip(), "removed": count}, ensure_ascii=False))
        else:
            out.print(f"took out {remove.strip()}: {counted(count, 'example')}", markup=False)
    elif label is not None and file is not None:
        from tmor.serve.predict import read_people

        of.check_examples(examples, label)
        with progress_bar(f"reading {file.name}") as progress:
            people = read_people(file, estimator=estimator, progress=progress)
        cut = of.cut_example(people, file, start_s=start, end_s=end, person=person)
        count = of.add_example(examples, label, cut)
        if as_json:
            added = {"label": label.strip(), "examples": count, "person": cut.id}
            print(json.dumps(added | {"start_s": cut.start_s, "end_s": cut.end_s}, ensure_ascii=False))
        else:
            stretch = f"{cut.start_s:.1f}-{cut.end_s:.1f} s of {file.name}"
            out.print(f"{label.strip()}: example {count} is {stretch}, person {cut.id}", markup=False, soft_wrap=True)
    tell_written(examples)


@app.command(rich_help_panel="Use")
def adapt(
    files: Annotated[list[Path], typer.Argument(help="Videos or pose files of your place; no labels are needed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The adapted checkpoint to write, for --model.")],
    model: ModelOption = DEFAULT_MODEL,
    estimator: EstimatorOption = "rtmlib",
) -> None:
    """Fit naming by text to where you use it, by recordings without labels: 20 clips or more, of all sorts."""
    from tmor.model.checkpoint import load_model, save_model
    from tmor.serve.predict import read_people, seen_tracks
    from tmor.skeleton.formats.files import check_new_file

    check_new_file(output, [".safetensors"])
    for file in files:
        if not file.exists():
            raise TmorError(f"{file}: there is no such file")
    loaded = load_model(model)
    tracks: list[Track] = []
    for file in files:
        try:
            with progress_bar(f"reading {file.name}") as progress:
                tracks += read_people(file, estimator=estimator, progress=progress)
        except NobodyError as error:  # a camera that looks at an empty room is no reason to lose the other recordings
            if len(files) == 1:
                raise
            err.print(f"left out {error}", markup=False, soft_wrap=True)
    if not tracks:
        raise NobodyError(f"nobody is in any of the {len(files)} files")
    tracks = seen_tracks(tracks)
    adapted = loaded.adapt(tracks)
    save_model(adapted, output)
    count = adapted.spec.adapted
    few = f"; {_MANY_CLIPS} or more, of all sorts, are better" if count < _MANY_CLIPS else ""
    out.print(f"adapted to {counted(count, 'clip')} of {counted(len(tracks), 'track')}{few}")
    tell_written(output)


@app.command(rich_help_panel="Use")
def watch(
    camera: Annotated[str | None, typer.Option(help="A camera: its number (0 is the first) or device.")] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="Instead, a video file or a stream: rtsp://..., http://...")
    ] = None,
    labels: LabelsOption = None,
    examples: Annotated[Path | None, typer.Option(help="A file of enrolled actions; their labels join yours.")] = None,
    model: ModelOption = DEFAULT_MODEL,
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
    pictures = open_camera(camera) if camera is not None else open_input(str(source), real_time=real_time)
    with contextlib.closing(pictures):
        from tmor.pose.estimators import load_estimator
        from tmor.serve.watch import Watcher
        from tmor.serve.watch import as_json as event_as_json

        with progress_bar("getting ready"):
            loaded, names = _load(model, labels, examples)
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
                    what = f"person {event.person}  {plain(s.label)} ({s.score:.2f})"
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
            table.add_row(str(person), plain(answer.now.label), probability, since)
    dropped = f", {source.dropped} dropped" if source.live else ""
    status = f"{plain(source.name)}: {watcher.pictures_per_s:.1f} pictures/s{dropped}, people: {len(watcher.people)}"
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


@app.command(rich_help_panel="Use")
def serve(
    port: Annotated[int, typer.Option(help="0 = any that is free.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need --token.")] = (
        "127.0.0.1"
    ),
    token: Annotated[
        str | None, typer.Option(help="What every request must carry; the page asks for it.", envvar="TMOR_TOKEN")
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    estimator: EstimatorOption = "rtmlib",
    examples: Annotated[Path | None, typer.Option(help="A file of enrolled actions to begin with.")] = None,
) -> None:
    """Open a web page, and an HTTP API, that takes videos and pose files; writes nothing."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.web import check_token
    from tmor.serve.web import serve as run

    check_token(host, token)
    loaded = load_model(model)
    run(
        loaded,
        estimator,
        host=host,
        port=port,
        token=token,
        examples=_examples(examples),
        started=lambda address: err.print(f"open {address} in a browser; Ctrl+C ends", soft_wrap=True),
    )


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
    tell_written(path)
