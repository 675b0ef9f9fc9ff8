"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    ruler = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ruler, *rows))


def mean_and_std(found: Mapping[str, float], spelled: str) -> str:
    """A metric of a card: its mean and, of several samples, standard deviation."""
    return " ± ".join(f"{found[name]:{spelled}}" for name in ("mean", "std") if name in found)


def spell_resolution(found: Mapping[str, Any]) -> str:
    """How well coarse cells resolve a flow, such as ``Re_lambda 47, 6.0 eta``.

    Args:
        found: as [`StoredRun.resolution`][training.dataset.StoredRun.resolution] returns it, and perhaps more.
    """
    if "re_tau" in found:
        edges = " x ".join(f"{edge:.0f}" for edge in found["coarse_cell_plus"])
        return f"Re_tau {found['re_tau']:.0f}, {edges} wall units"
    if "re_lambda" not in found:
        return "no viscosity"
    least, largest = (f"{edge:.1f}" for edge in found["coarse_cell_over_eta"])
    return f"Re_lambda {found['re_lambda']:.0f}, {least if least == largest else f'{least} to {largest}'} eta"
