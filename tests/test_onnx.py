"""The exported model: it says what the model says, needs no torch, and doubts every file."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tmor.model.model
import tmor.serve.onnx as subject
from letters import Teacher
from tmor.errors import FormatError, TmorError
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import BODY_PARTS, UnikShape
from tmor.serve import export
from tmor.serve.predict import predict_tracks
from tmor.skeleton.canonical import prepare, stretch
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

TINY = ModelSpec(
    "tiny",
    UnikShape((16,), (4,)),
    clip_frames=8,
    longest_s=2.0,
    width=4,
    teacher_width=12,
    teacher_hash="letters",
    training={"date": "2026-01-01"},
)
LABELS = ("jumping_jacks", "wave", "Sit Down")


def stirred(spec: ModelSpec) -> Model:
    """A model with every norm moved to where training might leave it."""
    torch.manual_seed(0)
    model = Model(spec)
    with torch.no_grad():
        model.whitening.normal_()
        model.known_texts.normal_()
        model.known_motions.normal_(std=0.3)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1)
                module.bias.uniform_(-0.3, 0.3)
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def wandering(frames: int, *, fps: float | None = 15.0, dims: int = 2, unseen: float = 0.0, seed: int = 0) -> Track:
    """Somebody who never repeats himself; a share of the joints is unseen, and the head always where any is."""
    rng = np.random.default_rng(seed)
    pose = np.array(sample_track("squat").keypoints[0])[:, :dims]
    points = 100 * (pose + np.cumsum(0.02 * rng.normal(size=(frames, 17, dims)), axis=0) + 3)
    points[rng.random((frames, 17)) < unseen] = np.nan
    if unseen:
        points[:, UNIK17.joints.index("head")] = np.nan
        points[frames // 3 : frames // 2] = np.nan  # nobody is seen for a while
    return Track(points.astype(np.float32), UNIK17, fps)


TRACKS = [
    *(wandering(frames, dims=dims, seed=frames) for frames in (1, 2, 8, 9, 31, 100) for dims in (2, 3)),
    *(wandering(60, dims=dims, unseen=0.3, fps=fps) for dims in (2, 3) for fps in (15.0, 24.0, None)),
    *(wandering(300, dims=dims, unseen=0.2) for dims in (2, 3)),
    wandering(700, fps=None),
]


@pytest.fixture(scope="module", autouse=True)
def _offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(tmor.model.model, "load_text_teacher", lambda name: Teacher())
        yield


@pytest.fixture(scope="module")
def model() -> Model:
    examples = {"twist": [wandering(40, seed=7), wandering(50, seed=8, dims=3)], "wave": [wandering(30, seed=9)]}
    shape = UnikShape((16,), (4,), heads=2, separable=True, parts=BODY_PARTS)
    model = stirred(replace(TINY, shape=shape, known=3, classes=("lie", "stand")))
    with torch.no_grad():
        # So that tracks get answers that differ.
        features = torch.from_numpy(model.features(TRACKS))
        model.centre.copy_(features.mean(dim=0))
        assert model.motion_head is not None and model.class_head is not None
        model.motion_head.layers[0].running_mean.copy_(features.mean(dim=0))  # pyright: ignore
        model.motion_head.layers[0].running_var.copy_(features.var(dim=0))  # pyright: ignore
        logits = model.class_head(features)
        model.class_head.weight.div_(logits.std(dim=0).mean())
        model.class_head.bias.sub_(model.class_head(features).mean(dim=0))
    return model.enroll(examples).adapt(TRACKS[:6])


@pytest.fixture(scope="module")
def converted(model) -> dict[str, object]:
    """What torch's exporter makes of the model; it takes seconds, so once for all tests."""
    return {"_trunk": export._trunk(model), "_views": export._views(model.spec)}


@pytest.fixture
def exporter(converted, monkeypatch):
    for name, value in converted.items():
        monkeypatch.setattr(export, name, lambda *_, value=value: type(value).FromString(value.SerializeToString()))
    return export.export_onnx


