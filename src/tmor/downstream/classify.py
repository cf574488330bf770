"""Classification with the training part's labels: linear probe (frozen encoder) and fine-tuning."""

from __future__ import annotations

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
from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold
from tmor.errors import TmorError
from tmor.model.compute import PROCESSOR, Compute
from tmor.model.model import Model
from tmor.posecap.triplets import Triplet
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import epoch_order, step_generator
from tmor.skeleton.canonical import Stream, sees_depth
from tmor.skeleton.normalize import shown

_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
_RAW_FRAMES = 20
VARIED = Augmentation(mirror=0.0, camera_deg=50.0, shortest_crop=0.7, noise=0.02, drift=0.0, hidden=0.0)
"""How clips of fine-tuning are varied. Mirroring would turn one class into another where a class has a side."""


def raw_nearest(data: LabelledSet, fold: Fold, *, neighbours: int = 3) -> np.ndarray:
    """The anchor without learning: nearest neighbours of the normalised coordinates themselves, 3D seen from the front.

    Returns:
        (test samples,) int64 answers; of several persons the first counts.
    """
    train, test = np.flatnonzero(fold.train), np.flatnonzero(fold.test)
    clips = Clips.from_triplets([Triplet("", "", data.samples[i][0]) for i in [*train, *test]], fps=15.0)
    x = clips.plain(torch.arange(len(clips)), frames=_RAW_FRAMES).flatten(1).numpy()
    knn = KNeighborsClassifier(min(neighbours, len(train))).fit(x[: len(train)], data.labels[train])
    return knn.predict(x[len(train) :])


