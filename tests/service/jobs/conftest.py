"""A service that jobs run in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from tests.service.conftest import Serve


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data", block=4)
