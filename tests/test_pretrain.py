"""Pre-training on a tiny set: it learns, survives being killed at any moment, and says what is wrong with its input."""

import csv
import errno
import json
import multiprocessing
import os
import re
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tmor.model.model
from tmor.cli import app
from tmor.config import Augmentation, ClusterConfig, DataConfig, PretrainConfig, pretrain_config, read_pretrain_config
from tmor.errors import CheckpointError, ConfigError, FormatError, TmorError
from tmor.model.checkpoint import load_model, read_tensors, save_model, write_tensors
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import BODY_PARTS, UnikShape
from tmor.posecap.captions import describe, mirror_text
from tmor.posecap.triplets import Triplet, attach_videos
from tmor.pretrain import loop
from tmor.pretrain.clips import Clips
from tmor.pretrain.distillation import Distillation, check_input, teacher_embeddings
from tmor.pretrain.loop import pretrain, read_training_data
from tmor.pretrain.losses import cluster_nce, paired_nce
from tmor.pretrain.ranks import Ranks
from tmor.pretrain.sampling import SAME_TEXT
from tmor.skeleton.formats import write_packed
from tmor.skeleton.sample import sample_track
from tmor.teachers.cache import embed_texts
from tmor.teachers.huggingface import TextTeacher, load_text_teacher

ACTIONS = ("walk", "clap", "squat", "drink", "jump")
TINY = PretrainConfig(
    data=(DataConfig("toy.npz"),),
    clip_frames=8,
    width=32,
    self_epochs=2,
    text_epochs=2,
    epoch_samples=32,
    batch=8,
    bank=16,
    learning_rate=2e-3,
    warmup=4,
)
BRIEF = replace(TINY, self_epochs=1, text_epochs=1, epoch_samples=8)


class Teacher:
    """A text teacher for whom every text means something else."""

    def __init__(self, name: str = "offline") -> None:
        self.name, self.hash, self.width, self.asked = name, f"hash of {name}", 12, 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.width) for text in texts]
        x = np.stack(rows).astype(np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _one_thread_and_an_easy_teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loop, "load_text_teacher", Teacher)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sets: ``toy`` of 20 sequences with labels, ``bare`` of 10 without."""
    folder = tmp_path_factory.mktemp("data")
    tracks = [sample_track(action, body=n, style=n) for action in ACTIONS for n in range(4)]
    tracks = [replace(track, id=f"{n}") for n, track in enumerate(tracks)]
    write_packed(folder / "toy.npz", tracks, labels=[action for action in ACTIONS for _ in range(4)])
    write_packed(folder / "bare.npz", tracks[::2])
    return folder


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``TINY`` that nothing happened to."""
    out = tmp_path_factory.mktemp("run") / "whole"
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMOR_CACHE", str(out.parent / "cache"))
        patch.setattr(loop, "load_text_teacher", Teacher)
        torch.set_num_threads(1)
        pretrain(TINY, data=data, out=out)
        torch.set_num_threads(threads)
    return out


