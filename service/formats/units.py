"""Whether two texts name the same unit.

The client has the same rule, in ``eddylift/_units.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

SPELLINGS: Final = {
    "m": ("meter", "metre"),
    "cm": ("centimeter", "centimetre"),
    "mm": ("millimeter", "millimetre"),
    "km": ("kilometer", "kilometre"),
    "s": ("sec", "second"),
    "min": ("minute",),
    "h": ("hr", "hour"),
    "d": ("day",),
}
SYMBOLS: Final = {
    name + plural: symbol for symbol, names in SPELLINGS.items() for name in names for plural in ("", "s")
}
# Exponents have one or two digits; of more, the text is no product of powers.
FACTOR: Final = re.compile(
    r"([/*.·⋅ ]*)([^\W\d⁰¹²³⁴-⁹]+|1(?!\d))(?:\^|\*\*)?([-+]?\d{1,2}(?!\d)|[⁺⁻]?[⁰¹²³⁴-⁹]{1,2}(?![⁰¹²³⁴-⁹]))?"
)
SUPERSCRIPTS: Final = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def same_units(one: object, other: object) -> bool:
    """Whether two attributes ``units`` are equal, or spell one product of powers: ``m/s``, ``m second-1``."""
    first, second = str(one).strip(), str(other).strip()
    powers = _powers(first)
    return first == second or (powers is not None and powers == _powers(second))


def _powers(text: str) -> dict[str, int] | None:
    """Exponents by symbol; None if a text is no product of powers."""
    found: Counter[str] = Counter()
    while text:
        factor = FACTOR.match(text)
        if factor is None:
            return None
        sign = -1 if "/" in factor[1] else 1
        if factor[2] != "1":
            name = SYMBOLS.get(factor[2].lower(), factor[2])
            found[name] += sign * int((factor[3] or "1").translate(SUPERSCRIPTS))
        text = text[factor.end() :]
    return {unit: power for unit, power in found.items() if power}
