"""Plane slices of super-resolved volumes as tiles, for whoever looks at them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.bodies import unless_gone
from service.api.dependencies import ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.responses import unchanged
from service.api.viewing import answer_from_view
from service.formats.names import AXES
from service.volumes.slices import Tile, check

if TYPE_CHECKING:
    from service.volumes.view import View

router = APIRouter(prefix="/v1/views", tags=["views"], dependencies=[needs("read")], responses=REFUSALS)
SCALE = "X-Eddylift-Scale"
SHAPE = "X-Eddylift-Shape"
TILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The tile: float16, little-endian, row by row.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            SCALE: {"schema": {"type": "number"}, "description": "What each number is to be multiplied by."},
            SHAPE: {"schema": {"type": "string"}, "description": "Rows and columns: `256,256`; fewer at the ends."},
        },
    },
    304: {"description": "The client has it already."},
}


def _tile_of_path(
    axis: Annotated[Literal["z", "y", "x"], Path(description="Across the slice.")],
    index: Annotated[int, Path(description="Of the slice along this axis, in fine cells.", ge=0)],
    level: Annotated[int, Path(description="0 has fine cells as pixels; each further one, twice as long ones.", ge=0)],
    y: Annotated[int, Path(description="Row of the tile, in tiles of 256 pixels.", ge=0)],
    x: Annotated[int, Path(description="Column of the tile, in tiles of 256 pixels.", ge=0)],
    field: Annotated[
        Literal["u", "v", "w", "speed", "vorticity", "q", "error"],
        Query(description="`vorticity` is |curl u|; `q` is positive where rotation prevails over strain."),
    ] = "speed",
    time: Annotated[int, Query(description="Time level of the answer.", ge=0)] = 0,
) -> Tile:
    return Tile(AXES.index(axis), index, level, y, x, field, time)


@router.get(
    "/{volume}/{model}/slices/{axis}/{index}/{level}/{y}/{x}",
    summary="Look at a slice of a super-resolved volume",
    response_class=Response,
    responses={**TILE, **responses(400, 403, 404, 422, 429, 502, 503, 507)},
)
async def get_slice(
    request: Request,
    services: ServicesDep,
    volume: str,
    model: str,
    tile: Annotated[Tile, Depends(_tile_of_path)],
) -> Response:
    """256^2 pixels of one plane of a view; rows run along z, or along y in a plane across z, columns along x or y.

    Levels below log2 of the model's factor are made from blocks of the view, which are computed if they are not there
    and shared with whoever else reads them; that level is the source's own grid, and two more are coarser. The volume
    and the model are named as in a view. Lengths are those of the coordinates; without any, 2 pi is the longest edge.
    `error` takes `<model>;error=true`.
    """

    async def respond(view: View) -> Response:
        check(view, tile)
        etag = hashlib.sha256(f"{view.fingerprint}/{tile}".encode()).hexdigest()[:32]
        if response := unchanged(request, etag):
            return response
        services.lifecycle.require_ready()
        plane = await unless_gone(request, services.slices.read(view, tile))
        # A power of two, so that the largest number is at most 1 and only exponents change.
        scale = np.exp2(np.ceil(np.log2(np.abs(plane).max() or 1)))
        headers = {
            "ETag": f'"{etag}"',
            "Cache-Control": "no-cache",
            SCALE: f"{scale:.9g}",
            SHAPE: ",".join(map(str, plane.shape)),
        }
        return Response((plane / scale).astype("<f2").tobytes(), 200, headers, "application/octet-stream")

    return await answer_from_view(services, volume, model, respond)
