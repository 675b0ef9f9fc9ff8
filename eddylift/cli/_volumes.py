"""Commands about stored volumes."""

from pathlib import Path
from typing import Annotated

import typer

from eddylift import _display
from eddylift.cli._session import (
    LOCAL,
    PATIENCE,
    Drop,
    Json,
    Names,
    Resample,
    Timeout,
    Token,
    Url,
    VolumeArgument,
    parse_list,
    parse_names,
    session,
    show,
)


def volumes(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the stored volumes."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        found = client.volumes()
    show(found, _display.volumes_table(found), as_json=as_json)


def upload(  # noqa: PLR0913 arguments are options
    source: Annotated[Path, typer.Argument(metavar="IN", help="Coarse volume: Zarr, NetCDF, HDF5 or .npy.")],
    name: VolumeArgument,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a stored volume of this name.")] = False,
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Upload a coarse volume. The service stores it, for views and jobs."""
    with session(url, token, timeout, as_json=as_json) as (client, bars), bars:
        found = client.upload(
            source,
            name,
            replace=replace,
            names=parse_names(names),
            drop=parse_list(drop),
            resample=resample,
            progress=bars,
        )
    show(found, _display.volumes_table([found]), as_json=as_json)


def download(
    name: VolumeArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write, as a Zarr group.")],
    *,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
) -> None:
    """Download a stored volume. If it was interrupted, the same command continues."""
    with session(url, token, timeout, as_json=False) as (client, bars), bars:
        client.download(name, folder, progress=bars)


def delete(name: VolumeArgument, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE) -> None:
    """Delete a stored volume."""
    with session(url, token, timeout, as_json=False) as (client, _):
        client.delete_volume(name)
