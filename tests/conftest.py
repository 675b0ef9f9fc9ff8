"""What holds for all tests, and for every process that they start."""

from __future__ import annotations

import os

import pytest

# Several processes compute at the same time: more threads than cores make all of them slower, many times.
os.environ["OMP_NUM_THREADS"] = "1"
# The developer's settings are for other services than those of the tests.
for name in [each for each in os.environ if each.upper().startswith("EDDYLIFT_")]:
    del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep services off the developer's data folder, whose jobs they would take up."""
    os.environ["EDDYLIFT_DATA"] = str(tmp_path_factory.mktemp("data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that take long, so that at the end no worker waits for another one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
