"""Whether two texts name the same unit."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

NAMES: Final = {
    **dict.fromkeys(("meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("second", "seconds", "sec", "secs"), "s"),
}
# Exponents have one or two digits; of more, the text is no product of powers.
FACTOR: Final = re.compile(
    r"([/*.·⋅ ]*)([^\W\d⁰¹²³⁴-⁹]+|1(?!\d))(?:\^|\*\*)?([-+]?\d{1,2}(?!\d)|[⁺⁻]?[⁰¹²³⁴-⁹]{1,2}(?![⁰¹²³⁴-⁹]))?"
)
SUPERSCRIPTS: Final = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def same_units(one: object, other: object) -> bool:
    """Whether two attributes ``units`` are equal, or spell one product of powers: ``m/s``, ``m s-1``, ``m*s**-1``."""
    return str(one) == str(other) or (
        isinstance(one, str) and isinstance(other, str) and _powers(one) == _powers(other)
    )


def _powers(text: str) -> Counter[str] | str:
    """Exponents by unit; the text itself if it is no product of powers."""
    found: Counter[str] = Counter()
    rest = text.strip()
    while rest:
        factor = FACTOR.match(rest)
        if factor is None:
            return text
        sign = -1 if "/" in factor[1] else 1
        if factor[2] != "1":
            found[NAMES.get(factor[2], factor[2])] += sign * int((factor[3] or "1").translate(SUPERSCRIPTS))
        rest = rest[factor.end() :]
    return Counter({unit: power for unit, power in found.items() if power})
