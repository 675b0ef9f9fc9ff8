"""Shared by all commands: options, a client that shows its progress, and results as tables or JSON."""

import contextlib
import functools
import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import stamina
import typer
from rich.console import Console

from eddylift import _display
from eddylift._client import Client
from eddylift._errors import EddyliftError, EddyliftWarning, InvalidInputError, ServiceError
from eddylift._transport import LOCAL
from eddylift.cli import _completion

Command = Callable[..., None]

Url = Annotated[str, typer.Option("--url", envvar="EDDYLIFT_URL", help="Address of the service.")]
# A secret: help must not show it as the default.
Token = Annotated[
    str | None, typer.Option("--token", envvar="EDDYLIFT_TOKEN", show_default=False, help="Token of the service.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds without a byte after which to fail.")]
Json = Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")]
MODEL = "Name of the model, as `eddylift models` lists it."
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        autocompletion=_completion.models,
        help=f"{MODEL} Default: the service's, a model for any flow.",
    ),
]
Error = Annotated[
    bool, typer.Option("--error", help="Add the expected absolute error of each cell, as a variable error.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", autocompletion=_completion.models, help=MODEL)]
VolumeArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=_completion.volumes, help="Name of the stored volume."),
]
Boundary = Annotated[
    str | None,
    typer.Option(
        "--boundary",
        "-b",
        help="periodic, wall, wall:u=-1..1 (walls that move) or open; or three of them for z, y, x, such as "
        "periodic,wall,periodic. Default: the volume's attribute boundary, else the model's, else periodic.",
    ),
]
Names = Annotated[
    str | None,
    typer.Option("--names", help="New names of variables and dims by old ones: Ux:u,Uy:v,Uz:w,lev:z."),
]
Drop = Annotated[str | None, typer.Option("--drop", help="Variables to leave out, such as p,rho.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
Resample = Annotated[
    str | None,
    typer.Option(
        "--resample",
        help="Stretched axes to resample to uniform cells by exact means: y, or z,y:128 with a number of cells.",
    ),
]


class Session(NamedTuple):
    """What a command works with.

    Attributes:
        client: of the service.
        bars: show the progress of its calls.
        as_json: print results and errors as JSON.
    """

    client: Client
    bars: _display.Bars
    as_json: bool

    def show(self, result: object, readable: object, *, err: bool = False) -> None:
        """Print a result as JSON or as text; with `err` to standard error, as a volume goes to standard output."""
        if self.as_json:
            typer.echo(json.dumps(result, indent=2), err=err)
        else:
            Console(stderr=err).print(readable, markup=False, highlight=False, soft_wrap=isinstance(readable, str))


def connected(attempts: int = 6) -> Callable[[Command], Command]:
    """Give a command a `Session`, and the options that say how to reach the service.

    Args:
        attempts: how often a call is tried in all.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command, assigned=("__name__", "__doc__"))
        def run(
            *, url: Url = LOCAL, token: Token = None, timeout: Timeout = 600.0, as_json: Json = False, **options: object
        ) -> None:
            with _open(url, token, timeout, attempts, as_json=as_json) as session:
                command(session, **options)

        # Typer reads the options of a command from its signature.
        _, *own = inspect.signature(command).parameters.values()
        *shared, _ = inspect.signature(run, follow_wrapped=False).parameters.values()
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return run

    return decorate


@contextlib.contextmanager
def _open(url: str, token: str | None, timeout: float, attempts: int, *, as_json: bool) -> Iterator[Session]:
    """Open a session; an error of the client ends the command with a message and exit code 1."""
    console = Console(stderr=True)
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([functools.partial(_display.retry_note, console)])
    try:
        with _warnings_shown(console), Client(url, token, timeout=timeout, attempts=attempts) as client:
            yield Session(client, _display.Bars(console), as_json)
    except EddyliftError as error:
        _complain(error, console, as_json=as_json)
        raise typer.Exit(1) from error
    except BrokenPipeError:  # such as by `| head`; Click ends the command without a word
        raise
    except OSError as error:  # such as a full disk behind standard output
        told = InvalidInputError(f"a temporary file or the output cannot be written: {error}")
        _complain(told, console, as_json=as_json)
        raise typer.Exit(1) from error
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)


@contextlib.contextmanager
def _warnings_shown(console: Console) -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, EddyliftWarning):
            _display.note(console, f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", EddyliftWarning)
        warnings.showwarning = show
        yield


def _complain(error: EddyliftError, console: Console, *, as_json: bool) -> None:
    if not as_json:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return
    document: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, ServiceError):
        document["status"] = error.status
        document["errors"] = [vars(part) for part in error.errors]
    typer.echo(json.dumps({"error": document}), err=True)
