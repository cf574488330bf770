"""What all benchmarks share: preparing, splitting, long recordings, and the packed sets that come with a protocol."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmor.downstream.benchmarks import (
    BENCHMARKS,
    benchmark_of,
    charades,
    find_benchmark,
    ntu_rgbd,
    packed_file,
    penn_action,
    toyota_smarthome,
    tsu,
    uav_human,
)
from tmor.downstream.benchmarks.labelled import LabelledSet, read_labelled
from tmor.downstream.benchmarks.prepare import prepare
from tmor.downstream.benchmarks.protocol import (
    Benchmark,
    Fold,
    Protocol,
    Raw,
    Sample,
    Skipped,
    by_column,
    by_flag,
    files_in,
    leave_one_out,
    sample_per_file,
)
from tmor.downstream.benchmarks.untrimmed import UntrimmedSet, joined, read_untrimmed
from tmor.errors import FormatError, LayoutError, TmorError
from tmor.posecap.captions import describe
from tmor.skeleton.formats import PackedSet, read_packed
from tmor.skeleton.formats.files import read_text
from tmor.skeleton.layouts import LAYOUTS, UNIK17
from tmor.skeleton.tracks import Track


def body(frames: int = 4, layout: str = "coco17", dims: int = 2, *, seed: int = 0) -> np.ndarray:
    """(frames, joints, dims) of a body about 100 units large that walks one unit a frame."""
    start = np.random.default_rng(seed).uniform(50, 150, size=(1, len(LAYOUTS[layout]), dims))
    return (start + np.arange(frames)[:, None, None]).astype(np.float32)


def person(frames: int = 4, *, fps: float | None = 10.0, start_s: float = 0.0, seed: int = 0, dims: int = 2) -> Track:
    return Track(body(frames, dims=dims, seed=seed), LAYOUTS["coco17"], fps, start_s=start_s)


def fails(message: str, call, *args, **more) -> None:
    with pytest.raises(TmorError) as error:
        call(*args, **more)
    assert str(error.value) == message


def sets_equal(a: Sequence[Fold], b: Sequence[Fold]) -> bool:
    return all(
        x.name == y.name and (x.train == y.train).all() and (x.test == y.test).all() for x, y in zip(a, b, strict=True)
    )


# ---- by name


def test_names_of_benchmarks_are_unique():
    names = [name.replace("_", "-") for b in BENCHMARKS for name in (b.name, *b.also)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    for benchmark in BENCHMARKS:
        assert re.fullmatch(r"[a-z0-9-]+", benchmark.name)
        assert len({protocol.name for protocol in benchmark.protocols}) == len(benchmark.protocols) > 0
        assert "official" not in {protocol.name for protocol in benchmark.protocols[1:]}


def test_a_benchmark_is_found_by_each_of_its_names():
    for benchmark in BENCHMARKS:
        for name in (benchmark.name, *benchmark.also):
            assert find_benchmark(name) is benchmark
            assert find_benchmark(name.replace("-", "_")) is benchmark
            assert benchmark_of(Path("data") / f"{name.replace('-', '_')}.npz") is benchmark
    assert benchmark_of(Path("my_own.npz")) is None
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    assert names.startswith("toyota-smarthome, penn-action, uav-human, tsu, charades, ")
    fails(f"benchmark 'pen-action' is not known; expected one of {names}", find_benchmark, "pen-action")


def test_a_protocol_is_found_by_name():
    smarthome = find_benchmark("smarthome")
    assert smarthome.protocol(None) is smarthome.protocol("official") is smarthome.protocol("cs")
    assert smarthome.protocol("cv2").name == "cv2"
    message = "toyota-smarthome has no protocol 'xsub'; expected official or one of cs, cv1, cv2"
    fails(message, smarthome.protocol, "xsub")


def test_the_packed_set_of_a_folder(tmp_path):
    expected = "expected a folder that tmor prepare wrote, with one"
    fails(f"{tmp_path}: holds 0 .npz files; {expected}", packed_file, tmp_path)
    (tmp_path / "penn_action.npz").touch()
    (tmp_path / "prepared.json").touch()
    assert packed_file(tmp_path) == packed_file(str(tmp_path)) == tmp_path / "penn_action.npz"
    assert packed_file(tmp_path / "penn_action.npz") == tmp_path / "penn_action.npz"
    assert packed_file(tmp_path / "absent.npz") == tmp_path / "absent.npz"  # reading it says that it is not there
    (tmp_path / "other.npz").touch()
    fails(f"{tmp_path}: holds 2 .npz files; {expected}", packed_file, tmp_path)


def test_files_come_by_name_and_each_name_once(tmp_path):
    for name in ("b/2.txt", "a/3.txt", "c/1.txt", "c/.4.txt", "c/5.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in files_in(tmp_path, "*/*.txt")] == ["1.txt", "2.txt", "3.txt"]
    fails(f"{tmp_path}: no file matches d/*", files_in, tmp_path, "d/*")
    (tmp_path / "a" / "1.txt").touch()
    message = f"{tmp_path / 'c/1.txt'}: sample '1' is there twice, also as {tmp_path / 'a/1.txt'}"
    fails(message, files_in, tmp_path, "*/*.txt")


@pytest.mark.parametrize(
    "benchmark",
    [
        toyota_smarthome.BENCHMARK,
        penn_action.BENCHMARK,
        uav_human.BENCHMARK,
        tsu.BENCHMARK,
        charades.BENCHMARK,
        ntu_rgbd.NTU_120,
    ],
    ids=lambda benchmark: benchmark.name,
)
def test_every_class_has_at_least_three_descriptions(benchmark):
    for name in benchmark.raw.class_names:
        texts = describe(name)
        assert len(texts) == len(set(texts)) >= 4, name
        assert all(text.strip() for text in texts)


# ---- preparing


def made_up(samples: Sequence[Sample | Skipped], **changes: Any) -> Benchmark:
    raw = Raw(lambda root: iter(samples), ("poses", "labels"), ("sit", "wave"), "coco17", samples=5)
    protocol = Protocol("official", by_flag("is_train"))
    return Benchmark("made-up", "Made Up", "classify", (protocol,), raw=replace(raw, **changes))


def sample(id: str = "a", *tracks: Track, **changes: Any) -> Sample:
    return Sample(id, tracks or (person(),), **{"label": 0, "columns": {"is_train": True}, **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name in ("poses", "labels"):
        (folder / name).mkdir(parents=True)
    return folder


def packed(root: Path, *samples: Sample | Skipped, **changes: Any) -> PackedSet:
    return read_packed(prepare(made_up(samples, **changes), root, root.parent / "out").path)


def test_prepare_writes_a_packed_set_and_says_what_it_skipped(root, tmp_path):
    found = prepare(
        made_up(
            [
                sample("a", label=1),
                Skipped("b", "no skeleton", "an empty file"),
                sample("c", columns={"is_train": False}),
                Skipped("d", "no skeleton"),
                sample("e", Track(np.full((3, 17, 2), np.nan), LAYOUTS["coco17"], 10.0)),
                Sample("f", (), columns={"is_train": False}),
            ]
        ),
        root,
        tmp_path / "new" / "out",
    )
    assert found.path == tmp_path / "new" / "out" / "made_up.npz"
    assert (found.samples, found.published) == (2, 5)
    assert found.reasons == {"no skeleton": 2, "nobody is seen": 2}
    data = read_packed(found.path)
    assert (data.name, data.ids, data.class_names, data.fps) == ("made_up", ("a", "c"), ("sit", "wave"), 10.0)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]
    assert data.part("is_train").tolist() == [True, False]
    assert data.layout is LAYOUTS["coco17"]
    np.testing.assert_array_equal(data.tracks(0)[0].keypoints, body())
    report = json.loads((found.path.parent / "prepared.json").read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", report.pop("date"))
    assert report == {
        "benchmark": "made-up",
        "samples": 2,
        "published": 5,
        "skipped": {"no skeleton": 2, "nobody is seen": 2},
        "skipped_samples": [
            {"id": "b", "reason": "no skeleton", "detail": "an empty file"},
            {"id": "d", "reason": "no skeleton", "detail": ""},
            {"id": "e", "reason": "nobody is seen", "detail": ""},
            {"id": "f", "reason": "nobody is seen", "detail": ""},
        ],
    }
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["made_up.npz", "prepared.json"]


def test_prepare_tells_how_far_it_is(root, tmp_path):
    seen = []
    samples = [sample("a"), Skipped("b", "no skeleton"), sample("c")]
    prepare(made_up(samples), root, tmp_path / "out", progress=lambda *own: seen.append(own))
    assert seen == [("reading Made Up", done, 5) for done in range(3)]


def test_a_wrong_root_is_answered_with_what_it_lacks_and_holds(tmp_path):
    benchmark, out = made_up([sample()]), tmp_path / "out"
    absent = tmp_path / "absent"
    fails(f"{absent}: is not a folder; expected the root folder of Made Up", prepare, benchmark, absent, out)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    start = f"{wrong}: not the root folder of Made Up: expected"
    fails(f"{start} poses, labels inside it; it holds nothing", prepare, benchmark, wrong, out)
    (wrong / "labels").mkdir()
    fails(f"{start} poses inside it; it holds labels", prepare, benchmark, wrong, out)
    for i in range(9):
        (wrong / f"{i}.txt").touch()
    listed = ", ".join(f"{i}.txt" for i in range(8))
    fails(f"{start} poses inside it; it holds {listed} and 2 more", prepare, benchmark, wrong, out)
    assert not out.exists()


@pytest.mark.parametrize("benchmark", [b for b in BENCHMARKS if b.raw], ids=lambda benchmark: benchmark.name)
def test_every_benchmark_names_what_an_empty_root_lacks(tmp_path, benchmark):
    expected = ", ".join(benchmark.raw.expects)
    message = f"{tmp_path}: not the root folder of {benchmark.title}: expected {expected} inside it; it holds nothing"
    fails(message, prepare, benchmark, tmp_path, tmp_path / "out")


def test_a_benchmark_without_official_files_is_not_prepared(tmp_path):
    message = "kard comes as a packed set; give its .npz to tmor evaluate as it is"
    fails(message, prepare, find_benchmark("kard"), tmp_path, tmp_path / "out")


def test_a_root_without_one_good_sample_is_an_error(root, tmp_path):
    start = f"{root}: no sample of Made Up could be read"
    skipped = [Skipped("a", "no skeleton"), Skipped("b", "unreadable"), Skipped("c", "no skeleton")]
    fails(f"{start} (2 no skeleton, 1 unreadable)", prepare, made_up(skipped), root, tmp_path / "out")
    fails(f"{start} (there are none)", prepare, made_up([]), root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["made_up.npz", "prepared.json", "captions.json"])
def test_files_that_exist_are_never_overwritten(root, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    fails(f"{out / name}: exists already; choose another folder", prepare, made_up([sample()]), root, out)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "mine"


def test_a_file_cannot_be_the_folder(root, tmp_path):
    (tmp_path / "out").write_text("mine")
    message = f"{tmp_path / 'out'}: is a file; expected a folder, which need not exist"
    fails(message, prepare, made_up([sample()]), root, tmp_path / "out")
    unread = made_up([], read=lambda root: pytest.fail("the work was begun"))
    message = f"{tmp_path / 'out' / 'new' / 'made_up.npz'}: {tmp_path / 'out'} is a file"
    fails(message, prepare, unread, root, tmp_path / "out" / "new")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([sample("a"), sample("b"), sample("a")], "sample 'a' is there twice; expected every id once"),
        (
            [sample("a"), sample("b", person(dims=3))],
            "sample 'b' has dimensions 3, expected 2, as all must have the same",
        ),
        (
            [sample("a", person(), person(dims=3))],
            "sample 'a' has dimensions 3, expected 2, as all must have the same",
        ),
        (
            [sample("a", Track(body(4, "unik17"), UNIK17, 10.0))],
            "sample 'a' has layout unik17, expected coco17, as all must have the same",
        ),
        (
            [sample("a"), sample("b", columns={"is_test": True})],
            "sample 'b' has columns ['is_test'], expected ['is_train'], as all must have the same",
        ),
        (
            [sample("a"), sample("b", person(fps=None))],
            "sample 'b' has no frame rate, others have; expected all or none",
        ),
        (
            [sample("a", person(), person(start_s=-0.3))],
            "sample 'a': a person begins at -0.3 s, at 10 fps; expected 0, or later where the rate is known",
        ),
        (
            [sample("a", person(fps=None, start_s=2))],
            "sample 'a': a person begins at 2 s, at unknown rate; expected 0, or later where the rate is known",
        ),
    ],
)
def test_samples_that_do_not_go_together(root, tmp_path, samples, message):
    fails(message, prepare, made_up(samples), root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_member_is_skipped_and_counted(root, tmp_path):
    def read(path: Path) -> Sample:
        content = read_text(path)
        if content != "good":
            raise FormatError(f"{path}: holds '{content}'")
        return sample(path.stem)

    for name, content in (
        ("a.txt", b"good"),
        ("b.txt", b""),
        ("c.txt", b"\xff"),
        ("d.txt", b"bad"),
        ("e.txt", b"good"),
    ):
        (root / "poses" / name).write_bytes(content)

    def samples(root: Path) -> Iterator[Sample | Skipped]:
        return sample_per_file(files_in(root, "poses/*.txt"), read)

    found = prepare(made_up([], read=samples), root, tmp_path / "out")
    assert read_packed(found.path).ids == ("a", "e")
    report = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert (report["samples"], report["published"], report["skipped"]) == (2, 5, {"unreadable": 3})
    assert {own["id"]: own["detail"] for own in report["skipped_samples"]} == {
        "b.txt": f"{root}/poses/b.txt: the file is empty",
        "c.txt": f"{root}/poses/c.txt: byte 0 is not UTF-8; expected a text file",
        "d.txt": f"{root}/poses/d.txt: holds 'bad'",
    }


def test_persons_of_a_sample_share_its_time(root):
    one, late, short = person(6, seed=1), person(5, start_s=0.3, seed=2), person(2, start_s=0.1, seed=3)
    data = packed(root, sample("a", one, late), sample("b", short), sample("c", person(4), person(2), person(3)))
    assert np.diff(data.offsets).tolist() == [8, 3, 4]
    assert data.keypoints.shape == (15, 3, 17, 2)
    first, second = data.tracks(0)
    assert (first.id, second.id, len(first), len(second)) == ("a", "a#1", 8, 8)
    np.testing.assert_array_equal(first.keypoints[:6], one.keypoints)
    assert np.isnan(first.keypoints[6:]).all()
    np.testing.assert_array_equal(second.keypoints[3:], late.keypoints)
    assert np.isnan(second.keypoints[:3]).all()
    (alone,) = data.tracks(1)  # its time before its person comes stays, as captions and segments count from there
    assert np.isnan(alone.keypoints[:1]).all()
    np.testing.assert_array_equal(alone.keypoints[1:], short.keypoints)
    assert len(data.tracks(2)) == 3


def test_samples_of_one_person_have_no_axis_for_persons(root):
    assert packed(root, sample("a"), sample("b")).keypoints.shape == (8, 17, 2)


def test_samples_of_several_rates_get_times(root):
    rates = {"a": 10.0, "b": 30.0, "c": 12.5}
    data = packed(root, *(sample(id, person(20, fps=fps, seed=i)) for i, (id, fps) in enumerate(rates.items())))
    assert data.fps is None
    assert data.times_s is not None
    for i, fps in enumerate(rates.values()):
        (track,) = data.tracks(i)
        assert track.fps == pytest.approx(fps)
        assert (len(track), track.start_s) == (20, 0.0)
        np.testing.assert_allclose(track.keypoints, body(20, seed=i), atol=1e-4)


def test_an_unknown_rate_stays_unknown(root):
    data = packed(root, sample("a", person(fps=None)), sample("b", person(fps=None)))
    assert (data.fps, data.times_s) == (None, None)


def test_segments_and_captions_are_kept(root, tmp_path):
    words = (("sits — then waves", None, None), ("waves", 0.1, 0.4))
    data = packed(
        root,
        sample("a", label=-1, segments=((0, 0.0, 0.25), (1, 0.1, 9.0)), captions=words),
        sample("b", label=-1, captions=(("stands", None, None),)),
        sample("c", label=-1, segments=((1, 0.2, 0.3),)),
    )
    assert data.segments_s is not None
    assert data.segments_s.tolist() == [[0, 0, 0, 0.25], [0, 1, 0.1, 9], [2, 1, 0.2, 0.3]]
    text = (tmp_path / "out" / "captions.json").read_text(encoding="utf-8")
    assert "—" in text
    assert json.loads(text) == [
        {"seq_id": "a", "start_s": None, "end_s": None, "text": "sits — then waves"},
        {"seq_id": "a", "start_s": 0.1, "end_s": 0.4, "text": "waves"},
        {"seq_id": "b", "start_s": None, "end_s": None, "text": "stands"},
    ]


# ---- segments_s of packed sets


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Four sequences of 20, 30, 10 and 40 frames at 10 fps; changes to None take an array away."""
    layout = LAYOUTS["coco17"]
    content = {
        "joints": body(100),
        "offsets": [0, 20, 50, 60, 100],
        "joint_names": layout.joints,
        "fps": 10.0,
        "seq_id": ["a", "b", "c", "d"],
        "label": [0, 1, 2, 0],
        "class_names": ["sit", "wave", "walk"],
        "is_train": [True, True, False, False],
        "subject": [1, 2, 3, 1],
        **changes,
    }
    return {key: np.asarray(value) for key, value in content.items() if value is not None}


