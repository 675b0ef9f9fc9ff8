"""Files of others are judged with the walls that their attributes tell of, and beside the best linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from models.catalogue import Catalogue, describe
from models.networks import Architecture, Network
from models.superresolution import SuperResolution
from training.external import chapter, open_external

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, cells: int, **attributes: str) -> None:
    random = np.random.default_rng(0)
    velocity = {
        name: (("time", "z", "y", "x"), random.standard_normal((1, cells, cells, cells), np.float32)) for name in "uvw"
    }
    coordinates = {axis: (np.arange(cells) + 0.5) / cells for axis in "zyx"}
    xr.Dataset(velocity, coordinates, attributes).to_netcdf(path, engine="h5netcdf")


def test_walls_that_move_are_read_from_words(tmp_path: Path) -> None:
    told = "u = -1 at y = -1, u = +1 at y = +1"
    write(tmp_path / "couette.nc", 8, boundary="periodic,wall,periodic", wall_velocity=told)
    write(tmp_path / "channel.nc", 8, boundary="periodic,wall,periodic")
    assert open_external(tmp_path / "couette.nc").boundary == ("periodic", "wall:u=-1..1", "periodic")
    assert open_external(tmp_path / "channel.nc").boundary == ("periodic", "wall", "periodic")


def test_a_row_a_file_and_a_column_a_model(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "weights")
    torch.manual_seed(0)
    model = SuperResolution(Network(Architecture("equivariant", "O", 1, 1)))
    catalogue.save(model, describe(model, flow="general"))
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "small.nc", 16, boundary="periodic", source="isotropic; a/b 1234567, MIT")
    write(folder / "large.nc", 48, boundary="periodic")
    lines = chapter(folder, catalogue.folder).splitlines()
    head, _, large, small, *predictions = (line for line in lines if line.startswith("| "))
    assert head == "| file | trilinear's MAE / rms | linear | equivariant-general |"
    assert small.split(" | ")[2] == "-"  # too few cells to fit the linear map to
    assert 0 < float(large.split(" | ")[2]) < 1
    assert float(small.rstrip(" |").split(" | ")[3]) == pytest.approx(1, abs=0.5)
    assert predictions[0] == "| file | equivariant-general |"
    assert predictions[2] == "| large | - |"  # it does not predict its error
    assert lines[-2:] == ["- large: unknown", "- small: isotropic; a/b 1234567, MIT"]
