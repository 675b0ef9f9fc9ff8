"""Each metric against a field whose value is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from models.blocks import CUBE, PERIODIC, Boundaries, Lengths
from models.metrics.gradients import Gradients, GradientSums, central_differences
from models.metrics.pointwise import near_walls
from models.metrics.profiles import Profile
from models.metrics.report import report
from models.metrics.spectra import Lines, Spectrum, resolved_wavenumber, spectrum, spectrum_errors
from models.operators import coarsen
from models.walls import Walls, is_wall

WALLS: Boundaries = ("periodic", "wall", "periodic")


def waves(n: int = 32) -> torch.Tensor:
    """U = sin(3 y), v = 2 cos(5 z), w = 0.5 sin(7 x): solenoidal, one shell each."""
    cells = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * math.pi / n
    z, y, x = torch.meshgrid(cells, cells, cells, indexing="ij")
    return torch.stack([torch.sin(3 * y), 2 * torch.cos(5 * z), 0.5 * torch.sin(7 * x)])


def line_spectrum(field: torch.Tensor, axis: int) -> Spectrum:
    _, nz, ny, nx = field.shape
    lines = Lines((nz, ny, nx), axis)
    for component in field.double():
        lines.add(component)
    return lines.spectrum()


def gradients(field: torch.Tensor, boundary: Boundaries, length: Lengths = CUBE) -> torch.Tensor:
    """Of all cells but those at open ends."""
    dz, dy, dx = (edge / n for edge, n in zip(length, field.shape[1:], strict=True))
    around = field.double()
    for axis, name in enumerate(boundary, 1):
        first, last = around.narrow(axis, 0, 1), around.narrow(axis, -1, 1)
        if name == "periodic":
            around = torch.cat([last, around, first], axis)
        elif is_wall(name):
            low, high = (torch.tensor(speed)[:, None, None, None] for speed in Walls.of(name))
            around = torch.cat([2 * low - first, around, 2 * high - last], axis)
    return central_differences(around, (dz, dy, dx))


def gradient_statistics(field: torch.Tensor, boundary: Boundaries, length: Lengths = CUBE) -> Gradients:
    sums = GradientSums()
    sums.add(gradients(field, boundary, length))
    return sums.statistics()


def profile_errors(answer: torch.Tensor, reference: torch.Tensor, axis: int) -> tuple[float, float]:
    ours, true = (Profile(answer.shape[axis], axis) for _ in range(2))
    ours.add(answer)
    true.add(reference)
    return ours.errors(true)


def test_coarsen_is_the_block_mean() -> None:
    fine = torch.arange(2 * 4 * 8 * 4.0).reshape(2, 4, 8, 4)
    coarse = coarsen(fine)
    assert coarse.shape == (2, 1, 2, 1)
    assert float(coarse[1, 0, 1, 0]) == pytest.approx(float(fine[1, :, 4:].mean()))


def test_coarsen_refuses_part_blocks() -> None:
    with pytest.raises(ValueError, match=r"multiple of 4 cells long, got \(4, 6, 4\)"):
        coarsen(torch.zeros(3, 4, 6, 4))


def test_spectrum_of_single_waves() -> None:
    k, energy = spectrum(waves() + 5)
    assert k.tolist() == list(range(1, 17))
    expected = torch.zeros(16, dtype=torch.float64)
    expected[2], expected[4], expected[6] = 1 / 4, 4 / 4, 0.25 / 4
    torch.testing.assert_close(energy, expected, atol=1e-14, rtol=1e-12)


def test_spectrum_sums_to_the_energy() -> None:
    field = coarsen(torch.randn(3, 48, 48, 48, dtype=torch.float64))
    smooth = torch.fft.fftn(field, dim=(1, 2, 3))
    freq = torch.fft.fftfreq(12, 1 / 12).abs()
    keep = (freq[:, None, None].square() + freq[:, None].square() + freq.square()) < 30
    field = torch.fft.ifftn(smooth * keep, dim=(1, 2, 3)).real
    energy = 1.5 * float(field.flatten(1).var(dim=1, correction=0).mean())
    assert float(spectrum(field).energy.sum()) == pytest.approx(energy, rel=1e-10)


@pytest.mark.parametrize("axis", [-3, -2, -1])
def test_the_shortest_waves_count_once(axis: int) -> None:
    """Of which there is a cosine and no sine; along x, rfft keeps all of them."""
    line = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)
    field = line.reshape(-1, *[1] * (-1 - axis)).expand(3, 8, 8, 8)
    for energy in (spectrum(field).energy, line_spectrum(field, axis).energy):
        assert energy.tolist() == pytest.approx([0, 0, 0, 1.5], abs=1e-14)


def test_shells_of_a_box_are_those_of_its_longest_edge() -> None:
    cells = torch.arange(8, dtype=torch.float64)[:, None, None]
    field = torch.cos(2 * math.pi * 3 * cells / 8).expand(3, 8, 16, 12)
    k, energy = spectrum(field)
    assert k.tolist() == list(range(1, 9))
    # Three waves along an edge half as long.
    assert energy.tolist() == pytest.approx([0, 0, 0, 0, 0, 0.75, 0, 0], abs=1e-14)


def test_spectrum_errors_split_at_the_coarse_nyquist() -> None:
    answer, reference = spectrum(waves()), spectrum(waves())
    assert spectrum_errors(answer, reference, 4) == (0.0, 0.0)
    reference.energy[:] += 1e-3
    answer.energy[:] += 1e-3
    answer.energy[2] *= 10  # shell 3 of 16, the coarse grid ends at 4
    low, high = spectrum_errors(answer, reference, 4)
    assert low == pytest.approx(math.sqrt(1 / 4))
    assert high == 0
    assert resolved_wavenumber(answer, reference) == 16
    answer.energy[6] *= 0.4
    assert resolved_wavenumber(answer, reference) == 7
    assert math.isnan(resolved_wavenumber(answer, spectrum(torch.zeros(3, 8, 8, 8))))


def test_shells_that_a_simulation_left_empty_do_not_count() -> None:
    answer, reference = spectrum(waves()), spectrum(waves())
    answer.energy[2] *= 10
    answer.energy[10] = 1e-3
    assert spectrum_errors(answer, reference, 4) == (1.0, 0.0)
    reference.energy[0] = 1e-15
    answer.energy[0] = 0
    assert resolved_wavenumber(answer, reference) == 16


def test_line_spectra_of_waves() -> None:
    field = waves() + 2
    for axis, mode, amplitude in ((-2, 3, 1.0), (-3, 5, 2.0), (-1, 7, 0.5)):
        k, energy = line_spectrum(field, axis)
        assert int(k[energy.argmax()]) == mode
        assert float(energy.sum()) == pytest.approx(amplitude**2 / 4)


def test_line_spectra_sum_to_the_energy_along_the_axis() -> None:
    field = torch.randn(3, 6, 10, 7, dtype=torch.float64)
    for axis in (-3, -2, -1):
        along = field - field.mean(dim=axis, keepdim=True)
        expected = 1.5 * float(along.square().mean())
        assert float(line_spectrum(field, axis).energy.sum()) == pytest.approx(expected)


def channel(n: int = 16) -> torch.Tensor:
    """U(y) = 1 - y^2 with waves that vanish at walls y = -1 and 1."""
    y = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1
    x = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * math.pi / n
    shape = (1 - y**2)[:, None]
    waves = shape * torch.sin(x)
    return torch.stack([shape + waves, waves, 2 * waves]).unsqueeze(1).expand(3, n, n, n).clone()


def test_profile_errors() -> None:
    field = channel()
    assert profile_errors(field, field, -2) == (0, 0)
    faster = field.clone()
    faster[0] *= 1.1
    mean, stress = profile_errors(faster, field, -2)
    assert mean == pytest.approx(0.1)
    # Stresses over uu: 1, uv = vu: 1, uw = wu: 2, vv: 1, vw = wv: 2, ww: 4.
    changed = (0.21**2 + 2 * 0.1**2 + 2 * 0.2**2) / (1 + 2 + 8 + 1 + 8 + 16)
    assert stress == pytest.approx(math.sqrt(changed))


def test_near_walls() -> None:
    near = near_walls(channel(), WALLS, 4)
    assert near[:, [0, 3, 12, 15]].all()
    assert not near[:, 4:12].any()
    assert not near_walls(channel(), PERIODIC, 4).any()


def test_report_between_walls() -> None:
    fine = channel()
    answer = fine.clone()
    answer[0, :, :4] += 0.3
    found = report(answer, fine, coarsen(fine), boundary=WALLS, length=(2.0, 2.0, 4.0))
    assert found["mae_near_wall"] == pytest.approx(0.3 / 3 / 2)
    assert found["mae"] == pytest.approx(0.3 / 3 / 4)
    assert found["resolved_wavenumber"] is None
    assert found["spectrum_error_low"] == pytest.approx(0, abs=1e-12)  # the error is uniform along x and z
    assert isinstance(found["mean_profile_error"], float)
    assert found["mean_profile_error"] > 0
    assert found["stress_profile_error"] == pytest.approx(0, abs=1e-12)


def test_gradients_of_waves() -> None:
    grad = gradients(waves(), PERIODIC)
    # The central difference of sin(k y) is its derivative times sin(k h) / (k h).
    h = 2 * math.pi / 32
    y = (torch.arange(32, dtype=torch.float64) + 0.5) * h
    torch.testing.assert_close(grad[0, 1, 3, :, 5], math.sin(3 * h) / h * torch.cos(3 * y))
    assert grad[0, 0].abs().max() < 1e-12
    assert gradients(waves(), ("periodic", "wall", "open")).shape == (3, 3, 32, 32, 30)


def test_gradient_statistics() -> None:
    found = gradient_statistics(waves(), PERIODIC)
    assert found.divergence < 1e-12
    h = 2 * math.pi / 32
    squares = sum(a**2 * math.sin(k * h) ** 2 / h**2 / 2 for a, k in [(1, 3), (2, 5), (0.5, 7)])
    assert found.enstrophy == pytest.approx(squares / 2)
    assert found.dissipation == pytest.approx(squares)
    gauss = gradient_statistics(torch.randn(3, 40, 40, 40), PERIODIC)
    assert gauss.flatness == pytest.approx([3, 3, 3], abs=0.15)
    assert gauss.skewness == pytest.approx([0, 0, 0], abs=0.1)
    # Three of nine uncorrelated gradients make the divergence.
    assert gauss.divergence == pytest.approx(math.sqrt(3 / 9), abs=0.02)


@pytest.mark.parametrize(
    "boundary", [PERIODIC, WALLS, ("open", "periodic", "wall"), ("wall:u=-1..2:v=3..4", "wall:w=0.5..0", "open")]
)
def test_report_has_the_gradients_of_the_answer_and_of_the_reference(boundary: Boundaries) -> None:
    fine = torch.randn(3, 8, 12, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = report(2 * fine + 1, fine, coarsen(fine), boundary=boundary, length=(1.0, 2.0, 3.0))
    wanted = gradient_statistics(2 * fine + 1, boundary, (1.0, 2.0, 3.0))
    true = gradient_statistics(fine, boundary, (1.0, 2.0, 3.0))
    for name in ("divergence", "skewness", "flatness"):
        assert found[name] == pytest.approx(getattr(wanted, name), rel=1e-9), name
        assert found[f"{name}_reference"] == pytest.approx(getattr(true, name), rel=1e-9), name


@pytest.mark.parametrize(("walls", "moving"), [("wall", 0.0), ("wall:u=-1..1", 1.0), ("wall:u=1..3", 1.0)])
def test_dissipation_between_walls(walls: str, moving: float) -> None:
    """To second order, where half of it is within a tenth of the walls: <u'^2> of u = U y + 1 - y^n, n = 2 and 4."""
    errors = []
    for n in (16, 32):
        y = ((torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1)[:, None].expand(4, n, 4)
        still = torch.zeros_like(y)
        low, high = (wall[0] for wall in Walls.of(walls))
        profile = (low + high) / 2 + moving * y
        answer, reference = (torch.stack([profile + 1 - y**power, still, still]) for power in (4, 2))
        boundary = "periodic", walls, "periodic"
        found = report(answer, reference, coarsen(reference), boundary=boundary, length=(2.0, 2.0, 2.0))
        exact = (moving**2 + 16 / 7) / (moving**2 + 4 / 3)
        assert found["enstrophy_ratio"] == pytest.approx(found["dissipation_ratio"])
        assert isinstance(found["dissipation_ratio"], float)
        errors.append(found["dissipation_ratio"] / exact - 1)
    assert 0.2 < errors[1] / errors[0] < 0.3, errors


def test_report_of_the_truth() -> None:
    fine = waves()
    found = report(fine, fine, coarsen(fine), baseline=fine + 0.1)
    for name in ("mae", "mae_over_rms", "relative_l2", "spectrum_error_high", "consistency"):
        assert found[name] == pytest.approx(0, abs=1e-14)
    for name in ("skill", "kinetic_energy_ratio", "enstrophy_ratio", "dissipation_ratio"):
        assert found[name] == pytest.approx(1)


def test_report_of_a_known_error() -> None:
    fine = waves()
    answer = fine + torch.tensor([0.3, -0.6, 0.0])[:, None, None, None]
    found = report(answer, fine, coarsen(fine), baseline=fine + 1)
    scale = math.sqrt((0.5 + 2 + 0.125) / 3)
    assert found["mae"] == pytest.approx(0.3)
    assert [found["mae_u"], found["mae_v"], found["mae_w"]] == pytest.approx([0.3, 0.6, 0], abs=1e-7)
    assert found["mae_over_rms"] == pytest.approx(0.3 / scale)
    mse = (0.09 + 0.36) / 3
    assert found["relative_l2"] == pytest.approx(math.sqrt(mse) / scale)
    assert found["skill"] == pytest.approx(1 - mse)
    coarse = coarsen(fine).flatten(1)
    assert found["consistency"] == pytest.approx(math.sqrt(mse / float(coarse.var(dim=1, correction=0).mean())))


def test_no_skill_is_relative_to_rounding() -> None:
    fine = torch.full((3, 8, 8, 8), 0.3)
    skill = report(fine + 0.1, fine, coarsen(fine), baseline=fine + 3e-7)["skill"]
    assert isinstance(skill, float)
    assert math.isnan(skill)


def test_report_without_a_spectrum() -> None:
    fine = waves()
    found = report(fine, fine, coarsen(fine), boundary=("open", "open", "open"))
    assert found["spectrum_error_low"] is None
    assert found["skill"] is None
