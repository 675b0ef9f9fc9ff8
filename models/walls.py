"""Walls at the ends of an axis, at rest or moving, and the spelling of their velocities.

``wall:u=-1..1`` is a pair of walls at the ends of an axis, u = -1 at the low end and u = 1 at the high end. A wall
moves along itself, by one component or by two in the order u, v, w: ``wall:u=0..1:w=-0.5..0.5``. ``wall`` is at rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

COMPONENTS = "uvw"
# Fastest wall, in any unit; float32 ends at 3e38, and models take squares of velocities.
FASTEST = 1e12
Velocity = tuple[float, float, float]


class WallError(ValueError):
    """A wall is spelled otherwise, or cannot move so."""


class Walls(NamedTuple):
    """Velocities (u, v, w) of the walls at the low and at the high end of an axis."""

    low: Velocity
    high: Velocity

    @property
    def move(self) -> bool:
        """Whether one of them moves."""
        return any(self.low) or any(self.high)

    @classmethod
    def of(cls, boundary: str) -> Walls:
        """Velocities of a boundary as ``str`` spells it; zero if it is no wall.

        Raises:
            ValueError: if it is a wall that is spelled otherwise.
        """
        kind, *parts = boundary.split(":")
        found: dict[str, tuple[float, float]] = {}
        for part in parts:
            match = re.fullmatch(r"([uvw])=(.+?)\.\.(.+)", part)
            # Three dots could be a decimal point before the two, or after them.
            if kind != "wall" or match is None or "..." in part or match[1] <= max(found, default=""):
                message = f"walls that move are spelled as wall:u=-1..1 or wall:u=0..1:w=-0.5..0.5, not {boundary!r}"
                raise WallError(message)
            low, high = float(match[2]), float(match[3])
            if not all(abs(velocity) <= FASTEST for velocity in (low, high)):
                message = f"velocities of walls must be from {-FASTEST:g} to {FASTEST:g}, not {part}"
                raise WallError(message)
            found[match[1]] = low, high
        u, v, w = (found.get(name, (0.0, 0.0)) for name in COMPONENTS)
        return cls((u[0], v[0], w[0]), (u[1], v[1], w[1]))

    def __str__(self) -> str:
        """Spell the boundary as ``of`` reads it."""
        pairs = zip(COMPONENTS, self.low, self.high, strict=True)
        return ":".join(
            ["wall", *(f"{name}={_spell(low)}..{_spell(high)}" for name, low, high in pairs if low or high)]
        )


def is_wall(boundary: str) -> bool:
    """Whether it is a wall, at rest or moving."""
    return boundary.startswith("wall")


def _spell(value: float) -> str:
    return repr(value + 0.0).removesuffix(".0")
