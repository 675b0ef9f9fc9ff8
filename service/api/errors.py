"""Problem documents (RFC 9457): how a refusal is answered over HTTP."""

from __future__ import annotations

import http
import json
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.problems import FieldError, Problem

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE: Final = "application/problem+json"
# As nginx calls a client that hung up; there is no official one.
GONE: Final = 499

SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri", "example": "urn:eddylift:problem:unfit"},
        "title": {"type": "string", "example": "A field does not fit"},
        "status": {"type": "integer", "example": 422},
        "detail": {"type": "string", "example": "u is nan at (z, y, x) = (1, 2, 3); expected finite velocities"},
        "instance": {"type": "string", "example": "/v1/upscale"},
        "request_id": {"type": "string", "description": "also in the header X-Request-ID and in the log"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "value", "expected"],
                "properties": {
                    "field": {"type": "string", "example": "u"},
                    "value": {"example": "nan at (z, y, x) = (1, 2, 3)"},
                    "expected": {"type": "string", "example": "finite velocities"},
                },
            },
        },
    },
}

_MEANINGS: Final = {
    400: "The body is not what it says it is.",
    401: "A token is asked for, and none that is known was sent.",
    403: "The token, or this service itself, may not do this.",
    404: "There is no such model.",
    408: "The body stopped coming, or came too slowly.",
    409: "There is something else already, or it is in use.",
    413: "Over a limit of this service.",
    415: "A container that is not read here.",
    416: "The range of bytes lies outside of the object.",
    422: "Understood, but something does not fit: `errors` names the field, its value and what was expected.",
    429: "All places are taken, or the client asks too often; `Retry-After` says when to come back.",
    502: "An object store cannot be reached.",
    503: "Not ready, or the device has no room; `Retry-After` says when to come back.",
    507: "There is no room to store it; nothing was lost.",
}


def respond(request: Request, problem: Problem) -> Response:
    """The answer that carries a problem."""
    request.app.state.service.metrics.errors.labels(problem.kind).inc()
    # In ASCII: what is quoted from a request need not be text that can be encoded.
    content = json.dumps(problem.document(request.url.path), allow_nan=False)
    return Response(content, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 registered for it
    return respond(request, error)


async def _on_http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown paths, wrong methods, broken multipart."""
    assert isinstance(error, HTTPException)  # noqa: S101 registered for it
    kind = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return respond(request, Problem(error.status_code, kind, str(error.detail), headers=error.headers))


async def _on_validation(request: Request, error: Exception) -> Response:
    """Query and path parameters that do not validate."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 registered for it
    errors = [
        FieldError(
            ".".join(str(step) for step in entry["loc"][1:]),
            None if entry["type"] == "missing" else str(entry.get("input")),
            entry["msg"],
        )
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry.field}: {entry.expected}" for entry in errors)
    return respond(request, Problem(422, "unfit", detail, errors=errors))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this but the metrics."""
    return Response(status_code=GONE)


def install(app: FastAPI) -> None:
    """Make every refusal of an app a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(ClientDisconnect, _on_gone)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals, as OpenAPI describes them."""
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": SCHEMA}}} for status in statuses
    }
