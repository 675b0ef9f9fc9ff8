"""The channel against exact solutions, linear stability theory, its own balances, and itself."""

from __future__ import annotations

import io
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.training.flows.channels import DOUBLE, box, flux, laminar, largest, reflect_y, reflect_z, still
from training.flows.channel import BULK, Flow, eddies, reichardt, start
from training.flows.channel_grid import Grid
from training.flows.channel_statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor


def test_poiseuille_flow_stays() -> None:
    """The laminar flow is steady, the force holds it, and it is a parabola to second order."""
    errors = []
    for ny in (16, 32):
        grid = box(4, ny, 4)
        modes = laminar(grid, 2.0)
        flow = Flow(grid, modes, nu=0.1, bulk=2.0)
        for _ in range(20):
            flow.step(dt=0.05)
        assert largest(flow.modes - modes) < 1e-12
        assert flow.force == pytest.approx(3 * flow.nu * 2, rel=0.02)
        assert flow.force == pytest.approx(flow.nu * float(modes[0, 0, 0, 0].real) / (grid.centres[0] + 1), rel=1e-11)
        exact = torch.from_numpy(3 * (1 - grid.centres**2))
        errors.append(largest(modes[0, :, 0, 0].real - exact))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_couette_flow_stays() -> None:
    """The laminar flow between moving walls is linear and steady, with the same stress everywhere."""
    grid = box(4, 16, 4)
    modes = still(grid)
    modes[0, :, 0, 0] = 0.7 * torch.from_numpy(grid.centres)
    flow = Flow(grid, modes.clone(), nu=0.1, bulk=None, wall=0.7)
    for _ in range(20):
        flow.step(dt=0.05)
    assert largest(flow.modes - modes) < 1e-14
    assert flow.stress == pytest.approx(0.07)
    uniform = 0.7 * torch.linspace(-0.9, 0.9, 10, dtype=DOUBLE)
    torch.testing.assert_close(flow.velocity_uniform(10)[0, 2, :, 3], uniform)
    averages = Statistics(grid, nu=0.1, wall=0.7)
    averages.add(flow)
    found = averages.profile()
    assert found.re_tau == pytest.approx(math.sqrt(0.07) / 0.1)
    assert found.deviation < 1e-12
    np.testing.assert_allclose(found.mean * math.sqrt(0.07), 0.7 * (grid.centres[:8] + 1))


def test_walls_set_the_fluid_in_motion_as_theory_says() -> None:
    """From rest: ``y + sum 2 (-1)^n / (n pi) sin(n pi y) exp(-n^2 pi^2 nu t)``, to second order in y."""
    errors = []
    for ny in (16, 32):
        grid = box(4, ny, 4)
        flow = Flow(grid, still(grid), nu=0.5, bulk=None, wall=1.0)
        for _ in range(100):
            flow.step(dt=0.003)
        n = np.arange(1, 30)[:, None]
        decay = np.exp(-0.5 * (n * math.pi) ** 2 * 0.3)
        waves = 2 * (-1.0) ** n / (n * math.pi) * np.sin(n * math.pi * grid.centres) * decay
        errors.append(largest(flow.modes[0, :, 0, 0].real - torch.from_numpy(grid.centres + waves.sum(axis=0))))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_turbulence_between_moving_walls_looks_the_same_after_half_a_turn() -> None:
    """About z: u and v change their signs with x and y."""
    grid = box()
    modes = eddies(grid, 4, 0.2)
    modes[0, :, 0, 0] = torch.from_numpy(grid.centres)

    def turned(modes: Tensor) -> Tensor:
        # x -> -x and y -> -y: as modes along x are half of all, conjugate and mirror z instead.
        image = reflect_y(modes).conj().flip(-2).roll(1, -2)
        return image * torch.tensor([-1, 1, 1]).view(3, 1, 1, 1)

    one = Flow(grid, modes, nu=0.01, bulk=None, wall=1.0)
    other = Flow(grid, turned(modes), nu=0.01, bulk=None, wall=1.0)
    for _ in range(5):
        one.step(dt=0.01)
        other.step(dt=0.01)
    assert largest(other.modes - modes) > 0.01
    assert largest(turned(one.modes) - other.modes) < 1e-12


def test_viscous_modes_decay_at_their_rate() -> None:
    """cos(pi y / 2) decays at nu pi^2 / 4, with errors of second order in y and in time."""
    nu, until = 0.3, 1.0

    def error(ny: int, dt: float) -> float:
        grid = box(4, ny, 4)
        modes = still(grid)
        shape = torch.cos(math.pi / 2 * torch.from_numpy(grid.centres))
        modes[0, :, 0, 0] = shape
        flow = Flow(grid, modes, nu=nu, bulk=None)
        for _ in range(round(until / dt)):
            flow.step(dt=dt)
        assert flow.force == 0
        return float((flow.modes[0, :, 0, 0].real / shape).mean()) - math.exp(-nu * math.pi**2 / 4 * until)

    errors = [error(ny, 0.01) for ny in (16, 32, 64)]
    assert abs(errors[2]) < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)
    finest = error(16, 0.01)
    assert (error(16, 0.2) - finest) / (error(16, 0.1) - finest) == pytest.approx(4, rel=0.1)


