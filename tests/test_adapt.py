"""A model adapted to where it is used, by recordings without labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from test_downstream import TINY as BARE
from tmor.downstream.benchmarks.labelled import read_labelled
from tmor.downstream.classify import fine_tune, from_scratch
from tmor.downstream.evaluate import Recipe, evaluate
from tmor.downstream.tables import result_rows
from tmor.errors import TmorError
from tmor.model.checkpoint import load_model, save_model
from tmor.model.model import Model
from tmor.skeleton.formats import write_packed, write_tracks
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

LABELS = ("clap", "kick", "squat", "walk")
TRACKS = [sample_track(label, body=n, seed=n) for n, label in enumerate(LABELS)]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def placed(model: Model, features: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Where movements lie before anything is taken off."""
    rows = torch.from_numpy(features)
    assert model.motion_head is not None
    with torch.inference_mode():
        return model.motion_head(rows), torch.from_numpy(model.unit(features))


def test_half_of_what_movements_have_in_common_is_taken_off_and_half_of_what_those_of_training_have(model):
    features = model.features(TRACKS)
    adapted = model.adapt(TRACKS)
    assert (model.spec.adapted, adapted.spec.adapted) == (0, 4)
    projected, own = placed(model, features)
    a = F.normalize(projected - projected.mean(dim=0) / 2, dim=1)
    b = F.normalize(own - (own.mean(dim=0) + model.known_centre) / 2, dim=1)
    expected = torch.cat([a / 3**0.5, b * (2 / 3) ** 0.5], dim=1)
    np.testing.assert_allclose(adapted.project(features), expected, atol=1e-6)
    assert np.abs(adapted.project(features) - model.project(features)).max() > 0.01, "or agreement would be cheap"


def test_an_adaptation_replaces_an_earlier_one_and_order_makes_no_difference(model):
    features = model.features(TRACKS)
    other = model.adapt(TRACKS[:1]).adapt(TRACKS[::-1])
    np.testing.assert_allclose(other.project(features), model.adapt(TRACKS).project(features), atol=1e-6)


def test_labels_examples_and_weights_stay_as_they_are(model):
    adapted = model.enroll({"mine": TRACKS[:1]}).adapt(TRACKS)
    np.testing.assert_array_equal(adapted.project_labels(LABELS), model.project_labels(LABELS))
    assert list(adapted.examples) == ["mine"]
    np.testing.assert_array_equal(adapted.embed(TRACKS), model.embed(TRACKS))
    again = adapted.enroll({"other": TRACKS[1:2]})
    assert again.spec.adapted == 4 and torch.equal(again.middle, adapted.middle)
    assert {k for k, v in adapted.state_dict().items() if not torch.equal(v, model.state_dict()[k])} == {"usual"}


def test_of_a_long_track_every_clip_counts(model):
    squat = sample_track("squat")
    long = Track(np.tile(squat.keypoints, (20, 1, 1)), squat.layout, squat.fps)
    assert model.adapt([long]).spec.adapted == len(model._clips(long)) > 5


def test_it_is_kept_on_disk_and_older_files_have_none(model, tmp_path):
    adapted = model.adapt(TRACKS)
    save_model(adapted, tmp_path / "mine.safetensors")
    loaded = load_model(tmp_path / "mine.safetensors")
    features = model.features(TRACKS)
    np.testing.assert_array_equal(loaded.project(features), adapted.project(features))
    assert model.usual.numel() == 0 and loaded.spec.adapted == 4


def test_without_tracks_or_heads_it_is_an_error(model):
    with pytest.raises(TmorError, match=r"^there are no tracks to adapt to; expected at least one$"):
        model.adapt([])
    with pytest.raises(TmorError, match=r"^model 'tiny' has no projection heads; there is nothing to adapt$"):
        Model(replace(BARE, width=0)).adapt(TRACKS)


@pytest.fixture
def packed(tmp_path) -> Path:
    tracks = [sample_track(label, body=n % 4, seed=n) for n, label in enumerate(LABELS * 4)]
    write_packed(tmp_path / "mine.npz", tracks, labels=LABELS * 4, columns={"is_train": np.arange(16) < 8})
    return tmp_path / "mine.npz"


def test_evaluation_sees_movements_of_the_training_part_alone(model, packed):
    data = read_labelled(packed, part="is_train")
    found = evaluate(model, data, modes=("adapted",), recipe=Recipe(seeds=(0, 1), unlabelled=8)).result
    features = model.features([tracks[0] for tracks in data.samples])
    train, test = data.folds[0].train, data.folds[0].test
    cosines = model.adapt_to(features[train]).project(features[test]) @ model.project_labels(data.class_names).T
    expected = 100 * np.mean(cosines.argmax(axis=1) == data.labels[test])
    assert found["adapted"]["top1"] == {"mean": pytest.approx(expected), "std": 0}
    (row,) = (row for row in result_rows([found]) if row[1] == "zero-shot, adapted top-1")
    assert row[3] == "to 8 samples without labels"


def test_what_is_fine_tuned_from_it_is_not_adapted(model, packed):
    data = read_labelled(packed, part="is_train")
    tuned = fine_tune(model.adapt(TRACKS), data, data.folds[0], epochs=1)
    assert tuned.spec.adapted == 0 and tuned.usual.numel() == 0
    assert from_scratch(tuned).spec.adapted == 0


def test_the_command_writes_a_model_that_predict_uses(run, tmp_path):
    write_tracks(tmp_path / "here.npz", TRACKS)
    code, out, err = run("adapt", "here.npz", "here.npz", "-o", "mine.safetensors")
    assert (code, err.endswith("wrote mine.safetensors")) == (0, True), err
    assert out == "adapted to 8 clips of 8 tracks; 20 or more, of all sorts, are better\n"
    assert run("predict", "here.npz", "--labels", "clap, kick", "--model", "mine.safetensors")[0] == 0
    code, out, _ = run("adapt", *["here.npz"] * 5, "-o", "more.safetensors")
    assert (code, out) == (0, "adapted to 20 clips of 20 tracks\n")
    assert run("adapt", "here.npz", "gone.npz", "-o", "new.safetensors") == (
        2,
        "",
        "error: gone.npz: there is no such file",
    )
    message = "mine.safetensors: exists already; choose another name"
    assert run("adapt", "here.npz", "-o", "mine.safetensors") == (2, "", f"error: {message}")
    message = "mine.npz: the name ends in '.npz'; expected .safetensors"
    assert run("adapt", "here.npz", "-o", "mine.npz") == (2, "", f"error: {message}")
