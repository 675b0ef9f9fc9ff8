"""What zarr asks of every store, by its own tests, of a stored volume at the service itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from zarr.core.buffer import Buffer, cpu
from zarr.testing.store import StoreTests

from eddylift._zarr_store import VolumeStore
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from eddylift import Client


@pytest.mark.anyio
class TestVolumeStore(StoreTests[VolumeStore, cpu.Buffer]):
    store_cls = VolumeStore
    buffer_cls = cpu.Buffer
    names = itertools.count()

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"  # zarr knows no other

    @pytest.fixture
    def store_kwargs(self, client: Client) -> dict[str, Any]:
        new = client.store(f"volume{next(self.names)}")
        assert isinstance(new, VolumeStore)
        return {"send": new._send, "address": new.address, "path": new.path}

    @pytest.fixture
    def store(self, open_kwargs: dict[str, Any]) -> VolumeStore:
        # Not asynchronous, since tests that are not use it too.
        async def opened() -> VolumeStore:
            return await VolumeStore.open(**open_kwargs)

        return anyio.run(opened)

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> VolumeStore:
        return VolumeStore(**store_kwargs)

    async def set(self, store: VolumeStore, key: str, value: Buffer) -> None:
        httpx2.put(f"{store}/{key}", content=value.to_bytes(), timeout=PATIENCE_S).raise_for_status()

    async def get(self, store: VolumeStore, key: str) -> Buffer:
        return cpu.Buffer.from_bytes(httpx2.get(f"{store}/{key}", timeout=PATIENCE_S).raise_for_status().content)

    def test_store_repr(self, store: VolumeStore) -> None:
        assert repr(store) == f"VolumeStore('{store.address.rstrip('/')}{store.path}')"

    def test_store_supports_writes(self, store: VolumeStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: VolumeStore) -> None:
        assert store.supports_listing
