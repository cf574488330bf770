"""Penn Action, Toyota Smarthome, UAV-Human, NTU RGB+D and JHMDB: tiny official files are written here and read."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tmor.downstream.benchmarks import jhmdb, ntu_rgbd, penn_action, toyota_smarthome, uav_human
from tmor.downstream.benchmarks.packed_sets import NW_UCLA
from tmor.downstream.benchmarks.prepare import prepare
from tmor.downstream.benchmarks.protocol import Benchmark, Sample, Skipped
from tmor.downstream.tables import result_rows
from tmor.errors import FormatError, TmorError
from tmor.skeleton.formats import PackedSet, read_packed, write_packed
from tmor.skeleton.formats.matlab import read_mat
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track

ALL = (
    *(penn_action.BENCHMARK, toyota_smarthome.BENCHMARK, uav_human.BENCHMARK, ntu_rgbd.NTU_60, ntu_rgbd.NTU_120),
    jhmdb.BENCHMARK,
)


def read(benchmark: Benchmark, root: Path) -> tuple[list[Sample], list[Skipped]]:
    assert benchmark.raw is not None
    found = list(benchmark.raw.read(root))
    return [f for f in found if isinstance(f, Sample)], [f for f in found if isinstance(f, Skipped)]


def body(frames: int, layout: str, *, motion: float = 1.0, tall: float = 1.0, seed: int = 0) -> np.ndarray:
    """(frames, joints, 3) of a body 1 wide and ``tall`` high that swings sideways."""
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.uniform(0, 1, size=(1, len(LAYOUTS[layout]), 3)), frames, axis=0)
    points[:, 0, :2], points[:, 1, :2] = 0, 1
    points[..., 1] *= tall
    points[..., 0] += motion * np.sin(np.arange(frames))[:, None]
    return points


def packed_set(**columns) -> PackedSet:
    """Sequences of one frame; ``class_names`` and ``labels`` among the columns."""
    names, labels = columns.pop("class_names", ()), columns.pop("labels", None)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    n = len(next(iter(arrays.values())))
    return PackedSet(
        name="made_up",
        keypoints=np.zeros((n, 17, 2), np.float32),
        offsets=np.arange(n + 1),
        layout=LAYOUTS["coco17"],
        fps=None,
        ids=tuple(map(str, range(n))),
        labels=None if labels is None else np.asarray(labels),
        class_names=tuple(names),
        tags=None,
        segments=None,
        segments_s=None,
        frame_labels=None,
        times_s=None,
        columns=arrays,
    )


def parts(benchmark: Benchmark, protocol: str, packed: PackedSet) -> tuple[list[int], list[int]]:
    """The rows of the training and the test part of a protocol's only fold."""
    (fold,) = benchmark.protocol(protocol).folds(packed)
    assert not (fold.train & fold.test).any()
    return np.flatnonzero(fold.train).tolist(), np.flatnonzero(fold.test).tolist()


@pytest.mark.parametrize("benchmark", ALL, ids=lambda benchmark: benchmark.name)
def test_what_all_benchmarks_have_in_common(benchmark):
    raw = benchmark.raw
    assert len(set(raw.class_names)) == len(raw.class_names)
    assert raw.layout in LAYOUTS
    assert raw.expects
    assert len({protocol.name for protocol in benchmark.protocols}) == len(benchmark.protocols)
    for protocol in benchmark.protocols:
        for names in (protocol.classes or (), protocol.unseen):
            assert set(names) <= set(raw.class_names)
            assert len(set(names)) == len(names)


# ---- Penn Action


