"""Tests wait for events: no outcome may depend on how fast the machine is, or on what else it does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# How long anything may take that is sure to happen. Only a test that fails ever waits for so long.
PATIENCE_S: Final = 300.0


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again until something is true; fail if that takes for ever."""
    end, pause_s = time.monotonic() + PATIENCE_S, 0.005
    while not true():
        assert time.monotonic() < end, f"still not true after {PATIENCE_S:g} s"
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, 0.1)  # looking takes time, too


def age(path: Path, seconds: float) -> None:
    """Let a file or a folder have been changed last so long ago."""
    changed = time.time() - seconds
    os.utime(path, (changed, changed))
