"""Usual names of velocity and its dims. They are only suggested in messages, never assumed.

The service has the same names in ``service/formats/names.py``. Neither may import the other, so a test compares them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from eddylift._paths import spell_names
from eddylift._unnamed_axes import UNNAMED, grids, name_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
# What the names begin with that h5netcdf and xarray make up for dims without one.
MADE_UP: Final = (UNNAMED, "dim_")
# Usual labels of a component axis, in the order u, v, w.
LABELS: Final = (*COMPONENTS, ("x", "y", "z"), ("0", "1", "2"), ("1", "2", "3"))


def guess(dataset: xr.Dataset, components: int = 3) -> dict[str, str]:
    """Return new names by old ones, as ``{"Ux": "u"}``, of what looks like velocity and its dims."""
    found = _components(dataset, components)
    renamed = dict(zip(found, "uvw", strict=False))
    arrays = sorted(
        (each for each in dataset.data_vars.values() if each.ndim >= components), key=lambda each: -each.ndim
    )
    dims = {str(dim): None for array in arrays for dim in array.dims}
    for name, usual in DIMS.items():
        fitting = [dim for dim in sorted(dims) if dim.lower() in (name, *usual)]
        if name not in dims and len(fitting) == 1:
            renamed[fitting[0]] = name
    if arrays and not found:
        left = {str(dim): size for dim, size in arrays[0].sizes.items() if dim not in {*DIMS, *renamed}}
        renamed |= _order(left, {*dims, *renamed.values()}, components)
    return {old: new for old, new in renamed.items() if old != new}


def _order(left: Mapping[str, int], taken: set[str], components: int) -> dict[str, str]:
    """Return names for the dims of one array that have none, if their lengths tell where its components are."""
    axes = ("z", "y", "x")[-components:]
    orders = set()
    for order in (("time", "component", *axes), ("time", *axes, "component")):
        names = tuple(name for name in order if name not in taken)[-len(left) :]
        if len(names) == len(left) and dict(zip(names, left.values(), strict=True)).get("component") == components:
            orders.add(names)
    is_told = len(orders) == 1 and (len(left) == 1 or all(dim.startswith(MADE_UP) for dim in left))
    return dict(zip(left, orders.pop(), strict=True)) if is_told else {}


def positions(dataset: xr.Dataset, others: Sequence[str]) -> dict[str, str]:
    """Return the axes without positions by those of some variables that may have them: by their names or their dims."""
    fitting = [
        (name, axis)
        for axis in ("z", "y", "x")
        for name in others
        if axis not in dataset.variables
        and dataset[name].shape == (dataset.sizes[axis],)
        and dataset[name].dtype.kind in "fiu"
        and axis in (name[0].lower(), *dataset[name].dims)
    ]
    found: dict[str, str] = {}
    # Names first: dims of equal length are not told apart in HDF5 files that do not name them.
    for name, axis in sorted(fitting, key=lambda pair: pair[0][0].lower() != pair[1]):
        if name not in found and axis not in found.values():
            found[name] = axis
    return found


def suggestion(dataset: xr.Dataset, find: Callable[[xr.Dataset], object | None], components: int = 3) -> str:
    """Return the end of a message: what may help `find` to find a velocity."""
    names = guess(dataset, components)
    with suppress(ValueError):  # names that the dataset has besides
        if names and find(name_axes(dataset.rename(names))) is not None:
            in_order = "if its dims are in this order, " if sum(old.startswith(MADE_UP) for old in names) > 1 else ""
            return f"; {in_order}pass names={names} (on the command line --names {spell_names(names)})"
    if len({frozenset(dataset[name].dims) for name in _components(dataset, components)}) > 1:
        return "; on a staggered grid, first interpolate the components to the centres of the cells"
    if several := grids(dataset):
        return (
            f"; {', '.join(several)}: not positions along one axis; leave out by drop={several} (on the command line "
            f"--drop {','.join(several)})"
        )
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
