"""An order that is sent again is the job that it was."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from service.api.auth import make_token
from service.jobs.repository import JobRepository
from service.jobs.spec import JobSpec
from tests.service.conftest import parts
from tests.service.orders import ORDER, finish
from tests.service.wire import dataset, noise, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    client = serve(data=tmp_path / "data", block=4)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    return client


def post(client: TestClient, key: str | None = "once", **changes: object) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/jobs", json={**ORDER, **changes}, headers=headers)


def test_the_same_order_is_the_same_job(client: TestClient) -> None:
    first = post(client)
    assert first.status_code == 202
    finish(client, first.json()["id"])
    again = post(client)
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["state"] == "done"
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1
    # Under another key, or none, it is another one.
    assert post(client, "twice", target="second").json()["id"] != first.json()["id"]
    assert post(client, None, target="third").json()["id"] != first.json()["id"]


def test_a_job_that_runs_is_not_in_its_own_way(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = parts(client).jobs
    launched: list[Any] = []
    monkeypatch.setattr(jobs, "_launch", lambda job, _: launched.append(job))
    # It stays in the queue, so that any other order for its target is refused.
    first = post(client)
    assert post(client).json()["id"] == first.json()["id"]
    assert post(client, "other").status_code == 409
    assert len(launched) == 1


def test_another_order_under_the_same_key(client: TestClient) -> None:
    first = post(client).json()["id"]
    answer = post(client, target="elsewhere")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "Idempotency-Key"
    assert first in error["expected"]
    finish(client, first)
    assert client.get("/v1/volumes/elsewhere").status_code == 404


def test_orders_that_were_refused_leave_their_key(client: TestClient) -> None:
    assert post(client, source="nothing").status_code == 404
    assert post(client).status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä".encode()])
def test_keys_that_are_none(client: TestClient, key: Any) -> None:  # noqa: ANN401
    headers = {b"Idempotency-Key": key if isinstance(key, bytes) else key.encode()}
    answer = client.post("/v1/jobs", json=ORDER, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


def test_many_at_once_are_one_job(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_service_that_was_started_again_knows(serve: Serve, client: TestClient, tmp_path: Path) -> None:
    first = post(client).json()["id"]
    finish(client, first)
    client.__exit__()
    other = serve(data=tmp_path / "data", block=4)
    assert post(other).json()["id"] == first
    assert post(other, target="elsewhere").status_code == 422


def test_a_service_beside_it_knows(serve: Serve, client: TestClient, tmp_path: Path) -> None:
    other = serve(data=tmp_path / "data", block=4)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, [client, other] * 4))
    assert {answer.status_code for answer in answers} == {202}
    (job,) = client.get("/v1/jobs").json()["jobs"]
    assert {answer.json()["id"] for answer in answers} == {job["id"]}


def test_keys_of_one_token_are_none_of_another(serve: Serve, tmp_path: Path) -> None:
    made = [make_token(name, "write") for name in ("one", "two")]
    (tmp_path / "tokens").write_text("\n".join(line for _, line in made))
    client = serve(tokens=tmp_path / "tokens", data=tmp_path / "data", block=4)
    ids = []
    for target, (secret, _) in enumerate(made):
        client.headers["Authorization"] = f"Bearer {secret}"
        if not target:
            send(client, "box", dataset(noise(3, 4, 4, 4)))
        ids.append(post(client, target=f"fine-{target}").json()["id"])
    assert len(set(ids)) == 2


def test_a_ledger_from_before_there_were_keys(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    repository, order = JobRepository(path), JobSpec(source="box", target="fine", model="trilinear-x4")
    old = repository.add(order, "me")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE keys")
    connection.close()
    assert repository.keyed("a") is None
    new = repository.add(order, "me", "a")
    assert repository.keyed("a") == new
    with pytest.raises(sqlite3.IntegrityError):
        repository.add(order, "me", "a")
    assert {job.id for job in repository.all()} == {old.id, new.id}
