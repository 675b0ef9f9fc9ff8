"""Names that a shell completes: those of models, stored volumes and jobs, asked of the service."""

from collections.abc import Callable

import typer

from eddylift._client import Client
from eddylift._errors import EddyliftError

# Seconds to wait for a completion.
PATIENCE = 3.0


def models(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a model."""
    return _complete(context, incomplete, lambda client: [card.name for card in client.models()])


def forecast_models(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a model that forecasts."""
    return _complete(context, incomplete, lambda client: [card.name for card in client.forecast_models()])


def volumes(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a stored volume."""
    return _complete(context, incomplete, lambda client: [volume.name for volume in client.volumes()])


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the id of a job."""
    return _complete(context, incomplete, lambda client: [job.id for job in client.jobs()])


def _complete(context: typer.Context, incomplete: str, ask: Callable[[Client], list[str]]) -> list[str]:
    try:
        with Client(context.params.get("url"), context.params.get("token"), timeout=PATIENCE, attempts=1) as client:
            return [name for name in ask(client) if name.startswith(incomplete)]
    except EddyliftError:
        return []
