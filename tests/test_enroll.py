"""Actions taught by example, from the command line to the answer."""

import csv
import json
import stat
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tmor.pose
from test_pose import body, people, steady, write_video
from tmor.errors import TmorError
from tmor.pose.videos import probe
from tmor.serve.examples import cut_example, frames_between, joined_labels, read_examples, write_examples
from tmor.skeleton.formats import read_tracks, write_packed, write_tracks
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track


def several(*tracks: Track, path: Path) -> Path:
    write_tracks(path, tracks)
    return path


@pytest.fixture
def poses(tmp_path) -> Path:
    """Someone who squats, and someone who claps a second later."""
    squat, clap = sample_track("squat"), sample_track("clap")
    first = Track(squat.keypoints, squat.layout, 30.0, id="poses")
    return several(
        first, Track(clap.keypoints, clap.layout, 30.0, id="poses#1", start_s=1.0), path=tmp_path / "poses.npz"
    )


# ---- from examples to answers


def test_what_is_enrolled_is_found(run, tmp_path):
    for n, action in enumerate(("squat", "clap", "kick")):
        for seed in range(2):
            several(sample_track(action, body=seed, seed=seed), path=tmp_path / "shown.npz")
            code, out, err = run("enroll", "mine.npz", f"exercise {n}", "shown.npz")
            assert (code, err.endswith("wrote mine.npz")) == (0, True), err
            assert out.startswith(f"exercise {n}: example {seed + 1} is 0.0-")
            (tmp_path / "shown.npz").unlink()
    several(*(sample_track(a, body=3, seed=9) for a in ("kick", "squat", "clap")), path=tmp_path / "new.npz")
    code, out, err = run("predict", "new.npz", "--examples", "mine.npz", "--json")
    assert code == 0, err
    assert [track["label"] for track in json.loads(out)["tracks"]] == ["exercise 2", "exercise 0", "exercise 1"]
    code, out, _ = run("enroll", "mine.npz", "--list")
    assert code == 0 and out.count("exercise") == 3
    listed = json.loads(run("enroll", "mine.npz", "--list", "--json")[1])
    assert listed["source"] == "mine.npz" and [len(v) for v in listed["labels"].values()] == [2, 2, 2]
    assert run("inspect", "mine.npz")[0] == 0, "it is a pose file as well"


def test_examples_and_words_together(run, poses):
    run("enroll", "mine.npz", "My Squat", poses, "--person", "#0")
    code, out, err = run("predict", poses, "--labels", "wave, my squat", "--examples", "mine.npz", "--json")
    assert code == 0, err
    first, _ = json.loads(out)["tracks"]
    assert list(first["probabilities"]) == ["wave", "My Squat", "none of these"] and first["label"] == "My Squat"
    assert joined_labels(None, {"a": []}) == ["a"]
    assert joined_labels(["b", "A "], {"a": [], "c": []}) == ["b", "a", "c"]
    described = joined_labels({"b": ["to be"], "A ": ["to act"]}, {"a": [], "c": []})
    assert list(described) == ["b", "a", "c"]
    assert described == {"b": ["to be"], "a": ["to act"], "c": ()}


def test_a_stretch_of_one_person(run, poses, tmp_path):
    code, out, err = run("enroll", "mine.npz", "move", poses, "--start", "1.5", "--end", "2", "--person", "poses#1")
    assert (code, out.strip()) == (0, "move: example 1 is 1.5-2.0 s of poses.npz, person poses#1"), err
    ((label, (track,)),) = read_examples(tmp_path / "mine.npz").items()
    assert (label, len(track), track.start_s) == ("move", 15, 1.5)
    np.testing.assert_array_equal(track.keypoints, sample_track("clap").keypoints[15:30])
    code, out, err = run("enroll", "mine.npz", "MOVE", poses, "--end", "0.9")
    assert (code, out.strip()) == (0, "MOVE: example 2 is 0.0-0.9 s of poses.npz, person poses"), "the only one there"
    assert {k: len(v) for k, v in read_examples(tmp_path / "mine.npz").items()} == {"move": 2}


