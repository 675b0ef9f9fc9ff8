"""The figure of a discovery: Y, and how well each element of the group is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.discovery import Finding
    from models.pairs import Pairs

KEPT, BROKEN = COLOURS["equivariant"], COLOURS["relaxed"]
ROUND_OFF = 1e-17
COLUMNS = 4


def draw_findings(path: Path, cases: Sequence[tuple[str, Pairs, Finding]]) -> None:
    """Draw for each case Y (in 3D its mean along x), above the equivariance errors of the fit, or p-values.

    Args:
        path: PNG to write.
        cases: names, pairs and findings.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    columns = min(COLUMNS, len(cases))
    rows = -(-len(cases) // columns)
    figure = Figure(figsize=(3.2 * columns, 5 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for number, (name, pairs, finding) in enumerate(cases):
        row, column = divmod(number, columns)
        image, elements = panels[2 * row : 2 * row + 2, column]
        (y,) = pairs.y[:1]
        field = y.norm(dim=0) if pairs.y_kind == "vector" else y.sum(dim=0)
        seen = field.mean(dim=-1) if pairs.dimension == 3 else field  # noqa: PLR2004
        image.imshow(seen.numpy(), origin="lower", cmap="Blues")
        image.set(xticks=[], yticks=[], title=f"{name}: {finding.symbol}, {len(finding.kept)} of {finding.group}")
        image.set_xlabel("y" if pairs.dimension == 3 else "x")  # noqa: PLR2004
        image.set_ylabel("z" if pairs.dimension == 3 else "y")  # noqa: PLR2004
        values = finding.p_values or finding.equivariance_errors
        for place, (element, value) in enumerate(values.items()):
            colour = KEPT if element in finding.kept else BROKEN
            elements.semilogy(place, max(value, ROUND_OFF), "o", ms=4, color=colour)
        what = "p-value" if finding.p_values else "equivariance error"
        elements.set(xlabel="element (blue: kept, orange: broken)", xticks=[], ylim=(ROUND_OFF / 10, 10))
        elements.set_ylabel("" if column else what)
    figure.savefig(path, dpi=110)
