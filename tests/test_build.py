"""Building data sets: stop, resume, extend, refuse; what is skipped is listed."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tmor.cli import app
from tmor.config import BuildConfig
from tmor.errors import TmorError
from tmor.pose.videos import content_id
from tmor.posecap import build as building
from tmor.posecap import engines
from tmor.posecap.audit import verify
from tmor.posecap.build import REPORT, build, embed
from tmor.posecap.captioners import Clip, EndpointCaptioner
from tmor.posecap.readers import Clips, PoseReader, _cut_all, cut
from tmor.posecap.shards import create_shards, open_shards
from tmor.posecap.sources import Source, find_poses, find_videos
from tmor.posecap.texts import Caption
from tmor.posecap.triplets import read_triplets
from tmor.skeleton.formats import write_packed, write_tracks
from tmor.skeleton.sample import sample_set
from tmor.skeleton.tracks import Track

SAMPLES = [track for _, track in sample_set()]


@dataclass(frozen=True)
class FakeReader:
    """The file's text is a number: the sample motion that it "shows"."""

    config: BuildConfig = field(default_factory=BuildConfig)
    sleep_s: float = 0.0
    hash: str = "fake-1"

    def __call__(self, source: Source) -> Clips:
        text = source.path.read_text()
        if not text.isdigit():
            if text == "die":
                os._exit(9)
            raise TmorError(f"{source.path}: can't be read as a video")
        time.sleep(self.sleep_s)
        track = SAMPLES[int(text) % len(SAMPLES)]
        return _cut_all([track], source, self.config, "fake", self.hash)


class Moves:
    """A captioner."""

    name = "fake words"

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        return (f"moves {clip.label}",)


def videos(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"clip{i:03d}.mp4").write_text(str(i))
    return folder


