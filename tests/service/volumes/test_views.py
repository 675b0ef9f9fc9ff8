"""A view is the super-resolved volume, computed where it is looked at, once, and kept."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.blocks import parse_boundary
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import HALF, LEARNED, THREE, wanted
from tests.service.wire import dataset, fetch, noise, send, stacked
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data", block=6)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
@pytest.mark.parametrize(("model", "factor"), [("trilinear-x4", 4), (LEARNED, 4), (HALF, 2)])
def test_a_view_is_what_a_request_is_answered(
    client: TestClient, catalogue: Catalogue, model: str, factor: int, boundary: str
) -> None:
    """With a size that the block does not divide: the same bits."""
    velocity = noise(3, 7, 8, 13)
    send(client, "box", dataset(velocity).assign_attrs(boundary=boundary, title="mine"))
    found = fetch(client, f"box/{model}")
    assert found["u"].shape == (7 * factor, 8 * factor, 13 * factor)
    assert np.array_equal(stacked(found), wanted(catalogue, velocity, boundary, model, 6))
    assert found["u"].attrs["units"] == "m s-1"
    np.testing.assert_allclose(found["y"][:3], 2 + 0.5 * (np.arange(3) + 0.5) / factor)
    assert found.attrs["title"] == "mine"
    assert found.attrs["eddylift_model"] == model
    assert found.attrs["eddylift_factor"] == factor
    assert found.attrs["eddylift_boundary"] == ",".join(parse_boundary(boundary))
    other = fetch(client, f"box/{model};boundary=open")
    assert np.array_equal(stacked(other), wanted(catalogue, velocity, "open", model, 6))


def test_many_volumes_stay_open(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users have a view each, and a list of all volumes opens all of them."""
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    volumes = tmp_path / "data" / "volumes"
    for number in range(40):
        shutil.copytree(volumes / "box", volumes / f"box-{number}")
    assert client.get(f"/v1/views/box/{LEARNED}/zarr.json").is_success
    assert len(client.get("/v1/volumes").json()["volumes"]) == 41
    opened: list[object] = []
    monkeypatch.setattr("service.volumes.opener.open_source", lambda *names, **_: opened.append(names))
    assert client.get(f"/v1/views/box/{LEARNED}/zarr.json").is_success
    assert not any(volume["problem"] for volume in client.get("/v1/volumes").json()["volumes"])
    assert not opened


def test_times_are_levels_of_their_own(client: TestClient, catalogue: Catalogue) -> None:
    velocity = noise(2, 3, 4, 5, 6)
    send(client, "series", dataset(velocity))
    found = fetch(client, f"series/{LEARNED}")
    assert found["w"].dims == ("time", "z", "y", "x")
    assert str(found["time"].values[1])[:10] == "2000-01-11"
    for level in range(2):
        now = stacked(found.isel(time=level))
        assert np.array_equal(now, wanted(catalogue, velocity[level], block=6))


def test_three_frames_give_the_middle_one(client: TestClient, catalogue: Catalogue) -> None:
    velocity = noise(4, 3, 4, 5, 6)
    send(client, "series", dataset(velocity))
    found = fetch(client, f"series/{THREE}")
    assert found.sizes["time"] == 2
    assert str(found["time"].values[0])[:10] == "2000-01-11"
    for level in range(2):
        now = stacked(found.isel(time=level))
        assert np.array_equal(now, wanted(catalogue, velocity[level : level + 3], model=THREE, block=6))
    send(client, "short", dataset(velocity[:2]))
    refused = client.get(f"/v1/views/short/{THREE}/zarr.json")
    assert refused.status_code == 422
    assert "time: 2 levels; expected at least 3" in refused.json()["detail"]
    send(client, "back", dataset(velocity).isel(time=slice(None, None, -1)))
    refused = client.get(f"/v1/views/back/{THREE}/zarr.json")
    assert "time: steps from -10 to -10; expected times that grow" in refused.json()["detail"]
    assert client.get(f"/v1/views/back/{LEARNED}/zarr.json").status_code == 200


def test_one_array_for_all_components(client: TestClient, catalogue: Catalogue) -> None:
    velocity = noise(3, 4, 5, 6)
    joined = dataset(velocity)[["u", "v", "w"]].to_dataarray("component").transpose("z", "component", ...)
    for name in ("velocity", "error"):
        send(client, name, joined.drop_vars("component").to_dataset(name=name))
        found = fetch(client, f"{name}/{LEARNED}")
        assert found[name].dims == ("component", "z", "y", "x")
        assert np.array_equal(found[name].values, wanted(catalogue, velocity, block=6))


