"""Jobs on stored volumes: throughput beside the bare model's on the volume undivided, memory beside a smaller one's."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eddylift import Client
from models.blocks import PERIODIC
from models.superresolution import upscale
from tests.benchmarks.serving import running, untrained
from tests.benchmarks.timing import Ratio, Row, alternate, by_voxels
from tests.benchmarks.volumes import noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.scale import Scale

SECTION = "Jobs"
MEMORY = "Memory of jobs"


def measure(scale: Scale) -> Sequence[Row]:
    """Rows of both sections."""
    with ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        catalogue, model = untrained(folder / "weights", scale)
        served = kept.enter_context(running(catalogue.folder, folder / "data", EDDYLIFT_BLOCK=str(scale.job_edge)))
        client = kept.enter_context(Client(served.address))
        sources = {}
        for name, edge in (("small", 2 * scale.job_edge), ("large", 4 * scale.job_edge)):
            sources[name] = noise(3, edge, edge, edge)
            group = {each: (("z", "y", "x"), part) for each, part in zip("uvw", sources[name], strict=True)}
            client.upload(xr.Dataset(group, attrs={"boundary": "periodic"}), name)

        def work(name: str) -> None:
            shutil.rmtree(folder / "data" / "volumes" / "fine", ignore_errors=True)
            client.submit(name, "fine", model=model).wait()

        work("small")
        peaks = {name: served.peak(lambda name=name: work(name)) for name in sources}  # type: ignore[misc]
        bare = catalogue.load(model, str(scale.device))
        answer: list[np.ndarray] = []
        seconds = alternate(
            {
                "job": lambda: work("large"),
                "bare": lambda: answer.append(upscale(bare, sources["large"], PERIODIC, block=4 * scale.job_edge)),
            },
            scale.slow_rounds,
            warm=False,
        )
        found = xr.open_zarr(folder / "data" / "volumes" / "fine", consolidated=True)
        stored = np.stack([found[each].values for each in "uvw"])
        away = float(np.sqrt(np.square(stored - answer[0]).mean() / np.square(stored - stored.mean()).mean()))
        note = f"{4 * scale.job_edge}^3 in 64 blocks of {scale.job_edge}^3"
        pair = ("a job, from volume to volume", seconds["job"]), ("the bare model, undivided", seconds["bare"])
        voxels = (16.0 * scale.job_edge) ** 3
        large, small = peaks["large"], peaks["small"]
        return [
            by_voxels(SECTION, *pair, voxels, difference=away, note=note),
            Row(
                MEMORY,
                "peak memory of the service, 64 blocks",
                "8 blocks",
                "MB",
                large,
                small,
                Ratio.of([small], [large]),
                note="a source eight times as large; below 1 by what it adds",
            ),
        ]
