"""TSU, Charades, PKU-MMD and HumanML3D: their official files in small, written here in the exact real format."""

import csv
import gzip
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmor.downstream.benchmarks import charades, humanml3d, pku_mmd, tsu
from tmor.downstream.benchmarks.prepare import prepare
from tmor.downstream.benchmarks.protocol import Benchmark, Sample, Skipped
from tmor.errors import FormatError
from tmor.skeleton.formats import PackedSet, read_packed, write_tracks
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track


def read(benchmark: Benchmark, root: Path) -> tuple[dict[str, Sample], list[Skipped]]:
    assert benchmark.raw is not None
    found = list(benchmark.raw.read(root))
    samples = [f for f in found if isinstance(f, Sample)]
    assert len({sample.id for sample in samples}) == len(samples)
    return {sample.id: sample for sample in samples}, [f for f in found if isinstance(f, Skipped)]


def reasons(skipped: list[Skipped]) -> dict[str, str]:
    return {skip.id: skip.reason for skip in skipped}


def fails(benchmark: Benchmark, root: Path, message: str) -> None:
    with pytest.raises(FormatError) as error:
        read(benchmark, root)
    assert str(error.value) == message


def packed(benchmark: Benchmark, root: Path, out: Path) -> PackedSet:
    return read_packed(prepare(benchmark, root, out).path)


def parts(benchmark: Benchmark, data: PackedSet, protocol: str) -> tuple[list[str], list[str]]:
    (fold,) = benchmark.protocol(protocol).folds(data)
    ids = np.array(data.ids)
    return sorted(ids[fold.train]), sorted(ids[fold.test])


def names_of(path: Path) -> tuple[str, ...]:
    return tuple(row["name"] for row in csv.DictReader(path.open(encoding="utf-8")))


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def body(frames: int, layout: str = "coco17", dims: int = 2, seed: int = 0) -> np.ndarray:
    """(frames, joints, dims) of a body about 100 units large that walks one unit a frame."""
    start = np.random.default_rng(seed).uniform(50, 150, size=(1, len(LAYOUTS[layout]), dims))
    return (start + np.arange(frames)[:, None, None]).astype(np.float32)


def lcrnet(points: np.ndarray) -> dict[str, Any]:
    """A person of Smarthome's JSON from (13, 2) pixels."""
    return {"pose2d": points.T.reshape(-1).tolist(), "pose3d": [0.0] * 39}


@pytest.mark.shared
def test_class_names_are_the_official_ones(shared_data):
    labels = shared_data / "labels"
    assert names_of(labels / "tsu_51.csv") == tsu.CLASSES
    assert names_of(labels / "charades_157.csv") == charades.CLASSES
    assert names_of(labels / "pku_mmd_51.csv") == pku_mmd.CLASSES
    for benchmark in (tsu.BENCHMARK, charades.BENCHMARK, pku_mmd.BENCHMARK, humanml3d.BENCHMARK):
        assert benchmark.raw is not None
        assert len(set(benchmark.raw.class_names)) == len(benchmark.raw.class_names)
        assert benchmark.raw.layout in LAYOUTS


# ---- Toyota Smarthome Untrimmed


def tsu_entry(subset: str = "training", duration: int = 40, actions: Any = ((0, 2, 10), (50, 5, 40))) -> dict[str, Any]:
    return {"subset": subset, "duration": duration, "actions": [list(action) for action in actions]}


def tsu_root(root: Path, videos: dict[str, Any], *, cv: dict[str, Any] | None = None) -> Path:
    """Subject and camera parts as the rules have them; ``cv`` differs where it has an entry."""
    (root / "skeletons").mkdir(parents=True)
    cs, both = {}, {}
    for id, entry in videos.items():
        cs[id] = entry | {"subset": "training" if int(id[1:3]) in tsu.TRAIN_SUBJECTS else "testing"}
        both[id] = entry | {"subset": "training" if int(id[-2:]) in tsu.TRAIN_CAMERAS else "testing"}
    write_json(root / "smarthome_CS_51.json", cs)
    write_json(root / "smarthome_CV_51.json", both | (cv or {}))
    return root


