"""The command line as a user meets it: what it prints, and how it says no."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tmor.errors import TmorError
from tmor.model.checkpoint import load_model, save_model
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.posecap.captions import describe
from tmor.serve.stream import Stream
from tmor.skeleton.formats import write_packed, write_tracks
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track


@pytest.fixture
def poses(tmp_path) -> Path:
    path = tmp_path / "poses.npz"
    write_tracks(path, [sample_track("squat"), sample_track("clap")])
    return path


def test_predict_prints_the_documented_json(run, poses):
    code, out, _ = run("predict", poses, "--labels", "squat, clap, 手を振る", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["source"] == str(poses)
    assert [set(t) for t in answer["tracks"]] == [
        {"id", "start_s", "end_s", "label", "score", "probabilities", "segments"}
    ] * 2
    for track in answer["tracks"]:
        assert set(track["probabilities"]) == {"squat", "clap", "手を振る", "none of these"}
        assert sum(track["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert track["segments"][0]["start_s"] == track["start_s"]
        assert track["segments"][-1]["end_s"] == track["end_s"]


def test_predict_closed_answers_one_of_the_labels(run, poses):
    code, out, _ = run("predict", poses, "--labels", "squat, clap", "--closed", "--json")
    assert code == 0
    assert all(set(t["probabilities"]) == {"squat", "clap"} for t in json.loads(out)["tracks"])
    code, _, err = run("predict", poses, "--labels", "squat, None of these")
    assert (code, err) == (
        2,
        "error: label 'None of these' is what tmor answers by itself where no label fits; leave it out",
    )


def test_labels_may_come_with_sentences_of_the_users_own(run, poses, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"Exercise_3": describe("squat")[1:], "exercise 4": [], "exercise 5": describe("clap")}))
    code, out, _ = run("predict", poses, "--labels", mine, "--closed", "--json")
    assert code == 0
    tracks = json.loads(out)["tracks"]
    assert [track["label"] for track in tracks] == ["Exercise_3", "exercise 5"]
    assert all(list(track["probabilities"]) == ["Exercise_3", "exercise 4", "exercise 5"] for track in tracks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{}: there is no such file"),
        ("{", "{}: not valid JSON at line 1, column 2: Expecting property name enclosed in double quotes"),
        ('["wave"]', '{}: is a list; expected {"class name": ["description", ...]}'),
        ('{"wave": 3}', "{}: class 'wave' has 3; expected a list of descriptions"),
        ("{}", "no labels were given; expected at least one"),
        ('{"wave": [], " Wave": []}', "label 'Wave' is given twice"),
    ],
)
def test_files_of_labels_that_are_none_are_the_users_fault(run, poses, tmp_path, content, message):
    mine = tmp_path / "mine.JSON"
    if content is not None:
        mine.write_text(content)
    code, _, err = run("predict", poses, "--labels", mine)
    assert (code, err) == (2, "error: " + message.replace("{}:", f"{mine}:"))


def test_predict_writes_a_report_and_a_table(run, poses, tmp_path):
    code, out, _ = run("predict", poses, "--labels", "squat,clap", "--report", tmp_path / "out.html")
    assert code == 0
    assert "squat" in out
    assert "<html" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", "no labels were given; expected at least one"),
        ("squat,,clap", "a label is empty; expected words"),
        ("squat, Squat", "label 'Squat' is given twice"),
        (None, "model 'tmor-small' has no classes of its own; give labels"),
    ],
)
def test_labels_that_make_no_sense_are_the_users_fault(run, poses, labels, message):
    code, _, err = run("predict", poses, *([] if labels is None else ["--labels", labels]))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_nobody_seen_is_said(run, tmp_path):
    path = tmp_path / "nobody.npz"
    np.savez(path, keypoints=np.full((5, 17, 2), np.nan, np.float32), layout="coco17")
    code, _, err = run("predict", path, "--labels", "squat")
    assert (code, "visible joint" in err) == (2, True)


def test_a_single_frame_is_an_answer(run, tmp_path):
    write_tracks(tmp_path / "one.npz", [sample_track("squat").frames(0, 1)])
    assert run("predict", tmp_path / "one.npz", "--labels", "squat,clap", "--json")[0] == 0


@pytest.mark.parametrize("command", ["predict", "inspect"])
def test_a_file_that_is_none_is_named(run, tmp_path, command):
    path = tmp_path / "cut.npz"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    code, _, err = run(command, path, *(["--labels", "squat"] if command == "predict" else []))
    assert code == 2
    assert "cut.npz" in err
    code, _, err = run(command, tmp_path / "absent.json", *(["--labels", "squat"] if command == "predict" else []))
    assert code == 2
    assert "there is no such file" in err


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.npz"))
    np.savez(path, keypoints=np.ones((2, 17, 2)), layout="coco17")
    command = [sys.executable, "-m", "tmor", "inspect", path, "--json"]
    run = subprocess.run(
        command, env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"}, capture_output=True, check=True
    )
    assert json.loads(run.stdout)["tracks"][0]["id"] == "w\udcff"


def test_inspect_numbers_who_has_no_id(run, tmp_path):
    write_tracks(tmp_path / "a.npz", [replace(sample_track("squat"), id=id) for id in ("anna", None)])
    out = run("inspect", tmp_path / "a.npz")[1]
    assert re.findall(r"│ (\w+) +│ unik17", out) == ["anna", "1"]


def test_inspect_tells_and_draws(run, poses, tmp_path):
    code, out, _ = run("inspect", poses, "--png", tmp_path / "sheet.png")
    assert code == 0
    assert "unik17, 17 joints, 3D" in out
    assert "30 fps" in out
    assert any("\u2801" <= c <= "\u28ff" for c in out)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(run("inspect", poses, "--json")[1])["tracks"]
    assert [f["fps"] for f in facts] == [30.0, 30.0]


@pytest.fixture
def packed(tmp_path) -> Path:
    path = tmp_path / "mine.npz"
    actions = [a for a in ("squat", "clap", "kick") for _ in range(4)]
    tracks = [sample_track(a, body=i % 4, style=i % 3, seed=i) for i, a in enumerate(actions)]
    write_packed(path, tracks, labels=actions, columns={"is_train": np.arange(12) % 2 == 0})
    return path


def test_evaluate_then_report(run, packed, tmp_path):
    results = tmp_path / "results" / "mine.json"
    options = ("--part", "is_train", "--mode", "zero-shot", "--mode", "linear", "--mode", "raw")
    code, out, err = run("evaluate", packed, *options, "-o", results)
    assert code == 0, err
    assert "linear probe top-1" in out
    assert {"zero-shot", "linear", "raw"} <= set(json.loads(results.read_text())[0])
    assert run("evaluate", packed, *options, "-o", results)[0] == 2, "a result is never overwritten"
    code, out, _ = run("report", results.parent)
    assert code == 0
    assert "| mine, is_train | linear probe top-1 |" in out


def test_a_mode_that_is_none_is_said_before_the_work(run, packed, monkeypatch):
    monkeypatch.setattr("tmor.model.checkpoint.load_model", lambda name: pytest.fail("the work was begun"))
    code, _, err = run("evaluate", packed, "--part", "is_train", "--mode", "retrieve", "--mode", "zeroshot")
    assert (code, err.startswith("error: mode is 'zeroshot'; expected one of zero-shot, ")) == (2, True), err
    assert err.endswith("raw, detect, retrieve")


def test_what_was_measured_before_a_set_failed_is_kept(run, packed, tmp_path):
    results = tmp_path / "results.json"
    code, out, err = run("evaluate", packed, "gone.npz", "--part", "is_train", "--mode", "zero-shot", "-o", results)
    assert (code, out) == (2, "")
    assert "error: gone.npz: " in err
    assert [row["benchmark"] for row in json.loads(results.read_text())] == ["mine"]


NO_TEXT = "model 'tmor-small' has no text head; it can't name actions by text"


def test_fine_tuned_models_predict_without_labels(run, packed, poses, tmp_path):
    tuned = tmp_path / "tuned.safetensors"
    code, _, err = run("finetune", packed, "-o", tuned, "--part", "is_train", "--epochs", "2")
    assert code == 0, err
    code, out, _ = run("predict", poses, "--model", tuned, "--json")
    assert code == 0
    assert set(json.loads(out)["tracks"][0]["probabilities"]) == {"squat", "clap", "kick"}
    code, out, err = run("predict", poses, "--model", tuned, "--labels", "squat, clap")
    assert (code, out, err) == (2, "", f"error: {NO_TEXT}; without labels it names its own 3 classes")


def test_a_model_fine_tuned_in_3d_predicts_in_3d_alone(run, packed, poses, tmp_path):
    tuned, flat = tmp_path / "deep.safetensors", tmp_path / "flat.npz"
    options = ("--part", "is_train", "--stream", "bone-3d", "--epochs", "1")
    code, _, err = run("finetune", packed, "-o", tuned, *options)
    assert code == 0, err
    code, out, _ = run("predict", poses, "--model", tuned, "--json")
    assert (code, len(json.loads(out)["tracks"])) == (0, 2)
    walk = sample_track("walk")
    write_tracks(flat, [Track(walk.keypoints[..., :2], walk.layout, walk.fps)])
    code, out, err = run("predict", flat, "--model", tuned)
    message = "error: model 'tmor-small' sees movements in 3D; this one is in 2D"
    assert (code, out, err) == (2, "", message)
    # Of videos there are pictures alone; it is said before anybody is looked for.
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(12))
    assert run("predict", tmp_path / "clip.mp4", "--model", tuned) == (2, "", message)
    with pytest.raises(TmorError, match=message.removeprefix("error: ")):
        Stream(load_model(tuned), "coco17", 2, 30.0, None)


@pytest.mark.parametrize("name", ["mine.txt", "labels.CSV", "poses.npz", "walk.md"])
def test_a_file_is_no_label(run, poses, tmp_path, name):
    (tmp_path / "walk.md").write_text("squat")
    (tmp_path / "walk").write_text("a file without an ending may be called as a label is")
    code, out, err = run("predict", poses, "--labels", name)
    message = f"error: --labels is '{name}', a file; expected labels separated by commas, or a .json file of labels and"
    assert (code, out, err) == (2, "", f"{message} sentences")
    assert run("predict", poses, "--labels", "walk")[0] == 0


def test_labels_by_lines_and_as_json(run, poses):
    def labels(text):
        code, out, err = run("predict", poses, "--labels", text, "--closed", "--json")
        assert code == 0, err
        return list(json.loads(out)["tracks"][0]["probabilities"])

    assert labels("clap\n\nsit down, walk\r\n") == ["clap", "sit down", "walk"]
    assert labels('["clap", "sit down, slowly"]') == ["clap", "sit down, slowly"]
    for text in ('["clap"', "[1, 2]"):
        code, out, err = run("predict", poses, "--labels", text)
        message = f"--labels is {text}; expected a JSON list of texts, or labels separated by commas or lines"
        assert (code, out, err) == (2, "", f"error: {message}")


def test_an_exported_model_beside_another_one_is_an_error(run, poses):
    code, out, err = run("predict", poses, "--labels", "a", "--onnx", "m.onnx", "--model", "tmor-base")
    message = "--onnx m.onnx and --model tmor-base are both given; expected one of them"
    assert (code, out, err) == (2, "", f"error: {message}")


def test_sentences_are_of_no_use_to_an_exported_model(run, poses, tmp_path):
    (tmp_path / "mine.json").write_text('{"wave": ["a hand goes to and fro"]}')
    code, out, err = run("predict", poses, "--onnx", "m.onnx", "--labels", "mine.json")
    assert (code, out) == (2, "")
    assert err == (
        "error: --labels mine.json holds sentences, and --onnx names labels by the texts that they were exported with; "
        "export the model with this file, then give the names"
    )


OUTCOMES = [
    ("adapt", "poses.npz", "-o", "x.safetensors"),
    ("calibrate", "packed.npz", "-o", "x.safetensors"),
    ("finetune", "packed.npz", "-o", "x.safetensors"),
    ("export", "onnx", "tmor-small", "-o", "x.onnx"),
    ("import-weights", "unik", "unik.pt", "-o", "x.safetensors"),
    ("evaluate", "packed.npz", "-o", "x.json"),
    ("evaluate", "packed.npz", "--segments", "x.json"),
    ("evaluate", "packed.npz", "--views", "x.json"),
    ("inspect", "poses.npz", "--png", "x.png"),
    ("predict", "poses.npz", "--labels", "a", "--report", "x.html"),
    ("demo", "--report", "x.html"),
]


@pytest.mark.parametrize("command", OUTCOMES, ids=lambda command: command[0] + command[-2])
def test_what_can_t_be_written_is_said_before_the_work(command, run, tmp_path, monkeypatch):
    for work in ("tmor.model.checkpoint.load_model", "tmor.model.published.import_unik"):
        monkeypatch.setattr(work, lambda *a, **k: pytest.fail("the work was begun"))
    *begin, name = command
    (tmp_path / name).write_text("mine")
    assert run(*begin, name) == (2, "", f"error: {name}: exists already; choose another name")
    assert (tmp_path / name).read_text() == "mine"
    assert run(*begin, f"{name}/{name}") == (2, "", f"error: {name}/{name}: {name} is a file")
    (tmp_path / name).unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run(*begin, name) == (2, "", f"error: {name}: the folder . can't be written")
    assert not (tmp_path / name).exists()


def test_two_outcomes_in_one_file(run, packed):
    code, out, err = run("evaluate", packed, "--mode", "detect", "--segments", "s.json", "-o", "./s.json")
    assert (code, out, err) == (
        2,
        "",
        "error: s.json: is named for two outcomes; choose another name for one of them",
    )


def test_a_full_disk_is_told_without_a_traceback(run, poses, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "here.safetensors")

    monkeypatch.setattr("tmor.model.checkpoint.save_model", full)
    code, _, err = run("adapt", poses, "-o", "here.safetensors")
    assert (code, err) == (2, "error: here.safetensors: No space left on device")


def test_brackets_in_a_name_are_not_markup(run, poses):
    code, _, err = run("predict", poses, "--labels", "clap", "--report", "q[bold].html")
    assert (code, err) == (0, "wrote q[bold].html")
    code, _, err = run("inspect", poses, "--png", "q[bold].png")
    assert (code, err) == (0, "wrote q[bold].png")


def test_threads_are_at_least_one(run):
    code, out, err = run("pretrain", "run.toml", "--data", ".", "-o", "run", "--threads", "0")
    assert (code, out) == (2, "")
    assert "'--threads'" in err
    assert "greater than or equal to 1" in err


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_fine_tuning_where_there_is_no_card_is_an_error(command, run, packed, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, err = run(command, packed, "-o", tmp_path / "new.safetensors", "--part", "is_train", "--device", "cuda")
    assert (code, out) == (2, "")
    assert " ".join(err.split()) == "error: device is 'cuda'; PyTorch sees no CUDA device on this machine"
    assert not (tmp_path / "new.safetensors").exists()


def test_benchmarks_and_their_protocols_are_listed(run, monkeypatch):
    monkeypatch.setattr("tmor.cli.out.width", 300)
    code, out, _ = run("prepare", "--list")
    assert code == 0
    from tmor.downstream.benchmarks import BENCHMARKS

    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.count("│") == 6}
    assert list(rows) == [benchmark.name for benchmark in BENCHMARKS]
    for benchmark in BENCHMARKS:
        cells = [cell.strip() for cell in rows[benchmark.name].split("│")[2:6]]
        assert cells[:2] == [benchmark.title, benchmark.task]
        assert cells[3] == ("a packed set" if benchmark.raw is None else ", ".join(benchmark.raw.expects))


@pytest.fixture(scope="module")
def penn(tmp_path_factory) -> Path:
    """The official files of a Penn Action of 24 samples, made from the sample motions."""
    root = tmp_path_factory.mktemp("penn")
    (root / "labels").mkdir()
    layout, floor = LAYOUTS["penn13"], np.array([240, 200])
    for n in range(24):
        action, motion = (("squat", "squat"), ("jumping_jacks", "clap"), ("bowl", "walk"))[n % 3]
        track = sample_track(motion, body=n % 4, style=n % 3, seed=n)
        points = floor + 80 * (track.to(layout).keypoints[..., :2] * [1, -1])
        content = {
            **{"x": points[..., 0], "y": points[..., 1], "visibility": np.ones((len(track), 13))},
            **{"nframes": len(track), "train": 1 if n < 15 else -1, "action": action},
        }
        savemat(root / "labels" / f"{n + 1:04}.mat", content)
    (root / "labels" / "0025.mat").write_bytes(b"no MATLAB file")
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A checkpoint that is quick, and knows nothing."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    shape = UnikShape((8, 8), (2, 2))
    save_model(Model(ModelSpec("tiny", shape, clip_frames=8, width=8, teacher="", views_deg=(0.0,))), path)
    return path


def test_from_official_files_to_figures(run, penn, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("tmor.cli.out.width", 200)
    code, out, err = run("prepare", "penn-action", penn, "-o", "penn")
    assert code == 0, err
    assert "Penn Action: 24 samples" in out
    assert "skipped 1: unreadable" in out
    assert "the authors count 2326 samples; prepared.json lists what was skipped" in out
    assert err == "wrote penn/penn_action.npz"
    assert json.loads((tmp_path / "penn/prepared.json").read_text())["skipped_samples"][0]["id"] == "0025.mat"
    code, _, err = run("prepare", "penn-action", penn, "-o", "penn")
    assert (code, "penn_action.npz: exists already; choose another folder" in err) == (2, True)

    options = ("evaluate", "penn", "--model", tiny, "--mode", "linear", "--mode", "raw")
    code, out, err = run(*options, "-o", "results/penn.json")
    assert code == 0, err
    assert err == "wrote results/penn.json"
    cells = [[cell.strip() for cell in line.split("│")[1:5]] for line in out.splitlines() if "│" in line]
    assert [row[:2] for row in cells[:2]] == [
        ["penn_action, official", "raw 3-nearest-neighbour top-1"],
        ["penn_action, official", "linear probe top-1"],
    ]
    assert cells[2] == ["penn_action, official", "top-1", "97.9", "published: UNIK + Posetics"]
    written = json.loads((tmp_path / "results/penn.json").read_text())
    code, out, _ = run(*options, "--json")
    assert json.loads(out) == written
    (result,) = written
    assert [result[key] for key in ("model", "benchmark", "protocol", "part")] == [
        "tiny",
        "penn_action",
        "official",
        "test",
    ]
    assert [result[key] for key in ("train", "test", "folds", "classes")] == [15, 9, 1, 15]
    assert result["published"] == [["UNIK + Posetics", "top1", 97.9]]
    assert result["raw"]["top1"]["mean"] > 50, "three kinds of movement"
    assert result["linear"]["top1"]["std"] is None

    code, out, err = run("evaluate", "penn/penn_action.npz", "--model", tiny, "--protocol", "xsub", "--mode", "raw")
    assert (code, "penn-action has no protocol 'xsub'; expected official or one of official" in err) == (2, True)
    code, out, err = run("evaluate", "penn", "--model", tiny, "--mode", "raw", "--validation", "--json")
    assert code == 0, err
    assert [json.loads(out)[0][key] for key in ("train", "test")] == [9, 6]


def test_prepare_speaks_to_programs(run, penn):
    code, out, _ = run("prepare", "penn_action", penn, "-o", "penn", "--json")
    assert code == 0
    assert json.loads(out) == {"path": "penn/penn_action.npz", "samples": 24, "skipped": {"unreadable": 1}}


def test_detection_in_joined_samples(run, packed, tiny, tmp_path):
    options = ("evaluate", packed, "--part", "is_train", "--model", tiny, "--mode", "detect", "--join")
    options = (*options, "--heads", "linear", "--segments", "found/segments.json", "-o", "results/mine.json")
    code, out, err = run(*options)
    assert code == 0, err
    assert "linear: frame-mAP" in out
    (result,) = json.loads((tmp_path / "results/mine.json").read_text())
    assert (result["benchmark"], result["recordings"], list(result["detect"])) == ("mine joined", 2, ["linear"])
    found = json.loads((tmp_path / "found/segments.json").read_text())
    assert list(found) == ["mine joined 1"]
    for segment in found["mine joined 1"]:
        assert set(segment) == {"start_s", "end_s", "label", "score"}
        assert segment["label"] in ("squat", "clap", "kick")
    code, _, err = run(*options[:-2])
    assert (code, "segments.json: exists already; choose another name" in err) == (2, True)


def retrieved(run, file, *options) -> dict:
    code, out, err = run("evaluate", file, "--mode", "retrieve", "--json", *options)
    assert code == 0, err
    (result,) = json.loads(out)
    return result


def test_retrieval_is_measured_on_what_is_not_the_training_part(run, tmp_path):
    path = tmp_path / "told.npz"
    tracks = [replace(sample_track("squat", seed=i), id=str(i)) for i in range(5)]
    write_packed(path, tracks, columns={"is_train": np.arange(5) < 3, "subject": np.arange(5)})
    rows = [{"seq_id": str(i), "start_s": None, "end_s": None, "text": f"movement {i}"} for i in range(5)]
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    found = retrieved(run, path)
    assert (found["part"], found["retrieve"]["clips"]) == ("all", 5)
    for part, rest, clips in (
        ("is_train", "not is_train", 2),
        ("not is_train", "is_train", 3),
        ("subject == 1", "subject != 1", 4),
        ("subject != 1", "subject == 1", 1),
    ):
        found = retrieved(run, path, "--part", part)
        assert (found["part"], found["retrieve"]["clips"]) == (rest, clips)


def test_retrieval_of_humanml3d_counts_the_first_caption_of_each_test_motion(run, tmp_path):
    path = tmp_path / "humanml3d.npz"
    tracks = [replace(sample_track("squat", seed=i), id=f"{i:06}") for i in range(3)]
    write_packed(path, tracks, columns={"is_test": [True, True, False]})
    spans = ((None, None, "first"), (0.5, 1.5, "second"), (None, None, "third"))
    rows = [{"seq_id": t.id, "start_s": a, "end_s": b, "text": f"{x} {t.id}"} for t in tracks for a, b, x in spans]
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    found = retrieved(run, path)
    assert (found["part"], found["retrieve"]["clips"], len(found["published"])) == ("is_test", 2, 8)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("evaluate", "mine.npz"), "how 'mine' is split is not known; name its training part with --part"),
        (("evaluate", "mine.npz", "--part", "is_trian"), "set 'mine' has no part 'is_trian'; its parts are is_train"),
        (("evaluate", "mine.npz", "--part", "is_train", "--mode", "guess"), "mode is 'guess'; expected one of"),
        (("predict", "mine.npz", "--labels", "a", "--model", "tmor-huge"), "there is no such checkpoint"),
        (("pretrain", "absent.toml", "--data", ".", "-o", "run"), "absent.toml"),
        (("report", "."), "holds no *.json"),
        (("report", "mine.npz"), "mine.npz: is a file; expected the folder of JSON files that tmor evaluate wrote"),
        (("report", "gone"), "gone: there is no such folder; expected the folder of JSON files that tmor evaluate"),
        (("import-weights", "unet", "x.pt", "-o", "y.safetensors"), "kind is 'unet'; expected unik"),
    ],
)
def test_the_users_mistakes_exit_with_2_and_say_what_was_expected(run, packed, args, message):
    code, _, err = run(*args)
    assert code == 2
    assert message in err


EVALUATE = ("evaluate", "mine.npz", "--part", "is_train")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*EVALUATE, "--protocol", "official"), "--protocol and --part are both given; expected one of them"),
        (
            ("evaluate", "mine.npz", "--protocol", "xsub"),
            "--protocol xsub: the set is none of the known benchmarks; use --part",
        ),
        ((*EVALUATE, "--shots", "1,many"), "--shots holds 'many'; expected whole numbers above 0"),
        ((*EVALUATE, "--shots", "0"), "--shots holds '0'; expected whole numbers above 0"),
        ((*EVALUATE, "--shots", "-1"), "--shots holds '-1'; expected whole numbers above 0"),
        ((*EVALUATE, "--shots", ","), "--shots is empty; expected at least one, separated by commas"),
        (
            (*EVALUATE, "--mode", "few-shot", "--shots", "3"),
            "class 'clap' has 2 training samples; expected at least 3 for 3-shot",
        ),
        ((*EVALUATE, "--streams", "joint,bones"), "stream is 'bones'; expected one of joint, bone, joint-3d, bone-3d"),
        ((*EVALUATE, "--mode", "finetune", "--share", "0"), "share is 0.0; expected a number above 0, at most 1"),
        (
            (*EVALUATE, "--mode", "detect", "--join", "--heads", "lstm"),
            "head is 'lstm'; expected one of text, raw, linear, tcn, causal, finetune, scratch",
        ),
        (
            (*EVALUATE, "--mode", "detect"),
            "mine.npz: has no tags, segments or frame labels; detection needs to know what happens when",
        ),
        (
            (*EVALUATE, "--mode", "detect", "--validation"),
            "--validation is for modes of classification; detect and retrieve would read the test part",
        ),
        (
            (*EVALUATE, "--mode", "detect", "--mode", "guess"),
            "mode is 'guess'; expected one of zero-shot, few-shot, linear, adapted, finetune, scratch, raw, detect, "
            "retrieve",
        ),
        *(
            ((*EVALUATE, "--mode", "raw", *option), f"{option[0]} is for --mode {needed}; the modes are raw")
            for *option, needed in (
                ("--segments", "x", "detect"),
                ("--submission", "x", "detect"),
                ("--join", "detect"),
                ("--captions", "x", "retrieve"),
            )
        ),
        (
            (*EVALUATE, "--mode", "detect", "--join", "--views", "x"),
            "--views is for --mode zero-shot or few-shot or linear or adapted or finetune or scratch or raw; the modes "
            "are detect",
        ),
        (
            (*EVALUATE, "--mode", "detect", "--join", "--submission", "x"),
            "mine.npz: --submission is for Charades by its official protocol; this is 'mine joined' by is_train",
        ),
        (
            ("evaluate", "mine.npz", "./mine.npz", "--part", "is_train", "--views", "x"),
            "mine.npz: a set named 'mine' is given before it; expected names that differ",
        ),
        (
            ("calibrate", "mine.npz", "./mine.npz", "--part", "is_train", "-o", "x.safetensors"),
            "mine.npz: a set named 'mine' is given before it; expected names that differ",
        ),
        (
            (*EVALUATE, "--mode", "retrieve"),
            "mode retrieve needs captions: there is no captions.json; name a file with --captions",
        ),
        (("prepare",), "expected a benchmark, its folder and -o FOLDER; tmor prepare --list shows the benchmarks"),
        (
            ("prepare", "penn-action", "gone", "-o", "x"),
            "gone: is not a folder; expected the root folder of Penn Action",
        ),
        (
            ("prepare", "penn-action", ".", "-o", "x"),
            ".: not the root folder of Penn Action: expected labels inside it; it holds mine.npz",
        ),
        (
            ("prepare", "utd-mhad", ".", "-o", "x"),
            "utd-mhad comes as a packed set; give its .npz to tmor evaluate as it is",
        ),
    ],
)
def test_mistakes_with_benchmarks_exit_with_2_and_say_just_this(run, packed, tmp_path, args, message):
    assert run(*args) == (2, "", f"error: {message}")
    assert not (tmp_path / "x").exists()


def test_a_folder_of_several_sets_is_an_error(run, packed, tmp_path):
    (tmp_path / "other.npz").write_bytes(b"")
    message = ".: holds 2 .npz files; expected a folder that tmor prepare wrote, with one"
    assert run("evaluate", ".") == (2, "", f"error: {message}")


def test_an_unknown_benchmark_is_answered_with_those_that_there_are(run):
    from tmor.downstream.benchmarks import BENCHMARKS

    code, _, err = run("prepare", "penn", ".", "-o", "x")
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    assert (code, err) == (2, f"error: benchmark 'penn' is not known; expected one of {names}")


def test_help_needs_no_torch(tmp_path):
    check = "import sys, tmor.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, env=os.environ, cwd=tmp_path)


@pytest.mark.slow
def test_the_demo_names_most_of_its_own_motions(run):
    code, out, _ = run("demo", "--json")
    assert code == 0
    answer = json.loads(out)
    assert len(answer["samples"]) >= 60
    assert answer["right"] >= 3 * len(answer["samples"]) / 24, "at least three times chance"


def test_an_exported_model_predicts_as_the_model_does(run, poses):
    pytest.importorskip("onnxscript", reason="needs tmor[onnx]")
    code, _, err = run("export", "onnx", "tmor-small", "-o", "small.onnx", "--labels", "squat, walk, clap")
    assert (code, err.splitlines()[-1]) == (0, "wrote small.onnx")
    code, out, _ = run("predict", poses, "--labels", "squat, walk, clap", "--json")
    assert code == 0
    expected = json.loads(out)["tracks"]
    code, out, _ = run("predict", poses, "--onnx", "small.onnx", "--labels", "squat, walk, clap", "--json")
    assert code == 0
    for found, wanted in zip(json.loads(out)["tracks"], expected, strict=True):
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=2e-4)
    code, _, err = run("predict", poses, "--onnx", "small.onnx", "--labels", "squat, juggle")
    assert code == 2
    assert "juggle" in err
    assert run("export", "caffe", "tmor-small", "-o", "x.onnx")[0] == 2


def test_the_people_of_a_video_are_found_first(run, tmp_path, monkeypatch):
    import tmor.pose

    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(100))
    asked = []

    class Finder:
        def close(self) -> None:
            asked.append("closed")

    def find(path, finder, *, progress):
        progress(0.5, 1.0)
        tracks = [sample_track("squat")] if len(asked) == 1 else []
        return tmor.pose.PoseResult(tracks, None, None, cached=False)  # pyright: ignore

    monkeypatch.setattr(tmor.pose, "load_estimator", lambda name: asked.append(name) or Finder())
    monkeypatch.setattr(tmor.pose, "find_people", find)
    code, out, _ = run("predict", clip, "--labels", "squat, clap", "--estimator", "mediapipe", "--json")
    assert code == 0
    assert asked == ["mediapipe", "closed"]
    assert len(json.loads(out)["tracks"]) == 1
    code, _, err = run("predict", clip, "--labels", "squat")
    assert (code, "clip.mp4: nobody was found in the video" in err) == (2, True)


# ---- serve


def test_serve_on_other_addresses_demands_a_token(run):
    for address in ("0.0.0.0", "example.org"):
        code, _, message = run("serve", "--host", address)
        assert code == 2
        assert message == (
            f"error: --host {address} can be reached from other machines; expected a --token that requests must carry"
        )
    assert run("serve", "--token", "two words")[0] == 2


def test_serve_says_what_it_lacks(run, tmp_path, monkeypatch):
    code, _, message = run("serve", "--examples", tmp_path / "none.npz")
    assert (code, message) == (2, f"error: {tmp_path / 'none.npz'}: there is no such file")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, message = run("serve", "--port", port)
    assert code == 2 and message.startswith(f"error: can't listen on 127.0.0.1, port {port}: Address already in use")
    monkeypatch.delitem(sys.modules, "tmor.serve.web")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, message = run("serve")
    assert (code, message) == (
        2,
        "error: the web page needs packages that are not installed (uvicorn); pip install 'tmor[web]'",
    )


@pytest.mark.slow
def test_serve_until_told_to_stop_and_leave_nothing(tmp_path, poses):
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "tmor", "serve", "--port", "0", "--model", "tmor-small"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            address = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/) in a browser; Ctrl\+C ends\n", said)
            assert address is not None, said
            with urllib.request.urlopen(address[1]) as page:
                assert b"What is this person doing, and when?" in page.read()
            request = urllib.request.Request(f"{address[1]}api/jobs?name=a", poses.read_bytes(), method="POST")
            assert urllib.request.urlopen(request).status == 202
            assert len(list((tmp_path / "tmp").glob("tmor-serve-*"))) == 1
        finally:
            server.send_signal(signal.SIGINT)
            code = server.wait(30)
    assert code == 130
    assert list((tmp_path / "tmp").glob("tmor*")) == []
