"""Model: the motion encoder, its projection heads, and what is needed to use them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmor.errors import CheckpointError, TmorError
from tmor.model.projection import ProjectionHead
from tmor.model.unik import UNIK, UnikShape
from tmor.posecap.captions import describe
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import prepare, stretch, to_body, to_bones, views_of
from tmor.skeleton.tracks import Track
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import TextTeacher, load_text_teacher

_BATCH = 64
_FRAME_WINDOW = 64


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, beside its weights.

    Args:
        name: for people.
        shape: sizes of the encoder.
        channels, joints: of its input; the layout is unik17 where there are 17 joints.
        stream: the encoder sees joints, or bones (each joint relative to the one that carries it).
        fps: the rate that tracks are brought to.
        clip_frames: frames of a clip as the encoder was trained on.
        longest_s: a track up to this long is one clip; a longer one is cut into windows of 0.6 of it, half overlapping.
        views_deg: cameras around the front of a 3D person that are averaged.
        width: of the common space of the projection heads; 0 = the model has none (an imported encoder).
        teacher, teacher_hash, teacher_width: the text teacher that the text head was trained with.
        video_width: of the video teacher's embeddings; 0 = no video head.
        classes: what the classification head tells apart, after fine-tuning; empty = there is no such head.
        temperature: divides cosine similarities of motion and text when probabilities are asked for.
        training: how the weights came about: config, data, date.
    """

    name: str
    shape: UnikShape
    channels: int = 2
    joints: int = 17
    stream: Literal["joint", "bone"] = "joint"
    fps: float = 15.0
    clip_frames: int = 32
    longest_s: float = 5.0
    views_deg: tuple[float, ...] = (-40.0, 0.0, 40.0)
    width: int = 256
    teacher: str = "offline"
    teacher_hash: str = ""
    teacher_width: int = 384
    video_width: int = 0
    classes: tuple[str, ...] = ()
    temperature: float = 0.07
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def longest_frames(self) -> int:
        """The longest single clip of a track whose rate is unknown: as if it were twice the model's."""
        return round(2 * self.longest_s * self.fps)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the tracks show, among the labels offered.

    Args:
        labels: the k labels.
        probabilities: (n, k) float32, rows sum to 1.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def best(self) -> tuple[str, ...]:
        """The most probable label of each track."""
        return tuple(self.labels[i] for i in self.probabilities.argmax(axis=1))


@dataclass(frozen=True)
class Segment:
    """An action within a track; times in seconds of the source, ``end_s`` exclusive."""

    start_s: float
    end_s: float
    label: str
    score: float


