"""The embedded sample motions: rigid bones, planted feet, human speeds, the leading hand, the same bits every time."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from tmor.errors import TmorError
from tmor.skeleton.layouts import UNIK17
from tmor.skeleton.sample import ACTIONS, sample_set, sample_track
from tmor.skeleton.tracks import Track

STYLES = range(4)
ONE_HANDED = ("wave with one hand", "drink", "phone call", "knock on a door", "throw")
RESTING_FEET = (
    *("wave with one hand", "clap", "raise both arms", "arm circles", "sit down", "stand up", "squat", "bow", "drink"),
    *("pick something up from the floor", "phone call", "knock on a door", "push-up", "sit-up"),
)

every_action = pytest.mark.parametrize("action", ACTIONS)


@cache
def performed(action: str, style: int) -> Track:
    return sample_track(action, body=style, style=style)


def joint(track: Track, name: str) -> np.ndarray:
    """(frames, 3) metres."""
    return track.keypoints[:, UNIK17.joints.index(name)].astype(np.float64)


def path_length(track: Track, name: str) -> float:
    return float(np.linalg.norm(np.diff(joint(track, name), axis=0), axis=1).sum())


@every_action
def test_every_style_is_a_complete_track_of_usual_length(action: str) -> None:
    for style in STYLES:
        track = performed(action, style)
        assert (track.layout, track.fps, track.dims, track.id) == (UNIK17, 30.0, 3, action)
        assert track.missing_share == 0
        assert track.duration_s is not None
        assert 1.5 <= track.duration_s <= 5.2


@every_action
def test_bones_are_rigid(action: str) -> None:
    for style in STYLES:
        points = performed(action, style).keypoints.astype(np.float64)
        a, b = UNIK17.bone_indices.T
        lengths = np.linalg.norm(points[:, a] - points[:, b], axis=2)
        assert np.ptp(lengths, axis=0).max() < 1e-3 * lengths.mean(axis=0).min()


@every_action
def test_left_and_right_limbs_are_equally_long(action: str) -> None:
    track = performed(action, 0)
    for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        left, right = (
            np.linalg.norm(joint(track, f"{side}_{upper}")[0] - joint(track, f"{side}_{lower}")[0])
            for side in ("left", "right")
        )
        assert left == pytest.approx(right, rel=1e-4)


@every_action
def test_nothing_sinks_into_the_floor_and_somebody_stands_on_it(action: str) -> None:
    for style in STYLES:
        heights = performed(action, style).keypoints[..., 1]
        assert heights.min() > -0.03
        assert heights[0].min() < 0.2


@every_action
def test_speeds_are_human(action: str) -> None:
    for style in STYLES:
        speeds = np.linalg.norm(np.diff(performed(action, style).keypoints, axis=0), axis=2) * 30
        assert speeds.max() < 12


@every_action
def test_knees_bend_forward(action: str) -> None:
    # The knee lies ahead of the line from hip to ankle, or above it, as the trunk sees it.
    for style in STYLES:
        track = performed(action, style)
        left = joint(track, "left_hip") - joint(track, "right_hip")
        trunk = joint(track, "chest") - joint(track, "mid_hip")
        ahead = np.cross(left, trunk)
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        trunk /= np.linalg.norm(trunk, axis=1, keepdims=True)
        for side in ("left", "right"):
            hip, knee, ankle = (joint(track, f"{side}_{part}") for part in ("hip", "knee", "ankle"))
            offset = knee - (hip + ankle) / 2
            assert ((offset * (ahead + trunk / 2)).sum(axis=1) > -0.03).all()


@pytest.mark.parametrize("action", RESTING_FEET)
def test_feet_stay_where_they_stand(action: str) -> None:
    for style in STYLES:
        for ankle in ("left_ankle", "right_ankle"):
            assert np.ptp(joint(performed(action, style), ankle), axis=0).max() < 0.015


def test_a_walker_plants_each_foot_while_it_is_down() -> None:
    track = performed("walk", 0)
    hip = joint(track, "mid_hip")
    assert (hip[-1] - hip[0])[2] > 2.5
    for ankle in (joint(track, "left_ankle"), joint(track, "right_ankle")):
        down = ankle[:-1, 1] < ankle[:, 1].min() + 0.002
        assert down.mean() > 0.2
        assert (np.linalg.norm(np.diff(ankle, axis=0), axis=1)[down] * 30).max() < 0.2  # metres per second


def test_hands_stay_on_the_floor_in_a_push_up() -> None:
    for wrist in ("left_wrist", "right_wrist"):
        assert np.ptp(joint(performed("push-up", 0), wrist), axis=0).max() < 0.01


def test_hands_meet_in_a_clap() -> None:
    for style in STYLES:
        track = performed("clap", style)
        apart = np.linalg.norm(joint(track, "left_wrist") - joint(track, "right_wrist"), axis=1)
        assert 0.01 < apart.min() < 0.12


@every_action
def test_people_start_facing_z_with_the_left_side_towards_x(action: str) -> None:
    for style in STYLES:
        track = performed(action, style)
        across = (joint(track, "left_hip") - joint(track, "right_hip"))[0]
        yaw = np.degrees(np.arctan2(across[2], across[0]))
        assert abs(yaw) < (45 if action == "boxing" else 20)  # a boxer stands sideways
        if action not in ("push-up", "sit-up"):
            assert (joint(track, "nose") - joint(track, "head"))[0, 2] > 0


@pytest.mark.parametrize("action", ONE_HANDED)
def test_the_leading_hand_is_the_one_of_the_style(action: str) -> None:
    for style in STYLES:
        track = performed(action, style)
        left, right = path_length(track, "left_wrist"), path_length(track, "right_wrist")
        assert (left > 1.3 * right) if style == 2 else (right > 1.3 * left)


def test_right_handed_people_kick_with_the_right_foot() -> None:
    for style in STYLES:
        track = performed("kick", style)
        foot, standing = ("left_ankle", "right_ankle") if style == 2 else ("right_ankle", "left_ankle")
        assert path_length(track, foot) > 5 * path_length(track, standing)


def test_sitting_down_ends_and_standing_up_starts_on_a_chair() -> None:
    for style in STYLES:
        down, up = performed("sit down", style), performed("stand up", style)
        for seated, standing, track in ((-1, 0, down), (0, -1, up)):
            hip = joint(track, "mid_hip")[:, 1]
            knee = joint(track, "left_knee")[:, 1]
            assert abs(hip[seated] - knee[seated]) < 0.12
            assert hip[standing] > knee[standing] + 0.3


def test_jumpers_leave_the_floor() -> None:
    for style in STYLES:
        ankles = [joint(performed("jump", style), f"{side}_ankle")[:, 1] for side in ("left", "right")]
        assert (np.minimum(*ankles) - ankles[0][0]).max() > 0.2


def test_equal_arguments_give_equal_bits_and_others_do_not() -> None:
    first = sample_track("drink", body=1, style=2, seed=3).keypoints
    assert first.tobytes() == sample_track("drink", body=1, style=2, seed=3).keypoints.tobytes()
    for body, style, seed in ((1, 2, 4), (0, 2, 3), (1, 1, 3)):
        assert first.tobytes() != sample_track("drink", body=body, style=style, seed=seed).keypoints.tobytes()


def test_another_process_gives_the_same_bits() -> None:
    code = "from tmor.skeleton.sample import sample_track as s; print(s('bow', seed=5).keypoints.tobytes().hex())"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert bytes.fromhex(output) == sample_track("bow", seed=5).keypoints.tobytes()


def test_the_set_has_each_action_by_three_people() -> None:
    samples = sample_set()
    assert [action for action, _ in samples] == [action for action in ACTIONS for _ in range(3)]
    assert [track.id for _, track in samples] == [f"{action}/{k}" for action in ACTIONS for k in (1, 2, 3)]
    trunks = {
        round(float(np.linalg.norm((joint(t, "neck") - joint(t, "chest"))[0])), 3) for a, t in samples if a == "bow"
    }
    assert len(trunks) == 3


def test_unknown_names_are_errors_that_list_what_there_is() -> None:
    with pytest.raises(TmorError) as error:
        sample_track("fly")
    assert str(error.value) == f"no sample motion 'fly'; there are: {', '.join(ACTIONS)}"
    with pytest.raises(TmorError, match=r"^sample motions have no style 4; expected 0 to 3$"):
        sample_track("bow", style=4)
    with pytest.raises(TmorError, match=r"^sample motions have no body -1; expected 0 to 3$"):
        sample_track("bow", body=-1)
