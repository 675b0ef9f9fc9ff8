"""The isotropic flow against exact solutions, its own budgets, and itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from training.__main__ import main
from training.dataset import StoredRun
from training.flows.isotropic import Forcing, IsotropicSimulation, viscosity
from training.flows.periodic import Flow, statistics
from training.flows.periodic_grid import Grid, random_modes, refine
from training.runs import Recipe, Run

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

DOUBLE = torch.float64


def points(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y and z on the grid, each (z, y, x)."""
    axis = torch.arange(grid.n, dtype=grid.dtype) * grid.spacing
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def forced(grid: Grid, modes: Tensor, power: float = 1.0) -> Flow:
    """Return isotropic turbulence, driven at a given power."""
    return Flow(grid, modes, nu=viscosity(grid.n), terms=(Forcing(grid, power),))


def run(flow: Flow, until: float) -> None:
    while flow.time < until:
        flow.step(until)


def taylor_green(grid: Grid, time: float, nu: float, drift: tuple[float, float, float]) -> Tensor:
    """Exact decaying vortex, carried along by a uniform flow."""
    x, y, _ = points(grid)
    x, y = x - drift[0] * time, y - drift[1] * time
    decay = math.exp(-2 * nu * time)
    u = torch.sin(x) * torch.cos(y) * decay + drift[0]
    v = -torch.cos(x) * torch.sin(y) * decay + drift[1]
    return torch.stack((u, v, torch.full_like(u, drift[2])))


def drifting_error(dt: float) -> float:
    """Largest error of a drifting vortex after one unit of time."""
    grid, nu, drift = Grid(16, dtype=DOUBLE), 0.05, (0.9, -0.6, 0.3)
    flow = Flow(grid, grid.to_spectral(taylor_green(grid, 0, nu, drift)), nu=nu)
    for _ in range(round(1 / dt)):
        flow.step(dt=dt)
    return float((flow.velocity() - taylor_green(grid, flow.time, nu, drift)).abs().max())


def test_taylor_green_decays_exactly() -> None:
    """At rest, its nonlinear term is a gradient and its viscous decay is integrated exactly."""
    grid, nu = Grid(16, dtype=DOUBLE), 0.1
    flow = Flow(grid, grid.to_spectral(taylor_green(grid, 0, nu, (0, 0, 0))), nu=nu)
    run(flow, 1.0)
    assert flow.time == 1.0
    exact = taylor_green(grid, 1.0, nu, (0, 0, 0))
    assert float((flow.velocity() - exact).abs().max()) < 1e-14


def test_time_stepping_is_second_order() -> None:
    """A drifting vortex is exact too, but only the time stepping can carry it."""
    coarse, middle, fine = (drifting_error(dt) for dt in (0.04, 0.02, 0.01))
    assert fine < 1e-4
    assert math.log2(coarse / middle) == pytest.approx(2, abs=0.1)
    assert math.log2(middle / fine) == pytest.approx(2, abs=0.1)


def test_transforms_invert_each_other_and_keep_energy() -> None:
    """Coefficients, values and energy agree."""
    grid = Grid(20, dtype=DOUBLE)
    modes = random_modes(grid, 3)
    values = grid.to_physical(modes)
    torch.testing.assert_close(grid.to_spectral(values), modes, rtol=0, atol=1e-15)
    energy = float(values.square().sum(0).mean()) / 2
    assert float(grid.energy_density(modes).sum()) == pytest.approx(energy, rel=1e-13)
    assert energy == pytest.approx(2, rel=1e-13)
    full = torch.fft.rfftn(values, dim=(-3, -2, -1), norm="forward")
    torch.testing.assert_close(full[:, :3, -2:, 4], modes[:, :3, -2:, 4], rtol=0, atol=1e-15)


def test_components_and_axes_are_paired() -> None:
    """Component 0 belongs to the last axis."""
    grid = Grid(12, dtype=DOUBLE)
    x, y, z = points(grid)
    zero = torch.zeros_like(x)
    modes = grid.to_spectral(torch.stack((torch.sin(x), torch.sin(2 * y), torch.sin(3 * z))))
    expected = torch.cos(x) + 2 * torch.cos(2 * y) + 3 * torch.cos(3 * z)
    torch.testing.assert_close(grid.to_physical(grid.divergence(modes)), expected)
    modes = grid.to_spectral(torch.stack((torch.sin(z), torch.sin(2 * x), torch.sin(3 * y))))
    expected = torch.stack((3 * torch.cos(3 * y), torch.cos(z), 2 * torch.cos(2 * x)))
    torch.testing.assert_close(grid.to_physical(grid.curl(modes)), expected)
    torch.testing.assert_close(
        grid.to_physical(grid.project(grid.to_spectral(torch.stack((torch.sin(x), zero, zero))))),
        torch.zeros(3, 12, 12, 12, dtype=DOUBLE),
    )


