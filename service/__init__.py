"""The HTTP service: coarse volumes in, fine volumes out. Imports models, never training."""

from service.app import create_app
from service.settings import Settings

__all__ = ["Settings", "create_app"]
