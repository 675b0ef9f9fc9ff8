"""``python -m tests.docs.tables`` writes the tables anew that the documentation takes from the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eddylift import METRICS
from service.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic.fields import FieldInfo

DOCS: Final = CHECKOUT / "docs"


def settings() -> str:
    """Variable, default and meaning of every setting."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        (f"`{prefix}{name.upper()}`", _default(field), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "default", "meaning"), rows)


def metrics() -> str:
    """Every metric of a report."""
    rows = [(f"`{name}`", each.unit, each.better or "-", each.meaning) for name, each in METRICS.items()]
    return _table(("metric", "unit", "better", "meaning"), rows)


TABLES: Final[dict[Path, Callable[[], str]]] = {DOCS / "operating.md": settings, DOCS / "api.md": metrics}
"""Each by its page, which has one table with these titles."""


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _default(field: FieldInfo) -> str:
    """A default as it would be set."""
    match field.default:
        case None:
            return "unset"
        case Path() as path:
            return f"`{path.relative_to(CHECKOUT)}`"
        case str() as text:
            return f"`{text}`"
        case other:
            return f"`{json.dumps(other)}`"


def main() -> None:
    """Write each in the place of the table with the same titles."""
    for page, make in TABLES.items():
        table = make()
        old = re.escape(table.partition("\n")[0]) + r"\n(\|.*\n)*"
        page.write_text(re.sub(old, lambda _, table=table: table, page.read_text()))  # type: ignore[misc]


if __name__ == "__main__":
    main()
