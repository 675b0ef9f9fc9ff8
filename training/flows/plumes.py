"""Sets of smoke plumes, each of which breaks one symmetry, as made for forecasting by Wang et al. (arXiv 2201.11969).

All are in a box of edge 64. In each run smoke enters at one spot near a side, and its buoyancy points away from it.
In the published set *scale*, runs are on grids of one to five times as many cells and are interpolated to one size;
here they are on one grid, so that nothing but the buoyancy breaks the symmetry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.flows.smoke import Smoke

EDGE = 64.0
STEP = 1.0
"""Time step; a frame is kept every second one."""
STEPS = 2
MIDDLE = EDGE / 2
RATE, RADIUS, DEPTH = 0.2, 6.0, 10.0
"""Of the inflow: smoke per unit of time, radius, and distance from the side."""
BUOYANCY = 0.1
SIDES = 4
UNEVEN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.55, 0.8, 1.1, 1.5, 2.2)
"""How much stronger buoyancy is on the last side than on the first one, for each level: the error rises to 0.9."""


@dataclass(frozen=True)
class Plume:
    """One run.

    Attributes:
        inflow: which of the places along its side; what a split by place goes by.
        along: where that is, from the left end of its side as seen from the box.
        side: quarter turns from a plume that rises along y.
        strength: of the buoyancy, over the usual one; left and right of the middle as seen from the side.
        scale: by which velocities are multiplied: edge of a cell over the usual one, over that of the time step.
        level: of the set called levels.
    """

    inflow: int
    along: float
    side: int = 0
    strength: tuple[float, float] = (1.0, 1.0)
    scale: float = 1.0
    level: int = 0


def plumes(name: str) -> list[Plume]:
    """The runs of a set.

    Args:
        name: ``translation``: 35 inflows along one side, with twice the buoyancy right of the middle.
            ``rotation``: 4 sides with 9 inflows each, and a buoyancy of 1, 1.3, 1.6 and 1.9 by side.
            ``scale``: 9 inflows in 4 units of velocity, from half to twice the usual one, with a buoyancy of 0.8, 0.9,
            1.1 and 1.2 in these units.
            ``levels``: 10 levels from none to all of 4 sides with 5 inflows each whose buoyancy differs.

    Raises:
        ValueError: for any other name.
    """
    if name == "translation":
        return [Plume(i, along, strength=(1, 2)) for i, along in enumerate(_spread(35))]
    if name == "rotation":
        sides = [(side, 1 + 0.3 * side) for side in range(SIDES)]
        return [Plume(i, along, side, (by, by)) for side, by in sides for i, along in enumerate(_spread(9))]
    if name == "scale":
        scales = [(scale, 1 + 0.2 * math.log2(scale)) for scale in (0.5, 2**-0.5, 2**0.5, 2.0)]
        return [Plume(i, along, 0, (by, by), scale) for scale, by in scales for i, along in enumerate(_spread(9))]
    if name == "levels":
        return [
            Plume(i, along, side, (1 + uneven * side / 3,) * 2, level=level)
            for level, uneven in enumerate(UNEVEN)
            for side in range(SIDES)
            for i, along in enumerate(_spread(5))
        ]
    message = f"set must be translation, rotation, scale or levels, not {name!r}"
    raise ValueError(message)


def simulate(runs: list[Plume], n: int, frames: int) -> Float[Tensor, "run frame 3 n n"]:
    """Velocity (u, v) and density of each run, from its start, on n x n cells."""
    dx = EDGE / n
    x = (torch.arange(n, dtype=torch.float64) + 0.5) * dx
    inflow, buoyancy = [], []
    for plume in runs:
        away = ((x - plume.along) ** 2 + (x[:, None] - DEPTH) ** 2).sqrt()
        left, right = (BUOYANCY * strength for strength in plume.strength)
        force = torch.where(x < MIDDLE, left, right).expand(n, n)
        rising = torch.stack((torch.zeros_like(force), force))
        inflow.append(RATE * torch.sigmoid(RADIUS - away).rot90(-plume.side, (-2, -1)))
        buoyancy.append(_turned(rising, plume.side))
    flow = Smoke(torch.stack(inflow), torch.stack(buoyancy), dx)
    kept = []
    for _ in range(frames):
        for _ in range(STEPS):
            flow.step(STEP)
        kept.append(torch.cat((flow.velocity(), flow.density[:, None]), dim=1))
    found = torch.stack(kept, dim=1)
    found[:, :, :2] *= torch.tensor([plume.scale for plume in runs], dtype=x.dtype)[:, None, None, None, None]
    return found


def _turned(field: Float[Tensor, "2 y x"], turns: int) -> Float[Tensor, "2 y x"]:
    """A vector field turned by quarters, from x to y."""
    for _ in range(turns % SIDES):
        u, v = field.rot90(-1, (-2, -1))
        field = torch.stack((-v, u))
    return field


def _spread(places: int) -> list[float]:
    """Places along a side."""
    return torch.linspace(12, EDGE - 12, places).tolist()


def describe(runs: list[Plume], n: int) -> dict[str, Any]:
    """What is known of the runs of a set, for ``run.json``."""
    return {
        "runs": [vars(plume) for plume in runs],
        "dx": [EDGE / n * max(plume.scale, 1) for plume in runs],
        "dt": [STEPS * STEP / min(plume.scale, 1) for plume in runs],
    }
