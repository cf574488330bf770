"""The web page and its HTTP API, over :mod:`tmor.serve.predict`.

``GET /`` is the page; the rest is under ``/api`` and described by ``/api/openapi.json``. ``POST /api/predict`` is
for programs: a file in, the JSON of ``tmor predict --json`` out. The page works in steps: it uploads a file (a *job*),
asks for its state until its poses are found, then asks the model about it as often as it likes.

An error is JSON, ``{"error": words}``: 400 the input was at fault, 401 no or a wrong token, 403 another site's request,
404 not in this session, 413 too large, 429 busy, 500 our fault, 507 the disk is full.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

import tmor
from tmor.errors import TmorError
from tmor.model.answers import split_labels
from tmor.pose import PoseEstimator, load_estimator
from tmor.pose.estimators import check_estimator
from tmor.serve.examples import write_examples
from tmor.serve.limits import Limits, TooLargeError, asked_labels, load_examples
from tmor.serve.messages import Found, JobState, Marked, Question, SessionState
from tmor.serve.predict import as_json
from tmor.serve.report import ReportClip, clip_data, layout_data
from tmor.serve.segment_files import segments_text
from tmor.serve.sessions import OUR_FAULT, BusyError, Job, MissingError, Session, Sessions, moment
from tmor.skeleton.layouts import Layout
from tmor.skeleton.tracks import Track

try:
    import python_multipart  # noqa: F401 (FastAPI reads forms with it)
    import uvicorn
    from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
    from fastapi.exceptions import RequestValidationError
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    from tmor.serve.guard import MOST_JSON_BYTES, Guard, check_token, json_error
except ImportError as error:
    raise TmorError(
        f"the web page needs packages that are not installed ({error.name}); pip install 'tmor[web]'"
    ) from error

if TYPE_CHECKING:
    from tmor.model.answers import Labels
    from tmor.model.model import Model

T = TypeVar("T")

_log = logging.getLogger("tmor")

_STATUS = {TooLargeError: 413, BusyError: 429, MissingError: 404}
_KINDS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "srt": "application/x-subrip",
    "vtt": "text/vtt; charset=utf-8",
    "eaf": "text/xml; charset=utf-8",
}
_MOST_FRAMES = 60_000
"""Frames of a file's poses that are sent to the page, over all people; longer ones are thinned evenly."""


def create_app(
    model: Model,
    estimator_factory: Callable[[], PoseEstimator],
    limits: Limits | None = None,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    examples: Mapping[str, Sequence[Track]] | None = None,
) -> FastAPI:
    """The application, to be run by any ASGI server with one worker process.

    Args:
        model: answers.
        estimator_factory: makes the pose estimator of videos when the first one comes.
        limits: how much it takes.
        host: the address that it is bound to. On a loopback address, requests for other hosts are refused.
        token: every request under ``/api`` must carry it as ``Authorization: Bearer TOKEN``; None = none is needed.
        examples: labels that are enrolled in every session from the beginning.

    Raises:
        TmorError: as :func:`check_token`.
    """
    check_token(host, token)
    sessions = Sessions(model, estimator_factory, limits or Limits(), examples=examples)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(min(60.0, sessions.limits.idle_s))
                sessions.sweep()

        sweeping = asyncio.create_task(sweep())
        yield
        sweeping.cancel()
        await run_in_threadpool(sessions.close)

    app = FastAPI(
        title="tmor",
        version=tmor.__version__,
        summary="What a person is doing, and when, from body movement alone.",
        description=__doc__ or "",
        lifespan=life,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages of documentation fetch their scripts from elsewhere
        redoc_url=None,
    )
    app.state.sessions = sessions
    app.state.page, policy = _page()
    app.include_router(_router)
    app.add_api_route("/", _show_page, include_in_schema=False)
    for kind, handle in (
        (TmorError, _user_error),
        (HTTPException, _http_error),
        (RequestValidationError, _form_error),
        (ClientDisconnect, _gone),
        (Exception, _our_error),
    ):
        app.add_exception_handler(kind, handle)
    app.add_middleware(Guard, host=host, token=token, policy=policy, limits=sessions.limits)
    return app


