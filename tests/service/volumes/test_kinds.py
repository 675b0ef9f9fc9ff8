"""Stored volumes as researchers have them: views and jobs read them as requests do, and keep what is not velocity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from models.catalogue import Catalogue, describe
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from tests.service.wire import dataset, fetch, joined, noise, send, stacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    Serve = Callable[..., TestClient]

PLAIN = "trilinear-x4"
COARSE = noise(3, 4, 5, 6)


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(data=tmp_path / "data", block=6)


def raw(client: TestClient, view: str) -> xr.Dataset:
    """All of a view but its velocity, as it is stored."""
    head = client.get(f"/v1/views/{view}/zarr.json")
    assert head.status_code == 200, head.text
    found = {"zarr.json": head.content}
    for name, document in head.json()["consolidated_metadata"]["metadata"].items():
        key = "/".join([name, "c", *["0"] * len(document["shape"])])
        for each in (f"{name}/zarr.json", key):
            found[each] = client.get(f"/v1/views/{view}/{each}").content
    store = MemoryStore({key: cpu.Buffer.from_bytes(content) for key, content in found.items()})
    opened: xr.Dataset = xr.open_zarr(store, consolidated=True, decode_cf=False, chunks=None)
    return opened


def refused(client: TestClient, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 422, response.text
    detail: str = response.json()["detail"]
    return detail


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("fill", [-999.0, 1e10])
def test_fill_values_are_no_velocity(client: TestClient, version: int, fill: float) -> None:
    gappy = COARSE.copy()
    gappy[1, 1, 2, 3] = np.nan
    encoding = {name: {"_FillValue": np.float32(fill)} for name in "uvw"}
    send(client, "box", dataset(gappy), version=version, encoding=encoding)
    detail = refused(client, f"/v1/views/box/{PLAIN};boundary=open/u/c/0/0/0")
    assert f"v: {fill:g} at (z, y, x) = (1, 2, 3)" in detail


def test_numbers_outside_of_the_valid_range_are_no_velocity(client: TestClient) -> None:
    volume = dataset(COARSE)
    volume["w"].attrs["valid_max"] = COARSE[2].max() - np.float32(0.5)
    send(client, "box", volume)
    assert f"w: {COARSE[2].max():g} at " in refused(client, f"/v1/views/box/{PLAIN};boundary=open/u/c/0/0/0")


def test_the_cell_that_is_named_is_that_of_the_volume(client: TestClient) -> None:
    """And not of the part that was read."""
    gappy = noise(2, 3, 4, 13, 14)
    gappy[1, 2, 3, 10, 11] = np.nan
    send(client, "box", dataset(gappy))
    detail = refused(client, f"/v1/views/box/{PLAIN};boundary=open/u/c/1/0/2/2")
    assert "w: nan at (level, z, y, x) = (1, 3, 10, 11)" in detail


def test_packed_integers(client: TestClient) -> None:
    packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
    send(client, "box", dataset(COARSE), encoding=dict.fromkeys("uvw", packing))
    send(client, "plain", dataset(COARSE))
    found = fetch(client, f"box/{PLAIN}")
    assert found["u"].dtype == np.float32
    assert "scale_factor" not in found["u"].attrs
    np.testing.assert_allclose(stacked(found), stacked(fetch(client, f"plain/{PLAIN}")), atol=0.0051)


def test_what_is_not_velocity_is_in_a_view_as_it_was(client: TestClient) -> None:
    beside = {
        "t_wall": ("time", 1.7e9 + np.array([0.25, 0.5]), {"units": "s"}),
        "step": ("time", np.array([7, -1], "i2"), {"_FillValue": np.int16(-1)}),
        "dt": ((), 1.23456789012e-5, {"units": "seconds"}),
    }
    time = ("time", np.array([0.0025, 0.0052]), {"units": "days since beginning of run", "calendar": "noleap"})
    volume = dataset(noise(2, 3, 4, 5, 6)).assign_coords(time=time).assign(beside)
    plain = {name: {"_FillValue": None} for name in ("t_wall", "dt", "time")}
    send(client, "box", volume.assign_attrs(params={"Re": 5000}, dealiased=True, doi=None), encoding=plain)
    found = raw(client, f"box/{PLAIN}")
    for name in (*beside, "time"):
        xr.testing.assert_identical(found[name].variable, volume[name].variable)
        assert found[name].dtype == volume[name].dtype
    assert found.attrs["params"] == {"Re": 5000}
    assert found.attrs["dealiased"] is True
    assert found.attrs["doi"] is None


def test_cf_bounds_of_coarse_cells_are_in_no_view(client: TestClient) -> None:
    volume = dataset(COARSE).assign(x_bnds=(("x", "nv"), np.zeros((6, 2))))
    volume["x"].attrs["bounds"] = "x_bnds"
    send(client, "box", volume)
    found = raw(client, f"box/{PLAIN}")
    assert "x_bnds" not in found.variables
    assert found["x"].attrs.keys() == {"units", "long_name"}


@pytest.mark.parametrize("labels", [["u", "v", "w"], ["w", "v", "u"], ["ux", "uy", "uz"], [1, 2, 3]])
def test_labels_of_components_stay(client: TestClient, labels: list[Any]) -> None:
    send(client, "box", joined(COARSE, coords={"component": labels}))
    send(client, "plain", dataset(COARSE if labels[0] != "w" else COARSE[::-1]).drop_vars(["z", "y", "x"]))
    found = fetch(client, f"box/{PLAIN}")
    assert found["component"].values.tolist() == labels
    plain = stacked(fetch(client, f"plain/{PLAIN}"))
    np.testing.assert_array_equal(found["velocity"], plain if labels[0] != "w" else plain[::-1])


def test_descending_axes_are_turned_round(client: TestClient) -> None:
    send(client, "down", dataset(COARSE).isel(y=slice(None, None, -1), x=slice(None, None, -1)))
    send(client, "up", dataset(COARSE))
    for name in "uvwzyx":
        down, up = (fetch(client, f"{volume}/{PLAIN}") for volume in ("down", "up"))
        np.testing.assert_array_equal(down[name], up[name])


def test_names_and_drop(client: TestClient) -> None:
    theirs = {"u": "Ux", "v": "Uy", "w": "Uz", "z": "lev"}
    send(client, "box", dataset(COARSE, p=dataset(COARSE).u).rename(theirs))
    send(client, "plain", dataset(COARSE))
    option = refused(client, f"/v1/views/box/{PLAIN};drop=p/zarr.json").partition("names=")[2].partition(" ")[0]
    assert "drop=p" in refused(client, f"/v1/views/box/{PLAIN};names={option}/zarr.json")
    found = fetch(client, f"box/{PLAIN};names={option};drop=p")
    np.testing.assert_array_equal(stacked(found), stacked(fetch(client, f"plain/{PLAIN}")))
    names = dict(pair.split(":") for pair in option.split(","))
    order = {"source": "box", "target": "fine", "model": PLAIN, "names": names}
    assert client.post("/v1/jobs", json=order).status_code == 422
    assert client.post("/v1/jobs", json={**order, "drop": ["p"]}).status_code == 202


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_plane_that_is_there_twice(client: TestClient, axis: str) -> None:
    volume = dataset(COARSE)
    # An end point that is there twice is as far as one more cell.
    closed = xr.concat([volume, volume.isel({axis: [0]})], axis).assign_coords(
        {axis: np.arange(volume.sizes[axis] + 1.0)}
    )
    send(client, "box", closed)
    assert f"{axis}: periodic" in refused(client, f"/v1/views/box/{PLAIN}/zarr.json")
    other = ",".join("open" if each == axis else "periodic" for each in "zyx")
    assert client.get(f"/v1/views/box/{PLAIN};boundary={other}/zarr.json").status_code == 200
    order = {"source": "box", "target": "fine", "model": PLAIN}
    assert "isel" in client.post("/v1/jobs", json=order).json()["detail"]


@pytest.mark.parametrize("cells", [0, 1, 3])
def test_thin_volumes(client: TestClient, cells: int) -> None:
    send(client, "slice", dataset(COARSE).isel(z=slice(cells)))
    assert "at least 4 cells along z" in refused(client, f"/v1/views/slice/{PLAIN}/zarr.json")
    (volume,) = client.get("/v1/volumes").json()["volumes"]
    assert "at least 4 cells along z" in volume["problem"]


def test_boundaries_by_request_volume_and_card(serve: Serve, tmp_path: Path) -> None:
    model = SuperResolution(Network(Architecture("relaxed", "O", 1, 1)))
    card = describe(model, flow="channel", boundary=("periodic", "wall", "periodic"))
    Catalogue(tmp_path / "weights").save(model, card)
    client = serve(weights=tmp_path / "weights", data=tmp_path / "data")
    still = COARSE.copy()
    still[:, :, [0, -1]] *= 0.3  # at the walls
    send(client, "box", dataset(still))
    send(client, "said", dataset(still).assign_attrs(boundary=["open", "wall", "open"]))
    for view, boundary, warns in (
        (f"box/{card.name}", "periodic,wall,periodic", False),
        (f"box/{PLAIN}", "periodic,periodic,periodic", False),
        (f"said/{card.name}", "open,wall,open", True),
        (f"said/{card.name};boundary=periodic,wall,periodic", "periodic,wall,periodic", False),
    ):
        response = client.get(f"/v1/views/{view}/zarr.json")
        assert response.json()["attributes"]["eddylift_boundary"] == boundary
        assert ("X-Eddylift-Warning" in response.headers) == warns
    order = {"source": "said", "target": "fine", "model": card.name}
    (warning,) = client.post("/v1/jobs", json=order).json()["warnings"]
    assert f"{card.name} was trained on periodic,wall,periodic" in warning


def test_attributes_that_are_no_finite_numbers_are_texts(client: TestClient) -> None:
    volume = dataset(COARSE).assign_attrs(one=np.nan)
    volume.u.attrs |= {"more": [1.0, np.inf]}
    volume.x.attrs |= {"less": -np.inf}
    send(client, "box", volume)
    view = f"/v1/views/box/{PLAIN}"
    root, u, x = (
        json.loads(client.get(f"{view}/{key}").content, parse_constant=pytest.fail)
        for key in ("zarr.json", "u/zarr.json", "x/zarr.json")
    )
    assert u["attributes"]["more"] == [1.0, "Infinity"]
    assert x["attributes"]["less"] == "-Infinity"
    assert root["attributes"]["one"] == "NaN"
    assert root["consolidated_metadata"]["metadata"]["u"] == u
