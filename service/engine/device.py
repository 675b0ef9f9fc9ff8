"""The device that computes: batches go there, are computed and come back.

On a CPU that is one after the other. On a GPU, the next batch is read and sent while one is computed and the one before
it comes back: three streams and pinned memory, which copies need to run beside the kernels. The class for it,
[`Gpu`][service.engine.device.Gpu], has not been run on a GPU yet; what the batcher does with a device that works ahead
is tested without one.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from models.layers import Axes
    from models.superresolution import SuperResolution


# Waits for a batch and gives its answer, (block, 3, 4 z, 4 y, 4 x), and the seconds that the device took.
PendingResult = Callable[[], tuple["NDArray[np.float32]", float]]
MEMORY = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


class Device:
    """A device that computes while one waits: the CPU.

    Args:
        place: as PyTorch names it.

    Attributes:
        depth: batches under way at a time.
        edges: of the two blocks that memory is measured with, in coarse cells.
    """

    depth = 1
    edges = (8, 16)

    def __init__(self, place: torch.device) -> None:
        self.place = place

    def __str__(self) -> str:
        """Its name."""
        return str(self.place)

    def launch(
        self,
        model: SuperResolution,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        """Compute a batch.

        Args:
            model: on this device.
            blocks: each (frame, 3, z, y, x), all of one shape.
            circular: see [`SuperResolution`][models.superresolution.SuperResolution].
        """
        start = time.monotonic()
        fine = model(torch.from_numpy(np.stack(blocks)).to(self.place), circular).cpu().numpy()
        seconds = time.monotonic() - start
        return lambda: (fine, seconds)

    def peak(self, run: Callable[[], object]) -> int:
        """Bytes that a computation takes at most; on a CPU what tensors take, without what single operators do."""
        with _Tally() as tally:
            run()
        peak: int = tally.peak
        return peak

    @property
    def free(self) -> int | None:
        """Bytes that may be taken; None where the system does not tell."""
        try:
            lines = dict(line.split(":") for line in MEMORY.read_text().splitlines())
            free = 1024 * int(lines["MemAvailable"].split()[0])
        except (OSError, KeyError):
            return None
        try:
            limit, used = (int((GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        except (OSError, ValueError):  # no group, or "max"
            return free
        return min(free, limit - used)

    def release(self) -> None:
        """Give back what the allocator holds."""


class Gpu(Device):
    """A device that works ahead: copies to it, kernels and copies from it run on a stream each.

    Pinned buffers are PyTorch's: it keeps them, and gives one out again only when the copies that used it are over.
    """

    depth = 2
    edges = (16, 48)

    def __init__(self, place: torch.device) -> None:
        super().__init__(place)
        self._sending, self._computing, self._fetching = (torch.cuda.Stream(place) for _ in range(3))

    def launch(
        self,
        model: SuperResolution,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        """Send a batch and queue its computation, without waiting for either. See the class above."""
        begin, end, back = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        coarse = torch.empty(len(blocks), *blocks[0].shape, pin_memory=True)
        np.stack(blocks, out=coarse.numpy())
        with torch.cuda.stream(self._sending):
            sent = coarse.to(self.place, non_blocking=True)
        self._computing.wait_stream(self._sending)
        # Where models were loaded.
        self._computing.wait_stream(torch.cuda.default_stream(self.place))
        with torch.cuda.stream(self._computing):
            sent.record_stream(self._computing)
            begin.record()
            fine = model(sent, circular)
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

    def peak(self, run: Callable[[], object]) -> int:
        """Bytes that a computation takes at most, with what cuDNN takes to work in."""
        torch.cuda.synchronize(self.place)
        torch.cuda.reset_peak_memory_stats(self.place)
        before = int(torch.cuda.memory_allocated(self.place))
        run()
        torch.cuda.synchronize(self.place)
        return int(torch.cuda.max_memory_allocated(self.place)) - before

    @property
    def free(self) -> int:
        """Bytes that nobody has, and those that the allocator holds for us."""
        held = int(torch.cuda.memory_reserved(self.place)) - int(torch.cuda.memory_allocated(self.place))
        return int(torch.cuda.mem_get_info(self.place)[0]) + held

    def release(self) -> None:
        """See the class above."""
        torch.cuda.empty_cache()


class _Tally(TorchDispatchMode):
    """Counts the bytes of the tensors that are there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and to be left out of that loads the compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run an operator, and count what it made."""
        answer = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(answer):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return answer

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self._now -= size


def open_device(place: torch.device) -> Device:
    """A device as the batcher uses it."""
    return Gpu(place) if place.type == "cuda" else Device(place)