def serve(
    model: Model,
    estimator: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    examples: Mapping[str, Sequence[Track]] | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the page until the process is told to stop, or its terminal is closed.

    Args:
        estimator: of videos (:func:`tmor.pose.load_estimator`), loaded when the first one comes.
        port: 0 = any that is free.
        started: called with the page's address once it can be opened.

    Raises:
        TmorError: as :func:`create_app`, the estimator is not known, or the address can't be listened on.
    """
    check_estimator(estimator)
    app = create_app(model, lambda: load_estimator(estimator), host=host, token=token, examples=examples)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        app.state.sessions.close()
        raise TmorError(f"can't listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}") from error
    if model.text_head is not None:  # the text teacher takes seconds to load: not when somebody waits for it
        app.state.sessions.think(lambda: model.teacher.encode(["walk"]))
    with listening, _ended_with_the_terminal():
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listening.getsockname()[1]}/")
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # names of files are in the addresses
            server_header=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(settings).run(sockets=[listening])


@contextmanager
def _ended_with_the_terminal() -> Iterator[None]:
    """A closed terminal ends the server as SIGTERM does, so that uploads are removed; under nohup it goes on."""
    closed = getattr(signal, "SIGHUP", None)  # not on Windows
    if closed is None or signal.getsignal(closed) is not signal.SIG_DFL:
        yield
        return
    signal.signal(closed, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(closed, signal.SIG_DFL)


# ---- Routes

_router = APIRouter(prefix="/api")


def _binary(description: str) -> dict[str, Any]:
    """For the description of a route whose body is a file as it is."""
    schema = {"type": "string", "format": "binary"}
    content = {"application/octet-stream": {"schema": schema}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


async def _all_sessions(request: Request) -> Sessions:
    return request.app.state.sessions


async def _own_session(request: Request) -> Session:
    session = _session(request)
    if session is None:
        raise MissingError("there is no such session; it may have been forgotten: upload the file again")
    return session


AllSessions = Annotated[Sessions, Depends(_all_sessions)]
OwnSession = Annotated[Session, Depends(_own_session)]


def _cookie(request: Request) -> str:
    # Cookies are shared by all ports of a host: two servers on one machine must not overwrite each other's.
    return f"tmor_session_{request.scope['server'][1]}"


def _session(request: Request) -> Session | None:
    """The request's session; None where it has none (any more)."""
    return request.app.state.sessions.find(request.cookies.get(_cookie(request)))


def _checked_session(request: Request) -> Session | None:
    """The request's session; where it has none, there is room for a new one. To be asked before a body is received."""
    session = _session(request)
    if session is None:
        request.app.state.sessions.replaced()
    return session


def _begun_session(request: Request, response: Response) -> Session:
    """The request's session, or a new one, whose key goes with the response."""
    session = _session(request)
    if session is None:
        session = request.app.state.sessions.open()
        response.set_cookie(
            _cookie(request),
            session.key,
            path="/api",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return session


@_router.post(
    "/predict",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {"type": "string", "format": "binary", "description": "A video or pose file."},
                            "labels": {
                                "type": "array",
                                "items": {"type": "string"},
                                "description": "Labels; a field may hold several, one per line or separated by commas. "
                                "Or one field of JSON: a list of labels, or an object of labels and lists of "
                                'descriptions, {"wave": ["a hand ..."]}.',
                            },
                            "examples": {"type": "string", "format": "binary", "description": "Enrolled labels."},
                        },
                    }
                }
            },
        }
    },
)
async def predict(request: Request, sessions: AllSessions) -> Found:
    """What each person in a file does, and when: for programs. Nothing is kept."""
    upload = sessions.admit()
    try:
        async with request.form(max_files=3, max_fields=1000, max_part_size=MOST_JSON_BYTES) as form:
            file, examples = form.get("file"), form.get("examples")
            if not isinstance(file, UploadFile):
                raise TmorError("the form has no file under 'file'; expected a video or pose file")
            labels = _labels(form.getlist("labels"))
            enrolled = sessions.examples
            if isinstance(examples, str):
                raise TmorError("examples came as text; expected a file, as of curl -F examples=@FILE")
            if examples is not None:
                await _write(lambda: _copy(examples, upload.path))
                own = examples.filename or ""
                enrolled = await run_in_threadpool(load_examples, upload.path, own, sessions.limits)
            asked_labels(sessions.model, labels, enrolled, sessions.limits)  # wrong ones are told before the long work
            await _write(lambda: _copy(file, upload.path))
            name = file.filename or ""
    except BaseException:
        upload.remove()
        raise
    job = sessions.start(upload, name)
    last = job.finished
    try:
        await _while_connected(request, job.finished)
        if job.failure is not None:
            raise job.failure
        asker = Session("", examples=enrolled)
        last = answering = sessions.think(
            lambda: asker.answer(sessions.model, job.tracks, labels, sessions.limits), admitted=True
        )
        return Found.model_validate(as_json(job.name, await asyncio.wrap_future(answering)))
    except BaseException:
        job.stop()
        raise
    finally:
        last.add_done_callback(lambda _: upload.leave())


