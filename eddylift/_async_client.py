"""The client for asynchronous programs. Volumes are encoded and decoded in a thread, beside the event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import stamina
from anyio import to_thread

from eddylift import _calls, _exchange
from eddylift._payload import PIECE
from eddylift._progress import aupload, ignore

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from eddylift._calls import Boundary, Call, Card, Report, Reproduction, Symmetry
    from eddylift._payload import Answer, AnyVolume, Volume
    from eddylift._progress import ProgressCallback

T = TypeVar("T")


class AsyncClient:
    """Speaks to an eddylift service as `Client` does, call for call, without blocking.

    Args:
        base_url: as for `Client`.
        token: as for `Client`.
        timeout: as for `Client`.
        attempts: as for `Client`.
        transport: carries the requests; ``httpx2.ASGITransport(app)`` needs no network at all.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float | None = 600.0,
        attempts: int = 6,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(**_exchange.settings(base_url, token, timeout), transport=transport)
        self._retry = stamina.AsyncRetryingCaller(attempts=attempts, **_exchange.BACKOFF)

    async def models(self) -> list[Card]:
        """See `Client.models`."""
        return await self._send(_calls.models())

    async def model(self, name: str) -> Card:
        """See `Client.model`."""
        return await self._send(_calls.model(name))

    async def symmetry(self, model: str) -> Symmetry:
        """See `Client.symmetry`."""
        return await self._send(_calls.symmetry(model))

    async def upscale(
        self,
        coarse: Volume,
        *,
        model: str,
        boundary: Boundary | None = None,
        progress: ProgressCallback | None = None,
    ) -> Volume:
        """See `Client.upscale`."""
        call = await to_thread.run_sync(partial(_calls.upscale, coarse, model=model, boundary=boundary))
        return await self._send(call, progress)

    async def validate(
        self,
        coarse: AnyVolume | None,
        reference: AnyVolume,
        *,
        model: str,
        boundary: Boundary | None = None,
        progress: ProgressCallback | None = None,
    ) -> Report:
        """See `Client.validate`."""
        call = await to_thread.run_sync(partial(_calls.validate, coarse, reference, model=model, boundary=boundary))
        return await self._send(call, progress)

    async def self_validate(self, model: str) -> Reproduction:
        """See `Client.self_validate`."""
        return await self._send(_calls.self_validate(model))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def _send(self, call: Call[T], progress: ProgressCallback | None = None) -> T:
        headers = _exchange.headers(call)
        answer = await self._retry(_exchange.pause, self._attempt, call, headers, progress or ignore)
        return await to_thread.run_sync(call.read, answer)

    async def _attempt(self, call: Call[Any], headers: dict[str, str], report: ProgressCallback) -> Answer:
        content = None if call.body is None else aupload(call.body, report)
        with _exchange.own_errors(self._http.base_url):
            async with self._http.stream(
                call.method, call.path, params=call.params, headers=headers, content=content
            ) as response:
                download = _exchange.Download(response, report)
                async for piece in response.aiter_bytes(PIECE):
                    download.take(piece)
        return download.finish()
