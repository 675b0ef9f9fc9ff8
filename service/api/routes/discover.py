"""Finds which symmetries pairs of fields keep."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from models.discovery.discover import discover
from models.discovery.pairs import Kind  # noqa: TC001 FastAPI reads it
from service.api.auth import REFUSALS, needs
from service.api.bodies import Form, unless_gone
from service.api.dependencies import ServicesDep, admit
from service.api.discovery_schemas import Discovery
from service.api.errors import responses
from service.formats.pairs import GROUPS, check_cost, find_group, read_pairs
from service.runtime.threads import Stop

router = APIRouter(prefix="/v1", tags=["symmetries"], dependencies=[needs("read")], responses=REFUSALS)
X, Y = "x", "y"
FORM = Form(
    {X: "The fields X.", Y: "The fields Y."},
    required=(X, Y),
    advice="upload both as volumes, and submit a job of the task discover",
)


@router.post(
    "/discover",
    summary="Find which symmetries pairs of fields keep",
    dependencies=[Depends(admit)],
    openapi_extra=FORM.openapi,
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
    finer by a whole factor. If both have as many channels of one kind, Y - X is fitted, so send both in the same units.
    Symmetries of exact data are kept to rounding, so send float64: in float32, breaks below some 1e-4 are not seen.
    Symmetries of noisy data are kept on average, which p-values decide, from ten independent pairs on.

    One discovery is computed at a time, on the CPU; others wait. Larger data are refused (413). Upload them as two
    volumes, whose times are the pairs, and submit a job with the task `discover`.

    The answer depends on the request alone: one whose answer was lost can be sent again.

    `curl -F x=@before.npy -F y=@after.npy 'http://localhost:8000/v1/discover?y_kind=vector'`
    """
    parts = await FORM.receive(request, services.settings)
    pairs = await services.body_threads.run(read_pairs, parts[X], parts[Y], (x_kind, y_kind), services.settings)
    over = find_group(group, pairs)
    check_cost(pairs, over, services.settings)
    stopped = Stop()
    with services.discoveries.take(request.state.client):
        found = services.discovery_threads.run(lambda: discover(pairs, over, progress=stopped.check), stopped=stopped)
        return Discovery.model_validate(await unless_gone(request, found))
