"""Which symmetries turbulent flows break: pairs from a run, and what the equations keep.

Each reading sees what the other cannot. From a coarse to a finer velocity at one time, what counts are the statistics
of the flow: walls, a mean velocity, layers. In a stationary flow the Coriolis force does not show there, but in how the
velocity changes, from one time to a later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from models.discovery.fit import Recipe
from models.discovery.pairs import Pairs
from models.discovery.point_groups import generated
from models.group import group
from models.irreps import element_names
from models.operators import coarsen

if TYPE_CHECKING:
    from training.dataset import StoredRun

RECIPE = Recipe(fields=1, equivariant_steps=40, steps=5, seeds=1, sigmas=2.0, galilean=True)
SNAPSHOTS = 16
LARGE = 64
"""Runs with so many cells along an axis are made coarse fourfold, smaller ones twofold."""
GENERATORS = {
    "isotropic": ("y,z,x", "-y,x,z", "-x,-y,-z"),
    "decaying": ("y,z,x", "-y,x,z", "-x,-y,-z"),
    "rotating": ("-y,x,z", "-x,-y,-z"),
    "stratified": ("-y,x,z", "-x,y,z", "x,y,-z"),
    "channel": ("x,-y,z", "x,y,-z"),
    "couette": ("-x,-y,z", "x,y,-z"),
}
"""Of the elements that the equations of each flow keep, with its walls and forces.

Rotation is about z: reflections in planes along z reverse it. Gravity is along z, but buoyancy as large upwards as
downwards. The channel flows along x between walls in y, the walls of Couette flow move along x in opposite directions.
"""


def pairs_of(run: StoredRun) -> dict[str, Pairs]:
    """Pairs from snapshots all over a run: coarse to ``finer`` and, if it has frames, a time to a ``later`` one.

    All axes are treated as periodic. Velocities that vanish at walls are nearly so.
    """
    chosen = np.linspace(0, len(run) - 1, min(SNAPSHOTS, len(run))).round().astype(int)
    frames = [torch.from_numpy(np.array(run.levels(int(index)))) for index in chosen]
    by = 4 if max(run.cells) >= LARGE else 2
    first, middle, last = (torch.stack([each[place] for each in frames]) for place in (0, run.frames // 2, -1))
    found = {"finer": Pairs(coarsen(middle, by), coarsen(middle, by // 2), "vector", "vector")}
    if run.frames > 1:
        found["later"] = Pairs(coarsen(first, by), coarsen(last, by), "vector", "vector")
    return found


def expected(flow: str) -> list[int] | None:
    """Elements of Oh that the equations of a flow keep; None if that is not known here."""
    over = group("Oh")
    if flow not in GENERATORS:
        return None
    return sorted(generated(over, map(element_names(over).index, GENERATORS[flow])))
