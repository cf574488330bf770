"""Text and video teachers from local folders in the real formats, with small random weights."""

import json

import numpy as np
import pytest
import torch

from tmor.errors import TmorError
from tmor.teachers import huggingface
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import load_text_teacher, load_video_teacher

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


def image_files(folder, *, mean=0.5, std=0.25):
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [mean] * 3, "image_std": [std] * 3}))


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def test_videos_are_embedded_on_a_gpu_where_there_is_one(clip_folder, monkeypatch):
    used = []
    monkeypatch.setattr(huggingface, "_Dual", lambda folder, device: used.append(device))
    load_video_teacher(str(clip_folder))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    load_video_teacher(str(clip_folder))
    assert used == ["cpu", "cuda"]


def test_a_clip_like_folder_is_a_video_teacher_by_the_mean_over_frames(clip_folder):
    from transformers import CLIPModel

    image_files(clip_folder)
    teacher = load_video_teacher(str(clip_folder))
    assert (teacher.frames, teacher.size, teacher.width) == (8, 8, 12)
    pixels = torch.randint(256, (9, 8, 3, 8, 8), dtype=torch.uint8)
    rows = teacher.encode_video(pixels)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    with torch.inference_mode():
        images = model.vision_model(pixel_values=(pixels[8] / 255 - 0.5) / 0.25).pooler_output
        own = unit(unit(model.visual_projection(images)).mean(dim=0)).numpy()
    assert rows.shape == (9, 12) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[8], own, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    # The order of frames says nothing to a teacher of single images.
    np.testing.assert_allclose(teacher.encode_video(pixels.flip(1)), rows, atol=1e-5)
    # One object serves both sides, and is the same teacher as the text's.
    text = load_text_teacher(str(clip_folder))
    np.testing.assert_array_equal(teacher.encode(["squat"]), text.encode(["squat"]))
    assert teacher.hash == text.hash


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_a_siglip_folder_is_a_video_teacher(tmp_path, kind):
    import transformers as hf

    two = "2" if kind == "siglip2" else ""
    text = TEXT | {"projection_size": 16, "vocab_size": 16}
    vision = SMALL | ({"num_patches": 4} if two else {"image_size": 8}) | {"patch_size": 4}
    torch.manual_seed(0)
    model = getattr(hf, f"Siglip{two}Model")(getattr(hf, f"Siglip{two}Config")(text_config=text, vision_config=vision))
    model.eval().save_pretrained(tmp_path)
    image_files(tmp_path, mean=0.5, std=0.5)
    teacher = load_video_teacher(str(tmp_path))
    assert (teacher.frames, teacher.size, teacher.width) == (8, 8, 16)
    pixels = torch.randint(256, (2, 8, 3, 8, 8), dtype=torch.uint8)
    x = pixels[1] / 127.5 - 1
    if two:  # by hand: the four patches, row by row; of each its pixels, row by row, colours last
        corners = [x[:, :, r : r + 4, c : c + 4] for r in (0, 4) for c in (0, 4)]
        patches = torch.stack([corner.permute(0, 2, 3, 1).flatten(1) for corner in corners], dim=1)
        shown = {"pixel_values": patches, "pixel_attention_mask": torch.ones(8, 4, dtype=torch.long)}
        shown |= {"spatial_shapes": torch.full((8, 2), 2)}
    else:
        shown = {"pixel_values": x}
    with torch.inference_mode():
        own = unit(unit(model.vision_model(**shown).pooler_output).mean(dim=0)).numpy()
    np.testing.assert_allclose(teacher.encode_video(pixels)[1], own, atol=1e-5)


