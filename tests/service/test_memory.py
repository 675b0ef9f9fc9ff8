"""Freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import CHECKOUT

CODE = """
import numpy as np
from pathlib import Path
from service.memory import give_back

def resident():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024

give_back()
np.ones(30_000_000, np.uint8)  # an allocator left to itself learns from this to keep such blocks
before = resident()
blocks, pins = [], []
for _ in range(30):
    blocks.append(np.ones(4_000_000, np.uint8))
    pins.append(np.ones(500, np.uint8))  # holds the end of a heap that the block would be in
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_freed_blocks_are_given_back() -> None:
    command = [sys.executable, "-c", CODE]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)  # noqa: S603
    assert float(answer.stdout) < 5
