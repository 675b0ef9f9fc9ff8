"""What each room may import, and what the wheel holds."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
import zipfile
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from hatchling.builders.wheel import WheelBuilder

from eddylift import _files, _metrics, _paths, _precision, _transfer, _units, _usual_names
from models.metrics import meanings
from models.missing import MISSING
from service.formats import names, netcdf, units, zarr_group
from service.volumes import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ROOMS = {"models", "training", "service", "eddylift"}


def imported(room: str) -> Iterator[tuple[str, str]]:
    """Every import in a room: the file and the module's first name."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                found = [node.module or ""]
            yield from ((str(path.relative_to(ROOT)), name.partition(".")[0]) for name in found)


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def distributions(module: str) -> set[str]:
    return {name.lower().replace("_", "-") for name in installed().get(module, [module])}


@cache
def installed() -> Mapping[str, list[str]]:
    """Distributions by the modules that they install; to read them takes a while."""
    return packages_distributions()


@pytest.mark.parametrize(
    ("room", "others", "requirements"),
    [
        ("models", set(), ["jaxtyping", "numpy", "safetensors", "torch"]),
        # Files are read by the client's reader, which needs no torch; the Makefile installs escnn.
        ("training", {"models", "eddylift"}, [*EXTRAS["train"], "escnn-atompaint"]),
        ("service", {"models"}, EXTRAS["server"]),
        ("eddylift", set(), PROJECT["dependencies"] + EXTRAS["zarr"]),
    ],
)
def test_a_room_imports_what_it_may_and_what_is_declared(room: str, others: set[str], requirements: list[str]) -> None:
    mine = declared(requirements)
    for path, module in imported(room):
        if module in sys.stdlib_module_names or module == room:
            continue
        if module in ROOMS:
            assert module in others, f"{path} imports {module}"
        else:
            assert distributions(module) & mine, f"{path} imports {module}, which is not declared"


def modules(room: str) -> dict[str, set[str]]:
    """The modules of a room that each of its modules imports, for types alone too."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / room).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        reached = {node.module or "" for node in nodes}
        reached |= {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        graph[name] = reached & files.keys()
    return graph


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_circle_of_imports(room: str) -> None:
    TopologicalSorter(modules(room)).prepare()


def test_super_resolution_forecasting_and_discovery_do_not_know_each_other() -> None:
    apart = {"forecasting", "discovery"}
    for module, reached in modules("models").items():
        subject = module.split(".")[1]
        for other in reached:
            assert other.split(".")[1] not in apart - {subject}, f"{module} imports {other}"


# From the top; each may import those after it.
FLOORS = ["app", "api", "jobs", "volumes", "engine", "formats", "runtime", "problems", "settings"]


def floor(module: str) -> int:
    name = module.split(".")[1]
    return FLOORS.index("app" if name in {"__init__", "__main__"} else name)


def test_each_room_of_the_service_imports_those_below_it() -> None:
    for module, reached in modules("service").items():
        for other in reached:
            assert floor(module) <= floor(other), f"{module} imports {other}"


def test_what_lies_below_the_api_knows_no_web_framework() -> None:
    for path, module in imported("service"):
        if module in {"fastapi", "starlette"}:
            assert Path(path).parts[1] in {"api", "app.py", "__init__.py"}, f"{path} imports {module}"


def test_client_and_service_know_the_same_usual_names() -> None:
    assert _usual_names.COMPONENTS == names.USUAL_COMPONENTS
    assert _usual_names.DIMS == names.USUAL_DIMS
    assert _usual_names.LABELS == names.USUAL_LABELS


@pytest.mark.parametrize(
    "others",
    [
        {"yc": ("yc", 4), "xc": ("xc", 6)},
        {"Y": ("y", 4), "other": ("y", 4)},
        {"first": ("z", 5), "z_points": ("dim_7", 5), "x_names": ("dim_8", 6)},
        {"y": ("y", 4), "yp": ("yp", 4), "xf": ("xf", 7)},
    ],
)
def test_client_and_service_find_the_same_positions(others: dict[str, tuple[str, int]]) -> None:
    dataset = xr.Dataset({"u": (("z", "y", "x"), np.zeros((5, 4, 6)))})
    for name, (dim, size) in others.items():
        values = np.arange(size).astype("U2" if name.endswith("names") else "f8")
        dataset = dataset.assign({name: (dim, values)})
    assert _usual_names.positions(dataset, [*others]) == names.positions(dataset, [*others])


def test_client_and_service_know_the_same_names_of_volumes() -> None:
    assert _paths.VOLUME.pattern == uploads.NAME.pattern
    assert _transfer.DRAFT.pattern == uploads.DRAFT.pattern
    (ending,) = re.findall(r"const DRAFT = /(.+)\$/;", (ROOT / "web/src/upload.ts").read_text())
    assert uploads.DRAFT.pattern == uploads.NAME.pattern + ending


def test_client_and_service_know_the_same_of_files() -> None:
    assert _precision.USUAL == MISSING
    assert _files.DEFAULT_FILLS == netcdf.DEFAULT_FILLS
    assert _files.DOCUMENTS == zarr_group.DOCUMENTS


# Those of a line are equal, those of different lines are not.
UNITS = [
    ("m/s", "m s-1", "m s^-1", "m*s**-1", "m⋅s⁻¹", "Meters / Second", "s-1 m"),
    ("cm/s", "centimeters/second", "centimetre sec^-1"),
    ("km", "kilometers", " Kilometre "),
    ("kg/m3", "kg m-3", "kg metre**-3"),
    ("m2/s2", "m2 s-2", "m² s⁻²"),
    ("1", "m/m", 1, "", " "),
    ("min", "minutes"),
    ("degC",),
    ("10 m/s",),
    ("m/s @ 20 C",),
]


def test_client_and_service_know_the_same_spellings_of_units() -> None:
    assert units.SYMBOLS == _units._SYMBOLS
    known = [(line, unit) for line in UNITS for unit in line]
    for (line, one), (other_line, other) in itertools.product(known, repeat=2):
        assert _units.same(one, other) is units.same_units(one, other) is (line is other_line), f"{one!r}, {other!r}"


def test_client_and_models_say_the_same_of_metrics() -> None:
    ours, theirs = ({name: tuple(each) for name, each in room.METRICS.items()} for room in (_metrics, meanings))
    assert ours == theirs


@pytest.mark.parametrize("extra", ["server", "train"])
def test_an_extra_declares_what_models_imports(extra: str) -> None:
    mine = declared(EXTRAS[extra])
    assert {"jaxtyping", "numpy", "safetensors", "torch"} <= mine


def test_the_wheel_holds_the_client_alone(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        (entry_points,) = (archive.read(name).decode() for name in files if name.endswith("/entry_points.txt"))
    assert {name.partition("/")[0] for name in files} == {"eddylift", f"eddylift-{PROJECT['version']}.dist-info"}
    assert "eddylift/py.typed" in files
    assert "eddylift = eddylift.cli:app" in entry_points
