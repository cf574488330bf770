"""Zero-shot recognition: the nearest class text, for classes that no training sample showed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tmor.downstream.metrics.classification import accuracy, harmonic_mean, mean_class_accuracy
from tmor.model.model import Model
from tmor.posecap.captions import plain_label
from tmor.teachers.cache import embed_texts

_SAME_NAME = 0.7


def zero_shot(
    model: Model,
    motion: np.ndarray,
    truth: np.ndarray,
    class_names: Sequence[str],
    *,
    seen: Collection[str] = (),
    unseen_classes: Sequence[int] = (),
    descriptions: bool = True,
) -> tuple[dict[str, Any], np.ndarray]:
    """Accuracy of naming movements by text alone, over all classes and without those that training had.

    Args:
        motion: (n, width) movements in the space of texts (:meth:`tmor.model.model.Model.project`).
        truth: (n,) int64 index into ``class_names``.
        seen: class names of the training data.
        unseen_classes: indices of the classes that a protocol holds out of training, for generalised zero-shot.
        descriptions: use our written descriptions beside the names.

    Returns:
        ``top1`` and ``mean_class`` in percent over all classes; ``shared``, the classes whose name, or one that
        means the same to the text teacher (cosine of at least 0.7), training had, with that name;
        ``top1_unseen`` over the other classes' samples, among the other classes only; ``per_class`` in percent;
        ``answers``, how often each class was the answer. With ``unseen_classes`` also ``held_out``, the accuracy on
        their samples among themselves, and ``generalised``: among all classes, on their samples (``unseen``), on the
        others' (``seen``) and the harmonic mean of the two. And (n,) int64, the answers among all classes.
    """
    scores = motion @ model.project_labels(class_names, descriptions=descriptions).T
    answer = scores.argmax(axis=1)
    shared = shared_names(model, class_names, seen)
    unseen = np.array([k for k, name in enumerate(class_names) if name not in shared], dtype=np.int64)
    of_unseen = np.isin(truth, unseen)
    answer_unseen = unseen[scores[of_unseen][:, unseen].argmax(axis=1)] if len(unseen) else np.zeros(0, np.int64)
    result = {
        "top1": 100 * accuracy(truth, answer),
        "mean_class": 100 * mean_class_accuracy(truth, answer),
        "chance": 100 / len(class_names),
        "shared": shared,
        "top1_unseen": 100 * accuracy(truth[of_unseen], answer_unseen) if of_unseen.any() else None,
        "chance_unseen": 100 / len(unseen) if len(unseen) else None,
        "per_class": {
            name: 100 * accuracy(truth[truth == k], answer[truth == k])
            for k, name in enumerate(class_names)
            if (truth == k).any()
        },
        "answers": {name: int((answer == k).sum()) for k, name in enumerate(class_names)},
    }
    if unseen_classes:
        columns = np.array(unseen_classes)
        own = np.isin(truth, columns)
        held_out = 100 * accuracy(truth[own], columns[scores[own][:, columns].argmax(axis=1)])
        new, old = 100 * accuracy(truth[own], answer[own]), 100 * accuracy(truth[~own], answer[~own])
        result |= {
            "held_out": held_out,
            "generalised": {"seen": old, "unseen": new, "harmonic_mean": harmonic_mean(old, new)},
        }
    return result, answer


def shared_names(model: Model, class_names: Sequence[str], seen: Collection[str]) -> dict[str, str]:
    """Which classes are no news to a model: class name -> the training name that means the same."""
    if not seen:
        return {}
    known = sorted(seen)
    names = embed_texts(model.teacher, [plain_label(name) for name in class_names])
    similarity = names @ embed_texts(model.teacher, [plain_label(name) for name in known]).T
    nearest = similarity.argmax(axis=1)
    return {name: known[nearest[k]] for k, name in enumerate(class_names) if similarity[k, nearest[k]] >= _SAME_NAME}
