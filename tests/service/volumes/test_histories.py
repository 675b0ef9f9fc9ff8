"""Random histories of two services that share a data folder: every answer is of one of the volumes that existed.

A history is a seed. In each of its steps somebody writes (a key, a volume key by key, a volume in place of another) or
drops the volume, while others look at it or order a job, each at one of the services; between steps a service is killed
and started anew. An answer must be, to the bit, that of a volume that existed between its request and its end.
``HISTORIES=1000`` runs more of them, ``HISTORIES=7:8`` the one of seed 7.
"""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from models.blocks import PERIODIC
from models.superresolution import upscale
from service.app import create_app
from service.settings import Settings
from tests.service.orders import LEARNED
from tests.service.wire import dataset, files_of, noise
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from httpx2 import Response
    from numpy.typing import NDArray

    from models.catalogue import Catalogue

FIRST, _, LAST = os.environ.get("HISTORIES", "50").rpartition(":")
SEEDS = range(int(FIRST or 0), int(LAST))
STEPS = 5
# Coarse cells, in blocks of 4, and as many contents of each shape.
SHAPES = ((8, 4, 4), (4, 4, 8))
CONTENTS = 4
LAST_KEY = "w/c/0/0/0"  # a volume without it is refused

# What u, v and w are, each by the number of a content; None if there is no volume.
State = tuple[int, int, int]


@cache
def content(number: int) -> tuple[NDArray[np.float32], dict[str, bytes]]:
    """A velocity and its keys, the last one last."""
    velocity = noise(3, *SHAPES[number % len(SHAPES)], seed=number) * (1 + number)
    keys = files_of(dataset(velocity))
    return velocity, {**{key: value for key, value in keys.items() if key != LAST_KEY}, LAST_KEY: keys[LAST_KEY]}


class Past:
    """The states that a volume had, as far as they may be seen: a change may be seen before it is answered."""

    def __init__(self) -> None:
        self.states: list[State | None] = [None]
        self.settled = 0

    def change(self, state: State | None, write: Callable[[], Any]) -> None:
        """Let somebody write, who may be refused."""
        self.states.append(state)
        if write().is_success:
            self.settled = len(self.states) - 1
        else:
            self.states.pop()

    @property
    def now(self) -> State | None:
        return self.states[-1]


