"""Tasks and metrics against closed forms and literal readings of their definitions."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tmor.downstream.benchmarks import read_benchmark
from tmor.downstream.classify import fine_tune, from_scratch, linear_probe, raw_nearest
from tmor.downstream.evaluate import evaluate
from tmor.downstream.fewshot import few_shot
from tmor.downstream.metrics import accuracy, interval95, mean_class_accuracy, retrieval
from tmor.downstream.tables import markdown_tables
from tmor.downstream.zeroshot import zero_shot
from tmor.errors import FormatError, TmorError
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.skeleton.formats import write_packed
from tmor.skeleton.sample import sample_track

TINY = ModelSpec("tiny", UnikShape((8, 8), (2, 2)), clip_frames=8, width=4, teacher="", views_deg=(0.0,))


def clusters(rng, classes=3, each=10, spread=0.05):
    """Unit vectors around the axes, and their labels."""
    labels = np.repeat(np.arange(classes), each)
    x = np.eye(classes, 8)[labels] + spread * rng.normal(size=(len(labels), 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels


def test_accuracies_by_hand_and_by_scikit_learn():
    truth, answer = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert accuracy(truth, answer) == 0.75
    assert mean_class_accuracy(truth, answer) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(accuracy(truth[:0], answer[:0]))
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    assert mean_class_accuracy(truth, answer) == pytest.approx(balanced_accuracy_score(truth, answer))


def test_a_class_absent_from_the_test_part_does_not_spoil_the_mean():
    assert mean_class_accuracy(np.array([0, 0]), np.array([0, 2])) == 0.5


def test_interval_of_the_mean():
    assert interval95([1.0, 3.0]) == pytest.approx(1.96 * np.sqrt(2) / np.sqrt(2))
    assert np.isnan(interval95([1.0]))


def test_retrieval_by_hand():
    similarity = np.array([[0.9, 0.1, 0.5], [0.2, 0.1, 0.3]])
    relevant = np.array([[True, False, False], [False, True, False]])
    assert retrieval(similarity, relevant) == {"R@1": 50.0, "R@5": 100.0, "R@10": 100.0, "median_rank": 2.0}


def test_retrieval_counts_ties_against_the_query_and_needs_a_right_answer():
    assert retrieval(np.zeros((1, 4)), np.array([[False, True, False, False]]))["median_rank"] == 4
    with pytest.raises(ValueError, match="query 0 has no relevant item"):
        retrieval(np.zeros((1, 2)), np.zeros((1, 2), bool))


def test_few_shot_is_perfect_on_separate_classes_and_chance_on_noise():
    rng = np.random.default_rng(0)
    x, y = clusters(rng)
    found = few_shot(x, y, x, y, episodes=10)
    assert found["1"]["mean"] == found["5"]["mean"] == 100
    noise = rng.normal(size=(300, 8)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    y = rng.integers(0, 3, 300)
    assert few_shot(noise[:150], y[:150], noise[150:], y[150:])["5"]["mean"] == pytest.approx(100 / 3, abs=8)


def test_few_shot_repeats_under_its_seed_and_says_when_examples_are_few():
    x, y = clusters(np.random.default_rng(1), spread=0.5)
    assert few_shot(x, y, x, y, seed=3) == few_shot(x, y, x, y, seed=3)
    assert few_shot(x, y, x, y, seed=3) != few_shot(x, y, x, y, seed=4)
    with pytest.raises(TmorError, match="class 0 has 10 training samples; expected at least 11 for 11-shot"):
        few_shot(x, y, x, y, shots=(11,))


def test_linear_probe_separates_what_is_separable():
    x, y = clusters(np.random.default_rng(2))
    assert linear_probe(x[::2], y[::2], x[1::2], y[1::2])["top1"] == 100


def test_zero_shot_names_the_nearest_text_and_leaves_shared_classes_out(monkeypatch):
    names = ["squat", "golf_swing", "wave"]
    model = SimpleNamespace(project_labels=lambda labels, descriptions: np.eye(3, dtype=np.float32))
    monkeypatch.setattr("tmor.downstream.zeroshot.shared_names", lambda *_: {"squat": "squat"})
    motion = np.array([[1, 0, 0], [0, 1, 0.5], [0.9, 0.2, 0.5], [0, 1, 0]], np.float32)
    found = zero_shot(model, motion, np.array([0, 1, 2, 2]), names)  # pyright: ignore
    assert found["top1"] == 50
    assert found["mean_class"] == pytest.approx(100 * (1 + 1 + 0) / 3)
    # Without squat, the third sample's best answer is its own class.
    assert found["top1_unseen"] == pytest.approx(200 / 3)
    assert (found["chance"], found["chance_unseen"]) == (pytest.approx(100 / 3), 50)
    assert found["answers"] == {"squat": 2, "golf_swing": 2, "wave": 0}


@pytest.fixture
def packed(tmp_path):
    actions = [a for a in ("squat", "clap", "kick") for _ in range(6)]
    tracks = [sample_track(a, body=i % 4, style=i % 3, seed=i) for i, a in enumerate(actions)]
    path = tmp_path / "mine.npz"
    write_packed(path, tracks, labels=actions, columns={"is_train": np.arange(18) % 2 == 0, "all": np.ones(18, bool)})
    return path


def test_benchmarks_say_what_is_wrong_with_a_split(packed):
    with pytest.raises(TmorError, match=r"the training part of 'mine' is not known; name it"):
        read_benchmark(packed)
    with pytest.raises(TmorError, match=r"part 'all' holds 18 of 18 samples; expected some, not all"):
        read_benchmark(packed, part="all")


def test_raw_neighbours_know_their_own_kind(packed):
    # Of nine training samples some are left-handed and some are not; three classes would give 33 by chance.
    assert raw_nearest(read_benchmark(packed, part="is_train"), neighbours=1)["top1"] > 60


def test_validation_never_touches_the_test_part(packed):
    benchmark = read_benchmark(packed, part="is_train")
    found = evaluate(from_scratch(Model(TINY)), benchmark, modes=("linear",), validation=True)
    assert found["train"] + found["test"] == int(benchmark.train.sum())
    assert found["part"].startswith("validation")


def test_fine_tuning_learns_and_leaves_its_start_alone(packed):
    model = Model(TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tuned, found = fine_tune(model, read_benchmark(packed, part="is_train"), epochs=2, batch=4)
    assert tuned.spec.classes == ("clap", "kick", "squat")
    assert found["samples"] == 9
    assert all((v == before[k]).all() for k, v in model.state_dict().items())
    with pytest.raises(TmorError, match="share is 0; expected a number above 0, at most 1"):
        fine_tune(model, read_benchmark(packed, part="is_train"), share=0)


def test_tables_say_which_file_is_no_result(tmp_path):
    with pytest.raises(TmorError, match=r"holds no \*\.json"):
        markdown_tables(tmp_path)
    (tmp_path / "odd.json").write_text('{"a": 1}')
    with pytest.raises(FormatError, match=r"odd\.json: not a result of tmor evaluate"):
        markdown_tables(tmp_path)
