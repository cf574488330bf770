import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tmor.errors import TmorError
from tmor.serve.report import MOST_FRAMES, ReportClip, write_report
from tmor.skeleton.drawing import bone_sides, braille_skeleton, contact_sheet, facing, joint_sides
from tmor.skeleton.layouts import LAYOUTS, Layout
from tmor.skeleton.tracks import Track

HOSTILE = "</script><img src=x onerror=alert(1)>"


def make_track(frames: int = 40, *, layout: str = "unik17", dims: int = 3, fps: float | None = 30.0, **kwargs) -> Track:
    """Random joints around a body that faces +z: left joints at +x."""
    rng = np.random.default_rng(frames + dims)
    points = rng.normal(0, 0.2, (frames, len(LAYOUTS[layout]), dims))
    points[..., 0] += 0.8 * joint_sides(LAYOUTS[layout])
    return Track(points if dims == 3 else 200 + 100 * points, layout, fps, **kwargs)


def written(path, clips, **kwargs) -> tuple[str, dict]:
    """The page, and the data that its script reads."""
    write_report(path, title=kwargs.pop("title", "A report"), clips=clips, **kwargs)
    page = path.read_text(encoding="utf-8")
    return page, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_numbers_in_the_page_are_those_given(tmp_path):
    track = make_track(7, fps=12.5, id="p1", start_s=3.0)
    hidden = track.keypoints.copy()
    hidden[2, 5] = np.nan
    track = Track(hidden, "unik17", 12.5, start_s=3.0, id="p1")
    clip = ReportClip(
        track, {"sit": 0.25, "stand": 0.75}, ((3.25, 3.5, "stand", 0.625), (3.0, 3.25, "sit", 0.5)), "sit"
    )
    _, data = written(tmp_path / "r.html", [clip], title="T", notes=["n"])
    (shown,) = data["clips"]
    assert (data["title"], data["notes"]) == ("T", ["n"])
    label = data["labels"]
    assert [(label[i], p) for i, p in shown["scores"]] == [("stand", 0.75), ("sit", 0.25)]
    assert [(a, b, label[i], p) for a, b, i, p in shown["segments"]] == [
        (3.0, 3.25, "sit", 0.5),
        (3.25, 3.5, "stand", 0.625),
    ]
    assert label[shown["truth"]] == "sit"
    assert (shown["id"], shown["fps"], shown["start_s"], shown["stride"]) == ("p1", 12.5, 3.0, 1)
    points = np.array(shown["points"], dtype=float).reshape(7, 17, 3) * shown["step"]
    assert shown["step"] == 0.001
    np.testing.assert_allclose(points, track.keypoints, atol=0.00051)
    layout = data["layouts"][shown["layout"]]
    assert layout["joints"] == list(track.layout.joints)
    assert layout["bones"] == track.layout.bone_indices.tolist()


@pytest.mark.parametrize(("span", "step"), [(480, 0.1), (4000, 0.1), (1, 0.001)])
def test_2d_keypoints_are_rounded_to_a_tenth_pixel_or_finer(tmp_path, span, step):
    points = np.random.default_rng(0).uniform(0, span, (30, 13, 2))
    _, data = written(tmp_path / "r.html", [ReportClip(Track(points, "penn13", None), {"a": 1.0})])
    shown = data["clips"][0]
    assert shown["step"] == pytest.approx(step)
    np.testing.assert_allclose(np.reshape(shown["points"], (30, 13, 2)) * shown["step"], points, atol=0.51 * step)


@pytest.mark.parametrize(("fps", "stride"), [(30, 2), (15, 1), (15.1, 1), (25, 2), (60, 4), (None, 1)])
def test_at_most_15_frames_per_second_are_drawn(tmp_path, fps, stride):
    _, data = written(tmp_path / "r.html", [ReportClip(make_track(40, fps=fps), {"a": 1.0})])
    assert data["clips"][0]["stride"] == stride
    assert len(data["clips"][0]["points"]) == -(-40 // stride) * 17 * 3
    assert not data["notes"]


def test_an_hour_is_thinned_and_the_page_says_so(tmp_path):
    track = make_track(30 * 3600, layout="lcrnet13", dims=2)
    page, data = written(tmp_path / "r.html", [ReportClip(track, {"a": 1.0}), ReportClip(make_track(9), {"a": 1.0})])
    shown = data["clips"][0]
    assert 0.9 * MOST_FRAMES < len(shown["points"]) / 13 / 2 <= MOST_FRAMES
    assert shown["source_frames"] == 108_000
    assert data["notes"] == [
        "1 of 2 tracks are long: the player shows at most 3,000 evenly spaced frames of a track. "
        "Labels and scores are those of the whole track."
    ]
    assert len(page) < 2_000_000


def test_page_asks_nothing_of_the_network(tmp_path):
    page, _ = written(tmp_path / "r.html", [ReportClip(make_track(), {"a": 1.0})])
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page, re.I)
    assert set(re.findall(r"(?:src|href)\s*=\s*\"([^\"]*)\"", page)) == {"data:,"}
    assert "default-src 'none'" in page
    assert "innerHTML" not in page


def test_hostile_text_stays_text(tmp_path):
    track = make_track(5, id=HOSTILE)
    clip = ReportClip(track, {HOSTILE: 0.6, "{{data}}": 0.4}, ((0.0, 0.1, HOSTILE, 0.5),), HOSTILE)
    page, data = written(tmp_path / "r.html", [clip], title=HOSTILE + "{{data}}\udcff", notes=[HOSTILE])
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert HOSTILE in data["labels"]
    assert data["clips"][0]["id"] == HOSTILE
    assert data["title"] == HOSTILE + "{{data}}\udcff"


