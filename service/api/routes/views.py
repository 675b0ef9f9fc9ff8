"""Super-resolved volumes as Zarr groups, computed where they are looked at."""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import APIRouter, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.bodies import unless_gone
from service.api.dependencies import Services, ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.responses import OBJECT, add_warnings, answer, head, unchanged
from service.formats.boundaries import read_boundary
from service.formats.names import Naming
from service.problems import Problem, invalid_field, unready
from service.volumes.storage import DOCUMENT
from service.volumes.view import View, ViewOptions

OPTIONS: Final = {"boundary", "names", "drop", "error"}
# In the place of a model's name: the one that answers where none is named.
DEFAULT: Final = "default"
# Views of a volume that is changed while it is read.
TRIES: Final = 5
router = APIRouter(prefix="/v1/views", tags=["views"], dependencies=[needs("read")], responses=REFUSALS)


def _parse(model: str) -> tuple[str | None, ViewOptions]:
    """The model and the options of ``relaxed-channel-x4;boundary=wall;names=ux:u,uy:v,uz:w;error=true``."""
    name, *parts = model.split(";")
    said = dict(part.partition("=")[::2] for part in parts)
    if len(said) < len(parts) or not said.keys() <= OPTIONS:
        expected = f"a model, then each once {', '.join(f';{option}=' for option in sorted(OPTIONS))}"
        raise invalid_field(field="model", value=model, expected=expected)
    if said.get("error", "true") != "true":
        raise invalid_field(field="error", value=said["error"], expected="true, or none of it")
    naming = Naming.parse(said.get("names"), said.get("drop"))
    options = ViewOptions(read_boundary(said.get("boundary")), naming, error="error" in said)
    return None if name == DEFAULT else name, options


def _address(volume: str) -> str:
    """``s3://bucket/path`` is written ``s3:bucket:path``, so that it is one segment of a path."""
    scheme, *rest = volume.split(":")
    return f"{scheme}://{'/'.join(rest)}" if rest else volume


@router.head("/{volume}/{model}/{key:path}", include_in_schema=False)
@router.get(
    "/{volume}/{model}/{key:path}",
    summary="Look at a super-resolved volume",
    response_class=Response,
    responses={**OBJECT, **responses(400, 403, 404, 416, 422, 429, 502, 503, 507)},
)
async def get_view(request: Request, services: ServicesDep, volume: str, model: str, key: str) -> Response:
    """One object of a Zarr v3 group that is a stored volume made finer: a document, coordinates or a block.

    `xarray.open_zarr("http://localhost:8000/v1/views/<volume>/<model>")` opens it at once, whatever its size; a block
    that is not there is computed, kept and answered. Boundaries are those of the volume's attribute `boundary`, or else
    of the model's card; `<model>;boundary=periodic,wall,periodic` says otherwise, `;names=ux:u,uy:v,uz:w` gives
    variables and dims the names that the view has, and `;drop=p,T` leaves variables out. Axes whose coordinates descend
    are turned round. `;error=true` adds an array `error`, the expected absolute error of each cell. The model `default`
    is the one that answers where none is named. Header `X-Eddylift-Warning` tells of a boundary that is not the
    model's. A volume in a bucket that the service may use, `s3://bucket/path`, is `s3:bucket:path` here.
    """
    name, options = _parse(model)
    for _ in range(TRIES):
        try:
            return await _answer(request, services, _address(volume), name, options, key)
        except Problem as problem:
            if problem.kind != "changed":
                raise
    detail = f"{volume} is being changed"
    raise unready(detail)


async def _answer(
    request: Request, services: Services, volume: str, model: str | None, options: ViewOptions, key: str
) -> Response:
    """One object of a view of the volume as it is now; refused as "changed" if it does not stay so."""
    view = await services.view_threads.run(
        lambda: services.opener.view(volume, services.engine.registry.find(model, error=options.error), options)
    )
    response = await _object(request, services, view, key)
    add_warnings(response, view.warnings)
    return response


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
