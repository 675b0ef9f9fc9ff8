"""What make does on a new machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent
OTHER = f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 10, 0)\nexec(sys.argv[2])\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
def test_another_python_is_refused_before_it_makes_an_environment(tmp_path: Path) -> None:
    """Later, make would go on with it, as venv replaces no interpreter of an environment."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python3.10"
    python.write_text(OTHER)
    python.chmod(0o755)
    command = ["make", "install", f"PYTHON={python}"]
    found = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S)  # noqa: S603
    assert "python3.10 is not Python 3.11 to 3.13; name one that is: make install PYTHON=python3.12" in found.stderr
    assert not (tmp_path / ".venv").exists()
