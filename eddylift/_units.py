"""Units of a velocity and of its axes, to tell whether they belong together."""

from __future__ import annotations

import re
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
# Such as m/s, m s-1, m*s**-1 or m.s^-1.
_SPEED: Final = re.compile(r"([^\W\d]+)(?: */ *([^\W\d]+)|[ .*·⋅]+([^\W\d]+)(?:\^|\*\*)?(?:-1|⁻¹))")


def symbol(units: object) -> str | None:
    """Return the usual symbol of a unit, such as m for metres; None if there is no unit."""
    text = str(units or "").strip()
    return _SYMBOLS.get(text.lower(), text) or None


def same(one: object, other: object) -> bool:
    """Return whether two attributes name the same unit."""
    return symbol(one) == symbol(other) or of_speed(one) == of_speed(other) != (None, None)


def of_speed(units: object) -> tuple[str | None, str | None]:
    """Return the units of length and of time of which a unit of velocity consists; None if it does not say so."""
    found = _SPEED.fullmatch(str(units or "").strip())
    return (symbol(found[1]), symbol(found[2] or found[3])) if found else (None, None)
