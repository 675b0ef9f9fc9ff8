"""Tables of the documentation tell of everything that the code has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.tables import TABLES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_table_is_up_to_date(page: Path) -> None:
    assert f"\n\n{TABLES[page]()}" in page.read_text(), "run `python -m tests.docs.tables`"
