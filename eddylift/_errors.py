"""The errors of this package, as one tree.

EddyliftError
├── InvalidInputError: refused before anything was sent (also a ValueError)
├── UnreachableError: the service could not be reached, or the connection broke
├── TimedOutError: the service took longer than the timeout
├── UnexpectedAnswerError: the answer is not that of an eddylift service
├── JobError: a job failed or was cancelled
└── ServiceError: the service answered with a problem: status, title, kind, detail, errors, request_id
    ├── RefusedError: 4xx, the request does not fit
    │   ├── UnauthorizedError: 401 and 403
    │   └── NotFoundError: 404, no such model, volume or job
    ├── BusyError: 429 and 503; try again after `retry_after` seconds
    └── FailedError: any other 5xx
"""

from __future__ import annotations

import http
import inspect
import json
import traceback
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eddylift._job_status import JobStatus


class EddyliftError(Exception):
    """Base of every error that this package raises on purpose."""


class EddyliftWarning(UserWarning):
    """Something about a request seems doubtful; it was answered nevertheless."""


def warn(message: str) -> None:
    """Issue a warning at the line that called this package, through whatever this package calls in turn.

    In a worker thread, such as one of `AsyncClient`, that is the line that runs the thread.
    """
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(inspect.currentframe())]
    own = [depth for depth, name in enumerate(names) if name.partition(".")[0] == __package__]
    warnings.warn(message, EddyliftWarning, stacklevel=own[-1] + 2)


class InvalidInputError(EddyliftError, ValueError):
    """What was passed cannot be sent, or a file cannot be read or written."""


class UnreachableError(EddyliftError):
    """No connection to the service, or it broke before the answer was complete.

    Attributes:
        is_temporary: whether the cause may go away by itself; if not, the call is not repeated.
    """

    def __init__(self, message: str, *, is_temporary: bool = True) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


class TimedOutError(EddyliftError):
    """The service took longer than the timeout. It may still be computing, so the call is not repeated."""


class UnexpectedAnswerError(EddyliftError):
    """The answer is not that of an eddylift service; the address may be wrong."""


class JobError(EddyliftError):
    """A job failed or was cancelled.

    Attributes:
        status: status of the job.
    """

    def __init__(self, message: str, status: JobStatus) -> None:
        # Both, so that it can be pickled from process to process.
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class FieldError:
    """A field of the request that does not fit.

    Attributes:
        field: name of a variable, axis or parameter.
        value: its value.
        expected: what was expected.
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
        detail: this problem, in a sentence; may be empty.
        errors: the fields that do not fit.
        retry_after: seconds after which to try again; None if the service does not say.
        request_id: identifies the request in the service's log; None if the service does not say.
        kind: the end of the document's ``type``, such as ``unknown-volume``; None if another server answered.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        request_id: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(status, title, detail, errors, retry_after, request_id, kind)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.request_id = request_id
        self.kind = kind

    def __str__(self) -> str:
        head = f"{self.title} ({self.status})"
        if self.detail:
            head = f"{head}: {self.detail}"
        # The detail often has the one field already.
        rest = [error for error in self.errors if error.expected not in self.detail]
        return "\n".join([head, *(f"  {error}" for error in rest)])


class RefusedError(ServiceError):
    """4xx: the request does not fit."""


class UnauthorizedError(RefusedError):
    """401 or 403: the token is missing, wrong or not enough."""

    def __str__(self) -> str:
        if self.status != http.HTTPStatus.UNAUTHORIZED:
            return super().__str__()
        hint = "give it as Client(..., token=...), or as --token or EDDYLIFT_TOKEN to the command line"
        return f"{super().__str__()}\n  {hint}"


class NotFoundError(RefusedError):
    """404: no such model, volume or job."""


class BusyError(ServiceError):
    """429 or 503: the queue is full or the service is not ready, even at the last attempt."""


class FailedError(ServiceError):
    """5xx: the service, or a proxy in front of it, failed."""

    def __str__(self) -> str:
        # The operator finds the reason under this id in the log.
        return super().__str__() + (f"\n  request {self.request_id}" if self.request_id else "")


_KINDS: dict[int, type[ServiceError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: NotFoundError,
    429: BusyError,
    503: BusyError,
}

# What the type of a problem document of the service begins with.
_TYPE = "urn:eddylift:problem:"

# What an answer without a problem document means: it is not of the service.
_OF_A_PROXY = {
    413: "a proxy in front of the service takes no body of this size (nginx: client_max_body_size)",
    504: "a proxy in front of the service waits no longer for its answer (nginx: proxy_read_timeout)",
}


def from_answer(status: int, content: bytes, retry_after: float | None = None) -> ServiceError:
    """Build the error for an answer with an error status.

    Args:
        status: HTTP status, 400 or above.
        content: a problem document; if it is anything else, such as a proxy's page, only the status is used.
        retry_after: seconds, from the header of that name.
    """
    kind = _KINDS.get(status, RefusedError if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else FailedError)
    problem = _problem(content)
    title = str(problem.get("title") or _phrase(status))
    request_id = problem.get("request_id")
    return kind(
        status,
        title,
        _text(problem.get("detail")) if problem else _OF_A_PROXY.get(status, ""),
        _fields(problem.get("errors")),
        retry_after,
        request_id if isinstance(request_id, str) else None,
        str(problem.get("type")).partition(_TYPE)[2] or None,
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
