"""Commands about stored volumes."""

from pathlib import Path
from typing import Annotated

import typer

from eddylift import _display
from eddylift.cli._session import (
    Boundary,
    Drop,
    Names,
    Resample,
    Session,
    VolumeArgument,
    connected,
)


@connected()
def volumes(session: Session) -> None:
    """List the stored volumes."""
    found = session.client.volumes()
    session.show(found, _display.volumes_table(found))


@connected()
def upload(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="IN", help="Coarse volume: Zarr, NetCDF, HDF5 or .npy.")],
    name: VolumeArgument,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a stored volume of this name.")] = False,
    boundary: Boundary = None,
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
) -> None:
    """Upload a coarse volume. The service stores it, for views and jobs."""
    with session.bars as bars:
        found = session.client.upload(
            source,
            name,
            replace=replace,
            boundary=boundary,
            names=names,
            drop=drop,
            resample=resample,
            progress=bars,
        )
    session.show(found, _display.volumes_table([found]))


@connected()
def download(
    session: Session,
    name: VolumeArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write, as a Zarr group.")],
) -> None:
    """Download a stored volume. If it was interrupted, the same command continues."""
    with session.bars as bars:
        session.client.download(name, folder, progress=bars)


@connected()
def delete(session: Session, name: VolumeArgument) -> None:
    """Delete a stored volume."""
    session.client.delete_volume(name)
