"""Services that share a data folder: each job is done by one of them, and what one leaves another takes up."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import httpx2
import numpy as np
import pytest
import uvicorn

from service.jobs.lease import ReplicaLease
from service.jobs.manager import MOST_DEATHS, JobManager
from service.jobs.repository import JobRepository
from service.jobs.spec import JobSpec
from service.runtime.server import Server
from service.settings import CHECKOUT
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import LEARNED, ORDER, Gate, fine, finish, look, order, wanted
from tests.service.servers import ServiceProcess
from tests.service.wire import NPY, dataset, noise, npy, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from service.jobs.repository import Job

    Serve = Callable[..., TestClient]


def test_a_replica_lives_until_its_process_does_not(tmp_path: Path) -> None:
    one, other = ReplicaLease(tmp_path), ReplicaLease(tmp_path)
    assert not other.is_alive(one.id)
    one.begin()
    assert other.is_alive(one.id)
    one.end()
    assert not other.is_alive(one.id)
    code = (
        "import sys, time; from pathlib import Path; from service.jobs.lease import ReplicaLease\n"
        f"one = ReplicaLease(Path({str(tmp_path)!r})); one.begin(); print(one.id, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            assert other.is_alive(name)
        finally:
            process.kill()
    assert not other.is_alive(name)
    assert not (tmp_path / name).exists()


def test_a_replica_that_was_taken_for_dead_is_alive_again(tmp_path: Path) -> None:
    """As if NFS had given up its lock while it was cut off, so that the other one removed its file."""
    one, other = ReplicaLease(tmp_path), ReplicaLease(tmp_path)
    one.begin()
    (tmp_path / one.id).unlink()
    assert not other.is_alive(one.id)
    with one.exclusive():
        assert other.is_alive(one.id)
    one.end()
    assert not other.is_alive(one.id)


def test_one_at_a_time(tmp_path: Path) -> None:
    replicas = [ReplicaLease(tmp_path) for _ in range(4)]
    inside, most = 0, 0
    counting = threading.Lock()

    def enter(lease: ReplicaLease) -> None:
        nonlocal inside, most
        for _ in range(5):
            with lease.exclusive():
                with counting:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.002)
                with counting:
                    inside -= 1

    with ThreadPoolExecutor(4) as people:
        list(people.map(enter, replicas))
    assert most == 1
    for lease in replicas:
        lease.end()


@pytest.fixture
def pair(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TestClient, TestClient]:
    monkeypatch.setattr("service.jobs.manager.POLL_S", 0.05)
    return serve(data=tmp_path / "data", block=4), serve(data=tmp_path / "data", block=4)


def test_every_replica_tells_of_a_job_and_can_cancel_it(
    pair: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    send(one, "box", dataset(noise(3, 8, 8, 16)))
    gate = Gate(one, monkeypatch, 5)
    job = order(one)
    wait_until(lambda: look(other, job)["blocks_done"] >= 3)
    assert look(other, job)["state"] == "running"
    assert other.post("/v1/jobs", json=ORDER).status_code == 409
    assert other.delete("/v1/volumes/box").status_code == 409
    assert other.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert look(one, job)["state"] == "cancelled"
    gate.open.set()
    other.post(f"/v1/jobs/{job}/resume")  # by the other one now
    finish(one, job)
    assert parts(one).jobs.runner.executor.computed + parts(other).jobs.runner.executor.computed == 16
    assert parts(other).jobs.runner.executor.computed > 0


def test_of_two_orders_to_two_replicas_one_wins(pair: tuple[TestClient, TestClient]) -> None:
    send(pair[0], "box", dataset(noise(3, 8, 8, 8)))
    orders = [(client, {**ORDER, "model": model}) for client in pair for model in (LEARNED, "trilinear-x4")] * 2
    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda each: each[0].post("/v1/jobs", json=each[1]), orders))
    assert {answer.status_code for answer in answers} == {202, 409}
    assert len({answer.json()["model"] for answer in answers if answer.status_code == 202}) == 1


def test_what_a_replica_hands_back_another_takes_up(
    pair: tuple[TestClient, TestClient], catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    velocity = noise(3, 8, 8, 16)
    send(one, "box", dataset(velocity))
    Gate(one, monkeypatch, 5)
    job = order(one)
    wait_until(lambda: look(one, job)["blocks_done"] >= 3)
    call_in_loop(one, parts(one).lifecycle.leave)
    ready = one.get("/health/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "the service is shutting down")
    refused = one.post(f"/v1/upscale?model={LEARNED}", content=npy(velocity), headers={"Content-Type": NPY})
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    finish(other, job)
    assert parts(other).jobs.runner.executor.computed >= 3
    assert (
        parts(one).jobs.runner.executor.computed + parts(other).jobs.runner.executor.computed <= 17
    )  # one may have been under way
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_a_job_that_another_replica_took_up_is_left_to_it(
    pair: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    send(one, "box", dataset(noise(3, 8, 8, 16)))
    Gate(one, monkeypatch, 5)
    job = order(one)
    wait_until(lambda: look(one, job)["blocks_done"] >= 3)
    parts(one).jobs.repository.take_up(job, parts(other).jobs.lease.id, 0)
    wait_until(lambda: not parts(one).jobs._running)
    finish(other, job)


def test_how_a_job_ended_is_recorded_by_the_replica_that_does_it(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was cut off, so that another one took the job up, leaves its state and its temporary answer alone."""
    jobs, other = parts(client).jobs, ReplicaLease(tmp_path)
    monkeypatch.setattr(jobs.lease, "is_alive", lambda _: True)

    async def lose(job: Job, *_: object) -> None:
        (jobs.runner._opener.storages.scratch(job.id).path / "u").mkdir(parents=True)
        jobs.repository.take_up(job.id, other.id, 0)

    monkeypatch.setattr(jobs.runner, "_do", lose)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    job = order(client)
    wait_until(lambda: not jobs._running)
    assert look(client, job)["state"] == "queued"
    assert jobs.runner._opener.storages.scratch(job).path.exists()


