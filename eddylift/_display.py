"""Output of the command line: progress bars while a call runs, then tables and sentences."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich import progress
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eddylift._discovery import Discovery
from eddylift._record import spell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from rich.console import Console, ConsoleOptions, RenderResult
    from stamina.instrumentation import RetryDetails

    from eddylift._job_status import JobStatus
    from eddylift._progress import Progress, Stage
    from eddylift._types import Card, Check, ForecastCard, Health, Report, Reproduction, StoredVolume, Symmetry

WORDS: dict[Stage, str] = {
    "upload": "sending",
    "wait": "waiting",
    "download": "receiving",
    "compute": "computing",
    "compare": "comparing",
    "discover": "discovering",
}
SPLITS = {"future": "later times", "domain": "other runs"}
"""Where a forecasting model was measured, relative to what it learned from."""
WIDE = 150
"""Columns from which on a terminal has room for the meanings of metrics."""


class Bars:
    """One bar for each stage of a call, on a terminal only. A context manager and a progress callback."""

    def __init__(self, console: Console) -> None:
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            _Bytes(),
            progress.TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[Stage, progress.TaskID] = {}

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        self._bars.stop()

    def __call__(self, where: Progress) -> None:
        """Move the bars to the progress of a call."""
        if where.stage == "upload" and where.done == 0:
            self._clear()
        if where.stage not in self._tasks:
            self._end_earlier()
            self._tasks[where.stage] = self._bars.add_task(WORDS[where.stage], total=where.total)
        self._bars.update(self._tasks[where.stage], completed=where.done, total=where.total)

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()

    def _end_earlier(self) -> None:
        """Stop the clocks and animations of finished stages."""
        for task in self._bars.tasks:
            done = task.completed or 1
            self._bars.update(task.id, completed=done, total=task.total or done)


class _Bytes(progress.DownloadColumn):
    """Bytes, blocks or steps done, and their total; nothing while waiting."""

    def render(self, task: progress.Task) -> Text:
        if task.description == WORDS["wait"]:
            return Text("")
        if task.description in {WORDS["compute"], WORDS["compare"]}:
            return Text(f"{task.completed:.0f}/{task.total:.0f} blocks")
        if task.description == WORDS["discover"]:
            return Text(f"{task.completed:.0f}/{task.total:.0f} steps")
        return super().render(task)


def retry_note(console: Console, details: RetryDetails) -> None:
    """Say why a call is tried again, and when."""
    reason = str(details.caused_by).partition("\n")[0]
    note(console, f"{reason}; trying again in {details.wait_for:.1f} s")


def note(console: Console, message: str) -> None:
    """Print a remark that is not an error."""
    console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)


def models_table(cards: list[Card]) -> Table:
    """List models, one in each row, and what each is for."""
    rows = [(card.name, _purpose(card), spell(card.get("frames")), _gain(card)) for card in cards]
    return _table(("model", "for", "frames", "MAE/trilinear"), rows, right=("frames", "MAE/trilinear"))


def _purpose(card: Card) -> str:
    """Format what a model is for, such as: channel, wall in y."""
    flow, boundary = card.get("flow"), card.get("boundary")
    if flow in (None, "general"):
        return "any flow"
    return f"{flow}, {_spell_boundary(boundary)}" if boundary else str(flow)


def _spell_boundary(boundary: list[str]) -> str:
    others = [f"{kind} in {axis}" for axis, kind in zip("zyx", boundary, strict=False) if kind != "periodic"]
    return ", ".join(others) or "periodic"


def forecast_models_table(cards: list[ForecastCard]) -> Table:
    """List forecasting models, one in each row, and their errors relative to persistence."""
    rows = []
    for card in cards:
        errors = card.get("measured", {})
        gains = [
            f"{SPLITS.get(split, split)} {each[card.family] / each['persistence']:.2f}"
            for split, each in errors.items()
        ]
        rows.append((card.name, card.flow, spell(card.frames), ", ".join(gains) or "-"))
    return _table(("model", "for", "frames", "RMSE/persistence"), rows, right=("frames", "RMSE/persistence"))


def card_table(card: Card) -> Group:
    """Show a card, with the errors on each held-out simulation that matter most."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("model", card.name)
    table.add_row("for", _purpose(card))
    for key in ("family", "group", "parameters", "frames", "target", "factor", "sampling", "receptive_field", "sha256"):
        if key in card:
            table.add_row(key.replace("_", " "), spell(card[key]))
    runs = card.get("measured", [])
    if not runs:
        return Group(table)
    titles = ("measured on", "MAE/trilinear", "expected/found", "50 %", "90 %")
    keys = ("mae_over_trilinear", "error_predicted_over_found", "error_coverage_50", "error_coverage_90")
    rows = [
        (run.get("run", "held-out data"), *(f"{run[key]['mean']:.2f}" if key in run else "-" for key in keys))
        for run in runs
    ]
    note = (
        "expected/found: expected over found errors; 50 %, 90 %: share of cells with errors below the bound for so "
        "many. All metrics: --json."
    )
    return Group(table, "", _table(titles, rows, right=titles[1:]), Text(note))


def symmetry_table(found: Symmetry) -> Table:
    """List the equivariance error of each group element, and the irreps in the weights of each relaxed layer."""
    rows = [(element, spell(error)) for element, error in found.equivariance_error.items()]
    for layer, shares in found.relaxation.items():
        rows.append((layer, ", ".join(f"{irrep} {spell(share)}" for irrep, share in shares.items())))
    return _table(("x,y,z to", "equivariance error"), rows, right=("equivariance error",))


