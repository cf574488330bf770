"""The web server as programs and hostile strangers meet it; the page itself is in test_web_page.py."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra web)")
pytest.importorskip("python_multipart", reason="python-multipart is not installed (extra web)")

import httpx
from fastapi.testclient import TestClient

from tmor.errors import TmorError
from tmor.model.answers import NONE
from tmor.serve.examples import read_examples, write_examples
from tmor.serve.limits import Limits, shown_name
from tmor.serve.predict import as_json, predict_tracks
from tmor.serve.web import create_app, serve
from tmor.skeleton.formats import write_tracks
from tmor.skeleton.sample import sample_track
from tmor.skeleton.tracks import Track
from web_server import Estimator, running, tiny_model, write_sound, write_video

HERE = Path(__file__).parent
HOME = "http://127.0.0.1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def model(monkeypatch, tmp_path):
    return tiny_model(monkeypatch, tmp_path / "cache")


@pytest.fixture
def estimator():
    made = Estimator()
    yield made
    made.gate.set()


@pytest.fixture
def start(model, estimator):
    """Start a server; returns a client of it. Another client of its application is another browser."""
    clients = []

    def begin(limits: Limits | None = None, **how) -> TestClient:
        app = create_app(model, lambda: estimator, limits, **how)
        client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield begin
    estimator.gate.set()
    for client in clients:
        client.__exit__(None, None, None)
        assert not Path(client.app.state.sessions._folder.name).exists()


def another(client: TestClient) -> TestClient:
    return TestClient(client.app, base_url=HOME, raise_server_exceptions=False)


@pytest.fixture
def poses(tmp_path) -> Path:
    path = tmp_path / "poses.npz"
    write_tracks(path, [sample_track("squat"), sample_track("clap")])
    return path


def folder(client: TestClient) -> list[str]:
    return [path.name for path in Path(client.app.state.sessions._folder.name).iterdir()]


def upload(client: TestClient, path: Path, name: str | None = None) -> str:
    answer = client.post("/api/jobs", params={"name": name or path.name}, content=path.read_bytes())
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def wait(client: TestClient, job: str, *states: str) -> dict:
    for _ in range(1000):
        state = client.get(f"/api/jobs/{job}").json()
        if state["state"] in (states or ("done", "failed")):
            return state
        time.sleep(0.01)
    raise AssertionError(state)


def until(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def refused(answer, status: int) -> str:
    """The words of an error, which is JSON and nothing else."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (words,) = answer.json().values()
    assert list(answer.json()) == ["error"]
    return words


# ---- one file in, the documented JSON out


def test_predict_answers_as_the_command_line_does(start, model, poses):
    client = start()
    answer = client.post(
        "/api/predict", files={"file": ("poses.npz", poses.read_bytes())}, data={"labels": "squat, clap"}
    )
    expected = as_json(
        "poses.npz", predict_tracks(model, [sample_track("squat"), sample_track("clap")], ["squat", "clap"])
    )
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(expected))
    again = client.post(
        "/api/predict", files={"file": ("poses.npz", poses.read_bytes())}, data={"labels": ["squat", "clap"]}
    )
    assert again.json() == answer.json()
    assert folder(client) == [] and client.cookies == {}


def test_predict_takes_videos_and_examples(start, tmp_path, estimator):
    client = start()
    video = write_video(tmp_path / "a.mp4")
    write_examples(tmp_path / "mine.npz", {"my own": [sample_track("squat")]})
    answer = client.post(
        "/api/predict",
        files={"file": ("my clip.mp4", video.read_bytes()), "examples": (tmp_path / "mine.npz").read_bytes()},
        data={"labels": "wave"},
    )
    (track,) = answer.json()["tracks"]
    assert (answer.json()["source"], track["id"]) == ("my clip.mp4", "my clip")
    assert set(track["probabilities"]) == {"wave", "my own", NONE}
    assert track["segments"][0]["start_s"] == track["start_s"] == 0
    assert folder(client) == [] and estimator.pictures == 20


def test_the_api_is_described(start):
    schema = start().get("/api/openapi.json").json()
    assert {"/api/predict", "/api/jobs", "/api/jobs/{id}", "/api/jobs/{id}/predict"} <= set(schema["paths"])
    form = schema["paths"]["/api/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", "labels", "examples"}
    segment = schema["components"]["schemas"]["FoundSegment"]["properties"]
    assert set(segment) == {"start_s", "end_s", "label", "score"}


# ---- step by step, as the page does


