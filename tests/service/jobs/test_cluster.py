"""Jobs whose blocks are computed by a Dask cluster: the same numbers, whatever dies."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, contextmanager
from multiprocessing import forkserver
from queue import SimpleQueue
from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest
import torch
from distributed import LocalCluster

from service.jobs.dask_worker import worker_parts
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import chunks, fine, finish, look, order, stored, wanted, whole_blocks
from tests.service.servers import free_port
from tests.service.wire import dataset, noise, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]

KILLS = int(os.environ.get("KILLS", "4"))
# Dask speaks of what it tidies up as it ends.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@contextmanager
def running(
    catalogue: Catalogue, data: Path, port: int = 0, workers: int = 2, contact: str | None = None
) -> Iterator[LocalCluster]:
    """A scheduler and workers, which find the same data and weights; ``contact`` is the address that a worker tells."""
    environment = {
        "EDDYLIFT_WEIGHTS": str(catalogue.folder),
        "EDDYLIFT_DATA": str(data),
        "EDDYLIFT_DEVICE": "cpu",
        "EDDYLIFT_BLOCK": "4",
        "EDDYLIFT_BATCH_WAIT_MS": "40",  # so that jobs are not over before workers are killed
    }
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=2,
        dashboard_address="127.0.0.1:0",
        scheduler_port=port,
        env=environment,
        contact_address=contact,
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    """Fork workers from a process that has imported their libraries, which takes each of them seconds otherwise."""
    with_libraries = forkserver.ForkServer()  # beside the one whose children read files; it ends with this process
    with_libraries.set_forkserver_preload(["distributed", "service.jobs.dask_worker"])
    settings = {"distributed.worker.multiprocessing-method": "forkserver"}
    with dask.config.set(settings), pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "connect_to_new_process", with_libraries.connect_to_new_process)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def cluster(catalogue: Catalogue, data: Path) -> Iterator[LocalCluster]:
    with running(catalogue, data) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster, serve: Serve, data: Path) -> TestClient:
    return serve(data=data, block=4, scheduler=cluster.scheduler_address)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_cluster_makes_what_a_request_is_answered(
    client: TestClient, catalogue: Catalogue, data: Path, boundary: str
) -> None:
    velocity = noise(3, 5, 8, 9)
    name = boundary.replace(",", "-")
    send(client, name, dataset(velocity).assign_attrs(boundary=boundary))
    done = finish(client, order(client, source=name, target=f"{name}-fine"))
    assert (done["blocks"], done["blocks_done"]) == (12, 12)
    found, expected = stored(data, f"{name}-fine"), wanted(catalogue, velocity, boundary)
    np.testing.assert_allclose(found, expected, atol=1e-5 * velocity.std())
    assert parts(client).jobs.runner.executor.computed == 0  # not here


def test_a_worker_of_other_settings_computes_nothing(cluster: LocalCluster, serve: Serve, data: Path) -> None:
    client = serve(data=data, block=8, scheduler=cluster.scheduler_address)
    send(client, "other", dataset(noise(3, 8, 8, 8)))
    detail = finish(client, order(client, source="other", target="other-fine"), "failed")["detail"]
    differs = "other, the weights or the precision of relaxed-isotropic-x4, or settings"
    assert detail == f"a Dask worker differs from the service: in {differs}"
    assert not list((data / "volumes" / "other-fine").rglob("u/c/*/*/*"))


def test_an_answer_that_is_compared_alone_is_not_kept(client: TestClient, data: Path) -> None:
    send(client, "coarse", dataset(noise(3, 8, 8, 8)).drop_vars(["z", "y", "x"]))
    send(client, "true", dataset(noise(3, 32, 32, 32)).drop_vars(["z", "y", "x"]))
    done = finish(client, order(client, source="coarse", target=None, reference="true"))
    assert done["report"]["metrics"]["mae"] > 0
    wait_until(lambda: not list((data / "scratch").iterdir()))


def test_bad_values_fail_the_job_with_their_place(client: TestClient) -> None:
    velocity = noise(3, 8, 4, 4)
    velocity[2, 4, 1, 1] = np.nan  # at an end it would be found at once, as ends are compared
    send(client, "bad", dataset(velocity))
    detail = finish(client, order(client, source="bad", target="bad-fine"), "failed")["detail"]
    assert "w: nan at (z, y, x)" in detail


def test_a_scheduler_that_is_away_is_waited_for_and_its_worker_may_be_out_of_reach(
    serve: Serve,
    tmp_path: Path,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("service.jobs.dask_executor.CONNECT_S", 0.1)
    port = free_port()
    client = serve(data=tmp_path / "data", block=4, scheduler=f"tcp://127.0.0.1:{port}")
    velocity = noise(3, 8, 8, 8)
    send(client, "box", dataset(velocity))
    job = order(client)
    wait_until(lambda: "does not answer" in caplog.text)
    assert (look(client, job)["state"], look(client, job)["blocks_done"]) == ("running", 0)
    # Nobody listens at its address, as at that of a worker behind NAT.
    with running(catalogue, tmp_path / "data", port, workers=1, contact=f"tcp://127.0.0.1:{free_port()}"):
        finish(client, job)
        cluster = parts(client).jobs.runner.executor
        assert cluster is not None
        call_in_loop(client, cluster.close)
    np.testing.assert_allclose(fine(tmp_path), wanted(catalogue, velocity), atol=1e-5 * velocity.std())


@pytest.mark.parametrize("away", [True, False])
def test_a_job_that_no_worker_takes_fails_and_says_so(
    serve: Serve, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, *, away: bool
) -> None:
    monkeypatch.setattr("service.jobs.dask_executor.CONNECT_S", 0.1)
    monkeypatch.setattr("service.jobs.dask_executor.PATIENCE_S", 1)
    with ExitStack() as kept:
        port = free_port()
        if not away:
            kept.enter_context(running(catalogue, tmp_path / "data", port, workers=0))
        client = serve(data=tmp_path / "data", block=4, scheduler=f"tcp://127.0.0.1:{port}")
        send(client, "box", dataset(noise(3, 4, 4, 4)))
        detail = finish(client, order(client), "failed")["detail"]
        call_in_loop(client, parts(client).jobs.runner.executor.close)
    assert detail == f"for 1 s there was no worker at tcp://127.0.0.1:{port}; with one, the job can be resumed"


def test_a_worker_computes_with_the_threads_of_its_settings(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with one, as Dask tells PyTorch."""
    for name, value in {"WEIGHTS": catalogue.folder, "DATA": tmp_path, "DEVICE": "cpu", "THREADS": 3}.items():
        monkeypatch.setenv(f"EDDYLIFT_{name}", str(value))
    told = SimpleQueue[int]()
    monkeypatch.setattr(torch, "set_num_threads", told.put)
    monkeypatch.setattr("service.jobs.dask_worker.keep_tidy", lambda: None)  # it would change this process
    worker = worker_parts.__wrapped__()
    try:
        assert told.get(timeout=PATIENCE_S) == 3
    finally:
        worker.engine.batcher.close()