@pytest.mark.parametrize("n", [12, 15, 16, 24])
def test_nonlinear_term_has_no_aliasing(n: int) -> None:
    """Compare: u x omega on the grid equals -(u.grad) u on one twice as fine, after projection."""
    grid, fine = Grid(n, dtype=DOUBLE), Grid(2 * n, dtype=DOUBLE)
    modes = grid.project(grid.to_spectral(torch.randn(3, n, n, n, dtype=DOUBLE)))
    flow = Flow(grid, modes, nu=0.0)
    found, _, _ = flow._tendency(modes)
    padded = refine(modes, grid, fine)
    velocity = fine.to_physical(padded)
    advection = torch.zeros_like(velocity)
    for component, k in zip(velocity, (fine.kx, fine.ky, fine.kz), strict=True):
        advection -= component * fine.to_physical(1j * k * padded)
    expected = fine.project(fine.to_spectral(advection))
    padded_found = refine(found, grid, fine)
    kept = refine(torch.ones_like(modes), grid, fine).real
    assert float((padded_found - expected * kept).abs().max()) < 1e-12 * float(found.abs().max())


def test_forcing_injects_what_it_should() -> None:
    """Whatever the flow, the force does work at the rate asked for."""
    grid = Grid(24, dtype=DOUBLE)
    for seed, injection in ((1, 1.0), (2, 0.4)):
        flow = forced(grid, random_modes(grid, seed), injection)
        run(flow, 0.3)
        assert flow.power() == pytest.approx(injection, rel=1e-12)
        velocity, force = flow.velocity(), grid.to_physical(flow.terms[0](flow.modes))
        assert float((velocity * force).sum(0).mean()) == pytest.approx(injection, rel=1e-12)


def test_energy_budget_closes_and_flow_stays_solenoidal() -> None:
    """The change of energy is what was injected less what was dissipated, within 1 %."""
    grid = Grid(32, dtype=DOUBLE)
    flow = forced(grid, random_modes(grid, 5))
    start = flow.energy()
    run(flow, 3.0)
    found = statistics(flow)
    assert flow.budget.injected == pytest.approx(3, rel=1e-12)
    residual = (flow.energy() - start - flow.budget.injected) / flow.budget.dissipated + 1
    assert found.budget == pytest.approx(residual, abs=1e-12)
    assert abs(residual) < 0.01
    assert found.divergence < 1e-14


def test_round_off_that_is_no_velocity_is_not_amplified() -> None:
    """The forcing acts on all low modes; a gradient or an imaginary field in them must not grow."""
    grid = Grid(16, dtype=DOUBLE)
    modes = random_modes(grid, 1)
    modes[0, 0, 0, 1] += 1e-3
    modes[0, 1, 1, 0] += 1e-3j
    flow = forced(grid, modes)
    flow.step()
    found = grid.divergence(flow.modes)
    assert float(found.abs().max()) < 1e-15
    torch.testing.assert_close(grid.to_spectral(flow.velocity()), flow.modes, rtol=0, atol=1e-15)


def test_statistics_of_a_known_field() -> None:
    """Numbers that can be worked out by hand for the Taylor-Green vortex."""
    grid = Grid(16, dtype=DOUBLE)
    modes = grid.to_spectral(taylor_green(grid, 0, 1, (0, 0, 0)))
    modes[2] = grid.to_spectral(torch.sin(points(grid)[0]))
    found = statistics(Flow(grid, modes, nu=0.02))
    # <u^2> = <v^2> = 1/4, <w^2> = 1/2; <omega^2> = 1 + 1/2.
    assert found.energy == pytest.approx(0.5)
    assert found.enstrophy == pytest.approx(0.75)
    assert found.dissipation == pytest.approx(0.03)
    assert found.reynolds == pytest.approx(1 / 3 * math.sqrt(15 / (0.02 * 0.03)))
    assert found.resolution == pytest.approx(16 / 3 * (0.02**3 / 0.03) ** 0.25)


def test_skewness_and_flatness_of_a_known_field() -> None:
    """du/dx = cos a + cos 2a has skewness 3/4, flatness 9/4, along every axis."""
    grid = Grid(16, dtype=DOUBLE)
    x, y, z = points(grid)
    field = torch.stack([torch.sin(a) + torch.sin(2 * a) / 2 for a in (x, y, z)])
    found = statistics(Flow(grid, grid.to_spectral(field), nu=0.1))
    assert found.skewness == pytest.approx(0.75)
    assert found.flatness == pytest.approx(2.25)


