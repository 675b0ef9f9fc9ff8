"""Averages of a channel or Couette flow over x, z, time and both halves, in wall units, and published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.flows.channel import NU
from training.flows.known import Known

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.flows.channel import Flow
    from training.flows.channel_grid import Grid

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Averages in wall units from a wall (exclusive) to the middle, at centres of cells or on faces."""

    samples: int
    re_tau: float
    """From the mean velocity next to the wall: ``tau = nu U / y``."""
    y_plus: Array
    """Of the centres; for u and w."""
    mean: Array
    u_rms: Array
    w_rms: Array
    face_y_plus: Array
    """Of the faces; for v and stresses."""
    v_rms: Array
    shear: Array
    """-u'v'"""
    total: Array
    """-u'v' + dU+/dy+"""
    balance: Array
    """Total stress in a statistically steady flow: ``1 - y+ / Re_tau``, or 1 between moving walls."""

    def mean_at(self, y_plus: float) -> float:
        """Mean velocity relative to the wall, at this y+."""
        return float(np.interp(y_plus, self.y_plus, self.mean))

    @property
    def deviation(self) -> float:
        """Largest deviation of the total stress from the straight line, relative to the wall stress."""
        return float(np.abs(self.total - self.balance).max())


class Statistics:
    """Averages over x, z, moments and the two halves of a channel.

    Under reflection in the middle plane u and w stay and v changes its sign, so u'v' does. Between walls that move
    the two halves are the same after half a turn about z: u changes its sign, and u'v' stays.
    """

    def __init__(self, grid: Grid, nu: float = NU, wall: float = 0.0) -> None:
        self.grid, self.nu, self.wall = grid, nu, wall
        self.samples = 0
        self.sums: Array = np.zeros((5, grid.ny))
        """Sums of U, uu, vv, ww, uv, each (y,); with ``samples``, all that is needed to continue later."""

    def add(self, flow: Flow) -> None:
        """Add the present state to the averages."""
        modes = flow.modes
        on_faces = (modes[0] + modes[0].roll(1, 0)) / 2  # v is zero where this wraps
        squares = self.grid.plane_means(modes, modes)
        shear = self.grid.plane_means(on_faces, modes[1])
        mean = modes[0, :, 0, 0].real.double()
        self.sums += torch.stack((mean, *squares, shear)).cpu().numpy()
        self.samples += 1

    def profile(self) -> Profile:
        """Averages so far.

        Raises:
            ValueError: if there are none.
        """
        if not self.samples:
            message = "no moment has been added to the statistics"
            raise ValueError(message)
        grid, nu = self.grid, self.nu
        u, uu, vv, ww, uv = self.sums / self.samples
        vv, uv = vv[1:], uv[1:]
        odd = -1 if self.wall else 1
        signs = (odd, 1, 1, 1, -odd)
        u, uu, vv, ww, uv = ((a + sign * a[::-1]) / 2 for a, sign in zip((u, uu, vv, ww, uv), signs, strict=True))
        variance, u = np.maximum(uu - u**2, 0), u + self.wall
        half, faces = slice(0, (grid.ny + 1) // 2), slice(0, grid.ny // 2)
        depth, face_depth = grid.centres + 1, grid.faces[1:-1] + 1
        tau = nu * u[0] / depth[0]
        speed = math.sqrt(tau)
        total = nu * np.diff(u) / np.diff(grid.centres) - uv
        return Profile(
            samples=self.samples,
            re_tau=speed / nu,
            y_plus=depth[half] * speed / nu,
            mean=u[half] / speed,
            u_rms=np.sqrt(variance / tau)[half],
            w_rms=np.sqrt(ww / tau)[half],
            face_y_plus=face_depth[faces] * speed / nu,
            v_rms=np.sqrt(vv / tau)[faces],
            shear=-uv[faces] / tau,
            total=total[faces] / tau,
            balance=(1 - (0 if self.wall else 1) * face_depth)[faces],
        )


MKM = "Moser, Kim & Mansour, Phys. Fluids 11, 1999"
KMM = "Kim, Moin & Moser, J. Fluid Mech. 177, 1987"


def compare(profile: Profile) -> list[Known]:
    """Set a profile beside published ones at Re_tau = 180: rounded as they are commonly quoted, not the data files."""
    return [
        Known("Re_tau", profile.re_tau, 178.1, 5.3, MKM),
        Known("U+ at y+ 5", profile.mean_at(5), 4.8, 0.2, KMM),
        Known("U+ at y+ 15", profile.mean_at(15), 11, 0.5, KMM),
        Known("U+ at y+ 30", profile.mean_at(30), 14, 0.6, KMM),
        Known("U+ at y+ 100", profile.mean_at(100), 17.0, 0.6, KMM),
        Known("u_rms+ peak", float(profile.u_rms.max()), 2.7, 0.15, KMM),
        Known("u_rms+ peak at y+", float(profile.y_plus[profile.u_rms.argmax()]), 15, 3, KMM),
        Known("v_rms+ peak", float(profile.v_rms.max()), 0.84, 0.08, KMM),
        Known("w_rms+ peak", float(profile.w_rms.max()), 1.08, 0.1, KMM),
        Known("-u'v'+ peak", float(profile.shear.max()), 0.72, 0.05, KMM),
        Known("total stress off linear", profile.deviation, 0, 0.03, "momentum balance"),
    ]
