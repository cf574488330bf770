import math
import os
import pickle
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from plain_unik import PlainUnik, stirred
from tmor.errors import CheckpointError
from tmor.model.checkpoint import load_model, save_model
from tmor.model.model import Model, ModelSpec
from tmor.model.published import import_unik
from tmor.model.unik import BASE, BODY_PARTS, SMALL, UNIK, UnikShape

NARROW = UnikShape(widths=(8, 8, 16, 16), strides=(1, 2, 2, 1))
SEPARABLE = replace(NARROW, heads=2, separable=True, parts=BODY_PARTS)
TEN = (8, 8, 8, 8, 16, 16, 16, 32, 32, 32)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def written(path, net: PlainUnik, **changes):
    """The tensors of a plain network in a file; ``None`` leaves a tensor out."""
    tensors = {k: v for k, v in (net.state_dict() | changes).items() if v is not None}
    torch.save(tensors, path)
    return path


def trained(encoder: UNIK) -> UNIK:
    """In eval mode, with every norm moved to where training might leave it."""
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.weight.uniform_(0.5, 1)
                module.bias.uniform_(-0.3, 0.3)
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    return encoder.eval()


def bodies(*shape: int, absent=()) -> torch.Tensor:
    x = torch.randn(*shape)
    for clip, person in absent:
        x[clip, person] = 0
    return x


def theirs(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 4, 2, 3, 1)


def same(a: torch.Tensor, b: torch.Tensor, *, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


# Ours equals the plain network.


@pytest.mark.parametrize("grad", [True, False], ids=["as trained", "as used"])
@pytest.mark.parametrize(
    ("joints", "channels", "heads", "frame_counts"),
    [(17, 2, 3, (1, 35, 64, 150)), (17, 3, 2, (9, 41)), (25, 3, 3, (35,))],
)
def test_features_are_those_of_the_plain_network(tmp_path, joints, channels, heads, frame_counts, grad):
    net = stirred(PlainUnik(joints=joints, channels=channels, heads=heads, widths=TEN))
    encoder = import_unik(written(tmp_path / "net.pt", net)).encoder
    assert (encoder.joints, encoder.channels, encoder.shape.persons) == (joints, channels, 2)
    for frames in frame_counts:
        x = bodies(4, 2, frames, joints, channels, absent=[(0, 1), (2, 1), (3, 0)])
        with torch.set_grad_enabled(grad):
            same(encoder(x), net(theirs(x)))
            same(encoder.frames(x), net.frames(theirs(x)))


def test_the_full_size_network_too(tmp_path):
    net = stirred(PlainUnik())
    encoder = import_unik(written(tmp_path / "net.pt", net)).encoder
    x = bodies(2, 2, 64, 17, 2, absent=[(1, 1)])
    with torch.inference_mode():
        same(encoder(x), net(theirs(x)))
        same(encoder.frames(x), net.frames(theirs(x)))


@pytest.mark.parametrize("frames", [1, 2, 7, 40, 41, 83, 150])
@pytest.mark.parametrize("shape", [NARROW, SEPARABLE], ids=["narrow", "separable"])
def test_inference_equals_the_blocks_as_trained(shape, frames):
    encoder = trained(UNIK(shape))
    x = bodies(11, 1, frames, 17, 2)
    as_trained = encoder(x).detach(), encoder.frames(x).detach()
    with torch.inference_mode():
        same(encoder(x), as_trained[0])
        same(encoder.frames(x), as_trained[1])
    assert encoder._fast is not None


def test_inference_sees_every_change_of_the_weights():
    encoder, x = trained(UNIK(NARROW)), bodies(2, 1, 9, 17, 2)

    def change():
        with torch.no_grad():
            encoder.blocks[1].temporal.conv.weight.mul_(2)

    def load():
        encoder.load_state_dict(trained(UNIK(NARROW)).state_dict())

    def step():
        encoder.train()
        encoder(x).sum().backward()
        torch.optim.AdamW(encoder.parameters(), lr=0.1).step()
        encoder.eval()

    for event in (change, load, step):
        with torch.no_grad():
            before = encoder(x)
        event()
        with torch.no_grad():
            now = encoder(x)
        same(now, encoder(x).detach())
        assert not torch.allclose(now, before, atol=1e-4)
    encoder.half().float()
    assert encoder._fast is None


def test_export_takes_the_blocks_as_trained():
    encoder, x = trained(UNIK(NARROW)), bodies(1, 1, 12, 17, 2)
    with torch.no_grad():
        exported = torch.export.export(encoder, (x,)).module()
        assert encoder._fast is None
        same(exported(x), encoder(x))


# What the encoder promises.


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (4, 1), (5, 2), (35, 9), (64, 16), (150, 38)])
def test_one_feature_for_every_four_frames(frames, steps):
    for shape in (NARROW, SMALL) if frames < 64 else (NARROW,):
        with torch.inference_mode():
            encoder, x = UNIK(shape).eval(), bodies(1, 1, frames, 17, 2)
            assert encoder.frames(x).shape == (1, steps, encoder.features)
            same(encoder.frames(x).mean(dim=1), encoder(x))
    assert math.prod(BASE.strides) == math.prod(SMALL.strides) == 4


