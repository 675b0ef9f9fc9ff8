"""The synchronous client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import httpx2
import stamina

from eddylift import _calls, _paths, _protocols, _transfer, _transport
from eddylift._calls import Call
from eddylift._errors import EddyliftError
from eddylift._files import require_zarr
from eddylift._jobs import Job
from eddylift._preparation import Preparation
from eddylift._processes import PerProcess
from eddylift._reporting import body_pieces, reporting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self, Unpack

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray
    from zarr.abc.store import Store

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
    )

T = TypeVar("T")


class Client:
    """Client of an eddylift service.

    Every call raises an `EddyliftError` if it fails. If the queue is full, the service is not ready or the connection
    breaks, the call is repeated first, with the same idempotency key.

    Args:
        base_url: address of the service, such as ``http://gpu-host:8000``. None reads ``EDDYLIFT_URL`` and
            ``EDDYLIFT_TOKEN`` from the environment; the default is port 8000 of this machine.
        token: sent as a bearer token.
        timeout: seconds without a byte after which a call fails; None waits for ever.
        attempts: how often a call is tried in all.
        transport: sends the requests in place of the network. `close` closes it. Views and forks of this process use
            it too, so it must be fit for threads and for forks.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = 600.0,
        attempts: int = 6,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        base_url, token = _transport.address(base_url, token)
        self._again = partial(type(self), base_url, token, timeout=timeout, attempts=attempts, transport=transport)
        settings = _transport.settings(base_url, token, timeout)
        self._clients = PerProcess(partial(httpx2.Client, **settings, transport=transport))
        self._retry = stamina.RetryingCaller(attempts=attempts, **_transport.BACKOFF)
        self._has_answered = False
        self._transport = transport

    def __repr__(self) -> str:
        """Say where the service is; the token is not shown."""
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    def health(self) -> Health:
        """Return what a service that is ready serves; one that is not raises a `BusyError`, after all attempts."""
        return self._send(_calls.health())

    def models(self) -> list[Card]:
        """List the cards of the models that the service has."""
        return self._send(_calls.models())

    def model(self, name: str) -> Card:
        """Return one model's card."""
        return self._send(_calls.model(name))

    def symmetry(self, model: str) -> Symmetry:
        """Return which symmetries a model keeps, from its card."""
        return self._send(_calls.symmetry(model))

    @overload
    def upscale(self, coarse: Volume, **options: Unpack[UpscaleOptions]) -> Volume: ...

    @overload
    def upscale(self, coarse: str | Path, **options: Unpack[UpscaleOptions]) -> NDArray[np.float32] | xr.Dataset: ...

    def upscale(
        self,
        coarse: AnyVolume | str | Path,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        resample: Sequence[str] | None = None,
        error: bool = False,
        progress: ProgressCallback | bool | None = None,
    ) -> AnyVolume:
        """Make a coarse volume finer, in the same layout, coordinates and units.

        Args:
            coarse: an array (3, z, y, x) or (time, 3, z, y, x) with components (u, v, w), of uniform cells; or an
                xarray object over (z, y, x) or (time, z, y, x), with variables u, v, w or a component dim; or the path
                of a file that `open_volume` reads, to which the answer is an array for .npy, else a dataset. A model of
                3 frames answers n - 2 of n times, those with neighbours on both sides; of just 3, with an array
                (3, z, y, x).
            model: name of the model, such as ``relaxed-channel-x4``; None takes the service's default, for any flow.
            boundary: ``"periodic"``, ``"wall"`` or ``"open"`` for all axes; or three of them in z, y, x order
                (``"periodic,wall,periodic"`` or a list); or by axis (``{"y": "wall"}``, the others periodic). None
                takes the attribute ``boundary`` of the volume, else the boundary on the model's card. Without any of
                these, as with the general models, every axis is taken as periodic, which is wrong for channels and
                cut-outs. Walls that move have velocities: ``"periodic,wall:u=-1..1,periodic"``.
            names: new names of variables and dims by old ones, such as ``{"Ux": "u", "lev": "z"}``, or as text
                ``"Ux:u,lev:z"``; the answer has the new names. ``{"yp": "y"}`` makes ``yp`` the positions along y.
            drop: variables and coordinates to leave out, by their names before ``names`` applies, such as
                ``["p", "rho"]`` or ``"p,rho"``. Only velocity is made finer; other variables over space are refused.
            resample: axes to resample to uniform cells, such as ``"y"`` of a channel, or ``["z", "y"]``. There are as
                many cells as points, or as many as you say: ``"y:32"``. Each cell gets the exact mean of the field,
                taken as linear between its points. The cells fill the axis from its first CF bound to its last, or, if
                it has none, from the first point to the last. A periodic axis is refused, so a boundary must be given.
                The answer has a note in ``eddylift_resampled``.
            error: whether to add the expected absolute error of each cell, the mean over u, v, w: a variable ``error``
                of a dataset, a coordinate ``error`` of a DataArray, a fourth channel of an array.
            progress: called while the volume is sent, computed and received; True shows bars.
        """
        call = _calls.upscale(
            coarse, model=model, boundary=boundary, error=error, names=names, drop=drop, resample=resample
        )
        return self._send(call, progress=progress)

    def check(
        self,
        coarse: AnyVolume | str | Path,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        resample: Sequence[str] | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> Check:
        """Return the error that a model expects, and how large its correction to trilinear interpolation is.

        The service computes the answer, but does not send it. The smaller the ratio of the two, the more the answer
        improves on interpolation: at 1 about 0.7 of the error of interpolation is left, at 2 about 0.9.

        Args:
            coarse: as for `upscale`.
            model: as for `upscale`; one that predicts its error.
            boundary: as for `upscale`.
            names: as for `upscale`.
            drop: as for `upscale`.
            resample: as for `upscale`.
            progress: as for `upscale`.
        """
        call = _calls.check(coarse, model=model, boundary=boundary, names=names, drop=drop, resample=resample)
        return self._send(call, progress=progress)

    def validate(  # noqa: PLR0913 arguments are options
        self,
        coarse: AnyVolume | str | Path | None,
        reference: AnyVolume | str | Path,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        length: Sequence[float] | str | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        resample: Sequence[str] | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> Report:
        """Compare a model's answer, and trilinear interpolation, with the true fine volume.

        `METRICS` says what each metric of the report means, its unit and which values are better.

        Args:
            coarse: as for `upscale`; None takes the block mean of the reference.
            reference: the true fine volume; the model's factor times as many cells along each axis.
            model: as for `upscale`.
            boundary: as for `upscale`.
            length: of each axis (z, y, x), in one unit, for volumes without coordinates. Unless each axis has a length,
                cells are taken as cubes.
            names: as for `upscale`, of both volumes.
            drop: as for `upscale`.
            resample: as for `upscale`; a number of cells is for the reference alone, without `coarse`.
            progress: as for `upscale`.
        """
        call = _calls.validate(
            coarse,
            reference,
            model=model,
            boundary=boundary,
            length=length,
            names=names,
            drop=drop,
            resample=resample,
        )
        return self._send(call, progress=progress)

    def self_validate(self, model: str, *, progress: ProgressCallback | bool | None = None) -> Reproduction:
        """Check whether the service, on its device and in its precision, reproduces the errors on the model's card.

        Args:
            model: its name.
            progress: called while the service computes; True shows bars.
        """
        return self._send(_calls.self_validate(model), progress=progress)

    def discover(
        self,
        x: Fields,
        y: Fields,
        *,
        x_kind: Kind | None = None,
        y_kind: Kind | None = None,
        group: str | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> Discovery:
        """Find which rotations and reflections the map from X to Y keeps.

        Args:
            x: arrays (pair, channel, y, x) or (pair, channel, z, y, x), or the path of a .npy file with them, taken to
                be periodic; or a DataArray with these dims in any order, also called time and component. Exact
                symmetries are best seen in float64.
            y: likewise, on the grid of X or on one that is finer by a whole factor. If it has as many channels of the
                same kind, Y - X is fitted, so both must be in the same units.
            x_kind: ``"scalar"``, each channel of X a field of its own, or ``"vector"``, its components along x, y(, z);
                None takes scalars.
            y_kind: likewise.
            group: ``"D4"``, ``"C4"`` or ``"C2"`` in a plane, ``"Oh"`` or ``"O"`` in space; None takes the first of
                these.
            progress: called while the fields are sent and the answer is computed; True shows bars.
        """
        return self._send(_calls.discover(x, y, x_kind=x_kind, y_kind=y_kind, group=group), progress=progress)

    def forecast_models(self) -> list[ForecastCard]:
        """List the cards of the forecasting models."""
        return self._send(_calls.forecast_models())

    @overload
    def forecast(self, frames: Volume, **options: Unpack[ForecastOptions]) -> Volume: ...

    @overload
    def forecast(self, frames: str | Path, **options: Unpack[ForecastOptions]) -> NDArray[np.float32] | xr.Dataset: ...

    def forecast(  # noqa: PLR0913 arguments are options
        self,
        frames: AnyVolume | str | Path,
        *,
        steps: int = 10,
        model: str | None = None,
        boundary: Boundary | None = None,
        dx: float | None = None,
        dt: float | None = None,
        nu: float = 0.0,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        progress: ProgressCallback | bool | None = None,
    ) -> AnyVolume:
        """Forecast the next frames of a velocity in a plane, in the same layout and at later times.

        Args:
            frames: an array (time, 2, y, x) with components (u, v); or an xarray object over (time, y, x), with
                variables u, v or a component dim; or the path of a file with one of these. Frames must be evenly spaced
                in time. If there are more than the model takes, it uses the last ones.
            steps: how many frames to forecast.
            model: name of the model, as `forecast_models` lists it; None takes the service's default.
            boundary: ``"periodic"`` or ``"wall"`` for both axes; or two of them in y, x order; or by axis. None takes
                the attribute ``boundary`` of the frames, else the boundary on the model's card. A wall lets nothing
                through, but does not slow the flow along it.
            dx: edge of a cell, in the velocity's unit of length. None takes it from the coordinates, else 1. What a
                model sees is u dt / dx, the velocity in cells a frame; an `EddyliftWarning` tells if it is far from
                those that the model has learned.
            dt: time between frames, in the velocity's unit of time. None takes it from the coordinates (in seconds if
                they are dates), else 1.
            nu: viscosity, which models with ``viscous`` in the ``architecture`` of their card need.
            names: as for `upscale`.
            drop: variables over time to leave out, such as ``["density"]``.
            progress: called while frames are sent, computed and received; True shows bars.
        """
        call = _calls.forecast(
            frames, steps=steps, model=model, boundary=boundary, dx=dx, dt=dt, nu=nu, names=names, drop=drop
        )
        return self._send(call, progress=progress)

    def volumes(self) -> list[StoredVolume]:
        """List the stored volumes."""
        return self._send(_calls.volumes())

    def upload(
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
        """Upload a coarse volume, object by object. The service stores it.

        It gets its name when it is complete; only then is an older volume of this name deleted. A folder with a Zarr
        group is sent as it is if no option but ``boundary`` is given. Everything else is converted first, velocity to
        float32, and copied to the temporary folder, which needs ``eddylift[zarr]``; a file, or a group with options, is
        read into memory for that. `open` and `submit` take ``names`` and ``drop`` too, without a copy.

        If an upload was interrupted, call it again within a day: it continues, if no object is refused.

        Args:
            volume: an array, an xarray object or a path, as for `upscale`. Its attribute ``boundary``, such as
                ``periodic,wall,periodic`` for z, y, x, is the default boundary of its views and jobs.
            name: name of the stored volume.
            replace: whether to replace a stored volume of this name; if False, that is refused.
            boundary: as for `upscale`; becomes this attribute.
            names: as for `upscale`.
            drop: as for `upscale`.
            resample: as for `upscale`.
            progress: called as the objects are sent; True shows bars.

        Raises:
            InvalidInputError: if the name is taken or no name of a volume, or the volume cannot be sent, as where a
                cell is NaN, or changes while it is sent.
        """
        preparation = Preparation(names, drop, resample, boundary)
        return self._run(_protocols.upload(volume, name, preparation, replace=replace, progress=progress))

    def download(self, name: str, folder: str | Path, *, progress: ProgressCallback | bool | None = None) -> Path:
        """Download a stored volume, object by object, into a folder with a Zarr group.

        If a download was interrupted, call it again: it continues.

        Args:
            name: name of the stored volume.
            folder: where to write it; must not exist.
            progress: called as the objects come; True shows bars.

        Raises:
            InvalidInputError: if the folder exists or cannot be written, or the volume changed meanwhile.
        """
        return self._run(_protocols.download(name, folder, progress=progress))

    def store(self, name: str, *, read_only: bool = False) -> Store:
        """Return a stored volume as a Zarr store: ``dataset.to_zarr(client.store("box"))``.

        The volume is written chunk by chunk, so it may be larger than memory. Chunks that were not written read as
        the fill value: NaN for floats and 0 for integers, if xarray writes. (`upload`, in contrast, shows a volume only
        when it is complete.) The store works as long as the client is open. Needs ``eddylift[zarr]``.

        Args:
            name: name of the volume, which need not exist yet.
            read_only: whether to refuse writing.

        Raises:
            InvalidInputError: if the zarr package is missing.
        """
        require_zarr("a store")
        from eddylift._zarr_store import VolumeStore  # noqa: PLC0415 not in the base install

        return VolumeStore(self._send, str(self._http.base_url), _paths.volume_path(name), read_only=read_only)

    def delete_volume(self, name: str) -> None:
        """Delete a stored volume."""
        self._run(_protocols.delete_volume(name))

    def open(
        self,
        volume: str,
        *,
        model: str | None = None,
        boundary: Boundary | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
        error: bool = False,
    ) -> xr.Dataset:
        """Open a view: a stored volume made finer by a model. Each part is computed when you read it.

        Reading fails once the volume or the model has been replaced; open the view again then.
        Times are numbers, as stored; ``xarray.decode_cf`` converts them to dates. Needs ``eddylift[zarr]``.

        Args:
            volume: name of the stored volume, or ``s3://bucket/path`` in a bucket that the service uses.
            model: as for `upscale`.
            boundary: as for `upscale`.
            names: as for `upscale`.
            drop: as for `upscale`.
            error: whether to add a variable ``error``, the expected absolute error of each cell.
        """
        require_zarr("opening a view")
        path = _paths.view_path(volume, model, boundary, names, drop, error=error)
        fixed, reader = self._send(_calls.view(path)), self._again()  # a view may outlive this client
        # Closing the reader would close the transport, which is this client's.
        close = reader.close if self._transport is None else lambda: None
        return _transfer.open_view(reader._send, close, str(self._http.base_url), fixed)  # noqa: SLF001 our own

    def submit(
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
    ) -> Job:
        """Submit a job: make a whole volume finer in the background, or compare the answer with the true volume.

        Args:
            source: volume to read: the name of a stored one, or ``s3://bucket/path`` in a bucket that the service uses.
            target: volume to write, which can be read while it fills. If an earlier job with the same options began
                it, it is completed. None, with a reference, keeps the report alone.
            model: as for `upscale`.
            boundary: as for `upscale`.
            reference: the true fine volume with which the answer is compared.
            names: as for `upscale`, of the source and the reference.
            drop: likewise.
            error: whether to write a variable ``error`` too, the expected absolute error of each cell.
        """
        call = _calls.submit(
            source, target, model=model, boundary=boundary, error=error, reference=reference, names=names, drop=drop
        )
        return Job(self._send, self._send(call))

    def submit_discovery(
        self,
        x: str,
        y: str,
        *,
        x_kind: Kind | None = None,
        y_kind: Kind | None = None,
        group: str | None = None,
        names: Names | None = None,
        drop: Sequence[str] | None = None,
    ) -> Job:
        """Submit a job that finds which rotations and reflections the map from a stored volume to another one keeps.

        Each time of the two is a pair (X, Y). It is computed in float32. The report of the job is what `discover`
        returns.

        Args:
            x: volume with the fields X: the name of a stored one, or ``s3://bucket/path``.
            y: volume with the fields Y, at as many times, on the grid of X or on one that is finer by a whole factor.
            x_kind: ``"vector"``, a velocity u, v, w over ([time,] z, y, x) or u, v over ([time,] y, x); ``"scalar"``,
                a field of each variable of X, in the order of their names; None takes a velocity.
            y_kind: likewise.
            group: as for `discover`.
            names: as for `upscale`, of both volumes.
            drop: likewise.
        """
        call = _calls.submit_discovery(x, y, x_kind=x_kind, y_kind=y_kind, group=group, names=names, drop=drop)
        return Job(self._send, self._send(call))

    def jobs(self) -> list[Job]:
        """List the jobs of the service, the newest first."""
        return [Job(self._send, status, quiet=True) for status in self._send(_calls.jobs())]

    def job(self, name: str) -> Job:
        """Return a job by its id."""
        return Job(self._send, self._send(_calls.job(name)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client, which the end of the block closes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def __reduce__(self) -> tuple[partial[Client], tuple[()]]:
        """Pickle the settings, token included: processes that write through a `store` make their own clients."""
        return self._again, ()

    @property
    def _http(self) -> httpx2.Client:
        return self._clients.get()

    def _run(self, steps: Steps[T]) -> T:
        """Send the calls of a protocol, call its functions, and raise in it what fails."""
        advance = partial(next, steps)
        while True:
            try:
                step = advance()
            except StopIteration as end:
                return cast("T", end.value)
            finally:
                del advance  # an error in it refers to this frame, and so to the volume
            try:
                advance = partial(steps.send, self._send(step) if isinstance(step, Call) else step())
            except BaseException as error:  # noqa: BLE001 the protocol raises it, when it has cleaned up
                advance = partial(steps.throw, error)

    def _send(self, call: Call[T], *, progress: ProgressCallback | bool | None = None) -> T:
        headers = _transport.headers(call)
        try:
            with reporting(progress) as report:
                answer = self._retry(partial(_transport.pause, call), self._attempt, call, headers, report)
            result = call.read(answer)
        except EddyliftError as error:
            # The message says it all; frames of the packages below would bury it.
            raise error.with_traceback(None) from None
        _transport.issue_warnings(answer, result)
        return result

    def _attempt(self, call: Call[Any], headers: dict[str, str], report: ProgressCallback) -> Answer:
        content = body_pieces(call.body, report)
        with (
            _transport.own_errors(self._http.base_url, has_answered=self._has_answered),
            self._http.stream(call.method, call.path, params=call.params, headers=headers, content=content) as response,
        ):
            self._has_answered = True
            download = _transport.Download(response, report)
            for piece in response.iter_bytes():
                download.take(piece)
        return download.finish()
