"""The command line: a thin shell that parses, calls and prints."""

from __future__ import annotations

import io
import logging
import sys
from typing import NoReturn

from rich.logging import RichHandler

# The order of the help: who uses it first.
# isort: off
from tmor.cli import use, data, learn, models  # noqa: F401 (they add their commands)
from tmor.cli.shell import app, err, out
from tmor.errors import TmorError
# isort: on

__all__ = ["app", "err", "main", "out"]


def main() -> None:
    """Run the command line: exit code 2 where the user's input was at fault, 1 where we are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be bytes that are no text
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False)],
    )
    try:
        app()
    except TmorError as error:
        _fail(str(error))
    except OSError as error:  # a full disk, a folder that is gone: what a check before the work could not see
        where = "" if error.filename is None else f"{error.filename}: "
        _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)


def _fail(why: str) -> NoReturn:
    err.print("[red]error:[/red] ", end="")
    err.print(why, markup=False, soft_wrap=True)
    sys.exit(2)
