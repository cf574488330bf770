"""Video files: what is in them, their frames by presentation time, an id of their content."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmor.errors import FormatError, TmorError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame as AvFrame
    from av.video.stream import VideoStream

_log = logging.getLogger("tmor")

MIN_SIDE = 16
"""A picture with a shorter side than this, in pixels, shows no person."""

MAX_PIXELS = 7680 * 4320
"""A larger picture than 8K is a damaged or hostile header."""

MIN_STEP_S = 1 / 250
"""Frames that follow their predecessor faster than this are left out: no camera of ours, and no body, is that fast."""

# Only containers of video itself. Playlists (HLS, DASH, concat) would make the decoder open other files and addresses
# that an uploaded file names.
CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "flv", "asf"),
    *("ogg", "gif", "apng", "h264", "hevc", "m4v", "mjpeg", "ivf", "mxf", "nut", "dv", "yuv4mpegpipe", "wtv", "obu"),
)
_OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
_EXPECTED = "expected a video file (MP4, MOV, MKV, WebM, AVI, MPEG, ...)"


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself, and its first frame.

    Args:
        width, height: pixels of the picture as it is to be shown, after rotation.
        fps: nominal frames per second; None = not said. The frames' own times are what counts.
        duration_s: as the header says; None = not said.
        frames: as the header says; None = not said.
        rotation_deg: how far the stored picture was turned counterclockwise to be shown: 0, 90, 180 or 270.
    """

    width: int
    height: int
    fps: float | None
    duration_s: float | None
    frames: int | None
    rotation_deg: int


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One decoded frame.

    Args:
        time_s: presentation time in seconds since the start of the file.
        image: (height, width, 3) uint8 RGB, upright.
    """

    time_s: float
    image: np.ndarray


class Beat:
    """Which pictures to look at, of those that come: one about every so many seconds.

    Args:
        every_s: rounded to whole steps of the nominal rate, so that a regular video stays regular; None = all.
        fps: the nominal rate; None = not known.

    Attributes:
        fps: the rate of what is looked at; None = not known.
    """

    def __init__(self, every_s: float | None, fps: float | None) -> None:
        step = 1 / (fps or 25)
        self._every_s = None if every_s is None else max(round(every_s / step), 1) * step
        # Many files have rounded times, which may fall a little short of the beat.
        self._slack_s = 0.0 if self._every_s is None else min(self._every_s, step) / 2
        self._due_s = -math.inf
        self.fps = fps if fps is None or self._every_s is None else 1 / self._every_s

    def takes(self, time_s: float) -> bool:
        """Whether to look at the picture of this time; times increase."""
        if self._every_s is None:
            return True
        if time_s < self._due_s - self._slack_s:
            return False
        # On the beat where pictures come regularly; after a pause the beat starts anew.
        on_beat = self._due_s + self._every_s
        self._due_s = on_beat if on_beat > time_s + self._slack_s else time_s + self._every_s
        return True


def content_id(path: str | Path) -> str:
    """The SHA-256 of the file's bytes in hexadecimal; names and dates don't count.

    Raises:
        FormatError: the file isn't there or can't be read.
    """
    path = _checked(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: can't be read: {error.strerror}") from error


def probe(path: str | Path) -> VideoInfo:
    """What is in a video file, from its header and its first frame.

    Raises:
        FormatError: it is not a video, has sound alone, not one frame can be decoded, or its pictures are absurdly
            small or large.
        TmorError: PyAV is not installed.
    """
    path = _checked(path)
    with _opened(path) as (container, stream):
        for frame in _decoded(path, container, stream):
            return _info(container, stream, frame)
    raise FormatError(f"{path}: not one frame can be decoded (its video is {_said(stream)}); {_EXPECTED}")


def read_frames(path: str | Path, *, every_s: float | None = None) -> Iterator[VideoFrame]:
    """The frames of a video in order of presentation, one at a time.

    Times are the file's own, so a variable frame rate stays variable; they are strictly increasing. Frames are turned
    upright, and brought to the size of the first where the size changes on the way. Damaged stretches are left out
    with a logged warning, so is a missing end: what could be decoded counts.

    Args:
        path: the file.
        every_s: take a frame about every so many seconds; None = all. It is rounded to whole steps of the nominal
            frame rate, so that a regular video stays regular.

    Raises:
        FormatError: as :func:`probe`.
        TmorError: ``every_s`` is not positive, or PyAV is not installed.
    """
    if every_s is not None and not (math.isfinite(every_s) and every_s > 0):
        raise TmorError(f"every_s is {every_s}; expected a positive number of seconds, or None for every frame")
    return _frames(_checked(path), every_s)


def _frames(path: Path, every_s: float | None) -> Iterator[VideoFrame]:
    with _opened(path) as (container, stream):
        info: VideoInfo | None = None
        beat = Beat(None, None)
        size = (0, 0)
        start = 0.0
        last = -math.inf
        step = 1 / 25
        early = 0
        for frame in _decoded(path, container, stream):
            shown = _time_s(container, frame)
            if info is None:
                info, size = _info(container, stream, frame), (frame.width, frame.height)
                step, beat = 1 / (info.fps or 25), Beat(every_s, info.fps)
                # AVI knows no presentation times: decoding times run ahead by the decoder's delay.
                start = shown or 0.0 if container.format.name == "avi" else (container.start_time or 0) / 1e6
            # A file without times, or without those of its last frames, still has an order.
            time = max(last + step, 0.0) if shown is None else shown - start
            if not time - last >= MIN_STEP_S:
                early += 1
                continue
            step, last = (time - last if math.isfinite(last) else step), time
            if beat.takes(time):
                yield VideoFrame(time, upright(path, stream, frame, size))
        if info is None:
            raise FormatError(f"{path}: not one frame can be decoded (its video is {_said(stream)}); {_EXPECTED}")
        if early:
            _log.warning("%s: %d frames are left out, whose times do not come after those before", path, early)
        if info.duration_s is not None and last + max(1.0, 2 * step) < info.duration_s:
            _log.warning(
                "%s: ends at %.1f s, though it says that it lasts %.1f s; the file may be cut off",
                *(path, max(last, 0.0), info.duration_s),
            )


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise FormatError(f"{path}: is a folder; {_EXPECTED}")
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; {_EXPECTED}")
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: the file is empty; {_EXPECTED}")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    av = import_av()
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        with path.open("rb") as file:
            head = file.read(16)
        reason = "the file may be cut off" if head[4:8] in (b"ftyp", b"mdat", b"moov", b"wide") else _reason(error)
        raise FormatError(
            f"{path}: can't be read as a video: {reason} ({path.stat().st_size} bytes that begin {head!r}); {_EXPECTED}"
        ) from error
    with container:
        yield container, picture_stream(path, container)


def import_av() -> Any:
    """The package that decodes.

    Raises:
        TmorError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise TmorError("videos are read with PyAV, which is not installed; pip install 'tmor[video]'") from None
    return av


