"""Fixtures that several test modules use."""

import sys
from pathlib import Path

import pytest

from tmor import cli


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real motion beside the checkout; tests that need it are skipped where it is not."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"shared data not there: {folder}")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line in this process; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tmor", *map(str, args)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        done = capsys.readouterr()
        return code, done.out, " ".join(done.err.split())

    return call
