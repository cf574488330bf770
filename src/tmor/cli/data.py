"""Commands for those who prepare, build and look into data. Heavy parts are imported by the commands that need them."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from tmor.cli.shell import (
    MOST_ROWS,
    EstimatorOption,
    JsonOption,
    SeedOption,
    app,
    counted,
    err,
    out,
    plain,
    print_table,
    progress_bar,
    tell_written,
)
from tmor.errors import TmorError

if TYPE_CHECKING:
    from tmor.posecap.build import BuildReport
    from tmor.posecap.sources import Source as BuildSource
    from tmor.teachers.huggingface import TextTeacher, VideoTeacher


class Engine(StrEnum):
    """Where a data set is built."""

    local = "local"
    ray = "ray"


@app.command(rich_help_panel="Data")
def inspect(
    file: Annotated[Path, typer.Argument(help="A pose file (or a folder of OpenPose files).")],
    png: Annotated[Path | None, typer.Option(help="Write a picture of the skeletons over time here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a pose file holds (layout, persons, rate, missing joints, length), and draw it."""
    from tmor.skeleton.drawing import braille_skeleton, contact_sheet
    from tmor.skeleton.formats import read_tracks
    from tmor.skeleton.formats.files import check_new_file
    from tmor.skeleton.formats.persons import person_names
    from tmor.skeleton.layouts import UNIK17

    if png is not None:
        check_new_file(png, [".png"])
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
        for name, fact in zip(person_names(tracks)[:MOST_ROWS], facts, strict=False):
            rate = "unknown" if fact["fps"] is None else f"{fact['fps']:g} fps"
            length = "unknown" if fact["duration_s"] is None else f"{fact['duration_s']:.1f} s"
            layout = f"{fact['layout']}, {fact['joints']} joints, {fact['dims']}D"
            table.add_row(
                plain(name),
                plain(layout),
                str(fact["frames"]),
                rate,
                length,
                f"{fact['missing_share']:.0%}",
            )
        print_table(table, len(facts))
        for lacking in {track.layout: track.layout.lacking(UNIK17) for track in tracks}.values():
            if lacking:
                out.print(f"joints that the models use and this layout lacks: {', '.join(lacking)}")
        seen = next((track for track in tracks if track.missing_share < 1), None)
        if seen is not None:
            out.print(braille_skeleton(seen), markup=False)
    if png is not None:
        contact_sheet(tracks).savefig(png)
        tell_written(png)


@app.command(rich_help_panel="Data")
def describe(
    file: Annotated[Path, typer.Argument(help="A pose file (or a folder of OpenPose files).")],
    phases: Annotated[int, typer.Option(help="At most so many movements after one another.", min=1)] = 3,
    as_json: JsonOption = False,
) -> None:
    """Put the movement of each person in a pose file into words, by rules: which limb moves where, how often."""
    from tmor.posecap.captioners import Clip, KinematicCaptioner
    from tmor.skeleton.formats import read_tracks
    from tmor.skeleton.formats.persons import person_names

    captioner = KinematicCaptioner(phases=phases)
    tracks = read_tracks(file)
    texts = [next(iter(captioner(Clip(track=track))), None) for track in tracks]
    if as_json:
        rows = [{"id": track.id, "text": text} for track, text in zip(tracks, texts, strict=True)]
        print(json.dumps({"source": str(file), "tracks": rows}, ensure_ascii=False))
        return
    table = Table("person", "movement")
    for name, text in zip(person_names(tracks)[:MOST_ROWS], texts, strict=False):
        table.add_row(plain(name), text or "[dim]nothing that can be told[/dim]")
    print_table(table, len(tracks))


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
    with progress_bar(f"reading {benchmark.title}") as progress:
        found = run(benchmark, root, output, progress=progress)
    if as_json:
        print(json.dumps({"path": str(found.path), "samples": found.samples, "skipped": found.reasons}))
        return
    out.print(f"{benchmark.title}: {found.samples} samples")
    for reason, count in found.reasons.items():
        out.print(f"skipped {count}: {reason}", markup=False)
    if found.published is not None and found.samples != found.published:
        out.print(f"[yellow]the authors count {found.published} samples[/yellow]; prepared.json lists what was skipped")
    tell_written(found.path)


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
        typer.Option(
            help="For clips with a class name at most: kinematic, a model's folder or hub id, or ENDPOINT#MODEL."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what an endpoint would be asked; write nothing.")
    ] = False,
    unfiltered: Annotated[bool, typer.Option("--unfiltered", help="Keep captions that say nothing useful.")] = False,
    licence: Annotated[str, typer.Option(help="Words of the sources' licence.")] = "",
    split: Annotated[str, typer.Option(help="Of the sources: train, test, or empty.")] = "",
    part: Annotated[str | None, typer.Option(help="Of packed sets, for example is_train or 'not is_test'.")] = None,
    estimator: EstimatorOption = "rtmlib",
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
    from tmor.posecap.build import build as run
    from tmor.posecap.build import embed, rehearse
    from tmor.posecap.captioners import EndpointCaptioner, load_captioner
    from tmor.posecap.readers import PoseReader, Reader, VideoReader
    from tmor.posecap.sources import find_poses, find_videos
    from tmor.posecap.triplets import is_by_sequence, read_sequence_captions

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
    if part is not None and not from_poses:
        raise TmorError(f"--part {part}: is of the packed sets of --from-poses; there are none")
    texts, filtered, by_sequence = [], None, {}
    if captions is not None and from_poses and is_by_sequence(captions):
        by_sequence = read_sequence_captions(captions)
    elif captions is not None:
        from tmor.posecap.filters import filter_texts
        from tmor.posecap.texts import read_captions

        texts = read_captions(captions)
        if not unfiltered:
            texts, filtered = filter_texts(texts)
    words = None if captioner is None else load_captioner(captioner, dry_run=dry_run)
    if dry_run and not isinstance(words, EndpointCaptioner):
        raise TmorError(f"--dry-run with captioner {captioner}; expected --captioner ENDPOINT#MODEL, which is asked")
    jobs: list[tuple[list[BuildSource], Reader | None]] = []
    if videos:
        jobs.append((find_videos(videos), VideoReader(config, estimator)))
    if from_poses:
        jobs.append((find_poses(from_poses, part=part), PoseReader(config, part, by_sequence)))
    text, video = (None, None) if dry_run else _teachers(text_teacher, video_teacher)
    reports: list[BuildReport] = []
    with progress_bar("building") as progress:
        for sources, reader in jobs or [([], None)]:
            given: dict[str, Any] = {
                "config": config,
                "captions": texts,
                "captioner": words,
                "workers": workers if isinstance(reader, VideoReader) else None,
                "engine": engine.value,
                "progress": progress,
            }
            if dry_run:
                report = rehearse(output, sources, reader, **given)
            else:
                earlier = reduce(add, reports) if reports else None
                report = run(output, sources, reader, licence=licence, split=split, earlier=earlier, **given)
            reports.append(report)
        total = reduce(add, reports)
        if (text is not None or video is not None) and not total.failed:
            every = [source for sources, _ in jobs for source in sources]
            embed(output, report=total, text=text, video=video, sources=every, progress=progress)
    if all(report.failed for report in reports):
        (name, reason), *others = (each for report in reports for each in report.skipped.items())
        more = f"; and {counted(len(others), 'other')}" if others else ""
        raise TmorError(f"no source can be taken, nothing is built: {name}: {reason.removeprefix(f'{name}: ')}{more}")
    if dry_run:
        err.print("a dry run: nothing is asked, nothing is written")
        return
    if by_sequence and reports[-1].already:
        err.print(
            f"{captions}: captions by sequence choose the clips when a set is built; those of sets there before stay",
            markup=False,
        )
    if filtered is not None and filtered.dropped:
        err.print(str(filtered), markup=False)
    for report in reports:
        # What is known only at the end is told there.
        last = report is reports[-1]
        report.unused_captions = total.unused_captions if last else []
        report.embedded, report.not_embedded = (total.embedded, total.not_embedded) if last else ({}, {})
        if as_json:
            print(json.dumps(vars(report), ensure_ascii=False))
        else:
            _print_build(report)
    tell_written(output, "; build-report.json has the details")


