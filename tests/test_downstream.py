"""Classification, zero-shot, few-shot and retrieval against closed forms and literal readings of their definitions."""

import json
import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from tmor.downstream import classify
from tmor.downstream import evaluate as evaluation
from tmor.downstream.benchmarks.labelled import LabelledSet, read_labelled
from tmor.downstream.benchmarks.protocol import Fold, Protocol, Published, by_flag
from tmor.downstream.classify import (
    _start_as_probe,
    class_probabilities,
    fine_tune,
    from_scratch,
    linear_probe,
    raw_nearest,
)
from tmor.downstream.evaluate import Recipe, evaluate
from tmor.downstream.fewshot import few_shot
from tmor.downstream.metrics.classification import accuracy, mean_class_accuracy
from tmor.downstream.metrics.retrieval import retrieval
from tmor.downstream.retrieve import first_of_each, retrieve
from tmor.downstream.tables import markdown_tables, result_rows
from tmor.downstream.zeroshot import zero_shot
from tmor.errors import FormatError, TmorError
from tmor.model.compute import Compute
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.posecap.triplets import Triplet
from tmor.skeleton.formats import write_packed
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

TINY = ModelSpec("tiny", UnikShape((8, 8), (2, 2)), clip_frames=8, width=4, teacher="", views_deg=(0.0,))
NAMES = ("clap", "kick", "squat")


