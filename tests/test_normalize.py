"""From tracks to what the encoder sees: rates and gaps, the virtual camera, body-relative coordinates, augmentation."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tmor.config import Augmentation
from tmor.errors import LayoutError, TmorError
from tmor.skeleton.augment import augment, crop_positions, stretch_limbs
from tmor.skeleton.canonical import STREAMS
from tmor.skeleton.layouts import LAYOUTS, UNIK17, Layout, convert
from tmor.skeleton.normalize import facing, prepare, shown, stretch, to_body, to_bones, turn, view, views_of
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

AT = {joint: i for i, joint in enumerate(UNIK17.joints)}
MIRROR = list(UNIK17.mirror)
PLAIN = Augmentation(
    shortest_crop=1,
    warp=0,
    limbs=0,
    camera_deg=0,
    pitch_deg=0,
    roll_deg=0,
    stretch=0,
    mirror=0,
    noise=0,
    drift=0,
    lost_joints=0,
    hidden=0,
)
WALK = sample_track("walk")


def track(points: np.ndarray, fps: float | None = 15.0, layout: str | Layout = UNIK17) -> Track:
    return Track(points, layout, fps)  # pyright: ignore


def person(frames: int = 8) -> Tensor:
    """(1, frames, 17, 3) walking; the same figure as in :data:`WALK`."""
    return torch.from_numpy(stretch(WALK.keypoints, frames))[None]


def turned(x: Tensor, angle: float) -> Tensor:
    """Rotated about y, from +z towards +x."""
    c, s = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def seen(x: Tensor, *, yaw: float = 0.0, pitch: float = 0.0, distance: float = 4.0) -> Tensor:
    return view(x, yaw=torch.tensor([yaw]), pitch=torch.tensor([pitch]), distance=torch.tensor([distance]))


# --- prepare ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "frames"), [(30.0, 20), (20.0, 30), (15.0, 40), (15.001, 40), (None, 40), (60.0, 10)])
def test_tracks_come_to_the_models_rate_and_unknown_rates_keep_their_frames(fps: float | None, frames: int) -> None:
    ramp = np.arange(40.0)[:, None, None] * np.ones((1, 17, 2))
    x = prepare(track(ramp, fps), fps=15.0)
    assert x.shape == (frames, 17, 2)
    assert x.dtype == np.float32
    step = 1.0 if fps is None or frames == 40 else fps / 15
    np.testing.assert_allclose(x[:, 0, 0], np.minimum(np.arange(frames) * step, 39), rtol=1e-5)


def test_frames_that_last_for_days_are_an_error_and_not_all_of_the_memory() -> None:
    with pytest.raises(TmorError, match=r"the track has 40 frames at 1e-07 per second, which last 4\.63e\+03 days"):
        prepare(track(WALK.keypoints[:40], 1e-7), fps=15.0)


@pytest.mark.parametrize("fps", [3.0, 30.0, 240.0])
def test_a_single_frame_stays_a_frame(fps: float) -> None:
    x = prepare(track(WALK.keypoints[:1], fps), fps=15.0)
    assert x.shape[1:] == (17, 3)
    assert len(x) >= 1
    assert not np.isnan(x).any()


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "unik17"])
def test_every_layout_comes_out_as_the_same_figure(name: str) -> None:
    own = prepare(WALK, fps=15.0)
    try:
        # By joint name, as far as the 17 joints go; joints that only the other layout has stay unseen.
        other = convert(WALK.keypoints, UNIK17, LAYOUTS[name])
    except LayoutError as error:
        pytest.fail(str(error))
    x = prepare(track(other, WALK.fps, name), fps=15.0)
    limbs = [AT[j] for j in UNIK17.joints if j.startswith(("left", "right"))]
    core = [AT["neck"], AT["chest"], AT["mid_hip"]]
    np.testing.assert_allclose(x[:, limbs + core], own[:, limbs + core], atol=1e-5)


def test_a_layout_without_hips_is_an_error() -> None:
    arms = Layout("arms", ("left_shoulder", "right_shoulder", "left_wrist", "right_wrist"))
    with pytest.raises(LayoutError, match=r"^layout 'arms' lacks left_hip, right_hip; a conversion to 'unik17' needs"):
        prepare(track(np.zeros((3, 4, 2)), layout=arms), fps=15.0)


def test_neck_chest_and_mid_hip_are_those_of_shoulders_and_hips_where_these_are_seen() -> None:
    points = WALK.keypoints.copy()
    points[:, [AT["neck"], AT["chest"], AT["mid_hip"], AT["nose"]]] += 1.0
    np.testing.assert_array_equal(prepare(track(points), fps=15.0), prepare(track(WALK.keypoints), fps=15.0))
    points[:, [AT["left_hip"], AT["right_hip"]]] = np.nan
    np.testing.assert_array_equal(prepare(track(points), fps=15.0)[:, AT["mid_hip"]], points[:, AT["mid_hip"]])


def test_of_a_person_from_the_side_the_shoulder_and_hip_that_are_seen_stand_for_both() -> None:
    points = WALK.keypoints.copy()
    points[:, [AT["left_hip"], AT["right_shoulder"], AT["neck"], AT["mid_hip"], AT["chest"]]] = np.nan
    x = prepare(track(points), fps=15.0)
    np.testing.assert_array_equal(x[:, AT["mid_hip"]], points[:, AT["right_hip"]])
    np.testing.assert_array_equal(x[:, AT["neck"]], points[:, AT["left_shoulder"]])
    between = (points[:, AT["right_hip"]] + points[:, AT["left_shoulder"]]) / 2
    np.testing.assert_allclose(x[:, AT["chest"]], between, rtol=1e-6)


def test_a_hip_that_is_hidden_for_a_moment_does_not_move_the_middle() -> None:
    points = WALK.keypoints.copy()
    points[20:24, AT["left_hip"]] = np.nan
    found, whole = (prepare(track(p), fps=15.0)[:, AT["mid_hip"]] for p in (points, WALK.keypoints))
    assert np.abs(found - whole).max() < np.abs(points[:, AT["right_hip"]] - whole).max() / 3


@pytest.mark.parametrize(("fps", "longest"), [(15.0, 8), (30.0, 15), (1.0, 1), (None, 8)])
def test_gaps_of_half_a_second_are_bridged_and_longer_ones_not(fps: float | None, longest: int) -> None:
    ramp = np.arange(60.0)[:, None, None] * np.ones((1, 17, 2)) * (1, -2)
    wrist = AT["left_wrist"]
    for gap in (1, longest):
        points = ramp.copy()
        points[20 : 20 + gap, wrist] = np.nan
        x = prepare(track(points, fps), fps=fps or 15.0)
        np.testing.assert_allclose(x[:, wrist], ramp[:, wrist] * (1, -1), rtol=1e-6)
    points[20 : 21 + longest, wrist] = np.nan
    unseen = np.isnan(prepare(track(points, fps), fps=fps or 15.0)[:, wrist, 0])
    assert np.flatnonzero(unseen).tolist() == list(range(20, 21 + longest))


def test_gaps_at_the_ends_are_not_made_up() -> None:
    points = WALK.keypoints[:20].copy()
    points[:3, 5] = points[-2:, 5] = points[7:9, 5] = np.nan
    x = prepare(track(points), fps=15.0)
    assert np.flatnonzero(np.isnan(x[:, 5, 0])).tolist() == [0, 1, 2, 18, 19]


def test_a_track_in_which_nobody_is_seen_is_an_error() -> None:
    nobody = Track(np.full((5, 17, 2), np.nan), UNIK17, 30.0, id="p3")
    with pytest.raises(TmorError, match=r"^track 'p3' has no visible joint in any of its 5 frames$"):
        prepare(nobody, fps=15.0)
    with pytest.raises(TmorError, match=r"^the track has no visible joint in any of its 5 frames$"):
        prepare(replace(nobody, id=None), fps=15.0)


def test_images_point_down_and_space_points_up() -> None:
    flat = prepare(track(WALK.keypoints[..., :2]), fps=15.0)
    np.testing.assert_array_equal(flat, prepare(track(WALK.keypoints), fps=15.0)[..., :2] * np.float32([1, -1]))


def test_preparing_leaves_the_track_alone() -> None:
    before = WALK.keypoints.copy()
    prepare(WALK, fps=15.0)
    np.testing.assert_array_equal(WALK.keypoints, before)


def test_ten_hours_with_lost_joints_take_less_than_two_seconds() -> None:
    points = np.resize(WALK.keypoints[..., :2], (10 * 3600 * 15, 17, 2))
    points[np.arange(len(points))[:, None] % 20 == np.arange(1, 18)] = np.nan
    long = track(points)
    started = time.process_time()
    x = prepare(long, fps=15.0)
    assert time.process_time() - started < 2
    assert len(x) == 10 * 3600 * 15
    assert not np.isnan(x).any()


# --- the camera ------------------------------------------------------------------------------------------------------


def test_seen_from_the_front_the_left_hand_is_on_the_right_as_in_a_photograph() -> None:
    x = turned(person(), -float(facing(person())))
    front = seen(x, distance=1e6)
    centre = x[:, :, AT["mid_hip"]].mean(dim=1)[:, None, None]
    torch.testing.assert_close(front, (x - centre)[..., :2], atol=1e-4, rtol=1e-4)
    assert (front[..., AT["left_shoulder"], 0] > front[..., AT["right_shoulder"], 0]).all()


def test_facing_is_zero_towards_z_and_grows_towards_x() -> None:
    straight = turned(person(), -float(facing(person())))
    for angle in (-3.0, -1.0, 0.0, 0.5, 2.0):
        assert float(facing(turned(straight, angle))) == pytest.approx(angle, abs=1e-4)


def test_facing_is_zero_where_neither_shoulders_nor_hips_are_seen() -> None:
    x = person()
    x[:, :, [AT[j] for j in AT if "shoulder" in j or "hip" in j]] = torch.nan
    assert float(facing(x)) == 0


@pytest.mark.parametrize("angle", [0.7, math.pi / 2, 3.0])
def test_turning_a_person_about_y_changes_nothing(angle: float) -> None:
    expected = seen(person(), yaw=0.4, pitch=0.2)
    torch.testing.assert_close(seen(turned(person(), angle), yaw=0.4, pitch=0.2), expected, atol=1e-4, rtol=1e-4)


def test_a_positive_yaw_is_a_camera_on_the_persons_left() -> None:
    """From there the chest points to the left of the picture, and the left shoulder is nearer, hence larger."""
    x = turned(person(), -float(facing(person())))
    x[:, :, AT["nose"]] = x[:, :, AT["neck"]] + torch.tensor([0.0, 0.0, 0.3])
    side = seen(x, yaw=math.pi / 2, distance=1e6)
    assert (side[..., AT["nose"], 0] < side[..., AT["neck"], 0] - 0.2).all()
    across = seen(x, yaw=math.pi / 2, distance=2.0)
    left, right = across[..., AT["left_shoulder"], 1], across[..., AT["right_shoulder"], 1]
    assert (left > right).all()


def test_a_positive_pitch_is_a_camera_from_above() -> None:
    """What is nearer to it appears lower."""
    x = person()
    x[:, :, AT["head"]] = x[:, :, AT["neck"]] + turned(torch.tensor([[0.0, 0.0, 0.5]]), float(facing(x)))
    down = seen(x, pitch=0.5, distance=1e6)
    assert (down[..., AT["head"], 1] < down[..., AT["neck"], 1]).all()


def test_from_far_away_the_view_is_orthographic() -> None:
    far, farther = (seen(person(), yaw=0.5, pitch=0.3, distance=d) for d in (1e5, 1e7))
    torch.testing.assert_close(far, farther, atol=1e-4, rtol=1e-4)
    assert (seen(person(), distance=2.0) - far).abs().max() > 0.01


def test_bones_across_the_line_of_sight_keep_their_length() -> None:
    x = person()
    flat = seen(x, distance=1e6)
    for a, b in UNIK17.bone_indices:
        length = (x[..., a, :] - x[..., b, :]).norm(dim=-1)
        shown = (flat[..., a, :] - flat[..., b, :]).norm(dim=-1)
        assert (shown <= length + 1e-4).all()
    upright = (x[..., AT["neck"], 1] - x[..., AT["mid_hip"], 1]).abs()
    torch.testing.assert_close(
        (flat[..., AT["neck"], 1] - flat[..., AT["mid_hip"], 1]).abs(), upright, atol=1e-4, rtol=1e-4
    )


def test_unseen_joints_stay_unseen_and_leave_the_others_alone() -> None:
    x = person()
    x[:, 2:4, AT["left_wrist"]] = torch.nan
    flat = seen(x, yaw=0.3)
    assert torch.equal(flat.isnan(), x.isnan()[..., :2])
    torch.testing.assert_close(flat.nan_to_num(), seen(person(), yaw=0.3).masked_fill(x.isnan()[..., :2], 0))


def test_views_of_has_a_view_per_camera() -> None:
    x = torch.cat([person(), turned(person(), 1.0)])
    views = views_of(x, [-40.0, 0.0, 40.0])
    assert views.shape == (3, 2, 8, 17, 2)
    torch.testing.assert_close(views[2, :1], seen(person(), yaw=math.radians(40), pitch=0.1))


# --- body-relative coordinates ---------------------------------------------------------------------------------------


def test_where_somebody_stands_does_not_matter() -> None:
    x = person()
    torch.testing.assert_close(to_body(x + torch.tensor([3.0, 7.0, -2.0])), to_body(x), atol=1e-4, rtol=1e-4)


def test_walking_along_the_ground_is_dropped_and_rising_is_kept() -> None:
    x = person()
    path = torch.linspace(0, 1, 8)[None, :, None, None]
    torch.testing.assert_close(to_body(x + path * torch.tensor([5.0, 0.0, 3.0])), to_body(x), atol=1e-4, rtol=1e-4)
    risen = to_body(x + path * torch.tensor([0.0, 1.0, 0.0]))[..., AT["mid_hip"], 1]
    assert (risen.diff() > to_body(x)[..., AT["mid_hip"], 1].diff() + 0.05).all()


def test_how_large_somebody_is_does_not_matter() -> None:
    torch.testing.assert_close(to_body(person() * 240), to_body(person()), atol=1e-5, rtol=1e-5)
    spread = to_body(person()) - to_body(person())[..., AT["mid_hip"], None, :]
    assert float(spread.square().sum(-1).mean().sqrt()) == pytest.approx(1, abs=1e-5)


def test_an_unseen_joint_takes_its_mirror_joints_place() -> None:
    x = person()
    x[..., AT["left_wrist"], :] = torch.nan
    body = to_body(x)
    assert not body.isnan().any()
    assert torch.equal(body[..., AT["left_wrist"], :], body[..., AT["right_wrist"], :])


def test_a_joint_unseen_for_a_while_keeps_its_mean_place_relative_to_what_carries_it() -> None:
    x, knees = person(), [AT["left_knee"], AT["right_knee"]]
    x[:, 3:5, knees] = torch.nan
    body = to_body(x)
    hips = [AT["left_hip"], AT["right_hip"]]
    thighs = body[:, :, knees] - body[:, :, hips]
    mean = thighs[:, [0, 1, 2, 5, 6, 7]].mean(dim=1, keepdim=True)
    torch.testing.assert_close(thighs[:, 3:5], mean.expand(-1, 2, -1, -1), atol=1e-5, rtol=1e-5)


def test_joints_never_seen_lie_at_the_joint_that_carries_them() -> None:
    x = person()
    x[..., [AT[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle", "wrist")], :] = torch.nan
    body = to_body(x)
    for joint, place in (("left_knee", "left_hip"), ("right_ankle", "right_hip"), ("right_wrist", "right_elbow")):
        torch.testing.assert_close(body[..., AT[joint], :], body[..., AT[place], :])


def without_hips(x: Tensor) -> Tensor:
    x = x.clone()
    x[..., [AT[j] for j in AT if "hip" in j or j == "chest"], :] = torch.nan
    return x


def test_hips_out_of_sight_are_straight_below_the_neck() -> None:
    """As far as 1.3 times the root mean square distance of head, nose, shoulders, elbows and wrists from it."""
    x = person()
    about = [
        AT["head"],
        AT["nose"],
        *(AT[f"{side}_{j}"] for side in ("left", "right") for j in ("shoulder", "elbow", "wrist")),
    ]
    away = x[:, :, about] - x[:, :, [AT["neck"]]]
    down = 1.3 * away.square().sum(dim=-1).mean().sqrt()
    body = to_body(without_hips(x))
    size = (x[:, :, AT["head"]] - x[:, :, AT["neck"]]).norm() / (body[:, :, AT["head"]] - body[:, :, AT["neck"]]).norm()
    below = (body[:, :, AT["neck"]] - body[:, :, AT["mid_hip"]]) * size
    torch.testing.assert_close(below, torch.stack((0 * down, down, 0 * down)).expand_as(below), atol=1e-4, rtol=1e-4)


def test_hips_out_of_sight_for_a_while_stay_where_they_are_below_the_neck() -> None:
    x = person()
    hidden = torch.cat((x[:, :4], without_hips(x[:, 4:])), dim=1)
    torso = to_body(hidden)[:, :, AT["neck"]] - to_body(hidden)[:, :, AT["mid_hip"]]
    torch.testing.assert_close(torso[:, 4:], torso[:, :4].mean(dim=1, keepdim=True).expand(-1, 4, -1))


def test_without_hips_and_neck_the_mean_of_the_seen_joints_is_the_centre() -> None:
    x = without_hips(person())
    x[..., [AT["neck"], AT["nose"], AT["head"], AT["left_shoulder"], AT["right_shoulder"]], :] = torch.nan
    sideways = to_body(x)[..., 0]
    shown = ~x[0, 0, :, 0].isnan()
    assert float(sideways[..., shown].mean(dim=-1).abs().max()) < 1e-5


def test_a_frame_in_which_nobody_is_seen_is_zero_and_leaves_the_others_alone() -> None:
    x = person()
    x[:, 3] = torch.nan
    body = to_body(x)
    assert body[:, 3].eq(0).all()
    kept = [0, 1, 2, 4, 5, 6, 7]
    torch.testing.assert_close(body[:, kept], to_body(x[:, kept]))


def test_a_clip_in_which_nobody_is_seen_is_zero() -> None:
    assert to_body(torch.full((2, 4, 17, 2), torch.nan)).eq(0).all()


def test_a_body_without_extent_is_zero() -> None:
    assert to_body(torch.full((1, 4, 17, 2), 3.0)).eq(0).all()


@pytest.mark.parametrize(
    "unseen",
    [
        [],
        ["left_wrist"],
        ["left_wrist", "right_wrist"],
        ["mid_hip"],
        ["left_hip", "left_shoulder"],
        list(UNIK17.joints),
    ],
)
def test_gradients_are_finite(unseen: list[str]) -> None:
    x = torch.cat([person(), person()])
    x[0, :, [AT[j] for j in unseen]] = torch.nan
    x[0, 2] = torch.nan
    shown = ~x.isnan()
    x.requires_grad_()
    full = torch.ones(2)
    flat = view(x, yaw=0.3 * full, pitch=0.1 * full, distance=4 * full)
    to_body(flat).square().sum(dim=(0, 1, 3))[3:].sum().backward()
    assert x.grad is not None
    assert x.grad[shown].isfinite().all()
    assert x.grad[1].ne(0).any()


# --- what an encoder is shown ----------------------------------------------------------------------------------------


def test_a_turned_body_keeps_its_lengths_and_is_what_a_far_camera_sees() -> None:
    x = person()
    x[:, 2, AT["left_wrist"]] = torch.nan
    yaw, pitch = torch.tensor([0.7]), torch.tensor([-0.3])
    found = turn(x, yaw=yaw, pitch=pitch)
    centre = x[:, :, AT["mid_hip"]].mean(dim=1)[:, None, None]
    torch.testing.assert_close(found.norm(dim=-1), (x - centre).norm(dim=-1), equal_nan=True)
    far = seen(x, yaw=0.7, pitch=-0.3, distance=1e7)
    torch.testing.assert_close(found[..., :2], far, atol=1e-5, rtol=1e-4, equal_nan=True)
    nearer = seen(x, yaw=0.7, pitch=-0.3, distance=3.0)
    torch.testing.assert_close(found[..., :2] * (3 / (3 - found[..., 2:])), nearer, equal_nan=True)


def test_views_with_depth_are_turned_by_their_yaws() -> None:
    x = torch.cat([person(), 2 * person()])
    found = views_of(x, [-40.0, 40.0], depth=True)
    assert found.shape == (2, *x.shape)
    for view_of, degrees in zip(found, (-40.0, 40.0), strict=True):
        full = torch.ones(2)
        torch.testing.assert_close(view_of, turn(x, yaw=math.radians(degrees) * full, pitch=0.1 * full))


def test_streams_by_hand() -> None:
    body = to_body(person(12))
    assert shown(body[..., :2], "joint").equal(body[..., :2])
    assert shown(body[..., :2], "bone").equal(to_bones(body[..., :2]))
    for stream, expected in (("joint-3d", body), ("bone-3d", to_bones(body))):
        found = shown(body, stream)
        assert found.shape == (1, 12, 17, 6)
        assert found[..., :3].equal(expected)
        torch.testing.assert_close(found[:, :-1, :, 3:], 3 * body.diff(dim=1))
        assert found[:, -1, :, 3:].equal(found[:, -2, :, 3:])
    assert set(STREAMS) == {"joint", "bone", "joint-3d", "bone-3d"}


# --- augmentation ----------------------------------------------------------------------------------------------------


def varied(x: Tensor, settings: Augmentation, *, is_3d: bool = True, mirrored: bool = False, seed: int = 0) -> Tensor:
    return augment(
        x,
        is_3d=torch.full((len(x),), is_3d),
        mirrored=torch.full((len(x),), mirrored),
        settings=settings,
        generator=torch.Generator().manual_seed(seed),
    )


def test_cameras_stand_where_a_clip_is_turned_to() -> None:
    x = person().expand(2, -1, -1, -1)
    turned = torch.tensor([0.0, 2.0])
    found = augment(
        x,
        is_3d=torch.tensor([True, True]),
        mirrored=torch.tensor([False, False]),
        turned=turned,
        settings=PLAIN,
        generator=torch.Generator().manual_seed(0),
    )
    drawn = torch.Generator().manual_seed(0)
    torch.randn(2, 17, generator=drawn)  # of limbs
    torch.rand(2, 2, generator=drawn)  # of yaw and pitch
    distance = 2.5 + 6 * torch.rand(2, generator=drawn)
    expected = to_body(view(x, yaw=turned, pitch=torch.zeros(2), distance=distance))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found[0], found[1], atol=0.1)


def test_the_same_generator_gives_the_same_views() -> None:
    x = person().expand(3, -1, -1, -1)
    first, again, other = (varied(x, Augmentation(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first[0], first[1])


def test_without_variation_a_2d_clip_stays_as_it_is() -> None:
    flat = torch.nn.functional.pad(person()[..., :2], (0, 1))
    torch.testing.assert_close(varied(flat, PLAIN, is_3d=False), to_body(flat[..., :2]))


def test_without_variation_a_3d_clip_is_seen_from_its_front() -> None:
    x = turned(person(), -float(facing(person()))) * torch.tensor([1.0, 1.0, 0.0])  # flat: any distance shows the same
    torch.testing.assert_close(varied(turned(x, 1.0), PLAIN), to_body(x[..., :2]), atol=1e-4, rtol=1e-4)


def test_without_variation_depth_is_kept_and_with_it_noise_and_gaps_reach_it() -> None:
    x = turned(person(), -float(facing(person())))
    options = {"is_3d": torch.tensor([True]), "mirrored": torch.tensor([False]), "depth": True}
    found = augment(turned(x, 1.0), settings=PLAIN, generator=torch.Generator().manual_seed(0), **options)
    torch.testing.assert_close(found, to_body(x), atol=1e-4, rtol=1e-4)
    settings = replace(Augmentation(), hidden=1.0, lost_joints=1.0)
    strong = augment(x, settings=settings, generator=torch.Generator().manual_seed(0), **options)
    assert strong.shape == x.shape
    assert strong.isfinite().all()
    assert (strong - to_body(x))[..., 2].abs().max() > 0.1


@pytest.mark.parametrize("is_3d", [True, False])
def test_mirroring_the_mirror_image_gives_the_original(is_3d: bool) -> None:
    x = person() if is_3d else torch.nn.functional.pad(person()[..., :2], (0, 1))
    image = x[:, :, MIRROR] * torch.tensor([-1.0, 1.0, 1.0])
    expected = varied(x, Augmentation(), is_3d=is_3d)
    torch.testing.assert_close(varied(image, Augmentation(), is_3d=is_3d, mirrored=True), expected)
    assert not torch.allclose(varied(x, Augmentation(), is_3d=is_3d, mirrored=True), expected)


def test_a_mirrored_view_is_the_mirror_image_of_the_view() -> None:
    x = person()
    image = varied(x, PLAIN)[:, :, MIRROR] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(varied(x, PLAIN, mirrored=True), image, atol=1e-5, rtol=1e-5)


def test_augmented_clips_are_whole_whatever_is_unseen() -> None:
    x = person().repeat(20, 1, 1, 1)
    x[torch.rand(20, 8, 17, generator=torch.Generator().manual_seed(0)) < 0.3] = torch.nan
    assert varied(x, replace(Augmentation(), lost_joints=1.0)).isfinite().all()


def test_hidden_parts_are_out_of_sight_together_throughout_or_for_a_while() -> None:
    x = torch.nn.functional.pad(person(20)[..., :2], (0, 1)).repeat(400, 1, 1, 1)
    plain, found = varied(x, PLAIN, is_3d=False), varied(x, replace(PLAIN, hidden=1.0), is_3d=False)
    # The shins of both legs stand still while they are unseen; a single one follows the other.
    shins = [found[:, :, AT[f"{side}_ankle"]] - found[:, :, AT[f"{side}_knee"]] for side in ("left", "right")]
    still = (torch.stack(shins).diff(dim=2).abs() < 1e-5).all(dim=(0, 3))
    share = still.float().mean(dim=1)
    assert 0.14 < (share == 1).float().mean() < 0.26, "four parts of ten, in half of the clips throughout"
    brief = share[(share > 0) & (share < 1)]
    assert 0.14 < len(brief) / 400 < 0.26
    assert 0.1 < brief.min() < 0.4 < brief.max() < 0.75
    assert (still[:, 1:] != still[:, :-1]).sum(dim=1).max() <= 2, "without a break"
    half = varied(x, replace(PLAIN, hidden=0.5), is_3d=False)
    for own, low, high in ((found, 0.99, 1.0), (half, 0.4, 0.6)):
        changed = (own - plain).abs().amax(dim=(1, 2, 3)) > 1e-6
        assert low <= changed.float().mean() <= high
    assert torch.equal(varied(x, PLAIN, is_3d=False), plain)


def test_drift_is_slow_noise() -> None:
    x = torch.nn.functional.pad(person(60)[..., :2], (0, 1)).repeat(200, 1, 1, 1)
    plain = varied(x, PLAIN, is_3d=False)
    quick, slow = (varied(x, replace(PLAIN, noise=0.1, drift=drift), is_3d=False) - plain for drift in (0.0, 10.0))
    size, step = [(e.std().item(), (e[:, 1:] - e[:, :-1]).std().item()) for e in (quick, slow)], 0.1 / 3**0.5
    assert size[0][0] == pytest.approx(step, rel=0.1), "each clip has its own strength, from 0 to 0.1"
    assert size[0][1] == pytest.approx(2**0.5 * step, rel=0.1)
    assert 6 * step < size[1][0] < 10 * step
    assert size[1][1] < 0.4 * size[1][0]


@pytest.mark.parametrize("warp", [0.0, 0.8, 1.0])
def test_crops_lie_within_the_clip_and_keep_the_shortest_share(warp: float) -> None:
    lengths = torch.tensor([1, 2, 3, 10, 100, 1000]).repeat(200)
    longest = torch.tensor(75).expand(len(lengths))
    positions = crop_positions(
        lengths, frames=16, longest=longest, shortest=0.5, warp=warp, generator=torch.Generator().manual_seed(0)
    )
    assert positions.shape == (1200, 16)
    assert (positions >= 0).all()
    assert (positions <= lengths[:, None] - 1 + 1e-9).all()
    assert (positions.diff(dim=1) >= (-1e-9 if warp else 0)).all()  # never backwards
    span = positions[:, -1] - positions[:, 0] + 1
    usable = torch.minimum(lengths, longest)
    assert (span >= 0.5 * usable - 1e-9).all()
    assert (span <= usable + 1e-9).all()
    assert float(positions[lengths == 1000].max()) > 900  # a long clip is used over all of its length


def test_a_crop_of_the_whole_clip_is_the_whole_clip() -> None:
    positions = crop_positions(
        torch.tensor([9]), frames=9, longest=torch.tensor([75]), shortest=1.0, warp=0.0, generator=torch.Generator()
    )
    torch.testing.assert_close(positions[0], torch.arange(9.0, dtype=torch.float64))


def test_time_warps_between_its_ends() -> None:
    lengths = torch.full((500,), 101)
    positions = crop_positions(
        lengths, frames=101, longest=lengths, shortest=1.0, warp=0.5, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(positions[:, [0, -1]], torch.tensor([[0.0, 100.0]], dtype=torch.float64).expand(500, -1))
    speed = positions.diff(dim=1)
    assert 0.5 <= float(speed.min()) < 0.6 and 1.4 < float(speed.max()) <= 1.5
    assert (speed.std(dim=1) > 0).all()


def test_lengths_spread_as_the_settings_say_and_more_in_the_middle(monkeypatch) -> None:
    factors: list[Tensor] = []
    monkeypatch.setattr("tmor.skeleton.augment.stretch_limbs", lambda x, given: (factors.append(given), x)[1])
    varied(person().expand(4000, -1, -1, -1), replace(PLAIN, limbs=0.15))
    spread = factors[0].log().std(dim=0)
    middle = torch.tensor([MIRROR[i] == i for i in range(17)])
    torch.testing.assert_close(spread, torch.where(middle, 0.15 * math.sqrt(2), 0.15), rtol=0.05, atol=0)


def test_longer_limbs_carry_what_hangs_from_them() -> None:
    x = person()
    joints = UNIK17.joints
    factors = torch.ones(len(x), 17)
    arms = [joints.index(f"{side}_elbow") for side in ("left", "right")]
    factors[:, arms] = 1.5
    longer = stretch_limbs(x, factors)

    def bone(points: torch.Tensor, start: str, end: str) -> torch.Tensor:
        return points[:, :, joints.index(end)] - points[:, :, joints.index(start)]

    torch.testing.assert_close(
        bone(longer, "left_shoulder", "left_elbow"), 1.5 * bone(x, "left_shoulder", "left_elbow")
    )
    torch.testing.assert_close(bone(longer, "left_elbow", "left_wrist"), bone(x, "left_elbow", "left_wrist"))
    others = [i for i, joint in enumerate(joints) if "elbow" not in joint and "wrist" not in joint]
    torch.testing.assert_close(longer[:, :, others], x[:, :, others])
    torch.testing.assert_close(stretch_limbs(x, torch.ones(len(x), 17)), x)


def test_unseen_joints_stay_unseen_and_what_hangs_from_them_is_not_lost() -> None:
    x = person().clone()
    x[:, :, UNIK17.joints.index("left_elbow")] = torch.nan
    longer = stretch_limbs(x, torch.full((len(x), 17), 1.2))
    assert torch.equal(longer.isnan(), x.isnan())
