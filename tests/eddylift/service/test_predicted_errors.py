"""Clients ask for expected errors, and name no model, at a service with a small general one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from eddylift import InvalidInputError, cli
from models.blocks import PERIODIC
from models.catalogue import DEFAULT, Catalogue, describe
from models.networks import Architecture, Network
from models.superresolution import SuperResolution, upscale
from models.uncertainty import ErrorHead
from service.settings import Settings
from tests.eddylift.conftest import CHECK

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from eddylift import Client
    from tests.eddylift.conftest import Ask, FakeService

COARSE = np.random.default_rng(1).standard_normal((3, 4, 5, 6), np.float32)
VOLUME = xr.Dataset(
    {name: (("z", "y", "x"), values, {"units": "m/s"}) for name, values in zip("uvw", COARSE, strict=True)},
    coords={"x": np.arange(6) + 0.5},
)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    torch.manual_seed(3)
    network = Network(Architecture("equivariant", "O", 1, 1))
    model = SuperResolution(network, error_head=ErrorHead(network.architecture, network.halo))
    made = Catalogue(tmp_path_factory.mktemp("weights"))
    made.save(model, describe(model, flow="general", uncertainty={"quantiles": {"0.5": 0.8, "0.9": 2.0}}))
    return made


@pytest.fixture(scope="module")
def wanted(catalogue: Catalogue) -> NDArray[np.float32]:
    return upscale(catalogue.load(DEFAULT), COARSE, PERIODIC, error=True)


@pytest.fixture(scope="module")
def settings(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(weights=catalogue.folder, device="cpu", threads=1, data=tmp_path_factory.mktemp("data"))


def test_the_error_comes_in_every_kind_of_volume(client: Client, wanted: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(client.upscale(COARSE, error=True), wanted)
    turned = VOLUME.transpose("y", "x", "z").isel(x=slice(None, None, -1))
    fine = client.upscale(turned, error=True)
    assert [*fine.data_vars] == ["u", "v", "w", "error"]
    assert fine.error.dims == fine.u.dims == ("y", "x", "z")
    assert fine.error.attrs["units"] == "m/s"
    np.testing.assert_array_equal(fine.error.isel(x=slice(None, None, -1)).transpose("z", "y", "x"), wanted[3])
    field = xr.DataArray(COARSE, dims=("component", "z", "y", "x"), name="flow")
    array = client.upscale(field, error=True)
    assert (array.name, array.shape) == ("flow", wanted[:3].shape)
    np.testing.assert_array_equal(array.coords["error"], wanted[3])
    assert "error" not in client.upscale(field).coords


def test_a_variable_of_this_name_is_not_lost(client: Client) -> None:
    with pytest.raises(InvalidInputError, match="drop="):
        client.upscale(VOLUME.assign(error=0.1), error=True)
    assert client.upscale(VOLUME.assign(error=0.1))["error"] == 0.1


def test_views_and_jobs_have_errors(client: Client, wanted: NDArray[np.float32]) -> None:
    client.upload(VOLUME, "box")
    view = client.open("box", error=True)
    assert view.attrs["eddylift_model"] == DEFAULT
    np.testing.assert_array_equal(view.error, wanted[3])
    assert "error" not in client.open("box", model=DEFAULT)
    status = client.submit("box", "fine", error=True).wait()
    assert (status.model, status.error) == (DEFAULT, True)
    written = xr.open_zarr(client.store("fine", read_only=True), chunks=None)
    np.testing.assert_array_equal(written.error, wanted[3])


def test_check_says_what_an_answer_is_worth(client: Client, wanted: NDArray[np.float32]) -> None:
    found = client.check(VOLUME)
    assert found.model == DEFAULT
    assert found.expected_mae == pytest.approx(wanted[3].mean(), rel=1e-5)
    correction = np.abs(wanted[:3] - upscale(SuperResolution(), COARSE, PERIODIC)).mean()
    assert found.expected_mae_over_correction == pytest.approx(wanted[3].mean() / correction, rel=1e-5)
    report = client.validate(None, wanted[:3])
    assert report.model == DEFAULT
    assert report.expected_mae is not None
    assert report.rows()[0][0] == "expected_mae"


def test_both_clients_check(ask: Ask, service: FakeService) -> None:
    assert ask("check", COARSE, boundary="open") == CHECK
    assert dict(service.requests[0].url.params) == {"boundary": "open"}
    assert ask("check", VOLUME, model="mine") == CHECK


def test_the_command_line_names_no_model(url: str, tmp_path: Path, wanted: NDArray[np.float32]) -> None:
    VOLUME.to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    arguments = ["upscale", str(tmp_path / "coarse.nc"), str(tmp_path / "fine.nc"), "--error", "--url", url]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert DEFAULT in done.output
    with xr.open_dataset(tmp_path / "fine.nc", engine="h5netcdf") as fine:
        np.testing.assert_array_equal(fine.error, wanted[3])
    refused = CliRunner().invoke(cli.app, ["validate", "--url", url])
    assert refused.exit_code == 1
    assert "--model" in refused.output
