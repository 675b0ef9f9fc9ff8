"""Compares a stored super-resolved volume with a reference, slab by slab, so that neither must fit into memory."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.blocks import Block, Plan
from models.metrics import compare as comparison
from models.operators import trilinear
from service.engine.scores import mean_of
from service.formats.error import ERROR
from service.formats.grid import length_of
from service.formats.names import Naming
from service.formats.reference import check_means, comparison_warnings, first_compared, require_fit
from service.jobs.fill import block_indices
from service.problems import storing, within
from service.runtime.threads import Stop
from service.volumes.cost import check_plane
from service.volumes.files import require_room
from service.volumes.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from models.blocks import Read
    from service.jobs.progress import Progress
    from service.runtime.threads import Threads
    from service.settings import Settings
    from service.volumes.source import OpenVolume
    from service.volumes.storage import Storage
    from service.volumes.view import View


HALO = 1
# Fine cells in a slab.
SLAB = 1 << 23
# Longest edge of the part, in coarse cells, whose block means are looked at.
EDGE = 16


def require_reference(view: View, reference: OpenVolume) -> None:
    """Refuse a reference that a view cannot be compared with.

    Raises:
        Problem: as ``require_fit`` does; "too-large" if the answer has too many chunks to be compared.
    """
    _, rows, columns = view.layout.counts
    check_plane("answer", " x ".join(map(str, view.chunk)), rows * columns, "a larger EDDYLIFT_BLOCK makes them larger")
    require_fit(view.source, reference, view.card, view.boundary)


def reference_warnings(view: View, reference: OpenVolume) -> tuple[str, ...]:
    """What seems doubtful about a view and a reference that fits it."""
    about_both = comparison_warnings(view.source, reference, view.boundary)
    return (*view.warnings, *_check_means(view, reference), *about_both)


def spectra_bytes(view: View) -> int:
    """Size in bytes of the temporary files of the spectra: half of the wavenumbers of one component, as complex128."""
    return 8 * math.prod(view.fine_cells)


async def compare(
    view: View,
    target: Storage,
    reference: OpenVolume,
    progress: Progress,
    *,
    settings: Settings,
    scratch: Path,
    threads: Threads,
) -> dict[str, Any]:
    """All metrics of a stored answer and of trilinear interpolation, as `POST /v1/validate` gives them.

    Args:
        view: that the answer is of.
        target: where the answer is.
        reference: the true fine volume.
        progress: is kept up to date.
        settings: for limits.
        scratch: folder for temporary files of the spectra.
        threads: for comparing.

    Raises:
        Problem: as reading does; "no-room" if the disk has none for the spectra.
    """
    stopped = Stop()

    def measure() -> dict[str, Any]:
        with within("answer"):
            naming = Naming(drop=(ERROR,) if view.error else ())
            # Its chunks are as large as this service's blocks.
            unlimited = settings.model_copy(update={"max_decoded_bytes": sys.maxsize})
            answer = open_source(target, target.tag().digest, unlimited, naming=naming, factor=view.card.factor)
        with storing(f"the spectra of {reference.name}"):
            scratch.mkdir(parents=True, exist_ok=True)
            require_room(scratch, settings.spare_bytes, spectra_bytes(view))
        report = _measure(view, answer, reference, progress, scratch, stopped)
        return {**report, "expected_mae": stored_mean_error(view, target, stopped) if view.error else None}

    return await threads.run(measure, stopped=stopped)


def _measure(
    view: View,
    answer: OpenVolume,
    reference: OpenVolume,
    progress: Progress,
    scratch: Path,
    stopped: Stop,
) -> dict[str, Any]:
    require_reference(view, reference)
    progress.warnings = reference_warnings(view, reference)
    first = first_compared(reference, view.levels)
    rows: dict[str, list[dict[str, Any]]] = {"metrics": [], "trilinear": []}

    def note(done: int, total: int) -> None:
        stopped.check()
        if progress.stage != "comparing":
            progress.begin("comparing", 2 * view.levels * total, 0)
        progress.done = sum(map(len, rows.values())) * total + done

    with storing(f"the spectra of {reference.name}"):
        for level in range(view.levels):
            coarse = one_level(view.source, level + view.card.frames // 2)
            plain = interpolated(view, coarse)
            for name, ours in (("metrics", one_level(answer, level)), ("trilinear", plain)):
                found = comparison.compare(
                    ours,
                    one_level(reference, first + level),
                    coarse,
                    plain,
                    cells=reference.cells,
                    boundary=view.boundary,
                    length=length_of(reference, view.source),
                    factor=view.card.factor,
                    slab=SLAB,
                    scratch=scratch,
                    progress=note,
                )
                rows[name].append(found)
    means = {name: mean_of(each) for name, each in rows.items()}
    about = {"model": view.card.name, "boundary": list(view.boundary), "levels": view.levels}
    return {**about, "warnings": list(progress.warnings), **means}


def _check_means(view: View, reference: OpenVolume) -> tuple[str, ...]:
    """See ``check_means``; in the middle of the volume, at the middle time."""
    level, factor = view.levels // 2, view.card.factor
    part = [slice(n // 2 - min(n, EDGE) // 2, n // 2 + min(n, EDGE) // 2) for n in view.source.cells]
    fine = [slice(factor * each.start, factor * each.stop) for each in part]
    with within("source"):
        coarse = one_level(view.source, level + view.card.frames // 2)(*part)
    with within("reference"):
        true = one_level(reference, first_compared(reference, view.levels) + level)(*fine)
    return check_means(coarse, true)


def stored_mean_error(view: View, target: Storage, stopped: Stop) -> float:
    """Mean of the expected errors that are stored, read chunk by chunk."""
    total, cells = 0.0, 0
    for index in block_indices(view):
        stopped.check()
        # The last chunk of a block is the error; it is NaN outside of the volume.
        chunk = np.frombuffer(target.get(view.keys(index)[-1]) or b"", "<f4")
        there = chunk[np.isfinite(chunk)]
        total += float(there.sum(dtype=np.float64))
        cells += len(there)
    return total / cells


def one_level(source: OpenVolume, level: int) -> Read[np.float32]:
    """Read velocity, (3, z, y, x), of one level."""
    return lambda z, y, x: source.read(range(level, level + 1), z, y, x)[0]


def interpolated(view: View, coarse: Read[np.float32]) -> Read[np.float32]:
    """Read trilinear interpolation of a level, (3, fine z, fine y, fine x), computed where it is read."""
    layout = Plan(view.source.cells, (1, 1, 1), HALO, view.boundary)
    factor = view.card.factor

    def read(z: slice, y: slice, x: slice) -> Any:  # noqa: ANN401 float32
        wanted = (z, y, x)
        start = tuple(each.start // factor for each in wanted)
        stop = tuple(-(-each.stop // factor) for each in wanted)
        padded = layout.assemble(coarse, Block(start, stop))
        fine = trilinear(torch.from_numpy(padded)[None], factor=factor)[0].numpy()
        inner = (
            slice(each.start - factor * first, each.stop - factor * first)
            for each, first in zip(wanted, start, strict=True)
        )
        return np.ascontiguousarray(fine[:, *inner])

    return read