def clusters(rng, classes=3, each=10, spread=0.05):
    """Unit vectors around the axes, and their labels."""
    labels = np.repeat(np.arange(classes), each)
    x = np.eye(classes, 8)[labels] + spread * rng.normal(size=(len(labels), 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels


def whole(n: int) -> Fold:
    """Train and test on everything."""
    return Fold("whole", np.ones(n, bool), np.ones(n, bool))


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
    assert few_shot(x, y, whole(30), episodes=10) == {"1": 100, "5": 100}
    noise = rng.normal(size=(300, 8)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    y = rng.integers(0, 3, 300)
    fold = Fold("half", np.arange(300) < 150, np.arange(300) >= 150)
    assert few_shot(noise, y, fold)["5"] == pytest.approx(100 / 3, abs=8)


def test_few_shot_draws_from_the_training_part_and_answers_the_test_part():
    # What lies outside the fold would be right by chance alone: its labels are not those of its place.
    x, y = clusters(np.random.default_rng(0))
    fold = Fold("some", np.arange(30) % 3 == 0, np.arange(30) % 3 == 1)
    y = np.where(fold.train | fold.test, y, (y + 1) % 3)
    assert few_shot(x, y, fold, shots=(3,)) == {"3": 100}


def test_few_shot_repeats_under_its_seed_and_says_when_examples_are_few():
    x, y = clusters(np.random.default_rng(1), spread=0.5)
    fold = whole(30)
    assert few_shot(x, y, fold, seed=3) == few_shot(x, y, fold, seed=3)
    assert few_shot(x, y, fold, seed=3) != few_shot(x, y, fold, seed=4)
    with pytest.raises(TmorError, match=r"^class 0 has 10 training samples; expected at least 11 for 11-shot$"):
        few_shot(x, y, fold, shots=(11,))


def test_linear_probe_separates_what_is_separable():
    x, y = clusters(np.random.default_rng(2))
    np.testing.assert_array_equal(linear_probe(x[::2], y[::2], x[1::2]), y[1::2])
    # One example per class leaves nothing to cross-validate with.
    np.testing.assert_array_equal(linear_probe(x[::10], y[::10], x), y)


def test_zero_shot_names_the_nearest_text_and_leaves_shared_classes_out(monkeypatch):
    names = ["squat", "golf_swing", "wave"]
    model = SimpleNamespace(project_labels=lambda labels, descriptions: np.eye(3, dtype=np.float32))
    monkeypatch.setattr("tmor.downstream.zeroshot.shared_names", lambda *_: {"squat": "squat"})
    motion = np.array([[1, 0, 0], [0, 1, 0.5], [0.9, 0.2, 0.5], [0, 1, 0]], np.float32)
    found, answer = zero_shot(model, motion, np.array([0, 1, 2, 2]), names)  # pyright: ignore
    assert answer.tolist() == [0, 1, 0, 1]
    assert found["top1"] == 50
    assert found["mean_class"] == pytest.approx(100 * (1 + 1 + 0) / 3)
    # Without squat, the third sample's best answer is its own class.
    assert found["top1_unseen"] == pytest.approx(200 / 3)
    assert (found["chance"], found["chance_unseen"]) == (pytest.approx(100 / 3), 50)
    assert found["answers"] == {"squat": 2, "golf_swing": 2, "wave": 0}
    assert found["per_class"] == {"squat": 100, "golf_swing": 100, "wave": 0}
    assert "generalised" not in found


def test_generalised_zero_shot_by_hand(monkeypatch):
    model = SimpleNamespace(project_labels=lambda labels, descriptions: np.eye(4, dtype=np.float32))
    monkeypatch.setattr("tmor.downstream.zeroshot.shared_names", lambda *_: {})
    # Of classes 2 and 3, which are held out: three samples of 2, one of 3; two of 0.
    motion = np.array([[0, 0, 9, 1], [9, 0, 2, 1], [0, 0, 1, 9], [0, 0, 1, 2], [9, 0, 0, 0], [0, 0, 9, 0]], np.float32)
    found, answer = zero_shot(
        model,  # pyright: ignore
        motion,
        np.array([2, 2, 2, 3, 0, 0]),
        "abcd",
        unseen_classes=(2, 3),
    )
    assert answer.tolist() == [2, 0, 3, 3, 0, 2]
    # Among 2 and 3 alone the second sample is right too.
    assert found["held_out"] == 75
    assert found["generalised"] == {"seen": 50, "unseen": 50, "harmonic_mean": 50}
    assert found["top1"] == 50
    seen_only = zero_shot(model, motion[4:], np.array([0, 1]), "abcd", unseen_classes=(2, 3))[0]  # pyright: ignore
    assert np.isnan(seen_only["held_out"])


# --- labelled sets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path):
    actions = [a for a in ("squat", "clap", "kick") for _ in range(6)]
    tracks = [sample_track(a, body=i % 4, style=i % 3, seed=i) for i, a in enumerate(actions)]
    path = tmp_path / "mine.npz"
    write_packed(path, tracks, labels=actions, columns={"is_train": np.arange(18) % 2 == 0, "all": np.ones(18, bool)})
    return path


@pytest.fixture
def data(packed) -> LabelledSet:
    return read_labelled(packed, part="is_train")


def changed(path, **arrays):
    """The packed set with other arrays; None leaves one out."""
    with np.load(path) as old:
        kept = {**old, **arrays}
    np.savez(path, **{key: value for key, value in kept.items() if value is not None})
    return path


def test_a_labelled_set_has_the_samples_of_its_folds(data):
    assert (data.name, data.protocol, data.class_names, data.metric) == ("mine", "is_train", NAMES, "top1")
    assert [NAMES[k] for k in data.labels] == ["squat"] * 6 + ["clap"] * 6 + ["kick"] * 6
    assert len(data.samples) == 18
    (fold,) = data.folds
    assert fold.train.tolist() == (~fold.test).tolist() == [i % 2 == 0 for i in range(18)]


def test_a_protocol_says_which_classes_take_part_and_what_is_left_out_is_counted(packed):
    with np.load(packed) as arrays:
        label, joints, offsets = arrays["label"].copy(), arrays["joints"].copy(), arrays["offsets"]
    label[1] = -1
    joints[offsets[6] : offsets[7]] = np.nan
    joints[offsets[12] : offsets[13]] = np.nan  # counted once, as no part of the protocol
    changed(packed, label=label, joints=joints)
    figures = (Published("others", "mean_class", 50.0),)
    protocol = Protocol("two", by_flag("is_train"), "mean_class", ("squat", "clap"), ("clap",), figures)
    data = read_labelled(packed, protocol)
    assert data.skipped == {"no label": 1, "nobody is seen": 1, "class is not in the protocol": 6}
    assert (data.class_names, data.unseen, data.metric) == (("squat", "clap"), (1,), "mean_class")
    assert data.labels.tolist() == [0] * 5 + [1] * 5
    assert data.folds[0].train.tolist() == [i % 2 == 0 for i in (0, *range(2, 6), *range(7, 12))]
    assert data.published == figures


def test_sets_that_cannot_be_read_for_classification(packed):
    def fails(message, *args, **options):
        with pytest.raises(TmorError, match=rf"^{re.escape(message)}$"):
            read_labelled(packed, *args, **options)

    fails(f"{packed}: how 'mine' is split is not known; name its training part with --part")
    fails("set 'mine' has no part 'is_tset'; its parts are is_train, all", part="is_tset")
    fails(f"{packed}: fold 'all' of protocol all has 18 training and 0 test samples; expected some of each", part="all")
    fails(
        f"{packed}: fold 'not all' of protocol not all has 0 training and 18 test samples; expected some of each",
        part="not all",
    )
    wanted = Protocol("sports", by_flag("is_train"), classes=("squat", "ski", "row"))
    fails(f"{packed}: lacks class row, ski, which protocol sports has", wanted)
    changed(packed, label=None)
    fails(f"{packed}: has no labels; classification needs array 'label' with 'class_names'", part="is_train")


@pytest.mark.parametrize("seed", [0, 1])
def test_validation_halves_the_training_part_of_each_class_and_never_touches_the_test_part(data, seed):
    odd = Fold("odd", np.isin(np.arange(18), [0, 1, 2, 6, 7, 8, 9, 12]), np.arange(18) >= 13)
    data = replace(data, folds=(*data.folds, odd))
    found = data.validation(seed)
    before, (after,) = data.folds[0], found.folds
    assert after.name == "is_train"
    np.testing.assert_array_equal(after.train | after.test, before.train)
    assert not (after.train & after.test).any()
    assert not ((after.train | after.test) & before.test).any()
    for k in range(3):
        own = before.train & (data.labels == k)
        assert (after.train & own).sum() == -(-own.sum() // 2)
    other = data.validation(seed + 1).folds[0]
    assert (other.train != found.folds[0].train).any()
    np.testing.assert_array_equal(data.validation(seed).folds[0].train, found.folds[0].train)


def test_evaluation_on_validation_reads_no_test_sample(data):
    fold = data.folds[0]
    broken = tuple(() if test else tracks for tracks, test in zip(data.samples, fold.test, strict=True))
    hidden = replace(data, samples=broken)
    for mode in ("raw", "scratch", "linear", "few-shot"):
        recipe = Recipe(validation=True, epochs=1, shots=(1,))
        done = evaluate(Model(TINY), hidden, modes=(mode,), recipe=recipe)
        found, features = done.result, done.features
        assert features is None or not features[fold.test].any()
        assert found["train"] + found["test"] == int(fold.train.sum())
        assert found["part"] == "validation, from the training part"


# --- learning --------------------------------------------------------------------------------------------------------


def test_raw_neighbours_know_their_own_kind(data):
    # Of nine training samples some are left-handed and some are not; three classes would give 33 by chance.
    fold = data.folds[0]
    answer = raw_nearest(data, fold, neighbours=1)
    assert accuracy(data.labels[fold.test], answer) > 0.6
    same = raw_nearest(data, Fold("same", fold.train, fold.train), neighbours=1)
    np.testing.assert_array_equal(same, data.labels[fold.train])
    lone = Fold("lone", np.arange(18) == 7, fold.test)
    assert raw_nearest(data, lone).tolist() == [int(data.labels[7])] * 9, "no more neighbours than there are"


def test_fine_tuning_learns_and_leaves_its_start_alone(data):
    model = Model(TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    told = []
    tuned = fine_tune(model, data, data.folds[0], epochs=2, batch=4, progress=lambda *args: told.append(args))
    assert tuned.spec == replace(TINY, classes=NAMES, clip_frames=64, width=0, teacher="", teacher_hash="")
    assert not tuned.training
    assert all((v == before[k]).all() for k, v in model.state_dict().items())
    assert any((v != before[k]).any() for k, v in tuned.state_dict().items() if k in before)
    assert told == [("fine-tuning", n, 6) for n in range(6)]
    for share in (0, 1.5):
        with pytest.raises(TmorError, match=rf"^share is {share}; expected a number above 0, at most 1$"):
            fine_tune(model, data, data.folds[0], share=share)


def test_fine_tuning_computes_where_and_how_precisely_it_is_told(data):
    def weights(precision):
        tuned = fine_tune(Model(TINY), data, data.folds[0], epochs=1, batch=4, compute=Compute(precision=precision))
        assert {tensor.dtype for tensor in tuned.parameters()} == {torch.float32}
        return torch.cat([p.detach().flatten() for p in tuned.parameters()])

    torch.manual_seed(0)
    single = weights("fp32")
    torch.manual_seed(0)
    half = weights("bf16")
    assert not torch.equal(single, half)
    assert (single - half).norm() < 0.1 * single.norm()
    # What stayed behind on the processor could not be combined with tensors that have no data.
    told = []
    nowhere = SimpleNamespace(device="meta", autocast=nullcontext)
    with pytest.raises(NotImplementedError, match=r"^Cannot copy out of meta tensor"):
        fine_tune(
            Model(TINY),
            data,
            data.folds[0],
            epochs=2,
            batch=4,
            compute=nowhere,  # pyright: ignore[reportArgumentType]
            progress=lambda *args: told.append(args),
        )
    assert told == [("fine-tuning", n, 6) for n in range(6)]


def test_a_device_or_precision_that_is_not_there_is_an_error(monkeypatch):
    with pytest.raises(TmorError, match=r"^device is 'tpu'; expected cpu or cuda$"):
        Compute("tpu")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TmorError, match=r"^precision is 'fp64'; expected fp32 or bf16$"):
        Compute(precision="fp64")  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TmorError, match=r"^device is 'cuda'; PyTorch sees no CUDA device on this machine$"):
        Compute("cuda")


def test_fine_tuning_repeats_under_its_seed(data):
    def weights(seed):
        torch.rand(3)  # what others drew before must not matter
        tuned = fine_tune(start, data, data.folds[0], epochs=1, batch=4, seed=seed)
        return torch.cat([p.flatten() for p in tuned.parameters()])

    start = from_scratch(Model(TINY), seed=3)
    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_fine_tuning_goes_on_from_a_model_with_other_classes(data):
    start = fine_tune(Model(TINY), data, data.folds[0], epochs=1)
    fewer = replace(data, class_names=("arms", "legs"), labels=np.minimum(data.labels, 1))
    tuned = fine_tune(start, fewer, data.folds[0], epochs=1)
    assert tuned.class_head is not None
    assert (tuned.spec.classes, tuned.class_head.out_features) == (("arms", "legs"), 2)


def test_3d_is_learnt_from_2d_weights_but_for_what_multiplies_coordinates(data):
    def parameters(model):
        return dict(model.encoder.named_parameters())

    start = Model(TINY)
    tuned = fine_tune(start, data, data.folds[0], stream="joint-3d", epochs=1, learning_rate=0)
    assert (tuned.spec.stream, tuned.spec.channels, start.spec.channels) == ("joint-3d", 6, 2)
    before, after = parameters(start), parameters(tuned)
    anew = {name for name in before if before[name].shape != after[name].shape}
    spatial = {f"blocks.0.spatial.{name}.weight" for name in ("attend", "mix", "down.conv")}
    assert anew == spatial | {"data_bn.weight", "data_bn.bias"}
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - anew)
    again = parameters(fine_tune(tuned, data, data.folds[0], stream="joint-3d", epochs=1, learning_rate=0))
    assert all(torch.equal(x, after[name]) for name, x in again.items())
    back = fine_tune(tuned, data, data.folds[0], epochs=1)
    assert (back.spec.stream, back.spec.channels) == ("joint", 2)


def test_depth_tells_apart_what_looks_alike_from_the_front(data):
    """Hands go towards the camera or away from it."""
    rng, samples = np.random.default_rng(0), []
    still = np.repeat(sample_track("walk").to(UNIK17).keypoints[:1], 16, axis=0)
    at = UNIK17.joints.index
    across = still[0, at("left_shoulder")] - still[0, at("right_shoulder")]
    forward, hands = np.cross(across, [0, 1, 0]), [at("left_wrist"), at("right_wrist")]
    for i in range(18):
        x = still + 0.01 * rng.normal(size=still.shape)
        x[:, hands] += (1 - 2 * (i % 2)) * np.linspace(0, 1, 16)[:, None, None] * forward
        samples.append((Track(x, UNIK17, 30.0),))
    deep = replace(data, samples=tuple(samples), labels=np.arange(18) % 2, class_names=("push", "pull"))
    fold = Fold("halves", np.arange(18) < 10, np.arange(18) >= 10)
    for stream, right in (("joint", 0.5), ("joint-3d", 1), ("bone-3d", 1)):
        torch.manual_seed(0)
        start = Model(TINY)
        options = {"stream": stream, "epochs": 30, "batch": 5, "clip_frames": 8, "learning_rate": 0.02, "probe": False}
        found = class_probabilities(fine_tune(start, deep, fold, **options), deep, np.arange(10, 18)).argmax(axis=1)
        assert accuracy(deep.labels[10:], found) == right, stream


def test_a_stream_in_3d_needs_3d(data):
    flat = [(Track(np.array(t.keypoints)[..., :2], t.layout, t.fps),) for (t,) in data.samples[:2]]
    mixed = replace(data, samples=(*flat, *data.samples[2:]))
    message = rf"^stream bone-3d needs 3D; of {data.name}, 2 of 18 samples are in 2D$"
    with pytest.raises(TmorError, match=message):
        fine_tune(Model(TINY), mixed, mixed.folds[0], stream="bone-3d")
    with pytest.raises(TmorError, match=message):
        evaluate(Model(TINY), mixed, modes=("raw", "scratch"), recipe=Recipe(streams=("joint", "bone-3d")))


def test_a_head_starts_as_the_logistic_regression_of_whitened_features():
    """Classes 0 and 2 of three were seen."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40) * 2
    features = (rng.normal(size=(40, 8)) + y[:, None] * [1, 0, 0, 0.5, 0, 0, 0, 0] + 3).astype(np.float32)
    head = torch.nn.Linear(8, 3)
    centre, whitening = rng.normal(size=8).astype(np.float32), rng.normal(size=(8, 8)).astype(np.float32)
    model = Model(TINY)
    model.centre.copy_(torch.from_numpy(centre))
    model.whitening.copy_(torch.from_numpy(whitening))
    _start_as_probe(head, model, features, torch.from_numpy(y))
    with torch.no_grad():
        found = head(torch.from_numpy(features)).softmax(dim=1).numpy()
    assert found[:, 1].max() < 0.1
    x = (features - centre) @ whitening
    x = (x - x.mean(axis=0)) / x.std(axis=0).mean()
    # Two classes have one weight vector there and one each, opposite, here: half the penalty.
    probe = LogisticRegression(C=20 / 8, max_iter=1000, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(found[:, 2] / (1 - found[:, 1]), probe.predict_proba(x)[:, 1], atol=0.03)


def test_an_encoder_with_person_slots_is_fine_tuned_too(data):
    spec = replace(TINY, shape=UnikShape((8, 8), (2, 2), persons=2), width=0)
    tuned = fine_tune(Model(spec), data, data.folds[0], epochs=1)
    assert class_probabilities(tuned, data, np.arange(2)).shape == (2, 3)


def test_lower_blocks_learn_more_slowly():
    model = Model(replace(TINY, shape=UnikShape((8, 8, 16), (1, 2, 1)), classes=("a", "b")))
    groups = classify._rates(model, 1.0, 0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups), "none is in two groups"
    for name, parameter in model.named_parameters():
        expected = {"class_head": 1.0, "encoder.blocks.2": 0.5, "encoder.blocks.1": 0.25, "encoder.blocks.0": 0.125}
        expected["encoder.data_bn"] = 0.125
        own = [lr for start, lr in expected.items() if name.startswith(start + ".")]
        assert [rate[id(parameter)]] == own if own else id(parameter) not in rate, name
    assert {group["lr"] for group in classify._rates(model, 1.0, 1.0)} == {1.0}


def drawn(monkeypatch, data, **options) -> Counter:
    """How often each class was drawn in an epoch of fine-tuning."""
    counts = Counter()
    original = classify.epoch_order

    def watch(labels, **given):
        order = original(labels, **given)
        counts.update(labels[order].tolist())
        return order

    monkeypatch.setattr(classify, "epoch_order", watch)
    fine_tune(Model(TINY), data, data.folds[0], epochs=1, **options)
    return counts


def test_balanced_training_sees_every_class_equally_often(monkeypatch, data):
    uneven = Fold("uneven", np.isin(np.arange(18), [0, 1, 2, 3, 4, 5, 6, 7, 12]), np.arange(18) == 17)
    data = replace(data, folds=(uneven,))
    classes = [int(data.labels[i]) for i in (0, 6, 12)]  # 6, 2 and 1 training samples
    assert [drawn(monkeypatch, data)[k] for k in classes] == [6, 2, 1]
    assert [drawn(monkeypatch, data, balanced=True)[k] for k in classes] == [3, 3, 3]


def test_a_share_is_taken_of_each_class_and_at_least_one_sample(monkeypatch, data):
    uneven = Fold("uneven", np.isin(np.arange(18), [0, 1, 2, 3, 4, 5, 6, 7, 12]), np.arange(18) == 17)
    train, labels = uneven.train, data.labels
    for share, expected in ((1.0, [6, 2, 1]), (0.5, [3, 1, 1]), (0.01, [1, 1, 1])):
        chosen = classify.share_of(labels, train, share, 0)
        assert [int((labels[chosen] == labels[i]).sum()) for i in (0, 6, 12)] == expected
        assert len(set(chosen)) == len(chosen)
        assert train[chosen].all()
    assert classify.share_of(labels, train, 0.5, 0) != classify.share_of(labels, train, 0.5, 1)
    counts = drawn(monkeypatch, replace(data, folds=(uneven,)), share=0.5)
    assert sum(counts.values()) == 5


def test_class_probabilities_are_without_chance_and_the_same_alone_as_among_others(data):
    tuned = fine_tune(Model(TINY), data, data.folds[0], epochs=1).train()
    found = class_probabilities(tuned, data, np.arange(18))
    assert found.shape == (18, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(class_probabilities(tuned, data, np.arange(18)), found)
    np.testing.assert_allclose(class_probabilities(tuned, data, np.array([7, 3])), found[[7, 3]], atol=1e-5)


def test_persons_of_a_sample_are_averaged(data):
    model = from_scratch(Model(TINY))
    both = replace(data, samples=((*data.samples[0], *data.samples[7]),))
    found = classify.sample_features(model, both, np.array([0]))
    alone = classify.sample_features(model, data, np.array([0, 7]))
    np.testing.assert_allclose(found[0], alone.mean(axis=0), atol=1e-6)


# --- evaluation ------------------------------------------------------------------------------------------------------


def test_two_streams_are_measured_apart_and_fused(data):
    recipe = Recipe(streams=("joint", "bone"), epochs=1)
    found = evaluate(Model(TINY), data, modes=("finetune", "scratch"), recipe=recipe)
    for mode in ("finetune", "scratch"):
        measures = {f"{stream} {m}".strip() for stream in ("joint", "bone", "") for m in ("top1", "mean_class")}
        assert set(found.result[mode]) == measures | {"epochs", "precision", "share"}
        truth, answer = found.answers[mode]
        assert found.result[mode]["top1"] == {"mean": pytest.approx(100 * accuracy(truth, answer)), "std": None}
    (title, *_), *_ = [row[1:] for row in result_rows([found.result]) if row[3].startswith("joint, ")]
    assert title == "fine-tuned top-1"
    assert found.features is None


ANSWERS = {
    # seed, fold, stream: the probability of class 1 for both test samples, which are of classes 0 and 1
    (0, "a", "joint"): (0.1, 0.4),
    (0, "a", "bone"): (0.8, 0.9),
    (0, "b", "joint"): (0.9, 0.2),
    (0, "b", "bone"): (0.9, 0.7),
    (1, "a", "joint"): (0.2, 0.8),
    (1, "a", "bone"): (0.1, 0.9),
    (1, "b", "joint"): (0.1, 0.9),
    (1, "b", "bone"): (0.7, 0.9),
}


@pytest.fixture
def by_hand(monkeypatch) -> LabelledSet:
    """Two folds of two test samples each; what a fine-tuned model answers is written in ``ANSWERS``."""
    monkeypatch.setattr(
        "tmor.downstream.evaluate.fine_tune",
        lambda model, data, fold, *, stream, seed, **_: (seed, fold.name, stream),
    )

    def probabilities(key, data, rows):
        assert data.labels[rows].tolist() == [0, 1]
        one = np.array(ANSWERS[key])
        return np.stack([1 - one, one], axis=1)

    monkeypatch.setattr("tmor.downstream.evaluate.class_probabilities", probabilities)
    tracks = tuple((sample_track("squat", seed=n),) for n in range(4))
    first = np.array([True, True, False, False])
    folds = Fold("a", ~first, first), Fold("b", first, ~first)
    return LabelledSet("toy", "both ways", tracks, np.array([0, 1, 0, 1]), ("sit", "stand"), folds, {"no label": 2})


def test_means_are_over_folds_and_seeds_and_the_spread_is_that_of_the_seeds(by_hand):
    recipe = Recipe(seeds=(0, 1), streams=("joint", "bone"))
    found = evaluate(Model(TINY), by_hand, modes=("finetune",), recipe=recipe)
    # Seed 0: joint 50 and 0, bone 50 and 50; fused (0.9, 1.3) and (1.8, 0.9) of 2: 100 and 0. Seed 1: joint 100 and
    # 100, bone 100 and 50; fused (0.3, 1.7) and (0.8, 1.8): 100 and 100.
    expected = {"joint": (25, 100), "bone": (50, 75), "": (50, 100)}
    for stream, means in expected.items():
        measure = {"mean": pytest.approx(np.mean(means)), "std": pytest.approx(abs(means[1] - means[0]) / 2**0.5)}
        assert found.result["finetune"][f"{stream} top1".strip()] == measure
    assert found.result["finetune"]["epochs"] == 30
    assert found.result["finetune"]["precision"] == "fp32"
    # The answers are those of the first seed, all folds one after the other, fused.
    truth, answer = found.answers["finetune"]
    assert (truth.tolist(), answer.tolist()) == ([0, 1, 0, 1], [0, 1, 1, 0])
    result = {key: found.result[key] for key in ("benchmark", "protocol", "folds", "train", "test", "classes", "seeds")}
    assert list(result.values()) == ["toy", "both ways", 2, 4, 4, 2, [0, 1]]
    assert (found.result["part"], found.result["skipped"]) == ("test", {"no label": 2})


def test_a_share_of_the_labels_is_all_that_the_linear_probe_sees(data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "tmor.downstream.evaluate.linear_probe",
        lambda train, labels, test: seen.append(np.bincount(labels).tolist()) or np.zeros(len(test), np.int64),
    )
    recipe = Recipe(seeds=(0, 1), share=0.5)
    found = evaluate(Model(TINY), data, modes=("linear",), recipe=recipe).result["linear"]
    classes = np.bincount(data.labels[data.folds[0].train])
    assert seen == [[max(1, round(0.5 * n)) for n in classes.tolist()]] * 2 * len(data.folds)
    assert found["share"] == 0.5


def test_one_seed_has_no_spread(by_hand):
    found = evaluate(Model(TINY), by_hand, modes=("scratch",), recipe=Recipe(seeds=(1,))).result["scratch"]
    assert found["top1"] == found["mean_class"] == {"mean": 100, "std": None}
    assert set(found) == {"top1", "mean_class", "epochs", "precision", "share"}


def test_what_has_no_chance_in_it_does_not_repeat_over_seeds(data, monkeypatch):
    calls = Counter()
    for name in ("raw_nearest", "linear_probe", "few_shot"):
        original = getattr(evaluation, name)

        def count(*args, name=name, original=original, **options):
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(evaluation, name, count)
    recipe = Recipe(seeds=(0, 1, 2), shots=(1,))
    found = evaluate(from_scratch(Model(TINY)), data, modes=("raw", "linear", "few-shot"), recipe=recipe)
    assert calls == {"raw_nearest": 1, "linear_probe": 1, "few_shot": 3}
    assert found.result["raw"]["top1"]["std"] is None
    assert found.result["linear"]["top1"]["std"] is None
    unit = Model(TINY).unit(found.features)  # pyright: ignore
    scores = [few_shot(unit, data.labels, data.folds[0], shots=(1,), seed=seed)["1"] for seed in (0, 1, 2)]
    assert found.result["few-shot"]["1"] == {
        "mean": pytest.approx(np.mean(scores)),
        "std": pytest.approx(np.std(scores, ddof=1)),
    }
    assert set(found.answers) == {"raw", "linear"}


def test_adapted_says_how_many_samples_it_saw(data, monkeypatch):
    seen = []
    monkeypatch.setattr(Model, "adapt_to", lambda self, rows: seen.append(len(rows)) or self)
    monkeypatch.setattr(Model, "project", lambda self, rows: rows[:, :4])
    monkeypatch.setattr(Model, "project_labels", lambda self, names, descriptions: np.eye(3, 4, dtype=np.float32))
    for asked, found in ((4, 4), (100, int(data.folds[0].train.sum()))):
        result = evaluate(Model(TINY), data, modes=("adapted",), recipe=Recipe(unlabelled=asked)).result
        assert (result["adapted"]["unlabelled"], seen.pop()) == (found, found)


def test_modes_and_streams_that_are_none(data):
    with pytest.raises(
        TmorError, match=r"^mode is 'guess'; expected one of zero-shot, few-shot, linear, adapted, finetune, "
    ):
        evaluate(Model(TINY), data, modes=("guess",))  # pyright: ignore
    with pytest.raises(TmorError, match=r"^stream is 'bones'; expected one of joint, bone, joint-3d, bone-3d$"):
        Recipe(streams=("joint", "bones"))  # pyright: ignore


# --- retrieval -------------------------------------------------------------------------------------------------------


def test_retrieval_counts_the_first_caption_of_each_clip_and_leaves_clips_without_one_out(monkeypatch):
    texts = ["sit", "stand", "wave"]
    track = sample_track("squat")
    triplets = [
        Triplet("c", "toy", replace(track, id="2"), ("wave", "greet")),
        Triplet("a", "toy", replace(track, id="0"), ("sit",)),
        Triplet("b", "toy", replace(track, id="1"), ("stand",)),
        Triplet("d", "toy", track),
        Triplet("e", "toy", replace(track, keypoints=np.full_like(track.keypoints, np.nan)), ("unseen",)),
    ]
    # The movement of "a" looks most like "stand"; the others like their own text.
    space = np.array([[0.5, 0.8, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    model = SimpleNamespace(
        spec=TINY,
        teacher=None,
        features=lambda tracks: np.array([int(t.id) for t in tracks]),
        project=lambda rows: space[rows],
        project_texts=lambda given: np.eye(3, dtype=np.float32)[[texts.index(t) for t in given]],
    )
    monkeypatch.setattr(
        "tmor.downstream.retrieve.embed_texts",
        lambda teacher, given: np.eye(3, dtype=np.float32)[[texts.index(t) for t in given]],
    )
    found = retrieve(model, triplets, name="toy")  # pyright: ignore
    assert (found["retrieve"]["clips"], found["part"]) == (3, "all")
    assert found["skipped"] == {"no caption, or nobody is seen": 2}
    everything = found["retrieve"]["protocols"]["all"]
    # "sit" finds its own movement first, as no other is like it at all; that movement finds "stand" first.
    assert everything["text_to_motion"]["R@1"] == 100
    assert everything["motion_to_text"]["R@1"] == pytest.approx(200 / 3)
    assert everything["motion_to_text"]["R@2"] == 100
    with pytest.raises(TmorError, match=r"^toy: none of 1 clips has a caption$"):
        retrieve(model, triplets[3:4], name="toy")  # pyright: ignore


def test_the_first_caption_of_a_sequence_is_that_of_its_first_clip():
    track = sample_track("squat")
    own = [Triplet(f"toy/{id}@{n}", "toy", replace(track, id=id), (f"{id} {n}",)) for n, id in enumerate("abab")]
    assert [t.texts for t in first_of_each(own)] == [("a 0",), ("b 1",)]


# --- tables ----------------------------------------------------------------------------------------------------------

ABOUT = {"model": "tiny", "benchmark": "toy", "protocol": "halves", "part": "test", "seeds": [0], "date": "2026-01-01"}


def measure(mean, std=None):
    return {"mean": mean, "std": std}


def test_table_rows_of_classification():
    result = {
        **ABOUT,
        "metric": "mean_class",
        "linear": {"top1": measure(90.0), "mean_class": measure(81.26)},
        "finetune": {
            **{"joint mean_class": measure(60.0, 1.0), "mean_class": measure(70.04, 0.25), "top1": measure(0.0)},
            **{"epochs": 5, "share": 0.1},
        },
        "few-shot": {"1": measure(33.3, 2.0)},
        "published": [["UNIK", "mean_class", 64.3]],
    }
    assert result_rows([result]) == [
        ("toy, halves", "1-shot top-1", "33.3 ± 2.0", "20 episodes per seed"),
        ("toy, halves", "linear probe mean per-class", "81.3", ""),
        ("toy, halves", "fine-tuned mean per-class", "60.0 ± 1.0", "joint, 5 epochs, 10% of labels"),
        ("toy, halves", "fine-tuned mean per-class", "70.0 ± 0.2", "5 epochs, 10% of labels"),
        ("toy, halves", "mean per-class", "64.3", "published: UNIK"),
    ]


def test_table_rows_of_zero_shot():
    zero = {
        **{"top1": 40.0, "chance": 10.0, "shared": {"sit": "sit", "hop": "jump"}, "top1_unseen": 30.0},
        **{"chance_unseen": 12.5, "held_out": 55.0},
        "generalised": {"seen": 60.0, "unseen": 20.0, "harmonic_mean": 30.0},
    }
    title = "zero-shot top-1, names shared with training left out"
    rows = result_rows([{**ABOUT, "protocol": None, "zero-shot": zero}])
    assert rows == [
        ("toy", "zero-shot top-1", "40.0", "chance 10.0"),
        ("toy", title, "30.0", "chance 12.5; shared: sit, hop (jump)"),
        ("toy", "zero-shot top-1 of the held-out classes", "55.0", ""),
        ("toy", "generalised zero-shot, harmonic mean", "30.0", "seen 60.0, unseen 20.0"),
    ]
    rows = result_rows([{**ABOUT, "metric": "mean_class", "zero-shot": zero | {"mean_class": 35.0}}])
    assert rows[1] == ("toy, halves", "zero-shot mean per-class", "35.0", "")
    # Of a part of the data set: no class that is held out has test samples.
    zero |= {"held_out": None, "generalised": {"seen": 60.0, "unseen": float("nan"), "harmonic_mean": None}}
    assert result_rows([{**ABOUT, "protocol": None, "zero-shot": zero}])[2:] == [
        ("toy", "zero-shot top-1 of the held-out classes", "-", ""),
        ("toy", "generalised zero-shot, harmonic mean", "-", "seen 60.0, unseen -"),
    ]
    none = {"top1": 40.0, "chance": 10.0, "shared": {}, "top1_unseen": None, "chance_unseen": None}
    assert result_rows([{**ABOUT, "zero-shot": none}])[1][1:] == (title, "-", "every class was trained on")


def test_table_rows_of_detection_and_of_retrieval():
    detect = {
        "text": {"frame_map": measure(12.34), "edit": measure(50.0)},
        "tcn": {"f_score": measure(80.0, 1.5), "recall": measure(70.0)},
    }
    figures = {"R@1": 10.0, "R@2": 20.0, "R@3": 25.0, "R@5": 33.33, "R@10": 50.0, "median_rank": 9.5}
    protocols = {"all": {"text_to_motion": figures, "motion_to_text": figures | {"R@1": 11.0, "median_rank": 8.0}}}
    results = [
        {**ABOUT, "detect": detect},
        {**ABOUT, "protocol": None, "retrieve": {"clips": 9, "protocols": protocols}},
    ]
    assert result_rows(results) == [
        ("toy, halves", "text: frame-mAP", "12.3", ""),
        ("toy, halves", "text: edit score", "50.0", ""),
        ("toy, halves", "tcn: F-score within 333 ms", "80.0 ± 1.5", ""),
        ("toy, halves", "tcn: recall", "70.0", ""),
        ("toy", "text to motion, all", "R@1 10.0, R@5 33.3, R@10 50.0", "median rank 9.5"),
        ("toy", "motion to text, all", "R@1 11.0, R@5 33.3, R@10 50.0", "median rank 8"),
    ]


def test_a_bar_in_a_class_name_stays_in_its_cell(tmp_path):
    zero = {"top1": 40.0, "chance": 10.0, "shared": {"a|b": "a"}, "top1_unseen": 30.0, "chance_unseen": 12.5}
    (tmp_path / "mine.json").write_text(json.dumps([{**ABOUT, "zero-shot": zero}]))
    assert markdown_tables(tmp_path).endswith("| 30.0 | chance 12.5; shared: a\\|b (a) |")


def test_tables_say_which_file_is_no_result(tmp_path):
    with pytest.raises(TmorError, match=r"holds no \*\.json"):
        markdown_tables(tmp_path)
    (tmp_path / "odd.json").write_text('{"a": 1}')
    with pytest.raises(FormatError, match=r"odd\.json: not a result of tmor evaluate"):
        markdown_tables(tmp_path)
    (tmp_path / "odd.json").write_text("[" * 100_000)
    with pytest.raises(FormatError, match=r"odd\.json: not a result of tmor evaluate"):
        markdown_tables(tmp_path)