def test_features_of_parts_are_means_over_their_joints_side_by_side():
    parts = ((0, 3), (16,))
    whole, apart = trained(UNIK(NARROW)), UNIK(replace(NARROW, parts=parts)).eval()
    apart.load_state_dict(whole.state_dict())
    x = bodies(3, 1, 9, 17, 2)
    blocks = whole._blocks(whole._normalise(x[:, 0]), lambda h: h).detach()  # (rows, joints, frames, width)
    expected = torch.cat([blocks[:, list(part)].mean(dim=1) for part in parts], dim=-1)
    assert apart.features == 2 * whole.features == 32
    same(apart.frames(x).detach(), expected)
    same(apart(x).detach(), expected.mean(dim=1))


def test_the_parts_of_the_body_are_its_seventeen_joints():
    assert sorted(joint for part in BODY_PARTS for joint in part) == list(range(17))


def test_a_separable_convolution_is_one_whose_taps_are_products():
    full, separable = UNIK(NARROW), UNIK(replace(NARROW, separable=True))
    assert sum(p.numel() for p in separable.parameters()) < 0.7 * sum(p.numel() for p in full.parameters())
    own, across = separable.blocks[1].temporal
    x = bodies(2, 17, 9, 8)
    taps, mix = own.conv.weight[:, 0, 0], across.conv.weight[:, :, 0, 0]
    padded = torch.nn.functional.pad(x, (0, 0, 4, 4))
    swept = torch.stack([(padded[:, :, t : t + 9] * taps.T).sum(dim=2) for t in range(0, 9, 2)], dim=2)
    own.eval(), across.eval()
    expected = (swept + own.conv.bias) @ mix.T + across.conv.bias  # a fresh norm only divides by sqrt(1 + eps)
    same(separable.blocks[1].temporal(x), expected, atol=1e-3)


def test_absent_persons_take_no_part_and_present_ones_are_averaged():
    encoder = trained(UNIK(NARROW))
    x = bodies(3, 4, 9, 17, 2, absent=[(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3)])
    with torch.inference_mode():
        for call in (encoder, encoder.frames):
            got = call(x)
            same(got[0], call(x[:1, :1])[0])
            same(got[1], (call(x[1:2, 1:2]) + call(x[1:2, 3:]))[0] / 2)
            assert not got[2].any()  # nobody is there
            assert not call(torch.zeros(2, 3, 9, 17, 2)).any()


def test_absent_persons_do_not_reach_the_statistics_of_training():
    alone, padded = UNIK(NARROW), UNIK(NARROW)
    padded.load_state_dict(alone.state_dict())
    x = bodies(4, 1, 9, 17, 2)
    same(padded(torch.cat([x, torch.zeros_like(x)], dim=1)), alone(x))
    for name, tensor in alone.state_dict().items():
        same(padded.state_dict()[name], tensor)


