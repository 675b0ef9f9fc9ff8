"""Refusals: what any part raises when it cannot do what was asked.

A [`Problem`][service.problems.Problem] says what is wrong and knows no HTTP: `service.api.errors` has the status of
each kind. Most are made by the function named after what is wrong.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# Types that a velocity may have.
FLOATS: Final = "float32 or float64"
# Errors of a disk, or a share of it, that has no room left.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
Kind = Literal[
    "malformed",
    "unauthorized",
    "forbidden",
    "unknown-model",
    "unknown-volume",
    "unknown-key",
    "unknown-job",
    "unknown-page",
    "no-sample",
    "no-symmetry",
    "timeout",
    "taken",
    "changed",
    "too-large",
    "unsupported",
    "range",
    "misdirected",
    "unfit",
    "busy",
    "internal",
    "not-stored",
    "storage",
    "jobs-unavailable",
    "unready",
    "overdue",
    "unloadable",
    "out-of-memory",
    "workers-lost",
    "no-room",
]
"""What may be wrong in general; `service.api.errors.KINDS` has the status of each."""
# Kinds of problems of a disk. The log says more of them than a client is told.
OF_DISK: Final[frozenset[Kind]] = frozenset({"no-room", "not-stored"})
# Errors of a file that is not there. On NFS, one that is open may have been removed by another host (ESTALE).
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
# Errors of a process, or a host, that can open no more files.
DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
# Errors of the operating system that are not of the host's disk: of the network, and of files that are not there.
ELSEWHERE: Final = (ConnectionError, TimeoutError, FileNotFoundError)
# Words of PyTorch for too little memory: of the host, of pinned buffers, of the libraries of CUDA.
SHORT: Final = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


class FieldError(NamedTuple):
    """A field that is wrong.

    Attributes:
        field: the name of a variable, a coordinate, a query parameter, a header or a part.
        value: what was sent, in a type that JSON has.
        expected: what would have been right.
    """

    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        """The error as a message for people."""
        return f"{self.field}: {'missing' if self.value is None else self.value}; expected {self.expected}"


class StoppedError(Exception):
    """A thread stops early, because nobody waits for its result any more."""


class Problem(Exception):  # noqa: N818 as RFC 9457 calls it
    """A refusal.

    Args:
        kind: what is wrong in general, such as "unknown-model".
        detail: what is wrong with this request, for people.
        fields: the same for programs, field by field.
        retry_after: seconds after which another try may succeed; None if unknown.
    """

    def __init__(
        self, kind: Kind, detail: str, fields: Sequence[FieldError] = (), *, retry_after: float | None = None
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


def _refusal(kind: Kind, field: str, value: object, expected: str) -> Problem:
    error = FieldError(field, value, expected)
    return Problem(kind, str(error), [error])


def invalid_field(*, field: str, value: object, expected: str) -> Problem:
    """A field that is understood, but must not have this value."""
    return _refusal("unfit", field, value, expected)


def malformed(*, field: str, value: object, expected: str) -> Problem:
    """Something that cannot be read as what it claims to be."""
    return _refusal("malformed", field, value, expected)


def too_large(*, field: str, value: object, limit: str) -> Problem:
    """Something over a limit of this service."""
    return _refusal("too-large", field, value, f"at most {limit}")


def unsupported(*, field: str, value: object, expected: str) -> Problem:
    """A container or coding that this service does not read."""
    return _refusal("unsupported", field, value, expected)


def unknown_model(name: str, known: Sequence[str]) -> Problem:
    """There is no such model."""
    fields = [FieldError("model", name, f"one of {', '.join(known)}")]
    return Problem("unknown-model", f"there is no model {name!r}", fields)


def busy(detail: str, seconds: float) -> Problem:
    """All places are taken at the moment."""
    return Problem("busy", detail, retry_after=seconds)


def unready(detail: str, seconds: float = 1) -> Problem:
    """Nothing can be computed at the moment."""
    return Problem("unready", detail, retry_after=seconds)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, those of its group, and what caused them."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that the process can open no more files."""
    return any(isinstance(each, OSError) and each.errno in DESCRIPTORS for each in _causes(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, as PyTorch does in its own words."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in SHORT)
    )


def problem_of_host(error: BaseException | None, failed: str) -> Problem | None:
    """The problem behind an error of which the host is the cause: its memory, its open files, or its disk.

    Args:
        error: it, or what it caused.
        failed: what failed, such as "u cannot be read".

    Returns:
        None if the host is not the cause.
    """
    for each in _causes(error):
        if is_out_of_memory(each):
            return Problem("out-of-memory", f"{failed}: there is not enough memory", retry_after=60)
        if isinstance(each, OSError) and each.errno is not None and not isinstance(each, ELSEWHERE):
            return _of_disk(each, failed)
    return None


def _of_disk(error: OSError, failed: str) -> Problem:
    if error.errno in DESCRIPTORS:
        return unready(f"{failed}: too many files are open")
    detail = f"{failed}: {error.strerror}"
    problem = Problem("no-room", detail) if error.errno in FULL else Problem("not-stored", detail)
    problem.__cause__ = error  # for the log: it has the path, which is not for clients
    return problem


@contextmanager
def within(part: str) -> Iterator[None]:
    """Name the part of a request in problems that are raised inside."""
    try:
        yield
    except Problem as problem:
        problem.fields = [each._replace(field=f"{part}.{each.field}") for each in problem.fields]
        problem.detail = f"{part}: {problem.detail}"
        raise


@contextmanager
def storing(what: str, done: str = "written") -> Iterator[None]:
    """Turn errors of the disk into problems."""
    try:
        yield
    except OSError as error:
        raise _of_disk(error, f"{what} cannot be {done}") from error


@contextmanager
def decoding(*, field: str, value: object, expected: str) -> Iterator[None]:
    """Turn whatever libraries raise on foreign bytes into a problem: "malformed", unless the host is the cause."""
    try:
        yield
    except Problem:
        raise
    except Exception as error:
        problem = problem_of_host(error, f"{field} cannot be read")
        raise problem or malformed(field=field, value=value, expected=expected) from error
