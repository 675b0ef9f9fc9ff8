"""The exact symmetries of a whole model, its receptive field, and that blocks give the numbers of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.blocks import BOUNDARIES, PERIODIC
from models.convolution import EVERYWHERE, crop
from models.group import group, rotate_vector
from models.networks import Architecture, Network
from models.operators import coarsen, refine, trilinear, variation
from models.superresolution import SuperResolution, upscale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.convolution import Precision

ARCHITECTURES = {
    "conv": Architecture("conv", "C1", 6, 2),
    "equivariant": Architecture("equivariant", "O", 1, 2),
    "equivariant with reflections": Architecture("equivariant", "Oh", 1, 1),
    "equivariant, mirrored": Architecture("equivariant", "O", 1, 1, mirrored=True),
    "relaxed, mirrored": Architecture("relaxed", "O", 1, 1, mirrored=True),
    "equivariant x2 + x2": Architecture("equivariant", "O", 1, 1, head=(2,)),
    "equivariant, three frames": Architecture("equivariant", "O", 1, 1, frames=3),
    "relaxed": Architecture("relaxed", "O", 1, 2, banks=2),
    "relaxed x2 + x2": Architecture("relaxed", "Oh", 1, 1, banks=3, head=(1,)),
    "conv x2": Architecture("conv", "C1", 6, 1, factor=2),
    "equivariant x2": Architecture("equivariant", "O", 1, 1, factor=2),
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


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith("conv")])
def test_rotations_are_exact(name: str) -> None:
    """Equivariant models, and relaxed ones of constant weights, under every element, on a volume that is no cube."""
    model = build(name).double().frozen()
    u = volume(model, 3, 4, 6)
    answer = upscale(model, u, PERIODIC)
    assert model.network is not None
    for matrix in group(model.network.architecture.kept_group).matrices:
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
    for scale in (0.3, -1.0) if model.family == "trilinear" else (0.3, 7.0):
        assert np.abs(upscale(model, scale * u, boundary) - scale * answer).max() <= 1e-12 * abs(scale)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_region_with_a_boost_and_an_amplitude_of_its_own_is_answered_as_if_alone(name: str) -> None:
    """Nothing of the volume around it matters, beyond the halo."""
    model = build(name, broken=True).double().frozen()
    halo = model.halo
    edge = 2 * halo + 3
    part = volume(model, edge, edge, edge)
    whole = volume(model, edge, edge, 2 * edge, seed=2)
    boost = np.array([2.0, -1.0, 0.25])[:, None, None, None]
    whole[..., :edge] = 0.01 * part + boost
    fine = slice(model.factor * halo, model.factor * (edge - halo))
    alone, found = upscale(model, part, PERIODIC)[:, fine, fine, fine], upscale(model, whole, PERIODIC)
    assert alone.shape[1:] == (3 * model.factor,) * 3
    assert np.abs(found[:, fine, fine, fine] - (0.01 * alone + boost)).max() <= 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["trilinear", "conv", "equivariant", "relaxed"])
def test_amplitudes_and_boosts_of_any_size_keep_the_digits(name: str, dtype: type[np.floating[Any]]) -> None:
    model = build(name, broken=True).frozen()
    model = model.double() if dtype is np.float64 else model
    u: NDArray[np.floating[Any]] = (np.round(1024 * volume(model, 4, 5, 6)) / 1024).astype(dtype)
    answer = upscale(model, u, PERIODIC)
    for exponent in (-100, -60, 60, 100) if dtype is np.float32 else (-900, -60, 60, 900):
        scaled = upscale(model, np.ldexp(u, exponent), PERIODIC)
        assert np.array_equal(scaled, np.ldexp(answer, exponent))
    shifted = upscale(model, u + dtype(4096), PERIODIC)  # exact, so that round-off of the answer alone is left
    assert np.abs(shifted - 4096 - answer).max() <= 4 * 4096 * np.finfo(dtype).eps


@pytest.mark.parametrize("name", ["trilinear", *ARCHITECTURES])
def test_input_in_double_precision_needs_no_frozen_model(name: str) -> None:
    model = build(name, broken=True)
    u = volume(model, 3, 4, 5)
    answer = upscale(model, u, PERIODIC)
    assert answer.dtype == np.float64
    assert np.abs(answer - upscale(model.frozen(), u, PERIODIC)).max() <= 1e-4


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "equivariant, three frames"])
def test_translation_by_coarse_cells_is_exact(name: str) -> None:
    model = build(name, broken=True).double().frozen()
    u = volume(model, 4, 5, 6)
    moved = upscale(model, np.roll(u, (1, 2, -1), (2, 3, 4)), PERIODIC)
    shifts = tuple(model.factor * cells for cells in (1, 2, -1))
    assert np.abs(moved - np.roll(upscale(model, u, PERIODIC), shifts, (1, 2, 3))).max() <= 1e-12


@pytest.mark.parametrize("boundary", [PERIODIC, ("wall", "open", "periodic")])
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_consistency_is_exact(name: str, boundary: Boundaries) -> None:
    model = build(name, broken=True).double().frozen()
    u = volume(model, 3, 4, 5)
    answer = torch.from_numpy(upscale(model, u, boundary))
    now = torch.from_numpy(u[model.frames // 2])
    assert (coarsen(answer, model.factor) - now).abs().max() <= 1e-12
    # And the network does something: the answer is not the interpolation.
    interpolation = SuperResolution(factor=model.factor).double()
    plain = torch.from_numpy(upscale(interpolation, u[model.frames // 2], boundary))
    assert (answer - plain).abs().mean() > 1e-2


@pytest.mark.parametrize("name", ["trilinear", "relaxed"])
def test_a_uniform_field_stays_uniform(name: str) -> None:
    model = build(name, broken=True).frozen()
    u = np.full((3, 3, 3, 3), 2.5, np.float32)
    assert np.array_equal(upscale(model, u, PERIODIC), np.full((3, 12, 12, 12), 2.5, np.float32))


@pytest.mark.parametrize("factor", [2, 4])
def test_trilinear_interpolates_cell_centres(factor: int) -> None:
    """Fine centres lie evenly in a coarse cell, so that a linear field is met exactly. Else as torch."""
    coarse = torch.arange(6.0).expand(1, 1, 3, 3, 6)
    fine = trilinear(coarse, factor=factor)
    assert fine.shape == (1, 1, factor, factor, 4 * factor)
    torch.testing.assert_close(fine[0, 0, 0, 0], (torch.arange(4 * factor) + 0.5) / factor + 0.5)
    noise = torch.randn(2, 3, 5, 4, 6)
    theirs = functional.interpolate(noise, scale_factor=factor, mode="trilinear", align_corners=False)
    torch.testing.assert_close(trilinear(noise, factor=factor), crop(theirs, factor))


@pytest.mark.parametrize("name", ["trilinear", *ARCHITECTURES])
def test_halo_is_the_measured_receptive_field(name: str) -> None:
    """The gradient of one coarse cell's answer reaches the halo's last cell and no further."""
    model = build(name, broken=True).double()
    edge = 2 * model.halo + 5
    u = torch.from_numpy(volume(model, edge, edge, edge))[None].requires_grad_()
    answer, middle = model(u), slice(2 * model.factor, 3 * model.factor)
    assert answer.shape == (1, 3, *(3 * [5 * model.factor]))
    answer[..., middle, middle, middle].square().sum().backward()
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
    assert np.abs(tiled - whole).max() <= 1e-5 * float(whole.std())


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4, 4), (2, 4, 4, 4), (1, 1, 3, 4, 4, 4)])
def test_source_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"source must have shape \(1, 3, z, y, x\), not"):
        upscale(SuperResolution(), np.zeros(shape, np.float32), PERIODIC)


def hostile_fields(frames: int, edge: int = 8) -> dict[str, np.ndarray]:
    """Velocity that no flow has."""
    random = np.random.default_rng(3)
    noise = random.standard_normal((frames, 3, edge, edge, edge))
    step = np.where(np.arange(edge) < edge // 2, 0.0, 1.0) * np.ones_like(noise)
    zigzag = (-1.0) ** np.indices((edge, edge, edge)).sum(axis=0) * np.ones_like(noise)
    spike = np.full_like(noise, 3.0)
    spike[..., 5, 5, 5] += 1e6
    strange = 1e-3 * noise
    strange[..., 6, 6, 6] = -999.9
    steep = np.exp(2 * np.arange(edge)) * np.ones_like(noise)
    halves = np.where(np.arange(edge) < edge // 2, 1e-6, 1e6) * noise
    fields = {"noise": noise, "step": step, "zigzag": zigzag, "spike": spike, "strange cell": strange, "steep": steep}
    return {**fields, "quiet beside loud": halves, "boosted": 1e-2 * noise + 1e4, "constant": np.full_like(noise, -2.5)}


@pytest.mark.parametrize("weights", ["initial", "random", "huge"])
@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", ["conv", "equivariant, three frames", "relaxed x2 + x2", "equivariant x2"])
def test_no_answer_is_further_from_trilinear_than_the_bound(name: str, precision: str, weights: str) -> None:
    """At most about five times the local variation, whatever the field and the weights, cell by cell."""
    model = build(name, broken=weights != "initial")
    if weights == "huge":
        for key, parameter in model.named_parameters():
            parameter.data *= 1 if key.endswith("offset") else 30
    model = model.double().frozen() if precision == "float64" else model.frozen(precision)  # type: ignore[arg-type]
    dtype = np.float64 if precision == "float64" else np.float32
    plain = SuperResolution(factor=model.factor).double()
    for field, values in hostile_fields(model.frames).items():
        u: NDArray[np.floating[Any]] = values.astype(dtype)
        answer = upscale(model, u, PERIODIC)
        exact = u.astype(np.float64)
        near = upscale(plain, exact[model.frames // 2], PERIODIC)
        away = np.sqrt(((answer - near) ** 2).sum(axis=0))
        varies = variation(torch.from_numpy(exact[None, model.frames // 2]), EVERYWHERE)
        limit = 5.02 * refine(varies, model.factor)[0, 0].numpy()
        # The answer and its neighbourhood are rounded, and the block's typical velocity is taken out of them.
        largest = functional.max_pool3d(torch.from_numpy(np.abs(exact)).amax(dim=(0, 1))[None], 3, 1, 1)
        rounding = 16 * np.finfo(dtype).eps * (refine(largest, model.factor)[0].numpy() + np.median(np.abs(exact)))
        assert np.isfinite(answer).all(), field
        assert (away <= limit + rounding).all(), field


@pytest.mark.parametrize("name", ["conv", "equivariant", "relaxed x2 + x2"])
@pytest.mark.parametrize("elsewhere", [0.0, 1e-21, 1e-30])
def test_gradients_are_finite_beside_a_fluid_at_rest(name: str, elsewhere: float) -> None:
    """A solid, or a velocity that is all but none, has no direction; its divisions are by almost nothing."""
    model = build(name, broken=True)
    u = torch.full((1, 1, 3, 24, 24, 24), elsewhere)
    u[..., :3, :3, :3] = torch.randn(3, 3, 3)
    model(u * torch.rand_like(u), EVERYWHERE).abs().mean().backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    assert gradients
    assert all(each.isfinite().all() for each in gradients)


def test_variation_is_the_rms_of_differences_between_neighbours() -> None:
    u = torch.zeros(1, 3, 3, 3, 3, dtype=torch.float64)
    u[0, :, 1, 1, 1] = torch.tensor([1.0, 2.0, 2.0])  # six of the 18 + 18 + 18 differences have length 3
    torch.testing.assert_close(variation(u), torch.full((1, 1, 1, 1, 1), (6 * 9 / 18) ** 0.5, dtype=torch.float64))
    assert not variation(torch.ones(1, 3, 3, 3, 3)).any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_block_is_answered_with_the_same_bits_in_any_batch(precision: Precision) -> None:
    model = build("equivariant", broken=True).frozen(precision)
    blocks = torch.randn(5, 1, 3, 6, 7, 5)
    alone = torch.cat([model(block, EVERYWHERE) for block in blocks.split(1)])
    for size in (2, 3, 5):
        assert torch.equal(torch.cat([model(part, EVERYWHERE) for part in blocks.split(size)]), alone)
