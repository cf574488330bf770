"""Pictures as they come: cameras, network streams, and video files one picture after the other.

Whoever looks at live pictures more slowly than they come gets the newest one each time; those missed are counted.
Nothing is written anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tmor.errors import FormatError, TmorError
from tmor.pose.videos import (
    CONTAINERS,
    MIN_STEP_S,
    Beat,
    VideoFrame,
    check_size,
    import_av,
    picture_stream,
    probe,
    read_frames,
    upright,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_log = logging.getLogger("tmor")

_EVERY_S = 1 / 15  # about how often to look at a picture
_CAMERA_TIMEOUT_S = 5.0  # a camera that gives no picture for so long is broken
_POLL_S = 0.1  # how soon a wait notices that it shall end
_LEAP_S = 10.0  # a capture clock that leaps further has been set anew
_STEADY_S = 30.0  # a stream that went on for so long is sound: tries are counted from zero again
_UNDECODED = 3  # times the time-out, after which data without pictures are no better than none
_FASTEST = 240.0  # a nominal rate beyond is none

_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_STREAMS = ("rtsp", "rtsps", "http", "https")
# What a stream may make the decoder open. No playlists (HLS, DASH), no "file": an address must not reach into this
# machine's files.
_STREAM_OPTIONS = {
    "protocol_whitelist": "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy",
    "format_whitelist": ",".join((*CONTAINERS, "rtsp", "mpjpeg")),
    # Firewalls let TCP through, and it loses nothing; UDP is tried where the camera has no TCP.
    "rtsp_flags": "prefer_tcp",
    "fflags": "nobuffer",
    "analyzeduration": "2000000",
}


class Source:
    """Pictures one after the other; iterate it once.

    Args:
        name: for people to read; no password is in it.
        frames: with increasing times.
        fps: the steady rate at which they come; None = it is not known, or varies.
        real_time: wait until each picture is due.

    Attributes:
        live: whether pictures come by themselves, and are gone if nobody looks.
        dropped: pictures that came while an earlier one was looked at, and were not looked at themselves.
    """

    live = False

    def __init__(
        self, name: str, frames: Iterator[VideoFrame], *, fps: float | None = None, real_time: bool = False
    ) -> None:
        self.name, self.fps = name, fps
        self.dropped = 0
        self._frames, self._real_time = frames, real_time
        # Not an Event, whose lock a signal handler could find taken.
        self._stopped = False

    def __iter__(self) -> Iterator[VideoFrame]:
        begun: float | None = None
        for frame in self._frames:
            begun = time.monotonic() - frame.time_s if begun is None else begun
            while self._real_time and not self._stopped and (early := begun + frame.time_s - time.monotonic()) > 0:
                time.sleep(min(early, _POLL_S))
            if self._stopped:
                return
            yield frame

    def stop(self) -> None:
        """End the iteration before its next picture; may be called from a signal handler or another thread."""
        self._stopped = True

    def close(self) -> None:
        """Let go of what is read."""
        self.stop()


class LiveSource(Source):
    """Pictures that come by themselves: a thread reads on, and only the newest one is kept.

    What comes before the first picture is asked for does not count as dropped.

    Args:
        frames: blocks until each picture is there; its exceptions are raised where this is iterated, after its last
            picture. It is read in another thread.
        timeout_s: without a picture for so long the iteration ends with a :class:`tmor.errors.TmorError`.
    """

    live = True

    def __init__(self, name: str, frames: Generator[VideoFrame, None, None], *, timeout_s: float = math.inf) -> None:
        super().__init__(name, frames)
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._newest: VideoFrame | None = None
        self._asked = self._over = False
        self._error: Exception | None = None
        # A read that hangs in a driver must not keep the program from ending.
        self._thread = threading.Thread(target=self._read, args=(frames,), name=f"tmor {name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[VideoFrame]:
        self._asked = True
        while True:
            since = time.monotonic()
            with self._changed:
                while self._newest is None and not self._over and not self._stopped:
                    self._changed.wait(_POLL_S)
                    if time.monotonic() - since > self._timeout_s:
                        raise TmorError(f"{self.name}: no picture came for {self._timeout_s:g} s")
                frame, self._newest = self._newest, None
            if self._stopped:
                return
            if frame is not None:
                yield frame
            elif self._error is not None:
                raise self._error
            else:
                return

    def close(self) -> None:
        """Let go of what is read: at once, or where the reader hangs or waits, once it goes on."""
        self.stop()
        self._thread.join(timeout=1.0)

    def _read(self, frames: Generator[VideoFrame, None, None]) -> None:
        try:
            with contextlib.closing(frames):
                for frame in frames:
                    with self._changed:
                        self.dropped += self._asked and self._newest is not None
                        self._newest = frame
                        self._changed.notify()
                    if self._stopped:
                        break
        except Exception as error:  # handed to whoever iterates
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()


def open_camera(camera: str) -> LiveSource:
    """A camera of this machine, looked at 15 times a second.

    Args:
        camera: its number (0 is the first), or what the system calls it: a path such as ``/dev/video0`` on Linux, a
            name on macOS and Windows.

    Raises:
        TmorError: there is no such camera, it may not be read or is in use, or PyAV is not installed; says which
            cameras there are.
    """
    import_av()
    format = _CAMERAS.get(sys.platform)
    if format is None:
        raise TmorError(f"cameras can't be read on {sys.platform}; expected {', '.join(_CAMERAS)}")
    file = camera.strip()
    if file.isdecimal() and format == "v4l2":
        file = f"/dev/video{int(file)}"
    elif file.isdecimal() and format == "dshow":
        names = dict(_cameras(format))
        if file not in names:
            raise TmorError(f"camera {camera}: there is none; {_cameras_here(format)}")
        file = f"video={names[file]}"
    elif format == "dshow":
        file = f"video={file}"
    # Many Macs' cameras refuse the default rate.
    options = {"framerate": "30"} if format == "avfoundation" else {}
    line = _Line(f"camera {camera}", file, options, format=format, timeout_s=_CAMERA_TIMEOUT_S)
    try:
        line.open()
    except FormatError:
        raise
    except TmorError as error:
        number = getattr(error.__cause__, "errno", None)
        if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTTY, errno.EISDIR):
            why = f"there is no such camera ({file})"
        elif number in (errno.EACCES, errno.EPERM):
            why = f"this user may not read {file}" + (" (the group 'video' may)" if format == "v4l2" else "")
        elif number == errno.EBUSY:
            why = f"{file} is in use by another program"
        else:
            why = str(error).removeprefix(f"{line.name}: ")
        raise TmorError(f"{line.name}: {why}; {_cameras_here(format)}") from error
    # Some drivers hang rather than fail.
    return LiveSource(line.name, line.frames(), timeout_s=2 * _CAMERA_TIMEOUT_S)


def open_input(
    source: str,
    *,
    real_time: bool = False,
    timeout_s: float = 10.0,
    tries: int = 10,
    wait_s: float = 3.0,
) -> Source:
    """A video file, or a network stream (``rtsp://``, ``http://``, ...; not HLS, which is a list of files).

    Of its pictures 15 a second are looked at.

    Args:
        source: path or address.
        real_time: of a file, wait until each picture is due; else it goes as fast as it can. No picture is dropped.
        timeout_s: a stream that gives nothing for so long is dead, or broken.
        tries: how often a stream that broke is called again; counted anew once one has lasted for half a minute.
        wait_s: before each of these.

    Raises:
        FormatError: the file is no video, or the stream has no pictures that can be read.
        TmorError: nobody answers at the address, or it is none of a kind that is read; PyAV is not installed.
    """
    scheme, address, _ = source.partition("://")
    if not address:
        frames = read_frames(source, every_s=_EVERY_S)
        return Source(source, frames, fps=Beat(_EVERY_S, probe(source).fps).fps, real_time=real_time)
    name = _without_secrets(source)
    if scheme.lower() not in _STREAMS:
        raise TmorError(f"{name}: expected a file, or an address that begins with {'://, '.join(_STREAMS)}://")
    if not _host(source):
        raise TmorError(f"{name}: names no machine; expected an address such as rtsp://camera.local/live")
    if real_time:
        raise TmorError(f"{name}: comes as it comes; only a file can be slowed down to real time")
    line = _Line(name, source, _STREAM_OPTIONS, timeout_s=timeout_s, tries=tries, wait_s=wait_s)
    line.open()
    return LiveSource(name, line.frames())


class _Line:
    """The way to a camera or stream.

    Args:
        name: for people.
        file, options, format: for PyAV.
        timeout_s: without data, after which it is broken.
        tries, wait_s: as for :func:`open_input`; 0 tries = what broke stays broken.
    """

    def __init__(
        self,
        name: str,
        file: str,
        options: dict[str, str],
        *,
        format: str | None = None,
        timeout_s: float,
        tries: int = 0,
        wait_s: float = 0.0,
    ) -> None:
        self.name = name
        self._file, self._options, self._format = file, options, format
        self._timeout_s, self._tries, self._wait_s = timeout_s, tries, wait_s
        self._opened: tuple[InputContainer, VideoStream] | None = None
        self._size: tuple[int, int] | None = None
        self._clock = _Clock()

    def open(self) -> None:
        """Connect, for the first time or again.

        Raises:
            FormatError: there are no pictures that can be read.
            TmorError: it can't be reached; ``__cause__`` is PyAV's error.
        """
        av = import_av()
        asked = time.monotonic()
        try:
            container = av.open(
                self._file,
                format=self._format,
                options=self._options,
                timeout=(self._timeout_s, self._timeout_s),
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError) as error:
            raise TmorError(f"{self.name}: can't be opened: {self._reason(error, asked)}") from error
        try:
            self._opened = container, picture_stream(self.name, container)
        except FormatError:
            container.close()
            raise

    def frames(self) -> Generator[VideoFrame, None, None]:
        """The pictures on the beat as they come, over as many connections as it takes; it is open already.

        Raises:
            TmorError: it broke, and did not come back.
        """
        left = self._tries
        while True:
            begun = time.monotonic()
            broken = yield from self._pictures()
            if broken is None:
                return
            if time.monotonic() - begun > _STEADY_S:
                left = self._tries
            if left:
                _log.warning("%s: %s; calling again, up to %d times", self.name, broken, left)
            while broken is not None:
                if not left:
                    tried = f"; it did not come back in {self._tries} tries" if self._tries else ""
                    raise TmorError(f"{self.name}: {broken}{tried}")
                left -= 1
                time.sleep(self._wait_s)
                try:
                    self.open()
                    broken = None
                except TmorError as error:
                    broken = str(error).removeprefix(f"{self.name}: ")
            _log.warning("%s: is back", self.name)
            self._clock.anchor_s = None

    def _pictures(self) -> Generator[VideoFrame, None, str | None]:
        """Those of one connection; returns why it broke, None where a recording came to its end."""
        av = import_av()
        assert self._opened is not None
        container, stream = self._opened
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        beat = Beat(_EVERY_S, rate if 1 <= rate <= _FASTEST else None)
        with container:
            packets = container.demux(stream)
            shown = time.monotonic()
            while True:
                asked = time.monotonic()
                try:
                    packet = next(packets, None)
                except av.FFmpegError as error:
                    return f"broke: {self._reason(error, asked)}"
                if packet is None:
                    # Only a recording knows its length.
                    return None if container.duration else "ended"
                try:
                    frames = stream.decode(packet)
                except av.FFmpegError:
                    frames = []  # who joins midway first gets pictures that build on others
                if frames:
                    shown = time.monotonic()
                elif time.monotonic() - shown > _UNDECODED * self._timeout_s:
                    return f"no picture could be decoded for {_UNDECODED * self._timeout_s:g} s"
                for frame in frames:
                    check_size(self.name, frame.width, frame.height)
                    self._size = self._size or (frame.width, frame.height)
                    time_s = self._clock.time(frame.time)
                    if beat.takes(time_s):
                        yield VideoFrame(time_s, upright(self.name, stream, frame, self._size))

    def _reason(self, error: Exception, asked: float) -> str:
        # A time-out has many names.
        if time.monotonic() - asked >= self._timeout_s:
            return f"nothing came for {self._timeout_s:g} s"
        number = getattr(error, "errno", None)
        if self._opened is None and self._format is None:
            if number == errno.EINVAL:
                return "it is of a kind that is not read, such as a playlist (HLS, DASH)"
            if number == errno.EIO and not _known(host := _host(self._file)):
                return f"no machine is known by the name '{host}'"
        return getattr(error, "strerror", None) or str(error)


class _Clock:
    """Times by the capture clock, from 0 at the first picture; set by arrival where that clock leaps, or is silent."""

    def __init__(self) -> None:
        self.anchor_s: float | None = None
        """What the capture clock is ahead of our time; None = to be found with the next picture."""
        self._begun_s: float | None = None
        self._last_s = -math.inf

    def time(self, shown_s: float | None) -> float:
        """The next picture's time, larger than the last one's."""
        now_s = time.monotonic()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        arrived_s = max(now_s - self._begun_s, self._last_s + MIN_STEP_S)
        if shown_s is None:
            self.anchor_s = None
            self._last_s = arrived_s
        else:
            if self.anchor_s is None or not 0 < shown_s - self.anchor_s - self._last_s < _LEAP_S:
                self.anchor_s = shown_s - arrived_s
            self._last_s = shown_s - self.anchor_s
        return self._last_s


def _without_secrets(url: str) -> str:
    """An address without user, password and query, which often holds them, too."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    shown, question, _ = f"{place.rpartition('@')[2]}{slash}{path}".partition("?")
    return f"{scheme}://{shown}{question and '?...'}"


def _host(url: str) -> str:
    """The machine that an address names; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _known(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def _cameras(format: str) -> list[tuple[str, str]]:
    """Number and name of the cameras that the system knows of; none where it can't be asked."""
    if format == "v4l2":
        found = (
            (path.parent.name.removeprefix("video"), path) for path in Path("/sys/class/video4linux").glob("*/name")
        )
        names = {int(number): path.read_text().strip() for number, path in found if number.isdecimal()}
        return [(str(number), name) for number, name in sorted(names.items())]
    av = import_av()
    try:
        devices = av.enumerate_input_devices(format)
    except (AttributeError, av.FFmpegError, ValueError):  # an older PyAV, or one without devices
        return []
    names = [
        device.name if format == "dshow" else device.description for device in devices if "video" in device.media_types
    ]
    return [(str(number), name) for number, name in enumerate(names)]


def _cameras_here(format: str) -> str:
    found = ", ".join(f"{number} ({name})" for number, name in _cameras(format))
    return f"cameras here: {found or 'none'}"
