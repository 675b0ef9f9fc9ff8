"""Zarr volumes, sent and fetched key by key."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.bodies import check_head, receive_pieces
from service.api.dependencies import (
    Service,  # noqa: TC001 FastAPI reads annotations
    ServiceDep,  # noqa: TC001 FastAPI reads annotations
)
from service.api.errors import responses
from service.api.responses import OBJECT, answer_file
from service.api.routing import CheckedRoute
from service.api.schemas import Keys, Object, Rename, Volume, Volumes
from service.problems import Problem

WRITE = [needs("write")]
router = APIRouter(
    prefix="/v1/volumes", tags=["volumes"], dependencies=[needs("read")], responses=REFUSALS, route_class=CheckedRoute
)

# Keys that are listed at a time.
PAGE = 10_000


def _describe(service: Service, name: str) -> Volume:
    tag = service.volumes.tag(name)
    volume = Volume(name=name, tag=tag.digest, keys=tag.keys, bytes=tag.size)
    try:
        source = service.opener.source(name)
        boundary = source.boundary
    except Problem as problem:
        return volume.model_copy(update={"problem": problem.detail})
    return volume.model_copy(
        update={
            "variables": list(map(str, source.found.names)),
            "cells": list(source.cells),
            "levels": source.found.levels,
            "boundary": list(boundary) if boundary else None,
        }
    )


async def require_idle(service: Service, name: str) -> None:
    """Refuse (409) to change what a job reads or writes."""
    if await service.in_thread(lambda: service.jobs.uses(name)):
        raise Problem("taken", f"a job uses {name}; cancel it first")


@router.get("", summary="List the volumes")
async def get_volumes(service: ServiceDep) -> Volumes:
    """What was sent, and what of it can be super-resolved."""

    def describe() -> Volumes:
        found = []
        for name in service.volumes.names():
            with suppress(Problem):  # dropped meanwhile
                found.append(_describe(service, name))
        return Volumes(volumes=found)

    return await service.in_thread(describe)


@router.get("/{name}", summary="Describe a volume", responses=responses(404, 422))
async def get_volume(service: ServiceDep, name: str) -> Volume:
    """What a volume holds, or why it cannot be super-resolved."""
    return await service.in_thread(lambda: _describe(service, name))


@router.delete(
    "/{name}", status_code=204, summary="Drop a volume", dependencies=WRITE, responses=responses(404, 409, 422)
)
async def delete_volume(service: ServiceDep, name: str) -> None:
    """Drop a volume with all its keys."""
    await require_idle(service, name)
    await service.in_thread(lambda: service.volumes.delete(name))


@router.post("/{name}/rename", summary="Rename a volume", dependencies=WRITE, responses=responses(400, 404, 409, 422))
async def rename_volume(service: ServiceDep, name: str, order: Rename) -> Volume:
    """Give a volume another name, so that what came key by key appears whole, and replaces another one at once."""
    await require_idle(service, name)
    await require_idle(service, order.to)

    def rename() -> Volume:
        service.volumes.rename(name, order.to, replace=order.replace)
        return _describe(service, order.to)

    return await service.in_thread(rename)


@router.put(
    "/{name}/{key:path}",
    status_code=201,
    response_class=Response,
    summary="Send a key",
    dependencies=WRITE,
    responses={204: {"description": "There was an object under this key."}, **responses(408, 409, 413, 415, 422, 507)},
)
async def put_key(request: Request, service: ServiceDep, name: str, key: str) -> Response:
    """Store one object of a Zarr group, v2 or v3, such as `zarr.json` or `u/c/0/0/0`; 201 if it is new, else 204.

    Boundaries are taken from the group's attribute `boundary`, such as `periodic,wall,periodic` for z, y, x.
    """
    check_head(request, service.settings.max_body_bytes)
    await require_idle(service, name)
    pieces = receive_pieces(request, service.settings)
    new = await service.volumes.put(name, key, pieces, lambda: require_idle(service, name))
    return Response(status_code=201 if new else 204)


@router.get("/{name}/", summary="List the keys of a volume", responses=responses(404, 422))
async def get_keys(
    service: ServiceDep,
    name: str,
    after: Annotated[str, Query(description="Key that the last page ended with.")] = "",
) -> Keys:
    """The objects of a stored Zarr group in the order of their keys, a page at a time."""

    def page() -> Keys:
        found = [Object(key=key, bytes=size) for key, size in service.volumes.keys(name) if key > after]
        return Keys(keys=found[:PAGE], more=len(found) > PAGE)

    return await service.in_thread(page)


@router.head("/{name}/{key:path}", include_in_schema=False)
@router.get(
    "/{name}/{key:path}",
    summary="Fetch a key",
    response_class=Response,
    responses={**OBJECT, **responses(404, 416, 422)},
)
async def get_key(request: Request, service: ServiceDep, name: str, key: str) -> Response:
    """One object of a stored Zarr group, in part if a range is asked for."""
    return await service.in_thread(lambda: answer_file(request, service.volumes.object(name, key)))


@router.delete(
    "/{name}/{key:path}",
    status_code=204,
    summary="Drop a key",
    dependencies=WRITE,
    responses=responses(404, 409, 422),
)
async def delete_key(service: ServiceDep, name: str, key: str) -> None:
    """Drop one object of a volume."""
    await require_idle(service, name)
    await service.in_thread(lambda: service.volumes.delete(name, key))
