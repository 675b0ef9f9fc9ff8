"""A job makes the volume that a request is answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.service.orders import LEARNED, ORDER, THREE, Gate, fine, finish, look, order, wanted
from tests.service.wire import dataset, noise, send
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from tests.service.conftest import Serve


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,open"])
def test_a_job_makes_what_a_request_is_answered(
    client: TestClient, catalogue: Catalogue, tmp_path: Path, boundary: str
) -> None:
    velocity = noise(3, 5, 8, 9)
    send(client, "box", dataset(velocity).assign_attrs(boundary=boundary))
    done = finish(client, order(client))
    assert (done["blocks"], done["blocks_done"], done["detail"]) == (2 * 2 * 3, 12, None)
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity, boundary))
    told = client.get("/v1/volumes/fine").json()
    assert (told["cells"], told["problem"]) == ([20, 32, 36], None)
    # What a job made is a volume like any other.
    assert client.get(f"/v1/views/fine/{LEARNED}/zarr.json").status_code == 200


def test_times_and_frames(client: TestClient, catalogue: Catalogue, tmp_path: Path) -> None:
    velocity = noise(4, 3, 4, 5, 6)
    send(client, "box", dataset(velocity))
    assert finish(client, order(client))["blocks"] == 4 * 4
    finish(client, order(client, target="three", model=THREE))
    every, three = fine(tmp_path), fine(tmp_path, "three")
    for level in range(4):
        assert np.array_equal(every[:, level], wanted(catalogue, velocity[level]))
    for level in range(2):
        assert np.array_equal(three[:, level], wanted(catalogue, velocity[level : level + 3], model=THREE))


def test_events_tell_until_the_end(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    job = order(client)
    with client.stream("GET", f"/v1/jobs/{job}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line.startswith("data:")]
    events = [json.loads(line.removeprefix("data:")) for line in lines]
    assert events[-1]["state"] == "done"
    assert events[-1]["blocks_done"] == 8
    done = [event["blocks_done"] for event in events]
    assert done == sorted(done)


@pytest.mark.parametrize("most", [1, 2])
def test_jobs_wait_for_each_other_and_are_listed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    client = serve(data=tmp_path / "data", block=4, max_jobs=most)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    gate = Gate(client, monkeypatch, 0)
    *running, waiting = (order(client, target=f"fine-{number}") for number in range(most + 1))
    wait_until(lambda: all(look(client, job)["state"] == "running" for job in running))
    assert look(client, waiting)["state"] == "queued"
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [waiting, *reversed(running)]
    assert client.post(f"/v1/jobs/{waiting}/cancel").json()["state"] == "cancelled"
    gate.open.set()
    for job in running:
        finish(client, job)


def test_jobs_are_neither_submitted_nor_resumed_beyond_the_limit(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(data=tmp_path / "data", block=4, max_queued_jobs=1)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    gate = Gate(client, monkeypatch, 0)
    cancelled = order(client)
    client.post(f"/v1/jobs/{cancelled}/cancel")
    running = order(client, target="other")
    for path, body in (("", {**ORDER, "target": "third"}), (f"/{cancelled}/resume", None)):
        refused = client.post(f"/v1/jobs{path}", json=body)
        assert (refused.status_code, refused.json()["detail"]) == (429, "1 jobs run or wait, which is the limit")
    gate.open.set()
    finish(client, running)
    assert client.post(f"/v1/jobs/{cancelled}/resume").status_code == 202
    finish(client, cancelled)


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"source": "nothing"}, 404, "there is no volume nothing"),
        ({"model": "nothing"}, 404, "there is no model"),
        ({"target": "box"}, 422, "expected another volume than the source"),
        ({"target": "../box"}, 422, "expected up to 100 letters"),
        ({"target": "fine.part-202611301905"}, 422, "are uploads, and are deleted after a day"),
        ({"target": "taken"}, 409, "there is a volume taken already, and it has other content"),
        ({"boundary": "slippery"}, 422, "boundary: slippery"),
        ({"model": THREE}, 422, "expected at least 3"),
        ({"kind": "other"}, 422, "kind"),
    ],
)
def test_orders_that_cannot_be(client: TestClient, changes: dict[str, str], status: int, detail: str) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    send(client, "taken", dataset(noise(3, 4, 4, 4, seed=1)))
    response = client.post("/v1/jobs", json={**ORDER, **changes})
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_target_of_other_settings_is_not_continued(client: TestClient, serve: Serve, tmp_path: Path) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client))
    refused = serve(data=tmp_path / "data", block=3).post("/v1/jobs", json=ORDER)
    assert refused.status_code == 409
    assert "by a service of another version, EDDYLIFT_BLOCK or EDDYLIFT_PRECISION" in refused.json()["detail"]


def test_a_job_that_is_not_there(client: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/resume")):
        assert client.request(method, f"/v1/jobs/nothing{path}").status_code == 404


def test_of_two_orders_for_one_target_one_wins(client: TestClient) -> None:
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    with ThreadPoolExecutor(8) as people:
        orders = [{**ORDER, "model": model} for model in (LEARNED, "trilinear-x4") * 4]
        answers = list(people.map(lambda order: client.post("/v1/jobs", json=order), orders))
    won = [answer.json()["model"] for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} == {202, 409}
    assert len(set(won)) == 1
    for answer in answers:
        if answer.status_code == 202:
            finish(client, answer.json()["id"])
    assert client.get("/v1/volumes/fine/zarr.json").json()["attributes"]["eddylift_model"] == won[0]


def test_names_of_others(client: TestClient, catalogue: Catalogue, tmp_path: Path) -> None:
    velocity = noise(3, 4, 5, 6)
    theirs = {"u": "ux", "v": "uy", "w": "uz", "z": "depth"}
    send(client, "box", dataset(velocity).rename(theirs))
    names = {value: key for key, value in theirs.items()}
    assert client.post("/v1/jobs", json=ORDER).status_code == 422
    finish(client, order(client, names=names))
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))
    option = ",".join(f"{key}:{value}" for key, value in names.items())
    chunk = client.get(f"/v1/views/box/{LEARNED};names={option}/u/c/0/0/0")
    assert np.array_equal(
        np.frombuffer(chunk.content, np.float32).reshape(16, 12, 12), wanted(catalogue, velocity)[0, :, :12, :12]
    )
    assert client.get(f"/v1/views/box/{LEARNED}/zarr.json").status_code == 422
    for bad in ({"nothing": "u"}, {"ux": "uy"}, {"ux": "u", "uy": "u"}):
        response = client.post("/v1/jobs", json={**ORDER, "names": bad, "target": "other"})
        assert response.status_code == 422
        assert "names" in response.json()["detail"]
