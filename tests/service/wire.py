"""Volumes as they travel, and models that misbehave on request."""

from __future__ import annotations

import io
import itertools
import json
import math
import threading
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from models.convolution import NOWHERE
from models.npy import PARSING
from models.superresolution import SuperResolution
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from fastapi.testclient import TestClient
    from numpy.typing import NDArray
    from torch import Tensor
    from zarr.abc.buffer import Buffer

    from models.convolution import Axes

NPY = "application/x-npy"
NETCDF = "application/netcdf"
ZIP = "application/zip"


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """A velocity with a mean and a scale of its own."""
    return (3 * np.random.default_rng(seed).standard_normal(shape) + 1).astype(np.float32)


def npy(array: NDArray[Any], *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def from_npy(content: bytes) -> NDArray[np.float32]:
    with PARSING:
        array: NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
        return array


def dataset(velocity: NDArray[Any], **changes: object) -> xr.Dataset:
    """u, v, w over (z, y, x) or (time, z, y, x), with coordinates, units and attributes."""
    cells = velocity.shape[-3:]
    dims = ("z", "y", "x") if velocity.ndim == 4 else ("time", "z", "y", "x")
    steps = {"z": 0.25, "y": 0.5, "x": 1.0}
    coordinates: dict[str, Any] = {
        axis: (axis, 2 + step * (np.arange(n) + 0.5), {"units": "m", "long_name": f"{axis} of cell centres"})
        for (axis, step), n in zip(steps.items(), cells, strict=True)
    }
    if velocity.ndim == 5:
        coordinates["time"] = ("time", 10.0 * np.arange(len(velocity)), {"units": "days since 2000-01-01"})
    components = np.moveaxis(velocity, -4, 0)
    variables = {
        name: (dims, part, {"units": "m s-1", "standard_name": f"{name}_velocity"})
        for name, part in zip("uvw", components, strict=True)
    }
    attributes = {"title": "noise", "history": "made by a test"}
    return xr.Dataset(variables, coordinates, attributes).assign(changes)


def in_units(velocity: NDArray[Any], units: str) -> xr.Dataset:
    """u, v, w over (z, y, x) without coordinates, in these units."""
    bare = dataset(velocity).drop_vars(["z", "y", "x"])
    for name in "uvw":
        bare[name].attrs["units"] = units
    return bare


def joined(
    velocity: NDArray[Any], dims: tuple[str, ...] = ("component", "z", "y", "x"), **rest: Mapping[str, Any]
) -> xr.Dataset:
    """One variable with a component dim."""
    standard = ("component", "z", "y", "x") if velocity.ndim == 4 else ("time", "component", "z", "y", "x")
    return xr.Dataset({"velocity": xr.Variable(standard, velocity).transpose(*dims)}, **rest)


def netcdf(volume: xr.Dataset, **options: Any) -> bytes:  # noqa: ANN401 passed on
    return bytes(volume.to_netcdf(engine="h5netcdf", **options))


def from_netcdf(content: bytes) -> xr.Dataset:
    return xr.load_dataset(io.BytesIO(content), engine="h5netcdf", decode_times=False)


def files_of(volume: xr.Dataset, *, version: int = 3, **options: Any) -> dict[str, bytes]:  # noqa: ANN401 passed on
    """A Zarr group by its keys."""
    stored: dict[str, Buffer] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume.to_zarr(MemoryStore(stored), zarr_format=version, **{"consolidated": False, **options})
    return {name: data.to_bytes() for name, data in stored.items()}


def zipped(files: Mapping[str, bytes], *, root: str = "", method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(root + name, data)
    return content.getvalue()


def from_zip(content: bytes, *, root: str = "") -> xr.Dataset:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        make = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes
        files = {name.removeprefix(root): make(archive.read(name)) for name in archive.namelist()}
    opened: xr.Dataset = xr.open_zarr(MemoryStore(files), consolidated=False, decode_times=False, chunks=None)
    return opened.load()


def send(client: TestClient, name: str, volume: xr.Dataset, **options: Any) -> dict[str, bytes]:  # noqa: ANN401
    """Upload a volume; returns its objects by their keys."""
    sent = files_of(volume, **options)
    for key, content in sent.items():
        response = client.put(f"/v1/volumes/{name}/{key}", content=content)
        assert response.status_code == 201, response.text
    return sent


def fetch(client: TestClient, view: str) -> xr.Dataset:
    """All of a view, object by object."""
    head = client.get(f"/v1/views/{view}/zarr.json")
    assert head.status_code == 200, head.text
    found = {"zarr.json": head.content}
    for name, document in head.json()["consolidated_metadata"]["metadata"].items():
        found[f"{name}/zarr.json"] = client.get(f"/v1/views/{view}/{name}/zarr.json").content
        assert json.loads(found[f"{name}/zarr.json"]) == document
        chunks = document["chunk_grid"]["configuration"]["chunk_shape"]
        counts = (range(math.ceil(n / edge)) for n, edge in zip(document["shape"], chunks, strict=True))
        for numbers in itertools.product(*counts):
            key = "/".join([name, "c", *map(str, numbers)])
            response = client.get(f"/v1/views/{view}/{key}")
            assert response.status_code == 200, response.text
            found[key] = response.content
    store = MemoryStore({key: cpu.Buffer.from_bytes(content) for key, content in found.items()})
    opened: xr.Dataset = xr.open_zarr(store, consolidated=True)
    return opened.load()


def stacked(found: xr.Dataset) -> NDArray[np.float32]:
    return np.stack([found[name].values for name in "uvw"])


def post_bytes(client: TestClient, content: bytes, media_type: str = NPY, **query: str) -> httpx2.Response:
    params = {"model": "trilinear-x4", **query}
    return client.post("/v1/upscale", params=params, content=content, headers={"Content-Type": media_type})


def post(
    client: TestClient, array: NDArray[Any], model: str = "trilinear-x4", boundary: str = "periodic"
) -> httpx2.Response:
    return post_bytes(client, npy(array), model=model, boundary=boundary)


class Gate(SuperResolution):
    """Trilinear interpolation that waits to be let through, and remembers its batches.

    As a context, it opens at the end, so that nobody waits for it after a failure.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []
        self.blocks: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()

    def forward(self, coarse: Tensor, circular: Axes = NOWHERE) -> Tensor:
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        self.batches.append(len(coarse))
        self.blocks += coarse.mean(dim=(1, 2, 3, 4, 5)).tolist()
        return super().forward(coarse, circular)


class Cramped(SuperResolution):
    """Trilinear interpolation on a device with room for few blocks."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room = room
        self.error = error
        self.batches: list[int] = []

    def forward(self, coarse: Tensor, circular: Axes = NOWHERE) -> Tensor:
        self.batches.append(len(coarse))
        if len(coarse) > self.room:
            raise self.error
        return super().forward(coarse, circular)