def test_a_video_from_upload_to_download(start, tmp_path):
    client = start()
    job = upload(client, write_video(tmp_path / "a.mp4"), "holiday.mp4")
    assert wait(client, job) == {
        "id": job,
        "name": "holiday.mp4",
        "state": "done",
        "done_s": 1.9,
        "duration_s": 2.0,
        "error": None,
        "people": 1,
    }
    assert folder(client) == []
    shown = client.get(f"/api/jobs/{job}/poses").json()
    assert shown["video"] == {"width": 64, "height": 48, "fps": 10.0, "duration_s": 2.0}
    (person,), (layout,) = shown["people"], shown["layouts"]
    assert (person["id"], person["fps"], person["source_frames"], person["dims"]) == ("holiday", 10.0, 20, 2)
    assert len(person["points"]) == 20 * 17 * 2 and layout["name"] == "unik17" and len(layout["joints"]) == 17
    assert abs(np.mean(person["points"][0::2]) * person["step"] - 32) < 1

    assert "nothing was asked" in refused(client.get(f"/api/jobs/{job}/results.json"), 404)
    first = client.post(f"/api/jobs/{job}/predict", json={"labels": ["squat", "wave"]}).json()
    assert first["source"] == "holiday.mp4" and set(first["tracks"][0]["probabilities"]) == {"squat", "wave", NONE}
    second = client.post(f"/api/jobs/{job}/predict", json={"labels": ["=SUM(A1)", 'say "hi", please']}).json()
    kept = client.get(f"/api/jobs/{job}/results.json")
    assert kept.json() == second
    assert kept.headers["content-disposition"] == 'attachment; filename="results.json"'
    table = client.get(f"/api/jobs/{job}/results.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert rows[0] == ["person", "start_s", "end_s", "label", "score"]
    (segment,) = second["tracks"][0]["segments"]
    shown_label = {"=SUM(A1)": "'=SUM(A1)"}.get(segment["label"], segment["label"])
    assert rows[1:] == [["holiday", "0.0", "2.0", shown_label, str(segment["score"])]]
    assert refused(client.get(f"/api/jobs/{job}/results.exe"), 400).startswith(
        "the request is not as expected: path.kind"
    )


def test_a_moment_becomes_an_action_and_is_found_elsewhere(start, poses, tmp_path):
    client = start()
    job = upload(client, poses)
    wait(client, job)
    assert client.get("/api/session").json()["examples"] == {}
    moment = {"label": " my move ", "person": 0, "start_s": 0.5, "end_s": 1.5}
    state = client.post(f"/api/jobs/{job}/examples", json=moment).json()
    assert state["examples"] == {"my move": [{"start_s": 0.5, "duration_s": 1.0}]}
    assert [j["id"] for j in state["jobs"]] == [job]
    # spelt in another way it is the same label
    state = client.post(
        f"/api/jobs/{job}/examples", json=moment | {"label": "My Move", "start_s": 0, "end_s": 1}
    ).json()
    assert len(state["examples"]["my move"]) == 2

    other = upload(client, poses, "elsewhere.npz")
    wait(client, other)
    found = client.post(f"/api/jobs/{other}/predict", json={"labels": ["clap", "MY MOVE"]}).json()
    assert [set(track["probabilities"]) for track in found["tracks"]] == [{"clap", "my move", NONE}] * 2
    client.post(f"/api/jobs/{job}/examples", json=moment | {"label": "clap", "person": 1, "start_s": 0, "end_s": 2})
    found = client.post(f"/api/jobs/{other}/predict", json={"labels": []}).json()
    assert [track["label"] for track in found["tracks"]] == ["my move", "clap"]
    client.delete("/api/examples", params={"label": "clap"})

    file = client.get("/api/examples.npz").content
    (tmp_path / "examples.npz").write_bytes(file)
    saved = read_examples(tmp_path / "examples.npz")
    assert [len(track) for track in saved["my move"]] == [round(t.fps or 0) for t in saved["my move"]]
    stranger = another(client)
    taken = stranger.post("/api/examples.npz", params={"name": "x"}, content=file)
    assert taken.json()["examples"] == client.get("/api/session").json()["examples"]

    assert client.delete("/api/examples", params={"label": "my move"}).json()["examples"] == {}
    words = refused(client.delete("/api/examples", params={"label": "my move"}), 404)
    assert words == "label 'my move' is not enrolled; enrolled are: none"
    assert set(stranger.get("/api/session").json()["examples"]) == {"my move"}
    assert refused(client.get("/api/examples.npz"), 404) == "nothing is enrolled yet"
    assert folder(client) == []


def test_one_to_five_examples(start, poses):
    client = start()
    job = upload(client, poses)
    wait(client, job)
    moment = {"label": "a", "person": 0, "start_s": 0.0, "end_s": 1.0}

    def mark(**changes):
        return client.post(f"/api/jobs/{job}/examples", json=moment | changes)

    for _ in range(5):
        assert mark().status_code == 200
    assert refused(mark(), 400) == "label 'a' has 5 examples; expected at most 5: remove it to begin anew"
    for changes, words in (
        ({"label": " "}, "a label is empty; expected words"),
        (
            {"label": "x" * 201},
            "label 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' has 201 characters; expected at most 200",
        ),
        ({"label": "b", "person": 2}, "poses.npz: there is no person 2; it has 2, counted from 0"),
        ({"label": "b", "person": -1}, "poses.npz: there is no person -1; it has 2, counted from 0"),
        (
            {"label": "b", "start_s": 1.0},
            "an example from 1 to 1 s; expected an end after the start, by 60 s at most",
        ),
        ({"label": "b", "end_s": 99.0}, "an example from 0 to 99 s; expected an end after the start, by 60 s at most"),
        ({"label": "b", "start_s": 50, "end_s": 51}, "person 0 is seen in fewer than 2 frames from 50 to 51 s"),
    ):
        assert refused(mark(**changes), 400) == words
    endless = '{"label": "b", "person": 0, "start_s": 0, "end_s": Infinity}'
    answer = client.post(f"/api/jobs/{job}/examples", content=endless, headers=JSON)
    assert refused(answer, 400).startswith("the request is not as expected")


def test_examples_to_begin_with(start, poses):
    client = start(examples={"my move": [sample_track("squat")]})
    assert set(client.get("/api/session").json()["examples"]) == {"my move"}
    job = upload(client, poses)
    wait(client, job)
    found = client.post(f"/api/jobs/{job}/predict", json={"labels": ["clap"]}).json()
    assert set(found["tracks"][0]["probabilities"]) == {"clap", "my move", NONE}
    client.delete("/api/examples", params={"label": "my move"})
    assert set(another(client).get("/api/session").json()["examples"]) == {"my move"}
    answer = client.post("/api/predict", files={"file": poses.read_bytes()}, data={"labels": "clap"})
    assert set(answer.json()["tracks"][0]["probabilities"]) == {"clap", "my move", NONE}


# ---- whose is it


def test_sessions_never_see_each_other(start, poses):
    client = start()
    job = upload(client, poses)
    wait(client, job)
    cookie = next(iter(client.cookies.jar))
    assert len(cookie.value or "") >= 40
    stranger = another(client)
    assert "there is no such session" in refused(stranger.get(f"/api/jobs/{job}"), 404)
    upload(stranger, poses)
    paths = [f"/api/jobs/{job}", f"/api/jobs/{job}/poses", f"/api/jobs/{job}/results.json"]
    for answer in (
        *(stranger.get(path) for path in paths),
        stranger.delete(paths[0]),
        stranger.post(f"{paths[0]}/predict", json={"labels": ["a"]}),
        stranger.post(f"{paths[0]}/examples", json={"label": "a", "person": 0, "start_s": 0, "end_s": 1}),
        client.get("/api/jobs/unknown"),
        client.delete("/api/jobs/unknown"),
    ):
        assert refused(answer, 404) == "there is no such file in this session; it may have been forgotten"
    assert wait(client, job)["state"] == "done"
    assert [j["id"] for j in client.get("/api/session").json()["jobs"]] == [job]


def test_the_cookie_is_kept_from_scripts_and_other_sites(start, poses):
    header = start().post("/api/jobs", content=poses.read_bytes()).headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/api"} <= {part.strip() for part in header.split(";")}


def test_sessions_expire_and_are_bounded(start, poses):
    client = start(Limits(sessions=1))
    job = upload(client, poses)
    wait(client, job)  # who came back keeps the place
    assert refused(another(client).post("/api/jobs", content=b"x"), 429) == (
        "1 people use this server already; try again later"
    )
    (session,) = client.app.state.sessions._sessions.values()
    session.used_s -= 3601
    assert "there is no such session" in refused(client.get(f"/api/jobs/{job}"), 404)
    assert another(client).post("/api/jobs", content=b"x").status_code == 202


def test_a_session_that_nobody_came_back_to_makes_room(start, poses, tmp_path, estimator):
    client = start(Limits(sessions=3))
    sessions = client.app.state.sessions._sessions
    job = upload(client, poses)
    wait(client, job)
    for _ in range(5):  # programs that keep no cookies
        last = upload(another(client), poses)
        until(lambda: all(job.state == "done" for session in sessions.values() for job in session.jobs.values()))
    assert len(sessions) == 3 and last in next(reversed(sessions.values())).jobs
    assert client.get(f"/api/jobs/{job}").json()["state"] == "done"
    estimator.gate.clear()
    for _ in range(2):
        upload(another(client), write_video(tmp_path / "a.mp4"))
    received = []

    def body():
        received.append("something")
        yield b"x"

    for path in ("/api/jobs", "/api/examples.npz"):
        answer = another(client).post(path, content=body())
        assert refused(answer, 429) == "3 people use this server already; try again later"
    assert received == [] and len(sessions) == 3 and len(folder(client)) == 2


def test_forgetting(start, poses):
    client = start()
    first, second, third = (upload(client, poses, name) for name in "abc")
    assert [j["id"] for j in client.get("/api/session").json()["jobs"]] == [first, second, third]
    assert client.delete(f"/api/jobs/{second}").status_code == 204
    refused(client.get(f"/api/jobs/{second}"), 404)
    assert client.delete("/api/session").status_code == 204
    refused(client.get(f"/api/jobs/{third}"), 404)


def test_a_file_too_many_takes_no_others_place(start, poses, tmp_path, estimator):
    client = start(Limits(session_files=3))
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    failed = [upload(client, broken) for _ in range(2)]
    first = upload(client, poses)
    for job in (*failed, first):
        wait(client, job)

    def jobs() -> list[str]:
        return [job["id"] for job in client.get("/api/session").json()["jobs"]]

    estimator.gate.clear()
    working = upload(client, write_video(tmp_path / "a.mp4"))
    wait(client, working, "working")
    assert jobs() == [failed[1], first, working]  # one that failed makes room, the oldest first
    waiting = upload(client, poses)
    assert jobs() == [first, working, waiting]
    words = "3 files are kept for you already; remove one of them first, or forget everything"
    assert refused(client.post("/api/jobs", content=poses.read_bytes()), 429) == words
    assert len(folder(client)) == 2
    estimator.gate.set()
    assert [wait(client, job)["state"] for job in (first, working, waiting)] == ["done"] * 3
    assert refused(client.post("/api/jobs", content=poses.read_bytes()), 429) == words
    assert jobs() == [first, working, waiting] and folder(client) == []
    client.delete(f"/api/jobs/{working}")
    assert jobs() == [first, waiting] and wait(client, upload(client, poses))["state"] == "done"


def test_two_uploads_for_one_place(model, poses):
    """The second is refused when it has come in, and leaves nothing."""
    app = create_app(model, Estimator, Limits(session_files=2))
    sessions, gate = app.state.sessions, threading.Event()

    def slowly():
        gate.wait(20)
        yield poses.read_bytes()

    with running(app) as address, httpx.Client(base_url=address) as browser, ThreadPoolExecutor(2) as callers:
        browser.post("/api/jobs", content=poses.read_bytes())
        answers = [callers.submit(browser.post, "/api/jobs", content=slowly()) for _ in range(2)]
        until(lambda: sessions._uploads._value == Limits().waiting - 2)
        gate.set()
        assert sorted(answer.result().status_code for answer in answers) == [202, 429]
        until(lambda: sessions._uploads._value == Limits().waiting)
        assert list(Path(sessions._folder.name).iterdir()) == []
        assert len(browser.get("/api/session").json()["jobs"]) == 2


def test_memory_is_bounded(start, poses):
    client = start(Limits(total_bytes=1000))
    wait(client, upload(client, poses))
    words = "the server holds as many poses as it can; remove files, or try again later"
    assert refused(client.post("/api/jobs", content=b"x"), 429) == words
    client = start(Limits(people=1))
    job = upload(client, poses)
    assert wait(client, job)["error"].startswith("poses.npz: 2 tracks of ")
    client = start(Limits(memory_bytes=1000))
    assert "poses.npz: unpacks to " in wait(client, upload(client, poses))["error"]
    client = start(Limits(pose_bytes=1000))
    assert "poses.npz: a file of poses of " in wait(client, upload(client, poses))["error"]
    answer = client.post("/api/predict", files={"file": poses.read_bytes()}, data={"labels": "a"})
    assert "expected at most 1000" in refused(answer, 413)


# ---- who may ask


def test_a_token(start, poses):
    client = start(host="0.0.0.0", token="open sesame".replace(" ", "-"))
    assert refused(client.get("/api/session"), 401) == "a token is needed: Authorization: Bearer TOKEN"
    for wrong in ("Bearer wrong", "Bearer open-sesam\xe9", "Basic open-sesame", "open-sesame"):
        answer = client.get("/api/session", headers={"Authorization": wrong.encode("latin-1")})
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert refused(
        client.post("/api/jobs", content=poses.read_bytes(), headers={"Authorization": "Bearer x"}), 401
    ) == ("the token is wrong")
    right = {"Authorization": "Bearer open-sesame"}
    assert client.get("/api/session", headers=right).status_code == 200
    assert client.get("/api/session", headers=right | {"Host": "lab.example:8000"}).status_code == 200
    assert client.get("/").status_code == 200


def test_other_hosts_need_a_token(model):
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(TmorError) as error:
            create_app(model, Estimator, host=host)
        assert str(error.value) == (
            f"--host {host} can be reached from other machines; expected a --token that requests must carry"
        )
    for token in ("", "two words", "schlüssel", "a\n"):
        with pytest.raises(TmorError, match="the token is empty or holds spaces"):
            create_app(model, Estimator, token=token)
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        create_app(model, Estimator, host=host).state.sessions.close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:80:80", "localhost@evil"])
def test_another_name_for_this_machine_is_refused(start, host):
    client = start()
    for path in ("/", "/api/session", "/api/openapi.json"):
        assert "expected localhost or 127.0.0.1" in refused(client.get(path, headers={"Host": host}), 403)
    for own in ("localhost", "LOCALHOST:8000", "[::1]:8000", "127.0.0.1:1"):
        assert client.get("/api/session", headers={"Host": own}).status_code == 200


def test_another_site_is_refused(start, poses):
    client = start()
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert "may not use this server" in refused(
            client.post("/api/jobs", content=poses.read_bytes(), headers=headers), 403
        )
    assert client.post("/api/jobs", content=b"x", headers={"Origin": HOME, "Sec-Fetch-Site": "same-origin"}).is_success
    # a link on another site may lead here, but not into the API
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_the_page_may_fetch_nothing_from_elsewhere(start):
    answer = start().get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert policy.count("'sha256-") == 2
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert "<script src" not in answer.text and "@import" not in answer.text and "innerHTML" not in answer.text


# ---- what people send


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def without_frames(path: Path) -> Path:
    content = write_video(path, codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda p: text(p / "a.mp4", "These are not the pictures"),
            "my file.xyz: begins with b'These are not the pictur'; expected tracks or a packed set (.npz), COCO or "
            "LCR-Net (.json), OpenPose (a folder), NTU (.skeleton), BVH, or PYSKL (.pkl); or a video (MP4, MOV, AVI, "
            "MKV, WebM, MPEG)",
        ),
        (lambda p: text(p / "a.json", '{"a": 1}'), "my file.xyz: JSON with an object with keys a; expected COCO"),
        (lambda p: text(p / "a.json", ""), "my file.xyz: the file is empty"),
        (lambda p: text(p / "a.json", '{"annotations": []}'), "my file.xyz: no list 'images' whose entries have an"),
        (
            lambda p: text(p / "a.json", '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []}'),
            "my file.xyz: nobody is in it",
        ),
        (lambda p: text(p / "a.json", "[]"), "my file.xyz: JSON with a list of nothing; expected COCO keypoints"),
        (lambda p: write_sound(p / "a.m4a"), "my file.xyz: has no pictures, only audio (aac); expected a video file"),
        (
            lambda p: without_frames(p / "a.avi"),
            "my file.xyz: not one frame can be decoded (its video is mjpeg, 64x48)",
        ),
        (
            lambda p: write_video(p / "a.mkv", codec="ffv1", size=(1, 1), pix_fmt="bgr0"),
            "my file.xyz: its pictures are 1x1; expected at least 16 pixels a side",
        ),
        (
            lambda p: truncated(write_video(p / "a.mp4", 5)),
            "my file.xyz: can't be read as a video: the file may be cut off (",
        ),
        (lambda p: write_video(p / "a.mp4", level=2), "my file.xyz: nobody was found in the video"),
        (lambda p: write_video(p / "a.avi", 31, fps=2), "my file.xyz: the video lasts 31.0 s or more; expected at"),
    ],
)
def test_bad_files_are_answered_in_words_and_the_server_stays_up(start, tmp_path, poses, make, words):
    client = start(Limits(video_s=30))
    path = make(tmp_path)
    job = upload(client, path, "../my file.xyz")
    state = wait(client, job)
    assert state["state"] == "failed" and state["error"].startswith(words)
    assert "upload" not in state["error"] and "/" not in state["error"].replace("b'", "")
    answer = client.post("/api/predict", files={"file": ("my file.xyz", path.read_bytes())}, data={"labels": "a, b"})
    assert refused(answer, 413 if "lasts" in words else 400) == state["error"]
    assert refused(client.get(f"/api/jobs/{job}/poses"), 400) == f"my file.xyz: has no poses: {state['error']}"
    assert folder(client) == []
    assert wait(client, upload(client, poses))["state"] == "done"


