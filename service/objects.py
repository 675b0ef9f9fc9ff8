"""Answering with the content of an object: whole, in part, or not at all if the client has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fastapi.responses import Response

from service.errors import Problem

if TYPE_CHECKING:
    from fastapi import Request

RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def answer(request: Request, content: bytes, etag: str, *, media_type: str = "application/octet-stream") -> Response:
    """Answer GET and HEAD (RFC 9110, 13 and 14): one range of bytes, and 304 to who has the content already.

    Args:
        request: what was asked.
        content: all of it.
        etag: other content, other tag; without quotes.
        media_type: of the content.

    Raises:
        Problem: 416 if the range lies outside.
    """
    quoted = f'"{etag}"'
    headers = {"ETag": quoted, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if known == "*" or quoted in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
        return Response(status_code=304, headers=headers)
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    status = 200
    if asked and any(asked.groups()) and request.headers.get("if-range", quoted) == quoted:
        first, last = _bounds(asked[1], asked[2], len(content))
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        content = content[first : last + 1]
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(content))
        return Response(None, status, headers, media_type)
    return Response(content, status, headers, media_type)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        start, stop = max(0, size - int(last)), size - 1
    else:
        start, stop = int(first), min(int(last) if last else size - 1, size - 1)
    if start > stop:
        detail = f"bytes {first}-{last} lie outside of {size}"
        raise Problem(416, "range", detail, headers={"Content-Range": f"bytes */{size}"})
    return start, stop
