"""WHEP (view) and WHIP (publish) over HTTP: RFC 9725 and draft-ietf-wish-whep."""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from streamtrack.config import IceServer
from streamtrack.serving.auth import ice_credentials
from streamtrack.serving.hub import Hub
from streamtrack.serving.peers import PublisherSession, ViewerSession
from streamtrack.serving.problems import Problem
from streamtrack.serving.protocol import STREAM_ID

SDP = "application/sdp"
MAX_SDP_BYTES = 64 * 1024


def whip_routes(hub: Hub) -> APIRouter:
    """Return the routes of a hub's viewers and publishers."""
    router = APIRouter(prefix="/api/v1/streams/{stream_id}")

    @router.post("/whep")
    async def view(request: Request, stream_id: str) -> Response:
        _check_types(request)
        hub.stream(stream_id)
        session, answer = await hub.view(stream_id, await _offer(request))
        return _created(hub, request, session, answer)

    @router.post("/whip")
    async def publish(request: Request, stream_id: Annotated[str, Path()]) -> Response:
        _check_types(request)
        if not re.fullmatch(STREAM_ID, stream_id):
            raise Problem(
                400,
                "A stream's id has 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit.",
            )
        session, answer = await hub.publish(stream_id, await _offer(request))
        return _created(hub, request, session, answer)

    @router.options("/whep")
    @router.options("/whip")
    async def options() -> Response:
        headers = {"Accept-Post": SDP, "Allow": "OPTIONS, POST"}
        return _with_links(hub, Response(status_code=204, headers=headers))

    @router.delete("/whep/{session_id}")
    async def leave(stream_id: str, session_id: str) -> Response:
        await _end(hub.viewers.get(session_id), stream_id, session_id)
        return Response(status_code=200)

    @router.delete("/whip/{session_id}")
    async def unpublish(stream_id: str, session_id: str) -> Response:
        await _end(hub.publishers.get(stream_id), stream_id, session_id)
        return Response(status_code=200)

    return router


async def _end(
    session: ViewerSession | PublisherSession | None, stream_id: str, session_id: str
) -> None:
    """End a session that its own peer names."""
    if session is None or session.id != session_id or session.stream_id != stream_id:
        raise Problem(404, "There is no such session; it may have ended already.")
    await session.close("the peer ended it")


def _check_types(request: Request) -> None:
    """Refuse another content type than SDP, sent or wanted."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != SDP:
        raise Problem(
            415, f"Send the offer as {SDP}, not as {given[:60] or 'nothing'}.", {"Accept-Post": SDP}
        )
    accept = request.headers.get("accept", "*/*").lower()
    wanted = {part.partition(";")[0].strip() for part in accept.split(",")}
    if not wanted & {SDP, "application/*", "*/*", ""}:
        raise Problem(406, f"The answer is {SDP}; accept that.")


async def _offer(request: Request) -> str:
    """Return the body as text."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_SDP_BYTES:
            raise Problem(413, f"The offer has more than {MAX_SDP_BYTES} bytes; shorten it.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Problem(400, "The offer is not text; send an SDP offer.") from None
    if not text.startswith("v=0"):
        raise Problem(400, 'The offer is not SDP, which begins with "v=0"; send an SDP offer.')
    return text


def _created(
    hub: Hub, request: Request, session: ViewerSession | PublisherSession, answer: str
) -> Response:
    """Return 201 with the answer, where to end the session, and the ICE servers."""
    response = Response(answer, 201, media_type=SDP)
    response.headers["Location"] = f"{request.url.path}/{session.id}"
    response.headers["ETag"] = f'"{session.id}"'
    return _with_links(hub, response)


def _with_links(hub: Hub, response: Response) -> Response:
    """Add the configured ICE servers to a response."""
    for server in hub.config.server.ice_servers:
        for link in _links(server):
            response.headers.append("Link", link)
    return response


def _links(server: IceServer) -> list[str]:
    """Return the Link headers of an ICE server (RFC 9725, 4.6)."""
    facts = ice_credentials(server)
    tail = '; rel="ice-server"'
    if facts["credential"] is not None:
        tail += f'; username="{facts["username"]}"; credential="{facts["credential"]}"'
        tail += '; credential-type="password"'
    return [f"<{url}>{tail}" for url in facts["urls"]]
