"""Movements that are the same but for noise: the same video encoded again, the same person tracked twice."""

from __future__ import annotations

from functools import cache

import numpy as np

from tmor.skeleton.canonical import prepare, stretch
from tmor.skeleton.tracks import Track

SIGNATURE_BYTES = 32

_FRAMES = 8
_FPS = 15.0
_NEAR_BITS = 3
_BANDS = _NEAR_BITS + 1  # of two signatures that differ in 3 bits, one quarter at least is the same


def signature(track: Track) -> bytes:
    """256 signs of random projections of the movement, relative to its place and size.

    Two movements at an angle of a degrees, as vectors, differ in about 1.4 a bits: the same one with 1 % noise in
    less than one, two performances of one action in dozens.
    """
    x = prepare(track, fps=_FPS)
    x = stretch(x, _FRAMES)
    if x.shape[2] == 2:
        x = np.pad(x, ((0, 0), (0, 0), (0, 1)))
    if np.isnan(x).all():
        return bytes(SIGNATURE_BYTES)
    x = np.nan_to_num(x - np.nanmean(x, axis=(0, 1)))
    return np.packbits(x.ravel().astype(np.float64) @ _projection() > 0).tobytes()


@cache
def _projection() -> np.ndarray:
    # RandomState's stream is frozen for good; signatures of years ago must stay comparable.
    return np.random.RandomState(0).standard_normal((_FRAMES * 17 * 3, 8 * SIGNATURE_BYTES))


class Seen:
    """The movements so far; about half a kilobyte of memory each."""

    def __init__(self) -> None:
        self._signatures: list[int] = []
        self._bands: dict[tuple[int, int], list[int]] = {}

    def find(self, own: bytes) -> int | None:
        """The number (in order of :meth:`add`) of a movement that differs in at most 3 bits of 256; None = none."""
        value = int.from_bytes(own, "big")
        for band in _bands(own):
            for n in self._bands.get(band, ()):
                if (self._signatures[n] ^ value).bit_count() <= _NEAR_BITS:
                    return n
        return None

    def add(self, own: bytes) -> None:
        """Remember a movement."""
        for band in _bands(own):
            self._bands.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(int.from_bytes(own, "big"))


def _bands(own: bytes) -> list[tuple[int, int]]:
    size = SIGNATURE_BYTES // _BANDS
    return [(i, int.from_bytes(own[i * size : (i + 1) * size], "big")) for i in range(_BANDS)]