def test_tsu(tmp_path):
    root = tsu_root(tmp_path / "tsu", {id: tsu_entry() for id in ("P03T01C02", "P02T11C03", "P02T01C05")})
    points = body(20, "lcrnet13")
    people = [[lcrnet(frame)] for frame in points]
    people[0] = people[19] = []  # nobody is there when the video begins and ends
    write_json(root / "skeletons" / "P03T01C02.json", {"frames": people})
    write_tracks(root / "skeletons" / "P02T11C03.npz", [Track(body(40), LAYOUTS["coco17"], None)])
    write_tracks(root / "skeletons" / "P02T01C05.npz", [Track(body(10), LAYOUTS["coco17"], 10.0, start_s=0.5)])
    samples, skipped = read(tsu.BENCHMARK, root)
    assert skipped == []
    assert list(samples) == ["P03T01C02", "P02T11C03", "P02T01C05"]
    first = samples["P03T01C02"]
    assert first.segments == ((0, 0.1, 0.5), (50, 0.25, 2.0))
    assert first.label == -1
    assert first.columns == {"subject": 3, "camera": 2, "is_train_cs": True, "is_train_cv": False, "duration_s": 2.0}
    for sample, frames, fps in zip(samples.values(), (20, 40, 20), (10.0, 20.0, 10.0), strict=True):
        (track,) = sample.tracks
        assert (len(track), track.fps, track.start_s, track.layout.name) == (frames, fps, 0.0, "unik17")
        assert len(track) / fps == sample.columns["duration_s"]
    np.testing.assert_allclose(first.tracks[0].to("lcrnet13").keypoints[1:19], points[1:19], rtol=1e-6)
    seen = [~np.isnan(sample.tracks[0].keypoints).all(axis=(1, 2)) for sample in samples.values()]
    assert [np.flatnonzero(own)[[0, -1]].tolist() for own in seen] == [[1, 18], [0, 39], [5, 14]]

    data = packed(tsu.BENCHMARK, root, tmp_path / "out")
    assert data.class_names == tsu.CLASSES
    assert data.segments_s is not None
    assert data.segments_s[:2].tolist() == [[0, 0, 0.1, 0.5], [0, 50, 0.25, 2.0]]
    assert parts(tsu.BENCHMARK, data, "official") == (["P03T01C02"], ["P02T01C05", "P02T11C03"])
    assert parts(tsu.BENCHMARK, data, "cv") == (["P02T11C03"], ["P02T01C05", "P03T01C02"])


def test_tsu_frame_labels_are_those_of_the_official_rule(tmp_path):
    rng = np.random.default_rng(0)
    frames, duration = 37, 1480
    rows = [(int(c), int(s), int(s + d)) for c, s, d in rng.integers((0, 0, 40), (51, 1400, 400), size=(30, 3))]
    rows += [(7, 40, 80), (8, 0, 40)]  # bounds on a feature: 40 frames a feature
    root = tsu_root(tmp_path, {"P02T01C05": tsu_entry(duration=duration, actions=rows)})
    write_json(root / "skeletons" / "P02T01C05.json", {"frames": [[lcrnet(p)] for p in body(frames, "lcrnet13")]})
    sample = read(tsu.BENCHMARK, root)[0]["P02T01C05"]
    fps = sample.tracks[0].fps
    assert fps is not None
    official, ours = np.zeros((2, frames, 51), dtype=bool)
    for i in range(frames):
        for label, start, end in rows:
            official[i, label] |= start < i / (frames / duration) < end
        for label, start, end in sample.segments:
            ours[i, label] |= start < i / fps < end
    np.testing.assert_array_equal(ours, official)


def test_tsu_segments_that_are_positive_nowhere_are_left_out(tmp_path):
    rows = [(0, 2, 10), (1, 10, 2), (2, 40, 50), (3, 5, 5), (51, 0, 5), (0.5, 0, 5), (4, -3, 5), (5, 30, 90)]
    root = tsu_root(tmp_path, {"P02T01C05": tsu_entry(actions=rows)})
    write_tracks(root / "skeletons" / "P02T01C05.npz", [Track(body(40), LAYOUTS["coco17"], None)])
    samples, skipped = read(tsu.BENCHMARK, root)
    assert samples["P02T01C05"].segments == ((0, 0.1, 0.5), (5, 1.5, 4.5))
    assert reasons(skipped) == {
        "P02T01C05 segment 2": "segment that does not end after it begins",
        "P02T01C05 segment 3": "segment outside the video",
        "P02T01C05 segment 4": "segment that does not end after it begins",
        "P02T01C05 segment 5": "segment of an unknown class",
        "P02T01C05 segment 6": "segment of an unknown class",
        "P02T01C05 segment 7": "segment outside the video",
    }
    assert skipped[0].detail == "class 1 from 0.5 to 0.1 s of 2 s"


