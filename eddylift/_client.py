"""The client that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import stamina

from eddylift import _calls, _exchange
from eddylift._payload import PIECE
from eddylift._progress import ignore, upload

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from eddylift._calls import Boundary, Call, Card, Report, Reproduction, Symmetry
    from eddylift._payload import Answer, AnyVolume, Volume
    from eddylift._progress import ProgressCallback

T = TypeVar("T")


class Client:
    """Speaks to an eddylift service.

    Every call raises an `EddyliftError` where it fails. A call that met a full queue, a service that is not ready or a
    broken connection is repeated, under one idempotency key, before it is given up.

    Args:
        base_url: address of the service, as ``http://gpu-host:8000``.
        token: sent as a bearer token.
        timeout: seconds without a byte after which a call is given up; None waits for ever.
        attempts: how often a call is tried in all.
        transport: carries the requests, in the place of the network.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float | None = 600.0,
        attempts: int = 6,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = httpx2.Client(**_exchange.settings(base_url, token, timeout), transport=transport)
        self._retry = stamina.RetryingCaller(attempts=attempts, **_exchange.BACKOFF)

    def models(self) -> list[Card]:
        """List the cards of the models that the service has."""
        return self._send(_calls.models())

    def model(self, name: str) -> Card:
        """Return one model's card."""
        return self._send(_calls.model(name))

    def symmetry(self, model: str) -> Symmetry:
        """Return which symmetries a model keeps, as its card has it."""
        return self._send(_calls.symmetry(model))

    def upscale(
        self,
        coarse: Volume,
        *,
        model: str,
        boundary: Boundary | None = None,
        progress: ProgressCallback | None = None,
    ) -> Volume:
        """Return the fine volume of a coarse one, in its layout, coordinates and units.

        Args:
            coarse: an array (3, z, y, x), or (3 frames, 3, z, y, x) for a model of 3 frames, with components (u, v, w);
                or an xarray object with dims (z, y, x) or (time, z, y, x), as variables u, v, w or a component dim.
            model: name of the model, as ``relaxed-isotropic-x4``.
            boundary: ``"periodic"``, ``"wall"`` or ``"open"`` for all axes, three of them in z, y, x order
                (``"periodic,wall,periodic"``), or by axis (``{"y": "wall"}``, the others periodic). None leaves it to
                the service.
            progress: told as the volume is sent, waited for and received.
        """
        return self._send(_calls.upscale(coarse, model=model, boundary=boundary), progress)

    def validate(
        self,
        coarse: AnyVolume | None,
        reference: AnyVolume,
        *,
        model: str,
        boundary: Boundary | None = None,
        progress: ProgressCallback | None = None,
    ) -> Report:
        """Measure a model's answer to `coarse` against the true fine volume, beside trilinear's.

        Args:
            coarse: as for `upscale`; None takes the block mean of the reference.
            reference: the true volume, 4 times as fine.
            model: as for `upscale`.
            boundary: as for `upscale`.
            progress: as for `upscale`.
        """
        return self._send(_calls.validate(coarse, reference, model=model, boundary=boundary), progress)

    def self_validate(self, model: str) -> Reproduction:
        """Ask whether this service, on its device and in its precision, reproduces the errors on the model's card."""
        return self._send(_calls.self_validate(model))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _send(self, call: Call[T], progress: ProgressCallback | None = None) -> T:
        headers = _exchange.headers(call)
        return call.read(self._retry(_exchange.pause, self._attempt, call, headers, progress or ignore))

    def _attempt(self, call: Call[Any], headers: dict[str, str], report: ProgressCallback) -> Answer:
        content = None if call.body is None else upload(call.body, report)
        with (
            _exchange.own_errors(self._http.base_url),
            self._http.stream(call.method, call.path, params=call.params, headers=headers, content=content) as response,
        ):
            download = _exchange.Download(response, report)
            for piece in response.iter_bytes(PIECE):
                download.take(piece)
        return download.finish()
