"""Forecasts the next frames of a velocity in a plane."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from models.forecasting.catalogue import DEFAULT
from service.api.auth import REFUSALS, needs
from service.api.bodies import receive_body, unless_gone
from service.api.dependencies import ServicesDep, admit
from service.api.errors import responses
from service.api.responses import BINARY, WARNING, add_warnings
from service.api.schemas import ForecastCard, ForecastCards
from service.formats.frames import check_speed, read_frames, read_plane_boundary, read_units
from service.formats.npy import NPY, NpyBody

router = APIRouter(prefix="/v1/forecast", tags=["forecasting"], dependencies=[needs("read")], responses=REFUSALS)
MOST_STEPS = 200
CONTENT = {NPY: BINARY}


@router.get("/models", summary="List the forecasting models")
async def get_forecast_models(services: ServicesDep) -> ForecastCards:
    """The cards of the models that forecast."""
    cards = await services.threads.run(services.forecasts.cards)
    return ForecastCards(models=[ForecastCard(**card.to_dict()) for card in cards])


@router.post(
    "",
    summary="Forecast the next frames of a velocity in a plane",
    response_class=Response,
    dependencies=[Depends(admit)],
    openapi_extra={"requestBody": {"required": True, "description": "The frames so far.", "content": CONTENT}},
    responses={
        200: {
            "description": "The frames that follow.",
            "content": CONTENT,
            "headers": {
                "Eddylift-Model": {"schema": {"type": "string"}, "description": "Name of the model."},
                "Eddylift-Boundary": {"schema": {"type": "string"}, "description": "Boundaries in y, x order."},
                WARNING: {"schema": {"type": "string"}, "description": "What seems doubtful about the request."},
            },
        },
        **responses(400, 404, 408, 413, 415, 422, 429, 503),
    },
)
async def post_forecast(
    request: Request,
    services: ServicesDep,
    model: Annotated[
        str | None, Query(description=f"As in `/v1/forecast/models`; if unset, `{DEFAULT}` answers.")
    ] = None,
    steps: Annotated[int, Query(description="How many frames to forecast.", ge=1, le=MOST_STEPS)] = 10,
    boundary: Annotated[
        str | None,
        Query(
            description="`periodic` or `wall`, for both axes or one per axis in y, x order; if unset, as on the card. "
            "A wall lets nothing through, but does not slow the flow along it."
        ),
    ] = None,
    dx: Annotated[
        float,
        Query(
            description="Edge of a cell, the same along both axes. What a model sees is `u dt / dx`, the velocity in "
            "cells a frame; `X-Eddylift-Warning` tells if it is far from those that the model has learned."
        ),
    ] = 1.0,
    dt: Annotated[float, Query(description="Time between frames.")] = 1.0,
    nu: Annotated[float, Query(description="Viscosity; models with `viscous` in their `architecture` need it.")] = 0.0,
) -> Response:
    """Answer an array `(time, 2, y, x)` of u, v, evenly spaced in time, with the `steps` frames that follow.

    Velocities are in the units of `dx / dt`. If there are more frames than the model takes, it uses the last ones.

    `curl --data-binary @frames.npy -H 'Content-Type: application/x-npy' -o next.npy
    'http://localhost:8000/v1/forecast?steps=20&dx=2&dt=2'`
    """
    card = await services.threads.run(services.forecasts.find, model)
    ends, units = read_plane_boundary(boundary, card.boundary), read_units(dx, dt, nu, card)
    body = await receive_body(request, services.settings, "the last frames suffice")
    frames = await services.body_threads.run(read_frames, body, services.settings, card, steps, units)
    sample = await services.threads.run(services.forecasts.sample, card)
    result = await unless_gone(request, services.forecasts.forecast(card, frames, steps, ends, units))
    answer = np.ascontiguousarray(result.fine[0].swapaxes(0, 1))
    headers = {"Eddylift-Model": card.name, "Eddylift-Boundary": ",".join(ends)}
    response = Response(b"".join(NpyBody.write(answer)), media_type=NPY, headers=headers)
    add_warnings(response, check_speed(frames[-card.frames :], units, card, sample))
    return response
