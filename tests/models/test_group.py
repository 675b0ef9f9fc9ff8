"""The group's tables, and that fields, components and axes turn together."""

from __future__ import annotations

import math

import pytest
import torch

from models.convolution import EVERYWHERE, wrap
from models.group import NAMES, Group, group, pullback, rotate_scalar, rotate_vector
from models.metrics.gradients import central_differences
from tests.models.regular import rotate_regular

EVERY = [group(name, dimension) for dimension, names in NAMES.items() for name in names]


@pytest.mark.parametrize(
    ("name", "dimension", "order", "mirrors"),
    [
        ("C1", 3, 1, 0),
        ("O", 3, 24, 0),
        ("Oh", 3, 48, 24),
        ("C1", 2, 1, 0),
        ("C2", 2, 2, 0),
        ("C4", 2, 4, 0),
        ("D4", 2, 8, 4),
    ],
)
def test_elements(name: str, dimension: int, order: int, mirrors: int) -> None:
    of = group(name, dimension)
    determinants = torch.linalg.det(of.matrices.double()).round()
    assert of.order == order == len({tuple(matrix.flatten().tolist()) for matrix in of.matrices})
    assert int((determinants < 0).sum()) == mirrors
    assert torch.equal(of.matrices[0], torch.eye(dimension, dtype=torch.int64))


@pytest.mark.parametrize("of", EVERY)
def test_tables_are_those_of_the_matrices(of: Group) -> None:
    for g in range(of.order):
        for h in range(of.order):
            assert torch.equal(of.matrices[of.products[g, h]], of.matrices[g] @ of.matrices[h])
            assert torch.equal(of.matrices[of.quotients[g, h]], of.matrices[g].T @ of.matrices[h])
    assert torch.equal(of.products[of.inverses, torch.arange(of.order)], torch.zeros(of.order, dtype=torch.int64))


def test_rotations_come_first_in_the_full_group() -> None:
    assert torch.equal(group("Oh").matrices[:24], group("O").matrices)
    assert torch.equal(group("D4", 2).matrices[:4], group("C4", 2).matrices)


def test_unknown_group() -> None:
    with pytest.raises(ValueError, match="C1, O or Oh, not 'D4'"):
        group("D4")
    with pytest.raises(ValueError, match="C1, C2, C4 or D4, not 'O'"):
        group("O", 2)
    with pytest.raises(ValueError, match="2 or 3, not 4"):
        group("C1", 4)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("of", [group("D4", 2), group("Oh")])
def test_pullback_is_the_rotation_of_a_cube(of: Group, size: int) -> None:
    cube = torch.arange(size**of.dimension).reshape(of.dimension * [size])
    for g, matrix in enumerate(of.matrices):
        # (g f)(d) = f(g^-1 d): numbering the cells themselves shows where each came from.
        assert torch.equal(rotate_scalar(cube, matrix).flatten(), pullback(of, size)[g])


@pytest.mark.parametrize(
    ("of", "pairs"),
    [(group("Oh"), [(1, 30), (47, 5), (13, 22), (40, 41)]), (group("D4", 2), [(1, 2), (7, 3), (5, 6), (2, 4)])],
)
def test_rotation_is_an_action_on_boxes_of_any_shape(of: Group, pairs: list[tuple[int, int]]) -> None:
    cells = (4, 5, 6)[: of.dimension]
    field = torch.randn(2, of.dimension, *cells)
    features = torch.randn(1, 2 * of.order, *cells)
    for g, h in pairs:
        gh = int(of.products[g, h])
        twice = rotate_vector(rotate_vector(field, of.matrices[h]), of.matrices[g])
        assert torch.equal(twice, rotate_vector(field, of.matrices[gh]))
        twice = rotate_regular(rotate_regular(features, of, h), of, g)
        assert torch.equal(twice, rotate_regular(features, of, gh))


def test_a_known_rotation_of_a_known_field() -> None:
    """A quarter turn about z takes a jet along +x into one along +y, at the place where it must be."""
    turn = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    jet = torch.zeros(3, 2, 3, 4)
    jet[0, 1, 0, 3] = 1.0  # u at the largest x and the smallest y
    turned = rotate_vector(jet, turn)
    assert turned.shape == (3, 2, 4, 3)
    # (x, y) = (+, -) goes to (-y, x) = (+, +).
    assert turned.nonzero().tolist() == [[1, 1, 3, 2]]
    assert float(turned[1, 1, 3, 2]) == 1.0


def test_a_known_rotation_of_a_plane() -> None:
    turn = torch.tensor([[0, -1], [1, 0]])
    jet = torch.zeros(2, 3, 4)
    jet[0, 0, 3] = 1.0
    turned = rotate_vector(jet, turn)
    assert turned.shape == (2, 4, 3)
    assert turned.nonzero().tolist() == [[1, 3, 2]]


@pytest.mark.parametrize("element", range(0, 48, 5))
def test_a_real_field_keeps_its_divergence_and_helicity(element: int) -> None:
    """Components and axes are paired rightly just if a solenoidal field stays so; mirrors change helicity's sign."""
    cells = (torch.arange(12) + 0.5) * 2 * math.pi / 12
    z, y, x = torch.meshgrid(cells, cells, cells, indexing="ij")
    # Arnold-Beltrami-Childress flow: solenoidal and its own curl.
    field = torch.stack(
        [
            torch.sin(z) + 0.7 * torch.cos(y),
            1.3 * torch.sin(x) + torch.cos(z),
            0.7 * torch.sin(y) + 1.3 * torch.cos(x),
        ]
    ).double()
    matrix = group("Oh").matrices[element]

    def divergence_and_helicity(u: torch.Tensor) -> tuple[float, float]:
        grad = central_differences(wrap(u, EVERYWHERE), (1.0, 1.0, 1.0))
        curl = torch.stack([grad[2, 1] - grad[1, 2], grad[0, 2] - grad[2, 0], grad[1, 0] - grad[0, 1]])
        return float(grad.diagonal().sum(-1).abs().max()), float((u * curl).sum(0).mean())

    still, moved = divergence_and_helicity(field), divergence_and_helicity(rotate_vector(field, matrix))
    assert still[0] < 1e-12
    assert moved[0] < 1e-12
    sign = float(torch.linalg.det(matrix.double()))
    assert still[1] > 1
    assert moved[1] == pytest.approx(sign * still[1], rel=1e-12)
