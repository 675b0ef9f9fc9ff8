"""Boxes of views: cubes of one field for pictures in three dimensions, from the blocks that everyone else reads."""

from __future__ import annotations

import itertools
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

    Values = NDArray[np.float32]
    Window = Sequence[slice]

# Cells along each side of a box.
EDGE: Final = 64


@dataclass(frozen=True)
class Box:
    """A cube of a view.

    Attributes:
        level: 0 is the fine grid; each further one has cells twice as long. The last is the source's grid.
        number: of the box along (z, y, x), in boxes.
        field: one of [`FIELDS`][service.volumes.derived.FIELDS].
        time: time level of the answer.
    """

    level: int
    number: tuple[int, int, int]
    field: str
    time: int = 0


class BoxReader:
    """Reads boxes. Those finer than the source take blocks of the view, the others the source alone.

    Args:
        cache: gives blocks.
        threads: for reading and deriving.
    """

    def __init__(self, cache: ChunkCache, threads: Threads) -> None:
        self._cache = cache
        self._threads = threads

    async def read(self, view: View, box: Box) -> Values:
        """The values of a box, at most 64^3: means over the cells that each covers.

        Derivatives are central differences within a block, one-sided at its faces.

        Raises:
            Problem: see ``check``, and as [`ChunkCache.chunk`][service.volumes.chunk_cache.ChunkCache.chunk] does.
        """
        check(view, box)
        step = 1 << box.level
        if step == view.card.factor:
            return await self._threads.run(lambda: _from_source(view, box))
        window = _window(box, step, view.fine_cells)
        values = np.empty([part.stop - part.start for part in window], np.float32)
        spacing = spacing_of(view, view.fine_cells)
        ranges = [
            range(part.start // edge, -(-part.stop // edge)) for part, edge in zip(window, view.chunk, strict=True)
        ]
        for z, y, x in itertools.product(*ranges):
            block = await self._cache.block(view, BlockIndex(box.time, (z, y, x)))
            corner = [n * edge for n, edge in zip((z, y, x), view.chunk, strict=True)]
            here = [
                slice(max(0, part.start - start), min(n, part.stop - start))
                for part, start, n in zip(window, corner, block.shape[1:], strict=True)
            ]
            part = await self._threads.run(lambda block=block, here=here: _derive(block, here, box.field, spacing))  # type: ignore[misc]
            place = [start + part.start - w.start for start, part, w in zip(corner, here, window, strict=True)]
            paste(values, part, place)
        return await self._threads.run(lambda: mean(values, step))


def check(view: View, box: Box) -> None:
    """Refuse (422, or 404 for a box beyond the volume) what a view has no box of."""
    finest = view.card.factor.bit_length() - 1
    for name, most in (("level", finest), ("time", view.levels - 1)):
        if not 0 <= getattr(box, name) <= most:
            raise invalid_field(field=name, value=getattr(box, name), expected=f"0 to {most}")
    if box.field == ERROR and (not view.error or box.level == finest):
        expected = f"levels below {finest}, and a model that predicts it followed by ;error=true"
        raise invalid_field(field="field", value=ERROR, expected=expected)
    for number, axis, cells in zip(box.number, AXES, view.fine_cells, strict=True):
        if not 0 <= number * EDGE << box.level < cells:
            detail = f"{axis} has no box {number} at level {box.level}"
            raise Problem("unknown-key", detail)


def _window(box: Box, step: int, cells: Sequence[int]) -> Window:
    """The cells of a grid that a box covers, ``step`` of them along an edge of one of its own."""
    return [slice(n * EDGE * step, min((n + 1) * EDGE * step, most)) for n, most in zip(box.number, cells, strict=True)]


def _from_source(view: View, box: Box) -> Values:
    source = view.source
    window = _window(box, 1, source.cells)
    reach = [slice(max(0, part.start - 1), min(n, part.stop + 1)) for part, n in zip(window, source.cells, strict=True)]
    level = box.time + view.card.frames // 2
    velocity = source.read(range(level, level + 1), *reach)[0]
    source.require_unchanged()
    here = [slice(part.start - r.start, part.stop - r.start) for part, r in zip(window, reach, strict=True)]
    return _derive(velocity, here, box.field, spacing_of(view, source.cells))


def _derive(velocity: Values, here: Window, field: str, spacing: Sequence[float]) -> Values:
    """A field on a window of a part of a volume, (3 or 4, z, y, x)."""
    # With as many cells more as differences take.
    reach = [slice(max(0, part.start - 2), part.stop + 2) for part in here]
    derived = derive(velocity[:, reach[0], reach[1], reach[2]], field, spacing)
    inner = [slice(part.start - r.start, part.stop - r.start) for part, r in zip(here, reach, strict=True)]
    return derived[inner[0], inner[1], inner[2]]
