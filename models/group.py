"""Groups of signed permutation matrices, and how they act on grids, scalars, vectors and regular features.

In a plane they are the symmetries of a square, in space those of a cube. This is the one place that pairs the order of
components, (u, v) along (x, y) or (u, v, w) along (x, y, z), with the order of axes, (y, x) or (z, y, x).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from models.walls import Walls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.blocks import Boundaries, Boundary

GroupName = Literal["C1", "O", "Oh"]
NAMES = {2: ("C1", "C2", "C4", "D4"), 3: get_args(GroupName)}
"""Names of the groups of a plane and of space, by dimension."""
Each = TypeVar("Each")
MIRROR = torch.diag(torch.tensor([-1, 1, 1]))
"""The reflection (x, y, z) -> (-x, y, z). With it, the 24 rotations of ``O`` generate ``Oh``."""


@dataclass(frozen=True, eq=False)
class Group:
    """A group of rotations and reflections of a square or a cube, its identity first.

    Attributes:
        name: see [`group`][models.group.group].
        matrices: R_g, acting on vectors (u, v) or (u, v, w).
    """

    name: str
    matrices: Int[Tensor, "order n n"]

    @property
    def dimension(self) -> int:
        """2 for a plane, 3 for space."""
        return self.matrices.shape[-1]

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.matrices)

    @cached_property
    def components(self) -> tuple[Int[Tensor, "order n"], Int[Tensor, "order n"]]:
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


def group(name: str, dimension: int = 3) -> Group:
    """A group by its name.

    Args:
        name: in a plane ``C1`` (the identity alone), ``C2`` or ``C4`` (rotations by multiples of 180 or 90 degrees),
            or ``D4`` (those of ``C4`` and reflections, 8); in space ``C1``, ``O`` (24 rotations), or ``Oh`` (with
            reflections, 48).
        dimension: 2 or 3.

    Raises:
        ValueError: for any other name or dimension.
    """
    if dimension not in NAMES:
        message = f"dimension must be 2 or 3, not {dimension}"
        raise ValueError(message)
    if name not in NAMES[dimension]:
        *others, last = NAMES[dimension]
        message = f"group must be {', '.join(others)} or {last}, not {name!r}"
        raise ValueError(message)
    return _group(name, dimension)


@cache
def _group(name: str, dimension: int) -> Group:
    # The identity first, then rotations, so that O is the first half of Oh and shares its numbering.
    every = sorted(_signed_permutations(dimension), key=lambda matrix: -_determinant(matrix))
    kept = {
        "C1": every[:1],
        "C2": [matrix for matrix in every if matrix[0, 0] == matrix[1, 1] != 0],
        "C4": [matrix for matrix in every if _determinant(matrix) > 0],
        "O": [matrix for matrix in every if _determinant(matrix) > 0],
    }
    return Group(name, torch.stack(kept.get(name, every)))


def _signed_permutations(dimension: int) -> Iterator[Int[Tensor, "n n"]]:
    for permutation in itertools.permutations(range(dimension)):
        for signs in itertools.product((1, -1), repeat=dimension):
            matrix = torch.zeros(dimension, dimension, dtype=torch.int64)
            for row, (column, sign) in enumerate(zip(permutation, signs, strict=True)):
                matrix[row, column] = sign
            yield matrix


def _determinant(matrix: Int[Tensor, "n n"]) -> int:
    return round(float(torch.linalg.det(matrix.double())))


@cache
def pullback(of: Group, size: int) -> Int[Tensor, "order cells"]:
    """Where each cell of a centred square or cube comes from.

    Args:
        of: the group.
        size: cells along an edge; cells are numbered with x fastest.

    Returns:
        For every element g and cell d the number of the cell g^-1 d.
    """
    # Twice the distance from the centre is an integer for odd and even sizes alike.
    steps = 2 * torch.arange(size) - (size - 1)
    cells = torch.stack(torch.meshgrid(*of.dimension * [steps], indexing="ij")[::-1], dim=-1)
    # R^-1 is the transpose: (R^T d)_j = sum_i R_ij d_i.
    moved = torch.einsum("gij,di->gdj", of.matrices, cells.reshape(-1, of.dimension))
    return ((moved + (size - 1)) // 2 * size ** torch.arange(of.dimension)).sum(dim=-1)


def rotate_scalar(field: Shaped[Tensor, ...], matrix: Int[Tensor, "n n"]) -> Shaped[Tensor, ...]:
    """Move a scalar field: (g f)(x) = f(g^-1 x), about the centre of the plane or volume.

    Args:
        field: values on cell centres, (..., y, x) or (..., z, y, x); leading axes are carried along.
        matrix: R_g. If it exchanges axes, the field gets their lengths exchanged.
    """
    on_axes, source = matrix.flip(0, 1), _source(matrix)
    lead = field.ndim - len(source)
    moved = field.permute(*range(lead), *(lead + axis for axis in source))
    flips = [lead + axis for axis, origin in enumerate(source) if on_axes[axis, origin] < 0]
    return moved.flip(flips)


def rotate_axes(values: tuple[Each, Each, Each], matrix: Int[Tensor, "3 3"]) -> tuple[Each, Each, Each]:
    """Move values of the axes (z, y, x), such as lengths."""
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


def _source(matrix: Int[Tensor, "n n"]) -> list[int]:
    """The array axis that each one comes from."""
    # Array axes are in reverse order of directions; g takes direction j to the i with R_ij != 0.
    return [int(row.abs().argmax()) for row in matrix.flip(0, 1)]


def rotate_vector(field: Shaped[Tensor, ...], matrix: Int[Tensor, "n n"]) -> Shaped[Tensor, ...]:
    """Move a vector field: (g u)(x) = R_g u(g^-1 x).

    Args:
        field: components (u, v) or (u, v, w) along (x, y, z) on cell centres, (..., component, y, x) or
            (..., component, z, y, x).
        matrix: R_g, as for [`rotate_scalar`][models.group.rotate_scalar].
    """
    axis = -len(matrix) - 1
    components = rotate_scalar(field, matrix).unbind(axis)
    # No matrix product: autocast would round its operands, and a matrix on the CPU does not meet a field on a GPU.
    turned = [components[int(row.abs().argmax())] * int(row.sum()) for row in matrix]
    return torch.stack(turned, dim=axis)
