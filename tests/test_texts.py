"""Captions read from files as people have them, and which of them belong to a clip."""

import contextlib
import json
import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmor.errors import FormatError
from tmor.posecap.captions import describe
from tmor.posecap.texts import Caption, by_source, read_captions, read_descriptions, texts_of


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(captions):
    return [(c.source, c.start_s, c.end_s, c.text) for c in captions]


# --- tables and lists ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.csv", "source,text\n"), ("t.json", "[]"), ("v.vtt", "WEBVTT\n\n"), ("t.tsv", "video\tcaption\na.mp4\t\n")],
)
def test_files_without_a_caption_are_named(tmp_path, caplog, name, content):
    path = written(tmp_path, name, content)
    with pytest.raises(FormatError) as error:
        read_captions(path)
    assert str(error.value) == f"{path}: holds no captions; expected at least one text"
    written(tmp_path, "z.csv", "source,text\na.mp4,sits down\n")
    with caplog.at_level(logging.WARNING):
        assert told(read_captions(tmp_path)) == [("a.mp4", None, None, "sits down")]
    assert caplog.messages[-1] == f"{path}: holds no captions"


ROWS = [("a.mp4", 1.5, 3.0, "sits down"), ("b", None, None, 'waves, "twice"')]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'source,start_s,end_s,text\na.mp4,1.5,3,sits down\nb,,,"waves, ""twice"""\n'),
        (
            "t.tsv",
            "Video ID\tStart Time\tEnd-Time\tCaption\na.mp4\t0:01.5\t00:00:03.000\tsits down\n"
            'b\t\t\t"waves, ""twice"""',
        ),
        ("t.txt", '\ufefffile;start;end;Text\r\na.mp4;1,5;3,0; sits  down \r\n\r\nb;;;"waves, ""twice"""\r\n'),
        (
            "t.json",
            '[{"path": "a.mp4", "start": 1.5, "end": "3", "text": "sits down"}, '
            '{"seq_id": "b", "text": ["waves, \\"twice\\""]}]',
        ),
        (
            "t.jsonl",
            '{"video": "a.mp4", "start_s": 1.5, "end_s": 3, "caption": "sits down"}\n\n'
            '{"video": "b", "end_s": null, "caption": "waves, \\"twice\\""}\n',
        ),
    ],
)
def test_tables_and_lists_hold_the_same_captions_whatever_they_call_their_columns(tmp_path, name, content):
    captions = read_captions(written(tmp_path, name, content))
    assert told(captions) == ROWS
    assert {c.origin for c in captions} == {name}
    assert {c.kind for c in captions} == {"caption"}


def test_a_label_gives_its_name_our_descriptions_and_the_users(tmp_path):
    own = read_descriptions(written(tmp_path, "own.json", '{"Jumping_Jacks": ["hop with  arms and legs apart"]}'))
    path = written(tmp_path, "t.csv", "video,action,text\na,jumping_jacks,a man hops\nb,flail,\n")
    captions = read_captions(path, descriptions=own)
    assert [c.text for c in captions if c.kind == "label"] == ["jumping jacks", "flail"]
    expected = [*describe("jumping jacks")[1:], "hop with arms and legs apart"]
    assert [c.text for c in captions if c.kind == "description"] == expected
    assert told(c for c in captions if c.kind == "caption") == [("a", None, None, "a man hops")]


def test_captions_of_a_set_that_says_where_they_come_from_go_by_the_sequence(tmp_path):
    path = written(tmp_path, "c.json", '[{"seq_id": "01_02", "source": "cmu_index", "text": "climb"}]')
    assert read_captions(path)[0].source == "01_02"


@pytest.mark.shared
def test_the_shared_captions_are_read(shared_data):
    path = shared_data / "cmu_mocap" / "captions.json"
    captions = read_captions(path)
    entries = json.loads(path.read_text())
    assert [(c.source, c.start_s, c.end_s) for c in captions] == [
        (e["seq_id"], e["start_s"], e["end_s"]) for e in entries
    ]