class Services:
    """Two of them, which can be started anew."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.running = [ExitStack(), ExitStack()]
        self.clients = [self.start(number) for number in range(2)]

    def start(self, number: int) -> TestClient:
        client = TestClient(create_app(self.settings), raise_server_exceptions=False)
        self.running[number].enter_context(client)
        wait_until(lambda: client.get("/health/ready").is_success)
        return client

    def kill(self, number: int) -> None:
        self.running[number].close()
        self.clients[number] = self.start(number)


@pytest.fixture(scope="module")
def services(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    data: Path = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.jobs.manager.POLL_S", 0.05)
        started = Services(Settings(weights=catalogue.folder, data=data, device="cpu", threads=1, block=4, region=1))
        yield started
        for each in started.running:
            each.close()


class History:
    """One volume, and what happens to it."""

    def __init__(self, seed: int, services: Services, catalogue: Catalogue) -> None:
        self.choose = random.Random(seed)  # noqa: S311 no secrets
        self.name = f"volume{seed}"
        self.past = Past()
        self.services = services
        self.model = catalogue.load(LEARNED)
        self.jobs = 0
        self.seen = 0
        self._fine: dict[tuple[State, bool], NDArray[np.float32]] = {}
        self._computing = threading.Lock()

    def client(self) -> TestClient:
        return self.choose.choice(self.services.clients)

    def fine(self, state: State, *, swapped: bool = False) -> NDArray[np.float32]:
        with self._computing:
            if (state, swapped) not in self._fine:
                coarse = np.stack([content(number)[0][component] for component, number in enumerate(state)])
                if swapped:
                    coarse = coarse[[1, 0, 2]]
                self._fine[state, swapped] = upscale(self.model, coarse, PERIODIC, block=4)
            return self._fine[state, swapped]

    # Writing, one at a time.

    def put(self, client: TestClient, key: str, value: bytes) -> Response:
        return client.put(f"/v1/volumes/{self.name}/{key}", content=value)

    def put_key(self) -> None:
        state, client = self.past.now, self.client()
        if state is None:
            self.put_whole()
            return
        component = self.choose.randrange(3)
        like = [number for number in range(CONTENTS) if number % len(SHAPES) == state[0] % len(SHAPES)]
        number = self.choose.choice(like)
        u, v, w = (number if each == component else old for each, old in enumerate(state))
        key = f"{'uvw'[component]}/c/0/0/0"
        self.past.change((u, v, w), lambda: self.put(client, key, content(number)[1][key]))

    def put_whole(self) -> None:
        self.drop()
        if self.past.now is None:
            client, number = self.client(), self.choose.randrange(CONTENTS)
            *keys, last = content(number)[1].items()
            assert all(self.put(client, *each).is_success for each in keys)
            self.past.change((number,) * 3, lambda: self.put(client, *last))

    def replace(self) -> None:
        client, number = self.client(), self.choose.randrange(CONTENTS)
        for key, value in content(number)[1].items():
            assert client.put(f"/v1/volumes/{self.name}-draft/{key}", content=value).is_success
        order = {"to": self.name, "replace": True}
        self.past.change((number,) * 3, lambda: client.post(f"/v1/volumes/{self.name}-draft/rename", json=order))

    def drop(self) -> None:
        if self.past.now is not None:
            client = self.client()
            self.past.change(None, lambda: client.delete(f"/v1/volumes/{self.name}"))

    # Reading, several at a time.

    def look(self, client: TestClient, component: int, block: tuple[int, int, int], swapped: bool) -> None:  # noqa: FBT001
        first = self.past.settled
        names = ";names=u:v,v:u" if swapped else ""
        key = f"{'uvw'[component]}/c/{'/'.join(map(str, block))}"
        response = client.get(f"/v1/views/{self.name}/{LEARNED}{names}/{key}")
        seen = self.past.states[first:]
        z, y, x = (slice(16 * n, 16 * n + 16) for n in block)
        wanted = [self.fine(state, swapped=swapped)[component, z, y, x] for state in seen if state]
        if response.is_success:
            got = np.frombuffer(response.content, "<f4").reshape(16, 16, 16)
            assert any(np.array_equal(got, each) for each in wanted if each.size), f"{key}{names} is of none of {seen}"
            self.seen += 1
        elif len(seen) == len(wanted) == 1 and wanted[0].size:
            pytest.fail(f"nothing changed, and {response.status_code}: {response.text}")

    def job(self, client: TestClient, other: TestClient, then: Callable[[], None] | None = None) -> None:
        first, self.jobs = self.past.settled, self.jobs + 1
        target = f"{self.name}-fine{self.jobs}"
        response = client.post("/v1/jobs", json={"source": self.name, "target": target, "model": LEARNED})
        path = f"/v1/jobs/{response.json().get('id')}"
        if then:
            then()
        if response.is_success:
            wait_until(lambda: other.get(path).json()["state"] in {"done", "failed"})
        seen = self.past.states[first:]
        if response.is_success and other.get(path).json()["state"] == "done":
            wanted = [self.fine(state) for state in seen if state]
            got = np.stack([self.stored(other, target, name) for name in "uvw"])
            assert any(np.array_equal(got, each) for each in wanted), f"{target} is of none of {seen}"
            self.seen += 1
        elif len(seen) == 1 and seen[0] is not None:
            pytest.fail(f"nothing changed, and {response.text} {other.get(path).text}")

    @staticmethod
    def stored(client: TestClient, target: str, name: str) -> NDArray[np.float32]:
        shape = client.get(f"/v1/volumes/{target}/{name}/zarr.json").json()["shape"]
        fine = np.empty(shape, np.float32)
        for z, _, x in np.ndindex(*(n // 16 for n in shape)):
            part = client.get(f"/v1/volumes/{target}/{name}/c/{z}/0/{x}").content
            fine[16 * z : 16 * z + 16, :, 16 * x : 16 * x + 16] = np.frombuffer(part, "<f4").reshape(16, 16, 16)
        return fine

    def step(self, threads: ThreadPoolExecutor) -> None:
        if self.choose.random() < 0.03:
            # A job whose service is killed is taken up by the other one.
            number = self.choose.randrange(2)
            one, other = self.services.clients[number], self.services.clients[1 - number]
            self.job(one, other, lambda: self.services.kill(number))
            return
        running = []
        for _ in range(self.choose.randint(1, 3)):
            if self.choose.random() < 0.1:
                running.append(threads.submit(self.job, self.client(), self.client()))
            else:
                block = self.choose.choice([(0, 0, 0), (1, 0, 0), (0, 0, 1)])
                look = self.client(), self.choose.randrange(3), block, self.choose.random() < 0.3
                running.append(threads.submit(self.look, *look))
        write = self.choose.choice([self.put_key, self.put_key, self.put_whole, self.replace, self.drop, None])
        if write:
            write()
        for each in running:
            each.result()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_answer_is_of_a_volume_that_existed(seed: int, services: Services, catalogue: Catalogue) -> None:
    history = History(seed, services, catalogue)
    with ThreadPoolExecutor(4) as threads:
        history.replace()
        for _ in range(STEPS):
            history.step(threads)
        # It has come to rest: all is there, at both services.
        for client in services.clients:
            history.look(client, 0, (0, 0, 0), swapped=False)
    assert history.seen or history.past.now is None
