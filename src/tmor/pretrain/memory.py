"""What the training clips of each text look like: remembered, so that new labels can be read off similar texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tmor.config import PretrainConfig
from tmor.model.model import Model
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import step_generator

_MOST_TEXTS = 512
_MOST_CLIPS = 25


@torch.inference_mode()
def remember(
    model: Model,
    clips: Clips,
    text_rows: Tensor,
    config: PretrainConfig,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Model:
    """A model that knows the mean embedding of the clips of each text, of up to 512 texts, those with most clips.

    A label that training did not have is then compared with movements through the texts that are like it: the kernel
    ridge regression of class means on the teacher's embeddings. Of a text up to 25 clips count, as they are
    and from the front. Clips with the same texts are one.

    Args:
        model: on the CPU, with its whitening fitted.
        clips: of the training data.
        text_rows: (k, d) the teacher's embedding of each of ``clips.texts``.

    Returns:
        The same weights with ``known_texts`` and ``known_motions``; the model itself where no clip has a text or
        training had no text term.
    """
    if model.text_head is None:
        return model
    order = torch.randperm(len(clips), generator=step_generator(config.seed, 7))
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in order.tolist():
        texts = tuple(t for t in clips.text_ids[i].tolist() if t >= 0)
        if texts:
            groups.setdefault(texts, []).append(i)
    chosen = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST_TEXTS]
    if not chosen:
        return model
    rows = torch.tensor([i for _, ids in chosen for i in ids[:_MOST_CLIPS]])
    owner = torch.tensor([k for k, (_, ids) in enumerate(chosen) for _ in ids[:_MOST_CLIPS]])
    model.eval()
    embeddings = []
    for done, ids in enumerate(rows.split(64)):
        progress("remembering", 64 * done, len(rows))
        x = clips.plain(ids, frames=config.clip_frames)[:, None]
        embeddings.append(torch.from_numpy(model.unit(model.encoder(x).numpy())))
    total = torch.zeros(len(chosen), model.encoder.features).index_add(0, owner, torch.cat(embeddings))
    knowing = Model(replace(model.spec, known=len(chosen)))
    knowing.load_state_dict({k: v for k, v in model.state_dict().items() if "known" not in k}, strict=False)
    knowing.known_motions.copy_(total / torch.bincount(owner)[:, None])
    knowing.known_texts.copy_(
        F.normalize(torch.stack([text_rows[list(texts)].mean(dim=0) for texts, _ in chosen]), dim=1)
    )
    return knowing
