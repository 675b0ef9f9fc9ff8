"""A data folder that cannot be written: what needs it says so, and the rest goes on."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import httpx2

from service.volumes.chunk_cache import DiskCache
from tests.service.orders import ORDER
from tests.service.servers import ServiceProcess
from tests.service.wire import dataset, files_of, noise
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from models.catalogue import Catalogue


def test_it_is_named_by_whatever_would_write_it_and_by_readiness(catalogue: Catalogue, tmp_path: Path) -> None:
    with (
        ServiceProcess(catalogue.folder, data=tmp_path) as service,
        httpx2.Client(base_url=service.address, timeout=PATIENCE_S) as client,
    ):
        for key, content in files_of(dataset(noise(3, 4, 4, 4))).items():
            client.put(f"/v1/volumes/box/{key}", content=content).raise_for_status()
        assert client.get("/health/ready").json()["data"] is None
        folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in folders + files:
            path.chmod(0o555 if path in folders else 0o444)
        try:
            for answer in (
                client.put("/v1/volumes/box/zarr.json", content=b"{}"),
                client.put("/v1/volumes/other/zarr.json", content=b"{}"),
                client.post("/v1/volumes/box/rename", json={"to": "other"}),
                client.delete("/v1/volumes/box/u/c/0/0/0"),
                client.delete("/v1/volumes/box"),
                client.post("/v1/jobs", json=ORDER),
            ):
                assert (answer.status_code, answer.json()["type"]) == (500, "urn:eddylift:problem:not-stored")
                assert answer.json()["detail"].endswith("cannot be written: Permission denied")
            ready = client.get("/health/ready")
            assert ready.is_success
            assert ready.json()["data"] == "Permission denied"
            assert client.get("/v1/volumes/box/u/c/0/0/0").is_success
            assert client.get("/v1/views/box/trilinear-x4/u/c/0/0/0").is_success
        finally:
            for path in folders:
                path.chmod(0o755)


def test_a_cached_chunk_is_read_where_its_time_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path, budget=100)
    cache.put("one", b"chunk")

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    assert cache.get("one", 5) == b"chunk"