def linear_probe(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logistic regression on frozen embeddings; its regularisation is chosen by cross-validation within the training
    part.

    Args:
        train, test: (n, d) and (m, d) L2-normalised embeddings.
        train_labels: (n,) int64.

    Returns:
        (m,) int64 answers.

    Raises:
        TmorError: the training part shows a single class.
    """
    if len(np.unique(train_labels)) < 2:
        raise TmorError("the training part shows a single class; a linear probe needs at least two")
    mean, scale = train.mean(axis=0), train.std(axis=0).mean() + 1e-9
    train, test = (train - mean) / scale, (test - mean) / scale
    rarest = int(np.bincount(train_labels)[np.unique(train_labels)].min())

    def probe(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength / train.shape[1], max_iter=1000)

    best = _STRENGTHS[1]
    if rarest > 1:
        folds = StratifiedKFold(min(3, rarest), shuffle=True, random_state=0)
        scores = [cross_val_score(probe(c), train, train_labels, cv=folds).mean() for c in _STRENGTHS]
        best = _STRENGTHS[int(np.argmax(scores))]
    return probe(best).fit(train, train_labels).predict(test)


def fine_tune(
    model: Model,
    data: LabelledSet,
    fold: Fold,
    *,
    stream: Stream = "joint",
    epochs: int = 30,
    batch: int = 32,
    learning_rate: float = 4e-3,
    layer_decay: float = 0.85,
    probe: bool = True,
    balanced: bool = False,
    share: float = 1.0,
    clip_frames: int = 64,
    compute: Compute = PROCESSOR,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Model:
    """Train encoder and a new classification head on the training part of a fold.

    Args:
        model: where to start from; it is left as it is.
        stream: what the encoder is shown; several are fused late, by the mean of their probabilities. Where it
            is in 3D and that of ``model`` is not (or the other way round), all that multiplies coordinates starts anew,
            and nothing is probed or learns more slowly than the rest.
        learning_rate: of the head, falling as a cosine; each block of the encoder, going down, learns at
            ``layer_decay`` times the rate of the one above it.
        probe: the head starts as a linear probe of the encoder as it is, so that the encoder need not follow a head
            that knows nothing (Kumar et al. 2022). An encoder of random weights learns better without.
        balanced: every class is seen equally often.
        share: of each class's training samples that is used (at least one).
        clip_frames: of the fine-tuned model; quick gestures need as many (docs/experiments.md).
        compute: where and how precisely it is trained.

    Returns:
        The fine-tuned model, on the processor; its ``spec.classes`` are the set's. It names nothing by text.

    Raises:
        TmorError: the stream is in 3D, and a sample is not.
    """
    check_stream(data, stream)
    depth = sees_depth(stream)
    chosen = share_of(data.labels, fold.train, share, seed)
    clips = Clips.from_triplets(
        [Triplet("", "", track) for i in chosen for track in data.samples[i]], fps=model.spec.fps
    )
    labels = torch.tensor([int(data.labels[i]) for i in chosen for _ in data.samples[i]])
    torch.manual_seed(seed)
    # Neither the projection heads hold for the features to come, nor whitening, nor what the model knows of its
    # training's movements or of the place of use, nor the classes of an earlier fine-tuning.
    kept = replace(model.spec, width=0, teacher="", teacher_hash="", video_width=0, known=0, adapted=0)
    channels = 6 if depth else 2
    tuned = Model(replace(kept, classes=data.class_names, stream=stream, channels=channels, clip_frames=clip_frames))
    own = tuned.encoder.state_dict()
    start = {name: x for name, x in model.encoder.state_dict().items() if x.shape == own[name].shape}
    tuned.encoder.load_state_dict(own | start)
    head = tuned.class_head
    assert head is not None
    if len(start) < len(own):
        layer_decay = 1.0
    elif probe:
        _start_as_probe(head, model, tuned.features([track for i in chosen for track in data.samples[i]]), labels)
    tuned.to(compute.device)
    optimizer = torch.optim.AdamW(_rates(tuned, learning_rate, layer_decay), weight_decay=0.05)
    batches = math.ceil(len(clips) / batch)
    warmup = min(batches, 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / (epochs * batches))),
    )
    for epoch in range(epochs):
        tuned.train()
        generator = step_generator(seed, 3, epoch)
        order = epoch_order(labels, count=len(clips), balance=float(balanced), generator=generator)
        for done, ids in enumerate(order.split(batch)):
            progress("fine-tuning", epoch * batches + done, epochs * batches)
            if len(ids) > 1:
                never = torch.zeros(len(ids), dtype=torch.bool)
                x = clips.augmented(ids, never, frames=clip_frames, settings=VARIED, generator=generator, depth=depth)
                with compute.autocast():
                    features = tuned.encoder(tuned.alone(shown(x, stream)).to(compute.device))
                answers = head(features.float())
                loss = F.cross_entropy(answers, labels[ids].to(compute.device), label_smoothing=0.1)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            schedule.step()
    return tuned.cpu().eval()


def check_stream(data: LabelledSet, stream: Stream) -> None:
    """
    Raises:
        TmorError: the stream is in 3D, and a sample is not.
    """
    if sees_depth(stream):
        flat = sum(any(track.dims == 2 for track in tracks) for tracks in data.samples)
        if flat:
            raise TmorError(
                f"stream {stream} needs 3D; of {data.name}, {flat} of {len(data.samples)} samples are in 2D"
            )


def _start_as_probe(head: torch.nn.Linear, model: Model, features: np.ndarray, labels: torch.Tensor) -> None:
    """Set a head to the logistic regression of features, whitened as the pre-trained model has it and regularised by
    0.05 times their number per sample."""
    x = model.whitened(torch.from_numpy(features))
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0).mean() + 1e-9
    x = (x - mean) / scale
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = 0.05 * x.shape[1] / len(x) * head.weight.square().sum()
        value = F.cross_entropy(head(x), labels) + penalty
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        # Back to features as they are.
        head.weight /= scale
        head.bias.sub_(head.weight @ mean)
        head.weight.copy_(head.weight @ model.whitening.T)
        head.bias.sub_(head.weight @ model.centre)


def class_probabilities(tuned: Model, data: LabelledSet, rows: np.ndarray) -> np.ndarray:
    """(len(rows), classes) of a fine-tuned model, over all clips, views and persons of each sample: without chance."""
    head = tuned.class_head
    assert head is not None
    with torch.inference_mode():
        return head(torch.from_numpy(sample_features(tuned, data, rows))).softmax(dim=1).numpy()


def from_scratch(model: Model, *, seed: int = 0) -> Model:
    """The same model before any training, to compare with."""
    torch.manual_seed(seed)
    return Model(replace(model.spec, adapted=0))


def sample_features(model: Model, data: LabelledSet, rows: np.ndarray) -> np.ndarray:
    """(len(rows), features) encoder features of samples, averaged over their persons."""
    tracks = [track for i in rows for track in data.samples[i]]
    counts = [len(data.samples[i]) for i in rows]
    features = model.features(tracks)
    return np.stack([part.mean(axis=0) for part in np.split(features, np.cumsum(counts)[:-1])])


def check_share(share: float) -> None:
    """A share of training samples, checked.

    Raises:
        TmorError: it is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise TmorError(f"share is {share}; expected a number above 0, at most 1")


def share_of(labels: np.ndarray, train: np.ndarray, share: float, seed: int) -> list[int]:
    """The rows of the same share of every class's training samples, at least one of each.

    Raises:
        TmorError: the share is not above 0 and at most 1.
    """
    check_share(share)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for k in np.unique(labels[train]):
        rows = rng.permutation(np.flatnonzero(train & (labels == k)))
        chosen += rows[: max(1, round(share * len(rows)))].tolist()
    return chosen


def _rates(model: Model, rate: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups of the encoder, top block first, and of the head."""
    assert model.class_head is not None
    groups = [{"params": list(model.class_head.parameters()), "lr": rate}]
    blocks = list(model.encoder.blocks)
    for depth, block in enumerate(reversed(blocks), start=1):
        groups.append({"params": list(block.parameters()), "lr": rate * decay**depth})
    inside = {id(p) for group in groups for p in group["params"]}
    rest = [p for p in model.encoder.parameters() if id(p) not in inside]
    return [*groups, {"params": rest, "lr": rate * decay ** len(blocks)}]
