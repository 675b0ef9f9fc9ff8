"""Commands about models, and about volumes in files."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eddylift import _calls, _display
from eddylift._errors import InvalidInputError
from eddylift.cli import _streams
from eddylift.cli._session import (
    Boundary,
    Drop,
    Error,
    Model,
    ModelArgument,
    Names,
    Overwrite,
    Resample,
    Session,
    connected,
)

Source = Annotated[
    Path,
    typer.Argument(metavar="IN", help="Coarse volume: .npy, NetCDF, HDF5, Zarr or zipped Zarr; - for standard input."),
]


@connected()
def models(session: Session) -> None:
    """List the models of the service."""
    cards = session.client.models()
    session.show(cards, _display.models_table(cards))


@connected()
def card(session: Session, model: ModelArgument) -> None:
    """Show a model's card: what it is, what it was trained on, and its measured errors."""
    found = session.client.model(model)
    session.show(found, _display.card_table(found))


@connected()
def symmetry(session: Session, model: ModelArgument) -> None:
    """Show which symmetries a model keeps."""
    found = session.client.symmetry(model)
    session.show(found, _display.symmetry_table(found))


@connected(attempts=1)
def health(session: Session) -> None:
    """Say whether the service is ready; exit code 1 if it is not."""
    found = session.client.health()
    session.show(found, _display.health_sentence(found))


@connected()
def upscale(  # noqa: PLR0913 arguments are options
    session: Session,
    source: Source,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Fine volume: .npy, .nc, .h5, .zarr, .zip, or .vtkhdf for ParaView; - for standard output, as .npy if "
            "IN is .npy, else as NetCDF.",
        ),
    ],
    *,
    model: Model = None,
    boundary: Boundary = None,
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
    error: Error = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a coarse volume finer, by the model's factor."""
    ask = partial(
        _calls.upscale, model=model, boundary=boundary, names=names, drop=drop, resample=resample, error=error
    )
    dims = ("time", "component", "z", "y", "x")
    _streams.convert(session, ask, source, target, dims=dims, overwrite=overwrite)


@connected()
def check(
    session: Session,
    source: Source,
    *,
    model: Model = None,
    boundary: Boundary = None,
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
) -> None:
    """Say what error a model expects, and how large its correction to trilinear interpolation is."""
    with _streams.source(source) as volume, session.bars as bars:
        found = session.client.check(
            volume, model=model, boundary=boundary, names=names, drop=drop, resample=resample, progress=bars
        )
    session.show(found, _display.check_table(found))


@connected()
def validate(  # noqa: PLR0913 arguments are options
    session: Session,
    reference: Annotated[
        Path | None,
        typer.Argument(help="True fine volume; - for standard input. Default: the sample that comes with the model."),
    ] = None,
    *,
    coarse: Annotated[
        Path | None, typer.Option("--coarse", "-c", help="Coarse volume. Default: the block mean of REFERENCE.")
    ] = None,
    model: Model = None,
    boundary: Boundary = None,
    length: Annotated[
        str | None,
        typer.Option("--length", help="Of the axes z, y, x of volumes without coordinates: 1.2,2,2.4. Default: cubes."),
    ] = None,
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
) -> None:
    """Measure a model against REFERENCE; without it, check that the service reproduces the model's card.

    Of each metric it prints which values are better and, on a terminal of 150 columns or more, the unit and the
    meaning. The unit velocity is the volume's.
    """
    if reference is not None:
        with _streams.source(reference) as truth, session.bars as bars:
            report = session.client.validate(
                coarse,
                truth,
                model=model,
                boundary=boundary,
                length=length,
                names=names,
                drop=drop,
                resample=resample,
                progress=bars,
            )
        session.show(report, _display.ReportTable(report))
        return
    if any(option is not None for option in (coarse, boundary, length, names, drop, resample)):
        message = "--coarse, --boundary, --length, --names, --drop and --resample go with a REFERENCE"
        raise InvalidInputError(message)
    if model is None:
        message = "name the --model whose card is to be reproduced, or give a REFERENCE"
        raise InvalidInputError(message)
    with session.bars as bars:
        found = session.client.self_validate(model, progress=bars)
    session.show(found, _display.reproduction_sentence(found))
    if not found["reproduced"]:
        raise typer.Exit(1)