def test_a_damaged_archive_is_the_users_fault(start, poses, tmp_path):
    content = bytearray(poses.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 109  # the version of zip that it takes to unpack the first array
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    client = start()
    error = wait(client, upload(client, damaged))["error"]
    assert error.startswith("damaged.npz: ")
    answer = client.post("/api/predict", files={"file": (damaged.name, bytes(content))}, data={"labels": "a"})
    assert refused(answer, 400) == error
    assert (
        refused(client.post("/api/examples.npz", params={"name": damaged.name}, content=bytes(content)), 400) == error
    )
    assert folder(client) == []


def test_a_video_that_hides_its_length(start, tmp_path):
    client = start(Limits(video_s=3))
    mkv = write_video(tmp_path / "b.mkv", 5)
    content = bytearray(mkv.read_bytes())
    at = content.find(b"\x44\x89\x88")  # the duration in the header, made to be none
    assert at > 0
    content[at : at + 2] = b"\xec\x89"
    mkv.write_bytes(content)
    assert wait(client, upload(client, mkv))["error"] == "b.mkv: the video lasts 3.1 s or more; expected at most 3 s"


def test_labels_1_to_500(start, poses):
    client = start()
    job = upload(client, poses)
    wait(client, job)

    def ask(labels, **how):
        return client.post(f"/api/jobs/{job}/predict", json={"labels": labels}, **how)

    many = [f"label {i}" for i in range(501)]
    assert len(ask(many[:500]).json()["tracks"][0]["probabilities"]) == 501
    assert refused(ask(many), 400) == "501 labels are given; expected at most 500"
    assert refused(ask([]), 400) == "no labels were given; expected at least one"
    assert refused(ask(["a", "A "]), 400) == "label 'A' is given twice"
    assert refused(ask(["a", " "]), 400) == "a label is empty; expected words"
    assert "has 201 characters; expected at most 200" in refused(ask(["x" * 201]), 400)
    assert refused(ask("squat"), 400).startswith("the request is not as expected: body.labels")
    half = client.post(f"/api/jobs/{job}/predict", content=b'{"labels": ["\\ud800"]}', headers=JSON)
    assert "expected text" in refused(half, 400)
    assert refused(ask(["x" * (1 << 20)]), 413) == "the request is too large; expected at most 1048576 bytes"
    markup = '<script>alert("1")</script>'
    assert ask([markup, "手を振る"]).json()["tracks"][0]["probabilities"].keys() == {markup, "手を振る", NONE}


def test_labels_may_come_with_descriptions(start, model, poses):
    client = start()
    job = upload(client, poses)
    wait(client, job)
    labels = {"Move 1": ["a person squats"], "clap": [], "Move 2": ["a hand is lifted", "it swings"]}
    tracks = [sample_track("squat"), sample_track("clap")]
    expected = [track["probabilities"] for track in as_json("", predict_tracks(model, tracks, labels))["tracks"]]
    assert expected != [t["probabilities"] for t in as_json("", predict_tracks(model, tracks, list(labels)))["tracks"]]

    def ask(labels):
        return client.post(f"/api/jobs/{job}/predict", json={"labels": labels})

    def form(labels):
        return client.post("/api/predict", files={"file": poses.read_bytes()}, data={"labels": labels})

    for answer in (ask(labels), form(json.dumps(labels))):
        assert answer.status_code == 200
        assert [track["probabilities"] for track in answer.json()["tracks"]] == expected
    assert refused(ask({"a": ["x"] * 21}), 400) == "label 'a' has 21 descriptions; expected at most 20"
    long = refused(ask({"a": ["x", "y" * 501]}), 400)
    assert long == "a description of label 'a' has 501 characters; expected at most 500"
    assert refused(ask({"a": [" "]}), 400) == "label 'a' has the description ' '; expected words"
    assert refused(ask({}), 400) == "no labels were given; expected at least one"
    assert refused(ask({"a": [], " A": []}), 400) == "label 'A' is given twice"
    assert refused(ask({"a": "x"}), 400).startswith("the request is not as expected: body.labels")
    wrong = "labels.a: Input should be a valid array; expected labels with lists of texts"
    assert refused(form('{"a": "x"}'), 400) == wrong
    assert refused(form("{a"), 400).startswith("labels: Invalid JSON: ")


def test_the_ways_to_write_labels_in_a_form(start, poses):
    client = start()

    def form(labels):
        return client.post("/api/predict", files={"file": poses.read_bytes()}, data={"labels": labels})

    for labels, names in (
        ("walk\nwave", {"walk", "wave"}),
        ("walk, sit\r\n\r\nwave\n", {"walk", "sit", "wave"}),
        (["walk\n", "wave, sit"], {"walk", "sit", "wave"}),
        ('["walk", "sit, then rise"]', {"walk", "sit, then rise"}),
        (' [\n"walk",\n"wave"]\n', {"walk", "wave"}),
    ):
        answer = form(labels)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()["tracks"][0]["probabilities"]) == names | {NONE}
    for labels, words in (
        ("walk,\nwave", "a label is empty; expected words"),
        ("\n", "no labels were given; expected at least one"),
        ("[]", "no labels were given; expected at least one"),
        ('["walk", ""]', "a label is empty; expected words"),
        ('["walk", 1]', "labels.1: Input should be a valid string; expected a list of labels"),
    ):
        assert refused(form(labels), 400) == words
    assert refused(form('["walk"'), 400).startswith("labels: Invalid JSON: ")
    as_file = "labels came as a file; expected text, as of curl -F 'labels=<FILE'"
    file, mine = {"file": poses.read_bytes()}, {"labels": ("mine.txt", b"walk\nwave")}
    for files in (file | mine, file | mine | {"examples": ("mine.npz", b"PK")}):
        for data in ({}, {"labels": "walk"}):
            assert refused(client.post("/api/predict", files=files, data=data), 400) == as_file
    answer = client.post("/api/predict", files=file, data={"labels": "a", "examples": "b.npz"})
    assert refused(answer, 400) == "examples came as text; expected a file, as of curl -F examples=@FILE"