def upright(name: str | Path, stream: VideoStream, frame: AvFrame, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) uint8 RGB of a frame brought to ``size``, its width and height before it is turned.

    Raises:
        FormatError: the frame has no colours that can be made RGB.
    """
    try:
        image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    except ValueError as error:
        raise FormatError(f"{name}: its pictures ({_said(stream)}) can't be made RGB: {error}") from error
    return np.ascontiguousarray(np.rot90(image, _turns(frame)))


def picture_stream(name: str | Path, container: InputContainer) -> VideoStream:
    """The pictures of what was opened.

    Raises:
        FormatError: it has none, or of an absurd size, or they can't be decoded.
    """
    # A cover picture of a piece of music is a video stream, too.
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition).lower()]
    if not streams:
        found = sorted({f"{s.type} ({s.codec_context.name if s.codec_context else '?'})" for s in container.streams})
        raise FormatError(f"{name}: has no pictures, only {', '.join(found) or 'nothing'}; {_EXPECTED}")
    stream = streams[0]
    if stream.codec_context is None:
        raise FormatError(f"{name}: its pictures are in a format that can't be decoded; {_EXPECTED}")
    check_size(name, stream.width, stream.height)
    return stream


def _decoded(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[AvFrame]:
    """All frames that can be decoded; what can't is counted in the log at the end."""
    from av.error import FFmpegError

    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            _log.warning("%s: broken: %s; what comes before counts", path, error.strerror)
            break
        if packet is None:
            break
        try:
            frames = stream.decode(packet)
        except FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            check_size(path, frame.width, frame.height)
            yield frame
    if damaged:
        _log.warning("%s: %d damaged pieces could not be decoded and are left out", path, damaged)


def check_size(name: str | Path, width: int, height: int) -> None:
    """Check that pictures of this size can be a camera's and show a person.

    Raises:
        FormatError: they are too large, or too small.
    """
    if width * height > MAX_PIXELS:
        raise FormatError(f"{name}: its pictures are {width}x{height}; expected at most {MAX_PIXELS} pixels (8K)")
    if 0 < min(width, height) < MIN_SIDE:
        raise FormatError(f"{name}: its pictures are {width}x{height}; expected at least {MIN_SIDE} pixels a side")


def _info(container: InputContainer, stream: VideoStream, frame: AvFrame) -> VideoInfo:
    turns = _turns(frame)
    size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate
    seconds = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    fps = None if not rate or not 0 < float(rate) <= 1000 else float(rate)
    return VideoInfo(*size, fps, seconds if seconds and seconds > 0 else None, stream.frames or None, 90 * turns)


def _turns(frame: AvFrame) -> int:
    """Quarter turns counterclockwise that set the stored picture upright."""
    return round(frame.rotation / 90) % 4


def _time_s(container: InputContainer, frame: AvFrame) -> float | None:
    ticks = frame.dts if container.format.name == "avi" else frame.pts
    return None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)


def _said(stream: VideoStream) -> str:
    return f"{stream.codec_context.name}, {stream.width}x{stream.height}"


def _reason(error: Any) -> str:
    return getattr(error, "strerror", None) or str(error)
