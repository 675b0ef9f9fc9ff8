"""Units of a velocity and of its axes, to tell whether they belong together.

The service has the same rule for which units are equal, in ``service/formats/units.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

_SPELLINGS: Final = {
    "m": ("meter", "metre"),
    "cm": ("centimeter", "centimetre"),
    "mm": ("millimeter", "millimetre"),
    "km": ("kilometer", "kilometre"),
    "s": ("sec", "second"),
    "min": ("minute",),
    "h": ("hr", "hour"),
    "d": ("day",),
}
_SYMBOLS: Final = {
    name + plural: symbol for symbol, names in _SPELLINGS.items() for name in names for plural in ("", "s")
}
# Exponents have one or two digits; of more, the text is no product of powers.
_FACTOR: Final = re.compile(
    r"([/*.·⋅ ]*)([^\W\d⁰¹²³⁴-⁹]+|1(?!\d))(?:\^|\*\*)?([-+]?\d{1,2}(?!\d)|[⁺⁻]?[⁰¹²³⁴-⁹]{1,2}(?![⁰¹²³⁴-⁹]))?"
)
_SUPERSCRIPTS: Final = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def symbol(units: object) -> str | None:
    """Return the usual symbol of a unit, such as m for metres; None if there is no unit."""
    text = str(units or "").strip()
    return _SYMBOLS.get(text.lower(), text) or None


def same(one: object, other: object) -> bool:
    """Return whether two attributes ``units`` are equal, or spell one product of powers: ``m/s``, ``m second-1``."""
    first, second = str(one).strip(), str(other).strip()
    powers = _powers(first)
    return first == second or (powers is not None and powers == _powers(second))


def of_speed(units: object) -> tuple[str | None, str | None]:
    """Return the units of length and of time of which a unit of velocity consists; None if it does not say so."""
    powers = _powers(str(units or "").strip()) or {}
    match sorted((power, unit) for unit, power in powers.items()):
        case [(-1, time), (1, length)]:
            return length, time
    return None, None


def _powers(text: str) -> dict[str, int] | None:
    """Exponents by symbol; None if a text is no product of powers."""
    found: Counter[str] = Counter()
    while text:
        factor = _FACTOR.match(text)
        if factor is None:
            return None
        sign = -1 if "/" in factor[1] else 1
        if factor[2] != "1":
            name = _SYMBOLS.get(factor[2].lower(), factor[2])
            found[name] += sign * int((factor[3] or "1").translate(_SUPERSCRIPTS))
        text = text[factor.end() :]
    return {unit: power for unit, power in found.items() if power}
