"""The exact symmetries of a whole model, its receptive field, and that blocks give the numbers of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.blocks import BOUNDARIES, PERIODIC
from models.group import group, rotate_vector
from models.networks import Architecture, Network
from models.operators import coarsen, trilinear
from models.superresolution import SuperResolution, moments, upscale

if TYPE_CHECKING:
    from models.blocks import Boundaries

ARCHITECTURES = {
    "conv": Architecture("conv", "C1", 6, 2),
    "equivariant": Architecture("equivariant", "O", 1, 2),
    "equivariant with reflections": Architecture("equivariant", "Oh", 1, 1),
    "equivariant x2 + x2": Architecture("equivariant", "O", 1, 1, head=(2,)),
    "equivariant, three frames": Architecture("equivariant", "O", 1, 1, frames=3),
    "relaxed": Architecture("relaxed", "O", 1, 2, banks=2),
    "relaxed x2 + x2": Architecture("relaxed", "Oh", 1, 1, banks=3, head=(1,)),
}


def build(name: str, *, broken: bool = False) -> SuperResolution:
    """A model of random weights; ``broken`` lets relaxed weights vary, as they do once trained."""
    if name == "trilinear":
        return SuperResolution()
    torch.manual_seed(7)
    network = Network(ARCHITECTURES[name])
    for key, parameter in network.named_parameters():
        if key.endswith("offset") or (broken and key.endswith("relaxation")):
            parameter.data += 0.3 * torch.randn_like(parameter)
        if key == "project.psi":
            parameter.data *= 10
    return SuperResolution(network)


def volume(model: SuperResolution, *shape: int, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((model.frames, 3, *shape))
    field: np.ndarray = 2 * noise + np.array([1, -3, 0.5])[:, None, None, None]
    return field


def turned(u: np.ndarray, matrix: torch.Tensor) -> np.ndarray:
    return rotate_vector(torch.from_numpy(u), matrix).numpy()


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "conv"])
def test_rotations_are_exact(name: str) -> None:
    """Equivariant models, and relaxed ones of constant weights, under every element, on a volume that is no cube."""
    model = build(name).double().frozen()
    u = volume(model, 3, 4, 6)
    answer = upscale(model, u, PERIODIC)
    assert model.network is not None
    for matrix in group(model.network.architecture.group).matrices:
        moved = upscale(model, turned(u, matrix), PERIODIC)
        assert np.abs(moved - turned(answer, matrix)).max() <= 1e-12


@pytest.mark.parametrize("name", ["conv", "relaxed"])
def test_rotations_are_not_exact_where_weights_vary(name: str) -> None:
    model = build(name, broken=True).double().frozen()
    u, matrix = volume(model, 4, 4, 4), group("O").matrices[5]
    error = upscale(model, turned(u, matrix), PERIODIC) - turned(upscale(model, u, PERIODIC), matrix)
    assert np.abs(error).max() > 1e-2


@pytest.mark.parametrize("boundary", [PERIODIC, ("open", "open", "open")])
@pytest.mark.parametrize("name", ["trilinear", *ARCHITECTURES])
def test_boosts_and_scaling_are_exact(name: str, boundary: Boundaries) -> None:
    model = build(name, broken=True).double().frozen()
    u = volume(model, 3, 4, 5)
    boost = np.array([2.0, -1.0, 0.25])[:, None, None, None]
    answer = upscale(model, u, boundary)
    assert np.abs(upscale(model, u + boost, boundary) - (answer + boost)).max() <= 1e-12
    assert np.abs(upscale(model, 0.125 * u, boundary) - 0.125 * answer).max() <= 1e-12


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "equivariant, three frames"])
def test_translation_by_coarse_cells_is_exact(name: str) -> None:
    model = build(name, broken=True).double().frozen()
    u = volume(model, 4, 5, 6)
    moved = upscale(model, np.roll(u, (1, 2, -1), (2, 3, 4)), PERIODIC)
    assert np.abs(moved - np.roll(upscale(model, u, PERIODIC), (4, 8, -4), (1, 2, 3))).max() <= 1e-12


@pytest.mark.parametrize("boundary", [PERIODIC, ("wall", "open", "periodic")])
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_consistency_is_exact(name: str, boundary: Boundaries) -> None:
    model = build(name, broken=True).double().frozen()
    u = volume(model, 3, 4, 5)
    answer = torch.from_numpy(upscale(model, u, boundary))
    now = torch.from_numpy(u[model.frames // 2])
    assert (coarsen(answer) - now).abs().max() <= 1e-12
    # And the network does something: the answer is not the interpolation.
    plain = torch.from_numpy(upscale(SuperResolution().double(), u[model.frames // 2], boundary))
    assert (answer - plain).abs().mean() > 1e-2


@pytest.mark.parametrize("name", ["trilinear", "relaxed"])
def test_a_uniform_field_stays_uniform(name: str) -> None:
    model = build(name, broken=True).frozen()
    u = np.full((3, 3, 3, 3), 2.5, np.float32)
    assert np.array_equal(upscale(model, u, PERIODIC), np.full((3, 12, 12, 12), 2.5, np.float32))


def test_trilinear_interpolates_cell_centres() -> None:
    """Fine centres lie at -3/8, -1/8, 1/8 and 3/8 of a coarse cell, so that a linear field is met exactly."""
    coarse = torch.arange(6.0).expand(1, 1, 3, 3, 6)
    fine = trilinear(coarse)
    assert fine.shape == (1, 1, 4, 4, 16)
    torch.testing.assert_close(fine[0, 0, 0, 0], torch.arange(16) / 4 + 1 - 3 / 8)


@pytest.mark.parametrize("name", ["trilinear", *ARCHITECTURES])
def test_halo_is_the_measured_receptive_field(name: str) -> None:
    """The gradient of one coarse cell's answer reaches the halo's last cell and no further."""
    model = build(name, broken=True).double()
    edge = 2 * model.halo + 5
    u = torch.from_numpy(volume(model, edge, edge, edge))[None].requires_grad_()
    answer = model(u, torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert answer.shape == (1, 3, 20, 20, 20)
    answer[..., 8:12, 8:12, 8:12].square().sum().backward()
    assert u.grad is not None
    reached = u.grad.abs().sum(dim=(0, 1, 2))
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        cells = reached.sum(dim=others).nonzero().flatten()
        assert cells.min() == 2
        assert cells.max() == edge - 3


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["trilinear", "conv", "equivariant x2 + x2", "relaxed", "equivariant, three frames"]),
    shape=st.tuples(*[st.integers(1, 13)] * 3),
    boundary=st.tuples(*[st.sampled_from(BOUNDARIES)] * 3),
    block=st.integers(1, 9),
)
def test_blocks_give_the_numbers_of_the_whole(
    name: str, shape: tuple[int, int, int], boundary: Boundaries, block: int
) -> None:
    """In single precision, for all families, boundaries, block sizes and shapes that no block divides."""
    block = max(block, max(shape) // 4)
    model = build(name, broken=True).frozen()
    u = volume(model, *shape).astype(np.float32)
    whole, tiled = upscale(model, u, boundary, block=13), upscale(model, u, boundary, block=block)
    _, scale = moments(u)
    assert np.abs(tiled - whole).max() <= 1e-5 * max(float(scale), float(whole.std()))


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4, 4), (2, 4, 4, 4), (1, 1, 3, 4, 4, 4)])
def test_source_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"source must have shape \(1, 3, z, y, x\), not"):
        upscale(SuperResolution(), np.zeros(shape, np.float32), PERIODIC)


def test_moments() -> None:
    u = volume(build("equivariant, three frames"), 3, 4, 5)
    mean, scale = moments(u)
    np.testing.assert_allclose(mean, u.mean(axis=(0, 2, 3, 4)))
    np.testing.assert_allclose(scale, np.sqrt(((u - mean[:, None, None, None]) ** 2).mean()))