def test_an_x_clip_folder_is_a_video_teacher_that_sees_motion(tmp_path):
    from transformers import XCLIPConfig, XCLIPModel

    vision = SMALL | {"image_size": 8, "patch_size": 4, "num_frames": 4, "mit_hidden_size": 12}
    vision |= {"mit_intermediate_size": 16, "mit_num_attention_heads": 2, "mit_num_hidden_layers": 1}
    torch.manual_seed(0)
    model = XCLIPModel(XCLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=12)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # some start as zeros
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    # As newer versions of transformers write it.
    said = {"image_processor": {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}}
    (tmp_path / "processor_config.json").write_text(json.dumps(said))
    teacher = load_video_teacher(str(tmp_path))
    assert (teacher.frames, teacher.size, teacher.width) == (4, 8, 12)
    pixels = torch.randint(256, (2, 4, 3, 8, 8), dtype=torch.uint8)
    rows = teacher.encode_video(pixels)
    mean, std = (torch.tensor(said["image_processor"][f"image_{x}"])[:, None, None] for x in ("mean", "std"))
    with torch.inference_mode():
        out = model.get_video_features(pixel_values=(pixels / 255 - mean) / std)
        own = unit(getattr(out, "pooler_output", out)).numpy()
    np.testing.assert_allclose(rows, own, atol=1e-5)
    assert np.abs(teacher.encode_video(pixels.flip(1)) - rows).max() > 1e-3
    assert teacher.encode(["squat", "wave the left hand"]).shape == (2, 12)


def test_what_a_video_teacher_lacks_is_named(clip_folder, tmp_path, monkeypatch):
    with pytest.raises(TmorError, match=r"neither preprocessor_config\.json nor processor_config\.json in .* gives"):
        load_video_teacher(str(clip_folder)).encode_video(torch.zeros(1, 8, 3, 8, 8, dtype=torch.uint8))
    image_files(clip_folder)
    with pytest.raises(ValueError, match=r"pixels are torch\.float32; expected torch\.uint8, RGB"):
        load_video_teacher(str(clip_folder)).encode_video(torch.zeros(1, 8, 3, 8, 8))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "model.safetensors").write_bytes(b"")
    (tmp_path / "text" / "config.json").write_text('{"model_type": "bert", "hidden_size": 16}')
    with pytest.raises(TmorError, match="is a 'bert', which has no image or video encoder; expected ViCLIP, X-CLIP"):
        load_video_teacher(str(tmp_path / "text"))
    (tmp_path / "text" / "config.json").write_text("{")
    with pytest.raises(TmorError, match=r"config\.json is no JSON"):
        load_video_teacher(str(tmp_path / "text"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    expected = r"'no/such' is neither a folder nor could it be fetched .*; pass a folder with .*, or give ViCLIP's"
    with pytest.raises(TmorError, match=expected):
        load_video_teacher("no/such")
    with pytest.raises(TmorError, match=r"missing\.pth: there is no such file; expected a checkpoint of ViCLIP"):
        load_video_teacher("viclip:missing.pth")


def test_viclip_is_a_teacher_of_both(tmp_path):
    from tmor.teachers.viclip import MEAN, STD, ViCLIP, ViClipShape, load_viclip

    shape = ViClipShape(patch=8, grid=2, frames=4, width=64, layers=1, text_width=64, text_layers=1, output=12)
    torch.manual_seed(0)
    torch.save({"model": ViCLIP(shape).state_dict()}, tmp_path / "viclip.pth")
    teacher = load_video_teacher(f"viclip:{tmp_path / 'viclip.pth'}")
    assert (teacher.frames, teacher.size, teacher.width) == (4, 16, 12)
    pixels = torch.randint(256, (2, 4, 3, 16, 16), dtype=torch.uint8)
    x = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    own = load_viclip(tmp_path / "viclip.pth")
    np.testing.assert_allclose(teacher.encode_video(pixels), own.encode_video(x).numpy(), atol=1e-5)
    text = load_text_teacher(str(tmp_path / "viclip.pth"))
    assert text.hash == teacher.hash == own.hash
    try:
        rows = text.encode(["wave the left hand", "squat"])
    except TmorError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(rows, own.encode_text(["wave the left hand", "squat"]).numpy(), atol=1e-6)
    assert text.encode([]).shape == (0, 12)


def test_loading_a_teacher_says_nothing(capfd):
    load_text_teacher("offline").encode(["walk"])
    assert capfd.readouterr() == ("", "")
