"""Super-resolution of a velocity field that keeps every symmetry of Navier-Stokes that a single frame can have.

    answer = up(u) + bounded(N(u)), then answer + repeat(u - mean(answer))

up is trilinear interpolation, N the network, and the last step makes the block mean of the answer equal its input.
All of it is local: N depends only on differences between cells and scales with them. So the answer follows Galilean
boosts and changes of amplitude, without a mean or an amplitude of the volume. N itself keeps rotations and reflections.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks import plan
from models.convolution import NOWHERE, Axes, Join, Precision, crop, freeze, whole
from models.operators import FACTOR, coarsen, refine, trilinear, variation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.networks import Family, Network
    from models.uncertainty import ErrorHead

Real = TypeVar("Real", bound=np.floating[Any])
LIMIT = 2.0
"""Longest residual that a network may add, in units of the [`variation`][models.operators.variation].

In these units, an answer is at most 2 ``LIMIT`` + 1.02 from trilinear interpolation. The consistency step subtracts the
mean of the residual, at most ``LIMIT``, and that of the interpolation's error, at most 1.011: it is a sum of
differences between neighbours, whose coefficients have a norm of 1.011 / sqrt(18).
"""


class Scale(NamedTuple):
    """What is subtracted from a block, and what it is divided by, before it is computed.

    It changes the answer only by round-off, and keeps that small for any boost and amplitude.
    """

    shift: Float[Tensor, "batch 1 3 1 1 1"]
    unit: Float[Tensor, "batch 1 1 1 1 1"]

    @classmethod
    def of(cls, coarse: Float[Tensor, "batch frame 3 z y x"]) -> Scale:
        """A typical velocity of each block, and the power of two next to the largest difference from it."""
        shift = _typical(coarse.detach())
        return cls(shift, _power_of_two(coarse.detach() - shift))


class SuperResolution(nn.Module):
    """A model as it is served: network, bound, interpolation and consistency together.

    Args:
        network: the learned part; None is plain trilinear interpolation, which is not consistent with its input.
        factor: of plain interpolation; a network has its own.
        error_head: predicts the errors of answers; None if nothing does.

    Attributes:
        factor: fine cells per coarse cell along an axis.
        frames: number of time levels in the input.
        halo: coarse cells needed at both ends of an axis that is not circular.
    """

    def __init__(
        self, network: Network | None = None, factor: int = FACTOR, error_head: ErrorHead | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.error_head = error_head
        self.factor = network.factor if network else factor
        self.frames: int = network.architecture.frames if network else 1
        self.halo: int = max(network.halo, 1) if network else 1

    @property
    def family(self) -> Family:
        """Which of the four families this is."""
        return self.network.architecture.family if self.network else "trilinear"

    def frozen(self, precision: Precision = "float32") -> SuperResolution:
        """A snapshot for inference, its kernels built once.

        Args:
            precision: of the network's convolutions, and of what is between them; all else stays as it is.
        """
        return freeze(self, precision)

    def forward(
        self, coarse: Float[Tensor, "batch frame 3 z y x"], circular: Axes = NOWHERE
    ) -> Float[Tensor, "batch 3 fine_z fine_y fine_x"]:
        """Super-resolve blocks.

        Args:
            coarse: velocity with ``halo`` more cells at both ends of every axis that is not circular.
            circular: axes (z, y, x) that the block spans whole and that wrap around.
        """
        return self.compute(coarse, circular, Scale.of(coarse), error=False)

    def with_error(
        self, coarse: Float[Tensor, "batch frame 3 z y x"], circular: Axes = NOWHERE
    ) -> Float[Tensor, "batch 4 fine_z fine_y fine_x"]:
        """Super-resolve blocks, and predict the absolute error of each fine cell, as a fourth channel; see ``forward``.

        Raises:
            ValueError: if the model has no ``error_head``.
        """
        if self.error_head is None:
            message = f"this {self.family} model does not predict its error"
            raise ValueError(message)
        return self.compute(coarse, circular, Scale.of(coarse), error=True)

    def compute(self, coarse: Tensor, circular: Axes, scale: Scale, *, error: bool, join: Join = whole) -> Tensor:
        """Super-resolve blocks, or slabs of one; see ``forward``.

        Args:
            coarse: as ``forward`` takes it, or the next planes of a block.
            circular: axes to wrap around.
            scale: of the blocks.
            error: whether to predict the error, too.
            join: joins slabs; see [`Stream`][models.streaming.Stream].
        """
        shift, unit = scale
        x = (coarse - shift) / unit
        now = join(self, x[:, self.frames // 2], self.halo)
        interpolated = trilinear(crop(now, self.halo - 1, circular), circular, self.factor)
        if self.network is None:
            return interpolated * unit[:, 0] + shift[:, 0]
        features = self.network.features(x.flatten(1, 2), circular, join)
        local = refine(variation(crop(now, self.halo - 1, circular), circular), self.factor)
        answer = interpolated + bounded(self.network.refined(features, circular), LIMIT * local)
        answer = answer + refine(crop(now, self.halo, circular) - coarsen(answer, self.factor), self.factor)
        velocity = answer * unit[:, 0] + shift[:, 0]
        if error and self.error_head is not None:
            expected = self.error_head(features, now, local, answer - interpolated, circular)
            velocity = torch.cat([velocity, expected * unit[:, 0]], dim=1)
        return velocity


def _typical(coarse: Float[Tensor, "batch frame 3 z y x"]) -> Float[Tensor, "batch 1 3 1 1 1"]:
    """The median velocity of some cells of a block, which a few outliers do not change."""
    some = coarse[..., ::4, ::4, ::4].transpose(1, 2).flatten(2)
    return some.median(dim=2).values[:, None, :, None, None, None]


def _power_of_two(x: Float[Tensor, "batch frame 3 z y x"]) -> Float[Tensor, "batch 1 1 1 1 1"]:
    """The power of two next to the largest value of each block, as far as there are normal numbers."""
    largest = x.abs().amax(dim=(1, 2, 3, 4, 5), keepdim=True)
    low, high = (math.frexp(number)[1] - 1 for number in (torch.finfo(x.dtype).tiny, torch.finfo(x.dtype).max))
    return torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent.clamp(low, high))


def bounded(
    residual: Float[Tensor, "batch 3 z y x"], limit: Float[Tensor, "batch 1 z y x"]
) -> Float[Tensor, "batch 3 z y x"]:
    """A vector field with lengths bounded softly: r l / sqrt(l^2 + |r|^2), and 0 where the limit l is."""
    squares = limit.square() + residual.to(limit.dtype).square().sum(dim=1, keepdim=True)
    return residual * (limit / squares.clamp_min(torch.finfo(limit.dtype).tiny).sqrt())


@torch.inference_mode()
def upscale(
    model: SuperResolution,
    source: NDArray[Real],
    boundary: Boundaries,
    *,
    block: int | None = None,
    error: bool = False,
) -> NDArray[Real]:
    """Super-resolve a volume in this process, block after block.

    Args:
        model: a model, preferably frozen.
        source: velocity, (3, z, y, x) or (frame, 3, z, y, x).
        boundary: what lies beyond the ends of each axis (z, y, x).
        block: longest edge of a block in coarse cells; the default is that of [`plan`][models.blocks.plan].
        error: also give the expected absolute error of each fine cell, as a fourth channel.

    Returns:
        Velocity, (3, f z, f y, f x) with f the model's factor; (4, ...) with ``error``.

    Raises:
        ValueError: if the source has another rank, or another number of frames or components than the model takes, or
            if ``error`` is asked of a model that does not predict it.
    """
    frames = source[None] if source.ndim == 4 else source  # noqa: PLR2004 (component, z, y, x)
    if frames.ndim != 5 or frames.shape[:2] != (model.frames, 3):  # noqa: PLR2004 (frame, component, z, y, x)
        message = f"source must have shape ({model.frames}, 3, z, y, x), not {source.shape}"
        raise ValueError(message)
    layout = plan(frames.shape[2:], halo=model.halo, boundary=boundary, **({} if block is None else {"block": block}))
    weight = next(model.parameters(), next(model.buffers(), torch.zeros(())))
    fine = np.empty((4 if error else 3, *(model.factor * n for n in layout.shape)), frames.dtype)
    compute = model.with_error if error else model
    for part in layout.blocks:
        coarse = torch.from_numpy(layout.gather(frames, part)).to(weight.device)[None]
        answer = compute(coarse, layout.circular)
        fine[:, *part.fine(model.factor)] = answer[0].cpu().numpy()
    return fine
