"""Bodies as researchers have them, and what reading makes of them."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from service.formats.containers import Body
from service.formats.names import UNCHANGED, Naming
from service.formats.sandbox import read_body
from service.formats.volume import ReadOptions
from service.problems import Problem
from service.settings import Settings
from tests.service.wire import files_of, netcdf, noise, zipped

if TYPE_CHECKING:
    from service.formats.volume import Volume

COARSE = noise(3, 4, 5, 6)
SETTINGS = Settings()


def read(content: bytes, naming: Naming = UNCHANGED) -> Volume:
    return read_body(Body(content, ""), SETTINGS, ReadOptions(naming=naming)).volume


def refused(content: bytes, naming: Naming = UNCHANGED) -> str:
    with pytest.raises(Problem) as caught:
        read(content, naming)
    assert caught.value.kind == "unfit"
    return caught.value.detail


def answered(content: bytes, naming: Naming = UNCHANGED) -> bytes:
    """The body of an answer that repeats each cell."""
    reading = read_body(Body(content, ""), SETTINGS, ReadOptions(naming=naming))
    fine = reading.volume.velocity.repeat(4, -1).repeat(4, -2).repeat(4, -3)
    return b"".join(map(bytes, reading.opened.write(reading.volume.layout.answer(fine, {"model": "none"}))))


def raw(content: bytes) -> xr.Dataset:
    """A body as it is stored: nothing decoded."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            make = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes
            store = MemoryStore({name: make(archive.read(name)) for name in archive.namelist()})
        group: xr.Dataset = xr.open_zarr(store, consolidated=False, chunks=None, decode_cf=False)
        return group.load()
    engine = "scipy" if content.startswith(b"CDF") else "h5netcdf"
    return xr.load_dataset(io.BytesIO(content), engine=engine, decode_cf=False)


def classic(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return bytes(volume.to_netcdf(engine="scipy", **options))


def zarr_2(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return zipped(files_of(volume, version=2, **options))


def zarr_3(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return zipped(files_of(volume, **options))


CONTAINERS = pytest.mark.parametrize("write", [netcdf, classic, zarr_2, zarr_3])
GROUPS = pytest.mark.parametrize("write", [netcdf, zarr_2, zarr_3])
