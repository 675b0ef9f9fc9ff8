"""Our group and layers against escnn's, written by others and from another theory: irreps and steerable bases.

escnn's vectors are along (W, -H, -D), ours along (x, y, z) = (W, H, D): they differ by half a turn about x. Its group
elements come in another order. Beside that, features and kernels of both libraries are the same arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch
from escnn import gspaces, nn

from models.group import Group, GroupName, group, rotate_vector
from models.irreps import irrep_shares
from models.layers import Convolve, GroupLayer, Lift, Project
from tests.models.regular import rotate_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch import Tensor

# escnn leaves /dev/null open when it silences a solver.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

TURN = torch.tensor([1, -1, -1])
IN, OUT = 2, 3


@dataclass(frozen=True)
class Side:
    """Fields of one kind: escnn's type, and how its channels become ours.

    Attributes:
        theirs: escnn's field type.
        channels: the channel of theirs that each of ours is.
        signs: and its sign.
    """

    theirs: Any
    channels: Tensor
    signs: Tensor

    def ours(self, x: Tensor, axis: int = 1) -> Tensor:
        """Their features or kernel with our channels along an axis."""
        signs = self.signs.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        return x.index_select(axis, self.channels) * signs

    def transform(self, x: Tensor, element: Any) -> Tensor:  # noqa: ANN401 escnn is not typed
        """Our features, transformed by escnn."""
        back = self.channels.argsort()
        signs = self.signs.to(x.dtype).reshape(-1, 1, 1, 1)
        return self.ours(self.theirs.transform((x * signs)[:, back], element))


class Peer:
    """escnn's version of a group.

    Attributes:
        over: the group.
        elements: escnn's elements in our order.
    """

    def __init__(self, name: GroupName) -> None:
        self.over: Group = group(name)
        self.space = {"O": gspaces.octaOnR3, "Oh": gspaces.fullOctaOnR3}[name]()
        self.standard = self.space.basespace_action
        theirs = list(self.space.fibergroup.elements)
        matrices = torch.stack([self.matrix(element) for element in theirs])
        same = (self.over.matrices[:, None] == matrices).all(dim=(-1, -2))
        assert (same.sum(dim=0) == 1).all()
        assert (same.sum(dim=1) == 1).all()
        self.numbers = same.int().argmax(dim=1)
        self.elements = [theirs[number] for number in self.numbers]

    def matrix(self, element: Any) -> Tensor:  # noqa: ANN401 escnn is not typed
        """R of an element, acting on our vectors."""
        matrix = torch.from_numpy(self.standard(element))
        rounded = matrix.round().long()
        assert (matrix - rounded).abs().max() < 1e-12
        return TURN[:, None] * rounded * TURN

    def vectors(self, count: int) -> Side:
        """Vector fields."""
        return Side(nn.FieldType(self.space, count * [self.standard]), torch.arange(3 * count), TURN.repeat(count))

    def regular(self, count: int) -> Side:
        """Regular fields."""
        channels = (torch.arange(count)[:, None] * self.over.order + self.numbers).flatten()
        return Side(nn.FieldType(self.space, count * [self.space.regular_repr]), channels, torch.ones(len(channels)))


@cache
def peer(name: GroupName) -> Peer:
    return Peer(name)


@dataclass(frozen=True)
class Case:
    """One of our layers and what lies on either side of it."""

    layer: GroupLayer
    source: Side
    target: Side


def lift(of: Peer, *, relaxed: bool = False) -> Case:
    return Case(Lift(of.over, IN, OUT, relaxed=relaxed), of.vectors(IN), of.regular(OUT))


def convolve(of: Peer, factor: int = 1, *, relaxed: bool = False) -> Case:
    layer = Convolve(of.over, IN, OUT, relaxed=relaxed, factor=factor)
    return Case(layer, of.regular(IN), of.regular(OUT))


def project(of: Peer, factor: int = 1, *, relaxed: bool = False) -> Case:
    return Case(Project(of.over, IN, relaxed=relaxed, factor=factor), of.regular(IN), of.vectors(1))


def fit(layer: GroupLayer, kernel: Tensor) -> None:
    """Set the weights so that the layer's kernel is the orthogonal projection of ``kernel`` on its span.

    Every weight appears once per group element, turned by an orthogonal matrix. The adjoint of the map from weights to
    kernel, applied to a kernel, therefore gives the weights times the group's order.
    """
    (adjoint,) = torch.autograd.grad((layer.kernel() * kernel).sum(), layer.psi)
    layer.psi.data = adjoint / layer.over.order


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", ["O", "Oh"])
def test_same_group(name: GroupName) -> None:
    of = peer(name)
    # The standard representation is faithful and irreducible: matching matrices is matching elements.
    assert len(of.standard.irreps) == 1
    number = {element: index for index, element in enumerate(of.elements)}
    products = torch.tensor([[number[g @ h] for h in of.elements] for g in of.elements])
    assert torch.equal(products, of.over.products)
    assert number[of.space.fibergroup.identity] == 0
    assert [number[~g] for g in of.elements] == of.over.inverses.tolist()


@pytest.mark.parametrize("name", ["O", "Oh"])
def test_fields_are_transformed_alike(name: GroupName) -> None:
    of = peer(name)
    vectors, features = torch.randn(1, 3, 4, 4, 4), torch.randn(1, of.over.order, 3, 3, 3)
    for number, element in enumerate(of.elements):
        turned = rotate_vector(vectors, of.over.matrices[number])
        torch.testing.assert_close(of.vectors(1).transform(vectors, element), turned)
        torch.testing.assert_close(
            of.regular(1).transform(features, element), rotate_regular(features, of.over, number)
        )


@pytest.mark.parametrize("make", [lift, convolve, project])
def test_a_kernel_of_escnn_is_one_of_ours(make: Callable[[Peer], Case]) -> None:
    case = make(peer("O"))
    theirs = nn.R3Conv(case.source.theirs, case.target.theirs, kernel_size=3, bias=False, initialize=False)
    torch.nn.init.normal_(theirs.weights)
    kernel = theirs.expand_parameters()[0].detach()
    expected = case.target.ours(case.source.ours(kernel), axis=0)
    if isinstance(case.layer, Lift):  # ours are those that sum to zero, over vectors and offsets
        vectors = expected.unflatten(1, (IN, 3))
        expected = (vectors - vectors.mean(dim=(1, 3, 4, 5), keepdim=True)).flatten(1, 2)
    assert expected.std() > 0.01
    fit(case.layer, expected)
    torch.testing.assert_close(case.layer.kernel(), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))

    x = torch.randn(2, len(case.source.channels), 6, 5, 7)
    with torch.no_grad():
        answer = case.target.ours(theirs(case.source.theirs(x)).tensor)
        ours = case.layer(case.source.ours(x))
    if not isinstance(case.layer, Lift):
        torch.testing.assert_close(ours, answer, rtol=0, atol=2e-6 * float(answer.abs().max()))


@pytest.mark.parametrize("make", [lift, convolve, project])
def test_a_kernel_that_is_not_equivariant_is_not_one_of_ours(make: Callable[[Peer], Case]) -> None:
    layer = make(peer("O")).layer
    kernel = torch.randn_like(layer.kernel())
    fit(layer, kernel)
    # 1/24 of the directions are ours.
    assert 0.15 < layer.kernel().norm() / kernel.norm() < 0.25


def departure(of: Peer, case: Case) -> float:
    """How far the layer is from commuting with escnn's transformations, over the size of its answer, in float64."""
    layer = case.layer.double().frozen()
    x = torch.randn(1, len(case.source.channels), 5, 5, 5, dtype=torch.float64)
    answer = layer(x)
    errors = [
        (layer(case.source.transform(x, element)) - case.target.transform(answer, element)).abs().max()
        for element in of.elements
    ]
    return float(max(errors) / answer.abs().max())