class Model(nn.Module):
    """A trained motion encoder with its projection heads.

    Made by :func:`tmor.load_model` or by pre-training; the weights are random only when constructed directly.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = UNIK(spec.shape, channels=spec.channels, joints=spec.joints)
        self.motion_head = ProjectionHead(self.encoder.features, spec.width) if spec.width else None
        self.text_head = ProjectionHead(spec.teacher_width, spec.width) if spec.width and spec.teacher else None
        self.video_head = ProjectionHead(spec.video_width, spec.width) if spec.width and spec.video_width else None
        self.class_head = nn.Linear(self.encoder.features, len(spec.classes)) if spec.classes else None
        self.examples: dict[str, np.ndarray] = {}

    @cached_property
    def teacher(self) -> TextTeacher:
        """The text teacher, loaded on first use.

        Raises:
            CheckpointError: the teacher at hand has other weights than the one the model was trained with.
        """
        teacher = load_text_teacher(self.spec.teacher)
        if teacher.hash != self.spec.teacher_hash:
            raise CheckpointError(
                f"model '{self.spec.name}' was trained with text teacher '{self.spec.teacher}' of weights "
                f"{self.spec.teacher_hash}; the one at hand has {teacher.hash}"
            )
        return teacher

    def features(self, tracks: Sequence[Track]) -> np.ndarray:
        """The encoder's features of whole tracks: the mean over each track's clips and views.

        Returns:
            (len(tracks), features) float32.

        Raises:
            TmorError: a track has no visible joint.
        """
        total = torch.zeros(len(tracks), self.encoder.features)
        # Bounded memory: a few tracks' clips at a time, but as many as fill a batch.
        pending: list[Tensor] = []
        owners: list[int] = []
        for i, track in enumerate(tracks):
            clips, _ = self._clips(track)
            pending.append(clips)
            owners += [i] * len(clips)
            if len(owners) >= _BATCH or i == len(tracks) - 1:
                of = torch.tensor(owners)
                weight = 1 / torch.bincount(of)[of].float()
                total.index_add_(0, of, self._encode(pending) * weight[:, None])
                pending, owners = [], []
        return total.numpy()

    def embed(self, tracks: Sequence[Track]) -> np.ndarray:
        """Embeddings of whole tracks, from the encoder (:meth:`unit`).

        Returns:
            (len(tracks), features) float32, L2-normalised.

        Raises:
            TmorError: a track has no visible joint.
        """
        return self.unit(self.features(tracks))

    def unit(self, features: np.ndarray) -> np.ndarray:
        """Features to compare by cosine: standardised by their mean and spread over the training data, where the model
        has projection heads, then L2-normalised.

        Without the first, what all movements have in common would outweigh what tells them apart.

        Args:
            features: (n, features) as :meth:`features` gives them.
        """
        rows = torch.from_numpy(features)
        if self.motion_head is not None:
            rows = self.motion_head.standardise(rows)
        return F.normalize(rows, dim=1).numpy()

    def frame_features(self, track: Track) -> tuple[np.ndarray, np.ndarray]:
        """The encoder's features over time, for tracks of any length in bounded memory.

        Windows of 64 frames at the model's rate overlap by half; where two meet, each counts the less the nearer its
        edge is. The features of 3D persons are the mean over the views.

        Returns:
            (m, features) float32, one row per 4 frames at the model's rate, and (m,) float64, their times in seconds of
            the source (as if at twice the model's rate where the track's is unknown).

        Raises:
            TmorError: the track has no visible joint.
        """
        x = self._prepared(track)
        size, hop, stride = _FRAME_WINDOW, _FRAME_WINDOW // 2, 4
        count = math.ceil(len(x) / stride)
        starts = list(range(0, max(1, len(x) - hop), hop))
        total = torch.zeros(count + size // stride, self.encoder.features)
        weights = torch.zeros(len(total), 1)
        ramp = 1 - (torch.linspace(-1, 1, size // stride + 2)[1:-1]).abs()
        self.eval()
        for first in range(0, len(starts), _BATCH):
            part = starts[first : first + _BATCH]
            rows = np.minimum(np.array(part)[:, None] + np.arange(size), len(x) - 1)
            clips = self._views(torch.from_numpy(x[rows]), track.dims)
            with torch.inference_mode():
                found = self.encoder.frames(self.alone(clips.flatten(0, 1)))
            found = found.unflatten(0, clips.shape[:2]).mean(dim=1)
            for start, row in zip(part, found, strict=True):
                at = start // stride
                total[at : at + len(row)] += row * ramp[:, None]
                weights[at : at + len(row), 0] += ramp
        step = stride / self.spec.fps if track.fps is not None else stride / (2 * self.spec.fps)
        return (total / weights.clamp(min=1e-9))[:count].numpy(), track.start_s + step * np.arange(count)

    def alone(self, clips: Tensor) -> Tensor:
        """(n, frames, joints, channels) of one person each -> what the encoder takes, its other person slots being
        empty."""
        slots = self.spec.shape.persons or 1
        return F.pad(clips[:, None], (0, 0, 0, 0, 0, 0, 0, slots - 1))

    def project(self, features: np.ndarray) -> np.ndarray:
        """Movements in the space of texts.

        Args:
            features: (n, features) as :meth:`features` gives them.

        Returns:
            (n, width) float32, L2-normalised.
        """
        if self.motion_head is None:
            raise TmorError(f"model '{self.spec.name}' has no projection heads and can't compare movements with text")
        with torch.inference_mode():
            return self.motion_head(torch.from_numpy(features)).numpy()

    def project_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts in the space of movements.

        Returns:
            (len(texts), width) float32, L2-normalised.
        """
        if self.text_head is None:
            raise TmorError(f"model '{self.spec.name}' has no text head; it can't name actions by text")
        rows = torch.from_numpy(embed_texts(self.teacher, texts))
        with torch.inference_mode():
            return self.text_head(rows).numpy()

    def project_labels(self, labels: Sequence[str], *, descriptions: bool = True) -> np.ndarray:
        """One embedding per label, from all its texts (:func:`tmor.posecap.captions.describe`).

        It is half the direction of the mean of the projected texts and half the projection of the texts' mean: the
        second is what training saw most, the first holds on better for classes that it did not see.

        Returns:
            (len(labels), width) float32, at most of length 1; the less the two agree, the shorter.
        """
        if self.text_head is None:
            raise TmorError(f"model '{self.spec.name}' has no text head; it can't name actions by text")
        groups = [describe(label) if descriptions else describe(label)[:1] for label in labels]
        rows = torch.from_numpy(embed_texts(self.teacher, [text for group in groups for text in group]))
        parts = rows.split([len(group) for group in groups])
        with torch.inference_mode():
            of_mean = self.text_head(F.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1))
            mean_of = F.normalize(torch.stack([self.text_head(part).mean(dim=0) for part in parts]), dim=1)
        return ((of_mean + mean_of) / 2).numpy()

    def classify(self, tracks: Sequence[Track], labels: Sequence[str] | None = None) -> Prediction:
        """Which of the labels each track shows.

        Args:
            labels: told apart by their texts, and by example where they were enrolled. None: the classes that the
                model was fine-tuned for.

        Raises:
            TmorError: no labels, a label twice, or an empty label; a track has no visible joint.
        """
        names, probabilities = self._probabilities(torch.from_numpy(self.features(tracks)), labels)
        return Prediction(names, probabilities.numpy())

    def detect(self, track: Track, labels: Sequence[str] | None = None) -> list[Segment]:
        """What the track shows when: windows are classified, and neighbours of the same label joined.

        A track no longer than a clip is one segment. Where the rate is unknown, frames count as if at twice the
        model's rate.
        """
        clips, spans = self._clips(track)
        names, probabilities = self._probabilities(self._encode([clips]), labels)
        step = 1 / track.fps if track.fps else 0.5 / self.spec.fps
        # A window answers for its own middle part, half-way to its neighbours.
        cuts = [spans[0][0], *((a[1] + b[0]) / 2 for a, b in itertools.pairwise(spans)), spans[-1][1]]
        segments: list[Segment] = []
        for i, row in enumerate(probabilities):
            label, score = names[int(row.argmax())], float(row.max())
            start, end = (track.start_s + cut * len(track) * step for cut in cuts[i : i + 2])
            if segments and segments[-1].label == label:
                last = segments[-1]
                weight = (end - start) / (end - last.start_s)
                segments[-1] = replace(last, end_s=end, score=last.score * (1 - weight) + score * weight)
            else:
                segments.append(Segment(start, end, label, score))
        return segments

    def enroll(self, examples: Mapping[str, Sequence[Track]]) -> Model:
        """A model that also knows actions by example: few-shot enrolment.

        Args:
            examples: 1 or more tracks per label. A label that is enrolled again gets the new examples alone.

        Returns:
            A new model with the same weights.
        """
        other = Model(replace(self.spec))
        other.load_state_dict(self.state_dict())
        other.eval()
        other.examples = dict(self.examples)
        for label, tracks in examples.items():
            if not tracks:
                raise TmorError(f"label '{label}' is enrolled with no example; expected at least one track")
            other.examples[check_labels([label])[0]] = self.embed(tracks)
        return other

    def _probabilities(self, features: Tensor, labels: Sequence[str] | None) -> tuple[tuple[str, ...], Tensor]:
        """(n, features) -> the labels, and (n, labels) that sum to 1."""
        if labels is not None:
            names = check_labels(labels)
            return names, (self._similarity(features, names) / self.spec.temperature).softmax(dim=1)
        if self.class_head is None:
            raise TmorError(f"model '{self.spec.name}' has no classes of its own; give labels")
        with torch.inference_mode():
            return self.spec.classes, self.class_head(features).softmax(dim=1)

    def _similarity(self, features: Tensor, labels: tuple[str, ...]) -> Tensor:
        """(n, features) -> (n, labels) cosines: with the text, or the mean example where the label was enrolled."""
        columns: dict[str, Tensor] = {}
        by_text = [label for label in labels if label not in self.examples]
        with torch.inference_mode():
            if by_text:
                scores = torch.from_numpy(self.project(features.numpy()) @ self.project_labels(by_text).T)
                columns |= dict(zip(by_text, scores.T, strict=True))
            for label in labels:
                if label in self.examples:
                    centre = F.normalize(torch.from_numpy(self.examples[label]).mean(dim=0), dim=0)
                    columns[label] = torch.from_numpy(self.unit(features.numpy())) @ centre
        return torch.stack([columns[label] for label in labels], dim=1)

    def _clips(self, track: Track) -> tuple[Tensor, list[tuple[float, float]]]:
        """What the encoder sees of a track: (clips, views, frames, 17, 2), and each clip's span as shares of the
        track."""
        spec = self.spec
        x = self._prepared(track)
        longest = spec.longest_frames if track.fps is None else round(spec.longest_s * spec.fps)
        starts, length = [0], len(x)
        if len(x) > longest:
            length = round(0.6 * longest)
            count = 1 + math.ceil((len(x) - length) / (length / 2))
            starts = [round(s) for s in np.linspace(0, len(x) - length, count)]
        clips = torch.from_numpy(np.stack([stretch(x[s : s + length], spec.clip_frames) for s in starts]))
        return self._views(clips, track.dims), [(s / len(x), (s + length) / len(x)) for s in starts]

    def _prepared(self, track: Track) -> np.ndarray:
        if self.spec.joints != len(UNIK17):
            raise TmorError(
                f"model '{self.spec.name}' sees {self.spec.joints} joints of a layout that it does not name; tracks "
                f"come as {UNIK17.name} with {len(UNIK17)}: give your own arrays to its encoder"
            )
        return prepare(track, fps=self.spec.fps)

    def _views(self, clips: Tensor, dims: int) -> Tensor:
        """(clips, frames, 17, dims) as prepared -> what the encoder sees: (clips, views, frames, 17, channels)."""
        spec = self.spec
        if spec.channels == 2:
            views = views_of(clips, spec.views_deg).transpose(0, 1) if dims == 3 else clips[:, None]
        else:
            views = clips[:, None] if dims == 3 else F.pad(clips, (0, 1))[:, None]
        body = to_body(views)
        return to_bones(body) if spec.stream == "bone" else body

    def _encode(self, clips: Sequence[Tensor]) -> Tensor:
        """Each (clips, views, frames, joints, channels) -> all of their clips one after the other, (clips,
        features)."""
        self.eval()
        with torch.inference_mode():
            flat = self.alone(torch.cat([part.flatten(0, 1) for part in clips]))
            rows = torch.cat([self.encoder(part) for part in flat.split(_BATCH)])
            sizes = [part.shape[0] * part.shape[1] for part in clips]
            # 2D clips have one view, 3D ones several.
            parts = [
                row.unflatten(0, part.shape[:2]).mean(dim=1) for row, part in zip(rows.split(sizes), clips, strict=True)
            ]
            return torch.cat(parts)


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, stripped.

    Raises:
        TmorError: there are none, one is empty, or one occurs twice (without regard to case).
    """
    if isinstance(labels, str):
        raise TmorError(f"labels are one string, {labels!r}; expected a list of labels")
    stripped = tuple(label.strip() for label in labels)
    if not stripped:
        raise TmorError("no labels were given; expected at least one")
    seen: set[str] = set()
    for label in stripped:
        if not label:
            raise TmorError("a label is empty; expected words")
        if label.casefold() in seen:
            raise TmorError(f"label '{label}' is given twice")
        seen.add(label.casefold())
    return stripped
