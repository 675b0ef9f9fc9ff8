"""What HTTP and batching add and take: throughput beside the bare model's, and latency at a fixed load."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import torch

from eddylift import AsyncClient
from models.blocks import PERIODIC
from models.catalogue import Catalogue, describe
from models.networks import Network
from models.superresolution import SuperResolution, upscale
from tests.benchmarks.networks import difference
from tests.benchmarks.timing import Ratio, Row, alternate, by_voxels
from tests.benchmarks.volumes import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tests.benchmarks.scale import Scale

THROUGHPUT = "Served throughput"
LATENCY = "Latency at a fixed load"
PERCENTILES = (50, 95, 99)
ROOT = Path(__file__).resolve().parents[2]
# Share of what one request after another can take, so that a queue forms and does not grow for ever.
LOAD = 0.6


def measure(scale: Scale) -> Sequence[Row]:
    """Rows of both sections."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        catalogue, model = untrained(folder / "weights", scale)
        batched = running.enter_context(serve(catalogue.folder, folder / "batched"))
        single = running.enter_context(
            serve(catalogue.folder, folder / "single", EDDYLIFT_MAX_BATCH_BLOCKS="1", EDDYLIFT_BATCH_WAIT_MS="0")
        )
        bare = catalogue.load(model, str(scale.device))
        return [*_throughput(scale, bare, batched, model), *_latency(scale, batched, single, model)]


def untrained(weights: Path, scale: Scale) -> tuple[Catalogue, str]:
    """A catalogue with the network that is served, which nobody trained, and its name there."""
    catalogue = Catalogue(weights)
    network = SuperResolution(Network(scale.network))
    return catalogue, catalogue.save(network, describe(network, flow="isotropic")).name


