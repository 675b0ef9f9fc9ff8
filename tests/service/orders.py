"""Orders of jobs, and what tests ask of them."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from models.blocks import parse_boundary
from models.replacing import PART
from models.superresolution import upscale
from tests.service.conftest import parts
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

LEARNED, THREE, HALF = "relaxed-isotropic-x4", "conv-isotropic-x4-3frames", "relaxed-isotropic-x2"
DEFAULT = "equivariant-general-x4"
"""It alone predicts its error."""
ORDER = {"source": "box", "target": "fine", "model": LEARNED}


def order(client: TestClient, usual: Mapping[str, str] = ORDER, /, **changes: object) -> str:
    response = client.post("/v1/jobs", json={**usual, **changes})
    assert response.status_code == 202, response.text
    name: str = response.json()["id"]
    return name


def look(client: TestClient, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
    return found


def finish(client: TestClient, job: str, state: str = "done") -> dict[str, Any]:
    wait_until(lambda: look(client, job)["state"] in {"done", "failed", "cancelled"})
    found = look(client, job)
    assert found["state"] == state, found
    return found


def fine(root: Path, name: str = "fine") -> NDArray[np.float32]:
    return stored(root / "data", name)


def stored(data: Path, name: str) -> NDArray[np.float32]:
    with xr.open_zarr(data / "volumes" / name, consolidated=True, decode_times=False) as found:
        return np.stack([found[each].values for each in "uvw"])


def wanted(
    catalogue: Catalogue, source: NDArray[np.float32], boundary: str = "periodic", model: str = LEARNED, block: int = 4
) -> Any:  # noqa: ANN401
    return upscale(catalogue.load(model), source, parse_boundary(boundary), block=block)


def chunks(volume: Path) -> dict[Path, int]:
    """When each chunk of a volume was written, in ns."""
    return {path: path.stat().st_mtime_ns for path in volume.rglob("c/*/*/*") if not path.name.startswith(PART)}


def whole_blocks(written: dict[Path, int]) -> dict[Path, int]:
    """The chunks of blocks of which all three are there."""
    blocks = Counter(path.parts[-3:] for path in written)
    return {path: when for path, when in written.items() if blocks[path.parts[-3:]] == 3}


def cancel_held(client: TestClient, job: str, go_on: threading.Event) -> str:
    """Cancel a job that is held up in the middle of something until it may go on; returns its state after that."""
    with ThreadPoolExecutor(1) as other:
        cancelling = other.submit(client.post, f"/v1/jobs/{job}/cancel")
        wait_until(lambda: parts(client).jobs._running[job].task.cancelling() > 0)
        client.get("/health/live")  # the event loop has gone round since
        assert not cancelling.done()
        go_on.set()
        state: str = cancelling.result().json()["state"]
        return state


class Gate:
    """Lets a job compute so many blocks, or a few more if they are in one batch, and holds it up then."""

    def __init__(self, client: TestClient, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
        self.passing = threading.Semaphore(blocks)
        self.open = threading.Event()
        batcher = parts(client).engine.batcher
        forward = batcher._forward

        def wait(key: Any, batch: list[Any]) -> None:  # noqa: ANN401
            while not self.open.is_set() and not self.passing.acquire(timeout=0.01):
                if all(item.request.future.cancelled() for item in batch):
                    break
            for _ in batch[1:]:
                self.passing.acquire(blocking=False)  # a batch passes whole
            forward(key, batch)

        monkeypatch.setattr(batcher, "_forward", wait)
