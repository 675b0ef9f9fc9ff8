"""Where escnn is not installed, its tests are left out."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("escnn") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from training.forecasting.steerable_bases import escnn

    escnn()
