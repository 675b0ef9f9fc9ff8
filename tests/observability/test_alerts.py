"""The alerts, as Prometheus's own tool sees them. Debian has it in the package prometheus."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from service.settings import CHECKOUT
from tests.waiting import PATIENCE_S

PROMTOOL = shutil.which("promtool")
RULES = CHECKOUT / "service" / "observability" / "alerts.yml"
CASES = CHECKOUT / "tests" / "observability" / "alerts.yml"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize("command", [["check", "rules", str(RULES)], ["test", "rules", str(CASES)]])
def test_promtool_agrees(command: list[str]) -> None:
    command = [str(PROMTOOL), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)  # noqa: S603 our own
    assert done.returncode == 0, done.stdout + done.stderr
