"""Each flow in a periodic box against what is known exactly of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from training.flows.decaying import taylor_green
from training.flows.isotropic import EddyViscosity, Forcing
from training.flows.kinds import FLOWS, recipe_of
from training.flows.kolmogorov import KolmogorovSimulation, steady_force
from training.flows.periodic import Flow, statistics
from training.flows.periodic_grid import Grid, random_modes, refine
from training.flows.periodic_simulation import PeriodicSimulation
from training.flows.rotating import Coriolis, RotatingSimulation
from training.flows.sheared import ShearedFlow
from training.flows.stratified import Buoyancy

if TYPE_CHECKING:
    from torch import Tensor

    from training.flows.periodic import Term

DOUBLE = torch.float64


def test_fast_waves_are_resolved_and_keep_their_energy() -> None:
    """However slow the fluid is."""
    recipe = recipe_of("rotating", 12, 1, options={"rotation": 20.0})
    flow = RotatingSimulation(recipe, "cpu").now
    flow = RotatingSimulation(recipe, "cpu").flow(flow.grid, 1e-6 * flow.modes, 0.0)
    flow.nu, flow.terms = 0.0, flow.terms[1:]  # without viscosity and forcing
    before = flow.energy()
    while flow.time < 0.5:
        flow.step(0.5)
    assert flow.energy() == pytest.approx(before, rel=0.02)


def test_an_inertial_wave_has_its_frequency() -> None:
    """A circular wave of wave vector k turns at 2 Omega k_z / |k|; it is an exact solution."""
    grid, rotation, nu = Grid(12, dtype=DOUBLE), 3.0, 0.02
    k = torch.tensor([1.0, 2.0, 2.0], dtype=DOUBLE)
    first = torch.linalg.cross(k, torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE))
    first /= first.norm()
    wave = torch.complex(first, torch.linalg.cross(k / k.norm(), first))
    modes = torch.zeros(3, 7, 7, 4, dtype=torch.complex128)
    modes[:, 2, 2, 1] = wave
    flow = Flow(grid, modes, nu=nu, terms=(Coriolis(rotation),))
    for _ in range(400):
        flow.step(dt=0.001)
    found = torch.linalg.vecdot(wave, flow.modes[:, 2, 2, 1]) / 2
    assert abs(found) == pytest.approx(math.exp(-nu * 9 * flow.time), rel=1e-6)
    assert abs(torch.angle(found)) == pytest.approx(2 * rotation * 2 / 3 * flow.time, rel=1e-5)
    others = flow.modes.clone()
    others[:, 2, 2, 1] = 0
    assert float(others.abs().max()) < 1e-15


@pytest.mark.parametrize("kz", [0, 1])
def test_an_internal_wave_has_its_frequency(kz: int) -> None:
    """N for a horizontal wave vector (Brunt & Vaisala), N k_h / |k| for others."""
    grid, frequency = Grid(12, dtype=DOUBLE), 2.0
    modes = torch.zeros(4, 7, 7, 4, dtype=torch.complex128)
    modes[2, kz, 0, 1], modes[0, kz, 0, 1] = 1.0, -kz
    flow = Flow(grid, modes.clone(), nu=0.0, terms=(Buoyancy(frequency),))
    omega = frequency / math.sqrt(1 + kz**2)
    for _ in range(500):
        flow.step(dt=0.001)
    torch.testing.assert_close(flow.modes[:3], modes[:3] * math.cos(omega * flow.time), rtol=0, atol=1e-5)
    buoyancy = -frequency / omega * math.sin(omega * flow.time)
    assert float(flow.modes[3, kz, 0, 1].real) == pytest.approx(buoyancy, rel=1e-5)


def test_a_wave_in_a_shear_turns_and_grows_as_theory_says() -> None:
    """``v |k|^2`` stays but for viscosity (Lord Kelvin, 1887), while the grid is sheared back three times."""
    shear, nu = 2.0, 0.02
    modes = torch.zeros(3, 7, 7, 4, dtype=torch.complex128)
    modes[1, 1, 2, 1], modes[0, 1, 2, 1] = 1.0, -2.0  # k = (1, 2, 1) along x, y, z
    flow = ShearedFlow(Grid(12, dtype=DOUBLE), modes, shear=shear, nu=nu)
    while flow.time < 1.5:
        flow.step(1.5, dt=0.001)
    strain = shear * flow.time
    square = 2 * flow.time + (8 - (2 - strain) ** 3) / (3 * shear)
    found = flow.modes[1, 1, -1, 1]
    assert found.real == pytest.approx(6 / (2 + (2 - strain) ** 2) * math.exp(-nu * square), rel=1e-5)
    others = flow.modes.clone()
    others[:, 1, -1, 1] = 0
    assert float(others.abs().max()) < 1e-14
    assert float(flow.grid.divergence(flow.modes).abs().max()) < 1e-14


def test_a_sheared_flow_closes_its_budget() -> None:
    grid = Grid(24, dtype=DOUBLE)
    flow = ShearedFlow(grid, random_modes(grid, 1), shear=2.0, nu=0.05)
    while flow.time < 1:
        flow.step(1, dt=0.005)
    assert abs(flow.budget.residual(flow.energy())) < 1e-3
    assert flow.budget.injected > 0.1


def test_laminar_kolmogorov_flow_is_in_balance() -> None:
    """``U = F / nu``, and what the force does is what viscosity takes."""
    grid, nu = Grid(12, dtype=DOUBLE), 0.5
    modes = torch.zeros(3, 7, 7, 4, dtype=torch.complex128)
    modes[0, 1, 0, 0] = modes[0, -1, 0, 0] = 1 / (2 * nu)
    flow = Flow(grid, modes, nu=nu, terms=(steady_force,))
    z = torch.arange(12, dtype=DOUBLE) * grid.spacing
    torch.testing.assert_close(flow.velocity()[0, :, 3, 5], torch.cos(z) / nu)
    for _ in range(20):
        flow.step(dt=0.01)
    # The viscous term alone is exact in time.
    torch.testing.assert_close(flow.modes, modes, rtol=0, atol=1e-4)
    assert flow.power() == pytest.approx(flow.dissipation(), rel=1e-4)
    assert flow.budget.injected == pytest.approx(flow.time / (2 * nu), rel=1e-4)


def test_the_taylor_green_vortex_stretches_as_its_series_says() -> None:
    """Enstrophy without viscosity: 3/8 (1 + 5/48 t^2 + 50/6336 t^4 ...) (Taylor & Green, Proc. R. Soc. A 158, 1937)."""
    grid = Grid(24, dtype=DOUBLE)
    flow = Flow(grid, taylor_green(grid), nu=0.0)
    for _ in range(40):
        flow.step(dt=0.01)
    enstrophy = float((grid.k_squared * grid.energy_density(flow.modes)).sum())
    assert enstrophy == pytest.approx(0.375 * (1 + 5 / 48 * 0.4**2 + 50 / 6336 * 0.4**4), rel=2e-5)
    assert flow.energy() == pytest.approx(1 / 8, rel=1e-6)


@pytest.mark.parametrize("term", [Coriolis(2.0), Buoyancy(2.0)], ids=["rotation", "buoyancy"])
def test_what_does_no_work_conserves_energy(term: Term) -> None:
    """Without viscosity the energy stays but for time stepping, whose error falls with the third power or faster."""
    grid = Grid(16, dtype=DOUBLE)
    start = random_modes(grid, 3)
    start = torch.cat((start, random_modes(grid, 4)[:1]))
    assert abs(grid.inner(start, term(start))) < 1e-14
    losses = []
    for dt in (0.01, 0.005):
        flow = Flow(grid, start, nu=0.0, terms=(term,))
        before = flow.energy()
        for _ in range(round(0.1 / dt)):
            flow.step(dt=dt)
        losses.append(abs(flow.energy() / before - 1))
        assert statistics(flow if flow.nu else Flow(grid, flow.modes, nu=1.0)).divergence < 1e-14
    assert losses[1] < 1e-5
    assert losses[0] / losses[1] > 6


def test_a_scalar_is_carried_along() -> None:
    """By a uniform flow it moves and decays, and keeps its shape."""
    grid, nu = Grid(16, dtype=DOUBLE), 0.1
    modes = torch.zeros(4, 11, 11, 6, dtype=torch.complex128)
    modes[0, 0, 0, 0] = 0.7
    modes[3, 0, 0, 2] = 0.5
    flow = Flow(grid, modes, nu=nu)
    for _ in range(100):
        flow.step(dt=0.005)
    expected = 0.5 * math.exp(-4 * nu * 0.5) * complex(math.cos(0.7), -math.sin(0.7))
    assert complex(flow.modes[3, 0, 0, 2]) == pytest.approx(expected, rel=1e-4)


def test_a_scalar_is_refined_with_the_flow() -> None:
    coarse, fine = Grid(12, dtype=DOUBLE), Grid(16, dtype=DOUBLE)
    modes = torch.cat((random_modes(coarse, 1), random_modes(coarse, 2)[:1]))
    refined = refine(modes, coarse, fine)
    torch.testing.assert_close(fine.to_physical(refined, 12), coarse.to_physical(modes), rtol=0, atol=1e-14)


def test_what_may_not_be_forced_is_left_alone() -> None:
    grid = Grid(16, dtype=DOUBLE)
    modes = random_modes(grid, 1)
    force = Forcing(grid, 0.7, among=grid.kz != 0)(modes)
    assert float(force[:, 0].abs().max()) == 0
    assert grid.inner(force, modes) == pytest.approx(0.7)


def test_stress_and_amplitude_of_a_known_kolmogorov_flow() -> None:
    grid = Grid(16, dtype=DOUBLE)
    z, _, x = torch.meshgrid(*[torch.arange(16, dtype=DOUBLE) * grid.spacing] * 3, indexing="ij")
    u = 1.5 * z.cos() + 0.4 * x.cos() * z.sin()
    field = torch.stack((u, torch.zeros_like(u), x.cos()))
    found = KolmogorovSimulation.more(None, Flow(grid, grid.to_spectral(field), nu=0.1))  # type: ignore[arg-type]
    assert found == pytest.approx({"amplitude": 1.5, "stress": 0.2})


def test_the_eddy_viscosity_is_that_of_chollet_and_lesieur() -> None:
    """0.267 (1 + 34.5 exp(-3.03)) sqrt(E(k_c) / k_c) at the cutoff, 0.267 of the root far below."""
    grid = Grid(48, dtype=DOUBLE)
    modes = random_modes(grid, 1, peak=12.0)
    spectrum = grid.shells(grid.energy_density(modes))
    root = math.sqrt(float(spectrum[grid.cutoff]) / grid.cutoff)
    found = EddyViscosity(grid)(modes)
    assert float(found[0, 0, grid.cutoff]) == pytest.approx(0.267 * (1 + 34.5 * math.exp(-3.03)) * root, rel=1e-12)
    assert float(found[0, 0, 1]) == pytest.approx(0.267 * root, rel=1e-12)


@pytest.mark.parametrize(("flow", "options"), [("inertial", {}), ("isotropic", {"resolution": 0.7})])
def test_an_undamped_flow_closes_its_budget_and_does_not_pile_up(flow: str, options: dict[str, float]) -> None:
    recipe = recipe_of(flow, 32, 2, spin_up=0.0, options=options)
    simulation = FLOWS[flow].make(recipe, "cpu")
    assert isinstance(simulation, PeriodicSimulation)
    while simulation.time < 4:
        simulation.advance(4.0)
    assert abs(simulation.record()["budget"]) < 0.01
    grid = simulation.now.grid
    spectrum = grid.shells(grid.energy_density(simulation.now.modes))
    assert float(spectrum[grid.cutoff]) < float(spectrum[grid.cutoff - 3])


def test_fewest_points_hold_the_field() -> None:
    """They are a multiple of four, and give the same modes back."""
    for n in (16, 24, 64, 96):
        grid = Grid(n)
        assert grid.fewest % 4 == 0
        assert 2 * grid.cutoff + 1 <= grid.fewest < 2 * grid.cutoff + 6
    grid = Grid(24, dtype=DOUBLE)
    modes = random_modes(grid, 1)
    values = grid.to_physical(modes, grid.fewest)
    assert values.shape == (3, 16, 16, 16)
    found: Tensor = torch.fft.rfftn(values, dim=(-3, -2, -1), norm="forward")
    torch.testing.assert_close(found[:, :8, -7:, :8], modes[:, :8, -7:], rtol=0, atol=1e-14)
