"""Averages of a channel flow over x, z, time and both halves, in wall units, beside published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.flows.channel import NU

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
    """-u'v' + dU+/dy+, in a steady mean ``1 - y+ / Re_tau``."""

    @property
    def deviation(self) -> float:
        """Largest distance of the total stress from the straight line, over that on the wall."""
        return float(np.abs(self.total - (1 - self.face_y_plus / self.re_tau)).max())


class Statistics:
    """Averages over x, z, moments and the two halves of a channel.

    Under reflection in the middle plane u and w stay and v changes its sign, so u'v' does.
    """

    def __init__(self, grid: Grid, nu: float = NU) -> None:
        self.grid, self.nu = grid, nu
        self.samples = 0
        self.sums: Array = np.zeros((5, grid.ny))
        """Of U, uu, vv, ww, uv, each (y,); keep it with ``samples`` to go on later."""

    def add(self, flow: Flow) -> None:
        """Take the present moment in."""
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
        u, uu, vv, ww, uv = ((a + sign * a[::-1]) / 2 for a, sign in ((u, 1), (uu, 1), (vv, 1), (ww, 1), (uv, -1)))
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
            u_rms=np.sqrt(np.maximum(uu - u**2, 0) / tau)[half],
            w_rms=np.sqrt(ww / tau)[half],
            face_y_plus=face_depth[faces] * speed / nu,
            v_rms=np.sqrt(vv / tau)[faces],
            shear=-uv[faces] / tau,
            total=total[faces] / tau,
        )


MKM = "Moser, Kim & Mansour, Phys. Fluids 11, 1999"
KMM = "Kim, Moin & Moser, J. Fluid Mech. 177, 1987"


@dataclass(frozen=True)
class Comparison:
    """A number beside the published one. The tolerance covers a short average in a small box."""

    name: str
    found: float
    published: float
    tolerance: float
    source: str

    @property
    def agrees(self) -> bool:
        """Whether the two are within the tolerance."""
        return abs(self.found - self.published) <= self.tolerance


def compare(profile: Profile) -> list[Comparison]:
    """Set a profile beside published ones at Re_tau = 180: rounded as they are commonly quoted, not the data files."""

    def mean_at(y_plus: float) -> float:
        return float(np.interp(y_plus, profile.y_plus, profile.mean))

    return [
        Comparison("Re_tau", profile.re_tau, 178.1, 5.3, MKM),
        Comparison("U+ at y+ 5", mean_at(5), 4.8, 0.2, KMM),
        Comparison("U+ at y+ 15", mean_at(15), 11, 0.5, KMM),
        Comparison("U+ at y+ 30", mean_at(30), 14, 0.6, KMM),
        Comparison("U+ at y+ 100", mean_at(100), 17.0, 0.6, KMM),
        Comparison("u_rms+ peak", float(profile.u_rms.max()), 2.7, 0.15, KMM),
        Comparison("u_rms+ peak at y+", float(profile.y_plus[profile.u_rms.argmax()]), 15, 3, KMM),
        Comparison("v_rms+ peak", float(profile.v_rms.max()), 0.84, 0.08, KMM),
        Comparison("w_rms+ peak", float(profile.w_rms.max()), 1.08, 0.1, KMM),
        Comparison("-u'v'+ peak", float(profile.shear.max()), 0.72, 0.05, KMM),
        Comparison("total stress off linear", profile.deviation, 0, 0.03, "momentum balance"),
    ]
