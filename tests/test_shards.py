"""Triplets on disk: what goes in comes out; epochs are permutations; hostile and newer files are errors."""

import json
import multiprocessing
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tmor.cli import app
from tmor.config import DataConfig, PretrainConfig, pretrain_config
from tmor.errors import FormatError, TmorError
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.posecap.audit import statistics, verify
from tmor.posecap.duplicates import Seen, signature
from tmor.posecap.rows import Record
from tmor.posecap.shards import Shards, create_shards, discard_shards, epoch_rows, is_shards, open_shards
from tmor.posecap.texts import Caption
from tmor.pretrain import loop
from tmor.pretrain.clips import Clips
from tmor.pretrain.loop import pretrain, read_training_data
from tmor.serve.browse import write_browse_page
from tmor.skeleton.layouts import Layout
from tmor.skeleton.sample import sample_set
from tmor.skeleton.tracks import Track

SAMPLES = sample_set()


def record(i: int, track: Track, *, label: str | None = None, **changes) -> Record:
    texts = (
        ()
        if label is None
        else (Caption("", label, kind="label", origin="me"), Caption("", f"{label}!", kind="description"))
    )
    made = Record(
        id=f"set/{i}",
        collection="set",
        source=f"{i}.mp4",
        source_hash=f"{i:064x}",
        track=track,
        signature=signature(track),
        texts=texts,
        label=label,
        licence="CC0",
        split="train",
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "set"
    shards = create_shards(path)
    shards.append([record(i, track, label=label) for i, (label, track) in enumerate(SAMPLES)])
    return path


def with_video(path: Path, width: int = 4) -> Shards:
    shards = open_shards(path)
    shards.add_embeddings("video", teacher="T", teacher_hash="abc", width=width)
    numbers = iter(range(10_000))

    def compute(table: pa.Table) -> np.ndarray:
        return np.array([np.full(width, next(numbers)) for _ in range(len(table))])

    shards.fill("video", compute, columns=["id"], chunk=10)
    return shards


# ---- round trips


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own = Layout("my_rig", ("left_hip", "right_hip", "tail"), (("left_hip", "right_hip"),))
    holes = rng.normal(500, 200, size=(9, 17, 2))
    holes[3, 4] = np.nan
    tracks = [
        Track(holes, "coco17", 29.97, scores=rng.random((9, 17)), start_s=3.25, id="a"),
        Track(rng.normal(size=(4, 3, 3)), own, None, id="b"),
        Track(np.full((1, 17, 2), 7.0), "coco17", 15.0),
    ]
    shards = create_shards(tmp_path / "set", settings={"clip_s": 4})
    shards.append([record(i, t, label="wave", signature=bytes(32)) for i, t in enumerate(tracks)])
    shards = open_shards(tmp_path / "set")
    assert shards.settings == {"clip_s": 4}
    for (_, found), track in zip(shards.records(), tracks, strict=True):
        back = found.track
        assert (back.layout, back.fps, back.start_s) == (track.layout, track.fps, track.start_s)
        assert np.array_equal(np.isnan(back.keypoints), np.isnan(track.keypoints))
        middle = np.nanmedian(track.keypoints, axis=(0, 1))
        away = np.abs(track.keypoints - middle)
        assert np.all(np.isnan(away) | (np.abs(back.keypoints - track.keypoints) <= away * 2.0**-11 + 1e-4))
        assert (back.scores is None) == (track.scores is None)
        if track.scores is not None and back.scores is not None:
            assert np.abs(back.scores - track.scores).max() < 2.0**-11
        assert [(t.text, t.kind, t.origin) for t in found.texts] == [
            ("wave", "label", "me"),
            ("wave!", "description", ""),
        ]
    assert [found.end_s for _, found in shards.records()] == [3.25 + 9 / 29.97, None, 1 / 15]
    assert list(shards.damaged()) == []
    batch = shards.take([2, 0])
    assert [points.shape for points in batch.keypoints] == [(1, 17, 2), (9, 17, 2)]
    assert batch.texts == [("wave", "wave!")] * 2
    assert batch.rows.tolist() == [2, 0]


def test_a_joint_out_of_this_world_is_unseen(tmp_path: Path) -> None:
    points = np.ones((5, 17, 2))
    points[2, 3] = 1e9
    shards = create_shards(tmp_path / "set")
    shards.append([record(0, Track(points, "coco17", 15.0))])
    (_, found), *_ = shards.records()
    assert np.argwhere(np.isnan(found.track.keypoints[..., 0])).tolist() == [[2, 3]]


def test_columns_come_later_and_rows_stay(filled: Path, tmp_path: Path) -> None:
    shards = create_shards(tmp_path / "set")
    records = [record(i, track, label=label) for i, (label, track) in enumerate(SAMPLES[:30])]
    shards.append(records[:12])
    shards.append(records[12:20])
    shards = with_video(tmp_path / "set")
    shards.append(records[20:])
    assert shards.teacher("video") == {"teacher": "T", "hash": "abc"}
    batch = shards.take(range(30), columns=("video",))
    assert batch.video is not None
    assert batch.video[:20, 0].tolist() == list(range(20))
    assert np.isnan(batch.video[20:]).all()
    shards.compact()
    again = open_shards(tmp_path / "set").take(range(30), columns=("texts", "video"))
    assert again.video is not None and np.array_equal(again.video, batch.video, equal_nan=True)
    assert again.texts == [(r.label, f"{r.label}!") for r in records]
    assert [r.id for _, r in shards.records()] == [r.id for r in records]


def test_a_column_keeps_to_one_teacher(tmp_path: Path) -> None:
    shards = create_shards(tmp_path / "set")
    shards.append([record(0, SAMPLES[0][1])])
    shards.add_embeddings("text", teacher="one", teacher_hash="a", width=3)
    shards.add_embeddings("text", teacher="one elsewhere", teacher_hash="a", width=3)
    with pytest.raises(TmorError) as error:
        shards.add_embeddings("text", teacher="two", teacher_hash="b", width=3)
    assert str(error.value) == (
        f"{tmp_path / 'set'}: column 'text' holds embeddings of teacher one (a, width 3); teacher two (b, width 3) "
        "can't be mixed in: use the same, or build into another folder"
    )


def test_killed_fill_goes_on(tmp_path: Path) -> None:
    shards = create_shards(tmp_path / "set")
    shards.append([record(i, track) for i, (_, track) in enumerate(SAMPLES[:9])])
    shards.add_embeddings("text", teacher="one", teacher_hash="a", width=2)
    sizes: list[int] = []

    def compute(table: pa.Table) -> np.ndarray:
        sizes.append(len(table))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return np.ones((len(table), 2))

    with pytest.raises(KeyboardInterrupt):
        shards.fill("text", compute, columns=["id"], chunk=4)
    assert open_shards(tmp_path / "set").fill("text", compute, columns=["id"], chunk=4) == 0
    assert sizes == [4, 4, 1, 1]


# ---- epochs


@given(n=st.integers(1, 200), seed=st.integers(0, 2**40), epoch=st.integers(0, 9), ranks=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_ranks_share_an_epoch(n: int, seed: int, epoch: int, ranks: int) -> None:
    if n < ranks:
        with pytest.raises(TmorError, match=f"{n} triplets can't be shared by {ranks} ranks"):
            epoch_rows(n, seed=seed, epoch=epoch, rank=0, ranks=ranks)
        return
    shares = [epoch_rows(n, seed=seed, epoch=epoch, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert {len(share) for share in shares} == {n // ranks}
    joined = np.concatenate(shares)
    assert len(set(joined.tolist())) == len(joined) and joined.min() >= 0 and joined.max() < n
    if ranks == 1:
        assert sorted(joined.tolist()) == list(range(n))
    again = [epoch_rows(n, seed=seed, epoch=epoch, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert all(np.array_equal(a, b) for a, b in zip(shares, again, strict=True))


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_rows(100, seed=seed, epoch=epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_batches_come_from_everywhere() -> None:
    order = epoch_rows(50_000, seed=0, epoch=0)
    for first in (0, 256 * 100):
        rows = order[first : first + 256]
        assert len(set((rows // 8).tolist())) > 200
        assert abs(rows.mean() / 50_000 - 0.5) < 0.06


def test_resume_is_exact(filled: Path) -> None:
    shards = open_shards(filled)
    whole = list(shards.batches(batch=10, seed=3, epoch=1))
    assert [len(b) for b in whole] == [10] * 7 + [2]
    later = list(shards.batches(batch=10, seed=3, epoch=1, start=5))
    assert [b.rows.tolist() for b in later] == [b.rows.tolist() for b in whole[5:]]
    for a, b in zip(later, whole[5:], strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.keypoints, b.keypoints, strict=True))
        assert a.texts == b.texts
    assert list(shards.batches(batch=10, seed=3, epoch=1, start=8)) == []


@pytest.mark.parametrize("start", [0, 1, 2, 5])
def test_workers_take_turns(filled: Path, start: int) -> None:
    shards = open_shards(filled)
    alone = [b.rows.tolist() for b in shards.batches(batch=9, seed=0, epoch=0, columns=(), start=start, ranks=2)]
    parts = [
        [
            b.rows.tolist()
            for b in shards.batches(batch=9, seed=0, epoch=0, columns=(), start=start, ranks=2, worker=w, workers=3)
        ]
        for w in range(3)
    ]
    assert sorted(rows for part in parts for rows in part) == sorted(alone)
    for step, rows in enumerate(alone, start):
        assert rows in parts[step % 3]


def test_order_belongs_to_the_version(tmp_path: Path) -> None:
    shards = create_shards(tmp_path / "set")
    shards.append([record(i, track) for i, (_, track) in enumerate(SAMPLES[:20])])
    version = shards.version
    before = [b.rows.tolist() for b in shards.batches(batch=6, seed=0, epoch=0)]
    shards.append([record(20, SAMPLES[20][1])])
    old = open_shards(tmp_path / "set", version=version)
    assert [b.rows.tolist() for b in old.batches(batch=6, seed=0, epoch=0)] == before
    assert (len(old), len(shards)) == (20, 21)


def _rows_of(shards: Shards) -> list[int]:
    return [int(row) for batch in shards.batches(batch=16, seed=0, epoch=0) for row in batch.rows]


@pytest.mark.slow
def test_spawned_processes_read_the_same(filled: Path) -> None:
    shards = open_shards(filled)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_rows_of, (shards,)) == _rows_of(shards)


def test_forked_processes_are_told(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = open_shards(filled)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(TmorError, match="was opened before this process was forked"):
        shards.take([0])


def test_an_address_is_opened_like_a_folder(filled: Path) -> None:
    address = f"file://{filled}"
    shards = open_shards(address)
    assert (is_shards(address), len(shards)) == (True, 72)
    entry = config(filled, path=address)
    assert len(read_training_data(entry, Path("elsewhere"))) == 72


# ---- errors


def test_wrong_places_and_versions(tmp_path: Path, filled: Path) -> None:
    assert is_shards(filled) and not is_shards(tmp_path)
    with pytest.raises(FormatError, match="holds no data set of triplets"):
        open_shards(tmp_path)
    with pytest.raises(TmorError, match="holds a data set already; choose another folder"):
        create_shards(filled)
    (tmp_path / "empty" / "triplets.lance").mkdir(parents=True)
    with pytest.raises(FormatError, match="can't be opened as a data set of triplets"):
        open_shards(tmp_path / "empty")
    for name, metadata, error in (
        ("newer", {"tmor.posecap": "2"}, r"schema version 2; this tmor reads up to 1: upgrade tmor to read it"),
        ("foreign", {}, "is a Lance data set, but not of tmor's triplets"),
        ("lacking", {"tmor.posecap": "1"}, r"column 'id' is int64; expected string"),
    ):
        table = pa.table({"id": [1]}).replace_schema_metadata(metadata)
        lance.write_dataset(table, str(tmp_path / name / "triplets.lance"))
        with pytest.raises(FormatError, match=error):
            open_shards(tmp_path / name)


def test_a_data_set_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = lance.write_dataset

    def killed(*args, **kwargs):
        write(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(lance, "write_dataset", killed)
    with pytest.raises(KeyboardInterrupt):
        create_shards(tmp_path)
    assert not is_shards(tmp_path)
    monkeypatch.undo()
    with pytest.raises(TmorError, match="holds no triplets"):
        create_shards(tmp_path).triplets()
    assert [path.name for path in tmp_path.iterdir()] == ["triplets.lance"]
    discard_shards(tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_columns_and_conditions_that_are_not_there(filled: Path) -> None:
    shards = open_shards(filled)
    with pytest.raises(TmorError, match=r"row 72; expected rows 0 to 71"):
        shards.take([3, 72])
    with pytest.raises(TmorError, match=r"row -1; expected rows 0 to 71"):
        shards.take([3, -1])
    with pytest.raises(TmorError, match="has no column 'video' to train on"):
        shards.take([3], columns=("video",))
    with pytest.raises(TmorError, match=r"can't select triplets where nix = 3: .*No field named nix"):
        list(shards.records("nix = 3"))
    with pytest.raises(TmorError, match="no triplet is in part 'test'; the splits are train"):
        shards.triplets(part="test")
    with pytest.raises(TmorError, match=r"batch 0, start 0, rank 0 of 1"):
        next(shards.batches(batch=0, seed=0, epoch=0))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("frames", "100000000"),
        ("frames", "-1"),
        ("frames", "86 + 1"),
        ("dims", "cast(7 as tinyint)"),
        ("layout", '\'{"name": "x"}\''),
        ("layout", "'nix'"),
        ("keypoints", "x'00'"),
        ("keypoints", "NULL"),
    ],
)
def test_sizes_that_do_not_fit_are_errors(tmp_path: Path, column: str, value: str) -> None:
    shards = create_shards(tmp_path / "set")
    shards.append([record(0, SAMPLES[3][1]), record(1, SAMPLES[4][1])])
    dataset = lance.dataset(str(tmp_path / "set" / "triplets.lance"))
    dataset.update({column: value}, where="id = 'set/1'")
    shards = open_shards(tmp_path / "set")
    assert len(shards) == 2
    with pytest.raises(FormatError):
        list(shards.records())
    assert [id for id, _ in shards.damaged()] == ["set/1"]
    assert any(f.what == "damaged triplets" for f in verify(tmp_path / "set").wrong)


def test_overwritten_bytes_are_damage_that_is_told_and_no_traceback(tmp_path: Path) -> None:
    out, chance = tmp_path / "set", np.random.default_rng(0)
    words = [tuple(Caption("", chance.bytes(50).hex()) for _ in range(50)) for _ in range(20)]
    create_shards(out).append([record(i, SAMPLES[i][1], texts=words[i]) for i in range(20)])
    (file,) = (out / "triplets.lance" / "data").glob("*.lance")
    good = file.read_bytes()
    said = set()
    for at in np.linspace(0, len(good) - 500, 30).astype(int).tolist():
        file.write_bytes(good[:at] + chance.bytes(500) + good[at + 500 :])
        for read in (verify, statistics, lambda path: list(open_shards(path).batches(batch=8, seed=0, epoch=0))):
            try:
                read(out)
            except FormatError as error:
                said.add(str(error).split(" (")[0])
    for column in ("keypoints", "texts"):
        assert f"{out}: the data set is damaged: column '{column}' can't be read" in said
    assert not [each for each in said if not each.startswith(f"{out}: ") or "can't select" in each]
    # What can't be selected is still told from what can't be read.
    file.write_bytes(good)
    with pytest.raises(TmorError, match=r"can't select triplets where nix = 3: .*No field named nix"):
        list(open_shards(out).records("nix = 3"))


def test_a_file_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    create_shards(tmp_path).append([record(0, SAMPLES[0][1])])
    (file,) = (tmp_path / "triplets.lance" / "data").glob("*.lance")
    file.unlink()
    with pytest.raises(
        FormatError, match=rf"the data set is damaged: no column can be read \(.*{file.name}\)$"
    ) as error:
        open_shards(tmp_path).triplets()
    assert len(str(error.value)) < 400


def test_verify_reads_the_texts(tmp_path: Path) -> None:
    """A data set whose texts alone are damaged is not well."""
    out, chance = tmp_path / "set", np.random.default_rng(0)
    shards = create_shards(out)
    shards.append([record(0, SAMPLES[0][1])])
    before = set((out / "triplets.lance" / "data").glob("*.lance"))
    (row,) = shards.column("id").column("_rowid").to_pylist()
    shards.set_texts({row: [Caption("", chance.bytes(50).hex()) for _ in range(50)]}, {row: None})
    assert not verify(out).wrong
    (file,) = set((out / "triplets.lance" / "data").glob("*.lance")) - before
    content = file.read_bytes()
    file.write_bytes(chance.bytes(1000) + content[1000:])
    with pytest.raises(FormatError, match="the data set is damaged: column 'texts' can't be read"):
        verify(out)


# ---- verify, stats, browse


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_text("other bytes than once")
    tracks = [track for _, track in SAMPLES]
    shards = create_shards(tmp_path / "set")
    shards.append(
        [
            record(0, tracks[0]),
            record(1, tracks[1], licence=""),
            record(2, tracks[2], id="set/1"),
            record(3, tracks[0], split="test"),
            record(4, tracks[4], source="1.mp4", source_hash=f"{1:064x}", split="test"),
        ]
    )
    dataset = lance.dataset(str(tmp_path / "set" / "triplets.lance"))
    dataset.update({"fps": "60"}, where="source = '2.mp4'")
    audit = verify(tmp_path / "set", sources=[tmp_path])
    found = {finding.what: finding.examples for finding in audit.wrong}
    assert found == {
        "damaged triplets": ("set/1: its content is not what was written: its hash differs",),
        "ids that occur more than once": ("set/1",),
        "triplets with the same movement as another, to the bit": ("set/3 is set/0",),
        "sources in more than one split": ("1.mp4",),
        "triplets that are nearly the same as one of another split": ("set/3 is nearly set/0",),
        "sources whose licence is not said (build with --licence)": ("1.mp4",),
        "sources whose content is not what was built from": ("0.mp4",),
    }
    assert audit.notes[0].count == 3
    run = CliRunner().invoke(app, ["verify", str(tmp_path / "set"), "--json"])
    assert run.exit_code == 2
    assert {f["what"] for f in json.loads(run.stdout)["wrong"]} == set(found) - {
        "sources whose content is not what was built from"
    }


def test_all_is_well(filled: Path) -> None:
    assert verify(filled).wrong == ()
    run = CliRunner().invoke(app, ["verify", str(filled)])
    assert run.exit_code == 0 and "72 triplets: all is well" in run.stdout


def test_stats_add_up(filled: Path) -> None:
    found = statistics(filled)
    frames = sum(len(track) for _, track in SAMPLES)
    assert (found["triplets"], found["frames"], found["without_text"], found["texts"]) == (72, frames, 0, 144)
    assert found["hours"] == round(sum(track.duration_s or 0 for _, track in SAMPLES) / 3600, 3)
    assert sum(found["labels"].values()) == 72
    assert found["licences"] == {"CC0": 72} and found["splits"] == {"train": 72}
    assert found["joints_visible"]["left_knee"] == 1.0
    assert found["bytes_per_triplet"] > 1000
    run = CliRunner().invoke(app, ["stats", str(filled), "--json"])
    assert json.loads(run.stdout)["triplets"] == 72


def test_browse_page_is_self_contained(tmp_path: Path) -> None:
    shards = create_shards(tmp_path / "set")
    evil = "</script><b>'\u2028"
    shards.append([record(i, track, label=evil) for i, (_, track) in enumerate(SAMPLES[:8])])
    with_video(tmp_path / "set")
    page = tmp_path / "page.html"
    assert write_browse_page(page, tmp_path / "set", count=5, seed=1) == 5
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", "") and evil not in text and "{{data}}" not in text
    content = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert (content["total"], len(content["clips"])) == (8, 5)
    assert content["clips"][0]["texts"][0] == [evil, "label", "me"]
    near = content["clips"][0]["neighbours"]["video"]
    assert len(near) == 5 and content["clips"][0]["id"] not in [id for id, _, _ in near]
    with pytest.raises(TmorError, match="exists already; choose another name"):
        write_browse_page(page, tmp_path / "set")
    with pytest.raises(TmorError, match=r"the folder .*nowhere does not exist"):  # said before anything is read
        write_browse_page(tmp_path / "nowhere" / "b.html", tmp_path / "set", where="label = 'nix'")
    with pytest.raises(TmorError, match="holds no triplets where label = 'nix'"):
        write_browse_page(tmp_path / "b.html", tmp_path / "set", where="label = 'nix'")


# ---- near-duplicates


def test_noise_is_the_same_and_another_performance_is_not() -> None:
    rng = np.random.default_rng(0)
    seen = Seen()
    for _, track in SAMPLES:
        assert seen.find(signature(track)) is None
        seen.add(signature(track))
    noisy = 0
    for n, (_, track) in enumerate(SAMPLES):
        shaken = replace(track, keypoints=track.keypoints + rng.normal(0, 0.002, size=track.keypoints.shape) + 3.0)
        noisy += seen.find(signature(shaken)) == n
    assert noisy > 0.9 * len(SAMPLES)


# ---- training


def config(filled: Path, **entry) -> PretrainConfig:
    values = {
        "data": [{"path": filled.name} | entry],
        "self_epochs": 0,
        "text_epochs": 1,
        "epoch_samples": 16,
        "batch": 8,
        "bank": 16,
        "width": 16,
        "clip_frames": 8,
    }
    return pretrain_config(values)


def test_training_data_are_those_of_the_folder(filled: Path) -> None:
    triplets = read_training_data(config(filled, part="train"), filled.parent)
    assert [t.label for t in triplets] == [label for label, _ in SAMPLES]
    assert triplets[0].texts == (SAMPLES[0][0], f"{SAMPLES[0][0]}!")
    assert len(read_training_data(config(filled, part="label = 'drink' AND frames > 100"), filled.parent)) < 10
    without = replace(config(filled), descriptions=False)
    assert read_training_data(without, filled.parent)[0].texts == (SAMPLES[0][0],)
    with pytest.raises(TmorError, match="has its own texts and videos"):
        read_training_data(config(filled, captions="x.json"), filled.parent)


@pytest.fixture
def of_two(tmp_path: Path) -> Path:
    """A data set ``all`` of clips from the collections ``set`` and ``penn``."""
    rows = [record(i, track, label=label) for i, (label, track) in enumerate(SAMPLES[:12])]
    rows[6:] = [replace(row, id=f"penn/{i}", collection="penn") for i, row in enumerate(rows[6:])]
    create_shards(tmp_path / "all").append(rows)
    return tmp_path / "all"


def test_what_is_left_out_is_left_out_of_a_data_set_of_several(of_two: Path, caplog) -> None:
    caplog.set_level("INFO")
    triplets = read_training_data(config(of_two).leaving_out("penn"), of_two.parent)
    assert [t.id for t in triplets] == [f"set/{i}" for i in range(6)]
    assert "all: 6 of 12 clips left out by their source" in caplog.text
    message = r"^leave_out: no file and no source of clips is called 'tox'; there are all, set, penn$"
    with pytest.raises(TmorError, match=message):
        read_training_data(config(of_two).leaving_out("tox"), of_two.parent)
    with pytest.raises(TmorError, match=r"^there are no clips to train on$"):
        pretrain(config(of_two).leaving_out("penn").leaving_out("set"), data=of_two.parent, out=of_two.parent / "run")


def test_a_teacher_that_saw_a_source_of_what_is_left_out_is_an_error(of_two: Path, filled: Path) -> None:
    # The other data set has clips of the collection ``set``, which are not left out.
    both = replace(config(of_two), data=(DataConfig("all"), DataConfig(str(filled))), distilled_from=("big",))
    for name, source in (("penn", "penn"), ("all", "penn"), ("set", "set"), ("all", "set")):
        left_out = both.leaving_out(name)
        clips = Clips.from_triplets(read_training_data(left_out, of_two.parent), fps=15.0)
        spec = ModelSpec("big", UnikShape((8, 8), (2, 2)), training={"sources": ["far", source]})
        about = pytest.raises(TmorError, match=rf"^big, a teacher, was trained on '{source}', which is left out$")
        with about if (name, source) != ("all", "set") else nullcontext():
            loop._check_teachers([Model(spec)], clips, left_out, of_two.parent)


@pytest.mark.slow
def test_training_takes_the_folder(filled: Path, tmp_path: Path) -> None:
    model = pretrain(config(filled), data=filled.parent, out=tmp_path / "run")
    assert model.embed([SAMPLES[0][1]]).shape[0] == 1
