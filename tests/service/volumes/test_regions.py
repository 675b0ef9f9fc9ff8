"""Blocks that are computed together: each once, with the numbers of the undivided volume."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from models.blocks import PERIODIC, parse_boundary
from models.streaming import Stream
from models.superresolution import upscale
from service.engine.regions import Region
from service.jobs.checks import open_view
from service.jobs.dask_worker import Task, Worker, fill_blocks
from service.jobs.spec import JobSpec
from service.volumes.blocks import BlockComputer
from service.volumes.regions import region_of, regions
from service.volumes.view import BlockIndex, View
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import DEFAULT, LEARNED, THREE, chunks, fine, finish, order, wanted
from tests.service.wire import dataset, from_npy, noise, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from service.volumes.regions import Blocks
    from tests.service.conftest import Serve

CELLS = (14, 9, 12)


def view_of(boundary: str = "periodic") -> View:
    source, card = SimpleNamespace(cells=CELLS, levels=1), SimpleNamespace(frames=1, halo=4)
    return View(source, card, parse_boundary(boundary), 4)  # type: ignore[arg-type]


def region_with(view: View, blocks: Blocks) -> Region:
    return Region(view.layout, view.edge, tuple(index.block for index in blocks))


@pytest.mark.parametrize(
    ("edge", "least", "expected"),
    [(1, 1, 4 * 3 * 3), (8, 1, 2 * 2 * 2), (9, 1, 2 * 1 * 2), (12, 1, 2), (14, 1, 1), (100, 8, 8), (100, 1000, 36)],
)
def test_each_block_is_in_one_region(edge: int, least: int, expected: int) -> None:
    view = view_of()
    found = list(regions(view, edge, least))
    assert len(found) == expected
    blocks = [index for region in found for index in region]
    assert len(blocks) == len(set(blocks)) == math.prod(view.layout.counts)
    assert all(max(region_with(view, blocks).box.shape) <= max(edge, 4) for blocks in found)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
@pytest.mark.parametrize("edge", [9, 100])
def test_slabs_follow_each_other_through_all_layers(boundary: str, edge: int) -> None:
    """No plane is given twice."""
    view = view_of(boundary)
    for blocks in regions(view, edge):
        region = region_with(view, blocks)
        given, reached, done = list[int](), region.box.start[0], list[BlockIndex]()
        for layer, finished in region.layers():
            for slab in region.slabs(layer):
                assert (slab.start, slab.stop) == (
                    (reached, *region.box.start[1:]),
                    (slab.stop[0], *region.box.stop[1:]),
                )
                reached = slab.stop[0]
                planes = region.planes(slab)
                given += range(planes.start, planes.stop)
            done += [BlockIndex(0, number) for number in finished]
            assert all(view.layout.at(index.block).stop[0] <= reached for index in done)
        assert given == list(range(region.box.shape[0] + 2 * view.card.halo))
        assert (reached, tuple(done)) == (region.box.stop[0], blocks)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_job_of_regions_makes_what_blocks_make(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, boundary: str
) -> None:
    client = serve(data=tmp_path / "data", block=4, region=12)
    velocity = noise(3, *CELLS)
    send(client, "box", dataset(velocity).assign_attrs(boundary=boundary))
    done = finish(client, order(client))
    assert (done["blocks"], done["blocks_done"]) == (36, 36)
    assert computed(client) == math.prod(CELLS)
    agrees(fine(tmp_path), wanted(catalogue, velocity, boundary), velocity)


def test_three_frames_and_the_expected_error(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    client = serve(data=tmp_path / "data", block=4, region=100)
    series = noise(3, 3, 14, 8, 8)
    send(client, "box", dataset(series))
    finish(client, order(client, model=THREE))
    agrees(fine(tmp_path)[:, 0], wanted(catalogue, series, model=THREE), series)
    send(client, "middle", dataset(series[1]))
    finish(client, order(client, source="middle", target="told", model=DEFAULT, error=True))
    expected = upscale(catalogue.load(DEFAULT), series[1], PERIODIC, error=True)
    agrees(fine(tmp_path, "told"), expected[:3], series)
    agrees(stored_error(tmp_path / "data" / "volumes" / "told"), expected[3], series)


def stored_error(volume: Path) -> np.ndarray:
    with xr.open_zarr(volume, consolidated=True) as found:
        return np.asarray(found["error"].values)


def test_what_is_missing_of_a_region_is_computed_alone(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    client = serve(data=tmp_path / "data", block=4, region=100)
    velocity = noise(3, *CELLS)
    send(client, "box", dataset(velocity))
    finish(client, order(client))
    volume = tmp_path / "data" / "volumes" / "fine"
    written = chunks(volume)
    # All of the second layer but one block, and a block of the fourth.
    lost = {path for path in written if path.parts[-3] == "1" and path.parts[-2:] != ("1", "1")}
    lost |= {path for path in written if path.parts[-3:] == ("3", "0", "2")}
    for path in lost:
        path.unlink()
    before = computed(client)
    assert finish(client, order(client))["blocks_done"] == 36
    assert computed(client) - before == (14 - 4) * 9 * 12
    assert {path for path, when in chunks(volume).items() if written[path] != when} == lost
    agrees(fine(tmp_path), wanted(catalogue, velocity), velocity)


def test_a_worker_computes_what_is_missing_together(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4)
    service, velocity = parts(client), noise(3, *CELLS)
    blocks = BlockComputer(service.engine, service.threads)
    worker = Worker(service.engine, service.opener, blocks, service.threads)
    monkeypatch.setattr("service.jobs.dask_worker.worker_parts", lambda: worker)
    send(client, "box", dataset(velocity))
    spec = JobSpec(source="box", target="fine", model=LEARNED)
    view, target = open_view(spec, service.engine.registry, service.opener), service.opener.storages.find("fine")
    target.begin(view.documents)
    (whole,) = regions(view, 100)
    call_in_loop(client, fill_blocks, Task.of(view, target), whole[:9])  # the first layer
    call_in_loop(client, fill_blocks, Task.of(view, target), whole)
    assert computed(client) == velocity[0].size
    target.finish()
    agrees(fine(tmp_path), wanted(catalogue, velocity), velocity)


def test_blocks_that_do_not_fit_together_are_computed_one_by_one(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4, region=100)
    device = parts(client).engine.batcher.device
    launch = device.launch

    def cramped(compute: Any, blocks: list[np.ndarray], circular: Any) -> Any:  # noqa: ANN401
        if isinstance(compute, Stream) and blocks[0].shape[2] < 2 * compute.model.halo:
            raise MemoryError  # at the second slab
        return launch(compute, blocks, circular)

    monkeypatch.setattr(device, "launch", cramped)
    velocity = noise(3, *CELLS)
    send(client, "box", dataset(velocity))
    assert finish(client, order(client))["blocks_done"] == 36
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_others_are_computed_between_the_slabs_of_a_region(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4, region=100)
    batcher = parts(client).engine.batcher
    computing, go_on, computed = threading.Event(), threading.Event(), list[bool]()
    forward = batcher._forward

    def hold(key: Any, batch: list[Any]) -> None:  # noqa: ANN401
        computing.set()
        assert go_on.wait(PATIENCE_S)
        computed.append(batch[0].request.background)
        forward(key, batch)

    monkeypatch.setattr(batcher, "_forward", hold)
    velocity = noise(3, *CELLS)
    send(client, "box", dataset(velocity))
    job = order(client)
    assert computing.wait(PATIENCE_S)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, client, noise(3, 4, 4, 4), LEARNED)
        wait_until(lambda: any(not each.background for queue in batcher.queue._queues for each in queue))
        go_on.set()
        assert answer.result().is_success
    assert computed[:2] == [True, False]
    finish(client, job)
    assert len(computed) > 3
    agrees(fine(tmp_path), wanted(catalogue, velocity), velocity)


def test_a_small_volume_is_looked_at_as_a_whole(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    """Two blocks of 5 x 8 x 4 cells would cost more with their halos of 4 than all of it, which has none."""
    client = serve(data=tmp_path / "data", block=8, region=100)
    velocity = noise(3, 10, 8, 4)
    send(client, "box", dataset(velocity))
    content = client.get(f"/v1/views/box/{LEARNED}/u/c/1/0/0").content
    agrees(np.frombuffer(content, np.float32).reshape(20, 32, 16), wanted(catalogue, velocity)[0, 20:], velocity)
    client.get(f"/v1/views/box/{LEARNED}/v/c/0/0/0")
    assert computed(client) == velocity[0].size
    assert parts(client).chunk_cache.computed == 2


def test_a_small_volume_with_ends_is_looked_at_in_slabs(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    """It costs more than a block of a large volume, and less than two."""
    client = serve(data=tmp_path / "data", block=8, region=100)
    velocity = noise(3, 12, 8, 10)
    send(client, "box", dataset(velocity).assign_attrs(boundary="open"))
    content = client.get(f"/v1/views/box/{LEARNED}/u/c/1/0/1").content
    expected = wanted(catalogue, velocity, "open")
    agrees(np.frombuffer(content, np.float32).reshape(24, 32, 20), expected[0, 24:, :, 20:], velocity)
    assert parts(client).chunk_cache.computed == 4
    assert computed(client) == velocity[0].size


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_request_is_computed_in_regions(serve: Serve, catalogue: Catalogue, boundary: str) -> None:
    client = serve(block=4, region=12)
    series = noise(2, 3, *CELLS)
    answer = from_npy(post(client, series, LEARNED, boundary).content)
    for found, velocity in zip(answer, series, strict=True):
        agrees(found, wanted(catalogue, velocity, boundary), velocity)


def test_a_request_whose_slabs_do_not_fit_is_computed_block_by_block(
    serve: Serve, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(block=4, region=100)
    device = parts(client).engine.batcher.device
    launch = device.launch

    def cramped(compute: Any, blocks: list[np.ndarray], circular: Any) -> Any:  # noqa: ANN401
        if isinstance(compute, Stream):
            raise MemoryError  # noqa: TRY004 not for its type
        return launch(compute, blocks, circular)

    monkeypatch.setattr(device, "launch", cramped)
    velocity = noise(3, *CELLS)
    assert np.array_equal(from_npy(post(client, velocity, LEARNED).content), wanted(catalogue, velocity))


def test_a_block_of_a_large_volume_is_looked_at_alone() -> None:
    assert region_of(view_of(), BlockIndex(0, (1, 2, 0)), 100) == (BlockIndex(0, (1, 2, 0)),)


def computed(client: TestClient) -> float:
    """Coarse cells that the learned models have computed."""
    voxels = parts(client).metrics.registry.get_sample_value("eddylift_fine_voxels_total", {"model": LEARNED})
    return (voxels or 0) / 64


def agrees(found: np.ndarray, expected: np.ndarray, velocity: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * velocity.std())
