"""Which symmetries a run breaks, read from relaxation weights of a trained network at the start of its adaptation.

A trained equivariant network becomes a relaxed one, whose relaxation weights w are one. The gradient of the loss of a
snapshot with respect to w says how an adaptation to this snapshot moves them. What all snapshots have in common in it
breaks a symmetry; see [`statistics`][models.discovery.statistics].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.discovery.statistics import common_shares
from models.irreps import element_names
from models.layers import GroupLayer
from training.adapt import descend
from training.derived import Derived
from training.samples import Source
from training.trainer import relative_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Cells, Window
    from models.superresolution import SuperResolution
    from training.dataset import StoredRun

SNAPSHOTS = 12


@dataclass(frozen=True)
class Snapshot(Derived):
    """One snapshot of a run.

    Attributes:
        index: its number.
    """

    index: int

    @property
    def name(self) -> str:
        """Such as ``rotating-64-seed1[3]``."""
        return f"{self.source.name}[{self.index}]"

    @property
    def cells(self) -> Cells:
        """Those of the run."""
        return self.source.cells

    def count(self, frames: int) -> int:
        """One, if it has so many frames."""
        return min(1, self.source.count(frames))

    def window(self, index: int, where: Window, frames: int) -> NDArray[np.float32]:
        """Velocity (frame, 3, z, y, x) in some cells."""
        return self.source.window(self.index + index, where, frames)

    def provenance(self) -> dict[str, Any]:
        """What a card says of it."""
        return {**self.source.provenance(), "part": self.name}


def shares_in_adaptation(parent: SuperResolution, run: StoredRun) -> dict[str, float]:
    """For each element of the network's group, the share of the departures from it that snapshots have in common.

    Args:
        parent: an equivariant model.
        run: snapshots all over it are read.

    Raises:
        ValueError: if the parent is of another family.
    """
    if parent.family != "equivariant":
        message = f"--from: a model that is {parent.family}; expected one that is equivariant"
        raise ValueError(message)
    model = descend(parent, "relaxed", mirrored=False)  # it would keep one reflection, whatever the run breaks
    layers = [layer for layer in model.modules() if isinstance(layer, GroupLayer)]
    gradients = relaxation_gradients(model, layers, run)
    over = layers[0].over
    return dict(zip(element_names(over), common_shares(gradients, over), strict=True))


def relaxation_gradients(
    model: SuperResolution, layers: list[GroupLayer], run: StoredRun
) -> Float[Tensor, "snapshot layer element"]:
    """Of each snapshot's loss with respect to relaxation weights, each layer's in units of its rms."""
    chosen = np.linspace(0, len(run) - 1, min(SNAPSHOTS, len(run))).round().astype(int)
    weights = [layer.relaxation for layer in layers if layer.relaxation is not None]
    rows = []
    for index in chosen.tolist():
        one = Snapshot(run, index)
        # Drawn at random places, as large structures that last would else lie alike in the coarse cells of all.
        sample = Source(
            [one],
            halo=model.halo,
            factor=model.factor,
            frames=model.frames,
            augment=False,
            device="cpu",
            seed=index,
            keep=0,
        ).draw()
        error = relative_error(model(sample.coarse, sample.circular), sample, model)
        rows.append(torch.cat(torch.autograd.grad(error, weights)))
    gradients = torch.stack(rows).double()
    return gradients / gradients.square().mean(dim=(0, 2), keepdim=True).sqrt().clamp_min(1e-300)
