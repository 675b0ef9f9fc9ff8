"""The version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _find() -> str:
    try:
        return version("eddylift")
    except PackageNotFoundError:
        return "a checkout, not installed"


__version__: Final = _find()
