"""Scores are means over the samples that have a value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from service.engine.scores import mean_of

if TYPE_CHECKING:
    from models.metrics.compare import Value


def test_samples_without_a_value_do_not_count() -> None:
    rest: dict[str, Value] = {
        "mae": 1.0,
        "skill": math.nan,
        "ratio": math.inf,
        "flatness": [math.nan, 3.0],
        "profile": None,
    }
    flow: dict[str, Value] = {"mae": 2.0, "skill": 0.5, "ratio": 2.0, "flatness": [math.nan, 5.0], "profile": None}
    assert mean_of([rest, flow]) == {"mae": 1.5, "skill": 0.5, "ratio": 2.0, "flatness": [None, 4.0], "profile": None}
    assert mean_of([rest]) == {"mae": 1.0, "skill": None, "ratio": None, "flatness": [None, 3.0], "profile": None}
