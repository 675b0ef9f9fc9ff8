"""Smoke stays solenoidal and within its limits, and turns with its inflow."""

from __future__ import annotations

import torch

from models.group import group, rotate_scalar, rotate_vector
from training.flows.smoke import Smoke

TURN = next(matrix for matrix in group("C4", 2).matrices if matrix[0, 1] == -1 and matrix[1, 0] == 1)


def plume(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Inflow and buoyancy of two runs, without any symmetry."""
    generator = torch.Generator().manual_seed(1)
    inflow = torch.zeros(2, n, n, dtype=torch.float64)
    inflow[:, 2:5, 3:6] = 0.2
    return inflow, 0.5 * torch.rand((2, 2, n, n), generator=generator, dtype=torch.float64)


def run(inflow: torch.Tensor, buoyancy: torch.Tensor, dx: float = 1.0, dt: float = 1.0) -> Smoke:
    flow = Smoke(inflow, buoyancy, dx)
    for _ in range(30):
        flow.step(dt)
    return flow


def test_nothing_flows_out_and_none_is_lost() -> None:
    flow = run(*plume())
    assert flow.velocity().abs().max() > 0.5
    assert flow.divergence().abs().max() < 1e-13
    assert not flow.u[..., (0, -1)].any()
    assert not flow.v[..., (0, -1), :].any()


def test_smoke_keeps_between_none_and_what_came_in() -> None:
    inflow, buoyancy = plume()
    flow = run(inflow, buoyancy)
    assert flow.density.min() >= 0
    assert flow.density.max() <= 30 * 0.2


def test_a_quarter_turn_of_the_run_is_one_of_the_answer() -> None:
    inflow, buoyancy = plume()
    flow = run(inflow, buoyancy)
    turned = run(rotate_scalar(inflow, TURN), rotate_vector(buoyancy, TURN))
    assert torch.allclose(turned.velocity(), rotate_vector(flow.velocity(), TURN), rtol=0, atol=1e-10)
    assert torch.allclose(turned.density, rotate_scalar(flow.density, TURN), rtol=0, atol=1e-10)


def test_other_units_are_the_same_flow() -> None:
    """With cells a times as large and steps b times as long, velocity goes as a / b and buoyancy as a / b^2."""
    a, b = 3.0, 0.7
    inflow, buoyancy = plume()
    flow = run(inflow, buoyancy)
    scaled = run(inflow / b, buoyancy * a / b**2, dx=a, dt=b)
    assert torch.allclose(scaled.velocity(), flow.velocity() * a / b, rtol=0, atol=1e-10)
    assert torch.allclose(scaled.density, flow.density, rtol=0, atol=1e-10)


def test_a_still_box_stays_still() -> None:
    inflow, buoyancy = plume()
    flow = run(torch.zeros_like(inflow), buoyancy)
    assert not flow.velocity().any()
    assert not flow.density.any()
