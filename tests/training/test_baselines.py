"""Each baseline is as good as it is said to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from models.blocks import PERIODIC, parse_boundary
from models.operators import coarsen, refine
from models.superresolution import SuperResolution, upscale
from training.baselines import LinearEstimator, consistent_trilinear, spectral, tricubic

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.blocks import Boundaries

WALLS: Boundaries = ("periodic", "wall", "periodic")


def waves(z: int, y: int, x: int, highest: int, seed: int = 0) -> Tensor:
    """A random field (3, z, y, x) in float64 of modes up to a wavenumber along each axis, with a mean."""
    random = torch.Generator().manual_seed(seed)
    field = torch.zeros(3, z, y, x, dtype=torch.float64) + torch.tensor([3.0, -2.0, 1.0])[:, None, None, None]
    lines = [torch.arange(n, dtype=torch.float64) * (2 * math.pi / n) for n in (z, y, x)]
    for _ in range(12):
        k = torch.randint(-highest, highest + 1, (3,), generator=random)
        phase = sum(
            number * line.reshape([-1 if axis == other else 1 for other in range(3)])
            for axis, (number, line) in enumerate(zip(k, lines, strict=True))
        )
        for component in range(3):
            field[component] += torch.randn((), generator=random) * torch.cos(phase + component)
    return field


@pytest.mark.parametrize("cells", [(32, 24, 28), (20, 16, 36)])
def test_spectral_is_exact_for_what_the_coarse_grid_resolves(cells: tuple[int, int, int]) -> None:
    fine = waves(*cells, highest=1)
    torch.testing.assert_close(spectral(coarsen(fine), PERIODIC), fine, rtol=0, atol=1e-12)


def test_spectral_keeps_a_nyquist_mode_where_it_is() -> None:
    zigzag = torch.tensor([1.0, -1.0] * 2, dtype=torch.float64).expand(3, 4, 4, 4)
    answer = spectral(zigzag, PERIODIC)
    torch.testing.assert_close(coarsen(answer), zigzag)


def error(baseline: Callable[[Tensor, Boundaries], Tensor], fine: Tensor) -> float:
    return float((baseline(coarsen(fine), PERIODIC) - fine).square().mean().sqrt())


def test_tricubic_converges_faster_than_trilinear() -> None:
    """Point values of a smooth field: third order (Keys 1981). The block mean itself is second."""

    def of_points(n: int) -> float:
        centres = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * math.pi / n)
        fine = (torch.arange(4 * n, dtype=torch.float64) + 0.5) * (2 * math.pi / (4 * n))
        coarse = torch.sin(centres).expand(3, 4, 4, n)
        return float((tricubic(coarse, PERIODIC) - torch.sin(fine)).abs().max())

    assert of_points(16) / of_points(32) == pytest.approx(8, rel=0.3)


@pytest.mark.parametrize("baseline", [consistent_trilinear, tricubic, spectral])
def test_a_uniform_flow_stays(baseline: Callable[[Tensor, Boundaries], Tensor]) -> None:
    coarse = torch.tensor([1.0, 2.0, -3.0]).double()[:, None, None, None].expand(3, 4, 5, 6)
    answer = baseline(coarse, PERIODIC)
    assert answer.shape == (3, 16, 20, 24)
    torch.testing.assert_close(answer, coarse[:, :1, :1, :1].expand(answer.shape))


def test_consistent_trilinear_has_the_means_of_its_input() -> None:
    coarse = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(coarsen(consistent_trilinear(coarse, PERIODIC)), coarse)


def test_the_linear_estimator_beats_interpolation_from_the_same_cells_where_it_was_fitted() -> None:
    torch.manual_seed(0)
    fields = [waves(32, 32, 32, highest=6, seed=seed) for seed in range(3)]
    linear = LinearEstimator(fields, PERIODIC, radius=1)
    for fine in fields:
        coarse = coarsen(fine)
        torch.testing.assert_close(coarsen(linear(coarse, PERIODIC)), coarse, rtol=0, atol=1e-6)
    ours = sum(error(linear, fine) ** 2 for fine in fields)
    assert ours < sum(error(consistent_trilinear, fine) ** 2 for fine in fields)


def test_the_linear_estimator_finds_a_map_that_is_linear() -> None:
    """Where the fine field is a linear function of the coarse one, another such field comes out exactly."""
    linear = LinearEstimator([noise_of_one_kernel(seed) for seed in range(4)], PERIODIC, radius=1)
    fine = noise_of_one_kernel(9)
    assert error(linear, fine) < 1e-6 * float(fine.std())


def test_the_linear_estimator_takes_components_that_are_zero() -> None:
    """As in plane flow; no weights for them are better than others."""
    fields = [noise_of_one_kernel(seed) * torch.tensor([1.0, 1.0, 0.0])[:, None, None, None] for seed in range(5)]
    linear = LinearEstimator(fields[:4], PERIODIC, radius=1)
    assert error(linear, fields[4]) < 1e-6


def noise_of_one_kernel(seed: int) -> Tensor:
    """White coarse noise, made fine by weights of its own for the sub-voxels of a cell whose mean is one."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(3, 8, 8, 8, generator=random, dtype=torch.float64)
    coarse -= coarse.mean(dim=(1, 2, 3), keepdim=True)
    pattern = torch.linspace(0.5, 1.5, 64, dtype=torch.float64).reshape(4, 4, 4)
    return torch.kron(coarse, pattern[None])


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="64 coarse cells are too few to fit 375 weights"):
        LinearEstimator([torch.randn(3, 16, 16, 16)], PERIODIC)


