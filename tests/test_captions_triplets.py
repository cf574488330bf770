"""Texts of movements, and how packed sets become triplets."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tmor.errors import FormatError, TmorError
from tmor.posecap.captions import _descriptions, describe, mirror_text, plain_label
from tmor.posecap.triplets import (
    Triplet,
    attach_videos,
    is_by_sequence,
    read_captioned,
    read_sequence_captions,
    read_triplets,
)
from tmor.skeleton.layouts import UNIK17

SHIPPED = sorted({text for label, texts in _descriptions().items() for text in (label, *texts)})


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("wave the left hand", "wave the right hand"),
        ("Left arm up, RIGHT arm down", "Right arm up, LEFT arm down"),
        ("left-handed", "right-handed"),
        ("one right-left step", "one left-right step"),
        ("from left to right", "from right to left"),
        ("left-to-right in the upper-left corner", "right-to-left in the upper-right corner"),
        ("leftwards, then Rightward", "rightwards, then Leftward"),
        ("clockwise", "counterclockwise"),
        ("counterclockwise", "clockwise"),
        ("Counter-clockwise", "Clockwise"),
        ("turns anti clockwise once", "turns clockwise once"),
        ("clock-wise, then counter clock wise", "counterclockwise, then clockwise"),
        ("the leftmost chair", "the rightmost chair"),
        ("counter clockwise", "clockwise"),
        ("anticlockwise and anti-clockwise", "clockwise and clockwise"),
        ("a bright upright person, aright", "a bright upright person, aright"),
        ("drink from a cup", "drink from a cup"),
        ("", ""),
    ],
)
def test_sides_and_senses_change_places_and_nothing_else(text: str, image: str) -> None:
    assert mirror_text(text) == image


def test_mirroring_twice_is_the_identity_on_all_that_ships_up_to_the_spelling_of_counterclockwise() -> None:
    assert len(SHIPPED) > 1000
    for text in SHIPPED:
        usual = re.sub(r"(counter[ -]|anti-?)clockwise", "counterclockwise", text)
        assert mirror_text(mirror_text(text)) == usual


def test_labels_become_words() -> None:
    assert plain_label("  Jumping_Jacks ") == "jumping jacks"


def test_a_known_label_has_itself_and_eight_descriptions_however_it_is_spelt() -> None:
    texts = describe("jumping jacks")
    assert texts[0] == "jumping jacks"
    assert len(texts) == len(set(texts)) == 9
    assert describe("Jumping_Jacks") == texts


def test_an_unknown_label_is_its_own_text() -> None:
    assert describe("juggle_FIVE_clubs") == ("juggle five clubs",)


def test_every_shipped_label_has_five_different_descriptions_or_eight() -> None:
    for label, texts in _descriptions().items():
        assert label == plain_label(label)
        assert len(set(texts)) == len(texts) in (5, 8), label
        assert all(text == text.strip() != "" for text in texts), label


def test_descriptions_name_a_side_only_where_the_label_does() -> None:
    side = re.compile(r"\b(left|right|(counter|anti)?clockwise)\b")
    for label, texts in _descriptions().items():
        if not side.search(label):
            assert not [text for text in texts if side.search(text.lower())], label


def test_every_class_of_the_shared_sets_is_described(shared_data: Path) -> None:
    undescribed = []
    for path in sorted(shared_data.glob("*/*.npz")):
        with np.load(path) as arrays:
            names = arrays["class_names"].tolist() if "class_names" in arrays.files else []
        undescribed += [f"{path.stem}: {name}" for name in names if len(describe(name)) != 9]
    assert not undescribed


# --- triplets --------------------------------------------------------------------------------------------------------


def write_set(path: Path, *, lengths: tuple[int, ...] = (40, 30, 20), persons: int = 1, **arrays) -> Path:
    """Sequences a, b, c, ... at 10 fps; the frame number within the set is every coordinate's whole part."""
    offsets = np.cumsum([0, *lengths])
    points = np.arange(offsets[-1])[:, None, None, None] + np.linspace(0.1, 0.9, 34).reshape(1, 1, 17, 2)
    points = np.repeat(points, persons, axis=1)
    own = {
        "joints": (points if persons > 1 else points[:, 0]).astype(np.float32),
        "offsets": offsets,
        "joint_names": UNIK17.joints,
        "fps": 10.0,
        "seq_id": list("abcdef"[: len(lengths)]),
        "label": [1, 0, -1][: len(lengths)],
        "class_names": ["jumping_jacks", "flail"],
    }
    np.savez(path, **{key: np.asarray(value) for key, value in (own | arrays).items()})  # pyright: ignore
    return path


