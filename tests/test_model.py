"""The model around the encoder: its spaces, its features over time, its two streams, and the heads for moments."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

import tmor.model.model
from letters import TINY, Teacher
from tmor.errors import TmorError
from tmor.model.answers import Examples
from tmor.model.checkpoint import load_model, save_model
from tmor.model.frame_head import FrameHead
from tmor.model.model import Model, ModelSpec
from tmor.model.segments import Joiner, Segment, Windows, windows_of
from tmor.model.unik import UnikShape
from tmor.posecap.captions import describe
from tmor.serve.stream import Stream
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.normalize import prepare, to_body, to_bones, views_of
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tmor.model.model, "load_text_teacher", lambda name: Teacher())
    torch.manual_seed(0)


def stirred(spec: ModelSpec) -> Model:
    """A model with every norm moved to where training might leave it."""
    model = Model(spec)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                if module.affine:
                    module.weight.uniform_(0.5, 1)
                    module.bias.uniform_(-0.3, 0.3)
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def long_track(frames: int, *, fps: float | None = 15.0, dims: int = 2, seed: int = 0) -> Track:
    """Somebody who never repeats himself: joints that wander about their places."""
    rng = np.random.default_rng(seed)
    pose = np.array(sample_track("squat").keypoints[0])[:, :dims]
    points = pose + np.cumsum(0.02 * rng.normal(size=(frames, 17, dims)), axis=0)
    return Track(points.astype(np.float32), UNIK17, fps)


# --- bones -----------------------------------------------------------------------------------------------------------


def test_bones_add_up_to_joints_along_the_chain_from_the_mid_hip():
    x = torch.randn(3, 5, 17, 2)
    bones = to_bones(x)
    at = {joint: i for i, joint in enumerate(UNIK17.joints)}
    spine = ["mid_hip", "chest", "neck"]
    chains = [[*spine, "nose", "head"]]
    for side in ("left", "right"):
        chains.append([*spine, *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist"))])
        chains.append(["mid_hip", *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle"))])
    reached = set()
    for chain in chains:
        total = torch.zeros(3, 5, 2)
        for joint in chain:
            total = total + bones[..., at[joint], :]
            torch.testing.assert_close(total, x[..., at[joint], :], atol=1e-5, rtol=1e-5)
            reached.add(joint)
    assert reached == set(UNIK17.joints)
    assert torch.equal(bones[..., at["mid_hip"], :], x[..., at["mid_hip"], :])


def test_bones_forget_where_a_body_is_but_for_its_mid_hip():
    x = torch.randn(2, 17, 3)
    there, moved = to_bones(x), to_bones(x + 5)
    others = [i for i, joint in enumerate(UNIK17.joints) if joint != "mid_hip"]
    torch.testing.assert_close(moved[:, others], there[:, others], atol=1e-5, rtol=0)


def test_a_model_of_the_bone_stream_sees_bones():
    joint, track = stirred(TINY), long_track(64)
    bone = Model(replace(TINY, stream="bone")).eval()
    bone.load_state_dict(joint.state_dict())
    x = to_bones(to_body(torch.from_numpy(prepare(track, fps=15.0))))
    with torch.inference_mode():
        expected = joint.encoder.frames(x[None, None])[0].numpy()
    np.testing.assert_allclose(bone.frame_features(track)[0], expected, atol=1e-5)
    assert not np.allclose(joint.features([track]), bone.features([track]))


# --- spaces ----------------------------------------------------------------------------------------------------------


def test_unit_centres_whitens_and_normalises():
    model = stirred(TINY)
    generator = torch.Generator().manual_seed(0)
    model.centre.copy_(torch.randn(8, generator=generator))
    model.whitening.copy_(torch.randn(8, 8, generator=generator))
    x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    z = (x - model.centre.numpy()) @ model.whitening.numpy()
    np.testing.assert_allclose(model.unit(x), unit(z), atol=1e-5)
    track = long_track(20)
    np.testing.assert_array_equal(model.embed([track]), model.unit(model.features([track])))


def test_before_whitening_is_fitted_unit_is_the_plain_norm():
    x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    np.testing.assert_allclose(Model(TINY).eval().unit(x), unit(x), atol=1e-6)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_label_lies_between_the_mean_of_its_projected_texts_and_the_projection_of_their_mean():
    model = stirred(TINY)
    found = model.project_labels(["jumping_jacks", "juggle_FIVE_clubs"])
    texts = describe("jumping_jacks")
    assert len(texts) == 9
    rows = model.project_texts(texts)
    np.testing.assert_allclose(rows, unit(rows), atol=1e-5)
    with torch.inference_mode():
        of_mean = model.text_head(torch.from_numpy(unit(Teacher().encode(texts).mean(axis=0)))[None])[0].numpy()  # pyright: ignore
    np.testing.assert_allclose(found[0], (of_mean + unit(rows.mean(axis=0))) / 2, atol=1e-5)
    assert np.linalg.norm(found[0]) < 1, "the two do not quite agree"


def test_descriptions_of_ones_own_join_ours():
    model = stirred(TINY)
    found = model.project_labels(
        {"Jumping_Jacks": ["hop and stretch"], "flail": ["swing both arms", "flail"], "nod": []}
    )
    for row, texts in zip(
        found, [(*describe("jumping jacks"), "hop and stretch"), ("flail", "swing both arms")], strict=False
    ):
        rows = Teacher().encode(texts)
        with torch.inference_mode():
            of_mean = model.text_head(torch.from_numpy(unit(rows.mean(axis=0)))[None])[0].numpy()  # pyright: ignore
        np.testing.assert_allclose(row, (of_mean + unit(model.project_texts(texts).mean(axis=0))) / 2, atol=1e-5)
    np.testing.assert_allclose(found[2:], model.project_labels(["nod"]), atol=1e-6)
    own = model.project_labels({"flail": ["swing both arms"]}, descriptions=False)
    np.testing.assert_array_equal(own, model.project_labels(["flail"], descriptions=False))


def test_labels_told_by_descriptions_of_ones_own():
    model = stirred(TINY).eval()
    tracks = [sample_track("squat"), sample_track("clap")]
    plain = model.classify(tracks, ["a ", "b"])
    assert plain.labels == ("a", "b")
    described = model.classify(tracks, {"a ": ["a person squats"], "b": ["a person claps"]})
    assert described.labels == ("a", "b")
    cosines = (
        model.project(model.features(tracks))
        @ model.project_labels({"a": ["a person squats"], "b": ["a person claps"]}).T
    )
    expected = model.spec.matching.probabilities(cosines, [False, False], none=False)
    np.testing.assert_allclose(described.probabilities, expected, atol=1e-6)
    assert np.abs(described.probabilities - plain.probabilities).max() > 1e-4
    # What is enrolled is told by its examples, whatever describes it.
    enrolled = model.enroll({"a": [tracks[0]]})
    np.testing.assert_array_equal(
        enrolled.classify(tracks, {"a": ["a person squats"], "b": []}).probabilities,
        enrolled.classify(tracks, ["a", "b"]).probabilities,
    )


def test_a_label_of_one_text_is_the_projection_of_it():
    model = stirred(TINY)
    found = model.project_labels(["juggle_FIVE_clubs"])
    np.testing.assert_allclose(found, model.project_texts(["juggle five clubs"]), atol=1e-6)
    found = model.project_labels(["jumping_jacks"], descriptions=False)
    np.testing.assert_allclose(found, model.project_texts(["jumping jacks"]), atol=1e-6)
    with pytest.raises(TmorError, match=r"^model 'tiny' has no text head; it can't name actions by text$"):
        Model(replace(TINY, teacher="")).project_labels(["wave"])


KNOWING = replace(TINY, known=3)


def knowing() -> Model:
    model = stirred(KNOWING)
    generator = torch.Generator().manual_seed(3)
    model.known_motions.copy_(torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=1))
    rows = torch.from_numpy(Teacher().encode(["squat", "wave", "juggle five clubs"]))
    model.known_texts.copy_(torch.nn.functional.normalize(rows, dim=1))
    return model


def test_a_text_is_remembered_by_the_movements_of_texts_like_it():
    model = knowing()
    plain = Model(TINY).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "known" not in k}, strict=False)
    x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    motions, texts = model.known_motions.numpy(), model.known_texts.numpy()
    rows = unit(Teacher().encode(["squat"]))
    centre = motions.mean(axis=0)
    # Of unit vectors exp((cosine - 1) / 0.2) is a Gaussian of their distance.
    regression = KernelRidge(kernel="rbf", gamma=1 / (2 * 0.2), alpha=0.3)  # pyright: ignore
    recalled = regression.fit(texts, unit(motions - centre)).predict(rows)
    own = unit(model.unit(x) - centre) @ unit(recalled).T
    projected = plain.project(x) @ plain.project_texts(["squat"]).T
    cosines = model.project(x) @ model.project_texts(["squat"]).T
    share = (cosines - projected) / (own - projected)
    np.testing.assert_allclose(share, share.mean(), rtol=1e-3)
    np.testing.assert_allclose(share.mean(), 2 / 3, rtol=1e-3)
    assert model.meeting_width == model.project(x).shape[1] == 8 + plain.meeting_width
    np.testing.assert_allclose(np.linalg.norm(model.project(x), axis=1), 1, atol=1e-5)


def test_what_a_model_knows_is_in_its_file(tmp_path):
    model = knowing()
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.spec.known == 3
    for name in ("known_texts", "known_motions"):
        assert torch.equal(again.state_dict()[name], model.state_dict()[name])


# --- examples --------------------------------------------------------------------------------------------------------


def test_what_is_no_list_of_tracks_is_said():
    model, track = stirred(TINY), sample_track("clap")
    for one in (lambda: model.classify(track, ["a"]), lambda: model.enroll({"a": track}), lambda: model.adapt(track)):
        with pytest.raises(TmorError, match=r"^tracks is a Track; expected a list of them$"):
            one()
    with pytest.raises(TmorError, match=r"^tracks\[0\] is a str; expected a Track, as tmor.read_tracks gives them$"):
        model.classify("poses.npz", ["a"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TmorError, match=r"^track is a list; expected a Track$"):
        model.detect([track], ["a"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TmorError, match=r"^a label is 7; expected words$"):
        model.classify([track], ["a", 7])  # pyright: ignore[reportArgumentType]


def test_one_example_per_label_is_compared_by_cosine():
    rng = np.random.default_rng(0)
    rows, x = unit(rng.normal(size=(4, 12))).astype(np.float32), unit(rng.normal(size=(9, 12))).astype(np.float32)
    np.testing.assert_allclose(Examples([row[None] for row in rows]).cosines(x), x @ rows.T, atol=1e-6)


def test_a_direction_in_which_examples_of_a_label_differ_counts_less():
    """Two labels differ along the second axis, their examples among themselves widely along the first."""
    first = np.array([[0.8, 0.3, 0.52], [-0.8, 0.3, 0.52]], np.float32)
    second = first * np.array([1, -1, 1], np.float32)
    asked = unit(np.array([[0.9, 0.2, 0.4], [-0.9, -0.2, 0.4]], np.float32))
    examples = Examples([first, second])
    found = examples.cosines(asked)
    assert (found.argmax(axis=1) == [0, 1]).all()
    plain = asked @ unit(np.stack([first.mean(axis=0), second.mean(axis=0)])).T
    assert (found[:, 0] - found[:, 1])[0] > 1.5 * (plain[:, 0] - plain[:, 1])[0]
    np.testing.assert_allclose(Examples([first[::-1], second]).cosines(asked), found, atol=1e-6)
    np.testing.assert_allclose(Examples([second, first]).cosines(asked), found[:, ::-1], atol=1e-6)


# --- features over time ----------------------------------------------------------------------------------------------


def held(track: Track, frames: int) -> torch.Tensor:
    """(frames, 17, dims) as prepared, the last frame held."""
    x = torch.from_numpy(prepare(track, fps=15.0))
    return torch.cat([x, x[-1:].expand(frames - len(x), -1, -1)])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("frames", [1, 4, 5, 33, 64])
def test_a_track_no_longer_than_a_window_has_the_features_of_that_window(frames, dims):
    model, track = stirred(TINY), long_track(frames, dims=dims)
    found, times = model.frame_features(track)
    x = held(track, 64)[None]
    views = views_of(x, TINY.views_deg).transpose(0, 1)[0] if dims == 3 else x
    with torch.inference_mode():
        expected = model.encoder.frames(to_body(views)[:, None]).mean(dim=0)
    assert found.shape == (-(-frames // 4), 8)
    np.testing.assert_allclose(found, expected[: len(found)].numpy(), atol=1e-5)
    np.testing.assert_allclose(times, np.arange(len(found)) * 4 / 15)


@pytest.mark.parametrize("frames", [65, 96, 97, 130, 333])
def test_features_over_time_are_one_for_every_four_frames_of_the_model_s_rate(frames):
    model = stirred(TINY)
    for fps in (15.0, 30.0):
        found, times = model.frame_features(long_track(round(frames * fps / 15), fps=fps))
        assert found.shape == (-(-frames // 4), 8)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(times, np.arange(len(found)) * 4 / 15)


def test_where_windows_meet_each_counts_the_less_the_nearer_its_edge_is():
    model, track = stirred(TINY), long_track(96)
    x = torch.from_numpy(prepare(track, fps=15.0))
    with torch.inference_mode():
        first, second = (model.encoder.frames(to_body(x[s : s + 64])[None, None])[0].numpy() for s in (0, 32))
    # Step i of 16 is i + 1 steps from before the window, 16 - i from after it, and the nearer one counts.
    step = np.arange(16)[:, None]
    weight = np.minimum(step + 1, 16 - step)
    both = (first[8:] * weight[8:] + second[:8] * weight[:8]) / (weight[8:] + weight[:8])
    np.testing.assert_allclose(model.frame_features(track)[0], np.concatenate([first[:8], both, second[8:]]), atol=1e-5)


def test_a_moment_does_not_depend_on_what_is_more_than_a_window_away():
    model, track = stirred(TINY), long_track(400)
    points = np.array(track.keypoints)
    points[:100] = points[:100][::-1] * 3 + 1
    points[300:] += np.random.default_rng(1).normal(size=(100, 17, 2))
    found, other = (model.frame_features(t)[0] for t in (track, replace(track, keypoints=points)))
    near = slice((100 + 64) // 4, (300 - 64) // 4)
    np.testing.assert_allclose(found[near], other[near], atol=1e-5)
    assert not np.allclose(found[:20], other[:20], atol=1e-3)
    assert not np.allclose(found[80:], other[80:], atol=1e-3)


def test_times_start_where_the_track_does_and_an_unknown_rate_counts_as_twice_the_model_s():
    model, track = stirred(TINY), long_track(40)
    np.testing.assert_allclose(model.frame_features(replace(track, start_s=7.5))[1], 7.5 + np.arange(10) * 4 / 15)
    unknown = replace(track, fps=None)
    np.testing.assert_allclose(model.frame_features(unknown)[1], np.arange(10) * 4 / 30)
    np.testing.assert_array_equal(model.frame_features(unknown)[0], model.frame_features(track)[0])


def test_a_stretch_in_which_nobody_is_seen_has_finite_features_and_a_track_of_nobody_is_an_error():
    model, track = stirred(TINY), long_track(300)
    points = np.array(track.keypoints)
    points[80:230] = np.nan
    assert np.isfinite(model.frame_features(replace(track, keypoints=points))[0]).all()
    with pytest.raises(TmorError, match=r"^the track has no visible joint in any of its 300 frames$"):
        model.frame_features(replace(track, keypoints=np.full_like(points, np.nan)))


def test_an_hour_takes_seconds():
    model, track = stirred(TINY), long_track(15 * 3600)
    started = time.monotonic()
    found, times = model.frame_features(track)
    assert time.monotonic() - started < 30
    assert found.shape == (13500, 8)
    assert times[-1] == pytest.approx(3600 - 4 / 15)


def test_a_model_of_several_person_slots_has_features_over_time_too():
    spec = replace(TINY, shape=UnikShape((8, 8), (2, 2), persons=2), width=0)
    model, track = stirred(spec), long_track(40)
    x = torch.zeros(1, 2, 64, 17, 2)
    x[0, 0] = to_body(held(track, 64))
    with torch.inference_mode():
        expected = model.encoder.frames(x)[0, :10].numpy()
    np.testing.assert_allclose(model.frame_features(track)[0], expected, atol=1e-5)


# --- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [0, 1, 5])
def test_frame_heads_answer_every_moment(layers):
    head = FrameHead(8, 3, layers=layers)
    assert head(torch.randn(2, 40, 8)).shape == (2, 40, 3)
    assert head.eval()(torch.randn(1, 1, 8)).shape == (1, 1, 3)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_a_frame_head_does_not_see_beyond_its_reach(layers):
    head = FrameHead(8, 3, layers=layers).eval()
    reach = sum(2**i for i in range(layers))
    x = torch.randn(1, 60, 8)
    other = x.clone()
    other[:, 30] += 10
    with torch.inference_mode():
        changed = (head(x) - head(other)).abs().amax(dim=(0, 2)) > 1e-5
    touched = torch.arange(60)[changed]
    assert (int(touched.min()), int(touched.max())) == (30 - reach, 30 + reach)
    assert layers or len(touched) == 1


def test_a_linear_frame_head_standardises_and_then_is_linear():
    head = FrameHead(8, 3, layers=0)
    for _ in range(50):
        head(5 + 2 * torch.randn(4, 50, 8))
    head.eval()
    a, b = torch.randn(2, 1, 6, 8).unbind()
    with torch.inference_mode():
        torch.testing.assert_close(head((a + b) / 2), (head(a) + head(b)) / 2, atol=1e-5, rtol=1e-5)
        order = torch.randperm(6)
        torch.testing.assert_close(head(a[:, order]), head(a)[:, order])
    torch.testing.assert_close(head.norm.running_mean, torch.full((8,), 5.0), atol=0.3, rtol=0)


# --- what happens when -----------------------------------------------------------------------------------------------


def test_windows_lie_at_fixed_places_from_the_start_and_one_more_ends_with_the_track():
    windows = Windows(75)
    assert (windows.length, windows.hop) == (45, 15)
    assert [windows.starts(n) for n in (1, 75)] == [[0], [0]]
    assert windows.starts(76) == [0, 15, 30, 31]
    assert windows.starts(90) == [0, 15, 30, 45]
    for n in range(76, 300):
        assert set(windows.starts(n)) - {n - 45} <= set(windows.starts(n + 1))
        assert windows.starts(n)[-1] == n - 45


def windows_seen(rows) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Windows of 3 frames that start every frame; in the frames of one without a row nobody is seen."""
    seen = np.ones(len(rows) + 2, dtype=bool)
    for i, row in enumerate(rows):
        seen[i : i + 3] &= row is not None
    for i, row in enumerate(rows):
        yield i, seen[i : i + 3], None if row is None else np.array(row, np.float32)


