"""The expected error of an answer, for volumes whose true fine field is not known."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_body, unless_gone
from service.api.dependencies import BoundaryDep, NamingDep, PredictingCard, ServicesDep, admit
from service.api.errors import responses
from service.api.responses import VOLUME
from service.api.schemas import Check
from service.formats.field_checks import is_like_learned
from service.formats.volume import ReadOptions

router = APIRouter(prefix="/v1", tags=["super-resolution"], dependencies=[needs("read")], responses=REFUSALS)


@router.post(
    "/check",
    summary="Predict the error of an answer",
    dependencies=[Depends(admit)],
    openapi_extra={"requestBody": {"required": True, "description": "The coarse volume.", "content": VOLUME}},
    responses=responses(400, 404, 408, 413, 415, 422, 429, 503),
)
async def post_check(
    request: Request, services: ServicesDep, card: PredictingCard, asked: BoundaryDep, naming: NamingDep
) -> Check:
    """Super-resolve a coarse volume, and answer the error that the model expects and the correction that it makes.

    The volume comes as to `/v1/upscale`; several levels give means over them. The smaller the error is beside the
    correction, the more the answer improves on trilinear interpolation: where they are equal, about 0.7 of the error of
    interpolation is left, and 0.9 where the error is twice as large. `fitting` names the models that have learned
    to predict their errors on fields like this one.

    `curl --data-binary @coarse.npy -H 'Content-Type: application/x-npy' 'http://localhost:8000/v1/check'`
    """
    body = await receive_body(request, services.settings)
    _, _, volume = await services.body_threads.run(services.sandbox.read, body, ReadOptions(naming=naming))
    samples, boundary, summary, warnings = volume.prepare(card, asked)
    cards = await services.threads.run(services.engine.registry.cards)
    fitting = [
        each.name
        for each in cards
        if each.learned and (each.frames, each.factor) == (card.frames, card.factor) and is_like_learned(summary, each)
    ]
    expected = await unless_gone(request, services.engine.check(card, samples, boundary))
    return Check(
        model=card.name,
        boundary=list(boundary),
        levels=len(samples),
        warnings=warnings,
        fitting=fitting,
        **expected._asdict(),
    )
