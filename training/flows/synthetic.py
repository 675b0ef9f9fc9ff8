"""Fields that no equation of motion gives, such as random phases, fronts, vortices and single cells.

A network that has seen only turbulence adds turbulence to everything. With these fields it also learns not to, where a
field is not turbulent. All are periodic. Each is drawn from the seed and its number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from models.blocks import CUBE, PERIODIC
from models.metrics.traits import traits
from models.operators import FACTOR, coarsen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from training.runs import Recipe, Record

    Random = np.random.Generator
    Field = NDArray[np.float64]
    """(3, z, y, x); scalars are (z, y, x)."""


def random_phases(random: Random, n: int) -> Field:
    """Random phases with ``E ~ k^-p exp(-(k / c)^2)`` of random slope p and cutoff c, free of divergence or not."""
    k = _wavenumbers(n)
    squared = np.maximum((k**2).sum(axis=0), 1.0)
    cutoff = n * random.uniform(0.1, 2)
    modes = np.fft.fftn(random.normal(size=(3, n, n, n)), axes=(1, 2, 3))
    modes *= squared ** (-(random.uniform(0, 6) + 2) / 4) * np.exp(-squared / (2 * cutoff**2))
    if random.random() < 1 / 2:
        modes -= k * (k * modes).sum(axis=0) / squared
    return np.fft.ifftn(modes, axes=(1, 2, 3)).real


def fronts(random: Random, n: int) -> Field:
    """Layers between parallel planes, each with a velocity of its own."""
    layer = (6 * _phase(random, n)).astype(int) % 6
    return _smooth(_some_velocities(random, 6)[layer].transpose(3, 0, 1, 2), random)


def sawteeth(random: Random, n: int) -> Field:
    """Ramps that begin anew at parallel planes."""
    field: Field = _some_velocities(random, 1)[0][:, None, None, None] * ((_phase(random, n) % 1) - 0.5)
    return _smooth(field, random)


def drops(random: Random, n: int) -> Field:
    """Balls that move in a fluid at rest."""
    field = np.zeros((3, n, n, n))
    for velocity in _some_velocities(random, int(random.integers(1, 8))):
        squared = (_offsets(n, random.random(3)) ** 2).sum(axis=0)
        field[:, squared < random.uniform(0.05, 0.4) ** 2] = velocity[:, None]
    return _smooth(field, random)


def vortices(random: Random, n: int) -> Field:
    """Straight vortices along the axes, with a Gaussian core (Lamb & Oseen's without its far field)."""
    field = np.zeros((3, n, n, n))
    for _ in range(random.integers(1, 9)):
        z, y, x = random.permutation(3)
        offsets, core = _offsets(n, random.random(3)), random.uniform(0.02, 0.15)
        profile = random.normal() * np.exp(-(offsets[y] ** 2 + offsets[x] ** 2) / core**2) / core
        field[2 - x] -= offsets[y] * profile
        field[2 - y] += offsets[x] * profile
        field[2 - z] += random.normal() * core * profile
    return field


def foam(random: Random, n: int) -> Field:
    """The cells of Voronoi's diagram of random points, each with a velocity of its own."""
    centres = random.random((random.integers(2, 30), 3))
    nearest = np.stack([(_offsets(n, centre) ** 2).sum(axis=0) for centre in centres]).argmin(axis=0)
    return _smooth(_some_velocities(random, len(centres))[nearest].transpose(3, 0, 1, 2), random)


def bursts(random: Random, n: int) -> Field:
    """Random phases, much louder in some places than in others."""
    loudness, field = random_phases(random, n)[0], random_phases(random, n)
    louder: Field = np.exp(random.uniform(0.3, 2) * loudness / loudness.std())
    return field * louder


def points(random: Random, n: int) -> Field:
    """Single cells with a velocity in a fluid at rest, such as faulty measurements."""
    field = np.zeros((3, n, n, n))
    for velocity in _some_velocities(random, int(random.integers(1, 30))):
        field[:, *random.integers(n, size=3)] = velocity
    return field


KINDS: dict[str, tuple[Callable[[Random, int], Field], ...]] = {
    "synthetic": (random_phases, fronts, sawteeth, drops, vortices, foam, bursts),
    "single-cells": (points,),
}
"""The kinds of fields by flow. Cards do not count them among the fields that a prediction of errors learned from."""


class SyntheticSimulation:
    """See [`Simulation`][training.runs.Simulation]. Nothing moves: each interval of time brings another field.

    Raises:
        ValueError: if another box is asked for than the cube, several frames, or fewer points.
    """

    columns = "    #  kind           roughness  divergence"
    restart_after = math.inf
    usual: ClassVar[dict[str, float]] = {}

    def __init__(self, recipe: Recipe, device: str, state: dict[str, Any] | None = None) -> None:
        if recipe.box != 1 or recipe.frames != 1 or recipe.compact:
            message = (
                f"box, frames, compact of synthetic fields: {recipe.box:g}, {recipe.frames}, {recipe.compact}; "
                "expected 1, 1, False"
            )
            raise ValueError(message)
        self.recipe, self.device, self.kinds = recipe, device, KINDS[recipe.flow]
        self.time = 0.0 if state is None else float(state["time"])

    def advance(self, until: float) -> None:
        """Go to the next field."""
        self.time = until

    def velocity(self) -> Tensor:
        """The field of this time, with an rms of one."""
        number = self._number(self.time)
        field = self.kinds[number % len(self.kinds)](np.random.default_rng((self.recipe.seed, number)), self.recipe.n)
        return torch.from_numpy(field / np.sqrt(np.square(field).mean())).to(self.device)

    def record(self) -> Record:
        """Traits of the coarse field."""
        found = traits(coarsen(self.velocity()[None], FACTOR)[0].cpu().numpy())
        return {"time": self.time, "roughness": found["roughness"], "divergence": found["divergence"]}

    def row(self, record: Record) -> str:
        """One line of the table."""
        kind = self.kinds[self._number(record["time"]) % len(self.kinds)].__name__
        return f"{kind:14} {record['roughness']:9.3f} {record['divergence']:11.3f}"

    def summary(self, records: list[Record]) -> str:
        """Number of fields, and their kinds."""
        return f"{len(records)} fields: {', '.join(kind.__name__ for kind in self.kinds)}"

    def description(self) -> dict[str, Any]:
        """The box."""
        return {"length": CUBE, "boundary": PERIODIC}

    def state(self) -> dict[str, Any]:
        """The time."""
        return {"time": self.time}

    def _number(self, time: float) -> int:
        """Number of the field at a time."""
        return round((time - self.recipe.moment(0)) / self.recipe.interval)


def _positions(n: int) -> Field:
    """Positions of cells along z, y, x, in edges of the cube."""
    middles = (np.arange(n) + 0.5) / n
    return np.stack(np.meshgrid(middles, middles, middles, indexing="ij"))


def _offsets(n: int, centre: NDArray[np.float64]) -> Field:
    """Distances from the nearest image of a point along z, y, x, in edges of the cube."""
    offsets: Field = _positions(n) - centre[:, None, None, None]
    return offsets - np.round(offsets)


def _phase(random: Random, n: int) -> Field:
    """Phase, in periods, of a plane wave in a random direction."""
    direction = random.integers(-2, 3, size=3)
    direction[random.integers(3)] = 1
    phase: Field = np.tensordot(direction, _positions(n), axes=1) + random.random()
    return phase


def _wavenumbers(n: int) -> Field:
    """Wavenumbers of the modes, along x, y, z, in the order of components."""
    k = np.fft.fftfreq(n, 1 / n)
    return np.stack(np.meshgrid(k, k, k, indexing="ij"))[::-1]


def _some_velocities(random: Random, count: int) -> NDArray[np.float64]:
    return random.normal(size=(count, 3))


def _smooth(field: Field, random: Random) -> Field:
    """The field as it is, or smoothed by a Gaussian filter."""
    width = random.choice([0.0, 0.5, 1.0, 2.0, 4.0])
    if not width:
        return field
    reach = int(4 * width + 0.5)
    shifts = np.arange(-reach, reach + 1)
    weights = np.exp(-((shifts / width) ** 2) / 2)
    weights /= weights.sum()
    for axis in (1, 2, 3):
        parts = (weight * np.roll(field, shift, axis) for shift, weight in zip(shifts, weights, strict=True))
        field = np.sum(list(parts), axis=0)
    return field
