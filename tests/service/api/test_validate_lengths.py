"""Validation takes lengths from coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.service.api.validation import FINE, means, measured, post, same
from tests.service.wire import NETCDF, NPY, dataset, netcdf, noise, npy

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue


def test_lengths_are_those_of_the_coordinates(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(3, 16, 20, 24)
    answer = post(client, reference=(netcdf(dataset(fine)), NETCDF)).json()
    # Spacings of 0.25, 0.5 and 1 along z, y and x.
    same(answer["metrics"], measured(catalogue, fine, length=(4.0, 10.0, 24.0)))
    bare = post(client, reference=(npy(fine), NPY)).json()
    cube = 2 * math.pi / 24
    same(bare["metrics"], measured(catalogue, fine, length=(16 * cube, 20 * cube, 24 * cube)))


def test_lengths_may_be_those_of_the_coarse_volume(client: TestClient, catalogue: Catalogue) -> None:
    """Axis by axis, and in one unit."""
    velocity = noise(3, 16, 20, 24)
    fine = dataset(velocity)
    coarse = dataset(means(velocity)).assign_coords(fine.coarsen(z=4, y=4, x=4).mean().coords)
    for lacks in (["z", "y", "x"], ["y"]):
        sent = {"coarse": (netcdf(coarse), NETCDF), "reference": (netcdf(fine.drop_vars(lacks)), NETCDF)}
        answer = post(client, None, **sent).json()
        same(answer["metrics"], measured(catalogue, velocity, length=(4.0, 10.0, 24.0)))
    mixed = coarse.assign_coords(y=coarse.y.assign_attrs(units="km"))
    refused = post(client, None, **{**sent, "coarse": (netcdf(mixed), NETCDF)}).json()
    assert refused["errors"][0]["field"] == "coarse.y"
    dropped = post(client, {"drop": "z,y,x"}, **sent).json()
    cube = 2 * math.pi / 24
    same(dropped["metrics"], measured(catalogue, velocity, length=(16 * cube, 20 * cube, 24 * cube)))


def test_lengths_of_bare_arrays(client: TestClient, catalogue: Catalogue) -> None:
    fine = noise(3, 16, 20, 24)
    sent = {"coarse": (npy(means(fine)), NPY), "reference": (npy(fine), NPY)}
    same(
        post(client, {"length": "4,10,24"}, **sent).json()["metrics"],
        measured(catalogue, fine, length=(4.0, 10.0, 24.0)),
    )
    for length in ("4,10", "4,10,0", "4,10,inf", "4,10,nan", "cubes"):
        refused = post(client, {"length": length}, **sent).json()
        assert refused["errors"] == [
            {"field": "length", "value": length, "expected": "a positive number for each of z, y, x: 1.2,2,2.4"}
        ]
    sent["coarse"] = (netcdf(dataset(means(fine)).drop_vars("x")), NETCDF)
    refused = post(client, {"length": "4,10,24"}, **sent).json()
    assert refused["detail"].endswith("as the volumes have coordinates; drop=z,y leaves them out")
    assert post(client, {"length": "4,10,24", "drop": "z,y"}, **sent).status_code == 200


def test_coordinates_along_some_axes_alone_are_told(client: TestClient) -> None:
    fine = dataset(noise(3, 16, 20, 24))

    def warnings(*lacks: str) -> list[str]:
        return list(post(client, reference=(netcdf(fine.drop_vars(lacks)), NETCDF)).json()["warnings"])

    assert warnings() == warnings("z", "y", "x") == []
    (warning,) = warnings("z", "x")
    assert warning.startswith("the coordinates are along y alone, so derivatives and spectra take cells as cubes")
    assert warning.endswith("along z and x too")


def test_ends_that_may_be_swapped(client: TestClient) -> None:
    """Of an axis that descends in one file, the other one without coordinates may hold either end first."""
    down = {"y": slice(None, None, -1)}
    fine = dataset(FINE)
    coarse = fine.coarsen(z=4, y=4, x=4).mean()
    bare = (npy(FINE), NPY)
    refused = post(client, coarse=(netcdf(coarse.isel(down)), NETCDF), reference=bare)
    assert refused.json()["detail"].startswith("reference.y: missing; expected coordinates, as those of coarse.y desc")
    refused = post(client, coarse=(npy(means(FINE)), NPY), reference=(netcdf(fine.isel(down)), NETCDF))
    assert refused.json()["detail"].startswith("coarse.y: missing; expected coordinates, as those of reference.y desc")
    both = [
        post(client, coarse=(netcdf(one), NETCDF), reference=(netcdf(other), NETCDF)).json()
        for one, other in ((coarse.isel(down), fine), (coarse, fine.isel(down)), (coarse, fine))
    ]
    assert both[0] == both[1] == both[2]
