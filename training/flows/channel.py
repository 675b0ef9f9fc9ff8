"""Turbulent channel flow between walls at y = -1 and y = 1, on a CPU or a GPU.

``du/dt + div(u u) = -grad p + nu laplace u + f e_x``, ``div u = 0``, no slip at the walls, which may move. Lengths are
in half heights h. Between walls at rest velocities are in the nominal u_tau, so that ``nu = 1/180`` means Re_tau = 180,
and the uniform force ``f(t)`` keeps the mass flux constant.

Along x and z: Fourier modes, products dealiased by the 2/3 rule. Along y: staggered second-order finite differences
(Harlow & Welch, Phys. Fluids 8, 1965), u, w and p at the centres of cells, v on their faces. The convective term has
the divergence form, with the interpolations of Verstappen & Veldman (J. Comput. Phys. 187, 2003): on any spacing it
is skew-symmetric, so it conserves momentum and energy to round-off before time is discrete. Time: low-storage RK3
for convection, Crank-Nicolson for all of viscosity, pressure increments (Rai & Moin, J. Comput. Phys. 96, 1991).

The differences, solves and the order of arrays are in [`Grid`][training.flows.channel_grid.Grid].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.flows.channel_grid import from_columns, to_columns
from training.flows.periodic import ROUND_OFF

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

    from training.flows.channel_grid import Array, Grid

NU = 1 / 180
BULK = 15.63
"""Mean velocity over u_tau at Re_tau = 180 (Kim, Moin & Moser, J. Fluid Mech. 177, 1987)."""
CFL = 1.4
"""Largest ``dt k_max |u|`` along an axis; RK3 is stable up to sqrt(3)."""
FRAME = 0.64
"""Speed of the frame over the bulk velocity: it halves the largest speed, and so doubles the time step."""
DISTURBANCE = 0.15
"""Rms of the eddies in the initial condition over the bulk velocity."""
STAGES = ((8 / 15, 0.0), (5 / 12, -17 / 60), (3 / 4, -5 / 12))
"""Weights of the present and the previous convective term; their sum is the length of the stage."""


def bulk_velocity(re_tau: float) -> float:
    """Mean velocity over u_tau, from that at 180 by the friction law of Dean (J. Fluids Eng. 100, 1978)."""
    return BULK * math.pow(re_tau * NU, 1 / 7)


def reichardt(y: Array, nu: float = NU) -> Array:
    """Mean velocity over u_tau (Reichardt, Z. Angew. Math. Mech. 31, 1951), for u_tau = 1."""
    plus = (1 - np.abs(y)) / nu
    return np.asarray(np.log1p(0.4 * plus) / 0.41 + 7.8 * (1 - np.exp(-plus / 11) - plus / 11 * np.exp(-plus / 3)))


def start(grid: Grid, seed: int, *, bulk: float = BULK, nu: float = NU) -> Complex[Tensor, "3 y kz kx"]:
    """Reichardt's profile with large solenoidal eddies, of rms ``0.15 bulk`` over all components."""
    profile = reichardt(grid.centres, nu)
    profile *= 2 * bulk / float(profile @ np.diff(grid.faces))
    modes = eddies(grid, seed, DISTURBANCE * bulk)
    modes[0, :, 0, 0] = torch.from_numpy(profile)
    return modes


def eddies(grid: Grid, seed: int, rms: float) -> Complex[Tensor, "3 y kz kx"]:
    """Large solenoidal eddies of a given rms over all components, without mean flow.

    The noise is drawn on the CPU in float64 for a fixed set of modes, so that a seed means the same on every device
    and, but for truncation, on every grid.
    """
    generator = torch.Generator().manual_seed(seed)
    waves_y, waves_z, waves_x = 6, 4, 4
    noise = torch.randn((3, waves_y, 2 * waves_z + 1, waves_x + 1, 2), generator=generator, dtype=torch.float64)
    waves = torch.view_as_complex(noise)
    y = torch.from_numpy(np.stack((grid.centres, grid.faces[:-1], grid.centres)))
    shapes = torch.sin(torch.arange(1, waves_y + 1)[:, None] * (math.pi / 2) * (y[:, None] + 1))
    waves = torch.einsum("cmy,cmzx->cyzx", shapes.to(waves.dtype), waves)
    z, x = min(waves_z, grid.cut_z), min(waves_x, grid.cut_x)
    modes = torch.zeros(grid.modes_shape, dtype=waves.dtype)
    for k in range(-z, z + 1):
        modes[:, :, k, : x + 1] = waves[:, :, k, : x + 1]
    modes[1, 0] = 0
    modes = modes.to(grid.device, grid.modes_dtype)
    modes = grid.to_spectral(grid.to_physical(modes))  # makes c(-k) the conjugate of c(k)
    modes[:, :, 0, 0] = 0
    modes, _ = grid.project(modes)
    return modes * (rms / math.sqrt(max(grid.inner(modes, modes) / 3, 1e-30)))


