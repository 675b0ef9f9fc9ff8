"""Forecasts keep the symmetries of the Navier-Stokes equations, each alone and all together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from models.forecasting.forecaster import Forecaster, Units, boost, shift
from models.forecasting.network import ForecastArchitecture, ForecastNetwork, Scales
from models.group import group, rotate_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from models.forecasting.network import ForecastFamily

STEPS = 10
PERIODIC = (True, True)
UNITS = Units(dx=0.3, dt=0.2, nu=0.05)
VELOCITY = torch.tensor([[0.7, -0.3], [0.2, 1.9]], dtype=torch.float64)
TURN = group("C4", 2).matrices[1]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def model() -> Forecaster:
    return Forecaster(ForecastNetwork(ForecastArchitecture("equivariant", "C4", 3, 1, frames=4, viscous=True)))


@pytest.fixture
def trained(model: Forecaster, frames: Tensor) -> Forecaster:
    """After a few steps towards frames that are drawn by chance, with a viscosity that differs."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        answer = model(frames, 2, PERIODIC, UNITS)
        loss = (answer - frames[:, :2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(requires_grad=False)


@pytest.fixture
def frames() -> Tensor:
    """Two samples, moving on the average, without what cannot be shifted."""
    chance = torch.randn(2, 4, 2, 10, 8) + torch.tensor([0.5, -1.0])[:, None, None]
    still = torch.zeros(2, 4)
    return shift(shift(chance, still, -1), still, -2)


def boosted(field: Tensor, first: int) -> Tensor:
    cells = UNITS.dt / UNITS.dx
    return boost(field * cells, VELOCITY * cells, PERIODIC, first=first) / cells


@pytest.mark.parametrize("family", ["conv", "relaxed-translation", "relaxed-scale"])
def test_input_in_double_precision_needs_no_frozen_model(family: ForecastFamily, frames: Tensor) -> None:
    cells = (10, 8) if family == "relaxed-translation" else ()
    architecture = ForecastArchitecture(family, "C1", 3, 1, frames=4, viscous=True, cells=cells)
    model = Forecaster(ForecastNetwork(architecture)).float()
    answer = model(frames, 2, PERIODIC, UNITS)
    assert answer.dtype == torch.float64
    torch.testing.assert_close(answer, model.frozen()(frames, 2, PERIODIC, UNITS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("which", ["model", "trained"])
def test_symmetries(which: str, frames: Tensor, request: pytest.FixtureRequest) -> None:
    model: Forecaster = request.getfixturevalue(which)
    answer = model(frames, STEPS, PERIODIC, UNITS)
    assert (answer[:, -1] - frames[:, -1]).abs().max() > 0.1
    a = 2.7
    moved = [
        (model(frames.roll((2, 3), (-2, -1)), STEPS, PERIODIC, UNITS), answer.roll((2, 3), (-2, -1))),
        (model(rotate_vector(frames, TURN), STEPS, PERIODIC, UNITS), rotate_vector(answer, TURN)),
        (model(boosted(frames, -3), STEPS, PERIODIC, UNITS), boosted(answer, 1)),
        (model(a * frames, STEPS, PERIODIC, UNITS.scaled(a)), a * answer),
    ]
    together = a * rotate_vector(boosted(frames, -3).roll(2, -1), TURN)
    wanted = a * rotate_vector(boosted(answer, 1).roll(2, -1), TURN)
    moved.append((model(together, STEPS, PERIODIC, UNITS.scaled(a)), wanted))
    for found, expected in moved:
        assert (found - expected).abs().max() < 1e-10


def test_of_more_frames_the_last_ones_count(model: Forecaster, frames: Tensor) -> None:
    longer = torch.cat([torch.randn_like(frames), frames], dim=1)
    assert (model(longer, 3, PERIODIC, UNITS) - model(frames, 3, PERIODIC, UNITS)).abs().max() < 1e-12
    for given, steps in ((frames[:, 1:], 3), (frames, 0)):
        with pytest.raises(ValueError, match="frames and steps must be at least 4 and 1, not"):
            model(given, steps, PERIODIC, UNITS)


def test_other_viscosity_is_another_answer(model: Forecaster, frames: Tensor) -> None:
    thicker = Units(UNITS.dx, UNITS.dt, 2 * UNITS.nu)
    assert (model(frames, 1, PERIODIC, thicker) - model(frames, 1, PERIODIC, UNITS)).abs().max() > 1e-6


def test_between_walls_nothing_can_be_boosted(model: Forecaster, frames: Tensor) -> None:
    with pytest.raises(ValueError, match="velocity along x must be 0 between walls"):
        boost(frames, VELOCITY, (True, False))
    along_y = torch.tensor([[0.0, -0.3], [0.0, 1.9]])
    channel = (True, False)
    answer = model(frames, 3, channel)
    found = model(boost(frames, along_y, channel, first=-3), 3, channel)
    assert (found - boost(answer, along_y, channel, first=1)).abs().max() < 1e-10


def test_frozen_and_channel_are_the_same(model: Forecaster, frames: Tensor) -> None:
    for circular in (PERIODIC, (False, False)):
        found = model.frozen()(frames, STEPS, circular, UNITS)
        assert (found - model(frames, STEPS, circular, UNITS)).abs().max() < 1e-12


def test_relaxed_networks_begin_exact_and_can_leave_it(frames: Tensor) -> None:
    model = Forecaster(ForecastNetwork(ForecastArchitecture("relaxed", "C4", 3, 1, frames=4)))
    walls = (False, False)

    def gap() -> float:
        turned = model(rotate_vector(frames, TURN), 2, walls) - rotate_vector(model(frames, 2, walls), TURN)
        return float(turned.detach().abs().max())

    assert gap() < 1e-12
    for name, parameter in model.named_parameters():
        if name.endswith("relaxation"):
            parameter.data[:, 1] += 0.3
    assert gap() > 1e-3


def test_weights_that_differ_from_place_to_place_begin_as_a_convolution(frames: Tensor) -> None:
    architecture = ForecastArchitecture("relaxed-translation", "C1", 6, 1, banks=2, frames=4, cells=(10, 8))
    model = Forecaster(ForecastNetwork(architecture))

    def gap() -> float:
        moved = model(frames.roll(3, -1), 2, PERIODIC) - model(frames, 2, PERIODIC).roll(3, -1)
        return float(moved.detach().abs().max())

    assert gap() < 1e-12
    for name, parameter in model.named_parameters():
        if name.endswith("weights"):
            parameter.data[:, :, :4] *= 2
    assert gap() > 1e-3
    # Nor do they move along with the mean velocity of the frames.
    still = model.roll_out(frames, 2, PERIODIC, Scales(torch.zeros(2), torch.ones(2)))
    still = boost(still, torch.zeros(2, 2), PERIODIC)
    torch.testing.assert_close(model(frames, 2, PERIODIC), still, rtol=0, atol=1e-12)


def unlike(model: Forecaster, frames: Tensor) -> float:
    """How far the forecast of frames in other units is from the forecast in other units."""
    gap = model(3 * frames, 2, PERIODIC, UNITS.scaled(3.0)) / 3 - model(frames, 2, PERIODIC, UNITS)
    return float(gap.detach().abs().max())


def test_a_plain_network_sees_units_and_boosts(frames: Tensor) -> None:
    model = Forecaster(ForecastNetwork(ForecastArchitecture("plain", "C1", 6, 1, frames=4)))
    assert unlike(model, frames) > 1e-3
    gap = model(boosted(frames, -3), 2, PERIODIC, UNITS) - boosted(model(frames, 2, PERIODIC, UNITS), 1)
    assert gap.abs().max() > 1e-3


def test_an_offset_that_depends_on_units_begins_exact_and_learns_what_data_break(frames: Tensor) -> None:
    """In a batch with the same frames in units from half to twice, nothing tells it to depend on them."""
    model = Forecaster(ForecastNetwork(ForecastArchitecture("relaxed-scale", "C1", 6, 1, frames=4)))
    assert unlike(model, frames) < 1e-12
    (units,) = (weights for name, weights in model.named_parameters() if name.startswith("network.units"))
    scales = Scales(torch.zeros(4), torch.tensor([0.5, 0.5**0.5, 2**0.5, 2.0]))
    alike = frames[:1].expand(4, -1, -1, -1, -1)

    def pull(strengths: list[float]) -> float:
        """The gradient towards answers that are so many times as strong in each of the units."""
        wanted = alike[:, :2] * torch.tensor(strengths)[:, None, None, None, None]
        loss = (model.roll_out(alike, 2, (False, False), scales) - wanted).square().mean()
        return float(torch.autograd.grad(loss, units)[0].abs().max())

    assert pull([1.0, 1.0, 1.0, 1.0]) < 1e-12
    assert pull([0.8, 0.9, 1.1, 1.2]) > 1e-4
    units.data += 0.1
    assert unlike(model, frames) > 1e-3
    assert unlike(model.frozen(), frames) == pytest.approx(unlike(model, frames))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("dx", 0.0, "dx must be more than 0"), ("dt", float("nan"), "dt must be"), ("nu", -1.0, "nu must be at least 0")],
)
def test_units_that_are_none(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Units(**{field: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "conv", "group": "C4"}, "group: C4; expected C1 for conv"),
        ({"family": "relaxed", "group": "C1"}, "group: C1; expected one of a plane for relaxed"),
        ({"family": "relaxed-translation", "group": "C1"}, "cells must be given"),
    ],
)
def test_architectures_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForecastArchitecture(**options, fields=2)