def test_tsu_keeps_two_persons_and_joins_those_who_come_back(tmp_path, caplog):
    layout = LAYOUTS["coco17"]
    tracks = [
        Track(body(3, seed=1), layout, 20.0, start_s=0.0),  # a passer-by, when two others are there
        Track(body(10, seed=2), layout, 20.0, start_s=0.0),
        Track(body(8, seed=3), layout, 20.0, start_s=0.0),
        Track(body(20, seed=4), layout, 20.0, start_s=1.0),
        Track(body(9, seed=5), layout, 20.0, start_s=1.5),
    ]
    root = tsu_root(tmp_path, {"P02T01C05": tsu_entry()})
    write_tracks(root / "skeletons" / "P02T01C05.npz", tracks)
    with caplog.at_level(logging.INFO, logger="tmor"):
        sample = read(tsu.BENCHMARK, root)[0]["P02T01C05"]
    assert [track.id for track in sample.tracks] == ["P02T01C05", "P02T01C05#1"]
    spans = [np.flatnonzero(~np.isnan(track.keypoints).all(axis=(1, 2))).tolist() for track in sample.tracks]
    assert spans == [[*range(10), *range(20, 40)], [*range(8), *range(30, 39)]]
    assert f"{root / 'skeletons' / 'P02T01C05.npz'}: left out 1 tracks beside 2 others" in caplog.messages


def test_tsu_what_cannot_be_used_is_skipped(tmp_path):
    ids = ("P02T01C05", "P02T02C05", "P02T03C05", "P02T04C05", "P02T05C05", "P02T06C05", "P02T07C05", "P02T08C05")
    videos = {id: tsu_entry() for id in ids}
    videos["P02T04C05"]["duration"] = 0
    videos["P02T05C05"]["actions"] = [[0, 1]]
    videos["P02T06C05"]["actions"] = {"0": [1, 2]}
    root = tsu_root(tmp_path, videos | {"P02T10C05a05": tsu_entry()}, cv={"P02T09C05": tsu_entry()})
    poses = root / "skeletons"
    track = Track(body(40), LAYOUTS["coco17"], 20.0)
    (poses / "P02T02C05.json").write_text('{"frames": [[{"pose2d": [1, 2')
    write_tracks(poses / "P02T03C05.npz", [track])
    (poses / "P02T03C05.json").write_text("{}")
    for id in ids[3:6]:
        write_tracks(poses / f"{id}.npz", [track])
    write_tracks(poses / "P02T07C05.npz", [Track(body(40), LAYOUTS["coco17"], 5.0)])
    write_tracks(poses / "P02T08C05.npz", [track, Track(body(40), LAYOUTS["coco17"], 25.0)])
    (poses / ".DS_Store").write_text("")
    samples, skipped = read(tsu.BENCHMARK, root)
    assert samples == {}
    assert reasons(skipped) == {
        "P02T01C05": "no pose file",
        "P02T02C05.json": "unreadable",
        "P02T03C05": "several pose files",
        "P02T04C05": "unreadable",
        "P02T05C05": "unreadable",
        "P02T06C05": "unreadable",
        "P02T07C05.npz": "unreadable",
        "P02T08C05.npz": "unreadable",
        "P02T09C05": "not in both splits",
        "P02T10C05a05": "unreadable",
    }
    details = {skip.id: skip.detail for skip in skipped}
    assert details["P02T03C05"] == "P02T03C05.json, P02T03C05.npz"
    assert details["P02T04C05"] == "P02T04C05: lasts 0; expected a positive number"
    assert details["P02T05C05"] == "P02T05C05, action 1, has 2 numbers; expected class, start, end"
    assert details["P02T06C05"] == "P02T06C05: actions is dict; expected a list of [class, start, end]"
    assert details["P02T07C05.npz"].endswith("a track lasts from 0 to 8 s; the video lasts 2 s")
    assert details["P02T09C05"] == "not in smarthome_CS_51.json"
    assert details["P02T10C05a05"] == "video 'P02T10C05a05'; expected a name such as P11T15C01"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"subset": "validation"}, "subset is validation; expected training or testing"),
        ({"duration": "long"}, "duration is list ['long']; expected a flat list of numbers"),
        ({"duration": None}, "lasts nan; expected a positive number"),
        ({"actions": [[0, 1, 1e400]]}, "action 1, holds an infinite number"),
    ],
)
def test_tsu_damaged_entries(tmp_path, change, detail):
    root = tsu_root(tmp_path, {"P02T01C05": tsu_entry()})
    write_json(root / "smarthome_CS_51.json", {"P02T01C05": tsu_entry() | change})
    samples, (skip,) = read(tsu.BENCHMARK, root)
    assert (samples, skip.id, skip.reason) == ({}, "P02T01C05", "unreadable")
    assert skip.detail.endswith(detail)


@pytest.mark.parametrize("fps", [1e308, 1e-308])
def test_tsu_absurd_rates(tmp_path, fps):
    root = tsu_root(tmp_path, {"P02T01C05": tsu_entry()})
    people = [[], *([lcrnet(p)] for p in body(3, "lcrnet13"))]
    write_json(root / "skeletons" / "P02T01C05.json", {"frames": people, "fps": fps})
    samples, (skip,) = read(tsu.BENCHMARK, root)
    assert (samples, skip.reason) == ({}, "unreadable")
    assert skip.detail.endswith(f": {fps:g} frames per second; expected a camera's rate")


