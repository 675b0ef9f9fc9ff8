"""Models: their cards, and whether this device reproduces them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from models.catalogue import DEFAULT
from models.held_out import HeldOutSamples
from service.api.auth import REFUSALS, needs
from service.api.bodies import unless_gone
from service.api.dependencies import ServicesDep, admit
from service.api.errors import responses
from service.api.schemas import Card, Cards, Metrics, Reproduction, Symmetry
from service.engine.scores import close
from service.problems import Problem

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[needs("read")], responses=REFUSALS)


@router.get("", summary="List the models")
async def get_models(services: ServicesDep) -> Cards:
    """The cards of all models: what they are, and their errors on data that they have not seen."""
    cards = await services.threads.run(services.engine.registry.cards)
    linear = await services.threads.run(services.engine.registry.catalogue.linear)
    there = any(card.name == DEFAULT for card in cards)
    return Cards(models=[Card(**card.to_dict()) for card in cards], default=DEFAULT if there else None, linear=linear)


@router.get("/{name}", summary="Describe a model", responses=responses(404, 422))
async def get_model(services: ServicesDep, name: str) -> Card:
    """The card of a model."""
    card = await services.threads.run(services.engine.registry.card, name)
    return Card(**card.to_dict())


@router.get("/{name}/symmetry", summary="Show which symmetries a model keeps", responses=responses(404, 422))
async def get_symmetry(services: ServicesDep, name: str) -> Symmetry:
    """Equivariance errors by group element, and the relaxed weights by irrep, as the card has them."""
    card = await services.threads.run(services.engine.registry.card, name)
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
async def post_model_validate(request: Request, services: ServicesDep, name: str) -> Reproduction:
    """Run the held-out sample that is shipped with the weights on this device, and compare with the card's errors."""
    card = await services.threads.run(services.engine.registry.card, name)
    samples = HeldOutSamples(services.settings.weights)
    sample = await services.threads.run(samples.find, card.flow, card.frames, card.factor)
    if sample is None:
        detail = f"no held-out sample is shipped for {card.name}"
        raise Problem("no-sample", detail)
    scores = await unless_gone(
        request,
        services.engine.validate(card, sample.coarse[None], sample.fine[None], sample.boundary, sample.length),
    )
    found, expected = scores.model["mae_over_rms"], card.sample.get("mae_over_rms")
    simple = scores.trilinear["mae_over_rms"]
    return Reproduction(
        model=card.name,
        device=str(services.engine.batcher.device),
        precision=services.engine.registry.precisions[card.name],
        mae_over_rms=found if isinstance(found, float) else None,
        card_mae_over_rms=expected,
        trilinear_mae_over_rms=simple if isinstance(simple, float) else None,
        reproduced=close(found, expected),
        metrics=Metrics(scores.model),
    )
