"""The velocity of a file, as a bare array."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from models.blocks import format_boundary
from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_body
from service.api.dependencies import NamingDep, ServicesDep, admit
from service.api.errors import responses
from service.api.responses import BINARY, VOLUME, WARNING, add_warnings
from service.formats.boundaries import read_boundary
from service.formats.grid import check_axes, check_axis_units, check_known, check_times, length_of
from service.formats.names import AXES
from service.formats.npy import NPY, NpyBody
from service.formats.reference import check_units
from service.formats.volume import ReadOptions

router = APIRouter(prefix="/v1", tags=["super-resolution"], dependencies=[needs("read")], responses=REFUSALS)
COORDINATES = "Eddylift-Coordinates"
LENGTH = "Eddylift-Length"
UNITS = "Eddylift-Units"
VELOCITY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The velocity, float32, as .npy.",
        "content": {NPY: BINARY},
        "headers": {
            "Eddylift-Boundary": {"schema": {"type": "string"}, "description": "The file's, in z, y, x order, if any."},
            COORDINATES: {
                "schema": {"type": "string"},
                "description": "Of the file, in z, y, x order: `ascending`, `descending` (the axis was reversed) or "
                "`none`, in which case the file may hold the axis either way round.",
            },
            LENGTH: {"schema": {"type": "string"}, "description": "Of each axis, in z, y, x order: `1.2,2,2.4`."},
            WARNING: {"schema": {"type": "string"}, "description": "What a `model` makes of the coordinates."},
            UNITS: {
                "schema": {"type": "string"},
                "description": "The file's, of velocity and length, each percent-encoded: `m%20s-1,m`.",
            },
        },
    },
}


@router.post(
    "/velocity",
    summary="Read the velocity of a file",
    response_class=Response,
    dependencies=[Depends(admit)],
    openapi_extra={"requestBody": {"required": True, "description": "A velocity.", "content": VOLUME}},
    responses={**VELOCITY, **responses(400, 404, 408, 413, 415, 422, 429, 503)},
)
async def post_velocity(
    request: Request,
    services: ServicesDep,
    naming: NamingDep,
    factor: Annotated[int, Query(description="How much finer it may be than a coarse one.", ge=1, le=4)] = 1,
    model: Annotated[
        str | None, Query(description="That the velocity is for; warnings depend on it, and there are none without.")
    ] = None,
    units: Annotated[
        str | None, Query(description="Of the coarse velocity, for a true one: another unit is refused.")
    ] = None,
) -> Response:
    """Answer the velocity in any file that `/v1/upscale` takes, found and checked as there, as a bare array.

    It is `(3, z, y, x)`, or `(time, 3, z, y, x)` if the file has times. This is for clients that cannot read NetCDF,
    HDF5 or Zarr, such as the page of this service. Axes whose coordinates descend are reversed. Lengths come from the
    coordinates, which must have the same unit; unless each axis has some, cells are cubes and the longest edge is 2 pi.

    `curl --data-binary @coarse.nc -H 'Content-Type: application/netcdf' -o coarse.npy 'http://localhost:8000/v1/velocity'`
    """
    card = None if model is None else await services.threads.run(services.engine.registry.find, model)
    body = await receive_body(request, services.settings)
    options = ReadOptions(factor, naming)

    def read() -> Response:
        _, _, volume = services.sandbox.read(body, options)
        check_axis_units(volume.rest)
        check_units(units, volume.units)
        boundary = read_boundary(volume.boundary)
        parts = NpyBody.write(volume.velocity if volume.has_times else volume.velocity[0])
        kinds = (
            "none" if values is None else "descending" if axis in volume.turned else "ascending"
            for axis, values in zip(AXES, volume.coordinates, strict=True)
        )
        headers = {
            COORDINATES: ",".join(kinds),
            LENGTH: ",".join(f"{length:.9g}" for length in length_of(volume)),
            UNITS: ",".join(quote(str(unit or ""), safe="") for unit in (volume.units, volume.length_units)),
        }
        if boundary:
            headers["Eddylift-Boundary"] = format_boundary(boundary)
        response = Response(b"".join(parts), headers=headers, media_type=NPY)
        if card:
            add_warnings(response, check_axes(volume, volume.rest, card) + check_known(volume))
            add_warnings(response, check_times(volume.rest) if card.frames > 1 else ())
        return response

    return await services.body_threads.run(read)
