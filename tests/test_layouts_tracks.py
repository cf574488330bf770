"""Layouts, their conversion by joint name, and tracks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tmor.errors import LayoutError, TmorError
from tmor.skeleton.layouts import LAYOUTS, UNIK17, Layout, convert, find_layout
from tmor.skeleton.tracks import Track, sample_at

EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())

# A T-pose in metres, y up; only the left side (+x), the right one is its mirror image.
_LEFT = {
    "eye_inner": (0.02, 1.67, 0.1),
    "eye": (0.03, 1.67, 0.1),
    "eye_outer": (0.04, 1.67, 0.1),
    "ear": (0.08, 1.65, 0.0),
    "clavicle": (0.05, 1.42, 0.0),
    "shoulder": (0.2, 1.4, 0.0),
    "elbow": (0.5, 1.4, 0.0),
    "wrist": (0.75, 1.4, 0.0),
    "hand": (0.8, 1.4, 0.0),
    "hand_tip": (0.9, 1.4, 0.0),
    "thumb": (0.82, 1.4, 0.05),
    "index": (0.85, 1.4, 0.03),
    "pinky": (0.85, 1.4, -0.03),
    "hip": (0.1, 0.9, 0.0),
    "knee": (0.1, 0.5, 0.0),
    "ankle": (0.1, 0.08, 0.0),
    "foot": (0.1, 0.02, 0.12),
    "heel": (0.1, 0.02, -0.06),
    "big_toe": (0.09, 0.02, 0.18),
    "small_toe": (0.14, 0.02, 0.16),
}
T_POSE = {
    "head": (0.0, 1.65, 0.0),
    "head_top": (0.0, 1.8, 0.0),
    "nose": (0.0, 1.525, 0.0),  # UNIK's nose: between head and neck
    "mouth_left": (0.03, 1.6, 0.1),
    "mouth_right": (-0.03, 1.6, 0.1),
    "neck": (0.0, 1.4, 0.0),
    "neck_base": (0.0, 1.4, 0.0),
    "spine_shoulder": (0.0, 1.4, 0.0),
    "upper_chest": (0.0, 1.3, 0.0),
    "chest": (0.0, 1.15, 0.0),
    "spine": (0.0, 1.15, 0.0),
    "mid_hip": (0.0, 0.9, 0.0),
}
for _name, (_x, _y, _z) in _LEFT.items():
    T_POSE[f"left_{_name}"] = (_x, _y, _z)
    T_POSE[f"right_{_name}"] = (-_x, _y, _z)
# What stands in where a layout lacks a joint and the T-pose does not make both the same point.
STANDS_IN = {"wrist": "hand", "ankle": "foot", "head": "nose"}


def t_pose(layout: Layout) -> np.ndarray:
    return np.array([[T_POSE[name] for name in layout.standard_joints]], dtype=np.float32)


@EVERY_LAYOUT
def test_conversion_puts_every_joint_where_its_name_says(layout):
    expected = []
    for name in UNIK17.joints:
        side, _, part = name.rpartition("_") if name.startswith(("left", "right")) else ("", "", name)
        other = f"{side}_{STANDS_IN.get(part)}".strip("_")
        lacks = name not in layout.standard_joints and other in layout.standard_joints
        expected.append(T_POSE[other if lacks and "left_ear" not in layout.standard_joints else name])
    np.testing.assert_allclose(convert(t_pose(layout), layout, UNIK17), [expected], atol=1e-6)


@EVERY_LAYOUT
def test_mirroring_swaps_left_and_right(layout):
    track = Track(t_pose(layout), layout, 30)
    np.testing.assert_allclose(track.mirrored().keypoints, track.keypoints, atol=1e-7)


@EVERY_LAYOUT
def test_bones_connect_the_limbs_symmetrically(layout):
    bones = layout.bone_indices.tolist()
    mirrored = {frozenset((layout.mirror[a], layout.mirror[b])) for a, b in bones}
    assert mirrored == {frozenset(bone) for bone in bones}
    reached, new = set(), {next(i for i, name in enumerate(layout.standard_joints) if name == "left_hip")}
    while new:
        reached |= new
        new = {b for bone in bones for a, b in (bone, bone[::-1]) if a in reached} - reached
    head = ("nose", "head", "head_top", "mouth", "eye", "ear")  # floats where the layout has no neck
    for i, name in enumerate(layout.standard_joints):
        assert i in reached or any(part in name for part in head)


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float32, (3, 25, 3), elements=st.floats(-10, 10, width=32) | st.just(np.nan)),
    arrays(np.float32, (3, 25), elements=st.floats(0, 1, width=32)),
)
def test_mirroring_twice_is_the_identity(points, scores):
    track = Track(points, "ntu25", 30, scores=scores)
    twice = track.mirrored().mirrored()
    np.testing.assert_array_equal(twice.keypoints, track.keypoints)
    np.testing.assert_array_equal(twice.scores, track.scores)


def test_unseen_joints_stay_unseen_and_are_derived_where_they_can_be():
    layout = LAYOUTS["nite15"]
    points = t_pose(layout).repeat(3, axis=0)
    points[1, layout.joints.index("neck")] = np.nan
    points[2, [layout.joints.index("neck"), layout.joints.index("left_shoulder")]] = np.nan
    found = convert(points, layout, UNIK17)
    neck, left = UNIK17.joints.index("neck"), UNIK17.joints.index("left_shoulder")
    np.testing.assert_allclose(found[:2, neck], [T_POSE["neck"]] * 2, atol=1e-6)
    assert np.isnan(found[2, [neck, left]]).all()
    assert not np.isnan(found[:2]).any()


def test_conversion_to_the_own_layout_changes_nothing():
    points = t_pose(UNIK17)
    np.testing.assert_array_equal(convert(points, UNIK17, UNIK17), points)
    track = Track(points, UNIK17, 30)
    assert track.to("unik17") is track


def test_scores_are_converted_with_the_joints():
    scores = np.arange(17, dtype=np.float32)[None]
    track = Track(t_pose(LAYOUTS["coco17"]), "coco17", 30, scores=scores).to("unik17")
    at = LAYOUTS["coco17"].joints.index
    assert track.scores[0, UNIK17.joints.index("left_knee")] == at("left_knee")
    assert track.scores[0, UNIK17.joints.index("mid_hip")] == (at("left_hip") + at("right_hip")) / 2


def test_common_spellings_of_joint_names():
    layout = Layout("mine", ("Pelvis", "LShoulder", "r_shoulder", "left hip", "RHip", "L-Knee", "Face", "antenna"))
    assert layout.standard_joints == (
        *("mid_hip", "left_shoulder", "right_shoulder", "left_hip", "right_hip"),
        *("left_knee", "head", "antenna"),
    )
    assert layout.mirror == (0, 2, 1, 4, 3, 5, 6, 7)


def test_an_alias_gives_way_to_the_joint_that_bears_the_name():
    assert LAYOUTS["ntu25"].standard_joints[20] == "spine_shoulder"
    assert LAYOUTS["ntu25"].standard_joints[2] == "neck"


def test_layout_errors():
    with pytest.raises(LayoutError, match="layout 'mine' has no joints"):
        Layout("mine", ())
    with pytest.raises(LayoutError, match=r"layout 'mine' names joint 'Head' twice \(as 'head'\)"):
        Layout("mine", ("head", "Head"))
    with pytest.raises(LayoutError, match="layout 'my_rig' has a bone on unknown joint 'tip'; its joints are a, b"):
        Layout("my_rig", ("a", "b"), (("a", "tip"),))
    with pytest.raises(LayoutError, match="unknown layout 'coco'; known: unik17, coco17"):
        find_layout("coco")
    hands = Layout("hands", ("left_hand", "right_hand"))
    with pytest.raises(LayoutError, match="lacks left_shoulder, right_shoulder, left_hip, right_hip"):
        convert(np.zeros((1, 2, 3)), hands, UNIK17)
    trunk = Layout("trunk", ("left_shoulder", "right_shoulder", "left_hip", "right_hip"))
    with pytest.raises(LayoutError, match="layout 'trunk' has no limb"):
        convert(np.zeros((1, 4, 3)), trunk, UNIK17)
    assert trunk.lacking(UNIK17)[:2] == ("head", "nose")


def test_a_joint_with_any_unseen_coordinate_is_unseen():
    points = t_pose(UNIK17)
    points[0, 3, 1] = np.nan
    track = Track(points, "unik17", 25, id="a")
    assert np.isnan(track.keypoints[0, 3]).all()
    assert track.missing_share == pytest.approx(1 / 17)
    assert repr(track) == "Track('a', 1 frames, unik17, 3D, 25 fps, 6% missing)"


def test_tracks_can_not_be_changed():
    points = t_pose(UNIK17)
    track = Track(points, "unik17", 30)
    points[:] = 7
    assert track.keypoints.max() < 2
    with pytest.raises(ValueError, match="read-only"):
        track.keypoints[0] = 0


@pytest.mark.parametrize(
    ("points", "fps", "message"),
    [
        (np.zeros((5, 17)), 30, "keypoints have shape (5, 17); expected (frames, joints, 2 or 3)"),
        (np.zeros((5, 17, 4)), 30, "keypoints have shape (5, 17, 4); expected (frames, joints, 2 or 3)"),
        (np.zeros((5, 16, 2)), 30, "keypoints have 16 joints; layout 'unik17' has 17"),
        (np.zeros((0, 17, 2)), 30, "keypoints have no frames"),
        (np.full((1, 17, 2), np.inf), 30, "keypoints hold infinite values; use NaN for unseen joints"),
        (np.zeros((1, 17, 2)), 0, "fps is 0; expected a positive number, or None where the rate is unknown"),
        (np.zeros((1, 17, 2)), np.nan, "fps is nan; expected a positive number, or None where the rate is unknown"),
    ],
)
def test_track_errors_say_what_was_expected(points, fps, message):
    with pytest.raises(TmorError) as error:
        Track(points, "unik17", fps, id="me")
    assert str(error.value) == f"track 'me': {message}"


def test_frames_of_a_track_keep_their_time():
    track = Track(t_pose(UNIK17).repeat(10, axis=0), "unik17", 5, start_s=2.0)
    part = track.frames(5, 10)
    assert (len(part), part.start_s, part.duration_s) == (5, 3.0, 1.0)
    with pytest.raises(TmorError, match="frames 5 to 11 of a track of 10 frames"):
        track.frames(5, 11)


def test_regular_times_are_kept():
    points = np.random.default_rng(0).normal(size=(7, 17, 3)).astype(np.float32)
    track = Track.from_times(points, "unik17", 3.0 + np.arange(7) / 8)
    assert (track.fps, track.start_s) == (8.0, 3.0)
    np.testing.assert_allclose(track.keypoints, points, atol=1e-5)


def test_irregular_times_are_interpolated_and_gaps_left_open():
    times = np.array([0.0, 0.1, 0.2, 0.35, 0.4, 1.4, 1.5])
    points = np.broadcast_to(times[:, None, None], (7, 17, 3))  # a body that moves evenly
    track = Track.from_times(points, "unik17", times)
    assert track.fps == pytest.approx(10)
    assert len(track) == 16
    seen = track.keypoints[:, 0, 0]
    np.testing.assert_allclose(seen[[0, 1, 2, 3, 14, 15]], [0, 0.1, 0.2, 0.3, 1.4, 1.5], atol=1e-5)
    assert np.isnan(seen[5:14]).all()


def test_times_must_increase():
    points = np.zeros((3, 17, 2))
    with pytest.raises(TmorError, match=r"times are not strictly increasing: frame 1 is at 1\.0, the next at 1\.0"):
        Track.from_times(points, "unik17", [0, 1, 1])
    with pytest.raises(TmorError, match="2 times for 3 frames"):
        Track.from_times(points, "unik17", [0, 1])


def test_sampling_on_a_frame_does_not_catch_its_neighbours_nan():
    values = np.array([[0.0], [np.nan], [2.0], [3.0]], dtype=np.float32)
    np.testing.assert_allclose(sample_at(values, np.array([0.0, 0.5, 2.0, 2.5, 3.0]))[:, 0], [0, np.nan, 2, 2.5, 3])