@pytest.fixture(scope="module")
def path(model, converted, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in converted.items():
            patch.setattr(export, name, lambda *_, value=value: type(value).FromString(value.SerializeToString()))
        export.export_onnx(model, path, labels=LABELS)
    return path


@pytest.fixture(scope="module")
def exported(path) -> subject.OnnxModel:
    return subject.load_onnx(path)


# --- the same answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("track", TRACKS, ids=repr)
def test_features_and_projections_agree_with_torch(model, exported, track):
    expected, found = model.features([track]), exported.features([track])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(exported.project(found), model.project(expected), atol=1e-4)
    np.testing.assert_allclose(exported.unit(found), model.unit(expected), atol=1e-4)


@pytest.mark.parametrize("none", [False, True])
@pytest.mark.parametrize(
    "labels", [None, ("sit down", "Jumping Jacks"), ("twist", "wave"), ("wave", "Sit Down", "twist")]
)
def test_classify_and_detect_agree_with_torch(model, exported, labels, none):
    expected, found = model.classify(TRACKS, labels, none=none), exported.classify(TRACKS, labels, none=none)
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    assert expected.probabilities.std(axis=0).max() > 0.01, "or agreement would be cheap"
    for track in TRACKS[-6:]:
        theirs, ours = model.detect(track, labels, none=none), exported.detect(track, labels, none=none)
        assert [s.label for s in ours] == [s.label for s in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert (a.start_s, a.end_s, a.score) == pytest.approx((b.start_s, b.end_s, b.score), abs=1e-4)


def test_a_model_that_sees_3d_agrees_and_takes_nothing_else(tmp_path):
    spec = replace(TINY, stream="joint-3d", channels=6, width=0, classes=("a", "b"))
    model = stirred(spec)
    export.export_onnx(model, tmp_path / "deep.onnx")
    exported = subject.load_onnx(tmp_path / "deep.onnx")
    deep = [track for track in TRACKS if track.dims == 3]
    assert deep and len(deep) < len(TRACKS)
    found = exported.features(deep)
    np.testing.assert_allclose(found, model.features(deep), atol=1e-4)
    assert found.std(axis=0).max() > 0.01, "or agreement would be cheap"
    for flat in (model, exported):
        with pytest.raises(TmorError, match=r"^model 'tiny' sees movements in 3D; this one is in 2D$"):
            flat.features([track for track in TRACKS if track.dims == 2])


@pytest.mark.slow
def test_other_models_agree_too(tmp_path):
    # 3D bones, several person slots, no heads.
    spec = replace(TINY, shape=UnikShape((8,), (4,), persons=2), channels=3, stream="bone", width=0, classes=("a", "b"))
    model = stirred(spec)
    export.export_onnx(model, tmp_path / "other.onnx")
    exported = subject.load_onnx(tmp_path / "other.onnx")
    np.testing.assert_allclose(exported.features(TRACKS), model.features(TRACKS), atol=1e-4)
    np.testing.assert_allclose(exported.classify(TRACKS).probabilities, model.classify(TRACKS).probabilities, atol=1e-4)
    with pytest.raises(
        TmorError, match=r"^model 'tiny' has no projection heads and can't compare movements with text$"
    ):
        exported.project(model.features(TRACKS[:1]))


def test_the_graph_takes_several_persons_at_once_and_gives_each_a_row(path, model, exported):
    session = ort.InferenceSession(path)
    clips = [prepare(wandering(40, seed=seed, unseen=0.1 * seed), fps=15.0) for seed in range(5)]
    known = exported.features(TRACKS[:2])
    features, units, embeddings, logits = session.run(None, {"clips": np.stack(clips), "known": known})
    each = np.concatenate([session.run(["features"], {"clips": clip[None]})[0] for clip in clips])
    np.testing.assert_allclose(features, np.concatenate([each, known]), atol=1e-5)
    np.testing.assert_allclose(units, model.unit(features), atol=1e-4)
    np.testing.assert_allclose(embeddings, model.project(features), atol=1e-4)
    with torch.inference_mode():
        np.testing.assert_allclose(logits, model.class_head(torch.from_numpy(features)).numpy(), atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 15, 22, 57])
def test_the_graph_stretches_clips_itself(path, frames):
    session = ort.InferenceSession(path)
    clip = prepare(wandering(frames, unseen=0.4), fps=15.0)
    given, stretched = (session.run(["features"], {"clips": c[None]})[0] for c in (clip, stretch(clip, 8)))
    np.testing.assert_array_equal(given, stretched)


def test_8_bits_nearly_agree(model, exporter, tmp_path):
    exporter(model, tmp_path / "small.onnx", labels=LABELS, int8=True)
    small = subject.load_onnx(tmp_path / "small.onnx")
    assert small.spec.card["int8"] is True
    kinds = {i.data_type for i in onnx.load(tmp_path / "small.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    ours, theirs = small.features(TRACKS), model.features(TRACKS)
    ours, theirs = ours - theirs.mean(axis=0), theirs - theirs.mean(axis=0)
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert np.median(cosines) > 0.95
    assert not np.allclose(ours, theirs, atol=1e-4)


# --- what is in the file ---------------------------------------------------------------------------------------------


def test_the_file_says_what_it_is(exported, model):
    spec = exported.spec
    assert (spec.name, spec.fps, spec.clip_frames, spec.classes) == ("tiny", 15.0, 8, ("lie", "stand"))
    assert exported.labels == (*LABELS, "twist")
    assert spec.longest_frames == model.spec.longest_frames
    assert spec.card["training"] == {"date": "2026-01-01"}
    assert spec.card["teacher_hash"] == "letters"
    assert spec.card["int8"] is False


def test_the_file_tells_nothing_of_the_machine_that_it_was_made_on(path):
    assert str(Path(subject.__file__).parents[3]).encode() not in path.read_bytes()


def test_without_labels_those_that_were_exported_are_told_apart(model, exported):
    plain = subject.OnnxModel(replace(exported.spec, classes=()), exported._session)
    expected = model.classify(TRACKS[:3], exported.labels)
    found = plain.classify(TRACKS[:3])
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    none = subject.OnnxModel(replace(plain.spec, labels=(), texts={}, examples={}), exported._session)
    with pytest.raises(TmorError, match=r"no classes of its own and was exported without labels: export it again with"):
        none.classify(TRACKS[:1])


def test_labels_that_are_not_in_the_file_are_named(exported):
    with pytest.raises(TmorError) as error:
        exported.classify(TRACKS[:1], ["wave", "swim", "fly"])
    assert str(error.value) == (
        "'tiny' was exported without labels swim, fly; it knows jumping_jacks, wave, Sit Down, twist. An exported "
        "model has no text teacher: export it again with these labels"
    )
    with pytest.raises(TmorError, match=r"^label 'wave' is given twice$"):
        exported.detect(TRACKS[0], ["wave", "wave"])


def test_prediction_by_track_works_as_with_the_model(model, exported):
    tracks = [TRACKS[5], replace(TRACKS[5], keypoints=np.full_like(TRACKS[5].keypoints, np.nan))]
    (ours,), (theirs,) = (predict_tracks(m, tracks, ["wave", "twist"]) for m in (exported, model))
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
    with pytest.raises(TmorError, match="has no visible joint"):
        exported.features(tracks)


def test_running_needs_no_torch(path):
    code = f"""
import sys
import numpy as np
from tmor.serve.onnx import load_onnx
from tmor.serve.predict import as_json, predict_tracks
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track
track = Track(np.random.default_rng(0).normal(size=(90, 17, 3)), UNIK17, 30.0)
print(as_json("x", predict_tracks(load_onnx({str(path)!r}), [track], ["wave", "sit down"])))
heavy = {{"torch", "transformers", "onnx", "scipy", "sklearn"}} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sit down" in done.stdout


# --- what can't be exported ------------------------------------------------------------------------------------------


def test_what_can_t_be_exported_is_said(tmp_path, monkeypatch, model):
    with pytest.raises(TmorError, match=r"^label 'a' is given twice$"):
        export.export_onnx(model, tmp_path / "x.onnx", labels=["a", "a"])
    with pytest.raises(TmorError, match="has no text head"):
        export.export_onnx(stirred(replace(TINY, width=0)), tmp_path / "x.onnx", labels=["a"])
    with pytest.raises(TmorError, match="sees 5 joints"):
        export.export_onnx(Model(replace(TINY, joints=5)), tmp_path / "x.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(TmorError, match=r"^export needs onnx and onnxscript: pip install onnx onnxscript"):
        export.export_onnx(model, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


# --- files to doubt --------------------------------------------------------------------------------------------------


def foreign(path: Path, metadata: dict[str, str], *, width: int = 3) -> Path:
    """A whole ONNX file of somebody else's: it doubles what it is given."""
    graph = onnx.parser.parse_graph(f"g (float[n, {width}] x) => (float[n, {width}] y) {{ y = Add (x, x) }}")
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.helper.set_model_props(made, metadata)
    path.write_bytes(made.SerializeToString())
    return path


def described(path: Path) -> dict:
    return json.loads(onnx.load(path).metadata_props[0].value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a skeleton walks into a bar", "not a complete ONNX file"),
        (b"\x7fELF" + bytes(100), "not a complete ONNX file"),
        (b"PK\x03\x04" + bytes(100), "not a complete ONNX file"),
        (b"\x08\x0a" * 20_000, "not a complete ONNX file"),
        (b"\xff" * 100, "not a complete ONNX file"),
    ],
)
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content, message):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        subject.load_onnx(tmp_path / "x.onnx")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="there is no such file"):
        subject.load_onnx(tmp_path / "x.onnx")
    with pytest.raises(FormatError, match="can't be read"):
        subject.load_onnx(tmp_path)


