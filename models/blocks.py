"""Cutting a volume into blocks that are computed one by one and give the same numbers as the whole.

A block is read with its halo: its neighbours inside the volume, and beyond the ends what the boundary says.

- ``periodic``: the other end. An axis that one block spans whole is wrapped inside the network instead.
- ``wall``: the field continued oddly about the wall, half a cell beyond the last centre (no slip: it vanishes there).
- ``wall:u=-1..1``: walls that move, see [`models.walls`][models.walls]. The field is continued as ``2 U - u`` about a
  wall of velocity U.
- ``open``: the field continued evenly.

Requests, attributes, runs and cards spell the boundaries of z, y and x, in this order, with commas between them:
``periodic,wall:u=-1..1,periodic``. [`parse_boundary`][models.blocks.parse_boundary] reads that and
[`format_boundary`][models.blocks.format_boundary] writes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from models.continuation import continue_beyond, continued
from models.walls import COMPONENTS, WallError, Walls, is_wall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.continuation import Continuation
    from models.convolution import Axes


Lengths = tuple[float, float, float]
# Edges of the usual box.
CUBE: Lengths = (2 * math.pi,) * 3

Float = TypeVar("Float", bound=np.floating[Any])
# One of BOUNDARIES, or a wall that moves.
Boundary = str
Boundaries = tuple[Boundary, Boundary, Boundary]
Cells = tuple[int, int, int]
# Numbers of cells along (z, y, x).
Window = tuple["NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.intp]"]
# From ranges of cells along (z, y, x) to values (..., z, y, x).
Read = Callable[[slice, slice, slice], "NDArray[Float]"]
BOUNDARIES: tuple[Boundary, ...] = ("periodic", "wall", "open")
PERIODIC: Boundaries = ("periodic", "periodic", "periodic")
EDGE = 32


def parse_boundary(text: str) -> Boundaries:
    """Read ``periodic``, or one boundary an axis as ``periodic,wall,periodic``, in z, y, x order.

    Blanks and capitals make no difference.

    Raises:
        ValueError: for anything else, naming it.
    """
    names = [name.strip().lower() for name in text.split(",")]
    if len(names) == 1:
        names *= 3
    if len(names) != 3 or any(name not in BOUNDARIES and not name.startswith("wall:") for name in names):  # noqa: PLR2004 three axes
        known = ", ".join(BOUNDARIES)
        message = (
            f"boundary must be one of {known}, a wall that moves such as wall:u=-1..1, or three of them for z, y, x "
            f"joined by commas; got {text!r}"
        )
        raise ValueError(message)
    z, y, x = (_parse(name, axis) for axis, name in enumerate(names))
    return z, y, x


def _parse(name: str, axis: int) -> Boundary:
    walls, through = Walls.of(name), 2 - axis
    if walls.low[through] or walls.high[through]:
        message = f"walls at the ends of {'zyx'[axis]} move along themselves, not by {COMPONENTS[through]}: {name!r}"
        raise WallError(message)
    return str(walls) if is_wall(name) else name


def format_boundary(boundary: Boundaries) -> str:
    """Write boundaries as [`parse_boundary`][models.blocks.parse_boundary] reads them."""
    return ",".join(boundary)


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

    def within(self, box: Block) -> Block:
        """The same block, counted from the start of a box."""
        start, stop = (
            tuple(n - first for n, first in zip(cells, box.start, strict=True)) for cells in (self.start, self.stop)
        )
        return Block((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

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

    @property
    def counts(self) -> Cells:
        """Blocks along each axis."""
        z, y, x = (math.ceil(n / edge) for n, edge in zip(self.shape, self.block_shape, strict=True))
        return z, y, x

    def at(self, number: Cells) -> Block:
        """The block with this number along each axis."""
        return self._block(tuple(n * edge for n, edge in zip(number, self.block_shape, strict=True)))

    def _block(self, start: tuple[int, ...]) -> Block:
        z, y, x = start
        end_z, end_y, end_x = (
            min(first + edge, n) for first, edge, n in zip(start, self.block_shape, self.shape, strict=True)
        )
        return Block((z, y, x), (end_z, end_y, end_x))

    def gather(self, source: NDArray[Float], block: Block) -> NDArray[Float]:
        """Read a block and its halo from an array.

        Args:
            source: the whole volume, (..., z, y, x).
            block: one of this plan's blocks.

        Returns:
            (..., z + 2 halo, y + 2 halo, x + 2 halo), without the halo along circular axes.
        """
        return self.assemble(lambda z, y, x: source[..., z, y, x], block)

    def assemble(self, read: Read[Float], block: Block) -> NDArray[Float]:
        """Read a block and its halo from a volume that is not in memory; see [`gather`][models.blocks.Plan.gather].

        Args:
            read: see [`collect`][models.blocks.collect].
            block: one of this plan's blocks.
        """
        beyond = [self._reached(axis, block) for axis in range(3)]
        z, y, x = (axis.cells for axis in beyond)
        return np.ascontiguousarray(continue_beyond(collect(read, (z, y, x)), beyond))

    def _reached(self, axis: int, block: Block) -> Continuation:
        halo = 0 if self.circular[axis] else self.halo
        reached = np.arange(block.start[axis] - halo, block.stop[axis] + halo)
        return continued(reached, self.shape[axis], self.boundary[axis])


def collect(read: Read[Float], where: Window) -> NDArray[Float]:
    """Read cells of a volume that is not in memory, and at most as many cells as are asked for.

    Args:
        read: gives (..., z, y, x) for ranges of cells.
        where: numbers of cells along (z, y, x), in any order; those in a row are read together.
    """
    # The halo of a small volume wraps around it: then the volume is read once, not piece by piece.
    spans = [np.arange(index.min(), index.max() + 1) if np.ptp(index) < len(index) else index for index in where]
    in_z, in_y, in_x = ([*runs(span)] for span in spans)

    def box(z: Run, y: Run, x: Run) -> NDArray[Float]:
        values = read(z.cells, y.cells, x.cells)
        flips = tuple(axis for axis, run in ((-3, z), (-2, y), (-1, x)) if run.backwards)
        return np.flip(values, flips) if flips else values

    def join(parts: list[NDArray[Float]], axis: int) -> NDArray[Float]:
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)

    found = join([join([join([box(z, y, x) for x in in_x], -1) for y in in_y], -2) for z in in_z], -3)
    for axis, span, index in zip((-3, -2, -1), spans, where, strict=True):
        if not np.array_equal(span, index):
            found = found.take(index - span[0], axis)
    return found


class Run(NamedTuple):
    """Neighbouring cells along an axis, read up or down."""

    cells: slice
    backwards: bool


def runs(index: NDArray[np.intp]) -> Iterator[Run]:
    """Cut a list of cells where it jumps or turns."""
    start = 0
    while start < len(index):
        step = -1 if start + 1 < len(index) and index[start + 1] == index[start] - 1 else 1
        along = np.diff(index[start:]) == step
        stop = start + 1 + (len(along) if along.all() else int(along.argmin()))
        first, last = sorted((int(index[start]), int(index[stop - 1])))
        yield Run(slice(first, last + 1), step < 0 and stop > start + 1)
        start = stop


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
