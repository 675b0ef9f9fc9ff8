"""Usual names of velocity and its dims. They are only suggested in messages, never assumed.

The service has the same names in ``service/formats/names.py``. Neither may import the other, so a test compares them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from eddylift._paths import spell_names
from eddylift._unnamed_axes import UNNAMED, name_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

# Compared without regard to case.
COMPONENTS: Final = (
    ("u", "v", "w"),
    ("ux", "uy", "uz"),
    ("u_x", "u_y", "u_z"),
    ("u1", "u2", "u3"),
    ("u_1", "u_2", "u_3"),
    ("vx", "vy", "vz"),
    ("v_x", "v_y", "v_z"),
    ("velocity_x", "velocity_y", "velocity_z"),
    ("velocityx", "velocityy", "velocityz"),
    ("x_velocity", "y_velocity", "z_velocity"),
    ("x-velocity", "y-velocity", "z-velocity"),
    ("vel_x", "vel_y", "vel_z"),
    ("velx", "vely", "velz"),
    ("vel_u", "vel_v", "vel_w"),
    ("uo", "vo", "wo"),
    ("ua", "va", "wa"),
)
DIMS: Final = {
    "time": ("t", "times", "nt"),
    "component": ("components", "comp", "vector", "values", "vector_component", "variable"),
    "z": ("k", "lev", "level", "depth", "height", "altitude", "zc", "nz", "zcoor"),
    "y": ("j", "lat", "latitude", "yc", "ny", "ycoor"),
    "x": ("i", "lon", "longitude", "xc", "nx", "xcoor"),
}
# Of one array that has it all, the order of its dims if they have the names that h5netcdf and xarray make up.
ORDERS: Final = {UNNAMED: ("time", "z", "y", "x", "component"), "dim_": ("time", "component", "z", "y", "x")}
# Usual labels of a component axis, in the order u, v, w.
LABELS: Final = (*COMPONENTS, ("x", "y", "z"), ("0", "1", "2"), ("1", "2", "3"))


def guess(dataset: xr.Dataset, components: int = 3) -> dict[str, str]:
    """Return new names by old ones, as ``{"Ux": "u"}``, of what looks like velocity and its dims."""
    found = _components(dataset, components)
    renamed = dict(zip(found, "uvw", strict=False))
    dims = {str(dim): None for array in dataset.data_vars.values() if array.ndim >= components for dim in array.dims}
    for name, usual in DIMS.items():
        fitting = [dim for dim in sorted(dims) if dim.lower() in (name, *usual)]
        if name not in dims and len(fitting) == 1:
            renamed[fitting[0]] = name
    for prefix, order in ORDERS.items():
        if not found and all(dim.startswith(prefix) for dim in dims):
            renamed |= dict(zip(dims, order[-len(dims) :], strict=False))
    return {old: new for old, new in renamed.items() if old != new}


def suggestion(dataset: xr.Dataset, find: Callable[[xr.Dataset], object | None], components: int = 3) -> str:
    """Return the end of a message: what may help `find` to find a velocity."""
    names = guess(dataset, components)
    with suppress(ValueError):  # names that the dataset has besides
        if names and find(name_axes(dataset.rename(names))) is not None:
            return f"; pass names={names} (on the command line --names {spell_names(names)})"
    if len({frozenset(dataset[name].dims) for name in _components(dataset, components)}) > 1:
        return "; on a staggered grid, first interpolate the components to the centres of the cells"
    example = {"Ux": "u", "lev": "z"}
    return f"; names renames variables and dims, as names={example} does (on the command line --names Ux:u,lev:z)"


def _components(dataset: xr.Dataset, count: int) -> list[str]:
    names = {str(name).lower(): str(name) for name in dataset.data_vars}
    usual = next((each[:count] for each in COMPONENTS if names.keys() >= set(each[:count])), ())
    return [names[name] for name in usual]


def listed(dataset: xr.Dataset) -> str:
    """Return the variables of a dataset with their dims, for messages."""
    found = [f"{name}({', '.join(map(str, array.dims))})" for name, array in dataset.data_vars.items()]
    return ", ".join(found) or "no variables"


def order_of(labels: Sequence[Any]) -> tuple[int, ...] | None:
    """Return where u, v, w, or of two labels u, v, are along a component axis; None if the labels do not say so."""
    count = len(labels)
    spelled = [_spelled(label) for label in labels]
    for usual in LABELS:
        if sorted(spelled) == sorted(usual[:count]):
            return tuple(map(spelled.index, usual[:count]))
    return None


def _spelled(label: object) -> str:
    if isinstance(label, float):
        return f"{label:g}"
    text = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    return text.strip().lower()
