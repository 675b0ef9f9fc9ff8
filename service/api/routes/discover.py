"""Pairs of fields in, the symmetries that they keep out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request

from models.discovery import discover
from models.pairs import Kind  # noqa: TC001 FastAPI reads it
from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_parts, unless_gone
from service.api.dependencies import ServicesDep, admit
from service.api.errors import responses
from service.api.schemas import Discovery
from service.formats.pairs import GROUPS, choose_group, read_pairs
from service.problems import StoppedError, malformed

if TYPE_CHECKING:
    from typing import Any

router = APIRouter(prefix="/v1", tags=["symmetries"], dependencies=[needs("read")], responses=REFUSALS)
X, Y = "x", "y"
FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": [X, Y],
        "properties": {
            X: {"type": "string", "format": "binary", "description": "The fields X."},
            Y: {"type": "string", "format": "binary", "description": "The fields Y."},
        },
    }
}


@router.post(
    "/discover",
    summary="Find which symmetries pairs of fields keep",
    dependencies=[Depends(admit)],
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": FORM}}},
    responses=responses(400, 408, 413, 415, 422, 429, 503),
)
async def post_discover(
    request: Request,
    services: ServicesDep,
    x_kind: Annotated[
        Kind,
        Query(description="Whether each channel of X is a field of its own, or they are components along x, y(, z)."),
    ] = "scalar",
    y_kind: Annotated[Kind, Query(description="The same of Y.")] = "scalar",
    group: Annotated[
        str | None,
        Query(
            description=f"Whose elements are asked about: {', '.join(GROUPS[2])} in a plane, {', '.join(GROUPS[3])} in "
            "space; the first of these if unset."
        ),
    ] = None,
) -> Discovery:
    """Fit a relaxed equivariant network to pairs (X, Y), and read from it which rotations and reflections they keep.

    Parts are files named `x` and `y`: arrays in `application/x-npy`, `(pair, channel, y, x)` or
    `(pair, channel, z, y, x)`, both float64 or both float32, taken to be periodic. Y has the grid of X, or one that is
    finer by a whole factor. What exact data keep is kept to rounding, so send float64; what noisy data keep on the
    average is told by p-values, from ten independent pairs on.

    One discovery is computed at a time, on the CPU; others wait. Larger data are refused (413): `python -m training
    discover` takes them.

    The answer depends on the request alone: one whose answer was lost can be sent again.

    `curl -F x=@before.npy -F y=@after.npy 'http://localhost:8000/v1/discover?y_kind=vector'`
    """
    parts = await receive_parts(request, services.settings, (X, Y))
    for name in (X, Y):
        if name not in parts:
            raise malformed(field=name, value=None, expected="a file part of this name")
    pairs = await services.body_threads.run(lambda: read_pairs(parts[X], parts[Y], (x_kind, y_kind), services.settings))
    over = choose_group(group, pairs, services.settings)
    stopped = threading.Event()

    def stop_if_asked() -> None:
        if stopped.is_set():
            raise StoppedError

    with services.discoveries.take(request.state.client):
        found = services.discovery_threads.run(lambda: discover(pairs, over, progress=stop_if_asked), stopped)
        return Discovery.model_validate(await unless_gone(request, found))
