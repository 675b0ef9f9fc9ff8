"""Tiles of plane slices through views, and boxes of views, for pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.dependencies import ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.pictures import PICTURE, answer_with_picture
from service.formats.names import AXES
from service.volumes.derived import FieldName
from service.volumes.parts import Part

router = APIRouter(prefix="/v1/views", tags=["views"], dependencies=[needs("read")], responses=REFUSALS)
ANSWERS = {**PICTURE, **responses(400, 403, 404, 409, 412, 422, 429, 502, 503)}
FieldQuery = Annotated[
    FieldName, Query(description="`vorticity` is |curl u|; `q` is positive where rotation prevails over strain.")
]
TimeQuery = Annotated[int, Query(description="Time level of the answer.", ge=0)]
LevelPath = Annotated[int, Path(description="0 is the fine grid; at each further level cells are twice as long.", ge=0)]


async def _tile_of_path(
    axis: Annotated[Literal["z", "y", "x"], Path(description="Axis normal to the slice.")],
    index: Annotated[int, Path(description="Position of the slice along this axis, in fine cells.", ge=0)],
    level: LevelPath,
    y: Annotated[int, Path(description="Row of the tile, in tiles of 256 pixels.", ge=0)],
    x: Annotated[int, Path(description="Column of the tile, in tiles of 256 pixels.", ge=0)],
    field: FieldQuery = "speed",
    time: TimeQuery = 0,
) -> Part:
    across, number = AXES.index(axis), [y, x]
    number.insert(across, index)
    return Part((number[0], number[1], number[2]), level, field, time, across)


async def _box_of_path(
    level: LevelPath,
    z: Annotated[int, Path(description="Position of the box along z, in boxes of 64 cells.", ge=0)],
    y: Annotated[int, Path(description="Position along y.", ge=0)],
    x: Annotated[int, Path(description="Position along x.", ge=0)],
    field: FieldQuery = "speed",
    time: TimeQuery = 0,
) -> Part:
    return Part((z, y, x), level, field, time)


@router.get(
    "/{volume}/{model}/slices/{axis}/{index}/{level}/{y}/{x}",
    summary="Fetch a tile of a slice through a view",
    response_class=Response,
    responses=ANSWERS,
)
async def get_slice(
    request: Request, services: ServicesDep, volume: str, model: str, tile: Annotated[Part, Depends(_tile_of_path)]
) -> Response:
    """256^2 pixels of one plane of a view. Rows run along z (in a plane across z along y), columns along x (or y).

    Level 0 is the fine grid, level log2 of the model's factor is the grid of the source, and two more are coarser.
    Levels finer than the source are made from blocks of the view, which are computed if they are missing, and kept for
    all readers. Name the volume and the model as in a view. Lengths come from the coordinates; without any, the longest
    edge is 2 pi. The field `error` needs `<model>;error=true`.

    Derivatives, in `vorticity` and `q`, are central differences within a block of the view, and one-sided at its faces:
    less exact there, on the first and last plane of each chunk.
    """
    return await answer_with_picture(request, services, (volume, model), tile)


@router.get(
    "/{volume}/{model}/boxes/{level}/{z}/{y}/{x}",
    summary="Fetch a box of a view",
    response_class=Response,
    responses=ANSWERS,
)
async def get_box(
    request: Request, services: ServicesDep, volume: str, model: str, box: Annotated[Part, Depends(_box_of_path)]
) -> Response:
    """64^3 cells of a view along z, y, x, for pictures in three dimensions; see slices for levels and fields.

    The last level, log2 of the model's factor, is the grid of the source.
    """
    return await answer_with_picture(request, services, (volume, model), box)
