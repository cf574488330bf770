"""An encoder learns what trained ones make of the clips: knowledge distillation by regression of embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    """The student's side: a linear map from its features to the embeddings of trained models, the teachers.

    Whatever the view, the student is to say what the teachers say of the clip as it is (Romero et al. 2015, Navaneet et
    al. 2021). The map is dropped when training ends.

    Args:
        features: of the student.
        targets: (2 n, d) the teachers' embeddings of the n clips, each followed by that of its mirror image. They stay
            where they are, on the processor, for they grow with the clips; a step takes the rows of its batch.
    """

    def __init__(self, features: int, targets: Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, targets.shape[1]))
        self.targets = targets  # no buffer, which would follow the module to its device

    def forward(self, features: Tensor, instances: Tensor) -> Tensor:
        """4 (1 - cosine), the mean over rows.

        Args:
            features: (b, features) of the student.
            instances: (b,) rows of ``targets``: 2 * clip, plus 1 where it is mirrored.
        """
        said = self.targets[instances.to(self.targets.device)].to(features.device)
        return _WEIGHT * (1 - F.cosine_similarity(self.layers(features), said).mean())


def check_input(teacher: Model) -> None:
    """
    Raises:
        TmorError: a model sees something else than the 17 joints in 2D, and can be nobody's teacher.
    """
    spec = teacher.spec
    if (spec.channels, spec.joints, spec.stream) != (2, len(UNIK17), "joint"):
        raise TmorError(
            f"model '{spec.name}' sees {spec.joints} joints in {spec.channels} channels, stream {spec.stream}; "
            f"to be distilled from, a model must see {len(UNIK17)} joints in 2 channels, stream joint"
        )


def with_teachers(training: dict[str, Any], teachers: Sequence[Model]) -> dict[str, Any]:
    """How a student's weights came about: it knows, at second hand, the data and the names that its teachers saw."""
    seen = [training, *(teacher.spec.training for teacher in teachers)]
    names = [teacher.spec.name for teacher in teachers]
    return training | {
        # Names, not the paths of the machine where it was trained.
        "config": training["config"] | {"distilled_from": names},
        "distilled_from": names,
        "sources": list(dict.fromkeys(source for each in seen for source in each.get("sources", []))),
        "class_names": sorted({name for each in seen for name in each.get("class_names", [])}),
    }


@torch.no_grad()
def teacher_embeddings(
    teachers: Sequence[Model],
    clips: Clips,
    *,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Tensor:
    """(2 n, all features) of the middle of each clip as it is, and of its mirror image: the teachers' L2-normalised
    embeddings side by side, which are L2-normalised again. A clip is stretched to as many frames as a teacher sees, so
    teachers may have learnt from clips of other lengths and rates.
    """
    whole = len(clips) * len(teachers)

    def counted(at: int) -> Callable[[str, int, int], None]:
        return lambda what, done, _: progress(what, at * len(clips) + done, whole)

    found = [_embeddings(teacher, clips, counted(i)) for i, teacher in enumerate(teachers)]
    return torch.cat(found, dim=1).div_(math.sqrt(len(teachers)))


def _embeddings(teacher: Model, clips: Clips, progress: Callable[[str, int, int], None]) -> Tensor:
    teacher.eval()
    found = []
    for done, ids in enumerate(torch.arange(len(clips)).split(64)):
        progress("the teachers' embeddings", 64 * done, len(clips))
        x = clips.plain(ids, frames=teacher.spec.clip_frames)
        both = torch.stack([x, x[:, :, list(UNIK17.mirror)] * x.new_tensor([-1.0, 1.0])], dim=1).flatten(0, 1)
        found.append(torch.from_numpy(teacher.unit(teacher.encoder(teacher.alone(both)).numpy())))
    return torch.cat(found)
