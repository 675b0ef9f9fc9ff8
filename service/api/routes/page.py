"""The page of the service, and the description of its HTTP interface. Both are built from web/ into service/page/."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from service.api.responses import unchanged
from service.problems import Problem

FOLDER: Final = Path(__file__).resolve().parents[2] / "page"
# Names of assets hold a digest of their content.
FOREVER: Final = "max-age=31536000, immutable"
router = APIRouter(include_in_schema=False)


class File(NamedTuple):
    """A built file.

    Attributes:
        content: its bytes.
        zipped: the same, by gzip.
        media_type: of the content.
        etag: other content, other tag.
    """

    content: bytes
    zipped: bytes
    media_type: str
    etag: str


@cache
def files() -> dict[str, File]:
    """All built files by their names, such as ``assets/index-Dq3ZB0Xw.js``."""
    found = {}
    for path in FOLDER.rglob("*.*"):
        content = path.read_bytes()
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        etag = hashlib.sha256(content).hexdigest()[:32]
        found[path.relative_to(FOLDER).as_posix()] = File(content, gzip.compress(content, mtime=0), media_type, etag)
    return found


def _answer(request: Request, name: str, kept: str) -> Response:
    file = files().get(name)
    if file is None:
        raise Problem("unknown-page", f"there is no {name}")
    if response := unchanged(request, file.etag):
        return response
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"ETag": f'"{file.etag}"', "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(file.zipped if zipped else file.content, headers=headers, media_type=file.media_type)


@router.api_route("/", methods=["GET", "HEAD"])
async def get_page(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html", "no-cache")


@router.api_route("/docs", methods=["GET", "HEAD"])
async def get_documentation(request: Request) -> Response:
    """The page of the interface, by Swagger."""
    return _answer(request, "docs.html", "no-cache")


@router.api_route("/assets/{name}", methods=["GET", "HEAD"])
async def get_asset(request: Request, name: str) -> Response:
    """What the pages load."""
    return _answer(request, f"assets/{name}", FOREVER)