def test_entries_without_text_are_counted(tmp_path, caplog):
    path = written(tmp_path, "t.csv", "video,text\na,\nb,jumps\nc,  \n")
    with caplog.at_level(logging.WARNING):
        assert told(read_captions(path)) == [("b", None, None, "jumps")]
    assert caplog.messages == [f"{path}: 2 entries without text are left out"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clip_no,words\n1,x\n", "line 2: there is no column for the source (seqid, sequence, "),
        ("video,words\n1,x\n", "line 2: there is no column for the text or label (text, caption, "),
        ("video,words\n1,x\n", "; found 'video', 'words'"),
        ("video,text\na,b\na,b,c\n", "line 3: has 3 cells; expected 2 as in the header (video, text)"),
        ("video,start,text\na,soon,b\n", "line 2: the start is 'soon'; expected seconds or hh:mm:ss.mmm"),
        ("video,start,text\na,-1,b\n", "line 2: the start is '-1'; expected seconds or hh:mm:ss.mmm"),
        ("video,start,end,text\na,2,1,b\n", "line 2: ends at 1 s, before it starts at 2 s"),
        ("\n\nvideo,text\n,b\n", "line 4: the source is ''; expected the name of a file or sequence"),
        ("hello\nworld\n", "begins with 'hello'; expected a table (CSV, TSV) or a list"),
        ('[{"video": "a", "text": 3}]', "entry 0: the text is 3; expected words"),
        ('[{"video": "a", "start": NaN, "text": "b"}]', "entry 0: the start is nan; expected seconds or hh:mm:ss.mmm"),
        ('[{"video": "a", "start": true, "text": "b"}]', "entry 0: the start is True; expected seconds"),
        (f'[{{"video": "a", "start": {"9" * 400}, "text": "b"}}]', "entry 0: the start is 999"),
        ("[1]", "entry 0: is 1; expected a table"),
        ('[{"video": "a"\n "text": 3}]', "not valid JSON at line 2, column 2"),
        ('{"video": "a", "text": "b"}\n{"video" "a"}', "not valid JSON at line 2, column 10"),
        ("[" * 100_000, "can't be captions"),
        (" \n", "the file is empty"),
        ('video,text\na,"b\nc,d\ne,f\n', "line 2: a quotation mark opens, and nothing closes it"),
        ('video,text\na,b\n\n"c,d', "line 4: a quotation mark opens, and nothing closes it"),
        ('video,"text\na,b\n', "line 1: a quotation mark opens, and nothing closes it"),
        ("video,text,Text\na,b,c\n", "has two columns 'text' (video, text, Text); expected one"),
        ('[{"video": "a", "text": "waves \\ud83d"}]', "holds half a character, \\ud83d, after "),
        ("video,text\na," + "x" * 10_001, "line 2: a text of 10001 characters; expected at most 10000"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path, content, message):
    path = written(tmp_path, "t", content)
    with pytest.raises(FormatError) as error:
        read_captions(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))


def test_descriptions_that_are_none_say_so(tmp_path):
    with pytest.raises(FormatError, match=r'is a list; expected {"class name"'):
        read_descriptions(written(tmp_path, "a.json", "[]"))
    with pytest.raises(FormatError, match="class 'wave' has 3; expected a list of descriptions"):
        read_descriptions(written(tmp_path, "b.json", '{"wave": 3}'))
    path = written(tmp_path, "c.json", '{"labels": ["sit down", "drink"]}')
    with pytest.raises(FormatError) as error:
        read_descriptions(path)
    assert str(error.value) == f'{path}: has a key "labels"; expected {{"class name": ["description", ...], ...}}'


def test_quoted_cells_may_hold_lines_and_a_table_may_end_anyhow(tmp_path):
    for end in ("", "\n", "\n\n"):
        path = written(tmp_path, "t.csv", f'video,text\na,"waves\nboth hands"\nb,"he said ""go"""{end}')
        assert told(read_captions(path)) == [("a", None, None, "waves both hands"), ("b", None, None, 'he said "go"')]
    path = written(tmp_path, "t.csv", "video,text,,\na,waves,,\n")  # columns without a name are none
    assert told(read_captions(path)) == [("a", None, None, "waves")]


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_the_same_words_in_every_encoding(tmp_path, caplog, encoding):
    path = written(tmp_path, "t.csv", "video,text\na,plié – relevé\n".encode(encoding))
    with caplog.at_level(logging.WARNING):
        assert read_captions(path)[0].text == "plié – relevé"
    stated = [f"{path}: line 2 is not UTF-8; the file is read as Windows-1252"]
    assert caplog.messages == (stated if encoding == "cp1252" else [])


def test_bytes_that_are_broken_name_the_line(tmp_path):
    damaged = "video,text\na,plié\nb,".encode() + b"\xe9x\n"
    with pytest.raises(FormatError, match="line 3: byte 0xe9 is not UTF-8; expected text in UTF-8"):
        read_captions(written(tmp_path, "t.csv", damaged))
    with pytest.raises(FormatError, match="line 2: byte 0x81 is not UTF-8"):
        read_captions(written(tmp_path, "t.csv", b"video,text\na,\x81\n"))
    with pytest.raises(FormatError, match="line 1: byte 0x41 is not UTF-16"):
        read_captions(written(tmp_path, "t.csv", b"\xff\xfe\x41"))
    with pytest.raises(FormatError, match="line 2: holds a zero byte"):
        read_captions(written(tmp_path, "t.csv", b"video,text\na,\x00\n"))


@given(st.binary(max_size=60))
def test_any_bytes_are_captions_or_a_clear_error(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp(), "any.csv", content)
    with contextlib.suppress(FormatError):
        read_captions(path)


# --- subtitles -------------------------------------------------------------------------------------------------------


def test_srt_gives_the_words_and_when(tmp_path):
    content = (
        "1\n00:00:01,000 --> 00:00:02,500\n<i>Bend</i> your {\\an8}knees &amp; hold.\n\n"
        "2\n00:01:00,250 --> 01:00:01,000\n>> ANNA: Now lift\n- the [music] left arm (laughs)\n3\n"
        "01:00:02,000 --> 01:00:03,000\n♪ la la ♪\n\n"
        "4\n01:00:04,000 --> 01:00:05,000\nfive (the weight in both of your hands)\n"
    )
    path = written(tmp_path, "lesson one.en.srt", content)
    captions = read_captions(path)
    assert told(captions) == [
        ("lesson one", 1.0, 2.5, "Bend your knees & hold."),
        ("lesson one", 60.25, 3601.0, "Now lift the left arm"),
        ("lesson one", 3604.0, 3605.0, "five (the weight in both of your hands)"),
    ]
    assert {c.kind for c in captions} == {"subtitle"}


def test_rolling_captions_of_a_machine_say_everything_once(tmp_path):
    content = (
        "WEBVTT\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a note\n\n"
        "00:00.000 --> 00:02.000 align:start position:0%\n \nso<00:00:00.500><c> bend</c><00:01.000><c> down</c>\n\n"
        "00:02.000 --> 00:02.010 align:start position:0%\nso bend down\n \n\n"
        "00:02.010 --> 00:04.000 align:start position:0%\nso bend down\nand<00:00:03.000><c> jump</c>\n\n"
        "00:04.000 --> 00:04.010\nand jump\n \n\n"
        "id\n00:08.000 --> 00:09.000\nand jump\n"
    )
    assert told(read_captions(written(tmp_path, "v.vtt", content))) == [
        ("v", 0.0, 2.01, "so bend down"),
        ("v", 2.01, 4.01, "and jump"),
        ("v", 8.0, 9.0, "and jump"),
    ]


def test_captions_that_grow_word_by_word_are_one(tmp_path):
    times = ["00:00:00.000", "00:00:01.000", "00:00:02.000", "00:00:03.000"]
    words = ["raise", "both", "arms"]
    cues = [f"{a} --> {b}\n{' '.join(words[: n + 1])}\n" for n, (a, b) in enumerate(pairwise(times))]
    assert told(read_captions(written(tmp_path, "v.srt", "\n".join(cues)))) == [("v", 0.0, 3.0, "raise both arms")]


def test_a_cue_that_ends_before_it_starts_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="line 2: the cue ends at 1 s, before it starts at 2 s"):
        read_captions(written(tmp_path, "v.srt", "1\n00:00:02,000 --> 00:00:01,000\nx\n"))