def log_of(out: Path) -> list[dict[str, Any]]:
    """The log without the times that epochs took."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def table_of(out: Path) -> list[dict[str, str]]:
    """log.csv, without the times that epochs took."""
    with (out / "log.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def weights_of(out: Path) -> dict[str, bytes]:
    return {name: x.numpy().tobytes() for name, x in read_tensors(out / "model.safetensors")[0].items()}


def same_run(one: Path, other: Path) -> bool:
    """Whether two runs have the same log, state and model, bit for bit."""
    states = [(out / "state.safetensors").read_bytes() for out in (one, other)]
    logs = log_of(one) == log_of(other) and table_of(one) == table_of(other)
    return states[0] == states[1] and logs and weights_of(one) == weights_of(other)


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


# --- learning --------------------------------------------------------------------------------------------------------


def test_the_loss_falls(data: Path, tmp_path: Path) -> None:
    settings = replace(TINY, self_epochs=3, text_epochs=5, bank=0, clusters=None, text_noise=0.0, epoch_samples=40)
    settings = replace(settings, augment=Augmentation(around=0.0))  # from all sides it falls, too, but slower
    pretrain(settings, data=data, out=tmp_path / "run")
    lines = log_of(tmp_path / "run")
    assert lines[-1]["loss_motion"] < 0.8 * lines[0]["loss_motion"]
    assert lines[-1]["loss_text"] < 0.8 * lines[3]["loss_text"]


def test_the_log_has_a_line_per_epoch_with_its_stage_losses_and_clusters(uninterrupted: Path) -> None:
    lines = log_of(uninterrupted)
    assert [(line["epoch"], line["stage"]) for line in lines] == [(0, 1), (1, 1), (2, 2), (3, 2)]
    assert ["loss_text" in line for line in lines] == [False, False, True, True]
    # In the first epoch every sample is its own cluster; in the second there is none to compare with.
    assert "clusters" not in lines[0]
    assert "ari_previous" not in lines[1]
    diagnosed = {"clusters", "noise_share", "largest_share", "ari_labels", "nmi_labels", "eps", "eps_moves"}
    assert all(line.keys() >= diagnosed for line in lines[1:])
    assert all("ari_previous" in line for line in lines[2:])
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))


def test_the_table_has_the_rows_of_the_log(uninterrupted: Path) -> None:
    lines, rows = log_of(uninterrupted), table_of(uninterrupted)
    assert len(rows) == len(lines) == 4
    for line, row in zip(lines, rows, strict=True):
        # What an epoch did not measure is an empty cell; numbers lose nothing on the way.
        assert {key: value for key, value in row.items() if value} == {key: str(value) for key, value in line.items()}
    header = (uninterrupted / "log.csv").read_text().splitlines()[0].split(",")
    assert set(header) == {key for line in lines for key in line} | {"seconds"}
    assert len(set(header)) == len(header)


def test_a_run_leaves_a_model_that_names_movements(data: Path, uninterrupted: Path, monkeypatch) -> None:
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", Teacher)
    model = load_model(uninterrupted / "model.safetensors")
    assert model.spec.training["clips"] == 20
    assert model.spec.training["class_names"] == sorted(ACTIONS)
    plain = {"data": list(TINY.as_dict()["data"]), "leave_out": [], "distilled_from": []}  # JSON has no tuples
    assert model.spec.training["config"] == TINY.as_dict() | plain
    prediction = model.classify([sample_track("walk")], ACTIONS)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("change", [{"text_term": False}, {"text_epochs": 0}])
def test_a_run_without_texts_leaves_a_model_that_names_nothing(data: Path, tmp_path: Path, change) -> None:
    model = pretrain(replace(BRIEF, **change), data=data, out=tmp_path / "run")
    assert (model.text_head, model.spec.teacher, model.spec.known) == (None, "", 0)
    with pytest.raises(TmorError, match=r"^model 'tmor-small' has no text head; it can't name actions by text$"):
        model.classify([sample_track("walk")], ACTIONS)


def test_captions_are_known_names_too(data: Path, tmp_path: Path) -> None:
    whole = {"start_s": None, "end_s": None}
    captions = [{"seq_id": "0", "text": "a person runs"} | whole, {"seq_id": "2", "text": "a person hops"} | whole]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    told = DataConfig("bare.npz", captions=str(tmp_path / "captions.json"))
    model = pretrain(replace(BRIEF, data=(*TINY.data, told)), data=data, out=tmp_path / "run")
    assert model.spec.training["class_names"] == sorted([*ACTIONS, "a person runs", "a person hops"])


def test_a_run_repeats_bit_by_bit_and_another_seed_is_another_run(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(replace(BRIEF, seed=seed), data=data, out=tmp_path / name)
    assert same_run(tmp_path / "a", tmp_path / "b")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")


def test_without_text_labels_are_not_read(data: Path, tmp_path: Path) -> None:
    settings = replace(BRIEF, text_term=False)
    pretrain(settings, data=data, out=tmp_path / "labelled")
    (tmp_path / "shuffled").mkdir()
    with np.load(data / "toy.npz") as arrays:
        np.savez(tmp_path / "shuffled/toy.npz", **{**arrays, "label": np.roll(arrays["label"], 7)})
    pretrain(settings, data=tmp_path / "shuffled", out=tmp_path / "run")
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "labelled")


def test_clusters_may_be_the_labels(data: Path, tmp_path: Path) -> None:
    settings = replace(BRIEF, clusters=ClusterConfig(by_label=True), data=(*BRIEF.data, DataConfig("bare.npz")))
    pretrain(settings, data=data, out=tmp_path / "run")
    clusters = read_tensors(tmp_path / "run" / "state.safetensors")[0]["clusters"]
    # toy: five actions of four clips each in the file's order; bare: ten clips without a label, each by itself.
    assert [len(set(clusters[i : i + 4].tolist())) for i in range(0, 20, 4)] == [1] * 5
    assert len(set(clusters.tolist())) == 5 + 10
    assert log_of(tmp_path / "run")[-1]["clusters"] == 5


def test_a_share_of_the_data_is_a_share_of_each_set_drawn_by_the_seed(data: Path) -> None:
    sets = (DataConfig("toy.npz"), DataConfig("bare.npz"))
    drawn = [
        [t.id for t in read_training_data(replace(BRIEF, data=sets, data_share=share, seed=seed), data)]
        for share, seed in ((1.0, 0), (0.3, 0), (0.3, 0), (0.3, 1), (0.001, 0))
    ]
    assert [len(ids) for ids in drawn] == [30, 9, 9, 9, 2]
    assert drawn[1] == drawn[2] != drawn[3]
    assert drawn[1] == [id for id in drawn[0] if id in drawn[1]]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with features by body parts that has never learnt, of which it is said that it saw ``far``."""
    torch.manual_seed(7)
    shape = UnikShape((8, 12), (2, 2), parts=BODY_PARTS)
    training = {"sources": ["far", "toy"], "class_names": ["fly", "walk"]}
    model = Model(ModelSpec("big", shape, width=16, teacher_width=12, clip_frames=12, training=training))
    model.centre.copy_(torch.randn(60))
    model.whitening.copy_(torch.randn(60, 60))
    file = tmp_path_factory.mktemp("teacher") / "big.safetensors"
    save_model(model, file)
    return file


