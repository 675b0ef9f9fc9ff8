"""Tiles of slices: the very numbers of the view, from blocks that are shared with it."""

from __future__ import annotations

import errno
import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.volumes.derived import derive
from tests.service.conftest import parts
from tests.service.wire import dataset, fetch, joined, noise, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

MODEL, PREDICTS = "relaxed-isotropic-x4", "equivariant-general-x4"


@pytest.fixture(scope="module")
def client(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service for all tests here; each has volumes of its own."""
    data = tmp_path_factory.mktemp("data")
    app = create_app(Settings(weights=catalogue.folder, data=data, device="cpu", threads=1, block=6, region=1))
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/health/ready").is_success)
        yield client


@pytest.fixture
def box(request: pytest.FixtureRequest) -> str:
    """A name for a volume of the test."""
    return str(re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name))


def tile(client: TestClient, view: str, path: str, **query: str | int) -> NDArray[np.float32]:
    response = client.get(f"/v1/views/{view}/slices/{path}", params={**query})
    assert response.status_code == 200, response.text
    return decoded(response)


def decoded(response: httpx2.Response) -> NDArray[np.float32]:
    shape = tuple(map(int, response.headers["X-Eddylift-Shape"].split(",")))
    scale = np.float32(response.headers["X-Eddylift-Scale"])
    return np.frombuffer(response.content, "<f2").astype(np.float32).reshape(shape) * scale


def close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Equal to what float16 can tell of the largest value."""
    return bool(np.abs(found - expected).max() <= 6e-4 * np.abs(expected).max())


def test_a_tile_has_the_numbers_of_the_view(client: TestClient, box: str) -> None:
    velocity = noise(3, 4, 70, 4)
    send(client, box, dataset(velocity))
    view = fetch(client, f"{box}/{MODEL}")
    fine = np.stack([view[name].to_numpy() for name in "uvw"])
    assert close(tile(client, f"{box}/{MODEL}", "z/9/0/0/0", field="u"), fine[0, 9, :256])
    assert close(tile(client, f"{box}/{MODEL}", "z/9/0/1/0", field="v"), fine[1, 9, 256:])
    assert close(tile(client, f"{box}/{MODEL}", "y/279/0/0/0", field="w"), fine[2, :, 279])
    assert close(tile(client, f"{box}/{MODEL}", "x/0/0/0/0"), np.sqrt(np.square(fine[:, :, :256, 0]).sum(axis=0)))
    halved = fine[0, 9].reshape(140, 2, 8, 2).mean(axis=(1, 3))
    assert close(tile(client, f"{box}/{MODEL}", "z/9/1/0/0", field="u"), halved)
    # The source, and what is coarser.
    assert close(tile(client, f"{box}/{MODEL}", "z/9/2/0/0", field="u"), velocity[0, 2])
    assert close(
        tile(client, f"{box}/{MODEL}", "x/15/3/0/0", field="v"),
        velocity[1, :, :, 3].reshape(2, 2, 35, 2).mean(axis=(1, 3)),
    )
    # 70 cells are 17 of the coarsest pixels and a half.
    last = tile(client, f"{box}/{MODEL}", "z/0/4/0/0", field="w")[17]
    assert close(last, velocity[2, 0, 68:].mean(keepdims=True)[0])


def test_tiles_and_chunks_share_blocks(client: TestClient, box: str) -> None:
    send(client, box, joined(noise(3, 7, 7, 7)))
    cache = parts(client).chunk_cache
    before = cache.computed
    tile(client, f"{box}/{MODEL}", "z/2/4/0/0")
    tile(client, f"{box}/{MODEL}", "z/2/2/0/0", field="vorticity")
    assert cache.computed == before
    for field, index in itertools.product(("u", "q"), (2, 3)):
        tile(client, f"{box}/{MODEL}", f"z/{index}/0/0/0", field=field)
    assert cache.computed == before + 4  # of eight: those that the plane goes through
    client.get(f"/v1/views/{box}/{MODEL}/velocity/c/0/0/0/1").raise_for_status()
    assert cache.computed == before + 4


def test_a_block_is_computed_once_where_none_can_be_kept(
    client: TestClient, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full: not once for each of u, v and w."""
    send(client, box, dataset(noise(3, 4, 4, 4)))
    cache = parts(client).chunk_cache

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.store, "put", full)
    before = cache.computed
    tile(client, f"{box}/{MODEL}", "z/0/0/0/0", field="speed")
    assert cache.computed == before + 1


def test_known_derivatives() -> None:
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (5, 6, 7)), indexing="ij")
    spacing = (0.5, 0.25, 2.0)
    rotation = np.stack([-3 * y * spacing[1], 3 * x * spacing[2], 0 * z])
    strain = np.stack([2 * x * spacing[2], -2 * y * spacing[1], 0 * z])
    for velocity, vorticity, q in ((rotation, 6, 9), (strain, 0, -4)):
        np.testing.assert_allclose(derive(velocity, "vorticity", spacing), vorticity, atol=1e-4)
        np.testing.assert_allclose(derive(velocity, "q", spacing), q, atol=1e-4)


def test_derivatives_along_axes_of_different_units(client: TestClient, box: str) -> None:
    volume = dataset(noise(3, 4, 4, 4))
    send(client, box, volume.assign_coords(x=volume.x.assign_attrs(units="km")))
    refused = client.get(f"/v1/views/{box}/{MODEL}/slices/z/0/0/0/0", params={"field": "vorticity"})
    assert refused.json()["detail"] == "x: in km; expected m, as y has; drop=z,y,x takes cells as cubes"
    tile(client, f"{box}/{MODEL}", "z/0/0/0/0", field="u")
    tile(client, f"{box}/{MODEL};drop=z,y,x", "z/0/0/0/0", field="vorticity")


def test_the_expected_error(client: TestClient, box: str) -> None:
    send(client, box, dataset(noise(3, 8, 8, 8)))
    model = f"{PREDICTS};error=true"
    error = fetch(client, f"{box}/{model}")["error"].to_numpy()
    assert close(tile(client, f"{box}/{model}", "y/3/0/0/0", field="error"), error[:, 3])
    for path, other in (("y/3/2/0/0", model), ("y/3/0/0/0", PREDICTS)):
        refused = client.get(f"/v1/views/{box}/{other}/slices/{path}?field=error")
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "field"


def test_a_time_of_its_own(client: TestClient, box: str) -> None:
    velocity = noise(2, 3, 8, 8, 8)
    send(client, box, dataset(velocity))
    assert close(tile(client, f"{box}/{MODEL}", "z/0/2/0/0", field="u", time=1), velocity[1, 0, 0])


def test_numbers_beyond_float16_and_below_it(client: TestClient) -> None:
    for name, scale in (("large", 1e9), ("small", 1e-9)):
        velocity = np.float32(scale) * noise(3, 4, 4, 4)
        send(client, name, dataset(velocity))
        answer = client.get(f"/v1/views/{name}/trilinear-x4/slices/z/0/2/0/0?field=u")
        assert close(decoded(answer), velocity[0, 0])


def test_a_tile_that_the_client_has(client: TestClient, box: str) -> None:
    send(client, box, dataset(noise(3, 8, 8, 8)))
    path = f"/v1/views/{box}/{MODEL}/slices/z/0/0/0/0"
    tag = client.get(path).headers["ETag"]
    computed = parts(client).chunk_cache.computed
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert parts(client).chunk_cache.computed == computed
    assert client.get(f"{path}?field=u").headers["ETag"] != tag
    send_again = dataset(noise(3, 8, 8, 8, seed=5))
    client.delete(f"/v1/volumes/{box}").raise_for_status()
    send(client, box, send_again)
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("z/32/0/0/0", 422, "index"),
        ("z/0/5/0/0", 422, "level"),
        ("z/0/0/0/0?time=1", 422, "time"),
        ("z/0/0/0/0?field=pressure", 422, "field"),
        ("t/0/0/0/0", 422, "axis"),
        ("z/-1/0/0/0", 422, "index"),
        ("z/0/0/1/0", 404, None),
        ("z/0/2/0/1", 404, None),
    ],
)
def test_refusals(client: TestClient, box: str, path: str, status: int, field: str | None) -> None:
    send(client, box, dataset(noise(3, 8, 8, 8)))
    refused = client.get(f"/v1/views/{box}/{MODEL}/slices/{path}")
    assert refused.status_code == status
    assert [each["field"] for each in refused.json()["errors"]] == ([field] if field else [])
