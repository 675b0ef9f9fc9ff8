"""Each layer under every element, relaxed ones with constant weights too, and what freezing does."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from models.activation import Activation
from models.convolution import EVERYWHERE, Frozen, convolve, freeze, spread, wrap
from models.group import group, rotate_scalar, rotate_vector
from models.layers import Convolve, Lift, LiftScalar, Project, ProjectScalar, SeeingLift
from tests.models.regular import rotate_regular

if TYPE_CHECKING:
    from models.convolution import Precision
    from models.group import Group

SHAPE = (3, 4, 5)
ALONG = {2: (True, True), 3: EVERYWHERE}
PLANE = [group(name, 2) for name in ("C2", "C4", "D4")]
SPACE = [group("O"), group("Oh")]
rounds = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU does not compute in bfloat16"
)


def regular(of: Group, fields: int = 2, cells: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(1, fields * of.order, *cells[: of.dimension], dtype=torch.float64)


def move(field: torch.Tensor, of: Group, g: int, kind: str) -> torch.Tensor:
    if kind == "regular":
        return rotate_regular(field, of, g)
    if kind == "scalar":
        return rotate_scalar(field, of.matrices[g])
    return rotate_vector(field.unflatten(1, (-1, of.dimension)), of.matrices[g]).flatten(1, 2)


def assert_commutes(of: Group, layer: torch.nn.Module, x: torch.Tensor, into: str, out: str) -> None:
    circular = ALONG[of.dimension]
    answer = layer(x, circular)
    assert answer.abs().mean() > 1e-2
    for g in range(of.order):
        assert (layer(move(x, of, g, into), circular) - move(answer, of, g, out)).abs().max() < 1e-12


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize(
    ("of", "cells"),
    [(of, SHAPE) for of in SPACE] + [(of, cells) for of in PLANE for cells in [(5, 5), (4, 4), (3, 6)]],
    ids=lambda value: getattr(value, "name", None),
)
class TestEquivariance:
    @pytest.mark.parametrize("lift", [Lift, SeeingLift])
    def test_lift(self, of: Group, cells: tuple[int, ...], lift: type[Lift], *, relaxed: bool) -> None:
        layer = lift(of, 2, 2, banks=2, relaxed=relaxed).double()
        x = torch.randn(1, 2 * of.dimension, *cells, dtype=torch.float64)
        assert_commutes(of, layer, x, "vector", "regular")

    def test_lift_scalar(self, of: Group, cells: tuple[int, ...], *, relaxed: bool) -> None:
        layer = LiftScalar(of, 3, 2, banks=2, relaxed=relaxed).double()
        assert_commutes(of, layer, torch.randn(1, 3, *cells, dtype=torch.float64), "scalar", "regular")

    @pytest.mark.parametrize("factor", [1, 2])
    def test_convolve(self, of: Group, cells: tuple[int, ...], factor: int, *, relaxed: bool) -> None:
        layer = Convolve(of, 2, 1, banks=2, relaxed=relaxed, factor=factor).double()
        assert_commutes(of, layer, regular(of, cells=cells), "regular", "regular")

    @pytest.mark.parametrize("factor", [1, 2, 4])
    def test_project(self, of: Group, cells: tuple[int, ...], factor: int, *, relaxed: bool) -> None:
        layer = Project(of, 1, 2, banks=2, relaxed=relaxed, factor=factor).double()
        assert_commutes(of, layer, regular(of, 1, cells), "regular", "vector")

    @pytest.mark.parametrize("factor", [1, 2])
    def test_project_scalar(self, of: Group, cells: tuple[int, ...], factor: int, *, relaxed: bool) -> None:
        layer = ProjectScalar(of, 2, 3, banks=2, relaxed=relaxed, factor=factor).double()
        assert_commutes(of, layer, regular(of, cells=cells), "regular", "scalar")


def test_a_relaxed_layer_commutes_with_what_leaves_its_weights_as_they_are() -> None:
    of = group("D4", 2)
    layer = Convolve(of, 1, 1, relaxed=True).double()
    assert layer.relaxation is not None
    x, along = regular(of, 1), ALONG[2]
    # Weights that tell apart which axis x goes to: quarter turns change them, half turns and mirrors do not.
    layer.relaxation.data[:] = 1 + of.matrices[:, 0, 0].abs()
    for g, matrix in enumerate(of.matrices):
        error = layer(rotate_regular(x, of, g), along) - rotate_regular(layer(x, along), of, g)
        assert (error.abs().max() < 1e-12) == bool(matrix[0, 0])


def test_relaxed_weights_that_vary_break_the_symmetry() -> None:
    of = group("O")
    layer = Convolve(of, 1, 1, banks=2, relaxed=True).double()
    assert layer.relaxation is not None
    layer.relaxation.data += 0.1 * torch.randn_like(layer.relaxation)
    x = regular(group("O"), 1)
    error = layer(rotate_regular(x, of, 5), EVERYWHERE) - rotate_regular(layer(x, EVERYWHERE), of, 5)
    assert error.abs().max() > 1e-2


def test_kernel_is_the_formula() -> None:
    """W[o, g, i, h, d] = sum_l w_l(h) psi_l[o, i, g^-1 h, g^-1 d], element by element."""
    of = group("O")
    layer = Convolve(of, 1, 1, banks=2, relaxed=True)
    assert layer.relaxation is not None
    layer.relaxation.data.normal_()
    psi = layer.psi.unflatten(-1, (24, 3, 3, 3))
    kernel = layer.kernel()
    for g, h, offset in [(0, 0, (1, 0, -1)), (3, 17, (1, 1, 0)), (23, 8, (-1, 0, 0)), (11, 11, (0, -1, 1))]:
        x, y, z = offset
        back = of.matrices[g].T @ torch.tensor(offset)
        source = int(of.products[of.inverses[g], h])
        expected = sum(
            layer.relaxation[bank, h] * psi[bank, 0, 0, source, back[2] + 1, back[1] + 1, back[0] + 1]
            for bank in range(2)
        )
        torch.testing.assert_close(kernel[g, h, z + 1, y + 1, x + 1], expected)


@pytest.mark.parametrize(("dimension", "convolution"), [(2, torch.nn.Conv2d), (3, torch.nn.Conv3d)])
def test_the_trivial_group_is_an_ordinary_convolution(
    dimension: int, convolution: type[torch.nn.Conv2d | torch.nn.Conv3d]
) -> None:
    layer = Convolve(group("C1", dimension), 5, 7)
    x = torch.randn(2, 5, *dimension * [4])
    plain = convolution(5, 7, 3, padding=1, padding_mode="circular", bias=False)
    plain.weight.data = layer.psi.data.reshape(7, 5, *dimension * [3])
    torch.testing.assert_close(layer(x, ALONG[dimension]), plain(x))
    torch.testing.assert_close(layer.frozen()(x, ALONG[dimension]), plain(x))


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_each_convolution_on_a_gpu_says_whether_it_is_in_tf32(precision: Precision) -> None:
    """The switch in ``torch.backends`` is one for all threads: another one could turn it meanwhile."""
    said = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, call: Any, _: object, operands: Any = (), options: Any = None) -> Any:  # noqa: ANN401
            if call is torch.ops.aten._convolution.default:
                said.append(operands[-1])
            return call(*operands, **(options or {}))

    with FakeTensorMode(), torch.inference_mode(), Listener():  # type: ignore[no-untyped-call]
        layer = Frozen(torch.empty(5, 2, 3, 3, 3, device="cuda"), 1, precision)
        answer = layer(torch.empty(1, 2, 4, 5, 6, device="cuda"), EVERYWHERE)
    assert (answer.device.type, answer.shape) == ("cuda", (1, 5, 4, 5, 6))
    assert said == [precision == "tf32"]


def test_convolve_wraps_only_the_circular_axes() -> None:
    x, kernel = torch.randn(1, 2, 4, 5, 6), torch.randn(3, 2, 3, 3, 3)
    whole = convolve(x, kernel, EVERYWHERE)
    assert whole.shape == (1, 3, 4, 5, 6)
    torch.testing.assert_close(convolve(x, kernel, (True, False, True)), whole[:, :, :, 1:-1])


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_wrapping_and_its_gradient(cells: int) -> None:
    field = torch.randn(1, 2, cells, 4, cells, dtype=torch.float64, requires_grad=True)
    for z, y, x in itertools.product([False, True], repeat=3):
        pad = [int(axis) for axis in (x, x, y, y, z, z)]
        torch.testing.assert_close(wrap(field, (z, y, x)), functional.pad(field, pad, mode="circular"))
        assert torch.autograd.gradcheck(partial(wrap, circular=(z, y, x)), field)


@pytest.mark.parametrize("of", [*SPACE, group("D4", 2)])
def test_activation_commutes_with_the_group_and_with_scaling(of: Group) -> None:
    x = regular(of)
    layer = Activation(of, 2).double()
    layer.offset.data.normal_()
    answer = layer(x)
    for g in range(of.order):
        torch.testing.assert_close(layer(rotate_regular(x, of, g)), rotate_regular(answer, of, g))
    scale = torch.rand(1, 1, *x.shape[2:], dtype=torch.float64) + 0.1
    torch.testing.assert_close(layer(scale * x), scale * answer)
    assert not torch.allclose(layer(-x), -answer)


def test_activation_of_nothing_is_nothing() -> None:
    """Also its gradient is finite: quiet cells spoil no training."""
    layer = Activation(group("O"), 1)
    layer.offset.data.fill_(0.5)
    x = torch.randn(1, 24, 1, 1, 2)
    x[..., 0] = 0
    x.requires_grad_()
    answer = layer(x)
    assert torch.equal(answer[..., 0], torch.zeros(1, 24, 1, 1))
    answer.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("relaxed", [False, True])
def test_lift_kernels_sum_to_zero(*, relaxed: bool) -> None:
    """Over frames and offsets, for each component, whatever the relaxation weights."""
    layer = Lift(group("O"), 3, 2, banks=2, relaxed=relaxed).double()
    if layer.relaxation is not None:
        layer.relaxation.data.normal_()
    kernel = layer.kernel().unflatten(1, (3, 3))
    assert kernel.abs().mean() > 1e-2
    assert kernel.sum(dim=(1, 3, 4, 5)).abs().max() < 1e-12


def test_spread_puts_sub_voxels_in_their_places() -> None:
    x = torch.arange(8 * 2).reshape(1, 8, 1, 1, 2)
    fine = spread(x, 2)
    assert fine.shape == (1, 1, 2, 2, 4)
    # Cell 1 along x, sub-voxel (z, y, x) = (1, 0, 1) is channel 5.
    assert fine[0, 0, 1, 0, 3] == x[0, 5, 0, 0, 1]
    plane = torch.randn(2, 18, 4, 5)
    assert torch.equal(spread(plane, 3), functional.pixel_shuffle(plane, 3))


def test_frozen_is_the_layer_and_costs_one_convolution() -> None:
    layer = Convolve(group("O"), 2, 1, banks=2, relaxed=True, factor=2)
    x = regular(group("O")).float()
    # In float32 the two sum up in orders of their own.
    torch.testing.assert_close(layer.frozen()(x), layer(x), rtol=1e-4, atol=1e-4)
    layer, x = layer.double(), x.double()
    assert torch.equal(layer.frozen()(x), layer(x))
    assert not list(layer.frozen().parameters())


@pytest.mark.parametrize("cells", [3, 6, 14])
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=rounds)])
def test_a_block_has_the_same_bits_in_any_batch(cells: int, precision: Precision) -> None:
    layer = Convolve(group("O"), 2, 1, factor=2).frozen(precision)
    x = torch.randn(5, 48, cells, cells, cells)
    alone = torch.cat([layer(block, EVERYWHERE) for block in x.split(1)])
    for size in (2, 3, 5):
        assert torch.equal(torch.cat([layer(part, EVERYWHERE) for part in x.split(size)]), alone)


@rounds
def test_bfloat16_is_near_and_stays_what_it_is() -> None:
    layer, x = Convolve(group("O"), 2, 1, factor=2), torch.randn(2, 48, 6, 6, 6)
    exact, rounded = layer.frozen()(x), layer.frozen("bfloat16")(x)
    assert rounded.dtype == torch.bfloat16
    error = (exact - rounded).abs().max() / exact.std()
    assert 1e-4 < error < 3e-2


def test_training_after_freezing_leaves_no_stale_kernel() -> None:
    """Train, evaluate, train: each frozen copy is the network as it was when the copy was made."""
    network = torch.nn.Sequential(Convolve(group("O"), 1, 1), Convolve(group("O"), 1, 1)).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.randn(1, 24, 5, 5, 5, dtype=torch.float64)
    answers = []
    for _ in range(2):
        frozen = freeze(network)
        assert all(isinstance(layer, Frozen) for layer in frozen)
        assert torch.equal(frozen(x), network(x))
        answers.append((frozen, frozen(x)))
        network(x).square().mean().backward()
        optimizer.step()
    assert not torch.equal(answers[0][1], answers[1][1])
    assert all(torch.equal(frozen(x), answer) for frozen, answer in answers)
