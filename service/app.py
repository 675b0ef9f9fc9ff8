"""Putting the service together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import torch
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from service.api import errors
from service.api.auth import Access
from service.api.middleware import AccessMiddleware, TelemetryMiddleware
from service.api.routes import health, jobs, models, upscale, validate, views, volumes
from service.assembly import assemble
from service.runtime.metrics import Watch
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi.telemetry import TelemetryConfig


# Metrics are Prometheus's, and logs say what they say in one place.
TELEMETRY: Final[TelemetryConfig] = {"auto_configure": True, "metrics": False, "logs": False}

DESCRIPTION = """
Coarse turbulent velocity in, four times as fine velocity out.

Send a volume to `/v1/upscale`; see `/v1/models` for what can be done to it, and how well. Errors are problem documents
(RFC 9457) whose `errors` name the field, its value and what was expected.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make an app; it computes between start-up and shut-down of its lifespan.

    Args:
        settings: from the environment if None.

    Raises:
        TokensError: if the file of tokens cannot be used.
    """
    settings = settings or Settings()
    service = assemble(settings)
    service.metrics.registry.register(Watch(service))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Probes are answered while models load; everything else that needs them says 503.
        loop = asyncio.get_running_loop()

        def prepare() -> None:
            if service.settings.threads:
                torch.set_num_threads(service.settings.threads)
            service.registry.warm()
            service.sandbox.warm()
            loop.call_soon_threadsafe(warm)

        def warm() -> None:
            service.warm = True
            service.metrics.ready.set(1)

        service.batcher.start(prepare)
        service.volumes.tidy()
        service.jobs.start(service)
        try:
            yield
        finally:
            service.warm = False
            service.metrics.ready.set(0)
            await service.jobs.close()
            if service.cluster:
                await service.cluster.close()
            await asyncio.to_thread(service.batcher.close)
            await asyncio.to_thread(service.sandbox.close)

    app = FastAPI(
        title="eddylift",
        version="1",
        description=DESCRIPTION.strip(),
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry=TELEMETRY,
    )
    app.state.service = service
    errors.install(app)
    # The last that is added is the first to see a request.
    access = Access.of(settings.tokens)
    app.add_middleware(AccessMiddleware, access=access, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "PUT", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(TelemetryMiddleware, metrics=service.metrics, private=access.tokens is not None)
    # Routers carry their whole prefix, so that a route's path is what metrics call it.
    for room in (models, upscale, validate, volumes, views, jobs, health):
        app.include_router(room.router)
    return app
