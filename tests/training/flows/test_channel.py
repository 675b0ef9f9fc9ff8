"""The channel against exact solutions, linear stability theory, its own balances, and itself."""

from __future__ import annotations

import io
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from training.flows.channel import BULK, NU, Flow, eddies, reichardt, start
from training.flows.channel_grid import Grid
from training.flows.channel_statistics import Statistics, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DOUBLE = torch.float64


def box(
    nx: int = 16, ny: int = 24, nz: int = 12, *, dtype: torch.dtype = DOUBLE, length_x: float = 1.5 * math.pi
) -> Grid:
    """Return a small channel, in float64 if not said otherwise."""
    return Grid(nx, ny, nz, dtype=dtype, length_x=length_x)


def still(grid: Grid) -> Tensor:
    """No flow."""
    return torch.zeros(grid.modes_shape, dtype=torch.complex128)


def laminar(grid: Grid, bulk: float) -> Tensor:
    """Steady flow of the discrete equations, from the stress -y on every face."""
    steps = -grid.faces[:-1] * grid.gaps.flatten().numpy()
    profile = np.cumsum(steps)
    modes = still(grid)
    modes[0, :, 0, 0] = torch.from_numpy(profile * 2 * bulk / (profile @ np.diff(grid.faces)))
    return modes


def flux(flow: Flow) -> float:
    """Mean streamwise velocity."""
    return float(flow.grid.cells.flatten() @ flow.modes[0, :, 0, 0].real) / 2


def largest(values: Tensor) -> float:
    """Largest magnitude."""
    return float(values.abs().max())


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


def test_fewest_points_hold_the_modes() -> None:
    grid = box(24, 16, 18)
    flow = Flow(grid, start(grid, 3))
    found = flow.velocity_uniform(8, compact=True)
    assert found.shape == (3, 12, 8, 16)
    whole, few = (torch.fft.rfft2(each.transpose(1, 2), norm="forward") for each in (flow.velocity_uniform(8), found))
    torch.testing.assert_close(few[..., :5, :7], whole[..., :5, :7], rtol=0, atol=1e-12)


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


def test_diffusion_is_solved_with_the_second_difference() -> None:
    """The solves undo an operator that is written down a second time here."""
    grid = box(8, 12, 8)
    modes = torch.randn(still(grid).shape, dtype=torch.complex128)
    modes[1, 0] = 0
    modes[:, :, 0, 0] = modes[:, :, 0, 0].real  # as a mean flow is
    solved = grid.diffuse(modes, 0.37)
    k_squared = (grid.ikx.imag**2 + grid.ikz.imag**2).expand(modes.shape[1:])
    for component, places in ((0, grid.centres), (2, grid.centres), (1, grid.faces[1:-1])):
        values = solved[component] if component != 1 else solved[1, 1:]
        walls = torch.zeros_like(values[:1])
        points = np.concatenate(([-1.0], places, [1.0]))
        slopes = torch.cat((walls, values, walls)).diff(dim=0) / torch.from_numpy(np.diff(points))[:, None, None]
        widths = np.diff(grid.faces) if component != 1 else np.diff(grid.centres)
        curvature = slopes.diff(dim=0) / torch.from_numpy(widths)[:, None, None]
        back = values - 0.37 * (curvature - k_squared[: len(values)] * values)
        wanted = modes[component] if component != 1 else modes[1, 1:]
        torch.testing.assert_close(back, wanted, rtol=0, atol=1e-11)
    assert largest(solved[1, 0]) == 0


def manufactured(grid: Grid) -> tuple[Tensor, Tensor]:
    """Return a smooth solenoidal field and its -div(u u), each (3, y, z, x), both where the components live."""
    a, b, alpha, beta = 1.3, -0.7, 2 * math.pi / grid.length_x, 2 * math.pi / grid.length_z
    fields, terms = [], []
    for component, heights in enumerate((grid.centres, grid.faces[:-1], grid.centres)):
        axes = (torch.arange(grid.nx) * grid.length_x / grid.nx, torch.from_numpy(heights),
                torch.arange(grid.nz) * grid.length_z / grid.nz)  # fmt: skip
        y, z, x = torch.meshgrid(axes[1], axes[2].double(), axes[0].double(), indexing="ij")
        x, y, z = (axis.clone().requires_grad_() for axis in (x, y, z))
        height, slope = (1 - y**2) ** 2, -4 * y * (1 - y**2)
        velocity = (
            a * slope * torch.sin(alpha * x + 0.3) * torch.cos(beta * z) + (1 - y**2),
            -(a * alpha + b * beta) * height * torch.cos(alpha * x + 0.3) * torch.cos(beta * z),
            b * slope * torch.cos(alpha * x + 0.3) * torch.sin(beta * z),
        )
        term = torch.zeros_like(x)
        for carrier, axis in zip(velocity, (x, y, z), strict=True):
            (part,) = torch.autograd.grad((carrier * velocity[component]).sum(), axis, retain_graph=True)
            term = term - part
        fields.append(velocity[component].detach())
        terms.append(term.detach())
    return torch.stack(fields), torch.stack(terms)


