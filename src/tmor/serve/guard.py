"""Who may ask the web server, and for how much: hosts, origins, the token, sizes."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmor.errors import TmorError
from tmor.serve.limits import Limits

MOST_JSON_BYTES = 1 << 20
"""Of a request that is no upload."""


def check_token(host: str, token: str | None) -> None:
    """
    Raises:
        TmorError: the host is not a loopback address and there is no token, or the token can't be one.
    """
    if token is None and not is_loopback(host):
        raise TmorError(
            f"--host {host} can be reached from other machines; expected a --token that requests must carry"
        )
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise TmorError("the token is empty or holds spaces or letters beyond ASCII; expected printable ASCII")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def json_error(status: int, words: str, **headers: str) -> JSONResponse:
    """``{"error": words}``."""
    words = words.encode(errors="replace").decode()  # files may hold half characters, which can't be sent
    return JSONResponse({"error": words}, status, headers=headers or None)


class Guard:
    """Lets in only who may ask, and no more bytes than are taken.

    A page of another site, open in the same browser, could send requests here (CSRF), or have its own name resolve to
    this machine to read the answers too (DNS rebinding): browsers tell by ``Origin``, ``Sec-Fetch-Site`` and ``Host``.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str | None, policy: str, limits: Limits) -> None:
        self._app, self._token, self._stall_s = app, token, limits.stall_s
        self._most = {
            "/api/predict": limits.upload_bytes + limits.pose_bytes,
            "/api/jobs": limits.upload_bytes,
            "/api/examples.npz": limits.pose_bytes,
        }
        # Elsewhere than on a loopback address we can't know our names; there the token keeps others out.
        self._hosts = {"localhost", "127.0.0.1", "::1", host} if is_loopback(host) else None
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, is_api = Headers(scope=scope), scope["path"] != "/"
        most = MOST_JSON_BYTES + self._most.get(scope["path"], 0)  # JSON, or what a form has around its files

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refused = self._refused(headers, most, is_api)
        if refused is not None:
            await refused(scope, receive, sent)
            return
        received, complete = 0, False

        async def received_within() -> Message:
            nonlocal received, complete
            try:
                async with asyncio.timeout(None if complete else self._stall_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"nothing came for {self._stall_s:g} s") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > most:
                raise HTTPException(413, _too_large(most))
            return message

        try:
            await self._app(scope, received_within, sent)
        except asyncio.CancelledError:  # the server stops and has waited long enough for this request
            await json_error(503, "the server is being stopped")(scope, receive, sent)

    def _refused(self, headers: Headers, most: int, is_api: bool) -> Response | None:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return json_error(403, f"this is not {host or 'a server without a name'}; expected localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return json_error(403, f"a page of {origin} may not use this server")
        if is_api and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return json_error(403, "a page of another site may not use this server")
        if is_api and self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if scheme.lower() != "bearer" or not right:
                words = "the token is wrong" if given else "a token is needed: Authorization: Bearer TOKEN"
                return json_error(401, words, **{"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return json_error(400, f"Content-Length is {length!r}; expected a number")
        if int(length) > most:
            return json_error(413, _too_large(most))
        return None


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    match = re.fullmatch(r"\[([0-9a-fA-F:]+)\](:\d+)?|([^:]*)(:\d+)?", host)
    return (match[1] or match[3] or "").lower() if match else ""


def _too_large(most: int) -> str:
    return f"the request is too large; expected at most {most} bytes"