def save(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays(**changes))  # pyright: ignore
    return folder / "mine.npz"


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8])
def test_segments_in_seconds_are_read(tmp_path, kind):
    rows = np.array(
        [[0, 2, 0, 1], [3, 0, 2, 99], [0, 2, 0, 1]], dtype=kind
    )  # some overlap, or end after their sequence
    found = read_packed(save(tmp_path, segments_s=rows)).segments_s
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == rows.tolist()


def test_there_may_be_no_segments_in_seconds(tmp_path):
    assert read_packed(save(tmp_path)).segments_s is None
    found = read_packed(save(tmp_path, segments_s=np.zeros((0, 4)))).segments_s
    assert found is not None
    assert found.shape == (0, 4)


def test_segments_in_seconds_need_no_class_names(tmp_path):
    found = read_packed(save(tmp_path, segments_s=[[0, 7, 0, 0.5]], class_names=None)).segments_s
    assert found is not None
    assert found.tolist() == [[0, 7, 0, 0.5]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0.0, 0, 0, 1], "segments_s has shape (4,) and type float64; expected (any, 4) finite numbers"),
        ([[0.0, 0, 1]], "segments_s has shape (1, 3) and type float64; expected (any, 4) finite numbers"),
        ([["a", "b", "c", "d"]], "segments_s has shape (1, 4) and type <U1; expected (any, 4) finite numbers"),
        ([[0, 0, 0, np.inf]], "segments_s has shape (1, 4) and type float64; expected (any, 4) finite numbers"),
        ([[np.nan, 0, 0, 1]], "segments_s has shape (1, 4) and type float64; expected (any, 4) finite numbers"),
        ([[0.5, 1, 0, 1]], "segments_s row 0 is of sequence 0.5 and class 1; expected whole numbers"),
        (
            [[0, 1, 0, 0.1], [0, 1.5, 0, 1]],
            "segments_s row 1 is of sequence 0 and class 1.5; expected whole numbers",
        ),
        ([[4.0, 0, 0, 1]], "segments_s, sequence column, holds 4.0 at 0; expected 0 to 3, by offsets"),
        ([[0, 0, 0, 1], [-1, 0, 0, 1]], "segments_s, sequence column, holds -1 at 1; expected 0 to 3, by offsets"),
        ([[0, 3, 0, 1]], "segments_s, class column, holds 3 at 0; expected 0 to 2, by class_names"),
        ([[0, -1, 0, 1]], "segments_s, class column, holds -1 at 0; expected 0 to 2, by class_names"),
        ([[0, 0, -0.5, 1]], "segments_s row 0 runs from -0.5 to 1 s; expected start < end"),
        ([[0, 0, 0, 1], [0, 0, 1, 1]], "segments_s row 1 runs from 1 to 1 s; expected start < end"),
        ([[0, 0, 2.5, 1]], "segments_s row 0 runs from 2.5 to 1 s; expected start < end"),
    ],
)
def test_segments_in_seconds_with_a_mistake(tmp_path, rows, message):
    path = save(tmp_path, segments_s=rows)
    fails(f"{path}: {message}", read_packed, path)


