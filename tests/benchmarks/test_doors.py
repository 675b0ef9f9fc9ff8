"""That hostile connections cost nobody else an answer. What time they cost is printed, and never asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.doors import SETTLED_MB, run

if TYPE_CHECKING:
    from pathlib import Path


# By the clock: a service or a client that is held up for a second is cut off, too.
@pytest.mark.long
def test_nobody_else_is_refused(tmp_path: Path) -> None:
    # Short, so that the service gives up many connections in this time.
    limits = dict.fromkeys(("EDDYLIFT_HEAD_S", "EDDYLIFT_BODY_IDLE_S", "EDDYLIFT_SEND_IDLE_S"), "1")
    report = run(tmp_path, connections=300, seconds=2, **limits)
    print(report)  # noqa: T201 seen with -s
    assert report.statuses.keys() == {200}
    assert report.opened >= 300
    before, most, after = report.memory
    assert after - before < max(SETTLED_MB, (most - before) / 2)
