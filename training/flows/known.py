"""Compares a measured statistic with a published one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A measured and a published number, and a tolerance for short averages in small boxes."""

    name: str
    found: float
    published: float
    tolerance: float
    source: str

    @property
    def agrees(self) -> bool:
        """Whether the two are within the tolerance."""
        return abs(self.found - self.published) <= self.tolerance

    def __str__(self) -> str:
        """One line of a summary."""
        return (
            f"{self.name:26} {self.found:8.3f}   known {self.published:7.2f} +- {self.tolerance:4.2f}"
            f" {'   ' if self.agrees else 'OFF'} {self.source}"
        )