def test_wrong_labels_are_told_before_poses_are_looked_for(start, tmp_path, estimator):
    client = start(Limits(waiting=1), examples={"my move": [sample_track("squat")]})
    video = write_video(tmp_path / "a.mp4").read_bytes()
    write_examples(tmp_path / "mine.npz", {"wave": [sample_track("squat")]})
    mine = {"examples": (tmp_path / "mine.npz").read_bytes()}
    for labels, files, words in (
        ("walk, Walk", {}, "label 'Walk' is given twice"),
        ("walk, ", {}, "a label is empty; expected words"),
        ("none of these", {}, "label 'none of these' is what tmor answers by itself where no label fits; leave it out"),
        ("My move, my move", {}, "label 'my move' is given twice"),
        ("wave, Wave", mine, "label 'Wave' is given twice"),
        ("x" * 201, {}, f"label '{'x' * 40}...' has 201 characters; expected at most 200"),
    ):
        answer = client.post("/api/predict", files={"file": video, **files}, data={"labels": labels})
        assert refused(answer, 400) == words
    assert estimator.pictures == 0 and folder(client) == []


def test_forms_that_are_none(start, poses):
    client = start()
    words = "the form has no file under 'file'; expected a video or pose file"
    assert refused(client.post("/api/predict", data={"labels": "a"}), 400) == words
    assert refused(client.post("/api/predict", data={"labels": "a", "file": "x"}, files={"other": b""}), 400) == words
    broken = client.post("/api/predict", content=b"--x--", headers={"Content-Type": "multipart/form-data"})
    assert refused(broken, 400) == "Missing boundary in multipart."
    nothing = client.post("/api/predict", files={"file": poses.read_bytes()})
    assert refused(nothing, 400) == "no labels were given; expected at least one"
    bad = {"file": poses.read_bytes(), "examples": ("mine.npz", b"PK\x03\x04 and so on")}
    answer = client.post("/api/predict", files=bad, data={"labels": "a"})
    assert refused(answer, 400) == (
        "mine.npz: not a complete .npz (a zip archive of arrays); the file may be truncated"
    )
    assert refused(client.get("/api/nothing"), 404) == "Not Found"
    assert refused(client.put("/api/jobs"), 405) == "Method Not Allowed"
    assert folder(client) == []


