"""Boxes: the very numbers of the view, from blocks that are shared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.volumes.derived import derive
from tests.service.conftest import parts
from tests.service.volumes.test_slices import close, decoded
from tests.service.wire import dataset, fetch, noise, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.catalogue import Catalogue

VIEW = "long/relaxed-isotropic-x4"
VELOCITY = noise(3, 4, 5, 18)


@pytest.fixture(scope="module")
def client(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with one volume, of 18 x 5 x 4 cells."""
    data = tmp_path_factory.mktemp("data")
    app = create_app(Settings(weights=catalogue.folder, data=data, device="cpu", threads=1, block=6, region=1))
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/health/ready").is_success)
        send(client, "long", dataset(VELOCITY))
        yield client


def box(client: TestClient, path: str, field: str) -> NDArray[np.float32]:
    response = client.get(f"/v1/views/{VIEW}/boxes/{path}", params={"field": field})
    assert response.status_code == 200, response.text
    return decoded(response)


def test_a_box_has_the_numbers_of_the_view(client: TestClient) -> None:
    before = parts(client).chunk_cache.computed
    # The last cells along x are in one block of three; the source takes none.
    assert close(box(client, "2/0/0/0", "u"), VELOCITY[0])
    assert parts(client).chunk_cache.computed == before
    assert box(client, "0/0/0/1", "u").shape == (16, 20, 8)
    assert parts(client).chunk_cache.computed == before + 1
    view = fetch(client, VIEW)
    fine = np.stack([view[name].to_numpy() for name in "uvw"])
    assert close(box(client, "0/0/0/1", "u"), fine[0, :, :, 64:])
    assert close(box(client, "0/0/0/0", "speed"), np.sqrt(np.square(fine[..., :64]).sum(axis=0)))
    assert close(box(client, "1/0/0/0", "w"), fine[2].reshape(8, 2, 10, 2, 36, 2).mean(axis=(1, 3, 5)))
    # Within the middle block of 24 cells, that is [24, 48), as the whole of that block gives it.
    spacing = (0.25 / 4, 0.5 / 4, 1.0 / 4)
    inside = derive(fine[..., 24:48], "q", spacing)
    assert close(box(client, "0/0/0/0", "q")[..., 24:48], inside)
    assert close(box(client, "2/0/0/0", "vorticity"), derive(VELOCITY, "vorticity", (0.25, 0.5, 1.0)))


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("3/0/0/0", 422, "level"),
        ("0/0/0/0?time=1", 422, "time"),
        ("0/0/0/0?field=pressure", 422, "field"),
        ("0/0/0/0?field=error", 422, "field"),
        ("0/-1/0/0", 422, "z"),
        ("0/0/0/2", 404, None),
        ("1/0/1/0", 404, None),
    ],
)
def test_refusals(client: TestClient, path: str, status: int, field: str | None) -> None:
    refused = client.get(f"/v1/views/{VIEW}/boxes/{path}")
    assert refused.status_code == status
    assert [each["field"] for each in refused.json()["errors"]] == ([field] if field else [])