def test_a_folder_is_all_its_files_and_subtitles_go_by_their_path(tmp_path):
    (tmp_path / "day1").mkdir()
    written(tmp_path / "day1", "clip.de.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nbeugen\n")
    written(tmp_path, "labels.csv", "video,text\nday1/clip.mp4,bends\n")
    written(tmp_path, "notes.docx", b"\x00")
    captions = read_captions(tmp_path)
    assert told(captions) == [("day1/clip", 0.0, 1.0, "beugen"), ("day1/clip.mp4", None, None, "bends")]
    assert texts_of(by_source(captions), "day1/clip.mp4") == captions
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="the folder holds no captions"):
        read_captions(tmp_path / "empty")


# --- which belong to a clip ------------------------------------------------------------------------------------------


def test_a_caption_belongs_where_half_of_the_shorter_is_common():
    def belongs(start, end, low, high):
        return bool(texts_of(by_source([Caption("a", "x", start, end)]), "a", low, high))

    assert belongs(0, 10, 5, 15)
    assert not belongs(0, 10, 5.1, 15.1)
    assert belongs(4, 5, 0, 100)  # short within long, and long around short
    assert belongs(0, 100, 4, 5)
    assert belongs(3, 3, 0, 10) and not belongs(3, 3, 4, 10)  # a point in time
    assert belongs(5, None, 0, 10) and not belongs(6, None, 0, 10)  # open ends
    assert belongs(None, None, 4, 5) and belongs(4, 5, None, None)


def test_class_names_come_first_and_whole_sources_always_belong():
    captions = [Caption("a", "x", 0, 1), Caption("a", "whole"), Caption("a", "name", kind="label"), Caption("b", "y")]
    captions = by_source(captions)
    assert [c.text for c in texts_of(captions, "a", 50, 60)] == ["name", "whole"]
    assert [c.text for c in texts_of(captions, "a", 0, 1)] == ["name", "x", "whole"]


@pytest.mark.parametrize(
    ("named", "source", "same"),
    [
        ("clip", "clip.mp4", True),
        ("clip.mp4", "clip", True),
        ("clip.mp4", "clip.avi", False),
        ("a/clip", "a\\clip.mp4", True),
        ("./clip.mp4", "clip.mp4", True),
        ("clip", "a/clip.mp4", False),
        ("take 1", "take 1.5", False),
        ("take 1.5", "take 1.5.json", True),
    ],
)
def test_names_without_a_suffix_match_any(named, source, same):
    assert bool(texts_of(by_source([Caption(named, "x")]), source)) is same
