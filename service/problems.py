"""What the service answers when it cannot do what was asked: problem documents (RFC 9457).

Everything that reads a request raises a [`Problem`][service.problems.Problem], made by the function named after what is
wrong.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.exceptions import HTTPException

from service.runtime.logs import request_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


# What velocities may be.
FLOATS: Final = "float32 or float64"
TITLES: Final = {
    "malformed": "The body is not what it says it is",
    "unknown-model": "There is no such model",
    "no-sample": "There is no held-out sample",
    "timeout": "The body did not come in time",
    "unauthorized": "A token is asked for",
    "too-large": "Over a limit of this service",
    "unsupported": "Not a container that is read here",
    "unfit": "A field does not fit",
    "busy": "All places are taken",
    "unready": "Not ready",
    "overdue": "The device was not free in time",
    "unloadable": "A model cannot be loaded",
    "out-of-memory": "A block does not fit the device",
    "unknown-volume": "There is no such volume",
    "unknown-key": "There is no such key",
    "unknown-job": "There is no such job",
    "taken": "There is something else already",
    "changed": "It is not what it was",
    "range": "The range lies outside",
    "no-room": "There is no room left",
    "storage": "An object store cannot be reached",
    "workers-lost": "Workers died",
    "forbidden": "It may not be used",
    "internal": "The service failed",
}


class FieldError(NamedTuple):
    """One thing that does not fit.

    Attributes:
        field: what it is: a variable, a coordinate, a query parameter, a header, a part.
        value: what was sent, as JSON can hold it.
        expected: what would have been right.
    """

    field: str
    value: object
    expected: str


class StoppedError(Exception):
    """Nobody waits any more for what a thread does."""


class Problem(HTTPException):
    """A refusal. FastAPI lets an HTTPException through where a body that it reads itself is cut short.

    Args:
        status: HTTP status.
        kind: last word of the problem's type.
        detail: what is wrong with this very request, for a person.
        errors: the same for a program, field by field.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # All of these, so that it can be pickled from process to process.
        Exception.__init__(self, status, kind, detail)
        self.status = self.status_code = status
        self.kind = kind
        self.detail: str = detail
        self.errors = list(errors)
        self.headers: dict[str, str] = dict(headers or {})

    def __str__(self) -> str:
        """What is wrong."""
        return self.detail

    def document(self, instance: str) -> dict[str, Any]:
        """The problem document, as JSON can hold it."""
        return {
            "type": f"urn:eddylift:problem:{self.kind}",
            "title": TITLES.get(self.kind, self.kind.replace("-", " ").capitalize()),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id.get(),
            "errors": [error._asdict() for error in self.errors],
        }


def _refusal(status: int, kind: str, field: str, value: object, expected: str) -> Problem:
    detail = f"{field} is {value}; expected {expected}"
    return Problem(status, kind, detail, errors=[FieldError(field, value, expected)])


def invalid_field(*, field: str, value: object, expected: str) -> Problem:
    """422: understood, but the field cannot be what it is."""
    return _refusal(422, "unfit", field, value, expected)


def malformed(*, field: str, value: object, expected: str) -> Problem:
    """400: cannot be read as what it says it is."""
    return _refusal(400, "malformed", field, value, expected)


def too_large(*, field: str, value: object, limit: str) -> Problem:
    """413: over a limit of this service."""
    return _refusal(413, "too-large", field, value, f"at most {limit}")


def unsupported(*, field: str, value: object, expected: str) -> Problem:
    """415: a container or coding that is not read here."""
    return _refusal(415, "unsupported", field, value, expected)


def unknown_model(name: str, known: Sequence[str]) -> Problem:
    """404: there is no such model."""
    expected = f"one of {', '.join(known)}"
    return Problem(404, "unknown-model", f"there is no model {name!r}", errors=[FieldError("model", name, expected)])


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to come back."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def busy(detail: str, seconds: float) -> Problem:
    """429: all places are taken for now."""
    return Problem(429, "busy", detail, headers=retry_after(seconds))


def unready(detail: str, seconds: float = 1) -> Problem:
    """503: cannot be computed at the moment."""
    return Problem(503, "unready", detail, headers=retry_after(seconds))


@contextmanager
def within(part: str) -> Iterator[None]:
    """Name the part of a request that any problem raised inside is about."""
    try:
        yield
    except Problem as problem:
        problem.errors = [error._replace(field=f"{part}.{error.field}") for error in problem.errors]
        problem.detail = f"{part}: {problem.detail}"
        raise


@contextmanager
def storing(what: str) -> Iterator[None]:
    """507 where a disk does not take something."""
    try:
        yield
    except OSError as error:
        raise Problem(507, "no-room", f"{what} cannot be stored: {error.strerror}") from error