def _labels(fields: Sequence[str | UploadFile]) -> Labels:
    """The labels of a form."""
    texts = [field for field in fields if isinstance(field, str)]
    if len(texts) < len(fields):
        raise TmorError("labels came as a file; expected text, as of curl -F 'labels=<FILE'")
    if len(texts) == 1 and (first := texts[0].lstrip()[:1]) in ("{", "["):
        kind, expected = list[str], "a list of labels"
        if first == "{":
            kind, expected = dict[str, list[str]], "labels with lists of texts"
        try:
            return TypeAdapter(kind).validate_json(texts[0])
        except ValidationError as error:
            worst = error.errors()[0]
            raise TmorError(f"{_problem(('labels', *worst['loc']), worst['msg'])}; expected {expected}") from None
    return [label for text in texts for label in split_labels(text)]


@_router.get("/about")
async def about(sessions: AllSessions) -> dict[str, Any]:
    """The model, and how much the server takes."""
    limits, spec = sessions.limits, sessions.model.spec
    return {
        "version": tmor.__version__,
        "model": spec.name,
        "classes": list(spec.classes),
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "video_s": limits.video_s,
            "labels": limits.labels,
            "label_length": limits.label_length,
            "examples": limits.examples,
        },
    }


@_router.get("/session")
async def session_state(request: Request, sessions: AllSessions) -> SessionState:
    """What this session holds; nothing, if it has not begun."""
    return SessionState.of(_session(request) or Session("", examples=sessions.examples))


@_router.delete("/session", status_code=204)
async def forget_session(session: OwnSession, sessions: AllSessions) -> None:
    """Forget this session and all that it holds, now."""
    sessions.close_session(session)


@_router.post("/jobs", status_code=202, openapi_extra=_binary("A video or pose file, as it is."))
async def upload_file(
    request: Request,
    response: Response,
    sessions: AllSessions,
    name: Annotated[str, Query(description="What the file is called, to be shown.")] = "",
) -> JobState:
    """Upload a file; its poses are then looked for."""
    known = _checked_session(request)
    if known is not None:
        known.check_room(sessions.limits)
    upload = sessions.admit()
    try:
        await _receive(request, upload.path)
        job = sessions.start(upload, name, _begun_session(request, response))
    except BaseException:
        upload.remove()
        raise
    return JobState.of(job)


@_router.get("/jobs/{id}")
async def job_state(id: str, session: OwnSession) -> JobState:
    """Where a file stands."""
    return JobState.of(session.job(id))


@_router.delete("/jobs/{id}", status_code=204)
async def forget_job(id: str, session: OwnSession) -> None:
    """Cancel the work on a file, and forget it."""
    session.forget(id)


@_router.get("/jobs/{id}/poses", response_class=Response, responses={200: {"content": {"application/json": {}}}})
async def poses(id: str, session: OwnSession) -> Response:
    """The people of a file: ``{"source", "video": {"width", "height", "fps", "duration_s"} | null, "layouts": [{"name",
    "joints", "bones", "sides", "head"}], "people": [...]}``.

    A person has ``id``, ``layout`` (an index), ``dims``, ``fps`` (null = unknown), ``start_s``, ``facing`` (radians),
    ``step`` and ``points``: flat coordinates in whole multiples of the step (pixels, y down; or metres, y up), null =
    unseen, of every ``stride``-th of its ``source_frames``.
    """
    job = session.done(id)
    return Response(await run_in_threadpool(_poses, job), media_type="application/json")


