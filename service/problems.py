"""Refusals: what any part raises when it cannot do what was asked.

A [`Problem`][service.problems.Problem] says what is wrong and knows no HTTP: `service.api.errors` has the status of
each kind. Most are made by the function named after what is wrong.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# What velocities may be.
FLOATS: Final = "float32 or float64"


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


class Problem(Exception):  # noqa: N818 as RFC 9457 calls it
    """A refusal.

    Args:
        kind: what is wrong in general, such as "unknown-model"; one of `service.api.errors.KINDS`.
        detail: what is wrong with this very request, for a person.
        fields: the same for a program, field by field.
        retry_after: seconds after which it may be worth another try; None if nothing tells.
    """

    def __init__(
        self, kind: str, detail: str, fields: Sequence[FieldError] = (), *, retry_after: float | None = None
    ) -> None:
        # Both, so that it can be pickled from process to process.
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.fields = list(fields)
        self.retry_after = retry_after

    def __str__(self) -> str:
        """What is wrong."""
        return self.detail


def _refusal(kind: str, field: str, value: object, expected: str) -> Problem:
    return Problem(kind, f"{field} is {value}; expected {expected}", [FieldError(field, value, expected)])


def invalid_field(*, field: str, value: object, expected: str) -> Problem:
    """Understood, but the field cannot be what it is."""
    return _refusal("unfit", field, value, expected)


def malformed(*, field: str, value: object, expected: str) -> Problem:
    """Cannot be read as what it says it is."""
    return _refusal("malformed", field, value, expected)


def too_large(*, field: str, value: object, limit: str) -> Problem:
    """Over a limit of this service."""
    return _refusal("too-large", field, value, f"at most {limit}")


def unsupported(*, field: str, value: object, expected: str) -> Problem:
    """A container or coding that is not read here."""
    return _refusal("unsupported", field, value, expected)


def unknown_model(name: str, known: Sequence[str]) -> Problem:
    """There is no such model."""
    fields = [FieldError("model", name, f"one of {', '.join(known)}")]
    return Problem("unknown-model", f"there is no model {name!r}", fields)


def busy(detail: str, seconds: float) -> Problem:
    """All places are taken for now."""
    return Problem("busy", detail, retry_after=seconds)


def unready(detail: str, seconds: float = 1) -> Problem:
    """Cannot be computed at the moment."""
    return Problem("unready", detail, retry_after=seconds)


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that no more files can be opened for the moment."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return any(map(is_out_of_descriptors, error.exceptions))
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def within(part: str) -> Iterator[None]:
    """Name the part of a request that any problem raised inside is about."""
    try:
        yield
    except Problem as problem:
        problem.fields = [each._replace(field=f"{part}.{each.field}") for each in problem.fields]
        problem.detail = f"{part}: {problem.detail}"
        raise


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Refuse where a disk does not take something."""
    try:
        yield
    except OSError as error:
        if is_out_of_descriptors(error):
            detail = f"{what} cannot be stored: too many files are open"
            raise unready(detail) from error
        detail = f"{what} cannot be stored: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem("no-room", detail) from error
        raise Problem("not-stored", detail) from error
