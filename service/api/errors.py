"""Problem documents (RFC 9457): refusals as HTTP answers."""

from __future__ import annotations

import http
import json
import logging
import math
import re
import sqlite3
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.problems import OF_DISK, FieldError, Kind, Problem, invalid_field, problem_of_host
from service.runtime.logs import request_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request

logger = logging.getLogger("service.api")
MEDIA_TYPE: Final = "application/problem+json"
# The status that nginx uses for a client that hung up; there is no official one.
GONE: Final = 499

# Largest numbers of fields of a problem document, and of characters of a text in it.
MAX_FIELDS: Final = 20
MAX_TEXT: Final = 2000

# What pydantic does not say in the form of what was expected.
EXPECTED: Final = {"missing": "a value", "extra_forbidden": "no such field"}

# Status and title of each kind of problem.
KINDS: Final[dict[Kind, tuple[int, str]]] = {
    "malformed": (400, "The body is not what it says it is"),
    "unauthorized": (401, "A token is required"),
    "forbidden": (403, "Not allowed"),
    "unknown-model": (404, "There is no such model"),
    "unknown-volume": (404, "There is no such volume"),
    "unknown-key": (404, "There is no such key"),
    "unknown-job": (404, "There is no such job"),
    "unknown-page": (404, "There is no such page"),
    "no-sample": (404, "There is no held-out sample"),
    "no-symmetry": (404, "The symmetry was not measured"),
    "timeout": (408, "The body did not come in time"),
    "taken": (409, "The name is taken, or the volume is in use"),
    "changed": (409, "The volume has changed"),
    "too-large": (413, "Over a limit of this service"),
    "unsupported": (415, "The container is not supported"),
    "range": (416, "The range lies outside of the object"),
    "misdirected": (421, "The host name is not known here"),
    "unfit": (422, "A field does not fit"),
    "busy": (429, "All places are taken"),
    "internal": (500, "The service failed"),
    "not-stored": (500, "The data folder cannot be read or written"),
    "storage": (502, "An object store cannot be reached"),
    "jobs-unavailable": (503, "The list of jobs cannot be read"),
    "unready": (503, "Not ready"),
    "overdue": (503, "The device was not free in time"),
    "unloadable": (503, "A model cannot be loaded"),
    "out-of-memory": (503, "There is not enough memory"),
    "workers-lost": (503, "Workers died"),
    "no-room": (507, "There is no room left"),
}

SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri", "example": "urn:eddylift:problem:unfit"},
        "title": {"type": "string", "example": "A field does not fit"},
        "status": {"type": "integer", "example": 422},
        "detail": {"type": "string", "example": "u: nan at (z, y, x) = (1, 2, 3); expected finite values"},
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
                    "expected": {"type": "string", "example": "finite values"},
                },
            },
        },
    },
}

_MEANINGS: Final = {
    400: "The body is not what it says it is.",
    401: "A token is required, and none or an unknown one was sent.",
    403: "The token, or this service itself, may not do this.",
    404: "There is no such model, volume, key, job or sample.",
    408: "The body stopped coming, or came too slowly.",
    409: "The name is taken, or the volume is in use.",
    412: "The object has another version than `If-Match` or `If-None-Match` asks for.",
    413: "Over a limit of this service.",
    415: "The container is not supported.",
    416: "The range of bytes lies outside of the object.",
    422: "Understood, but something does not fit: `errors` names the field, its value and what was expected.",
    429: "All places are taken, or the client asks too often; `Retry-After` says when to come back.",
    502: "An object store cannot be reached.",
    503: "Not ready, or there is not enough memory; `Retry-After` says when to come back.",
    507: "There is no room to store it; nothing was lost.",
}


