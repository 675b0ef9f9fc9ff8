"""Pairs in, the symmetries that they keep out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import service.api.routes.discover as route
from models.discovery.discover import discover
from models.discovery.fit import USUAL, Recipe
from models.discovery.pairs import ENOUGH_PAIRS
from models.group import group
from service.formats.containers import Body
from service.formats.pairs import read_pairs
from service.settings import Settings
from tests.service.conftest import parts
from tests.service.wire import NETCDF, NPY, from_npy, noise, npy, post
from tests.waiting import PATIENCE_S, wait_until
from training.experiments.squares import square_to

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from models.discovery.discover import Finding
    from models.discovery.pairs import Kind
    from tests.service.conftest import Serve

KINDS: tuple[Kind, Kind] = ("scalar", "scalar")
X, Y = (field[:].numpy() for field in (square_to("rectangle").x, square_to("rectangle").y))


def ask(
    client: TestClient, x: NDArray[Any] | None = X, y: NDArray[Any] | None = Y, kind: str = NPY, **query: str
) -> httpx2.Response:
    files = {name: (name, npy(field), kind) for name, field in (("x", x), ("y", y)) if field is not None}
    return client.post("/v1/discover", files=files, params=query)


def test_a_square_that_becomes_a_rectangle_keeps_its_mirrors(client: TestClient) -> None:
    answer = ask(client)
    assert answer.is_success, answer.text
    found = answer.json()
    assert (found["symbol"], found["exact"], found["moved"]) == ("2mm", True, ["A1", "B1"])
    assert found["kept"] == ["x,y", "-x,-y", "x,-y", "-x,y"]
    assert set(found["layers"]) == {"lift", "convolve", "project"}
    assert {layer["symbol"] for layer in found["layers"].values()} == {"2mm"}
    assert found["error_inside"] < 1e-12
    assert found["error_outside"] > 0.1
    assert found["mse"] < 1e-3 * min(found["mse_zero"], found["mse_copy"])
    assert (found["unfitted"], found["unlike"]) == ([], [])
    assert found["verdict"] == "2mm: 4 of the 8 elements of D4 are kept to rounding."


def test_channels_that_say_little_are_named(client: TestClient) -> None:
    """Of a constant, nothing can be seen, and not in other units."""
    found = ask(client, np.concatenate([X, X], 1), np.concatenate([X, 100 * Y], 1), group="C2").json()
    assert (found["unfitted"], found["unlike"]) == ([], [1])
    assert ask(client, np.ones_like(X), group="C2").json()["unfitted"] == [0]


def test_vectors_in_space_on_a_finer_grid(client: TestClient) -> None:
    """A constant scalar tells no direction, a vector along z one: 4 of the rotations keep it."""
    x, y = np.ones((1, 1, 3, 3, 3)), np.zeros((1, 3, 6, 6, 6))
    y[:, 2] = 1
    found = ask(client, x, y, y_kind="vector", group="O").json()
    assert (found["group"], found["symbol"], len(found["elements"])) == ("O", "4", 24)


def test_noisy_pairs_have_common_shares_with_standard_errors(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(USUAL, 2, Recipe(fields=1, equivariant_steps=1, steps=1))
    x, y = noise(2, ENOUGH_PAIRS, 1, 4, 4)
    found = ask(client, x, y, group="C4").json()
    assert list(found["common"]) == list(found["common_errors"]) == found["elements"]
    assert found["common_errors"]["-x,-y"] > 0


@pytest.mark.parametrize(
    ("x", "y", "query", "status", "field"),
    [
        (None, Y, {}, 400, "x"),
        (X, None, {}, 400, "y"),
        (X, Y[:, :, :6, :6], {}, 422, "y"),
        (X, Y.astype(np.float32), {}, 422, "y"),
        (X, np.full_like(Y, np.nan), {}, 422, "y"),
        (X, np.full_like(Y, -999.9), {}, 422, "y"),
        (np.full_like(X, -9999.0), Y, {}, 422, "x"),
        (X[0], Y, {}, 422, "x"),
        (X.astype(int), Y, {}, 422, "x.dtype"),
        (X, Y, {"y_kind": "vector"}, 422, "y"),
        (X, Y, {"y_kind": "tensor"}, 422, "y_kind"),
        (X, Y, {"group": "Oh"}, 422, "group"),
        (np.zeros((1, 1, 400, 400)), np.zeros((1, 1, 400, 400)), {}, 413, "x"),
    ],
)
def test_what_does_not_fit_is_refused(
    client: TestClient,
    x: NDArray[Any] | None,
    y: NDArray[Any] | None,
    query: dict[str, str],
    status: int,
    field: str,
) -> None:
    answer = ask(client, x, y, **query)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_large_data_are_sent_to_jobs(client: TestClient, serve: Serve) -> None:
    large = np.zeros((1, 1, 400, 400))
    for answer in (ask(client, large, large), ask(serve(max_discovery_operations=1))):
        assert answer.status_code == 413
        assert "`POST /v1/jobs`" in answer.json()["detail"]


def test_other_containers_are_refused(client: TestClient) -> None:
    assert ask(client, kind=NETCDF).status_code == 400
    files = {name: (name, b"CDF\x01", NETCDF) for name in "xy"}
    assert client.post("/v1/discover", files=files).status_code == 415


def test_byte_order_and_layout_do_not_matter() -> None:
    read = read_pairs(Body(npy(np.asfortranarray(X)), NPY), Body(npy(Y.astype(">f8")), NPY), KINDS, Settings())
    assert np.array_equal(read.x[:], X)
    assert np.array_equal(read.y[:], Y)


def test_others_are_served_meanwhile_and_no_client_takes_all_slots(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, begun, go_on = serve(), threading.Event(), threading.Event()
    finding = discover(square_to("rectangle"), group("C2", 2), Recipe(fields=1, equivariant_steps=1, steps=1))

    def wait(*_: object, progress: Callable[[], None]) -> Finding:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        progress()
        return finding

    monkeypatch.setattr(route, "discover", wait)
    slots = parts(client).discoveries
    with ThreadPoolExecutor(slots.share) as pool:
        waiting = [pool.submit(ask, client) for _ in range(slots.share)]
        assert begun.wait(PATIENCE_S)
        wait_until(lambda: slots.taken == slots.share)
        refused = ask(client)
        fine = post(client, noise(3, 4, 4, 4))
        go_on.set()
        assert [each.result().status_code for each in waiting] == slots.share * [200]
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert from_npy(fine.content).shape == (3, 16, 16, 16)
