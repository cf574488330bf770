"""Evaluation results as table rows and as the Markdown tables of MODEL_CARD."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmor.errors import FormatError, TmorError


def result_rows(results: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(set, measure, value, note) of results that :func:`tmor.downstream.evaluate.evaluate` gave."""
    rows: list[tuple[str, str, str, str]] = []
    for result in results:
        name = result["benchmark"]
        if "zero-shot" in result:
            zero = result["zero-shot"]
            shared = ", ".join(f"{a} ({b})" if a != b else a for a, b in zero["shared"].items()) or "none"
            rows.append((name, "zero-shot top-1", f"{zero['top1']:.1f}", f"chance {zero['chance']:.1f}"))
            title = "zero-shot top-1, names shared with training left out"
            if zero["top1_unseen"] is None:
                rows.append((name, title, "-", "every class was trained on"))
            else:
                note = f"chance {zero['chance_unseen']:.1f}; shared: {shared}"
                rows.append((name, title, f"{zero['top1_unseen']:.1f}", note))
        for shot, found in result.get("few-shot", {}).items():
            if shot.isdigit():
                episodes = result["few-shot"]["episodes"]
                rows.append(
                    (
                        name,
                        f"{shot}-shot top-1",
                        f"{found['mean']:.1f} ± {found['interval95']:.1f}",
                        f"{episodes} episodes, 95%",
                    )
                )
        if "linear" in result:
            rows.append((name, "linear probe top-1", f"{result['linear']['top1']:.1f}", ""))
        if "raw" in result:
            rows.append((name, "raw 3-nearest-neighbour top-1", f"{result['raw']['top1']:.1f}", "no learning"))
        for mode, title in (("finetune", "fine-tuned top-1"), ("scratch", "from scratch top-1")):
            if mode in result:
                found = result[mode]
                rows.append(
                    (name, title, f"{found['top1']:.1f}", f"{found['epochs']} epochs, {found['share']:.0%} of labels")
                )
        if "retrieve" in result:
            found = result["retrieve"]
            for way in ("text_to_motion", "motion_to_text"):
                figures = ", ".join(f"R@{k} {found[way][f'R@{k}']:.1f}" for k in (1, 5, 10))
                items = found["clips" if way == "text_to_motion" else "texts"]
                note = f"median rank {found[way]['median_rank']:g} of {items}"
                rows.append((name, way.replace("_", " "), figures, note))
    return rows


def markdown_tables(folder: Path) -> str:
    """One Markdown table per result file of a folder, in order of their names.

    Raises:
        TmorError: the folder holds no result.
        FormatError: a file in it is not one that evaluate wrote.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise TmorError(f"{folder}: holds no *.json; write some with tmor evaluate ... -o {folder}/NAME.json")
    parts = []
    for file in files:
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            rows = result_rows(results)
            first = results[0]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
            raise FormatError(f"{file}: not a result of tmor evaluate ({error!r})") from error
        part, seed, day = (first.get(key, "unknown") for key in ("part", "seed", "date"))
        about = f"model {first['model']}, part: {part}, seed {seed}, {day}"
        lines = [
            f"### {file.stem}",
            "",
            f"{about}.",
            "",
            "| set | measure | value | note |",
            "| --- | --- | --- | --- |",
        ]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]))
    return "\n\n".join(parts)