def spans(triplets: list[Triplet]) -> list[tuple[str, int, int]]:
    """(id, first frame, end) with frames as in the set's arrays."""
    first = [int(t.track.keypoints[0, 0, 0]) for t in triplets]
    return [(t.id, start, start + len(t.track)) for t, start in zip(triplets, first, strict=True)]


def test_a_sequence_is_a_clip_with_the_texts_of_its_class(tmp_path: Path) -> None:
    triplets = read_triplets(write_set(tmp_path / "toy.npz"))
    assert spans(triplets) == [("toy/a", 0, 40), ("toy/b", 40, 70), ("toy/c", 70, 90)]
    assert [t.source for t in triplets] == ["toy"] * 3
    assert [t.label for t in triplets] == ["flail", "jumping_jacks", None]
    assert [t.texts for t in triplets] == [("flail",), describe("jumping jacks"), ()]
    assert all(t.video is None for t in triplets)


def test_without_descriptions_the_class_name_is_the_only_text(tmp_path: Path) -> None:
    triplets = read_triplets(write_set(tmp_path / "toy.npz"), descriptions=False)
    assert [t.texts for t in triplets] == [("flail",), ("jumping jacks",), ()]


def test_a_part_keeps_its_sequences_alone(tmp_path: Path) -> None:
    path = write_set(tmp_path / "toy.npz", is_train=[True, False, True], fold=[1, 2, 1])
    for part, kept in (("is_train", "ac"), ("not is_train", "b"), ("fold == 2", "b"), ("fold != 2", "ac")):
        assert [t.id for t in read_triplets(path, part=part)] == [f"toy/{letter}" for letter in kept]


def test_an_unknown_part_is_an_error(tmp_path: Path) -> None:
    path = write_set(tmp_path / "toy.npz", is_train=[True, False, True])
    with pytest.raises(TmorError, match=r"^set 'toy' has no part 'is_test'; its parts are is_train$"):
        read_triplets(path, part="is_test")


def test_a_tag_is_a_clip_from_one_and_a_half_seconds_before_to_one_after(tmp_path: Path) -> None:
    tags = [[0, 20, 0], [0, 5, 1], [0, 39, 0], [2, 10, 0]]
    triplets = [t for t in read_triplets(write_set(tmp_path / "toy.npz", tags=tags)) if "@rest" not in t.id]
    assert spans(triplets) == [("toy/a@0", 5, 31), ("toy/a@1", 0, 16), ("toy/a@2", 24, 40), ("toy/c@0", 70, 90)]
    assert [t.label for t in triplets] == ["jumping_jacks", "flail", "jumping_jacks", "jumping_jacks"]
    assert triplets[0].track.start_s == 0.5


def test_the_rest_of_a_tagged_recording_is_clips_without_text(tmp_path: Path) -> None:
    # The tags cover 45-70 and 75-90; 30 frames of the rest can't be seen, and 70-75 is shorter than a second.
    path = write_set(tmp_path / "toy.npz", lengths=(90, 9, 10, 60), seq_id=list("abcd"), label=[1] * 4)
    with np.load(path) as arrays:
        points = arrays["joints"].copy()
        points[109 + 25 : 109 + 50] = np.nan
        np.savez(path, **{**arrays, "joints": points, "tags": np.array([[0, 60, 0], [0, 90 - 1, 1]])})
    triplets = read_triplets(path)
    tagged = [("toy/a@0", 45, 71), ("toy/a@1", 74, 90)]
    # Of 0-45: 25 frames, and the 20 that are left. Sequence b is too short, c just long enough; of d the second clip
    # of 25 is unseen.
    rest = [("toy/a@rest0", 0, 25), ("toy/a@rest25", 25, 45), ("toy/c@rest0", 99, 109)]
    rest += [("toy/d@rest0", 109, 134), ("toy/d@rest50", 159, 169)]
    assert spans(triplets) == tagged + rest
    assert [t.texts != () for t in triplets] == [True] * 2 + [False] * 5
    assert [t.label for t in triplets] == ["jumping_jacks", "flail"] + [None] * 5
    assert [t.track.start_s for t in triplets[2:]] == pytest.approx([0, 2.5, 0, 0, 5])