@pytest.mark.parametrize("persons", [None, 2])
def test_a_clip_alone_is_the_clip_in_a_batch(persons):
    encoder = trained(UNIK(UnikShape(NARROW.widths, NARROW.strides, persons=persons)))
    x = bodies(20, 2, 13, 17, 2, absent=[(i, i % 2) for i in range(0, 20, 3)])
    with torch.inference_mode():
        same(encoder(x), torch.cat([encoder(clip[None]) for clip in x]))
        same(encoder(x.flip(0)).flip(0), encoder(x))


def test_input_of_another_shape_is_named():
    with pytest.raises(
        ValueError, match=re.escape("(1, 1, 8, 25, 2); expected (batch, persons, frames, 17 joints, 2 chan")
    ):
        UNIK(NARROW)(torch.zeros(1, 1, 8, 25, 2))
    with pytest.raises(ValueError, match="input has 1 persons; this network has 2 person slots"):
        UNIK(UnikShape((8,), (1,), persons=2))(torch.zeros(1, 1, 8, 17, 2))
    with pytest.raises(ValueError, match="2 widths and 1 strides; expected one stride per block"):
        UnikShape((8, 8), (1,))
    with pytest.raises(ValueError, match="3 numbers of heads for 2 blocks"):
        UnikShape((8, 8), (1, 1), heads=(3, 3, 3))


def test_size():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    ours = count(UNIK())
    assert ours == 3_440_610
    # The published network has a norm for each of two persons, `bias` in each block, one bias per head, and `fc`.
    extra = 2 * 17 * 2 + 10 * 17 + sum(2 * width for width in BASE.widths) + 257 * 60
    assert count(PlainUnik(classes=60)) == ours + extra


