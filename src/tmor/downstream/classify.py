"""Classification with the training part's labels: linear probe (frozen encoder) and fine-tuning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from tmor.config import Augmentation
from tmor.downstream.benchmarks import Benchmark
from tmor.downstream.metrics import accuracy, mean_class_accuracy
from tmor.errors import TmorError
from tmor.model.model import Model
from tmor.posecap.triplets import Triplet
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import step_generator

_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


def linear_probe(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, *, seed: int = 0
) -> dict[str, Any]:
    """Logistic regression on frozen embeddings; its regularisation is chosen by cross-validation within the training
    part.

    Args:
        train, test: (n, d) and (m, d) L2-normalised embeddings.
        train_labels, test_labels: (n,) and (m,) int64.

    Returns:
        ``top1`` and ``mean_class`` in percent on the test part, and the inverse regularisation ``C`` that was chosen.
    """
    mean, scale = train.mean(axis=0), train.std(axis=0).mean() + 1e-9
    train, test = (train - mean) / scale, (test - mean) / scale
    folds = StratifiedKFold(
        min(3, int(np.bincount(train_labels)[np.unique(train_labels)].min())), shuffle=True, random_state=seed
    )

    def probe(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength / train.shape[1], max_iter=1000)

    scores = [cross_val_score(probe(c), train, train_labels, cv=folds).mean() for c in _STRENGTHS]
    best = _STRENGTHS[int(np.argmax(scores))]
    answer = probe(best).fit(train, train_labels).predict(test)
    return {
        "top1": 100 * accuracy(test_labels, answer),
        "mean_class": 100 * mean_class_accuracy(test_labels, answer),
        "C": best,
    }


def raw_nearest(benchmark: Benchmark, *, neighbours: int = 3, frames: int = 20) -> dict[str, Any]:
    """The anchor without learning: nearest neighbours of the normalised coordinates themselves, 3D seen from the
    front."""
    triplets = [Triplet("", "", tracks[0]) for tracks in benchmark.samples]
    clips = Clips.from_triplets(triplets, fps=15.0)
    x = clips.plain(torch.arange(len(clips)), frames=frames).flatten(1).numpy()
    train, test = benchmark.train, ~benchmark.train
    knn = KNeighborsClassifier(neighbours).fit(x[train], benchmark.labels[train])
    answer = knn.predict(x[test])
    return {"top1": 100 * accuracy(benchmark.labels[test], answer), "neighbours": neighbours}


def fine_tune(
    model: Model,
    benchmark: Benchmark,
    *,
    epochs: int = 20,
    batch: int = 32,
    learning_rate: float = 1e-3,
    encoder_share: float = 0.5,
    share: float = 1.0,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Model, dict[str, Any]]:
    """Train encoder and a new classification head on the training part.

    Args:
        model: where to start from; it is left as it is.
        learning_rate: of the head, falling as a cosine; the encoder's is ``encoder_share`` of it.
        share: of each class's training samples that is used (at least one).

    Returns:
        The fine-tuned model, whose ``spec.classes`` are the benchmark's, and ``top1`` and ``mean_class`` in percent on
        the test part.
    """
    if not 0 < share <= 1:
        raise TmorError(f"share is {share}; expected a number above 0, at most 1")
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for k in np.unique(benchmark.labels[benchmark.train]):
        rows = rng.permutation(np.flatnonzero(benchmark.train & (benchmark.labels == k)))
        chosen += rows[: max(1, round(share * len(rows)))].tolist()
    triplets = [Triplet("", "", track) for i in chosen for track in benchmark.samples[i]]
    labels = torch.tensor([int(benchmark.labels[i]) for i in chosen for _ in benchmark.samples[i]])
    clips = Clips.from_triplets(triplets, fps=model.spec.fps)
    torch.manual_seed(seed)
    tuned = Model(replace(model.spec, classes=benchmark.class_names))
    missing = tuned.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert set(missing) <= {"class_head.weight", "class_head.bias"}
    assert tuned.class_head is not None
    groups = [
        {"params": list(tuned.encoder.parameters()), "lr": learning_rate * encoder_share, "weight_decay": 0.05},
        {"params": list(tuned.class_head.parameters()), "lr": learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups)
    batches = math.ceil(len(clips) / batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / (epochs * batches)))
    )
    # Mirroring would turn one class into another where a class has a side.
    settings = Augmentation(mirror=0.0, camera_deg=60.0)
    for epoch in range(epochs):
        tuned.train()
        generator = step_generator(seed, 3, epoch)
        for done, ids in enumerate(torch.randperm(len(clips), generator=generator).split(batch)):
            progress("fine-tuning", epoch * batches + done, epochs * batches)
            if len(ids) > 1:
                never = torch.zeros(len(ids), dtype=torch.bool)
                x = clips.augmented(ids, never, frames=model.spec.clip_frames, settings=settings, generator=generator)
                loss = F.cross_entropy(tuned.class_head(tuned.encoder(x[:, None])), labels[ids], label_smoothing=0.1)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            schedule.step()
    tuned.eval()
    test = np.flatnonzero(~benchmark.train)
    with torch.inference_mode():
        features = torch.from_numpy(sample_features(tuned, benchmark, test))
        answer = tuned.class_head(features).argmax(dim=1).numpy()
    truth = benchmark.labels[test]
    return tuned, {
        "top1": 100 * accuracy(truth, answer),
        "mean_class": 100 * mean_class_accuracy(truth, answer),
        "epochs": epochs,
        "share": share,
        "samples": len(chosen),
        "seed": seed,
    }


def from_scratch(model: Model, *, seed: int = 0) -> Model:
    """The same model before any training, to compare with."""
    torch.manual_seed(seed)
    return Model(copy.deepcopy(model.spec))


def sample_features(model: Model, benchmark: Benchmark, rows: np.ndarray) -> np.ndarray:
    """(len(rows), features) encoder features of samples, averaged over their persons."""
    tracks = [track for i in rows for track in benchmark.samples[i]]
    counts = [len(benchmark.samples[i]) for i in rows]
    features = model.features(tracks)
    return np.stack([part.mean(axis=0) for part in np.split(features, np.cumsum(counts)[:-1])])