# ---- labelled samples

FLAG = Protocol("mine", by_flag("is_train"))


def test_labelled_samples_and_their_fold(tmp_path):
    path = save(tmp_path)
    data = read_labelled(path, replace(FLAG, metric="mean_class", unseen=("walk",)))
    assert (data.name, data.protocol, data.metric, data.unseen) == ("mine", "mine", "mean_class", (2,))
    assert data.class_names == ("sit", "wave", "walk")
    assert data.labels.tolist() == [0, 1, 2, 0]
    assert [tracks[0].id for tracks in data.samples] == ["a", "b", "c", "d"]
    assert data.skipped == {}
    (fold,) = data.folds
    assert fold.train.tolist() == [True, True, False, False]
    assert fold.test.tolist() == [False, False, True, True]
    own = read_labelled(path, part="not is_train")
    assert own.protocol == "not is_train"
    assert own.folds[0].train.tolist() == [False, False, True, True]


def test_leave_one_out_has_a_fold_per_value(tmp_path):
    data = read_labelled(save(tmp_path), Protocol("loso", leave_one_out("subject")))
    assert [fold.name for fold in data.folds] == ["subject 1", "subject 2", "subject 3"]
    assert np.array([fold.test for fold in data.folds]).sum(axis=0).tolist() == [1, 1, 1, 1]
    assert all((fold.train ^ fold.test).all() for fold in data.folds)
    assert data.folds[0].test.tolist() == [True, False, False, True]


