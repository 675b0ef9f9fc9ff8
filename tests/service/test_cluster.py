"""Jobs whose blocks are computed by a Dask cluster: the same numbers, whatever dies."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from distributed import LocalCluster

from tests.service.conftest import parts, wait_until
from tests.service.test_jobs import fine, finish, look, order, wanted
from tests.service.test_volumes import send
from tests.service.wire import dataset, noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue

    Serve = Callable[..., TestClient]
    Start = Callable[..., LocalCluster]

# Dask speaks of what it tidies up as it ends.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def start(catalogue: Catalogue, tmp_path: Path) -> Iterator[Start]:
    """Start a scheduler and two workers, which find the same data and weights."""
    environment = {
        "EDDYLIFT_WEIGHTS": str(catalogue.folder),
        "EDDYLIFT_DATA": str(tmp_path / "data"),
        "EDDYLIFT_DEVICE": "cpu",
        "EDDYLIFT_BLOCK": "4",
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as running:

        def run(port: int = 0, **changes: str) -> LocalCluster:
            cluster: LocalCluster = LocalCluster(
                n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, scheduler_port=port,
                env={**environment, **changes},
            )  # fmt: skip
            running.enter_context(cluster)
            return cluster

        yield run


def client_of(cluster: LocalCluster, serve: Serve, tmp_path: Path, **settings: Any) -> TestClient:  # noqa: ANN401
    return serve(data=tmp_path / "data", block=4, scheduler=cluster.scheduler_address, **settings)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_cluster_makes_what_a_request_is_answered(
    start: Start, serve: Serve, catalogue: Catalogue, tmp_path: Path, boundary: str
) -> None:
    client = client_of(start(), serve, tmp_path)
    velocity = noise(3, 5, 8, 9)
    send(client, "box", dataset(velocity).assign_attrs(boundary=boundary))
    done = finish(client, order(client))
    assert (done["blocks"], done["blocks_done"]) == (12, 12)
    found, expected = fine(tmp_path), wanted(catalogue, velocity, boundary)
    np.testing.assert_allclose(found, expected, atol=1e-5 * velocity.std())
    assert parts(client).jobs.computed == 0  # not here


def test_a_worker_of_other_settings_computes_nothing(start: Start, serve: Serve, tmp_path: Path) -> None:
    client = client_of(start(EDDYLIFT_BLOCK="8"), serve, tmp_path)
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    detail = finish(client, order(client), "failed")["detail"]
    assert detail == "a worker sees another box, has other weights of relaxed-isotropic-x4, or other settings"
    assert not list((tmp_path / "data" / "volumes" / "fine").rglob("u/c/*/*/*"))


def test_bad_values_fail_the_job_with_their_place(start: Start, serve: Serve, tmp_path: Path) -> None:
    client = client_of(start(), serve, tmp_path)
    velocity = noise(3, 8, 4, 4)
    velocity[2, 7, 1, 1] = np.nan
    send(client, "box", dataset(velocity))
    assert "w is nan at (z, y, x)" in finish(client, order(client), "failed")["detail"]


def test_a_scheduler_that_is_away_is_waited_for(
    start: Start, serve: Serve, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cluster.CONNECT_S", 0.3)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = serve(data=tmp_path / "data", block=4, scheduler=f"tcp://127.0.0.1:{port}")
    velocity = noise(3, 8, 8, 8)
    send(client, "box", dataset(velocity))
    job = order(client)
    time.sleep(1)
    assert (look(client, job)["state"], look(client, job)["blocks_done"]) == ("running", 0)
    start(port)
    finish(client, job)
    np.testing.assert_allclose(fine(tmp_path), wanted(catalogue, velocity), atol=1e-5 * velocity.std())


@pytest.mark.slow
def test_killed_at_any_moment_a_worker_costs_its_blocks_alone(
    start: Start, serve: Serve, catalogue: Catalogue, tmp_path: Path
) -> None:
    """Kill -9 at twenty moments of a seed; a new one takes its place each time."""
    cluster = start(EDDYLIFT_BLOCK="2", EDDYLIFT_BATCH_WAIT_MS="40")
    client = serve(data=tmp_path / "data", block=2, scheduler=cluster.scheduler_address)
    random = np.random.default_rng(11)
    velocity = noise(3, 16, 16, 16)
    send(client, "box", dataset(velocity))
    job = order(client)
    volume = tmp_path / "data" / "volumes" / "fine"
    seen: dict[Path, int] = {}
    killed = 0
    while killed < 20 and look(client, job)["state"] in {"queued", "running"}:
        time.sleep(random.uniform(0.1, 0.6))
        nannies = list(cluster.workers.values())
        process = nannies[int(random.integers(len(nannies)))].process
        if process is None or process.pid is None:
            continue
        os.kill(process.pid, signal.SIGKILL)
        killed += 1
        chunks = {path: path.stat().st_mtime_ns for path in volume.rglob("c/*/*/*") if ".part-" not in path.name}
        assert {path: chunks.get(path) for path in seen} == seen  # not written again
        assert {path.stat().st_size for path in chunks} <= {4 * 8**3}
        seen = chunks
    wait_until(lambda: look(client, job)["state"] not in {"queued", "running"}, 120)
    assert finish(client, job)["blocks_done"] == 8**3
    assert killed > 5
    np.testing.assert_allclose(fine(tmp_path), wanted(catalogue, velocity, block=2), atol=1e-5 * velocity.std())
