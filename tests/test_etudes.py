"""Etudes: what they say is what they show."""

import re
from pathlib import Path

import numpy as np
import pytest

from tmor.config import pretrain_config
from tmor.errors import TmorError
from tmor.posecap.captions import mirror_text
from tmor.posecap.etudes import SOURCE, Etude, etudes
from tmor.posecap.etudes.arms import ARMS, Turns
from tmor.posecap.etudes.legs import LEGS, TRUNKS
from tmor.pretrain import loop
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.tracks import Track


@pytest.fixture(scope="module")
def found():
    return etudes(120, 1)


def joint(track, name):
    """(frames, 3) from mid hip."""
    x = track.keypoints
    return x[:, UNIK17.joints.index(name)] - x[:, UNIK17.joints.index("mid_hip")]


def turned(x, y):
    """Whether a path goes round clockwise, with x to the right and y up, its beginning and end left out."""
    x, y = (v[len(v) // 5 : -(len(v) // 5)] - v[len(v) // 5 : -(len(v) // 5)].mean() for v in (x, y))
    return np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x)) < 0


def travel(track, name):
    """How far a joint goes from where it begins, in metres."""
    x = joint(track, name)
    return np.linalg.norm(x - x[:1], axis=1).max()


def test_equal_seeds_give_the_same_bits_and_fewer_etudes_are_the_first_ones():
    few, more, other = etudes(5, 2), etudes(8, 2), etudes(5, 2, seed=1)
    assert [t.texts for t in few] == [t.texts for t in more[:10]]
    assert all(np.array_equal(a.track.keypoints, b.track.keypoints) for a, b in zip(few, more, strict=False))
    assert [t.texts for t in few] != [t.texts for t in other]
    assert few[0].texts == few[1].texts and not np.array_equal(few[0].track.keypoints, few[1].track.keypoints)


def test_texts_differ_and_ids_too(found):
    assert len({t.texts for t in found}) == len({t.id for t in found}) == len(found)
    assert all(t.source == SOURCE and t.label is None and 2 <= len(t.texts) <= 3 for t in found)
    assert not any(
        re.search(r"[{}]|\bthe the\b|  |,,|both hands? (moves|goes)\b", text) for t in found for text in t.texts
    )


