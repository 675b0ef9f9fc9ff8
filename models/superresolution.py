"""Super-resolution of a velocity field, exact in every symmetry of Navier-Stokes that a frame can carry.

    f(u) = m + s N((u - m) / s)

with m the mean velocity and s the rms of all components about it, taken over the whole volume, makes f commute with
Galilean boosts and amplitude scaling. N adds a learned residual to trilinear interpolation; the consistency step then
makes the block mean of the answer equal its input, u + up(coarse - mean(u)). Rotations and reflections are N's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks import plan
from models.layers import NOWHERE, Axes, Precision, crop, freeze
from models.operators import FACTOR, coarsen, refine, trilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.networks import Family, Network


Real = TypeVar("Real", bound=np.floating[Any])


class SuperResolution(nn.Module):
    """A model as it is served: normalisation, network, interpolation and consistency together.

    Args:
        network: the learned part; None is plain trilinear interpolation, which is not consistent with its input.

    Attributes:
        factor: fine cells per coarse cell along an axis.
        frames: time levels in.
        halo: coarse cells needed at both ends of an axis that is not circular.
    """

    factor = FACTOR

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.network = network
        self.frames: int = network.architecture.frames if network else 1
        self.halo: int = max(network.halo, 1) if network else 1

    @property
    def family(self) -> Family:
        """Which of the four families this is."""
        return self.network.architecture.family if self.network else "trilinear"

    def frozen(self, precision: Precision = "float32") -> SuperResolution:
        """A snapshot for inference, its kernels built once.

        Args:
            precision: of the network's convolutions, and of what is between them; normalisation, interpolation and the
                consistency step stay as they are.
        """
        return freeze(self, precision)

    def forward(
        self,
        coarse: Float[Tensor, "batch frame 3 z y x"],
        mean: Float[Tensor, "batch 3"],
        scale: Float[Tensor, " batch"],
        circular: Axes = NOWHERE,
    ) -> Float[Tensor, "batch 3 fine_z fine_y fine_x"]:
        """Super-resolve blocks.

        Args:
            coarse: velocity with ``halo`` more cells at both ends of every axis that is not circular.
            mean: mean velocity of the whole volume that each block is from, in its units.
            scale: rms of all components about that mean; 0 gives back the mean.
            circular: axes (z, y, x) that the block spans whole and that wrap around.
        """
        shift = mean[:, :, None, None, None]
        stretch = scale[:, None, None, None, None]
        unit = torch.where(stretch == 0, torch.ones_like(stretch), stretch)
        x = (coarse - shift[:, None]) / unit[:, None]
        now = x[:, self.frames // 2]
        answer = trilinear(crop(now, self.halo - 1, circular), circular)
        if self.network is not None:
            answer = answer + self.network(x.flatten(1, 2), circular)
            answer = answer + refine(crop(now, self.halo, circular) - coarsen(answer, FACTOR))
        return shift + stretch * answer


def moments(source: NDArray[Real]) -> tuple[NDArray[Real], Real]:
    """Mean velocity and rms of all components about it, over all frames and cells, in the units of the source.

    Args:
        source: velocity, (frame, 3, z, y, x).
    """
    means = source.mean(axis=(0, 2, 3, 4), dtype=np.float64)
    squares = [np.square(source[:, c] - means[c], dtype=np.float64).mean() for c in range(3)]
    return means.astype(source.dtype), source.dtype.type(np.sqrt(np.mean(squares)))


@torch.inference_mode()
def upscale(
    model: SuperResolution,
    source: NDArray[Real],
    boundary: Boundaries,
    *,
    block: int | None = None,
) -> NDArray[Real]:
    """Super-resolve a volume in this process, block after block.

    Args:
        model: a model, preferably frozen.
        source: velocity, (3, z, y, x) or (frame, 3, z, y, x).
        boundary: what lies beyond the ends of each axis (z, y, x).
        block: longest edge of a block in coarse cells; the default is that of [`plan`][models.blocks.plan].

    Returns:
        Velocity, (3, 4 z, 4 y, 4 x).

    Raises:
        ValueError: if the source has another rank, or another number of frames or components than the model takes.
    """
    frames = source[None] if source.ndim == 4 else source  # noqa: PLR2004 (component, z, y, x)
    if frames.ndim != 5 or frames.shape[:2] != (model.frames, 3):  # noqa: PLR2004 (frame, component, z, y, x)
        message = f"source must have shape ({model.frames}, 3, z, y, x), not {source.shape}"
        raise ValueError(message)
    layout = plan(frames.shape[2:], halo=model.halo, boundary=boundary, **({} if block is None else {"block": block}))
    weight = next(model.parameters(), next(model.buffers(), torch.zeros(())))
    mean, scale = (torch.as_tensor(value, device=weight.device)[None] for value in moments(frames))
    fine = np.empty((3, *(FACTOR * n for n in layout.shape)), frames.dtype)
    for part in layout.blocks:
        coarse = torch.from_numpy(layout.gather(frames, part)).to(weight.device)[None]
        answer = model(coarse, mean, scale, layout.circular)
        fine[:, *part.fine(FACTOR)] = answer[0].cpu().numpy()
    return fine
