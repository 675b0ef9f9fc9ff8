"""The device, to which batches are sent and from which results are fetched.

A CPU computes one batch after the other. On a GPU, the next batch is sent while one is computed and the results of the
one before are fetched. This takes three streams, and pinned memory so that copies run beside kernels. The class for it,
[`Gpu`][service.engine.device.Gpu], has not been run on a GPU yet; the tests use a substitute that also works ahead.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from models.convolution import EVERYWHERE
from service.problems import Problem, unready

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from models.convolution import Axes
    from models.superresolution import SuperResolution


logger = logging.getLogger("service.engine")
# Computes a batch of blocks, of which some axes wrap around.
Compute = Callable[["Tensor", "Axes"], "Tensor"]
# Waits for a batch; gives its answer, (block, channel, fine z, fine y, fine x), and its seconds on the device.
PendingResult = Callable[[], tuple["NDArray[np.float32]", float]]
# The share of the free memory that a batch may take.
PORTION: Final = 0.5
# A GPU with fewer free bytes is full.
SCARCE: Final = 2**30
# Edges of the two blocks that memory is measured with, in coarse cells.
EDGES: Final = (16, 48)


class Device:
    """A device that computes while the caller waits: the CPU.

    Args:
        place: the device in PyTorch.

    Attributes:
        depth: batches under way at a time.
        quiet: held while a model is loaded and checked there, and while memory is measured.
        broken: whether it has failed for this process, which ends then.
    """

    depth = 1

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self.quiet = threading.Lock()
        self.broken = False

    def __str__(self) -> str:
        """Its name."""
        return str(self.place)

    def launch(
        self,
        compute: Compute,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        """Compute a batch.

        Args:
            compute: a model on this device, or a method of one.
            blocks: each (frame, component, ...), all of one shape.
            circular: axes of the blocks that wrap around; see
                [`SuperResolution`][models.superresolution.SuperResolution].
        """
        start = time.monotonic()
        fine = compute(torch.from_numpy(np.stack(blocks)).to(self.place), circular).cpu().numpy()
        seconds = time.monotonic() - start
        return lambda: (fine, seconds)

    def room(self, model: SuperResolution) -> int | None:  # noqa: ARG002 the same for all
        """Coarse cells of a model that fit at a time, halos included; None if that is no limit."""
        return None

    def release(self) -> None:
        """Free memory that the allocator holds."""

    def works(self) -> bool:
        """Whether it can still compute in this process, after an error."""
        return True

    def is_full(self) -> bool:
        """Whether nearly no memory is free: cuDNN may then say that it cannot compute what it can."""
        return False

    def has_failed(self) -> bool:
        """Whether it has failed for this process, after an error; then this ends, as only another one can use it."""
        if not self.broken and not self.works():
            self.broken = True
            logger.critical("%s has failed, which ends this process", self)
            # Before anything is answered: a Dask worker dies here, and its scheduler counts who died over which blocks.
            os.kill(os.getpid(), signal.SIGTERM)
        return self.broken

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While a model is loaded and checked there.

        Raises:
            Problem: "unready" if the device has failed.
        """
        with self.quiet:
            try:
                yield
            except Exception as error:
                if self.has_failed():
                    raise device_failed() from error
                raise


class Gpu(Device):
    """A device that works ahead: copies to it, kernels, and copies from it have a stream each.

    PyTorch keeps the pinned buffers, and reuses one only when the copies that used it are over.
    """

    depth = 2

    def __init__(self, place: torch.device) -> None:
        super().__init__(place)
        self._sending, self._computing, self._fetching = (torch.cuda.Stream(place) for _ in range(3))

    def launch(
        self,
        compute: Compute,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        """See the class above: send a batch and queue its computation, without waiting for either."""
        begin, end, back = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        coarse = torch.empty(len(blocks), *blocks[0].shape, pin_memory=True)
        np.stack(blocks, out=coarse.numpy())
        with torch.cuda.stream(self._sending):
            sent = coarse.to(self.place, non_blocking=True)
        self._computing.wait_stream(self._sending)
        # Models were loaded there.
        self._computing.wait_stream(torch.cuda.default_stream(self.place))
        with torch.cuda.stream(self._computing):
            sent.record_stream(self._computing)
            begin.record()
            fine = compute(sent, circular)
            end.record()
        self._fetching.wait_stream(self._computing)
        with torch.cuda.stream(self._fetching):
            fine.record_stream(self._fetching)
            answer = torch.empty(fine.shape, pin_memory=True)
            answer.copy_(fine, non_blocking=True)
            back.record()

        def land() -> tuple[NDArray[np.float32], float]:
            back.synchronize()
            return answer.numpy(), begin.elapsed_time(end) / 1e3

        return land

    def room(self, model: SuperResolution) -> int:
        """Coarse cells of a model that fit at a time, halos included, from the memory that two blocks take."""
        few, many = EDGES
        with self.quiet:
            less, more = (self._peak(model, edge) for edge in EDGES)
            free = self._free
        bytes_per_cell = max(1.0, (more - less) / (many**3 - few**3))
        fixed = max(0.0, less - bytes_per_cell * few**3)
        # Bytes of a cell that waits to be computed or fetched while another batch is computed.
        channels = 4 if model.error_head else 3
        waiting = (self.depth - 1) * 4 * (3 * model.frames + channels * model.factor**3)
        return max(1, int((PORTION * free - fixed) / (bytes_per_cell + waiting)))

    def _peak(self, model: SuperResolution, edge: int) -> int:
        """Largest number of bytes that a block takes, with the workspace of cuDNN."""
        coarse = torch.zeros(1, model.frames, 3, edge, edge, edge, device=self.place)
        torch.cuda.synchronize(self.place)
        torch.cuda.reset_peak_memory_stats(self.place)
        before = int(torch.cuda.memory_allocated(self.place))
        with torch.inference_mode():
            (model.with_error if model.error_head else model)(coarse, EVERYWHERE)
        torch.cuda.synchronize(self.place)
        return int(torch.cuda.max_memory_allocated(self.place)) - before

    @property
    def _free(self) -> int:
        """Free bytes, and those that the allocator holds for this process."""
        held = int(torch.cuda.memory_reserved(self.place)) - int(torch.cuda.memory_allocated(self.place))
        return int(torch.cuda.mem_get_info(self.place)[0]) + held

    def is_full(self) -> bool:
        """See the class above."""
        return self._free < SCARCE

    def release(self) -> None:
        """See the class above."""
        torch.cuda.empty_cache()
        torch._C._host_emptyCache()  # noqa: SLF001 torch.accelerator.empty_host_cache, which PyTorch 2.11 lacks

    def works(self) -> bool:
        """See the class above: after some errors, such as an illegal access, every call of CUDA fails."""
        try:
            torch.cuda.synchronize(self.place)
        except RuntimeError:
            return False
        return True


def device_failed() -> Problem:
    """What the requests are told that need it."""
    return unready("the device has failed, and this service ends", 30)


def open_device(place: torch.device) -> Device:
    """The device of a place, for the batcher."""
    return Gpu(place) if place.type == "cuda" else Device(place)