def joined(rows, *, start_s: float = 0.0) -> list[Segment]:
    """Of labels a, b, c, at 1 frame per second."""
    joiner = Joiner("abc", length=3, start_s=start_s, rate=1.0)
    for window in windows_seen(rows):
        joiner.add(*window)
    return joiner.finish(start_s + len(rows) + 2)


A, B, C = ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))


def test_one_window_or_many_of_the_same_answer_are_one_segment():
    for n in (1, 2, 3, 10):
        (segment,) = joined([A] * n, start_s=5.0)
        assert (segment.start_s, segment.end_s, segment.label) == (5.0, 5.0 + n + 2, "a")
        assert segment.score == pytest.approx(0.8)


def test_a_change_lies_half_way_between_the_middles_of_two_windows():
    a, b = joined([A, A, A, A, B, B, B, B])
    assert (a.start_s, a.end_s, a.label) == (0.0, 5.0, "a")
    assert (b.start_s, b.end_s, b.label) == (5.0, 10.0, "b")
    # Cells of 2, 1, 1 and 1 s; the last one is smoothed with a window of the other.
    assert a.score == pytest.approx((0.8 * 4 + (3 * 0.8 + 0.1) / 4) / 5)


def test_a_single_window_of_another_answer_changes_nothing():
    assert [s.label for s in joined([A, A, A, B, A, A, A])] == ["a"]
    assert [s.label for s in joined([A, A, A, B, B, B, A, A, A])] == ["a", "b", "a"]


