"""Errors over HTTP: RFC 9457 problem documents of one sentence."""

from http import HTTPStatus

from starlette.responses import JSONResponse


class Problem(Exception):
    """A request cannot be served."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Keep the HTTP status, one sentence and more headers."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the problem document."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(body, status, headers, media_type="application/problem+json")
