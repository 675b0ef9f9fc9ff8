"""Everything that can go wrong in a call, as one tree.

EddyliftError
├── InvalidInputError: refused here, before anything was sent (also a ValueError)
├── UnreachableError: the service could not be reached, or hung up
├── TimedOutError: the service took longer than the timeout
├── UnexpectedAnswerError: something answered, but not as an eddylift service does
├── JobError: a job that was waited for failed or was cancelled
└── ServiceError: the service answered with a problem: status, title, detail, errors, request_id
    ├── RefusedError: 4xx, what was sent does not fit
    │   ├── UnauthorizedError: 401 and 403
    │   └── NotFoundError: 404, no such model
    ├── BusyError: 429 and 503, worth trying again after `retry_after` seconds
    └── FailedError: any other 5xx
"""

from __future__ import annotations

import http
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eddylift._types import JobStatus


class EddyliftError(Exception):
    """Base of every error that this package raises on purpose."""


class EddyliftWarning(UserWarning):
    """Something about a request is doubtful; it was done all the same."""


class InvalidInputError(EddyliftError, ValueError):
    """What was passed cannot be sent, or a file cannot be read or written."""


class UnreachableError(EddyliftError):
    """No connection to the service, or it broke before the answer was whole.

    Attributes:
        is_temporary: whether it can pass by itself; what cannot is not tried again.
    """

    def __init__(self, message: str, *, is_temporary: bool = True) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


class TimedOutError(EddyliftError):
    """The service took longer than the timeout. It may still be computing, so the call is not repeated."""


class UnexpectedAnswerError(EddyliftError):
    """The answer is not one that an eddylift service gives; the address may be wrong."""


class JobError(EddyliftError):
    """A job failed or was cancelled.

    Attributes:
        status: what the service says of it.
    """

    def __init__(self, message: str, status: JobStatus) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class FieldError:
    """One thing that did not fit.

    Attributes:
        field: its name: a variable, an axis, a parameter.
        value: what it was.
        expected: what it should have been.
    """

    field: str
    value: Any
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.value!r}, expected {self.expected}"


class ServiceError(EddyliftError):
    """The service answered with a problem document (RFC 9457).

    Attributes:
        status: HTTP status.
        title: the kind of problem, in a few words.
        detail: this very problem, in a sentence; may be empty.
        errors: what did not fit, field by field.
        retry_after: seconds after which the service asks to be called again, where it said so.
        request_id: what the service's log calls the request, where it said so.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(status, title, detail, errors, retry_after, request_id)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        head = f"{self.title} ({self.status})"
        if self.detail:
            head = f"{head}: {self.detail}"
        # A detail often spells the one field out already.
        rest = [error for error in self.errors if error.expected not in self.detail]
        return "\n".join([head, *(f"  {error}" for error in rest)])


class RefusedError(ServiceError):
    """4xx: what was sent does not fit."""


class UnauthorizedError(RefusedError):
    """401 or 403: the token is missing, wrong or not enough."""

    def __str__(self) -> str:
        if self.status != http.HTTPStatus.UNAUTHORIZED:
            return super().__str__()
        hint = "give it as Client(..., token=...), or as --token or EDDYLIFT_TOKEN to the command line"
        return f"{super().__str__()}\n  {hint}"


class NotFoundError(RefusedError):
    """404: no such model."""


class BusyError(ServiceError):
    """429 or 503: the queue is full or the models are not warm yet, also after the last attempt."""


class FailedError(ServiceError):
    """5xx: the service, or a proxy before it, failed."""

    def __str__(self) -> str:
        # Whoever runs the service finds the reason in its log.
        return super().__str__() + (f"\n  request {self.request_id}" if self.request_id else "")


_KINDS: dict[int, type[ServiceError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    429: BusyError,
    503: BusyError,
}


def from_answer(status: int, content: bytes, retry_after: float | None = None) -> ServiceError:
    """Build the error of an answer that is not a success.

    Args:
        status: HTTP status, 400 or above.
        content: a problem document; anything else (a proxy's page) leaves only the status to tell.
        retry_after: seconds, from the header of that name.
    """
    kind = _KINDS.get(status, RefusedError if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else FailedError)
    problem = _problem(content)
    title = str(problem.get("title") or _phrase(status))
    request_id = problem.get("request_id")
    return kind(
        status,
        title,
        _text(problem.get("detail")),
        _fields(problem.get("errors")),
        retry_after,
        request_id if isinstance(request_id, str) else None,
    )


def _problem(content: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _text(detail: object) -> str:
    if detail is None or isinstance(detail, str):
        return detail or ""
    return json.dumps(detail)


def _fields(errors: object) -> tuple[FieldError, ...]:
    if not isinstance(errors, list):
        return ()
    return tuple(
        FieldError(str(error.get("field", "?")), error.get("value"), str(error.get("expected", "something else")))
        for error in errors
        if isinstance(error, dict)
    )


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"
