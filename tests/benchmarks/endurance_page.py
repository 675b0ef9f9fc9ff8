"""What came of a run of endurance, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.catalogue import TRILINEAR
from tests.benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.benchmarks.endurance import Endurance

PHASES = ("without a job", "with a job")
# Most coarse cells of a request that counts as small.
SMALL = 512


def slope(times: Sequence[float], values: Sequence[float], parts: int = 12) -> tuple[float, float]:
    """Slope of a series a minute, and its standard error.

    Neighbouring samples are alike, so a line is fitted to the means of ``parts`` spans of time, not to samples.
    """
    t, v = (
        np.array([part.mean() for part in np.array_split(np.asarray(each), parts)])
        for each in (np.asarray(times) / 60, values)
    )
    centred = t - t.mean()
    rise = float(centred @ v / (centred @ centred))
    rest = v - v.mean() - rise * centred
    return rise, float(np.sqrt(rest @ rest / (parts - 2) / (centred @ centred)))


def write(path: Path, run: Endurance, bare: Sequence[Sequence[float]], remark: str) -> None:
    """Write what came of a run as a page."""
    tally = run.tally
    seconds = np.median(np.array(bare), axis=0)
    lines = [
        "# Endurance",
        "",
        _asked(run),
        "",
        f"On {machine()}. {remark}".strip(),
        "",
        "| requests | |",
        "|---|---|",
        f"| right, bit for bit | {len(tally.right):,} |",
        f"| 429 with Retry-After | {tally.refused:,} |",
        f"| wrong | {tally.wrong.total()} {dict(+tally.wrong) or ''} |",
        f"| jobs right, bit for bit | {tally.jobs} |",
        f"| blocks of jobs | {tally.blocks:,} |",
        f"| hostile attacks | {tally.hostile.total():,} |",
        "",
        "| | " + " | ".join(PHASES) + " |",
        "|---|---|---|",
    ]
    columns = [_column(run, phase, seconds) for phase in PHASES]
    lines += [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    first, last = (np.array(part).sum(axis=1).mean() for part in (bare[: len(bare) // 2], bare[len(bare) // 2 :]))
    lines += [
        "",
        _explained(first, last),
        "",
        "The hostile client was told (0: closed without a word):",
        "",
        "| attack | status: times |",
        "|---|---|",
    ]
    for way in sorted({way for way, _ in tally.hostile}):
        told = ", ".join(f"{status}: {count}" for (each, status), count in sorted(tally.hostile.items()) if each == way)
        lines.append(f"| {way.replace('_', ' ')} | {told} |")
    path.write_text("\n".join(lines) + "\n")


def _asked(run: Endurance) -> str:
    """What was asked, as a paragraph."""
    load = run.load
    return (
        f"`python -m tests.benchmarks.endurance --minutes {load.seconds / 60:g}`: {load.clients} clients with "
        f"{len(run.cases)} volumes of mixed shapes for `{run.name}` and `{TRILINEAR.name}`, each sending the next as "
        f"soon as it has an answer, at a service of {load.places} places; one hostile client beside them; and, for the "
        f"last two thirds, one job after another of {len(run.source[0])}^3 coarse cells in {load.blocks**3} blocks. "
        "Answers are compared with the model's, computed beforehand, bit for bit."
    )


def _explained(before: float, after: float) -> str:
    """What the figures mean, as a paragraph."""
    return (
        "Throughput beside the bare model's is the time that the bare model takes for what was answered, over the "
        f"time that passed. All volumes together took the bare model {before:.2f} s before the run and {after:.2f} s "
        f"after it. A small request has at most {SMALL} coarse cells; its time is from the first byte sent to the "
        "last that came, waiting in the queue behind all others. Memory is that of the service and of its readers; "
        "a line was fitted after the first quarter of each part."
    )


def _column(run: Endurance, phase: str, bare: NDArray[np.float64]) -> dict[str, str]:
    """Figures of one phase, by their names."""
    tally = run.tally
    right = [(case, seconds) for each, case, seconds in tally.right if each == phase]
    spent = tally.spent[phase]
    small = [seconds for case, seconds in right if run.cases[case].cells <= SMALL] or [float("nan")]
    voxels = 64 * sum(run.cases[case].cells for case, _ in right)
    memory = [(at, value) for at, each, value in tally.memory if each == phase]
    memory = memory[len(memory) // 4 :]
    times, values = zip(*memory, strict=True)
    rise, error = slope(times, values)
    asked = sum(bare[case] for case, _ in right)
    background = bare[-1] * tally.blocks / run.load.blocks**3 if phase == PHASES[1] else 0.0
    return {
        "minutes": f"{spent / 60:.1f}",
        "requests answered a second": f"{len(right) / spent:.2f}",
        "fine voxels a second, requests alone": f"{voxels / spent:,.0f}",
        "beside the bare model, requests alone": f"{asked / spent:.3f}",
        "beside the bare model": f"{(asked + background) / spent:.3f}",
        "small requests, p50": f"{np.percentile(small, 50):.2f} s",
        "small requests, p99": f"{np.percentile(small, 99):.2f} s",
        "memory": f"{np.mean(values):,.0f} MB",
        "memory, slope": f"{rise:+.2f} ± {error:.2f} MB a minute",
    }