def test_the_rest_of_recordings_and_their_tags_share_no_frame_and_leave_no_second_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        tags = [(0, int(frame), 0) for frame in rng.integers(0, 300, size=5)]
        pieces = spans(
            read_triplets(write_set(tmp_path / "toy.npz", lengths=(300,), seq_id=["a"], label=[0], tags=tags))
        )
        seen = np.zeros((2, 300), dtype=int)
        for id, start, stop in pieces:
            seen[int("@rest" in id), start:stop] += 1
            assert "@rest" not in id or 10 <= stop - start <= 25
        assert seen[1].max(initial=0) <= 1
        assert not (seen.min(axis=0)).any()
        runs = "".join("x" if n else "." for n in seen.sum(axis=0)).split("x")
        assert max(map(len, runs)) < 10


def test_a_tag_without_a_class_has_that_of_its_sequence(tmp_path: Path) -> None:
    triplets = read_triplets(write_set(tmp_path / "toy.npz", tags=[[0, 20], [1, 10], [2, 10]]))
    assert [t.label for t in triplets if "@rest" not in t.id] == ["flail", "jumping_jacks", None]


def test_a_segment_is_a_clip(tmp_path: Path) -> None:
    triplets = read_triplets(write_set(tmp_path / "toy.npz", segments=[[0, 0, 0, 12], [0, 1, 12, 40], [1, 0, 29, 30]]))
    assert spans(triplets) == [("toy/a@0", 0, 12), ("toy/a@1", 12, 40), ("toy/b@0", 69, 70)]
    assert [t.label for t in triplets] == ["jumping_jacks", "flail", "jumping_jacks"]


def test_at_irregular_times_tags_and_segments_keep_their_moment(tmp_path: Path) -> None:
    # 100 ms a frame in the first half of sequence a, then 400 ms: its track has about 100 frames at 10 fps.
    times = np.cumsum([0] + [100] * 20 + [400] * 19 + [100] * 50) + 7000
    moment = {"lengths": (40, 50), "seq_id": ["a", "b"], "label": [1, 0], "timestamp_ms": times}
    (segment,) = read_triplets(write_set(tmp_path / "segments.npz", segments=[[0, 0, 25, 31]], **moment))
    frames = segment.track.keypoints[:, 0, 0] - 0.1
    assert (frames[0], frames[-1]) == pytest.approx((25, 30), abs=0.2)
    assert segment.track.start_s == pytest.approx(times[25] / 1000, abs=0.06)
    tag, *rest = read_triplets(write_set(tmp_path / "tags.npz", tags=[[0, 30]], **moment))
    assert all("@rest" in t.id for t in rest)
    assert tag.track.start_s == pytest.approx(times[30] / 1000 - 1.5, abs=0.11)
    (last,) = read_triplets(write_set(tmp_path / "last.npz", segments=[[1, 0, 49, 50]], **moment))
    assert len(last.track) == 1


def test_captions_are_clips_and_those_of_the_same_span_are_one(tmp_path: Path) -> None:
    captions = [
        {"seq_id": "b", "start_s": None, "end_s": None, "text": "somebody waits"},
        {"seq_id": "a", "start_s": 1.0, "end_s": 2.5, "text": "a jump"},
        {"seq_id": "a", "start_s": 1.0, "end_s": 2.5, "text": "a leap"},
        {"seq_id": "a", "start_s": 1.0, "end_s": 2.5, "text": "a jump"},
        {"seq_id": "a", "start_s": 3.0, "end_s": 60.0, "text": "a fall"},
        {"seq_id": "elsewhere", "start_s": None, "end_s": None, "text": "ignored"},
    ]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    triplets = read_triplets(write_set(tmp_path / "toy.npz"), captions=tmp_path / "captions.json")
    assert spans(triplets) == [("toy/b", 40, 70), ("toy/a@1-2.5", 10, 25), ("toy/a@3-60", 30, 40)]
    assert [t.texts for t in triplets] == [("somebody waits",), ("a jump", "a leap"), ("a fall",)]
    assert all(t.label is None for t in triplets)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_captions_of_sequences_are_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "captions.json"
    path.write_bytes('[{"seq_id": "a", "start_s": null, "end_s": null, "text": "does a plié"}]'.encode(encoding))
    assert is_by_sequence(path)
    assert read_sequence_captions(path) == {("a", None, None): ["does a plié"]}
    path.write_bytes('[{"video": "a", "text": "does a plié"}]'.encode(encoding))
    assert not is_by_sequence(path)


