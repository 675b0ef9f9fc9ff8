"""Blocks of a view that are computed together; see [`Region`][service.engine.regions.Region]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from service.engine.regions import Regions
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.engine.regions import Region
    from service.volumes.view import View

    Blocks = tuple[BlockIndex, ...]

# What a region may cost to be computed for one reader, in blocks of a large volume.
SMALL: Final = 2


def regions(view: View, edge: int, least: int = 1) -> Iterator[Blocks]:
    """All blocks of a view, by regions.

    Args:
        view: that the blocks are of.
        edge: longest edge of a region, in coarse cells; blocks are never divided.
        least: fewest regions, if there are as many blocks.
    """
    while edge > 1 and view.levels * math.prod(Regions(view.layout, view.edge, edge).counts) < least:
        edge -= 1
    for level in range(view.levels):
        for region in Regions(view.layout, view.edge, edge):
            yield _blocks(region, level)


def region_of(view: View, index: BlockIndex, edge: int) -> Blocks:
    """What is computed with a block that somebody reads: its region, if that is small, otherwise the block alone."""
    region = Regions(view.layout, view.edge, edge).around(index.block)
    return _blocks(region, index.level) if region.cost <= SMALL else (index,)


def _blocks(region: Region, level: int) -> Blocks:
    return tuple(BlockIndex(level, number) for number in region.numbers)
