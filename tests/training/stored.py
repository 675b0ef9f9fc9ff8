"""Small runs to learn from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from training.dataset import StoredRun

if TYPE_CHECKING:
    from pathlib import Path


def store(folder: Path, seed: int, snapshots: int = 3, n: int = 16) -> StoredRun:
    """A run of smooth random fields, all of one spectrum, so that there is something to learn."""
    return StoredRun(write(folder / f"isotropic-{n}-seed{seed}", seed, snapshots, n))


def write(
    run: Path,
    seed: int,
    snapshots: int,
    n: int = 16,
    *,
    flow: str = "isotropic",
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Path:
    """Such a run in a folder, with each component scaled."""
    random = np.random.default_rng(seed)
    run.mkdir(parents=True)
    k = np.fft.fftfreq(n, 1 / n)
    size = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    for index in range(snapshots):
        modes = np.fft.fftn(random.standard_normal((3, n, n, n)), axes=(1, 2, 3)) * np.exp(-size)
        field = np.fft.ifftn(modes, axes=(1, 2, 3)).real * np.array(scale)[:, None, None, None]
        np.save(run / f"snapshot-{index:04d}.npy", field.astype(np.float32))
    description = {"flow": flow, "n": n, "seed": seed, "times": list(range(snapshots))}
    (run / "run.json").write_text(json.dumps(description))
    return run
