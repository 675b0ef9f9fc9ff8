"""The command line: eddylift models | upscale | forecast | discover, volumes | upload, submit | watch ..."""

from typing import Annotated

import typer

from eddylift._version import __version__
from eddylift.cli import _discover, _forecast, _jobs, _models, _volumes

app = typer.Typer(
    help="Make coarse turbulent velocity fields finer, on an eddylift service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:  # noqa: FBT001 typer calls it so
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handle the options before a command."""


for command in (
    _models.models,
    _models.card,
    _models.symmetry,
    _models.health,
    _models.upscale,
    _models.check,
    _models.validate,
    _forecast.forecast,
    _forecast.forecast_models,
    _discover.discover,
    _volumes.volumes,
    _volumes.upload,
    _volumes.download,
    _volumes.delete,
    _jobs.submit,
    _jobs.jobs,
    _jobs.watch,
    _jobs.cancel,
    _jobs.resume,
):
    app.command()(command)
