"""Flows in a plane, for forecasting: sets of short runs, simulated at once and stored as one array.

The folder ``<flow>-<set>-<n>`` holds ``frames.npy``, (run, frame, component, y, x) float32 with components (u, v) and,
of smoke, the density; and ``run.json``, which says what each run is, with its ``dx`` and the ``dt`` between frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.forecasting.forecaster import Units
from models.group import rotate_scalar
from models.replacing import replacing
from training.flows import plumes
from training.flows.planar import Planar, random_vorticity
from training.results import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float
    from torch import Tensor

SETS = {"smoke": ("translation", "rotation", "scale", "levels"), "planar": ("decaying",)}
"""Of each flow."""
ABOUT = "smoke: plumes in a box; planar: decaying turbulence in a plane"
FRAMES = {"translation": 100, "rotation": 100, "scale": 100, "levels": 60, "decaying": 100}
"""Of each set."""
CELLS = 32
"""A side, unless more are asked for."""
RUNS, VISCOSITY, EDGE = 24, 0.005, 2 * np.pi
"""Of planar turbulence."""


def simulate(flow: str, name: str | None, n: int, seed: int, out: Path) -> Path:
    """Simulate a set of runs, unless it is there, and return its folder.

    Args:
        flow: ``smoke`` or ``planar``.
        name: of the set; None for the first one of the flow.
        n: cells a side.
        seed: of planar turbulence; smoke has nothing random.
        out: where folders are kept.

    Raises:
        ValueError: if the flow has no such set.
    """
    name = SETS[flow][0] if name is None else name
    if name not in SETS[flow]:
        message = f"set must be one of {', '.join(SETS[flow])} for {flow} flow, not {name!r}"
        raise ValueError(message)
    folder = out / (f"{flow}-{name}-{n}" + (f"-seed{seed}" if flow == "planar" else ""))
    if (folder / "run.json").exists():
        return folder
    frames, about = _smoke(name, n) if flow == "smoke" else _planar(n, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "frames.npy") as path, path.open("wb") as file:
        np.save(file, frames.float().numpy())
    write_json(folder / "run.json", {"flow": flow, "set": name, "n": n, **about})
    return folder


def _smoke(name: str, n: int) -> tuple[Tensor, dict[str, Any]]:
    runs = plumes.plumes(name)
    about = {"boundary": ["wall", "wall"], "nu": 0.0, **plumes.describe(runs, n)}
    return plumes.simulate(runs, n, FRAMES[name]), about


def _planar(n: int, seed: int) -> tuple[Tensor, dict[str, Any]]:
    frames, units = decaying(n, seed)
    about = {"boundary": ["periodic", "periodic"], "nu": units.nu, "seed": seed}
    about |= {"runs": [{"inflow": run} for run in range(RUNS)], "dx": [units.dx] * RUNS, "dt": [units.dt] * RUNS}
    return frames, about


def decaying(
    n: int, seed: int, *, turn: Tensor | None = None, mean: tuple[float, float] = (0.0, 0.0), scale: float = 1.0
) -> tuple[Float[Tensor, "run frame 2 n n"], Units]:
    """Decaying turbulence whose fluid moves by half a cell (rms) in the time between frames, and its units.

    Args:
        n: cells a side.
        seed: of the vorticity at the start.
        turn: matrix by which the start is turned.
        mean: velocity of all the fluid.
        scale: a of ``u -> a u(a x, a^2 t)``.
    """
    start = random_vorticity(RUNS, n, seed)
    if turn is not None:
        start = rotate_scalar(start, turn)
    units = Units(EDGE / n, EDGE / n / 2, VISCOSITY).scaled(scale)
    flow = Planar(scale**2 * start, units.nu, n * units.dx, scale * torch.tensor([mean] * RUNS, dtype=start.dtype))
    frames = []
    for _ in range(FRAMES["decaying"]):
        frames.append(flow.velocity())
        for _ in range(2):
            flow.step(units.dt / 2)
    return torch.stack(frames, dim=1), units