def penn_label(path: Path, frames: int = 3, **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    points = np.arange(frames * 26, dtype=np.float64).reshape(frames, 13, 2) + 10
    content = {
        "x": points[..., 0],
        "y": points[..., 1],
        "visibility": np.ones((frames, 13)),
        "nframes": np.uint8(frames % 256),
        "train": np.int16(1),
        "action": "golf_swing",
        "pose": "back",
        "bbox": np.ones((frames, 4)),
        "dimensions": np.array([[270, 480, frames]], dtype=np.uint16),
        **changes,
    }
    savemat(path, {key: value for key, value in content.items() if value is not None})
    return path


def test_penn_action(tmp_path):
    visible = np.ones((3, 13))
    visible[1, 4] = 0
    x = np.full((3, 13), 7.0)
    x[2, 6] = 1  # (1, 1): a placeholder, though it is said to be visible
    y = x.copy()
    penn_label(tmp_path / "labels" / "0001.mat", x=x, y=y, visibility=visible)
    penn_label(tmp_path / "labels" / "0002.mat", 300, train=np.int16(-1), action="situp")
    penn_label(tmp_path / "labels" / "0003.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut")
    (tmp_path / "labels" / "._0001.mat").write_bytes(b"what macOS leaves")
    (first, second), (broken,) = read(penn_action.BENCHMARK, tmp_path)
    assert (first.id, first.label, first.columns) == ("0001", 5, {"is_train": True})
    assert (second.id, second.label, second.columns) == ("0002", 10, {"is_train": False})
    assert (broken.id, broken.reason) == ("0003.mat", "unreadable")
    (track,) = first.tracks
    assert (track.layout.name, track.dims, track.fps, len(track)) == ("penn13", 2, None, 3)
    assert np.argwhere(np.isnan(track.keypoints[..., 0])).tolist() == [[1, 4], [2, 6]]
    assert second.tracks[0].keypoints[2, 1].tolist() == [2 * 26 + 12, 2 * 26 + 13]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "has no variable 'x'; it has y, visibility, nframes, train, action, pose, bbox, dimensions"),
        ({"x": np.ones((3, 12))}, "x has shape (3, 12) and type float64; expected (frames, 13) numbers, as x"),
        ({"visibility": np.ones((2, 13))}, "visibility has shape (2, 13) and type float64; expected (frames, 13)"),
        ({"visibility": np.full((3, 13), 2.0)}, "visibility holds 2.0; expected 0 or 1"),
        ({"y": {"a": 1}}, "variable 'y' is of MATLAB class 2; expected numbers or a line of text"),
        ({"y": 1j * np.ones((3, 13))}, "variable 'y' is of MATLAB class 6; expected numbers or a line of text"),
        ({"nframes": np.uint8(4)}, "nframes is 4, but x has 3 frames"),
        ({"train": np.int16(0)}, "train is 0; expected 1 or -1"),
        ({"train": np.array([1, 1])}, "train has shape (1, 2); expected one number"),
        ({"action": "swim"}, "action is 'swim'; expected one of baseball_pitch, "),
        ({"bbox": np.ones((40_000, 4))}, "has more than 1048576 bytes; expected the annotations of one short video"),
    ],
)
def test_penn_action_with_a_mistake(tmp_path, change, message):
    path = penn_label(tmp_path / "labels" / "0001.mat", **change)
    samples, (skipped,) = read(penn_action.BENCHMARK, tmp_path)
    assert samples == []
    assert skipped.detail.startswith(f"{path}: {message}")


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_variables_of_every_type_are_read(tmp_path, compressed):
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(0)
    content = {f"a{i}": rng.integers(0, 100, size=(2, 3, 4)).astype(t) for i, t in enumerate("bBhHiIqQfd")}
    content |= {"one": np.float64(7), "flags": np.array([True, False]), "text": "Zoë", "none": np.zeros((0, 3))}
    savemat(path, {**content, "struct": {"x": 1}, "cells": np.array([1, "a"], dtype=object)}, do_compression=compressed)
    found = read_mat(path, list(content))
    for name, value in content.items():
        expected = np.array(value) if isinstance(value, str) else np.atleast_2d(value)
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype.kind == expected.dtype.kind or name == "flags"
    with pytest.raises(FormatError, match="variable 'cells' is of MATLAB class 1; expected numbers or a line of text"):
        read_mat(path, ["cells"])