def test_an_upload_beyond_the_limit(start, tmp_path):
    client = start(Limits(upload_bytes=1000, pose_bytes=1000))
    large = bytes(1 << 21)
    words = "the request is too large; expected at most 1049576 bytes"
    assert refused(client.post("/api/jobs", content=large), 413) == words

    def in_pieces():  # without a Content-Length
        for _ in range(1 << 5):
            yield bytes(1 << 16)

    assert refused(client.post("/api/jobs", content=in_pieces()), 413) == words
    assert refused(client.post("/api/examples.npz", content=in_pieces()), 413) == words
    assert refused(client.post("/api/predict", files={"file": large}), 413).startswith("the request is too large")
    body = (b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n', *in_pieces())
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert refused(client.post("/api/predict", content=iter(body), headers=form), 413).startswith("the request is too")
    assert folder(client) == [] and client.cookies == {}
    assert client.post("/api/jobs", content=b"x").status_code == 202  # no place in the queue was lost


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.mp4", "clip.mp4"),
        ("a\x00b\n\u202ec.mp4", "abc.mp4"),
        ("..", ".."),
        ("", "upload"),
        ("/", "upload"),
        ("x" * 500, "x" * 120),
        ("x" * 130 + ".mp4", "x" * 116 + ".mp4"),
        ("x" * 116 + ".mp4", "x" * 116 + ".mp4"),
        ("x." * 300, "x." * 60),
        ("x" * 100 + "." + "y" * 100, "x" * 100 + "." + "y" * 19),
        ("<b>.mp4", "<b>.mp4"),
    ],
)
def test_names_are_shown_only(start, poses, name, shown):
    client = start()
    assert shown_name(name) == shown
    job = client.post("/api/jobs", params={"name": name}, content=poses.read_bytes()).json()["id"]
    assert wait(client, job)["name"] == shown
    assert wait(client, job)["state"] == "done"