@pytest.mark.slow
def test_upon_sigterm_what_was_admitted_is_answered_and_the_rest_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    content, headers = npy(noise(3, 8, 8, 8)), {"Content-Type": NPY}
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[:100]
        assert go_on.wait(PATIENCE_S)
        yield content[100:]

    with (
        ServiceProcess(catalogue.folder, data=tmp_path, drain_s=PATIENCE_S, body_idle_s=PATIENCE_S) as service,
        httpx2.Client(base_url=service.address, timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(1) as other,
    ):
        path = f"/v1/upscale?model={LEARNED}"
        admitted = other.submit(client.post, path, content=slowly(), headers=headers)
        wait_until(lambda: "eddylift_open_requests 1.0" in client.get("/metrics").text)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/health/ready").status_code == 503)
        assert client.get("/health/live").status_code == 200
        assert client.post(path, content=content, headers=headers).status_code == 503
        go_on.set()
        assert admitted.result().status_code == 200
        service.process.send_signal(signal.SIGTERM)  # a second one ends the drain
        assert service.process.wait(PATIENCE_S) == 0


def test_what_is_to_be_cancelled_still_is_once_it_runs(tmp_path: Path) -> None:
    repository = JobRepository(tmp_path / "jobs.sqlite")
    job = repository.add(JobSpec(source="box", target="fine", model=LEARNED), "me")
    repository.stop(job.id)
    repository.mark(job.id, "running")
    assert repository.unfinished()[0].stopping
    repository.mark(job.id, "cancelled")
    assert not repository.all()[0].stopping
    assert not repository.unfinished()


def test_the_list_can_be_shared_by_machines(tmp_path: Path) -> None:
    repository = JobRepository(tmp_path / "jobs.sqlite")
    with closing(sqlite3.connect(repository.path)) as before:
        before.execute("PRAGMA journal_mode = WAL")
    repository.add(JobSpec(source="box", target="fine", model=LEARNED), "me")
    with closing(sqlite3.connect(repository.path)) as after:
        assert after.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_job_during_which_the_device_fails_counts_as_one_that_the_service_died_of(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would otherwise end one service after the other; it is done if another one can."""
    ended = threading.Event()
    monkeypatch.setattr("os.kill", lambda *_: ended.set())
    client = serve(data=tmp_path / "data", block=4)
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    device = parts(client).engine.batcher.device
    monkeypatch.setattr(device, "launch", lambda *_: 1 / 0)
    monkeypatch.setattr(device, "works", lambda: False)
    job = order(client)
    assert ended.wait(PATIENCE_S)
    wait_until(lambda: client.get("/health/live").status_code == 503)
    call_in_loop(client, parts(client).lifecycle.leave)
    jobs = parts(client).jobs
    left = jobs.repository.get(job)
    assert left is not None
    assert (left.state, left.owner, jobs.lease.is_alive(jobs.lease.id)) == ("running", jobs.lease.id, False)
    finish(serve(data=tmp_path / "data", block=4), job)


def test_a_service_that_is_about_to_end_takes_no_order(pair: tuple[TestClient, TestClient]) -> None:
    one, other = pair
    send(one, "box", dataset(noise(3, 8, 8, 8)))
    call_in_loop(one, parts(one).lifecycle.leave)
    refused = one.post("/v1/jobs", json=ORDER)
    assert (refused.status_code, refused.json()["detail"]) == (503, "the service is shutting down")
    finish(other, order(other))


def test_upon_an_interrupt_those_who_watch_are_let_go(pair: tuple[TestClient, TestClient]) -> None:
    service = parts(pair[0])
    server = Server(uvicorn.Config(pair[0].app), service.lifecycle, 1.0)
    server.handle_exit(signal.SIGINT, None)
    assert service.lifecycle.leaving
    assert server.should_exit


def test_a_job_over_which_services_die_is_given_up(tmp_path: Path) -> None:
    repository = JobRepository(tmp_path / "jobs.sqlite")
    job = repository.add(JobSpec(source="box", target="fine", model=LEARNED), "one that died")

    def take_up() -> tuple[str, int]:
        """A replica takes the job up, and dies."""
        lease = ReplicaLease(tmp_path / "replicas")
        manager = JobManager(
            repository, lease, cast("Any", None), cast("Any", None), storages=cast("Any", None),
            lifecycle=cast("Any", None), threads=cast("Any", None), most=1,
        )  # fmt: skip
        manager._claim({})
        lease.end()
        found = repository.get(job.id)
        assert found is not None
        return found.state, found.deaths

    assert take_up() == ("queued", 0)  # it had not begun, and is no reason to die
    for deaths in range(1, MOST_DEATHS):
        repository.mark(job.id, "running")
        assert take_up() == ("queued", deaths)
    repository.mark(job.id, "running")
    repository.has_advanced(job.id)  # it was not the job
    assert take_up() == ("queued", 1)
    repository.mark(job.id, "running")
    repository.assign(job.id, None)  # handed back
    assert take_up() == ("queued", 1)
    repository.mark(job.id, "running")
    assert take_up() == ("queued", 2)
    repository.mark(job.id, "running")
    assert take_up() == ("failed", 2)
    found = repository.get(job.id)
    assert found is not None
    assert found.detail == "the service stopped 3 times during this job, without a further block done"
