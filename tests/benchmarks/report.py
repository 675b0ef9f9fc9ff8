"""The table and the figure."""

from __future__ import annotations

import itertools
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tests.benchmarks.serving import LATENCY
from training.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from tests.benchmarks.roofline import Roofline
    from tests.benchmarks.timing import Row

FOREWORD = """\
# Measured against others

Written by `make bench`. In every comparison the contestants take turns in one process, and a ratio is the median of the
ratios of neighbouring turns, its extremes in brackets: above 1, ours is better. Times from different runs, and from
different comparisons, say little beside each other. *Off by* is the rms of the difference between the two answers over
that of ours, where they have to agree.

![Ratios, latencies and roofline](BENCH.png)
"""
COUNTED = """\
Operations are counted as they run: two for each multiplication of a convolution, 16 for a value interpolated, one for
each value otherwise. Bytes are those that each operation reads (weights too) and writes, as if no cache kept anything
in between. The roof is no hard one: caches keep much, and a library's convolution may be quicker than its product.
"""
OURS, OTHER = COLOURS["relaxed"], COLOURS["trilinear"]
NEAR = (0.25, 10)
"""Ratios that the figure's axis shows; those beyond are arrows at its end."""


def machine() -> str:
    """What this runs on."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    threads = torch.get_num_threads()
    device = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{processor}, {threads} thread{'s' * (threads > 1)}{device}; torch {torch.__version__}, float32"


def write(folder: Path, rows: Sequence[Row], roofline: Roofline, *, remark: str = "") -> None:
    """Write ``BENCH.md`` and ``BENCH.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [FOREWORD, f"On {machine()}.{' ' + remark if remark else ''}\n"]
    for section, group in itertools.groupby(rows, key=lambda row: row.section):
        parts.append(f"## {section}\n\n{_table(list(group))}")
    parts.append(f"## Roofline\n\n{_roofline(roofline)}")
    (folder / "BENCH.md").write_text("\n".join(parts))
    draw(folder / "BENCH.png", rows, roofline)


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(rows: Sequence[Row]) -> str:
    unit = rows[0].unit
    lines = [
        f"| ours | {unit} | beside | {unit} | ratio | off by | |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        ratio = row.ratio
        spread = f"**{number(ratio.median)}** ({number(ratio.low)} to {number(ratio.high)})" if ratio else "-"
        off = "-" if row.difference is None else f"{row.difference:.0e}" if row.difference else "0"
        cells = [row.ours, number(row.ours_value), row.other, number(row.other_value), spread, off, row.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _roofline(roofline: Roofline) -> str:
    foreword = (
        f"On the {roofline.device}: {roofline.product / 1e9:.1f} GFLOP/s in a large matrix product, "
        f"{roofline.memory / 1e9:.1f} GB/s in a large copy, with the same threads.\n{COUNTED}"
    )
    lines = [
        foreword,
        "| family | FLOP a fine voxel | bytes a fine voxel | FLOP/byte | GFLOP/s | roof, GFLOP/s | share |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for work in roofline.work:
        values = [work.operations, work.moved, work.intensity, work.rate / 1e9, work.roof / 1e9, work.rate / work.roof]
        lines.append(f"| {work.name} | {' | '.join(map(number, values))} |")
    return "\n".join(lines) + "\n"


def draw(path: Path, rows: Sequence[Row], roofline: Roofline) -> None:
    """Draw ratios, latencies and the roofline, one panel each."""
    figure = Figure(figsize=(15, 5.6), layout="constrained")
    ratios, latencies, roof = figure.subplots(1, 3, width_ratios=(1.5, 1, 1.1))
    _draw_ratios(ratios, [row for row in rows if row.ratio and row.unit == "voxels/s"])
    _draw_latencies(latencies, [row for row in rows if row.section == LATENCY])
    _draw_roofline(roof, roofline)
    for axes in (ratios, latencies, roof):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _draw_ratios(axes: Axes, rows: Sequence[Row]) -> None:
    names = [f"{row.ours}\nbeside {row.other}" for row in rows]
    for place, row in enumerate(rows):
        assert row.ratio is not None
        shown = min(max(row.ratio.median, NEAR[0]), NEAR[1])
        mark = "o" if shown == row.ratio.median else "<" if shown == NEAR[0] else ">"
        axes.plot([row.ratio.low, row.ratio.high], [place, place], color=OURS, lw=2)
        axes.plot(shown, place, mark, color=OURS, ms=6, clip_on=False)
        axes.annotate(
            number(row.ratio.median),
            (shown, place),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            fontsize=8,
        )
    axes.axvline(1, color=OTHER, lw=1, ls="--")
    axes.set(xscale="log", xlim=NEAR)
    axes.set_xticks([0.25, 0.5, 1, 2, 5, 10])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.8)
    axes.set(title="how many times as fast", xlabel="voxels/s over the other's (dashed: the same)")
    axes.tick_params(axis="y", length=0)


def _draw_latencies(axes: Axes, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    for shift, colour, label, values in (
        (-0.2, OURS, "batched", [row.ours_value or 0 for row in rows]),
        (0.2, OTHER, "one block at a time", [row.other_value or 0 for row in rows]),
    ):
        bars = axes.bar([place + shift for place in places], values, width=0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], fontsize=8)
    axes.set_xticks(list(places), [row.ours.partition(",")[0] for row in rows])
    axes.set(title="latency at a fixed load, mixed shapes", ylabel="ms")
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_roofline(axes: Axes, roofline: Roofline) -> None:
    intensities = [work.intensity for work in roofline.work]
    ridge = roofline.product / roofline.memory
    ends = min(*intensities, ridge) / 2, max(*intensities, ridge) * 3
    line = [ends[0], ridge, ends[1]]
    axes.loglog(line, [min(roofline.product, roofline.memory * x) / 1e9 for x in line], color="black", lw=1)
    marks = itertools.cycle("osD^v*")
    for work, mark in zip(roofline.work, marks, strict=False):
        colour = COLOURS.get(work.name, OTHER)
        axes.plot(work.intensity, work.rate / 1e9, mark, color=colour, ms=7, alpha=0.8, label=work.name)
    axes.set(
        title=f"roofline, {roofline.device}",
        xlabel="floating point operations per byte moved",
        ylabel="GFLOP/s",
    )
    axes.legend(frameon=False, fontsize=8, loc="lower right")