class HttpProblem(Problem):
    """A refusal with headers or a status of its own.

    Args:
        kind: see [`Problem`][service.problems.Problem].
        detail: see there.
        fields: see there.
        headers: of the answer.
        status: for kinds of the framework, which are not in the table.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        fields: Sequence[FieldError] = (),
        *,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(kind, detail, fields)
        self.headers = dict(headers or {})
        self.status = status


def status_of(problem: Problem) -> int:
    """HTTP status of a problem."""
    if isinstance(problem, HttpProblem) and problem.status is not None:
        return problem.status
    return KINDS[problem.kind][0]


def document(problem: Problem, instance: str) -> dict[str, Any]:
    """The problem document, in types that JSON has."""
    known = KINDS.get(problem.kind)
    return {
        "type": f"urn:eddylift:problem:{problem.kind}",
        "title": known[1] if known else problem.kind.replace("-", " ").capitalize(),
        "status": status_of(problem),
        "detail": _shorten(problem.detail),
        "instance": instance,
        "request_id": request_id.get(),
        "errors": [
            {"field": _shorten(field), "value": _shorten(value), "expected": _shorten(expected)}
            for field, value, expected in problem.fields[:MAX_FIELDS]
        ],
    }


def _shorten(content: object) -> object:
    """Content with very long text cut off, so that a refusal is not larger than its request."""
    text = content if isinstance(content, str) else json.dumps(content)
    return content if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def respond(request: Request, problem: Problem) -> Response:
    """The answer to a refused request."""
    request.app.state.services.metrics.errors.labels(problem.kind).inc()
    headers = dict(problem.headers) if isinstance(problem, HttpProblem) else {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    # In ASCII, as text quoted from a request may not be valid Unicode.
    content = json.dumps(document(problem, request.url.path), allow_nan=False)
    return Response(content, status_of(problem), headers=headers, media_type=MEDIA_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 registered for it
    if error.kind in OF_DISK:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return respond(request, error)


async def _on_http(request: Request, error: Exception) -> Response:
    """Refusals of the framework: unknown paths, wrong methods, broken multipart bodies."""
    assert isinstance(error, HTTPException)  # noqa: S101 registered for it
    # FastAPI turns every error while it reads a body into 400; the cause may be the limit that ended the body.
    cause = error.__cause__
    if problem := cause if isinstance(cause, Problem) else problem_of_host(cause, "the body cannot be read"):
        return await _on_problem(request, problem)
    # JSON with numbers or nesting beyond Python's limits, or no UTF-8.
    if isinstance(cause, ValueError | RecursionError):
        return respond(request, invalid_field(field="body", value=str(cause).partition(";")[0], expected="JSON"))
    headers = {**(error.headers or {})}
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    kind = cast("Kind", http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "-"))
    return respond(request, HttpProblem(kind, str(error.detail), headers=headers, status=error.status_code))


def _methods(request: Request) -> set[str]:
    """Methods by which a path is served; the framework tells those of its first route alone."""
    contexts = iter_route_contexts(request.app.routes)
    found = [each for each in contexts if each.original_route.matches(request.scope)[0] is not Match.NONE]
    return {method for each in found for method in each.methods or ()}


async def _on_validation(request: Request, error: Exception) -> Response:
    """Parameters and JSON bodies that are not valid."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 registered for it
    # Some come twice, as two dependencies may read one parameter.
    fields = list(dict.fromkeys(map(_field_of, error.errors()[: 2 * MAX_FIELDS])))[:MAX_FIELDS]
    return respond(request, Problem("unfit", "; ".join(map(str, fields)), fields))


def _field_of(entry: Mapping[str, Any]) -> FieldError:
    """One of pydantic's errors in the words of this service."""
    where, *steps = entry["loc"]
    if entry["type"] == "json_invalid":
        return FieldError("body", f"{entry['ctx']['error']} at character {steps[0]}", "JSON")
    field, value = ".".join(map(str, steps)) or where, None if entry["type"] == "missing" else str(entry["input"])
    if not steps:
        return FieldError(field, value, "a JSON object, with Content-Type: application/json")
    message = re.sub(r"^\w+ should (be |have |match )?|, unable to .*", "", entry["msg"])
    return FieldError(field, value, EXPECTED.get(entry["type"], message))


async def _on_sqlite(request: Request, error: Exception) -> Response:
    """Errors of the list of jobs, which is the only database."""
    logger.error("the list of jobs cannot be used: %s", error)
    return respond(request, Problem("jobs-unavailable", f"the list of jobs cannot be used: {error}", retry_after=60))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this but the metrics."""
    return Response(status_code=GONE)


def install(app: FastAPI) -> None:
    """Make every refusal of an app a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(sqlite3.Error, _on_sqlite)
    app.add_exception_handler(ClientDisconnect, _on_gone)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of refusals in OpenAPI."""
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": SCHEMA}}} for status in statuses
    }
