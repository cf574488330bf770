"""Commands that turn models into other forms. Heavy parts are imported by the commands that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tmor.cli.shell import app, progress_bar, read_labels, tell_written
from tmor.errors import TmorError


@app.command(rich_help_panel="Models")
def export(
    kind: Annotated[str, typer.Argument(help="onnx.")],
    model: Annotated[str, typer.Argument(help="tmor-small, tmor-base, or a checkpoint file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
    labels: Annotated[
        str | None, typer.Option(help="Labels that it shall know without a text teacher, as for predict.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Smaller and faster, a little less exact.")] = False,
) -> None:
    """Turn a model into one ONNX file, normalisation inside, that `predict --onnx` and ONNX Runtime run."""
    from tmor.model.checkpoint import load_model
    from tmor.serve.export import export_onnx
    from tmor.skeleton.formats.files import check_new_file

    if kind != "onnx":
        raise TmorError(f"kind is '{kind}'; expected onnx")
    check_new_file(output, [".onnx"], makes_folder=True)
    with progress_bar("exporting"):
        export_onnx(load_model(model), output, labels=read_labels(labels), int8=int8)
    tell_written(output)


@app.command("import-weights", rich_help_panel="Models")
def import_weights(
    kind: Annotated[str, typer.Argument(help="unik: the authors' published motion encoders.")],
    file: Annotated[Path, typer.Argument(help="The published checkpoint; nothing in it is executed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The safetensors file to write.")],
) -> None:
    """Turn published weights into a checkpoint of ours; writes safetensors."""
    from tmor.model.checkpoint import save_model
    from tmor.model.published import import_unik
    from tmor.skeleton.formats.files import check_new_file

    if kind != "unik":
        raise TmorError(f"kind is '{kind}'; expected unik")
    check_new_file(output, [".safetensors"], makes_folder=True)
    save_model(import_unik(file), output)
    tell_written(output)
