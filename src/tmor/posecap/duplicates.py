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
_BITS = 4 * (SIGNATURE_BYTES - 1)  # of the poses, and as many of the movement
_NEAR_BITS = 3
_BANDS = _NEAR_BITS + 1  # of two signatures that differ in 3 bits, one quarter at least is the same


def signature(track: Track) -> bytes:
    """The clip's length in steps of 6 %, and 248 signs of random projections: half of the poses, relative to their
    place and size, and half of the movement alone, the poses less their mean, or two gestures of a person who otherwise
    stands still would be the same. The way over the ground, the same for walking and running, does not count.

    Two at an angle of a degrees, as vectors, differ in about 0.7 a bits of 124: the same with 1 % of noise in one or
    two, two performances of one action in a dozen and more.

    Returns:
        32 bytes; all zero, which is like nothing else, where nobody is seen or shoulders or hips are missing.
    """
    try:
        x = prepare(track, fps=_FPS)
    except TmorError:
        return bytes(SIGNATURE_BYTES)
    length = min(255, round(12 * np.log2(len(x) + 1)))
    x = stretch(x, _FRAMES)
    if x.shape[2] == 2:
        x = np.pad(x, ((0, 0), (0, 0), (0, 1)))
    seen = ~np.isnan(x[..., 0])
    if not seen.any():
        return bytes(SIGNATURE_BYTES)
    x = np.nan_to_num(x)
    x = (x - x.sum(axis=1, keepdims=True) / seen.sum(axis=1)[:, None, None].clip(min=1)) * seen[..., None]
    moved = (x - x.sum(axis=0) / seen.sum(axis=0)[:, None].clip(min=1)) * seen[..., None]
    vectors = np.concatenate([x.ravel() @ _projection()[0], moved.ravel() @ _projection()[1]])
    return bytes([length]) + np.packbits(vectors > 0).tobytes()


@cache
def _projection() -> np.ndarray:
    # RandomState's stream is frozen for good; signatures of years ago must stay comparable.
    return np.random.RandomState(0).standard_normal((2, _FRAMES * 17 * 3, _BITS))


class Seen:
    """The movements so far; about a kilobyte of memory each."""

    def __init__(self) -> None:
        self._signatures: list[bytes] = []
        self._bands: dict[tuple[int, int], list[int]] = {}

    def find(self, own: bytes) -> int | None:
        """The number (in order of :meth:`add`) of a movement that differs in at most 3 bits, and in length by at most
        12 %; None = none."""
        length, value = own[0], int.from_bytes(own[1:], "big")
        for band in _bands(own):
            for n in self._bands.get(band, ()):
                other = self._signatures[n]
                if abs(other[0] - length) <= 1 and (int.from_bytes(other[1:], "big") ^ value).bit_count() <= _NEAR_BITS:
                    return n
        return None

    def add(self, own: bytes) -> None:
        """Remember a movement."""
        for band in _bands(own):
            self._bands.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(own)


def _bands(own: bytes) -> list[tuple[int, int]]:
    """(which band, its bits); none for what is like nothing else."""
    value, size = int.from_bytes(own[1:], "big"), 2 * _BITS // _BANDS
    return [(i, value >> (i * size) & ((1 << size) - 1)) for i in range(_BANDS)] if any(own) else []