def test_programs_are_told_what_was_enrolled(run, poses):
    code, out, _ = run("enroll", "mine.npz", " wave ", poses, "--start", "1", "--end", "2", "--person", "#0", "--json")
    assert code == 0
    person = read_tracks(poses)[0].id
    assert json.loads(out) == {"label": "wave", "examples": 1, "person": person, "start_s": 1.0, "end_s": 2.0}
    run("enroll", "mine.npz", "nod", poses, "--start", "1", "--end", "2", "--person", "#0")
    code, out, _ = run("enroll", "mine.npz", "--remove", "nod", "--json")
    assert (code, json.loads(out)) == (0, {"label": "nod", "removed": 1})


def test_a_packed_set_with_labels_is_examples(tmp_path):
    tracks = [sample_track(action, seed=n) for n, action in enumerate(("clap", "squat", "clap"))]
    write_packed(tmp_path / "set.npz", tracks, labels=["clap hands", "squat", "clap hands"])
    assert {label: len(own) for label, own in read_examples(tmp_path / "set.npz").items()} == {
        "clap hands": 2,
        "squat": 1,
    }


def test_people_called_after_their_file_are_no_examples(run, poses, tmp_path):
    write_packed(tmp_path / "set.npz", [sample_track("clap")])
    np.savez(tmp_path / "me.npz", keypoints=np.ones((9, 17, 2)), layout="coco17")
    results = [{"image_id": n, "keypoints": [1.0 + n, 2.0, 0.9] * 17} for n in range(9)]
    (tmp_path / "people.json").write_text(json.dumps(results))
    for name, what in (("set", "a packed set without labels"), ("me", "not a file of"), ("people", "not a file of")):
        path = name + (".json" if name == "people" else ".npz")
        code, _, err = run("predict", poses, "--labels", "wave", "--examples", path)
        assert (code, f"error: {path}: {what}" in err) == (2, True), err


def test_frames_belong_to_a_stretch_by_their_time():
    track = Track(np.arange(30 * 17 * 2).reshape(30, 17, 2), "coco17", 10.0, start_s=5.0)  # pyright: ignore
    for start_s, end_s, frames in ((5, 8, (0, 30)), (0, 99, (0, 30)), (5.1, 5.3, (1, 3)), (5.15, 5.31, (2, 4))):
        cut = cut_example([track], "x", start_s=start_s, end_s=end_s)
        np.testing.assert_array_equal(cut.keypoints, track.keypoints[slice(*frames)])
    thirds = Track(np.zeros((30, 17, 2)), "coco17", 29.97)  # pyright: ignore
    for n in range(1, 30):
        cut = frames_between(thirds, 0.0, round(n / 29.97, 4))
        assert cut is not None and len(cut) == n
    unknown = Track(np.zeros((60, 17, 2)), "coco17", None)  # pyright: ignore
    assert len(cut_example([unknown], "x", start_s=1.0)) == 30, "as if at 30 a second, as segments count"


def test_removing(run, poses, tmp_path):
    for label in ("a", "b"):
        assert run("enroll", "mine.npz", label, poses, "--person", "poses")[0] == 0
    code, out, err = run("enroll", "mine.npz", "--remove", "A")
    assert (code, out.strip(), err) == (0, "took out A: 1 example", "wrote mine.npz")
    assert list(read_examples(tmp_path / "mine.npz")) == ["b"]
    code, _, err = run("enroll", "mine.npz", "--remove", "a")
    assert (code, err) == (2, "error: mine.npz: has no label 'a'; its labels are b")
    code, _, err = run("enroll", "mine.npz", "--remove", "b")
    assert (code, err) == (2, "error: mine.npz: 'b' is its only label; delete the file instead")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("a", "poses.npz"), "poses.npz: several persons are seen from 0.0 to"),
        (("a", "poses.npz", "--person", "bob"), "poses.npz: has no person 'bob'; there are poses, poses#1"),
        (("a", "poses.npz", "--start", "90"), "poses.npz: from 90 to"),
        (
            ("a", "poses.npz", "--start", "2", "--end", "1"),
            "from 2 to 1 s there is nothing; people are in it from 0.0 to",
        ),
        (("a", "poses.npz", "--start", "nan"), "from nan to"),
        (
            ("a", "poses.npz", "--person", "#1", "--end", "0.5"),
            "poses.npz: person #1 is not seen from 0 to 0.5 s: poses#1 is there from 1.0 to",
        ),
        (
            ("a", "poses.npz", "--person", "#0", "--start", "1", "--end", "1.01"),
            "poses.npz: from 1 to 1.01 s there is a single frame; expected a movement",
        ),
        (("  ", "poses.npz"), "a label is empty; expected words"),
        (("a", "absent.npz"), "absent.npz: there is no such file"),
        ((), "expected a label and a file (tmor enroll mine.npz"),
        (("a",), "expected a label and a file (tmor enroll mine.npz"),
        (("a", "poses.npz", "--list"), "expected a label and a file (tmor enroll mine.npz"),
        (("--remove", "a", "--list"), "expected a label and a file (tmor enroll mine.npz"),
        (("--list",), "mine.npz: there is no such file"),
        (("--remove", "a"), "mine.npz: there is no such file"),
    ],
)
def test_mistakes(run, poses, tmp_path, args, message):
    code, _, err = run("enroll", "mine.npz", *args)
    assert (code, message in err, "Traceback" in err) == (2, True, False), err
    assert not (tmp_path / "mine.npz").exists()


