"""Fields that no equation gives: they are as they are called, periodic, and the same whenever they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.__main__ import main
from training.dataset import StoredRun
from training.flows import synthetic
from training.flows.kinds import FLOWS, recipe_of
from training.flows.synthetic import KINDS
from training.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("kind", [kind for kinds in KINDS.values() for kind in kinds])
def test_each_kind_is_finite_and_drawn_anew(kind: Callable[[np.random.Generator, int], np.ndarray]) -> None:
    fields = [kind(np.random.default_rng(seed), 16) for seed in range(8)]
    assert all(field.shape == (3, 16, 16, 16) and np.isfinite(field).all() and field.std() > 0 for field in fields)
    assert len({field.tobytes() for field in fields}) == len(fields)


@pytest.mark.parametrize("flow", KINDS)
def test_a_run_goes_on_to_the_same_fields(tmp_path: Path, flow: str) -> None:
    command = ["simulate", "--flow", flow, "--n", "16", "--interval", "0.3", "--out", str(tmp_path)]
    assert main([*command, "--snapshots", "2"]) == 0
    assert main([*command, "--snapshots", "8"]) == 0
    run = StoredRun(tmp_path / f"{flow}-16-seed1")
    assert (run.flow, run.cells, run.boundary) == (flow, (16, 16, 16), ("periodic", "periodic", "periodic"))
    recipe = recipe_of(flow, 16, 1, interval=0.3)
    Run(recipe, tmp_path / "once", FLOWS[flow].make).advance(8)
    once = StoredRun(tmp_path / "once")
    for index in range(8):
        assert np.array_equal(run[index], once[index])
        assert np.square(run[index]).mean() == pytest.approx(1, rel=1e-5)


def test_random_phases_have_the_spectrum_and_the_divergence_that_were_drawn() -> None:
    n, slope, cutoff = 32, 2.0, 0.5

    class Drawn(np.random.Generator):
        def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
            return slope if (low, high) == (0, 6) else cutoff

        def random(self) -> float:  # type: ignore[override]
            return 0.0

    field = synthetic.random_phases(Drawn(np.random.PCG64(0)), n)
    modes = np.fft.fftn(field, axes=(1, 2, 3))
    k = np.stack(np.meshgrid(*[np.fft.fftfreq(n, 1 / n)] * 3, indexing="ij"))
    inside = np.abs(k).max(axis=0) < n / 2  # Nyquist modes have no direction
    assert np.abs((k[::-1] * modes).sum(axis=0)[inside]).max() < 1e-9 * np.abs(modes).max()
    shells = np.sqrt((k**2).sum(axis=0)).round().astype(int)
    energy = np.bincount(shells.ravel(), (np.abs(modes) ** 2).sum(axis=0).ravel())
    wavenumbers = np.arange(2, 14)
    found = np.polyfit(np.log(wavenumbers), np.log(energy[2:14]) + (wavenumbers / (cutoff * n)) ** 2, 1)[0]
    assert found == pytest.approx(-slope, abs=0.3)


@pytest.mark.parametrize("option", [["--box", "0.5"], ["--frames", "3"], ["--compact"]])
def test_what_synthetic_fields_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--flow", "synthetic", "--n", "16", "--out", str(tmp_path), *option])
    assert "box, frames, compact of synthetic fields" in capsys.readouterr().err
