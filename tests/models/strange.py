"""Fields unlike turbulence, drawn by seed: those that general models learned from, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.flows.synthetic import KINDS, random_phases

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Field = NDArray[np.float64]
    """(3, z, y, x)."""
    Draw = Callable[[np.random.Generator, int], Field]


def positions(n: int) -> Field:
    """Of cells along z, y, x, in edges of the cube."""
    return (np.indices((n, n, n)) + 0.5) / n


def waves(random: np.random.Generator, n: int) -> Field:
    """A plane wave of at least eight fine cells a wavelength."""
    k = random.integers(-n // 14, n // 14 + 1, size=3)
    k[random.integers(3)] = 1
    phase = np.tensordot(k, positions(n), axes=1) + random.random()
    wave: Field = random.normal(size=3)[:, None, None, None] * np.sin(2 * np.pi * phase)
    return wave


def jets(random: np.random.Generator, n: int) -> Field:
    """A straight jet with a Gaussian profile."""
    z, y, _ = positions(n) - random.random(3)[:, None, None, None]
    squared = (z - z.round()) ** 2 + (y - y.round()) ** 2
    return np.stack([np.exp(-squared / random.uniform(0.06, 0.2) ** 2), np.zeros_like(z), np.zeros_like(z)])


def shear_layers(random: np.random.Generator, n: int) -> Field:
    """Two layers across y, and weak random phases."""
    _, y, _ = positions(n)
    width = random.uniform(0.03, 0.1)
    layers = np.tanh((y - 0.25) / width) - np.tanh((y - 0.75) / width) - 1
    noise: Field = random_phases(random, n)
    field: Field = np.stack([layers, np.zeros_like(y), np.zeros_like(y)])
    field += random.choice([0.01, 0.1]) * noise / noise.std()
    return field


def ramps(random: np.random.Generator, n: int) -> Field:
    """A sawtooth along an axis."""
    phase = (random.integers(1, 4) * positions(n)[random.integers(3)] + random.random()) % 1
    ramp: Field = random.normal(size=3)[:, None, None, None] * (phase - 0.5)
    return ramp


def layers(random: np.random.Generator, n: int) -> Field:
    """Every other, third ... eighth layer of cells along an axis."""
    moving = np.indices((n, n, n))[random.integers(3)] % random.integers(2, 9) == 0
    field: Field = random.normal(size=3)[:, None, None, None] * moving
    return field


def white_noise(random: np.random.Generator, n: int) -> Field:
    """Nothing between cells is known."""
    return random.normal(size=(3, n, n, n))


RESOLVED: tuple[Draw, ...] = (*KINDS["synthetic"], waves, jets, shear_layers)
"""Fields of which coarse cells show something."""
UNRESOLVED: tuple[Draw, ...] = (*KINDS["single-cells"], ramps, layers, white_noise)
"""Fields that hold structures of single cells alone, and interpolation is as good as any guess."""
