"""Movements that are the same but for noise: the same video encoded again, the same person tracked twice."""

from __future__ import annotations

from functools import cache

import numpy as np

from tmor.errors import TmorError
from tmor.skeleton.canonical import prepare, stretch
from tmor.skeleton.tracks import Track

SIGNATURE_BYTES = 32

_FRAMES = 8
_FPS = 15.0
_NEAR_BITS = 3
_BANDS = _NEAR_BITS + 1  # of two signatures that differ in 3 bits, one quarter at least is the same


def signature(track: Track) -> bytes:
    """256 signs of random projections: 128 of the poses, relative to their place and size, and 128 of the movement
    alone, the poses less their mean, or two gestures of a person who otherwise stands still would be the same.

    Two at an angle of a degrees, as vectors, differ in about 0.7 a bits of 128: the same with 1 % of noise in one or
    two, two performances of one action in a dozen and more.

    Returns:
        32 bytes; all zero, which is like nothing else, where nobody is seen or shoulders or hips are missing.
    """
    try:
        x = prepare(track, fps=_FPS)
    except TmorError:
        return bytes(SIGNATURE_BYTES)
    x = stretch(x, _FRAMES)
    if x.shape[2] == 2:
        x = np.pad(x, ((0, 0), (0, 0), (0, 1)))
    seen = ~np.isnan(x[..., 0])
    if not seen.any():
        return bytes(SIGNATURE_BYTES)
    x = np.nan_to_num(x - x[seen].mean(axis=0))
    count = seen.sum(axis=0)[:, None].clip(min=1)
    moved = (x - x.sum(axis=0) / count) * seen[..., None]
    vectors = np.concatenate([x.ravel() @ _projection()[0], moved.ravel() @ _projection()[1]])
    return np.packbits(vectors > 0).tobytes()


@cache
def _projection() -> np.ndarray:
    # RandomState's stream is frozen for good; signatures of years ago must stay comparable.
    return np.random.RandomState(0).standard_normal((2, _FRAMES * 17 * 3, 4 * SIGNATURE_BYTES))


class Seen:
    """The movements so far; about a kilobyte of memory each."""

    def __init__(self) -> None:
        self._signatures: list[int] = []
        self._bands: dict[tuple[int, int], list[int]] = {}

    def find(self, own: bytes) -> int | None:
        """The number (in order of :meth:`add`) of a movement that differs in at most 3 bits of 256; None = none."""
        value = int.from_bytes(own, "big")
        if value == 0:
            return None
        for band in _bands(own):
            for n in self._bands.get(band, ()):
                if (self._signatures[n] ^ value).bit_count() <= _NEAR_BITS:
                    return n
        return None

    def add(self, own: bytes) -> None:
        """Remember a movement."""
        for band in _bands(own) if any(own) else ():
            self._bands.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(int.from_bytes(own, "big"))


def _bands(own: bytes) -> list[tuple[int, int]]:
    size = SIGNATURE_BYTES // _BANDS
    return [(i, int.from_bytes(own[i * size : (i + 1) * size], "big")) for i in range(_BANDS)]
