"""A job that was cancelled or stopped goes on where it was, and computes nothing twice."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import numpy as np

from service.volumes.files import write_whole
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import LEARNED, ORDER, Gate, cancel_held, fine, finish, look, order, wanted
from tests.service.wire import dataset, noise, post, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from tests.service.conftest import Serve


def test_cancelling_stops_and_resuming_goes_on(
    client: TestClient, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    velocity = noise(3, 8, 8, 16)
    send(client, "box", dataset(velocity))
    gate = Gate(client, monkeypatch, 5)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 3)
    running = look(client, job)
    assert running["state"] == "running"
    assert running["voxels_per_second"] > 0
    assert running["seconds_left"] > 0
    for method, path in (("DELETE", "box"), ("PUT", "box/u/c/0/0/0"), ("DELETE", "fine"), ("DELETE", "fine/zarr.json")):
        assert client.request(method, f"/v1/volumes/{path}").status_code == 409
    busy = client.post("/v1/jobs", json=ORDER)
    assert (busy.status_code, busy.json()["detail"]) == (409, "another job uses fine")
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    stopped = parts(client).jobs.runner.executor.computed
    gate.open.set()
    assert post(client, velocity, LEARNED).is_success  # the device has gone on since
    assert parts(client).jobs.runner.executor.computed == stopped < 16
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 202
    finish(client, job)
    assert parts(client).jobs.runner.executor.computed == 16
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))
    again = order(client)  # everything is there
    assert finish(client, again)["blocks_done"] == 16
    assert parts(client).jobs.runner.executor.computed == 16


def test_a_job_of_what_is_no_more_is_not_resumed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from another source into blocks of the first, nor into a volume of somebody else's."""
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    gate = Gate(client, monkeypatch, 3)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)
    client.post(f"/v1/jobs/{job}/cancel")
    gate.open.set()
    client.delete("/v1/volumes/box")
    send(client, "box", dataset(noise(3, 8, 8, 8, seed=1)))
    refused = client.post(f"/v1/jobs/{job}/resume")
    assert (refused.status_code, look(client, job)["state"]) == (409, "cancelled")
    client.delete("/v1/volumes/fine")
    mine = send(client, "fine", dataset(noise(3, 4, 4, 4)))
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 409
    assert {key: client.get(f"/v1/volumes/fine/{key}").content for key in mine} == mine


def test_cancelling_waits_for_what_is_being_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is written into a target that was dropped since."""
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    writing, go_on = threading.Event(), threading.Event()
    begun, ended = [], []

    def slow(path: Path, content: bytes, spare: int) -> None:
        begun.append(path)
        if "/c/" in str(path):
            writing.set()
            go_on.wait(PATIENCE_S)
        write_whole(path, content, spare)
        ended.append(path)

    monkeypatch.setattr("service.volumes.local_storage.write_whole", slow)
    job = order(client)
    assert writing.wait(PATIENCE_S)
    assert cancel_held(client, job, go_on) in {"cancelled", "done"}
    assert begun == ended
    client.delete("/v1/volumes/fine")
    assert client.get("/v1/volumes/fine").status_code == 404


def test_cancelling_does_not_wait_until_all_blocks_are_looked_up(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an object store each of them takes a request."""
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    looking, go_on, looked = threading.Event(), threading.Event(), []

    def slow(*block: object) -> bool:
        looked.append(block)
        looking.set()
        return go_on.wait(PATIENCE_S)

    monkeypatch.setattr("service.jobs.fill.is_stored", slow)
    job = order(client)
    assert looking.wait(PATIENCE_S)
    assert cancel_held(client, job, go_on) == "cancelled"
    assert len(looked) == 1


def test_a_service_that_is_stopped_goes_on_at_the_next_start(
    serve: Serve, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4)
    velocity = noise(3, 8, 8, 16)
    send(client, "box", dataset(velocity))
    Gate(client, monkeypatch, 5)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 3)
    call_in_loop(client, parts(client).jobs.close)
    again = serve(data=tmp_path / "data", block=4)
    assert finish(again, job)["blocks_done"] == 16
    assert parts(again).jobs.runner.executor.computed <= 13
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_a_job_that_cannot_be_cancelled_at_once_is_cancelled_later(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last progress cannot be saved, as the disk is full."""
    monkeypatch.setattr("service.jobs.manager.POLL_S", 0.01)
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    gate = Gate(client, monkeypatch, 3)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)

    def full(*_: object) -> None:
        message = "database or disk is full"
        raise sqlite3.OperationalError(message)

    with monkeypatch.context() as patch:
        patch.setattr(parts(client).jobs.repository, "save_progress", full)
        patch.setattr(parts(client).jobs.repository, "mark", full)
        assert client.post(f"/v1/jobs/{job}/cancel").status_code == 503
    finish(client, job, "cancelled")
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    gate.open.set()
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)
