"""``python -m tests.benchmarks.endurance``: many clients, one of them hostile, and a large job, for ten minutes.

Every answer is compared with the model's own, computed here beforehand, bit for bit. The service is a process of its
own. It runs without a job for a third of the time, and with one job after another for the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import torch
import xarray as xr

from eddylift import AsyncClient, JobError
from models.blocks import PERIODIC
from models.catalogue import TRILINEAR
from models.superresolution import upscale
from service.runtime.malloc import keep_tidy
from tests.benchmarks.endurance_page import PHASES, write
from tests.benchmarks.hostile import NPY, Hostile
from tests.benchmarks.scale import FULL
from tests.benchmarks.serving import running, untrained
from tests.benchmarks.volumes import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tests.benchmarks.scale import Scale
    from tests.benchmarks.serving import Served

HERE = Path(__file__).resolve().parent
LIMIT = 4 << 20


@dataclass(frozen=True)
class Load:
    """What is asked of the service.

    Attributes:
        scale: the network, and the shapes that come mixed.
        seconds: how long, all together.
        clients: that behave well.
        places: requests that the service admits at a time; fewer than there are clients, so that some are refused.
        blocks: of a job along each axis.
    """

    scale: Scale = FULL
    seconds: float = 600
    clients: int = 32
    places: int = 24
    blocks: int = 2


@dataclass(frozen=True)
class Case:
    """A request and its right answer.

    Attributes:
        model: its name.
        cells: coarse cells.
        body: as it is sent.
        answer: what must come back, bit for bit.
    """

    model: str
    cells: int
    body: bytes
    answer: NDArray[np.float32]


@dataclass
class Tally:
    """What came of it.

    Attributes:
        right: answers that were right: phase, case, seconds.
        refused: 429s with Retry-After.
        wrong: anything else, by what it was.
        jobs: jobs that were right.
        blocks: of jobs that were computed, also of one that did not end in time.
        memory: seconds from the start, phase, and MB of the service with its readers.
        spent: seconds of each phase.
        hostile: what the hostile client was told.
    """

    right: list[tuple[str, int, float]] = field(default_factory=list)
    refused: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    blocks: int = 0
    memory: list[tuple[float, str, float]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    hostile: Counter[tuple[str, int]] = field(default_factory=Counter)


class Endurance:
    """One run.

    Args:
        load: what is asked.
        folder: for weights and data; empty.
    """

    def __init__(self, load: Load, folder: Path) -> None:
        self.load = load
        self.folder = folder
        self.tally = Tally()
        self.phase = PHASES[0]
        self.end = 0.0
        catalogue, self.name = untrained(folder / "weights", load.scale)
        self.models = {name: catalogue.load(name) for name in (self.name, TRILINEAR.name)}
        edge = load.blocks * load.scale.job_edge
        self.source = noise(3, edge, edge, edge, seed=99)
        self.fine = self._compute(self.name, self.source)
        self.cases = list(self._cases())

    def _compute(self, name: str, source: NDArray[np.float32]) -> NDArray[np.float32]:
        return upscale(self.models[name], source, PERIODIC, block=self.load.scale.job_edge)

    def _cases(self) -> Sequence[Case]:
        cases = []
        for seed, shape in enumerate(2 * self.load.scale.shapes):
            name = TRILINEAR.name if seed % 4 == 3 else self.name
            source = noise(3, *shape, seed=seed)
            body = io.BytesIO()
            np.save(body, source)
            cases.append(Case(name, source[0].size, body.getvalue(), self._compute(name, source)))
        return cases

    def bare(self, rounds: int = 3) -> list[list[float]]:
        """Seconds that the bare model takes for each case, and at last for a job, round by round."""
        rows = []
        for _ in range(rounds):
            seconds = []
            sources = [(case.model, np.load(io.BytesIO(case.body))) for case in self.cases]
            for model, source in [*sources, (self.name, self.source)]:
                start = time.perf_counter()
                self._compute(model, source)
                seconds.append(time.perf_counter() - start)
            rows.append(seconds)
        return rows

    @property
    def going(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end

    async def run(self, served: Served) -> None:
        """Let all clients do what they do until the time is over."""
        start = time.monotonic()
        self.end = start + self.load.seconds
        hostile = Hostile(served.address, self.name, random.Random(7), LIMIT)  # noqa: S311 no secret
        async with AsyncClient(served.address) as client, asyncio.TaskGroup() as tasks:
            group = {each: (("z", "y", "x"), part) for each, part in zip("uvw", self.source, strict=True)}
            await client.upload(xr.Dataset(group, attrs={"boundary": "periodic"}), "coarse")
            for seed in range(self.load.clients):
                tasks.create_task(self._ask(served.address, random.Random(seed)))  # noqa: S311 no secret
            tasks.create_task(hostile.attack(lambda: self.going))
            tasks.create_task(self._sample(served.process, start))
            tasks.create_task(self._work(client, start))
        self.tally.spent[PHASES[1]] = time.monotonic() - start - self.tally.spent[PHASES[0]]
        self.tally.hostile = hostile.answers
        for (way, status), count in hostile.failures.items():
            self.tally.wrong[f"{way}: {status}"] += count
        for gauge in ("open_requests", "queue_cells"):
            if not await self._empty(served.address, gauge):
                self.tally.wrong[f"{gauge} is not 0 at the end"] += 1

    async def _empty(self, address: str, gauge: str) -> bool:
        """Whether a gauge comes back to zero within a while; a batch that was begun is finished."""
        async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
            for _ in range(60):
                if f"eddylift_{gauge} 0.0" in (await http.get("/metrics")).text:
                    return True
                await asyncio.sleep(0.5)
        return False

    async def _ask(self, address: str, draw: random.Random) -> None:
        """One client that behaves well."""
        async with httpx2.AsyncClient(base_url=address, timeout=600) as http:
            while self.going:
                number = draw.randrange(len(self.cases))
                case, phase = self.cases[number], self.phase
                start = time.monotonic()
                response = await http.post(
                    "/v1/upscale",
                    params={"model": case.model, "boundary": "periodic"},
                    headers={"Content-Type": NPY},
                    content=case.body,
                )
                seconds = time.monotonic() - start
                if response.status_code == 429 and int(response.headers["Retry-After"]) > 0:
                    self.tally.refused += 1
                    await asyncio.sleep(int(response.headers["Retry-After"]) * draw.uniform(0.5, 1))
                elif response.is_success and same(case.answer, np.load(io.BytesIO(response.content))):
                    self.tally.right.append((phase, number, seconds))
                else:
                    self.tally.wrong[f"{case.model}: {response.status_code}"] += 1

    async def _sample(self, process: int, start: float) -> None:
        while self.going:
            self.tally.memory.append((time.monotonic() - start, self.phase, resident(process)))
            await asyncio.sleep(min(1, self.load.seconds / 50))

    async def _work(self, client: AsyncClient, start: float) -> None:
        """One job after another, once the first third is over; each is compared with the model."""
        await asyncio.sleep(self.load.seconds / 3)
        self.tally.spent[PHASES[0]] = time.monotonic() - start
        self.phase = PHASES[1]
        while self.going:
            job = await client.submit("coarse", "fine", model=self.name)
            left = max(0.0, self.end - time.monotonic())
            try:
                async with asyncio.timeout(left):
                    await job.wait()
            except TimeoutError:
                self.tally.blocks += (await job.cancel())["blocks_done"]
                return
            except JobError as error:
                self.tally.wrong[str(error)] += 1
                continue
            self.tally.blocks += job.status["blocks_done"]
            await asyncio.to_thread(self._compare)
            await client.delete_volume("fine")

    def _compare(self) -> None:
        found = xr.open_zarr(self.folder / "data" / "volumes" / "fine", consolidated=True, chunks=None)
        right = same(self.fine, np.stack([found[each].values for each in "uvw"]))
        self.tally.jobs += right
        self.tally.wrong["job: not the model's answer"] += not right


def same(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> bool:
    """Whether two arrays are the same, bit for bit."""
    return wanted.dtype == found.dtype and wanted.shape == found.shape and wanted.tobytes() == found.tobytes()


def resident(process: int) -> float:
    """Resident memory of a process and its children, in MB, as Linux tells it; 0 elsewhere."""
    total = 0.0
    # One that ends meanwhile has none.
    with contextlib.suppress(OSError):
        told = Path("/proc") / str(process)
        lines = dict(line.split(":", 1) for line in (told / "status").read_text().splitlines())
        total = int(lines.get("VmRSS", "0").split()[0]) / 1024
        for thread in (told / "task").iterdir():
            total += sum(resident(int(child)) for child in (thread / "children").read_text().split())
    return total


def endure(load: Load, path: Path, *, remark: str = "", tell: Callable[[str], object] = lambda _: None) -> Tally:
    """Run once, write a page, and give what came of it."""
    folder = Path(tempfile.mkdtemp())
    try:
        run = Endurance(load, folder)
        before = run.bare()
        tell(f"{len(run.cases)} volumes at {sum(map(len, before))} times computed; starting")
        settings = {
            "EDDYLIFT_BLOCK": str(load.scale.job_edge),
            "EDDYLIFT_MAX_REQUESTS": str(load.places),
            "EDDYLIFT_MAX_BODY_BYTES": str(LIMIT),
            "EDDYLIFT_BODY_IDLE_S": "2",
        }
        with running(folder / "weights", folder / "data", **settings) as served:
            asyncio.run(run.run(served))
        write(path, run, [*before, *run.bare()], remark)
        return run.tally
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=32, help="that behave well (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each computation (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "ENDURANCE.md", help="page to write")
    parser.add_argument("--remark", default="", help="what else a reader has to know about the machine")
    options = parser.parse_args(arguments)
    keep_tidy()  # as the service does, so that allocators are not what is compared
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    load = Load(seconds=60 * options.minutes, clients=options.clients)
    tally = endure(load, options.out, remark=options.remark, tell=print)
    print(options.out.read_text())  # noqa: T201 what it is for
    return int(tally.wrong.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
