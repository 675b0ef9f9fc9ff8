"""The first block of a view beside the next: whatever the volume is, nothing but the block itself may take long."""

from __future__ import annotations

import itertools
import math
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import zarr

from eddylift import Client
from tests.benchmarks.serving import running, untrained
from tests.benchmarks.timing import Ratio, Row
from tests.benchmarks.volumes import noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.scale import Scale

SECTION = "First block of a view"


def store(folder: Path, edge: int, chunk: int, *, sparse: bool) -> None:
    """A volume in a folder, of one chunk again and again; one that is sparse has its first chunk alone, and zeros."""
    group = zarr.create_group(folder, attributes={"boundary": "periodic"})
    part = noise(3, chunk, chunk, chunk)
    starts = range(0, chunk if sparse else edge, chunk)
    for name, values in zip("uvw", part, strict=True):
        array = group.create_array(
            name,
            shape=3 * (edge,),
            chunks=3 * (chunk,),
            dtype="float32",
            fill_value=0.0,
            compressors=None,
            dimension_names=("z", "y", "x"),
        )
        for z, y, x in itertools.product(starts, repeat=3):
            array[z : z + chunk, y : y + chunk, x : x + chunk] = values


def measure(scale: Scale) -> Sequence[Row]:
    """Rows of the section."""
    with ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        catalogue, model = untrained(folder / "weights", scale)
        served = kept.enter_context(running(catalogue.folder, folder / "data", EDDYLIFT_BLOCK=str(scale.edge)))
        client = kept.enter_context(Client(served.address))
        rows = []
        for edge, sparse in ((scale.viewed, False), (scale.viewed_sparse, True)):
            volume = folder / "data" / "volumes" / "volume"
            store(volume, edge, math.gcd(2 * scale.edge, edge), sparse=sparse)
            rows.append(_row(client, volume, model, scale, f"{edge}^3{', sparse' if sparse else ''}"))
            shutil.rmtree(folder / "data" / "volumes")
        return rows


def _row(client: Client, volume: Path, model: str, scale: Scale, size: str) -> Row:
    """First blocks of views of a volume beside blocks in their middle.

    In each round the volume has another name, so that the service knows nothing of it.
    """
    first, later = [], []
    for number in range(scale.slow_rounds + 1):
        volume = volume.rename(volume.with_name(f"round-{number}"))
        start = time.perf_counter()
        velocity = client.open(volume.name, model=model)["u"]
        velocity[:1, :1, :1].load()
        opened = time.perf_counter()
        middle = velocity.sizes["x"] // 2
        velocity[:1, :1, middle : middle + 1].load()
        first.append(1e3 * (opened - start))
        later.append(1e3 * (time.perf_counter() - opened))
    first, later = first[1:], later[1:]  # the first round loads what all share
    ours, other = statistics.median(first), statistics.median(later)
    more = (ours - other) / 1e3
    return Row(
        SECTION,
        f"opening a view of {size}, and its first block",
        "a block in its middle",
        "ms",
        ours,
        other,
        Ratio.of(later, first),
        note=f"blocks of {scale.edge}^3; {more:+.2f} s, where +1 s is the most that is wanted",
    )