def test_convective_term_is_right_to_second_order() -> None:
    """In three dimensions, against derivatives taken by machine."""
    errors = []
    for ny in (24, 48):
        grid = box(8, ny, 9)
        field, term = manufactured(grid)
        modes = grid.to_spectral(field)
        found = grid.to_physical(Flow(grid, modes, bulk=None)._convection(modes, field))
        errors.append((found - term)[:, 1:].square().mean(dim=(1, 2, 3)).sqrt() / term.square().mean().sqrt())
    assert float(errors[1].max()) < 0.01
    assert float((errors[0] / errors[1]).min()) > 3.4


@pytest.mark.parametrize(("nx", "nz"), [(16, 12), (15, 13)])
def test_convection_conserves_energy_and_momentum(nx: int, nz: int) -> None:
    """To round-off, for any solenoidal field, on a stretched grid; the frame changes nothing."""
    grid = box(nx, 20, nz)
    modes = start(grid, 3)
    for frame in (0.0, 7.0):
        flow = Flow(grid, modes, frame=frame)
        term = flow._convection(modes, grid.to_physical(modes))
        size = math.sqrt(grid.inner(modes, modes) * grid.inner(term, term))
        assert abs(grid.inner(modes, term)) < 1e-13 * size
        for component in (0, 2):
            assert abs(float(grid.cells.flatten() @ term[component, :, 0, 0].real)) < 1e-11


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
    assert flow.step(until - flow.time) == pytest.approx(0.7 * dt)  # no tiny step is left over
    flow.run(until)
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


def reflect_z(modes: Tensor) -> Tensor:
    """Return the mirror image in z = 0."""
    return modes.flip(-2).roll(1, -2) * torch.tensor([1, 1, -1]).view(3, 1, 1, 1)


def reflect_y(modes: Tensor) -> Tensor:
    """Return the mirror image in y = 0."""
    image = modes.flip(1)
    image[1] = -image[1].roll(1, 0)
    return image


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
    flow.run(0.02)
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


def means(antiderivative: Callable[[NDArray[np.float64]], NDArray[np.float64]], cells: int) -> Tensor:
    """Means over uniform cells."""
    return torch.from_numpy(np.diff(antiderivative(np.linspace(-1, 1, cells + 1))) * cells / 2)


