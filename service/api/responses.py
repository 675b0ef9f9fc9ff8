"""Answers with an object: whole, in part, or 304 if the client has it already."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import Response, StreamingResponse

from service.api.errors import HttpProblem
from service.formats.containers import MEDIA_TYPES
from service.problems import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from fastapi import Request


# Bodies and answers as OpenAPI describes them: bytes, volumes, and objects of a Zarr group.
BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
VOLUME: Final = dict.fromkeys(MEDIA_TYPES, BINARY)
_CONTENT: Final[dict[str, Any]] = {"application/octet-stream": BINARY, "application/json": {}}
OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The object.", "content": _CONTENT},
    206: {"description": "A part of the object.", "content": _CONTENT},
    304: {"description": "The client has it already."},
}
# Bytes of a file that are read at a time.
PIECE: Final = 1 << 18
# One header for each warning.
WARNING: Final = "X-Eddylift-Warning"
# Python does not read numbers of thousands of digits.
RANGE: Final = re.compile(r"bytes=(\d{0,999})-(\d{0,999})", re.IGNORECASE)


def add_warnings(response: Response, warnings: Sequence[str]) -> None:
    """Add a header for each warning."""
    for warning in warnings:
        response.headers.append(WARNING, warning)


def unchanged(request: Request, etag: str) -> Response | None:
    """304 if the client has the content already (RFC 9110, 13.1.2), otherwise None.

    Raises:
        Problem: 412 if the client wants another version of it alone (RFC 9110, 13.1.1).
    """
    there = {"*", f'"{etag}"'}
    _require_match(request, there)
    if there & _versions(request, "if-none-match"):
        return Response(status_code=304, headers=_headers(etag))
    return None


def require_version(request: Request, path: Path) -> None:
    """Refuse (412) to change what is not, or is, in a version that `If-Match`, or `If-None-Match`, names.

    Args:
        request: to change it (RFC 9110, 13.1).
        path: of a file, or of a folder, which has no version; `*` says whether there is any.
    """
    there = set()
    with suppress(FileNotFoundError, NotADirectoryError):
        status = path.stat()
        there = {"*"} if path.is_dir() else {"*", f'"{_etag(status)}"'}
    _require_match(request, there)
    if unwanted := there & _versions(request, "if-none-match"):
        error = FieldError("If-None-Match", ", ".join(unwanted), "what is not there now")
        raise HttpProblem("changed", str(error), [error], status=412)


def _require_match(request: Request, there: set[str]) -> None:
    """Refuse (412) what `If-Match` does not name."""
    wanted = request.headers.getlist("if-match")
    if wanted and not there & {tag.strip() for line in wanted for tag in line.split(",")}:
        now = " or ".join(sorted(there)) or "nothing"
        error = FieldError("If-Match", ", ".join(wanted), f"{now}, which is there now")
        raise HttpProblem("changed", str(error), [error], status=412)


def _versions(request: Request, header: str) -> set[str]:
    """The versions that a header lists, weak ones as strong ones."""
    return {tag.strip().removeprefix("W/") for line in request.headers.getlist(header) for tag in line.split(",")}


def answer_file(request: Request, path: Path) -> Response:
    """Answer with a file, which is read as it is sent, even if another file replaces it meanwhile.

    Raises:
        FileNotFoundError: if it is not there.
        Problem: 416 if the range lies outside, 412 as `unchanged` does.
    """
    status = path.stat()
    if response := unchanged(request, _etag(status)):
        return response
    if request.method == "HEAD":
        return head(_etag(status), status.st_size)
    with ExitStack() as opened:
        file = opened.enter_context(path.open("rb"))
        status = os.fstat(file.fileno())
        code, headers, (first, last) = _part(request, _etag(status), status.st_size)
        headers["Content-Length"] = str(last + 1 - first)
        opened.pop_all()  # _pieces closes it
    return StreamingResponse(_pieces(file, first, last + 1), code, headers, "application/octet-stream")


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _pieces(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < stop:
            piece = file.read(min(PIECE, stop - start))
            start += len(piece) or stop
            yield piece


def answer(request: Request, content: bytes, etag: str, *, media_type: str = "application/octet-stream") -> Response:
    """Answer with bytes, or one range of them (RFC 9110, 14).

    Args:
        request: to answer.
        content: the whole content.
        etag: changes with the content; without quotes.
        media_type: of the content.

    Raises:
        Problem: 416 if the range lies outside, 412 as `unchanged` does.
    """
    if response := unchanged(request, etag):
        return response
    if request.method == "HEAD":
        return head(etag, len(content), media_type)
    code, headers, (first, last) = _part(request, etag, len(content))
    return Response(content[first : last + 1], code, headers, media_type)


def _part(request: Request, etag: str, size: int) -> tuple[int, dict[str, str], tuple[int, int]]:
    """Status and headers of an answer, and its first and last byte."""
    headers = _headers(etag)
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    bounds = None
    if asked and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        bounds = _bounds(asked[1], asked[2], size)
    if bounds is None:
        return 200, headers, (0, size - 1)
    headers["Content-Range"] = f"bytes {bounds[0]}-{bounds[1]}/{size}"
    return 206, headers, bounds


def head(etag: str, size: int, media_type: str = "application/octet-stream") -> Response:
    """The answer without its content."""
    return Response(None, 200, {**_headers(etag), "Content-Length": str(size)}, media_type)


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}


def _bounds(first: str, last: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a range; None if it is no range."""
    if not (first or last) or (first and last and int(first) > int(last)):
        return None
    if not first:
        start, stop = max(0, size - int(last)), size - 1
    else:
        start, stop = int(first), min(int(last) if last else size - 1, size - 1)
    if start > stop:
        detail = f"bytes {first}-{last} lie outside of {size}"
        raise HttpProblem("range", detail, headers={"Content-Range": f"bytes */{size}"})
    return start, stop
