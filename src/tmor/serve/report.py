"""Predictions as one self-contained HTML page: skeleton player, timeline, scores, and the numbers behind them."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.drawing import facing, head_joint, joint_sides
from tmor.skeleton.formats.files import whole_file
from tmor.skeleton.layouts import Layout
from tmor.skeleton.tracks import Track

MOST_FPS = 15.0
"""A track with a higher rate is drawn with every 2nd, 3rd, ... frame."""

MOST_FRAMES = 3_000
"""Frames drawn per clip; a longer track is thinned evenly."""

MOST_FRAMES_PER_PAGE = 60_000
"""Frames drawn on a page; many long clips share them, but no clip is thinned below 60 frames for it."""


@dataclass(frozen=True, eq=False)
class ReportClip:
    """One person's movement and what was found in it.

    Args:
        track: the movement; it is thinned for drawing only.
        probabilities: label -> probability of that label for the whole clip, in any order; may be empty.
        segments: (start_s, end_s, label, score) in seconds of the source, as ``track.start_s`` counts them.
        truth: the right label, where it is known.

    Raises:
        TmorError: a probability or score is not within 0 to 1, or a segment's times are not finite and in order.
    """

    track: Track
    probabilities: dict[str, float]
    segments: tuple[tuple[float, float, str, float], ...] = ()
    truth: str | None = None

    def __post_init__(self) -> None:
        for label, p in self.probabilities.items():
            if not 0 <= p <= 1:
                raise TmorError(f"clip '{self.track.id}': label '{label}' has probability {p}; expected 0 to 1")
        for start, end, label, score in self.segments:
            if not (math.isfinite(start) and math.isfinite(end) and start <= end and 0 <= score <= 1):
                raise TmorError(
                    f"clip '{self.track.id}': segment '{label}' from {start} to {end} s with score {score}; "
                    "expected finite times in order and a score of 0 to 1"
                )


def write_report(
    path: str | os.PathLike, *, title: str, clips: Sequence[ReportClip], notes: Sequence[str] = ()
) -> None:
    """Write the page; it needs no other file and no network, and replaces the file at ``path`` in one step.

    Keypoints are rounded to 1 mm or 0.1 px (finer where the whole body spans little) and drawn at 15 frames per second
    at most, with at most :data:`MOST_FRAMES` per clip and about :data:`MOST_FRAMES_PER_PAGE` per page; the page says
    where it left frames out. Scores are rounded to 6 digits, times to milliseconds.

    Args:
        path: the HTML file.
        title: heading of the page.
        clips: one per person or sequence, in the order of the page's list.
        notes: short paragraphs under the heading, plain text.

    Raises:
        TmorError: there are no clips, or the file can't be written.
    """
    if not clips:
        raise TmorError("no clips to report on; a report needs at least one")
    path = Path(path)
    if not path.parent.is_dir():
        raise TmorError(f"can't write report '{path}': there is no folder '{path.parent}'")
    page = _page(title, clips, notes)
    try:
        with whole_file(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise TmorError(f"can't write report '{path}': {error.strerror}") from error


def _page(title: str, clips: Sequence[ReportClip], notes: Sequence[str]) -> str:
    template = files("tmor.serve").joinpath("report.html").read_text(encoding="utf-8")
    text = script_data(_page_data(title, clips, notes))
    head, rest = template.split("{{title}}", 1)
    middle, tail = rest.split("{{data}}", 1)
    shown_title = html.escape(title).encode("utf-8", "replace").decode("utf-8")  # file names may hold lone surrogates
    return f"{head}{shown_title}{middle}{text}{tail}"


def script_data(content: dict) -> str:
    """JSON to stand in a page's script element: ASCII, and without <, > and &, so that nothing in it can end the
    element, or be taken for markup anywhere else."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _page_data(title: str, clips: Sequence[ReportClip], notes: Sequence[str]) -> dict:
    """What the page's script reads; labels and layouts are listed once and referred to by index."""
    labels: dict[str, int] = {}
    layouts: dict[Layout, int] = {}
    most_frames = min(MOST_FRAMES, max(60, MOST_FRAMES_PER_PAGE // len(clips)))
    shown = [clip_data(clip, most_frames, labels, layouts) for clip in clips]
    notes = [str(note) for note in notes]
    if thinned := sum(clip["thinned"] for clip in shown):
        which = "The track is" if len(clips) == 1 else f"{thinned} of {len(clips)} tracks are"
        notes.append(
            f"{which} long: the player shows at most {most_frames:,} evenly spaced frames of a track. "
            "Labels and scores are those of the whole track."
        )
    return {
        "title": str(title),
        "notes": notes,
        "labels": list(labels),
        "layouts": [layout_data(layout) for layout in layouts],
        "clips": shown,
    }


def clip_data(clip: ReportClip, most_frames: int, labels: dict[str, int], layouts: dict[Layout, int]) -> dict:
    """A clip as a page's script reads it; new labels and layouts get the next index.

    Coordinates are flat whole multiples of ``step``, None = unseen, of every ``stride``-th frame of the source; no more
    than ``most_frames`` frames.
    """

    def number(label: str) -> int:
        return labels.setdefault(str(label), len(labels))

    track = clip.track
    stride = 1 if track.fps is None else max(1, math.ceil(track.fps / MOST_FPS - 0.01))  # 15.1 fps passes as 15
    thinned = math.ceil(len(track) / stride) > most_frames
    if thinned:
        stride = math.ceil(len(track) / most_frames)
    points, step = _rounded(track.keypoints[::stride])
    return {
        "id": None if track.id is None else str(track.id),
        "layout": layouts.setdefault(track.layout, len(layouts)),
        "dims": track.dims,
        "fps": track.fps,
        "start_s": _plain(track.start_s, 3),
        "source_frames": len(track),
        "stride": stride,
        "thinned": thinned,
        "missing": _plain(track.missing_share, 6),
        "facing": _plain(facing(track), 4),
        "truth": None if clip.truth is None else number(clip.truth),
        "scores": [
            [number(label), _plain(p, 6)]
            for label, p in sorted(clip.probabilities.items(), key=lambda item: item[1], reverse=True)
        ],
        "segments": [
            [_plain(start, 3), _plain(end, 3), number(label), _plain(score, 6)]
            for start, end, label, score in sorted(clip.segments, key=lambda segment: segment[:2])
        ],
        "step": step,
        "points": points,
    }


def _plain(value: float, digits: int) -> float:
    return round(float(value), digits)


def _rounded(keypoints: np.ndarray) -> tuple[list[int | None], float]:
    """Coordinates as flat whole multiples of a step, None = unseen: the step is 1 mm or 0.1 px, or a finer power of ten
    where all keypoints together span less than 300 steps (as image coordinates from 0 to 1 do)."""
    seen = keypoints[~np.isnan(keypoints)].reshape(-1, keypoints.shape[-1])
    extent = float(np.ptp(seen, axis=0).max()) if len(seen) else 0.0
    digits = 3 if keypoints.shape[-1] == 3 else 1
    if extent > 0:
        digits = max(digits, -math.floor(math.log10(extent / 300)))
    scaled = np.round(keypoints.astype(np.float64).ravel() * 10.0**digits)
    return [None if math.isnan(value) else int(value) for value in scaled.tolist()], 10.0**-digits


def layout_data(layout: Layout) -> dict:
    """A layout as a page's script reads it; sides as in :func:`tmor.skeleton.drawing.joint_sides`."""
    return {
        "name": layout.name,
        "joints": list(layout.joints),
        "bones": layout.bone_indices.tolist(),
        "sides": joint_sides(layout).tolist(),
        "head": head_joint(layout),
    }
