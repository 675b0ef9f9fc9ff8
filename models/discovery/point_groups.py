"""The crystallographic point groups that are subgroups of those of a square or a cube, by Hermann-Mauguin symbol."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from models.group import Group

# By number of elements and number of mirrors.
PLANE = {(1, 0): "1", (2, 0): "2", (2, 1): "m", (4, 0): "4", (4, 2): "2mm", (8, 4): "4mm"}
# Types of elements by determinant and trace: rotoinversions -4 and -3, mirrors, the inversion, and rotations of order
# 2, 3 and 4.
TYPES = ((-1, -1), (-1, 0), (-1, 1), (-1, -3), (1, -1), (1, 0), (1, 1))
# By number of elements of each type, without the identity (International Tables for Crystallography A, 10.1.2.2).
SPACE = {
    (0, 0, 0, 0, 0, 0, 0): "1",
    (0, 0, 0, 1, 0, 0, 0): "-1",
    (0, 0, 0, 0, 1, 0, 0): "2",
    (0, 0, 1, 0, 0, 0, 0): "m",
    (0, 0, 1, 1, 1, 0, 0): "2/m",
    (0, 0, 0, 0, 3, 0, 0): "222",
    (0, 0, 2, 0, 1, 0, 0): "mm2",
    (0, 0, 3, 1, 3, 0, 0): "mmm",
    (0, 0, 0, 0, 1, 0, 2): "4",
    (2, 0, 0, 0, 1, 0, 0): "-4",
    (2, 0, 1, 1, 1, 0, 2): "4/m",
    (0, 0, 0, 0, 5, 0, 2): "422",
    (0, 0, 4, 0, 1, 0, 2): "4mm",
    (2, 0, 2, 0, 3, 0, 0): "-42m",
    (2, 0, 5, 1, 5, 0, 2): "4/mmm",
    (0, 0, 0, 0, 0, 2, 0): "3",
    (0, 2, 0, 1, 0, 2, 0): "-3",
    (0, 0, 0, 0, 3, 2, 0): "32",
    (0, 0, 3, 0, 0, 2, 0): "3m",
    (0, 2, 3, 1, 3, 2, 0): "-3m",
    (0, 0, 0, 0, 3, 8, 0): "23",
    (0, 8, 3, 1, 3, 8, 0): "m-3",
    (0, 0, 0, 0, 9, 8, 6): "432",
    (6, 0, 6, 0, 3, 8, 0): "-43m",
    (6, 8, 9, 1, 9, 8, 6): "m-3m",
}


def symbol(matrices: Tensor) -> str:
    """The Hermann-Mauguin symbol of a group of signed permutation matrices, (order, n, n), in a plane or in space."""
    kinds = Counter((round(float(matrix.double().det())), int(matrix.trace())) for matrix in matrices)
    if matrices.shape[-1] == 2:  # noqa: PLR2004 a plane
        return PLANE[len(matrices), sum(count for (parity, _), count in kinds.items() if parity < 0)]
    return SPACE[tuple(kinds[kind] for kind in TYPES)]  # type: ignore[index]


@cache
def subgroups(of: Group) -> tuple[frozenset[int], ...]:
    """All subgroups, the largest first."""
    found = new = {frozenset({0})}
    while new:
        new = {frozenset(generated(of, {*inside, g})) for inside in new for g in {*range(of.order)} - inside} - found
        found = found | new
    return tuple(sorted(found, key=lambda inside: (-len(inside), sorted(inside))))


def largest_subgroup(of: Group, elements: Sequence[int]) -> list[int]:
    """The largest subgroup of these elements and the identity, sorted; of several, that of the elements named first."""
    allowed = [inside for inside in subgroups(of) if inside <= {0, *elements}]
    best = max(allowed, key=lambda inside: (len(inside), [g in inside for g in elements]))
    return sorted(best)


def generated(of: Group, elements: Iterable[int]) -> set[int]:
    """The subgroup that some elements generate."""
    products, inside = of.products.tolist(), {0, *elements}
    while len(larger := {products[g][h] for g in inside for h in inside}) > len(inside):
        inside = larger
    return inside