@pytest.mark.parametrize("name", ["O", "Oh"])
@pytest.mark.parametrize(
    ("make", "factor"), [(lift, None), (convolve, 1), (convolve, 2), (project, 1), (project, 2), (project, 4)]
)
def test_our_layers_commute_with_the_transformations_of_escnn(
    name: GroupName, make: Callable[..., Case], factor: int | None
) -> None:
    of = peer(name)
    case = make(of) if factor is None else make(of, factor)
    assert departure(of, case) < 1e-12


@pytest.mark.parametrize("make", [lift, convolve, project])
def test_relaxed_layers_commute_until_their_weights_differ(make: Callable[..., Case]) -> None:
    of = peer("O")
    case = make(of, relaxed=True)
    assert departure(of, case) < 1e-12
    assert case.layer.relaxation is not None
    case.layer.relaxation.data += torch.randn_like(case.layer.relaxation)
    assert departure(of, case) > 0.1


@pytest.mark.parametrize("name", ["O", "Oh"])
def test_shares_of_irreps_are_those_of_escnn(name: GroupName) -> None:
    """Entries of irreducible matrices are an orthogonal basis of the functions on a group, block by block an irrep."""
    of = peer(name)
    weights = torch.randn(2, of.over.order, dtype=torch.float64)
    ours = irrep_shares(weights, of.over)
    theirs = {}
    for irrep in of.space.fibergroup.irreps():
        entries = torch.stack([torch.from_numpy(irrep(element)).flatten() for element in of.elements])
        pure = irrep_shares(entries.T, of.over)
        called = max(pure, key=lambda label: pure[label])
        assert pure[called] == pytest.approx(1)
        coefficients = (irrep.size / of.over.order) ** 0.5 * weights @ entries
        theirs[called] = float(coefficients.square().sum() / weights.square().sum())
    assert theirs == pytest.approx(ours)
    vectors = torch.stack([torch.from_numpy(of.standard(element)).flatten() for element in of.elements])
    assert irrep_shares(vectors.T, of.over)["T1" if name == "O" else "T1u"] == pytest.approx(1)
