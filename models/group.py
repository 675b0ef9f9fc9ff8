"""The octahedral group as signed permutation matrices, and how it acts on grids, vectors and regular features.

This is the one place that pairs the order of components, (u, v, w) along (x, y, z), with the order of axes, (z, y, x).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from models.walls import Walls

if TYPE_CHECKING:
    from models.blocks import Boundaries, Boundary

GroupName = Literal["C1", "O", "Oh"]
Each = TypeVar("Each")


@dataclass(frozen=True, eq=False)
class Group:
    """A subgroup of the octahedral group with reflections, its identity first.

    Attributes:
        name: ``C1`` (the identity alone), ``O`` (24 rotations) or ``Oh`` (with reflections, 48).
        matrices: R_g, acting on vectors (u, v, w).
    """

    name: str
    matrices: Int[Tensor, "order 3 3"]

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.matrices)

    @cached_property
    def components(self) -> tuple[Int[Tensor, "order 3"], Int[Tensor, "order 3"]]:
        """For every element g and component c of R_g v: which component of v it is, and its sign."""
        return self.matrices.abs().argmax(dim=-1), self.matrices.sum(dim=-1)

    @cached_property
    def products(self) -> Int[Tensor, "order order"]:
        """Index of g h for every pair of elements."""
        products = torch.einsum("gij,hjk->ghik", self.matrices, self.matrices)
        same = (products[:, :, None] == self.matrices).all(dim=(-1, -2))
        return same.int().argmax(dim=-1)

    @cached_property
    def inverses(self) -> Int[Tensor, " order"]:
        """Index of g^-1 for every element."""
        return (self.products == 0).int().argmax(dim=1)

    @cached_property
    def quotients(self) -> Int[Tensor, "order order"]:
        """Index of g^-1 h for every pair of elements."""
        return self.products[self.inverses]


@cache
def group(name: str) -> Group:
    """The group called ``C1``, ``O`` or ``Oh``.

    Raises:
        ValueError: for any other name.
    """
    if name not in ("C1", "O", "Oh"):
        message = f"group must be C1, O or Oh, not {name!r}"
        raise ValueError(message)
    if name == "C1":
        return Group(name, torch.eye(3, dtype=torch.int64)[None])
    matrices = []
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.int64)
            for row, (column, sign) in enumerate(zip(permutation, signs, strict=True)):
                matrix[row, column] = sign
            matrices.append(matrix)
    every = torch.stack(matrices)
    proper = torch.linalg.det(every.double()).round() > 0
    # Rotations first, so that O is the first half of Oh and shares its numbering.
    return Group(name, every[proper] if name == "O" else torch.cat([every[proper], every[~proper]]))


@cache
def pullback(of: Group, size: int) -> Int[Tensor, "order cells"]:
    """Where each cell of a centred cube comes from.

    Args:
        of: the group.
        size: cells along an edge; cells are numbered with z slowest and x fastest.

    Returns:
        For every element g and cell d the number of the cell g^-1 d.
    """
    # Twice the distance from the centre is an integer for odd and even sizes alike.
    steps = 2 * torch.arange(size) - (size - 1)
    z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
    cells = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    # R^-1 is the transpose: (R^T d)_j = sum_i R_ij d_i.
    moved = torch.einsum("gij,di->gdj", of.matrices, cells)
    index = (moved + (size - 1)) // 2
    return (index[..., 2] * size + index[..., 1]) * size + index[..., 0]


def rotate_scalar(field: Shaped[Tensor, "*lead z y x"], matrix: Int[Tensor, "3 3"]) -> Shaped[Tensor, "*lead z2 y2 x2"]:
    """Move a scalar field: (g f)(x) = f(g^-1 x), about the centre of the volume.

    Args:
        field: values on cell centres; leading axes are carried along.
        matrix: R_g. Axes that it exchanges exchange their lengths.
    """
    on_axes, source = matrix.flip(0, 1), _source(matrix)
    lead = field.ndim - 3
    moved = field.permute(*range(lead), *(lead + axis for axis in source))
    flips = [lead + axis for axis in range(3) if on_axes[axis, source[axis]] < 0]
    return moved.flip(flips)


def rotate_axes(values: tuple[Each, Each, Each], matrix: Int[Tensor, "3 3"]) -> tuple[Each, Each, Each]:
    """Move what is known of each axis (z, y, x), such as lengths."""
    z, y, x = (values[axis] for axis in _source(matrix))
    return z, y, x


def rotate_boundary(boundary: Boundaries, matrix: Int[Tensor, "3 3"]) -> Boundaries:
    """Move boundaries of the axes (z, y, x), and turn the velocities of walls that move."""
    rotation = matrix.double()
    on_axes, source = matrix.flip(0, 1), _source(matrix)

    def moved(axis: int) -> Boundary:
        name = boundary[source[axis]]
        if not (walls := Walls.of(name)).move:
            return name
        ends = walls if on_axes[axis, source[axis]] > 0 else reversed(walls)
        low, high = (tuple((rotation @ torch.tensor(each, dtype=torch.float64)).tolist()) for each in ends)
        return str(Walls(low, high))

    return moved(0), moved(1), moved(2)


def _source(matrix: Int[Tensor, "3 3"]) -> list[int]:
    """The array axis (z, y, x) that each one comes from."""
    # Array axis a carries direction 2 - a; g takes direction j to the i with R_ij != 0.
    return [int(row.abs().argmax()) for row in matrix.flip(0, 1)]


def rotate_vector(
    field: Shaped[Tensor, "*lead 3 z y x"], matrix: Int[Tensor, "3 3"]
) -> Shaped[Tensor, "*lead 3 z2 y2 x2"]:
    """Move a vector field: (g u)(x) = R_g u(g^-1 x), components (u, v, w) along (x, y, z)."""
    moved = rotate_scalar(field, matrix)
    return torch.einsum("ij,...jzyx->...izyx", matrix.to(moved.dtype), moved)


def rotate_regular(
    features: Shaped[Tensor, "batch channels z y x"], of: Group, element: int
) -> Shaped[Tensor, "batch channels z2 y2 x2"]:
    """Move regular features: (k f)_h(x) = f_(k^-1 h)(k^-1 x), with channels numbered (field, group element)."""
    moved = rotate_scalar(features, of.matrices[element])
    fields: Tensor = moved.unflatten(1, (-1, of.order))
    return fields[:, :, of.quotients[element]].flatten(1, 2)
