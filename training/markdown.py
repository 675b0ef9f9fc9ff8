"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    ruler = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ruler, *rows))


def mean_and_std(found: Mapping[str, float], spelled: str) -> str:
    """A metric of a card: its mean and, of several samples, standard deviation."""
    return " ± ".join(f"{found[name]:{spelled}}" for name in ("mean", "std") if name in found)
