"""The command line: eddylift models | upscale | validate, volumes | upload | download, submit | jobs | watch ..."""

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import stamina
import typer
from rich.console import Console

from eddylift import _display, _files
from eddylift._client import Client
from eddylift._codecs import AnyVolume
from eddylift._errors import EddyliftError, InvalidInputError, ServiceError

app = typer.Typer(
    help="Make coarse turbulent velocity fields four times finer, on an eddylift service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Url = Annotated[str, typer.Option("--url", envvar="EDDYLIFT_URL", help="Address of the service.")]
# Its value is a secret: help must not show it as the default.
Token = Annotated[
    str | None, typer.Option("--token", envvar="EDDYLIFT_TOKEN", show_default=False, help="Token of the service.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds of silence after which to give up.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, also of errors.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Name of the model, as `eddylift models` lists it.")]
Boundary = Annotated[
    str | None,
    typer.Option(
        "--boundary",
        "-b",
        help="periodic, wall or open; or three of them for z, y, x, as periodic,wall,periodic. Default: the service's.",
    ),
]
LOCAL = "http://127.0.0.1:8000"
PATIENCE = 600.0


def _print_version(value: bool) -> None:  # noqa: FBT001 typer calls it so
    if value:
        try:
            typer.echo(version("eddylift"))
        except PackageNotFoundError:
            typer.echo("a checkout, not installed")
        raise typer.Exit


@app.callback()
def main(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def models(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the models of the service."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        cards = client.models()
    _show(cards, _display.models_table(cards), as_json=as_json)


@app.command()
def upscale(  # noqa: PLR0913 arguments are options
    source: Annotated[Path, typer.Argument(metavar="IN", help="Coarse volume: .npy, .nc, .h5, .zarr or .zip.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Fine volume; kinds as for IN.")],
    *,
    model: Model,
    boundary: Boundary = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Make a coarse volume four times finer."""
    with _session(url, token, timeout, as_json=as_json) as (client, bars):
        _files.check_target(target, source, overwrite=overwrite)
        # Any: a file may hold any kind of volume, while `upscale` tells one kind from another.
        coarse = cast("Any", _files.read(source))
        start = time.perf_counter()
        with bars:
            fine = client.upscale(coarse, model=model, boundary=boundary, progress=bars)
        seconds = time.perf_counter() - start
        _files.write(target, fine)
    sizes = _sizes(fine)
    result = {"model": model, "source": str(source), "target": str(target), "sizes": sizes, "seconds": seconds}
    extent = " x ".join(f"{name} {size}" for name, size in sizes.items())
    _show(result, f"{target}: {extent}, by {model} in {seconds:.1f} s", as_json=as_json)


@app.command()
def validate(
    reference: Annotated[
        Path | None, typer.Argument(help="True fine volume. Without one, the sample shipped with the model.")
    ] = None,
    *,
    coarse: Annotated[
        Path | None, typer.Option("--coarse", "-c", help="Coarse volume. Default: the block mean of REFERENCE.")
    ] = None,
    model: Model,
    boundary: Boundary = None,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Measure a model beside trilinear; without REFERENCE, check that the service reproduces the model's card."""
    with _session(url, token, timeout, as_json=as_json) as (client, bars):
        if reference is not None:
            truth = _files.read(reference)
            start = None if coarse is None else _files.read(coarse)
            with bars:
                report = client.validate(start, truth, model=model, boundary=boundary, progress=bars)
            _show(report, _display.report_table(report), as_json=as_json)
            return
        if coarse is not None or boundary is not None:
            message = "--coarse and --boundary go with a REFERENCE"
            raise InvalidInputError(message)
        found = client.self_validate(model)
    _show(found, _display.reproduction_sentence(found), as_json=as_json)
    if not found["reproduced"]:
        raise typer.Exit(1)


@app.command()
def volumes(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the volumes that stay at the service."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        found = client.volumes()
    _show(found, _display.volumes_table(found), as_json=as_json)


@app.command()
def upload(
    source: Annotated[Path, typer.Argument(metavar="ZARR", help="Coarse volume: the folder of a Zarr group.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called at the service.")],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Drop what is called so already.")] = False,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Send a coarse volume that stays at the service, to be looked at through a view."""
    with _session(url, token, timeout, as_json=as_json) as (client, bars), bars:
        found = client.upload(source, name, replace=replace, progress=bars)
    _show(found, _display.volumes_table([found]), as_json=as_json)


@app.command()
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called at the service.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to put it, as a Zarr group.")],
    *,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
) -> None:
    """Fetch a volume that stays at the service. What was interrupted goes on with the same command."""
    with _session(url, token, timeout, as_json=False) as (client, bars), bars:
        client.download(name, folder, progress=bars)


@app.command()
def submit(  # noqa: PLR0913 one an option
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Volume to read: a stored one, or s3://bucket/path.")],
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="Volume to write; may be left out beside a reference.")
    ] = None,
    *,
    model: Model,
    boundary: Boundary = None,
    reference: Annotated[
        str | None, typer.Option("--reference", "-r", help="True volume, 4 times as fine, to compare the answer with.")
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", help="What variables and dims are to be called: ux:u,uy:v,uz:w,depth:z.")
    ] = None,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Order a volume to be super-resolved into another one, or compared with a true one, in the background."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        called = _parse_names(names)
        job = client.submit(source, target, model=model, boundary=boundary, reference=reference, names=called)
    _show(job.status, _display.jobs_table([job.status]), as_json=as_json)


def _parse_names(names: str | None) -> dict[str, str]:
    pairs = [pair.split(":") for pair in (names or "").split(",") if pair]
    if bad := [pair for pair in pairs if len(pair) != 2 or not all(pair)]:  # noqa: PLR2004 a pair
        message = f"--names has {':'.join(bad[0])}, expected pairs such as ux:u,uy:v,uz:w"
        raise InvalidInputError(message)
    return dict(pairs)


@app.command()
def jobs(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the jobs of the service."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        found = [job.status for job in client.jobs()]
    _show(found, _display.jobs_table(found), as_json=as_json)


JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job, as `eddylift jobs` lists it.")]


@app.command()
def watch(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Wait until a job is done, showing how far it is; exit code 1 if it fails. Ctrl-C leaves it running."""
    with _session(url, token, timeout, as_json=as_json) as (client, bars), bars:
        status = client.job(job).wait(progress=bars)
    report = status["report"]
    readable = _display.report_table(report) if report else _display.jobs_table([status])
    _show(status, readable, as_json=as_json)


@app.command()
def cancel(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Stop a job; blocks that are done stay."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        status = client.job(job).cancel()
    _show(status, _display.jobs_table([status]), as_json=as_json)


@app.command()
def resume(
    job: JobId, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Go on with a job that failed or was cancelled."""
    with _session(url, token, timeout, as_json=as_json) as (client, _):
        status = client.job(job).resume()
    _show(status, _display.jobs_table([status]), as_json=as_json)


@contextlib.contextmanager
def _session(url: str, token: str | None, timeout: float, *, as_json: bool) -> Iterator[tuple[Client, _display.Bars]]:
    """Open a client and its bars; whatever it cannot do ends the command with a message and exit code 1."""
    console = Console(stderr=True)
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([partial(_display.retry_note, console)])
    try:
        with Client(url, token, timeout=timeout) as client:
            yield client, _display.Bars(console)
    except EddyliftError as error:
        _complain(error, console, as_json=as_json)
        raise typer.Exit(1) from error
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)


def _complain(error: EddyliftError, console: Console, *, as_json: bool) -> None:
    if not as_json:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return
    document: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, ServiceError):
        document["status"] = error.status
        document["errors"] = [vars(part) for part in error.errors]
    typer.echo(json.dumps({"error": document}), err=True)


def _show(result: object, readable: object, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(readable, markup=False, highlight=False, soft_wrap=isinstance(readable, str))


def _sizes(volume: AnyVolume) -> dict[str, int]:
    if isinstance(volume, np.ndarray):
        return dict(zip(("component", "z", "y", "x"), volume.shape, strict=True))
    return {str(name): size for name, size in volume.sizes.items()}