def test_mat_files_that_unpack_to_too_much(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.zeros((2**22, 1))}, do_compression=True)
    with pytest.raises(FormatError, match="its variables take more than 16777216 bytes"):
        read_mat(path, ["x"])


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_mat_files_are_format_errors(tmp_path, compressed):
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.ones((3, 13)), "action": "situp"}, do_compression=compressed)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(400):
        bad = bytearray(good[: rng.integers(1, len(good))] if trial % 4 == 0 else good)
        for at in rng.integers(0, len(bad), size=rng.integers(1, 4)):
            bad[at] = rng.integers(256)
        path.write_bytes(bytes(bad))
        try:
            read_mat(path, ("x", "action"))
        except FormatError:
            refused += 1
    assert refused > 100


def test_missing_files_are_named(tmp_path):
    with pytest.raises(TmorError) as error:
        read(penn_action.BENCHMARK, tmp_path)
    assert str(error.value) == f"{tmp_path}: no file matches labels/*.mat"
    with pytest.raises(TmorError, match="there is no such file"):
        read_mat(tmp_path / "a.mat", ("x",))


@pytest.mark.shared
def test_penn_action_has_the_official_counts(shared_data):
    packed = read_packed(shared_data / "penn_action" / "penn_action.npz")
    train, test = parts(penn_action.BENCHMARK, "official", packed)
    assert (len(train), len(test)) == (1258, 1068)
    assert packed.class_names == penn_action.CLASSES


# ---- Toyota Smarthome


def smarthome_file(root: Path, name: str, frames: list[list[np.ndarray]]) -> Path:
    """People as (13, 2) pixels."""
    path = root / "smarthome_skeletons" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    people = [
        [{"pose2d": p.T.ravel().tolist(), "pose3d": [0.0] * 39, "cumscore": 1.0} for p in frame] for frame in frames
    ]
    path.write_text(json.dumps({"frames": people, "njts": 13}))
    return path


def test_toyota_smarthome(tmp_path):
    still, walker, runner = (
        100 * body(60, "lcrnet13", motion=m, seed=i)[..., :2] + 200 * i + 50 for i, m in enumerate((0.001, 0.05, 0.2))
    )
    frames: list[list[np.ndarray]] = [[], []]
    frames += [[still[t], walker[t], runner[t]] for t in range(5)]
    frames += [[]] * 40  # long enough for everybody to come back as somebody else
    frames += [[runner[t]] for t in range(5, 10)]
    frames += [[]]
    smarthome_file(tmp_path, "Walk_p02_r03_v05_c05", frames)
    smarthome_file(tmp_path, "Cook.Cut_p25_r00_v01_c02", [[walker[0]], [], [walker[2]]])
    smarthome_file(tmp_path, "Cook.Cut_p25_r00_v02_c02", [[], []])
    smarthome_file(tmp_path, "Fly_p02_r03_v05_c05", [[walker[0]]])
    smarthome_file(tmp_path, "notes", [[walker[0]]])
    smarthome_file(tmp_path, "Enter_p02_r03_v05_c01", []).write_text("{")
    samples, skipped = read(toyota_smarthome.BENCHMARK, tmp_path)
    cut, walk = samples
    assert [(s.id, s.reason) for s in skipped] == [
        ("Cook.Cut_p25_r00_v02_c02", "no skeleton"),
        ("Enter_p02_r03_v05_c01.json", "unreadable"),
        ("Fly_p02_r03_v05_c05", "unknown class"),
        ("notes.json", "file name"),
    ]
    assert (cut.label, cut.columns, len(cut.tracks)) == (2, {"subject": 25, "camera": 2}, 1)
    assert np.isnan(cut.tracks[0].keypoints[:, 0, 0]).tolist() == [False, True, False]
    assert (walk.label, walk.columns) == (29, {"subject": 2, "camera": 5})
    first, second = walk.tracks
    assert (first.id, second.id, first.fps) == ("Walk_p02_r03_v05_c05", "Walk_p02_r03_v05_c05#1", None)
    assert (len(first), len(second), first.layout.name) == (50, 50, "lcrnet13")
    np.testing.assert_allclose(first.keypoints[[0, 4, 45, 49]], runner[[0, 4, 5, 9]], atol=1e-3)
    np.testing.assert_allclose(second.keypoints[:5], walker[:5], atol=1e-3)
    assert np.isnan(second.keypoints[5:]).all()


