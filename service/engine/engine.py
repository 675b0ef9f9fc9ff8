"""From a coarse volume to a fine one, through the batcher."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.api.bodies import unless_gone
from service.engine.inference import InferenceRequest, VolumeRequest
from service.engine.queue import ClosedError, OutOfMemoryError, OverdueError, QueueFullError
from service.engine.tracing import record
from service.problems import Problem, busy, unready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from fastapi import Request
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.catalogue import Card
    from models.superresolution import SuperResolution
    from service.api.dependencies import Service
    from service.engine.inference import InferenceResult


async def upscale(
    request: Request, service: Service, card: Card, samples: NDArray[np.float32], boundary: Boundaries
) -> InferenceResult:
    """Super-resolve samples, for as long as the client waits for them.

    Args:
        request: whom it is for; if its client leaves, its blocks leave the queue.
        service: what computes.
        card: of the model.
        samples: velocity, (sample, frame, 3, z, y, x).
        boundary: what lies beyond the ends of each axis (z, y, x).

    Raises:
        Problem: 429 if too much is waiting, 503 if the model or the device cannot do it.
        ClientDisconnect: if the client left.
    """

    def prepare(model: SuperResolution) -> InferenceRequest:
        return VolumeRequest(card.name, model, samples, boundary, service.settings.block)

    return await unless_gone(request, compute(service, card, prepare))


async def compute(
    service: Service, card: Card, prepare: Callable[[SuperResolution], InferenceRequest], *, background: bool = False
) -> InferenceResult:
    """Compute a work; if this is cancelled, its blocks leave the queue.

    Args:
        service: what computes.
        card: of the model.
        prepare: makes the work of the loaded model, in a thread.
        background: let it wait for what somebody waits for, however long that is.

    Raises:
        Problem: 429 if too much is waiting, 503 if the model or the device cannot do it, or not in time.
    """
    try:
        model = await service.in_thread(lambda: service.registry.get(card.name))
    except (OSError, ValueError) as error:
        detail = f"{card.name} cannot be loaded: {error}"
        raise Problem("unloadable", detail, retry_after=60) from error
    work = await service.in_thread(lambda: prepare(model))
    work.background = background
    with engine_errors_as_problems():
        future = asyncio.wrap_future(service.batcher.submit(work))
        with _deadline(service, work):
            answer = (await future).taken()
    record(work, answer, model=card.name)
    return answer


@contextmanager
def _deadline(service: Service, work: InferenceRequest) -> Iterator[None]:
    """Take a work that is not begun in time out of the queue."""
    seconds = service.settings.request_deadline_s
    if seconds is None or work.background:
        yield
        return
    timer = asyncio.get_running_loop().call_later(seconds, service.batcher.expire, work)
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def engine_errors_as_problems() -> Iterator[None]:
    """Say as a problem why a work was not computed."""
    try:
        yield
    except QueueFullError as error:
        detail = "more is waiting for the device than may wait"
        raise busy(detail, error.retry_after) from error
    except OverdueError as error:
        raise Problem("overdue", str(error), retry_after=error.retry_after) from error
    except OutOfMemoryError as error:
        raise Problem("out-of-memory", str(error), retry_after=60) from error
    except ClosedError as error:
        raise unready(str(error), 5) from error
