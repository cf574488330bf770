"""From cosines to probabilities: closed forms, and fits that find what made the data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tmor.downstream import calibrate
from tmor.downstream.benchmarks.labelled import LabelledSet
from tmor.downstream.benchmarks.protocol import Fold
from tmor.downstream.calibrate import Trial, measure
from tmor.errors import TmorError
from tmor.model.answers import NONE, Matching, check_labels
from tmor.model.checkpoint import load_model, save_model
from tmor.skeleton.formats import write_packed
from tmor.skeleton.sample import ACTIONS, sample_track

MATCHING = Matching(0.2, 0.1, 0.6, 0.05)


def test_a_label_at_its_level_is_as_probable_as_none():
    found = MATCHING.probabilities(np.array([[0.2, 0.6]]), [False, True], none=True)
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 1 / 3]])
    assert found.dtype == np.float32


def test_log_odds_against_none_are_the_distance_from_the_level_in_temperatures():
    found = MATCHING.probabilities(np.array([[0.3, 0.5]]), [False, True], none=True)[0]
    np.testing.assert_allclose(np.log(found[:2] / found[2]), [1.0, -2.0], rtol=1e-5)


def test_without_none_the_others_keep_their_odds():
    cosines, kinds = np.random.default_rng(0).uniform(-1, 1, (20, 5)), [False, True, False, False, True]
    with_none = MATCHING.probabilities(cosines, kinds, none=True)
    without = MATCHING.probabilities(cosines, kinds, none=False)
    assert (with_none.shape, without.shape) == ((20, 6), (20, 5))
    np.testing.assert_allclose(without.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(with_none[:, :5] / with_none[:, :5].sum(axis=1, keepdims=True), without, rtol=1e-3)


def test_none_of_these_is_not_a_label_of_the_user_s():
    with pytest.raises(TmorError, match=r"^label 'None of These' is what tmor answers by itself where no label fits"):
        check_labels(["squat", "None of These"])


def asked(matching: Matching, count: int, rng: np.random.Generator) -> list[Trial]:
    """Trials whose answers are drawn from the probabilities that a matching gives."""
    found = []
    for _ in range(count):
        cosines = rng.uniform(-0.2, 0.8, (400, 4))
        p = matching.probabilities(cosines, [False] * 4, none=True).astype(float)
        answers = (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=4)
        found.append(Trial(cosines, answers))
    return found


def test_trials_count_none_as_often_as_a_label():
    weights = Trial(np.zeros((5, 3)), np.array([0, 1, 2, 2, 3])).weights
    np.testing.assert_allclose(weights, [3 / 16] * 4 + [1 / 4])


def test_who_is_as_sure_as_right_has_no_calibration_error(monkeypatch):
    monkeypatch.setattr(Trial, "weights", property(lambda self: np.full(len(self.answers), 1 / len(self.answers))))
    trials = asked(MATCHING, 40, np.random.default_rng(0))
    assert measure(MATCHING, "text", trials)["calibration_error"] < 2
    assert measure(replace(MATCHING, text_temperature=0.02), "text", trials)["calibration_error"] > 5


def test_the_likelihood_is_greatest_at_what_made_the_answers(monkeypatch):
    monkeypatch.setattr(Trial, "weights", property(lambda self: np.full(len(self.answers), 1 / len(self.answers))))
    trials = asked(MATCHING, 40, np.random.default_rng(1))
    best = calibrate._loss(np.array([0.2, np.log(0.1)]), trials)
    for level, temperature in ((0.15, 0.1), (0.25, 0.1), (0.2, 0.07), (0.2, 0.14)):
        assert calibrate._loss(np.array([level, np.log(temperature)]), trials) > best


def test_measures_by_hand():
    # Three samples of two labels; the last one is of neither.
    sure = Matching(0.0, 0.01, 0.0, 0.01)
    trial = Trial(np.array([[1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]]), np.array([0, 1, 2]))
    found = measure(sure, "text", [trial])
    assert found["known_lost"] == pytest.approx(50)
    assert found["none_found"] == pytest.approx(100)
    assert found["auroc"] == pytest.approx(75)
    assert found["right"] == pytest.approx(100 * 2 / 3)
    assert found["calibration_error"] == pytest.approx(100 / 3, abs=0.1)


@pytest.mark.filterwarnings("error")
def test_what_no_trial_tells_anything_of_is_nan():
    found = measure(Matching(0.0, 0.01, 0.0, 0.01), "text", [Trial(np.array([[1.0, -1.0]]), np.array([0]))])
    assert found["right"] == 100
    assert all(np.isnan(found[name]) for name in ("known_lost", "none_found", "auroc"))


@pytest.fixture(scope="module")
def labelled() -> LabelledSet:
    actions = [a for _ in range(6) for a in range(6)]
    tracks = tuple((sample_track(ACTIONS[4 * a], body=n % 4, style=n % 3, seed=n),) for n, a in enumerate(actions))
    train = np.arange(36) < 18
    return LabelledSet("toy", "halves", tracks, np.array(actions), ACTIONS[:24:4], (Fold("halves", train, ~train),), {})


def test_a_fit_on_sample_motions_is_better_than_guessing_and_repeats(labelled):
    model = load_model()
    matching, measured = calibrate.fit(model, [labelled])
    assert list(measured) == ["toy, text", "toy, example"]
    assert measured["toy, example"]["auroc"] > 60
    assert min(matching.text_temperature, matching.example_temperature) > 0
    assert calibrate.fit(model, [labelled])[0] == matching
    answer = model.classify([labelled.samples[0][0]], ACTIONS[:3], none=True)
    assert answer.labels == (*ACTIONS[:3], NONE)
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_two_classes_are_too_few(labelled):
    model = load_model()
    two = replace(labelled, class_names=labelled.class_names[:2], labels=labelled.labels % 2)
    with pytest.raises(TmorError, match=r"^set 'toy' has 2 classes; calibration needs at least 3$"):
        calibrate.fit(model, [two])


def test_calibration_speaks_to_programs_of_what_it_could_not_measure(run, labelled, tmp_path):
    tracks = [track for (track,) in labelled.samples[:12]]
    names = [labelled.class_names[k] for k in labelled.labels[:12]]
    write_packed(tmp_path / "toy.npz", tracks, labels=names, columns={"is_train": np.arange(12) < 11})
    code, out, err = run("calibrate", tmp_path / "toy.npz", "--part", "is_train", "--json")
    assert code == 0, err
    assert json.loads(out, parse_constant=pytest.fail)["measured"]["toy, text"]["auroc"] is None


def test_matching_survives_saving(tmp_path):
    model = load_model()
    model.spec = replace(model.spec, matching=MATCHING)
    save_model(model, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").spec.matching == MATCHING