def test_toyota_smarthome_is_split_by_subject_and_camera():
    packed = packed_set(subject=[2, 3, 25, 18, 1], camera=[1, 2, 3, 5, 7])
    assert parts(toyota_smarthome.BENCHMARK, "cs", packed) == ([1, 2], [0, 3, 4])
    assert parts(toyota_smarthome.BENCHMARK, "cv1", packed) == ([0], [1])
    assert parts(toyota_smarthome.BENCHMARK, "cv2", packed) == ([0, 2, 4], [1])
    protocols = toyota_smarthome.BENCHMARK.protocols
    assert {protocol.metric for protocol in protocols} == {"mean_class"}
    assert [None if p.classes is None else len(p.classes) for p in protocols] == [None, 19, 19]
    with pytest.raises(TmorError, match="set 'made_up' has no column 'camera', which this protocol goes by"):
        toyota_smarthome.BENCHMARK.protocol("cv1").folds(packed_set(subject=[1]))


# ---- UAV-Human and NTU RGB+D


def skeleton_text(bodies: dict[str, dict[int, np.ndarray]], frames: int) -> str:
    """Per body: frame -> (joints, 3)."""
    lines = [str(frames)]
    for t in range(frames):
        there = {id: points[t] for id, points in bodies.items() if t in points}
        lines.append(str(len(there)))
        for id, points in there.items():
            lines += [f"{id} 0 1 1 1 1 0 -0.07 -0.03 2", str(len(points))]
            lines += [f"{x:.6f} {y:.6f} {z:.6f} 277.2 191.7 1036.2 519.4 -0.2 0.03 0.9 -0.1 2" for x, y, z in points]
    return "\n".join(lines) + "\n"


def at(points: np.ndarray, start: int = 0) -> dict[int, np.ndarray]:
    return dict(enumerate(points, start))


def test_uav_human(tmp_path):
    folder = tmp_path / "Skeleton"
    folder.mkdir()
    name = "P070S01G10B00H10UC102000LC092000A{action:03}R{r}_09131758.txt"
    still, slow, fast = (body(310, "coco17", motion=m, tall=2, seed=i) for i, m in enumerate((0.0, 0.1, 0.5)))
    for points in (still, slow, fast):
        points[:, 0, 1] = 3  # the nose is up
    many = {"0": at(still), "1": at(slow), "2": at(fast), "3": at(fast[:5], 305)}
    (folder / name.format(action=0, r=0)).write_text(skeleton_text(many, 310))
    (folder / name.format(action=154, r=12)).write_text(skeleton_text({"0": at(slow[:3])}, 3))
    (folder / name.format(action=155, r=1)).write_text(skeleton_text({"0": at(slow[:3])}, 3))
    (folder / name.format(action=1, r=1)).write_text(skeleton_text({}, 2))
    (folder / name.format(action=2, r=1)).write_text(skeleton_text({"0": at(slow[:3])}, 3)[:-40])
    (folder / name.format(action=3, r=1)).write_text(skeleton_text({"0": at(slow[:3] * (1, 1, 0))}, 3))
    (folder / name.format(action=4, r=1)).write_text(skeleton_text({"0": at(body(3, "ntu25"))}, 3))
    (folder / "readme.txt").write_text("hello")
    (first, last), skipped = read(uav_human.BENCHMARK, tmp_path)
    assert Counter(s.reason for s in skipped) == {
        "unknown class": 1,
        "no skeleton": 1,
        "unreadable": 2,
        "other dimensions": 1,
        "file name": 1,
    }
    assert (first.label, first.columns) == (0, {"subject": 70, "setup": 1, "replication": 0})
    assert (last.label, last.columns["replication"]) == (154, 12)
    assert [len(track) for track in first.tracks] == [300, 300]
    np.testing.assert_allclose(first.tracks[0].keypoints, fast[:300], atol=1e-5)
    np.testing.assert_allclose(first.tracks[1].keypoints, slow[:300], atol=1e-5)
    assert first.tracks[0].fps is None