def test_ids_come_from_the_users_name(start, tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=np.random.default_rng(0).normal(size=(20, 17, 2)), layout="coco17")
    client = start()
    answer = client.post(
        "/api/predict", files={"file": ("dir/walk.npz", (tmp_path / "a.npz").read_bytes())}, data={"labels": "a, b"}
    )
    assert [track["id"] for track in answer.json()["tracks"]] == ["walk"]


@pytest.mark.parametrize("ending", [".json", ""])
def test_people_of_a_file_with_a_long_name_stay_apart(start, tmp_path, ending):
    clap = sample_track("clap").keypoints[:40, :, :2] * [100, -100]
    two = [
        {"image_id": n, "keypoints": np.pad(pose + shift, [(0, 0), (0, 1)], constant_values=2).ravel().tolist()}
        for n, pose in enumerate(clap)
        for shift in (200, 5000)
    ]
    images = [{"id": n, "file_name": f"{n:03}.jpg"} for n in range(40)]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": two}))
    client = start()
    job = upload(client, tmp_path / "a.json", "x" * 130 + ending)
    shown = "x" * (120 - len(ending))
    assert wait(client, job)["name"] == shown + ending
    client.post(f"/api/jobs/{job}/predict", json={"labels": ["clap"]})
    found = client.get(f"/api/jobs/{job}/results.json").json()
    assert (found["source"], [track["id"] for track in found["tracks"]]) == (shown + ending, [shown, f"{shown}#1"])
    subtitles = client.get(f"/api/jobs/{job}/results.srt").text
    assert {line[:4] for line in subtitles.splitlines() if line.startswith("#")} == {"#0: ", "#1: "}