def test_a_label_stays_until_another_is_clearly_more_probable():
    nearly = (0.45, 0.55, 0.0)
    assert [s.label for s in joined([A, A, *[nearly] * 9])] == ["a"]
    assert [s.label for s in joined([*[nearly] * 9])] == ["b"]
    clearly = (0.4, 0.6, 0.0)
    assert [s.label for s in joined([A, A, *[clearly] * 9])] == ["a", "b"]


def test_where_nobody_is_seen_no_segment_is_and_no_label_is_kept():
    nearly = (0.45, 0.55, 0.0)
    # Of eight frames the third to the sixth.
    first, second = joined([A, A, None, None, nearly, nearly])
    assert (first.start_s, first.end_s, first.label) == (0.0, 2.0, "a")
    assert (second.start_s, second.end_s, second.label) == (6.0, 8.0, "b")
    assert first.score == pytest.approx(0.8)
    assert joined([None, None]) == []


@pytest.mark.parametrize("gap", [0.5, 2, 3, 5, 10])
@pytest.mark.parametrize("live", [False, True])
def test_segments_end_where_somebody_vanishes_and_begin_where_he_comes_back(gap, live):
    model = stirred(replace(TINY, classes=("a", "b")))
    track = long_track(round(15 * (12.3 + gap)))
    points = np.array(track.keypoints)
    gone, back = round(15 * 5.2), round(15 * (5.2 + gap))
    points[gone:back] = np.nan
    if live:
        stream = Stream(model, UNIK17, track.dims, 15.0, None)
        for n, frame in enumerate(points):
            stream.push(n / 15, frame)
        found = stream.finish()
    else:
        found = model.detect(replace(track, keypoints=points))
    covered = np.zeros(len(points), dtype=bool)
    for segment in found:
        covered[round(15 * segment.start_s) : round(15 * segment.end_s)] = True
    expected = np.ones(len(points), dtype=bool)
    if gap > 0.5:  # which is bridged
        expected[gone:back] = False
    np.testing.assert_array_equal(covered, expected)


