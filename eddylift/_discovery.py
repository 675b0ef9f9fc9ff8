"""The symmetries that the service finds in pairs of fields (X, Y)."""

from __future__ import annotations

import html
from typing import Any

from eddylift._record import Record, spell


class Discovery(Record):
    """Which symmetries pairs of fields (X, Y) keep.

    Attributes:
        group: whose elements were asked about.
        elements: of it, each named by where it takes the point x,y or x,y,z.
        kept: elements of the largest subgroup that is kept.
        symbol: its Hermann-Mauguin symbol.
        exact: whether it is kept to rounding, in all layers of the network; otherwise on the average.
        layers: ``kept``, ``symbol`` and shares of ``irreps`` of each layer, to rounding.
        moved: irreps in which relaxation weights moved.
        p_values: of each element by itself, by a test of what the pairs keep on the average; which group is kept is
            decided by tests of whole groups; empty with too few pairs for it.
        common: share of the departures from each element that pairs have in common, about 0 where it is kept on the
            average and 1 where all depart alike; to be looked at where pairs are not independent; empty likewise.
        common_errors: standard errors of these shares; empty likewise, and missing in answers of older services.
        equivariance_errors: ||f(g x) - g f(x)|| / ||f(x)|| of the fitted network f for each element g.
        error_inside: the largest of them among the elements that are kept.
        error_outside: the smallest among the others; None if there are none.
        mse: mean squared error of the fit, over all channels in the units of Y.
        mse_zero: the same of predicting nothing.
        mse_copy: the same of copying X.
        verdict: what was found, in words.
    """

    group: str
    elements: list[str]
    kept: list[str]
    symbol: str
    exact: bool
    layers: dict[str, dict[str, Any]]
    moved: list[str]
    p_values: dict[str, float]
    common: dict[str, float]
    common_errors: dict[str, float]
    equivariance_errors: dict[str, float]
    error_inside: float
    error_outside: float | None
    mse: float
    mse_zero: float
    mse_copy: float
    verdict: str

    def _repr_html_(self) -> str:
        """Show the elements as a table in a notebook, the verdict above."""
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows())
        head = "".join(f"<th>{title}</th>" for title in self.titles())
        return f"<table><caption>{html.escape(self.verdict)}</caption><tr>{head}</tr>{cells}</table>"

    def titles(self) -> list[str]:
        """Return the titles of the columns of `rows`."""
        averages = ["p-value", "common", "standard error"] if self.p_values else []
        return ["element", "kept", "equivariance error", *averages]

    def rows(self) -> list[tuple[str, ...]]:
        """Return of each element: name, whether it is kept, and the numbers that the titles name."""
        averages = [self.p_values, self.common, self.get("common_errors", {})] if self.p_values else []
        return [
            (
                element,
                "yes" if element in self.kept else "no",
                *(spell(column.get(element)) for column in (self.equivariance_errors, *averages)),
            )
            for element in self.elements
        ]
