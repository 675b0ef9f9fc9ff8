"""What holds for all tests, and for every process that they start."""

from __future__ import annotations

import os

# Several processes compute at the same time: more threads than cores make all of them slower, many times.
os.environ["OMP_NUM_THREADS"] = "1"
