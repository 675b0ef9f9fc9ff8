"""Killed at any moment, a job ends as if it had not been."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from models.blocks import parse_boundary
from models.superresolution import upscale
from service.settings import CHECKOUT
from service.volumes.files import PART
from tests.service.conftest import wait_until
from tests.service.orders import LEARNED, ORDER, fine
from tests.service.runtime.test_server import wait_until_ready
from tests.service.volumes.test_volumes import objects
from tests.service.wire import dataset, noise

if TYPE_CHECKING:
    from models.catalogue import Catalogue


@pytest.mark.slow
def test_killed_at_any_moment_a_job_ends_as_if_it_had_not_been(catalogue: Catalogue, tmp_path: Path) -> None:
    """Kill -9 at twenty moments of a seed: nothing is torn, and what was done is not computed again."""
    random = np.random.default_rng(7)
    velocity = noise(3, 16, 16, 16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "EDDYLIFT_WEIGHTS": str(catalogue.folder),
        "EDDYLIFT_DATA": str(tmp_path / "data"),
        "EDDYLIFT_DEVICE": "cpu",
        "EDDYLIFT_THREADS": "1",
        "EDDYLIFT_BLOCK": "2",
        "EDDYLIFT_WARM_READERS": "0",
        "EDDYLIFT_BATCH_WAIT_MS": "120",
    }
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", str(port)]
    volume = tmp_path / "data" / "volumes" / "fine"
    seen: dict[Path, int] = {}
    job = ""
    for _ in range(20):
        process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stderr=subprocess.DEVNULL)  # noqa: S603
        wait_until_ready(address, process)
        if not job:
            for key, content in objects(dataset(velocity)).items():
                httpx2.put(f"{address}/v1/volumes/box/{key}", content=content).raise_for_status()
            job = httpx2.post(f"{address}/v1/jobs", json=ORDER).raise_for_status().json()["id"]
        time.sleep(random.uniform(0, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        files = (path for path in volume.rglob("c/*/*/*") if path.is_file())
        chunks = {path.relative_to(volume): path.stat() for path in files if not path.name.startswith(PART)}
        assert {stat.st_size for stat in chunks.values()} <= {4 * 8**3}
        written = {path: stat.st_mtime_ns for path, stat in chunks.items()}
        assert {path: written.get(path) for path in seen} == seen  # not written again
        # A block is finished with the last of its three chunks.
        blocks = Counter(Path(*path.parts[1:]) for path in written)
        seen = {path: time for path, time in written.items() if blocks[Path(*path.parts[1:])] == 3}
    assert 0 < len(seen) < 3 * 8**3
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        wait_until_ready(address, process)
        wait_until(lambda: httpx2.get(f"{address}/v1/jobs/{job}").json()["state"] == "done", 60)
    finally:
        process.terminate()
        process.wait()
    assert not list(volume.rglob(".part-*"))
    assert np.array_equal(
        fine(tmp_path), upscale(catalogue.load(LEARNED), velocity, parse_boundary("periodic"), block=2)
    )
