"""Datasets that stand for others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.operators import coarsen
from training.recordings import open_dataset

if TYPE_CHECKING:
    from pathlib import Path


def test_means_over_blocks_of_a_run(tmp_path: Path) -> None:
    """Whole or in windows whose cells run backwards, as beyond walls."""
    velocity = np.random.default_rng(0).standard_normal((3, 8, 12, 16)).astype(np.float32)
    folder = tmp_path / "made-8-seed1"
    folder.mkdir()
    np.save(folder / "snapshot-0000.npy", velocity)
    about = {"flow": "made", "n": 8, "seed": 1, "times": [0.0], "boundary": ["open", "wall:u=0..1", "periodic"]}
    (folder / "run.json").write_text(json.dumps(about))
    run = open_dataset(tmp_path / "made-8-seed1@2")
    assert (run.name, run.flow, run.cells, run.count(1)) == ("made-8-seed1@2", "made", (4, 6, 8), 1)
    assert run.boundary == ("open", "wall:u=0..1", "periodic")
    assert run.provenance() == {"run": "made-8-seed1@2", "seed": 1, "snapshots": 1}
    means = coarsen(torch.from_numpy(velocity), 2).numpy()
    z, y, x = np.array([1, 0, 0, 1]), np.arange(6), np.array([7, 0, 3])
    found = run.window(0, (z, y, x), 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], means[:, z][:, :, y][..., x], atol=1e-6)
    with pytest.raises(ValueError, match=r"\(8, 12, 16\) cells along z, y, x: no whole blocks of 3"):
        open_dataset(tmp_path / "made-8-seed1@3")
