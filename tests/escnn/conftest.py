"""escnn has an environment of its own (.venv-escnn, made by ``make test``); elsewhere these tests are left out."""

from __future__ import annotations

import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path

found = find_spec("escnn")

if found is None or found.origin is None:
    collect_ignore_glob = ["test_*.py"]
else:
    # escnn keeps what it has computed inside its package, for ever. Stale, it breaks equivariance silently.
    shutil.rmtree(Path(found.origin).parent / "group" / "_cache", ignore_errors=True)
    with warnings.catch_warnings():
        # It says that py3nj is missing.
        warnings.simplefilter("ignore")
        import escnn.nn  # noqa: F401
