"""What is said about a clip: by captions, by its source itself, by a captioner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tmor.posecap.captioners import Captioner, Clip, PictureCaptioner
from tmor.posecap.captions import plain_label
from tmor.posecap.rows import Record
from tmor.posecap.shards import Shards
from tmor.posecap.texts import Caption, by_source, texts_of
from tmor.posecap.triplets import Triplet
from tmor.skeleton.formats.files import is_video, readable
from tmor.skeleton.tracks import Track
from tmor.teachers.frames import read_stretches

if TYPE_CHECKING:
    from tmor.posecap.sources import Source

_OURS = "tmor"  # the origin of our descriptions of a source's own labels
_PICTURE = 384  # pixels along a side of what captioners look at


class ClipTexts:
    """What is said about clips."""

    def __init__(self, captions: Sequence[Caption], captioner: Captioner | None) -> None:
        self._captions, self._groups, self._captioner = captions, by_source(captions), captioner
        self._elsewhere: tuple[str, ...] | None = None

    def first(self, source: Source, triplet: Triplet) -> tuple[tuple[Caption, ...], str | None]:
        """Texts and label of a new clip: what the captions say, then what the source itself says."""
        file = readable(source.path.name)
        kind, later, origin = ("caption", "caption", file)
        if triplet.label is not None:
            kind, later, origin = ("label", "description", _OURS)
        own = [Caption(source.name, text, kind=kind, origin=file) for text in triplet.texts[:1]]
        own += [Caption(source.name, text, kind=later, origin=origin) for text in triplet.texts[1:]]
        said = self._said(source.name, triplet.track)
        path = source.path if is_video(source.path) else None
        found = self._with_generated(said, own, path, triplet.track, triplet.label)
        return found, triplet.label or _label(found)

    def again(self, record: Record, path: Path | None) -> tuple[tuple[Caption, ...], str | None] | None:
        """Texts and label of an older triplet, as a new clip would get them; None where nothing new is said.

        New captions take the place of older ones; what the source itself says stays.
        """
        said = self._said(record.source, record.track)
        kept = [t for t in record.texts if t.kind != "generated" and (not said or _is_own(t, record.source))]
        label = record.label if not said or any(t.kind == "label" for t in kept) else None
        found = self._with_generated(said, kept, path, record.track, label)
        if not said and not any(t.kind == "generated" for t in found):
            return None
        return found, label or _label(found)

    def _said(self, source: str, track: Track) -> list[Caption]:
        return texts_of(self._groups, source, track.start_s, None if track.fps is None else track.end_s)

    def _with_generated(
        self, said: Sequence[Caption], own: Sequence[Caption], path: Path | None, track: Track, label: str | None
    ) -> tuple[Caption, ...]:
        """All texts, each once, and what the captioner says where they are a class name at most."""
        known = {caption.text: caption for caption in own}
        found: dict[str, Caption] = {}
        for caption in (*said, *own):
            found.setdefault(caption.text, known.get(caption.text, caption))  # what both say is the source's own
        captioner = self._captioner
        if captioner is not None and all(caption.kind == "label" for caption in found.values()):
            name = next(iter(found), label)
            end_s = None if track.fps is None else track.end_s
            for text in captioner(Clip(track, self._pictures(path, track.start_s, end_s), name)):
                found.setdefault(text, Caption("", text, kind="generated", origin=captioner.name))
        return tuple(found.values())

    def _pictures(self, path: Path | None, start_s: float, end_s: float | None) -> np.ndarray | None:
        """What a captioner that looks at pictures sees of a stretch; None where there is no video."""
        if path is None or end_s is None or not isinstance(self._captioner, PictureCaptioner):
            return None
        stretch = [(max(0.0, start_s), end_s)]
        _, pixels = next(read_stretches(path, stretch, frames=self._captioner.frames, size=_PICTURE))
        return None if pixels is None else pixels.permute(0, 2, 3, 1).numpy()

    def unused(self, sources: Sequence[Source], shards: Shards) -> list[str]:
        """Captions that are about no source that was given or is in the data set."""
        unused = list(self._elsewhere or ())
        names = {source.name for source in sources} | set(shards.column("source").column("source").to_pylist())
        used = {id(caption) for name in names for caption in texts_of(self._groups, name)}
        return unused + [caption_name(c.source, c.start_s) for c in self._captions if id(c) not in used]

    def leave(self, unused: tuple[str, ...]) -> None:
        """Note which captions a reader did not use; those that it uses nowhere are unused."""
        left = set(unused)
        self._elsewhere = unused if self._elsewhere is None else tuple(c for c in self._elsewhere if c in left)


def caption_name(source: str, start_s: float | None) -> str:
    return source if start_s is None else f"{source} at {start_s:g} s"


def _label(texts: Iterable[Caption]) -> str | None:
    return next((plain_label(t.text) for t in texts if t.kind == "label"), None)


def _is_own(text: Caption, source: str) -> bool:
    """Whether a source said this itself (its file, whose name ``source`` ends in up to ``#part``), not a file of
    captions."""
    return text.origin == _OURS or f"/{text.origin}#" in f"/{source}#"
