"""The list of jobs, and what is tidied up after them."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from service.jobs.repository import Job, Ledger, Order
from tests.service.conftest import wait_until
from tests.service.orders import LEARNED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.conftest import Serve


def test_an_answer_that_was_left_by_a_job_that_is_done_is_dropped(serve: Serve, tmp_path: Path) -> None:
    ledger, scratch = Ledger(tmp_path / "jobs.sqlite"), tmp_path / "scratch"
    done, failed = (ledger.add(Order("box", None, LEARNED, reference="true"), "me") for _ in range(2))
    ledger.mark(done.id, "done")
    ledger.mark(failed.id, "failed")
    for job in (done, failed):
        (scratch / job.id / "u").mkdir(parents=True)
    serve(data=tmp_path)
    wait_until(lambda: not (scratch / done.id).exists())
    assert (scratch / failed.id).exists()


def test_jobs_that_ended_long_ago_are_forgotten_with_their_keys(serve: Serve, tmp_path: Path) -> None:
    ledger, scratch = Ledger(tmp_path / "jobs.sqlite"), tmp_path / "scratch"
    old, new, waiting = (ledger.add(Order(LEARNED, None, LEARNED, reference="true"), "me", key) for key in "abc")
    ledger.mark(old.id, "failed")
    ledger.forget(time.time() - 60)
    assert len(ledger.all()) == 3
    with sqlite3.connect(tmp_path / "jobs.sqlite") as connection:
        connection.execute("UPDATE orders SET created = created - 1e6")
        connection.execute("UPDATE orders SET ended = created + 1")
    ledger.mark(new.id, "cancelled")
    for job in (old, new):
        (scratch / job.id / "u").mkdir(parents=True)
    (scratch / ".part-new").mkdir()
    client = serve(data=tmp_path, keep_days=1)
    wait_until(lambda: not (scratch / old.id).exists())
    assert {job["id"] for job in client.get("/v1/jobs").json()["jobs"]} == {new.id, waiting.id}
    assert [ledger.keyed(key) is not None for key in "abc"] == [False, True, True]
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
            (json.dumps(asdict(Order("box", "fine", LEARNED))),),
        )
    ledger = Ledger(tmp_path / "jobs.sqlite")
    assert ledger.unfinished() == [Job("a", Order("box", "fine", LEARNED), "running", created=1)]
    ledger.mark("a", "done")
    ledger.forget(time.time() - 60)
    assert [job.state for job in ledger.all()] == ["done"]
    ledger.forget(time.time() + 60)
    assert ledger.all() == []
