"""Operators on the grid of a channel against exact solutions, and what is resampled from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.training.flows.channels import DOUBLE, box, largest, still
from training.flows.channel import Flow, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from training.flows.channel_grid import Grid


def test_fewest_points_hold_the_modes() -> None:
    grid = box(24, 16, 18)
    flow = Flow(grid, start(grid, 3))
    found = flow.velocity_uniform(8, compact=True)
    assert found.shape == (3, 12, 8, 16)
    whole, few = (torch.fft.rfft2(each.transpose(1, 2), norm="forward") for each in (flow.velocity_uniform(8), found))
    torch.testing.assert_close(few[..., :5, :7], whole[..., :5, :7], rtol=0, atol=1e-12)


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
