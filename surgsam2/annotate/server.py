"""The web server of the page: who may talk to it, and which address gives what.

The server is for one person on one machine. It listens on the loopback address unless the caller
gives a certificate, every address needs the token that the command prints, requests must name the
server by the address it listens on, and a request from a page of another origin is refused. The
page loads nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from surgsam2.annotate.chooser import VideoChooser
from surgsam2.annotate.export import export_project, wanted_formats
from surgsam2.annotate.session import Send as SendEvent
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.storage.json_text import parse_json

STATIC = Path(__file__).with_name("static")
ALREADY_OPEN = 4001
"""Code with which the server closes the connection of a second page."""
_POLL_SECONDS = 0.01
MAX_COMMAND_BYTES = 16 * 2**20
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STALE = (
    "This address is not valid any more. Open the address that the running "
    "`surgsam2 annotate` printed; each start makes a new one.\n"
)


def cookie_name(hosts: frozenset[str]) -> str:
    """Return the name of the cookie with the token; each port of this machine has its own.

    Browsers give a cookie to all servers of a host, whatever their ports: with one name for all,
    the page of a second video would take the token of the first one's page.

    Args:
        hosts: as for `make_app`.
    """
    return f"surgsam2-token-{min(hosts).rpartition(':')[2]}"


class Guard:
    """Middleware that lets through only requests with the token, from this server's own page.

    Args:
        app: the application behind it.
        token: the secret that the command prints as part of the address.
        hosts: the values of the ``Host`` header that are accepted.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self._cookie = cookie_name(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on (the ASGI interface)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(4403, refusal[:100])
        else:
            response = PlainTextResponse(refusal, status_code=403, headers=_HEADERS)
            await response(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> str | None:
        """Return why a request is refused; None when it is let through."""
        if connection.headers.get("host", "") not in self._hosts:
            return "This server answers only under the address that it printed.\n"
        origin = connection.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc not in self._hosts:
            return "A page of another origin may not use this server.\n"
        is_entry = connection.url.path == "/" and "token" in connection.query_params
        given = (
            connection.query_params["token"]
            if is_entry
            else connection.cookies.get(self._cookie, "")
        )
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _STALE
        return None


def make_app(
    chooser: VideoChooser, token: str, hosts: frozenset[str], secure: bool = False
) -> ASGIApp:
    """Make the web application.

    Args:
        chooser: the videos that the page works on.
        token: the secret in the address.
        hosts: the values of the ``Host`` header that are accepted, such as ``127.0.0.1:8123``.
        secure: whether the server speaks TLS.

    Returns:
        An ASGI application; its lifespan runs the sessions.
    """
    exporting = asyncio.Lock()

    async def page(request: Request) -> Response:
        if "token" in request.query_params:  # The token moves into a cookie and leaves the address.
            response: Response = RedirectResponse("/", status_code=303)
            response.set_cookie(
                cookie_name(hosts), token, httponly=True, samesite="strict", secure=secure
            )
            return response
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def frame(request: Request) -> Response:
        if request.path_params["key"] != chooser.key:
            return PlainTextResponse("this video is not open any more", status_code=404)
        data = await chooser.pictures.jpeg(request.path_params["index"])
        return Response(
            data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
        )

    async def labels(request: Request) -> Response:
        return Response(
            chooser.session.labels(request.path_params["index"]),
            media_type="application/octet-stream",
        )

    async def export(request: Request) -> Response:
        formats = wanted_formats((await request.body())[:1000])
        if exporting.locked():
            return JSONResponse({"error": "an export is in progress; wait for its end"}, 409)
        async with exporting:
            session = chooser.session
            session.project.save()
            files = await asyncio.get_running_loop().run_in_executor(
                None, export_project, session.project.view(), session.video, formats
            )
        return JSONResponse({"files": files})

    async def socket(websocket: WebSocket) -> None:
        await _serve_page(websocket, chooser, exporting)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(_run(chooser))
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/frames/{key}/{index:int}.jpg", frame),
            Route("/labels/{index:int}", labels),
            Route("/export", export, methods=["POST"]),
            WebSocketRoute("/session", socket),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={SurgSAM2Error: _refused, IndexError: _refused, ValueError: _refused},
        lifespan=lifespan,
    )
    return Guard(app, token, hosts)


async def _run(chooser: VideoChooser) -> None:
    """Take what the engine reports, until the task is cancelled."""
    chooser.start()
    while True:
        chooser.session.step()
        await asyncio.sleep(_POLL_SECONDS)


async def _serve_page(websocket: WebSocket, chooser: VideoChooser, exporting: asyncio.Lock) -> None:
    """Pass commands and events between a page and the session of the open video."""
    await websocket.accept()
    if chooser.session.connected:
        await websocket.close(ALREADY_OPEN, "this project is open in another tab")
        return
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    chooser.connect(events.put_nowait)

    async def forward() -> None:
        while True:
            await websocket.send_text(json.dumps(await events.get()))

    sending = asyncio.create_task(forward())
    try:
        while True:
            text = await websocket.receive_text()
            command = parse_json(text) if len(text) <= MAX_COMMAND_BYTES else None
            command = command if isinstance(command, dict) else {}
            if command.get("command") == "open":
                _open(chooser, command.get("video"), exporting, events.put_nowait)
            else:
                chooser.session.handle(command)
    except (WebSocketDisconnect, ValueError):
        pass  # The page was closed, or is not ours.
    finally:
        chooser.session.disconnect()
        sending.cancel()


def _open(chooser: VideoChooser, name: Any, exporting: asyncio.Lock, send: SendEvent) -> None:
    """Open another video, or say why not."""
    try:
        if exporting.locked():
            raise InputError("an export is in progress; wait for its end")
        chooser.open(str(name))
    except SurgSAM2Error as error:
        send({"type": "error", "message": str(error)})


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=409)


def _with_headers(send: Send) -> Callable[[Any], Awaitable[None]]:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            message["headers"] += [
                (name.lower().encode(), value.encode())
                for name, value in _HEADERS.items()
                if name.lower().encode() not in names
            ]
        await send(message)

    return sending
