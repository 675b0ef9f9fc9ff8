"""Answering with the content of an object: whole, in part, or not at all if the client has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import FileResponse, Response

from service.api.errors import HttpProblem

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import Request


# As OpenAPI describes it.
CONTENT: Final[dict[str, Any]] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {},
}
OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The object.", "content": CONTENT},
    206: {"description": "A part of the object.", "content": CONTENT},
    304: {"description": "The client has it already."},
}
RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def unchanged(request: Request, etag: str) -> Response | None:
    """304 to who has the content already (RFC 9110, 13.1.2), else nothing."""
    known = request.headers.get("if-none-match", "")
    if known == "*" or f'"{etag}"' in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
        return Response(status_code=304, headers=_headers(etag))
    return None


def answer_file(request: Request, path: Path) -> Response:
    """Answer with a file, which is read as it is sent."""
    if not request.headers.get("range", "bytes=").startswith("bytes="):
        # A unit that is not known is no range.
        request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    status = path.stat()
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    whole = FileResponse(path, headers=_headers(etag), media_type="application/octet-stream", stat_result=status)
    return unchanged(request, etag) or whole


def answer(request: Request, content: bytes, etag: str, *, media_type: str = "application/octet-stream") -> Response:
    """Answer with bytes, or one range of them (RFC 9110, 14).

    Args:
        request: what was asked.
        content: all of it.
        etag: other content, other tag; without quotes.
        media_type: of the content.

    Raises:
        Problem: 416 if the range lies outside.
    """
    if response := unchanged(request, etag):
        return response
    if request.method == "HEAD":
        return head(etag, len(content), media_type)
    headers, status = _headers(etag), 200
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        bounds = _bounds(asked[1], asked[2], len(content))
        if bounds:
            first, last = bounds
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content = content[first : last + 1]
    return Response(content, status, headers, media_type)


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
