"""What a run is made of, read from TOML. An unknown key or a value out of range is an error that names it."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from tmor.errors import ConfigError

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

_T = TypeVar("_T")

Share = Annotated[float, Field(ge=0, le=1)]
Part = Literal["clusters", "motion", "video", "text", "camera", "descriptions"]
"""Of the method, that an ablation can leave out."""
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Augmentation:
    """How strongly clips are varied; zero switches a variation off.

    Args:
        shortest_crop: a temporal crop keeps at least this share of the clip.
        warp: time runs faster and slower within a clip, by at most this share.
        limbs: standard deviation of the logarithm of each limb's length (left and right alike): other people's bodies.
            Of bones in the middle, which are their own mirror image (to head, nose, neck and chest), it is sqrt(2)
            times that; the published weights were trained so.
        around: share of 3D clips that are seen from any side; the others from the front (drawn by the caller, for both
            views of a clip alike).
        camera_deg: a virtual camera stands up to this far to either side of there.
        pitch_deg: and up to this far above or below.
        roll_deg: rotation in the image plane.
        stretch: 2D clips are widened or narrowed by up to this share, as if seen from a little aside.
        mirror: share of clips that are mirrored, left and right changing places (drawn by the caller, who mirrors
            the text).
        noise: standard deviation of the keypoints' error, in body sizes; at most, for each clip has its own.
        drift: of the error that changes slowly, as an estimator's does; a multiple of ``noise``.
        lost_joints: share of clips in which some joints are unseen.
        hidden: share of clips in which a part of the body is out of sight, as legs behind a table: throughout, or for a
            while.
    """

    __pydantic_config__ = _STRICT
    shortest_crop: Annotated[float, Field(gt=0, le=1)] = 0.6
    warp: Share = 0.8
    limbs: NonNegativeFloat = 0.15
    around: Share = 0.5
    camera_deg: NonNegativeFloat = 50.0
    pitch_deg: NonNegativeFloat = 20.0
    roll_deg: NonNegativeFloat = 12.0
    stretch: Share = 0.2
    mirror: Share = 0.5
    noise: NonNegativeFloat = 0.03
    drift: NonNegativeFloat = 1.5
    lost_joints: Share = 0.3
    hidden: Share = 0.35


@dataclass(frozen=True)
class BuildConfig:
    """How the tracks of videos and pose files become clips of a data set.

    Args:
        clip_s: seconds of a clip.
        overlap: share of a clip that the next one of the same track repeats.
        shortest_s: what is left at a track's end is a clip from this length.
        least_visible: a clip in which a smaller share of the 17 joints is seen is left out.
        least_motion: so is one whose joints move less than this about their mean places, in body sizes.
    """

    __pydantic_config__ = _STRICT
    clip_s: PositiveFloat = 4.0
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shortest_s: PositiveFloat = 1.0
    least_visible: Share = 0.4
    least_motion: NonNegativeFloat = 0.02


@dataclass(frozen=True)
class DataConfig:
    """One packed set, or one data set of triplets, of the training data.

    Args:
        path: the .npz or the folder that ``tmor build`` wrote, relative to the run's data folder; or a data set's
            address in an object store.
        part: which of its sequences, for example ``is_train`` or ``not is_test``; of a data set of triplets a split,
            or a condition on its columns in SQL; None = all.
        captions: a JSON file of captions beside a packed set; None = the class names are the text.
        text: False: the sequences are used without text (their labels are not read at all), in stage 1 alone.
        depth: an .npz of depth thumbnails in the same order, for the video term; None = no video (a data set of
            triplets has its own).
    """

    __pydantic_config__ = _STRICT
    path: str
    part: str | None = None
    captions: str | None = None
    text: bool = True
    depth: str | None = None

    @property
    def name(self) -> str:
        """Of the file, without its extension."""
        return Path(self.path).stem


@dataclass(frozen=True)
class ClusterConfig:
    """DBSCAN of the movement embeddings (METHOD section 3).

    Args:
        eps: neighbourhood radius between L2-normalised embeddings; None = from the k-distance curve.
        min_samples: neighbours (with itself) that make a core point.
        start_epoch: epochs of a run before this one take every sample as its own cluster.
        by_label: the labels are the clusters and nothing is computed: what clusters could reach at most. Clips without
            a label stay alone.
    """

    __pydantic_config__ = _STRICT
    eps: PositiveFloat | None = None
    min_samples: PositiveInt = 4
    start_epoch: NonNegativeInt = 1
    by_label: bool = False


@dataclass(frozen=True)
class PretrainConfig:
    """A pre-training run, stage 1 (motion and video) followed by stage 2 (and text).

    Args:
        data: packed sets to train on.
        leave_out: names of files in ``data``, or of sources of the clips in them (of a data set of triplets their
            ``collection``): what has one of these names is not trained on. What is left out is part of the config, so
            that a checkpoint says it.
        data_share: share of each set's clips that is used, drawn by the seed.
        size: the encoder.
        distilled_from: trained models, by name or file, whose embeddings of the clips the encoder learns to predict
            beside all else (knowledge distillation).
        seed: of everything random.
        clip_frames: frames of a clip as the encoder sees it.
        fps: rate that tracks are brought to.
        teacher: the text teacher: ``offline``, ``viclip:FILE``, or a Hugging Face id or folder.
        width: of the space in which modalities meet.
        self_epochs, text_epochs: length of stage 1 and stage 2.
        epoch_samples: clips per epoch.
        balance: 0 = every clip alike, 1 = every data set alike.
        batch: clips per step; each is seen in two views.
        bank: embeddings remembered per modality as further positives and negatives.
        learning_rate, weight_decay: of AdamW; the rate warms up for ``warmup`` steps and falls as a cosine to zero.
        temperature_motion, temperature_text: divide the similarities of the motion-motion and motion-text terms
            (video as motion).
        plain_text: share of clips that are paired with their plainest text alone; the others with a mixture of all
            of theirs.
        text_noise: standard deviation of noise on the teacher's text embeddings, relative to their length.
        motion_term, video_term, text_term: which terms of the loss are on.
        clusters: None: no clusters, every sample is its own.
        descriptions: False: class names are the only text.
        augment: variation of the clips.
        average: decay of the exponential moving average of the weights that is kept in the end; 0 = the last weights.
        precision: of the encoder's arithmetic.
    """

    __pydantic_config__ = _STRICT
    data: Annotated[tuple[DataConfig, ...], Field(min_length=1)]
    leave_out: tuple[str, ...] = ()
    data_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    size: Literal["base", "small"] = "small"
    distilled_from: tuple[str, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    clip_frames: Annotated[int, Field(ge=4)] = 32
    fps: PositiveFloat = 15.0
    teacher: str = "offline"
    width: PositiveInt = 256
    self_epochs: NonNegativeInt = 5
    text_epochs: NonNegativeInt = 15
    epoch_samples: Annotated[int, Field(ge=2)] = 8192
    balance: Share = 0.5
    batch: Annotated[int, Field(ge=2)] = 64
    bank: NonNegativeInt = 1024
    learning_rate: PositiveFloat = 4e-3
    weight_decay: NonNegativeFloat = 0.05
    warmup: NonNegativeInt = 60
    temperature_motion: PositiveFloat = 0.1
    temperature_text: PositiveFloat = 0.07
    plain_text: Share = 0.3
    text_noise: NonNegativeFloat = 0.3
    motion_term: bool = True
    video_term: bool = True
    text_term: bool = True
    clusters: ClusterConfig | None = field(default_factory=ClusterConfig)
    descriptions: bool = True
    augment: Augmentation = field(default_factory=Augmentation)
    average: Share = 0.999
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if self.self_epochs + self.text_epochs == 0:
            raise ConfigError("self_epochs and text_epochs are both 0; expected at least one epoch of training")
        if not (self.motion_term or self.video_term or self.text_term):
            raise ConfigError("motion_term, video_term and text_term are all false; nothing is left to learn from")
        if all(entry.name in self.leave_out for entry in self.data):
            raise ConfigError(f"leave_out is {', '.join(self.leave_out)}; nothing is left to train on")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they go into checkpoints and logs."""
        return asdict(self)

    def without(self, part: Part) -> PretrainConfig:
        """The same run without a part of the method."""
        match part:
            case "clusters":
                return replace(self, clusters=None)
            case "motion":
                return replace(self, motion_term=False)
            case "video":
                return replace(self, video_term=False)
            case "text":
                return replace(self, text_term=False)
            case "camera":
                return replace(self, augment=replace(self.augment, around=0.0, camera_deg=0.0, pitch_deg=0.0))
            case "descriptions":
                return replace(self, descriptions=False)

    def leaving_out(self, name: str) -> PretrainConfig:
        """The same run without a data set, which is given by the name of its file or by the source of its clips.

        Whether there is such a one, reading the data tells.

        Raises:
            ConfigError: there is no other file.
        """
        return replace(self, leave_out=tuple(dict.fromkeys((*self.leave_out, name))))


