"""Neighbouring blocks that are computed together, as most of what a small block costs is its halo.

A block of 24^3 cells with a halo of 10 takes 2.3 times its share of an undivided volume. A region of many blocks is
computed in slabs, one behind the other along z, by a [`Stream`][models.streaming.Stream]: in little memory, with
others' turns between slabs, and layer after layer of blocks is done.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from models.blocks import Block, Plan
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from models.blocks import Cells
    from service.volumes.view import View

    Blocks = tuple[BlockIndex, ...]


@dataclass(frozen=True)
class Region:
    """Blocks of one level that are computed together, with all that is between them.

    Attributes:
        view: that the blocks are of.
        blocks: x fastest.
    """

    view: View
    blocks: Blocks

    @cached_property
    def box(self) -> Block:
        """The smallest that holds the blocks."""
        blocks = [self.view.layout.at(index.block) for index in self.blocks]
        z, y, x = map(min, zip(*(block.start for block in blocks), strict=True))
        end_z, end_y, end_x = map(max, zip(*(block.stop for block in blocks), strict=True))
        return Block((z, y, x), (end_z, end_y, end_x))

    @cached_property
    def layout(self) -> Plan:
        """How the volume is cut into slabs as wide as the box, each about as costly as a block with its halo."""
        view, (z, y, x) = self.view, self.box.shape
        _, wide_y, wide_x = _extents(view, (z, y, x))
        thickness = max(1, (view.edge + view.halo) ** 3 // (wide_y * wide_x))
        return Plan(view.source.cells, (min(z, thickness), y, x), view.halo, view.boundary)

    @property
    def is_one_slab(self) -> bool:
        """Whether it is computed at once."""
        return self.layout.block_shape[0] == self.box.shape[0]

    def layers(self) -> Iterator[tuple[Block, Blocks]]:
        """Boxes that fill the region, one behind the other along z, and the blocks that are done with each."""
        if self.is_one_slab:
            yield self.box, self.blocks
            return
        (start, y, x), (_, end_y, end_x) = self.box.start, self.box.stop
        for number, blocks in itertools.groupby(self.blocks, key=lambda index: index.block[0]):
            stop = self.view.layout.at((number, 0, 0)).stop[0]
            yield Block((start, y, x), (stop, end_y, end_x)), tuple(blocks)
            start = stop

    def slabs(self, layer: Block, coarse: NDArray[np.float32]) -> dict[Block, NDArray[np.float32]]:
        """The slabs of a layer, each with the planes that a stream has not been given before.

        Args:
            layer: a box as wide as the region.
            coarse: the region with its halo, (frame, 3, z, y, x).
        """
        first, reach, thickness = self.box.start[0], 2 * self.view.halo, self.layout.block_shape[0]
        (start, y, x), (end, end_y, end_x) = layer.start, layer.stop
        found = {}
        while start < end:
            # The first slab is thin, as its halo is new, too.
            stop = min(end, start + (1 if start == first else thickness))
            planes = slice(0 if start == first else start - first + reach, stop - first + reach)
            found[Block((start, y, x), (stop, end_y, end_x))] = coarse[:, :, planes]
            start = stop
        return found


def regions(view: View, edge: int, least: int = 1) -> Iterator[Blocks]:
    """All blocks of a view, by regions.

    Args:
        view: that the blocks are of.
        edge: longest edge of a region, in coarse cells; blocks are never divided.
        least: fewest regions, if there are as many blocks.
    """
    while edge > 1 and view.levels * math.prod(_numbers(view, edge)) < least:
        edge -= 1
    for level, z, y, x in itertools.product(range(view.levels), *map(range, _numbers(view, edge))):
        yield _blocks(view, edge, level, (z, y, x))


def region_of(view: View, index: BlockIndex, edge: int) -> Blocks:
    """The blocks of a region, if it costs no more than one block may, otherwise one of them; see ``regions``."""
    z, y, x = (n // most for n, most in zip(index.block, _most(view, edge), strict=True))
    blocks = _blocks(view, edge, index.level, (z, y, x))
    cost = math.prod(_extents(view, Region(view, blocks).box.shape))
    return blocks if cost <= (view.edge + view.halo) ** 3 else (index,)


def _extents(view: View, shape: Cells) -> Cells:
    """Cells that a layer of the network computes for a box along (z, y, x), on average: the halo shrinks by layers."""
    z, y, x = (
        n if boundary == "periodic" and n == cells else n + view.halo
        for n, cells, boundary in zip(shape, view.source.cells, view.boundary, strict=True)
    )
    return z, y, x


def _most(view: View, edge: int) -> Cells:
    """Most blocks of a region along (z, y, x), so that regions are about as long as each other."""
    layout = view.layout
    z, y, x = (
        count if cells <= edge else max(1, min(edge // block, math.ceil(count / math.ceil(cells / edge))))
        for cells, block, count in zip(layout.shape, layout.block_shape, layout.counts, strict=True)
    )
    return z, y, x


def _numbers(view: View, edge: int) -> Cells:
    """How many regions there are along (z, y, x)."""
    z, y, x = (math.ceil(count / most) for count, most in zip(view.layout.counts, _most(view, edge), strict=True))
    return z, y, x


def _blocks(view: View, edge: int, level: int, number: Cells) -> Blocks:
    z, y, x = (
        range(n * most, min((n + 1) * most, count))
        for n, most, count in zip(number, _most(view, edge), view.layout.counts, strict=True)
    )
    return tuple(BlockIndex(level, each) for each in itertools.product(z, y, x))