def rows(path: Path) -> list[tuple]:
    return [
        (r.id, r.source, r.source_hash, r.track.keypoints.tobytes(), tuple(t.text for t in r.texts))
        for _, r in open_shards(path).records()
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("built")
    source = videos(folder / "videos", 12)
    captions = [Caption(f"clip{i:03d}", f"does thing {i}") for i in range(12)]
    build(folder / "out", find_videos([source]), FakeReader(), captions=captions)
    return source, folder / "out"


def test_every_triplet_knows_where_it_is_from(built: tuple[Path, Path]) -> None:
    source, out = built
    records = [record for _, record in open_shards(out).records()]
    assert {record.source for record in records} == {path.name for path in source.iterdir()}
    for record in records:
        assert record.collection == "videos"
        assert record.source_hash == content_id(source / record.source)
        assert (record.estimator, record.estimator_hash) == ("fake", "fake-1")
        assert [t.text for t in record.texts] == [f"does thing {int(record.source[4:7])}"]
        number = int((source / record.source).read_text())
        whole = SAMPLES[number]
        first = round(record.track.start_s * 30)
        own = whole.keypoints[first : first + len(record.track)]
        assert np.abs(record.track.keypoints - own).max() < 2e-3  # metres


def test_the_same_command_again_does_nothing(built: tuple[Path, Path]) -> None:
    source, out = built
    before = rows(out)
    captions = [Caption(f"clip{i:03d}", f"does thing {i}") for i in range(12)]
    report = build(out, find_videos([source]), FakeReader(), captions=captions)
    assert (report.built, report.already, report.clips, report.rewritten) == (0, 12, 0, 0)
    assert rows(out) == before


def test_extended_later_equals_built_at_once(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 5)
    build(tmp_path / "a", find_videos([source]), FakeReader())
    videos(source, 9)
    report = build(tmp_path / "a", find_videos([source]), FakeReader())
    assert (report.built, report.already) == (4, 5)
    build(tmp_path / "b", find_videos([source]), FakeReader())
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


def test_new_captions_need_no_new_poses(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 4)
    build(tmp_path / "out", find_videos([source]), FakeReader())
    n = len(open_shards(tmp_path / "out"))

    captions = [Caption("clip001.mp4", "waves", kind="label"), Caption("nobody.mp4", "x", 3.0)]
    report = build(tmp_path / "out", [], None, captions=captions)
    assert report.unused_captions == ["nobody.mp4 at 3 s"]
    records = [r for _, r in open_shards(tmp_path / "out").records()]
    assert len(records) == n
    assert {r.source for r in records if r.texts} == {"clip001.mp4"}
    assert {r.label for r in records if r.texts} == {"waves"}
    assert report.rewritten == sum(bool(r.texts) for r in records) > 0
    described = build(tmp_path / "out", [], None, captioner=Moves())
    assert described.rewritten == n  # a class name alone is described, too
    assert build(tmp_path / "out", [], None, captioner=Moves()).rewritten == 0
    texts = {t for _, r in open_shards(tmp_path / "out").records() for t in r.texts if r.source == "clip000.mp4"}
    assert {(t.text, t.kind, t.origin) for t in texts} == {("moves None", "generated", "fake words")}
    texts = {t for _, r in open_shards(tmp_path / "out").records() for t in r.texts if r.source == "clip001.mp4"}
    assert {(t.text, t.kind, t.origin) for t in texts} == {
        ("waves", "label", ""),
        ("moves waves", "generated", "fake words"),
    }


def told(path: Path) -> dict[str, tuple]:
    """{id: (label, all of its texts)}."""
    return {r.id: (r.label, [(t.text, t.kind, t.origin) for t in r.texts]) for _, r in open_shards(path).records()}


@pytest.mark.parametrize("said", ["text", "label", "text,label"])
@pytest.mark.parametrize("with_source", [False, True])
def test_captions_given_later_equal_captions_given_at_once(tmp_path: Path, said: str, with_source: bool) -> None:
    some = [replace(track, id=f"s{i}") for i, track in enumerate(SAMPLES[:4])]
    write_packed(tmp_path / "gym.npz", some, labels=["clap", "no_such", "clap", "clap"])
    captions = tmp_path / "captions.csv"
    # What both say ("clap") is the source's own word, and stays when other captions come.
    cells = {"text": "claps both hands", "label": "clap", "text,label": "claps both hands,clap"}
    captions.write_text(f"source,{said}\ngym.npz,{cells[said]}\n")
    poses = ["--from-poses", str(tmp_path / "gym.npz")]

    def run(out: str, *options: str) -> str:
        found = CliRunner().invoke(app, ["build", "-o", str(tmp_path / out), *options])
        assert found.exit_code == 0
        return found.stdout

    run("bare", *poses)
    run("later", *poses)
    run("once", *poses, "--captions", str(captions))
    assert "older triplet" in run("later", *(poses if with_source else []), "--captions", str(captions))
    assert told(tmp_path / "later") == told(tmp_path / "once")
    assert {label for label, _ in told(tmp_path / "once").values()} == {"clap", "no_such"}
    kinds = {kind for _, texts in told(tmp_path / "once").values() for _, kind, _ in texts}
    assert kinds >= {"label", "description"}
    captions.write_text("source,text\ngym.npz,moves about\n")
    run("later", "--captions", str(captions))
    run("moved", *poses, "--captions", str(captions))
    assert told(tmp_path / "later") == told(tmp_path / "moved")
    for id, (label, texts) in told(tmp_path / "bare").items():
        assert told(tmp_path / "moved")[id] == (label, [("moves about", "caption", "captions.csv"), *texts])


def test_a_captioner_given_later_equals_one_given_at_once(tmp_path: Path) -> None:
    some = [replace(track, id=f"s{i}") for i, track in enumerate(SAMPLES[:3])]
    write_packed(tmp_path / "gym.npz", some, labels=["clap", "no_such", None])
    sources, reader = find_poses([tmp_path / "gym.npz"]), PoseReader(BuildConfig())
    build(tmp_path / "later", sources, reader)
    assert build(tmp_path / "later", sources, reader, captioner=Moves()).rewritten == 2
    assert build(tmp_path / "once", sources, reader, captioner=Moves()).rewritten == 0
    assert told(tmp_path / "later") == told(tmp_path / "once")
    assert told(tmp_path / "once")["gym/s1"] == (
        "no_such",
        [("no such", "label", "gym.npz"), ("moves no such", "generated", "fake words")],
    )
    assert told(tmp_path / "once")["gym/s2"] == (None, [("moves None", "generated", "fake words")])
    assert [kind for _, kind, _ in told(tmp_path / "once")["gym/s0"][1]] == ["label"] + ["description"] * 8
    # Captions take the place of generated words, as if they had been there at first.
    captions = [Caption("gym", "moves about", origin="captions.csv")]
    build(tmp_path / "later", [], None, captions=captions)
    build(tmp_path / "captioned", sources, reader, captions=captions)
    assert told(tmp_path / "later") == told(tmp_path / "captioned")


def test_what_is_missing_or_too_much_is_listed(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 4)
    (source / "broken.mp4").write_text("no video")
    (source / "copy.mp4").write_text("0")
    (source / "notes.txt").write_text("not a video")
    still = Track(np.repeat(SAMPLES[0].keypoints[:1], 60, axis=0), SAMPLES[0].layout, 30.0)
    assert cut(still, BuildConfig())[1] == Counter({"moves less than 0.02 body sizes": 1})
    sources = find_videos([source])
    (source / "clip003.mp4").unlink()  # in mid-build, as far as the build can tell
    captions = [Caption("clip000", "a"), Caption("clip001.mp4", "b"), Caption("other.mp4", "c")]
    report = build(tmp_path / "out", sources, FakeReader(), captions=captions)
    assert report.skipped == {
        "broken.mp4": f"{source}/broken.mp4: can't be read as a video",
        "clip003.mp4": f"{source}/clip003.mp4: there is no such file; expected a video file "
        "(MP4, MOV, MKV, WebM, AVI, MPEG, ...)",
    }
    assert report.same_content == {"copy.mp4": "clip000.mp4"}
    assert report.without_text == ["clip002.mp4"]
    assert report.unused_captions == ["other.mp4"]
    assert (report.sources, report.built, report.triplets) == (6, 3, len(open_shards(tmp_path / "out")))
    assert json.loads((tmp_path / "out" / REPORT).read_text())["skipped"] == report.skipped


def test_near_duplicates_stay_out_and_the_changed_file_is_named(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 2)
    first = build(tmp_path / "out", find_videos([source]), FakeReader())
    again = str(len(SAMPLES))  # the same motion from a file of other bytes
    (source / "again.mp4").write_text(again)
    (source / "clip001.mp4").write_text("7")
    report = build(tmp_path / "out", find_videos([source]), FakeReader())
    assert report.clips == 0
    assert report.without_clips["again.mp4"]["nearly the same as another clip of its split"] > 0
    assert report.skipped["clip001.mp4"].startswith("its content has changed since it was built")
    assert report.triplets == first.triplets


def test_the_second_build_refuses_and_a_dead_one_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = videos(tmp_path / "videos", 2)
    out = tmp_path / "out"
    with building._locked(out):
        here = f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(TmorError) as error:
            build(out, find_videos([source]), FakeReader())
        assert str(error.value) == f"{out}: {here} is building it; wait for it to end, or stop it"
    (out / "build.lock").write_text(f"process 999999 on {socket.gethostname()}\n")
    build(out, find_videos([source]), FakeReader())
    assert "process 999999" in caplog.text and "going on from its last commit" in caplog.text
    (out / "build.lock").write_text("process 1 on elsewhere\n")
    with pytest.raises(TmorError, match="process 1 on elsewhere is building it, or died there; if it died, delete"):
        build(out, find_videos([source]), FakeReader())


def test_other_settings_or_estimators_are_not_mixed_in(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 2)
    build(tmp_path / "out", find_videos([source]), FakeReader())
    with pytest.raises(TmorError, match=r"was built with clip_s 4\.0; use the same"):
        build(tmp_path / "out", find_videos([source]), FakeReader(), config=BuildConfig(clip_s=2))
    videos(source, 3)
    with pytest.raises(TmorError, match="poses were found by fake; those of fake can't be mixed in"):
        build(tmp_path / "out", find_videos([source]), FakeReader(hash="fake-2"))


def test_a_full_disk_leaves_the_last_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lance

    source = videos(tmp_path / "videos", 6)
    write, calls = lance.write_dataset, []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return write(*args, **kwargs)

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(TmorError, match=r"can't be written: .*No space left on device; the data set is as it was"):
        build(tmp_path / "out", find_videos([source]), FakeReader(), commit_rows=1)
    assert {r.source for _, r in open_shards(tmp_path / "out").records()} == {"clip000.mp4", "clip001.mp4"}
    monkeypatch.undo()
    build(tmp_path / "out", find_videos([source]), FakeReader(), commit_rows=1)
    build(tmp_path / "once", find_videos([source]), FakeReader())
    assert rows(tmp_path / "out") == rows(tmp_path / "once")


_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_build import FakeReader
from tmor.posecap.build import build
from tmor.posecap.sources import find_videos
print("ready", flush=True)
build({out!r}, find_videos([Path({source!r})]), FakeReader(sleep_s=0.01), commit_rows=1)
"""


def killed_builds(tmp_path: Path, *, times: int, seed: int) -> None:
    source, out = videos(tmp_path / "videos", 40), tmp_path / "out"
    code = _CHILD.format(tests=str(Path(__file__).parent), out=str(out), source=str(source))
    chance = random.Random(seed)
    for _ in range(times):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.0, 0.5))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    build(out, find_videos([source]), FakeReader(), commit_rows=1)
    build(tmp_path / "once", find_videos([source]), FakeReader())
    assert rows(out) == rows(tmp_path / "once")


def test_killed_builds_lose_and_double_nothing(tmp_path: Path) -> None:
    killed_builds(tmp_path, times=3, seed=0)


@pytest.mark.slow
def test_twenty_killed_builds_lose_and_double_nothing(tmp_path: Path) -> None:
    killed_builds(tmp_path, times=20, seed=1)


@pytest.mark.slow
def test_a_pool_outlives_its_processes(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 8)
    (source / "clip0035.mp4").write_text("die")
    report = build(tmp_path / "out", find_videos([source]), FakeReader(), workers=2)
    assert report.skipped == {"clip0035.mp4": "the process that read it died"}
    (source / "clip0035.mp4").unlink()
    build(tmp_path / "once", find_videos([source]), FakeReader())
    assert rows(tmp_path / "out") == rows(tmp_path / "once")


def test_a_process_that_dies_while_nobody_waits_for_it_takes_its_source_alone(tmp_path: Path) -> None:
    source = videos(tmp_path / "videos", 4)
    (source / "clip001.mp4").write_text("die")
    items, errors = iter([(s, "") for s in find_videos([source])]), []
    for made in engines.read_all(FakeReader(), items, workers=1, engine="local"):
        errors.append(made.error)
        if len(errors) == 1:
            time.sleep(2)  # as a commit takes
    assert errors == ["", "the process that read it died", "", ""]


@pytest.mark.slow
def test_ray_builds_the_same(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    source = videos(tmp_path / "videos", 8)
    (source / "broken.mp4").write_text("no video")
    tests = str(Path(__file__).parent)
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": f"{tests}:src"}})
    try:
        report = build(tmp_path / "out", find_videos([source]), FakeReader(), workers=2, engine="ray")
        assert list(report.skipped) == ["broken.mp4"]
        again = build(tmp_path / "out", find_videos([source]), FakeReader(), workers=2, engine="ray")
        assert (again.built, again.already) == (0, 8)
    finally:
        ray.shutdown()
    build(tmp_path / "once", find_videos([source]), FakeReader())
    assert rows(tmp_path / "out") == rows(tmp_path / "once")


def test_pose_files_and_packed_sets(tmp_path: Path) -> None:
    folder = tmp_path / "poses"
    folder.mkdir()
    some = [replace(track, id=str(i)) for i, track in enumerate(SAMPLES[:6])]
    train = np.array([True, True, True, True, False, False])
    write_packed(folder / "gym.npz", some, labels=["wave", "clap"] * 3, columns={"is_train": train})
    write_tracks(folder / "own.npz", SAMPLES[6:8])
    out = tmp_path / "out"
    report = build(
        out, find_poses([folder / "gym.npz"], part="is_train"), PoseReader(BuildConfig(), "is_train"), split="train"
    )
    assert report.clips == 4
    build(out, find_poses([folder / "gym.npz"], part="not is_train"), PoseReader(BuildConfig(), "not is_train"))
    whole = build(out, find_poses([folder]), PoseReader(BuildConfig()), licence="CC0")
    assert whole.left_out["there already, from another part or file"] == 6
    records = [r for _, r in open_shards(out).records()]
    assert Counter(r.source for r in records if r.split) == {"gym.npz#is_train": 4}
    assert Counter(r.source for r in records if r.collection == "gym") == {
        "gym.npz#is_train": 4,
        "gym.npz#not is_train": 2,
    }
    assert {r.licence for r in records if r.collection == "poses"} == {"CC0"}
    wave = next(r for r in records if r.label == "wave")
    assert (wave.texts[0].text, wave.texts[0].kind, wave.texts[0].origin) == ("wave", "label", "gym.npz")
    assert {t.kind for t in wave.texts[1:]} == {"description"}
    assert len(wave.track) == len(SAMPLES[0])


def test_captions_by_sequence_leave_the_other_sequences_as_they_are(tmp_path: Path) -> None:
    some = [replace(track, id=f"s{i}") for i, track in enumerate(SAMPLES[:4])]
    write_packed(tmp_path / "gym.npz", some, labels=["wave", "clap"] * 2)
    write_tracks(tmp_path / "own.npz", SAMPLES[6:7])
    captions = [
        {"seq_id": "s1", "start_s": None, "end_s": None, "text": "claps twice"},
        {"seq_id": "nobody", "start_s": 2, "end_s": 3, "text": "hops"},
    ]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    out = str(tmp_path / "out")
    command = ["build", "-o", out, "--from-poses", str(tmp_path / "gym.npz")]
    command += ["--from-poses", str(tmp_path / "own.npz"), "--captions", str(tmp_path / "captions.json"), "--json"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0
    report = json.loads(run.stdout)
    assert report["unused_captions"] == ["nobody at 2 s"]
    assert report["without_text"] == ["own.npz"]
    assert report["clips"] == report["triplets"] == len(open_shards(out))
    records = {r.id: r for _, r in open_shards(out).records() if r.collection == "gym"}
    plain = {t.id: t for t in read_triplets(tmp_path / "gym.npz")}
    assert set(records) == set(plain)
    for id, own in records.items():
        expected = ("claps twice",) if id == "gym/s1" else plain[id].texts
        assert tuple(t.text for t in own.texts) == expected
        assert own.label == (None if id == "gym/s1" else plain[id].label)
    again = CliRunner().invoke(app, command)
    assert "captions by sequence choose the clips when a set is built" in " ".join(again.stderr.split())


def test_captions_of_unknown_sequences_are_told_and_nothing_false(tmp_path: Path) -> None:
    write_packed(tmp_path / "gym.npz", [replace(SAMPLES[0], id="s0")], labels=["wave"])
    captions = [{"seq_id": "nobody", "start_s": None, "end_s": None, "text": "hops"}]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    command = ["build", "-o", str(tmp_path / "out"), "--from-poses", str(tmp_path / "gym.npz")]
    run = CliRunner().invoke(app, [*command, "--captions", str(tmp_path / "captions.json")])
    assert run.exit_code == 0
    assert "1 caption is about no source: nobody" in " ".join(run.stdout.split())
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert (report["clips"], report["left_out"], report["without_clips"]) == (1, {}, {})
    assert report["unused_captions"] == ["nobody"]
    # Without the set, seq_id is the name of a source as any other.
    run = CliRunner().invoke(app, ["build", "-o", str(tmp_path / "out"), "--captions", str(tmp_path / "captions.json")])
    assert "1 caption is about no source: nobody" in " ".join(run.stdout.split())


@pytest.mark.shared
def test_a_real_set_trains_the_same_from_either(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "florence3d" / "florence3d.npz"
    part = "is_train_xsub"
    build(tmp_path / "out", find_poses([path], part=part), PoseReader(BuildConfig(), part))
    before = {t.id: t for t in read_triplets(path, part=part)}
    after = open_shards(tmp_path / "out").triplets()
    assert len(after) == len(before)
    for triplet in after:
        own = before[triplet.id]
        assert (triplet.source, triplet.label, triplet.texts) == (own.source, own.label, own.texts)
        assert (triplet.track.fps, triplet.track.layout) == (own.track.fps, own.track.layout)
        away = np.abs(own.track.keypoints - np.nanmedian(own.track.keypoints, axis=(0, 1)))
        error = np.abs(triplet.track.keypoints - own.track.keypoints)
        assert np.array_equal(np.isnan(error), np.isnan(own.track.keypoints))
        assert not (error > away * 2.0**-11 + 1e-4).any()


def test_the_command(tmp_path: Path) -> None:
    some = [replace(track, id=str(i)) for i, track in enumerate(SAMPLES[:6])]
    write_packed(tmp_path / "gym.npz", some, labels=["wave", "clap"] * 3, columns={"fold": np.arange(6) % 3})
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "a.mp4").write_text("no video")
    out = str(tmp_path / "out")
    command = ["build", "-o", out, "--from-poses", str(tmp_path), "--part", "fold != 0", "--licence", "CC0", "--json"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0
    report = json.loads(run.stdout)
    assert (report["clips"], report["triplets"], list(report["skipped"])) == (4, 4, ["broken.npz#fold != 0"])
    again = CliRunner().invoke(app, command)
    report = json.loads(again.stdout)
    assert (report["already"], report["sources"]) == (1, 2)  # the data set's own files are none
    for wrong, message in (
        (["build", "-o", out, "--split", "val"], "--split val; expected train, test, or nothing"),
        (
            ["build", "-o", out, "--part", "is_train"],
            "--part is_train: is of the packed sets of --from-poses; there are",
        ),
        (["build", "-o", out + "2"], "holds no data set yet, and there is nothing to build from"),
        (["build", "-o", out, "--overlap", "1"], "'overlap' is 1.0"),
        (["build", "-o", "s3://bucket/set", str(tmp_path / "a.mp4")], "can't be built in an object store"),
    ):
        found = CliRunner().invoke(app, wrong)
        assert isinstance(found.exception, TmorError) and message in str(found.exception)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cut.npz", [], "cut.npz: {path}: not a complete .npz (a zip archive of arrays); the file may be truncated"),
        ("gym.npz", ["--part", "nope"], "gym.npz#nope: set 'gym' has no part 'nope'; its parts are none"),
        (
            "empty.json",
            [],
            "empty.json: {path}: the file is empty; expected a pose file (.bvh, .json, .npz, .pkl, .skeleton)",
        ),
    ],
)
def test_where_no_source_can_be_taken_nothing_is_left_behind(
    tmp_path: Path, name: str, options: list[str], said: str
) -> None:
    write_packed(tmp_path / "gym.npz", [replace(SAMPLES[0], id="s0")], labels=["wave"])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "gym.npz").read_bytes()[:500])
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    command = ["--from-poses", str(tmp_path / name), *options]
    for out in ("new", "mine"):
        found = CliRunner().invoke(app, ["build", "-o", str(tmp_path / out), *command])
        assert isinstance(found.exception, TmorError)
        reason = said.format(path=tmp_path / name)
        assert str(found.exception) == f"no source can be taken, nothing is built: {reason}"
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    # A data set that was there before stays; one source of several is enough.
    both = ["build", "-o", str(tmp_path / "set"), "--from-poses", str(tmp_path / "gym.npz"), *command[:2]]
    assert CliRunner().invoke(app, both).exit_code == 0
    again = CliRunner().invoke(app, ["build", "-o", str(tmp_path / "set"), *command])
    assert isinstance(again.exception, TmorError)
    assert len(open_shards(tmp_path / "set")) == 1


def test_videos_that_fail_leave_the_poses_their_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tmor.cli.data._teachers", lambda text, video: (FakeTeacher("t"), None))
    write_packed(tmp_path / "gym.npz", [replace(SAMPLES[0], id="s0")], labels=["wave"])
    (tmp_path / "a.mp4").write_text("no video")
    command = ["build", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out"), "--text-teacher", "fake"]
    run = CliRunner().invoke(app, [*command, "--from-poses", str(tmp_path / "gym.npz"), "--estimator", "mediapipe"])
    assert run.exit_code == 0
    assert "1 source: 0 built, 0 there before, 1 skipped; 0 new triplets, 0 in all" in run.stdout
    assert "1 source: 1 built, 0 there before, 0 skipped; 1 new triplet, 1 in all" in run.stdout


def test_what_is_said_of_videos_and_poses_is_said_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tmor.cli.data._teachers", lambda text, video: (FakeTeacher("t"), None))
    monkeypatch.setattr(engines, "_in_pool", lambda work, items, workers: map(engines._Work(FakeReader()), items))
    source = videos(tmp_path / "videos", 2)
    (source / "broken.mp4").write_text("no video")
    write_packed(tmp_path / "gym.npz", [replace(SAMPLES[5], id="s0")])
    (tmp_path / "captions.csv").write_text("source,text\nclip000,waves\ngym,claps\nnobody,hops\n")
    command = ["build", str(source), "-o", str(tmp_path / "out"), "--from-poses", str(tmp_path / "gym.npz")]
    command += ["--captions", str(tmp_path / "captions.csv"), "--text-teacher", "fake"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0
    assert "3 sources: 2 built, 0 there before, 1 skipped" in run.stdout
    assert "1 source: 1 built, 0 there before, 0 skipped" in run.stdout
    assert run.stdout.count("about no source") == 1 and "1 caption is about no source: nobody" in run.stdout
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert list(report["skipped"]) == ["broken.mp4"]
    assert (report["sources"], report["built"], report["unused_captions"]) == (4, 3, ["nobody"])
    assert report["triplets"] == report["clips"] == len(open_shards(tmp_path / "out"))
    assert report["embedded"]["text"] + report["not_embedded"]["text"] == report["triplets"]
    assert run.stdout.count("text embedding") == 1
    (source / "copy.mp4").write_text("0")
    (source / "again.mp4").write_text("0")
    run = CliRunner().invoke(app, [*command[:2], "-o", str(tmp_path / "copies")])
    assert "left out clip000.mp4: has the content of again.mp4" in run.stdout
    assert "left out copy.mp4: has the content of again.mp4" in run.stdout


def test_a_dry_run_asks_each_thing_once_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    some = [replace(track, id=f"s{i}") for i, track in enumerate(SAMPLES[:4])]
    write_packed(tmp_path / "gym.npz", some, labels=["no_such", "clap", "no_such", "nor_this"])
    endpoint = "http://127.0.0.1:9/v1"
    command = ["build", "-o", str(tmp_path / "out"), "--from-poses", str(tmp_path / "gym.npz")]
    dry = [*command, "--captioner", f"{endpoint}#m", "--dry-run"]
    run = CliRunner().invoke(app, dry)
    asked = EndpointCaptioner(endpoint, "m").prompt
    assert run.exit_code == 0
    assert run.stdout == f"{asked('no_such')}\n{asked('nor_this')}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"gym.npz"}
    # Of a data set that is there, too.
    assert CliRunner().invoke(app, command).exit_code == 0
    before, version = rows(tmp_path / "out"), open_shards(tmp_path / "out").version
    again = CliRunner().invoke(app, dry)
    assert again.stdout == run.stdout
    assert (rows(tmp_path / "out"), open_shards(tmp_path / "out").version) == (before, version)

    real = [*command, "--captioner", f"{endpoint}#m"]
    sent = []
    monkeypatch.setattr(EndpointCaptioner, "_asked", lambda self, prompt, label: sent.append(prompt) or ("moves so",))
    assert "3 older triplets have new texts" in CliRunner().invoke(app, real).stdout
    assert sent == [asked("no_such"), asked("nor_this")]
    wrong = CliRunner().invoke(app, [*command, "--captioner", "kinematic", "--dry-run"])
    assert str(wrong.exception) == (
        "--dry-run with captioner kinematic; expected --captioner ENDPOINT#MODEL, which is asked"
    )


class FakeTeacher:
    """Texts and stretches of video as numbers."""

    name, width = "fake teacher", 3

    def __init__(self, hash: str) -> None:
        self.hash = hash

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 1, 0] for text in texts], dtype=np.float32)


def test_embeddings_are_completed_and_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMOR_CACHE", str(tmp_path / "cache"))
    source, out = videos(tmp_path / "videos", 3), tmp_path / "out"
    captions = [Caption("clip000", "four"), Caption("clip001", "fiver")]
    sources = find_videos([source])
    report = build(out, sources, FakeReader(), captions=captions)

    def embed_videos(teacher, stretches):
        return np.array([[np.nan if p.name == "clip002.mp4" else s, e, 2] for p, s, e in stretches])

    monkeypatch.setattr(building, "embed_videos", embed_videos)
    given = {"text": FakeTeacher("t1"), "video": FakeTeacher("v1"), "sources": sources}
    embed(out, report=report, **given)
    shards = open_shards(out)
    sizes = Counter(r.source for _, r in shards.records())
    assert report.not_embedded == {"video": sizes["clip002.mp4"], "text": sizes["clip002.mp4"]}
    assert shards.teacher("text") == {"teacher": "fake teacher", "hash": "t1"}
    batch = shards.take(range(len(shards)), columns=("texts", "video", "text"))
    assert batch.text is not None and batch.video is not None
    assert [None if np.isnan(row[0]) else int(row[0]) for row in batch.text] == [
        len(t[0]) if t else None for t in batch.texts
    ]
    first = shards.triplets()[0]
    assert first.video is not None and first.video.dtype == np.float32
    assert first.video.tolist() == pytest.approx([0.0, len(first.track) / 30, 2], abs=0.01)

    with pytest.raises(TmorError, match=r"column 'video' holds embeddings of teacher fake teacher \(v1, width 3\)"):
        embed(out, report=report, **(given | {"video": FakeTeacher("v2")}))
    # Other captions: the old ones' embeddings go, the new ones' come.
    report = build(out, [], None, captions=[Caption("clip001", "seven")])
    assert len(open_shards(out).column(where="text IS NULL")) == sizes["clip002.mp4"] + sizes["clip001.mp4"]
    embed(out, report=report, text=FakeTeacher("t1"))
    assert report.not_embedded["text"] == sizes["clip002.mp4"]


def test_clips_of_a_track_cover_it() -> None:
    rng = np.random.default_rng(0)
    track = Track(rng.normal(size=(250, 17, 2)).cumsum(axis=0), "coco17", 15.0)
    clips, left_out = cut(track, BuildConfig(clip_s=4, shortest_s=0.5))
    assert [len(clip) for clip in clips] == [60, 60, 60, 60, 10]
    assert np.array_equal(np.concatenate([clip.keypoints for clip in clips]), track.keypoints)
    assert [clip.start_s for clip in clips] == [0, 4, 8, 12, 16]
    clips, left_out = cut(track, BuildConfig(clip_s=4, overlap=0.5, shortest_s=1))
    assert [clip.start_s for clip in clips] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert left_out == Counter()
    unknown = Track(track.keypoints, "coco17", None)
    assert [len(clip) for clip in cut(unknown, BuildConfig())[0]] == [250]


def test_a_folder_of_openpose_frames_is_one_source(tmp_path: Path) -> None:
    person = {"pose_keypoints_2d": [float(i + 1) for i in range(75)]}
    folder = tmp_path / "poses" / "walk"
    folder.mkdir(parents=True)
    for i in range(40):
        (folder / f"walk_{i:012d}_keypoints.json").write_text(json.dumps({"people": [person]}))
    (tmp_path / "poses" / "b.bvh").write_text("")
    sources = find_poses([tmp_path / "poses"])
    assert [s.name for s in sources] == ["b.bvh", "walk"]
    assert [s.name for s in find_poses([folder])] == ["walk"]
    report = build(tmp_path / "out", sources, PoseReader(BuildConfig()))
    assert list(report.skipped) == ["b.bvh"]
    assert report.left_out == {"moves less than 0.02 body sizes": 1}


def test_tracks_have_no_parts_and_get_into_one_split_alone(tmp_path: Path) -> None:
    write_tracks(tmp_path / "own.npz", SAMPLES[:1])
    for part, split, clips in (("is_train", "train", 1), ("not is_train", "test", 0)):
        sources = find_poses([tmp_path / "own.npz"], part=part)
        report = build(tmp_path / "out", sources, PoseReader(BuildConfig(), part), split=split)
        assert (report.clips, report.already) == (clips, 1 - clips)
    assert {(r.source, r.split) for _, r in open_shards(tmp_path / "out").records()} == {("own.npz", "train")}


def test_two_files_of_one_name_are_an_error_and_not_one_of_them_less(tmp_path: Path) -> None:
    for n, camera in enumerate("ab"):
        (tmp_path / camera / "clips").mkdir(parents=True)
        (tmp_path / camera / "clips" / "x.mp4").write_text(str(n))
    a, b = tmp_path / "a" / "clips", tmp_path / "b" / "clips"
    with pytest.raises(TmorError) as error:
        find_videos([a, b])
    assert str(error.value) == (
        f"{b}/x.mp4: the data set would call it clips/x.mp4, as {a}/x.mp4; expected folders of different names"
    )
    assert len(find_videos([a, a / "x.mp4"])) == 1  # the same file given twice is one


def test_the_case_of_a_suffix_and_bytes_in_a_name_do_not_matter(tmp_path: Path) -> None:
    upper, strange = tmp_path / "GYM.NPZ", Path(os.fsdecode(os.fsencode(tmp_path) + b"/gym\xff.npz"))
    for path, track in ((upper, SAMPLES[0]), (strange, SAMPLES[9])):
        write_packed(tmp_path / "t.npz", [replace(track, id="s0")], labels=["wave"], columns={"is_train": [True]})
        (tmp_path / "t.npz").rename(path)
    (source,) = find_poses([upper], part="is_train")
    assert source.name == "GYM.NPZ#is_train"
    report = build(tmp_path / "out", find_poses([tmp_path]), PoseReader(BuildConfig()), licence="CC0")
    assert (report.clips, report.skipped) == (2, {})
    records = {r.source: r for _, r in open_shards(tmp_path / "out").records()}
    assert {name: (r.id, r.label) for name, r in records.items()} == {
        "GYM.NPZ": ("GYM/s0", "wave"),
        "gym\\udcff.npz": ("gym\\udcff/s0", "wave"),
    }
    audit = verify(tmp_path / "out", sources=[tmp_path])
    assert (audit.wrong, audit.notes) == ((), ())


def test_a_packed_set_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packed(tmp_path / "gym.npz", [replace(SAMPLES[0], id="s0")], labels=["wave"])
    read, load = [], np.load
    monkeypatch.setattr(np, "load", lambda path, **options: read.append(path) or load(path, **options))
    (source,) = find_poses([tmp_path / "gym.npz"])
    assert len(PoseReader(BuildConfig())(source).triplets) == 1
    assert read == [tmp_path / "gym.npz"]


def test_verify_finds_every_kind_of_source(tmp_path: Path) -> None:
    folder = tmp_path / "poses"
    (folder / "walk").mkdir(parents=True)
    write_tracks(folder / "take #3.npz", SAMPLES[:1])
    person = np.random.default_rng(0).uniform(1, 500, size=(40, 75)).tolist()
    for i, values in enumerate(person):
        people = {"people": [{"pose_keypoints_2d": values}]}
        (folder / "walk" / f"walk_{i:012d}_keypoints.json").write_text(json.dumps(people))
    build(tmp_path / "out", find_poses([folder]), PoseReader(BuildConfig()), licence="CC0")
    assert {r.source for _, r in open_shards(tmp_path / "out").records()} == {"take #3.npz", "walk"}
    audit = verify(tmp_path / "out", sources=[folder])
    assert (audit.wrong, audit.notes) == ((), ())
    (folder / "walk" / "walk_000000000007_keypoints.json").write_text('{"people": []}')
    assert [finding.examples for finding in verify(tmp_path / "out", sources=[folder]).wrong] == [("walk",)]


def test_files_of_the_users_own_stay_as_they_are(tmp_path: Path) -> None:
    sources = find_videos([videos(tmp_path / "videos", 1)])
    out = tmp_path / "out"
    out.mkdir()
    for name, message in (
        (REPORT, "exists already, without a data set beside it; remove it, or choose another folder"),
        ("build.lock", "begins with 'mine', no lock of a build; choose another folder"),
    ):
        (out / name).write_text("mine")
        with pytest.raises(TmorError) as error:
            build(out, sources, FakeReader())
        assert str(error.value) == f"{out / name}: {message}"
        assert [path.name for path in out.iterdir()] == [name]
        assert (out / name).read_text() == "mine"
        (out / name).unlink()


def test_a_data_set_of_other_settings_is_named(tmp_path: Path) -> None:
    sources = find_videos([videos(tmp_path / "videos", 1)])
    create_shards(tmp_path / "newer", settings={**asdict(BuildConfig()), "camera": 2})
    with pytest.raises(TmorError, match="was built with camera 2; use the same"):
        build(tmp_path / "newer", sources, FakeReader())
    create_shards(tmp_path / "bare")
    with pytest.raises(TmorError, match="was built with other settings than clip_s, overlap, "):
        build(tmp_path / "bare", sources, FakeReader())


def test_what_a_source_can_not_give_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packed(tmp_path / "gym.npz", [replace(track, id="s") for track in SAMPLES[:3]])
    report = build(tmp_path / "a", find_poses([tmp_path / "gym.npz"]), PoseReader(BuildConfig()))
    assert (report.clips, report.left_out) == (1, {"of the same id as another of its file": 2})
    monkeypatch.setattr(building, "MAX_FRAMES", 10)  # a longer triplet could not be read again
    report = build(tmp_path / "b", find_poses([tmp_path / "gym.npz"]), PoseReader(BuildConfig()))
    assert (report.clips, report.left_out) == (0, {"more than 10 frames": 3})


def test_text_that_can_not_be_written_is_no_traceback(tmp_path: Path) -> None:
    sources = find_videos([videos(tmp_path / "videos", 1)])
    with pytest.raises(TmorError, match=r"out: can't be written: .*surrogates not allowed; the data set is as it was"):
        build(tmp_path / "out", sources, FakeReader(), licence="CC \udcff")


def test_a_full_disk_at_the_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode, **_: Full(self, mode.replace("b", "")))
    with (
        pytest.raises(TmorError, match="out: can't be written: No space left on device"),
        building._locked(tmp_path / "out"),
    ):
        pass


def test_no_videos_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "camera.mp4")  # nobody writes into it: who opens it waits for ever
    with pytest.raises(TmorError, match="no videos found"):
        find_videos([tmp_path])
    with pytest.raises(TmorError, match="there is no such file or folder; expected pose files"):
        find_poses([tmp_path / "nix"])
