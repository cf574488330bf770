"""What the training clips of each text look like is remembered."""

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from tmor.config import DataConfig, PretrainConfig
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.pretrain.memory import remember

CONFIG = PretrainConfig(data=(DataConfig("a.npz"),), clip_frames=8)
TEXTS = torch.tensor([[0], [1], [0], [-1], [1], [0]])
"""Of six clips; one has none."""
ROWS = F.normalize(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), dim=1)


def clips(text_ids: torch.Tensor = TEXTS) -> SimpleNamespace:
    x = torch.randn(len(text_ids), 8, 17, 2, generator=torch.Generator().manual_seed(1))

    class Made(SimpleNamespace):
        def __len__(self) -> int:
            return len(text_ids)

    return Made(text_ids=text_ids, plain=lambda ids, *, frames: x[ids], x=x)


def model() -> Model:
    torch.manual_seed(0)
    shape = UnikShape(widths=(8, 8), strides=(2, 2))
    return Model(ModelSpec("made up", shape, width=4, teacher_width=5, clip_frames=8)).eval()


def test_each_text_keeps_the_mean_of_its_movements_most_frequent_first():
    before, data = model(), clips()
    after = remember(before, data, ROWS, CONFIG)  # pyright: ignore
    assert after.spec.known == 2
    with torch.inference_mode():
        embeddings = before.unit(before.encoder(data.x[:, None]).numpy())
    np.testing.assert_allclose(after.known_motions[0], embeddings[[0, 2, 5]].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(after.known_motions[1], embeddings[[1, 4]].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(after.known_texts, ROWS, atol=1e-6)
    for name, tensor in before.state_dict().items():
        assert "known" in name or torch.equal(after.state_dict()[name], tensor)


def test_without_texts_nothing_is_remembered():
    before = model()
    assert remember(before, clips(torch.full((6, 1), -1)), ROWS, CONFIG) is before  # pyright: ignore