def test_a_teacher_tells_of_each_clip_and_of_its_mirror_image(data: Path, teacher: Path) -> None:
    tracks = [sample_track(action, body=n) for n, action in enumerate(ACTIONS[:4])]
    clips = Clips.from_triplets([Triplet("", "", track) for track in tracks], fps=15.0)
    other = Clips.from_triplets([Triplet("", "", track.mirrored()) for track in tracks], fps=15.0)
    model = load_model(teacher)
    found = teacher_embeddings([model], clips)
    ids = torch.arange(len(clips))
    for own, rows in ((clips, found[::2]), (other, found[1::2])):
        expected = model.unit(model.encoder(own.plain(ids, frames=12)[:, None]).detach().numpy())
        np.testing.assert_allclose(rows, expected, atol=1e-4)
    several = teacher_embeddings([model, model, model, model], clips)
    torch.testing.assert_close(several, torch.cat([found] * 4, dim=1) / 2)
    # A teacher that learnt from clips of another rate sees the same stretches of time.
    finer = Clips.from_triplets([Triplet("", "", track) for track in tracks], fps=30.0)
    rows = teacher_embeddings([model], finer)
    assert (rows * found).sum(dim=1).min() > 0.97
    bones = Model(replace(model.spec, stream="bone"))
    message = (
        "model 'big' sees 17 joints in 2 channels, stream bone; to be distilled from, a model must see 17 joints in 2 "
        "channels, stream joint"
    )
    with pytest.raises(TmorError, match=f"^{message}$"):
        check_input(bones)


def test_what_teachers_say_stays_on_the_processor_and_a_step_takes_its_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(10, 3, generator=generator)
    distillation = Distillation(4, targets)
    assert Distillation(4, targets).to("meta").targets is targets
    assert not any(x.shape == targets.shape for x in (*distillation.buffers(), *distillation.state_dict().values()))
    features, instances = torch.randn(6, 4, generator=generator), torch.tensor([0, 9, 3, 3, 4, 1])
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (distillation.layers(features), targets[instances])]
    expected = 4 * (1 - (unit[0] * unit[1]).sum(dim=1).mean())
    torch.testing.assert_close(distillation(features, instances), expected)