def sines(cells: int) -> Tensor:
    """A field between walls, where it vanishes, of modes that eight coarse cells resolve."""
    z, y, x = ((torch.arange(cells, dtype=torch.float64) + 0.5) / cells for _ in range(3))
    across = torch.sin(math.pi * y) + torch.sin(3 * math.pi * y)
    along = torch.cos(2 * math.pi * z)[:, None, None] * torch.cos(2 * math.pi * x)
    return (along * across[:, None]).expand(3, cells, cells, cells)


def test_spectral_is_exact_between_walls() -> None:
    fine = sines(32)
    torch.testing.assert_close(spectral(coarsen(fine), WALLS), fine, rtol=0, atol=1e-12)


def test_walls_that_move_carry_every_baseline_along() -> None:
    """The flow that they alone would drive is added before and after."""
    fine = sines(32)
    boundary = parse_boundary("periodic,wall:u=-1..3:w=0..1,periodic")
    y = ((torch.arange(32, dtype=torch.float64) + 0.5) / 32)[:, None]
    moved = fine + torch.stack([-1 + 4 * y, 0 * y, y])[:, None]
    for baseline in (consistent_trilinear, tricubic, spectral):
        expected = baseline(coarsen(fine), WALLS) + (moved - fine)
        torch.testing.assert_close(baseline(coarsen(moved), boundary), expected, rtol=0, atol=1e-12)


def test_walls_do_not_make_the_others_worse_than_ends_that_wrap() -> None:
    fine = sines(32)
    for baseline in (consistent_trilinear, tricubic):
        errors = (baseline(coarsen(fine), WALLS) - fine).abs().mean(dim=(0, 1, 3))
        assert errors[0] < 2 * errors.median()


def test_consistent_trilinear_between_walls_is_what_is_served() -> None:
    """Before its shift: the same ghosts beyond the walls as a block reads."""
    coarse = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    served = torch.from_numpy(upscale(SuperResolution(), coarse.numpy(), WALLS))
    answer = consistent_trilinear(coarse, WALLS)
    torch.testing.assert_close(answer, served + refine(coarse - coarsen(served)))


def test_a_map_that_is_linear_is_found_between_open_ends() -> None:
    fields = [noise_of_one_kernel(seed) for seed in range(4)]
    linear = LinearEstimator(fields, ("open", "wall", "periodic"), radius=1)
    fine = noise_of_one_kernel(9)
    answer = linear(coarsen(fine), ("open", "wall", "periodic"))
    torch.testing.assert_close(answer, fine, rtol=0, atol=1e-6)
