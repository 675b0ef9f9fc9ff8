"""What an upload or a download leaves when it is interrupted, cancelled or refused."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import httpx2
import numpy as np
import pytest

from eddylift import AsyncClient, Client, InvalidInputError, RefusedError, StoredVolume
from tests.eddylift.conftest import problem

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.eddylift.conftest import Ask, FakeService

STORED = StoredVolume(dict.fromkeys(StoredVolume.required()), name="box", tag="abc", bytes=2)
LISTING = {"keys": [{"key": "u", "bytes": 1}, {"key": "v", "bytes": 1}], "more": False}
# Of an upload until its first object is sent, and of a download until its second one is fetched.
UPLOAD = [problem(404), problem(404)]
DOWNLOAD = [httpx2.Response(200, json=STORED), httpx2.Response(200, json=LISTING), httpx2.Response(200, content=b"u")]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def assert_interrupted(service: FakeService, method: str, temporary: Path) -> None:
    """The last request was the one that was interrupted, and what was fetched before can be continued."""
    assert service.requests[-1].method == method
    assert not list(temporary.iterdir())
    found = [path.relative_to(temporary.parent).as_posix() for path in temporary.parent.rglob("*") if path.is_file()]
    assert found == ([".box.abc.part/u"] if method == "GET" else [])


def test_interrupts_leave_nothing_half_done(service: FakeService, array: NDArray[np.float32], temporary: Path) -> None:
    def interrupt(request: httpx2.Request) -> httpx2.Response:
        if service.script:
            return service(request)
        service.requests.append(request)
        raise KeyboardInterrupt

    with Client("http://fake", transport=httpx2.MockTransport(interrupt)) as client:
        service.script = [*UPLOAD]
        with pytest.raises(KeyboardInterrupt):
            client.upload(array, "box", boundary="open")
        assert_interrupted(service, "PUT", temporary)
        service.script = [*DOWNLOAD]
        with pytest.raises(KeyboardInterrupt):
            client.download("box", temporary.with_name("box"))
        assert_interrupted(service, "GET", temporary)


def test_cancellation_leaves_nothing_half_done(
    service: FakeService, array: NDArray[np.float32], temporary: Path
) -> None:
    async def go() -> None:
        async def cancel(request: httpx2.Request) -> httpx2.Response:
            if service.script:
                return service(request)
            service.requests.append(request)
            scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        async with AsyncClient("http://fake", transport=httpx2.MockTransport(cancel)) as client:
            service.script = [*UPLOAD]
            with anyio.CancelScope() as scope:
                await client.upload(array, "box", boundary="open")
            assert_interrupted(service, "PUT", temporary)
            service.script = [*DOWNLOAD]
            with anyio.CancelScope() as scope:
                await client.download("box", temporary.with_name("box"))
            assert_interrupted(service, "GET", temporary)

    anyio.run(go)


def test_what_was_dealt_with_before_is_no_context_of_an_error(
    ask: Ask, service: FakeService, array: NDArray[np.float32]
) -> None:
    service.script = [*UPLOAD, problem(401)]
    with pytest.raises(RefusedError) as refused:
        ask("upload", array, "box", boundary="open")
    assert refused.value.__context__ is None
    with pytest.raises(InvalidInputError, match="name: ") as invalid:
        ask("upload", array, "box.part-202611301905", boundary="open")
    assert invalid.value.__context__ is None


def test_a_volume_that_was_refused_is_not_kept_in_memory(service: FakeService) -> None:
    array = np.ones((3, 2, 2, 2), np.float32)
    kept = weakref.ref(array)
    service.script = [*UPLOAD, problem(401)]
    gc.collect()
    gc.disable()
    try:
        with Client("http://fake", transport=httpx2.MockTransport(service)) as client, suppress(RefusedError):
            client.upload(array, "box", boundary="open")
        del array
        assert kept() is None
    finally:
        gc.enable()