def test_report_replaces_a_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    written(path, [ReportClip(make_track(5), {"a": 1.0})])
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_report_errors_name_the_thing(tmp_path):
    clip = ReportClip(make_track(5), {"a": 1.0})
    with pytest.raises(TmorError, match="no clips to report on; a report needs at least one"):
        write_report(tmp_path / "r.html", title="", clips=[])
    missing = tmp_path / "no" / "r.html"
    with pytest.raises(
        TmorError, match=re.escape(f"can't write report '{missing}': there is no folder '{missing.parent}'")
    ):
        write_report(missing, title="", clips=[clip])
    with pytest.raises(TmorError, match=r"can't write report .*directory"):
        write_report(tmp_path, title="", clips=[clip])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TmorError, match="clip 'p': label 'a' has probability nan; expected 0 to 1"):
        ReportClip(make_track(5, id="p"), {"a": float("nan")})
    with pytest.raises(TmorError, match=r"clip 'p': segment 'a' from 2\.0 to 1\.0 s"):
        ReportClip(make_track(5, id="p"), {}, ((2.0, 1.0, "a", 0.5),))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_browser_shows_odd_clips_without_errors(tmp_path):
    clips = [
        ReportClip(make_track(id=HOSTILE), {HOSTILE: 0.7, "b": 0.3}, ((0.0, 1.0, HOSTILE, 0.5),), "b"),
        ReportClip(make_track(1, dims=2), {}),
        ReportClip(Track(np.full((9, 17, 3), np.nan), "unik17", None), {"b": 1.0}, ((0.0, 1.0, "b", 0.5),)),
        ReportClip(Track(np.zeros((4, 3, 2)), Layout("rig", ("a", "b", "c")), 10), {"b": 1.0}),
    ]
    write_report(tmp_path / "r.html", title=HOSTILE, clips=clips)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    page += "<script>for (let i = 0; i < 4; i++) { show(i, { play: true }); seek(3); }</script>"
    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-quic"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=2000 --dump-dom"
    command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "r.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in result.stderr
    assert "<img" not in result.stdout
    assert "4 clips" in result.stdout


def test_facing_is_the_direction_left_of_which_the_left_side_is():
    track = make_track(200)
    assert facing(track) == pytest.approx(0, abs=0.1)
    assert facing(make_track(200, dims=2)) == 0
    turned = track.keypoints[..., [2, 1, 0]] * (1, 1, -1)  # a quarter turn about y, from +z to +x
    assert facing(Track(turned, "unik17", 30)) == pytest.approx(np.pi / 2, abs=0.1)
    assert facing(Track(np.full((2, 17, 3), np.nan), "unik17", 30)) == 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_as_many_left_as_right_bones_in_every_layout(name):
    for sides in (joint_sides(LAYOUTS[name]), bone_sides(LAYOUTS[name])):
        assert (sides == 1).sum() == (sides == -1).sum() > 0


def test_contact_sheet_has_rows_times_columns_axes():
    unseen = Track(np.full((30, 17, 3), np.nan), "unik17", 30, id="nobody $x$")
    tracks = [make_track(), make_track(3, dims=2, layout="penn13", fps=None), unseen]
    figure = contact_sheet(tracks, columns=5)
    assert len(figure.axes) == 3 * 5
    titles = [axes.get_title(loc="left") for axes in figure.axes[::5]]
    assert titles[0] == "unik17, 3D  ·  30 fps  ·  40 frames  ·  0.0% missing"
    assert titles[1] == "penn13, 2D  ·  unknown rate  ·  3 frames  ·  0.0% missing"
    assert titles[2] == "nobody $x$  ·  unik17, 3D  ·  30 fps  ·  30 frames  ·  100.0% missing"
    drawn = [bool(axes.collections) for axes in figure.axes]
    assert drawn == [True] * 5 + [True] * 3 + [False] * 2 + [False] * 5
    widths = {round(float(np.ptp(axes.get_xlim())), 3) for axes in figure.axes[:5]}
    assert len(widths) == 1  # one scale per row
    figure.canvas.draw()


def test_contact_sheet_says_how_many_tracks_it_leaves_out():
    figure = contact_sheet([make_track(4)] * 20, columns=1)
    assert len(figure.axes) == 12
    assert figure.texts[0].get_text() == "the first 12 of 20 tracks"
    assert len(contact_sheet([make_track(4)] * 3, columns=1, rows=2).axes) == 2
    with pytest.raises(TmorError, match="no tracks to draw"):
        contact_sheet([])


@pytest.mark.parametrize("size", [(44, 22), (20, 10), (1, 1)])
def test_braille_has_the_size_asked_for_and_shows_something(size):
    for dims in (2, 3):
        lines = braille_skeleton(make_track(dims=dims), width=size[0], height=size[1]).split("\n")
        assert [len(line) for line in lines] == [size[0]] * size[1]
        assert all(0x2800 <= ord(c) < 0x2900 for line in lines for c in line)
        assert any(c != "\u2800" for line in lines for c in line)


def test_braille_draws_a_diagonal_and_skips_frames_without_joints():
    rig = Layout("rig", ("a", "b"), (("a", "b"),))
    points = np.full((5, 2, 2), np.nan)
    points[3] = [[0, 0], [1, 1]]  # y down: from the top left to the bottom right
    assert braille_skeleton(Track(points, rig, None), width=2, height=1) == "⠑⢄"
    with pytest.raises(TmorError, match="track 'x' has no seen joint in any frame; there is nothing to draw"):
        braille_skeleton(Track(points[:3], rig, None, id="x"))
