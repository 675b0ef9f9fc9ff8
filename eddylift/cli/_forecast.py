"""Commands about forecasts of a velocity in a plane."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eddylift import _calls, _display
from eddylift.cli import _completion, _streams
from eddylift.cli._session import Drop, Names, Overwrite, Session, connected


@connected()
def forecast_models(session: Session) -> None:
    """List the forecasting models."""
    cards = session.client.forecast_models()
    session.show(cards, _display.forecast_models_table(cards))


@connected()
def forecast(  # noqa: PLR0913 arguments are options
    session: Session,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Frames of u and v over (time, y, x): .npy, NetCDF, HDF5, Zarr or zipped Zarr; - for standard input.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Next frames: .npy, .nc, .h5, .zarr or .zip; - for standard output, as .npy if IN is .npy, else as "
            "NetCDF.",
        ),
    ],
    *,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many frames to forecast.")] = 10,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            autocompletion=_completion.forecast_models,
            help="Name of the model, as `eddylift forecast-models` lists it. Default: the service's.",
        ),
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(
            "--boundary",
            "-b",
            help="periodic or wall; or two of them for y, x, such as periodic,wall. Default: the attribute boundary of "
            "IN, else the model's.",
        ),
    ] = None,
    dx: Annotated[
        float | None,
        typer.Option(
            "--dx",
            help="Edge of a cell. Default: from the coordinates, else 1. A model sees u dt / dx, the velocity in cells "
            "a frame.",
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option("--dt", help="Time between frames. Default: from the coordinates (dates: in seconds), else 1."),
    ] = None,
    nu: Annotated[float, typer.Option("--nu", help="Viscosity, which models of viscous flows need.")] = 0.0,
    names: Names = None,
    drop: Drop = None,
    overwrite: Overwrite = False,
) -> None:
    """Forecast the next frames of a velocity in a plane."""
    ask = partial(
        _calls.forecast, steps=steps, model=model, boundary=boundary, dx=dx, dt=dt, nu=nu, names=names, drop=drop
    )
    dims = ("time", "component", "y", "x")
    _streams.convert(session, ask, source, target, dims=dims, overwrite=overwrite)
