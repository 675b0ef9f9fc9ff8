"""Units that are spelled in two ways."""

from __future__ import annotations

import itertools

import pytest

from service.formats.units import same_units

SPEEDS = ["m/s", "m s-1", "m s^-1", "m*s**-1", "m.s-1", "m s⁻¹", "m¹ s⁻¹", "meter/second", "metres second-1", " m / s "]


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(SPEEDS, 2)])
def test_one_unit(one: str, other: str) -> None:
    assert same_units(one, other)


@pytest.mark.parametrize(
    "other",
    [
        *("cm/s", "m", "m s", "m/s2", "km s-1", "10 m/s", "1000 m s-1", "", None, "U_b", "m/s @ 20 C", 1),
        *("m⁺⁻", "m¹⁻ s", "m" + 5000 * "9"),
    ],
)
def test_other_units(other: object) -> None:
    assert not same_units("m/s", other)
    assert same_units(other, other)
