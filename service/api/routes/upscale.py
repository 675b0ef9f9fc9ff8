"""Makes a coarse volume finer."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from models.blocks import format_boundary
from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_body, unless_gone
from service.api.dependencies import BoundaryDep, ErrorQuery, NamingDep, QueryCard, ServicesDep, admit
from service.api.errors import responses
from service.api.responses import VOLUME, WARNING, add_warnings
from service.engine.scores import mean_error
from service.formats.volume import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator


router = APIRouter(prefix="/v1", tags=["super-resolution"], dependencies=[needs("read")], responses=REFUSALS)
PIECE = 1 << 20
EXPECTED_MAE = "X-Eddylift-Expected-MAE"
HEADERS = {
    "Eddylift-Model": {"schema": {"type": "string"}, "description": "Name of the model."},
    "Eddylift-Weights-SHA256": {"schema": {"type": "string"}, "description": "Of its weights; trilinear has none."},
    "Eddylift-Boundary": {"schema": {"type": "string"}, "description": "Boundaries in z, y, x order."},
    WARNING: {"schema": {"type": "string"}, "description": "What seems doubtful about the request."},
    EXPECTED_MAE: {
        "schema": {"type": "number"},
        "description": "Mean of the expected absolute errors, in the units of the velocity, if they were asked for.",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds spent on `receive`, `read`, `queue`, `compute` (on the device) and `write`.",
    },
}


def pieces(parts: list[memoryview]) -> Iterator[memoryview]:
    """Parts of a body in pieces, so that a slow client holds up no more than one."""
    for part in parts:
        for start in range(0, len(part), PIECE):
            yield part[start : start + PIECE]


@router.post(
    "/upscale",
    summary="Super-resolve a velocity",
    response_class=StreamingResponse,
    dependencies=[Depends(admit)],
    openapi_extra={"requestBody": {"required": True, "description": "The coarse volume.", "content": VOLUME}},
    responses={
        200: {
            "description": "The fine volume, in the container and layout that came.",
            "content": VOLUME,
            "headers": HEADERS,
        },
        **responses(400, 404, 408, 413, 415, 422, 429, 503),
    },
)
async def post_upscale(
    request: Request,
    services: ServicesDep,
    card: QueryCard,
    asked: BoundaryDep,
    naming: NamingDep,
    *,
    error: ErrorQuery = False,
) -> StreamingResponse:
    """Answer a coarse velocity on a grid that is finer by the model's factor, in the container and layout it came in.

    - `application/x-npy`: an array `(3, z, y, x)` of u, v, w, or `(time, 3, z, y, x)`.
    - `application/netcdf` (NetCDF-4 or classic) and `application/zip` (a zipped Zarr group, v2 or v3): variables `u`,
      `v`, `w` over `(z, y, x)` or `(time, z, y, x)`, or one variable with a `component` dim; `names` renames others.
      Coordinates become those of the fine cells. Everything else comes back as it was sent, and the attributes
      `eddylift_*` and `history` say how the field was made.

    A model of one frame treats each time by itself. A model of 3 frames answers n - 2 of n times, those with neighbours
    on both sides, with an `X-Eddylift-Warning`; an array of just 3 times gives `(3, z, y, x)`.

    Values are float32, float64 or packed integers, computed and answered in float32. Cells are centred and uniform. A
    periodic axis holds each plane of its period once. `X-Eddylift-Warning` also warns of a boundary that is not the
    model's, of a periodic axis along which the velocity is not periodic, and of a field unlike those on which the model
    has learned to predict its errors.

    With `error=true`, a dataset has one more variable `error`, over the dims of `u`, and an array is `(4, z, y, x)`: u,
    v, w and the expected absolute error of each cell, the mean over the components.

    The answer depends on the request alone: one whose answer was lost can be sent again.

    `curl --data-binary @coarse.npy -H 'Content-Type: application/x-npy' -o fine.npy
    'http://localhost:8000/v1/upscale?model=trilinear-x4&boundary=periodic'`
    """
    times = [time.perf_counter()]
    body = await receive_body(request, services.settings)
    times.append(time.perf_counter())
    options = ReadOptions(naming=naming, error=error)
    container, opened, volume = await services.body_threads.run(services.sandbox.read, body, options)
    samples, boundary, _, warnings = volume.prepare(card, asked)
    times.append(time.perf_counter())
    answer = await unless_gone(request, services.engine.upscale(card, samples, boundary, error=error))
    times.append(time.perf_counter())
    provenance = {
        "model": card.name,
        "factor": str(card.factor),
        "boundary": format_boundary(boundary),
        **({"weights_sha256": card.sha256} if card.sha256 else {}),
    }
    parts = await services.body_threads.run(lambda: opened.write(volume.layout.answer(answer.fine, provenance)))
    times.append(time.perf_counter())
    receiving, reading, _, writing = (1e3 * (after - before) for before, after in pairwise(times))
    expected_mae = await services.body_threads.run(mean_error, answer.fine)
    headers = {
        "Content-Length": str(sum(map(len, parts))),
        "Eddylift-Model": card.name,
        "Eddylift-Boundary": provenance["boundary"],
        **({"Eddylift-Weights-SHA256": card.sha256} if card.sha256 else {}),
        **({} if expected_mae is None else {EXPECTED_MAE: f"{expected_mae:.6g}"}),
        "Server-Timing": (
            f"receive;dur={receiving:.1f}, read;dur={reading:.1f}, queue;dur={1e3 * answer.queue_seconds:.1f}, "
            f"compute;dur={1e3 * answer.compute_seconds:.1f}, write;dur={writing:.1f}"
        ),
    }
    response = StreamingResponse(pieces(parts), media_type=container.media_type, headers=headers)
    add_warnings(response, warnings)
    return response
