"""Functions whose irreps are known, and characters that are those of a representation."""

from __future__ import annotations

import pytest
import torch

from models.group import NAMES, Group, group
from models.irreps import characters, element_names, irrep_shares

NAMED = [group(name, dimension) for dimension, names in NAMES.items() for name in names]


def test_elements_are_named_by_where_they_take_a_point() -> None:
    names = element_names(group("Oh"))
    assert len(set(names)) == 48
    assert names[0] == "x,y,z"
    quarter = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    index = next(index for index, matrix in enumerate(group("O").matrices) if torch.equal(matrix, quarter))
    assert names[index] == "-y,x,z"
    assert "-x,-y,-z" in names[24:]
    assert set(element_names(group("C4", 2))) == {"x,y", "-x,-y", "y,-x", "-y,x"}


def test_shares_of_known_functions() -> None:
    """Matrix elements of a representation lie in it; sums of squares of its dimensions are the order."""
    over = group("Oh")
    matrices = over.matrices.double()
    parity = torch.linalg.det(matrices).round()
    for name, weights in {
        "A1g": torch.ones(48).double(),
        "A1u": parity,
        "T1u": matrices[:, 0, 1],
        "T1g": parity * matrices[:, 2, 1],
        "Eg": matrices[:, 0, 0] ** 2 - 1 / 3,
        "T2g": matrices[:, 0, 0] * matrices[:, 1, 1] + matrices[:, 0, 1] * matrices[:, 1, 0],
    }.items():
        shares = irrep_shares(weights[None], over)
        assert shares.pop(name) == pytest.approx(1, abs=1e-12), name
        assert max(shares.values()) < 1e-12


def test_shares_of_known_functions_in_a_plane() -> None:
    """x^2 - y^2 and x y belong to B1 and B2, vectors to E."""
    over = group("D4", 2)
    matrices = over.matrices.double()
    for name, weights in {
        "A1": torch.ones(8).double(),
        "A2": torch.linalg.det(matrices),
        "B1": matrices[:, 0, 0] ** 2 - matrices[:, 0, 1] ** 2,
        "B2": matrices[:, 0, 0] * matrices[:, 1, 1] + matrices[:, 0, 1] * matrices[:, 1, 0],
        "E": matrices[:, 0, 1],
    }.items():
        assert irrep_shares(weights[None], over)[name] == pytest.approx(1, abs=1e-12), name


@pytest.mark.parametrize("over", NAMED, ids=lambda over: f"{over.name}-{over.dimension}")
def test_shares_add_up_to_one(over: Group) -> None:
    torch.manual_seed(2)
    weights = torch.randn(3, over.order, dtype=torch.float64)
    assert sum(irrep_shares(weights, over).values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("over", NAMED, ids=lambda over: f"{over.name}-{over.dimension}")
def test_characters_are_orthogonal_class_functions(over: Group) -> None:
    table = torch.stack(list(characters(over).values()))
    gram = table @ table.T / over.order
    assert torch.equal(gram, torch.diag(gram.diagonal()))
    conjugates = over.products[over.products, over.inverses[:, None]]
    assert torch.equal(table[:, conjugates], table[:, None].expand(-1, over.order, -1))
