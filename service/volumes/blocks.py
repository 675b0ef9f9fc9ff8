"""Reading and computing one block of a stored volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.engine.inference import BlockRequest

if TYPE_CHECKING:
    from models.superresolution import SuperResolution
    from service.engine.engine import Engine
    from service.runtime.threads import Threads
    from service.volumes.view import BlockIndex, View


class BlockComputer:
    """Computes blocks of views, for readers and for jobs.

    Args:
        engine: computes.
        threads: for reading and writing.
    """

    def __init__(self, engine: Engine, threads: Threads) -> None:
        self._engine = engine
        self._threads = threads

    async def compute(self, view: View, index: BlockIndex, *, background: bool = False) -> dict[str, bytes]:
        """Read and compute a block: its chunks by their keys.

        Args:
            view: that the block is of.
            index: of the block.
            background: see [`Engine.compute`][service.engine.engine.Engine.compute].

        Raises:
            Problem: as [`Engine.compute`][service.engine.engine.Engine.compute] and
                [`OpenVolume.block`][service.volumes.source.OpenVolume.block] do.
        """
        block = view.layout.at(index.block)
        coarse = await self._threads.run(lambda: view.source.block(view.span(index), view.layout, block))

        def prepare(model: SuperResolution) -> BlockRequest:
            return BlockRequest(view.card.name, model, view.layout, block, coarse, error=view.error)

        result = await self._engine.compute(view.card, prepare, background=background)
        return await self._threads.run(lambda: view.chunks(index, result.fine[0]))
