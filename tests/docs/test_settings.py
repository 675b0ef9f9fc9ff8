"""The table of settings tells of every setting."""

from __future__ import annotations

from tests.docs.settings_table import PAGE, table


def test_the_table_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text().endswith(table()), "run `python -m tests.docs.settings_table`"