def discovery_summary(found: Discovery) -> Group:
    """List the elements of the group and whether they are kept, and what each layer keeps; the verdict below."""
    rows = found.rows()
    for name, layer in found.layers.items():
        shares = [f"{irrep} {spell(layer['irreps'][irrep])}" for irrep in found.moved]
        rows.append((name, layer["symbol"], ", ".join(shares)))
    return Group(_table(found.titles(), rows), Text(found.verdict))


def health_sentence(found: Health) -> str:
    """Say whether a service is ready, and what it cannot serve."""
    models = found.get("models", [])
    plural = "s" if len(models) > 1 else ""
    served = f"{len(models)} model{plural}" if models else "a token with the scope read shows the models"
    lines = [f"{found.status}: {served}"]
    lines += [f"{name} cannot be served: {why}" for name, why in found.get("failures", {}).items()]
    lines += [f"{name}: {why}" for name, why in found.get("warnings", {}).items()]
    parts = {"jobs": "the list of jobs cannot be used", "data": "the data folder cannot be written"}
    lines += [f"{sentence}: {found[part]}" for part, sentence in parts.items() if found.get(part)]
    return "\n".join(lines)


def volumes_table(volumes: list[StoredVolume]) -> Table:
    """List stored volumes, one in each row, or why they cannot be super-resolved."""
    rows = []
    for each in volumes:
        cells = each["problem"] or " x ".join(map(str, each["cells"] or []))
        boundary = ",".join(each["boundary"] or [])
        rows.append((each["name"], cells, spell(each["levels"]), boundary or "-", f"{each['bytes']:,}"))
    return _table(("volume", "cells (z, y, x)", "times", "boundary", "bytes"), rows)


def jobs_table(jobs: list[JobStatus]) -> Table:
    """List jobs, one in each row, and why they failed."""
    rows = []
    for each in jobs:
        blocks = "-" if each.blocks is None else f"{each.blocks_done}/{each.blocks}"
        state = f"{each.state}: {each.detail}" if each.detail else each.state
        age = _span(time.time() - each.created)
        # A discovery maps X, its source, to Y, its reference, and writes nothing.
        target = each.reference if each.task == "discover" else each.target
        rows.append((each.id, each.source, target or "-", each.model or each.task, state, blocks, age))
    return _table(("job", "source", "target", "model", "state", "blocks", "age"), rows)


def job_result(status: JobStatus) -> Table | Group | ReportTable:
    """Show the report of a job, or else its status."""
    if status.report is None:
        return jobs_table([status])
    return discovery_summary(status.report) if isinstance(status.report, Discovery) else ReportTable(status.report)


def _span(seconds: float) -> str:
    """Format a duration, such as 12 min."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _gain(card: Card) -> str:
    """MAE relative to trilinear interpolation on the held-out run where it is least, to that where it is largest."""
    if card.family == "trilinear":
        return "1"
    found = sorted(
        (ratio["mean"], run.get("flow", ""))
        for run in card.get("measured", [])
        if (ratio := run.get("mae_over_trilinear"))
    )
    ends = [found[0], found[-1]] if len(found) > 1 else found
    return " to ".join(f"{ratio:.2f} {flow}".strip() for ratio, flow in ends) or "-"


def check_table(found: Check) -> Table:
    """Show what error is expected."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("model", found.model)
    table.add_row("expected mean error", spell(found.expected_mae))
    table.add_row("mean correction to trilinear", spell(found.correction))
    table.add_row("expected error over correction", spell(found.expected_mae_over_correction))
    table.add_row("models that know their errors on such fields", spell(found.fitting) or "-")
    return table


class ReportTable:
    """The metrics of a model and of trilinear interpolation, with their meanings if the terminal is wide enough."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Render it as wide as the terminal is."""
        titles, rows = self._report.titles(), self._report.rows()
        right = (self._report.model, "trilinear")
        if options.max_width >= WIDE:
            yield _table(titles, rows, right=right)
            return
        kept = [titles.index(title) for title in titles if title not in {"unit", "meaning"}]
        yield _table([titles[n] for n in kept], [[row[n] for n in kept] for row in rows], right=right)
        yield Text(f"What each means: on a terminal of {WIDE} columns, or docs/api.md#metrics.")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Table:
    """Make a table.

    Args:
        titles: of the columns.
        rows: of cells. Those of the first column are names: users copy them, so a narrow terminal must not cut them.
        right: titles of the columns that are aligned to the right.
    """
    table = Table(box=None, pad_edge=False)
    first, *others = titles
    table.add_column(first, no_wrap=True, min_width=max((len(row[0]) for row in rows), default=0))
    for title in others:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def reproduction_sentence(found: Reproduction) -> str:
    """Say whether a device reproduces a card."""
    verdict = "reproduces its card" if found["reproduced"] else "DOES NOT reproduce its card"
    return (
        f"{found['model']} on {found['device']} in {found['precision']} {verdict}: MAE over rms "
        f"{spell(found['mae_over_rms'])}, card {spell(found['card_mae_over_rms'])}, "
        f"trilinear {spell(found['trilinear_mae_over_rms'])}"
    )
