"""Compares a model's answer with a reference that the client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request

from service.api.auth import REFUSALS, needs
from service.api.bodies import Form, unless_gone
from service.api.dependencies import BoundaryDep, NamingDep, QueryCard, ServicesDep, admit
from service.api.errors import responses
from service.api.schemas import Metrics, Report
from service.formats.boundaries import choose_boundary, requested_or_stored
from service.formats.grid import read_length
from service.formats.reference import check_means, coarsened, comparison_warnings, first_compared, require_fit
from service.formats.volume import ReadOptions
from service.problems import within

if TYPE_CHECKING:
    from service.formats.containers import Body
    from service.formats.names import Naming
    from service.formats.sandbox import Sandbox
    from service.formats.volume import Volume


router = APIRouter(prefix="/v1", tags=["super-resolution"], dependencies=[needs("read")], responses=REFUSALS)
COARSE, REFERENCE = "coarse", "reference"
FORM = Form(
    {COARSE: "The coarse volume.", REFERENCE: "The true fine volume."},
    required=(REFERENCE,),
    advice="upload both, and submit a job with a reference",
)
LengthQuery = Annotated[
    str | None,
    Query(
        description="Of each axis, in z, y, x order and in one unit, for volumes without coordinates: metrics of "
        "derivatives and spectra depend on the shape of the cells.",
        examples=["1.2,2,2.4"],
    ),
]


@router.post(
    "/validate",
    summary="Measure a model against a reference",
    dependencies=[Depends(admit)],
    openapi_extra=FORM.openapi,
    responses=responses(400, 404, 408, 413, 415, 422, 429, 503),
)
async def post_validate(
    request: Request,
    services: ServicesDep,
    card: QueryCard,
    asked: BoundaryDep,
    naming: NamingDep,
    length: LengthQuery = None,
) -> Report:
    """Super-resolve a coarse volume and compare with a reference that is finer by the model's factor.

    Parts are files named `coarse` and `reference`, in any container of `/v1/upscale`. Without `coarse`, the service
    takes the mean of the reference over blocks of factor^3 cells. The answer has the metrics of the model and of
    trilinear interpolation, as means over the times. Lengths come from the coordinates of the reference, else of
    the coarse volume, or else from `length`; unless each axis has some, cells are cubes and the longest edge is 2 pi.

    The answer depends on the request alone: one whose answer was lost can be sent again.

    `curl -F reference=@fine.npy 'http://localhost:8000/v1/validate?model=trilinear-x4&boundary=periodic'`
    """
    parts = await FORM.receive(request, services.settings)
    coarse, reference = await services.body_threads.run(_read, parts, services.sandbox, naming, card.factor)
    stored = {COARSE: coarse and coarse.boundary, REFERENCE: reference.boundary}
    boundary = choose_boundary(requested_or_stored(asked, stored), None, card).boundary
    if coarse is None:
        coarse = await services.body_threads.run(coarsened, reference, card.factor, boundary)
    with within(COARSE if COARSE in parts else REFERENCE):
        samples, _, _, warnings = coarse.prepare(card, boundary)
    require_fit(coarse, reference, card, boundary)
    first = first_compared(reference, len(samples))
    references = reference.velocity[first : first + len(samples)]
    if COARSE in parts:
        sent = samples[:, card.frames // 2]
        warnings += await services.body_threads.run(check_means, sent, references)
    warnings += comparison_warnings(coarse, reference, boundary)
    lengths = read_length(length, reference, coarse)
    scores = await unless_gone(request, services.engine.validate(card, samples, references, boundary, lengths))
    return Report(
        model=card.name,
        boundary=list(boundary),
        levels=len(samples),
        warnings=warnings,
        metrics=Metrics(scores.model),
        trilinear=Metrics(scores.trilinear),
        expected_mae=scores.expected_mae,
    )


def _read(parts: dict[str, Body], sandbox: Sandbox, naming: Naming, factor: int) -> tuple[Volume | None, Volume]:
    """The coarse volume, if it was sent, and the reference; they may differ in their names."""
    partly = COARSE in parts
    with within(REFERENCE):
        reference = sandbox.read(parts[REFERENCE], ReadOptions(factor, naming, partly)).volume
    if COARSE not in parts:
        return None, reference
    with within(COARSE):
        coarse = sandbox.read(parts[COARSE], ReadOptions(1, naming, partly)).volume
    naming.check(*(each.stored for each in (coarse, reference) if each.stored))
    return coarse, reference
