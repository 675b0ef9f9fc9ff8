"""Listings as WebDAV gives them (RFC 4918, section 9.1), which zarr asks for when it writes over HTTP."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

MEDIA_TYPE: Final = "application/xml"
MULTI_STATUS: Final = 207
FOLDER: Final = "<D:resourcetype><D:collection/></D:resourcetype>"


def multistatus(root: str, prefix: str, objects: Iterable[tuple[str, int]], *, deep: bool) -> str:
    """The objects of a volume whose keys begin with a prefix.

    Args:
        root: path of the volume.
        prefix: of the keys, without a slash at the end.
        objects: keys and sizes.
        deep: whether objects in folders below are listed, not the folders instead.
    """
    inside = f"{prefix}/" if prefix else ""
    entries = [_entry(f"{root}/{inside}", FOLDER)]
    folders: set[str] = set()
    for key, size in objects:
        if key == prefix:
            return _document([_entry(f"{root}/{key}", _file(size))])
        if not key.startswith(inside):
            continue
        name, slash, _ = key.removeprefix(inside).partition("/")
        if slash and not deep:
            folders.add(name)
        else:
            entries.append(_entry(f"{root}/{key}", _file(size)))
    entries += [_entry(f"{root}/{inside}{name}/", FOLDER) for name in sorted(folders)]
    return _document(entries)


def _document(entries: Iterable[str]) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:">{"".join(entries)}</D:multistatus>'


def _file(size: int) -> str:
    # Nobody goes by the time, but readers want one.
    return f"<D:resourcetype/><D:getcontentlength>{size}</D:getcontentlength>"


def _entry(path: str, properties: str) -> str:
    modified = f"<D:getlastmodified>{formatdate(0, usegmt=True)}</D:getlastmodified>"
    return (
        f"<D:response><D:href>{escape(quote(path))}</D:href><D:propstat><D:prop>{properties}{modified}</D:prop>"
        "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