def test_uav_human_has_89_training_subjects_of_119_in_both_protocols():
    packed = packed_set(subject=np.arange(119))
    first, rest = parts(uav_human.BENCHMARK, "csv1", packed)
    assert (len(first), len(rest)) == (89, 30)
    official = "1 3 4 9 22 23 24 31 41 54 58 60 66 72 74 75 91 92 93 94 95 96 97 99 101 104 107 108 109 113"
    assert rest == [int(subject) for subject in official.split()]
    second, rest = parts(uav_human.BENCHMARK, "csv2", packed)
    assert (len(second), len(rest)) == (89, 30)
    official = "1 2 7 9 13 15 17 23 25 27 28 33 34 41 42 48 50 51 53 55 58 65 68 76 82 85 90 98 105 116"
    assert rest == [int(subject) for subject in official.split()]


def ntu_file(root: Path, name: str, bodies: dict[str, dict[int, np.ndarray]], frames: int = 40) -> Path:
    path = root / f"{name}.skeleton"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(skeleton_text(bodies, frames))
    return path


def test_ntu_rgbd(tmp_path):
    early = tmp_path / "nturgb+d_skeletons"
    one, two, ghost, chair = (
        body(40, "ntu25", motion=m, tall=tall, seed=i)
        for i, (m, tall) in enumerate(((0.3, 2), (0.1, 2), (5, 2), (2, 1)))
    )
    bodies = {
        "11": at(one[:12], 3),
        "12": at(two[:30], 5),
        "13": at(ghost[:11], 4),  # too short
        "14": at(chair[:20], 4),  # wider than high
        "15": at(one[20:35], 20),  # the first again, after it was lost
    }
    ntu_file(early, "S001C002P003R002A060", bodies)
    ntu_file(early, "S001C001P001R001A001", {"7": at(chair[:10])}, 10)  # nobody else: kept though short and wide
    ntu_file(early, "S001C001P001R001A002", {}, 10)
    ntu_file(early, "S001C001P001R001A003", {"7": at(one)})
    ntu_file(early, "S001C001P001R001A004", {"7": at(one)}).write_text("3\n1\n")
    ntu_file(early, "S001C001P001R001", {"7": at(one)})
    ntu_file(tmp_path / "nturgb+d_skeletons120", "S018C003P008R001A061", {"7": at(one)})
    (tmp_path / "NTU_RGBD_samples_with_missing_skeletons.txt").write_text("302 samples:\nS001C001P001R001A003\n")
    (alone, pair), skipped = read(ntu_rgbd.NTU_60, tmp_path)
    assert [(s.id, s.reason) for s in skipped] == [
        ("S001C001P001R001.skeleton", "file name"),
        ("S001C001P001R001A002", "no skeleton"),
        ("S001C001P001R001A003", "no skeleton"),
        ("S001C001P001R001A004.skeleton", "unreadable"),
        ("S018C003P008R001A061", "not of this data set"),
    ]
    assert (alone.id, alone.label, len(alone.tracks), len(alone.tracks[0])) == ("S001C001P001R001A001", 0, 1, 10)
    assert pair.columns == {"setup": 1, "camera": 2, "subject": 3, "replication": 2}
    assert pair.label == 59
    first, second = pair.tracks
    assert (first.fps, first.start_s, len(first), len(second)) == (30.0, 0.0, 32, 32)  # frames 3 to 34
    np.testing.assert_allclose(first.keypoints[:12], one[:12], atol=1e-5)
    assert np.isnan(first.keypoints[12:17]).all()
    np.testing.assert_allclose(first.keypoints[17:], one[20:35], atol=1e-5)
    np.testing.assert_allclose(second.keypoints[2:], two[:30], atol=1e-5)
    assert np.isnan(second.keypoints[:2]).all()
    samples, _ = read(ntu_rgbd.NTU_120, tmp_path)
    assert (samples[-1].id, samples[-1].label) == ("S018C003P008R001A061", 60)


def test_an_ntu_sample_that_is_there_twice_is_an_error(tmp_path):
    points = at(body(12, "ntu25"))
    paths = [ntu_file(tmp_path / f"nturgb+d_skeletons{n}", "S001C001P001R001A001", {"7": points}, 12) for n in ("", 2)]
    with pytest.raises(TmorError) as error:
        read(ntu_rgbd.NTU_60, tmp_path)
    assert str(error.value) == f"{paths[1]}: sample 'S001C001P001R001A001' is there twice, also as {paths[0]}"


