"""The plane's solver has every symmetry of the Navier-Stokes equations, and agrees with what is known."""

from __future__ import annotations

import math

import pytest
import torch

from models.forecasting.forecaster import shift
from models.group import group, rotate_scalar, rotate_vector
from training.flows.planar import Planar, random_vorticity

N, NU, DT, STEPS = 24, 0.01, 0.03, 20


def run(
    vorticity: torch.Tensor, nu: float = NU, length: float = 2 * math.pi, dt: float = DT, **rest: torch.Tensor
) -> Planar:
    flow = Planar(vorticity, nu, length, **rest)
    for _ in range(STEPS):
        flow.step(dt)
    return flow


def moved(velocity: torch.Tensor, by: tuple[float, float]) -> torch.Tensor:
    """A field shifted by some cells along x and y."""
    for cells, axis in zip(by, (-1, -2), strict=True):
        velocity = shift(velocity[:, None], torch.full((len(velocity), 1), cells, dtype=velocity.dtype), axis)[:, 0]
    return velocity


def vorticity(flow: Planar) -> torch.Tensor:
    values: torch.Tensor = torch.fft.irfft2(flow.modes, s=(N, N))
    return values


@pytest.fixture
def start() -> torch.Tensor:
    return random_vorticity(2, N, seed=3)


def test_taylor_green_vortices_decay_as_they_should() -> None:
    x = torch.arange(N, dtype=torch.float64) * 2 * math.pi / N
    flow = run((torch.sin(2 * x) * torch.sin(2 * x[:, None]))[None])
    wanted = math.exp(-8 * NU * DT * STEPS) * torch.sin(2 * x) * torch.sin(2 * x[:, None])
    assert torch.allclose(vorticity(flow)[0], wanted, rtol=0, atol=1e-13)


def test_without_viscosity_energy_and_enstrophy_stay(start: torch.Tensor) -> None:
    before, after = Planar(start, 0.0), run(start, 0.0, dt=0.01)
    for found, wanted in ((after.velocity(), before.velocity()), (vorticity(after), vorticity(before))):
        assert float(found.square().mean()) == pytest.approx(float(wanted.square().mean()), rel=1e-6)
    change = (after.velocity() - before.velocity()).norm() / before.velocity().norm()
    assert change > 0.1


def test_a_start_has_a_velocity_of_rms_one() -> None:
    flow = Planar(random_vorticity(3, N, seed=1), NU)
    rms = flow.velocity().square().mean(dim=(1, 2, 3)).sqrt()
    assert torch.allclose(rms, torch.ones(3, dtype=torch.float64))


def test_symmetries(start: torch.Tensor) -> None:
    flow = run(start).velocity()
    for matrix in group("C4", 2).matrices:
        turned = run(rotate_scalar(start, matrix)).velocity()
        assert torch.allclose(turned, rotate_vector(flow, matrix), rtol=0, atol=1e-10)
    a = 1.7
    scaled = run(a**2 * start, NU, 2 * math.pi / a, DT / a**2).velocity()
    assert torch.allclose(scaled, a * flow, rtol=0, atol=1e-10)
    mean = torch.tensor([[0.8, -1.3], [2.1, 0.4]], dtype=torch.float64)
    boosted = run(start, mean=mean).velocity()
    for each, still, velocity in zip(boosted, flow, mean, strict=True):
        cells = velocity * DT * STEPS * N / (2 * math.pi)
        wanted = moved(still[None], (float(cells[0]), float(cells[1])))[0] + velocity[:, None, None]
        assert torch.allclose(each, wanted, rtol=0, atol=1e-10)
    assert torch.allclose(run(start.roll((3, 5), (-2, -1))).velocity(), flow.roll((3, 5), (-2, -1)), rtol=0, atol=1e-10)