def test_tsu_missing_files(tmp_path):
    root = tsu_root(tmp_path, {})
    (root / "skeletons").rmdir()
    fails(
        tsu.BENCHMARK,
        root,
        f"{root}: has no folder skeletons or json; expected one pose file per video in it",
    )
    (root / "json").mkdir()
    assert read(tsu.BENCHMARK, root) == ({}, [])
    (root / "smarthome_CV_51.json").write_text("[]")
    fails(
        tsu.BENCHMARK,
        root,
        f"{root / 'smarthome_CV_51.json'}: holds list; expected an object with one entry per video",
    )
    (root / "smarthome_CV_51.json").unlink()
    fails(tsu.BENCHMARK, root, f"{root / 'smarthome_CV_51.json'}: there is no such file")


@pytest.mark.shared
def test_tsu_official_annotation(tmp_path, shared_data, caplog):
    rows: dict[str, list[dict[str, str]]] = {}
    for split, name in (("cs", "smarthome_CS_51.json"), ("cv", "smarthome_CV_51.json")):
        with gzip.open(shared_data / "labels" / f"tsu_{split}_segments.csv.gz", "rt", encoding="utf-8") as file:
            rows[split] = list(csv.DictReader(file))
        content: dict[str, Any] = {}
        for row in rows[split]:
            entry = {"subset": row["subset"], "duration": int(row["duration"]), "actions": []}
            action = [int(row[key]) for key in ("class_id", "start", "end")]
            content.setdefault(row["video"], entry)["actions"].append(action)
        write_json(tmp_path / name, content)
    (tmp_path / "skeletons").mkdir()
    track = Track(body(1), LAYOUTS["coco17"], None)
    for id in content:
        write_tracks(tmp_path / "skeletons" / f"{id}.npz", [track])
    with caplog.at_level(logging.WARNING, logger="tmor"):
        samples, skipped = read(tsu.BENCHMARK, tmp_path)
    # Not one of the 536 videos disagrees with the rules by subject and camera.
    assert not [message for message in caplog.messages if "not in the part" in message]
    for flag, column, train in (
        ("is_train_cs", "subject", tsu.TRAIN_SUBJECTS),
        ("is_train_cv", "camera", tsu.TRAIN_CAMERAS),
    ):
        assert all(s.columns[flag] == (s.columns[column] in train) for s in samples.values())
    assert Counter(s.columns["is_train_cs"] for s in samples.values()) == {True: 351, False: 185}
    assert Counter(s.columns["is_train_cv"] for s in samples.values()) == {True: 369, False: 167}
    # Seven segments end in the frame in which they begin.
    assert [skip.reason for skip in skipped] == ["segment that does not end after it begins"] * 7
    segments = [(id, *segment) for id, sample in samples.items() for segment in sample.segments]
    assert len(segments) + len(skipped) == 41_288
    frames = Counter((id, label, start * tsu.FPS, end * tsu.FPS) for id, label, start, end in segments)
    official = Counter((r["video"], int(r["class_id"]), float(r["start"]), float(r["end"])) for r in rows["cs"])
    assert all(count <= official[row] for row, count in frames.items())


def test_tsu_odd_splits_are_reported(tmp_path, caplog):
    root = tsu_root(tmp_path, {"P03T01C01": tsu_entry()}, cv={"P03T01C01": tsu_entry("testing")})
    with caplog.at_level(logging.WARNING, logger="tmor"):
        read(tsu.BENCHMARK, root)
    expected = "smarthome_CV_51.json: 1 videos are not in the part of their camera: ['P03T01C01']"
    assert expected in caplog.messages


# ---- Charades

CHARADES_HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def charades_row(id: str, actions: str, length: float | str) -> str:
    script = '"A person, cooking on a stove, is ""busy""."'
    return f"{id},HR43,Kitchen,6,7,Yes,{script},food;stove,cooking,{actions},{length}\n"


def charades_root(root: Path, *, train: list[str], test: list[str]) -> Path:
    (root / "skeletons").mkdir(parents=True)
    (root / "Charades_v1_train.csv").write_text(CHARADES_HEADER + "".join(train))
    (root / "Charades_v1_test.csv").write_text(CHARADES_HEADER + "".join(test))
    return root


