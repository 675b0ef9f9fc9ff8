"""escnn on numpy 2, with a cache that is as old as this run. Where escnn is not installed, its tests are left out."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from types import ModuleType
from unittest.mock import patch

if find_spec("escnn") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import joblib

    # lie_learn's compiled code is for numpy 1. escnn has it imported, but does not call it.
    stub = ModuleType("lie_learn.representations.SO3.irrep_bases")
    stub.change_of_basis_matrix = None  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    # escnn keeps what it has computed inside its package, for ever. Stale, that breaks equivariance silently.
    cache = TemporaryDirectory(ignore_cleanup_errors=True)
    memory = joblib.Memory(cache.name, verbose=0)
    with patch("joblib.Memory", lambda *_, **__: memory), warnings.catch_warnings():
        # It says that py3nj is missing.
        warnings.simplefilter("ignore")
        import escnn.nn  # noqa: F401
