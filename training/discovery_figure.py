"""The figure of a discovery: Y, and how well each element of the group is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.discovery.discover import Finding
    from models.discovery.pairs import Pairs

KEPT, BROKEN = COLOURS["equivariant"], COLOURS["relaxed"]
ROUND_OFF = 1e-17
COLUMNS = 4


def deciding(finding: Finding, sigmas: float | None) -> tuple[str, dict[str, float], float | None]:
    """What tells which elements are kept: its name, its values, and up to which of them an element is kept.

    Args:
        finding: to be drawn.
        sigmas: of the recipe of its fit, see [`Recipe`][models.discovery.fit.Recipe].
    """
    if not finding.p_values:
        return "equivariance error", finding.equivariance_errors, None
    if sigmas is None:
        return "p-value", finding.p_values, None
    # The identity has neither a share nor an error.
    ratios = {name: share / (finding.common_errors[name] or 1) for name, share in finding.common.items()}
    return "common share / standard error", ratios, sigmas


def draw_findings(path: Path, cases: Sequence[tuple[str, Pairs, Finding]], sigmas: float | None) -> None:
    """Draw for each case Y (in 3D its mean along x), above what tells which elements are kept.

    Args:
        path: PNG to write.
        cases: names, pairs and findings.
        sigmas: of the recipe of their fits; None to draw p-values instead of shares.
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
        what, values, most = deciding(finding, sigmas)
        if most is None:
            values = {element: max(value, ROUND_OFF) for element, value in values.items()}
            elements.set(yscale="log", ylim=(ROUND_OFF / 10, 10))
        else:
            elements.axhline(most, color="grey", linestyle="--")
        for place, (element, value) in enumerate(values.items()):
            elements.plot(place, value, "o", ms=4, color=KEPT if element in finding.kept else BROKEN)
        elements.set(xlabel="element (blue: kept, orange: broken)", xticks=[])
        elements.set_ylabel("" if column else what)
    figure.savefig(path, dpi=110)
