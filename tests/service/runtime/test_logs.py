"""The log has what libraries warn of, in its own format."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import warnings
from service.runtime.logs import configure
configure("json")
warnings.warn("the dims are odd")
"""


def test_warnings_of_python_go_to_the_log() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)  # noqa: S603 our own
    (line,) = done.stderr.splitlines()
    assert (json.loads(line)["level"], json.loads(line)["logger"]) == ("WARNING", "py.warnings")
    assert "UserWarning: the dims are odd" in json.loads(line)["message"]