def test_charades(tmp_path):
    root = charades_root(
        tmp_path / "charades",
        train=[charades_row("46GP8", "c092 11.90 21.20;c147 0.00 12.60", 24.83), charades_row("N11GT", "", 18.33)],
        test=[charades_row("YSKX3", "c156 4.5 33.10", 32.0)],
    )
    for id, frames, fps in (("46GP8", 149, 6.0), ("N11GT", 50, None), ("YSKX3", 320, 10.0)):
        write_tracks(root / "skeletons" / f"{id}.npz", [Track(body(frames), LAYOUTS["coco17"], fps)])
    samples, skipped = read(charades.BENCHMARK, root)
    assert skipped == []
    assert list(samples) == ["YSKX3", "46GP8", "N11GT"]
    assert samples["46GP8"].segments == ((92, 11.9, 21.2), (147, 0.0, 12.6))
    assert samples["46GP8"].columns == {"is_train": True, "duration_s": 24.83}
    assert samples["N11GT"].segments == ()
    assert samples["YSKX3"].segments == ((156, 4.5, 33.1),)  # past the end, as in a third of the official ones
    assert samples["N11GT"].tracks[0].fps == 50 / 18.33
    assert samples["YSKX3"].tracks[0].fps == 10.0
    data = packed(charades.BENCHMARK, root, tmp_path / "out")
    assert parts(charades.BENCHMARK, data, "official") == (["46GP8", "N11GT"], ["YSKX3"])
    assert data.columns["duration_s"].tolist() == [32.0, 24.83, 18.33]


def test_charades_what_cannot_be_used_is_skipped(tmp_path):
    root = charades_root(
        tmp_path,
        train=[
            charades_row("AAAA1", "c092 11.90 21.20", 30),
            charades_row("TEST1", "", 30),
            charades_row("BBBB1", "c92 1 2", 30),
            charades_row("BBBB2", "c092 1 two", 30),
            charades_row("BBBB3", "c092 1 2", ""),
            charades_row("CCCC1", "c157 1 2;c003 5 4;c004 30 31;c005 nan 3;c006 1 2;c007 1 inf", 30),
            charades_row("DDDD1", "", 30),
        ],
        test=[charades_row("TEST1", "c001 1 2", 30), charades_row("TEST1", "c002 1 2", 30)],
    )
    poses = root / "skeletons"
    for id in ("TEST1", "CCCC1", "BBBB1"):
        write_tracks(poses / f"{id}.npz", [Track(body(300), LAYOUTS["coco17"], 10.0)])
    (poses / "DDDD1.npz").write_bytes((poses / "TEST1.npz").read_bytes()[:500])
    samples, skipped = read(charades.BENCHMARK, root)
    # Who is in both files is tested, and not trained on
    assert samples["TEST1"].columns["is_train"] is False
    assert samples["TEST1"].segments == ((1, 1.0, 2.0),)
    assert samples["CCCC1"].segments == ((6, 1.0, 2.0),)
    assert list(samples) == ["TEST1", "CCCC1"]
    assert [(skip.id, skip.reason) for skip in skipped] == [
        ("TEST1", "listed twice"),
        ("TEST1", "listed twice"),
        ("BBBB1", "unreadable"),
        ("BBBB2", "unreadable"),
        ("BBBB3", "unreadable"),
        ("CCCC1 segment 1", "segment of an unknown class"),
        ("CCCC1 segment 2", "segment that does not end after it begins"),
        ("CCCC1 segment 3", "segment outside the video"),
        ("CCCC1 segment 4", "segment that does not end after it begins"),
        ("CCCC1 segment 6", "segment outside the video"),
        ("AAAA1", "no pose file"),
        ("DDDD1.npz", "unreadable"),
    ]
    assert skipped[2].detail == "BBBB1: action 'c92 1 2'; expected such as 'c092 11.90 21.20'"
    assert skipped[3].detail == "BBBB2: could not convert string to float: 'two'; expected seconds"


def test_charades_missing_files(tmp_path):
    root = charades_root(tmp_path, train=[], test=[])
    (root / "skeletons").rmdir()
    fails(charades.BENCHMARK, root, f"{root / 'skeletons'}: there is no such folder")
    train = root / "Charades_v1_train.csv"
    train.write_text("id,actions\n46GP8,\n")
    fails(charades.BENCHMARK, root, f"{train}: has no column length; expected a header with id, actions, length")
    train.write_text(CHARADES_HEADER + charades_row("46GP8", "c" * 200_000, 3))
    fails(charades.BENCHMARK, root, f"{train}, after line 1: field larger than field limit (131072)")
    train.unlink()
    fails(charades.BENCHMARK, root, f"{train}: there is no such file")


