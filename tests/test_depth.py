"""The depth teacher: deterministic, on the sphere, blind to where the person stands, not to the direction of time."""

import logging

import numpy as np
import pytest

pytest.importorskip("skimage")

from tmor.errors import FormatError
from tmor.teachers.depth import DepthMotionMaps, embed_depth_file


def clip(*, frames: int = 12, right: int = 0, down: int = 0, farther: float = 0.0, swing: float = 1.0) -> np.ndarray:
    """(frames, 48, 64) millimetres: a standing body whose arm rises from the hip to above the head, forwards."""
    depth = np.zeros((frames, 48, 64), dtype=np.float32)
    for k, phase in enumerate(np.linspace(0, swing, frames)):
        depth[k, 12 + down : 42 + down, 28 + right : 36 + right] = 2500 + farther
        row, near = round(28 - 20 * phase), 400 * np.sin(np.pi * phase)
        depth[k, row + down : row + 4 + down, 36 + right : 46 + right] = 2500 + farther - near
    return depth


@pytest.fixture(scope="module")
def teacher() -> DepthMotionMaps:
    return DepthMotionMaps()


def test_it_is_deterministic_and_of_unit_norm(teacher):
    x = teacher.encode(clip())
    assert x.shape == (teacher.width,)
    assert x.dtype == np.float32
    assert np.linalg.norm(x) == pytest.approx(1, abs=1e-5)
    other = DepthMotionMaps()
    assert np.array_equal(x, other.encode(clip()))
    assert (other.hash, other.name, other.width) == (teacher.hash, "depth-motion-maps", 512)
    assert len(teacher.hash) == 16


def test_the_input_is_left_as_it_was_and_integers_are_the_same_as_floats(teacher):
    depth = clip().round()
    before = depth.copy()
    assert np.array_equal(teacher.encode(depth), teacher.encode(depth.astype(np.uint16)))
    assert np.array_equal(depth, before)


@pytest.mark.parametrize(
    "moved",
    [{"right": 12}, {"right": -20}, {"down": 5}, {"down": -5}, {"farther": 900.0}, {"right": 9, "down": 3}],
    ids=str,
)
def test_where_the_person_stands_does_not_matter(teacher, moved):
    assert teacher.encode(clip()) @ teacher.encode(clip(**moved)) > 0.99


def test_a_border_of_no_reading_changes_nothing(teacher):
    x = teacher.encode(clip())
    wide = np.pad(clip(), ((0, 0), (7, 3), (11, 20)))
    assert np.allclose(x, teacher.encode(wide), atol=1e-6)
    for nothing in (np.nan, -1.0, np.inf):
        assert np.allclose(x, teacher.encode(np.where(wide > 0, wide, nothing)), atol=1e-6)


def test_size_and_frame_rate_hardly_matter(teacher):
    x = teacher.encode(clip())
    assert x @ teacher.encode(clip().repeat(2, axis=1).repeat(2, axis=2)) > 0.9
    assert x @ teacher.encode(clip(frames=24)) > 0.9


def test_time_has_a_direction_and_other_movements_are_farther(teacher):
    x = teacher.encode(clip())
    assert x @ teacher.encode(clip()[::-1]) < 0.9
    assert x @ teacher.encode(clip(swing=0.4)) < 0.9
    assert x @ teacher.encode(clip()[:, :, ::-1]) < 0.9


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((48, 64)), r"^'depth' is float64 of shape \(48, 64\); expected numbers of shape"),
        (np.ones((3, 4, 5), dtype=bool), r"^'depth' is bool of shape \(3, 4, 5\)"),
        (np.zeros((0, 48, 64)), r"^fewer than two frames: 'depth' has shape \(0, 48, 64\)"),
        (clip()[:1], r"^fewer than two frames"),
        (np.zeros((5, 48, 64)), r"^no reading: 'depth' of shape \(5, 48, 64\) is 0 everywhere"),
        (np.zeros((5, 0, 64)), r"^no reading"),
        (clip()[[3, 3, 3]], r"^no motion: the 3 frames of 'depth' are all alike"),
    ],
)
def test_what_can_not_be_described_is_an_error(teacher, depth, message):
    with pytest.raises(FormatError, match=message):
        teacher.encode(depth)


def test_two_frames_suffice(teacher):
    assert np.linalg.norm(teacher.encode(clip()[[0, -1]])) == pytest.approx(1, abs=1e-5)


def test_a_file_gives_embeddings_by_id_and_counts_what_it_leaves_out(teacher, tmp_path, caplog):
    moving = (clip() / 20).round().astype(np.uint8)
    still = moving[[0] * 12]
    depth = np.stack([moving, 0 * moving, moving[::-1], still, 0 * moving])
    np.savez(tmp_path / "depth.npz", depth_u8=depth, seq_id=np.array(["a", "b", "c", "d", "e"]))
    with caplog.at_level(logging.WARNING, logger="tmor"):
        found = embed_depth_file(tmp_path / "depth.npz")
    assert list(found) == ["a", "c"]
    assert np.array_equal(found["a"], teacher.encode(moving.astype(np.float32) * 20))
    assert "3 of 5 depth clips left out (no reading: 2, no motion: 1)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq_id": None}, r"no array 'seq_id'; it holds depth_u8$"),
        ({"depth_u8": None}, r"no array 'depth_u8'; it holds seq_id$"),
        ({"depth_u8": np.ones((2, 3, 4, 5))}, r"array 'depth_u8' is float64 of shape \(2, 3, 4, 5\); expected uint8"),
        ({"depth_u8": np.ones((2, 3, 4), dtype=np.uint8)}, r"array 'depth_u8' is uint8 of shape \(2, 3, 4\)"),
        ({"seq_id": np.arange(2)}, r"array 'seq_id' is int64 of shape \(2,\); expected text of shape \(2,\)$"),
        ({"seq_id": np.array(["a"])}, r"array 'seq_id' is <U1 of shape \(1,\); expected text of shape \(2,\)$"),
        ({"seq_id": np.array(["a", "a"])}, r"array 'seq_id' holds 'a' more than once; expected one clip per id$"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected(tmp_path, change, message):
    arrays = {"depth_u8": np.ones((2, 3, 4, 5), dtype=np.uint8), "seq_id": np.array(["a", "b"])} | change
    path = tmp_path / "depth.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(FormatError, match=message) as raised:
        embed_depth_file(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="there is no such file"):
        embed_depth_file(tmp_path / "none.npz")


@pytest.mark.shared
def test_real_actions_are_near_their_kind(teacher, shared_data):
    """Nearest neighbour across subjects of the training part, where chance is one in nine."""
    with np.load(shared_data / "utd_mhad" / "utd_mhad_depth_thumbs.npz") as file:
        depth, ids = file["depth_u8"], file["seq_id"]
    with np.load(shared_data / "utd_mhad" / "utd_mhad_skeleton.npz") as file:
        label, subject = file["label"], file["subject"]
        assert np.array_equal(ids, file["seq_id"])
    rows = np.flatnonzero(np.isin(subject, [1, 3, 5, 7]) & (label % 3 == 0))
    x = np.stack([teacher.encode(depth[i].astype(np.float32) * 20) for i in rows])
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    held = subject[rows] == 7
    nearest = (x[held] @ x[~held].T).argmax(axis=1)
    assert (label[rows][~held][nearest] == label[rows][held]).mean() > 0.7
