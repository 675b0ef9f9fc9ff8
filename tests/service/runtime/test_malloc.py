"""Freed memory is used again without page faults, and goes back to the system soon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import CHECKOUT
from tests.waiting import PATIENCE_S

CODE = """
import resource, time
import numpy as np
from pathlib import Path
from service.runtime import malloc

def resident():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024

malloc.POLL_S = 1.0
malloc.keep_tidy()
np.ones(30_000_000, np.uint8)  # an allocator left to itself learns from this to keep such blocks
before = resident()
blocks, pins = [], []
for _ in range(30):
    blocks.append(np.ones(4_000_000, np.uint8))
    pins.append(np.ones(5_000, np.uint8))  # holds the end of a heap that the block would be in
del blocks
while (kept := resident() - before) >= 5:
    time.sleep(0.1)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(4_000_000, np.uint8)  # a thousand pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_freed_blocks_are_used_again_and_given_back() -> None:
    command = [sys.executable, "-c", CODE]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=PATIENCE_S)  # noqa: S603
    assert int(answer.stdout) < 10_000
