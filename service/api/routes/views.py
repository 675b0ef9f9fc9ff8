"""Views: super-resolved volumes as Zarr groups, whose blocks are computed when they are read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.bodies import unless_gone
from service.api.dependencies import Services, ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.responses import OBJECT, answer, head, unchanged
from service.api.viewing import answer_from_view
from service.problems import Problem
from service.volumes.storage import DOCUMENT

if TYPE_CHECKING:
    from service.volumes.view import View

router = APIRouter(prefix="/v1/views", tags=["views"], dependencies=[needs("read")], responses=REFUSALS)


@router.head("/{volume}/{model}/{key:path}", include_in_schema=False)
@router.get(
    "/{volume}/{model}/{key:path}",
    summary="Read an object of a view",
    response_class=Response,
    responses={**OBJECT, **responses(400, 403, 404, 409, 412, 416, 422, 429, 502, 503)},
)
async def get_view(request: Request, services: ServicesDep, volume: str, model: str, key: str) -> Response:
    """One object of a Zarr v3 group that is a stored volume made finer: a document, coordinates or a block.

    `xarray.open_zarr("http://localhost:8000/v1/views/<volume>/<model>")` opens it at once, whatever its size. A block
    that is missing is computed, kept and answered. Axes whose coordinates descend are reversed.

    Options follow the name of the model: `<model>;boundary=periodic,wall,periodic` sets the boundaries, which otherwise
    are those of the volume's attribute `boundary` or of the model's card; `;names=ux:u,uy:v,uz:w` renames variables and
    dims; `;drop=p,T` leaves variables out; `;error=true` adds an array `error`, the expected absolute error of each
    cell. The model `default` is the one that answers where none is named. A volume in a bucket that the service may
    use, `s3://bucket/path`, is `s3:bucket:path` here.

    If the volume or the model is replaced, the same path answers with the new content. `;fingerprint=` and the view's
    attribute `eddylift_fingerprint` give 409 instead, so that a reader never mixes the two.

    The header `X-Eddylift-Warning` says if the boundary is not the model's.
    """
    return await answer_from_view(services, volume, model, lambda view: _object(request, services, view, key))


async def _object(request: Request, services: Services, view: View, key: str) -> Response:
    index = view.index(key)
    if index is None:
        documents = await services.view_threads.run(lambda: view.documents)
        if key not in documents:
            raise Problem("unknown-key", f"the view has no key {key}")
        content = documents[key]
        json = key.rpartition("/")[2] == DOCUMENT
        media_type = "application/json" if json else "application/octet-stream"
        return answer(request, content, hashlib.sha256(content).hexdigest()[:32], media_type=media_type)
    etag = hashlib.sha256(f"{view.fingerprint}/{key}".encode()).hexdigest()[:32]
    # Neither needs the block itself.
    if response := unchanged(request, etag):
        return response
    if request.method == "HEAD":
        return head(etag, view.chunk_bytes(key))
    services.lifecycle.require_ready()
    content = await unless_gone(request, services.chunk_cache.chunk(view, key, index))
    return answer(request, content, etag)
