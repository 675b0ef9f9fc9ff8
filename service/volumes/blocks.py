"""Reads and computes blocks of a stored volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.streaming import Stream
from service.engine.inference import BlockRequest
from service.engine.regions import Region
from service.volumes.view import BlockIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from models.blocks import Block
    from service.engine.engine import Engine
    from service.runtime.threads import Threads
    from service.volumes.regions import Blocks
    from service.volumes.view import View


class BlockComputer:
    """Computes blocks of views, for readers and for jobs.

    Args:
        engine: computes.
        threads: for reading and writing.
    """

    def __init__(self, engine: Engine, threads: Threads) -> None:
        self._engine = engine
        self._threads = threads

    async def compute(
        self, view: View, blocks: Blocks, *, background: bool = False
    ) -> AsyncIterator[tuple[BlockIndex, dict[str, bytes]]]:
        """Read and compute blocks together; see [`Region`][service.engine.regions.Region].

        Args:
            view: that the blocks are of.
            blocks: of one level, x fastest.
            background: see [`Engine.submit`][service.engine.engine.Engine.submit].

        Yields:
            Each block, and its chunks by their keys.

        Raises:
            Problem: as [`Engine.submit`][service.engine.engine.Engine.submit] and
                [`OpenVolume.block`][service.volumes.source.OpenVolume.block] do.
        """
        region = Region(view.layout, view.edge, tuple(index.block for index in blocks))
        layout, level, span = region.cut, blocks[0].level, view.span(blocks[0])
        coarse = await self._threads.run(view.source.block, span, layout, region.box)
        model = await self._engine.load(view.card)
        stream = None
        if not region.is_one_slab:
            stream = await self._threads.run(lambda: Stream(model, coarse, error=view.error))

        def request_of(layer: Block) -> BlockRequest:
            inputs = {slab: coarse[:, :, region.planes(slab)] for slab in region.slabs(layer)}
            return BlockRequest(view.card.name, model, layout, inputs, stream=stream, error=view.error)

        for layer, done in region.layers():
            # The request is kept nowhere here, as it holds the answer, too.
            fine = (await self._engine.submit(request_of(layer), background=background)).fine[0]
            for number in done:
                index = BlockIndex(level, number)
                place = view.layout.at(number).within(layer).fine(view.card.factor)
                yield index, await self._threads.run(view.chunks, index, fine[:, *place])
            del fine  # before the next layer takes as much
