"""Text-motion retrieval, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from tmor.downstream.benchmarks.protocol import Published
from tmor.downstream.metrics.retrieval import retrieval_protocols
from tmor.errors import TmorError
from tmor.model.model import Model
from tmor.posecap.triplets import Triplet
from tmor.skeleton.canonical import is_seen
from tmor.teachers.cache import embed_texts


def first_of_each(triplets: Sequence[Triplet]) -> list[Triplet]:
    """The clip of each sequence's first caption, which alone counts in HumanML3D's protocols: of a motion whose other
    captions hold in other stretches of it there are several clips."""
    first: dict[str | None, Triplet] = {}
    for triplet in triplets:
        first.setdefault(triplet.track.id, triplet)
    return list(first.values())


def retrieve(
    model: Model,
    triplets: Sequence[Triplet],
    *,
    name: str,
    part: str | None = None,
    published: Sequence[Published] = (),
) -> dict[str, Any]:
    """How well captions find their movements and movements their captions, by TMR's four protocols.

    Of every clip the first caption counts.

    Args:
        triplets: clips; those without a text, or in which nobody is seen, are left out and counted.
        name: of the data set, and
        part: of the part of it, for the record.
        published: figures of others.

    Returns:
        model, benchmark, part, date, and under ``retrieve``: ``clips`` and ``protocols``
        (:func:`tmor.downstream.metrics.retrieval.retrieval_protocols`, with the model's text teacher as the sentence
        encoder).

    Raises:
        TmorError: no clip has a text.
    """
    usable = sorted((t for t in triplets if t.texts and is_seen(t.track)), key=lambda t: t.id)
    if not usable:
        raise TmorError(f"{name}: none of {len(triplets)} clips has a caption")
    texts = [t.texts[0] for t in usable]
    motion = model.project(model.features([t.track for t in usable]))
    rows = embed_texts(model.teacher, texts)
    similarity = model.project_texts(texts) @ motion.T
    return {
        "model": model.spec.name,
        "trained": {k: model.spec.training.get(k) for k in ("date", "clips", "sources")},
        "benchmark": name,
        "protocol": None,
        "part": part or "all",
        "seeds": [0],
        "skipped": {"no caption, or nobody is seen": len(triplets) - len(usable)},
        "date": date.today().isoformat(),
        "published": [[p.method, p.measure, p.value] for p in published],
        "retrieve": {
            "clips": len(usable),
            "protocols": retrieval_protocols(similarity, np.clip(rows @ rows.T, -1, 1)),
        },
    }
