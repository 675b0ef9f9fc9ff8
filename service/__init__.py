"""The HTTP service: coarse volumes in, fine volumes out. Imports models, never training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Settings", "create_app"]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make an app; see [`service.app.create_app`][]."""
    # Not at the top: the processes that read foreign bodies import this package too, and need no torch.
    from service.app import create_app as create  # noqa: PLC0415

    return create(settings)
