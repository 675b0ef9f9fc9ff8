"""Killed at any moment, a job ends as if it had not been."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest

from models.blocks import parse_boundary
from models.superresolution import upscale
from tests.service.orders import LEARNED, ORDER, chunks, fine, whole_blocks
from tests.service.servers import ServiceProcess
from tests.service.wire import dataset, files_of, noise
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from models.catalogue import Catalogue

KILLS = int(os.environ.get("KILLS", "2"))


@pytest.mark.slow
@pytest.mark.parametrize(("region", "kills"), [(1, KILLS), (12, 1)])
def test_killed_at_any_moment_a_job_ends_as_if_it_had_not_been(
    catalogue: Catalogue, tmp_path: Path, region: int, kills: int
) -> None:
    """Nothing is torn by kill -9, and blocks that were done are not computed again."""
    random = np.random.default_rng(7)
    velocity = noise(3, 12, 12, 12)
    settings = {"data": tmp_path / "data", "block": 2, "region": region}
    volume = tmp_path / "data" / "volumes" / "fine"
    seen: dict[Path, int] = {}
    job = ""
    for _ in range(kills):
        # Batches wait, so that the job is not over before it is killed.
        with ServiceProcess(catalogue.folder, **settings, batch_wait_ms=120) as service:
            if not job:
                for key, content in files_of(dataset(velocity)).items():
                    httpx2.put(
                        f"{service.address}/v1/volumes/box/{key}", content=content, timeout=PATIENCE_S
                    ).raise_for_status()
                sent = httpx2.post(f"{service.address}/v1/jobs", json=ORDER, timeout=PATIENCE_S)
                job = sent.raise_for_status().json()["id"]
            enough = len(chunks(volume)) + random.integers(5, 25)
            wait_until(lambda enough=enough: len(chunks(volume)) >= enough)  # type: ignore[misc]
        written = chunks(volume)
        assert {path.stat().st_size for path in written} <= {4 * 8**3}
        assert {path: written.get(path) for path in seen} == seen  # not written again
        seen = whole_blocks(written)
    assert 0 < len(seen) < 3 * 6**3
    with ServiceProcess(catalogue.folder, **settings) as service:
        told = f"{service.address}/v1/jobs/{job}"
        wait_until(lambda: httpx2.get(told, timeout=PATIENCE_S).json()["state"] == "done")
    assert not list(volume.rglob(".part-*"))
    written = chunks(volume)
    assert {path: written[path] for path in seen} == seen
    expected = upscale(catalogue.load(LEARNED), velocity, parse_boundary("periodic"), block=2)
    np.testing.assert_allclose(fine(tmp_path), expected, rtol=0, atol=0 if region == 1 else 1e-5 * velocity.std())
