"""Contestants that take turns in one process, and what came of it.

A machine is never quite idle and a clock never quite steady, so that two times taken apart say little about each other.
Ratios are taken round by round, between neighbours in time; their median is the result, their extremes its spread.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Ratio:
    """A ratio that was measured a few times.

    Attributes:
        median: of the rounds.
        low: smallest of the rounds.
        high: largest of the rounds.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """Of two series, round by round."""
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        section: which table it stands in.
        ours: what is measured.
        other: what it is compared with.
        unit: of the two values: "voxels/s", more being better, or "ms", fewer being better.
        ours_value: median of the rounds.
        other_value: median of the rounds.
        ratio: above 1 where ours is better; None if it could not be measured.
        difference: rms of the difference between the two answers, over the rms of ours; None if they are not to agree.
        note: what a reader has to know.
    """

    section: str
    ours: str
    other: str
    unit: str = "voxels/s"
    ours_value: float | None = None
    other_value: float | None = None
    ratio: Ratio | None = None
    difference: float | None = None
    note: str = ""


def alternate(
    contestants: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Seconds that each contestant took in each round, every other round in reverse order.

    Args:
        contestants: by name.
        rounds: how often each runs.
        warm: run all once before, which is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(-int(warm), rounds):
        for name in contestants if number % 2 == 0 else reversed(list(contestants)):
            start = time.perf_counter()
            contestants[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def by_voxels(
    section: str,
    ours: tuple[str, Sequence[float]],
    other: tuple[str, Sequence[float]],
    voxels: float,
    *,
    difference: float | None = None,
    note: str = "",
) -> Row:
    """Compare how many fine voxels a second two contestants compute.

    Args:
        section: see [`Row`][tests.benchmarks.timing.Row].
        ours: its name, and seconds in each round.
        other: the same.
        voxels: fine voxels of a round.
        difference: see [`Row`][tests.benchmarks.timing.Row].
        note: see [`Row`][tests.benchmarks.timing.Row].
    """
    ours_rate, other_rate = (voxels / statistics.median(seconds) for _, seconds in (ours, other))
    ratio = Ratio.of(other[1], ours[1])
    return Row(section, ours[0], other[0], "voxels/s", ours_rate, other_rate, ratio, difference, note)