@dataclass(frozen=True)
class Served:
    """A service in a process of its own.

    Attributes:
        address: where it listens.
        process: its number.
    """

    address: str
    process: int

    def peak(self, work: Callable[[], object]) -> float:
        """Most resident memory during some work, in MB, as Linux tells it; NaN elsewhere."""
        told = Path("/proc") / str(self.process)
        if not told.exists():
            return math.nan
        (told / "clear_refs").write_text("5")
        work()
        lines = dict(line.split(":", 1) for line in (told / "status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024


@contextmanager
def serve(weights: Path, data: Path, **settings: str) -> Iterator[str]:
    """As `running`, for its address alone."""
    with running(weights, data, **settings) as served:
        yield served.address


@contextmanager
def running(weights: Path, data: Path, **settings: str) -> Iterator[Served]:
    """Run the service in a process of its own, with as many threads as here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "EDDYLIFT_WEIGHTS": str(weights),
        "EDDYLIFT_DATA": str(data),
        "EDDYLIFT_THREADS": str(torch.get_num_threads()),
        "EDDYLIFT_MAX_REQUESTS": "256",
        "EDDYLIFT_MAX_CLIENT_REQUESTS": "256",
        **settings,
    }
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", str(port)]
    data.mkdir()
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)  # noqa: S603 our own
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, process, data / "log")
            yield Served(address, process.pid)
        except Exception as error:
            error.add_note((data / "log").read_text()[-2000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            answer = httpx2.get(f"{address}/health/ready")
            # Loading the rest would be measured, too. Without a token, none are told.
            if answer.is_success and len(answer.json()["precisions"]) == len(answer.json()["models"]):
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    message = f"the service did not become ready:\n{log.read_text()[-2000:]}"
    raise RuntimeError(message)


async def together(address: str, model: str, volumes: Sequence[NDArray[np.float32]], clients: int) -> list[object]:
    """Send volumes from so many clients, each the next one as soon as it has an answer; answers in order."""
    answers: list[object] = [None] * len(volumes)
    waiting = iter(range(len(volumes)))

    async def client() -> None:
        async with AsyncClient(address) as mine:
            for number in waiting:
                answers[number] = await mine.upscale(volumes[number], model=model, boundary="periodic")

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def _throughput(scale: Scale, bare: SuperResolution, address: str, model: str) -> Sequence[Row]:
    rows = []
    for clients in scale.clients:
        volumes = [noise(3, *(3 * [scale.cells]), seed=seed) for seed in range(max(scale.requests, 2 * clients))]
        # As many as there is no need to wait for longer; the ratio is of rates.
        alone = volumes[: scale.requests]
        served: list[object] = []

        def send(volumes: list[NDArray[np.float32]] = volumes, clients: int = clients) -> None:
            nonlocal served
            served = asyncio.run(together(address, model, volumes, clients))

        def compute(volumes: list[NDArray[np.float32]] = alone) -> None:
            for volume in volumes:
                upscale(bare, volume, PERIODIC)

        seconds = alternate({"served": send, "bare": compute}, scale.slow_rounds)
        shorter = [value * len(alone) / len(volumes) for value in seconds["served"]]
        away = max(
            difference(torch.from_numpy(upscale(bare, volume, PERIODIC)), torch.from_numpy(answer))
            for volume, answer in zip(alone, served, strict=False)
            if isinstance(answer, np.ndarray)
        )
        rows.append(
            by_voxels(
                THROUGHPUT,
                (f"served to {clients} client{'s' * (clients > 1)}", shorter),
                ("the bare model, one volume after another", seconds["bare"]),
                len(alone) * (4.0 * scale.cells) ** 3,
                difference=away,
                note=f"{scale.cells}^3 as .npy; {len(volumes)} requests a round",
            )
        )
    return rows


async def spaced(
    address: str, model: str, volumes: Sequence[NDArray[np.float32]], times: Sequence[float]
) -> list[float]:
    """Send volumes at given times, whatever has become of those before.

    Returns:
        Milliseconds from the time that a volume was due to its answer, so that whoever has to wait to be sent counts.
    """
    start = time.perf_counter()
    async with AsyncClient(address) as client:

        async def one(volume: NDArray[np.float32], due: float) -> float:
            await asyncio.sleep(start + due - time.perf_counter())
            await client.upscale(volume, model=model, boundary="periodic")
            return 1e3 * (time.perf_counter() - start - due)

        return await asyncio.gather(*(one(volume, due) for volume, due in zip(volumes, times, strict=True)))


def _latency(scale: Scale, batched: str, single: str, model: str) -> Sequence[Row]:
    draw = random.Random(1)  # noqa: S311 arrivals, not secrets
    shapes = [draw.choice(scale.shapes) for _ in range(scale.arrivals)]
    volumes = [noise(3, *shape, seed=seed) for seed, shape in enumerate(shapes)]
    for address in (batched, single):
        asyncio.run(together(address, model, volumes[: len(volumes) // 2], 1))
    start = time.perf_counter()
    asyncio.run(together(single, model, volumes, 1))
    rate = LOAD * len(volumes) / (time.perf_counter() - start)
    times, now = [], 0.0
    for _ in volumes:
        now += draw.expovariate(rate)
        times.append(now)
    found: dict[str, list[list[float]]] = {batched: [], single: []}
    for number in range(scale.slow_rounds):
        for address in found if number % 2 == 0 else reversed(found):
            found[address].append(asyncio.run(spaced(address, model, volumes, times)))
    note = f"{len(set(shapes))} shapes mixed, {rate:.1f} requests/s arriving at random, {len(volumes)} a round"
    rows = []
    for percentile in PERCENTILES:
        ours, other = (
            [float(np.percentile(latencies, percentile)) for latencies in found[address]]
            for address in (batched, single)
        )
        rows.append(
            Row(
                LATENCY,
                f"p{percentile}, batched",
                f"p{percentile}, one block at a time",
                "ms",
                statistics.median(ours),
                statistics.median(other),
                Ratio.of(other, ours),
                note=note,
            )
        )
    return rows
