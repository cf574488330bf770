"""Every pose format: a tiny file in the exact real format is written here and read by tmor."""

import contextlib
import io
import json
import logging
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats import PackedSet, read_packed, read_tracks, write_packed, write_tracks
from tmor.skeleton.formats.bvh import read_bvh, standard_names
from tmor.skeleton.formats.packed import rest_of
from tmor.skeleton.formats.persons import link
from tmor.skeleton.formats.pyskl import read_pyskl
from tmor.skeleton.layouts import LAYOUTS, UNIK17, Layout
from tmor.skeleton.tracks import Track


def body(frames: int = 4, layout: str = "coco17", dims: int = 2, *, seed: int = 0) -> np.ndarray:
    """(frames, joints, dims) of a body about 100 units large that walks one unit a frame."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(50, 150, size=(1, len(LAYOUTS[layout]), dims)) + np.arange(frames)[:, None, None]
    return points.astype(np.float32)


def same(a: np.ndarray, b: np.ndarray, *, atol: float = 0) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def fails(path: Path, message: str, read=read_tracks) -> None:
    """Reading fails with exactly this message, after the path."""
    with pytest.raises(FormatError) as error:
        read(path)
    assert str(error.value) == f"{path}{message}"


# ---- packed sets


def packed_arrays() -> dict[str, np.ndarray]:
    """Three sequences of 2, 3 and 1 frames."""
    layout = LAYOUTS["kinect20"]
    return {
        "joints": body(6, "kinect20", 3),
        "offsets": np.array([0, 2, 5, 6]),
        "joint_names": np.array(layout.joints),
        "edges": layout.bone_indices,
        "fps": np.array(15.0),
        "seq_id": np.array(["a", "b", "c"]),
        "label": np.array([1, 0, -1], dtype=np.int16),
        "class_names": np.array(["sit down", "wave"]),
        "is_train": np.array([[True, False], [False, True], [False, False]]),
        "is_test": np.array([False, False, True]),
        "subject": np.array([1, 2, 3]),
        "style": np.array([0, 1, 1]),
        "style_names": np.array(["calm", "wild"]),
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_packed_set_is_read(tmp_path):
    arrays = packed_arrays()
    found = read_packed(save(tmp_path / "mine.npz", arrays))
    assert isinstance(found, PackedSet)
    assert repr(found) == "PackedSet('mine', 3 sequences, 6 frames, kinect20, 3D, 15 fps, 2 classes)"
    assert found.layout is LAYOUTS["kinect20"]
    assert (found.name, len(found), found.fps, found.ids) == ("mine", 3, 15.0, ("a", "b", "c"))
    assert found.class_names == ("sit down", "wave")
    assert found.labels.tolist() == [1, 0, -1]
    assert sorted(found.columns) == ["is_test", "is_train", "style", "subject"]
    same(found.keypoints, arrays["joints"])
    (track,) = found.tracks(1)
    assert (track.id, track.fps, track.layout.name) == ("b", 15.0, "kinect20")
    same(track.keypoints, arrays["joints"][2:5])
    assert [track.id for track in read_tracks(tmp_path / "mine.npz")] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        found.tracks(3)


def test_parts_of_a_packed_set(tmp_path):
    found = read_packed(save(tmp_path / "mine.npz", packed_arrays()))
    assert found.part("is_test").tolist() == [False, False, True]
    assert found.part("not is_test").tolist() == [True, True, False]
    assert found.part("is_train[1]").tolist() == [False, True, False]
    assert found.part("not is_train[0]").tolist() == [False, True, True]
    assert found.part("subject == 2").tolist() == [False, True, False]
    assert found.part("style != 1").tolist() == [True, False, False]
    for wrong in ("is_train", "is_train[2]", "subject", "is_test[0]", "is_test == 1", "train!"):
        with pytest.raises(TmorError) as error:
            found.part(wrong)
        parts = "its parts are is_train[0], is_train[1], is_test, subject == 1, style == 0"
        assert str(error.value) == f"set 'mine' has no part '{wrong}'; {parts}"


def test_unseen_joints_of_a_packed_set_are_nan(tmp_path):
    arrays = packed_arrays()
    arrays["joints"][0, 3] = 0  # a single joint at zero may be there
    arrays["joints"][1] = 0  # a whole body at zero is not
    arrays["joints"][5, 2, 1] = np.nan
    arrays["visible"] = np.ones((6, 20), dtype=np.uint8)
    arrays["visible"][2, 4] = 0
    arrays["tracked"] = np.array([True, True, True, True, False, True])
    points = read_packed(save(tmp_path / "mine.npz", arrays)).keypoints
    unseen = np.isnan(points).any(axis=-1)
    expected = np.zeros((6, 20), dtype=bool)
    expected[[1, 4]] = expected[2, 4] = expected[5, 2] = True
    np.testing.assert_array_equal(unseen, expected)


def test_a_packed_set_of_two_persons(tmp_path, caplog):
    arrays = packed_arrays()
    arrays["joints"] = np.stack([arrays["joints"], arrays["joints"] + 1], axis=1)
    arrays["joints"][2:5, 1] = 0  # nobody else in sequence b
    path = save(tmp_path / "two.npz", arrays)
    with caplog.at_level(logging.INFO, logger="tmor"):
        tracks = read_tracks(path)
    assert [track.id for track in tracks] == ["a", "a#1", "b", "c", "c#1"]
    same(tracks[1].keypoints, arrays["joints"][:2, 1])
    assert f"{path}: left out 1 people who are never seen" in caplog.messages


def test_a_packed_set_in_thousandths_with_the_users_own_layout(tmp_path):
    arrays = {
        "joints_milli": np.array([[[1500, -20], [0, 7]]], dtype=np.int16),
        "offsets": np.array([0, 1]),
        "joint_names": np.array(["left_hand", "right_hand"]),
        "edges": np.array([[0, 1]]),
        "clip_id": np.array(["only"]),
    }
    found = read_packed(save(tmp_path / "hands.npz", arrays))
    same(found.keypoints, np.array([[[1.5, -0.02], [0, 0.007]]], dtype=np.float32))
    assert found.layout == Layout("hands", ("left_hand", "right_hand"), (("left_hand", "right_hand"),))
    assert (found.fps, found.labels, found.class_names, found.ids) == (None, None, (), ("only",))


def test_untrimmed_recordings(tmp_path):
    arrays = packed_arrays()
    del arrays["class_names"], arrays["label"]
    arrays["tags"] = np.array([[0, 1], [1, 2]], dtype=np.int32)
    arrays["tag_columns"] = np.array(["sequence", "frame"])
    arrays["segments"] = np.array([[1, 0, 0, 3]], dtype=np.int32)
    arrays["frame_label_x"] = np.array([0, 1, 1, 0, -1, 1], dtype=np.int16)
    arrays["class_names_x"] = np.array(["rest", "stroke"])
    arrays["timestamp_ms"] = np.array([0, 40, 10, 20, 30, 5])
    found = read_packed(save(tmp_path / "long.npz", arrays))
    assert found.tags.tolist() == [[0, 1], [1, 2]]
    assert found.segments.tolist() == [[1, 0, 0, 3]]
    assert found.frame_labels.tolist() == [0, 1, 1, 0, -1, 1]
    assert found.class_names == ("rest", "stroke")
    same(found.times_s, np.array([0, 40, 10, 20, 30, 5]) / 1000)
    (track,) = found.tracks(1)
    assert (track.fps, track.start_s) == (pytest.approx(100), 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": None}, "not a packed set: it has arrays joints, joint_names"),
        ({"offsets": [0, 2, 5]}, "offsets run from 0 to 5; expected 0 to 6, the number of frames"),
        ({"offsets": [0, 2, 2, 6]}, "offsets[1] is 2 and offsets[2] is 2; expected them to increase, as every"),
        ({"offsets": [0.0, 6.0]}, "offsets has shape (2,) and type float64; expected (sequences + 1,) integers"),
        ({"joints": np.zeros((6, 20))}, "joints has shape (6, 20) and type float64; expected (frames, [persons,]"),
        ({"joints": np.full((6, 20, 3), np.inf)}, "joints[0, 0, 0] is infinite; use NaN for unseen joints"),
        ({"joint_names": ["head"]}, "joint_names has shape (1,); expected (20,)"),
        ({"joint_names": ["head"] * 20}, "joint_names: layout 'bad' names joint 'head' twice (as 'head')"),
        ({"label": [0, 2, 1]}, "label holds 2 at 1; expected -1 to 1, by class_names"),
        ({"label": [0, 1]}, "label has shape (2,); expected (3,)"),
        ({"label": [0.5, 1, 1]}, "label has type float64; expected integers"),
        ({"seq_id": ["a"]}, "seq_id has shape (1,); expected (3,)"),
        ({"fps": -1}, "fps is -1; expected one number, frames per second from 0.2 to 1000, 0 where the rate"),
        ({"fps": [1, 2]}, "fps is [1, 2]; expected one number, frames per second from 0.2 to 1000, 0 where the rate"),
        ({"visible": np.ones((6, 19), bool)}, "visible has shape (6, 19); expected (6, 20)"),
        ({"visible": np.full((6, 20), 2)}, "visible holds 2; expected 0 or 1"),
        ({"tracked": np.ones(5, bool)}, "tracked has shape (5,); expected (6,)"),
        ({"tags": [[3, 0]]}, "tags, sequence column, holds 3 at 0; expected 0 to 2, by offsets"),
        ({"tags": [[0, 2]]}, "tags row 0 has frame 2; expected 0 to 1, within its sequence"),
        ({"segments": [[0, 0, 0, 3]]}, "segments row 0 has frame 3; expected 0 to 2, within its sequence"),
        ({"segments": [[0, 0, 1, 1]]}, "segments row 0 has frame 1; expected 0 to 0, within its sequence"),
        ({"segments": [[0, 5, 0, 1]]}, "segments, class column, holds 5 at 0; expected 0 to 1, by class_names"),
        ({"frame_label": [0, 0, 0, 0, 0, 9]}, "frame_label holds 9 at 5; expected -1 to 1, by class names"),
        ({"timestamp_ms": [0, 1, 5, 5, 6, 7]}, "timestamp_ms[2] is 5 and timestamp_ms[3] is 5; expected times to"),
        (
            {"offsets": [0, 4, 5, 6], "timestamp_ms": [0, 1, 2, 1e15, 6, 7]},
            "timestamp_ms of sequence 0 runs from 0 to 1e+15 in 4 frames; expected times in milliseconds",
        ),
        ({"class_names": 7}, "class_names has shape (); expected one name per class"),
        ({"joint_names": [*"abcdefghijklmnopqrst"], "edges": [[0, 20]]}, "edges holds 20 at 1; expected 0 to 19"),
    ],
)
def test_a_packed_set_with_a_mistake(tmp_path, change, message):
    arrays = packed_arrays()
    for key, value in change.items():
        if value is None:
            del arrays[key]
        else:
            arrays[key] = np.asarray(value)
    path = save(tmp_path / "bad.npz", arrays)
    with pytest.raises(FormatError) as error:
        read_packed(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_labels_that_nothing_names_are_told_and_not_used(tmp_path, caplog):
    arrays = packed_arrays()
    del arrays["class_names"]
    path = save(tmp_path / "a.npz", arrays)
    assert read_packed(path).labels is None
    assert caplog.messages == [f"{path}: label is not used, as no class_names say what its numbers mean"]


@pytest.mark.parametrize("key", ["seq_id", "joint_names", "class_names"])
@pytest.mark.parametrize("number", [0xD83D, 0x110000])
def test_names_that_are_no_text(tmp_path, key, number):
    arrays = packed_arrays()
    spoilt = arrays[key].copy()
    spoilt.view(np.uint32).reshape(len(spoilt), -1)[0, 0] = number
    path = save(tmp_path / "a.npz", arrays | {key: spoilt})
    fails(path, f": array '{key}' holds U+{number:04X}, which is no character; expected text", read_packed)


def test_an_id_that_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(FormatError, match=r"array 'seq_id' holds U\+DCFF, which is no character"):
        write_packed(tmp_path / "a.npz", [Track(body(), "coco17", 25, id="w\udcff")])
    assert not list(tmp_path.iterdir())


def test_writing_a_packed_set(tmp_path):
    tracks = [Track(body(n, dims=3, seed=n), "coco17", 20, id=f"t{n}") for n in (3, 1, 5)]
    path = tmp_path / "mine.npz"
    write_packed(
        path, tracks, labels=["wave", None, "sit"], columns={"is_train": [True, False, True], "file": [1, 2, 3]}
    )
    found = read_packed(path)
    assert (found.class_names, found.labels.tolist(), found.fps) == (("sit", "wave"), [1, -1, 0], 20.0)
    assert found.ids == ("t3", "t1", "t5")
    assert found.part("is_train").tolist() == [True, False, True]
    assert found.columns["file"].tolist() == [1, 2, 3]
    for i, track in enumerate(tracks):
        same(found.tracks(i)[0].keypoints, track.keypoints)


def test_a_packed_set_keeps_the_name_of_the_users_own_layout(tmp_path):
    layout = Layout("my_rig", ("left_hand", "right_hand", "tail"))
    write_packed(tmp_path / "a.npz", [Track(np.ones((2, 3, 2)), layout, None)])
    found = read_packed(tmp_path / "a.npz")
    assert (found.layout.name, found.layout.joints, found.fps) == ("my_rig", layout.joints, None)


def test_what_can_not_be_written_as_a_packed_set(tmp_path, caplog):
    path = tmp_path / "mine.npz"
    one, two = Track(body(), "coco17", 20), Track(body(), "coco17", 25)
    with pytest.raises(TmorError, match="there are no tracks to write"):
        write_packed(path, [])
    with pytest.raises(TmorError, match=r"track 1 has fps 25\.0, track 0 has 20\.0; a packed set has one"):
        write_packed(path, [one, two])
    with pytest.raises(TmorError, match="1 labels for 2 tracks; expected one per track"):
        write_packed(path, [one, one], labels=["a"])
    with pytest.raises(TmorError, match="label 'b' is not among class_names a, c"):
        write_packed(path, [one], labels=["b"], class_names=["a", "c"])
    with pytest.raises(TmorError, match="a column can't be called 'label', which the format uses itself"):
        write_packed(path, [one], columns={"label": [1]})
    with pytest.raises(TmorError, match=r"column 'n' has shape \(2,\)"):
        write_packed(path, [one], columns={"n": [1, 2]})
    assert list(tmp_path.iterdir()) == []
    write_packed(path, [Track(body(), "coco17", 20, scores=np.ones((4, 17)))])
    assert caplog.messages == [f"{path}: a packed set does not keep scores and start times; write_tracks does"]


# ---- tmor's own tracks


def test_tracks_survive_writing_and_reading_exactly(tmp_path):
    points = body(3)
    points[1, 4] = np.nan
    scores = np.random.default_rng(0).random((3, 17), dtype=np.float32)
    own = Layout("my_rig", ("left_hand", "right_hand", "tail"), (("tail", "left_hand"),))
    tracks = [
        Track(points, "coco17", 29.97002997002997, scores=scores, start_s=0.1, id="file"),
        Track(np.ones((2, 3, 3)), own, None),
        Track(body(1, "ntu25", 3), "ntu25", 30, id="Zoë/1"),
    ]
    path = tmp_path / "out.npz"
    write_tracks(path, tracks)
    for found, track in zip(read_tracks(path), tracks, strict=True):
        assert (found.layout, found.fps, found.start_s, found.id) == (
            *(track.layout, track.fps, track.start_s, track.id),
        )
        np.testing.assert_array_equal(found.keypoints, track.keypoints)
        assert (found.scores is None) == (track.scores is None)
    np.testing.assert_array_equal(read_tracks(path)[0].scores, scores)


def test_files_are_replaced_only_when_asked_and_only_whole(tmp_path, monkeypatch):
    path = tmp_path / "out.npz"
    write_tracks(path, [Track(body(), "coco17", 20)])
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044 & ~_umask()
    with pytest.raises(TmorError) as error:
        write_tracks(path, [Track(body(), "coco17", 25)])
    assert str(error.value) == f"{path}: exists already; pass overwrite=True to replace it"

    def full_disk(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="no space left"):
            write_tracks(path, [Track(body(), "coco17", 25)], overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.npz"]
    write_tracks(path, [Track(body(), "coco17", 25)], overwrite=True)
    assert read_tracks(path)[0].fps == 25
    with pytest.raises(TmorError, match=r"the folder .*nowhere does not exist"):
        write_tracks(tmp_path / "nowhere" / "a.npz", [Track(body(), "coco17", 25)])
    with pytest.raises(TmorError, match=r"must have a name that ends in \.npz"):
        write_tracks(tmp_path / "a.json", [Track(body(), "coco17", 25)])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_tracks_of_a_newer_or_damaged_file(tmp_path):
    path = save(tmp_path / "a.npz", {"tmor_tracks": np.array('{"version": 2}')})
    fails(path, ": tracks of version 2; this tmor reads version 1")
    save(path, {"tmor_tracks": np.array("{}")})
    fails(path, ": tmor_tracks is not the JSON header that write_tracks writes: 'version'")
    write_tracks(path, [Track(body(), "coco17", 25)], overwrite=True)
    with np.load(path) as archive:
        save(path, {"tmor_tracks": archive["tmor_tracks"]})
    fails(path, ": tmor_tracks or its arrays are damaged: KeyError 'keypoints_0'")


@pytest.mark.parametrize(
    ("layout", "track", "message"),
    [
        ({"name": ["x"]}, {}, "a layout is called ['x']; expected text"),
        ({}, {"id": ["a"]}, "track has id ['a']; expected text, or None"),
        ({}, {"start_s": float("nan")}, "track 'a': start_s is nan; expected seconds"),
    ],
)
def test_tracks_whose_header_says_what_can_t_be(tmp_path, layout, track, message):
    layouts = [{"name": "mine", "joints": LAYOUTS["coco17"].joints, "bones": []} | layout]
    header = {"version": 1, "layouts": layouts, "tracks": [{"layout": 0, "fps": 30, "start_s": 0, "id": "a"} | track]}
    path = save(tmp_path / "a.npz", {"tmor_tracks": np.array(json.dumps(header)), "keypoints_0": body()})
    fails(path, f": {message}")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_tracks_whose_header_is_hostile(tmp_path, text):
    path = save(tmp_path / "a.npz", {"tmor_tracks": np.array(text)})
    with pytest.raises(FormatError, match="tmor_tracks is not the JSON header that write_tracks writes: "):
        read_tracks(path)


# ---- plain .npz


def test_a_hand_written_npz(tmp_path):
    path = tmp_path / "me.npz"
    points = body(layout="halpe26")
    np.savez(path, keypoints=points)
    (track,) = read_tracks(path)
    assert (track.layout.name, track.fps, track.id) == ("halpe26", None, "me")
    same(track.keypoints, points)
    np.savez(path, keypoints=body(), layout="coco17", fps=25, scores=np.ones((4, 17)))
    (track,) = read_tracks(path)
    assert (track.layout.name, track.fps, track.scores.min()) == ("coco17", 25.0, 1.0)
    np.savez(path, keypoints=body(), joint_names=UNIK17.joints)
    assert read_tracks(path)[0].layout is UNIK17


@pytest.mark.parametrize("packed", [False, True])
def test_zeros_in_place_of_unseen_joints_are_told(tmp_path, caplog, packed):
    def told(points):
        caplog.clear()
        path = tmp_path / "me.npz"
        path.unlink(missing_ok=True)
        if packed:
            save(path, packed_arrays() | {"joints": points[:, np.arange(20) % 17]})
        else:
            np.savez(path, keypoints=points, layout="coco17")
        read_tracks(path)
        return [record.getMessage() for record in caplog.records]

    points = np.abs(body(6)) + 1
    assert told(points) == []
    relative = points.copy()
    relative[:, 12] = 0
    assert told(relative) == [], "joints relative to one of them"
    points[:3, 13:15] = 0
    share = 100 * 6 / (6 * (20 if packed else 17))
    what = f"{share:.1f}% of joints lie exactly at zero; if they are unseen, write NaN: zeros count as places"
    assert told(points) == [f"{tmp_path / 'me.npz'}: {what}"]


@pytest.mark.parametrize("fps", ["fast", -1, [25, 25], 0.04, np.nan, 1e6])
def test_a_rate_that_can_t_be_is_named(tmp_path, fps):
    np.savez(tmp_path / "me.npz", keypoints=body(), layout="coco17", fps=fps)
    said = np.array(fps).tolist()
    fails(
        tmp_path / "me.npz",
        f": fps is {said}; expected one number, frames per second from 0.2 to 1000, 0 where the rate is unknown",
    )


def test_a_hand_written_npz_must_be_clear(tmp_path):
    path = tmp_path / "me.npz"
    np.savez(path, keypoints=body())
    fails(
        path,
        ": keypoints has 17 joints, which could be unik17, coco17, h36m17; "
        "add an array 'layout' with the layout's name, or 'joint_names' with the name of each joint",
    )
    np.savez(path, keypoints=np.zeros((4, 17)))
    fails(path, ": keypoints has shape (4, 17) and type float64; expected (frames, joints, 2 or 3) numbers")
    np.savez(path, keypoints=body(), layout="coco18")
    with pytest.raises(FormatError, match=r"me\.npz: unknown layout 'coco18'; known: unik17"):
        read_tracks(path)
    np.savez(path, poses=body())
    fails(
        path,
        ": has arrays poses; expected tmor_tracks (tracks of tmor), "
        "joints, offsets and joint_names (a packed set), or keypoints (one track)",
    )


# ---- COCO


def triples(points: np.ndarray, v: float = 2) -> list[float]:
    return np.column_stack([points, np.full(len(points), v)]).ravel().tolist()


def write_json(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_coco_results_of_two_people_without_identity(tmp_path):
    one, two = body(4, seed=1), body(4, seed=2) + 200
    results = []
    for t in (0, 1, 3):  # nobody in frame 2
        pair = [("a", one), ("b", two)]
        for _, points in pair[:: 1 if t == 0 else -1]:  # the order is no identity
            results.append({"image_id": t + 7, "category_id": 1, "keypoints": triples(points[t], 0.5), "score": 0.9})
    tracks = read_tracks(write_json(tmp_path / "res.json", results))
    assert [(track.id, len(track), track.fps, track.start_s) for track in tracks] == [
        ("res", 4, None, 0.0),
        ("res#1", 4, None, 0.0),
    ]
    for track, points in zip(tracks, (one, two), strict=True):
        assert track.layout.name == "coco17"
        same(track.keypoints[[0, 1, 3]], points[[0, 1, 3]], atol=1e-4)
        assert np.isnan(track.keypoints[2]).all()
        same(track.scores[:, 0], [0.5, 0.5, 0, 0.5])


def test_alphapose_results_with_tracks_and_halpe_joints(tmp_path):
    points = body(3, "halpe26")
    results = [
        {"image_id": f"{t}.jpg", "keypoints": triples(points[t], 0.25), "idx": [5 if t < 2 else 6]} for t in range(3)
    ]
    results[0]["keypoints"][2] = 0  # v = 0
    results[1]["keypoints"][3:5] = [0, 0]
    first, second = read_tracks(write_json(tmp_path / "alpha.json", results))
    assert (first.layout.name, len(first), len(second)) == ("halpe26", 2, 3)
    unseen = np.isnan(first.keypoints[..., 0])
    assert np.argwhere(unseen).tolist() == [[0, 0], [1, 1]]
    assert np.isnan(second.keypoints[:2]).all()
    same(second.keypoints[2], points[2], atol=1e-4)


def annotations() -> dict:
    """Frames out of order in the file; two people, one of them in frame 1 only."""
    points = body(2)
    return {
        "images": [{"id": 70, "file_name": "v/000002.jpg"}, {"id": 90, "file_name": "v/000001.jpg"}],
        "annotations": [
            {"image_id": 70, "keypoints": triples(points[1]), "track_id": 4},
            {"image_id": 90, "keypoints": triples(points[0]), "track_id": 4},
            {"image_id": 70, "keypoints": triples(points[0] * 0), "track_id": 5, "num_keypoints": 0},
        ],
        "categories": [{"id": 1, "name": "person"}],
    }


def test_coco_results_of_a_frame_that_nobody_can_count_to(tmp_path):
    path = write_json(tmp_path / "a.json", [{"image_id": "9" * 5000, "keypoints": triples(body(1)[0])}])
    fails(path, f": result 0 has image_id '{'9' * 5000}', which has no frame number")


def test_coco_annotations(tmp_path, caplog):
    path = write_json(tmp_path / "ann.json", annotations())
    with caplog.at_level(logging.INFO, logger="tmor"):
        (track,) = read_tracks(path)
    same(track.keypoints, body(2), atol=1e-4)
    assert track.scores is None  # v is COCO's flag
    assert caplog.messages == [f"{path}: left out 1 of 2 people, who have no seen joint"]


def test_coco_annotations_name_their_joints(tmp_path):
    content = annotations()
    names = ["nose", "head_bottom", "head_top", *LAYOUTS["coco17"].joints[3:]]
    content["categories"][0] |= {"keypoints": names, "skeleton": [[2, 3]]}
    (track,) = read_tracks(write_json(tmp_path / "posetrack.json", content))
    assert track.layout == Layout("posetrack", tuple(names), (("head_bottom", "head_top"),))
    content["categories"][0]["keypoints"] = list(LAYOUTS["coco17"].joints)
    (track,) = read_tracks(write_json(tmp_path / "posetrack.json", content))
    assert track.layout is LAYOUTS["coco17"]


def test_coco_frames_of_two_videos_are_kept_apart(tmp_path):
    results = [{"image_id": f"{v}/{t}.jpg", "keypoints": triples(body(3)[t], 0.5)} for v in "ab" for t in range(3)]
    tracks = read_tracks(write_json(tmp_path / "res.json", results))
    assert [(track.id, len(track)) for track in tracks] == [("res/a", 3), ("res/b", 3)]


def test_coco_with_a_mistake(tmp_path):
    path = tmp_path / "c.json"
    good = {"image_id": 1, "keypoints": triples(body(1)[0])}
    write_json(path, [good | {"keypoints": [1, 2, 3]}])
    fails(path, ": result 0 has 3 numbers in keypoints; expected 51 (17 joints) or 78 (26)")
    write_json(path, [good, good | {"keypoints": [0] * 78}])
    fails(path, ": result 1 has 78 numbers in keypoints; expected 51 (17 joints)")
    write_json(path, [good, {"keypoints": [0] * 51}])
    fails(path, ": result 1 has no 'keypoints' or no 'image_id'")
    write_json(path, [good | {"keypoints": "none"}])
    fails(path, ": result 0: keypoints is str none; expected a flat list of numbers")
    write_json(path, [good | {"image_id": "first.jpg"}])
    fails(path, ": result 0 has image_id 'first.jpg', which has no frame number")
    write_json(path, [good, good | {"image_id": 10**12}])
    with pytest.raises(FormatError, match="as the frame numbers run up to 1000000000000; expected the frames of one"):
        read_tracks(path)
    write_json(path, annotations() | {"images": []})
    fails(path, ": annotation 0 has image_id '70', which is not the id of one of 'images'")
    path.write_text(path.read_text()[:200])
    with pytest.raises(FormatError, match=r"c\.json: not valid JSON at line 1, column \d+: "):
        read_tracks(path)


# ---- OpenPose


def openpose(folder: Path, frames: dict[int, list[np.ndarray]], *, clip: str = "walk", ids=None) -> Path:
    folder.mkdir(exist_ok=True)
    for t, people in frames.items():
        content = {"version": 1.3, "people": []}
        for i, points in enumerate(people):
            content["people"].append(
                {"person_id": [-1 if ids is None else ids[i]], "pose_keypoints_2d": points.ravel().tolist()}
            )
        write_json(folder / f"{clip}_{t:012d}_keypoints.json", content)
    return folder


def confident(points: np.ndarray, c: float = 0.5) -> np.ndarray:
    return np.concatenate([points, np.full((*points.shape[:-1], 1), c)], axis=-1)


@pytest.mark.parametrize("layout", ["openpose18", "openpose25"])
def test_a_folder_of_openpose_frames(tmp_path, layout):
    one, two = confident(body(5, layout)), confident(body(5, layout, seed=1) + 300)
    one[3, 6] = 0
    frames = {0: [one[0]], 1: [one[1], two[1]], 3: [two[3], one[3]], 4: [two[4]]}  # file 2 is missing
    tracks = read_tracks(openpose(tmp_path / "out", frames))
    assert [(track.id, len(track), track.layout.name) for track in tracks] == [
        ("walk", 4, layout),
        ("walk#1", 5, layout),
    ]
    same(tracks[0].keypoints[[0, 1]], one[[0, 1], :, :2], atol=1e-4)
    assert np.isnan(tracks[0].keypoints[2]).all()
    assert np.argwhere(np.isnan(tracks[0].keypoints[3, :, 0])).tolist() == [[6]]
    same(tracks[0].scores[3, 5:7], [0.5, 0])
    assert np.isnan(tracks[1].keypoints[0]).all()
    same(tracks[1].keypoints[[1, 3, 4]], two[[1, 3, 4], :, :2], atol=1e-4)


def test_openpose_person_ids_and_clips(tmp_path):
    points = confident(body(2, "openpose25"))
    folder = openpose(tmp_path / "out", {0: [points[0], points[1]], 1: [points[1], points[0]]}, ids=[7, 3])
    tracks = read_tracks(openpose(folder, {5: [points[0]]}, clip="sit"))
    assert [(track.id, len(track)) for track in tracks] == [("sit", 1), ("walk", 2), ("walk#1", 2)]
    same(tracks[1].keypoints, points[:, :, :2], atol=1e-4)
    (track,) = read_tracks(folder / "sit_000000000005_keypoints.json")
    assert (track.id, len(track)) == ("sit_000000000005", 1)


def test_openpose_with_a_mistake(tmp_path, caplog):
    fails(tmp_path, ": the folder holds nothing; expected OpenPose's NAME_000000000000_keypoints.json")
    (tmp_path / "notes.txt").write_text("hello")
    fails(
        tmp_path,
        ": the folder holds 1 other files, such as notes.txt; expected OpenPose's NAME_000000000000_keypoints.json",
    )
    file = write_json(tmp_path / "a_0_keypoints.json", {"people": [{"pose_keypoints_2d": [1, 2, 3]}]})
    message = ": person 0 has 3 numbers in pose_keypoints_2d; expected 54 (18 joints) or 75 (25)"
    with pytest.raises(FormatError) as error:
        read_tracks(tmp_path)
    assert str(error.value) == f"{file}{message}"
    write_json(file, {"people": [{"pose_keypoints_2d": [float("inf")] * 54}]})
    fails(file, ": person 0: pose_keypoints_2d holds an infinite number")
    write_json(file, {"people": []})
    assert read_tracks(tmp_path) == []
    assert caplog.messages[-1] == f"{tmp_path}: nobody is in it"


# ---- following people


def test_people_who_cross_keep_their_identity():
    layout = LAYOUTS["coco17"]
    shape = body(1)[0]
    at = {t: [shape + np.array([10 * t, 0]), shape + np.array([190 - 10 * t, 5])] for t in range(20)}
    # every other frame lists them the other way round
    people = link({t: pair[:: 1 if t % 2 else -1] for t, pair in at.items()}, layout)
    assert len(people) == 2
    starts = sorted(person[0][0, 0] for person in people)
    assert starts == pytest.approx([shape[0, 0], shape[0, 0] + 190])
    for person in people:
        assert sorted(person) == list(range(20))


def test_a_jump_or_a_long_absence_makes_another_person():
    layout = LAYOUTS["coco17"]
    shape = body(1)[0]
    assert len(link({0: [shape], 1: [shape + 500]}, layout)) == 2
    assert len(link({0: [shape], 30: [shape]}, layout)) == 1
    assert len(link({0: [shape], 31: [shape]}, layout)) == 2
    assert link({0: [shape * np.nan]}, layout) == []


# ---- NTU RGB+D and UAV-Human


def ntu_text(frames: list[list[tuple[str, np.ndarray]]]) -> str:
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for id, points in bodies:
            lines += [f"{id} 0 1 1 1 1 0 -0.07 -0.03 2", str(len(points))]
            lines += [f"{x} {y} {z} 277.2 191.7 1036.2 519.4 -0.2 0.03 0.9 -0.1 2" for x, y, z in points.tolist()]
    return "\n".join(lines) + "\n"


def test_an_ntu_file_of_two_bodies(tmp_path):
    one, two = body(5, "ntu25", 3), body(5, "ntu25", 3, seed=1)
    frames = [[("72057594037931101", one[0])], [], [("72057594037931101", one[2]), ("9", two[2])], [("9", two[3])], []]
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_text(ntu_text(frames))
    first, second = read_tracks(path)
    assert (first.id, first.fps, len(first), first.start_s) == ("S001C001P001R001A001", 30.0, 3, 0.0)
    assert (second.id, len(second), second.start_s) == ("S001C001P001R001A001#1", 2, pytest.approx(2 / 30))
    same(first.keypoints[[0, 2]], one[[0, 2]], atol=1e-4)
    assert np.isnan(first.keypoints[1]).all()
    same(second.keypoints, two[[2, 3]], atol=1e-4)


def test_joints_that_the_kinect_did_not_track_are_unseen(tmp_path):
    lines = ntu_text([[("1", body(1, "ntu25", 3)[0])]]).splitlines()
    lines[4] = lines[4][:-1] + "0"
    path = tmp_path / "a.skeleton"
    path.write_text("\n".join(lines))
    assert np.argwhere(np.isnan(read_tracks(path)[0].keypoints[0, :, 0])).tolist() == [[0]]


def test_ntu_files_without_bodies_give_no_tracks(tmp_path, caplog):
    path = tmp_path / "a.skeleton"
    path.write_text("2\n0\n0\n")
    assert read_tracks(path) == []
    assert caplog.messages == [f"{path}: nobody is in it"]


def test_uav_human_files_have_17_joints(tmp_path):
    points = body(2, "coco17", 3)
    path = tmp_path / "P000S00G10B10H10UC022000LC021000A000R0_08241716.txt"
    points[:, 0, 1] = 300  # the nose is up
    path.write_text(ntu_text([[("0", points[0]), ("0", points[1])], [("0", points[1])]]))
    first, second = read_tracks(path)
    assert (first.layout.name, first.dims, first.fps) == ("coco17", 3, None)
    assert (len(first), len(second)) == (2, 1)
    same(first.keypoints, points, atol=1e-3)
    points[:, 0, 1] = 0
    path.write_text(ntu_text([[("0", points[0])]]))
    same(read_tracks(path)[0].keypoints[0], points[0] * (-1, -1, 1), atol=1e-3)
    points[..., 2] = 0
    path.write_text(ntu_text([[("0", points[0])]]))
    same(read_tracks(path)[0].keypoints[0], points[0, :, :2], atol=1e-3)


def test_ntu_with_a_mistake(tmp_path):
    path = tmp_path / "a.skeleton"
    good = ntu_text([[("1", body(1, "ntu25", 3)[0])]])
    path.write_text("1000000000\n" + good[2:])
    fails(path, ", line 1: the number of frames is 1000000000, but only 28 lines follow")
    path.write_text("9" * 5000 + "\n" + good[2:])
    fails(path, f", line 1: '{'9' * 20}'; expected the number of frames")
    path.write_text("\n".join(good.splitlines()[:-1]))
    fails(path, ", line 4: the number of joints is 25, but only 24 lines follow")
    path.write_text("2\n" + good[2:])
    fails(path, ": ends after 29 lines; expected the number of bodies")
    path.write_text(good + "1\n")
    fails(path, ", line 30: goes on after the number of frames that line 1 states")
    path.write_text(good.replace("\n25\n", "\n20\n"))
    fails(path, ", line 4: 20 joints; expected 25 (NTU) or 17 (UAV-Human)")
    path.write_text(good.replace("277.2", "", 1))
    fails(path, ", line 5: 11 values; expected a joint's values (12)")
    path.write_text(good.replace("277.2", "abc", 1))
    fails(path, ", lines 5 to 29: could not convert string to float: 'abc'; expected numbers")


# ---- LCR-Net


@pytest.mark.parametrize("fps", [0, True, int("9" * 400), "30"])
def test_a_rate_of_lcr_net_that_can_t_be(tmp_path, fps):
    path = write_json(tmp_path / "a.json", {"frames": [], "fps": fps})
    fails(path, f": fps is {fps!r:.60}; expected a positive number")


def test_smarthome_follows_people_and_skips_missing_joints(tmp_path):
    one, two = body(3, "lcrnet13"), body(3, "lcrnet13", seed=1) + 300
    one[2, 12] = 0

    def person(points):
        return {"pose2d": points.T.ravel().tolist(), "pose3d": [0.0] * 39, "score": 1.0}

    path = tmp_path / "WatchTV_p02_r03_v05_c05.json"
    frames = [[], [person(one[0]), person(two[0])], [person(two[1]), person(one[1])], [person(one[2])], []]
    write_json(path, {"frames": frames, "njts": 13})
    first, second = read_tracks(path)
    assert (first.id, first.fps, len(first), len(second)) == ("WatchTV_p02_r03_v05_c05", None, 4, 3)
    assert np.isnan(first.keypoints[0]).all()
    same(first.keypoints[1:3], one[:2], atol=1e-4)
    assert np.argwhere(np.isnan(first.keypoints[3, :, 0])).tolist() == [[12]]
    same(second.keypoints[1:], two[:2], atol=1e-4)
    write_json(path, {"frames": frames, "fps": 20})
    assert [(track.fps, track.start_s) for track in read_tracks(path)] == [(20.0, 0.05), (20.0, 0.05)]
    write_json(path, {"frames": [[], [{"pose2d": [1, 2]}]]})
    fails(path, ": frame 1, person 0 has 2 numbers in pose2d; expected 26 (13 x, then 13 y)")
    write_json(path, {"frames": [3]})
    fails(path, ": frame 0 is int; expected a list of people")


# ---- PYSKL


def pyskl_content() -> dict:
    two = np.stack([body(3), body(3, seed=1)])
    two[0, 1, 4] = 0
    padded = np.stack([body(2), np.zeros((2, 17, 2), np.float32)])

    def annotation(name, label, keypoint):
        return {
            "frame_dir": name,
            "label": label,
            "img_shape": (1080, 1920),
            "original_shape": (1080, 1920),
            "total_frames": keypoint.shape[1],
            "keypoint": keypoint.astype(np.float16),
            "keypoint_score": np.ones(keypoint.shape[:3], np.float16) / 2,
        }

    return {
        "split": {"xsub_train": ["a"], "xsub_val": ["b", "missing"]},
        "annotations": [annotation("a", 5, two), annotation("b", np.int64(7), padded)],
    }


@pytest.mark.parametrize("protocol", range(6))
def test_pyskl_pickles_of_every_protocol(tmp_path, protocol):
    content = pyskl_content()
    path = tmp_path / "ntu.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    tracks = read_tracks(path)
    assert [(track.id, len(track), track.fps) for track in tracks] == [("a", 3, None), ("a#1", 3, None), ("b", 2, None)]
    assert np.argwhere(np.isnan(tracks[0].keypoints[..., 0])).tolist() == [[1, 4]]
    same(tracks[1].keypoints, content["annotations"][0]["keypoint"][1])
    same(tracks[1].scores, np.full((3, 17), 0.5))


def test_pyskl_arrays_in_every_memory_order(tmp_path):
    path = tmp_path / "a.pkl"
    keypoint = np.arange(60.0).reshape(2, 3, 5, 2)[:, :, :, ::-1]
    layout = Layout("five", (*"abcde",))
    for own in (keypoint, np.asfortranarray(keypoint), keypoint.astype(">f4"), keypoint.astype(np.int32)):
        for protocol in (2, 5):
            content = [
                {"frame_dir": "a", "label": 0, "keypoint": own + 1},
                {"frame_dir": "b", "label": 0, "keypoint": own + 1},
            ]
            path.write_bytes(pickle.dumps(content, protocol=protocol))
            found = read_pyskl(path, layout=layout)
            same(found[0].keypoints, keypoint[0] + 1)
            same(found[3].keypoints, keypoint[1] + 1)


class _Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("call", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (os.mkdir, "posix.mkdir"), (getattr, "builtins.getattr")],
)
def test_a_pickle_that_would_run_code_does_not(tmp_path, call, name, protocol):
    trace = tmp_path / "it_ran"
    argument = {"system": f"touch {trace}", "eval": f"open({str(trace)!r}, 'w')"}.get(call.__name__, str(trace))
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"annotations": [_Evil(call, argument)]}, protocol=protocol))
    if protocol < 3:
        name = name.replace("builtins", "__builtin__")
    fails(
        path,
        f": the pickle asks for {name}, which could run code; nothing of it was run. "
        "Expected only dicts, lists, text, numbers and numpy arrays",
    )
    assert not trace.exists()


def test_pickles_of_other_things(tmp_path):
    path = tmp_path / "a.pkl"
    for content, message in [
        ([1, 2], ": annotation 0 lacks 'frame_dir', 'label' or 'keypoint'"),
        ({"x": 1}, ": holds dict with keys x; expected PYSKL's 'annotations', a list"),
        (3, ": holds int; expected PYSKL's 'annotations', a list"),
    ]:
        path.write_bytes(pickle.dumps(content))
        fails(path, message)
    good = pyskl_content()["annotations"][0]
    for change, message in [
        ({"keypoint": [1, 2]}, "keypoint is list; expected an array"),
        ({"keypoint": np.array([None])}, "keypoint has dtype O8; expected plain numbers"),
        (
            {"keypoint": np.zeros((3, 17, 2))},
            "keypoint has shape (3, 17, 2); expected (persons, frames, joints, 2 or 3)",
        ),
        ({"keypoint": np.full((2, 3, 17, 2), np.inf)}, "keypoint holds infinite values"),
        ({"total_frames": 4}, "total_frames is 4, but keypoint has 3 frames"),
        ({"label": "wave"}, "label is wave; expected a class number, or -1 for none"),
        ({"keypoint_score": np.ones((2, 3, 16))}, "keypoint_score has shape (2, 3, 16); expected (2, 3, 17)"),
    ]:
        path.write_bytes(pickle.dumps([good | change]))
        fails(path, f": annotation 0 ('a'): {message}")
    path.write_bytes(pickle.dumps([{"frame_dir": "a", "label": 0, "keypoint": np.ones((2, 3, 21, 2))}]))
    known = "17 (coco17), 18 (openpose18), 20 (kinect20), 25 (ntu25)"
    fails(path, f": annotation 0 ('a'): keypoint has 21 joints; expected {known}, or pass the layout")
    fails(
        path,
        ": annotation 0 ('a'): keypoint has 21 joints; layout 'ntu25' has 25",
        lambda path: read_pyskl(path, layout="ntu25"),
    )
    path.write_bytes(pickle.dumps([good])[:-40])
    with pytest.raises(FormatError, match=r"a\.pkl: not a complete pickle"):
        read_tracks(path)
    records = np.zeros(3, dtype=[("x", "f4")])
    path.write_bytes(pickle.dumps([good | {"keypoint": records}]))
    fails(path, ": not a pickle of numbers, text and containers: an array of records or of subarrays")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_pickle_is_an_error_of_the_users(tmp_path_factory, data):
    content = bytearray(pickle.dumps(pyskl_content(), protocol=data.draw(st.sampled_from([2, 4, 5]))))
    for _ in range(3):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.pkl"
    path.write_bytes(content)
    with contextlib.suppress(FormatError):
        read_tracks(path)


# ---- BVH

MIXAMO = (
    "mixamorig:Hips(mixamorig:Spine(mixamorig:Spine1(mixamorig:Spine2("
    "mixamorig:Neck(mixamorig:Head(mixamorig:HeadTop_End)) "
    "mixamorig:LeftShoulder(mixamorig:LeftArm(mixamorig:LeftForeArm(mixamorig:LeftHand(mixamorig:LeftHandIndex1)))) "
    "mixamorig:RightShoulder(mixamorig:RightArm(mixamorig:RightForeArm(mixamorig:RightHand)))))) "
    "mixamorig:LeftUpLeg(mixamorig:LeftLeg(mixamorig:LeftFoot(mixamorig:LeftToeBase))) "
    "mixamorig:RightUpLeg(mixamorig:RightLeg(mixamorig:RightFoot(mixamorig:RightToeBase))))"
)


def bvh_text(rig: str, offset: tuple[float, float, float], motion: list[list[float]], *, order: str = "ZXY") -> str:
    """A rig written as ``Hips(Spine(Neck) LeftLeg)``; every joint at the same offset from its parent."""
    rotations = " ".join(f"{axis}rotation" for axis in order)
    lines, name = ["HIERARCHY"], ""
    depth = 0
    x, y, z = offset

    def end():
        lines.extend(["End Site", "{", f"OFFSET {x} {y} {z}", "}"])

    def begin(name):
        positions = "Xposition Yposition Zposition " if depth == 0 else ""
        lines.append(f"{'ROOT' if depth == 0 else 'JOINT'} {name}")
        lines.extend(["{", f"OFFSET {x} {y} {z}", f"CHANNELS {6 if depth == 0 else 3} {positions}{rotations}"])

    for character in rig + " ":
        if character in "() ":
            if name:
                begin(name)
                if character == "(":
                    depth += 1
                else:
                    end()
                    lines.append("}")
                name = ""
            if character == ")":
                depth -= 1
                lines.append("}")
        else:
            name += character
    lines += ["MOTION", f"Frames: {len(motion)}", "Frame Time: .0333333"]
    return "\n".join(lines + [" ".join(map(str, row)) for row in motion]) + "\n"


def test_a_mixamo_bvh(tmp_path, caplog):
    joints = MIXAMO.count("mixamorig")
    motion = [[0, 100 + t, 0] + [0] * 3 * joints for t in range(3)]
    path = tmp_path / "walk.bvh"
    path.write_text(bvh_text(MIXAMO, (0, 15, 0), motion))
    with caplog.at_level(logging.INFO, logger="tmor"):
        (track,) = read_tracks(path)
    assert (track.id, len(track), track.dims) == ("walk", 3, 3)
    assert track.fps == pytest.approx(30, rel=1e-5)
    names = track.layout.standard_joints
    expected = {"mid_hip", "spine", "chest", "upper_chest", "neck", "head", "head_top"}
    for side in ("left", "right"):
        parts = ("clavicle", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "big_toe")
        expected |= {f"{side}_{part}" for part in parts}
    assert set(names) == expected
    same(track.keypoints[:, names.index("mid_hip")], [[0, 1.00, 0], [0, 1.01, 0], [0, 1.02, 0]], atol=1e-6)
    same(track.keypoints[0, names.index("left_wrist")], [0, 1 + 0.15 * 7, 0], atol=1e-6)
    assert ("neck", "upper_chest") in track.layout.bones
    assert caplog.messages[0] == f"{path}: the skeleton measures 135, taken as centimetres"
    left_out = f"{path}: left out 1 joints without a standard name: mixamorig:LeftHandIndex1"
    assert caplog.messages[1] == left_out
    assert not track.layout.lacking(UNIK17)
    assert not np.isnan(track.to("unik17").keypoints).any()


@pytest.mark.parametrize("order", ["XYZ", "ZXY", "ZYX", "YXZ"])
def test_forward_kinematics_agrees_with_scipy(tmp_path, order):
    rng = np.random.default_rng(0)
    motion = np.concatenate([rng.normal(size=(5, 3)), rng.uniform(-180, 180, size=(5, 9))], axis=1)
    offset = np.array([0.3, 1.0, -0.2])
    path = tmp_path / "a.bvh"
    path.write_text(bvh_text("Root(Middle(Tip))", tuple(offset), motion.tolist(), order=order))
    (track,) = read_bvh(path)
    first, second = (Rotation.from_euler(order, motion[:, i : i + 3], degrees=True) for i in (3, 6))
    root = motion[:, :3]
    middle = root + first.apply(offset)
    tip = middle + (first * second).apply(offset)
    assert track.layout.joints == ("Root", "Middle", "Tip")  # no rig that we know: the file's own names
    same(track.keypoints, np.stack([root, middle, tip], axis=1), atol=1e-5)


@pytest.mark.parametrize(("size", "unit"), [(1.7, 1.0), (30, 0.0254 / 0.45), (68, 0.0254), (170, 0.01), (1700, 0.001)])
def test_the_size_of_a_bvh_skeleton_tells_its_unit(tmp_path, size, unit):
    path = tmp_path / "a.bvh"
    path.write_text(bvh_text("Root(Tip)", (0, size / 2, 0), [[0] * 9]))
    same(read_bvh(path)[0].keypoints[0, 1], [0, size / 2 * unit, 0], atol=1e-5)


# Middle joints; joints of a side; the spelling of the sides; what the left clavicle, shoulder, wrist and ankle are.
RIGS = {
    "cgspeed-motionbuilder": (
        "Hips,LowerBack,Spine,Spine1,Neck,Neck1,Head",
        "{}UpLeg,{}Leg,{}Foot,{}ToeBase,{}Shoulder,{}Arm,{}ForeArm,{}Hand,{}FingerBase,{}HandIndex1",
        ("Left", "Right"),
        ("LeftShoulder", "LeftArm", "LeftHand", "LeftFoot"),
    ),
    "cgspeed-3dsmax": (
        "Hips,Chest,Neck,Head",
        "{}Hip,{}Knee,{}Ankle,{}Collar,{}Shoulder,{}Elbow,{}Wrist",
        ("Left", "Right"),
        ("LeftCollar", "LeftShoulder", "LeftWrist", "LeftAnkle"),
    ),
    "cgspeed-daz": (
        "hip,abdomen,chest,neck,head",
        "{}Buttock,{}Thigh,{}Shin,{}Foot,{}Collar,{}Shldr,{}ForeArm,{}Hand",
        ("l", "r"),
        ("lCollar", "lShldr", "lHand", "lFoot"),
    ),
    "bandai": (
        "joint_Root,Hips,Spine,Chest,Neck,Head",
        "Shoulder_{},UpperArm_{},LowerArm_{},Hand_{},UpperLeg_{},LowerLeg_{},Foot_{},Toes_{}",
        ("L", "R"),
        ("Shoulder_L", "UpperArm_L", "Hand_L", "Foot_L"),
    ),
    "smpl": (
        "Pelvis,Spine1,Spine2,Spine3,Neck,Head",
        "{}_Hip,{}_Knee,{}_Ankle,{}_Foot,{}_Collar,{}_Shoulder,{}_Elbow,{}_Wrist,{}_Hand",
        ("L", "R"),
        ("L_Collar", "L_Shoulder", "L_Wrist", "L_Ankle"),
    ),
    "biped": (
        "Bip01,Bip01 Pelvis,Bip01 Spine,Bip01 Neck,Bip01 Head",
        "Bip01 {} Thigh,Bip01 {} Calf,Bip01 {} Foot,Bip01 {} Clavicle,Bip01 {} UpperArm,Bip01 {} Forearm,Bip01 {} Hand",
        ("L", "R"),
        ("Bip01 L Clavicle", "Bip01 L UpperArm", "Bip01 L Hand", "Bip01 L Foot"),
    ),
    "prefixed": (
        "Model_Hips,Model_Spine,Model_Spine1,Model_Neck,Model_Head",
        "Model_{}UpLeg,Model_{}Leg,Model_{}Foot,Model_{}Shoulder,Model_{}Arm,Model_{}ForeArm,Model_{}Hand",
        ("Left", "Right"),
        ("Model_LeftShoulder", "Model_LeftArm", "Model_LeftHand", "Model_LeftFoot"),
    ),
}


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS.keys())
def test_the_joints_of_common_rigs_get_standard_names(rig):
    middle, sided, sides, (clavicle, shoulder, wrist, ankle) = rig
    names = [*middle.split(","), *(name.format(side) for side in sides for name in sided.split(","))]
    found = standard_names(names)
    known = [name for name in found if name is not None]
    assert len(set(known)) == len(known)
    limbs = ("clavicle", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert {"mid_hip", "neck", "head"} | {f"{side}_{limb}" for side in ("left", "right") for limb in limbs} <= set(
        known
    )
    assert {"spine", "chest"} & set(known)
    own = dict(zip(found, names, strict=True))
    assert own["left_clavicle"] == clavicle
    assert own["left_shoulder"] == shoulder
    assert own["left_wrist"] == wrist
    assert own["left_ankle"] == ankle


def test_bvh_with_a_mistake(tmp_path):
    path = tmp_path / "a.bvh"
    good = bvh_text("Root(Tip)", (0, 1, 0), [[0] * 9] * 2)
    for change, message in [
        (("Frames: 2", "Frames: 1000000000"), ": Frames is 1000000000, but 2 lines of motion follow"),
        (("Frames: 2", "Frames: two"), ", line 17: expected 'Frames: N' and 'Frame Time: seconds' after MOTION"),
        (("Time: .0333333", "Time: 0"), ": Frame Time is 0; expected seconds per frame"),
        (("0 0 0\n", "0 0\n"), ", line 19: 8 numbers; expected 9, one per channel"),
        (("0 0 0\n", "0 0 x\n"), ", line 19: could not convert string to float: 'x'"),
        (("0 0 0\n", "0 0 nan\n"), ": the motion holds numbers that are not finite"),
        (("JOINT Tip", "ROOT Tip"), ", line 6: 'ROOT Tip'; expected a joint, its OFFSET, its CHANNELS, or a brace"),
        (("OFFSET 0 1 0", "OFFSET 0 1"), ", line 4: 'OFFSET 0 1'; expected three numbers"),
        (("OFFSET 0 1 0", "OFFSET 0 inf 0"), ", line 4: 'OFFSET 0 inf 0'; expected three numbers"),
        (
            ("CHANNELS 3 Zrot", "CHANNELS 3 Wrot"),
            ", line 9: 'CHANNELS 3 Wrotation Xrotation Yrotation'; "
            "expected a count and as many of Xposition, Zrotation and the like",
        ),
    ]:
        path.write_text(good.replace(*change, 1))
        fails(path, message)
    path.write_text(good[:150])
    with pytest.raises(FormatError, match="expected"):
        read_tracks(path)


# ---- whatever else a user may pass


def test_files_that_are_not_poses(tmp_path):
    path = tmp_path / "nothing"
    fails(path, ": there is no such file")
    fails(path, ": there is no such file; expected an .npz", read_packed)
    path.write_bytes(b"")
    fails(path, ": the file is empty")
    fails(path, ": the file is empty", read_packed)
    expected = (
        "tracks or a packed set (.npz), COCO or LCR-Net (.json), OpenPose (a folder), NTU (.skeleton), BVH, "
        "or PYSKL (.pkl)"
    )
    path.write_bytes(b"\x00\x00\x00\x18ftypmp42")
    fails(path, f": is a video; expected {expected}")
    path.write_text("hello there")
    fails(path, f": begins with b'hello there'; expected {expected}")


def test_json_that_is_not_poses(tmp_path):
    path = tmp_path / "a.json"
    expected = (
        "; expected COCO keypoints (a list of results, or 'annotations'), LCR-Net ('frames') or OpenPose ('people')"
    )
    for content, found in [
        ({"a": 1, "b": 2}, "an object with keys a, b"),
        ({}, "an object with keys none"),
        ([], "a list of nothing"),
        ([1], "a list of int"),
        ([{"bbox": 1}], "a list of dict with keys bbox"),
    ]:
        write_json(path, content)
        fails(path, f": JSON with {found}{expected}")
    path.write_text("[" * 100_000)
    with pytest.raises(FormatError, match=r"a\.json: JSON that can't be poses"):
        read_tracks(path)
    path.write_text('[{"image_id": 1, "keypoints": [' + "9" * 5000 + "]}]")
    with pytest.raises(FormatError, match=r"a\.json: JSON that can't be poses"):
        read_tracks(path)
    path.write_bytes(b'{"\xff": 1}')
    fails(path, ": byte 2 is not UTF-8; expected a text file")


def test_npz_files_that_are_damaged_or_dangerous(tmp_path):
    path = save(tmp_path / "a.npz", packed_arrays())
    whole = path.read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        fails(path, ": not a complete .npz (a zip archive of arrays); the file may be truncated")
    spoilt = bytearray(whole)
    at = whole.index(b"joints.npy") + 300
    spoilt[at : at + 100] = bytes(100)
    path.write_bytes(spoilt)
    with pytest.raises(FormatError, match=r"a\.npz: array 'joints' can't be read: Bad CRC-32"):
        read_tracks(path)
    np.savez(path, joints=np.array([_Evil(os.system, "true")], dtype=object))
    with pytest.raises(FormatError, match="array 'joints' can't be read: Object arrays cannot be loaded"):
        read_tracks(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6, 3)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keypoints.npy", header.getvalue())
    with pytest.raises(FormatError, match="array 'keypoints' can't be read"):
        read_tracks(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    fails(path, ": member 'readme.txt' is not an array")


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'shape': (1,2", "  \n  {'a': 1}\n {'b'", "'''", "(" * 5000, "1" * 50]
)
def test_headers_of_arrays_that_numpy_can_not_parse(tmp_path, header):
    path, text = (
        tmp_path / "a.npz",
        header.replace("1" * 50, f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 30},)}}"),
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("keypoints.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
    with pytest.raises(FormatError, match=r"a\.npz: array 'keypoints' can't be read: "):
        read_tracks(path)


def test_an_npz_whose_compression_is_damaged(tmp_path):
    path, array = tmp_path / "a.npz", io.BytesIO()
    np.lib.format.write_array(array, body(200))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("keypoints.npy", array.getvalue())
    spoilt = bytearray(path.read_bytes())
    spoilt[200:208] = b"\xff" * 8
    path.write_bytes(spoilt)
    fails(path, ": array 'keypoints' can't be read: Corrupt input data")


def test_an_npz_that_unpacks_to_far_more_than_its_size_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, keypoints=np.zeros((100_000, 17, 2), dtype=np.float32), layout="coco17")
    assert len(read_tracks(path)) == 1
    monkeypatch.setattr("tmor.skeleton.formats.files._MOST_UNPACKED", 10**6)
    with pytest.raises(
        FormatError, match=r"a\.npz: unpacks to 13,600,\d+ bytes, \d+ times its size; expected at most 50"
    ):
        read_tracks(path)
    np.savez_compressed(path, keypoints=body(10_000), layout="coco17")  # larger, but poses do not shrink so
    assert len(read_tracks(path)[0]) == 10_000


def test_the_content_decides_not_the_name(tmp_path):
    save(tmp_path / "a.npz", packed_arrays())
    (tmp_path / "a.npz").rename(tmp_path / "a.json")
    assert len(read_tracks(tmp_path / "a.json")) == 3
    write_json(tmp_path / "b.txt", [{"image_id": 1, "keypoints": triples(body(1)[0])}])
    assert len(read_tracks(str(tmp_path / "b.txt"))) == 1
    (tmp_path / "c.dat").write_bytes(b"\xef\xbb\xbf" + bvh_text("Root(Tip)", (0, 1, 0), [[0] * 9]).encode())
    assert len(read_tracks(tmp_path / "c.dat")) == 1
    (tmp_path / "d.bin").write_bytes(pickle.dumps(pyskl_content()))
    assert len(read_tracks(tmp_path / "d.bin")) == 3


# ---- the real data beside the checkout

# sequences, frames, classes, layout, dims, fps, as the folders' READMEs state
SETS = {
    "penn_action/penn_action": (2326, 163841, 15, "penn13", 2, None),
    "utd_mhad/utd_mhad_skeleton": (861, 58299, 27, "kinect20", 3, None),
    "nw_ucla/nw_ucla": (1484, 58534, 10, "kinect20", 3, None),
    "jhmdb/jhmdb": (609, 21126, 14, "jhmdb15", 2, None),
    "bandai_namco/bandai_namco": (3076, 209188, 24, "bandai21", 3, 15),
    "msrc12/msrc12": (592, 367081, 12, "kinect20", 3, 15),
    "kard/kard": (540, 63630, 18, "nite15", 3, 30),
    "cad60/cad60": (72, 42168, 15, "cad60", 3, 15),
    "florence3d/florence3d": (215, 3802, 9, "florence3d", 3, None),
    "sbu_interaction/sbu_interaction": (282, 6822, 8, "sbu_interaction", 3, 15),
    "hdm05_11/hdm05_11": (288, 17951, 11, "cmu19", 3, 30),
    "cmu_mocap/cmu_mocap": (160, 28456, 48, "cmu19", 3, 20),
    "cmu_mocap/cmu_eval8": (96, 11355, 8, "cmu19", 3, 20),
    "cmu_mocap/cmu_dance_martial": (43, 24320, 3, "cmu19", 3, 20),
    "gesture_phase/gesture_phase": (7, 9901, 5, "gesture_phase", 3, None),
    "h36m/h36m": (189, 215011, 15, "h36m19", 3, 25),
    "gtu_action3d/gtu_action3d": (504, 32717, 14, "ntu25", 3, None),
    "cdta_gestures/cdta_gestures": (2532, 87680, 7, "cdta_gestures", 3, None),
    "zed_boxing/zed_boxing": (338, 13470, 4, "zed20", 3, 30),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_shared_sets_are_read_as_their_readmes_say(shared_data, name):
    found = read_packed(shared_data / f"{name}.npz")
    facts = (len(found), len(found.keypoints), len(found.class_names))
    layout, dims = found.layout.name, found.keypoints.shape[-1]
    assert (*facts, layout, dims, found.fps) == SETS[name]
    for i in (0, len(found) - 1):
        tracks = found.tracks(i)
        assert len(tracks) == (2 if name.startswith("sbu") else 1)
        if name != "gesture_phase/gesture_phase":  # upper body only
            assert not np.isnan(tracks[0].to("unik17").keypoints).all()


@pytest.mark.shared
def test_shared_masks_tags_and_splits(shared_data):
    penn = read_packed(shared_data / "penn_action" / "penn_action.npz")
    assert penn.part("is_train").sum() == 1258
    assert np.isnan(penn.keypoints[..., 0]).mean() == pytest.approx(0.22, abs=0.005)  # 78 % visible
    jhmdb = read_packed(shared_data / "jhmdb" / "jhmdb.npz")
    assert [jhmdb.part(f"is_train[{s}]").sum() for s in range(3)] == [433, 433, 434]
    msrc = read_packed(shared_data / "msrc12" / "msrc12.npz")
    assert msrc.tags.shape == (6229, 2)
    assert np.isnan(msrc.keypoints[:, 0, 0]).mean() == pytest.approx(0.013, abs=0.001)
    per_class = np.bincount(msrc.labels[msrc.tags[:, 0]])
    assert per_class.tolist() == [508, 500, 522, 508, 635, 511, 506, 515, 508, 498, 516, 502]
    phases = read_packed(shared_data / "gesture_phase" / "gesture_phase.npz")
    assert np.bincount(phases.frame_labels).tolist() == [2769, 2097, 2950, 998, 1087]
    assert phases.segments.shape == (395, 4)
    first = phases.segments[phases.segments[:, 0] == 1]
    for _, label, start, end in first:
        assert (phases.frame_labels[phases.offsets[1] + start : phases.offsets[1] + end] == label).all()


@pytest.mark.shared
def test_shared_thumbnails_are_no_poses(shared_data):
    path = shared_data / "utd_mhad" / "utd_mhad_depth_thumbs.npz"
    with pytest.raises(FormatError, match="has arrays depth_u8, frame_index, n_depth_frames, seq_id; expected"):
        read_tracks(path)


@pytest.mark.parametrize(("part", "rest"), [("is_train", "not is_train"), ("fold == 0", "fold != 0")])
def test_the_rest_of_a_part_is_what_it_leaves(tmp_path, part, rest) -> None:
    arrays = {"joints": np.zeros((3, 17, 2)), "offsets": np.arange(4), "joint_names": np.array(UNIK17.joints)}
    np.savez(tmp_path / "set.npz", is_train=np.array([True, False, True]), fold=np.array([0, 1, 2]), **arrays)
    found = read_packed(tmp_path / "set.npz")
    assert (rest_of(part), rest_of(rest)) == (rest, part)
    assert (found.part(part) ^ found.part(rest)).all()
