"""A video again, with the people's skeletons and what they do drawn on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tmor.errors import TmorError
from tmor.model.segments import Segment
from tmor.pose.videos import probe, read_frames
from tmor.serve.predict import TrackResult
from tmor.skeleton.formats.files import check_new_file, whole_file
from tmor.skeleton.formats.persons import person_names, short_name
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track, sample_at

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
"""Of the persons, over and over: those of Okabe and Ito, which colour-blind people tell apart, too."""

_DARK, _LIGHT = "#000000", "#FFFFFF"
_TICKS = 90_000  # per second: finer than any camera's clock
_LONGEST = 200  # letters of a plate; few pictures have room for as many
_FINE = 2  # skeletons are drawn this many times larger, and made small again, for smooth edges


def write_overlay(
    path: str | Path,
    video: str | Path,
    results: Sequence[TrackResult],
    *,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Write a video again with skeletons, persons and what they do at the time drawn on each frame.

    H.264 in MP4, with the frames' own times, upright, without sound. Of an odd width or height the last pixel is cut
    off. Skeletons are drawn in unik17, the joints that the model sees; between poses they are interpolated. A person is
    named by the id without the video's name (``#1`` of ``clip#1``, ``#0`` of ``clip``), and not at all where there is
    only one. Labels in scripts that the font lacks (DejaVu Sans: Chinese, Japanese, Korean and more) come out as boxes.
    Memory does not grow with the video's length.

    Args:
        path: a new file that ends in ``.mp4``; it appears whole or not at all.
        video: what the results come from.
        results: of :func:`tmor.serve.predict.predict_file`; 2D, in pixels.
        progress: called with a word and the milliseconds of video done and in all (0 = not known).

    Raises:
        FormatError: ``video`` is not a video that can be read (:func:`tmor.pose.videos.probe`).
        TmorError: ``path`` exists, or can't be written; the results are 3D, or a package is missing.
    """
    path, video = Path(path), Path(video)
    check_new_file(path, [".mp4"])
    for result in results:
        if result.track.dims != 2:
            raise TmorError(f"track '{result.track.id}' is 3D; expected 2D in pixels of {video}")
    info = probe(video)
    ids = person_names([result.track for result in results])
    names = [""] if len(ids) == 1 else [short_name(id, video.stem) for id in ids]
    people = [
        _Person(result.track.to(UNIK17), result.segments, name, COLOURS[n % len(COLOURS)])
        for n, (result, name) in enumerate(zip(results, names, strict=True))
    ]
    pen = _Pen.of_size(info.width, info.height)

    def drawn() -> Iterator[tuple[float, Image]]:
        for frame in read_frames(video):
            progress("drawing", round(1000 * frame.time_s), round(1000 * (info.duration_s or 0)))
            yield frame.time_s, _drawn(frame.image, frame.time_s, people, pen)

    try:
        with whole_file(path) as file:
            _encode(file, drawn(), info.width // 2 * 2, info.height // 2 * 2, info.fps)
    except OSError as error:
        raise TmorError(f"{path}: can't be written: {error.strerror}") from error


@dataclass(frozen=True, eq=False)
class _Person:
    """Somebody as the model sees them, in its joints."""

    track: Track
    segments: Sequence[Segment]
    name: str
    colour: str

    def points(self, time_s: float) -> np.ndarray:
        """(joints, 2) at a time, NaN = unseen; all NaN before and after the person is there."""
        track = self.track
        last = len(track) - 1
        position = (time_s - track.start_s) * track.rate
        if not -0.5 < position < last + 1:
            return np.full(track.keypoints.shape[1:], np.nan, np.float32)
        position = min(max(position, 0.0), last)
        between = sample_at(track.keypoints, np.array([position]))[0]
        # Beside a pose that lacks a joint the nearest one counts; else the joint would flicker.
        return np.where(np.isnan(between), track.keypoints[round(position)], between)

    def text(self, time_s: float) -> str:
        """Who it is, and what they do at a time."""
        time_s = max(time_s, self.track.start_s)
        label = next((s.label for s in self.segments if s.start_s <= time_s < s.end_s), "")
        return " ".join(f"{self.name} {label}".split())


@dataclass(frozen=True, eq=False)
class _Pen:
    """How thick lines are at most, in pixels, and the letters."""

    line: float
    font: FreeTypeFont

    @classmethod
    def of_size(cls, width: int, height: int) -> _Pen:
        import matplotlib
        from PIL import ImageFont

        file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
        shorter = min(width, height)
        return cls(max(2.5, shorter / 180), ImageFont.truetype(str(file), max(12, round(shorter / 32))))


def _drawn(image: np.ndarray, time_s: float, people: Sequence[_Person], pen: _Pen) -> Image:
    """A frame (height, width, 3) uint8 with those drawn on it who are there."""
    from PIL import Image

    picture = Image.fromarray(image)
    boxes = [_draw_skeleton(picture, person, person.points(time_s), pen) for person in people]
    plates: list[_Box] = []
    for person, box in zip(people, boxes, strict=True):
        if box is not None and (text := person.text(time_s)):
            plates.append(_draw_plate(picture, text, person.colour, box, plates, pen))
    return picture


_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _draw_skeleton(picture: Image, person: _Person, points: np.ndarray, pen: _Pen) -> _Box | None:
    """Lines with a dark edge, which any background sets off; the box around what is in the picture, if anything is."""
    from PIL import Image, ImageDraw

    seen = ~np.isnan(points[:, 0])
    if not seen.any():
        return None
    low, high = points[seen].min(axis=0), points[seen].max(axis=0)
    width = min(pen.line, max(1.0, float((high - low).max()) / 40))
    edge = max(1.0, width / 3)
    dot = 0.9 * width
    margin = dot + edge + 1
    size = np.array(picture.size)
    corner = np.clip(np.floor(low - margin), 0, size).astype(int)
    patch_size = np.clip(np.ceil(high + margin), 0, size).astype(int) - corner
    if not (patch_size > 0).all():
        return None
    patch = Image.new("RGBA", (int(_FINE * patch_size[0]), int(_FINE * patch_size[1])))
    draw = ImageDraw.Draw(patch)
    fine = np.where(seen[:, None], _FINE * (points - corner), np.nan)
    bones = [(a, b) for a, b in UNIK17.bone_indices if seen[a] and seen[b]]
    for colour, more in ((_DARK, edge), (person.colour, 0.0)):
        for a, b in bones:
            draw.line(
                [*map(float, fine[a]), *map(float, fine[b])], fill=colour, width=round(_FINE * (width + 2 * more))
            )
        for x, y in fine[seen]:
            draw.circle((float(x), float(y)), _FINE * (dot + more), fill=colour)
    patch = patch.reduce(_FINE)
    picture.paste(patch, (int(corner[0]), int(corner[1])), patch)
    return (*map(float, low), *map(float, high))  # pyright: ignore (two of each)


def _draw_plate(picture: Image, text: str, colour: str, box: _Box, taken: Sequence[_Box], pen: _Pen) -> _Box:
    """Words on a plate of the person's colour above the person, or where other plates leave room; where it lies."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    font = pen.font
    padding = font.size / 4
    shown = text = text[:_LONGEST]
    while font.getlength(shown) > picture.width - 2 * padding and len(text) > 1:
        text = text[:-1]
        shown = f"{text.rstrip()}…"
    width, height = font.getlength(shown) + 2 * padding, 1.2 * font.size + padding
    left = min(max((box[0] + box[2] - width) / 2, 0), picture.width - width)
    lowest = max(picture.height - height, 0)
    # The topmost joint may be an eye: the hair has its place, too.
    wanted = min(max(box[1] - 0.08 * (box[3] - box[1]) - font.size / 3 - height, 0), lowest)
    beside = [other for other in taken if left < other[2] and other[0] < left + width]
    places = [wanted, *(y for other in beside for y in (other[1] - height, other[3]) if 0 <= y <= lowest)]
    free = [y for y in places if not any(y < other[3] and other[1] < y + height for other in beside)]
    # Rather further up than over the face.
    top = min(free, key=lambda y: max(wanted - y, 3 * (y - wanted)), default=wanted)
    plate = (left, top, left + width, top + height)
    draw.rounded_rectangle(plate, radius=padding, fill=colour, outline=_DARK, width=max(1, round(font.size / 14)))
    middle = (left + width / 2, top + height / 2)
    draw.text(middle, shown, font=font, fill=_ink(colour), anchor="mm")
    return plate


def _ink(colour: str) -> str:
    """Black or white, whichever stands out more on a colour (WCAG's relative luminance)."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return _DARK if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else _LIGHT


def _encode(file: BinaryIO, frames: Iterator[tuple[float, Image]], width: int, height: int, fps: float | None) -> None:
    import av

    with av.open(file, "w", format="mp4") as container:
        rate = Fraction(fps or 30).limit_denominator(10_000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for time_s, picture in frames:
            image = np.ascontiguousarray(np.asarray(picture)[:height, :width])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
