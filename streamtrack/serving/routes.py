"""The web application: routes, headers and refusals around a hub."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from streamtrack.commands import NoFrame
from streamtrack.resources import resource
from streamtrack.serving.auth import SAFE_METHODS, Gate
from streamtrack.serving.control import POLICY, TRY_LATER, ControlSession
from streamtrack.serving.hub import Hub
from streamtrack.serving.problems import Problem, problem_response
from streamtrack.serving.protocol import SUBPROTOCOL
from streamtrack.serving.whip import whip_routes
from streamtrack.stream import Stream

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; "
        "media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), display-capture=(self), microphone=()",
    "Cache-Control": "no-cache",
}
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


def create_app(hub: Hub) -> FastAPI:
    """Return the application that serves a hub; its lifespan starts and closes the hub."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hub.start()
        yield
        await hub.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_failure)
    app.add_middleware(_Guard, gate=hub.gate)
    if hub.config.server.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(hub.config.server.allowed_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Location", "Retry-After", "Link"],
        )
    _health_routes(app, hub)
    _stream_routes(app, hub)
    app.include_router(whip_routes(hub))
    _socket_route(app, hub)
    _page_routes(app)
    return app


class _Guard:
    """Turns away requests by Host, Origin and token, and adds the security headers."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): text.decode("latin-1") for key, text in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": POLICY, "reason": ""})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                message["headers"] = [*message["headers"]] + [
                    (key.encode(), value.encode())
                    for key, value in SECURITY_HEADERS.items()
                    if key.lower().encode() not in present
                ]
            await send(message)

        app = self._app if refusal is None else refusal
        await app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> JSONResponse | None:
        """Return why a request may not pass, or None."""
        host, origin = headers.get("host"), headers.get("origin")
        if not self._gate.host_allowed(host):
            return problem_response(
                421, "This host name is not served; add it to server.allowed_hosts."
            )
        socket = scope["type"] == "websocket"
        if socket or scope["method"] not in SAFE_METHODS:
            if not self._gate.origin_allowed(origin, host):
                return problem_response(
                    403, "Pages of another origin may not do this; see server.allowed_origins."
                )
        preflight = not socket and scope["method"] == "OPTIONS"
        if socket or preflight or scope["path"] in OPEN_PATHS:
            return None  # a socket may still give the token as its first message
        if not self._gate.authorized(headers.get("authorization")):
            return problem_response(
                401,
                "This server asks for its token; send Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": 'Basic realm="streamtrack", charset="UTF-8"'},
            )
        return None


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail, error.headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.method} is not offered at {request.url.path[:200]}.",
    }
    detail = sentences.get(error.status_code, str(error.detail))
    return problem_response(error.status_code, detail, dict(error.headers or {}))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return problem_response(422, f"{where}: {problem['msg']}.")


async def _on_failure(_: Request, __: Exception) -> Response:
    return problem_response(500, "The server failed on this request; its log says more.")


def _health_routes(app: FastAPI, hub: Hub) -> None:
    """Add /healthz, /readyz and /metrics."""

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> dict[str, str]:
        state = hub.tracking.state
        if state != "ready":
            waiting = "The model is still loading; ask again."
            reason = str(hub.tracking.error) if state == "failed" else waiting
            raise Problem(503, reason, {"Retry-After": "2"})
        cameras = [one for one in hub.streams.values() if one.kind == "camera"]
        if cameras and all(one.state in ("failed", "ended", "lost") for one in cameras):
            raise Problem(503, "No source is live.", {"Retry-After": "5"})
        return {"status": "ready", "model": hub.tracking.model, "device": hub.tracking.device}

    @app.get("/metrics")
    async def metrics() -> Response:
        text = await asyncio.to_thread(hub.metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _stream_routes(app: FastAPI, hub: Hub) -> None:
    """Add the list of streams and the snapshot."""

    @app.get("/api/v1/streams")
    async def streams() -> list[dict[str, Any]]:
        return [describe(hub, stream) for stream in hub.streams.values()]

    @app.get("/api/v1/streams/{stream_id}/snapshot.jpg")
    async def snapshot(stream_id: str, overlay: bool = True) -> Response:
        stream = hub.stream(stream_id)
        try:
            picture = await asyncio.to_thread(stream.snapshot, overlay)
        except NoFrame as error:
            raise Problem(503, str(error), {"Retry-After": "1"}) from None
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def describe(hub: Hub, stream: Stream) -> dict[str, Any]:
    """Return a stream as the list shows it, without its address."""
    stats = stream.stats()
    return {
        "id": stream.id,
        "kind": stream.kind,
        "state": stream.state,
        "size": stream.size,
        "fps": stats.fps_in,
        "model": hub.tracking.model,
        "device": hub.tracking.device,
        "viewers": stats.viewers,
        "objects": len(stream.objects.objects),
    }


def _socket_route(app: FastAPI, hub: Hub) -> None:
    """Add the control socket."""

    @app.websocket("/api/v1/streams/{stream_id}/control")
    async def control(socket: WebSocket, stream_id: str) -> None:
        offered = socket.scope.get("subprotocols", [])
        stream = hub.streams.get(stream_id)
        if stream is None or SUBPROTOCOL not in offered:
            await socket.close(POLICY)  # before it is accepted: answers 403
            return
        await socket.accept(SUBPROTOCOL)
        if hub.sockets >= hub.config.limits.sockets or hub.closing:
            await socket.close(TRY_LATER, "Too many control sockets are open.")
            return
        authorized = hub.gate.authorized(socket.headers.get("authorization"))
        hub.sockets += 1
        try:
            await ControlSession(hub, stream, socket, authorized=authorized).run()
        finally:
            hub.sockets -= 1


def _page_routes(app: FastAPI) -> None:
    """Add the web page's files, as they were when the server started."""
    files = _page_files()

    @app.api_route("/{path:path}", methods=["GET", "HEAD"])
    async def page(path: str) -> Response:
        file = files.get(path or "index.html")
        if file is None:
            raise HTTPException(404)
        guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return FileResponse(file, media_type=CONTENT_TYPES.get(file.suffix, guessed))


def _page_files() -> dict[str, Path]:
    """Return the page's files by their path on the server."""
    try:
        root = resource("web")
    except FileNotFoundError:
        return {}
    return {
        path.relative_to(root).as_posix(): path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
