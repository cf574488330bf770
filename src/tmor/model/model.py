"""Model: the motion encoder, its projection heads, and what is needed to use them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmor.errors import CheckpointError, TmorError
from tmor.model.answers import Labels, Matching, Prediction, check_labels, described_labels, judge_by_similarity
from tmor.model.projection import ProjectionHead
from tmor.model.segments import Segment, find_segments, rate_of, windows_of
from tmor.model.unik import UNIK, UnikShape
from tmor.posecap.captions import by_plain_label, describe
from tmor.skeleton.canonical import STREAMS, Stream, check_dims, sees_depth
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import prepare, shown, stretch, to_body, views_of
from tmor.skeleton.tracks import UNKNOWN_FPS, Track, check_tracks
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import TextTeacher, load_text_teacher

_BATCH = 64
FRAME_WINDOW, FRAME_STRIDE = 64, 4
"""Frames of a window of :meth:`Model.frame_features`, and from one moment of it to the next."""

# Chosen on validation parts, docs/experiments.md.
_RECALL = 2 / 3
_RECALL_KERNEL = 0.2
_RECALL_NOISE = 0.3


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, beside its weights.

    Args:
        name: for people.
        shape: sizes of the encoder.
        channels, joints: of its input; the layout is unik17 where there are 17 joints.
        stream: what the encoder is shown (:data:`tmor.skeleton.canonical.Stream`); in 3D, ``channels`` is 6.
        fps: the rate that tracks are brought to.
        clip_frames: frames of a clip as the encoder was trained on.
        longest_s: a track up to this long is one clip; a longer one is cut into windows of 0.6 of it.
        views_deg: cameras around the front of a 3D person that are averaged.
        width: of the common space of the projection heads; 0 = the model has none (an imported encoder).
        teacher, teacher_hash, teacher_width: the text teacher that the text head was trained with.
        video_width: of the video teacher's embeddings; 0 = no video head.
        known: how many texts of its training the model remembers, each with the mean of its movements.
        adapted: to how many movements without labels the model was adapted (:meth:`Model.adapt`).
        classes: what the classification head tells apart, after fine-tuning; empty = there is no such head.
        matching: how cosines of movements with texts and examples become probabilities.
        training: how the weights came about: config, data, date.
    """

    name: str
    shape: UnikShape
    channels: int = 2
    joints: int = 17
    stream: Stream = "joint"
    fps: float = 15.0
    clip_frames: int = 32
    longest_s: float = 5.0
    views_deg: tuple[float, ...] = (-40.0, 0.0, 40.0)
    width: int = 256
    teacher: str = "offline"
    teacher_hash: str = ""
    teacher_width: int = 384
    video_width: int = 0
    known: int = 0
    adapted: int = 0
    classes: tuple[str, ...] = ()
    matching: Matching = field(default_factory=Matching)
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise ValueError(f"stream is {self.stream!r}; expected one of {', '.join(STREAMS)}")
        if sees_depth(self.stream) and self.channels != 6:
            raise ValueError(f"stream {self.stream} has {self.channels} channels; expected 6")

    @property
    def longest_frames(self) -> int:
        """The longest single clip of a track whose rate is unknown: twice what it would be at
        :data:`tmor.skeleton.tracks.UNKNOWN_FPS`."""
        return round(2 * self.longest_s * UNKNOWN_FPS)


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
        self.centre: Tensor
        self.whitening: Tensor
        self.register_buffer("centre", torch.zeros(self.encoder.features))
        self.register_buffer("whitening", torch.eye(self.encoder.features))
        self.known_texts: Tensor
        self.known_motions: Tensor
        self.register_buffer("known_texts", torch.zeros(spec.known, spec.teacher_width))
        self.register_buffer("known_motions", torch.zeros(spec.known, self.encoder.features))
        self.usual: Tensor
        self.register_buffer("usual", torch.zeros(self.meeting_width if spec.adapted else 0))
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
            TmorError: a track has no visible joint, or it is no list of tracks.
        """
        total = torch.zeros(len(tracks), self.encoder.features)
        for rows, owners in self._clip_rows(tracks):
            weight = 1 / torch.bincount(owners)[owners].float()
            total.index_add_(0, owners, rows * weight[:, None])
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
        """Features to compare by cosine: centred, whitened, L2-normalised.

        Without that, what all movements have in common, and what is only the view, would outweigh what tells them apart
        (:mod:`tmor.pretrain.whitening`; before it is fitted the two do nothing).

        Args:
            features: (n, features) as :meth:`features` gives them.
        """
        return self._unit(torch.from_numpy(features)).numpy()

    def whitened(self, features: Tensor) -> Tensor:
        """(n, features) features, centred and whitened, not normalised."""
        return (features - self.centre) @ self.whitening

    def _unit(self, features: Tensor) -> Tensor:
        return F.normalize(self.whitened(features), dim=1)

    def frame_features(self, track: Track) -> tuple[np.ndarray, np.ndarray]:
        """The encoder's features over time, for tracks of any length in bounded memory.

        Windows of 64 frames at the model's rate overlap by half; where two meet, each counts the less the nearer its
        edge is. The features of 3D persons are the mean over the views.

        Returns:
            (m, features) float32, one row per 4 frames at the model's rate, and (m,) float64, their times in seconds of
            the source (as if at 30 fps where the track's rate is unknown).

        Raises:
            TmorError: the track has no visible joint.
        """
        x = self._prepared(track)
        size, hop, stride = FRAME_WINDOW, FRAME_WINDOW // 2, FRAME_STRIDE
        count = math.ceil(len(x) / stride)
        starts = list(range(0, max(1, len(x) - hop), hop))
        total = torch.zeros(count + size // stride, self.encoder.features)
        weights = torch.zeros(len(total), 1)
        ramp = 1 - (torch.linspace(-1, 1, size // stride + 2)[1:-1]).abs()
        self.eval()
        for first in range(0, len(starts), _BATCH):
            part = starts[first : first + _BATCH]
            rows = np.minimum(np.array(part)[:, None] + np.arange(size), len(x) - 1)
            clips = self._views(torch.from_numpy(x[rows]))
            with torch.inference_mode():
                found = self.encoder.frames(self.alone(clips.flatten(0, 1)))
            found = found.unflatten(0, clips.shape[:2]).mean(dim=1)
            for start, row in zip(part, found, strict=True):
                at = start // stride
                total[at : at + len(row)] += row * ramp[:, None]
                weights[at : at + len(row), 0] += ramp
        step = stride / rate_of(track.fps, self.spec)
        return (total / weights.clamp(min=1e-9))[:count].numpy(), track.start_s + step * np.arange(count)

    def alone(self, clips: Tensor) -> Tensor:
        """(n, frames, joints, channels) of one person each -> what the encoder takes, its other person slots being
        empty."""
        slots = self.spec.shape.persons or 1
        return F.pad(clips[:, None], (0, 0, 0, 0, 0, 0, 0, slots - 1))

    @property
    def meeting_width(self) -> int:
        """Of the space where movements meet texts (:meth:`project`); 0 = the model has none."""
        return self.spec.width + (self.encoder.features if self.spec.known else 0)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Movements in the space of texts.

        It has two parts, each of which speaks for itself in a cosine: the projection that was trained by contrast, and
        where the model remembers training's texts (``spec.known``) the movement's own embedding, which is compared
        with the movements of similar texts.

        Args:
            features: (n, features) as :meth:`features` gives them.

        Returns:
            (n, :attr:`meeting_width`) float32, L2-normalised.
        """
        if self.motion_head is None:
            raise TmorError(f"model '{self.spec.name}' has no projection heads and can't compare movements with text")
        rows = torch.from_numpy(features)
        with torch.inference_mode():
            return meet(self.motion_head(rows), self._unit(rows), self.middle).numpy()

    def project_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts in the space of movements.

        Returns:
            (len(texts), :attr:`meeting_width`) float32, L2-normalised.
        """
        if self.text_head is None:
            raise self._names_nothing()
        rows = torch.from_numpy(embed_texts(self.teacher, texts))
        with torch.inference_mode():
            return self._beside(self.text_head(rows), self._recalled(rows)).numpy()

    def _names_nothing(self) -> TmorError:
        own = f"; without labels it names its own {len(self.spec.classes)} classes" if self.spec.classes else ""
        return TmorError(f"model '{self.spec.name}' has no text head; it can't name actions by text{own}")

    def _recalled(self, texts: Tensor) -> Tensor:
        """(n, teacher_width) teacher embeddings -> (n, features), L2-normalised: in which direction from what all
        movements have in common training's texts let expect a movement, by kernel ridge regression of theirs."""
        known = self.known_texts

        def kernel(x: Tensor, y: Tensor) -> Tensor:
            return ((x @ y.T - 1) / _RECALL_KERNEL).exp()

        directions = F.normalize(self.known_motions - self.known_centre, dim=1)
        fitted = torch.linalg.solve(kernel(known, known) + _RECALL_NOISE * torch.eye(len(known)), directions)
        return F.normalize(kernel(texts, known) @ fitted, dim=1)

    def _beside(self, projected: Tensor, own: Tensor) -> Tensor:
        return side_by_side(projected, own) if self.spec.known else projected

    @property
    def known_centre(self) -> Tensor:
        """(features,) the mean of ``known_motions``; zero where there are none."""
        return self.known_motions.sum(dim=0) / max(1, self.spec.known)

    @property
    def middle(self) -> Tensor:
        """(meeting_width,) what movements have in common, in training or where the model was adapted to."""
        return self.usual if self.spec.adapted else self._trained_middle()

    def _trained_middle(self) -> Tensor:
        none = self.centre.new_zeros(self.spec.width)
        return torch.cat([none, self.known_centre]) if self.spec.known else none

    def project_labels(self, labels: Labels, *, descriptions: bool = True) -> np.ndarray:
        """One embedding per label, from all its texts (:func:`tmor.posecap.captions.describe`, and those of a mapping).

        What is projected is half the direction of the mean of the projected texts and half the projection of the texts'
        mean: the second is what training saw most, the first holds on better for classes that it did not see.

        Returns:
            (len(labels), :attr:`meeting_width`) float32, at most of length 1; the less the two agree, the shorter.
        """
        if self.text_head is None:
            raise self._names_nothing()
        own = by_plain_label(labels) if isinstance(labels, Mapping) else {}
        groups = [describe(label, own) if descriptions else describe(label)[:1] for label in labels]
        rows = torch.from_numpy(embed_texts(self.teacher, [text for group in groups for text in group]))
        parts = rows.split([len(group) for group in groups])
        with torch.inference_mode():
            means = F.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1)
            of_mean = self.text_head(means)
            mean_of = F.normalize(torch.stack([self.text_head(part).mean(dim=0) for part in parts]), dim=1)
            return self._beside((of_mean + mean_of) / 2, self._recalled(means)).numpy()

    def classify(self, tracks: Sequence[Track], labels: Labels | None = None, *, none: bool = False) -> Prediction:
        """Which of the labels each track shows.

        Args:
            labels: told apart by their texts, and by example where they were enrolled. A mapping gives descriptions of
                your own, which words alone need (docs/predict.md). None: the classes that the model was fine-tuned for.
            none: "none of these" (:data:`tmor.model.answers.NONE`) is an answer, too, the last label. Classes that the
                model was fine-tuned for know no such answer.

        Raises:
            TmorError: no labels, a label twice, or an empty label; a track has no visible joint.
        """
        names, judge = self.judge(labels, none=none)
        return Prediction(names, judge(self.features(tracks)))

    def detect(self, track: Track, labels: Labels | None = None, *, none: bool = False) -> list[Segment]:
        """What the track shows when: windows of 3 s, 1 s apart, are classified, smoothed and joined.

        (Lengths are those of a spec with ``longest_s`` of 5.) A track no longer than a clip is one segment. A live
        :class:`tmor.serve.stream.Stream` of the same frames ends with the same segments. Where the rate is unknown,
        frames count as if at 30 per second. No segment covers the middle of a window in which nobody is seen.

        Args:
            labels, none: as in :meth:`classify`.

        Returns:
            At least one segment, in order, without overlap.

        Raises:
            TmorError: as :meth:`classify`.
        """
        return self.detect_with(*self.judge(labels, none=none), track)

    def detect_with(
        self, names: tuple[str, ...], judge: Callable[[np.ndarray], np.ndarray], track: Track
    ) -> list[Segment]:
        """:meth:`detect` with what :meth:`judge` gave: for many tracks and the same labels."""
        x = self._prepared(track)
        return find_segments(track, x, names, lambda clips: judge(self.clip_features(clips)), self.spec, batch=_BATCH)

    def judge(
        self, labels: Labels | None, *, none: bool = False
    ) -> tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]:
        """The labels, and a function from (n, features) to (n, labels) float32 probabilities; texts are embedded here,
        once.

        Args:
            labels, none: as in :meth:`classify`.

        Raises:
            TmorError: the labels are not valid, or the model can't tell them apart.
        """
        if labels is not None:
            described = described_labels(labels)
            by_text = {name: texts for name, texts in described.items() if name not in self.examples}
            texts = self.project_labels(by_text) if by_text else np.empty((0, 0), np.float32)
            return judge_by_similarity(
                tuple(described),
                texts,
                self.examples,
                project=self.project,
                unit=self.unit,
                matching=self.spec.matching,
                none=none,
            )
        if self.class_head is None:
            raise TmorError(f"model '{self.spec.name}' has no classes of its own; give labels")
        head = self.class_head

        def by_class(features: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return head(torch.from_numpy(features)).softmax(dim=1).numpy()

        return self.spec.classes, by_class

    def clip_features(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The encoder's features of stretches of prepared tracks, each seen as one clip.

        Args:
            clips: one or more (frames, 17, 2 | 3) of any number of frames, as
                :func:`tmor.skeleton.normalize.prepare` gives them; all 2D or all 3D.

        Returns:
            (len(clips), features) float32, of 3D ones the mean over the views.
        """
        return self._encode([self._seen(clips)]).numpy()

    def enroll(self, examples: Mapping[str, Sequence[Track]]) -> Model:
        """A model that also knows actions by example: few-shot enrolment.

        Args:
            examples: 1 or more tracks per label. A label that is enrolled again gets the new examples alone.

        Returns:
            A new model with the same weights.
        """
        other = self._copy(self.spec)
        for label, tracks in examples.items():
            if not tracks:
                raise TmorError(f"label '{label}' is enrolled with no example; expected at least one track")
            other.examples[check_labels([label])[0]] = self.embed(tracks)
        return other

    def adapt(self, tracks: Sequence[Track]) -> Model:
        """A model that knows what movements are like where it is used, from recordings without labels.

        What they have in common (the camera, how poses are estimated, the kind of activity) is taken off before
        movements are compared with texts: half of it, and half of what training's movements have in common, so that
        recordings of few actions do little harm. Answers by example, and classes of fine-tuning, stay as they are.

        Args:
            tracks: one or more, best 20 or more that show different actions; of a long one every clip counts.

        Returns:
            A new model with the same weights; an earlier adaptation is forgotten.

        Raises:
            TmorError: no tracks, a track has no visible joint, or the model has no projection heads.
        """
        if not tracks:
            raise TmorError("there are no tracks to adapt to; expected at least one")
        return self.adapt_to(torch.cat([rows for rows, _ in self._clip_rows(tracks)]).numpy())

    def adapt_to(self, features: np.ndarray) -> Model:
        """:meth:`adapt` to movements by their features.

        Args:
            features: (n, features) as :meth:`features` gives them.
        """
        if self.motion_head is None:
            raise TmorError(f"model '{self.spec.name}' has no projection heads; there is nothing to adapt")
        rows = torch.from_numpy(features)
        with torch.inference_mode():
            parts = [self.motion_head(rows)] + [self._unit(rows)] * bool(self.spec.known)
            usual = (torch.cat(parts, dim=1).mean(dim=0) + self._trained_middle()) / 2
        return self._copy(replace(self.spec, adapted=len(features)), usual=usual)

    def _copy(self, spec: ModelSpec, **changed: Tensor) -> Model:
        other = Model(spec)
        other.load_state_dict({**self.state_dict(), **changed})
        other.examples = dict(self.examples)
        return other.eval()

    def _clip_rows(self, tracks: Sequence[Track]) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (clips, features) of every clip of the tracks, and (clips,) the track of each; in bounded memory: a
        few tracks at a time, but as many as fill a batch."""
        check_tracks(tracks)
        pending: list[Tensor] = []
        owners: list[int] = []
        for i, track in enumerate(tracks):
            clips = self._clips(track)
            pending.append(clips)
            owners += [i] * len(clips)
            if len(owners) >= _BATCH or i == len(tracks) - 1:
                yield self._encode(pending), torch.tensor(owners)
                pending, owners = [], []

    def _clips(self, track: Track) -> Tensor:
        """What the encoder sees of a track as a whole: (clips, views, frames, 17, channels); the clips of a long one
        are half overlapping windows."""
        x, windows = self._prepared(track), windows_of(track.fps, self.spec)
        return self._seen([x[start:stop] for start, stop in windows.of_whole(len(x))])

    def _seen(self, clips: Sequence[np.ndarray]) -> Tensor:
        """Prepared (frames, 17, dims) each -> (clips, views, frames, 17, channels)."""
        x = torch.from_numpy(np.stack([stretch(clip, self.spec.clip_frames) for clip in clips]))
        return self._views(x)

    def check_joints(self) -> None:
        """
        Raises:
            TmorError: the model's joints are not those that tracks are converted to.
        """
        if self.spec.joints != len(UNIK17):
            raise TmorError(
                f"model '{self.spec.name}' sees {self.spec.joints} joints of a layout that it does not name; tracks "
                f"come as {UNIK17.name} with {len(UNIK17)}: give your own arrays to its encoder"
            )

    def check_dims(self, dims: int) -> None:
        """
        Raises:
            TmorError: the model sees movements in 3D alone, and ``dims`` is 2.
        """
        check_dims(dims, self.spec.name, sees_depth=sees_depth(self.spec.stream))

    def _prepared(self, track: Track) -> np.ndarray:
        self.check_joints()
        return prepare(track, fps=self.spec.fps)

    def _views(self, clips: Tensor) -> Tensor:
        """(clips, frames, 17, 2 | 3) as prepared -> what the encoder sees: (clips, views, frames, 17, channels)."""
        self.check_dims(clips.shape[-1])
        return shown(to_body(camera_views(clips, self.spec)), self.spec.stream)

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


def camera_views(clips: Tensor, spec: ModelSpec) -> Tensor:
    """Clips as cameras see them: 3D ones from several sides, unless the encoder takes 3D as it is (``channels`` is 3).

    Args:
        clips: (clips, frames, 17, 2 | 3) as prepared; 3D for a stream in 3D.

    Returns:
        (clips, views, frames, 17, 2), or 3 coordinates where the encoder sees 3D.
    """
    in_3d = clips.shape[-1] == 3
    if in_3d and spec.channels != 3:
        return views_of(clips, spec.views_deg, depth=sees_depth(spec.stream)).transpose(0, 1)
    return (clips if in_3d or spec.channels == 2 else F.pad(clips, (0, 1)))[:, None]


def meet(projected: Tensor, own: Tensor, middle: Tensor) -> Tensor:
    """Movements in the space of texts (:meth:`Model.project`).

    Args:
        projected: (n, width), L2-normalised.
        own: (n, features) embeddings (:meth:`Model.unit`); without part in a space that is no wider than ``width``.
        middle: (meeting_width,) what they have in common, which is taken off both.
    """
    width = projected.shape[1]
    projected = F.normalize(projected - middle[:width], dim=1)
    return side_by_side(projected, F.normalize(own - middle[width:], dim=1)) if len(middle) > width else projected


def side_by_side(projected: Tensor, own: Tensor) -> Tensor:
    """The two parts of the space of texts, as they weigh."""
    return torch.cat([projected * (1 - _RECALL) ** 0.5, own * _RECALL**0.5], dim=1)
