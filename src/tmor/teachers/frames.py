"""What a video teacher looks at: a few frames of a stretch of a video, as square pictures."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tmor.errors import TmorError
from tmor.pose.videos import read_frames


def read_stretches(
    path: str | Path, stretches: Sequence[tuple[float, float]], *, frames: int, size: int
) -> Iterator[tuple[int, Tensor | None]]:
    """Evenly spaced frames of stretches of a video, which is decoded once, however many there are.

    A stretch is cut into ``frames`` equal parts, and of each the frame is taken that is on screen in its middle: a
    short stretch of a slow video may repeat frames. The whole picture is squeezed into a square, as ViCLIP's and
    SigLIP's authors do: a centre crop would lose people at the sides.

    Args:
        path: the video.
        stretches: (start, end) in seconds since the start of the file.
        frames: of a stretch.
        size: pixels along a side of the square.

    Yields:
        Which stretch, and its (frames, 3, size, size) uint8, RGB; None where the video ends before the stretch's last
        part. In the order of their ends; only those that overlap are in memory at once.

    Raises:
        FormatError: it is not a video, or not one frame can be decoded.
        TmorError: as :func:`check_stretch`, or PyAV is not installed.
    """
    for start, end in stretches:
        check_stretch(path, start, end)
    return _stretches(path, stretches, frames, size)


def check_stretch(path: str | Path, start_s: float, end_s: float) -> None:
    """Check that a stretch of a video can be one.

    Raises:
        TmorError: it does not end after its start, or starts before 0.
    """
    if not (math.isfinite(end_s) and 0 <= start_s < end_s):
        raise TmorError(f"{path}: stretch from {start_s} s to {end_s} s; expected 0 <= start < end")


def _stretches(
    path: str | Path, stretches: Sequence[tuple[float, float]], frames: int, size: int
) -> Iterator[tuple[int, Tensor | None]]:
    # The times that are waited for, the next one first: (time, stretch, part).
    due = deque(
        sorted(
            (start + (part + 0.5) / frames * (end - start), i, part)
            for i, (start, end) in enumerate(stretches)
            for part in range(frames)
        )
    )
    begun: dict[int, Tensor] = {}

    def show(image: np.ndarray, until: float) -> Iterator[tuple[int, Tensor]]:
        """The stretches that are complete with this picture, which is on screen until then."""
        if not (due and due[0][0] < until):
            return
        square = _square(image, size)
        while due and due[0][0] < until:
            _, i, part = due.popleft()
            pixels = begun.setdefault(i, torch.empty(frames, 3, size, size, dtype=torch.uint8))
            pixels[part] = square
            if part == frames - 1:
                yield i, begun.pop(i)

    last, step = None, 0.0
    for frame in read_frames(path):
        if last is not None:
            step = frame.time_s - last.time_s
            yield from show(last.image, frame.time_s)
            if not due:
                return
        last = frame
    assert last is not None  # read_frames would have raised
    # The last frame is on screen as long as the one before it, and longer for a part that has begun by then.
    end = last.time_s + step
    late = {i for _, i, _ in due if stretches[i][1] - (stretches[i][1] - stretches[i][0]) / frames >= end}
    due = deque(item for item in due if item[1] not in late)
    yield from show(last.image, math.inf)
    for i in sorted(late):
        yield i, None


def _square(image: np.ndarray, size: int) -> Tensor:
    """(h, w, 3) uint8 -> (3, size, size) uint8."""
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return x[0].round().clamp(0, 255).byte()


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Bytes (..., 3, h, w) -> float32, from 0 to 1 less ``mean``, divided by ``std``.

    Raises:
        ValueError: ``pixels`` are not bytes.
    """
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels are {pixels.dtype}; expected torch.uint8, RGB")
    scale = torch.tensor(std, device=pixels.device)[:, None, None] * 255
    return (pixels.float() - torch.tensor(mean, device=pixels.device)[:, None, None] * 255) / scale
