"""Super-resolved volumes as Zarr groups, computed where they are looked at."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from models.blocks import parse_boundary
from service.access import REFUSALS, needs
from service.bodies import unless_gone
from service.dependencies import ServiceDep, find_card
from service.errors import Problem, responses, unfit, unready
from service.objects import answer, head, unchanged
from service.superresolved import DOCUMENT

if TYPE_CHECKING:
    from models.blocks import Boundaries

router = APIRouter(prefix="/v1/views", tags=["views"], dependencies=[needs("read")], responses=REFUSALS)


def _parse(model: str) -> tuple[str, Boundaries | None]:
    """The model and the boundary of ``relaxed-channel-x4;boundary=periodic,wall,periodic``."""
    name, separator, option = model.partition(";")
    if not separator:
        return name, None
    key, _, value = option.partition("=")
    try:
        # A key that is not known makes a value that is none.
        return name, parse_boundary(value if key == "boundary" else option)
    except ValueError as error:
        expected = "a model, or a model;boundary= and periodic, wall or open, or three of them for z, y, x"
        raise unfit(field="model", value=model, expected=expected) from error


@router.head("/{volume}/{model}/{key:path}", include_in_schema=False)
@router.get(
    "/{volume}/{model}/{key:path}",
    summary="Look at a super-resolved volume",
    responses=responses(400, 404, 416, 422, 429, 503, 507),
)
async def get_view(request: Request, service: ServiceDep, volume: str, model: str, key: str) -> Response:
    """One object of a Zarr v3 group that is four times as fine as a stored volume: a document, coordinates or a block.

    `xarray.open_zarr("http://localhost:8000/v1/views/<volume>/<model>")` opens it at once, whatever its size; a block
    that is not there is computed, kept and answered. Boundaries are those of the volume's attribute `boundary`, else
    periodic; `<model>;boundary=periodic,wall,periodic` says otherwise.
    """
    name, boundary = _parse(model)
    card = find_card(name, service)
    view = await service.in_thread(lambda: service.views.open(service, volume, card, boundary))
    place = view.place(key)
    if place is None:
        documents = await service.in_thread(lambda: view.documents)
        if key not in documents:
            raise Problem(404, "unknown-key", f"the view has no key {key}")
        content = documents[key]
        json = key.rpartition("/")[2] == DOCUMENT
        media_type = "application/json" if json else "application/octet-stream"
        return answer(request, content, hashlib.sha256(content).hexdigest()[:32], media_type=media_type)
    etag = hashlib.sha256(f"{view.fingerprint}/{key}".encode()).hexdigest()[:32]
    # Neither needs the block itself.
    if response := unchanged(request, etag):
        return response
    if request.method == "HEAD":
        return head(etag, view.chunk_bytes)
    if not service.ready:
        detail = "the models are not warm yet"
        raise unready(detail)
    content = await unless_gone(request, service.views.chunk(service, view, key, place))
    return answer(request, content, etag)
