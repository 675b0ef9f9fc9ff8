"""Names of variables and dims: the service's own, those usual elsewhere, and renaming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import xarray as xr

from service.problems import invalid_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

AXES: Final = ("z", "y", "x")
TIME: Final = "time"
COMPONENT: Final = "component"
COMPONENTS: Final = ("u", "v", "w")

# Names of u, v, w elsewhere, compared without regard to case. The client has the same, in eddylift/_usual_names.py.
USUAL_COMPONENTS: Final = (
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
USUAL_DIMS: Final = {
    TIME: ("t", "times", "nt"),
    COMPONENT: ("components", "comp", "vector", "values", "vector_component", "variable"),
    "z": ("k", "lev", "level", "depth", "height", "altitude", "zc", "nz", "zcoor"),
    "y": ("j", "lat", "latitude", "yc", "ny", "ycoor"),
    "x": ("i", "lon", "longitude", "xc", "nx", "xcoor"),
}
# What the names begin with that h5netcdf, and xarray, make up for dims without one.
UNNAMED: Final = "phony_dim"
MADE_UP: Final = (UNNAMED, "dim_")
# Usual labels of a component axis, in the order u, v, w.
USUAL_LABELS: Final = (*USUAL_COMPONENTS, ("x", "y", "z"), ("0", "1", "2"), ("1", "2", "3"))


class StoredNames(NamedTuple):
    """The names in a dataset as it is stored.

    Attributes:
        variables: of its variables.
        dims: of its dims.
    """

    variables: frozenset[str]
    dims: frozenset[str]

    @classmethod
    def of(cls, dataset: xr.Dataset) -> StoredNames:
        """Of a dataset that is not renamed yet."""
        return cls(frozenset(map(str, dataset.variables)), frozenset(map(str, dataset.dims)))


@dataclass(frozen=True)
class Naming:
    """How the variables and dims of a dataset are renamed.

    Attributes:
        names: pairs of a name in the dataset and the service's name.
        drop: variables that are left out.
    """

    names: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()

    @classmethod
    def parse(cls, names: str | None, drop: str | None) -> Naming:
        """Read ``Ux:u,Uy:v,Uz:w`` and ``p,T``, also with spaces around the names.

        Raises:
            Problem: 422 for anything else.
        """
        try:
            pairs = [_split(pair, ":") for pair in _split(names, ",")]
            return cls(tuple(sorted((ours, theirs) for ours, theirs in pairs)), tuple(_split(drop, ",")))
        except ValueError as error:
            expected = "pairs such as Ux:u,Uy:v,Uz:w"
            raise invalid_field(field="names", value=names, expected=expected) from error

    def apply(self, dataset: xr.Dataset, *, partly: bool = False) -> xr.Dataset:
        """Drop and rename. What gets the name of a dim, with a value for each of its cells, becomes its coordinate.

        Args:
            dataset: as it is stored.
            partly: whether names that the dataset lacks are ignored, as they may be of another dataset; see ``check``.

        Raises:
            Problem: 422 for a name that the dataset lacks, or would have twice.
        """
        if not partly:
            self.check(StoredNames.of(dataset))
        rest = dataset.drop_vars(self.drop, errors="ignore")
        variables, sizes = {*map(str, rest.variables)}, {str(dim): size for dim, size in rest.sizes.items()}
        old = {*variables, *sizes}
        names = {ours: theirs for ours, theirs in self.names if ours in old and ours != theirs}
        new_sizes = {names.get(dim, dim): size for dim, size in sizes.items()}
        # xarray's rename would make no coordinates of them.
        positions = {
            ours
            for ours, theirs in names.items()
            if ours not in sizes and theirs in new_sizes and rest[ours].shape == (new_sizes[theirs],)
        }
        for before in (variables, old - positions):
            if len({names.get(name, name) for name in before}) < len(before):
                raise invalid_field(field="names", value=spell(names), expected="names that differ from each other")
        renamed = rest.drop_vars(positions).rename({ours: names[ours] for ours in names.keys() - positions})
        for ours in positions:
            position = rest[ours].variable.copy(deep=False)
            position.dims = (names[ours],)
            # Without an index, for which it would be read.
            renamed = renamed.assign_coords(xr.Coordinates({names[ours]: position}, indexes={}))
        return renamed

    def check(self, *stored: StoredNames) -> None:
        """Refuse (422) a name that none of some datasets has, an empty one, or a new one for what is dropped.

        Without any dataset, as bare arrays have no names, all are refused.
        """
        variables = {name for each in stored for name in each.variables}
        dims = {name for each in stored for name in each.dims}
        _require_known("drop", self.drop, variables)
        _require_known("names", [ours for ours, _ in self.names], (variables - {*self.drop}) | dims)
        for ours, theirs in self.names:
            if not theirs:
                raise invalid_field(field="names", value=f"{ours}:", expected="a name after the colon, as in Ux:u")

    def undo(self, dataset: xr.Dataset) -> xr.Dataset:
        """Give a dataset its own names back, also to a dim those of its positions; dropped variables stay dropped."""
        known = {*map(str, dataset.variables), *map(str, dataset.dims)}
        return dataset.rename({theirs: ours for ours, theirs in self.names if theirs in known and ours != theirs})


UNCHANGED: Final = Naming()


def _split(text: str | None, at: str) -> list[str]:
    return [part.strip() for part in text.split(at)] if text else []


def _require_known(field: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            expected = f"one of {', '.join(sorted(known))}" if known else "none, as bare arrays have no names"
            raise invalid_field(field=field, value=name, expected=expected)


def spell(names: dict[str, str]) -> str:
    """Write names in the form of the option ``names``."""
    return ",".join(f"{ours}:{theirs}" for ours, theirs in names.items())


def guess(dataset: xr.Dataset) -> dict[str, str]:
    """The service's names by those of a dataset, for variables and dims that look like velocity."""
    lower = {str(name).lower(): str(name) for name in dataset.data_vars}
    usual = next((each for each in USUAL_COMPONENTS if lower.keys() >= set(each)), ())
    names = dict(zip((lower[each] for each in usual), COMPONENTS, strict=False))
    arrays = [array for array in dataset.data_vars.values() if array.ndim >= len(AXES)]
    dims = {str(dim): None for array in arrays for dim in array.dims}
    for ours, theirs in USUAL_DIMS.items():
        if ours not in dims:
            fitting = [dim for dim in dims if dim.lower() in (ours, *theirs)]
            names |= dict.fromkeys(fitting[:1], ours)
    if usual and len(dims) in (3, 4) and all(dim.startswith(UNNAMED) for dim in dims):
        names |= dict(zip(dims, (TIME, *AXES)[-len(dims) :], strict=True))
    elif arrays and not usual:
        largest = max(arrays, key=lambda array: array.ndim)
        left = {str(dim): size for dim, size in largest.sizes.items() if dim not in {*USUAL_DIMS, *names}}
        ordered = _order(left, {*dims, *names.values()})
        if {*AXES} <= {*dims, *names.values(), *ordered.values()}:
            names |= ordered
    return {theirs: ours for theirs, ours in names.items() if theirs != ours}