def test_a_tag_of_a_class_without_a_name_has_no_text(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set.npz", class_names=np.array([], dtype=np.str_), tags=[[0, 20, 7]])
    assert {(t.texts, t.label) for t in read_triplets(path)} == {((), None)}


def test_captions_of_sequences_outside_the_part_are_left_out(tmp_path: Path) -> None:
    captions = [{"seq_id": s, "start_s": None, "end_s": None, "text": s} for s in "abc"]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    path = write_set(tmp_path / "toy.npz", is_train=[True, False, True])
    triplets = read_triplets(path, part="is_train", captions=tmp_path / "captions.json")
    assert [t.id for t in triplets] == ["toy/a", "toy/c"]


@pytest.mark.parametrize("content", ["not json", '{"seq_id": "a"}', '[{"seq_id": "a", "text": "no times"}]', "[3]"])
def test_captions_of_another_form_are_an_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "captions.json"
    file.write_text(content)
    expected = r"; expected a JSON list of objects with seq_id, start_s, end_s, text$"
    with pytest.raises(FormatError, match=rf"^captions {re.escape(str(file))}: .*{expected}"):
        read_triplets(write_set(tmp_path / "toy.npz"), captions=file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start_s": "a"}, "entry 1: start_s is 'a'; expected seconds, or null"),
        ({"end_s": True}, "entry 1: end_s is True; expected seconds, or null"),
        ({"end_s": float("nan")}, "entry 1: end_s is nan; expected seconds, or null"),
        ({"start_s": -1}, "entry 1: start_s is -1; expected seconds, or null"),
        ({"start_s": 4.5}, "entry 1: ends at 3 s, before it starts at 4.5 s"),
        ({"text": 5}, "entry 1: text is 5; expected words"),
        ({"seq_id": 7}, "entry 1: seq_id is 7; expected the id of a sequence"),
    ],
)
def test_a_caption_with_a_wrong_value_is_named(tmp_path: Path, changes: dict, said: str) -> None:
    good = {"seq_id": "a", "start_s": 0, "end_s": 3, "text": "a jump"}
    file = tmp_path / "captions.json"
    file.write_text(json.dumps([good, good | changes]))
    with pytest.raises(FormatError) as error:
        read_triplets(write_set(tmp_path / "toy.npz"), captions=file)
    assert str(error.value) == f"captions {file}: {said}"


def test_a_caption_without_a_field_is_named(tmp_path: Path) -> None:
    file = tmp_path / "captions.json"
    file.write_text('[{"seq_id": "a", "end_s": 3, "text": "a jump"}]')
    with pytest.raises(FormatError) as error:
        read_triplets(write_set(tmp_path / "toy.npz"), captions=file)
    expected = "expected a JSON list of objects with seq_id, start_s, end_s, text"
    assert str(error.value) == f"captions {file}: entry 0 has no start_s; {expected}"


def test_sequences_without_a_caption_are_as_without_captions(tmp_path: Path) -> None:
    captions = {("a", 1.0, 2.5): ["a jump"], ("elsewhere", None, None): ["unused"]}
    path = write_set(tmp_path / "toy.npz", is_train=[True, True, False])
    triplets, ids = read_captioned(path, captions, part="is_train")
    assert spans(triplets) == [("toy/a@1-2.5", 10, 25), ("toy/b", 40, 70)]
    assert [(t.label, t.texts) for t in triplets] == [
        (None, ("a jump",)),
        ("jumping_jacks", describe("jumping jacks")),
    ]
    assert ids == {"a", "b", "c"}


def test_a_missing_captions_file_and_a_missing_set_are_errors(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"^captions .*gone\.json: there is no such file; expected a JSON list of objects"
    ):
        read_triplets(write_set(tmp_path / "toy.npz"), captions=tmp_path / "gone.json")
    with pytest.raises(FormatError, match=r"gone\.npz: there is no such file; expected an \.npz$"):
        read_triplets(tmp_path / "gone.npz")


def test_each_person_is_a_clip_with_the_same_texts(tmp_path: Path) -> None:
    path = write_set(tmp_path / "duo.npz", lengths=(10, 10), persons=2, tracked=[[1, 1]] * 10 + [[1, 0]] * 10)
    triplets = read_triplets(path)
    assert [t.id for t in triplets] == ["duo/a", "duo/a#1", "duo/b"]
    assert triplets[0].texts == triplets[1].texts == ("flail",)


def test_videos_are_attached_by_id(tmp_path: Path) -> None:
    triplets = read_triplets(write_set(tmp_path / "toy.npz"))
    with_video = attach_videos(triplets, {"toy/b": np.arange(3), "elsewhere/x": np.zeros(3)})
    assert [t.video is None for t in with_video] == [True, False, True]
    assert with_video[1].video is not None
    assert with_video[1].video.dtype == np.float32
    assert (with_video[1].id, with_video[1].texts, with_video[0]) == ("toy/b", triplets[1].texts, triplets[0])
