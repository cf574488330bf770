"""The web page in a real browser: what a person sees, presses and hears of."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra web)")
pytest.importorskip("playwright", reason="Playwright is not installed (extra dev)")

from playwright import sync_api

from tmor.serve.examples import read_examples
from tmor.serve.limits import Limits
from tmor.serve.web import create_app
from tmor.skeleton.formats import write_tracks
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track
from web_server import Estimator, running, tiny_model, write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
HOSTILE = '<img src=x onerror="document.title=1">&amp;</script>'


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, "--disable-sync", "--no-first-run", "--mute-audio"]
        )
        yield started
        started.close()


@pytest.fixture
def estimator():
    made = Estimator()
    yield made
    made.gate.set()


@pytest.fixture
def visit(browser, monkeypatch, tmp_path, estimator):
    """Open the page of a server; it must never complain, nor ask anybody else for anything."""
    model = tiny_model(monkeypatch, tmp_path / "cache")
    pages, complaints, strangers = [], [], []
    servers = []

    def begin(*, width: int = 1200, dark: bool = False, ready: str = "#main", **how):
        server = running(create_app(model, lambda: estimator, **how))
        address = server.__enter__()
        servers.append(server)
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "warning" else None)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "blob:", "data:")) else strangers.append(request.url)
            ),
        )
        page.goto(address)
        page.locator(ready).wait_for()
        pages.append(context)
        return page

    yield begin
    estimator.gate.set()
    for context in pages:
        context.close()
    for server in servers:
        server.__exit__(None, None, None)
    assert complaints == [] and strangers == []


@pytest.fixture
def poses(tmp_path) -> Path:
    path = tmp_path / "two people.npz"
    write_tracks(path, [named(sample_track("squat"), "Ada"), named(sample_track("clap"), HOSTILE)])
    return path


def named(track: Track, name: str) -> Track:
    return Track(track.keypoints, track.layout, track.fps, id=name)


def ask(page, labels: str) -> None:
    page.fill("#labels", labels)
    page.click("#ask")
    page.get_by_text(re.compile("^Done")).wait_for()


def upload(page, path: Path) -> None:
    page.set_input_files("#file", path)
    page.locator("#player").wait_for()


def overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def inked(page) -> int:
    """Pixels that are drawn on the stage."""
    return page.evaluate(
        """() => {
            const { width, height } = canvas, { data } = pen.getImageData(0, 0, width, height);
            return data.filter((value, i) => i % 4 === 3 && value > 0).length;
        }"""
    )


def test_from_a_file_to_an_answer_on_a_phone(visit, poses):
    """And whatever people call things, it is shown and never executed."""
    page = visit(width=360, dark=True)
    assert page.locator("#player").is_hidden() and page.locator("#ask").is_disabled()
    upload(page, poses)
    ask(page, f"squat, clap\n{HOSTILE}")
    assert page.locator(".who").all_inner_texts() == ["1. Ada", f"2. {HOSTILE}"]
    assert sorted(page.locator("#bars .name").all_inner_texts()) == sorted(["squat", "clap", HOSTILE, "none of these"])
    assert page.locator("#files .name").inner_text() == "two people.npz"
    assert page.locator(".segment").count() >= 2 and inked(page) > 500
    assert overflow(page) <= 0
    assert page.locator("img").count() == 0 and page.title().startswith("tmor")


def test_sentences_after_a_colon_describe_a_label(visit, poses):
    page = visit()
    upload(page, poses)
    with page.expect_request("**/predict") as caught:
        ask(page, "sit, stand up\nMove 1: The hips sink; the knees bend. 1.5 times.\n: odd")
    said = {"sit": [], "stand up": [], "Move 1": ["The hips sink", "the knees bend", "1.5 times"], ": odd": []}
    assert caught.value.post_data_json == {"labels": said}
    assert sorted(page.locator("#bars .name").all_inner_texts()) == sorted([*said, "none of these"])
    page.fill("#labels", "a\nb: c\nb")
    with page.expect_request("**/predict") as caught:
        page.click("#ask")
    assert caught.value.post_data_json == {"labels": ["a", "b", "b"]}


@pytest.mark.slow
def test_everything_by_keyboard(visit, poses):
    page = visit()
    upload(page, poses)
    ask(page, "squat, clap, wave")
    names = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea')].filter(e => e.checkVisibility()).map(e => "
        "(e.ariaLabel || e.labels?.[0]?.textContent || e.textContent || '').trim())"
    )
    assert len(names) > 25 and all(names)
    page.focus("#stage")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("i")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("O")
    rate = sample_track("squat").fps or 30
    assert float(page.input_value("#start")) == pytest.approx(10 / rate, abs=0.01)
    assert float(page.input_value("#end")) == pytest.approx(40 / rate, abs=0.01)
    assert page.locator("#region").is_visible()
    page.keyboard.press("+")
    assert page.locator("#zoomed").inner_text() == "1.6 ×"
    wide = page.evaluate(
        "document.getElementById('inner').offsetWidth / document.getElementById('scroller').clientWidth"
    )
    assert wide == pytest.approx(1.6, abs=0.02)
    page.keyboard.press("-")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"
    page.locator(".segment").first.focus()
    page.keyboard.press("Enter")  # plays the segment from its start to its end
    page.get_by_text("Play", exact=True).wait_for()
    end = page.evaluate("segmentsOf(0)[0].end_s")
    assert page.evaluate("time") == pytest.approx(end, abs=0.01)
    assert page.locator("#now").inner_text() == page.locator(".segment").first.inner_text()
    page.focus("#file")
    outline = page.evaluate("getComputedStyle(document.getElementById('file').parentElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.slow
def test_a_moment_is_taught_and_found_elsewhere(visit, poses, tmp_path):
    page = visit()
    upload(page, poses)
    page.click("#enrol")
    assert page.locator("#alert").inner_text().startswith("Mark where the action starts and ends first.")
    for person, name in (("0", "my squat"), ("1", "my clap")):
        page.select_option("#person", person)
        page.fill("#start", "0.2")
        page.fill("#end", "1.8")
        page.fill("#action", name)
        page.click("#enrol")
        page.get_by_text(f"“{name}” has 1 example now.").wait_for()
    assert page.locator("#alert").is_hidden()
    write_tracks(tmp_path / "elsewhere.npz", [named(sample_track("clap"), "Bo")])
    page.set_input_files("#file", tmp_path / "elsewhere.npz")
    page.get_by_text("Bo: my clap").wait_for()
    assert page.locator("#legend .name").all_inner_texts() == ["★ my clap"]

    with page.expect_download() as event:
        page.click("#save-examples")
    event.value.save_as(tmp_path / "examples.npz")
    assert set(read_examples(tmp_path / "examples.npz")) == {"my squat", "my clap"}
    page.get_by_label("Remove the examples of my squat").click()
    page.get_by_text("Removed “my squat”.").wait_for()
    page.set_input_files("#load-examples", tmp_path / "examples.npz")
    page.get_by_label("Remove the examples of my squat").wait_for()

    with page.expect_download() as event:
        page.click("text=Download JSON")
    assert event.value.suggested_filename == "elsewhere-actions.json"
    event.value.save_as(tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["source"] == "elsewhere.npz" and found["tracks"][0]["label"] == "my clap"
    with page.expect_download() as event:
        page.click('#downloads [data-kind="csv"]')
    event.value.save_as(tmp_path / "found.csv")
    assert (tmp_path / "found.csv").read_text("utf-8-sig").startswith("person,start_s,end_s,label,score\n")

    page.reload()  # what the session holds is still there
    page.get_by_label("Remove the examples of my clap").wait_for()
    assert page.locator("#files li").count() == 2
    page.click("#forget")
    page.locator("#files li").first.wait_for(state="detached")
    assert page.locator("#player").is_hidden() and page.locator("#enrolled li").count() == 0


@pytest.mark.slow
def test_a_video_plays_under_its_skeleton(visit, tmp_path):
    page = visit()
    upload(page, write_video(tmp_path / "a.mp4", 3, codec="libx264", size=(320, 240)))
    page.locator("#video").wait_for()
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.getElementById('video').currentTime") == pytest.approx(0.1, abs=0.01)
    assert inked(page) > 200
    page.click("#play")
    time.sleep(0.7)
    page.click("#play")
    shown, played = page.evaluate("[time, document.getElementById('video').currentTime]")
    assert 0.2 < shown == pytest.approx(played, abs=0.15)
    page.uncheck("#show-video")
    assert page.locator("#video").is_hidden()


@pytest.mark.slow
def test_a_video_that_the_browser_can_not_play(visit, tmp_path):
    page = visit()
    upload(page, write_video(tmp_path / "a.avi", 2))
    page.get_by_text("This browser can’t play the video’s format: the skeletons are shown alone.").wait_for()
    assert page.locator("#video").is_hidden() and inked(page) > 200
    page.click("#play")
    page.get_by_text("Play", exact=True).wait_for()  # to its end
    assert page.locator("#clock").inner_text().startswith("0:02")


@pytest.mark.slow
def test_cancel_and_bad_files(visit, tmp_path, estimator):
    page = visit()
    estimator.gate.clear()
    page.set_input_files("#file", write_video(tmp_path / "a.mp4", 30))
    page.get_by_text(re.compile(r"Looking for people in a\.mp4: \d+ of 30 s")).wait_for()
    assert page.locator("#drop").is_hidden()
    page.click("#cancel")
    page.locator("#drop").wait_for()
    estimator.gate.set()
    assert page.locator("#files li").count() == 0 and page.locator("#alert").is_hidden()
    bad = tmp_path / "<b>bad.mp4"
    bad.write_text(HOSTILE)
    page.set_input_files("#file", bad)
    page.locator("#alert").wait_for()
    assert page.locator("#alert span").inner_text().startswith("<b>bad.mp4: begins with b'<img src=x onerror=")
    page.click("#dismiss")
    (tmp_path / "empty.mp4").touch()
    page.set_input_files("#file", tmp_path / "empty.mp4")
    assert page.locator("#alert span").inner_text() == "empty.mp4: the file is empty"
    dropped = page.evaluate_handle(
        "() => { const held = new DataTransfer(); held.items.add(new File(['{}'], 'dropped.json')); return held; }"
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    page.get_by_text("dropped.json: JSON with an object with keys none").wait_for()


@pytest.mark.slow
def test_a_file_too_many(visit, poses, tmp_path):
    page = visit(limits=Limits(session_files=1))
    upload(page, poses)
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(20 << 20))
    page.set_input_files("#file", large)
    page.locator("#alert").wait_for()
    assert (
        page.locator("#alert span").inner_text()
        == "1 files are kept for you already; remove one of them first, or forget everything"
    )
    assert page.locator("#files .name").all_inner_texts() == ["two people.npz"]
    page.get_by_label("Remove two people.npz").click()
    page.locator("#files li").wait_for(state="detached")
    upload(page, poses)
    assert page.locator("#alert").is_hidden()


@pytest.mark.slow
def test_the_page_asks_for_the_token(visit, poses):
    page = visit(token="open-sesame", ready="#gate")
    assert page.locator("#main").is_hidden()
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.get_by_text("the token is wrong").wait_for()
    page.fill("#token", "open-sesame")
    page.keyboard.press("Enter")
    page.locator("#main").wait_for()
    upload(page, poses)
    ask(page, "squat, clap")
    assert page.locator("#alert").is_hidden()


@pytest.mark.slow
def test_many_labels_differ_by_pattern(visit, tmp_path):
    page = visit()
    write_tracks(tmp_path / "a.npz", [named(sample_track("squat"), f"person {i}") for i in range(12)])
    upload(page, tmp_path / "a.npz")
    ask(page, "\n".join(f"label {i}" for i in range(40)))
    assert page.locator(".who").count() == 12
    looks = page.evaluate(
        """() => {
            current.labels = new Map([...Array(32).keys()].map(i => ['x' + i, i]));
            const painted = label => { const e = document.createElement('div'); paint(e, label); return e; };
            return [...current.labels.keys()].map(painted).map(e => e.className + e.style.cssText);
        }"""
    )
    assert len(set(looks)) == 32
    assert overflow(page) <= 0