def test_samples_in_neither_part_are_not_read(tmp_path):
    data = read_labelled(save(tmp_path), Protocol("two", by_column("subject", (1,), (2,))))
    assert [tracks[0].id for tracks in data.samples] == ["a", "b", "d"]
    assert data.skipped == {}
    assert data.folds[0].test.tolist() == [False, True, False]


def test_a_protocol_of_some_classes_numbers_them_anew(tmp_path):
    data = read_labelled(save(tmp_path), Protocol("two", by_flag("is_train"), classes=("walk", "sit"), unseen=("sit",)))
    assert data.class_names == ("walk", "sit")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.unseen == (1,)
    assert [tracks[0].id for tracks in data.samples] == ["a", "c", "d"]
    assert data.folds[0].train.tolist() == [True, False, False]
    assert data.skipped == {"class is not in the protocol": 1}


def test_samples_without_label_or_person_are_counted(tmp_path):
    points = body(100)
    points[60:] = np.nan
    path = save(tmp_path, joints=points, label=[0, -1, 1, -1], is_train=[True, False, False, False])
    data = read_labelled(path, FLAG)
    assert data.skipped == {"no label": 2}
    assert data.labels.tolist() == [0, 1]
    path = save(tmp_path, joints=points)
    assert read_labelled(path, FLAG).skipped == {"nobody is seen": 1}


def test_persons_who_are_not_seen_are_left_out(tmp_path):
    points = np.stack([body(100), body(100, seed=1), body(100, seed=2)], axis=1)
    points[:20, 0] = points[20:, 1] = points[:50, 2] = np.nan
    data = read_labelled(save(tmp_path, joints=points), FLAG)
    assert [[track.id for track in tracks] for tracks in data.samples] == [["a#1"], ["b"], ["c", "c#2"], ["d", "d#2"]]


@pytest.mark.parametrize("absent", ["label", "class_names"])
def test_a_set_without_labels_is_not_for_classification(tmp_path, absent):
    path = save(tmp_path, **{absent: None})
    message = f"{path}: has no labels; classification needs array 'label' with 'class_names'"
    fails(message, read_labelled, path, FLAG)


def test_a_set_for_detection_alone_has_no_labels(tmp_path):
    path = save(tmp_path, label=[-1] * 4)  # as prepare writes it
    message = f"{path}: has no labels; classification needs array 'label' with 'class_names'"
    fails(message, read_labelled, path, FLAG)