class Flow:
    """A channel that can be stepped forward in time.

    Args:
        grid: the grid.
        modes: solenoidal velocity, zero on the walls.
        nu: viscosity.
        bulk: mean streamwise velocity, which the force keeps constant; None leaves the flow unforced.
        frame: speed along x of the moving frame in which time steps are taken; by default 0.64 of bulk. Velocities are
            still those relative to the channel.
        wall: speed of the upper wall along x; the lower one moves equally fast in the opposite direction.
    """

    def __init__(
        self,
        grid: Grid,
        modes: Complex[Tensor, "3 y kz kx"],
        *,
        nu: float = NU,
        bulk: float | None = BULK,
        frame: float | None = None,
        wall: float = 0.0,
    ) -> None:
        self.grid, self.modes, self.nu, self.bulk, self.wall = grid, modes, nu, bulk, wall
        # The flow that the walls alone would drive: linear in y, and so without viscous force.
        self._driven = wall * torch.tensor(grid.centres, dtype=grid.dtype, device=grid.device)
        self.frame = FRAME * (bulk or 0.0) if frame is None else frame
        self.pressure: Complex[Tensor, "y kz kx"] = torch.zeros_like(modes[0])
        """Pressure over density, from the last stage, without its mean over x and z."""
        self.time, self.steps = 0.0, 0
        self.offset = 0.0
        """Distance that the frame has moved, modulo the period."""
        self._force = torch.zeros((), dtype=torch.float64, device=grid.device)

    @property
    def force(self) -> float:
        """Uniform force over the last step. On average it equals the wall stress, u_tau^2."""
        return float(self._force)

    @property
    def stress(self) -> float:
        """Mean stress on the walls at this moment: from the force that holds the flow, or from the profile."""
        if self.bulk is not None:
            return self.force
        relative = self.modes[0, :, 0, 0].real.double() - self._driven
        slope = float(relative[0] - relative[-1]) / (2 * float(self.grid.gaps[0]))
        return self.nu * (self.wall + slope)

    def step(self, until: float = math.inf, *, dt: float | None = None) -> float:
        """Advance by one time step and return it.

        Args:
            until: the step ends at this time at the latest. If the rest takes less than two steps it is halved, as
                round-off in the pressure grows with one over the step.
            dt: a fixed step instead of ``1.4 / max(k_max |u - frame|, |v| / dy, k_max |w|)``.

        Raises:
            FloatingPointError: if the flow is no longer finite.
        """
        grid, last = self.grid, None
        velocity = grid.to_physical(self.modes)
        rate = self._rate(velocity)
        if not math.isfinite(rate):
            message = f"the flow is no longer finite at t = {self.time:.4f}"
            raise FloatingPointError(message)
        rest = until - self.time
        if dt is None:
            dt = CFL / max(rate, 1e-12)
            dt = rest / 2 if dt < rest < 2 * dt else dt
        dt = dt if dt < (1 - ROUND_OFF) * rest else rest
        self._force = torch.zeros_like(self._force)
        for now, before in STAGES:
            length = (now + before) * dt
            convection = self._convection(self.modes, velocity if last is None else grid.to_physical(self.modes))
            change = 2 * self.modes - length * grid.gradient(self.pressure)
            change.add_(convection, alpha=now * dt)
            if last is not None:
                change.add_(last, alpha=before * dt)
            last = convection
            # Crank-Nicolson: (1 + bL) u = 2 u - (1 - bL) u saves applying L. What is solved for is zero on the walls.
            change[0, :, 0, 0] -= 2 * self._driven
            modes = grid.diffuse(change, self.nu * length / 2) - self.modes
            modes[0, :, 0, 0] += 2 * self._driven
            modes[1, :, 0, 0] = 0
            if self.bulk is not None:
                self._push(modes, length, length / dt)
            self.modes, potential = grid.project(modes)
            self.pressure = self.pressure + potential / length
        self.time = until if dt == rest else self.time + dt
        self.steps += 1
        self.offset = (self.offset + self.frame * dt) % grid.length_x
        return dt

    def velocity_uniform(self, cells: int, *, compact: bool = False) -> Float[Tensor, "3 z y x"]:
        """Velocity relative to the channel, on uniform cells along y.

        Along y the values are means over the cells, see ``Grid.resampling``. Along x and z they are values on the
        points, which hold all modes.

        Args:
            cells: along y.
            compact: whether to take the fewest points along x and z that hold the modes.
        """
        grid = self.grid
        modes = self.modes * torch.exp(-grid.ikx * self.offset)
        modes[0, :, 0, 0] -= self._driven
        horizontal, vertical = grid.resampling(cells)
        matrices = torch.stack((horizontal, vertical, horizontal))
        columns = matrices @ to_columns(modes)
        means = from_columns(columns, modes.new_empty((3, cells, *modes.shape[2:])))
        values = grid.to_physical(means, grid.fewest if compact else None)
        values[0] += (self.wall * torch.linspace(1 / cells - 1, 1 - 1 / cells, cells).to(values))[:, None, None]
        return values.transpose(1, 2).contiguous()

    def state(self) -> dict[str, Any]:
        """All that ``restore`` needs to continue to the same numbers, as arrays and numbers."""
        return {
            "modes": self.modes.cpu().numpy(),
            "pressure": self.pressure.cpu().numpy(),
            "nu": self.nu,
            "bulk": math.nan if self.bulk is None else self.bulk,
            "frame": self.frame,
            "wall": self.wall,
            "time": self.time,
            "steps": self.steps,
            "offset": self.offset,
            "force": self.force,
        }

    @classmethod
    def restore(cls, grid: Grid, state: dict[str, Any]) -> Flow:
        """Restore a flow from its state.

        Raises:
            ValueError: if the state is of another grid or precision.
        """
        modes = torch.tensor(state["modes"], device=grid.device)
        wanted = (grid.modes_shape, grid.modes_dtype)
        if (tuple(modes.shape), modes.dtype) != wanted:
            message = f"the state's modes are {tuple(modes.shape)} {modes.dtype}, the grid's {wanted[0]} {wanted[1]}"
            raise ValueError(message)
        bulk = float(state["bulk"])
        kept = None if math.isnan(bulk) else bulk
        flow = cls(grid, modes, nu=float(state["nu"]), bulk=kept, wall=float(state.get("wall", 0)))
        flow.pressure = torch.tensor(state["pressure"], device=grid.device)
        flow.frame, flow.offset = float(state["frame"]), float(state["offset"])
        flow.time, flow.steps = float(state["time"]), int(state["steps"])
        flow._force = torch.tensor(float(state["force"]), dtype=torch.float64, device=grid.device)
        return flow

    def _rate(self, velocity: Tensor) -> float:
        u, v, w = velocity
        kx, kz = self.grid.fastest
        rates = ((u - self.frame).abs().max() * kx, (v.abs() / self.grid.gaps).max(), w.abs().max() * kz)
        return float(torch.stack(rates).max())

    def _push(self, modes: Tensor, length: float, share: float) -> None:
        """Add the uniform force that brings the flux back; it acts through the implicit viscosity."""
        grid = self.grid
        uniform = torch.ones((3, grid.ny), dtype=torch.float64, device=grid.device)
        response = length * grid.diffuse_mean(uniform, self.nu * length / 2)[0]
        heights = grid.cells.flatten().double() / 2
        missing = self.bulk - heights @ modes[0, :, 0, 0].real.double()  # type: ignore[operator]
        force = missing / (heights @ response)
        modes[0, :, 0, 0] += force * response
        self._force = self._force + share * force

    def _convection(self, modes: Tensor, velocity: Tensor) -> Tensor:
        """``-div(u u)`` in the moving frame."""
        grid = self.grid
        u, v, w = velocity
        result = (self.frame * grid.ikx) * modes
        spanwise = grid.to_spectral(u * w)
        result[0] -= grid.ikx * grid.to_spectral(u * u) + grid.ikz * spanwise
        result[2] -= grid.ikx * spanwise + grid.ikz * grid.to_spectral(w * w)
        for component, ik in ((0, grid.ikx), (2, grid.ikz)):
            below, above = velocity[component, :-1], velocity[component, 1:]
            # Plain mean of the advected velocity, volume-weighted mean of the advecting one: this conserves energy.
            flux = grid.to_spectral((below + above).mul_(v[1:]).mul_(0.5))
            result[component, :-1] -= flux * grid.per_cell[:-1]
            result[component, 1:] += flux * grid.per_cell[1:]
            result[1, 1:] -= ik * grid.to_spectral(torch.lerp(below, above, grid.upper).mul_(v[1:]))
        middle = 0.5 * torch.cat((v[:-1] + v[1:], v[-1:]))
        flux = grid.to_spectral(middle.square())
        result[1, 1:] -= (flux[1:] - flux[:-1]) * grid.per_gap[1:]
        return result
