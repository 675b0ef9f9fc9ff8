"""Tables and numbers of the documentation are those of the code and of the models' cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.catalogue import DEFAULT
from tests.docs.tables import CATALOGUE, TABLES, claims, like
from training.table import EMPTY, EXPLANATION, HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(("page", "make"), TABLES, ids=[f"{page.name}-{make.__name__}" for page, make in TABLES])
def test_a_table_is_up_to_date(page: Path, make: Callable[[], str]) -> None:
    table = make()
    assert like(table).findall(page.read_text()) == [table], f"run `python -m tests.docs.tables`; expected:\n{table}"


def test_comparisons_of_models_have_the_numbers_of_the_cards() -> None:
    missing = [(page.name, text) for page, text in claims() if text not in " ".join(page.read_text().split())]
    assert not missing


def test_the_table_of_all_models_explains_itself_as_the_command_that_writes_it() -> None:
    written = (CATALOGUE.folder / "TABLE.md").read_text()
    assert written.startswith(f"# All models on held-out turbulence\n\n{EXPLANATION}\n")
    compact = sum(recipe.compact for runs in HELD_OUT.values() for recipe, _ in runs)
    assert written.count(f". {EMPTY}\n") == len(HELD_OUT) - compact


@pytest.mark.parametrize("name", [DEFAULT, "equivariant-general-wide-x4"])
def test_the_general_equivariant_models_keep_every_symmetry_of_the_cube(name: str) -> None:
    errors = CATALOGUE.card(name).symmetry["equivariance_error"]
    assert len(errors) == 48
    assert max(errors.values()) < 1e-5
