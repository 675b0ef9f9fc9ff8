"""Plane Couette flow: turbulence between walls that move at u = -1 and 1, with a viscosity of one over Reynolds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from training.flows.channel import DISTURBANCE, Flow, eddies, reichardt
from training.flows.channel_simulation import ChannelSimulation
from training.flows.known import Known

if TYPE_CHECKING:
    from training.flows.channel_grid import Grid
    from training.flows.channel_statistics import Profile

RE_TAU = {
    750.0: (52.0, "Komminaho et al., J. Fluid Mech. 320, 1996"),
    1300.0: (82.2, "Bech et al., J. Fluid Mech. 286, 1995"),
    3000.0: (171.0, "Pirozzoli et al., J. Fluid Mech. 758, 2014"),
}
"""Friction Reynolds numbers that are published, by Reynolds number."""
SPEED = 17.5
"""Speed of a wall over u_tau, for the initial condition."""


class CouetteSimulation(ChannelSimulation):
    """See [`Simulation`][training.runs.Simulation]. Times are in half heights over the speed of a wall.

    Options: ``reynolds``; ``nx`` and ``nz``, points along x and z, 0 for n times the box.
    """

    usual: ClassVar = {"reynolds": 3000.0, "nx": 0.0, "nz": 0.0}

    def begin(self, grid: Grid) -> Flow:
        """The mean profile of a turbulent flow, as if each half were that of a channel, and large eddies."""
        nu = 1 / self.options["reynolds"]
        profile = reichardt(grid.centres, SPEED * nu)
        modes = eddies(grid, self.recipe.seed, DISTURBANCE)
        modes[0, :, 0, 0] = torch.from_numpy(np.sign(grid.centres) * (1 - profile / profile.max()))
        return Flow(grid, modes, nu=nu, bulk=None, wall=1.0)

    def known(self, profile: Profile) -> list[Known]:
        """Balance, law of the wall and what is published."""
        found = [
            Known("U+ at y+ 5", profile.mean_at(5), 4.9, 0.2, "law of the wall"),
            Known("u_rms+ peak", float(profile.u_rms.max()), 2.8, 0.25, RE_TAU[3000.0][1]),
            Known("total stress off constant", profile.deviation, 0, 0.1, "momentum balance"),
        ]
        if (reynolds := self.options["reynolds"]) in RE_TAU:
            re_tau, source = RE_TAU[reynolds]
            found.insert(0, Known("Re_tau", profile.re_tau, re_tau, 0.05 * re_tau, source))
        return found
