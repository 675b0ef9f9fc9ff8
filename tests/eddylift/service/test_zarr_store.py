"""A stored volume as a Zarr store, against the service itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from eddylift import Client, InvalidInputError, RefusedError, UnexpectedAnswerError, UnreachableError
from tests.eddylift.conftest import problem
from tests.eddylift.service.conftest import TRILINEAR, channel, wanted
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from fastapi import FastAPI
    from zarr.abc.store import ByteRequest, Store

    from tests.eddylift.conftest import FakeService


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


def test_levels_are_written_into_regions_in_any_order(client: Client) -> None:
    store = client.store("series")
    level = channel((4, 4, 4))
    series = xr.concat([level.expand_dims(time=[float(at)]) * (at + 1) for at in range(3)], "time")
    write(series.chunk(time=1), store, mode="w", compute=False)
    for at in (2, 0, 1):
        write(series.isel(time=[at]).drop_vars(["z", "y", "x"]), store, region={"time": slice(at, at + 1)})
    with xr.open_zarr(store, chunks=None, consolidated=False) as found:
        xr.testing.assert_equal(found.load(), series)
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


def test_listing_goes_on_page_by_page_and_round_the_chunks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.routes.volumes.PAGE", 3)
    store = client.store("paged")
    keys = ["u-x/0", "u.x", *(f"u/c/{at}" for at in range(9)), "u0", "u1/c/0", "zarr.json"]
    content = default_buffer_prototype().buffer.from_bytes(b"12")
    sent: list[str] = []
    attempt = client._attempt

    def counted(call: Any, *rest: Any) -> Any:  # noqa: ANN401
        sent.append(call.path)
        return attempt(call, *rest)

    monkeypatch.setattr(client, "_attempt", counted)

    async def look() -> None:
        for key in keys:
            await store.set(key, content)
        assert [key async for key in store.list()] == keys
        assert [key async for key in store.list_prefix("u/c/")] == [key for key in keys if key.startswith("u/c/")]
        sent.clear()
        assert [key async for key in store.list_dir("")] == ["u-x", "u.x", "u", "u0", "u1", "zarr.json"]
        assert len(sent) == 2  # of five pages
        assert await store.getsize_prefix("u") == 9 * len(content)
        sent.clear()
        await store.clear()
        assert sent == ["/v1/volumes/paged"]

    anyio.run(look)
    assert client.volumes() == []


def test_no_key_leads_to_another_volume(client: Client) -> None:
    for name in ("mine", "other"):
        write(channel((4, 4, 4)), client.store(name))
    store, content = client.store("mine"), default_buffer_prototype().buffer.from_bytes(b"")
    for key in ("../other", "u/../../other", "./zarr.json"):
        with pytest.raises(InvalidInputError, match=f"key: {key}; expected"):
            anyio.run(store.delete, key)
        with pytest.raises(InvalidInputError, match=f"key: {key}; expected"):
            anyio.run(store.set, key, content)
    with pytest.raises(InvalidInputError, match=r"name: \.\.; expected"):
        client.delete_volume("..")
    assert [each["name"] for each in client.volumes()] == ["mine", "other"]
    for name in ("mine", "other"):
        client.delete_volume(name)


def test_what_a_job_uses_is_not_changed(client: Client, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, store = channel((4, 4, 4)), client.store("busy")
    write(volume, store)
    batcher, gate = app.state.services.engine.batcher, threading.Event()
    forward = batcher._forward
    monkeypatch.setattr(batcher, "_forward", lambda *work: gate.wait(PATIENCE_S) and forward(*work))
    job = client.submit("busy", "busy-fine", model=TRILINEAR)
    try:
        for change in ({"mode": "a"}, {"mode": "w"}):
            with pytest.raises(RefusedError, match="a job uses busy; cancel it first") as refused:
                write(2 * volume, store, **change)
            assert refused.value.status == 409
    finally:
        gate.set()
    assert job.wait()["state"] == "done"
    with xr.open_zarr(store, chunks=None, consolidated=False) as found:
        xr.testing.assert_identical(found.load(), volume)
    for name in ("busy", "busy-fine"):
        client.delete_volume(name)


def test_a_full_queue_is_waited_for_and_a_whole_is_no_part(service: FakeService) -> None:
    answer = httpx2.Response(206, content=b"ab", headers={"X-Eddylift-Warning": "heard when it was opened"})
    service.script = [problem(429, {"Retry-After": "0"}), problem(503), answer]
    with Client("http://fake", transport=httpx2.MockTransport(service)) as client:
        assert read(client.store("box"), "u/c/0", RangeByteRequest(2, 4)) == b"ab"
        assert [request.headers["Range"] for request in service.requests] == ["bytes=2-3"] * 3
        service.script = [httpx2.Response(200, content=b"abcdef")]
        with pytest.raises(UnexpectedAnswerError, match="asked for a part and sent the whole"):
            read(client.store("box"), "u/c/0", RangeByteRequest(2, 4))


def test_what_the_service_refuses_is_raised(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="a name"):
        write(channel(), client.store("a name"))
    content = default_buffer_prototype().buffer.from_bytes(b"")
    with pytest.raises(RefusedError, match="key: u/a chunk; expected up to 10 names of letters") as refused:
        anyio.run(client.store("box").set, "u/a chunk", content)
    assert refused.value.errors[0].field == "key"
    with Client("http://127.0.0.1:9", attempts=1) as nobody, pytest.raises(UnreachableError):
        write(channel(), nobody.store("box"))
