"""What one client may have at a time, and what that leaves to others."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.api.auth import make_token
from service.api.fairness import WAITING, Slots, Turns
from service.app import build
from service.engine.queue import client as owner
from service.problems import Problem
from service.settings import Settings
from tests.service.conftest import parts, serve_as_trilinear
from tests.service.wire import NPY, Gate, noise, npy
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

    from service.runtime.threads import Threads
    from tests.service.conftest import Serve


def slots(total: int) -> Slots:
    return Slots(total, "requests", Gauge("slots", "Taken.", registry=CollectorRegistry()))


@pytest.mark.parametrize(("total", "share"), [(1, 1), (2, 1), (4, 3), (32, 24)])
def test_a_client_gets_its_share_and_others_the_rest(total: int, share: int) -> None:
    some = slots(total)
    with ExitStack() as held:
        for _ in range(share):
            held.enter_context(some.take("greedy"))
        with pytest.raises(Problem, match="this client" if total > share else "limit$"), some.take("greedy"):
            pass
        for number in range(total - share):
            held.enter_context(some.take(str(number)))
        assert some.taken == total
        with pytest.raises(Problem, match=f"{total} requests are being served"), some.take("late"):
            pass
    assert some.taken == 0
    assert not some._taken


def test_requests_of_a_client_wait_for_their_turn_and_those_of_others_do_not() -> None:
    served: list[str] = []

    async def run() -> None:
        turns, gate = Turns(2), asyncio.Event()

        async def request(client: str) -> None:
            async with turns.take(client):
                served.append(client)
                await gate.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(2 * (1 + WAITING)):
                group.create_task(request("greedy"))
            await asyncio.sleep(0)
            with pytest.raises(Problem, match="34 requests of this client"):
                await request("greedy")
            group.create_task(request("other"))
            await asyncio.sleep(0)
            assert served == ["greedy", "greedy", "other"]
            gate.set()
        assert len(served) == 2 * (1 + WAITING) + 1
        assert not turns._turns
        assert not turns._requests

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["threads", "view_threads", "body_threads"])
def test_long_work_of_a_client_leaves_threads_to_others(kind: str, tmp_path: Path) -> None:
    gate = threading.Event()
    begun: list[str] = []

    async def run() -> None:
        threads: Threads = getattr(build(Settings(data=tmp_path, readers=4)), kind)

        def work(name: str) -> None:
            begun.append(name)
            assert gate.wait(PATIENCE_S)

        async def request(client: str, function: Callable[[], None]) -> None:
            owner.set(client)
            await threads.run(function)

        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(request("greedy", lambda: work("greedy")))
            await group.create_task(request("other", lambda: begun.append("other")))
            assert begun.count("greedy") <= 3
            gate.set()

    asyncio.run(run())
    assert begun.count("greedy") == 100


def test_one_token_does_not_take_the_slots_of_another(serve: Serve, tmp_path: Path) -> None:
    (greedy, line), (other, more) = make_token("greedy", "read"), make_token("other", "read")
    (tmp_path / "tokens").write_text(f"{line}\n{more}\n")
    client, gate = serve(tokens=tmp_path / "tokens", data=tmp_path / "data", max_requests=4), Gate()
    serve_as_trilinear(client, gate)

    def ask(secret: str) -> httpx2.Response:
        return client.post(
            "/v1/upscale?model=trilinear-x4",
            content=npy(noise(3, 4, 4, 4)),
            headers={"Content-Type": NPY, "Authorization": f"Bearer {secret}"},
        )

    with ThreadPoolExecutor(4) as clients, gate:
        held = [clients.submit(ask, greedy) for _ in range(3)]
        wait_until(lambda: parts(client).slots.taken == 3)
        refused = ask(greedy)
        assert refused.status_code == 429, [refused.text, *(each.result().text for each in held if each.done())]
        assert int(refused.headers["Retry-After"]) >= 1
        held.append(clients.submit(ask, other))
        wait_until(lambda: parts(client).slots.taken == 4)
        gate.open.set()
        assert [each.result(PATIENCE_S).status_code for each in held] == [200] * 4
