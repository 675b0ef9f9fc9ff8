"""Forecasts that keep the symmetries of the Navier-Stokes equations.

    frames -> cells per frame -> moving with the mean velocity -> network, step by step -> back

The input of the network, ``u dt / dx`` and ``nu dt / dx^2``, is invariant under ``u -> a u(a x, a^2 t)``. Boosts are
along periodic axes, where fields can be shifted by any distance without loss; between walls there is no such symmetry.
Nor is there one for weights that belong to places, which would move along. The network itself keeps translations and
quarter turns. A plain network is left without all of this.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.convolution import freeze
from models.forecasting.network import Scales

if TYPE_CHECKING:
    from typing import Self

    from models.convolution import Axes, Precision
    from models.forecasting.network import ForecastNetwork


@dataclass(frozen=True)
class Units:
    """Units of the frames.

    Attributes:
        dx: edge of a cell, the same along both axes.
        dt: time between frames.
        nu: viscosity.
    """

    dx: float = 1.0
    dt: float = 1.0
    nu: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "nu"):
                message = f"{name} must be {'at least' if name == 'nu' else 'more than'} 0, not {value}"
                raise ValueError(message)

    def scaled(self, by: float) -> Units:
        """Units of ``u -> by u(by x, by^2 t)``, for the same number of cells and frames."""
        return Units(self.dx / by, self.dt / by**2, self.nu)


class Forecaster(nn.Module):
    """A network and the symmetries around it.

    Args:
        network: the learned part.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        super().__init__()
        self.network = network
        self.frames: int = network.architecture.frames
        self.boosts = network.architecture.family not in {"plain", "relaxed-translation"}

    def forward(
        self,
        frames: Float[Tensor, "batch frame 2 y x"],
        steps: int,
        circular: Axes,
        units: Units = Units(),
    ) -> Float[Tensor, "batch step 2 y x"]:
        """The next frames.

        Args:
            frames: velocity (u, v), evenly spaced in time; of more than the network takes, the last ones count.
            steps: how many frames to forecast.
            circular: whether the axes (y, x) wrap around.
            units: units of the frames and of the answer.

        Raises:
            ValueError: for fewer frames, or no steps.
        """
        if frames.shape[1] < self.frames or steps < 1:
            message = f"frames and steps must be at least {self.frames} and 1, not {frames.shape[1]} and {steps}"
            raise ValueError(message)
        seen = frames[:, -self.frames :] * (units.dt / units.dx)
        along = torch.tensor([wraps and self.boosts for wraps in circular[::-1]], dtype=seen.dtype, device=seen.device)
        mean = seen.mean(dim=(1, 3, 4)) * along
        seen = boost(seen, -mean, circular, first=1 - self.frames)
        numbers = (units.nu * units.dt / units.dx**2, units.dx / units.dt)
        scales = Scales(*(seen.new_full((len(seen),), number) for number in numbers))
        answer = boost(self.roll_out(seen, steps, circular, scales), mean, circular, first=1)
        return answer * (units.dx / units.dt)

    def roll_out(
        self,
        frames: Float[Tensor, "batch frame 2 y x"],
        steps: int,
        circular: Axes,
        scales: Scales,
    ) -> Float[Tensor, "batch step 2 y x"]:
        """The network's answers in cells per frame; each becomes input for the next one."""
        for _ in range(steps):
            following = self.network(frames[:, -self.frames :], circular, scales)
            frames = torch.cat((frames, following[:, None]), dim=1)
        return frames[:, -steps:]

    def frozen(self, precision: Precision = "float32") -> Self:
        """A copy for inference, with kernels built."""
        return freeze(self, precision)


def boost(
    frames: Float[Tensor, "batch frame 2 y x"], velocity: Float[Tensor, "batch 2"], circular: Axes, *, first: int = 0
) -> Float[Tensor, "batch frame 2 y x"]:
    """``u(x, t) -> u(x - V t, t) + V``: the same flow from a frame of reference that moves by -V.

    Shifts are exact, by Fourier modes. The mode at the Nyquist wavenumber of an even number of cells cannot be shifted
    and is left out.

    Args:
        frames: velocity (u, v) in cells a frame.
        velocity: V, in the same units.
        circular: whether the axes (y, x) wrap around.
        first: number of the first frame; frame 0 is not shifted.

    Raises:
        ValueError: for a velocity along an axis that does not wrap around.
    """
    for component, name, wraps in zip((0, 1), "xy", circular[::-1], strict=True):
        if not wraps and bool((velocity[:, component] != 0).any()):
            message = f"velocity along {name} must be 0 between walls, not {velocity[:, component].tolist()}"
            raise ValueError(message)
    times = first + torch.arange(frames.shape[1], dtype=frames.dtype, device=frames.device)
    for component, axis in ((0, -1), (1, -2)):
        if circular[axis]:
            frames = shift(frames, velocity[:, component, None] * times, axis)
    return frames + velocity[:, None, :, None, None]


def shift(
    frames: Float[Tensor, "batch frame 2 y x"], cells: Float[Tensor, "batch frame"], axis: int
) -> Float[Tensor, "batch frame 2 y x"]:
    """Move periodic frames by some cells along an axis, without their Nyquist modes; see ``boost``."""
    n = frames.shape[axis]
    k = torch.arange(n // 2 + 1, dtype=frames.dtype, device=frames.device)
    phase = torch.exp(-2j * math.pi / n * k * cells[..., None])
    if n % 2 == 0:
        phase[..., -1] = 0
    phase = phase[:, :, None, None, :] if axis == -1 else phase[:, :, None, :, None]
    moved: Tensor = torch.fft.irfft(torch.fft.rfft(frames, dim=axis) * phase, n=n, dim=axis)
    return moved
