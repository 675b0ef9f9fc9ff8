"""Coarse volume in, fine volume out."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from service.api.auth import REFUSALS, needs
from service.api.bodies import essence, receive_body, unless_gone
from service.api.dependencies import BoundariesDep, QueryCard, ServicesDep, admit
from service.api.errors import responses
from service.formats.containers import MEDIA_TYPES, check_media_type

if TYPE_CHECKING:
    from collections.abc import Iterator


router = APIRouter(prefix="/v1", tags=["super-resolution"], dependencies=[needs("read")], responses=REFUSALS)
PIECE = 1 << 20
BINARY: dict[str, Any] = {name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES}
HEADERS = {
    "Eddylift-Model": {"schema": {"type": "string"}, "description": "Name of the model."},
    "Eddylift-Weights-SHA256": {"schema": {"type": "string"}, "description": "Of its weights; trilinear has none."},
    "Eddylift-Boundary": {"schema": {"type": "string"}, "description": "Boundaries in z, y, x order."},
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
    openapi_extra={"requestBody": {"required": True, "description": "The coarse volume.", "content": BINARY}},
    responses={
        200: {
            "description": "The fine volume, in the container and layout that came.",
            "content": BINARY,
            "headers": HEADERS,
        },
        **responses(400, 404, 408, 413, 415, 422, 429, 503),
    },
)
async def post_upscale(
    request: Request, services: ServicesDep, card: QueryCard, boundary: BoundariesDep
) -> StreamingResponse:
    """Answer a coarse velocity at four times the resolution, in the container and layout in which it came.

    - `application/x-npy`: an array `(3, z, y, x)` of u, v, w; `(3, 3, z, y, x)`, time levels first, for a model of 3
      frames.
    - `application/netcdf` (NetCDF-4) and `application/zip` (a zipped Zarr group, v2 or v3): variables `u`, `v`, `w`
      over `(z, y, x)` or `(time, z, y, x)`, or one variable with a `component` dim. Coordinates become those of the
      fine cells; units and attributes are kept, and attributes `eddylift_*` and `history` say where the field is from.
      To a model of one frame, times are independent volumes.

    Values are float32 or float64, the latter computed and answered in float32; cells are centred and uniform.

    The answer depends on the request alone: one whose answer was lost can be sent again.

    `curl --data-binary @coarse.npy -H 'Content-Type: application/x-npy' -o fine.npy
    'http://localhost:8000/v1/upscale?model=trilinear-x4&boundary=periodic'`
    """
    check_media_type(essence(request.headers.get("content-type")))
    times = [time.perf_counter()]
    body = await receive_body(request, services.settings)
    times.append(time.perf_counter())
    container, opened, volume = await services.body_threads.run(lambda: services.sandbox.read(body))
    samples = volume.samples(card.frames)
    times.append(time.perf_counter())
    answer = await unless_gone(request, services.engine.upscale(card, samples, boundary))
    times.append(time.perf_counter())
    provenance = {
        "model": card.name,
        "factor": str(card.factor),
        "boundary": ",".join(boundary),
        **({"weights_sha256": card.sha256} if card.sha256 else {}),
    }
    parts = await services.body_threads.run(lambda: opened.write(volume.layout.answer(answer.fine, provenance)))
    times.append(time.perf_counter())
    receiving, reading, _, writing = (1e3 * (after - before) for before, after in pairwise(times))
    headers = {
        "Content-Length": str(sum(map(len, parts))),
        "Eddylift-Model": card.name,
        "Eddylift-Boundary": provenance["boundary"],
        **({"Eddylift-Weights-SHA256": card.sha256} if card.sha256 else {}),
        "Server-Timing": (
            f"receive;dur={receiving:.1f}, read;dur={reading:.1f}, queue;dur={1e3 * answer.queue_seconds:.1f}, "
            f"compute;dur={1e3 * answer.compute_seconds:.1f}, write;dur={writing:.1f}"
        ),
    }
    return StreamingResponse(pieces(parts), media_type=container.media_type, headers=headers)