def test_two_persons_of_nobody_are_none():
    nobody = Track(np.full((3, 25, 3), np.nan), LAYOUTS["ntu25"], 30)
    assert ntu_rgbd.two_persons([nobody], id="a") == ()
    assert ntu_rgbd.two_persons([], id="a") == ()


def test_ntu_rgbd_is_split_by_subject_camera_and_setup():
    packed = packed_set(subject=np.arange(1, 107), camera=np.arange(106) % 3 + 1, setup=np.arange(106) % 32 + 1)
    train, _ = parts(ntu_rgbd.NTU_60, "xsub", packed)
    assert [i + 1 for i in train] == [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38]
    train, test = parts(ntu_rgbd.NTU_120, "xsub", packed)
    assert (len(train), len(test)) == (53, 53)
    official = "3 6 7 10 11 12 20 21 22 23 24 26 29 30 32 33 36 37 39 40 41 42 43 44 48 51 60 61 62 63 64 65 66 67 68"
    official += " 69 71 72 73 75 76 77 79 87 88 90 96 99 101 102 104 105 106"
    assert [i + 1 for i in test] == [int(subject) for subject in official.split()]
    train, test = parts(ntu_rgbd.NTU_60, "xview", packed)
    assert {int(packed.columns["camera"][i]) for i in train} == {2, 3}
    assert {int(packed.columns["camera"][i]) for i in test} == {1}
    assert len(train) + len(test) == 106
    train, test = parts(ntu_rgbd.NTU_120, "xset", packed)
    assert all(packed.columns["setup"][i] % 2 == 0 for i in train)
    assert len(train) == len(test) == 53


def test_the_unseen_classes_of_synse():
    sizes = {
        f"{benchmark.name} {protocol.name}": len(protocol.unseen)
        for benchmark in (ntu_rgbd.NTU_60, ntu_rgbd.NTU_120)
        for protocol in benchmark.protocols
        if protocol.unseen
    }
    assert sizes == {
        "ntu60 synse-55/5": 5,
        "ntu60 synse-48/12": 12,
        "ntu120 synse-110/10": 10,
        "ntu120 synse-96/24": 24,
    }
    assert ntu_rgbd.NTU_60.protocol("synse-55/5").unseen == (
        *("reading", "writing", "put on a hat/cap", "jump up"),
        "touch other person's pocket",
    )


def test_published_zero_shot_figures_are_of_the_held_out_classes():
    zero = {"top1": 1.0, "chance": 1.0, "shared": {}, "top1_unseen": None, "held_out": 55.0}
    zero |= {"generalised": {"seen": 1.0, "unseen": 1.0, "harmonic_mean": 1.0}}
    ours = [row[1] for row in result_rows([{"benchmark": "ntu60", "zero-shot": zero}]) if row[2] == "55.0"]
    published = {p.measure for name in ("synse-55/5", "synse-48/12") for p in ntu_rgbd.NTU_60.protocol(name).published}
    assert list(published) == ours


def test_one_shot_learns_from_one_exemplar_per_novel_class():
    novel = list(range(0, 115, 6))
    assert [ntu_rgbd.CLASSES.index(name) for name in ntu_rgbd.NOVEL] == novel
    assert len(novel) == 20
    others = [(4, 1, 3, 8, 1), (0, 2, 3, 8, 1), (0, 1, 2, 8, 1), (60, 1, 3, 8, 1), (114, 18, 3, 8, 2)]
    rows = [(a, 1 if a < 55 else 18, 3, 8, 1) for a in novel] + others
    labels, setup, camera, subject, replication = zip(*rows, strict=True)
    columns = {"setup": setup, "camera": camera, "subject": subject, "replication": replication}
    packed = packed_set(class_names=ntu_rgbd.CLASSES, labels=labels, **columns)
    train, test = parts(ntu_rgbd.NTU_120, "one-shot", packed)
    assert (train, test) == (list(range(20)), [21, 22, 23, 24])  # 20 is not of a novel class
    columns = {key: column[1:] for key, column in columns.items()}
    packed = packed_set(class_names=ntu_rgbd.CLASSES, labels=labels[1:], **columns)
    with pytest.raises(TmorError, match="set 'made_up' holds 0 samples S001C003P008R001A001; expected one"):
        ntu_rgbd.NTU_120.protocol("one-shot").folds(packed)


