"""Barium titanate: densities of its phases, from crystal structures in files beside this one.

A file has lattice vectors a, b and c in Angstrom, along the pseudo-cubic axes, and atoms by their shares of these. All
phases are drawn in one cube, of the edge of the cubic cell, so that a phase keeps its own symmetry on the grid. A
structure that is drawn by its shares of its own cell would look cubic where the cell alone is distorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

STRUCTURES = Path(__file__).parent / "structures"
SPECIES = ("Ba", "Ti", "O")
PHASES = ("cubic", "tetragonal", "orthorhombic", "rhombohedral")
CELLS = 8
EDGE = 4.0
"""Of the cube, in Angstrom."""
WIDTH = 0.35
"""Standard deviation of an atom's Gaussian, in Angstrom: near a grid cell's edge, so that shifts below one count."""


@dataclass(frozen=True)
class Structure:
    """A crystal.

    Attributes:
        lattice: vectors as rows, Angstrom.
        species: of each atom.
        shares: of the lattice vectors, for each atom.
    """

    lattice: Float[np.ndarray, "3 3"]
    species: tuple[str, ...]
    shares: Float[np.ndarray, "atom 3"]


def read_structure(phase: str) -> Structure:
    """The structure of a phase, one of `PHASES`."""
    lines = (line.split() for line in (STRUCTURES / f"{phase}.txt").read_text().splitlines())
    rows = [(words[0], [float(word) for word in words[1:]]) for words in lines if words and words[0] != "#"]
    atoms = rows[3:]
    return Structure(
        np.array([vector for _, vector in rows[:3]]),
        tuple(name for name, _ in atoms),
        np.array([shares for _, shares in atoms]),
    )


def density(structure: Structure) -> Float[Tensor, "species z y x"]:
    """A channel for each species, the sum of Gaussians at its atoms in all cells around, on a cube about a Ba atom."""
    places = EDGE * ((np.arange(CELLS) + 0.5) / CELLS - 0.5)
    z, y, x = np.meshgrid(places, places, places, indexing="ij")
    cube = np.stack([x, y, z], axis=-1)
    channels = np.zeros((len(SPECIES), CELLS, CELLS, CELLS))
    shifts = np.stack(np.meshgrid(*3 * [np.arange(-2, 3)], indexing="ij"), axis=-1).reshape(-1, 3)
    for name, share in zip(structure.species, structure.shares, strict=True):
        for atom in (share + shifts) @ structure.lattice:
            distance = ((cube - atom) ** 2).sum(axis=-1)
            channels[SPECIES.index(name)] += np.exp(-distance / (2 * WIDTH**2))
    return torch.from_numpy(channels)
