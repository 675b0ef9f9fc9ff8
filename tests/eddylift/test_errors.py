from __future__ import annotations

import json
import pickle

import pytest

from eddylift import (
    BusyError,
    EddyliftError,
    FailedError,
    FieldError,
    JobError,
    JobStatus,
    NotFoundError,
    RefusedError,
    ServiceError,
    UnauthorizedError,
)
from eddylift._errors import from_answer
from tests.eddylift.conftest import JOB

PROBLEM = {
    "type": "urn:eddylift:problem:unfit",
    "title": "Unfit",
    "status": 422,
    "detail": "the volume does not fit",
    "instance": "/v1/upscale",
    "errors": [{"field": "u", "value": "nan", "expected": "finite velocities"}],
}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnauthorizedError),
        (403, UnauthorizedError),
        (404, NotFoundError),
        (413, RefusedError),
        (415, RefusedError),
        (422, RefusedError),
        (429, BusyError),
        (500, FailedError),
        (502, FailedError),
        (503, BusyError),
        (599, FailedError),
    ],
)
def test_status_tells_the_kind(status: int, kind: type[ServiceError]) -> None:
    error = from_answer(status, b"")
    assert type(error) is kind
    assert isinstance(error, EddyliftError)
    assert error.status == status


def test_problem_document_is_kept_and_spelled_out() -> None:
    error = from_answer(422, json.dumps(PROBLEM).encode())
    assert (error.status, error.kind, error.title, error.detail) == (422, "unfit", "Unfit", "the volume does not fit")
    assert error.errors == (FieldError("u", "nan", "finite velocities"),)
    assert str(error) == "Unfit (422): the volume does not fit\n  u: got 'nan', expected finite velocities"


def test_who_has_no_token_is_told_where_to_put_it() -> None:
    document = {"title": "A token is required", "detail": "Authorization is missing"}
    error = from_answer(401, json.dumps(document).encode())
    head, hint = str(error).split("\n")
    assert head == "A token is required (401): Authorization is missing"
    assert "token=" in hint
    assert "EDDYLIFT_TOKEN" in hint
    # Who has one is not.
    assert "EDDYLIFT_TOKEN" not in str(from_answer(403, json.dumps(document).encode()))


def test_failures_tell_the_request() -> None:
    document = {"title": "The service failed", "detail": "its log says more", "request_id": "3f2a"}
    error = from_answer(500, json.dumps(document).encode())
    assert error.request_id == "3f2a"
    assert str(error) == "The service failed (500): its log says more\n  request 3f2a"
    assert from_answer(500, b'{"request_id": 7}').request_id is None
    assert from_answer(422, json.dumps(document).encode()).request_id == "3f2a"


def test_what_the_detail_says_is_not_said_again() -> None:
    detail = "u: nan; expected finite velocities"
    assert str(from_answer(422, json.dumps({**PROBLEM, "detail": detail}).encode())) == f"Unfit (422): {detail}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b'{"errors": 3, "title": null, "type": "about:blank"}',
    ],
)
def test_other_answers_leave_the_status(content: bytes) -> None:
    error = from_answer(502, content)
    assert str(error) == "Bad Gateway (502)"
    assert (error.errors, error.kind) == ((), None)


def test_details_of_other_kinds_are_shown() -> None:
    assert str(from_answer(422, b'{"detail": [{"loc": ["query", "model"]}]}')).endswith('[{"loc": ["query", "model"]}]')


def family(kind: type[EddyliftError]) -> list[type[EddyliftError]]:
    """The kind, and all kinds of it."""
    return [kind, *(each for child in kind.__subclasses__() for each in family(child))]


@pytest.mark.parametrize("kind", family(EddyliftError))
def test_errors_travel_between_processes(kind: type[EddyliftError]) -> None:
    if issubclass(kind, ServiceError):
        error: EddyliftError = kind(429, "Busy", "full", (FieldError("u", 1, "2"),), 3.0, "3f2a", "busy")
    elif kind is JobError:
        error = JobError("job abc failed: disk", JobStatus(JOB))
    else:
        error = kind("no such thing")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 our own
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == (str(error), vars(error))
