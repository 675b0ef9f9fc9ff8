"""The figure of a discovery: Y, and how well each element of the group is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from models.discovery.discover import Finding
    from models.discovery.pairs import Pairs

KEPT, BROKEN = COLOURS["equivariant"], COLOURS["relaxed"]
ROUND_OFF = 1e-17
COLUMNS = 4
ELEMENT = 0.12
"""Height of the row of an element, in inches."""


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


def title_of(name: str, finding: Finding) -> str:
    """The name of a case, and below it the group that it keeps, such as: keeps group 2mm (4 of 8 elements of D4)."""
    count = len(finding.equivariance_errors)
    return f"{name}\nkeeps group {finding.symbol} ({len(finding.kept)} of {count} elements of {finding.group})"


def draw_findings(path: Path, cases: Sequence[tuple[str, Pairs, Finding]], sigmas: float | None) -> None:
    """Draw for each case Y (in 3D its mean along x), above what tells which elements are kept, by their names.

    Args:
        path: PNG to write.
        cases: names, pairs and findings.
        sigmas: of the recipe of their fits; None to draw p-values instead of shares.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 training runs on hosts without it

    columns = min(COLUMNS, len(cases))
    rows = -(-len(cases) // columns)
    most = max(len(finding.equivariance_errors) for _, _, finding in cases)
    heights = [2.8, 1 + ELEMENT * most]
    figure = Figure(figsize=(3.6 * columns, sum(heights) * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights * rows)
    for number, (name, pairs, finding) in enumerate(cases):
        row, column = divmod(number, columns)
        image, elements = panels[2 * row : 2 * row + 2, column]
        image.set_title(title_of(name, finding), fontsize=10)
        draw_target(image, pairs)
        draw_elements(elements, finding, sigmas)
    for axes in panels[-2:, len(cases) - columns * (rows - 1) :].flat:
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def draw_target(axes: Axes, pairs: Pairs) -> None:
    """The first Y: the length of a vector or the sum of scalars, in 3D its mean along x; a bar tells the colours."""
    solid = pairs.dimension == 3  # noqa: PLR2004
    (y,) = pairs.y[:1]
    field, what = (y.norm(dim=0), "|Y|") if pairs.y_kind == "vector" else (y.sum(dim=0), "Y")
    seen, what = (field.mean(dim=-1), f"{what}, mean along x") if solid else (field, what)
    image = axes.imshow(seen.numpy(), origin="lower", cmap="Blues")
    axes.set(xticks=[], yticks=[], xlabel="y" if solid else "x", ylabel="z" if solid else "y")
    axes.figure.colorbar(image, ax=axes, label=what, shrink=0.8)


def draw_elements(axes: Axes, finding: Finding, sigmas: float | None) -> None:
    """What tells which elements are kept, a row for each, from the first at the top."""
    what, values, most = deciding(finding, sigmas)
    if most is None:
        values = {element: max(value, ROUND_OFF) for element, value in values.items()}
        axes.set(xscale="log", xlim=(ROUND_OFF / 10, 10))
    else:
        axes.axvline(most, color="grey", linestyle="--")
    colours = [KEPT if element in finding.kept else BROKEN for element in values]
    axes.scatter(list(values.values()), range(len(values)), s=16, c=colours)
    axes.set_yticks(range(len(values)), list(values), fontsize=7, family="monospace")
    for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
        tick.set_color(colour)
    axes.set(xlabel=f"{what}\n(blue: kept, orange: broken)", ylim=(len(values) - 0.5, -0.5))
    axes.grid(axis="y", color="0.93")
    axes.set_axisbelow(True)
