"""The samples in ``weights/held-out/``, which no model was trained on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.blocks import CUBE, PERIODIC
from models.catalogue import GENERAL
from models.npy import PARSING
from models.operators import FACTOR
from models.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.blocks import Boundaries

HELD_OUT = "held-out"
ABOUT = "sample.json"
FIRST_FLOW = "isotropic"


class HeldOut(NamedTuple):
    """A sample that no model was trained on, shipped with the weights.

    Attributes:
        coarse: velocity, (frame, 3, z, y, x); block means of the fine field.
        fine: velocity at the middle frame, (3, f z, f y, f x) with f the factor.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).
        run: the simulation that it is from.
    """

    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]
    boundary: Boundaries = PERIODIC
    length: tuple[float, float, float] = CUBE
    run: str = ""

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell along an axis."""
        return int(self.fine.shape[-1] // self.coarse.shape[-1])


class HeldOutSamples:
    """The samples that are shipped with the models of a folder.

    Args:
        weights: such as ``weights/``.
    """

    def __init__(self, weights: Path) -> None:
        self.folder = weights / HELD_OUT

    def names(self) -> list[str]:
        """In order: ``<flow>-x<factor>``, and ``-<n>frames`` if there are several."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{ABOUT}"))

    def read(self, name: str) -> HeldOut:
        """The sample of a name in [`names`][models.held_out.HeldOutSamples.names]."""
        folder = self.folder / name
        with PARSING:
            coarse, fine = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("coarse", "fine"))
        about = json.loads((folder / ABOUT).read_text())
        z, y, x = about["boundary"]
        length_z, length_y, length_x = about["length"]
        framed = 5
        return HeldOut(
            coarse if coarse.ndim == framed else coarse[None],
            fine,
            (z, y, x),
            (length_z, length_y, length_x),
            about["run"],
        )

    def folder_of(self, flow: str | None, frames: int, factor: int) -> Path:
        """Where the sample is that models of this flow are measured on."""
        flow = FIRST_FLOW if flow in (None, GENERAL) else flow
        return self.folder / (f"{flow}-x{factor}" + (f"-{frames}frames" if frames > 1 else ""))

    def find(self, flow: str | None, frames: int = 1, factor: int = FACTOR) -> HeldOut | None:
        """The sample of a flow, or of ``FIRST_FLOW`` for models of no or any flow; None if there is none."""
        folder = self.folder_of(flow, frames, factor)
        return self.read(folder.name) if folder.exists() else None

    def write(self, flow: str, sample: HeldOut) -> Path:
        """Write the sample of a flow: ``coarse.npy`` and ``fine.npy``, which can be sent as they are."""
        frames = len(sample.coarse)
        folder = self.folder_of(flow, frames, sample.factor)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"coarse": sample.coarse[0] if frames == 1 else sample.coarse, "fine": sample.fine}
        for name, values in arrays.items():
            with replacing(folder / f"{name}.npy") as path:
                np.save(path, values)
        about = {"run": sample.run, "boundary": sample.boundary, "length": sample.length}
        with replacing(folder / ABOUT) as path:
            path.write_text(json.dumps(about, indent=2) + "\n")
        return folder
