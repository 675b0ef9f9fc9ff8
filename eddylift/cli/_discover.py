"""The command that finds which symmetries pairs of fields keep."""

from typing import Annotated, Literal

import typer

from eddylift import _display
from eddylift.cli._session import Drop, Names, Session, connected

ARRAYS = ".npy, (pair, channel, y, x) or (pair, channel, z, y, x)"
CHANNELS = "scalar if each channel is a field of its own, vector if channels are components along x, y (and z)."


@connected()
def discover(  # noqa: PLR0913 arguments are options
    session: Session,
    x: Annotated[str, typer.Argument(metavar="X", help=f"Fields X: {ARRAYS}.")],
    y: Annotated[str, typer.Argument(metavar="Y", help="Fields Y, on the grid of X or finer by a whole factor.")],
    *,
    job: Annotated[
        bool,
        typer.Option(
            "--job", help="X and Y are stored volumes, with a pair of fields at each time: submit a job for them."
        ),
    ] = False,
    x_kind: Annotated[
        Literal["scalar", "vector"] | None,
        typer.Option("--x-kind", help=f"Of X: {CHANNELS} Default: scalar, with --job vector."),
    ] = None,
    y_kind: Annotated[Literal["scalar", "vector"] | None, typer.Option("--y-kind", help="Of Y, likewise.")] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", help="D4, C4 or C2 in a plane, Oh or O in space. Default: D4 or Oh."),
    ] = None,
    names: Names = None,
    drop: Drop = None,
) -> None:
    """Find which rotations and reflections the map from X to Y keeps."""
    if not job and (names or drop):
        message = "expected --job beside --names and --drop: an array has no names"
        raise typer.BadParameter(message)
    if job:
        status = session.client.submit_discovery(
            x, y, x_kind=x_kind, y_kind=y_kind, group=group, names=names, drop=drop
        ).status
        session.show(status, _display.jobs_table([status]))
        return
    with session.bars as bars:
        found = session.client.discover(x, y, x_kind=x_kind, y_kind=y_kind, group=group, progress=bars)
    session.show(found, _display.discovery_summary(found))
