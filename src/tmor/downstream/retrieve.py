"""Text-motion retrieval, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tmor.downstream.metrics import retrieval
from tmor.model.model import Model
from tmor.posecap.triplets import Triplet


def retrieve(model: Model, triplets: Sequence[Triplet]) -> dict[str, Any]:
    """How well captions find their movements and movements their captions.

    Of every clip the first caption counts. Clips with the same caption are all right answers to it.

    Returns:
        ``text_to_motion`` and ``motion_to_text``, each with R@1, R@5, R@10 in percent and the median rank; ``clips``
        and ``texts``, how many there were.
    """
    captioned = [t for t in triplets if t.texts]
    texts = list(dict.fromkeys(t.texts[0] for t in captioned))
    own = np.array([[text == t.texts[0] for t in captioned] for text in texts])
    motion = model.project(model.features([t.track for t in captioned]))
    similarity = model.project_texts(texts) @ motion.T
    return {
        "clips": len(captioned),
        "texts": len(texts),
        "text_to_motion": retrieval(similarity, own),
        "motion_to_text": retrieval(similarity.T, own.T),
    }
