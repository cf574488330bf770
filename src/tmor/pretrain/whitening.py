"""What of the features is only the view: estimated from two views of the same movements, and taken out."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tmor.config import PretrainConfig
from tmor.model.model import Model
from tmor.pretrain.clips import Clips
from tmor.pretrain.sampling import step_generator

_MOST = 4096
_SHRINK = 0.3


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
    model.whitening.copy_((vectors * (scale / scale.mean())) @ vectors.T)