def test_long_ids_keep_the_persons_number(start, tmp_path):
    squat, name = sample_track("squat"), "x" * 130
    ids = (name, f"{name}#1", f"{name}#12")
    write_tracks(tmp_path / "a.npz", [Track(squat.keypoints, squat.layout, squat.fps, id=id) for id in ids])
    client = start()
    job = upload(client, tmp_path / "a.npz")
    wait(client, job)
    shown = [person["id"] for person in client.get(f"/api/jobs/{job}/poses").json()["people"]]
    assert shown == ["x" * 120, "x" * 118 + "#1", "x" * 117 + "#12"]


def test_a_hostile_id_is_made_harmless(start, tmp_path):
    track = sample_track("squat")
    write_tracks(tmp_path / "a.npz", [Track(track.keypoints, track.layout, track.fps, id="\u202e\x07=1+1" + "x" * 999)])
    client = start()
    job = upload(client, tmp_path / "a.npz")
    assert wait(client, job)["state"] == "done"
    client.post(f"/api/jobs/{job}/predict", json={"labels": ["a"]})
    assert client.get(f"/api/jobs/{job}/results.json").json()["tracks"][0]["id"] == "=1+1" + "x" * 116
    assert client.get(f"/api/jobs/{job}/results.csv").text.splitlines()[1].startswith("'=1+1x")


# ---- several at a time


def test_cancelling_in_mid_job(start, tmp_path, poses, estimator):
    client = start()
    estimator.gate.clear()
    job = upload(client, write_video(tmp_path / "a.mp4", 10))
    waiting = upload(client, poses)
    state = wait(client, job, "working")
    assert state["duration_s"] == 10.0
    assert refused(client.get(f"/api/jobs/{job}/poses"), 400).endswith("has no poses: they are still being looked for")
    assert len(folder(client)) == 2
    assert client.delete(f"/api/jobs/{waiting}").status_code == 204
    assert len(folder(client)) == 1  # the file of one that waits goes at once
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    refused(client.get(f"/api/jobs/{job}"), 404)
    estimator.gate.set()
    until(lambda: not folder(client))
    assert folder(client) == [] and estimator.pictures < 5


def test_the_queue_is_bounded_and_the_server_answers_meanwhile(start, tmp_path, poses, estimator):
    client = start(Limits(waiting=2))
    estimator.gate.clear()
    jobs = [upload(client, write_video(tmp_path / "a.mp4")), upload(client, poses)]
    wait(client, jobs[0], "working")
    words = "2 files are waiting already; try again when one is done"
    assert refused(client.post("/api/jobs", content=b"x"), 429) == words
    assert refused(client.post("/api/predict", files={"file": b"x"}), 429) == words
    assert client.get(f"/api/jobs/{jobs[1]}").json()["state"] == "waiting"
    assert client.get("/").status_code == 200
    estimator.gate.set()
    assert [wait(client, job)["state"] for job in jobs] == ["done", "done"]
    assert client.post("/api/jobs", content=b"x").status_code == 202


def test_who_was_admitted_is_answered_however_many_ask(start, poses):
    client = start(Limits(waiting=2))
    sessions, gate = client.app.state.sessions, threading.Event()
    form = {"files": {"file": poses.read_bytes()}, "data": {"labels": "squat, clap"}}
    held = [sessions.think(lambda: gate.wait(20)) for _ in range(2)]  # the model is asked as much as it may be
    with ThreadPoolExecutor(2) as callers:
        try:
            answers = [callers.submit(client.post, "/api/predict", **form) for _ in range(2)]
            until(lambda: sessions._thinking._work_queue.qsize() == 3 or any(answer.done() for answer in answers))
            assert refused(client.post("/api/predict", **form), 429).startswith("2 files are waiting already")
            assert folder(client) == []
        finally:
            gate.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert all(future.result() for future in held)
    assert client.post("/api/predict", **form).status_code == 200


