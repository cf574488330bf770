"""What of the features is only the view: estimated from two views of the same movements, and taken out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tmor.config import PretrainConfig
from tmor.model.model import Model
from tmor.model.unik import UnikShape
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import step_generator
from tmor.skeleton.layouts import UNIK17

_MOST = 4096
_SHRINK = 0.3
_SIDES = 0.5


@torch.inference_mode()
def fit_whitening(
    model: Model,
    clips: Clips,
    config: PretrainConfig,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Set ``model.centre`` and ``model.whitening`` from up to 4,096 clips, each seen in two augmented views.

    Where features differ between two views of one movement (camera, crop, noise), they say nothing of the movement. The
    covariance of these differences, shrunk by 0.3 towards a multiple of the identity, is whitened: within-class
    covariance normalisation (Hatch et al. 2006) with every clip as its own class, so without labels.

    Args:
        model: is changed.
        clips: of the training data.
        config: its seed and augmentation.
    """
    generator = step_generator(config.seed, 6)
    chosen = torch.randperm(len(clips), generator=generator)[:_MOST]
    model.eval()
    device = model.centre.device
    views = []
    for ids in chosen.split(64):
        progress("whitening", 64 * len(views), len(chosen))
        never = torch.zeros(len(ids), dtype=torch.bool)
        pair = [
            clips.augmented(ids, never, frames=config.clip_frames, settings=config.augment, generator=generator)
            for _ in range(2)
        ]
        views.append(torch.stack([model.encoder(x[:, None].to(device)).float().cpu() for x in pair]))
    first, second = torch.cat(views, dim=1).double()
    difference = (first - second) / 2**0.5
    covariance = difference.T @ difference / len(difference)
    size = len(covariance)
    shrunk = (1 - _SHRINK) * covariance + _SHRINK * covariance.trace() / size * torch.eye(size, dtype=torch.double)
    values, vectors = torch.linalg.eigh(shrunk)
    scale = values.clamp(min=1e-12).rsqrt()
    model.centre.copy_(torch.cat([first, second]).mean(dim=0))
    model.whitening.copy_((vectors * (scale / scale.mean())) @ vectors.T @ sides(model.spec.shape).double())


def sides(shape: UnikShape) -> Tensor:
    """(features, features) by which embeddings are multiplied: what left and right limbs have in common stays, what
    they do differently is halved; the identity where features are not told apart by body parts.

    One person kicks with the left leg, the next with the right: with few examples that matters more than that some
    actions have a side.
    """
    width = shape.widths[-1]
    if not shape.parts:
        return torch.eye(width)
    mirrored = [tuple(sorted(UNIK17.mirror[joint] for joint in part)) for part in shape.parts]
    own = [tuple(sorted(part)) for part in shape.parts]
    swap = torch.eye(len(own))[[own.index(part) for part in mirrored]]
    keep = (1 + _SIDES) / 2 * torch.eye(len(own)) + (1 - _SIDES) / 2 * swap
    return torch.kron(keep, torch.eye(width))