@pytest.mark.shared
def test_charades_official_annotation(tmp_path, shared_data):
    videos: dict[str, tuple[str, str, list[str]]] = {}
    with gzip.open(shared_data / "labels" / "charades_segments.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            actions = videos.setdefault(row["video"], (row["subset"], row["duration"], []))[2]
            actions.append(f"c{int(row['class_id']):03} {row['start']} {row['end']}")
    rows = {"training": [], "testing": []}
    for id, (subset, length, actions) in videos.items():
        rows[subset].append(charades_row(id, ";".join(actions), length))
    root = charades_root(tmp_path, train=rows["training"], test=rows["testing"])
    samples, skipped = read(charades.BENCHMARK, root)
    assert samples == {}
    assert Counter(skip.reason for skip in skipped) == {
        "no pose file": 9625,  # the 223 without any action are not in the shared list
        "segment that does not end after it begins": 7,
    }


# ---- PKU-MMD


def pku_frames(frames: int, *, second: slice = slice(0, 0)) -> np.ndarray:
    """(frames, 2, 25, 3); the second person is there in ``second`` alone."""
    points = np.zeros((frames, 2, 25, 3))
    points[:, 0] = body(frames, "ntu25", 3) / 100
    points[second, 1] = body(frames, "ntu25", 3, seed=1)[second] / 100
    return points


def write_pku(path: Path, points: np.ndarray) -> None:
    """Lines as the official files have them: six digits, a space before every line but the first."""
    path.write_text("\n ".join(" ".join(f"{x:.6f}" for x in frame.reshape(-1)) for frame in points) + "\n")


def pku_root(root: Path, *, subject: tuple[str, str], view: tuple[str, str]) -> Path:
    for folder in ("skeleton", "label"):
        (root / folder).mkdir(parents=True)
    for name, (train, test) in (("cross-subject.txt", subject), ("cross-view.txt", view)):
        (root / name).write_text(f"Training videos: \n{train}\nValidataion videos: \n{test}\n")
    return root


def pku_video(root: Path, id: str, label: str = "1,3,33,2\n51,40,60,1\n", frames: int = 60) -> None:
    write_pku(root / "skeleton" / f"{id}.skeleton", pku_frames(frames, second=slice(30, 60)))
    (root / "label" / f"{id}.label").write_text(label)


def test_pku_mmd(tmp_path):
    root = pku_root(
        tmp_path / "pku", subject=("0002-L, 0002-M, ", "0003-L, 0003-M"), view=("0002-M, 0003-M", "0002-L, 0003-L")
    )
    for id in ("0002-L", "0002-M", "0003-L"):
        pku_video(root, id)
    write_pku(root / "skeleton" / "0003-M.txt", pku_frames(90))  # as the official files are called
    (root / "label" / "0003-M.txt").write_text("12,15,45,2\r\n")
    samples, skipped = read(pku_mmd.BENCHMARK, root)
    assert skipped == []
    assert list(samples) == ["0002-L", "0002-M", "0003-L", "0003-M"]
    first = samples["0002-L"]
    assert first.segments == ((0, 3 / 30, 33 / 30), (50, 40 / 30, 60 / 30))
    assert first.columns == {"is_train_xsub": True, "is_train_xview": False, "duration_s": 2.0}
    assert [track.id for track in first.tracks] == ["0002-L", "0002-L#1"]
    assert [(len(track), track.fps, track.layout.name) for track in first.tracks] == [(60, 30.0, "ntu25")] * 2
    expected = pku_frames(60, second=slice(30, 60))
    np.testing.assert_allclose(first.tracks[0].keypoints, expected[:, 0], atol=1e-6)
    assert np.isnan(first.tracks[1].keypoints[:30]).all()
    np.testing.assert_allclose(first.tracks[1].keypoints[30:], expected[30:, 1], atol=1e-6)
    assert len(samples["0003-M"].tracks) == 1
    assert samples["0003-M"].segments == ((11, 0.5, 1.5),)
    data = packed(pku_mmd.BENCHMARK, root, tmp_path / "out")
    assert (data.fps, data.layout.name, data.keypoints.shape) == (30.0, "ntu25", (270, 2, 25, 3))
    assert parts(pku_mmd.BENCHMARK, data, "cross-subject") == (["0002-L", "0002-M"], ["0003-L", "0003-M"])
    assert parts(pku_mmd.BENCHMARK, data, "cross-view") == (["0002-M", "0003-M"], ["0002-L", "0003-L"])


def test_pku_mmd_what_cannot_be_used_is_skipped(tmp_path):
    ids = [f"{i:04}-L" for i in range(2, 12)]
    root = pku_root(
        tmp_path,
        subject=(", ".join(ids), "0002-L, 0002-M, 0002-R"),
        view=(", ".join(ids), "0002-M, 0002-R, 0002-R"),
    )
    for id in (*ids, "0002-M", "0012-L"):
        pku_video(root, id)
    poses, labels = root / "skeleton", root / "label"
    text = (poses / "0004-L.skeleton").read_text()
    (poses / "0003-L.skeleton").write_text(text[:3000])
    (poses / "0004-L.skeleton").write_text(text.replace(".", "x", 1))
    (poses / "0005-L.skeleton").write_text(" \n")
    (poses / "0006-L.txt").write_text(text)
    (labels / "0007-L.label").unlink()
    (labels / "0008-L.label").write_text("0,3,33,2\n")
    (labels / "0009-L.label").write_text("1,3,33\n")
    (labels / "0010-L.label").write_text("1,3,33,2\n2,33,3,2\n3,60,70,1\n4,50,62,1\n")
    (labels / "0011-L.label").write_text("one,3,33,2\n")
    samples, skipped = read(pku_mmd.BENCHMARK, root)
    assert list(samples) == ["0002-L", "0002-M", "0010-L"]
    # Who is in both parts is tested, and not trained on
    assert samples["0002-L"].columns["is_train_xsub"] is False
    assert samples["0002-L"].columns["is_train_xview"] is True
    assert samples["0010-L"].segments == ((0, 0.1, 1.1), (3, 50 / 30, 62 / 30))
    found = {skip.id: (skip.reason, skip.detail.removeprefix(f"{root}/")) for skip in skipped}
    assert found == {
        "0002-L": ("listed twice", "in cross-subject.txt"),
        "0002-R": ("no pose file", ""),
        "0003-L": ("unreadable", found["0003-L"][1]),
        "0004-L": ("unreadable", found["0004-L"][1]),
        "0005-L": ("unreadable", "skeleton/0005-L.skeleton: has no frames"),
        "0006-L": ("several pose files", "0006-L.skeleton, 0006-L.txt"),
        "0007-L": ("no label file", ""),
        "0008-L": ("unreadable", "label/0008-L.label, line 1: class 0; expected 1 to 51"),
        "0009-L": ("unreadable", "label/0009-L.label, line 1: 3 numbers; expected class, start, end, confidence"),
        "0010-L segment 2": ("segment that does not end after it begins", "class 1 from 1.1 to 0.1 s of 2 s"),
        "0010-L segment 3": ("segment outside the video", "class 2 from 2 to 2.33333 s of 2 s"),
        "0011-L": ("unreadable", found["0011-L"][1]),
        "0012-L": ("not in both splits", "not in cross-subject.txt and cross-view.txt"),
    }
    assert found["0003-L"][1].endswith("numbers; expected 150")
    assert "could not convert string" in found["0004-L"][1]
    assert [skip.id for skip in skipped].count("0002-R") == 2  # listed twice, and absent


def test_pku_mmd_missing_files(tmp_path):
    root = pku_root(tmp_path, subject=("0002-L", "0002-M"), view=("0002-L", "0002-M"))
    split = root / "cross-view.txt"
    split.write_text("0002-L, 0002-M\n")
    fails(pku_mmd.BENCHMARK, root, f"{split}, line 1: '0002-L, 0002-M'; expected a header line before the names")
    split.write_text("Training videos:\n0002-L\n")
    fails(pku_mmd.BENCHMARK, root, f"{split}: 1 header lines; expected 2, before the training and the test names")
    split.unlink()
    fails(pku_mmd.BENCHMARK, root, f"{split}: there is no such file")
    split.write_text("Training videos:\n0002-L\nValidataion videos:\n0002-M\n")
    (root / "label").rmdir()
    fails(pku_mmd.BENCHMARK, root, f"{root / 'label'}: there is no such folder")


# ---- HumanML3D

TEXT = (
    "a person walks #1 forward.#a/DET person/NOUN walk/VERB forward/ADV#0.0#0.0\n"
    "then turns.#then/ADV turn/VERB#2.0#4.5\n"
    "and stops.#and/CCONJ stop/VERB#nan#nan\n"
)


def humanml3d_root(root: Path, **lists: list[str]) -> Path:
    for folder in ("new_joints", "texts"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val", "test"):
        (root / f"{split}.txt").write_text("".join(f"{id}\n" for id in lists[split]))
        for id in lists[split]:
            np.save(root / "new_joints" / f"{id}.npy", body(100, "smpl22", 3) / 100)
            (root / "texts" / f"{id}.txt").write_text(TEXT)
    return root


def test_humanml3d(tmp_path):
    root = humanml3d_root(
        tmp_path / "h", train=["000021", "M000021"], val=["000003"], test=["000001", "M000001", "014457"]
    )
    samples, skipped = read(humanml3d.BENCHMARK, root)
    assert skipped == []
    assert list(samples) == ["000001", "M000001", "014457", "000003", "000021", "M000021"]
    sample = samples["M000001"]
    assert sample.captions == (
        ("a person walks #1 forward.", None, None),
        ("then turns.", 2.0, 4.5),
        ("and stops.", None, None),
    )
    assert sample.columns == {"is_test": True, "is_val": False, "is_train": False, "is_mirrored": True}
    assert (sample.label, sample.segments) == (-1, ())
    (track,) = sample.tracks
    assert (len(track), track.fps, track.layout.name, track.id) == (100, 20.0, "smpl22", "M000001")
    np.testing.assert_array_equal(track.keypoints, body(100, "smpl22", 3) / np.float32(100))
    data = packed(humanml3d.BENCHMARK, root, tmp_path / "out")
    train, test = parts(humanml3d.BENCHMARK, data, "official")
    assert (train, test) == (["000021", "M000021"], ["000001", "014457", "M000001"])
    captions = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert captions[1] == {"seq_id": "000001", "start_s": 2.0, "end_s": 4.5, "text": "then turns."}


def npy(header: str) -> bytes:
    """A .npy with this header and 800 bytes of data."""
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n" + bytes(800)


def test_humanml3d_what_cannot_be_used_is_skipped(tmp_path):
    root = humanml3d_root(
        tmp_path,
        train=["000001", "000010", "000011", "000012", "000013", "000014", "000015", "000016", "000017", "000018"],
        val=["000030", "000031"],
        test=["000001", "000002", "000003", "000004", "000004"],
    )
    motions, texts = root / "new_joints", root / "texts"
    (motions / "000002.npy").unlink()
    (texts / "000003.txt").unlink()
    np.save(motions / "000010.npy", np.zeros((100, 263), dtype=np.float32))
    (motions / "000011.npy").write_bytes((motions / "000004.npy").read_bytes()[:1000])
    np.save(motions / "000012.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    # A header that promises terabytes
    (motions / "000013.npy").write_bytes(
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 22, 3), }")
    )
    (motions / "000014.npy").write_bytes(npy("(" * 3000))
    (motions / "000015.npy").write_bytes(b"PK\x03\x04")
    (texts / "000016.txt").write_text("a person walks.#0.0#0.0\n")
    (texts / "000017.txt").write_text("a person walks.#a/DET#4.5#2.0\n")
    (texts / "000018.txt").write_text("\n")
    np.save(motions / "000030.npy", np.full((10, 22, 3), np.inf))
    (texts / "000031.txt").write_bytes(b"caf\xe9#a/DET#0.0#0.0\n")
    samples, skipped = read(humanml3d.BENCHMARK, root)
    # Who is listed as test and as training is tested, and not trained on
    assert list(samples) == ["000001", "000004"]
    assert samples["000001"].columns["is_test"] is True
    found = {skip.id: (skip.reason, skip.detail) for skip in skipped}
    assert found["000001"] == ("listed twice", "in test.txt and train.txt")
    assert found["000002"] == ("no motion", str(motions / "000002.npy"))
    assert found["000003"] == ("no captions", str(texts / "000003.txt"))
    assert found["000004"] == ("listed twice", "in test.txt and test.txt")
    unreadable = {id: detail for id, (reason, detail) in found.items() if reason == "unreadable"}
    assert list(unreadable) == [f"0000{i}.npy" for i in (30, 31, *range(10, 19))]
    expected = "has shape (100, 263) and type float32; expected (frames, 22, 3) float"
    assert unreadable["000010.npy"] == f"{motions / '000010.npy'}: {expected}"
    assert "Python objects" in unreadable["000012.npy"]
    assert "mmap length is greater than file size" in unreadable["000013.npy"]
    assert unreadable["000015.npy"] == f"{motions / '000015.npy'}: is no .npy file"
    where = f"{texts / '000016.txt'}, line 1"
    assert unreadable["000016.npy"] == f"{where}: 'a person walks.#0.0#0.0'; expected caption#tokens#start#end"
    assert unreadable["000017.npy"].endswith("lasts from 4.5 to 2 s; expected start < end, or 0 and 0")
    assert unreadable["000018.npy"] == f"{texts / '000018.txt'}: holds no caption"


def test_humanml3d_missing_files(tmp_path):
    root = humanml3d_root(tmp_path, train=["000001"], val=["000002"], test=["000003"])
    (root / "train.txt").write_text("../../secret\n")
    fails(
        humanml3d.BENCHMARK,
        root,
        f"{root / 'train.txt'}: '../../secret' is no id; expected such as 000021 or M000021",
    )
    (root / "val.txt").unlink()
    fails(humanml3d.BENCHMARK, root, f"{root / 'val.txt'}: there is no such file")
