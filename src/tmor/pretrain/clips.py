"""The training set as dense arrays: any batch of augmented clips with their texts is a few gathers away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmor.config import Augmentation
from tmor.errors import TmorError
from tmor.posecap.captions import mirror_text
from tmor.posecap.triplets import Triplet
from tmor.skeleton.augment import augment, crop_positions
from tmor.skeleton.normalize import prepare, to_body, views_of
from tmor.skeleton.tracks import UNKNOWN_FPS

_LONGEST_S = 5.0


@dataclass(frozen=True, eq=False)
class Clips:
    """n clips of prepared skeletons.

    Args:
        points: (frames, 17, 3) float32 of all clips one after the other, y up, NaN = unseen, z = 0 for 2D.
        starts, lengths: (n,) int64: clip i is ``points[starts[i]:starts[i] + lengths[i]]``.
        longest: (n,) int64: no crop of clip i has more frames (5 s).
        is_3d: (n,) bool.
        sources: (n,) int64, index into ``source_names``.
        labels: (n,) int64, index into ``label_names``, -1 = none; for diagnostics, and clusters by label.
        texts: the k different texts, and
        mirrored: (k,) int64: the index of each one's mirror image.
        text_ids: (n, most) int64 the texts of each clip, the plainest first, padded with -1.
        videos: (n, d) float32 video embeddings, NaN = none; d is 0 where there is no video at all.
    """

    points: Tensor
    starts: Tensor
    lengths: Tensor
    longest: Tensor
    is_3d: Tensor
    sources: Tensor
    source_names: tuple[str, ...]
    labels: Tensor
    label_names: tuple[str, ...]
    texts: tuple[str, ...]
    mirrored: Tensor
    text_ids: Tensor
    videos: Tensor

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def from_triplets(cls, triplets: Sequence[Triplet], *, fps: float) -> Clips:
        """Prepare every track (:func:`tmor.skeleton.normalize.prepare`); one in which nobody is seen is an error."""
        if not triplets:
            raise TmorError("there are no clips to train on")
        arrays, texts = [], {}
        for triplet in triplets:
            x = prepare(triplet.track, fps=fps)
            arrays.append(x if x.shape[2] == 3 else np.pad(x, ((0, 0), (0, 0), (0, 1))))
            for text in triplet.texts:
                texts.setdefault(text, len(texts))
        for text in list(texts):
            texts.setdefault(mirror_text(text), len(texts))
        # Mirroring is its own inverse only up to spelling (counter-clockwise); one application is enough.
        sources = {name: i for i, name in enumerate(dict.fromkeys(t.source for t in triplets))}
        labels = {name: i for i, name in enumerate(sorted({t.label for t in triplets if t.label is not None}))}
        most = max(1, max(len(t.texts) for t in triplets))
        text_ids = torch.full((len(triplets), most), -1)
        for i, triplet in enumerate(triplets):
            text_ids[i, : len(triplet.texts)] = torch.tensor([texts[t] for t in triplet.texts], dtype=torch.long)
        width = max((len(t.video) for t in triplets if t.video is not None), default=0)
        videos = torch.full((len(triplets), width), torch.nan)
        for i, triplet in enumerate(triplets):
            if triplet.video is not None:
                videos[i] = torch.from_numpy(np.asarray(triplet.video, dtype=np.float32))
        lengths = torch.tensor([len(x) for x in arrays])
        known = torch.tensor([t.track.fps is not None for t in triplets])
        return cls(
            points=torch.from_numpy(np.concatenate(arrays)),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            longest=torch.where(known, round(_LONGEST_S * fps), round(_LONGEST_S * UNKNOWN_FPS)),
            is_3d=torch.tensor([t.track.dims == 3 for t in triplets]),
            sources=torch.tensor([sources[t.source] for t in triplets]),
            source_names=tuple(sources),
            labels=torch.tensor([-1 if t.label is None else labels[t.label] for t in triplets]),
            label_names=tuple(labels),
            texts=tuple(texts),
            mirrored=torch.tensor([texts.get(mirror_text(text), i) for text, i in texts.items()], dtype=torch.long),
            text_ids=text_ids,
            videos=videos,
        )

    def augmented(
        self,
        ids: Tensor,
        mirrored: Tensor,
        *,
        frames: int,
        settings: Augmentation,
        generator: torch.Generator,
        turned: Tensor | None = None,
        share: slice = slice(None),
        depth: bool = False,
    ) -> Tensor:
        """A random view of each clip, of its mirror image where ``mirrored``: (b, frames, 17, 2) body-relative, or 3
        channels with ``depth``.

        3D clips are seen from ``turned`` radians to the person's left (None: the front) and to either side of there.
        With ``share`` those of the batch's clips alone, the same as without, and the same numbers are drawn.
        """
        positions = crop_positions(
            self.lengths[ids],
            frames=frames,
            longest=self.longest[ids],
            shortest=settings.shortest_crop,
            warp=settings.warp,
            generator=generator,
        )
        x = self._gather(ids[share], positions[share])
        return augment(
            x,
            is_3d=self.is_3d[ids],
            mirrored=mirrored,
            turned=turned,
            settings=settings,
            generator=generator,
            share=share,
            depth=depth,
        )

    def held(
        self,
        ids: Tensor,
        mirrored: Tensor,
        *,
        frames: int,
        settings: Augmentation,
        generator: torch.Generator,
        depth: bool = False,
    ) -> Tensor:
        """As :meth:`augmented`, but frame by frame from each clip's start; a short one's last frame is held."""
        positions = torch.minimum(torch.arange(frames, dtype=torch.float64), (self.lengths[ids] - 1)[:, None].double())
        x = self._gather(ids, positions)
        return augment(x, is_3d=self.is_3d[ids], mirrored=mirrored, settings=settings, generator=generator, depth=depth)

    def plain(self, ids: Tensor, *, frames: int) -> Tensor:
        """The middle of each clip as it is, 3D from the front: (b, frames, 17, 2) body-relative."""
        usable = torch.minimum(self.lengths[ids], self.longest[ids]).double() - 1
        start = (self.lengths[ids] - 1 - usable) / 2
        x = self._gather(ids, start[:, None] + usable[:, None] * torch.linspace(0, 1, frames, dtype=torch.float64))
        flat = torch.where(self.is_3d[ids][:, None, None, None], views_of(x, [0.0])[0], x[..., :2])
        return to_body(flat)

    def text_weights(
        self, ids: Tensor, mirrored: Tensor, *, plain: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """How much each text says about each clip this time: a random mixture of the clip's texts.

        Args:
            mirrored: (b,) bool: the texts are those of the mirror image.
            plain: share of clips for which the plainest text speaks alone.

        Returns:
            (b, most) int64 index into ``texts``, and (b, most) float32 how much each says: rows sum to 1, or to 0
            where the clip has no text. What pads a row says nothing.
        """
        texts = self.text_ids[ids]
        there = texts >= 0
        weight = torch.empty(texts.shape).exponential_(generator=generator) * there
        alone = torch.rand(len(ids), generator=generator) < plain
        weight[alone] = torch.eye(1, texts.shape[1]) * there[alone]
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-9)
        return torch.where(mirrored[:, None] & there, self.mirrored[texts], texts).clamp(min=0), weight

    def key_texts(self, ids: Tensor, mirrored: Tensor) -> Tensor:
        """(b,) the plainest text of each clip, which says whether two clips say the same; -1 = it has none."""
        text = self.text_ids[ids, 0]
        return torch.where(mirrored & (text >= 0), self.mirrored[text], text)

    def _gather(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Linear interpolation at fractional frames: (b, frames) -> (b, frames, 17, 3)."""
        low = positions.floor().long()
        weight = (positions - low).float()[..., None, None]
        high = torch.minimum(low + 1, (self.lengths[ids] - 1)[:, None])
        start = self.starts[ids][:, None]
        a, b = self.points[start + low], self.points[start + high]
        return torch.where(b.isnan(), a, torch.where(a.isnan(), b, a + (b - a) * weight))