def test_a_student_learns_what_its_teacher_says_and_knows_what_it_saw(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    settings = replace(TINY, distilled_from=(str(teacher),), text_epochs=4)
    model = pretrain(settings, data=data, out=tmp_path / "run")
    losses = [line["loss_distillation"] for line in log_of(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]
    assert losses[0] == pytest.approx(4, abs=1)
    known = model.spec.training
    assert known["distilled_from"] == known["config"]["distilled_from"] == ["big"]
    assert known["sources"] == ["toy", "far"]
    assert {"fly", "walk", "clap"} <= set(known["class_names"])
    assert set(model.state_dict()) == set(Model(model.spec).state_dict())


def test_a_student_resumes_to_the_same_bits(data: Path, teacher: Path, tmp_path: Path, monkeypatch) -> None:
    settings = replace(BRIEF, distilled_from=(str(teacher),))
    pretrain(settings, data=data, out=tmp_path / "whole")
    epoch = loop._epoch
    calls = []

    def once(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*args, **kwargs)

    monkeypatch.setattr(loop, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, data=data, out=tmp_path / "broken")
    monkeypatch.setattr(loop, "_epoch", epoch)
    monkeypatch.setattr(loop, "teacher_embeddings", lambda *_, **__: pytest.fail("computed again"))
    pretrain(settings, data=data, out=tmp_path / "broken", resume=True)
    assert weights_of(tmp_path / "broken") == weights_of(tmp_path / "whole")
    assert not (tmp_path / "broken" / "targets.safetensors").exists()


def test_what_teachers_said_of_other_clips_is_not_used(data: Path, teacher: Path, tmp_path: Path, monkeypatch) -> None:
    settings = replace(BRIEF, distilled_from=(str(teacher),))
    monkeypatch.setattr(loop, "_epoch", lambda *_: pytest.fail("stopped here"))
    with pytest.raises(pytest.fail.Exception, match="stopped here"):
        pretrain(settings, data=data, out=tmp_path / "run")
    path = tmp_path / "run" / "targets.safetensors"
    tensors, header = read_tensors(path)
    write_tensors(path, {"targets": 0 * tensors["targets"]}, header | {"clips": "of another time"})
    with pytest.raises(pytest.fail.Exception, match="stopped here"):
        pretrain(settings, data=data, out=tmp_path / "run", resume=True)
    again, known = read_tensors(path)
    assert torch.equal(again["targets"], tensors["targets"]) and known == header


def test_a_folder_that_holds_a_run_is_told_before_teachers_are_asked(
    data: Path, teacher: Path, tmp_path: Path, monkeypatch
) -> None:
    settings = replace(BRIEF, distilled_from=(str(teacher),))
    pretrain(BRIEF, data=data, out=tmp_path / "run")
    monkeypatch.setattr(loop, "teacher_embeddings", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(TmorError, match="already holds a run"):
        pretrain(settings, data=data, out=tmp_path / "run")


def test_gradients_are_exchanged_of_all_that_learns(data: Path, teacher: Path, tmp_path: Path, monkeypatch) -> None:
    exchanged, clipped = [], []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(Ranks, "add_gradients", lambda _, learning, shared: exchanged.append({*learning.parameters()}))
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, limit: (clipped.append({*p}), clip(p, limit)))
    pretrain(replace(BRIEF, distilled_from=(str(teacher),)), data=data, out=tmp_path / "run")
    assert exchanged
    assert exchanged == clipped


def test_a_teacher_that_saw_what_is_left_out_is_an_error(data: Path, teacher: Path, tmp_path: Path) -> None:
    sets = (DataConfig("toy.npz"), DataConfig("bare.npz"))
    settings = replace(BRIEF, data=sets, distilled_from=(str(teacher),), text_term=False)
    message = rf"^{re.escape(str(teacher))}, a teacher, was trained on 'toy', which is left out$"
    with pytest.raises(TmorError, match=message):
        pretrain(settings.leaving_out("toy"), data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    pretrain(settings.leaving_out("bare"), data=data, out=tmp_path / "run")


def test_a_checkpoint_says_what_was_left_out(data: Path, tmp_path: Path) -> None:
    sets = (DataConfig("toy.npz"), DataConfig("gone.npz"))  # what is left out need not be there
    model = pretrain(replace(BRIEF, data=sets).leaving_out("gone"), data=data, out=tmp_path / "run")
    assert model.spec.training["sources"] == ["toy"]
    assert model.spec.training["config"]["leave_out"] == ("gone",)
    pretrain(BRIEF, data=data, out=tmp_path / "without")
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "without")


def test_what_is_left_out_and_is_not_there_is_an_error(data: Path, tmp_path: Path) -> None:
    settings = replace(BRIEF, data=(DataConfig("toy.npz"), DataConfig("bare.npz")))
    message = r"^leave_out: no file and no source of clips is called 'tox'; there are toy, bare$"
    with pytest.raises(TmorError, match=message):
        pretrain(settings.leaving_out("tox"), data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bfloat16_trains(data: Path, tmp_path: Path) -> None:
    pretrain(replace(BRIEF, precision="bf16"), data=data, out=tmp_path / "run")
    assert len(log_of(tmp_path / "run")) == 2


def test_a_clip_in_which_nobody_is_seen_is_left_out_and_counted(data: Path, tmp_path: Path, caplog) -> None:
    with np.load(data / "toy.npz") as arrays:
        points = arrays["joints"].copy()
        points[arrays["offsets"][3] : arrays["offsets"][4]] = np.nan
        np.savez(tmp_path / "toy.npz", **{**arrays, "joints": points})
    assert len(loop.read_training_data(TINY, tmp_path)) == 19
    assert "toy.npz: 1 of 20 clips left out, nobody is seen in them" in caplog.text


# --- texts -----------------------------------------------------------------------------------------------------------


def test_texts_are_mixed_as_a_matrix_of_clips_and_all_texts_would_mix_them() -> None:
    track = sample_track("walk")
    told = [("wave", "a left hand waves", "hello"), ("left", "wave"), (), ("clap",)]
    clips = Clips.from_triplets([Triplet("", "", track, texts) for texts in told], fps=15.0)
    ids, mirrored = torch.arange(8) % 4, torch.arange(8) >= 4
    texts, weights = clips.text_weights(ids, mirrored, plain=0.5, generator=torch.Generator().manual_seed(1))
    dense = torch.zeros(8, len(clips.texts)).scatter_add(1, texts, weights)
    torch.testing.assert_close(dense.sum(dim=1), (ids != 2).float())
    for row, i in enumerate(ids.tolist()):
        said = {clips.texts[k] for k in dense[row].nonzero().flatten().tolist()}
        assert said <= {mirror_text(text) if mirrored[row] else text for text in told[i]}
    assert (dense[:, clips.texts.index("a right hand waves")] > 0).tolist() == [False] * 4 + [True] + [False] * 3
    rows = torch.randn(len(clips.texts), 5, generator=torch.Generator().manual_seed(2))
    mixed = torch.nn.functional.embedding_bag(texts, rows, per_sample_weights=weights, mode="sum")
    torch.testing.assert_close(mixed, dense @ rows)


def test_clips_whose_texts_say_the_same_are_not_contrasted() -> None:
    generator = torch.Generator().manual_seed(0)
    text_rows = torch.nn.functional.normalize(torch.randn(5, 8, generator=generator), dim=1)
    text_rows[3] = torch.nn.functional.normalize(text_rows[1] + 0.01 * text_rows[0], dim=0)
    alike = text_rows @ text_rows.T > SAME_TEXT
    assert int(alike.sum()) == 5 + 2
    state, banked = SimpleNamespace(banks={}, clusters=torch.arange(9)), torch.zeros(0, dtype=torch.long)
    y = torch.zeros(0, 6)
    for keys in (torch.tensor([0, 1, 2]), torch.tensor([3, 4, 1])):
        x, new = torch.nn.functional.normalize(torch.randn(2, 3, 6, generator=generator), dim=2)
        ids = 2 * (torch.arange(3) + len(banked))
        loss = loop._term(state, "text", x, new, ids, temperature=0.1, config=TINY, keys=keys, text_rows=text_rows)  # pyright: ignore
        columns, others = torch.cat([keys, banked]), torch.cat([new, y])
        positive = torch.eye(3, len(columns), dtype=torch.bool)
        negative = ~positive & ~alike[keys][:, columns]
        expected = paired_nce(x, new, positive[:, :3], negative[:, :3], temperature=0.1)
        expected = expected + cluster_nce(x, others, positive, negative, temperature=0.1)
        torch.testing.assert_close(loss, 0.5 * expected)
        banked, y = columns, others


# --- absent modalities -----------------------------------------------------------------------------------------------


def test_sets_without_text_train_beside_sets_with_text(data: Path, tmp_path: Path) -> None:
    settings = replace(BRIEF, data=(DataConfig("toy.npz"), DataConfig("bare.npz")), epoch_samples=16)
    pretrain(settings, data=data, out=tmp_path / "run")
    assert log_of(tmp_path / "run")[1].keys() >= {"loss_motion", "loss_text"}
    assert "loss_video" not in log_of(tmp_path / "run")[1]


@pytest.mark.parametrize("text_term", [True, False])
def test_in_stage_2_clips_without_text_rest_where_there_is_a_text_term(
    text_term: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = loop._losses, {1: set(), 2: set()}

    def watch(state: Any, clips: Any, *given: Any, with_text: bool) -> Any:
        ids = next(x for x in given if isinstance(x, torch.Tensor) and x.dtype == torch.long and x.ndim == 1)
        seen[2 if with_text else 1] |= {clips.source_names[clips.sources[i]] for i in ids.tolist()}
        return original(state, clips, *given, with_text=with_text)

    monkeypatch.setattr(loop, "_losses", watch)
    settings = replace(
        BRIEF, data=(DataConfig("toy.npz"), DataConfig("bare.npz")), epoch_samples=30, text_term=text_term
    )
    pretrain(settings, data=data, out=tmp_path / "run")
    assert seen == {1: {"toy", "bare"}, 2: {"toy"} if text_term else {"toy", "bare"}}


def test_text_alone_skips_the_batches_that_have_none(data: Path, tmp_path: Path) -> None:
    few = DataConfig("toy.npz"), DataConfig("toy.npz", text=False), DataConfig("bare.npz")
    settings = replace(TINY, data=few, motion_term=False, self_epochs=0, text_epochs=1, batch=2, balance=0.0)
    pretrain(settings, data=data, out=tmp_path / "run")
    assert log_of(tmp_path / "run")[0].keys() >= {"loss_text"}
    assert "loss_motion" not in log_of(tmp_path / "run")[0]
    assert read_tensors(tmp_path / "run/state.safetensors")[1]["step"] == 16


def test_movements_with_video_have_a_video_term_and_the_others_skip_it(data: Path, tmp_path: Path, monkeypatch) -> None:
    rows = {f"toy/{n}": np.random.default_rng(n).normal(size=6) for n in range(12)}
    monkeypatch.setattr(loop, "_with_depth", lambda triplets, entry, folder: attach_videos(triplets, rows))
    settings = replace(
        BRIEF, data=(DataConfig("toy.npz", depth="depth.npz"),), epoch_samples=16, augment=Augmentation(mirror=0.2)
    )
    model = pretrain(settings, data=data, out=tmp_path / "run")
    assert model.spec.video_width == 6
    assert all("loss_video" in line for line in log_of(tmp_path / "run"))
    pretrain(replace(settings, video_term=False), data=data, out=tmp_path / "without")
    assert not any("loss_video" in line for line in log_of(tmp_path / "without"))


def test_the_logged_loss_of_a_term_is_the_mean_over_the_batches_that_have_it(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    rows = {f"toy/{n}": np.random.default_rng(n).normal(size=6) for n in range(6)}
    monkeypatch.setattr(loop, "_with_depth", lambda triplets, entry, folder: attach_videos(triplets, rows))
    original, videos = loop._losses, []

    def watch(*given: Any, with_text: bool) -> dict[str, torch.Tensor]:
        losses = original(*given, with_text=with_text)
        videos.append(float(losses["video"].detach()) if "video" in losses else None)
        return losses

    monkeypatch.setattr(loop, "_losses", watch)
    few = (DataConfig("toy.npz", depth="depth.npz"),)
    settings = replace(TINY, data=few, self_epochs=1, text_epochs=0, batch=4, augment=Augmentation(mirror=0.2))
    pretrain(settings, data=data, out=tmp_path / "run")
    there = [value for value in videos if value is not None]
    assert 0 < len(there) < len(videos)
    assert log_of(tmp_path / "run")[0]["loss_video"] == pytest.approx(np.mean(there))


def test_mirrored_movements_are_not_what_their_videos_show(data: Path, tmp_path: Path, monkeypatch) -> None:
    rows = {f"toy/{n}": np.ones(6) for n in range(20)}
    monkeypatch.setattr(loop, "_with_depth", lambda triplets, entry, folder: attach_videos(triplets, rows))
    settings = replace(BRIEF, data=(DataConfig("toy.npz", depth="depth.npz"),), augment=Augmentation(mirror=1.0))
    pretrain(settings, data=data, out=tmp_path / "run")
    assert not any("loss_video" in line for line in log_of(tmp_path / "run"))


NOTHING = "motion_term is false, and video_term is false or none of the data has video"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": (DataConfig("bare.npz"),)}, "the config has a text term, but none of its data has text"),
        ({"data": (DataConfig("toy.npz", text=False),)}, "the config has a text term, but none of its data has text"),
        ({"motion_term": False}, f"stage 1 has nothing to learn from: {NOTHING}; set self_epochs to 0"),
        (
            {"motion_term": False, "text_term": False, "self_epochs": 0},
            f"stage 2 has nothing to learn from: text_term and {NOTHING}",
        ),
    ],
)
def test_a_stage_with_nothing_to_learn_from_is_an_error(changes, message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TmorError, match=rf"^{re.escape(message)}$"):
        pretrain(replace(TINY, **changes), data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_data_leave_no_run_behind(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone\.npz: there is no such file; expected an \.npz$"):
        pretrain(replace(TINY, data=(DataConfig("gone.npz"),)), data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- interruptions ---------------------------------------------------------------------------------------------------


def run_and_die(data: Path, out: Path, where: str, nth: int) -> None:
    """In a process of its own: resume ``TINY``, and SIGKILL before the n-th call of ``where``."""
    torch.set_num_threads(1)
    os.environ["TMOR_CACHE"] = str(out.parent / "cache")
    loop.load_text_teacher = Teacher
    owner, name = (os if where in ("fsync", "replace") else loop), where
    original, calls = getattr(owner, name), iter(range(1, 1000))

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, deadly)
    pretrain(TINY, data=data, out=out, resume=True)


def start(data: Path, out: Path, where: str = "fsync", nth: int = 1000) -> multiprocessing.Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tmor.pretrain.loop"])
    process = context.Process(target=run_and_die, args=(data, out, where, nth))
    process.start()
    return process  # pyright: ignore


@pytest.mark.parametrize(
    "moments",
    [
        [("_open_run", 1), ("fsync", 1), ("replace", 1)],  # before, while and after the run's folder is claimed
        [("_losses", 3), ("_losses", 6), ("_recluster", 2), ("_append_log", 1), ("save_model", 1)],  # while it learns
        # between log and state, and in the middle of log.jsonl, of the state and of log.csv
        [("_store", 1), ("fsync", 1), ("replace", 3), ("fsync", 2)],
    ],
)
def test_killed_at_any_moment_a_resumed_run_ends_with_the_same_bits(
    moments: list[tuple[str, int]], data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    for where, nth in moments:
        process = start(data, tmp_path / "run", where, nth)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
    pretrain(TINY, data=data, out=tmp_path / "run", resume=True)
    assert same_run(tmp_path / "run", uninterrupted)


def test_killed_from_outside_a_resumed_run_ends_with_the_same_bits(
    data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    process = start(data, tmp_path / "run")
    while process.is_alive() and not (tmp_path / "run" / "state.safetensors").exists():
        time.sleep(0.01)
    process.join(np.random.default_rng().uniform(0, 0.3))
    process.kill()
    process.join(120)
    pretrain(TINY, data=data, out=tmp_path / "run", resume=True)
    assert same_run(tmp_path / "run", uninterrupted)


def stop_at(nth: int) -> Callable[[str, int, int], None]:
    calls = iter(range(1, 1000))

    def progress(what: str, done: int, total: int) -> None:
        if next(calls) == nth:
            raise KeyboardInterrupt

    return progress


def test_stopped_by_hand_a_resumed_run_ends_with_the_same_bits(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    for nth in (2, 7, 6):
        with pytest.raises(KeyboardInterrupt):
            pretrain(TINY, data=data, out=tmp_path / "run", resume=True, progress=stop_at(nth))
    pretrain(TINY, data=data, out=tmp_path / "run", resume=True)
    assert same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [5, 6, 7])  # log.jsonl, log.csv and the state of the second epoch
def test_a_full_disk_leaves_the_last_state_and_log_whole(
    call: str, nth: int, data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    original, calls = getattr(os, call), iter(range(1, 1000))

    def full(*args: Any) -> Any:
        if next(calls) >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left on device"):
        patch.setattr(os, call, full)
        pretrain(TINY, data=data, out=tmp_path / "run")
    assert sorted(files_of(tmp_path / "run")) == ["config.json", "log.csv", "log.jsonl", "state.safetensors"]
    assert read_tensors(tmp_path / "run/state.safetensors")[1]["epoch"] == 1
    assert log_of(tmp_path / "run")[0] == log_of(uninterrupted)[0]
    pretrain(TINY, data=data, out=tmp_path / "run", resume=True)
    assert same_run(tmp_path / "run", uninterrupted)


def test_resuming_a_finished_run_changes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    before = files_of(out)
    pretrain(BRIEF, data=data, out=out, resume=True)
    assert files_of(out) == before


def test_resuming_with_other_clips_is_an_error_and_the_state_stays(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    before = files_of(out)
    message = rf"^{re.escape(str(out))}/state\.safetensors: the clips are not those that the run began with; "
    with np.load(data / "toy.npz") as arrays:
        whole = dict(arrays)
    shorter = whole["offsets"].copy()
    shorter[5] -= 1  # a clip ends a frame earlier
    for change in ({"label": np.roll(whole["label"], 1)}, {"offsets": shorter}, {"seq_id": whole["seq_id"][::-1]}):
        np.savez(tmp_path / "toy.npz", **(whole | change))
        with pytest.raises(TmorError, match=message):
            pretrain(BRIEF, data=tmp_path, out=out, resume=True)
    assert files_of(out) == before


def test_resuming_with_other_weights_of_a_teacher_is_an_error(data: Path, teacher: Path, tmp_path: Path) -> None:
    own = tmp_path / "big.safetensors"
    own.write_bytes(teacher.read_bytes())
    settings = replace(BRIEF, distilled_from=(str(own),))
    pretrain(settings, data=data, out=tmp_path / "run")
    model = load_model(own)
    model.centre.add_(1)
    save_model(model, own)
    with pytest.raises(TmorError, match=r"safetensors: the teachers are not those that the run began with; "):
        pretrain(settings, data=data, out=tmp_path / "run", resume=True)


def test_a_state_of_before_that_does_not_say_what_it_began_with_resumes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    before = files_of(out)
    tensors, header = read_tensors(out / "state.safetensors")
    write_tensors(out / "state.safetensors", tensors, {k: v for k, v in header.items() if k != "begun_with"})
    pretrain(BRIEF, data=data, out=out, resume=True)
    assert files_of(out)["model.safetensors"] == before["model.safetensors"]


def test_a_config_of_before_a_key_was_added_is_the_same_config(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    values = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({k: v for k, v in values.items() if k != "leave_out"}))
    pretrain(BRIEF, data=data, out=out, resume=True)


def test_resuming_a_run_that_never_began_begins_it(data: Path, tmp_path: Path) -> None:
    pretrain(BRIEF, data=data, out=tmp_path / "run", resume=True)
    assert len(log_of(tmp_path / "run")) == 2


def test_a_damaged_state_is_an_error_and_stays(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    state = out / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    before = files_of(out)
    message = rf"^{re.escape(str(state))}: not a readable safetensors file: "
    with pytest.raises(CheckpointError, match=message):
        pretrain(BRIEF, data=data, out=out, resume=True)
    assert files_of(out) == before


def test_a_model_is_no_training_state(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pretrain(BRIEF, data=data, out=out)
    (out / "state.safetensors").write_bytes((out / "model.safetensors").read_bytes())
    message = rf"^{re.escape(str(out))}/state\.safetensors: holds model; expected a training state$"
    with pytest.raises(CheckpointError, match=message):
        pretrain(BRIEF, data=data, out=out, resume=True)


# --- the run's folder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "resume", "problem"),
    [
        ("run", False, "already holds a run; continue it with --resume, or choose another folder"),
        ("other run", False, "already holds a run; continue it with --resume, or choose another folder"),
        ("other run", True, "holds a run of another config; --resume continues only the same one"),
        ("other program", True, "holds a run of another config; --resume continues only the same one"),
        ("notes", False, "is not empty and holds no run; choose another folder"),
        ("notes", True, "is not empty and holds no run; choose another folder"),
    ],
)
def test_a_folder_in_use_is_an_error_and_stays_as_it_is(
    files: str, resume: bool, problem: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    if files == "run":
        pretrain(BRIEF, data=data, out=out)
    elif files == "other run":
        (out / "config.json").write_text(json.dumps(replace(TINY, seed=9).as_dict()))
    elif files == "other program":
        (out / "config.json").write_text("no json")
    else:
        (out / "notes.txt").write_text("mine")
    before = files_of(out)
    with pytest.raises(TmorError, match=rf"^{re.escape(str(out))} {problem}$"):
        pretrain(BRIEF, data=data, out=out, resume=resume)
    assert files_of(out) == before


def test_a_file_in_place_of_the_folder_is_an_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(TmorError, match=rf"^{re.escape(str(tmp_path / 'run'))} is a file; choose another folder$"):
        pretrain(BRIEF, data=data, out=tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


# --- teachers --------------------------------------------------------------------------------------------------------


def test_a_text_is_computed_once_and_then_kept(tmp_path: Path) -> None:
    teacher = Teacher()
    first = embed_texts(teacher, ["sit", "stand", "sit"])
    again = embed_texts(teacher, ["stand", "sit", "lie"])
    assert teacher.asked == 3
    assert np.array_equal(first[[0, 1]], again[[1, 0]])
    assert np.array_equal(first[0], first[2])
    other = Teacher("another")
    embed_texts(other, ["sit"])
    assert other.asked == 1


def test_without_a_usable_cache_texts_are_computed_all_the_same(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "file"))
    assert embed_texts(Teacher(), ["sit", "stand"]).shape == (2, 12)
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path))
    (tmp_path / "texts.sqlite").write_text("no database, but long enough to look at " * 30)
    assert embed_texts(Teacher(), ["sit", "stand"]).shape == (2, 12)
    assert embed_texts(Teacher(), []).shape == (0, 12)


def test_another_teacher_is_an_error_as_soon_as_texts_are_used(uninterrupted: Path, monkeypatch) -> None:
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", lambda name: Teacher("retrained"))
    model = load_model(uninterrupted / "model.safetensors")
    assert np.isfinite(model.embed([sample_track("walk")])).all()
    message = (
        "model 'tmor-small' was trained with text teacher 'offline' of weights hash of offline; "
        "the one at hand has hash of retrained"
    )
    with pytest.raises(CheckpointError, match=rf"^{message}$"):
        model.classify([sample_track("walk")], ACTIONS)


def test_an_unknown_teacher_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TmorError, match=r"^teacher '.*': .*holds no config\.json with \*\.safetensors beside it$"):
        load_text_teacher(str(tmp_path))


def test_the_offline_teacher_knows_which_actions_are_alike() -> None:
    teacher: TextTeacher = load_text_teacher("offline")
    rows = embed_texts(teacher, ["jogging", "a person runs", "drinking from a cup"])
    assert rows.shape == (3, teacher.width) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


# --- configs and the command line ------------------------------------------------------------------------------------

TOML = """
self_epochs = 3
data = [{ path = "toy.npz", part = "is_train" }, { path = "bare.npz", text = false }]
clusters = { min_samples = 5 }
augment = { camera_deg = 60 }
"""


def test_a_config_is_its_file_and_otherwise_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML)
    assert read_pretrain_config(tmp_path / "run.toml") == PretrainConfig(
        data=(DataConfig("toy.npz", part="is_train"), DataConfig("bare.npz", text=False)),
        self_epochs=3,
        clusters=ClusterConfig(min_samples=5),
        augment=Augmentation(camera_deg=60.0),
    )


def test_a_config_survives_being_written_as_json() -> None:
    assert pretrain_config(json.loads(json.dumps(TINY.as_dict()))) == TINY


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("batchsize = 64", "unknown key 'batchsize'"),
        ("augment = { noize = 0.1 }", "unknown key 'augment.noize'"),
        ("clusters = { epsilon = 0.1 }", "unknown key 'clusters.epsilon'"),
        ('batch = "many"', "'batch' is 'many': Input should be a valid integer"),
        ("batch = 12.5", "'batch' is 12.5: Input should be a valid integer"),
        ("motion_term = 3", "'motion_term' is 3: Input should be a valid boolean"),
        ('size = "huge"', "'size' is 'huge': Input should be 'base' or 'small'"),
        ("batch = 1", "'batch' is 1: Input should be greater than or equal to 2"),
        ("seed = -1", "'seed' is -1: Input should be greater than or equal to 0"),
        ("balance = 1.5", "'balance' is 1.5: Input should be less than or equal to 1"),
        ("learning_rate = inf", "'learning_rate' is inf: Input should be a finite number"),
        ("temperature_text = nan", "'temperature_text' is nan: Input should be a finite number"),
        ("clusters = { eps = 0 }", "'clusters.eps' is 0: Input should be greater than 0"),
        ("augment = { noise = -0.1 }", "'augment.noise' is -0.1: Input should be greater than or equal to 0"),
        ("augment = { shortest_crop = 2 }", "'augment.shortest_crop' is 2: Input should be less than or equal to 1"),
        ("self_epochs = 0\ntext_epochs = 0", "self_epochs and text_epochs are both 0; expected at least one epoch"),
        (
            "motion_term = false\nvideo_term = false\ntext_term = false",
            "motion_term, video_term and text_term are all false; nothing is left to learn from",
        ),
        ("batch = 1\nseed = -1", "'seed' is -1: Input should be greater than or equal to 0; 'batch' is 1: "),
        ("batch = ", "Invalid value (at line 2, column 9)"),
    ],
)
def test_a_config_with_a_fault_is_an_error_that_names_it(line: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'data = [{{ path = "toy.npz" }}]\n{line}\n')
    with pytest.raises(ConfigError, match=rf"^config {re.escape(f'{file}: {problem}')}"):
        read_pretrain_config(file)


def test_data_are_required_and_have_a_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^config: key 'data' is missing$"):
        pretrain_config({})
    with pytest.raises(ConfigError, match=r"^config: 'data' is \[\]: Tuple should have at least 1 item"):
        pretrain_config({"data": []})
    with pytest.raises(ConfigError, match=r"^config: key 'data\.0\.path' is missing"):
        pretrain_config({"data": [{"part": "is_train"}]})


def test_a_config_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    gone, binary = tmp_path / "gone.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    unread = "can't be read: "
    for file, problem in (
        (gone, f"{unread}No such file or directory"),
        (tmp_path, f"{unread}Is a directory"),
        (binary, "'utf-8' codec"),
    ):
        with pytest.raises(ConfigError, match=rf"^config {re.escape(str(file))}: {problem}"):
            read_pretrain_config(file)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PretrainConfig]:
    """``tmor pretrain`` with options, up to the config that it would train."""
    (tmp_path / "run.toml").write_text(TOML)

    def run(*options: str) -> PretrainConfig:
        trained: list[PretrainConfig] = []
        monkeypatch.setattr(loop, "pretrain", lambda settings, **rest: trained.append(settings))
        arguments = ["pretrain", str(tmp_path / "run.toml"), "--data", str(tmp_path), "-o", str(tmp_path / "run")]
        CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
        return trained[0]

    return run


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("clusters", {"clusters": None}),
        ("motion", {"motion_term": False}),
        ("video", {"video_term": False}),
        ("text", {"text_term": False}),
        ("camera", {"augment": Augmentation(around=0.0, camera_deg=0.0, pitch_deg=0.0)}),
        ("descriptions", {"descriptions": False}),
    ],
)
def test_an_ablation_is_one_flag(option: str, changes: dict[str, Any], command) -> None:
    assert command("--without", option) == replace(command(), **changes)


def test_a_model_to_learn_from_is_one_flag(command) -> None:
    assert command("--distilled-from", "a", "--distilled-from", "b").distilled_from == ("a", "b")


def test_ablations_add_up(command) -> None:
    settings = command("--without", "clusters", "--without", "text", "--leave-out", "bare", "--seed", "7")
    expected = replace(command(), clusters=None, text_term=False, seed=7)
    assert settings == replace(expected, leave_out=("bare",))


def test_what_the_command_leaves_out_comes_to_what_the_config_does(command, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('leave_out = ["penn"]\n' + TOML)
    assert command("--leave-out", "bare", "--leave-out", "penn").leave_out == ("penn", "bare")


def test_leaving_out_all_there_is_is_an_error(command) -> None:
    with pytest.raises(ConfigError, match=r"^leave_out is toy, bare; nothing is left to train on$"):
        command("--leave-out", "toy", "--leave-out", "bare")


def test_options_are_checked_as_the_config_is(command) -> None:
    with pytest.raises(ConfigError, match=r"^command line: 'size' is 'huge': Input should be 'base' or 'small'$"):
        command("--size", "huge")
    with pytest.raises(ConfigError, match=r"^motion_term, video_term and text_term are all false; nothing is left"):
        command("--without", "motion", "--without", "video", "--without", "text")


def test_without_descriptions_class_names_are_the_only_texts(data: Path) -> None:
    for descriptions, most in ((True, 9), (False, 1)):
        triplets = loop.read_training_data(replace(TINY, descriptions=descriptions), data)
        assert triplets[0].texts == describe("walk")[:most]
