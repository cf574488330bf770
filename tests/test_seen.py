"""Who is seen: one rule, wherever people or clips in which nobody is seen are left out."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tmor.config import BuildConfig, DataConfig, PretrainConfig
from tmor.downstream.benchmarks.labelled import read_labelled
from tmor.downstream.benchmarks.untrimmed import Recording, read_untrimmed
from tmor.downstream.detect import recording_features, train_encoder
from tmor.downstream.retrieve import retrieve
from tmor.errors import TmorError
from tmor.model.model import Model, ModelSpec
from tmor.model.unik import UnikShape
from tmor.posecap.readers import PoseReader
from tmor.posecap.sources import Source
from tmor.posecap.triplets import Triplet
from tmor.pretrain.clips import Clips
from tmor.pretrain.loop import read_training_data
from tmor.serve.predict import seen_tracks
from tmor.skeleton.canonical import is_seen, prepare
from tmor.skeleton.formats import write_packed
from tmor.skeleton.layouts import LAYOUTS
from tmor.skeleton.tracks import Track

OPENPOSE = LAYOUTS["openpose25"]
TINY = ModelSpec("tiny", UnikShape((8, 8), (2, 2)), clip_frames=8, width=4, views_deg=(0.0,))
FRAMES = 30


def person(n: int) -> Track:
    points = np.random.default_rng(n).normal(size=(FRAMES, 25, 2)).cumsum(axis=0)
    return Track(points, OPENPOSE, 15.0, id=f"{n}")  # pyright: ignore


def toe(n: int) -> Track:
    """Of somebody whose big toe alone is seen, which is none of the 17 joints."""
    points = np.full((FRAMES, 25, 2), np.nan)
    points[:, OPENPOSE.joints.index("left_big_toe")] = 1.0
    return Track(points, OPENPOSE, 15.0, id=f"{n}")  # pyright: ignore


PEOPLE = [person(0), person(1), toe(2), person(3)]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Four clips; the third shows but a toe."""
    path = tmp_path / "toy.npz"
    write_packed(path, PEOPLE, labels=["walk", "clap", "walk", "clap"], columns={"is_train": [True, True, True, False]})
    return path


def test_somebody_is_seen_where_one_of_the_17_joints_is_in_any_frame() -> None:
    assert toe(0).missing_share < 1
    assert not is_seen(toe(0))
    with pytest.raises(TmorError, match="no visible joint"):
        prepare(toe(0), fps=15.0)
    points = toe(0).keypoints.copy()
    points[3, OPENPOSE.joints.index("left_knee")] = 1.0
    assert is_seen(replace(toe(0), keypoints=points))


def test_training_leaves_out_a_clip_that_shows_but_a_toe(packed: Path, caplog) -> None:
    triplets = read_training_data(PretrainConfig(data=(DataConfig("toy.npz"),)), packed.parent)
    assert [t.id for t in triplets] == ["toy/0", "toy/1", "toy/3"]
    assert "toy.npz: 1 of 4 clips left out, nobody is seen in them" in caplog.text
    assert len(Clips.from_triplets(triplets, fps=15.0)) == 3


def test_labelled_sets_and_builds_leave_it_out_and_count_it(packed: Path) -> None:
    assert read_labelled(packed, part="is_train").skipped == {"nobody is seen": 1}
    built = PoseReader(BuildConfig())(Source(packed, "toy.npz", "toy"))
    assert (len(built.triplets), built.left_out) == (3, Counter({"nobody is seen": 1}))


def test_predictions_are_of_tracks_that_show_more_than_a_toe(caplog) -> None:
    caplog.set_level(logging.WARNING)
    assert seen_tracks(PEOPLE) == [PEOPLE[0], PEOPLE[1], PEOPLE[3]]
    assert "1 of 4 tracks left out: nobody is seen in them" in caplog.text
    with pytest.raises(TmorError, match=r"^none of the 1 tracks has a visible joint$"):
        seen_tracks([toe(0)])


def test_retrieval_leaves_it_out_and_counts_it(monkeypatch) -> None:
    rows = np.eye(4, dtype=np.float32)
    monkeypatch.setattr("tmor.downstream.retrieve.embed_texts", lambda teacher, texts: rows[: len(texts)])
    monkeypatch.setattr(Model, "project_texts", lambda self, texts: rows[: len(texts)])
    monkeypatch.setattr(Model, "teacher", None)
    triplets = [Triplet(f"toy/{track.id}", "toy", track, (f"text {track.id}",)) for track in PEOPLE]
    found = retrieve(Model(TINY).eval(), triplets, name="toy")
    assert found["retrieve"]["clips"] == 3
    assert found["skipped"] == {"no caption, or nobody is seen": 1}


def test_a_recording_counts_those_who_are_seen_of_its_people() -> None:
    model = Model(TINY).eval()
    alone, _ = model.frame_features(PEOPLE[0])
    both, _ = recording_features(model, Recording("a", PEOPLE[0], others=(toe(1),)))
    np.testing.assert_allclose(both, alone, atol=1e-6)
    torch.manual_seed(0)
    train_encoder(model, [Recording("a", PEOPLE[0], ((0, 0.0, 1.0),), others=(toe(1),))], 1, epochs=1, batch=2)


def test_a_recording_stays_where_any_of_its_people_is_seen(tmp_path: Path) -> None:
    def together(*tracks: Track) -> np.ndarray:
        return np.stack([track.keypoints for track in tracks], axis=1)

    sequences = [together(toe(0), person(1)), together(toe(0), toe(0)), together(person(2), toe(0))]
    np.savez(
        tmp_path / "toy.npz",
        joints=np.concatenate(sequences),
        offsets=FRAMES * np.arange(4),
        joint_names=OPENPOSE.joints,
        fps=15.0,
        segments=[[0, 0, 0, 10], [2, 0, 5, 20]],
        class_names=["walk"],
        seq_id=["a", "b", "c"],
        is_train=[True, True, False],
    )
    data = read_untrimmed(tmp_path / "toy.npz", part="is_train")
    assert data.skipped == {"nobody is seen": 1}
    assert [(recording.id, len(recording.others)) for recording in data.recordings] == [("a", 0), ("c", 0)]
    for recording, own in zip(data.recordings, (person(1), person(2)), strict=True):
        np.testing.assert_array_equal(recording.track.keypoints, own.keypoints)
        recording_features(Model(TINY).eval(), recording)
