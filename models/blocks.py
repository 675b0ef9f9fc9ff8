"""Cutting a volume into blocks that are computed by themselves and give the very numbers of the whole.

A block is read with its halo: true neighbours inside the volume, and beyond its ends what the boundary says.

- ``periodic``: the other end. An axis that one block spans whole is wrapped inside the network instead.
- ``wall``: the field continued oddly about the wall, half a cell beyond the last centre (no slip: it vanishes there).
- ``open``: the field continued evenly.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.layers import Axes

Float = TypeVar("Float", bound=np.floating[Any])
Boundary = Literal["periodic", "wall", "open"]
Boundaries = tuple[Boundary, Boundary, Boundary]
Cells = tuple[int, int, int]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
PERIODIC: Boundaries = ("periodic", "periodic", "periodic")
EDGE = 32


def parse_boundary(text: str) -> Boundaries:
    """Read ``periodic``, or one boundary an axis as ``periodic,wall,periodic``, in z, y, x order.

    Raises:
        ValueError: for anything else, naming it.
    """
    names = text.split(",")
    if len(names) == 1:
        names *= 3
    if len(names) != 3 or any(name not in BOUNDARIES for name in names):  # noqa: PLR2004 three axes
        known = ", ".join(BOUNDARIES)
        message = f"boundary must be one of {known}, or three of them for z, y, x joined by commas; got {text!r}"
        raise ValueError(message)
    return tuple(names)  # type: ignore[return-value]


@dataclass(frozen=True)
class Block:
    """A part of a volume, in coarse cells along (z, y, x)."""

    start: Cells
    stop: Cells

    @property
    def shape(self) -> Cells:
        """Coarse cells along each axis."""
        z, y, x = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return z, y, x

    def fine(self, factor: int) -> tuple[slice, slice, slice]:
        """Where the block lies in the fine volume."""
        z, y, x = (slice(factor * a, factor * b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Plan:
    """How a volume is cut.

    Attributes:
        shape: coarse cells of the volume along (z, y, x).
        block_shape: coarse cells of a block; the last one along an axis may be shorter.
        halo: coarse cells read around a block.
        boundary: what lies beyond the ends of each axis.
    """

    shape: Cells
    block_shape: Cells
    halo: int
    boundary: Boundaries

    @cached_property
    def circular(self) -> Axes:
        """Axes that a block spans whole and that are periodic: read without halo, wrapped inside the network."""
        z, y, x = (
            boundary == "periodic" and block == cells
            for boundary, block, cells in zip(self.boundary, self.block_shape, self.shape, strict=True)
        )
        return z, y, x

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks, x fastest."""
        starts = (range(0, n, edge) for n, edge in zip(self.shape, self.block_shape, strict=True))
        return [self._block(start) for start in itertools.product(*starts)]

    def _block(self, start: tuple[int, ...]) -> Block:
        z, y, x = start
        end_z, end_y, end_x = (
            min(first + edge, n) for first, edge, n in zip(start, self.block_shape, self.shape, strict=True)
        )
        return Block((z, y, x), (end_z, end_y, end_x))

    def gather(self, source: NDArray[Float], block: Block) -> NDArray[Float]:
        """Read a block and its halo.

        Args:
            source: the whole volume, (..., z, y, x).
            block: one of this plan's blocks.

        Returns:
            (..., z + 2 halo, y + 2 halo, x + 2 halo), without the halo along circular axes.
        """
        values = np.asarray(source)
        lead = values.ndim - 3
        for axis in range(3):
            halo = 0 if self.circular[axis] else self.halo
            reached = np.arange(block.start[axis] - halo, block.stop[axis] + halo)
            index, sign = continued(reached, self.shape[axis], self.boundary[axis])
            if index[0] == reached[0] and index[-1] == reached[-1]:
                part = [slice(None)] * values.ndim
                part[lead + axis] = slice(reached[0], reached[-1] + 1)
                values = values[tuple(part)]
                continue
            values = values.take(index, axis=lead + axis)
            if (sign < 0).any():
                values = values * sign.reshape(-1, *[1] * (2 - axis)).astype(values.dtype)
        return np.ascontiguousarray(values)


def continued(reached: NDArray[np.intp], cells: int, boundary: Boundary) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """The cell of a volume that stands for each cell along an axis continued beyond both ends, and its sign.

    Args:
        reached: cell numbers, also below 0 and beyond the last.
        cells: length of the axis.
        boundary: how the axis goes on.
    """
    if boundary == "periodic":
        return reached % cells, np.ones(len(reached), np.int8)
    # Mirrors at both ends: a pattern of period two lengths, the second half reversed.
    place = reached % (2 * cells)
    mirrored = place >= cells
    index = np.where(mirrored, 2 * cells - 1 - place, place)
    sign = np.where(mirrored & (boundary == "wall"), -1, 1).astype(np.int8)
    return index, sign


def plan(shape: Cells, *, halo: int, boundary: Boundaries, block: int = EDGE) -> Plan:
    """Cut a volume into blocks of nearly equal edges, at most ``block`` coarse cells long.

    Raises:
        ValueError: if an axis or the block is empty.
    """
    if min(shape) < 1 or block < 1:
        message = f"a volume and its blocks need at least one cell along every axis, got {shape} in blocks of {block}"
        raise ValueError(message)
    z, y, x = (math.ceil(n / math.ceil(n / block)) for n in shape)
    return Plan(shape, (z, y, x), halo, boundary)
