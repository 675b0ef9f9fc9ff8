"""Symbols beside those of spglib, for every subgroup that two elements generate; and how subgroups are found."""

from __future__ import annotations

import pytest
import spglib

from models.discovery.point_groups import SPACE, generated, largest_subgroup, subgroups, symbol
from models.group import group
from models.irreps import element_names


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib, about its own errors
def test_symbols_are_those_of_spglib() -> None:
    over = group("Oh")
    subgroups = {tuple(sorted(generated(over, [g, h]))) for g in range(48) for h in range(g, 48)}
    inversion = next(g for g, matrix in enumerate(over.matrices) if matrix.trace() == -over.dimension)
    subgroups |= {tuple(sorted(generated(over, [*subgroup, inversion]))) for subgroup in subgroups}
    found = set()
    for elements in subgroups:
        matrices = over.matrices[list(elements)]
        expected = spglib.get_pointgroup(matrices.numpy())
        assert expected is not None
        assert symbol(matrices) == expected[0].strip()
        found.add(symbol(matrices))
    assert found == set(SPACE.values())


def test_symbols_in_a_plane() -> None:
    over = group("D4", 2)
    found = {symbol(over.matrices[sorted(generated(over, [g, h]))]) for g in range(8) for h in range(8)}
    assert found == {"1", "2", "m", "2mm", "4", "4mm"}
    assert symbol(group("C4", 2).matrices) == "4"


def test_a_largest_subgroup_begins_with_what_comes_first() -> None:
    over = group("D4", 2)
    mirrors = [g for g in range(8) if over.products[g, g] == 0 and over.matrices[g].double().det() < 0]
    # Two mirrors at 45 degrees generate a quarter turn, which is not allowed: the first of them stays.
    oblique = next(g for g in mirrors if over.matrices[g][0, 0] == 0)
    straight = next(g for g in mirrors if over.matrices[g][0, 0] != 0)
    assert largest_subgroup(over, [0, oblique, straight]) == [0, oblique]
    assert largest_subgroup(over, range(8)) == list(range(8))
    assert largest_subgroup(over, []) == [0]


def test_a_largest_subgroup_is_that_even_if_what_comes_first_is_outside_of_it() -> None:
    over = group("Oh")
    names = element_names(over)
    about_z = sorted(generated(over, map(names.index, ["-y,x,z", "-x,y,z", "x,y,-z"])))
    for first in {*range(48)} - {*about_z}:
        assert largest_subgroup(over, [first, *about_z]) == about_z


def test_a_square_has_ten_subgroups_and_a_cube_98() -> None:
    assert [len(subgroups(over)) for over in (group("D4", 2), group("Oh"))] == [10, 98]


@pytest.mark.parametrize("name", ["O", "Oh"])
def test_two_elements_generate_a_group(name: str) -> None:
    over = group(name)
    closed = sorted(generated(over, [5, 11]))
    assert {int(over.products[g, h]) for g in closed for h in closed} == set(closed)
