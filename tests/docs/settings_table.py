"""``python -m tests.docs.settings_table`` writes the table of settings in docs/operating.md anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE: Final = CHECKOUT / "docs" / "operating.md"
HEAD: Final = "| variable | default | meaning |\n| --- | --- | --- |\n"


def table() -> str:
    """Variable, default and meaning of every setting, in Markdown."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "".join(rows)


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
    """Write it anew: it is the last thing on its page."""
    PAGE.write_text(PAGE.read_text().partition(HEAD)[0] + table())


if __name__ == "__main__":
    main()
