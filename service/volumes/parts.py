"""Parts of views for pictures: tiles of plane slices, and boxes, from the blocks that everyone else reads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from service.formats.error import ERROR
from service.formats.grid import check_axis_units
from service.formats.names import AXES
from service.problems import Problem, invalid_field
from service.volumes.derived import derive, mean, spacing_of
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.runtime.threads import Threads
    from service.volumes.chunk_cache import ChunkCache
    from service.volumes.derived import FieldName
    from service.volumes.view import View

    Values = NDArray[np.float32]
    Window = tuple[slice, ...]

# Cells along each side of a box, and of a tile.
BOX: Final = 64
TILE: Final = 256
# Levels of tiles that are coarser than the source: a tile of the last one is read from 1024^2 of the source's cells.
BEYOND: Final = 2


@dataclass(frozen=True)
class Part:
    """A part of one field of a view: a tile of a plane slice, or a box.

    Attributes:
        number: of the part along (z, y, x), in parts; across a slice, that of the plane, in fine cells.
        level: 0 is the fine grid; each further one has cells twice as long, and one of them is the source's grid.
        field: see [`derive`][service.volumes.derived.derive].
        time: time level of the answer.
        across: the axis across the slice, 0 to 2 for z, y, x; None for a box.
    """

    number: tuple[int, int, int]
    level: int
    field: FieldName
    time: int = 0
    across: int | None = None

    def window(self, cells: Sequence[int], step: int, factor: int = 1) -> Window:
        """The cells of a grid that the part covers.

        Args:
            cells: of the grid along (z, y, x).
            step: cells of the grid along an edge of a cell of the part.
            factor: fine cells along an edge of a cell of the grid.
        """
        edge = step * (BOX if self.across is None else TILE)
        return tuple(
            slice(n // factor, n // factor + 1) if axis == self.across else slice(n * edge, min((n + 1) * edge, most))
            for axis, (n, most) in enumerate(zip(self.number, cells, strict=True))
        )


class PartReader:
    """Reads parts. Those finer than the source take blocks of the view, the others the source alone.

    Args:
        cache: gives blocks.
        threads: for reading and deriving.
    """

    def __init__(self, cache: ChunkCache, threads: Threads) -> None:
        self._cache = cache
        self._threads = threads

    async def read(self, view: View, part: Part) -> Values:
        """The values of a part, (z, y, x) or (row, column): means over the cells that each covers.

        Derivatives are central differences within a block, one-sided at its faces, so that a part needs no block beside
        those that it shows.

        Args:
            view: that it is of.
            part: see [`check`][service.volumes.parts.check].

        Raises:
            Problem: as [`ChunkCache.chunk`][service.volumes.chunk_cache.ChunkCache.chunk] does.
        """
        step = 1 << part.level
        if step >= view.card.factor:
            step //= view.card.factor
            values = await self._threads.run(_from_source, view, part, step)
        else:
            values = await self._from_blocks(view, part, step)
        if part.across is not None:
            values = values.squeeze(part.across)
        return await self._threads.run(mean, values, step)

    async def _from_blocks(self, view: View, part: Part, step: int) -> Values:
        window, spacing = part.window(view.fine_cells, step), spacing_of(view, view.fine_cells)
        values = np.empty([along.stop - along.start for along in window], np.float32)
        numbers = (range(w.start // edge, -(-w.stop // edge)) for w, edge in zip(window, view.chunk, strict=True))
        for z, y, x in itertools.product(*numbers):
            block = await self._cache.block(view, BlockIndex(part.time, (z, y, x)))
            corner = [n * edge for n, edge in zip((z, y, x), view.chunk, strict=True)]
            there = [
                slice(max(w.start, start), min(w.stop, start + n))
                for w, start, n in zip(window, corner, block.shape[1:], strict=True)
            ]
            here, place = _within(there, corner), _within(there, [along.start for along in window])
            values[place] = await self._threads.run(_derive, block, here, part.field, spacing)
        return values


def check(view: View, part: Part) -> None:
    """Refuse (422, or 404 for a part beyond the volume) what a view has no part of."""
    finest = view.card.factor.bit_length() - 1
    numbers = {"level": (part.level, finest), "time": (part.time, view.levels - 1)}
    if part.across is not None:
        numbers["level"] = part.level, finest + BEYOND
        numbers["index"] = part.number[part.across], view.fine_cells[part.across] - 1
    for name, (value, most) in numbers.items():
        if not 0 <= value <= most:
            raise invalid_field(field=name, value=value, expected=f"0 to {most}")
    if part.field == ERROR and (not view.error or part.level >= finest):
        expected = f"a level below {finest}, and ;error=true after the name of a model that predicts errors"
        raise invalid_field(field="field", value=ERROR, expected=expected)
    if part.field in {"vorticity", "q"}:
        check_axis_units(view.source.dataset)
    for axis, along in enumerate(part.window(view.fine_cells, 1 << part.level)):
        if along.start >= along.stop:
            what = "box" if part.across is None else "tile"
            raise Problem("unknown-key", f"{AXES[axis]} has no {what} {part.number[axis]} at level {part.level}")


def _from_source(view: View, part: Part, step: int) -> Values:
    source = view.source
    window = part.window(source.cells, step, view.card.factor)
    # With a cell more on each side, if there is one, for derivatives.
    reach = [slice(max(0, w.start - 1), min(n, w.stop + 1)) for w, n in zip(window, source.cells, strict=True)]
    level = part.time + view.card.frames // 2
    velocity = source.read(range(level, level + 1), *reach)[0]
    source.require_unchanged()
    here = _within(window, [along.start for along in reach])
    return _derive(velocity, here, part.field, spacing_of(view, source.cells))


def _derive(velocity: Values, here: Window, field: FieldName, spacing: Sequence[float]) -> Values:
    """A field on a window of a part of a volume, (3 or 4, z, y, x)."""
    # With as many cells more as differences take.
    reach = [slice(max(0, along.start - 2), along.stop + 2) for along in here]
    derived = derive(velocity[:, *reach], field, spacing)
    return derived[_within(here, [along.start for along in reach])]


def _within(window: Sequence[slice], corner: Sequence[int]) -> Window:
    """The same cells, counted from a corner."""
    return tuple(slice(w.start - start, w.stop - start) for w, start in zip(window, corner, strict=True))