@pytest.mark.parametrize("cells", [8, 24, 50])
def test_resampling_is_exact_and_keeps_the_flux(cells: int) -> None:
    """Exact for parabolas that stick to the walls (u) and cubics that also leave them flat (v)."""
    grid = box(4, 24, 4)
    horizontal, vertical = grid.resampling(cells)
    knots = grid.faces
    fine = torch.from_numpy(np.diff(knots - knots**3 / 3) / np.diff(knots))
    torch.testing.assert_close(horizontal @ fine, means(lambda y: y - y**3 / 3, cells), rtol=0, atol=1e-13)
    smooth = np.cos(math.pi * knots) + 1
    found = vertical @ torch.from_numpy(smooth[:-1])
    wanted = means(lambda y: np.sin(math.pi * y) / math.pi + y, cells)
    assert largest(found - wanted) < 2e-3
    # A steady climb within the channel comes out exactly, but for the few cells that feel the wall.
    climb = horizontal @ torch.from_numpy(2 + 3 * grid.centres)
    middle = slice(cells // 3, cells - cells // 3)
    torch.testing.assert_close(climb[middle], means(lambda y: 2 * y + 1.5 * y**2, cells)[middle], rtol=0, atol=1e-3)
    noise = torch.randn(24, dtype=DOUBLE)
    assert float((horizontal @ noise).mean()) == pytest.approx(float(noise @ grid.cells.flatten()) / 2, rel=1e-12)


def test_uniform_velocity_is_solenoidal_between_the_points() -> None:
    """The mean of v over cells has the slope that the means of u and w ask for."""
    grid = box(12, 24, 12)
    modes = start(grid, 9)
    cells = 4000
    horizontal, vertical = (matrix.to(modes.dtype) for matrix in grid.resampling(cells))
    u, w = (torch.einsum("cy,yzx->czx", horizontal, modes[i]) for i in (0, 2))
    v = torch.einsum("cy,yzx->czx", vertical, modes[1])
    sources = -(grid.ikx * u + grid.ikz * w)
    slope = (v[2:] - v[:-2]) * cells / 4
    assert largest(slope - sources[1:-1]) < 1e-3 * largest(sources)


def test_uniform_velocity_has_its_axes_in_order() -> None:
    """(3, z, y, x), with u at the points along x and z."""
    grid = box(8, 16, 10)
    modes = still(grid)
    modes[0, :, 0, 0] = torch.from_numpy(1 - grid.centres**2)
    modes[2, :, 1, 0] = 0.5  # cos(z), half here and half in its conjugate
    modes[2, :, -1, 0] = 0.5
    field = Flow(grid, modes, bulk=None).velocity_uniform(12)
    assert field.shape == (3, 10, 12, 8)
    assert field.dtype == DOUBLE
    torch.testing.assert_close(field[0], field[0, :1, :, :1].expand(10, 12, 8))
    z = torch.cos(2 * math.pi * torch.arange(10, dtype=DOUBLE) / 10)
    torch.testing.assert_close(field[2, :, 6], z[:, None].expand(10, 8), rtol=0, atol=1e-3)


def test_statistics_of_a_known_field() -> None:
    """Means, rms and stresses of a field made of one wave, folded with the right signs."""
    grid = box(8, 32, 8)
    modes = laminar(grid, 2.0)
    mean = modes[0, :, 0, 0].real.numpy().copy()
    # u' = 0.3 y cos x and w' = 0.2 cos z at the centres, v' = -0.4 (1 - y^2) cos x on the faces.
    modes[0, :, 0, 1] = 0.15 * torch.from_numpy(grid.centres)
    modes[1, 1:, 0, 1] = -0.2 * torch.from_numpy(1 - grid.faces[1:-1] ** 2)
    modes[2, :, 1, 0] = modes[2, :, -1, 0] = 0.1
    averages = Statistics(grid, nu=0.01)
    with pytest.raises(ValueError, match="no moment"):
        averages.profile()
    averages.add(Flow(grid, modes, nu=0.01, bulk=2.0))
    averages.add(Flow(grid, reflect_y(modes), nu=0.01, bulk=2.0))
    found = averages.profile()
    speed = math.sqrt(0.01 * mean[0] / (grid.centres[0] + 1))
    assert found.samples == 2
    assert found.re_tau == pytest.approx(speed / 0.01)
    half, faces = grid.centres[:16], grid.faces[1:17]
    np.testing.assert_allclose(found.y_plus, (half + 1) * speed / 0.01)
    np.testing.assert_allclose(found.face_y_plus, (faces + 1) * speed / 0.01)
    np.testing.assert_allclose(found.mean, mean[:16] / speed)
    np.testing.assert_allclose(found.u_rms, 0.3 * np.abs(half) / math.sqrt(2) / speed, rtol=1e-9)
    np.testing.assert_allclose(found.w_rms, 0.2 / math.sqrt(2) / speed)
    profile = 1 - faces**2
    np.testing.assert_allclose(found.v_rms, 0.4 * profile / math.sqrt(2) / speed, atol=1e-15)
    at_faces = (grid.centres[:16] + grid.centres[1:17]) / 2
    np.testing.assert_allclose(found.shear, 0.06 * at_faces * profile / speed**2, atol=1e-15)
    assert found.deviation == pytest.approx(np.abs(found.shear).max(), rel=1e-9)


def test_comparison_names_what_is_off() -> None:
    """Poiseuille flow has its total stress on the line and nothing else where turbulence has it."""
    grid = box(4, 96, 4)
    averages = Statistics(grid)
    averages.add(Flow(grid, laminar(grid, BULK)))
    rows = {row.name: row for row in compare(averages.profile())}
    assert rows["total stress off linear"].agrees
    assert rows["total stress off linear"].found < 1e-12
    assert rows["Re_tau"].found == pytest.approx(math.sqrt(3 * BULK / NU), rel=1e-3)
    assert [name for name, row in rows.items() if row.agrees] == [
        "U+ at y+ 5",
        "total stress off linear",
    ]


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