def cache_folder() -> Path:
    """Where tmor keeps what can be computed again: ``TMOR_CACHE``, else ``XDG_CACHE_HOME/tmor``, else
    ``~/.cache/tmor``."""
    if "TMOR_CACHE" in os.environ:
        return Path(os.environ["TMOR_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tmor"


def read_pretrain_config(path: str | Path) -> PretrainConfig:
    """Read a run's TOML file.

    Raises:
        ConfigError: the file can't be read, a key is unknown, or a value is out of range.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path}: can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"config {path}: {error}") from error
    return pretrain_config(values, source=f"config {path}")


def pretrain_config(values: dict[str, Any], *, source: str = "config") -> PretrainConfig:
    """The config of plain values, checked.

    Raises:
        ConfigError: a key is unknown or a value is out of range; ``source`` begins the message.
    """
    return _checked(PretrainConfig, values, source)


def build_config(values: dict[str, Any]) -> BuildConfig:
    """How a data set is built, from the command line's values.

    Raises:
        ConfigError: a key is unknown or a value is out of range.
    """
    return _checked(BuildConfig, values, "command line")


def _checked(kind: type[_T], values: dict[str, Any], source: str) -> _T:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"]))
            if problem["type"] == "unexpected_keyword_argument":
                lines.append(f"unknown key '{key}'")
            elif problem["type"] == "missing":
                lines.append(f"key '{key}' is missing")
            else:
                lines.append(f"'{key}' is {problem['input']!r}: {problem['msg']}")
        raise ConfigError(f"{source}: " + "; ".join(lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