def test_nobody_is_seen_in_the_stretch(run, tmp_path):
    points = sample_track("squat").keypoints.copy()
    points[30:] = np.nan
    several(Track(points, "unik17", 30.0, id="poses"), path=tmp_path / "poses.npz")  # pyright: ignore
    code, _, err = run("enroll", "mine.npz", "a", "poses.npz", "--start", "1.2")
    assert (code, "poses.npz: nobody is seen from 1.2 to" in err) == (2, True), err
    with pytest.raises(TmorError, match=r"^x: nobody is in it$"):
        cut_example([], "x")


def test_other_files_are_never_overwritten(run, poses, tmp_path):
    """A data set or somebody's poses end in .npz, too."""
    write_packed(tmp_path / "set.npz", [sample_track("squat")], labels=["squat"])
    before = {path: path.read_bytes() for path in (tmp_path / "set.npz", poses)}
    for name, message in (
        ("set.npz", "expected a file of tmor enroll"),
        (
            "poses.npz",
            "poses.npz: holds a track 'poses'; expected a file of tmor enroll, in which tracks are",
        ),
    ):
        for args in (("a", poses, "--person", "#0"), ("--remove", "a")):
            code, _, err = run("enroll", name, *args)
            assert (code, message in err) == (2, True), err
    assert {path: path.read_bytes() for path in before} == before
    code, _, err = run("enroll", "mine.csv", "a", poses)
    assert (code, err) == (2, "error: mine.csv: the name ends in '.csv'; expected .npz")
    code, _, err = run("enroll", "no/mine.npz", "a", poses)
    assert (code, err) == (2, "error: no/mine.npz: the folder no does not exist")
    (tmp_path / "text.npz").write_text("examples")
    assert run("enroll", "text.npz", "--list")[0] == 2


def test_a_full_disk_leaves_the_file_as_it_was(run, poses, tmp_path, monkeypatch):
    run("enroll", "mine.npz", "a", poses, "--person", "#0")
    before = (tmp_path / "mine.npz").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, err = run("enroll", "mine.npz", "a", poses, "--person", "#1")
    assert (code, err) == (2, "error: mine.npz: can't be written: No space left on device")
    assert (tmp_path / "mine.npz").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "poses.npz"}


def test_a_link_stays_a_link_and_a_private_file_private(run, poses, tmp_path):
    run("enroll", "mine.npz", "a", poses, "--person", "#0")
    (tmp_path / "mine.npz").chmod(0o600)
    (tmp_path / "link.npz").symlink_to("mine.npz")
    assert run("enroll", "link.npz", "b", poses, "--person", "#0")[0] == 0
    assert (tmp_path / "link.npz").is_symlink()
    assert set(read_examples(tmp_path / "mine.npz")) == {"a", "b"}
    assert stat.S_IMODE((tmp_path / "mine.npz").stat().st_mode) == 0o600


# ---- what predict writes, and what it says of bad videos


class Finder:
    """Finds so many people, who walk to the right."""

    name, hash, layout = "finder", "finder", "coco17"

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, image: np.ndarray, time_s: float):
        return people(*(body(200 * n + 50 * time_s) for n in range(self.count)))

    def close(self) -> None:
        pass