def test_a_truncated_or_too_large_file_is_refused(tmp_path, path, monkeypatch):
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "x.onnx").write_bytes(content[: int(share * len(content))])
        with pytest.raises(FormatError):
            subject.load_onnx(tmp_path / "x.onnx")
    monkeypatch.setattr(subject, "_LARGEST_FILE", 1000)
    with pytest.raises(FormatError, match="models have at most 1,000"):
        subject.load_onnx(path)


def test_somebody_else_s_model_is_refused(tmp_path, path):
    with pytest.raises(
        FormatError, match=r"has no 'tmor' metadata; only files that tmor export onnx wrote can be run$"
    ):
        subject.load_onnx(foreign(tmp_path / "x.onnx", {"author": "somebody"}))
    with pytest.raises(FormatError, match="expected clips and known"):
        subject.load_onnx(foreign(tmp_path / "x.onnx", {"tmor": json.dumps(described(path))}))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": "15"},
        {"matching": {}},
        {"matching": {"text_level": 0, "text_temperature": -1, "example_level": 0, "example_temperature": 1}},
        {"matching": {"text_level": "x", "text_temperature": 1, "example_level": 0, "example_temperature": 1}},
        {"clip_frames": 10**9},
        {"features": 2.5},
        {"features": 17},
        {"width": -1},
        {"labels": ["one"]},
        {"labels": None},
        {"examples": []},
        {"texts": {"shape": [3, 4], "float32": "AAAA"}},
        {"texts": {"shape": [3, 4], "float32": "no base 64!"}},
        {"texts": {"shape": [1 << 60, 1 << 60], "float32": ""}},
        {"texts": {"shape": [3, 4], "float32": base64.b64encode(np.full(12, np.nan, "<f4").tobytes()).decode()}},
        {"card": 3},
    ],
    ids=str,
)
def test_metadata_that_can_t_be_are_refused(tmp_path, path, change):
    values = described(path) | change
    with pytest.raises(FormatError, match=r"description of the model is not valid|is of format 2"):
        subject.load_onnx(foreign(tmp_path / "x.onnx", {"tmor": json.dumps(values)}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "[" * 100_000, "{"])
