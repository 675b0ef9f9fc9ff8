"""Checks a volume before it is computed: do its ends fit its boundary, and has the model learned such errors?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.ends import check_on_walls, check_periods, check_walls, summarise_readable
from models.metrics.traits import unlike
from service.formats.names import AXES
from service.problems import Problem, invalid_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries, Cells, Read
    from models.catalogue import Card
    from models.ends import Ends, FieldSummary


def summarise(read: Read[np.float32], cells: Cells) -> FieldSummary:
    """Summarise a volume; see [`summarise_readable`][models.ends.summarise_readable].

    Parts with values that cannot be velocities are left out; these are refused with their block.

    Args:
        read: gives velocity, (..., z, y, x), in ranges of cells.
        cells: of the volume, along (z, y, x).
    """

    def part(*where: slice) -> NDArray[np.float32] | None:
        try:
            return np.asarray(read(*where))
        except Problem as problem:
            if problem.kind not in {"unfit", "malformed"}:
                raise
            return None

    return summarise_readable(part, cells)


def check_ends(ends: Ends, boundary: Boundaries) -> tuple[str, ...]:
    """A warning about axes that are taken as periodic; see [`check_periods`][models.ends.check_periods].

    Raises:
        Problem: 422 if the last plane of one is the first one again: its period would be one cell too long.
    """
    repeated = [
        axis for axis, end, kind in zip(AXES, ends, boundary, strict=True) if (end, kind) == ("repeated", "periodic")
    ]
    if repeated:
        last = ", ".join(f"{axis}=slice(None, -1)" for axis in repeated)
        raise invalid_field(
            field=repeated[0],
            value=f"periodic, but the last plane repeats the first one (along {', '.join(repeated)})",
            expected="each plane of a period once: leave out the last plane, as xarray's "
            f".isel({last}) does, or name another boundary",
        )
    return check_periods(ends, boundary)


MEANINGS: Final = {
    ("roughness", "low"): "it is smooth at its own grid, as if it were fine already",
    ("roughness", "high"): "it varies from cell to cell as noise does",
    ("skewness", "low"): "its gradients are more skewed than those of turbulence",
    ("skewness", "high"): "its gradients are not skewed as those of turbulence, as if its phases were random",
    ("divergence", "low"): "it has less divergence than block means have",
    ("divergence", "high"): "it is not the coarse field of an incompressible flow, its cells are far from cubes, or "
    "its components are mixed up or of the wrong sign",
}


def is_like_learned(summary: FieldSummary, card: Card) -> bool:
    """Whether a model has learned to predict its errors on such fields; True of models that do not know."""
    return not unlike(summary.traits, card.learned, summary.cells)


def check_likeness(summary: FieldSummary, card: Card) -> tuple[str, ...]:
    """A warning if a field is unlike all that a model has learned to predict its errors on."""
    found = unlike(summary.traits, card.learned, summary.cells)
    if not found:
        return ()
    told = "; ".join(
        f"{MEANINGS[name, side]} ({name} {summary.traits[name]:.2f}, learned {low:.2f} to {high:.2f})"
        for name, side in found.items()
        for low, high in [card.learned[name]]
    )
    unless = ", unless its components are wrong" if found.get("divergence") == "high" else ""
    warning = (
        f"the model {card.name} has not learned to predict its errors on fields like this one: {told}. Expected errors "
        f"may be far off; the answer itself may be good{unless}"
    )
    return (warning,)


def check_field(summary: FieldSummary, boundary: Boundaries, card: Card) -> tuple[str, ...]:
    """Warnings about a volume, its boundary and a model; see ``check_ends`` for errors."""
    walls = check_walls(summary, boundary) + check_on_walls(summary, boundary)
    return check_ends(summary.ends, boundary) + walls + check_likeness(summary, card)