def test_a_set_of_which_no_split_is_known_needs_one(tmp_path):
    path = save(tmp_path)
    message = f"{path}: how 'mine' is split is not known; name its training part with --part"
    fails(message, read_labelled, path)
    fails(message, read_untrimmed, path)
    message = "set 'mine' has no part 'is_test'; its parts are is_train, subject == 1"
    fails(message, read_labelled, path, part="is_test")
    message = "set 'mine' has no column 'camera', which this protocol goes by"
    fails(message, read_labelled, path, Protocol("cv", by_column("camera", (1,))))


def test_a_class_that_the_set_lacks_is_named(tmp_path):
    path = save(tmp_path)
    message = f"{path}: lacks class jump, run, which protocol mine has"
    fails(message, read_labelled, path, replace(FLAG, classes=("run", "sit", "jump")))
    fails(message, read_labelled, path, replace(FLAG, unseen=("jump", "run", "walk")))


def test_a_fold_needs_samples_on_both_sides(tmp_path):
    path = save(tmp_path, is_train=np.ones(4, dtype=bool))
    message = f"{path}: fold 'is_train' of protocol mine has 4 training and 0 test samples; expected some of each"
    fails(message, read_labelled, path, FLAG)
    path = save(tmp_path, label=[-1, -1, 0, 0])  # what is left of it counts
    message = f"{path}: fold 'is_train' of protocol mine has 0 training and 2 test samples; expected some of each"
    fails(message, read_labelled, path, FLAG)