def test_inviscid_energy_drifts_only_with_the_time_step() -> None:
    """What time stepping loses shrinks with the third power of the step or faster."""
    grid = box(12, 12, 12)
    modes = start(grid, 4, bulk=1.0)
    losses = []
    for dt in (0.04, 0.02):
        flow = Flow(grid, modes, nu=0, bulk=None)
        for _ in range(round(0.4 / dt)):
            flow.step(dt=dt)
        losses.append(abs(grid.inner(flow.modes, flow.modes) / grid.inner(modes, modes) - 1))
    assert losses[1] < 1e-4
    assert losses[0] / losses[1] > 6


def test_balances_hold_at_every_step() -> None:
    """Divergence, flux, mean of v and walls, in float64 to round-off and in float32 to its own."""
    for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 2e-5)):
        grid = box(dtype=dtype)
        flow = Flow(grid, start(grid, 5))
        gradient = largest(grid.to_physical(flow.modes[0]).diff(dim=0) / grid.gaps[1:])
        for _ in range(10):
            dt = flow.step()
            assert largest(grid.divergence(flow.modes)) < tolerance * gradient
            assert flux(flow) == pytest.approx(BULK, rel=tolerance)
            assert largest(flow.modes[1, :, 0, 0]) == 0
            assert largest(flow.modes[1, 0]) == 0
        assert 1e-4 < dt < 0.1
        assert flow.steps == 10
    until = flow.time + 1.4 * dt
    assert flow.step(until) == pytest.approx(0.7 * dt)  # no tiny step is left over
    flow.step(until)
    assert (flow.time, flow.steps) == (until, 12)


def test_time_stepping_is_second_order() -> None:
    """With convection, viscosity and pressure all at work: halved steps come four times as close."""
    grid = box(12, 16, 12)
    flow = Flow(grid, start(grid, 7, bulk=1.0, nu=0.05), nu=0.05, bulk=1.0)
    for _ in range(40):
        flow.step(dt=0.01)
    state, ends = flow.state(), []
    for steps in (16, 32, 64):
        flow = Flow.restore(grid, state)
        for _ in range(steps):
            flow.step(dt=0.4 / steps)
        ends.append(flow.modes)
    coarse, fine = (one - other for one, other in itertools.pairwise(ends))
    assert math.sqrt(grid.inner(coarse, coarse) / grid.inner(fine, fine)) == pytest.approx(4, abs=0.4)
    assert math.sqrt(grid.inner(fine, fine)) < 1e-4


def orr_sommerfeld(
    reynolds: float, alpha: float, points: int = 81
) -> tuple[complex, NDArray[np.float64], NDArray[np.complex128]]:
    """Least stable eigenvalue -i omega of Poiseuille flow, and v of its mode at Chebyshev points (Orszag 1971)."""
    n = points - 1
    y = np.cos(math.pi * np.arange(points) / n)
    ends = np.where((np.arange(points) % n) == 0, 2.0, 1.0) * (-1.0) ** np.arange(points)
    first = np.outer(ends, 1 / ends) / (y[:, None] - y[None] + np.eye(points))
    first -= np.diag(first.sum(axis=1))
    second = first @ first
    # v = (1 - y^2) q, so that v and its slope vanish on the walls when q does (Trefethen 2000, program 40).
    scale = np.diag(np.concatenate(([0], 1 / (1 - y[1:-1] ** 2), [0])))
    fourth = np.diag(1 - y**2) @ np.linalg.matrix_power(first, 4) - 8 * np.diag(y) @ np.linalg.matrix_power(first, 3)
    fourth = ((fourth - 12 * second) @ scale)[1:-1, 1:-1]
    second, eye, u = second[1:-1, 1:-1], np.eye(n - 1), np.diag(1 - y[1:-1] ** 2)
    laplace = second - alpha**2 * eye
    operator = (fourth - 2 * alpha**2 * second + alpha**4 * eye) / reynolds - 1j * alpha * (u @ laplace + 2 * eye)
    values, vectors = np.linalg.eig(np.linalg.solve(laplace.astype(complex), operator))
    best = values.real.argmax()
    return complex(values[best]), y, np.concatenate(([0], vectors[:, best], [0]))


