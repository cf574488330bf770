"""What was found, as other programs read it."""

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tmor.errors import TmorError
from tmor.model.segments import Segment
from tmor.serve.predict import TrackResult, as_json
from tmor.serve.segment_files import FORMATS, segments_text, write_segments
from tmor.skeleton.tracks import Track


def result(id: str | None, *segments: tuple[float, float, str], start_s: float = 0.0) -> TrackResult:
    """Somebody who does this and that, in seconds."""
    track = Track(np.zeros((100, 17, 2)), "coco17", 10.0, start_s=start_s, id=id)  # pyright: ignore
    labels = dict.fromkeys((label for _, _, label in segments), 0.0)
    return TrackResult(track, labels | {segments[0][2]: 1.0}, tuple(Segment(*s, 0.75) for s in segments))


ONE = [result("clip", (0, 3.5, "squat"), (3.5, 3723.25, "side lunge"))]
TWO = [
    result("clip", (0, 4, "squat"), (4, 10, "walk")),
    result("clip#1", (2, 4, "wave"), (4, 6, "wave"), (8, 10, "wave")),
]


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_by_rfc_4180():
    text = segments_text("csv", "clip.mp4", ONE)
    assert text == ("person,start_s,end_s,label,score\r\nclip,0,3.5,squat,0.75\r\nclip,3.5,3723.25,side lunge,0.75\r\n")
    odd = 'say "hi", then\nwave'
    assert table(segments_text("csv", "x", [result("a,b", (0, 1, odd))]))[1] == ["a,b", "0", "1", odd, "0.75"]


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "＝1+1", '=HYPERLINK("http://x")'])
def test_a_cell_of_the_csv_is_never_a_formula(evil):
    (row,) = table(segments_text("csv", "x", [result(evil, (0, 1, evil))]))[1:]
    assert (row[0], row[3]) == (f"'{evil}", f"'{evil}")
    assert float(row[1]) == 0, "numbers stay numbers"


def test_subtitles_of_one_person():
    assert segments_text("srt", "clip.mp4", ONE) == (
        "1\n00:00:00,000 --> 00:00:03,500\nsquat\n\n2\n00:00:03,500 --> 01:02:03,250\nside lunge\n"
    )
    assert segments_text("vtt", "clip.mp4", ONE) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:03.500\nsquat\n\n00:00:03.500 --> 01:02:03.250\nside lunge\n"
    )


def test_subtitles_of_several_persons_name_who_and_do_not_overlap():
    assert segments_text("srt", "clip.mp4", TWO).split("\n\n") == [
        "1\n00:00:00,000 --> 00:00:02,000\n#0: squat",
        "2\n00:00:02,000 --> 00:00:04,000\n#0: squat\n#1: wave",
        "3\n00:00:04,000 --> 00:00:06,000\n#0: walk\n#1: wave",
        "4\n00:00:06,000 --> 00:00:08,000\n#0: walk",
        "5\n00:00:08,000 --> 00:00:10,000\n#0: walk\n#1: wave\n",
    ]


def test_subtitles_leave_out_times_without_anybody_and_join_what_goes_on():
    (only,) = segments_text("srt", "x", [result(None, (1, 2, "wave"), (2, 3, "wave"))]).split("\n\n")
    assert only == "1\n00:00:01,000 --> 00:00:03,000\nwave\n"
    gap = segments_text("srt", "x", [result(None, (1, 2, "wave"), (5, 6, "wave"))]).split("\n\n")
    assert [cue.splitlines()[1][:8] for cue in gap] == ["00:00:01", "00:00:05"]


def test_words_can_not_break_subtitles():
    evil = "a\n\n2\n00:00:00,000 --> 00:00:09,000\n<b>&"
    (cue,) = segments_text("srt", "x", [result("x", (0, 1, evil))]).split("\n\n")
    assert cue == "1\n00:00:00,000 --> 00:00:01,000\na 2 00:00:00,000 → 00:00:09,000 <b>&\n"
    _, cue = segments_text("vtt", "x", [result("x", (0, 1, evil))]).split("\n\n")
    assert cue.endswith("\na 2 00:00:00,000 → 00:00:09,000 &lt;b&gt;&amp;\n")


def check_eaf(text: str) -> ElementTree.Element:
    """The structure that the schema EAFv3.0.xsd asks for, as far as we use it."""
    root = ElementTree.fromstring(text)
    assert root.tag == "ANNOTATION_DOCUMENT"
    assert {"AUTHOR", "DATE", "VERSION"} <= set(root.attrib) and root.get("FORMAT") == "3.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", root.attrib["DATE"])
    order = [child.tag for child in root]
    assert order == sorted(order, key=["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE"].index)
    assert order.count("HEADER") == order.count("TIME_ORDER") == 1
    assert root.find("HEADER").get("TIME_UNITS") == "milliseconds"  # pyright: ignore
    for media in root.iter("MEDIA_DESCRIPTOR"):
        assert set(media.attrib) == {"MEDIA_URL", "RELATIVE_MEDIA_URL", "MIME_TYPE"}
    slots = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values()) and min(slots.values(), default=0) >= 0
    ids = [*slots, *(a.attrib["ANNOTATION_ID"] for a in root.iter("ALIGNABLE_ANNOTATION"))]
    assert len(ids) == len(set(ids)) == 2 * len(slots) - len(slots) // 2
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", id) for id in ids), "xsd:ID"
    types = {kind.attrib["LINGUISTIC_TYPE_ID"] for kind in root.iter("LINGUISTIC_TYPE")}
    tiers = list(root.iter("TIER"))
    assert len({tier.attrib["TIER_ID"] for tier in tiers}) == len(tiers)
    for tier in tiers:
        assert tier.attrib["LINGUISTIC_TYPE_REF"] in types
        end = 0
        for annotation in tier:
            assert annotation.tag == "ANNOTATION" and [child.tag for child in annotation] == ["ALIGNABLE_ANNOTATION"]
            (inner,) = annotation
            assert [child.tag for child in inner] == ["ANNOTATION_VALUE"]
            assert end <= slots[inner.attrib["TIME_SLOT_REF1"]] < slots[inner.attrib["TIME_SLOT_REF2"]]
            end = slots[inner.attrib["TIME_SLOT_REF2"]]
    return root