def test_small_box_is_turbulent() -> None:
    """The numbers that a developed flow has, within the scatter of a small box."""
    grid = Grid(32)
    flow = forced(grid, random_modes(grid, 7))
    assert flow.nu == pytest.approx(viscosity(32))
    run(flow, 5.0)
    found = []
    for moment in (5.0, 6.0, 7.0, 8.0):
        run(flow, moment)
        found.append(statistics(flow))
    mean = {key: sum(getattr(f, key) for f in found) / 4 for key in vars(found[0])}
    assert -0.6 < mean["skewness"] < -0.35
    assert 3.2 < mean["flatness"] < 5
    assert 0.6 < mean["dissipation"] < 1.4
    assert 1.3 < mean["resolution"] < 1.55
    assert 15 < mean["reynolds"] < 40
    assert max(abs(f.budget) for f in found) < 0.01
    assert max(f.divergence for f in found) < 1e-6


def test_refinement_keeps_the_field() -> None:
    """On twice the points the spectrum is the same, and so are the values on shared points."""
    coarse, fine = Grid(16, dtype=DOUBLE), Grid(32, dtype=DOUBLE)
    modes = random_modes(coarse, 2)
    refined = refine(modes, coarse, fine)
    before = coarse.shells(coarse.energy_density(modes))
    after = fine.shells(fine.energy_density(refined))
    torch.testing.assert_close(after[: len(before)], before, rtol=1e-13, atol=0)
    assert float(after[len(before) :].sum()) == 0
    values = fine.to_physical(refined)[:, ::2, ::2, ::2]
    torch.testing.assert_close(values, coarse.to_physical(modes), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="cannot refine from n = 32 to n = 16"):
        refine(refined, fine, coarse)


def test_seeds_decide_the_start() -> None:
    """One seed, one field; another seed, an unrelated one."""
    grid = Grid(16)
    first, again, other = (random_modes(grid, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    product = float((grid.to_physical(first) * grid.to_physical(other)).sum(0).mean())
    assert abs(product) < 0.5 * 4
    torch.testing.assert_close(grid.shells(grid.energy_density(first)), grid.shells(grid.energy_density(other)))


def test_too_small_a_box_is_refused() -> None:
    """Without room for the forced modes there is no flow."""
    with pytest.raises(ValueError, match="n is 8"):
        Grid(8)


def test_a_flow_that_blows_up_says_so() -> None:
    """Nothing that is not finite is stepped or stored."""
    grid = Grid(12)
    flow = forced(grid, random_modes(grid, 1) * math.inf)
    with pytest.raises(FloatingPointError, match="no longer finite"):
        flow.step()


def test_spin_up_is_refined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow starts on few points and its snapshots have many, with their own viscosity."""
    monkeypatch.setattr("training.flows.periodic_simulation.SPIN_UP_POINTS", 16)
    recipe = Recipe("isotropic", 24, 4, interval=0.1, spin_up=0.2, settle=0.1)
    simulation = IsotropicSimulation(recipe, "cpu")
    assert simulation.now.grid.n == 16
    run = Run(recipe, tmp_path, lambda *_: simulation)
    run.advance(1)
    assert simulation.now.nu == pytest.approx(viscosity(24))
    assert StoredRun(tmp_path)[0].shape == (3, 24, 24, 24)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person types, what comes out, and what is refused."""
    command = ["simulate", "--n", "16", "--seed", "9", "--snapshots", "2", "--interval", "0.1",
               "--spin-up", "0.2", "--settle", "0.1", "--out", str(tmp_path)]  # fmt: skip
    assert main(command) == 0
    assert "what is injected" in capsys.readouterr().out
    run = StoredRun(tmp_path / "isotropic-16-seed9")
    assert (run.name, run.flow, run.n, run.seed, len(run)) == (
        "isotropic-16-seed9", "isotropic", 16, 9, 2,
    )  # fmt: skip
    for snapshot in run:
        assert snapshot.dtype == np.float32
        assert isinstance(snapshot, np.memmap)
        assert not snapshot.flags.writeable
        assert np.abs(snapshot.mean(axis=(1, 2, 3))).max() < 1e-6
    np.testing.assert_array_equal(run[-1], run[1])
    with pytest.raises(IndexError, match="has 2 snapshots"):
        run[2]

    with pytest.raises(SystemExit) as refused:
        main([*command, "--settle", "0.4"])
    assert refused.value.code == 2
    assert "holds another run" in capsys.readouterr().err
