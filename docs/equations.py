"""A hook of MkDocs: equations become MathML when the site is built, so that it needs no script from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# As pymdownx.arithmatex marks them.
EQUATION = re.compile(r'<(?:span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:  # noqa: ANN401 what MkDocs passes
    """Render the equations of a page."""
    return EQUATION.sub(_render, content)


def _render(equation: re.Match[str]) -> str:
    return convert(html.unescape(equation[2]), display="inline" if equation[1] == "(" else "block")
