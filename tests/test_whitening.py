"""What is only the view is taken out of the features."""

from types import SimpleNamespace

import numpy as np
import torch

from tmor.config import DataConfig, PretrainConfig
from tmor.model.unik import BASE, BODY_PARTS, UnikShape
from tmor.pretrain.whitening import fit_whitening, sides

NOISE = torch.tensor([4.0, 1.0, 0.5])
"""How much each feature changes from view to view."""


class MadeUp:
    """1,000 movements of three features, whose views differ by noise."""

    def __init__(self) -> None:
        self.movements = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1)) + 10

    def __len__(self) -> int:
        return len(self.movements)

    def augmented(self, ids, mirrored, *, frames, settings, generator):
        assert not mirrored.any()
        return self.movements[ids] + NOISE * torch.randn(len(ids), 3, generator=generator)


def fitted() -> SimpleNamespace:
    spec = SimpleNamespace(shape=UnikShape((3,), (1,)))
    model = SimpleNamespace(
        encoder=lambda x: x[:, 0], centre=torch.zeros(3), whitening=torch.eye(3), eval=lambda: None, spec=spec
    )
    fit_whitening(model, MadeUp(), PretrainConfig(data=(DataConfig("a.npz"),)))  # pyright: ignore
    return model


def test_features_count_by_the_inverse_of_how_much_views_change_them():
    model = fitted()
    # Differences over sqrt(2) have the noise's covariance; it is shrunk by 0.3 towards its mean.
    variance = NOISE**2
    scale = (0.7 * variance + 0.3 * variance.mean()).rsqrt()
    np.testing.assert_allclose(model.whitening, torch.diag(scale / scale.mean()), atol=0.05)
    np.testing.assert_allclose(model.centre, [10, 10, 10], atol=0.3)


def test_it_repeats_bit_by_bit():
    assert torch.equal(fitted().whitening, fitted().whitening)


def test_what_left_and_right_do_differently_counts_half():
    shape = UnikShape((4,), (1,), parts=BODY_PARTS)
    trunk, left_arm, right_arm, left_leg, right_leg = x = torch.randn(5, 4)
    by_part = (x.flatten() @ sides(shape)).unflatten(0, (5, 4))
    torch.testing.assert_close(by_part[0], trunk)
    torch.testing.assert_close(by_part[1] + by_part[2], left_arm + right_arm)
    torch.testing.assert_close(by_part[1] - by_part[2], (left_arm - right_arm) / 2)
    torch.testing.assert_close(by_part[3] - by_part[4], (left_leg - right_leg) / 2)
    assert torch.equal(sides(UnikShape((6,), (1,))), torch.eye(6))
    assert sides(BASE).shape == (BASE.features, BASE.features)