def labelled(tmp_path: Path, counts: Sequence[int], *, test: int = 5, frames: int = 2, **changes: Any) -> LabelledSet:
    """Training samples per class, then test samples per class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.concatenate([labels, np.repeat(np.arange(len(counts)), test)])
    n = len(labels)
    more = {
        "joints": body(n * frames),
        "offsets": np.arange(n + 1) * frames,
        "seq_id": [str(i) for i in range(n)],
        "label": labels,
        "class_names": [f"class {i}" for i in range(len(counts))],
        "is_train": np.arange(n) < sum(counts),
        "subject": np.arange(n) % 3,
    }
    return read_labelled(save(tmp_path, **{**more, **changes}), FLAG)


def test_validation_halves_the_training_part_of_each_class_and_never_touches_the_test_part(tmp_path):
    data = labelled(tmp_path, (8, 5, 2, 1))
    held = data.validation(0)
    (before,), (after,) = data.folds, held.folds
    np.testing.assert_array_equal(after.train | after.test, before.train)
    assert not (after.train & after.test).any()
    assert not ((after.train | after.test) & before.test).any()
    assert np.bincount(data.labels[after.train]).tolist() == [4, 3, 1, 1]
    assert np.bincount(data.labels[after.test]).tolist() == [4, 2, 1]
    assert held.samples is data.samples
    assert sets_equal(held.folds, data.validation(0).folds)
    assert not sets_equal(held.folds, data.validation(1).folds)
    assert before.train.sum() == 16  # the set itself stays as it was


def test_validation_needs_two_training_samples_of_a_class(tmp_path):
    message = "set 'mine' has at most 1 training sample of each class; expected 2, to hold out one of them"
    fails(message, labelled(tmp_path, (1, 1, 1)).validation, 0)
    assert labelled(tmp_path, (1, 2, 1)).validation(0).folds[0].test.sum() == 1


def test_validation_of_several_folds_is_that_of_the_first(tmp_path):
    labelled(tmp_path, (9, 9))
    data = read_labelled(tmp_path / "mine.npz", Protocol("loso", leave_one_out("subject")))
    before = data.folds[0]
    (after,) = data.validation(3).folds
    assert after.name == before.name
    np.testing.assert_array_equal(after.train | after.test, before.train)
    assert not ((after.train | after.test) & before.test).any()


# ---- recordings


def test_segments_in_frames_and_seconds_become_recordings(tmp_path):
    rows = [[0, 2, 5, 15], [1, 0, 0, 30]]
    data = read_untrimmed(save(tmp_path, segments=rows, segments_s=[[3, 0, 0.5, 9.5], [0, 0, 0.25, 1]]), FLAG)
    assert [recording.segments for recording in data.recordings] == [
        ((0, 0.25, 1.0), (1, 0.5, 1.5)),  # class 1 shows nowhere, so that 2 becomes 1
        ((0, 0.0, 3.0),),
        (),
        ((0, 0.5, 9.5),),
    ]
    assert data.class_names == ("sit", "walk")
    assert not data.has_tags
    assert [recording.id for recording in data.recordings] == ["a", "b", "c", "d"]
    assert data.folds[0].train.tolist() == [True, True, False, False]
    assert (data.name, data.protocol, data.skipped) == ("mine", "mine", {})


def test_frame_labels_become_segments(tmp_path):
    labels = np.full(100, -1)
    labels[0:5], labels[5:9], labels[18:20] = 2, 1, 2  # up to the last frame of the first sequence
    labels[20:50] = 2  # the next one is another sequence
    labels[55] = 1
    data = read_untrimmed(save(tmp_path, frame_label=labels), FLAG)
    assert data.class_names == ("wave", "walk")
    assert [recording.segments for recording in data.recordings] == [
        ((1, 0.0, 0.5), (0, 0.5, 0.9), (1, 1.8, 2.0)),
        ((1, 0.0, 3.0),),
        ((0, 0.5, 0.6),),
        (),
    ]


def test_segments_go_before_the_frame_labels_that_they_sum_up(tmp_path):
    labels = np.full(100, -1)
    labels[0:5] = 2
    data = read_untrimmed(save(tmp_path, frame_label=labels, segments=[[0, 2, 0, 5]]), FLAG)
    assert data.recordings[0].segments == ((0, 0.0, 0.5),)


def test_tags_are_of_their_own_class_or_that_of_their_recording(tmp_path):
    data = read_untrimmed(save(tmp_path, tags=[[0, 5], [2, 9], [0, 7]], label=[1, 1, 2, -1]), FLAG)
    assert data.has_tags
    assert data.class_names == ("wave", "walk")
    assert [recording.tags for recording in data.recordings] == [((0, 0.5), (0, 0.7)), (), ((1, 0.9),), ()]
    data = read_untrimmed(save(tmp_path, tags=[[0, 5, 2], [2, 9, 0]], label=None), FLAG)
    assert [recording.tags for recording in data.recordings] == [((1, 0.5),), (), ((0, 0.9),), ()]


def test_tags_of_no_class_are_left_out(tmp_path):
    data = read_untrimmed(save(tmp_path, tags=[[0, 5], [3, 5]], label=[0, 0, 0, -1]), FLAG)
    assert [len(recording.tags) for recording in data.recordings] == [1, 0, 0, 0]
    assert data.class_names == ("sit",)
    path = save(tmp_path, tags=[[0, 5]], label=None)
    message = f"{path}: has no tags, segments or frame labels; detection needs to know what happens when"
    fails(message, read_untrimmed, path, FLAG)


def test_times_of_a_clock_count_from_the_start_of_their_recording(tmp_path):
    times = np.concatenate([7000 + np.arange(20) * 100, np.arange(80) * 50])
    path = save(
        tmp_path,
        fps=None,
        timestamp_ms=times,
        offsets=[0, 20, 100],
        segments=[[0, 0, 5, 20], [1, 1, 0, 4]],
        seq_id=["a", "b"],
        label=None,
        is_train=[True, False],
        subject=None,
    )
    data = read_untrimmed(path, FLAG)
    first, second = data.recordings
    assert first.segments == ((0, pytest.approx(0.5), pytest.approx(2.0)),)
    assert second.segments == ((1, 0.0, pytest.approx(0.2)),)
    for recording, fps in ((first, 10), (second, 20)):
        assert recording.track.fps == pytest.approx(fps)
        assert recording.track.start_s == 0.0


def test_recordings_without_a_person_or_a_rate_are_counted(tmp_path):
    points = body(100)
    points[20:50] = np.nan
    times = np.concatenate([np.arange(20), np.arange(30), [0], np.arange(49)]) * 100
    path = save(tmp_path, joints=points, offsets=[0, 20, 50, 51, 100], timestamp_ms=times, segments=[[0, 0, 0, 20]])
    data = read_untrimmed(path, FLAG)
    assert data.skipped == {"nobody is seen": 1, "a single frame": 1}
    assert [recording.id for recording in data.recordings] == ["a", "d"]


def test_detection_needs_a_rate_classes_and_both_sides_of_a_fold(tmp_path):
    rows = [[0, 0, 0, 5]]
    for fps in (None, 0.0):
        path = save(tmp_path, fps=fps, segments=rows)
        message = f"{path}: its frame rate is unknown; detection needs array 'fps' or 'timestamp_ms'"
        fails(message, read_untrimmed, path, FLAG)
    path = save(tmp_path)
    message = f"{path}: has no tags, segments or frame labels; detection needs to know what happens when"
    fails(message, read_untrimmed, path, FLAG)
    path = save(tmp_path, segments=rows, class_names=None)
    fails(f"{path}: has no class names; detection needs array 'class_names'", read_untrimmed, path, FLAG)
    path = save(tmp_path, segments=rows, is_train=np.zeros(4, dtype=bool))
    message = f"{path}: fold 'is_train' of protocol mine has 0 training and 4 test recordings; expected some of each"
    fails(message, read_untrimmed, path, FLAG)
    for durations in (["long"] * 4, [1.0, 2.0, np.nan, 3.0], [1.0, 2.0, 0.0, 3.0], np.ones((4, 2))):
        path = save(tmp_path, segments=rows, duration_s=np.array(durations))
        what = f"duration_s has type {np.array(durations).dtype} or is not above 0"
        fails(f"{path}: {what}; expected seconds, a number per recording", read_untrimmed, path, FLAG)


# ---- long recordings from trimmed samples


def long(tmp_path: Path, *, frames: int = 30, fps: float = 15.0, clips: int = 4, **more: Any) -> UntrimmedSet:
    changes = {"fps": fps, **more.pop("changes", {})}
    data = labelled(tmp_path, (8, 6), frames=frames, **changes)
    return joined(data, clips=clips, **more)


def ids_in(data: LabelledSet, part: np.ndarray) -> Counter:
    return Counter(data.labels[part].tolist())


def test_labels_overlap_in_the_cross_fades_and_durations_add_up(tmp_path):
    data = long(tmp_path, frames=30, overlap_s=0.4)
    assert [fold.name for fold in data.folds] == ["joined"]
    for recording in data.recordings:
        track = recording.track
        n = len(recording.segments)
        assert (track.fps, track.layout, track.start_s) == (15.0, UNIK17, 0.0)
        assert len(track) == 30 * n - 6 * (n - 1)
        assert recording.segments[0][1] == 0
        assert recording.segments[-1][2] == track.duration_s
        for _, start, end in recording.segments:
            assert end - start == pytest.approx(2.0)
        for (_, _, end), (_, start, _) in zip(recording.segments[:-1], recording.segments[1:], strict=True):
            assert end - start == pytest.approx(0.4)
        assert not np.isnan(track.keypoints).any()


def test_without_overlap_samples_follow_each_other(tmp_path):
    for recording in long(tmp_path, overlap_s=0.0).recordings:
        assert len(recording.track) == 30 * len(recording.segments)
        ends = [end for _, _, end in recording.segments]
        assert [start for _, start, _ in recording.segments] == [0.0, *ends[:-1]]


def test_no_three_samples_hold_at_once_however_short(tmp_path):
    lengths = np.random.default_rng(0).choice([2, 3, 5, 40], size=24)
    offsets = np.cumsum([0, *lengths])
    for recording in long(tmp_path, changes={"joints": body(offsets[-1]), "offsets": offsets}).recordings:
        for (_, _, end), (_, start, _) in zip(recording.segments[:-2], recording.segments[2:], strict=True):
            assert end <= start
        assert all(end > start for _, start, end in recording.segments)


def test_training_and_test_samples_never_mix(tmp_path):
    # Bodies of the two parts differ in size, which no movement of a body changes.
    sizes = np.where(np.arange(24) < 14, 1.0, 2.0).repeat(30)[:, None, None]
    data = long(tmp_path, changes={"joints": body(24 * 30) * sizes}, seed=5)
    (fold,) = data.folds
    assert (fold.train ^ fold.test).all()
    wide = [np.ptp(recording.track.keypoints[..., 0], axis=1) for recording in data.recordings]
    narrow = min(own.min() for own in wide)
    for own, is_train in zip(wide, fold.train, strict=True):
        np.testing.assert_allclose(own, narrow * (1 if is_train else 2), rtol=1e-3)
    original = read_labelled(tmp_path / "mine.npz", FLAG)
    for part, mine in ((original.folds[0].train, fold.train), (original.folds[0].test, fold.test)):
        found = Counter(s[0] for r, own in zip(data.recordings, mine, strict=True) if own for s in r.segments)
        assert found == ids_in(original, part)
    assert [len(recording.segments) for recording in data.recordings] == [5, 5, 4, 5, 5]


def test_joining_is_the_same_for_the_same_seed(tmp_path):
    first, again, other = (long(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert [r.segments for r in first.recordings] == [r.segments for r in again.recordings]
    assert [r.segments for r in first.recordings] != [r.segments for r in other.recordings]
    for a, b in zip(first.recordings, again.recordings, strict=True):
        np.testing.assert_array_equal(a.track.keypoints, b.track.keypoints)


def test_bodies_begin_where_the_one_before_ended(tmp_path):
    shift = (np.arange(24) * 5000).repeat(30)[:, None, None]  # every sample is elsewhere
    for recording in long(tmp_path, changes={"joints": body(24 * 30) + shift}).recordings:
        steps = np.linalg.norm(np.diff(recording.track.keypoints, axis=0), axis=-1)
        assert steps.max() < 10


def test_bodies_go_on_from_where_they_were_last_seen(tmp_path):
    points = body(24 * 30) + (np.arange(24) * 5000).repeat(30)[:, None, None]
    points.reshape(24, 30, 17, 2)[:, [0, 1, 28, 29]] = np.nan
    for recording in long(tmp_path, changes={"joints": points}, overlap_s=0.0).recordings:
        points = recording.track.keypoints
        seen = ~np.isnan(points).any(axis=(1, 2))
        assert seen.mean() == pytest.approx(26 / 30)
        assert np.abs(np.diff(points[seen], axis=0)).max() < 10


def test_what_is_seen_in_both_samples_of_a_cross_fade_is_seen(tmp_path):
    points = body(24 * 30)
    points[:, 9] = np.nan  # a wrist that is never seen
    points.reshape(24, 30, 17, 2)[:, 12:15, 10] = np.nan  # the other is not, for a while that no cross-fade touches
    data = long(tmp_path, changes={"joints": points})
    left, right = UNIK17.joints.index("left_wrist"), UNIK17.joints.index("right_wrist")
    for recording in data.recordings:
        unseen = np.isnan(recording.track.keypoints[..., 0])
        assert unseen[:, left].all()
        assert unseen[:, right].sum() == 3 * len(recording.segments)
        assert not np.delete(unseen, [left, right], axis=1).any()


@pytest.mark.parametrize(("fps", "frames"), [(30.0, 30), (None, 30), (7.5, 120), (15.0, 60), (20.0, 45)])
def test_recordings_have_the_rate_that_was_asked_for(tmp_path, fps, frames):
    data = long(tmp_path, frames=60, changes={"fps": fps}, overlap_s=0.0)
    for recording in data.recordings:
        assert recording.track.fps == 15.0
        assert len(recording.track) == frames * len(recording.segments)


def test_fewer_samples_than_a_recording_takes_make_one(tmp_path):
    data = long(tmp_path, clips=100)
    assert [len(recording.segments) for recording in data.recordings] == [14, 10]
    assert [recording.id for recording in data.recordings] == ["mine joined 0", "mine joined 1"]
    assert data.name == "mine joined"
    assert data.folds[0].train.tolist() == [True, False]


# ---- the packed sets beside the checkout

SETS = {
    "bandai_namco/bandai_namco": {"held-out-styles": [(2339, 737)]},
    "cad60/cad60": {"leave-one-subject-out": [(54, 18)] * 4, "subject-4": [(54, 18)]},
    "cmu_mocap/cmu_eval8": {"official": [(72, 24)]},
    "cmu_mocap/cmu_mocap": {"one-trial-to-the-other": [(1, 1), (1, 1)]},
    "florence3d/florence3d": {
        "leave-one-subject-out": [(215 - n, n) for n in (29, 18, 21, 19, 20, 22, 19, 24, 20, 23)],
        "first-subjects": [(107, 108)],
    },
    "gesture_phase/gesture_phase": {"leave-one-user-out": [(4, 3), (5, 2), (5, 2)]},
    "hdm05_11/hdm05_11": {"cross-subject": [(189, 99)]},
    "jhmdb/jhmdb": {
        "official": [(433, 176), (433, 176), (434, 175)],
        "split-1": [(433, 176)],
        "split-2": [(433, 176)],
        "split-3": [(434, 175)],
    },
    "kard/kard": {"odd-subjects": [(270, 270)], "leave-one-subject-out": [(486, 54)] * 10},
    "msrc12/msrc12": {"odd-subjects": [(297, 295)]},
    "nw_ucla/nw_ucla": {"cross-view": [(1020, 464)], "cross-view-without-copies": [(1020, 369)]},
    "penn_action/penn_action": {"official": [(1258, 1068)]},
    "sbu_interaction/sbu_interaction": {
        "5-fold": [(282 - n, n) for n in (55, 52, 56, 54, 65)],
        "fold-0": [(227, 55)],
    },
    "utd_mhad/utd_mhad_skeleton": {"cross-subject": [(431, 430)]},
}
"""Training and test samples of each fold. Where READMEs say them they are theirs."""


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_protocols_of_the_packed_sets(shared_data, name):
    path = shared_data / f"{name}.npz"
    benchmark = benchmark_of(path)
    assert benchmark is not None
    assert [protocol.name for protocol in benchmark.protocols] == list(SETS[name])
    data = read_packed(path)
    for protocol in benchmark.protocols:
        folds = protocol.folds(data)
        assert [(fold.train.sum(), fold.test.sum()) for fold in folds] == SETS[name][protocol.name]
        assert len({fold.name for fold in folds}) == len(folds)
        for fold in folds:
            assert fold.train.shape == fold.test.shape == (len(data),)
            assert not (fold.train & fold.test).any()
        if protocol.name.startswith(("leave-one", "5-fold")):
            assert (np.sum([fold.test for fold in folds], axis=0) == 1).all()


@pytest.mark.shared
def test_all_benchmarks_that_come_as_packed_sets_are_tested_here():
    tested = {benchmark_of(Path(name)) for name in SETS}
    assert {benchmark.name for benchmark in BENCHMARKS if benchmark.raw is None} <= {b.name for b in tested if b}


@pytest.mark.shared
@pytest.mark.parametrize("name", [n for n in SETS if n.split("/")[1] not in ("cmu_mocap", "msrc12", "gesture_phase")])
def test_packed_sets_are_as_large_as_their_readme_says(shared_data, name):
    path = shared_data / f"{name}.npz"
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    if name == "cmu_mocap/cmu_eval8":  # one README for three sets
        readme = readme[readme.index("## cmu_eval8") : readme.index("## cmu_dance")]
    benchmark = benchmark_of(path)
    assert benchmark is not None
    data = read_labelled(path, benchmark.protocols[0])
    # Lines such as "- 3 clap: 29 (train 12 / test 17)".
    lines = re.findall(r"^- (\d+) (.+): (\d+)(?: \(train (\d+) / test (\d+)\))?$", readme, re.MULTILINE)
    assert [line[1] for line in lines] == list(data.class_names)
    unseen = data.skipped.get("nobody is seen", 0)
    assert data.skipped.keys() <= {"nobody is seen"}
    counts = np.bincount(data.labels, minlength=len(lines))
    assert np.abs(counts - [int(line[2]) for line in lines]).sum() == unseen
    assert unseen == (1 if name == "penn_action/penn_action" else 0)
    if all(line[3] for line in lines):
        protocol = next(own for own in benchmark.protocols if own.name != "leave-one-subject-out")
        fold = read_labelled(path, protocol).folds[0]
        for part, column in ((fold.train, 3), (fold.test, 4)):
            own = np.bincount(data.labels[part], minlength=len(lines))
            assert np.abs(own - [int(line[column]) for line in lines]).sum() <= unseen
    assert all(track.missing_share < 1 for tracks in data.samples for track in tracks)


@pytest.mark.shared
def test_cmu_86_is_a_detection_set_of_two_trials(shared_data):
    path = shared_data / "cmu_mocap" / "cmu_mocap.npz"
    data = read_untrimmed(path, find_benchmark("cmu86").protocols[0])
    assert [recording.id for recording in data.recordings] == ["86_01", "86_09"]
    assert [(fold.name, fold.train.tolist(), fold.test.tolist()) for fold in data.folds] == [
        ("86_01 to 86_09", [True, False], [False, True]),
        ("86_09 to 86_01", [False, True], [True, False]),
    ]
    packed = read_packed(path)
    assert packed.frame_labels is not None
    for recording in data.recordings:
        i = packed.ids.index(recording.id)
        labels = packed.frame_labels[packed.offsets[i] : packed.offsets[i + 1]]
        lengths = sum(end - start for _, start, end in recording.segments)
        assert lengths == pytest.approx((labels >= 0).sum() / 20)
        for k, start, end in recording.segments:
            assert {packed.class_names[v] for v in labels[round(start * 20) : round(end * 20)]} == {data.class_names[k]}
    assert {k for recording in data.recordings for k, _, _ in recording.segments} == set(range(len(data.class_names)))


@pytest.mark.shared
def test_msrc12_is_a_detection_set_with_tags(shared_data):
    data = read_untrimmed(shared_data / "msrc12" / "msrc12.npz", find_benchmark("msrc12").protocols[0])
    readme = (shared_data / "msrc12" / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^- \d+ (.+): (\d+) / (\d+)$", readme, re.MULTILINE)
    assert [line[0] for line in lines] == list(data.class_names)
    assert data.has_tags
    tags = Counter(k for recording in data.recordings for k, _ in recording.tags)
    assert [tags[k] for k in range(12)] == [int(line[2]) for line in lines]
    assert sum(tags.values()) == 6229
    for recording in data.recordings:
        assert all(0 <= time < (recording.track.duration_s or 0) for _, time in recording.tags)


@pytest.mark.shared
def test_gesture_phase_becomes_17_joints_of_which_five_are_seen(shared_data, tmp_path):
    benchmark = find_benchmark("gesture-phase")
    read = partial(read_untrimmed, protocol=benchmark.protocols[0])
    with pytest.raises(LayoutError, match="layout 'gesture_phase' lacks left_shoulder, right_shoulder, left_hip"):
        read(shared_data / "gesture_phase" / "gesture_phase.npz")
    found = prepare(benchmark, shared_data / "gesture_phase", tmp_path / "gp")
    data = read(found.path)
    assert (found.samples, data.class_names) == (7, ("rest", "preparation", "stroke", "hold", "retraction"))
    assert [(int(fold.train.sum()), int(fold.test.sum())) for fold in data.folds] == [(4, 3), (5, 2), (5, 2)]
    assert sum(len(recording.segments) for recording in data.recordings) == 395
    seen = ~np.isnan(data.recordings[0].track.keypoints).all(axis=(0, 2))
    assert int(seen.sum()) == 5


@pytest.mark.shared
def test_a_real_set_is_joined_into_long_recordings(shared_data):
    data = read_labelled(shared_data / "utd_mhad" / "utd_mhad_skeleton.npz", find_benchmark("utd-mhad").protocols[0])
    found = joined(data)
    assert [own.sum() for own in (found.folds[0].train, found.folds[0].test)] == [431 // 12, 430 // 12]
    assert sum(len(recording.segments) for recording in found.recordings) == 861
    assert found.class_names == data.class_names
    for recording in found.recordings:
        assert not np.isnan(recording.track.keypoints).any()
        assert np.linalg.norm(np.diff(recording.track.keypoints, axis=0), axis=-1).max() < 1  # metres in 1/15 s