def positions(dataset: xr.Dataset, others: Iterable[str]) -> dict[str, str]:
    """The axes without positions by those of some variables that may have them: by their names or their dims."""
    fitting = [
        (name, axis)
        for axis in AXES
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


def _order(left: Mapping[str, int], taken: set[str]) -> dict[str, str]:
    """Names for the dims of one array that have none, if their lengths tell where its components are."""
    orders = set()
    for order in ((TIME, COMPONENT, *AXES), (TIME, *AXES, COMPONENT)):
        names = tuple(name for name in order if name not in taken)[-len(left) :]
        if len(names) == len(left) and dict(zip(names, left.values(), strict=True)).get(COMPONENT) == len(COMPONENTS):
            orders.add(names)
    is_told = len(orders) == 1 and (len(left) == 1 or all(dim.startswith(MADE_UP) for dim in left))
    return dict(zip(left, orders.pop(), strict=True)) if is_told else {}


def order_of(labels: Sequence[Any]) -> tuple[int, ...] | None:
    """Where u, v, w are among the labels of a component axis; None if the labels do not say."""
    spelled = [_spelled(label) for label in labels]
    for usual in USUAL_LABELS:
        if sorted(spelled) == sorted(usual):
            return tuple(map(spelled.index, usual))
    return None


def _spelled(label: object) -> str:
    if isinstance(label, float):
        return f"{label:g}"
    text = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    return text.strip().lower()
