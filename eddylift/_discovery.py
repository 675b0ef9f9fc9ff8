"""The symmetries that the service finds in pairs of fields (X, Y)."""

from __future__ import annotations

from typing import Any

from eddylift._record import Record, html_table, spell


class Discovery(Record):
    """Which symmetries pairs of fields (X, Y) keep.

    Attributes:
        group: group whose elements were tested.
        elements: elements of ``group``, each named by the image of the point x,y or x,y,z.
        kept: elements of the largest subgroup that the pairs keep.
        symbol: Hermann-Mauguin symbol of the group of the kept elements.
        exact: whether the relaxation weights of all layers keep this group to rounding, which is 1e-9 in float64 and
            1e-4 in float32; otherwise the pairs keep it on average.
        layers: for each layer of the network, the elements that it keeps to rounding (``kept``), the ``symbol`` of
            their group, and the share of each irrep in its relaxation weights (``irreps``).
        moved: irreps in the relaxation weights after the fit, averaged over the kept elements; if no symmetry is
            broken, only A, A1 or A1g.
        p_values: for each element, the share of random turns of the pairs, by powers of it, after which they keep it no
            better than before; small values mean that it is broken. Which group is kept is decided by tests of whole
            groups. Empty with too few pairs.
        common: for each element, the part of the departures from it that all pairs have in common: about 0 if it is
            kept on average, 1 if all pairs break it in the same way. To be used if the pairs depend on each other.
            Empty with too few pairs.
        common_errors: standard errors of ``common``; empty likewise, and missing in answers of older services.
        equivariance_errors: ||f(g x) - g f(x)|| / ||f(x)|| of the fitted network f, for each element g.
        error_inside: largest equivariance error of the kept elements.
        error_outside: smallest equivariance error of the other elements; None if all are kept.
        mse: mean squared error of the fit, over all channels in the units of Y.
        mse_zero: mean squared error of predicting zero, for scalars their mean; over all channels, as ``mse``.
        mse_copy: mean squared error of copying X, as ``mse``; that of ``mse_zero`` if Y is another kind of field.
        unfitted: channels of Y, counted from 0, in which the fit is hardly better than predicting zero or copying X:
            elements that count as kept may be broken. Missing in answers of older services.
        unlike: channels of Y whose rms is so far from that of X, which is subtracted, that their units may differ;
            missing likewise.
        verdict: the result in words.
    """

    _optional = frozenset({"common_errors", "unfitted", "unlike"})

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
    unfitted: list[int]
    unlike: list[int]
    verdict: str

    def _repr_html_(self) -> str:
        """Show the elements as a table in a notebook, the verdict above."""
        return html_table(self.verdict, self.rows(), self.titles())

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