@pytest.mark.slow
def test_killed_at_any_moment_a_worker_costs_its_blocks_alone(
    cluster: LocalCluster, client: TestClient, catalogue: Catalogue, data: Path
) -> None:
    """By kill -9; a new one takes its place each time."""
    random = np.random.default_rng(11)
    velocity = noise(3, 20, 20, 20)
    send(client, "large", dataset(velocity))
    job = order(client, source="large", target="large-fine")
    volume = data / "volumes" / "large-fine"
    seen: dict[Path, int] = {}
    for _ in range(KILLS):
        enough = len(chunks(volume)) + random.integers(1, 300 // KILLS)
        wait_until(lambda enough=enough: len(chunks(volume)) >= enough)  # type: ignore[misc]
        kill_one(cluster, random)
        written = chunks(volume)
        assert {path: written.get(path) for path in seen} == seen  # not written again
        assert {path.stat().st_size for path in written} <= {4 * 16**3}
        seen = whole_blocks(written)
    assert finish(client, job)["blocks_done"] == 5**3
    np.testing.assert_allclose(stored(data, "large-fine"), wanted(catalogue, velocity), atol=1e-5 * velocity.std())


def kill_one(cluster: LocalCluster, random: np.random.Generator) -> None:
    """Kill a worker that lives."""

    def alive() -> list[int]:
        processes = [nanny.process for nanny in cluster.workers.values()]
        return [process.pid for process in processes if process and process.pid]

    wait_until(lambda: bool(alive()))
    os.kill(int(random.choice(alive())), signal.SIGKILL)
