"""What goes wrong with the list of jobs for a moment loses no job, and fails none."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from service.jobs.spec import JobSpec
from tests.service.conftest import parts
from tests.service.orders import LEARNED, ORDER, finish, order
from tests.service.wire import dataset, noise, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    import pytest
    from fastapi.testclient import TestClient


def test_while_the_list_of_jobs_is_locked_no_volume_changes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))

    def locked(_: object) -> None:
        message = "database is locked"
        raise sqlite3.OperationalError(message)

    with monkeypatch.context() as patch:
        patch.setattr(parts(client).jobs.repository, "volumes_in_use", locked)
        refused = client.delete("/v1/volumes/box")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:eddylift:problem:jobs-unavailable")
    assert client.delete("/v1/volumes/box").is_success


def test_what_goes_wrong_with_the_list_once_goes_wrong_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.manager.POLL_S", 0.01)
    monkeypatch.setattr("service.jobs.runner.RETRY_S", 0.01)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    jobs = parts(client).jobs
    end, unfinished, fails = jobs.runner._end, jobs.repository.unfinished, {"end", "look"}

    def ends(*what: Any) -> bool:  # noqa: ANN401
        if "end" in fails:
            fails.discard("end")
            raise sqlite3.OperationalError
        return end(*what)

    def looks() -> Any:  # noqa: ANN401
        if "look" in fails:
            fails.discard("look")
            raise KeyError
        return unfinished()

    monkeypatch.setattr(jobs.runner, "_end", ends)
    finish(client, order(client))
    monkeypatch.setattr(jobs.repository, "unfinished", looks)
    wait_until(lambda: not fails)
    assert [watcher.done() for watcher in jobs._watchers] == [False, False]


def test_a_job_goes_on_while_the_list_of_jobs_is_locked(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.jobs.runner.RETRY_S", 0.01)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    repository, locked = parts(client).jobs.repository, {"mark", "has_advanced"}
    computed = parts(client).jobs.runner.executor.computed

    def locked_once(name: str) -> None:
        change = getattr(repository, name)

        def once(*what: Any, **named: Any) -> Any:  # noqa: ANN401
            if name in locked:
                locked.discard(name)
                message = "database is locked"
                raise sqlite3.OperationalError(message)
            return change(*what, **named)

        monkeypatch.setattr(repository, name, once)

    for name in (*locked,):
        locked_once(name)
    finish(client, order(client))
    assert not locked
    assert parts(client).jobs.runner.executor.computed == computed + 1


def test_a_job_that_was_added_but_not_begun_is_taken_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the disk fails once it is on the list, or while another one is taken up after it."""
    monkeypatch.setattr("service.jobs.manager.POLL_S", 0.01)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    repository, fails = parts(client).jobs.repository, {"add", "take_up"}
    add, take_up, taken = repository.add, repository.take_up, []

    def adds(*what: Any) -> Any:  # noqa: ANN401
        job = add(*what)
        if "add" in fails:
            fails.discard("add")
            raise OSError(5, "Input/output error")
        return job

    def takes(name: str, *what: Any) -> None:  # noqa: ANN401
        taken.append(name)
        if len({*taken}) > 1 and "take_up" in fails:
            fails.discard("take_up")
            raise OSError(5, "Input/output error")
        take_up(name, *what)

    monkeypatch.setattr(repository, "add", adds)
    monkeypatch.setattr(repository, "take_up", takes)
    assert client.post("/v1/jobs", json=ORDER).status_code == 500
    (job,) = (job["id"] for job in client.get("/v1/jobs").json()["jobs"])
    finish(client, job)
    with parts(client).jobs.lease.exclusive():  # so that one look finds both
        others = [
            add(JobSpec(source="box", target=target, model=LEARNED), "one that died").id for target in ("one", "other")
        ]
    for other in others:
        finish(client, other)
    assert not fails