def test_metadata_that_are_no_description_are_refused(tmp_path, text):
    with pytest.raises(FormatError, match="description of the model is not valid"):
        subject.load_onnx(foreign(tmp_path / "x.onnx", {"tmor": text}))


def test_weights_outside_the_file_are_not_read(tmp_path, path):
    (tmp_path / "secret").write_bytes(bytes(1 << 16))
    changed = onnx.load(path)
    weight = max(changed.graph.initializer, key=lambda i: len(i.raw_data))
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(tmp_path / "secret"))
    weight.ClearField("raw_data")
    (tmp_path / "x.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(FormatError, match="ONNX Runtime can't load it"):
        subject.load_onnx(tmp_path / "x.onnx")


def test_a_graph_that_fails_when_run_is_an_error_of_the_file(exported, tmp_path):
    class Session:
        def run(self, outputs, feeds):
            return [np.zeros((7, 16), np.float32)]

    broken = subject.OnnxModel(exported.spec, Session())  # pyright: ignore[reportArgumentType]
    with pytest.raises(FormatError, match="gives features of shape"):
        broken.features(TRACKS[:1])
    with pytest.raises(FormatError, match="ONNX Runtime can't run it"):
        exported._run("features", np.zeros((1, 5, 16, 2)), np.zeros((0, 16)))
