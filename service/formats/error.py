"""The expected error of a velocity, as a variable beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

ERROR: Final = "error"


def error_attributes(velocity: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes of the variable ``error``, in the units of a velocity with these attributes."""
    units = {"units": velocity["units"]} if "units" in velocity else {}
    return {"long_name": "expected absolute error of the velocity, mean over its components", **units}


def check_free(names: Iterable[Hashable]) -> None:
    """Refuse (422) a dataset that already uses the name ``error``."""
    if ERROR in names:
        expected = f"no other variable and no dim of this name; drop={ERROR} leaves a variable out"
        raise invalid_field(field=ERROR, value="in the volume", expected=expected)
