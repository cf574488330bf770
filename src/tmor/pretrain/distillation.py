"""A small encoder learns what a large one makes of the clips: knowledge distillation by regression of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmor.errors import TmorError
from tmor.model.model import Model
from tmor.pretrain.clips import Clips
from tmor.skeleton.layouts import UNIK17

_WEIGHT = 4.0


class Distillation(nn.Module):
    """The student's side: a linear map from its features to the embeddings of a trained model, the teacher.

    Whatever the view, the student is to say what the teacher says of the clip as it is (Romero et al. 2015, Navaneet et
    al. 2021). The map is dropped when training ends.

    Args:
        features: of the student.
        targets: (2 n, d) the teacher's embeddings of the n clips, each followed by that of its mirror image.
    """

    def __init__(self, features: int, targets: Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, targets.shape[1]))
        self.targets: Tensor
        self.register_buffer("targets", targets, persistent=False)

    def forward(self, features: Tensor, instances: Tensor) -> Tensor:
        """4 (1 - cosine), the mean over rows.

        Args:
            features: (b, features) of the student.
            instances: (b,) rows of ``targets``: 2 * clip, plus 1 where it is mirrored.
        """
        return _WEIGHT * (1 - F.cosine_similarity(self.layers(features), self.targets[instances]).mean())


def with_teacher(training: dict[str, Any], teacher: Model) -> dict[str, Any]:
    """How a student's weights came about: it knows, at second hand, the data and the names that its teacher saw."""
    seen = teacher.spec.training
    return training | {
        "distilled_from": teacher.spec.name,
        "sources": list(dict.fromkeys([*training["sources"], *seen.get("sources", [])])),
        "class_names": sorted({*training["class_names"], *seen.get("class_names", [])}),
    }


@torch.inference_mode()
def teacher_embeddings(
    teacher: Model,
    clips: Clips,
    *,
    fps: float,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Tensor:
    """(2 n, features) L2-normalised embeddings of the middle of each clip as it is, and of its mirror image.

    Args:
        fps: of the clips.

    Raises:
        TmorError: the teacher's input is another one.
    """
    spec = teacher.spec
    if (spec.fps, spec.channels, spec.joints, spec.stream) != (fps, 2, len(UNIK17), "joint"):
        raise TmorError(
            f"model '{spec.name}' sees {spec.joints} {spec.stream}s in {spec.channels} channels at {spec.fps:g} fps; "
            f"to be distilled from, a model must see {len(UNIK17)} joints in 2 channels at {fps:g} fps"
        )
    teacher.eval()
    found = []
    for done, ids in enumerate(torch.arange(len(clips)).split(64)):
        progress("the teacher's embeddings", 64 * done, len(clips))
        x = clips.plain(ids, frames=spec.clip_frames)
        both = torch.stack([x, x[:, :, list(UNIK17.mirror)] * x.new_tensor([-1.0, 1.0])], dim=1).flatten(0, 1)
        found.append(torch.from_numpy(teacher.unit(teacher.encoder(teacher.alone(both)).numpy())))
    # Not an inference tensor: what is learned from it has gradients.
    return torch.cat(found).clone()