@pytest.fixture
def found(monkeypatch, tmp_path):
    """How many people the pose estimator finds in each picture."""

    def set(count: int) -> None:
        monkeypatch.setenv("TMOR_CACHE", str(tmp_path / f"cache{count}"))
        monkeypatch.setattr(tmor.pose, "load_estimator", lambda name: Finder(count))

    set(1)
    return set


@pytest.fixture
def clip(tmp_path, found) -> Path:
    return write_video(tmp_path / "clip.mp4", steady(25))


def test_predict_writes_all_that_it_is_asked_for(run, clip, tmp_path, found):
    found(2)
    write_examples(tmp_path / "mine.npz", {"=walk": [sample_track("walk")], "squat": [sample_track("squat")]})
    outputs = [f"out.{ending}" for ending in ("csv", "SRT", "vtt", "eaf", "json")]
    options = [arg for name in outputs for arg in ("--segments", name)]
    code, out, err = run("predict", "clip.mp4", "--examples", "mine.npz", *options, "--overlay", "o.mp4", "--json")
    assert code == 0, err
    assert err.endswith("wrote out.csv wrote out.SRT wrote out.vtt wrote out.eaf wrote out.json wrote o.mp4")
    assert json.loads(out) == json.loads((tmp_path / "out.json").read_text())
    with (tmp_path / "out.csv").open(newline="") as file:
        assert {row["person"] for row in csv.DictReader(file)} == {"clip", "clip#1"}
    assert ElementTree.parse(tmp_path / "out.eaf").getroot().find("HEADER/MEDIA_DESCRIPTOR") is not None
    assert (probe(tmp_path / "o.mp4").width, probe(tmp_path / "o.mp4").frames) == (64, 25)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == sorted(
        [*outputs, "clip.mp4", "mine.npz", "o.mp4"]
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--segments", "clip.mp4"), "clip.mp4: the name ends in '.mp4'; expected .csv, .srt, .vtt, .eaf, .json"),
        (("--segments", "there.csv"), "there.csv: exists already; choose another name"),
        (("--segments", "no/out.csv"), "no/out.csv: the folder no does not exist"),
        (("--segments", "a.csv", "--segments", "a.csv"), "a.csv: is named for two outcomes; choose another"),
        (("--segments", "a.csv", "--segments", "./a.csv"), "a.csv: is named for two outcomes; choose another"),
        (("--report", "there.html"), "there.html: exists already; choose another name"),
        (("--report", "poses.npz"), "poses.npz: the name ends in '.npz'; expected .html"),
        (("--report", "there.csv/out.html"), "there.csv/out.html: there.csv is a file"),
        (("--overlay", "clip.mp4"), "clip.mp4: exists already; choose another name"),
        (("--overlay", "out.mkv"), "out.mkv: the name ends in '.mkv'; expected .mp4"),
        (("--report", "no/out.html"), "no/out.html: the folder no does not exist"),
        (("--examples", "none.npz"), "none.npz: there is no such file"),
        (("--examples", "there.csv"), "there.csv: not a file of examples; expected one of tmor enroll"),
        (
            ("--examples", "there.csv", "--onnx", "m.onnx"),
            "--onnx and --examples are both given, and an exported model",
        ),
    ],
)
def test_what_can_not_be_written_is_said_before_the_work(run, clip, tmp_path, monkeypatch, args, message):
    monkeypatch.setattr("tmor.serve.predict.predict_file", lambda *a, **k: pytest.fail("the work was begun"))
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "there.html").write_text("mine, too")
    code, _, err = run("predict", "clip.mp4", "--labels", "walk, squat", *args)
    assert (code, f"error: {message}" in err) == (2, True), err
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert (tmp_path / "there.html").read_text() == "mine, too"


def test_a_mistake_in_the_labels_is_said_before_the_work(run, clip, monkeypatch):
    monkeypatch.setattr("tmor.pose.load_estimator", lambda name: pytest.fail("the work was begun"))
    assert run("predict", "clip.mp4", "--labels", "walk, Walk") == (2, "", "error: label 'Walk' is given twice")


