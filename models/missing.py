"""Numbers that are no velocity, in whatever file."""

from __future__ import annotations

from typing import Final

MISSING: Final = (-999.9, -9999.0)
"""Values that mark missing data even where no attribute says so; -999.9 is that of the JHTDB."""
MAX_SPEED: Final = 1e12
"""Larger magnitudes are taken for fill values."""