def _poses(job: Job) -> str:
    layouts: dict[Layout, int] = {}
    most = max(60, _MOST_FRAMES // len(job.tracks))
    kept = ("id", "layout", "dims", "fps", "start_s", "facing", "source_frames", "stride", "step", "points")
    people = [
        {key: clip[key] for key in kept}
        for clip in (clip_data(ReportClip(track, {}), most, {}, layouts) for track in job.tracks)
    ]
    info = job.video
    shown = info and {"width": info.width, "height": info.height, "fps": info.fps, "duration_s": info.duration_s}
    answer = {"source": job.name, "video": shown, "layouts": list(map(layout_data, layouts)), "people": people}
    return json.dumps(answer, allow_nan=False, separators=(",", ":"))


@_router.post("/jobs/{id}/predict")
async def ask(id: str, question: Question, session: OwnSession, sessions: AllSessions) -> Found:
    """What each person of a file does, and when; the enrolled labels are always among the answers."""
    job = session.done(id)
    future = sessions.think(lambda: session.answer(sessions.model, job.tracks, question.labels, sessions.limits))
    job.results = await asyncio.wrap_future(future)
    return Found.model_validate(as_json(job.name, job.results))


@_router.get("/jobs/{id}/results.{kind}", response_class=Response)
async def results(id: str, kind: Literal["json", "csv", "srt", "vtt", "eaf"], session: OwnSession) -> Response:
    """The last answer about a file, to keep: :func:`tmor.serve.segment_files.segments_text`."""
    job = session.done(id)
    if job.results is None:
        raise MissingError(f"{job.name}: nothing was asked about it yet")
    return _attached(segments_text(kind, job.name, job.results), f"results.{kind}", _KINDS[kind])


@_router.post("/jobs/{id}/examples")
async def enrol(id: str, marked: Marked, session: OwnSession, sessions: AllSessions) -> SessionState:
    """Make a moment an example of a label: one to five of them teach the label, in place of its words."""
    example = moment(session.done(id), marked.person, marked.start_s, marked.end_s, sessions.limits)
    session.enrol(marked.label, example, sessions.limits)
    return SessionState.of(session)


@_router.delete("/examples")
async def unenrol(label: str, session: OwnSession) -> SessionState:
    """Forget the examples of a label."""
    session.unenrol(label)
    return SessionState.of(session)


@_router.get("/examples.npz", response_class=Response)
async def save_examples(session: OwnSession, sessions: AllSessions) -> Response:
    """The enrolled labels as a file, for another day, for ``tmor serve --examples``."""
    if not session.examples:
        raise MissingError("nothing is enrolled yet")
    with sessions.scratch() as path:
        written = path.with_suffix(".npz")
        await _write(lambda: write_examples(written, session.examples))
        content = written.read_bytes()
        written.unlink()
    return _attached(content, "examples.npz", "application/octet-stream")


@_router.post("/examples.npz", openapi_extra=_binary("A file of examples, as it is."))
async def take_examples(
    request: Request, response: Response, sessions: AllSessions, name: Annotated[str, Query()] = "examples.npz"
) -> SessionState:
    """Enrol the labels of a file; those that were enrolled before get the new examples alone."""
    _checked_session(request)
    with sessions.scratch() as path:
        await _receive(request, path)
        examples = await run_in_threadpool(load_examples, path, name, sessions.limits)
    session = _begun_session(request, response)
    session.enrol_all(examples, sessions.limits)
    return SessionState.of(session)


def _attached(content: str | bytes, name: str, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


# ---- Receiving


async def _receive(request: Request, path: Path) -> None:
    """Write a request's body to a file as it comes in."""
    with path.open("wb") as file:
        async for chunk in request.stream():
            await _write(lambda chunk=chunk: file.write(chunk))


async def _write(write: Callable[[], Any]) -> None:
    try:
        await run_in_threadpool(write)
    except OSError as error:
        _log.error("can't keep an upload: %s", error)
        raise HTTPException(507, f"the server can't keep the file: {error.strerror}") from error


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, 1 << 20)


async def _while_connected(request: Request, future: Future[T]) -> T:
    """The future's result.

    Raises:
        ClientDisconnect: who asked has gone.
    """
    waiting = asyncio.wrap_future(future)
    while not waiting.done():
        await asyncio.wait([waiting], timeout=0.5)
        if await request.is_disconnected():
            raise ClientDisconnect
    return await waiting


# ---- Errors


async def _user_error(_: Request, error: Exception) -> Response:
    return json_error(next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400), str(error))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return json_error(error.status_code, str(error.detail))


def _problem(where: Sequence[int | str], what: str) -> str:
    return f"{'.'.join(map(str, where))}: {what}"


async def _form_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = (_problem(p["loc"], p["msg"]) for p in error.errors()[:5])
    return json_error(400, f"the request is not as expected: {'; '.join(problems)}")


async def _our_error(_: Request, error: Exception) -> Response:
    return json_error(500, OUR_FAULT)


async def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


# ---- The page, and who may ask


async def _show_page(request: Request) -> Response:
    return Response(request.app.state.page, media_type="text/html; charset=utf-8")


def _page() -> tuple[bytes, str]:
    """The page and its Content-Security-Policy, which allows its own script and style by their hashes alone."""
    text = files("tmor.serve").joinpath("page.html").read_text(encoding="utf-8")

    def allowed(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        hashes = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
        return " ".join(f"'sha256-{digest}'" for digest in hashes)

    policy = (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; connect-src 'self'; "
        "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy
