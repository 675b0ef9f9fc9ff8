"""Inference requests and their blocks."""

from __future__ import annotations

import itertools
import math
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.blocks import Block, plan
from models.streaming import Stream
from service.engine.regions import Regions

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Plan
    from models.convolution import Axes
    from models.superresolution import SuperResolution
    from service.engine.device import Compute


class BatchKey(NamedTuple):
    """What blocks must share to be computed together.

    Attributes:
        model: its name.
        shape: coarse cells of a block with its halo, (z, y, x).
        circular: axes that are wrapped inside the network, (z, y, x).
        variant: further input of the model, such as whether to predict the error too.
    """

    model: str
    shape: Cells
    circular: Axes
    variant: Hashable


class QueuedBlock(NamedTuple):
    """One block of a request, waiting."""

    request: InferenceRequest
    sample: int
    block: Block


@dataclass
class InferenceResult:
    """The answer to a request.

    Attributes:
        fine: velocity, (sample, 3, fine z, fine y, fine x); with its expected error as a fourth channel, if that was
            asked for.
        queue_seconds: from submission to the first batch.
        compute_seconds: time on the device; batches shared with others count in part.
    """

    fine: NDArray[np.float32]
    queue_seconds: float
    compute_seconds: float

    def detach(self) -> InferenceResult:
        """Move the field into a new result.

        A future keeps this one until the garbage collector runs, which happens after so many objects, however large
        they are. It must not keep the field that long.
        """
        answer = replace(self)
        self.fine = np.empty(0, np.float32)
        return answer


class InferenceRequest:
    """Blocks that are computed for one answer: of volumes of one shape, by one model.

    Args:
        name: of the model.
        compute: computes a batch, on the batcher's device.
        layout: how the volumes are cut.
        blocks: of each sample; together they fill a box.
        samples: how many volumes.
        channels: of the answer.
        factor: fine cells per coarse cell along an axis.
        variant: see [`BatchKey`][service.engine.inference.BatchKey].

    Attributes:
        model: limits the cells that fit the device at a time; None if nothing does.
        client: that sent it.
        turn: its place in the queue; see [`RequestQueue`][service.engine.queue.RequestQueue].
        background: whether no client waits for it; see the queue, too.
    """

    model: SuperResolution | None = None
    background = False
    client = ""
    turn = 0

    def __init__(
        self,
        name: str,
        compute: Compute,
        layout: Plan,
        blocks: Sequence[Block],
        *,
        samples: int,
        channels: int,
        factor: int,
        variant: Hashable,
    ) -> None:
        self.name = name
        self.compute = compute
        self.variant = variant
        self.factor = factor
        self.plan = layout
        self.box = Block(blocks[0].start, blocks[-1].stop)
        self.fine = np.empty((samples, channels, *(factor * n for n in self.box.shape)), np.float32)
        self.cells = samples * math.prod(self.box.shape)
        self.future: Future[InferenceResult] = Future()
        self.waiting: dict[BatchKey, deque[QueuedBlock]] = {}
        for sample, part in itertools.product(range(samples), blocks):
            item = QueuedBlock(self, sample, part)
            self.waiting.setdefault(self.key(item), deque()).append(item)
        self.missing = samples * len(blocks)
        self.begun = False
        self.submitted = self.started = 0.0
        self.compute_seconds = 0.0

    def key(self, item: QueuedBlock) -> BatchKey:
        """The key of a block."""
        halo, circular = self.plan.halo, self.plan.circular
        z, y, x = (n + (0 if wrap else 2 * halo) for n, wrap in zip(item.block.shape, circular, strict=True))
        return BatchKey(self.name, (z, y, x), circular, self.variant)

    @property
    def next_key(self) -> BatchKey:
        """The key of its next block."""
        return next(iter(self.waiting))

    @property
    def blocks(self) -> int:
        """How many of its blocks wait."""
        return sum(map(len, self.waiting.values()))

    def take(self, key: BatchKey) -> QueuedBlock:
        """Its next block of a key."""
        self.begun = True
        queue = self.waiting[key]
        item = queue.popleft()
        if not queue:
            del self.waiting[key]
        return item

    def compute_of(self, item: QueuedBlock) -> Compute:  # noqa: ARG002 the same for all
        """What computes a block that has been read."""
        return self.compute

    def read(self, item: QueuedBlock) -> NDArray[np.float32]:
        """The input of a block, with its halo; from memory, as this runs on the batcher's thread."""
        raise NotImplementedError

    def write(self, item: QueuedBlock, fine: NDArray[np.float32]) -> None:
        """Put a computed block, (channels, fine z, fine y, fine x), in its place."""
        place = item.block.within(self.box).fine(self.factor)
        self.fine[item.sample][:, *place] = fine
        self.missing -= 1


class UpscaleRequest(InferenceRequest):
    """A request for super-resolution.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        layout: how the volumes are cut.
        blocks: of each sample; together they fill a box.
        samples: how many volumes.
        error: whether the error is to be predicted too.
    """

    model: SuperResolution

    def __init__(
        self,
        name: str,
        model: SuperResolution,
        layout: Plan,
        blocks: Sequence[Block],
        samples: int = 1,
        *,
        error: bool = False,
    ) -> None:
        super().__init__(
            name,
            model.with_error if error else model,
            layout,
            blocks,
            samples=samples,
            channels=4 if error else 3,
            factor=model.factor,
            variant=error,
        )
        self.model = model
        self.error = error


class VolumeRequest(UpscaleRequest):
    """A request for whole volumes.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        sources: velocity, (sample, frame, 3, z, y, x); each sample is super-resolved by itself.
        boundary: what lies beyond the ends of each axis (z, y, x).
        block: longest edge of a block, in coarse cells.
        region: longest edge of a region of blocks, which is computed in slabs; see
            [`Regions`][service.engine.regions.Regions].
        error: whether the error is to be predicted too.
    """

    def __init__(
        self,
        name: str,
        model: SuperResolution,
        sources: NDArray[np.float32],
        boundary: Boundaries,
        block: int,
        region: int = 1,
        *,
        error: bool = False,
    ) -> None:
        layout = plan(sources.shape[3:], halo=model.halo, boundary=boundary, block=block)
        parts = [*Regions(layout, block, region)]
        self._regions = {slab: part for part in parts for slab in part.slabs(part.box)}
        super().__init__(name, model, parts[0].cut, [*self._regions], len(sources), error=error)
        self.sources = sources
        self._coarse = sources[0]
        self._stream: Stream | None = None

    def key(self, item: QueuedBlock) -> BatchKey:
        """See the class above; of one slab alone, if a region has several."""
        region, key = self._regions[item.block], super().key(item)
        if region.is_one_slab:
            return key
        planes = region.planes(item.block)
        shape = (planes.stop - planes.start, *key.shape[1:])
        return key._replace(shape=shape, variant=(id(self), item.sample, item.block.start))

    def compute_of(self, item: QueuedBlock) -> Compute:
        """See the class above."""
        if self._stream is None or self._regions[item.block].is_one_slab:
            return self.compute
        return self._stream

    def read(self, item: QueuedBlock) -> NDArray[np.float32]:
        """See the class above."""
        region = self._regions[item.block]
        if region.is_one_slab:
            return self.plan.gather(self.sources[item.sample], item.block)
        if item.block.start == region.box.start:
            self._coarse = self.plan.gather(self.sources[item.sample], region.box)
            self._stream = Stream(self.model, self._coarse, error=self.error)
        planes: NDArray[np.float32] = self._coarse[:, :, region.planes(item.block)]
        return planes


class BlockRequest(UpscaleRequest):
    """A request for blocks whose input has been read: one block of a volume, or the next slabs of a stream.

    Args:
        name: of the model.
        model: the model, on the batcher's device.
        layout: how the volume is cut.
        inputs: what each block is computed from, (frame, 3, z, y, x), in their order.
        stream: computes the blocks as slabs, each in a batch of its own; None computes them alone.
        error: whether the error is to be predicted too.
    """

    def __init__(
        self,
        name: str,
        model: SuperResolution,
        layout: Plan,
        inputs: Mapping[Block, NDArray[np.float32]],
        *,
        stream: Stream | None,
        error: bool,
    ) -> None:
        self._inputs = inputs
        self._stream = stream
        super().__init__(name, model, layout, [*inputs], error=error)
        self.compute = stream or self.compute

    def key(self, item: QueuedBlock) -> BatchKey:
        """See the class above; of one slab alone."""
        key = super().key(item)
        if self._stream is None:
            return key
        z, y, x = self._inputs[item.block].shape[-3:]
        return key._replace(shape=(z, y, x), variant=(id(self._stream), item.block.start))

    def read(self, item: QueuedBlock) -> NDArray[np.float32]:
        """See the class above."""
        return self._inputs[item.block]
