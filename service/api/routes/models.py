"""What models there are, and whether this device reproduces their cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request

from service.api.auth import REFUSALS, needs
from service.api.dependencies import ServiceDep, admit
from service.api.errors import responses
from service.api.schemas import Card, Cards, Reproduction, Symmetry
from service.engine.engine import upscale
from service.engine.registry import find_card
from service.engine.scores import TRILINEAR, close, measure
from service.problems import Problem

if TYPE_CHECKING:
    from models.catalogue import HeldOut


router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[needs("read")], responses=REFUSALS)


@router.get("", summary="List the models")
async def get_models(service: ServiceDep) -> Cards:
    """The cards of all models: what they are, and how far off they were on data they had not seen."""
    catalogue = service.registry.catalogue
    cards = await service.in_thread(lambda: [catalogue.card(name).to_dict() for name in catalogue.names()])
    return Cards(models=[Card(**card) for card in cards])


@router.get("/{name}", summary="Describe a model", responses=responses(404, 422))
async def get_model(service: ServiceDep, name: str) -> Card:
    """The card of a model."""
    return Card(**find_card(name, service).to_dict())


@router.get("/{name}/symmetry", summary="Tell which symmetries a model keeps", responses=responses(404, 422))
async def get_symmetry(service: ServiceDep, name: str) -> Symmetry:
    """Equivariance errors by group element, and the relaxed weights by irrep, as the card has them."""
    card = find_card(name, service)
    if not card.symmetry:
        detail = f"the symmetry of {card.name} was not measured; python -m training evaluate does"
        raise Problem("no-symmetry", detail)
    return Symmetry(model=card.name, **card.symmetry)


@router.post(
    "/{name}/validate",
    summary="Check a model against its card",
    dependencies=[Depends(admit)],
    responses=responses(404, 422, 429, 503),
)
async def post_model_validate(request: Request, service: ServiceDep, name: str) -> Reproduction:
    """Run the held-out sample that is shipped with the weights on this device, and compare with the card's errors."""
    card = find_card(name, service)

    def find() -> HeldOut | None:
        return service.registry.catalogue.held_out(card.flow, card.frames)

    sample = await service.in_thread(find)
    if sample is None:
        detail = f"no held-out sample is shipped for {card.name}"
        raise Problem("no-sample", detail)
    plain = find_card(TRILINEAR, service)
    middle = sample.coarse[len(sample.coarse) // 2]
    baseline = await upscale(request, service, plain, middle[None, None], sample.boundary)
    answer = baseline
    if card.name != TRILINEAR:
        answer = await upscale(request, service, card, sample.coarse[None], sample.boundary)
    references, coarse = sample.fine[None], middle[None]
    where = sample.boundary, sample.length
    ours, theirs = await service.in_thread(
        lambda: [measure(each.fine, references, coarse, baseline.fine, *where) for each in (answer, baseline)]
    )
    found, promised, simple = ours["mae_over_rms"], card.sample.get("mae_over_rms"), theirs["mae_over_rms"]
    return Reproduction(
        model=card.name,
        device=str(service.batcher.device),
        precision=service.registry.precisions[card.name],
        mae_over_rms=found if isinstance(found, float) else None,
        card_mae_over_rms=promised,
        trilinear_mae_over_rms=simple if isinstance(simple, float) else None,
        reproduced=close(found, promised, service.settings.reproduction_tolerance),
        metrics=ours,
    )
