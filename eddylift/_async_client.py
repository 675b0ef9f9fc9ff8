"""The asynchronous client. Volumes are encoded and decoded in a thread, so as not to block the event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import httpx2
import stamina
from anyio import to_thread

from eddylift import _calls, _paths, _protocols, _transfer, _transport
from eddylift._calls import Call
from eddylift._client import Client
from eddylift._errors import EddyliftError, InvalidInputError
from eddylift._files import require_zarr
from eddylift._jobs import AsyncJob
from eddylift._preparation import Preparation
from eddylift._processes import PerProcess
from eddylift._reporting import async_body_pieces, reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self, Unpack

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from eddylift._codecs import Answer, AnyVolume, Volume
    from eddylift._discovery import Discovery
    from eddylift._pairs import Fields, Kind
    from eddylift._progress import ProgressCallback
    from eddylift._protocols import Steps
    from eddylift._types import (
        Boundary,
        Card,
        Check,
        ForecastCard,
        ForecastOptions,
        Health,
        Names,
        Report,
        Reproduction,
        StoredVolume,
        Symmetry,
        UpscaleOptions,
        ValidateOptions,
        VolumeOptions,
    )

T = TypeVar("T")


class AsyncClient:
    """Asynchronous client of an eddylift service, with the methods of `Client` except `store`.

    Args:
        base_url: as for `Client`.
        token: as for `Client`.
        timeout: as for `Client`.
        attempts: as for `Client`.
        transport: sends the requests in place of the network, such as ``httpx2.ASGITransport(app)``; then `open`
            refuses.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = 600.0,
        attempts: int = 6,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        base_url, token = _transport.address(base_url, token)
        self._reader = partial(Client, base_url, token, timeout=timeout, attempts=attempts)
        settings = _transport.settings(base_url, token, timeout)
        self._clients = PerProcess(partial(httpx2.AsyncClient, **settings, transport=transport))
        self._retry = stamina.AsyncRetryingCaller(attempts=attempts, **_transport.BACKOFF)
        self._has_answered = False
        self._transport = transport

    def __repr__(self) -> str:
        """See `Client`."""
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    async def health(self) -> Health:
        """See `Client.health`."""
        return await self._send(_calls.health())

    async def models(self) -> list[Card]:
        """See `Client.models`."""
        return await self._send(_calls.models())

    async def model(self, name: str) -> Card:
        """See `Client.model`."""
        return await self._send(_calls.model(name))

    async def symmetry(self, model: str) -> Symmetry:
        """See `Client.symmetry`."""
        return await self._send(_calls.symmetry(model))

    @overload
    async def upscale(self, coarse: Volume, **options: Unpack[UpscaleOptions]) -> Volume: ...

    @overload
    async def upscale(
        self, coarse: str | Path, **options: Unpack[UpscaleOptions]
    ) -> NDArray[np.float32] | xr.Dataset: ...

    async def upscale(self, coarse: AnyVolume | str | Path, **options: Any) -> AnyVolume:
        """See `Client.upscale`."""
        return await self._make_and_send(_calls.upscale, coarse, **options)

    async def check(self, coarse: AnyVolume | str | Path, **options: Unpack[VolumeOptions]) -> Check:
        """See `Client.check`."""
        return await self._make_and_send(_calls.check, coarse, **options)

    async def validate(
        self,
        coarse: AnyVolume | str | Path | None,
        reference: AnyVolume | str | Path,
        **options: Unpack[ValidateOptions],
    ) -> Report:
        """See `Client.validate`."""
        return await self._make_and_send(_calls.validate, coarse, reference, **options)

    async def self_validate(self, model: str, *, progress: ProgressCallback | bool | None = None) -> Reproduction:
        """See `Client.self_validate`."""
        return await self._send(_calls.self_validate(model), progress=progress)

    async def discover(
        self,
        x: Fields,
        y: Fields,
        *,
        x_kind: Kind | None = None,
        y_kind: Kind | None = None,
        group: str | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> Discovery:
        """See `Client.discover`."""
        return await self._make_and_send(
            _calls.discover, x, y, x_kind=x_kind, y_kind=y_kind, group=group, progress=progress
        )

    async def forecast_models(self) -> list[ForecastCard]:
        """See `Client.forecast_models`."""
        return await self._send(_calls.forecast_models())

    @overload
    async def forecast(self, frames: Volume, **options: Unpack[ForecastOptions]) -> Volume: ...

    @overload
    async def forecast(
        self, frames: str | Path, **options: Unpack[ForecastOptions]
    ) -> NDArray[np.float32] | xr.Dataset: ...

    async def forecast(self, frames: AnyVolume | str | Path, **options: Any) -> AnyVolume:
        """See `Client.forecast`."""
        return await self._make_and_send(_calls.forecast, frames, **options)

    async def volumes(self) -> list[StoredVolume]:
        """See `Client.volumes`."""
        return await self._send(_calls.volumes())

    async def upload(
        self,
        volume: AnyVolume | str | Path,
        name: str,
        *,
        replace: bool = False,
        boundary: Boundary | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        resample: Sequence[str] | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> StoredVolume:
        """See `Client.upload`."""
        preparation = Preparation(names, drop, resample, boundary)
        return await self._run(_protocols.upload(volume, name, preparation, replace=replace, progress=progress))

    async def download(self, name: str, folder: str | Path, *, progress: ProgressCallback | bool | None = None) -> Path:
        """See `Client.download`."""
        return await self._run(_protocols.download(name, folder, progress=progress))

    async def delete_volume(self, name: str) -> None:
        """See `Client.delete_volume`."""
        await self._run(_protocols.delete_volume(name))

    async def open(
        self,
        volume: str,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        error: bool = False,
    ) -> xr.Dataset:
        """See `Client.open`.

        Raises:
            InvalidInputError: if this client has a transport of its own, since views are read by a synchronous client.
        """
        if self._transport is not None:
            message = (
                "transport: an asynchronous one; expected none to open views: Client(transport=...) opens them too"
            )
            raise InvalidInputError(message)
        require_zarr("opening a view")
        path = _paths.view_path(volume, model, boundary, names, drop, error=error)
        fixed, reader = await self._send(_calls.view(path)), self._reader()
        ask = partial(_transfer.open_view, reader._send, reader.close)  # noqa: SLF001 our own
        return await to_thread.run_sync(ask, str(self._http.base_url), fixed)

    async def submit(
        self,
        source: str,
        target: str | None = None,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        reference: str | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        error: bool = False,
    ) -> AsyncJob:
        """See `Client.submit`."""
        call = _calls.submit(
            source, target, model=model, boundary=boundary, error=error, reference=reference, names=names, drop=drop
        )
        return AsyncJob(self._send, await self._send(call))

    async def submit_discovery(
        self,
        x: str,
        y: str,
        *,
        x_kind: Kind | None = None,
        y_kind: Kind | None = None,
        group: str | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
    ) -> AsyncJob:
        """See `Client.submit_discovery`."""
        call = _calls.submit_discovery(x, y, x_kind=x_kind, y_kind=y_kind, group=group, names=names, drop=drop)
        return AsyncJob(self._send, await self._send(call))

    async def jobs(self) -> list[AsyncJob]:
        """See `Client.jobs`."""
        return [AsyncJob(self._send, status, quiet=True) for status in await self._send(_calls.jobs())]

    async def job(self, name: str) -> AsyncJob:
        """See `Client.job`."""
        return AsyncJob(self._send, await self._send(_calls.job(name)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return the client, which the end of the block closes."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    @property
    def _http(self) -> httpx2.AsyncClient:
        return self._clients.get()

    async def _make_and_send(
        self,
        make: Callable[..., Call[T]],
        *volumes: object,
        progress: ProgressCallback | bool | None = None,
        **options: Any,  # noqa: ANN401 as the call takes them
    ) -> T:
        """Send a call that takes long to make, as its volumes are encoded."""
        call = await to_thread.run_sync(partial(make, *volumes, **options))
        return await self._send(call, progress=progress)

    async def _run(self, steps: Steps[T]) -> T:
        advance = partial(next, steps)
        while True:
            try:
                step = advance()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                done = await (self._send(step) if isinstance(step, Call) else to_thread.run_sync(step))
                advance = partial(steps.send, done)
            except BaseException as error:  # noqa: BLE001 as in `Client`
                advance = partial(steps.throw, error)

    async def _send(self, call: Call[T], *, progress: ProgressCallback | bool | None = None) -> T:
        headers = _transport.headers(call)
        try:
            with reporting(progress) as report:
                answer = await self._retry(partial(_transport.pause, call), self._attempt, call, headers, report)
            result = await to_thread.run_sync(call.read, answer)
        except EddyliftError as error:
            raise error.with_traceback(None) from None  # as in `Client`
        _transport.issue_warnings(answer, result)
        return result

    async def _attempt(self, call: Call[Any], headers: dict[str, str], report: ProgressCallback) -> Answer:
        content = async_body_pieces(call.body, report)
        with _transport.own_errors(self._http.base_url, has_answered=self._has_answered):
            async with self._http.stream(
                call.method, call.path, params=call.params, headers=headers, content=content
            ) as response:
                self._has_answered = True
                download = _transport.Download(response, report)
                async for piece in response.aiter_bytes():
                    download.take(piece)
        return download.finish()
