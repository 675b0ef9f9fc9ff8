"""How much is measured: enough to tell something, or just enough to see that all of it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.networks import Architecture

if TYPE_CHECKING:
    from models.blocks import Cells


# As in weights/.
SERVED = Architecture("relaxed", "O", 4, 4)


@dataclass(frozen=True)
class Scale:
    """Sizes, in coarse cells, and numbers.

    Attributes:
        rounds: in which contestants take turns.
        slow_rounds: the same where a round takes minutes.
        network: the network that is served.
        cells: edge of a small volume.
        published_fields: hidden width of the published layout.
        published_cells: edge of the volume that it is given.
        whole: a volume that takes several blocks.
        edge: longest edge of a block of it.
        clients: numbers of clients that send at the same time.
        requests: fewest requests of a round, all clients together.
        shapes: of volumes that come mixed.
        job_edge: of the blocks of a job.
        viewed: edge of a volume that is viewed.
        viewed_sparse: edge of another one, most of which is not stored.
        arrivals: requests of a round at a fixed load.
        matrix: edge of the matrices whose product is the roof.
        copied: bytes that are copied to see how fast memory is.
    """

    rounds: int = 7
    slow_rounds: int = 3
    network: Architecture = SERVED
    cells: int = 16
    published_fields: int = 16
    published_cells: int = 4
    whole: Cells = (48, 48, 48)
    edge: int = 32
    clients: tuple[int, ...] = (1, 8, 32)
    requests: int = 16
    shapes: tuple[Cells, ...] = ((8, 8, 8), (8, 8, 8), (8, 12, 16), (12, 12, 12), (16, 8, 16), (16, 16, 16))
    job_edge: int = 24
    viewed: int = 256
    viewed_sparse: int = 1024
    arrivals: int = 100
    matrix: int = 2048
    copied: int = 2**28

    @property
    def device(self) -> torch.device:
        """What computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


FULL = Scale()
QUICK = Scale(
    rounds=2,
    slow_rounds=1,
    network=Architecture("relaxed", "O", 1, 1, banks=2),
    cells=8,
    published_fields=1,
    published_cells=2,
    whole=(16, 8, 8),
    edge=8,
    clients=(1, 3),
    requests=3,
    shapes=((4, 4, 4), (4, 6, 8)),
    job_edge=4,
    viewed=32,
    viewed_sparse=64,
    arrivals=6,
    matrix=128,
    copied=2**20,
)