def test_initialisation():
    encoder = UNIK()
    for block, width in zip(encoder.blocks, BASE.widths, strict=True):
        spatial = block.spatial
        # Kaiming uniform, a = sqrt 5, of (heads, V, V): the fan in is V x V.
        assert spatial.dependency.abs().max() <= 1 / 17
        assert spatial.dependency.std().item() == pytest.approx(1 / 17 / math.sqrt(3), rel=0.1)
        assert spatial.mix.weight.std().item() == pytest.approx(math.sqrt(2 / (width * 3)), rel=0.1)
        assert spatial.attend.weight.std().item() == pytest.approx(math.sqrt(2 / (width // 4)), rel=0.1)
        assert spatial.norm.weight.unique().item() == pytest.approx(1e-6)
        assert block.temporal.norm.weight.unique().item() == 1
        for unit, taps in ((block.temporal, 9), (block.residual, 1), (spatial.down, 1)):
            if unit is not None:
                assert unit.conv.weight.std().item() == pytest.approx(math.sqrt(2 / (width * taps)), rel=0.15)
                assert not unit.conv.bias.any()
        assert not spatial.mix.bias.any()
        assert not spatial.attend.bias.any()
    assert [block.residual is not None for block in encoder.blocks] == [i in (4, 7) for i in range(10)]
    assert [block.has_residual for block in encoder.blocks] == [i > 0 for i in range(10)]


def test_gradient_reaches_every_parameter():
    encoder = trained(UNIK(UnikShape((8, 8, 16), (1, 2, 1)))).train()
    encoder(bodies(3, 2, 8, 17, 2)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias before a batch norm cancels, and so does a's share that is the same for all of b's joints.
        if not re.search(r"(conv|mix|attend)\.bias$", name):
            assert parameter.grad.abs().max() > 1e-7, name


# Published checkpoints.


def test_import_of_a_wrapped_checkpoint(tmp_path):
    net = stirred(PlainUnik(widths=TEN, heads=4))  # block 1 keeps its own 3
    plain = import_unik(written(tmp_path / "posetics.pt", net))
    assert plain.spec.shape == UnikShape(TEN, BASE.strides, heads=(3, *[4] * 9), persons=2)
    assert (plain.spec.name, plain.spec.width, plain.spec.teacher) == ("posetics", 0, "")
    assert plain.spec.training == {"source": "posetics.pt"}
    assert not plain.training
    parallel = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    for key in ("model", "state_dict", "model_state_dict"):
        torch.save({key: parallel, "epoch": 7}, tmp_path / "wrapped.pth")
        for name, tensor in import_unik(tmp_path / "wrapped.pth").state_dict().items():
            assert torch.equal(tensor, plain.state_dict()[name]), name
    no_head = written(tmp_path / "bare.pt", net, **{"fc.weight": None, "fc.bias": None, "l3.s_unit.bias": None})
    assert import_unik(no_head).spec.shape == plain.spec.shape
    assert import_unik(written(tmp_path / "one.pt", stirred(PlainUnik(widths=TEN, persons=1)))).spec.shape.persons == 1


def test_import_with_other_strides(tmp_path):
    net = stirred(PlainUnik(widths=(8, 8, 8), strides=(2, 1, 2)))
    path, x = written(tmp_path / "net.pt", net), bodies(2, 2, 10, 17, 2)
    with torch.inference_mode():
        same(import_unik(path, strides=(2, 1, 2)).encoder(x), net(theirs(x)))
    with pytest.raises(CheckpointError, match=r"holds 3 blocks l1, l2, \.\.\. of UNIK; expected 10"):
        import_unik(path)
    with pytest.raises(CheckpointError, match=r"tensor 'l3\.residual\..*' is unexpected"):
        import_unik(path, strides=(2, 1, 1))


def test_imported_encoder_comes_back_from_disk(tmp_path):
    model = import_unik(written(tmp_path / "net.pt", stirred(PlainUnik(widths=TEN, heads=4))))
    save_model(model, tmp_path / "net.safetensors")
    back = load_model(tmp_path / "net.safetensors")
    assert back.spec == model.spec
    x = bodies(1, 2, 9, 17, 2)
    with torch.inference_mode():
        assert torch.equal(back.encoder(x), model.encoder(x))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("l4.t_unit.conv.weight", None, "tensor 'l4.t_unit.conv.weight' is missing"),
        ("l2.s_unit.conv_d.2.bias", None, "tensor 'l2.s_unit.conv_d.2.bias' is missing"),
        ("l7.s_unit.DepM", None, "tensor 'l7.s_unit.DepM' is missing"),
        ("data_bn.running_var", None, "tensor 'data_bn.running_var' is missing"),
        ("l1.residual.bn.bias", torch.zeros(8), "tensor 'l1.residual.bn.bias' is unexpected"),
        ("l2.s_unit.conv_a.3.weight", torch.zeros(2, 8, 1, 1), "tensor 'l2.s_unit.conv_a.3.weight' is unexpected"),
        ("extra", torch.zeros(1), "tensor 'extra' is unexpected"),
        ("l4.t_unit.conv.weight", torch.zeros(8, 8, 5, 1), "(8, 8, 5, 1); expected (8, 8, 9, 1)"),
        ("l3.s_unit.DepM", torch.zeros(3, 25, 25), "'l3.s_unit.DepM' has shape (3, 25, 25); expected (3, 17, 17)"),
        ("l3.s_unit.DepM", torch.zeros(17, 17), "'l3.s_unit.DepM' has shape (17, 17); expected 3 dimensions"),
        ("data_bn.weight", torch.zeros(67), "data_bn covers 67; expected persons x 17 joints x 2 channels"),
        ("l1.s_unit.DepM", 3, "entry 'l1.s_unit.DepM' is of type int; expected tensors by name"),
    ],
)
def test_import_names_the_tensor_that_does_not_fit(tmp_path, name, tensor, message):
    path = written(tmp_path / "net.pt", PlainUnik(widths=TEN), **{name: tensor})
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        import_unik(path)
    assert str(path) in str(error.value)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_import_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pt"
    for content in (Evil(), {"state_dict": PlainUnik(widths=TEN).state_dict(), "hook": Evil()}):
        torch.save(content, path)
        with pytest.raises(
            CheckpointError, match=r"would run code when read \(\w+\.mkdir\), so it was not; expected tensors"
        ):
            import_unik(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="not tensors and plain containers alone; nothing in it was run"):
        import_unik(path)
    assert not (tmp_path / "evil").exists()


def test_import_of_what_is_no_checkpoint(tmp_path):
    path = tmp_path / "net.pt"
    with pytest.raises(CheckpointError, match=r"net\.pt: there is no such file"):
        import_unik(path)
    whole = written(path, PlainUnik(widths=TEN)).read_bytes()
    for content in (b"", b"PK\x03\x04 and no more", b"hello, world", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net\.pt: not "):
            import_unik(path)
    for content, kind in (([1, 2], "list"), ({}, "dict"), (torch.zeros(2), "Tensor")):
        torch.save(content, path)
        with pytest.raises(
            CheckpointError,
            match=f"holds {kind}; expected tensors by name, or a dict with one of state_dict, model_state_dict, model",
        ):
            import_unik(path)


# Our checkpoints.


@pytest.fixture
def model() -> Model:
    spec = ModelSpec("tiny", NARROW, width=8, teacher_width=6, video_width=5, training={"data": ["a"], "seed": 1})
    model = Model(spec)
    trained(model.encoder)
    return model.eval()


def test_checkpoint_comes_back(tmp_path, model):
    save_model(model, tmp_path / "deep" / "tiny.safetensors")
    back = load_model(tmp_path / "deep" / "tiny.safetensors")
    assert back.spec == model.spec
    assert not back.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["tiny.safetensors"]


def test_half_precision_checkpoint(tmp_path, model):
    save_model(model, tmp_path / "whole.safetensors")
    save_model(model, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.75 * sizes[1]
    back = load_model(tmp_path / "half.safetensors")
    for name, tensor in model.state_dict().items():
        assert back.state_dict()[name].dtype == tensor.dtype, name
        torch.testing.assert_close(back.state_dict()[name], tensor, atol=1e-6, rtol=2**-11)
    x = bodies(2, 1, 9, 17, 2)
    with torch.inference_mode():
        torch.testing.assert_close(back.encoder(x), model.encoder(x), atol=5e-3, rtol=5e-3)


def test_load_says_what_is_wrong(tmp_path, model):
    path = tmp_path / "tiny.safetensors"
    with pytest.raises(
        CheckpointError,
        match=r"tiny\.safetensors: there is no such checkpoint; shipped models are tmor-small, tmor-base",
    ):
        load_model(path)
    save_model(model, path)
    whole = path.read_bytes()
    for cut in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"tiny\.safetensors: not a readable safetensors file"):
            load_model(path)
    for metadata in (None, {"tmor": "{"}, {"tmor": '"model"'}, {"tmor": "7"}):
        save_file({"x": torch.zeros(1)}, path, metadata)
        with pytest.raises(
            CheckpointError, match="has no 'tmor' header; published encoders come in by tmor import-weights"
        ):
            load_model(path)
    save_file({"x": torch.zeros(1)}, path, {"tmor": '{"kind": "model"}'})
    with pytest.raises(CheckpointError, match="the description of the model is not valid: 'spec'"):
        load_model(path)
    object.__setattr__(model.spec, "stream", "bones")  # as a file from elsewhere may have it
    save_model(model, path)
    expected = "not valid: stream is 'bones'; expected one of joint, bone, joint-3d, bone-3d$"
    with pytest.raises(CheckpointError, match=expected):
        load_model(path)
    object.__setattr__(model.spec, "stream", "bone-3d")
    save_model(model, path)
    with pytest.raises(CheckpointError, match=r"not valid: stream bone-3d has 2 channels; expected 6$"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (
            "encoder.blocks.0.spatial.dependency",
            torch.zeros(3, 25, 25),
            "tensor 'encoder.blocks.0.spatial.dependency' has shape (3, 25, 25); expected (3, 17, 17)",
        ),
        ("encoder.extra", torch.zeros(1), "net.safetensors but not in the model"),
        ("encoder.data_bn.weight", None, "tensor 'encoder.data_bn.weight' is in the model but not in"),
    ],
)
def test_load_names_the_tensor_that_does_not_fit(tmp_path, model, name, tensor, message):
    path = tmp_path / "net.safetensors"
    tensors = {k: v for k, v in (model.state_dict() | {name: tensor}).items() if v is not None}
    model.state_dict = lambda: tensors
    save_model(model, path)
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        load_model(path)
    assert name in str(error.value)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, model, monkeypatch, call):
    path = tmp_path / "tiny.safetensors"
    save_model(model, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with torch.no_grad():
        model.encoder.data_bn.weight += 1
    with pytest.raises(OSError, match="No space left"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]