def test_only_what_is_looked_at_is_computed_and_once(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 12, 12, 12)))
    views = parts(client).chunk_cache
    path = f"/v1/views/box/{LEARNED}"
    client.get(f"{path}/zarr.json")
    client.get(f"{path}/x/c/0")
    assert views.computed == 0
    client.get(f"{path}/u/c/0/0/0")
    client.get(f"{path}/v/c/0/0/0")
    assert views.computed == 1
    client.get(f"{path}/v/c/1/0/1")
    assert views.computed == 2
    fetch(client, f"box/{LEARNED}")
    assert views.computed == 8


def test_readers_of_one_block_share_its_computation(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    service = parts(client)
    release = threading.Event()
    forward = service.engine.batcher._forward

    def slow(*arguments: Any) -> None:  # noqa: ANN401
        release.wait(PATIENCE_S)
        forward(*arguments)

    monkeypatch.setattr(service.engine.batcher, "_forward", slow)
    with ThreadPoolExecutor(9) as readers:
        waiting = [readers.submit(client.get, f"/v1/views/box/{LEARNED}/{name}/c/0/0/0") for name in "uvw" * 3]
        wait_until(lambda: sum(each.readers for each in service.chunk_cache._running.values()) == 9)
        release.set()
        answers = [each.result() for each in waiting]
    assert service.chunk_cache.computed == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 3
    assert not service.chunk_cache._running


def test_a_reader_that_comes_as_the_last_one_leaves_begins_anew(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    service = parts(client)
    release = threading.Event()
    forward = service.engine.batcher._forward
    monkeypatch.setattr(service.engine.batcher, "_forward", lambda *batch: release.wait(PATIENCE_S) and forward(*batch))

    async def come_and_go() -> int:
        card = service.engine.registry.card(LEARNED)
        view = await service.threads.run(service.opener.view, "box", card)
        place = view.index("u/c/0/0/0")
        assert place is not None
        first = asyncio.create_task(service.chunk_cache.chunk(view, "u/c/0/0/0", place))
        while not (service.chunk_cache._running or first.done()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert first.cancel()
        await asyncio.sleep(0)
        release.set()
        return len(await service.chunk_cache.chunk(view, "u/c/0/0/0", place))

    assert call_in_loop(client, come_and_go) == 4 * 24**3
    assert not service.chunk_cache._running


def test_a_volume_that_changes_is_looked_at_anew(client: TestClient, catalogue: Catalogue) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    before = client.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0")
    velocity = noise(3, 6, 6, 6, seed=5)
    client.delete("/v1/volumes/box")
    send(client, "box", dataset(velocity))
    after = client.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0")
    assert after.headers["etag"] != before.headers["etag"]
    assert np.array_equal(stacked(fetch(client, f"box/{LEARNED}")), wanted(catalogue, velocity, block=6))


def test_chunks_answer_as_objects_do(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    path = f"/v1/views/box/{LEARNED}/v/c/0/0/0"
    etag = client.head(path).headers["etag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert parts(client).chunk_cache.computed == 0
    whole = client.get(path)
    assert whole.headers["etag"] == etag
    assert len(whole.content) == 4 * 24**3
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert client.get(path, headers={"Range": "bytes=4-11"}).content == whole.content[4:12]
    assert client.head(path).headers["content-length"] == str(4 * 24**3)
    assert client.get(f"/v1/views/box/{LEARNED}/zarr.json").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "key", ["u/c/2/0/0", "u/c/0/0", "u/c/0/0/0/0", "u/c/-1/0/0", "u/c/00/0/0", "p/c/0/0/0", "u", "u/c/0/0/x", ".zgroup"]
)
def test_keys_that_are_not_there(client: TestClient, key: str) -> None:
    send(client, "box", dataset(noise(3, 12, 6, 6)))
    assert client.get(f"/v1/views/box/{LEARNED}/{key}").status_code == 404


@pytest.mark.parametrize(
    ("view", "status", "kind"),
    [
        (f"nothing/{LEARNED}", 404, "unknown-volume"),
        ("box/nothing", 404, "unknown-model"),
        (f"box/{LEARNED};boundary=slippery", 422, "unfit"),
        (f"box/{LEARNED};sides=open", 422, "unfit"),
        ("broken/trilinear-x4", 400, "malformed"),
    ],
)
def test_views_that_cannot_be(client: TestClient, view: str, status: int, kind: str) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    client.put("/v1/volumes/broken/zarr.json", content=b"\xff")
    response = client.get(f"/v1/views/{view}/zarr.json")
    assert (response.status_code, response.json()["type"]) == (status, f"urn:eddylift:problem:{kind}")


def test_bad_values_and_chunks_are_named_when_they_are_read(client: TestClient) -> None:
    velocity = noise(3, 6, 6, 6)
    velocity[1, 2, 3, 4] = np.nan
    send(client, "bad", dataset(velocity))
    response = client.get(f"/v1/views/bad/{LEARNED}/u/c/0/0/0")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "v"
    for name, key, asked in (("w", "w/c/0/0/0", "u/c/0/0/0"), ("viscosity", "viscosity/c/0", "zarr.json")):
        send(client, f"torn-{name}", dataset(noise(3, 6, 6, 6), viscosity=("profile", noise(6))))
        client.put(f"/v1/volumes/torn-{name}/{key}", content=b"torn")
        response = client.get(f"/v1/views/torn-{name}/{LEARNED}/{asked}")
        assert response.status_code == 400
        assert response.json()["errors"][0] == {
            "field": name, "value": "stored in chunks that do not decode", "expected": "whole chunks",
        }  # fmt: skip


def test_blocks_are_kept_up_to_the_budget_and_across_restarts(serve: Serve, tmp_path: Path) -> None:
    size = 4 * 24**3
    client = serve(data=tmp_path / "data", block=6, view_bytes=7 * size)
    send(client, "box", dataset(noise(3, 12, 12, 6)))
    views = parts(client).chunk_cache
    first = client.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0").content
    client.get(f"/v1/views/box/{LEARNED}/u/c/0/1/0")
    client.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0")
    client.get(f"/v1/views/box/{LEARNED}/u/c/1/1/0")  # nine chunks: two must go, not the one just read
    assert views.computed == 3
    kept = [path for path in (tmp_path / "data" / "views").rglob("*") if path.is_file()]
    assert len(kept) == 7
    assert client.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0").content == first
    assert views.computed == 3
    again = serve(data=tmp_path / "data", block=6, view_bytes=7 * size)
    assert again.get(f"/v1/views/box/{LEARNED}/u/c/0/0/0").content == first
    assert parts(again).chunk_cache.computed == 0


@pytest.mark.parametrize("full", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_older_blocks_are_let_go_and_all_are_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 12)))
    first, second = (f"/v1/views/box/{LEARNED}/u/c/0/0/{x}" for x in range(2))
    assert client.get(first).is_success

    def refuse(*_: object) -> None:
        raise OSError(full, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("service.volumes.chunk_cache.write_whole", refuse)
        answer = client.get(second)
    kept = parts(client).chunk_cache.store.root
    assert not [path for path in kept.rglob("*") if path.is_file()]
    assert client.get(second).content == answer.content


def test_browsers_of_allowed_origins_may_read(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path / "data", cors_origins=("https://lab.example",))
    allowed = client.get("/v1/models", headers={"Origin": "https://lab.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://lab.example"
    other = client.get("/v1/models", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_stored_block_is_read_without_reading_what_never_changes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    path = f"/v1/views/box/{LEARNED}/u/c/0/0/0"
    first = client.get(path).content
    monkeypatch.delattr("importlib.metadata.distribution")  # which parses the metadata of the package
    assert client.get(path).content == first


@pytest.mark.parametrize("left", [0, 100])
def test_a_kept_block_that_was_cut_short_is_computed_again(client: TestClient, tmp_path: Path, left: int) -> None:
    send(client, "box", dataset(noise(3, 6, 6, 6)))
    path = f"/v1/views/box/{LEARNED}/u/c/0/0/0"
    whole = client.get(path).content
    (kept,) = (tmp_path / "data" / "views").glob("*/u/c/0/0/0")
    os.truncate(kept, left)
    for computed in (2, 2):
        assert client.get(path).content == whole
        assert parts(client).chunk_cache.computed == computed
