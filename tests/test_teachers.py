"""Text teachers from local folders in the real formats, with small random weights."""

import numpy as np
import pytest
import torch

from tmor.errors import TmorError
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import load_text_teacher

WORDS = ["<pad>", "<eos>", "squat", "wave", "the", "left", "right", "hand"]


@pytest.fixture
def clip_folder(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    words.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=small | {"image_size": 8, "patch_size": 4}, projection_dim=12)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    tokenizer.save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def test_a_clip_like_folder_is_a_text_teacher(clip_folder):
    from transformers import AutoTokenizer, CLIPModel

    teacher = load_text_teacher(str(clip_folder))
    rows = teacher.encode(["wave the left hand", "squat"])
    assert rows.shape == (2, teacher.width) == (2, 12)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokens = AutoTokenizer.from_pretrained(clip_folder)(["squat"], return_tensors="pt")
    with torch.inference_mode():
        own = model.text_projection(model.text_model(**tokens).pooler_output)[0].numpy()
    np.testing.assert_allclose(rows[1], own / np.linalg.norm(own), atol=1e-5)


def test_the_hash_follows_the_weights_not_the_place(clip_folder, tmp_path):
    first = load_text_teacher(str(clip_folder)).hash
    clip_folder.rename(tmp_path / "moved")
    assert load_text_teacher(str(tmp_path / "moved")).hash == first
    weights = tmp_path / "moved" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_text_teacher(str(tmp_path / "moved")).hash != first


def test_embeddings_are_computed_once_and_survive_a_cache_that_is_none(tmp_path, monkeypatch):
    class Counting:
        name, hash, width, seen = "counting", "abc", 3, []

        def encode(self, texts):
            self.seen += texts
            return np.eye(3, dtype=np.float32)[[len(t) % 3 for t in texts]]

    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    teacher = Counting()
    first = embed_texts(teacher, ["a", "bb", "a"])
    assert teacher.seen == ["a", "bb"]
    np.testing.assert_array_equal(embed_texts(teacher, ["a", "bb", "a"]), first)
    assert teacher.seen == ["a", "bb"]
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(embed_texts(teacher, ["a", "bb", "a"]), first)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(TmorError, match=r"holds no config\.json with \*\.safetensors beside it"):
        load_text_teacher(str(tmp_path))