def test_a_broken_estimator_is_our_fault_and_replaced(start, tmp_path, estimator):
    client = start()
    estimator.broken = True
    path = write_video(tmp_path / "a.mp4")
    ours = "something went wrong on our side; the server's log says what"
    assert wait(client, upload(client, path))["error"] == ours
    assert refused(client.post("/api/predict", files={"file": path.read_bytes()}, data={"labels": "a"}), 500) == ours
    assert estimator.closed == 2 and folder(client) == []
    estimator.broken = False
    assert wait(client, upload(client, path))["state"] == "done"


def test_an_estimator_that_is_not_there(model, poses, tmp_path):
    def none():
        raise TmorError("the pose estimator 'rtmlib' needs packages that are not installed")

    with TestClient(create_app(model, none), base_url=HOME) as client:
        job = upload(client, write_video(tmp_path / "a.mp4"))
        assert wait(client, job)["error"] == "the pose estimator 'rtmlib' needs packages that are not installed"
        assert wait(client, upload(client, poses))["state"] == "done"


def test_an_unknown_estimator_is_told_before_the_server_starts(model):
    def started(address):
        raise AssertionError(address)

    with pytest.raises(TmorError) as error:
        serve(model, "mediapip", port=0, started=started)
    assert str(error.value).startswith("unknown pose estimator 'mediapip'; expected mediapipe, ")


def test_who_goes_in_the_middle_leaves_nothing(model, estimator, tmp_path):
    """An upload that breaks off, and one whose sender does not wait for the answer."""
    app = create_app(model, lambda: estimator, Limits(waiting=1))
    where = Path(app.state.sessions._folder.name)
    content = write_video(tmp_path / "a.mp4", 10).read_bytes()
    form = (
        b'--b\r\nContent-Disposition: form-data; name="labels"\r\n\r\nwave\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )

    def idle() -> bool:
        return app.state.sessions._uploads._value == 1

    def send(port: int, path: str, body: bytes, length: int) -> socket.socket:
        caller = socket.create_connection(("127.0.0.1", port))
        kind = b"multipart/form-data; boundary=b"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nContent-Type: ".encode()
        caller.sendall(head + kind + b"\r\n\r\n" + body)
        return caller

    with running(app) as address:
        port = int(address.rsplit(":")[-1])
        for path in ("/api/jobs", "/api/predict"):
            caller = send(port, path, form[:1000], len(form))
            until(lambda: not idle())
            caller.close()
            until(idle)
            assert list(where.iterdir()) == []
        estimator.gate.clear()
        caller = send(port, "/api/predict", form, len(form))
        until(lambda: estimator.pictures)
        caller.close()
        until(lambda: all(job._stop.is_set() for job in app.state.sessions._jobs))
        estimator.gate.set()
        until(idle)
        assert list(where.iterdir()) == [] and estimator.pictures < 5
        estimator.gate.clear()
        caller = send(port, "/api/jobs", content, len(content))
        until(lambda: list(where.iterdir()))
        estimator.gate.set()
    caller.close()
    assert not where.exists() and estimator.closed == 1


def test_an_upload_that_stalls_is_given_up(model):
    app = create_app(model, Estimator, Limits(stall_s=0.1))
    with running(app) as address:
        with socket.create_connection(("127.0.0.1", int(address.rsplit(":")[-1]))) as caller:
            caller.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nand then")
            caller.settimeout(20)
            answer = caller.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert list(Path(app.state.sessions._folder.name).iterdir()) == []


SERVER = """
import signal, sys
import tmor.model.model
from tmor.model.model import Model
from tmor.serve.web import serve
from letters import TINY, Teacher

if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
tmor.model.model.load_text_teacher = lambda name: Teacher()
serve(Model(TINY).eval(), "mediapipe", port=0, started=lambda address: print(address, flush=True))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no closed terminals here")
@pytest.mark.parametrize("nohup", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_closed_terminal_leaves_no_upload(tmp_path, nohup):
    """And a server that shall outlive its terminal does so."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    command = [sys.executable, "-c", SERVER, *(["nohup"] if nohup else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
            caller = socket.create_connection(("127.0.0.1", port))
            caller.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nand then")
            until(lambda: list(tmp_path.glob("tmor-serve-*/upload-*")))
            server.send_signal(signal.SIGHUP)
            if nohup:
                time.sleep(0.3)
                assert server.poll() is None
                server.terminate()
            assert server.wait(30) == -signal.SIGTERM
        finally:
            server.kill()
    caller.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.shared
def test_a_real_video_with_real_poses(model, shared_data):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed (extra pose-offline)")
    from tmor.pose import load_estimator

    video = shared_data / "videos" / "felix_exercise.avi"
    with TestClient(create_app(model, lambda: load_estimator("mediapipe")), base_url=HOME) as client:
        job = upload(client, video)
        for _ in range(3000):
            state = client.get(f"/api/jobs/{job}").json()
            if state["state"] in ("done", "failed"):
                break
            time.sleep(0.1)
        assert state["state"] == "done" and state["people"] >= 3 and state["done_s"] > 38
        found = client.post(f"/api/jobs/{job}/predict", json={"labels": ["lunge", "squat", "wave"]}).json()
        assert len(found["tracks"]) == state["people"]
        assert [track["id"] for track in found["tracks"]][:2] == ["felix_exercise", "felix_exercise#1"]