# ---- JHMDB


def jhmdb_root(root: Path) -> Path:
    """Two clips of ``clap``, one of ``wave``; the other classes have none."""
    (root / "splits").mkdir()
    for name in jhmdb.CLASSES:
        for split in (1, 2, 3):
            lines = {"clap": f"first!.avi 1\nsecond.avi {1 if split == 3 else 2} \n", "wave": "third.avi 2\n"}
            (root / "splits" / f"{name}_test_split{split}.txt").write_text(lines.get(name, "\n"))
    for clip, frames in (("clap/first!", 3), ("clap/second", 1), ("wave/third", 15)):
        folder = root / "joint_positions" / clip
        folder.mkdir(parents=True)
        world = np.arange(30.0 * frames).reshape(2, 15, frames)
        savemat(folder / "joint_positions.mat", {"pos_world": world, "pos_img": world, "scale": np.ones((1, frames))})
    (root / "joint_positions" / "clap" / ".AppleDouble").mkdir()
    return root


def test_jhmdb(tmp_path):
    root = jhmdb_root(tmp_path)
    samples, skipped = read(jhmdb.BENCHMARK, root)
    assert skipped == []
    assert [(s.id, s.label, list(s.columns.values())) for s in samples] == [
        ("clap/first!", 2, [True, True, True]),
        ("clap/second", 2, [False, False, True]),
        ("wave/third", 20, [False, False, False]),
    ]
    assert list(samples[0].columns) == ["is_train_1", "is_train_2", "is_train_3"]
    (track,) = samples[0].tracks
    assert (track.layout.name, track.dims, track.fps, len(track)) == ("jhmdb15", 2, None, 3)
    assert track.keypoints[2, 4].tolist() == [4 * 3 + 2, 45 + 4 * 3 + 2]
    assert len(samples[1].tracks[0]) == 1


def test_jhmdb_counts_what_the_splits_and_the_folders_disagree_about(tmp_path):
    root = jhmdb_root(tmp_path)
    (root / "joint_positions" / "clap" / "second" / "joint_positions.mat").write_bytes(b"MATLAB 5.0")
    (root / "joint_positions" / "wave" / "third").rename(root / "joint_positions" / "wave" / "fourth")
    samples, skipped = read(jhmdb.BENCHMARK, root)
    assert [sample.id for sample in samples] == ["clap/first!"]
    assert [(s.id, s.reason) for s in skipped] == [
        ("joint_positions.mat", "unreadable"),
        ("wave/fourth", "in no split"),
        ("wave/third", "no joint positions"),
    ]
    assert str(root / "joint_positions" / "clap" / "second") in skipped[0].detail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, ": there is no such file"),
        ("first!.avi 3\n", ", line 1: 'first!.avi 3'; expected CLIP.avi 1 or CLIP.avi 2"),
        ("1\n", ", line 1: '1'; expected CLIP.avi 1 or CLIP.avi 2"),
        ("first!.avi 1\nfirst!.avi 2\n", ", line 2: names clip 'first!' twice"),
        ("first!.avi 1\n", ": clip 'second' is in this list or that of split 1 alone; expected both"),
    ],
)
def test_jhmdb_splits_with_a_mistake(tmp_path, text, message):
    path = jhmdb_root(tmp_path) / "splits" / "clap_test_split2.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(FormatError) as error:
        read(jhmdb.BENCHMARK, tmp_path)
    assert str(error.value) == f"{path}{message}"