def annotations(root: ElementTree.Element) -> dict[str, list[tuple[int, int, str | None]]]:
    slots = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
    return {
        tier.attrib["TIER_ID"]: [
            (slots[a.attrib["TIME_SLOT_REF1"]], slots[a.attrib["TIME_SLOT_REF2"]], a.findtext("ANNOTATION_VALUE"))
            for a in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }


def test_elan_reads_a_tier_per_person_and_finds_the_video(tmp_path):
    path = tmp_path / "sub folder" / "out.EAF"
    path.parent.mkdir()
    write_segments(path, tmp_path / "my clip.mp4", TWO)
    root = check_eaf(path.read_text(encoding="utf-8"))
    assert annotations(root) == {
        "clip": [(0, 4000, "squat"), (4000, 10000, "walk")],
        "clip#1": [(2000, 4000, "wave"), (4000, 6000, "wave"), (8000, 10000, "wave")],
    }
    (media,) = root.iter("MEDIA_DESCRIPTOR")
    assert media.attrib == {
        "MEDIA_URL": (tmp_path.resolve() / "my clip.mp4").as_uri(),
        "RELATIVE_MEDIA_URL": "./my%20clip.mp4",
        "MIME_TYPE": "video/mp4",
    }


def test_elan_links_no_pose_file_and_tells_namesakes_apart():
    root = check_eaf(segments_text("eaf", "poses.json", [TWO[0], TWO[0]]))
    assert not list(root.iter("MEDIA_DESCRIPTOR"))
    assert list(annotations(root)) == ["clip", "clip'"]
    assert [tier.get("PARTICIPANT") for tier in root.iter("TIER")] == ["clip", "clip"]
    (media,) = check_eaf(segments_text("eaf", "folder/a.mov", ONE)).iter("MEDIA_DESCRIPTOR")
    assert media.get("MEDIA_URL") == "./a.mov", "a name alone tells nothing of folders"


def test_elan_survives_any_words():
    root = check_eaf(segments_text("eaf", "x\x00\ud800", [result('<&"\x07>', (0, 1, "手を\x00振る & <b>"))]))
    assert annotations(root) == {'<&"�>': [(0, 1000, "手を�振る & <b>")]}


def test_json_is_what_predict_prints():
    text = segments_text("json", "clip.mp4", TWO)
    assert json.loads(text) == as_json("clip.mp4", TWO)
    assert json.loads(segments_text("json", "\udcff.mp4", ONE))["source"] == "\udcff.mp4"


@pytest.mark.parametrize("format", FORMATS)
def test_what_begins_before_the_source_or_lasts_no_time_breaks_nothing(format):
    odd = result("x", (-2.0, -1.0, "before"), (-1.0, 0.5, "cut"), (0.5, 0.5, "nothing"), start_s=-2.0)
    text = segments_text(format, "x", [odd])
    if format == "eaf":
        assert annotations(check_eaf(text)) == {"x": [(0, 500, "cut")]}
    elif format in ("srt", "vtt"):
        assert text.count("-->") == 1 and "cut" in text


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_is_written_once(tmp_path, format):
    path = tmp_path / f"out.{format}"
    write_segments(path, "clip.mp4", TWO)
    if format != "eaf":  # which links the whole path
        assert path.read_bytes().decode() == segments_text(format, "clip.mp4", TWO)
    with pytest.raises(TmorError) as error:
        write_segments(path, "clip.mp4", ONE)
    assert str(error.value) == f"{path}: exists already; choose another name"
    assert list(tmp_path.iterdir()) == [path], "no drafts"


def test_where_nothing_can_be_written(tmp_path):
    for path, message in (
        (tmp_path / "a.xlsx", "the name ends in '.xlsx'; expected .csv, .srt, .vtt, .eaf, .json"),
        (tmp_path / "a", "the name ends in ''; expected .csv, .srt, .vtt, .eaf, .json"),
        (tmp_path / "no" / "a.csv", f"the folder {tmp_path / 'no'} does not exist"),
    ):
        with pytest.raises(TmorError) as error:
            write_segments(path, "x", ONE)
        assert str(error.value) == f"{path}: {message}"
    with pytest.raises(TmorError, match=r"^format is 'xml'; expected one of csv, srt, vtt, eaf, json$"):
        segments_text("xml", "x", ONE)
    (Path(tmp_path) / "link.csv").symlink_to("nowhere")
    with pytest.raises(TmorError, match="exists already"):
        write_segments(tmp_path / "link.csv", "x", ONE)
