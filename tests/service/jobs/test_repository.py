"""The list of jobs, and what is tidied up after them."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from service.jobs.repository import Job, JobRepository
from service.jobs.spec import JobSpec
from tests.service.orders import LEARNED
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.conftest import Serve


def test_an_answer_that_was_left_by_a_job_that_is_done_is_dropped(serve: Serve, tmp_path: Path) -> None:
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
    repository.forget(time.time() - 60)
    assert len(repository.all()) == 3
    with sqlite3.connect(tmp_path / "jobs.sqlite") as connection:
        connection.execute("UPDATE orders SET created = created - 1e6")
        connection.execute("UPDATE orders SET ended = created + 1")
    repository.mark(new.id, "cancelled")
    for job in (old, new):
        (scratch / job.id / "u").mkdir(parents=True)
    (scratch / ".part-new").mkdir()
    client = serve(data=tmp_path, keep_days=1)
    wait_until(lambda: not (scratch / old.id).exists())
    assert {job["id"] for job in client.get("/v1/jobs").json()["jobs"]} == {new.id, waiting.id}
    assert [repository.keyed(key) is not None for key in "abc"] == [False, True, True]
    assert (scratch / new.id).exists()
    assert (scratch / ".part-new").exists()


def test_a_list_of_an_older_service_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "jobs.sqlite") as connection:
        connection.execute(
            "CREATE TABLE orders (id TEXT PRIMARY KEY, asked TEXT, state TEXT, detail TEXT, created REAL, report TEXT, "
            "owner TEXT, progress TEXT, stopping INTEGER)"
        )
        connection.execute(
            "INSERT INTO orders VALUES ('a', ?, 'running', NULL, 1, NULL, NULL, NULL, 0)",
            (JobSpec(source="box", target="fine", model=LEARNED).model_dump_json(),),
        )
    repository = JobRepository(tmp_path / "jobs.sqlite")
    assert repository.unfinished() == [
        Job("a", JobSpec(source="box", target="fine", model=LEARNED), "running", created=1)
    ]
    repository.mark("a", "done")
    repository.forget(time.time() - 60)
    assert [job.state for job in repository.all()] == ["done"]
    repository.forget(time.time() + 60)
    assert repository.all() == []