def test_bones_stay_rigid_and_nobody_is_below_the_floor(found):
    ends = [("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("right_elbow", "right_wrist"), ("neck", "head")]
    for triplet in found:
        x = triplet.track.keypoints
        assert np.isfinite(x).all() and x[..., 1].min() > -0.05
        assert 1 <= len(x) / triplet.track.fps <= 12
        for a, b in ends:
            length = np.linalg.norm(joint(triplet.track, a) - joint(triplet.track, b), axis=1)
            assert length.max() - length.min() < 1e-4


def performed(arms=None, sides="both", n=1, legs=LEGS[0], trunk=TRUNKS[0], *, mirrored=False):
    """Name and track of a plain etude, or of its mirror image."""
    etude = Etude(arms, Turns(n, sides), None, legs, trunk, 0, (1.0, ""))
    track = Track(etude.perform("seed"), UNIK17, 30.0)
    name = etude.texts()[0]
    return (mirror_text(name), track.mirrored()) if mirrored else (name, track)


mirror = pytest.mark.parametrize("mirrored", [False, True])


@mirror
def test_the_hand_that_is_named_is_the_one_that_moves(mirrored):
    for arms in ARMS:
        for side in {"right", "left"} & set(arms.sides):
            name, track = performed(arms, side, arms.times[0], mirrored=mirrored)
            side = re.search(r"\b(right|left) (?:hand|arm)\b", name)[1]
            other = "left" if side == "right" else "right"
            assert travel(track, f"{side}_wrist") > 0.2 and travel(track, f"{other}_wrist") < 0.1, name


@mirror
@pytest.mark.parametrize("side", ["right", "left"])
def test_heights_ways_and_turns_are_what_the_text_says(side, mirrored):
    seen = set()
    for arms in ARMS:
        if side not in arms.sides:
            continue
        name, track = performed(arms, side, arms.times[0], mirrored=mirrored)
        hand_is = re.search(r"\b(right|left) (?:hand|arm)\b", name)[1]
        sign = 1 if hand_is == "left" else -1  # the left is towards +x
        hand, shoulder = joint(track, f"{hand_is}_wrist"), joint(track, f"{hand_is}_shoulder")
        middle = slice(len(hand) // 3, 2 * len(hand) // 3)
        if name.startswith("raise ") and name.endswith("above the head"):
            assert (hand - joint(track, "head"))[middle, 1].min() > 0.1
        elif re.match("raise .* arm to the side", name):
            assert (sign * (hand - shoulder)[middle, 0]).min() > 0.35
        elif re.match("put .* across the body", name):
            assert (sign * (hand - shoulder)[middle, 0]).max() < -0.25
        elif way := re.match("swipe .* to the (right|left)", name):
            x = hand[(hand - shoulder)[:, 2] > 0.3, 0]  # while it is ahead of the body
            assert (x[-1] - x[0]) * (1 if way[1] == "left" else -1) > 0.2
        elif way := re.match("draw a circle (clockwise|counter-?clockwise)", name):
            assert turned(-hand[:, 0], hand[:, 1]) == (way[1] == "clockwise")  # as the person sees it
        elif way := re.match("circle .* (forwards|backwards)", name):
            assert turned(hand[:, 2], hand[:, 1]) == (way[1] == "forwards")  # seen from the right
        else:
            continue
        seen.add(" ".join(name.split()[:1]))
    assert seen == {"raise", "put", "swipe", "draw", "circle"}


def test_arms_in_turn_are_half_a_beat_apart():
    (push,) = (arms for arms in ARMS if arms.name == "push {hand} forward")
    for sides, together in (("both", True), ("in turn", False)):
        _, track = performed(push, sides, 3)
        ahead = [joint(track, f"{side}_wrist")[20:-20, 2] for side in ("right", "left")]
        assert (np.corrcoef(*ahead)[0, 1] > 0.8) == together


def test_legs_and_trunk_do_what_they_say():
    tracks = {legs.name: performed(legs=legs, trunk=TRUNKS[0])[1] for legs in LEGS if legs.name}
    hips = {name: track.keypoints[:, UNIK17.joints.index("mid_hip")] for name, track in tracks.items()}
    assert hips["lie on the back"][:, 1].max() < 0.3 < hips["kneel"][:, 1].max() < 0.65
    assert hips["squat"][:, 1].min() < 0.8 * hips["squat"][:, 1].max()
    assert np.ptp(hips["hop"][:, 1]) > 0.05 and np.ptp(hips["sit"][:, 1]) < 0.05
    for name, ahead in (("walk", 0.8), ("step forward", 0.2)):
        assert hips[name][-1, 2] - hips[name][0, 2] > ahead
    assert hips["step back"][-1, 2] - hips["step back"][0, 2] < -0.2
    for side, other, sign in (("right", "left", -1), ("left", "right", 1)):
        for name in (f"kick the {side} leg to the front", f"lift the {side} leg to the side", f"lift the {side} knee"):
            assert travel(tracks[name], f"{side}_ankle") > 3 * travel(tracks[name], f"{other}_ankle")
        assert sign * (hips[f"step to the {side}"][-1, 0] - hips[f"step to the {side}"][0, 0]) > 0.1
    for trunk in TRUNKS[1:]:
        name, track = performed(trunk=trunk)
        middle = len(track) // 2
        neck, width = joint(track, "neck")[middle], joint(track, "left_shoulder") - joint(track, "right_shoulder")
        checks = {
            "bend forward": neck[2] > 0.2,
            "lean back": neck[2] < -0.05,
            "turn to the left": width[middle, 2] < -0.1,
            "turn to the right": width[middle, 2] > 0.1,
            "lean to the left": neck[0] > 0.1,
            "lean to the right": neck[0] < -0.1,
            "twist left and right": width[:, 2].min() < -0.1 and width[:, 2].max() > 0.1,
        }
        assert checks[name], name


def test_every_part_has_texts_for_all_its_hands():
    for arms in ARMS:
        for sides in arms.sides:
            for text in (arms.name, arms.sentence, arms.wording):
                assert "{" not in Turns(arms.times[1], sides).fill(text)
    assert [bool(part.name) for part in (*LEGS[:2], *TRUNKS[:2])] == [False, True, False, True]
    assert Turns(2, "in turn").fill("a person thrusts {Hand} to the front") == (
        "a person thrusts the hands, one after the other, to the front"
    )
    assert Turns(2, "right").fill("{Hand} reach{es} out, {times}") == "the right hand reaches out, twice"
    assert Turns(3, "both").fill("{Arm} push{es} and come{s} back, {times}") == (
        "both arms push and come back, three times"
    )


def test_a_config_names_them_like_a_set(monkeypatch):
    monkeypatch.setattr(loop, "etudes", lambda: etudes(3, 2))
    config = pretrain_config({"data": [{"path": "etudes"}]})
    assert [t.source for t in loop.read_training_data(config, Path("nowhere"))] == [SOURCE] * 6
    silent = pretrain_config({"data": [{"path": "etudes", "text": False}]})
    assert all(t.texts == () for t in loop.read_training_data(silent, Path("nowhere")))
    other = pretrain_config({"data": [{"path": "etudes", "part": "is_train"}]})
    with pytest.raises(TmorError, match=r"^etudes: are computed with their texts; leave part, captions and depth out$"):
        loop.read_training_data(other, Path("nowhere"))
