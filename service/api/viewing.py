"""Opens the view that a path names, and answers with a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.api.responses import add_warnings
from service.formats.boundaries import read_boundary
from service.formats.names import Naming
from service.problems import Kind, Problem, invalid_field, unready
from service.volumes.view import ViewOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Response

    from service.api.dependencies import Services
    from service.volumes.view import View

OPTIONS: Final = {"boundary", "names", "drop", "error", "fingerprint"}
# In place of a model's name: the default model.
DEFAULT: Final = "default"
# How often a view is opened if its volume changes while it is read.
TRIES: Final = 5
# To somebody who has opened a view, it has changed: readers of Zarr take a 404 for a chunk that was not written.
UNKNOWN: Final[frozenset[Kind]] = frozenset({"unknown-volume", "unknown-model"})


async def answer_from_view(
    services: Services, volume: str, model: str, respond: Callable[[View], Awaitable[Response]]
) -> Response:
    """Answer with a part of a view, of one content of the volume, and with the warnings of the view.

    Args:
        services: of the app.
        volume: its name, or ``s3:bucket:path``.
        model: its name or ``default``, with options: ``relaxed-channel-x4;boundary=wall;error=true``. With
            ``fingerprint=...`` only the view that has this one answers.
        respond: reads the part; repeated if the volume was changed meanwhile.

    Raises:
        Problem: 422 for what is no model with options, 409 if the view has another fingerprint than the one asked for,
            or is no more, 503 if the volume keeps changing, and what ``respond`` raises.
    """
    name, options, fingerprint = _parse(model)

    def open_view() -> View:
        card = services.engine.registry.find(name, error=options.error)
        return services.opener.view(_address(volume), card, options)

    for _ in range(TRIES):
        try:
            view = await services.view_threads.run(open_view)
            _require_unchanged(view, fingerprint)
            response = await respond(view)
        except Problem as problem:
            if fingerprint and problem.kind in UNKNOWN:
                raise Problem("changed", problem.detail) from problem
            if problem.kind != "changed" or fingerprint:
                raise
        else:
            add_warnings(response, view.warnings)
            return response
    detail = f"{volume} keeps changing; try again when its upload is complete"
    raise unready(detail)


def _require_unchanged(view: View, fingerprint: str | None) -> None:
    if fingerprint not in {None, view.fingerprint}:
        detail = f"{view.source.name} or the model has changed since this view was opened; open it again"
        raise Problem("changed", detail)


def _parse(model: str) -> tuple[str | None, ViewOptions, str | None]:
    """Model, options and fingerprint of ``relaxed-channel-x4;boundary=wall;names=ux:u,uy:v,uz:w;error=true``."""
    name, *parts = model.split(";")
    said = dict(part.partition("=")[::2] for part in parts)
    if len(said) < len(parts) or not said.keys() <= OPTIONS:
        expected = f"a model, then, each at most once, {', '.join(f';{option}=' for option in sorted(OPTIONS))}"
        raise invalid_field(field="model", value=model, expected=expected)
    if said.get("error", "true") != "true":
        raise invalid_field(field="error", value=said["error"], expected="true, or no such option")
    naming = Naming.parse(said.get("names"), said.get("drop"))
    options = ViewOptions(read_boundary(said.get("boundary")), naming, error="error" in said)
    return None if name == DEFAULT else name, options, said.get("fingerprint")


def _address(volume: str) -> str:
    """``s3://bucket/path`` is written ``s3:bucket:path``, so that it is one segment of a path."""
    scheme, *rest = volume.split(":")
    return f"{scheme}://{'/'.join(rest)}" if rest else volume
