"""Volumes that stay at the service: a Zarr group as objects to send, and a super-resolved one to look at."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from eddylift import _files
from eddylift._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    import xarray as xr

DOCUMENTS = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})


class Object(NamedTuple):
    """One object of a Zarr group.

    Attributes:
        key: where it lies in the group.
        path: of the file that holds it.
        size: in bytes.
    """

    key: str
    path: Path
    size: int


@contextlib.contextmanager
def group(volume: xr.Dataset | str | Path) -> Iterator[list[Object]]:
    """Give the objects of a dataset or of a Zarr group on disk, documents last: what has them is complete.

    Raises:
        InvalidInputError: if the path is no Zarr group, or the zarr package is missing.
    """
    with contextlib.ExitStack() as kept:
        if isinstance(volume, (str, Path)):
            folder = Path(volume)
            if not any((folder / mark).is_file() for mark in _files.GROUP_MARKS):
                message = f"{folder} is no folder of a Zarr group"
                raise InvalidInputError(message)
        else:
            _files.require_zarr("sending a dataset")
            folder = Path(kept.enter_context(tempfile.TemporaryDirectory())) / "volume.zarr"
            _files.write_zarr(folder, volume)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files.sort(key=lambda path: path.name in DOCUMENTS)
        yield [Object(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in files]


def open_view(
    base_url: httpx2.URL, headers: dict[str, str], volume: str, model: str, boundary: str | None
) -> xr.Dataset:
    """Open a super-resolved volume; reads no velocity.

    Raises:
        InvalidInputError: if a package that this needs is missing.
    """
    _files.require_zarr("opening a view")
    import xarray as xr  # noqa: PLC0415 slow
    from obstore.store import HTTPStore  # noqa: PLC0415 not in the base install
    from zarr.storage import ObjectStore  # noqa: PLC0415

    option = f";boundary={boundary}" if boundary else ""
    path = f"/v1/views/{quote(volume, safe='')}/{quote(model, safe='')}{option}"
    address = str(base_url).rstrip("/") + path
    store = HTTPStore.from_url(address, client_options={"allow_http": True, "default_headers": headers})
    view: xr.Dataset = xr.open_zarr(ObjectStore(store, read_only=True), chunks=None, consolidated=True)
    return view


def taken(name: str) -> InvalidInputError:
    """Make the error of a name that there is already."""
    message = f"there is a volume {name} already: choose another name, or replace it"
    return InvalidInputError(message)
