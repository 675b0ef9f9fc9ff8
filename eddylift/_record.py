"""JSON objects of the service, with their members as attributes."""

from __future__ import annotations

import html
import reprlib
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Cards are 7 kB long.
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring = 2, 60


def spell(value: Any) -> str:  # noqa: ANN401 whatever JSON holds
    """Format a value for people."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(spell, value))
    return str(value)


def html_table(caption: str, rows: Iterable[Sequence[str]], titles: Sequence[str] = ()) -> str:
    """Write a table for a notebook; the first cell of each row is its name."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption>{head and f'<tr>{head}</tr>'}{body}</table>"


class Record(dict[str, Any]):
    """A JSON object of the service. Its members are attributes too: ``card.flow`` is ``card["flow"]``."""

    # Members that older services leave out.
    _optional: ClassVar[frozenset[str]] = frozenset()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 whatever JSON holds
        """Return a member."""
        try:
            return self[name]
        except KeyError:
            message = f"{type(self).__name__} has no {name}; it has {', '.join(self)}"
            raise AttributeError(message) from None

    def __dir__(self) -> list[str]:
        """List the members, for completion."""
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        """Show the members, shortened."""
        members = ", ".join(f"{name}={_brief.repr(value)}" for name, value in self.items())
        return f"{type(self).__name__}({members})"

    def _repr_html_(self) -> str:
        """Show the members as a table in a notebook."""
        return html_table(type(self).__name__, ((name, _brief.repr(value)) for name, value in self.items()))

    @classmethod
    def required(cls) -> frozenset[str]:
        """Return the members that an answer of the service must have."""
        return frozenset(cls.__annotations__) - cls._optional
