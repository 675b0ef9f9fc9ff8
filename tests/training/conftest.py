"""A run that takes no time to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.training.stored import store

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import StoredRun


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    return store(tmp_path / "data", 1)
