"""Commands about models, and about volumes in files."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eddylift import _display
from eddylift._errors import InvalidInputError
from eddylift.cli import _streams
from eddylift.cli._session import (
    LOCAL,
    PATIENCE,
    Boundary,
    Drop,
    Error,
    Json,
    Model,
    ModelArgument,
    Names,
    Overwrite,
    Resample,
    Timeout,
    Token,
    Url,
    parse_list,
    parse_names,
    session,
    show,
)


def models(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """List the models of the service."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        cards = client.models()
    show(cards, _display.models_table(cards), as_json=as_json)


def card(
    model: ModelArgument, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Show a model's card: what it is, what it was trained on, and its measured errors."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        found = client.model(model)
    show(found, _display.card_table(found), as_json=as_json)


def symmetry(
    model: ModelArgument, *, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False
) -> None:
    """Show which symmetries a model keeps."""
    with session(url, token, timeout, as_json=as_json) as (client, _):
        found = client.symmetry(model)
    show(found, _display.symmetry_table(found), as_json=as_json)


def health(*, url: Url = LOCAL, token: Token = None, timeout: Timeout = PATIENCE, as_json: Json = False) -> None:
    """Say whether the service is ready; exit code 1 if it is not."""
    with session(url, token, timeout, as_json=as_json, attempts=1) as (client, _):
        found = client.health()
    show(found, _display.health_sentence(found), as_json=as_json)


def upscale(  # noqa: PLR0913 arguments are options
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Coarse volume: .npy, NetCDF, HDF5, Zarr or zipped Zarr; - for standard input."
        ),
    ],
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
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Make a coarse volume finer, by the model's factor."""
    with session(url, token, timeout, as_json=as_json) as (client, bars):
        ask = partial(
            client.upscale,
            model=model,
            boundary=boundary,
            names=parse_names(names),
            drop=parse_list(drop),
            resample=resample,
            error=error,
            progress=bars,
        )
        _streams.convert(
            ask,
            source,
            target,
            bars,
            dims=("time", "component", "z", "y", "x"),
            model=model,
            overwrite=overwrite,
            as_json=as_json,
        )


def validate(  # noqa: PLR0913 arguments are options
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
    names: Names = None,
    drop: Drop = None,
    resample: Resample = None,
    url: Url = LOCAL,
    token: Token = None,
    timeout: Timeout = PATIENCE,
    as_json: Json = False,
) -> None:
    """Measure a model against REFERENCE; without it, check that the service reproduces the model's card.

    Of each metric it prints the unit, which values are better, and the meaning. The unit velocity is the volume's.
    """
    with session(url, token, timeout, as_json=as_json) as (client, bars):
        if reference is not None:
            with _streams.source(reference) as truth, bars:
                report = client.validate(
                    coarse,
                    truth,
                    model=model,
                    boundary=boundary,
                    names=parse_names(names),
                    drop=parse_list(drop),
                    resample=resample,
                    progress=bars,
                )
            show(report, _display.report_table(report), as_json=as_json)
            return
        if any(option is not None for option in (coarse, boundary, names, drop, resample)):
            message = "--coarse, --boundary, --names, --drop and --resample go with a REFERENCE"
            raise InvalidInputError(message)
        if model is None:
            message = "name the --model whose card is to be reproduced, or give a REFERENCE"
            raise InvalidInputError(message)
        with bars:
            found = client.self_validate(model, progress=bars)
    show(found, _display.reproduction_sentence(found), as_json=as_json)
    if not found["reproduced"]:
        raise typer.Exit(1)
