"""``python -m tests.benchmarks.doors``: a client is served while another one, with a token, holds 300 connections.

A quarter of the hostile connections say nothing, a quarter send half a head, a quarter a head without its body, and a
quarter read nothing of their answers. All are opened anew as soon as the service gives them up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np

from models.catalogue import TRILINEAR, Catalogue
from service.api.auth import make_token
from tests.benchmarks.serving import running
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.synchronize import Semaphore

    from tests.benchmarks.serving import Served

SPAWN = multiprocessing.get_context("spawn")
ANSWER_HEAD = 12
# Of both clients' volumes: what a client must put up with is a fair share of the device.
EDGE = 24
# Beside what it was before, when it is taken to have come back.
SETTLED_MB = 100
# As they are by default; the other benchmarks have more.
PLACES = {"EDDYLIFT_MAX_REQUESTS": "32", "EDDYLIFT_MAX_CLIENT_REQUESTS": "24"}


@dataclass
class Report:
    """What came of it.

    Attributes:
        alone: seconds of each request of the good client while nobody else was there.
        beside: the same beside the hostile client.
        statuses: of its answers.
        opened: hostile connections, all together.
        memory: MB of the service before, at most, and afterwards.
    """

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    opened: int = 0
    memory: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        """A line for each number."""
        alone, beside = (1e3 * np.quantile(each, [0.5, 0.99]) for each in (self.alone, self.beside))
        return "\n".join(
            (
                f"alone:  p50 {alone[0]:.0f} ms, p99 {alone[1]:.0f} ms, {len(self.alone)} requests",
                f"beside: p50 {beside[0]:.0f} ms, p99 {beside[1]:.0f} ms, {len(self.beside)} requests",
                f"ratio of p99: {beside[1] / alone[1]:.2f}",
                f"answers: {dict(self.statuses)}; hostile connections opened: {self.opened}",
                "memory: {:.0f} MB before, {:.0f} at most, {:.0f} afterwards".format(*self.memory),
            )
        )


class Attack:
    """Hostile connections of one token."""

    def __init__(self, address: str, secret: str, opened: Semaphore) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)
        self.opened = opened
        body = _npy(EDGE)
        head = (
            f"POST /v1/upscale?model={TRILINEAR.name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
            f"Content-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self._ways = (b"", head[:60], head, head + body)

    async def hold(self, number: int) -> None:
        """Hold a connection in one of the ways, and open another one when it is closed."""
        while True:
            with contextlib.suppress(OSError):
                # A reader that stops at once: of what is sent to it, little fits the buffers.
                reader, writer = await asyncio.open_connection(self.host, self.port, limit=1024)
                self.opened.release()
                try:
                    writer.write(self._ways[number % len(self._ways)])
                    await writer.drain()
                    if number % len(self._ways) == len(self._ways) - 1:
                        await reader.readexactly(ANSWER_HEAD)
                        while not writer.is_closing():
                            await asyncio.sleep(0.5)
                            writer.write(b"x")  # fails once the service has given the connection up
                            await writer.drain()
                    while await reader.read(1024):
                        pass
                except asyncio.IncompleteReadError:
                    pass
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.01)


async def ask(address: str, secret: str, seconds: float, statuses: Counter[int]) -> list[float]:
    """Ask for one small upscale after another; seconds that each took."""
    taken, end = [], time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/x-npy"}
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=120) as http:
        while time.monotonic() < end:
            start = time.monotonic()
            answer = await http.post(f"/v1/upscale?model={TRILINEAR.name}", content=_npy(EDGE))
            taken.append(time.monotonic() - start)
            statuses[answer.status_code] += 1
    return taken


async def measure(served: Served, good: str, hostile: str, connections: int, seconds: float) -> Report:
    """Ask alone, then beside the hostile client, and see that the service is afterwards what it was."""
    report, opened = Report(), SPAWN.Semaphore(0)
    report.alone = await ask(served.address, good, seconds, report.statuses)
    before = most = _resident(served.process)
    # In a process of its own, so that what it does does not delay the client whose time is taken.
    attacker = SPAWN.Process(target=attack, args=(served.address, hostile, connections, opened), daemon=True)
    attacker.start()
    for _ in range(connections):
        assert await asyncio.to_thread(opened.acquire, timeout=PATIENCE_S), "the hostile client opens no more"
    asking = asyncio.create_task(ask(served.address, good, seconds, report.statuses))
    while not asking.done():
        most = max(most, _resident(served.process))
        await asyncio.wait({asking}, timeout=0.5)
    report.beside = await asking
    attacker.kill()
    attacker.join()
    report.opened = connections + opened.get_value()
    # The allocator gives back what is free every two seconds.
    for _ in range(20):
        await asyncio.sleep(0.5)
        after = _resident(served.process)
        if after < before + SETTLED_MB:
            break
    report.memory = before, most, after
    return report


def attack(address: str, secret: str, connections: int, opened: Semaphore) -> None:
    """Hold connections until this process is killed; runs in a process of its own."""

    async def hold_all() -> None:
        hostile = Attack(address, secret, opened)
        await asyncio.gather(*(hostile.hold(number) for number in range(connections)))

    asyncio.run(hold_all())


def run(folder: Path, connections: int, seconds: float, **limits: str) -> Report:
    """Start a service with two tokens, and limits other than the default ones, and measure."""
    (good, line), (hostile, other) = make_token("good", "read"), make_token("hostile", "read")
    (folder / "tokens").write_text(f"{line}\n{other}\n")
    catalogue = Catalogue(folder / "weights")
    catalogue.write(TRILINEAR)
    with running(
        catalogue.folder,
        folder / "data",
        EDDYLIFT_TOKENS=str(folder / "tokens"),
        **PLACES,
        **limits,
    ) as served:
        return asyncio.run(measure(served, good, hostile, connections, seconds))


def _npy(edge: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((3, edge, edge, edge), np.float32))
    return file.getvalue()


def _resident(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=300, help="of the hostile client (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="alone, and beside it (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{run(Path(folder), options.connections, options.seconds)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