def _teachers(text: str | None, video: str | None) -> tuple[TextTeacher | None, VideoTeacher | None]:
    from tmor.teachers.huggingface import load_text_teacher, load_video_teacher

    return (
        None if text is None else load_text_teacher(text),
        None if video is None else load_video_teacher(video),
    )


def _print_build(report: BuildReport) -> None:
    out.print(
        f"{counted(report.sources, 'source')}: {report.built} built, {report.already} there before, "
        f"{len(report.skipped)} skipped; {counted(report.clips, 'new triplet')}, {report.triplets} in all"
    )
    for name, reason in list(report.skipped.items())[:MOST_ROWS]:
        out.print(f"skipped {name}: {reason}", markup=False)
    for name, original in list(report.same_content.items())[:MOST_ROWS]:
        out.print(f"left out {name}: has the content of {original}", markup=False)
    for reason, count in report.left_out.items():
        out.print(f"left out {counted(count, 'clip')}: {reason}", markup=False)
    if report.rewritten:
        out.print(counted(report.rewritten, "older triplet has new texts", "older triplets have new texts"))
    if report.without_text:
        textless = counted(len(report.without_text), "source has no text", "sources have no text")
        out.print(f"{textless}: {', '.join(report.without_text[:5])}", markup=False)
    if report.unused_captions:
        unused = counted(len(report.unused_captions), "caption is about no source", "captions are about no source")
        out.print(f"{unused}: {', '.join(report.unused_captions[:5])}", markup=False)
    for column, count in report.embedded.items():
        embedded = counted(count, f"triplet has a {column} embedding", f"triplets have a {column} embedding")
        out.print(f"{embedded}, {report.not_embedded[column]} without")


@app.command(rich_help_panel="Data")
def verify(
    dataset: DataSetArgument,
    sources: SourcesOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check a data set: hashes, sizes, values, copies, leaks between splits, licences; exits with 2 if one is wrong."""
    from dataclasses import asdict

    from tmor.posecap.audit import verify as run

    with progress_bar("verifying") as progress:
        audit = run(dataset, sources=sources, progress=progress)
    if as_json:
        print(json.dumps(asdict(audit), ensure_ascii=False))
    else:
        for finding in (*audit.wrong, *audit.notes):
            out.print(f"{finding.what}: {finding.count}", markup=False)
            for example in finding.examples:
                out.print(f"  {example}", markup=False)
        out.print(f"{counted(audit.triplets, 'triplet')}: " + ("all is well" if not audit.wrong else "not all is well"))
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
        table.add_row(name.replace("_", " "), plain(shown))
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

    with progress_bar("reading") as progress:
        shown = write_browse_page(
            output, dataset, count=count, seed=seed, where=where, sources=sources, progress=progress
        )
    tell_written(output, f" with {shown} triplets")