def test_a_closed_segment_does_not_change():
    rows = [A, A, B, B, C, C, C, None, A, B, B, B, A, C]
    everything = joined(rows)
    joiner = Joiner("abc", length=3, start_s=0.0, rate=1.0)
    for window in windows_seen(rows):
        joiner.add(*window)
        assert joiner.segments == everything[: len(joiner.segments)]
        if joiner.open is not None:
            following = everything[len(joiner.segments)]
            assert (joiner.open.start_s, joiner.open.label) == (following.start_s, following.label)
            assert joiner.open.end_s <= following.end_s


@pytest.mark.parametrize("fps", [None, 10.0, 15.0, 15.01, 30.0])
@pytest.mark.parametrize("frames", [1, 2, 75, 76, 150, 151, 333])
def test_segments_cover_a_track_without_overlap(fps, frames):
    model, track = stirred(replace(TINY, classes=("a", "b"))), replace(long_track(frames, fps=fps), start_s=2.5)
    found = model.detect(track)
    step = 1 / (fps or 30.0)
    assert found[0].start_s == 2.5
    assert found[-1].end_s == pytest.approx(2.5 + frames * step)
    for a, b in itertools.pairwise(found):
        assert a.end_s == b.start_s
        assert a.label != b.label
    if frames * step <= 5:
        (segment,) = found
        assert segment.score == pytest.approx(float(model.classify([track]).probabilities.max()), abs=1e-6)


def test_a_track_longer_than_a_batch_of_windows_is_judged_window_by_window():
    model, track = stirred(TINY), long_track(1200)
    x, labels = prepare(track, fps=15.0), ["juggle five clubs", "whistle"]
    windows = windows_of(15.0, model.spec)
    names, judge = model.judge(labels)
    joiner = Joiner(names, length=45, start_s=0.0, rate=15.0)
    for start in windows.starts(1200):
        joiner.add(start, np.ones(45, dtype=bool), judge(model.clip_features([x[start : start + 45]]))[0])
    expected, found = joiner.finish(80.0), model.detect(track, labels)
    assert [(s.label, s.start_s, s.end_s) for s in found] == [(s.label, s.start_s, s.end_s) for s in expected]
    np.testing.assert_allclose([s.score for s in found], [s.score for s in expected], atol=1e-5)
