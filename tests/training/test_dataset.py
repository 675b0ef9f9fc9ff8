"""Datasets that stand for others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.operators import coarsen
from training.dataset import StoredRun
from training.markdown import spell_resolution
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


@pytest.mark.parametrize(
    ("said", "edges", "shown"),
    [
        (  # (nu^3 / dissipation)^(1/4) = 0.01 and 0.005; the edge of a coarse cell is 0.1
            {
                "nu": 1e-3,
                "statistics": [{"dissipation": 0.1, "reynolds": 40.0}, {"dissipation": 1.6, "reynolds": 60.0}],
            },
            (0.1 * 32 / 4,) * 3,
            "Re_lambda 50, 10.0 to 20.0 eta",
        ),
        ({"nu": 1e-3, "statistics": [{"dissipation": 0.1, "reynolds": 40.0}]}, (0.8,) * 3, "Re_lambda 40, 10.0 eta"),
        (
            {"nu": 1 / 180, "statistics": [{"re_tau": 1.0}, {"re_tau": 180.0}]},
            (1.6, 2.0, 3.2),
            "Re_tau 180, 36 x 45 x 72 wall units",
        ),
        ({"nu": 0.0, "statistics": [{"dissipation": 1.0, "reynolds": 90.0}]}, (1.0,) * 3, "no viscosity"),
        ({}, (1.0,) * 3, "no viscosity"),
    ],
)
def test_the_resolution_of_a_run(
    said: dict[str, Any], edges: tuple[float, float, float], shown: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "snapshot-0000.npy", np.zeros((3, 32, 32, 32), np.float32))
    (tmp_path / "run.json").write_text(json.dumps({"times": [0.0], "length": edges, **said}))
    assert spell_resolution(StoredRun(tmp_path).resolution(4)) == shown
