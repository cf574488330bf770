"""What the commands share: consoles, options, progress, and how a list or a file is read from or written for a user."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tmor.errors import TmorError

if TYPE_CHECKING:
    from rich.table import Table

    from tmor.model.answers import Labels

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
MOST_ROWS = 50
DEFAULT_MODEL = "tmor-small"
_NO_LABELS = {".txt", ".csv", ".tsv", ".npz", ".jsonl", ".yaml", ".yml", ".toml"}
ModelOption = Annotated[str, typer.Option("--model", "-m", help="tmor-small, tmor-base, or a checkpoint file.")]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        help='Your labels, separated by commas or lines: "sit down, drink, wave"; or a .json file of labels and '
        "sentences that describe each."
    ),
]
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


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, which shows what a long call reports of itself."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def read_labels(text: str | None) -> Labels | None:
    """What ``--labels`` says: labels, or the file that describes them."""
    if text is None:
        return None
    path = Path(text.strip())
    if path.suffix.lower() == ".json":
        from tmor.posecap.texts import read_descriptions

        return read_descriptions(path)
    if path.suffix.lower() in _NO_LABELS or (path.suffix and path.is_file()):
        raise TmorError(
            f"--labels is '{text}', a file; expected labels separated by commas, or a .json file of labels and "
            "sentences"
        )
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            names = json.loads(text)
            if all(isinstance(name, str) for name in names):
                return names
        raise TmorError(f"--labels is {text}; expected a JSON list of texts, or labels separated by commas or lines")
    from tmor.model.answers import split_labels

    return split_labels(text)


def plain(text: str) -> str:
    """Text of the user's, with brackets that rich would take for markup made harmless."""
    return text.replace("[", r"\[")


def print_table(table: Table, rows: int) -> None:
    """Print a table of the first :data:`MOST_ROWS` of so many rows, and how many are left out."""
    out.print(table)
    if rows > MOST_ROWS:
        out.print(f"and {rows - MOST_ROWS} more; --json prints them all")


def choices(what: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values:
        raise TmorError(f"--{what} is empty; expected at least one, separated by commas")
    return values


def numbers(what: str, text: str) -> list[int]:
    values = choices(what, text)
    for value in values:
        if not value.isdecimal() or int(value) < 1:
            raise TmorError(f"--{what} holds '{value}'; expected whole numbers above 0")
    return [int(value) for value in values]


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all: that of sets before outlives a set that fails."""
    from tmor.skeleton.formats.files import write_whole

    write_whole(path, text.encode())
    tell_written(path)


def tell_written(path: Path, about: str = "") -> None:
    err.print(f"wrote {path}{about}", markup=False, soft_wrap=True)


def counted(n: int, one: str, many: str = "") -> str:
    """``1 clip``, ``2 clips``; ``many`` where it is more than an s that differs."""
    return f"{n} {one if n == 1 else many or one + 's'}"