def test_an_overlay_needs_a_video(run, poses):
    code, _, err = run("predict", "poses.npz", "--labels", "a", "--overlay", "o.mp4")
    assert (code, err) == (2, "error: --overlay draws on a video, and poses.npz is none")
    code, _, err = run("predict", "absent.mp4", "--labels", "a", "--overlay", "o.mp4")
    assert (code, err) == (2, "error: absent.mp4: there is no such file")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_frames(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])


@pytest.mark.parametrize("command", ["predict", "enroll"])
def test_bad_videos_are_the_users_fault(run, tmp_path, found, command):
    mjpeg = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}
    (tmp_path / "text.mp4").write_text("These are not the pictures")
    (tmp_path / "noise.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 9)
    write_video(tmp_path / "sound.m4a", [], size=(), sound=True)  # type: ignore[arg-type]
    write_video(tmp_path / "dot.mkv", steady(2), codec="ffv1", size=(1, 1), pix_fmt="bgr0")
    cut_off(write_video(tmp_path / "cut.mp4", steady(50)))
    without_frames(write_video(tmp_path / "none.avi", steady(3), **mjpeg))  # type: ignore[arg-type]
    for name, message in (
        ("text.mp4", "text.mp4: begins with b'These are not the pictur'; expected tracks or a packed set"),
        ("noise.mp4", "noise.mp4: can't be read as a video"),
        ("sound.m4a", "sound.m4a: has no pictures, only audio (aac)"),
        ("dot.mkv", "dot.mkv: its pictures are 1x1; expected at least 16 pixels a side"),
        ("cut.mp4", "cut.mp4: can't be read as a video: the file may be cut off"),
        ("none.avi", "none.avi: not one frame can be decoded (its video is mjpeg, 64x48)"),
    ):
        args = (name, "--labels", "a, b") if command == "predict" else ("mine.npz", "a", name)
        code, _, err = run(command, *args)
        assert (code, f"error: {message}" in err, "Traceback" in err) == (2, True, False), err


def test_a_video_without_people(run, clip, found):
    found(0)
    for args in (("predict", "clip.mp4", "--labels", "a, b"), ("enroll", "mine.npz", "a", "clip.mp4")):
        assert run(*args)[::2] == (2, "error: clip.mp4: nobody was found in the video")


def test_recordings_without_people_are_left_out_and_told(run, clip, poses, found, tmp_path):
    found(0)
    (tmp_path / "none.json").write_text('{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []}')
    code, out, err = run("adapt", "clip.mp4", "none.json", poses, "-o", "here.safetensors")
    assert (code, out.split(";")[0]) == (0, "adapted to 2 clips of 2 tracks"), err
    assert "left out clip.mp4: nobody was found in the video" in err
    assert "left out none.json: nobody is in it" in err
    code, _, err = run("adapt", "clip.mp4", "none.json", "-o", "nobody.safetensors")
    assert (code, "error: nobody is in any of the 2 files" in err) == (2, True), err
    code, _, err = run("predict", "none.json", "--labels", "squat")
    assert (code, "error: none.json: nobody is in it" in err) == (2, True), err
    assert not (tmp_path / "nobody.safetensors").exists()


def test_thirty_people(run, clip, tmp_path, found):
    found(30)
    write_examples(tmp_path / "some.npz", {"walk": [sample_track("walk")], "squat": [sample_track("squat")]})
    outputs = ("--segments", "out.srt", "--overlay", "o.mp4")
    code, _, err = run("predict", "clip.mp4", "--examples", "some.npz", *outputs)
    assert code == 0, err
    assert (tmp_path / "out.srt").read_text().count("#29: ") == 1
    code, _, err = run("enroll", "mine.npz", "a", "clip.mp4")
    assert (code, "several persons are seen from 0.0 to 1.0 s: clip, clip#1, " in err) == (2, True)
    assert run("enroll", "mine.npz", "a", "clip.mp4", "--person", "#29")[0] == 0


@pytest.mark.slow
def test_five_hundred_labels(run, tmp_path):
    several(sample_track("squat"), path=tmp_path / "one.npz")
    labels = ",".join(f"action {n}" for n in range(500))
    code, out, err = run("predict", "one.npz", "--labels", labels, "--json")
    assert (code, len(json.loads(out)["tracks"][0]["probabilities"])) == (0, 500), err
