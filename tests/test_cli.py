"""The command line as a user meets it: what it prints, and how it says no."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tmor import cli
from tmor.skeleton.formats import write_packed, write_tracks
from tmor.skeleton.sample import sample_track


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line in this process; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tmor", *map(str, args)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        done = capsys.readouterr()
        return code, done.out, " ".join(done.err.split())

    return call


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
        assert set(track["probabilities"]) == {"squat", "clap", "手を振る"}
        assert sum(track["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert track["segments"][0]["start_s"] == track["start_s"]
        assert track["segments"][-1]["end_s"] == track["end_s"]


def test_predict_writes_a_report_and_a_table(run, poses, tmp_path):
    code, out, _ = run("predict", poses, "--labels", "squat,clap", "--report", tmp_path / "out.html")
    assert code == 0
    assert "squat" in out
    assert "<html" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", "a label is empty; expected words"),
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
    assert "| mine | linear probe top-1 |" in out


def test_fine_tuned_models_predict_without_labels(run, packed, poses, tmp_path):
    tuned = tmp_path / "tuned.safetensors"
    code, _, err = run("finetune", packed, "-o", tuned, "--part", "is_train", "--epochs", "2")
    assert code == 0, err
    code, out, _ = run("predict", poses, "--model", tuned, "--json")
    assert code == 0
    assert set(json.loads(out)["tracks"][0]["probabilities"]) == {"squat", "clap", "kick"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("evaluate", "mine.npz"), "the training part of 'mine' is not known; name it"),
        (("evaluate", "mine.npz", "--part", "is_trian"), "set 'mine' has no part 'is_trian'; its parts are is_train"),
        (("evaluate", "mine.npz", "--part", "is_train", "--mode", "guess"), "mode is 'guess'; expected one of"),
        (("predict", "mine.npz", "--labels", "a", "--model", "tmor-huge"), "there is no such checkpoint"),
        (("pretrain", "absent.toml", "--data", ".", "-o", "run"), "absent.toml"),
        (("report", "."), "holds no *.json"),
        (("import-weights", "unet", "x.pt", "-o", "y.safetensors"), "kind is 'unet'; expected unik"),
    ],
)
def test_the_users_mistakes_exit_with_2_and_say_what_was_expected(run, packed, args, message):
    code, _, err = run(*args)
    assert code == 2
    assert message in err


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