def test_tollmien_schlichting_wave_grows_as_theory_says() -> None:
    """At Re = 7500, alpha = 1 the growth rate is 0.00223497; the error falls with the square of the spacing."""
    value, y, v = orr_sommerfeld(7500, 1.0)
    assert value.real == pytest.approx(0.00223497, abs=1e-7)
    errors = []
    for ny in (64, 96):
        grid = box(4, ny, 1, length_x=2 * math.pi)
        modes = laminar(grid, 2 / 3)
        series = np.polynomial.chebyshev.Chebyshev(np.polynomial.chebyshev.chebfit(y, v, len(y) - 1))
        modes[1, 1:, 0, 1] = 1e-6 * torch.from_numpy(series(grid.faces[1:-1]) / np.abs(v).max())
        modes[0, :, 0, 1] = -grid.divergence(modes)[:, 0, 1] / 1j
        flow = Flow(grid, modes, nu=1 / 7500, bulk=2 / 3, frame=0.4)
        waves = []
        for _ in range(2):
            for _ in range(150):
                flow.step(dt=0.05)
            wave = flow.modes.clone()
            wave[..., 0] = 0
            waves.append(grid.inner(wave, wave))
        errors.append(math.log(waves[1] / waves[0]) / (2 * 7.5) - value.real)
    assert errors[0] / errors[1] == pytest.approx((96 / 64) ** 2, rel=0.05)
    assert errors[1] + (errors[1] - errors[0]) / ((96 / 64) ** 2 - 1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("reflect", [reflect_z, reflect_y])
def test_a_reflected_start_gives_the_reflected_flow(reflect: Callable[[Tensor], Tensor]) -> None:
    """The channel is the same seen in either mirror."""
    grid = box()
    modes = start(grid, 6)
    one, other = Flow(grid, modes), Flow(grid, reflect(modes))
    assert largest(one.modes - other.modes) > 0.1
    for _ in range(5):
        one.step(dt=0.005)
        other.step(dt=0.005)
    assert largest(reflect(one.modes) - other.modes) < 1e-11


def test_frames_agree() -> None:
    """The frame changes the errors of time stepping, not the flow; those fall by the square of the step or faster."""
    grid = box(12, 12, 12)
    modes = start(grid, 7, bulk=1.0, nu=0.01)
    differences = []
    for dt in (0.04, 0.02):
        fields = []
        for frame in (0.0, 0.9):
            flow = Flow(grid, modes, nu=0.01, bulk=1.0, frame=frame)
            for _ in range(round(0.4 / dt)):
                flow.step(dt=dt)
            assert flow.offset == pytest.approx(0.4 * frame)
            fields.append(flow.velocity_uniform(8))
        differences.append(largest(fields[1] - fields[0]))
    assert differences[1] < 1e-3
    assert differences[0] / differences[1] > 3.5


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_restored_flow_goes_on_to_the_same_numbers(dtype: torch.dtype) -> None:
    """Through a file, bit for bit."""
    grid = box(dtype=dtype)
    flow = Flow(grid, start(grid, 8))
    while flow.time < 0.02:
        flow.step(0.02)
    file = io.BytesIO()
    np.savez(file, **flow.state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        again = Flow.restore(grid, dict(state))
    assert again.force == flow.force
    for _ in range(3):
        assert flow.step() == again.step()
    assert torch.equal(flow.modes, again.modes)
    assert torch.equal(flow.velocity_uniform(16), again.velocity_uniform(16))
    assert (flow.time, flow.steps, flow.force) == (again.time, again.steps, again.force)
    with pytest.raises(ValueError, match=r"modes are \(3, 24, 7, 6\)"):
        Flow.restore(box(16, 24, 16, dtype=dtype), flow.state())
    other = DOUBLE if dtype == torch.float32 else torch.float32
    with pytest.raises(ValueError, match=f"the grid's .* torch.complex{128 if other == DOUBLE else 64}"):
        Flow.restore(box(dtype=other), flow.state())
    unforced = Flow.restore(grid, Flow(grid, flow.modes, bulk=None).state())
    assert unforced.bulk is None


def test_seeds_decide_the_start() -> None:
    """One seed, one field, on every grid and in both precisions; another seed, another field."""
    grid = box(16, 24, 16)
    first, again, other = (start(grid, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert largest(first - other) > 0.5
    assert largest(grid.divergence(first)) < 1e-11
    single = start(box(16, 24, 16, dtype=torch.float32), 1)
    torch.testing.assert_close(single.to(torch.complex128), first, rtol=0, atol=1e-4)
    finer = start(box(24, 24, 20), 1)
    torch.testing.assert_close(finer[:, :, :5, :5], first[:, :, :5, :5])
    eddies = first.clone()
    eddies[:, :, 0, 0] = 0
    assert math.sqrt(grid.inner(eddies, eddies) / 3) == pytest.approx(0.15 * BULK)
    assert reichardt(np.array([-1.0, 0.0, 1.0])) == pytest.approx([0, 18.5, 0], abs=0.3)


def test_what_cannot_be_is_refused() -> None:
    """Too few cells, and a flow that is not finite."""
    with pytest.raises(ValueError, match="4 cells along y"):
        Grid(8, 3, 8)
    grid = box(8, 8, 8)
    flow = Flow(grid, start(grid, 1) * math.inf)
    with pytest.raises(FloatingPointError, match="no longer finite"):
        flow.step()
