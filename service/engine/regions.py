"""Neighbouring blocks that are computed together, as most of what a small block costs is its halo.

A block of 24^3 cells with a halo of 10 takes 2.3 times its share of an undivided volume. A region of many blocks is
computed in slabs, one behind the other along z, by a [`Stream`][models.streaming.Stream]. This takes little memory,
other requests have their turns between slabs, and the blocks of a region are done layer by layer.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from models.blocks import Block, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.blocks import Cells


@dataclass(frozen=True)
class Region:
    """Blocks that are computed together, with all that is between them.

    Attributes:
        layout: how the volume is cut into blocks.
        edge: longest edge of a block, in coarse cells.
        numbers: of the blocks along (z, y, x), x fastest.
    """

    layout: Plan
    edge: int
    numbers: tuple[Cells, ...]

    @cached_property
    def box(self) -> Block:
        """The smallest that holds the blocks."""
        blocks = [self.layout.at(number) for number in self.numbers]
        z, y, x = map(min, zip(*(block.start for block in blocks), strict=True))
        end_z, end_y, end_x = map(max, zip(*(block.stop for block in blocks), strict=True))
        return Block((z, y, x), (end_z, end_y, end_x))

    @cached_property
    def cut(self) -> Plan:
        """How the volume is cut into slabs as wide as the box, each about as costly as a block with its halo."""
        _, wide_y, wide_x = self._extents
        z, y, x = self.box.shape
        thickness = max(1, (self.edge + self.layout.halo) ** 3 // (wide_y * wide_x))
        return Plan(self.layout.shape, (min(z, thickness), y, x), self.layout.halo, self.layout.boundary)

    @property
    def is_one_slab(self) -> bool:
        """Whether it is computed at once."""
        return self.cut.block_shape[0] == self.box.shape[0]

    @property
    def cost(self) -> float:
        """What it costs to compute, in blocks of a large volume, with their halos."""
        return math.prod(self._extents) / (self.edge + self.layout.halo) ** 3

    @property
    def _extents(self) -> Cells:
        """Cells that a layer of the network computes along (z, y, x), on average: the halo shrinks by layers."""
        layout = self.layout
        z, y, x = (
            n if boundary == "periodic" and n == cells else n + layout.halo
            for n, cells, boundary in zip(self.box.shape, layout.shape, layout.boundary, strict=True)
        )
        return z, y, x

    def layers(self) -> Iterator[tuple[Block, tuple[Cells, ...]]]:
        """Boxes that fill the region, one behind the other along z, and the blocks that are done with each."""
        if self.is_one_slab:
            yield self.box, self.numbers
            return
        (start, y, x), (_, end_y, end_x) = self.box.start, self.box.stop
        for number, blocks in itertools.groupby(self.numbers, key=lambda block: block[0]):
            stop = self.layout.at((number, 0, 0)).stop[0]
            yield Block((start, y, x), (stop, end_y, end_x)), tuple(blocks)
            start = stop

    def slabs(self, layer: Block) -> Iterator[Block]:
        """The slabs of a layer, a box as wide as the region."""
        if self.is_one_slab:
            yield layer
            return
        (start, y, x), (end, end_y, end_x) = layer.start, layer.stop
        while start < end:
            # The first slab is thin, as its halo is new, too.
            stop = min(end, start + (1 if start == self.box.start[0] else self.cut.block_shape[0]))
            yield Block((start, y, x), (stop, end_y, end_x))
            start = stop

    def planes(self, slab: Block) -> slice:
        """The planes of the region with its halo that a stream has not been given before a slab."""
        first, reach = self.box.start[0], 2 * self.layout.halo
        start, stop = slab.start[0] - first, slab.stop[0] - first
        return slice(start + reach if start else 0, stop + reach)


@dataclass(frozen=True)
class Regions:
    """How the blocks of a volume are put together.

    Attributes:
        layout: how the volume is cut into blocks.
        block: longest edge of a block, in coarse cells.
        edge: longest edge of a region, in coarse cells; blocks are never divided.
    """

    layout: Plan
    block: int
    edge: int

    @cached_property
    def _most(self) -> Cells:
        """Largest number of blocks of a region along (z, y, x), so that regions are about as long as each other."""
        layout = self.layout
        z, y, x = (
            count
            if cells <= self.edge
            else max(1, min(self.edge // block, math.ceil(count / math.ceil(cells / self.edge))))
            for cells, block, count in zip(layout.shape, layout.block_shape, layout.counts, strict=True)
        )
        return z, y, x

    @property
    def counts(self) -> Cells:
        """Regions along (z, y, x)."""
        z, y, x = (math.ceil(count / most) for count, most in zip(self.layout.counts, self._most, strict=True))
        return z, y, x

    def __iter__(self) -> Iterator[Region]:
        """All regions, x fastest."""
        for z, y, x in itertools.product(*map(range, self.counts)):
            yield self._at((z, y, x))

    def around(self, number: Cells) -> Region:
        """The region of a block."""
        z, y, x = (n // most for n, most in zip(number, self._most, strict=True))
        return self._at((z, y, x))

    def _at(self, number: Cells) -> Region:
        z, y, x = (
            range(n * most, min((n + 1) * most, count))
            for n, most, count in zip(number, self._most, self.layout.counts, strict=True)
        )
        return Region(self.layout, self.block, tuple(itertools.product(z, y, x)))