@pytest.mark.shared
def test_jhmdb_has_three_folds_in_both_kinds_of_packed_sets(tmp_path, shared_data):
    folds = jhmdb.BENCHMARK.protocol("official").folds(read_packed(shared_data / "jhmdb" / "jhmdb.npz"))
    assert [(int(f.train.sum()), int(f.test.sum())) for f in folds] == [(433, 176), (433, 176), (434, 175)]
    packed = packed_set(is_train_1=[True, False], is_train_2=[False, True], is_train_3=[True, True])
    folds = jhmdb.BENCHMARK.protocol("official").folds(packed)
    assert [(f.name, f.train.tolist()) for f in folds] == [
        ("split 1", [True, False]),
        ("split 2", [False, True]),
        ("split 3", [True, True]),
    ]


# ---- all together


def test_official_files_become_a_packed_set_that_has_its_folds(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    jhmdb_root(root)
    prepared = prepare(jhmdb.BENCHMARK, root, tmp_path / "out")
    assert (prepared.samples, prepared.reasons, prepared.published) == (3, {}, 928)
    packed = read_packed(prepared.path)
    assert (packed.ids[0], packed.fps, packed.class_names) == ("clap/first!", None, jhmdb.CLASSES)
    folds = jhmdb.BENCHMARK.protocol(None).folds(packed)
    assert [fold.train.tolist() for fold in folds] == [[True, False, False]] * 2 + [[True, True, False]]
    folder = root / "nturgb+d_skeletons"
    for subject, bodies in ((1, 1), (3, 2)):
        people = {str(b): at(body(20, "ntu25", tall=2, seed=b), 3) for b in range(bodies)}
        ntu_file(folder, f"S001C002P{subject:03}R001A001", people, 30)
    ntu_file(folder, "S001C002P004R001A001", {}, 5)
    prepared = prepare(ntu_rgbd.NTU_60, root, tmp_path / "ntu")
    assert (prepared.samples, prepared.reasons) == (2, {"no skeleton": 1})
    packed = read_packed(prepared.path)
    assert [[len(track) for track in packed.tracks(i)] for i in range(2)] == [[20], [20, 20]]
    assert parts(ntu_rgbd.NTU_60, "xsub", packed) == ([0], [1])
    with pytest.raises(TmorError, match="not the root folder of UAV-Human: expected Skeleton inside it; it holds "):
        prepare(uav_human.BENCHMARK, root, tmp_path / "uav")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("names", "file"),
    [
        (penn_action.CLASSES, "penn_action_15"),
        (toyota_smarthome.CLASSES, "smarthome_31_cs"),
        (toyota_smarthome.CV_CLASSES, "smarthome_19_cv"),
        (uav_human.CLASSES, "uav_human_155"),
        (ntu_rgbd.CLASSES, "ntu120"),
        (ntu_rgbd.CLASSES[:60], "ntu60"),
        (jhmdb.CLASSES, "jhmdb_21"),
    ],
)
def test_classes_are_the_official_ones_in_their_order(shared_data, names, file):
    with (shared_data / "labels" / f"{file}.csv").open(encoding="utf-8", newline="") as text:
        assert [row["name"] for row in csv.DictReader(text)] == list(names)


# --- NW-UCLA ---------------------------------------------------------------------------------------------------------


def test_copies_of_training_samples_can_be_left_out_of_the_test(tmp_path):
    tracks = [sample_track("squat", seed=n) for n in range(4)]
    view = {"is_train_xview": np.array([True, True, True, False, False])}
    write_packed(tmp_path / "nw_ucla.npz", [*tracks, tracks[1]], labels=["squat"] * 5, columns=view)
    packed = read_packed(tmp_path / "nw_ucla.npz")
    official, honest = (protocol.folds(packed)[0] for protocol in NW_UCLA.protocols)
    assert official.train.tolist() == honest.train.tolist() == [True] * 3 + [False] * 2
    assert official.test.tolist() == [False] * 3 + [True] * 2
    assert honest.test.tolist() == [False] * 3 + [True, False]


@pytest.mark.shared
def test_nw_ucla_holds_95_copies(shared_data):
    packed = read_packed(shared_data / "nw_ucla" / "nw_ucla.npz")
    official, honest = (protocol.folds(packed)[0] for protocol in NW_UCLA.protocols)
    assert (official.test.sum(), honest.test.sum()) == (464, 369)
