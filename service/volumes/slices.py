"""Tiles of plane slices through views: small pictures from the blocks that everyone else reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from service.formats.error import ERROR
from service.formats.names import AXES
from service.problems import Problem, invalid_field
from service.volumes.derived import derive, mean, paste, spacing_of
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.runtime.threads import Threads
    from service.volumes.chunk_cache import ChunkCache
    from service.volumes.view import View

    Plane = NDArray[np.float32]

# Pixels along each side of a tile.
EDGE: Final = 256
# Levels beyond that of the source: a tile of the last is read from 1024^2 of its cells.
BEYOND: Final = 2


@dataclass(frozen=True)
class Tile:
    """A part of a plane slice.

    Attributes:
        axis: across the plane, 0 to 2 for z, y, x.
        index: of the plane, in fine cells along that axis.
        level: 0 is the fine grid; each further one has pixels twice as long. One of them is the source's grid.
        row: of the tile; rows run along the first of the other two axes.
        column: of the tile.
        field: one of [`FIELDS`][service.volumes.derived.FIELDS].
        time: time level of the answer.
    """

    axis: int
    index: int
    level: int
    row: int
    column: int
    field: str
    time: int = 0


class SliceReader:
    """Reads tiles. Those finer than the source take blocks of the view, the others the source alone.

    Args:
        cache: gives blocks.
        threads: for reading and picturing.
    """

    def __init__(self, cache: ChunkCache, threads: Threads) -> None:
        self._cache = cache
        self._threads = threads

    async def read(self, view: View, tile: Tile) -> Plane:
        """The pixels of a tile, at most 256^2: means over the cells that a pixel covers.

        Derivatives are central differences within a block, one-sided at its faces, so that a tile needs no block beside
        those that it shows.

        Raises:
            Problem: see ``check``, and as [`ChunkCache.chunk`][service.volumes.chunk_cache.ChunkCache.chunk] does.
        """
        check(view, tile)
        coarser = 1 << tile.level
        if coarser >= view.card.factor:
            return await self._threads.run(lambda: _from_source(view, tile))
        rows, columns = _window(tile, coarser, view.fine_cells)
        plane = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        across, (down, right) = tile.axis, _others(tile.axis)
        chunk = view.chunk
        for i in range(rows.start // chunk[down], -(-rows.stop // chunk[down])):
            for j in range(columns.start // chunk[right], -(-columns.stop // chunk[right])):
                number = [0, 0, 0]
                number[across], number[down], number[right] = tile.index // chunk[across], i, j
                index = BlockIndex(tile.time, (number[0], number[1], number[2]))
                block = await self._cache.block(view, index)
                here = [n * edge for n, edge in zip(number, chunk, strict=True)]
                part = await self._threads.run(
                    lambda block=block, here=here: _picture(  # type: ignore[misc]
                        block, across, tile.index - here[across], tile.field, spacing_of(view, view.fine_cells)
                    )
                )
                paste(plane, part, (here[down] - rows.start, here[right] - columns.start))
        return mean(plane, coarser)


def check(view: View, tile: Tile) -> None:
    """Refuse (422, or 404 for a tile beyond the plane) what a view has no tile of."""
    finest = view.card.factor.bit_length() - 1
    for name, most in (
        ("index", view.fine_cells[tile.axis] - 1),
        ("level", finest + BEYOND),
        ("time", view.levels - 1),
    ):
        if not 0 <= getattr(tile, name) <= most:
            raise invalid_field(field=name, value=getattr(tile, name), expected=f"0 to {most}")
    if tile.field == ERROR and (not view.error or tile.level >= finest):
        expected = f"levels below {finest}, and a model that predicts it followed by ;error=true"
        raise invalid_field(field="field", value=ERROR, expected=expected)
    for number, axis in zip((tile.row, tile.column), _others(tile.axis), strict=True):
        if not 0 <= number * EDGE << tile.level < view.fine_cells[axis]:
            detail = f"{AXES[axis]} has no tile {number} at level {tile.level}"
            raise Problem("unknown-key", detail)


def _others(axis: int) -> tuple[int, int]:
    first, second = (each for each in range(3) if each != axis)
    return first, second


def _window(tile: Tile, step: int, cells: Sequence[int]) -> tuple[slice, slice]:
    """The cells of a grid that a tile shows, ``step`` of them along an edge of a pixel."""
    down, right = (
        slice(number * EDGE * step, min((number + 1) * EDGE * step, cells[axis]))
        for number, axis in zip((tile.row, tile.column), _others(tile.axis), strict=True)
    )
    return down, right


def _from_source(view: View, tile: Tile) -> Plane:
    source = view.source
    coarser = (1 << tile.level) // view.card.factor
    window = _window(tile, coarser, source.cells)
    # With a cell more on each side, if there is one, for derivatives.
    position = tile.index // view.card.factor
    shown = [slice(position, position + 1)] * 3
    shown[_others(tile.axis)[0]], shown[_others(tile.axis)[1]] = window
    reach = [slice(max(0, one.start - 1), min(n, one.stop + 1)) for one, n in zip(shown, source.cells, strict=True)]
    level = tile.time + view.card.frames // 2
    velocity = source.read(range(level, level + 1), *reach)[0]
    source.require_unchanged()
    picture = _picture(
        velocity, tile.axis, position - reach[tile.axis].start, tile.field, spacing_of(view, source.cells)
    )
    inner = tuple(
        slice(shown[axis].start - reach[axis].start, shown[axis].stop - reach[axis].start)
        for axis in _others(tile.axis)
    )
    return mean(picture[inner], coarser)


def _picture(velocity: NDArray[np.float32], axis: int, position: int, field: str, spacing: Sequence[float]) -> Plane:
    """A field on one plane of a part of a volume, (3 or 4, z, y, x)."""
    # As many planes as differences take.
    first = max(0, min(position - 1, velocity.shape[1 + axis] - 3))
    planes = np.take(velocity, range(first, min(first + 3, velocity.shape[1 + axis])), axis=1 + axis)
    picture: Plane = np.take(derive(planes, field, spacing), position - first, axis=axis)
    return picture
