"""Bodies that do not come as they should are ended, on every route."""

from __future__ import annotations

import asyncio
import itertools
import selectors
import tracemalloc
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from starlette.requests import Request

from service.api.bodies import bounded, receive_body
from service.api.errors import HttpProblem, status_of
from service.problems import Problem
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from starlette.types import Message

Result = TypeVar("Result")


class Skipping(selectors.DefaultSelector):
    """A selector that does not wait, and says how long it would have."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.skipped += timeout or 0.0
        return super().select(timeout and 0.0)


class Clockwork(asyncio.SelectorEventLoop):
    """An event loop in which nothing takes any time but what waits: its clock jumps to what comes next."""

    def __init__(self) -> None:
        self.selector = Skipping()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.skipped


def run(main: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(main)


def drain(pieces: Iterator[tuple[float, bytes]], settings: Settings) -> int:
    """Receive pieces, each after a pause; returns their bytes."""
    left = list(itertools.islice(pieces, 10_000))

    async def receive() -> Message:
        pause, piece = left.pop(0)
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def go() -> int:
        taken, take = 0, bounded(receive, settings)
        while True:
            message = await take()
            taken += len(message["body"])
            if not message["more_body"]:
                return taken

    return run(go())


def test_a_client_that_drips_is_ended() -> None:
    # No pause is too long, but all in all it would go on for 100 s.
    drip = itertools.repeat((0.01, b"x"), 10_000)
    with pytest.raises(HttpProblem, match="less than 100000 bytes per second") as caught:
        drain(drip, Settings(body_idle_s=0.2, body_bytes_per_s=100_000))
    assert status_of(caught.value) == 408
    assert caught.value.headers == {"Connection": "close"}


def test_a_client_that_stops_is_ended() -> None:
    with pytest.raises(Problem, match=r"no more of the body came for 0\.05 s"):
        drain(iter([(0, b"x" * 1000), (60, b"x")]), Settings(body_idle_s=0.05, body_bytes_per_s=1))


def test_a_client_that_is_slow_but_steady_is_not() -> None:
    pieces = itertools.repeat((0.01, b"x" * 10_000), 40)
    assert drain(pieces, Settings(body_idle_s=0.2, body_bytes_per_s=10_000)) == 400_000


def test_what_we_take_ourselves_is_not_counted() -> None:
    settings = Settings(body_idle_s=0.05, body_bytes_per_s=1e9)
    messages = [{"type": "http.request", "body": b"x", "more_body": more} for more in (True, True, False)]

    async def receive() -> Message:
        return messages.pop(0)

    async def go() -> None:
        take = bounded(receive, settings)
        for _ in range(3):
            await take()
            await asyncio.sleep(0.1)

    run(go())
    assert messages == []


def test_a_whole_body_is_waited_after_for_ever() -> None:
    gone = asyncio.Event()

    async def go() -> str:
        messages = [{"type": "http.request", "body": b"x", "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        take = bounded(receive, Settings(body_idle_s=0.01))
        await take()
        asyncio.get_running_loop().call_later(0.1, gone.set)
        kind: str = (await take())["type"]
        return kind

    assert run(go()) == "http.disconnect"


def test_too_long() -> None:
    with pytest.raises(Problem) as caught:
        drain(itertools.repeat((0, b"x" * 60), 10), Settings(max_body_bytes=100))
    assert status_of(caught.value) == 413


def test_a_body_is_held_once() -> None:
    pieces = [bytes(2**20) for _ in range(32)]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"")]}, receive)

    async def receive_it() -> tuple[int, int]:
        tracemalloc.start()
        try:
            body = await receive_body(request, Settings())
            return len(body.content), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    size, most = asyncio.run(receive_it())
    assert size == 2**25
    assert most < 1.5 * size
