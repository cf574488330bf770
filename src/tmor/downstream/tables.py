"""Evaluation results as table rows and as the Markdown tables of MODEL_CARD."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmor.errors import FormatError, TmorError

_TITLES = {
    "raw": "raw 3-nearest-neighbour",
    "adapted": "zero-shot, adapted",
    "linear": "linear probe",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
    "top1": "top-1",
    "mean_class": "mean per-class",
    "frame_map": "frame-mAP",
    "frame_map_authors": "frame-mAP, authors' mean",
    "event_map": "event-mAP@0.5",
    "event_map_authors": "event-mAP@0.5, as the authors have it",
    "event_map_videos": "event-mAP@0.5 over videos",
    "event_map_videos_authors": "event-mAP@0.5 over videos, as the authors have it",
    "localisation": "Charades localisation mAP",
    "edit": "edit score",
    "f_score": "F-score within 333 ms",
    "latency_ms": "latency of matched decisions, ms",
}


def as_json(results: Any) -> str:
    """Results as strict JSON: a figure that does not exist (NaN) is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return json.dumps(plain(results), indent=1, allow_nan=False)


def result_rows(results: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(set, measure, value, note) of results as :func:`tmor.downstream.evaluate.evaluate` gives them."""
    return [row for result in results for row in _rows(result)]


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    name = result["benchmark"]
    if result.get("protocol"):
        name = f"{name}, {result['protocol']}"
    rows: list[tuple[str, str, str, str]] = []
    if "zero-shot" in result:
        zero = result["zero-shot"]
        shared = ", ".join(f"{a} ({b})" if a != b else a for a, b in zero["shared"].items()) or "none"
        rows.append((name, "zero-shot top-1", _figure(zero["top1"]), f"chance {zero['chance']:.1f}"))
        if result.get("metric") == "mean_class":
            rows.append((name, "zero-shot mean per-class", _figure(zero["mean_class"]), ""))
        title = "zero-shot top-1, names shared with training left out"
        if zero["top1_unseen"] is None:
            rows.append((name, title, "-", "every class was trained on"))
        else:
            note = f"chance {zero['chance_unseen']:.1f}; shared: {shared}"
            rows.append((name, title, _figure(zero["top1_unseen"]), note))
        if "generalised" in zero:
            both = zero["generalised"]
            rows.append((name, "zero-shot top-1 of the held-out classes", _figure(zero["held_out"]), ""))
            note = f"seen {_figure(both['seen'])}, unseen {_figure(both['unseen'])}"
            rows.append((name, "generalised zero-shot, harmonic mean", _figure(both["harmonic_mean"]), note))
    for shot, measure in result.get("few-shot", {}).items():
        rows.append((name, f"{shot}-shot top-1", _value(measure), "20 episodes per seed"))
    for mode in ("adapted", "raw", "linear", "finetune", "scratch"):
        if mode in result:
            found = result[mode]
            note = f"{found['epochs']} epochs, " if "epochs" in found else ""
            note += f"to {found['unlabelled']} samples without labels" if mode == "adapted" else ""
            # A linear probe on all labels is what the words say.
            if "share" in found and (note or found["share"] < 1):
                note += f"{found['share']:.0%} of labels"
            for key, measure in found.items():
                stream, _, measure_name = key.rpartition(" ")
                if measure_name == result["metric"]:
                    title = " ".join(filter(None, (_TITLES[mode], _TITLES[measure_name])))
                    rows.append((name, title, _value(measure), ", ".join(filter(None, (stream, note)))))
    for head, found in result.get("detect", {}).items():
        rows += [(name, f"{head}: {_TITLES.get(k, k)}", _value(v), "") for k, v in found.items()]
    if "retrieve" in result:
        for protocol, found in result["retrieve"]["protocols"].items():
            for way in ("text_to_motion", "motion_to_text"):
                figures = ", ".join(f"R@{k} {_figure(found[way][f'R@{k}'])}" for k in (1, 5, 10))
                rank = found[way]["median_rank"]
                note = "median rank -" if rank is None or math.isnan(rank) else f"median rank {rank:g}"
                rows.append((name, f"{way.replace('_', ' ')}, {protocol}", figures, note))
    for method, measure, value in result.get("published", []):
        rows.append((name, _TITLES.get(measure) or measure, f"{value:.1f}", f"published: {method}"))
    return rows


def _value(measure: dict[str, Any]) -> str:
    return _figure(measure["mean"]) + ("" if measure["std"] is None else f" ± {_figure(measure['std'])}")


def _figure(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.1f}"


def markdown_tables(folder: Path) -> str:
    """One Markdown table per result file of a folder, in order of their names.

    Raises:
        TmorError: there is no such folder, or it holds no result.
        FormatError: a file in it is not one that evaluate wrote.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is no such folder"
        raise TmorError(f"{folder}: {what}; expected the folder of JSON files that tmor evaluate wrote")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise TmorError(f"{folder}: holds no *.json; write some with tmor evaluate ... -o {folder}/NAME.json")
    parts = []
    for file in files:
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            rows = result_rows(results)
            first = results[0]
            seeds = ", ".join(map(str, first["seeds"]))
            about = f"Model {first['model']}, part: {first['part']}, seeds {seeds}, {first['date']}."
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, RecursionError) as error:
            raise FormatError(f"{file}: not a result of tmor evaluate ({error!r})") from error
        lines = [
            f"### {file.stem}",
            "",
            about,
            "",
            "| set, protocol | measure | value | note |",
            "| --- | --- | --- | --- |",
        ]
        cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]))
    return "\n\n".join(parts)
