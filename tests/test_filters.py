"""Which texts are dropped, why, and that the report says so."""

import csv
import gzip

import pytest

from tmor.posecap.captions import _descriptions
from tmor.posecap.filters import filter_texts, is_refusal, tells_movement
from tmor.posecap.texts import Caption


def reasons(*captions):
    kept, report = filter_texts(captions)
    assert report.kept == len(kept) and report.kept + sum(report.dropped.values()) == len(captions)
    return report.dropped


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("now bend your knees and lower the hips", None),
        ("keep swinging those arms", None),
        ("then she sat down", None),
        ("  ... ", "empty"),
        ("squat", "too short"),
        ("and so this is the most beautiful of all mornings", "no movement"),
        ("hebt jetzt langsam das linke Bein nach vorne und senkt wieder", "not English"),
        ("подними правую руку вверх", "not English"),
        ("raise your arms and visit www.example.com", "address or advertisement"),
        ("jump over to my channel and subscribe", "address or advertisement"),
        ("step to the side " * 20, "too long"),
    ],
)
def test_each_rule_drops_what_it_names(text, reason):
    assert reasons(Caption("a", text, kind="subtitle")) == ({} if reason is None else {reason: 1})


def test_class_names_and_peoples_captions_may_be_short_and_without_a_verb():
    assert not reasons(
        Caption("a", "tai chi"), Caption("b", "yoga", kind="label"), Caption("c", "golf", kind="caption")
    )


def test_what_a_model_says_instead_of_an_answer_is_no_caption():
    for text in (
        "I'm sorry, but I can't help with that.",
        "As an AI, I lift no arms.",
        "I cannot determine what the person does.",
        "No person is visible who would walk.",
    ):
        assert is_refusal(text)
        assert reasons(Caption("a", text, kind="generated")) == {"refusal": 1}
    assert not is_refusal("a person can't reach the shelf and jumps")


def test_the_same_words_about_the_same_stretch_are_said_once():
    assert reasons(Caption("a", "Lift the arm.", 0, 2), Caption("a", "lift the arm", 1, 3)) == {"duplicate": 1}
    assert not reasons(Caption("a", "lift the arm", 0, 2), Caption("a", "lift the arm", 2, 4))
    assert not reasons(Caption("a", "lift the arm"), Caption("b", "lift the arm"))


def test_nearly_the_same_is_said_once_but_sides_and_numbers_tell():
    long = "a person slowly raises the left arm above the head and then lowers it again two times"
    assert reasons(Caption("a", long), Caption("a", long.replace("slowly ", ""))) == {"near-duplicate": 1}
    assert not reasons(Caption("a", long), Caption("a", long.replace("left", "right")))
    assert not reasons(Caption("a", long), Caption("a", long.replace("two", "three")))
    described = [Caption("a", long, kind="description"), Caption("a", long.replace("slowly ", ""), kind="description")]
    assert not reasons(*described)


def test_the_report_counts_by_reason_and_shows_examples():
    captions = [Caption(str(n), f"what a lovely morning it is {n}", kind="subtitle") for n in range(5)]
    _, report = filter_texts([*captions, Caption("x", "jump"), Caption("x", "")])
    assert report.dropped == {"empty": 1, "no movement": 5}
    assert [c.source for c in report.examples["no movement"]] == ["0", "1", "2"]
    assert str(report).splitlines()[0] == "1 texts kept, 6 dropped"


def test_our_own_descriptions_pass():
    texts = [Caption(label, text, kind="description") for label, own in _descriptions().items() for text in own]
    kept, report = filter_texts(texts)
    assert len(kept) == len(texts), str(report)


@pytest.mark.shared
def test_what_people_wrote_of_movements_tells_movement(shared_data):
    with gzip.open(shared_data / "captions_text" / "kit_ml_captions.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows if row["split"] == "test"]
    assert sum(map(tells_movement, texts)) / len(texts) > 0.94
