"""A stored volume as a Zarr store, against the service itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from eddylift import Client, RefusedError, UnreachableError
from service.app import create_app
from service.settings import Settings
from tests.eddylift.test_service import TRILINEAR, channel, serving, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarr.abc.store import ByteRequest, Store


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    weights, data = (tmp_path_factory.mktemp(name) for name in ("weights", "data"))
    settings = Settings(weights=weights, device="cpu", threads=1, data=data, block=3, warm_readers=0)
    with serving(create_app(settings)) as url, Client(url) as client:
        yield client


def write(volume: xr.Dataset, store: Store, **options: Any) -> None:  # noqa: ANN401 as xarray takes them
    volume.to_zarr(store, consolidated=False, **options)


def read(store: Store, key: str, span: ByteRequest | None = None) -> bytes | None:
    async def get() -> bytes | None:
        found = await store.get(key, default_buffer_prototype(), span)
        return None if found is None else found.to_bytes()

    return anyio.run(get)


@pytest.mark.parametrize("version", [2, 3])
def test_a_dataset_is_written_and_read(client: Client, version: int) -> None:
    volume = channel((8, 6, 4))
    chunks = {each: {"chunks": (3, 3, 4)} for each in "uvw"}
    write(volume, client.store("box"), mode="w", zarr_format=version, encoding=chunks)
    with xr.open_zarr(client.store("box", read_only=True), chunks=None, consolidated=False) as found:
        xr.testing.assert_identical(found.load(), volume)
    view = client.open("box", model=TRILINEAR)
    assert np.array_equal(np.stack([view[name].values for name in "uvw"]), wanted(volume))
    client.delete_volume("box")


def test_a_series_grows_level_by_level(client: Client) -> None:
    store = client.store("series")
    levels = [channel((4, 4, 4)).expand_dims(time=[float(level)]) * (level + 1) for level in range(3)]
    write(levels[0], store, mode="w")
    for level in levels[1:]:
        write(level, store, append_dim="time")
    with xr.open_zarr(store, chunks=None, consolidated=False) as found:
        xr.testing.assert_equal(found.load(), xr.concat(levels, "time"))
    assert client.volumes()[0]["levels"] == 3
    client.delete_volume("series")


def test_what_is_written_replaces_what_was_there(client: Client) -> None:
    store = client.store("box")
    write(channel((8, 4, 4)), store, mode="w", encoding={"u": {"chunks": (2, 4, 4)}})
    with pytest.raises(FileExistsError):
        write(channel(), store, mode="w-")
    write(channel((4, 4, 4)), store, mode="w")
    assert client.volumes()[0]["cells"] == [4, 4, 4]
    group = zarr.open_group(store, mode="r+")
    del group["w"]
    assert set(group) == {"u", "v", "x", "y", "z"}
    client.delete_volume("box")


def test_ranges_and_what_is_not_there(client: Client) -> None:
    store = client.store("raw")
    content = bytes(range(64))
    zarr.create_array(store, name="u", data=np.frombuffer(content, np.uint8), chunks=(64,), compressors=None)
    key = "u/c/0"
    assert read(store, key) == content
    assert read(store, key, RangeByteRequest(3, 7)) == content[3:7]
    assert read(store, key, OffsetByteRequest(60)) == content[60:]
    assert read(store, key, SuffixByteRequest(5)) == content[-5:]
    assert read(store, "u/c/1") is None
    assert anyio.run(store.exists, key)
    assert not anyio.run(store.exists, "u/c/1")
    anyio.run(store.delete, "u/c/1")  # nothing to drop
    anyio.run(store.delete, key)
    assert read(store, key) is None
    anyio.run(store.clear)
    anyio.run(store.clear)
    assert client.volumes() == []
    assert anyio.run(store.is_empty, "")


def test_stores_are_what_they_stand_for(client: Client) -> None:
    store = client.store("box")
    assert store == client.store("box")
    assert hash(store) == hash(client.store("box"))
    assert store not in {client.store("other"), client.store("box", read_only=True), "box"}
    assert store.with_read_only(read_only=True) == client.store("box", read_only=True)
    assert str(store).endswith("/v1/volumes/box")
    with pytest.raises(ValueError, match="read-only"):
        write(channel(), client.store("box", read_only=True), mode="w")


def test_what_the_service_refuses_is_raised(client: Client) -> None:
    with pytest.raises(RefusedError, match="a name"):
        write(channel(), client.store("a name"))
    with Client("http://127.0.0.1:9", attempts=1) as nobody, pytest.raises(UnreachableError):
        write(channel(), nobody.store("box"))
