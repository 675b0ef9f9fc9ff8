"""Super-resolution of a large block in slabs, one behind the other along z.

In every layer, neighbouring slabs share planes, as many as its convolution reaches. These are kept from one slab to the
next, so that nothing is computed twice: a block takes no longer than at once, but only the memory of a slab.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from models.superresolution import Scale

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    import numpy as np
    from jaxtyping import Float
    from numpy.typing import NDArray
    from torch import Tensor

    from models.convolution import Axes
    from models.superresolution import SuperResolution


class Stream:
    """Computes the slabs of one block.

    Args:
        model: a frozen model.
        coarse: the block with its halo, (frame, 3, z, y, x).
        error: whether to predict the error, too.
    """

    def __init__(self, model: SuperResolution, coarse: NDArray[np.float32], *, error: bool = False) -> None:
        self.model = model
        self.error = error
        self._scale = Scale.of(torch.from_numpy(coarse)[None])
        self._kept: dict[Hashable, Tensor] = {}

    def __call__(
        self, slab: Float[Tensor, "batch frame 3 z y x"], circular: Axes
    ) -> Float[Tensor, "batch channel fine_z fine_y fine_x"]:
        """Super-resolve the planes whose halo becomes complete with this slab.

        Args:
            slab: the next planes; the first slab has more planes than two halos, and gives as many as it has more.
            circular: axes (z, y, x) to wrap around; z must not be one of them.
        """
        # Kept there, as a copy from the CPU waits until the device is done with the slabs before.
        self._scale = Scale(*(part.to(slab.device) for part in self._scale))
        return self.model.compute(slab, circular, self._scale, error=self.error, join=self._join)

    @contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """Forget a slab that is given in this context if an error ends that, so that the slab can be given again."""
        kept = dict(self._kept)
        try:
            yield
        except BaseException:
            self._kept = kept
            raise

    def _join(self, place: Hashable, x: Tensor, radius: int) -> Tensor:
        if place in self._kept:
            x = torch.cat([self._kept[place], x], dim=-3)
        # A copy, as a part of a tensor holds all of it.
        self._kept[place] = x[..., x.shape[-3] - 2 * radius :, :, :].clone()
        return x
