"""The held-out samples that are shipped with the weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response

from models.held_out import HeldOutSamples
from service.api.auth import REFUSALS, needs
from service.api.dependencies import ServicesDep  # noqa: TC001 FastAPI reads annotations
from service.api.errors import responses
from service.api.responses import BINARY, answer_file
from service.api.schemas import Sample, Samples
from service.problems import Problem

router = APIRouter(prefix="/v1/samples", tags=["models"], dependencies=[needs("read")], responses=REFUSALS)
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The velocity, as .npy.",
        "content": {"application/octet-stream": BINARY},
    },
    206: {"description": "A part of it."},
    304: {"description": "The client has it already."},
}


@router.get("", summary="List the held-out samples")
async def get_samples(services: ServicesDep) -> Samples:
    """Pairs of a coarse and a true fine velocity that no model was trained on."""
    samples = _samples(services)

    def read(name: str) -> Sample:
        sample = samples.read(name)
        return Sample(
            name=name,
            run=sample.run,
            factor=sample.factor,
            frames=len(sample.coarse),
            boundary=list(sample.boundary),
            length=list(sample.length),
            cells=list(sample.coarse.shape[-3:]),
        )

    return Samples(samples=await services.threads.run(lambda: [read(name) for name in samples.names()]))


def _samples(services: ServicesDep) -> HeldOutSamples:
    return HeldOutSamples(services.settings.weights)


async def _find_sample(services: ServicesDep, name: str) -> str:
    names = await services.threads.run(_samples(services).names)
    if name not in names:
        detail = f"there is no sample {name}; there are {', '.join(names) or 'none'}"
        raise Problem("no-sample", detail)
    return name


@router.get(
    "/{name}/{part}",
    summary="Fetch a held-out sample",
    response_class=Response,
    responses={**ANSWERS, **responses(404, 412, 416, 422)},
)
async def get_sample(
    request: Request,
    services: ServicesDep,
    name: Annotated[str, Depends(_find_sample)],
    part: Literal["coarse", "fine"],
) -> Response:
    """The coarse velocity of a sample, (3, z, y, x) or (frame, 3, z, y, x), or the fine one of its middle frame."""
    path = _samples(services).folder / name / f"{part}.npy"
    return await services.threads.run(answer_file, request, path)
