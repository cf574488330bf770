"""Text teachers from local folders in the real formats, with small random weights."""

import json

import numpy as np
import pytest
import torch

from tmor.errors import TmorError
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import load_text_teacher

WORDS = ["<pad>", "<eos>", "squat", "wave", "the", "left", "right", "hand"]


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = SMALL | {"vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}


def small_tokenizer():
    """Words of ``WORDS`` and an end mark; unknown words are padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    words.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])  # pyright: ignore
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


@pytest.fixture
def clip_folder(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    vision = SMALL | {"image_size": 8, "patch_size": 4}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=12)).save_pretrained(tmp_path / "clip")
    small_tokenizer().save_pretrained(tmp_path / "clip")
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


def letter_tokenizer():
    """SigLIP 2's own kind, with a letter as its longest word."""
    from transformers import Siglip2Tokenizer

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"wavesqut"]
    vocab = {token: i for i, token in enumerate(tokens)}
    return Siglip2Tokenizer(vocab=vocab, merges=[], padding_side="right", add_eos_token=True, add_bos_token=False)


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "siglip_text_model", "siglip2_text_model"])
def test_a_siglip_folder_is_a_text_teacher_whether_whole_or_the_text_tower_alone(tmp_path, kind):
    import transformers as hf

    two = "2" if "2" in kind else ""
    text = getattr(hf, f"Siglip{two}TextConfig")(**{**TEXT, "vocab_size": 16}, projection_size=12)
    torch.manual_seed(0)
    if kind.endswith("text_model"):
        model = getattr(hf, f"Siglip{two}TextModel")(text)
    else:
        vision = SMALL | ({"num_patches": 4} if two else {"image_size": 8}) | {"patch_size": 4}
        config = getattr(hf, f"Siglip{two}Config")(text_config=text.to_dict(), vision_config=vision)
        model = getattr(hf, f"Siglip{two}Model")(config)
    model.eval().save_pretrained(tmp_path)
    (letter_tokenizer() if two else small_tokenizer()).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == kind
    teacher = load_text_teacher(str(tmp_path))
    rows = teacher.encode(["WAVE", "squat", "squat", "wave"])
    assert rows.shape == (4, teacher.width) == (4, 12)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    # By hand: in lower case, padded to the full length of 8, and all of it attended to.
    squat, wave = ([9, 10, 11, 6, 12], [5, 6, 7, 8]) if two else ([2], [3])
    ids = torch.tensor([[*word, 1, *[0] * (7 - len(word))] for word in (squat, wave)])
    with torch.inference_mode():
        found = model(ids) if kind.endswith("text_model") else model.get_text_features(ids)
        own = torch.nn.functional.normalize(found.pooler_output, dim=1).numpy()
    np.testing.assert_allclose(rows, own[[1, 0, 0, 1]], atol=1e-5)


def test_sizes_that_a_config_on_the_hub_leaves_out_are_the_usual_ones(tmp_path):
    # As google/siglip-base-patch16-224 has it.
    config = {
        "model_type": "siglip",
        "text_config": {"model_type": "siglip_text_model"},
        "vision_config": {"model_type": "siglip_vision_model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"not read before a text is")
    assert load_text_teacher(str(tmp_path)).width == 768


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
