"""Stored Zarr volumes, uploaded and downloaded key by key."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_pieces
from service.api.dependencies import Services, ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.responses import OBJECT, answer_file, require_version
from service.api.routing import CheckedRoute
from service.api.schemas import Keys, Object, Rename, Volume, Volumes
from service.problems import Problem
from service.volumes.uploads import checked_key, checked_name

logger = logging.getLogger("service.volumes")
WRITE = [needs("write")]
router = APIRouter(
    prefix="/v1/volumes", tags=["volumes"], dependencies=[needs("read")], responses=REFUSALS, route_class=CheckedRoute
)

# Keys in a page.
PAGE = 10_000


def _describe(services: Services, name: str) -> Volume:
    """A volume, or what is wrong with it: one bad volume must not break the list of all."""
    services.uploads.path(name)  # 404 if it is not there
    volume = Volume(name=name, tag="", keys=0, bytes=0)
    try:
        tag = services.uploads.tag(name)
        volume = Volume(name=name, tag=tag.digest, keys=tag.keys, bytes=tag.size)
        source = services.opener.source(name)
        boundary = source.boundary
    except Problem as problem:
        return volume.model_copy(update={"problem": problem.detail})
    except Exception as error:
        logger.exception("%s cannot be opened", name)
        return volume.model_copy(update={"problem": f"it cannot be opened: {type(error).__name__}"})
    return volume.model_copy(
        update={
            "variables": list(map(str, source.found.names)),
            "cells": list(source.cells),
            "levels": source.found.levels,
            "boundary": list(boundary) if boundary else None,
        }
    )


def require_idle(services: Services, *names: str) -> None:
    """Refuse (409) to change what a job reads or writes."""
    for name in names:
        if services.jobs.uses(name):
            raise Problem("taken", f"a job uses {name}; cancel it first")


def _require_free(request: Request, services: Services, name: str, key: str = "") -> None:
    """Refuse to change an object, or a volume, that a job uses (409), or of another version than asked for (412)."""
    require_idle(services, name)
    require_version(request, services.uploads.root / name / key)


@router.get("", summary="List the volumes")
async def get_volumes(services: ServicesDep) -> Volumes:
    """All stored volumes, and whether each can be super-resolved."""

    def describe() -> Volumes:
        found = []
        for name in services.uploads.names():
            with suppress(Problem):  # dropped meanwhile
                found.append(_describe(services, name))
        return Volumes(volumes=found)

    return await services.threads.run(describe)


@router.get("/{name}", summary="Describe a volume", responses=responses(404, 422))
async def get_volume(services: ServicesDep, name: str) -> Volume:
    """What a volume holds, or why it cannot be super-resolved."""
    return await services.threads.run(_describe, services, name)


@router.delete(
    "/{name}", status_code=204, summary="Delete a volume", dependencies=WRITE, responses=responses(404, 409, 412, 422)
)
async def delete_volume(request: Request, services: ServicesDep, name: str) -> None:
    """Delete a volume with all its objects."""
    free = partial(_require_free, request, services, name)
    await services.threads.run(services.uploads.delete, name, None, free)


@router.post("/{name}/rename", summary="Rename a volume", dependencies=WRITE, responses=responses(400, 404, 409, 422))
async def rename_volume(services: ServicesDep, name: str, order: Rename) -> Volume:
    """Rename a volume: one that was uploaded key by key appears at once, whole, and may replace another one."""

    def rename() -> Volume:
        idle = partial(require_idle, services, name, order.to)
        services.uploads.rename(name, order.to, idle, replace=order.replace)
        return _describe(services, order.to)

    return await services.threads.run(rename)


@router.put(
    "/{name}/{key:path}",
    status_code=201,
    response_class=Response,
    summary="Upload an object",
    dependencies=WRITE,
    responses={
        204: {"description": "There was an object under this key."},
        **responses(400, 408, 409, 412, 413, 415, 422, 507),
    },
)
async def put_key(request: Request, services: ServicesDep, name: str, key: str) -> Response:
    """Store one object of a Zarr group, v2 or v3, such as `zarr.json` or `u/c/0/0/0`; 201 if it is new, else 204.

    Boundaries are taken from the group's attribute `boundary`, such as `periodic,wall,periodic` for z, y, x.
    """
    checked_name(name)
    checked_key(key)
    free = partial(_require_free, request, services, name, key)
    await services.threads.run(free)  # before the body comes, and again while nobody else changes the volume
    async with services.uploads.receive(key, receive_pieces(request, services.settings, key)) as part:
        new = await services.threads.run(services.uploads.store, part, name, key, free)
    return Response(status_code=201 if new else 204)


@router.head("/{name}/", include_in_schema=False)
@router.get("/{name}/", summary="List the keys of a volume", responses=responses(404, 422))
async def get_keys(
    services: ServicesDep,
    name: str,
    after: Annotated[str, Query(description="Key that the last page ended with.")] = "",
) -> Keys:
    """The objects of a stored Zarr group in the order of their keys, a page at a time."""

    def page() -> Keys:
        found = [Object(key=key, bytes=size) for key, size in services.uploads.keys(name) if key > after]
        return Keys(keys=found[:PAGE], more=len(found) > PAGE)

    return await services.threads.run(page)


@router.head("/{name}/{key:path}", include_in_schema=False)
@router.get(
    "/{name}/{key:path}",
    summary="Download an object",
    response_class=Response,
    responses={**OBJECT, **responses(404, 412, 416, 422)},
)
async def get_key(request: Request, services: ServicesDep, name: str, key: str) -> Response:
    """One object of a stored Zarr group, in part if a range is asked for."""
    return await services.threads.run(lambda: answer_file(request, services.uploads.object(name, key)))


@router.delete(
    "/{name}/{key:path}",
    status_code=204,
    summary="Delete an object",
    dependencies=WRITE,
    responses=responses(404, 409, 412, 422),
)
async def delete_key(request: Request, services: ServicesDep, name: str, key: str) -> None:
    """Delete one object of a volume."""
    free = partial(_require_free, request, services, name, key)
    await services.threads.run(services.uploads.delete, name, key, free)
