"""The list of jobs, and what is tidied up after them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from pydantic import BaseModel

from service.api.schemas import Jobs
from service.jobs.lease import ReplicaLease
from service.jobs.repository import JobRepository
from service.jobs.spec import JobSpec
from service.runtime.file_lock import locked
from service.volumes.local_storage import LocalStorage
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import LEARNED, ORDER, finish, order
from tests.service.wire import dataset, noise, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fastapi.testclient import TestClient

    from tests.service.conftest import Serve


def test_an_answer_that_was_left_by_a_job_that_is_done_is_dropped(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may take long: other services can change the list of jobs meanwhile."""
    drop = LocalStorage.drop

    def dropped(self: LocalStorage, stopped: threading.Event | None = None) -> None:
        with locked(tmp_path / "replicas" / "alone"):
            drop(self, stopped)

    monkeypatch.setattr(LocalStorage, "drop", dropped)
    repository, scratch = JobRepository(tmp_path / "jobs.sqlite"), tmp_path / "scratch"
    done, failed = (
        repository.add(JobSpec(source="box", target=None, model=LEARNED, reference="true"), "me") for _ in range(2)
    )
    repository.mark(done.id, "done")
    repository.mark(failed.id, "failed")
    for job in (done, failed):
        (scratch / job.id / "u").mkdir(parents=True)
    serve(data=tmp_path)
    wait_until(lambda: not (scratch / done.id).exists())
    assert (scratch / failed.id).exists()


def test_jobs_that_ended_long_ago_are_forgotten_with_their_keys(serve: Serve, tmp_path: Path) -> None:
    repository, scratch = JobRepository(tmp_path / "jobs.sqlite"), tmp_path / "scratch"
    old, new, waiting = (
        repository.add(JobSpec(source=LEARNED, target=None, model=LEARNED, reference="true"), "me", key)
        for key in "abc"
    )
    repository.mark(old.id, "failed")
    repository.mark(new.id, "cancelled")
    repository.forget(time.time() - 60)
    assert len(repository.all()) == 3
    with sqlite3.connect(tmp_path / "jobs.sqlite") as connection:
        connection.execute("UPDATE orders SET created = created - 1e6")
        for job, days in ((old, 11.5), (new, 10.5)):
            connection.execute("UPDATE orders SET ended = ended - ? WHERE id = ?", (86_400 * days, job.id))
    for job in (old, new):
        (scratch / job.id / "u").mkdir(parents=True)
    (scratch / ".part-new").mkdir()
    client = serve(data=tmp_path, keep_days=11)
    wait_until(lambda: not (scratch / old.id).exists())
    assert {job["id"] for job in client.get("/v1/jobs").json()["jobs"]} == {new.id, waiting.id}
    assert [repository.keyed(key) is not None for key in "abc"] == [False, True, True]
    assert (scratch / new.id).exists()
    assert (scratch / ".part-new").exists()


def test_a_list_can_be_limited_to_the_newest_and_those_that_have_not_ended(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = parts(client).jobs
    monkeypatch.setattr(jobs.lease, "is_alive", lambda _: True)  # of the other one that does them
    spec = JobSpec(source="box", reference="true", model=LEARNED)
    waiting, *ended = (jobs.repository.add(spec, "other").id for _ in range(5))
    for job in ended:
        jobs.repository.mark(job, "done")
    newest = ended[::-1]
    for limit, wanted in (("?limit=2", [*newest[:2], waiting]), ("", [*newest, waiting])):
        assert [job["id"] for job in client.get(f"/v1/jobs{limit}").json()["jobs"]] == wanted
    for number in (0, 2**63):  # SQLite has none from there on
        assert client.get(f"/v1/jobs?limit={number}").status_code == 422


def test_a_long_list_is_written_beside_the_event_loop(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, written = parts(client).jobs.repository, set()
    repository.mark(repository.add(JobSpec(source="box", reference="true", model=LEARNED), "other").id, "done")

    def dump(jobs: Jobs) -> str:
        written.add(threading.get_ident())
        return BaseModel.model_dump_json(jobs)

    monkeypatch.setattr(Jobs, "model_dump_json", dump)
    (job,) = client.get("/v1/jobs").json()["jobs"]
    assert job["state"] == "done"
    assert written
    assert call_in_loop(client, threading.get_ident) not in written


def test_what_a_service_of_another_version_wrote_is_left_out(serve: Serve, tmp_path: Path) -> None:
    repository = JobRepository(tmp_path / "jobs.sqlite")
    spec = JobSpec(source="box", target="fine", model=LEARNED)
    done, paused, newer = (repository.add(spec, "me").id for _ in range(3))
    changes = {
        "state": ("paused", paused),
        "asked": (json.dumps({**spec.model_dump(exclude_defaults=True), "tiles": 3}), newer),
        "progress": (json.dumps({"stage": "computing", "tiles": 3}), done),
    }
    with sqlite3.connect(repository.path) as connection:
        for column, values in changes.items():
            connection.execute(f"UPDATE orders SET {column} = ? WHERE id = ?", values)  # noqa: S608 our own names
    repository.mark(done, "done", report={"tiles": 3})
    scratch = tmp_path / "scratch"
    for job in (done, paused, newer):
        (scratch / job).mkdir(parents=True)
    client = serve(data=tmp_path)
    (found,) = client.get("/v1/jobs").json()["jobs"]
    assert (found["id"], found["stage"], found["blocks_done"], found["report"]) == (done, "computing", 0, None)
    assert client.get(f"/v1/jobs/{newer}").status_code == 404
    metrics = client.get("/metrics").text
    assert 'eddylift_jobs{state="queued"} 1.0' in metrics
    assert 'eddylift_jobs{state="done"} 1.0' in metrics
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client))
    wait_until(lambda: not (scratch / done).exists())
    assert {path.name for path in scratch.iterdir()} == {paused, newer}


def test_volumes_of_a_job_of_another_version_are_kept_while_its_service_lives(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    repository, lease = JobRepository(tmp_path / "jobs.sqlite"), ReplicaLease(tmp_path / "replicas")
    lease.begin()
    for asked in ('{"source": "box", "target": null, "tiles": 3}', '["box"]', "box"):
        job = repository.add(JobSpec(source="box", reference="true"), lease.id)
        with sqlite3.connect(repository.path) as connection:
            connection.execute("UPDATE orders SET asked = ? WHERE id = ?", (asked, job.id))
    assert client.delete("/v1/volumes/box").status_code == 409
    lease.end()
    assert client.delete("/v1/volumes/box").is_success


def test_a_job_is_stored_so_that_a_service_of_an_older_version_can_read_it(tmp_path: Path) -> None:
    repository = JobRepository(tmp_path / "jobs.sqlite")
    repository.add(JobSpec(source="box", target="fine", model=LEARNED), "me")
    with sqlite3.connect(repository.path) as connection:
        ((asked,),) = connection.execute("SELECT asked FROM orders")
    assert json.loads(asked) == ORDER
