"""Bodies that are broken, lie or attack get the problem document that names it, and the next good request works."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from service.formats.netcdf import NetcdfBody
from service.formats.zarr_codecs import Chunks
from service.formats.zarr_zip import ZarrBody
from service.problems import Problem
from service.settings import Settings
from tests.service.api.refusals import GOOD, refused
from tests.service.wire import NETCDF, ZIP, dataset, files_of, netcdf, npy, zipped
from tests.service.wire import post_bytes as post

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient


def test_empty_body(client: TestClient) -> None:
    refused(client, post(client, b""), 400, "body")


@pytest.mark.parametrize("cut", [1, 6, 8, 20, 127, 128, -1, -400])
def test_truncated_npy(client: TestClient, cut: int) -> None:
    refused(client, post(client, npy(GOOD)[:cut]), 400, "body")


def test_npy_with_more_behind(client: TestClient) -> None:
    refused(client, post(client, npy(GOOD) + b"\0"), 400, "body")


class Trap:
    """Makes a folder if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_npy_is_not_unpickled(client: TestClient, tmp_path: Path) -> None:
    content = npy(np.array([Trap(tmp_path / "sprung")], object), allow_pickle=True)
    error = refused(client, post(client, content), 422, "dtype")
    assert "object" in error["value"]
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 100000, 100000, 100000)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4, -4, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 4, 99999999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4, 4, 12)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 99999999999999999999999, 0)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + 90 * "1," + "192)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + 2 * (4000 * "9" + ",") + ")}",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': (3, 4)}",
        "{'descr': '<q9', 'fortran_order': False, 'shape': (3, 4)}",
        "{'descr': '<f4'}",
        "__import__('os').system('true')",
        "(" * 5000,
        "{" * 5000,
        "'" + " " * 20000,
        "\x00",
    ],
)
def test_npy_headers_that_lie(client: TestClient, header: str) -> None:
    content = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header.encode() + bytes(768)
    refused(client, post(client, content), 400, "body")


def test_npy_of_a_version_to_come(client: TestClient) -> None:
    content = bytearray(npy(GOOD))
    content[6] = 9
    refused(client, post(client, bytes(content)), 400, "body")


@pytest.mark.parametrize("cut", [9, 100, 1000, -1])
def test_truncated_netcdf(client: TestClient, cut: int) -> None:
    refused(client, post(client, netcdf(dataset(GOOD))[:cut], NETCDF), 400, "body")


def test_netcdf_classic_that_is_none(client: TestClient) -> None:
    refused(client, post(client, bytes(dataset(GOOD).to_netcdf(engine="scipy"))[:60], NETCDF), 400, "body")
    error = refused(client, post(client, b"CDF\x05" + bytes(100), NETCDF), 415, "body")
    assert "nccopy -k nc4" in error["expected"]


def hdf5(make: Callable[[h5py.File], None]) -> bytes:
    """A NetCDF-4 volume with something done to it."""
    file = io.BytesIO(netcdf(dataset(GOOD)))
    with h5py.File(file, "r+") as inside:
        make(inside)
    return file.getvalue()


def replaced(file: h5py.File, **options: object) -> h5py.Dataset:
    """``u`` again, stored otherwise."""
    scales = [dim[0] for dim in file["u"].dims]
    del file["u"]
    array = file.create_dataset("u", **{"shape": GOOD.shape[1:], "dtype": "f4", **options})
    for dim, scale in zip(array.dims, scales, strict=True):
        dim.attach_scale(scale)
    return array


def test_hdf5_does_not_read_other_files(client: TestClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(GOOD[0].tobytes())

    def external(file: h5py.File) -> None:
        replaced(file, external=[(str(secret), 0, GOOD[0].nbytes)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(GOOD.shape[1:], "f4")
        layout[...] = h5py.VirtualSource(str(secret), "u", GOOD.shape[1:])
        del file["u"]
        file.create_virtual_dataset("u", layout)

    def link(file: h5py.File) -> None:
        file["p"] = h5py.ExternalLink(str(secret), "/u")

    def soft(file: h5py.File) -> None:
        file["p"] = h5py.SoftLink("/u")

    def group(file: h5py.File) -> None:
        file.create_group("p")

    for make, field in ((external, "u"), (virtual, "u"), (link, "p"), (soft, "p"), (group, "p")):
        refused(client, post(client, hdf5(make), NETCDF), 422, field)


def test_hdf5_filters_that_are_not_known(client: TestClient) -> None:
    refused(client, post(client, hdf5(lambda file: replaced(file, compression="lzf")), NETCDF), 422, "u")


def test_hdf5_that_grows(client: TestClient) -> None:
    def declared(file: h5py.File) -> None:
        file.create_dataset("p", (10**5, 10**5, 10**3), "f4", chunks=(1, 100, 100), compression="gzip")

    def chunk(file: h5py.File) -> None:
        array = replaced(file, chunks=GOOD.shape[1:], compression="gzip")
        array.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(50_000_000)))

    refused(client, post(client, hdf5(declared), NETCDF), 413, "body")
    refused(client, post(client, hdf5(chunk), NETCDF), 413, "u")


def test_hdf5_texts_that_multiply(client: TestClient) -> None:
    def texts(file: h5py.File) -> None:
        file.create_dataset("p", 10_000, h5py.string_dtype())

    def attribute(file: h5py.File) -> None:
        file["u"].attrs.create("notes", ["x"] * 1000, dtype=h5py.string_dtype())

    refused(client, post(client, hdf5(texts), NETCDF), 422, "p")
    refused(client, post(client, hdf5(attribute), NETCDF), 422, "u")


# Archives


FILES = files_of(dataset(GOOD))


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def archive(*extra: tuple[zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(file, "a", method) as inside:
        for info, data in extra:
            inside.writestr(info, data)
    return file.getvalue()


@pytest.mark.parametrize(
    "name", ["../evil", "u/../../evil", "/etc/evil", "..", "a//b", "./u", "C:/evil", "a\\..\\evil", "u/./c"]
)
def test_archives_that_climb_out(client: TestClient, name: str) -> None:
    refused(client, post(client, archive((entry(name), b"x")), ZIP), 422, "body")


def test_archives_with_links(client: TestClient) -> None:
    refused(client, post(client, archive((entry("u/c/9", stat.S_IFLNK | 0o777), b"/etc/passwd")), ZIP), 422, "body")


def test_archives_compressed_otherwise(client: TestClient) -> None:
    content = zipped(FILES, method=zipfile.ZIP_BZIP2)
    refused(client, post(client, content, ZIP), 422, "body")


def test_truncated_archive(client: TestClient) -> None:
    refused(client, post(client, zipped(FILES)[:-30], ZIP), 400, "body")


def test_archive_without_a_group(client: TestClient) -> None:
    refused(client, post(client, zipped({"readme": b"hello"}), ZIP), 400, "body")
    refused(client, post(client, zipped({}), ZIP), 400, "body")


def test_archive_with_two_groups(client: TestClient) -> None:
    both = {f"{root}/{name}": data for root in "ab" for name, data in FILES.items()}
    refused(client, post(client, zipped(both), ZIP), 422, "body")


def test_zip_bombs(client: TestClient) -> None:
    zeros = zipped({**FILES, "u/c/0/0/0": bytes(100_000_000)}, method=zipfile.ZIP_DEFLATED)
    assert len(zeros) < 1_000_000
    refused(client, post(client, zeros, ZIP), 413, "body")


def test_chunks_beyond_the_shape_of_an_array_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are measured as the others are, which takes as long, and no longer than until it is too much."""
    measured: list[int] = []

    def measure(_chunks: Chunks, data: bytes) -> int:
        measured.append(len(data))
        return int(GOOD[0].nbytes)

    monkeypatch.setattr(Chunks, "measure", measure)
    limits = Settings(max_decoded_bytes=100 * GOOD[0].nbytes)
    with pytest.raises(Problem, match="too large once decompressed"):
        ZarrBody(zipped({**FILES, **{f"u/c/9/9/{n}": b"x" for n in range(1000)}}), limits)
    assert 100 < len(measured) < 110


def test_chunks_longer_than_their_array_count() -> None:
    def body(*cells: int) -> bytes:
        """With an array of one value for each of these lengths of a chunk."""

        def make(file: h5py.File) -> None:
            for number, each in enumerate(cells):
                file.create_dataset(f"n{number}", 1, "f4", maxshape=(None,), chunks=(each,), compression=9)[0] = 1

        return hdf5(make)

    limits = Settings(max_decoded_bytes=1_000_000)
    NetcdfBody(body(200_000), limits)
    for cells in ((300_000,), (200_000, 200_000)):
        with pytest.raises(Problem, match="too large once decompressed"):
            NetcdfBody(body(*cells), limits)


def test_archives_of_too_many_files(client: TestClient) -> None:
    refused(client, post(client, zipped({f"u/c/{n}": b"" for n in range(10_001)}), ZIP), 413, "body")


def with_metadata(files: dict[str, bytes], name: str, **changes: object) -> dict[str, bytes]:
    return {**files, name: json.dumps({**json.loads(files[name]), **changes}).encode()}


def test_zarr_arrays_larger_than_their_chunks(client: TestClient) -> None:
    huge = with_metadata(FILES, "u/zarr.json", shape=[10**4, 10**4, 10**4])
    refused(client, post(client, zipped(huge), ZIP), 413, "u")
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**4, 10**4, 10**4]}}
    wide = with_metadata(FILES, "u/zarr.json", chunk_grid=grid)
    refused(client, post(client, zipped(wide), ZIP), 413, "body")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"[" * 100_000, b"\xff"])
def test_zarr_metadata_that_is_none(client: TestClient, content: bytes) -> None:
    refused(client, post(client, zipped({**FILES, "zarr.json": content}), ZIP), 400, "zarr.json")
    assert post(client, zipped({**FILES, "u/zarr.json": content}), ZIP).status_code in (400, 422)


def test_zarr_v2_does_not_unpickle(client: TestClient, tmp_path: Path) -> None:
    files = files_of(dataset(GOOD), version=2)
    files[".zattrs"] = b"{}"
    pickled = with_metadata(
        files, "x/.zarray", dtype="|O", filters=[{"id": "pickle"}], compressor=None, fill_value=None
    )
    pickled["x/0"] = pickle.dumps(Trap(tmp_path / "sprung"))
    response = post(client, zipped(pickled), ZIP)
    assert response.status_code in (400, 422)
    assert not (tmp_path / "sprung").exists()


def test_groups_inside_groups(client: TestClient) -> None:
    nested = {**FILES, **{f"deep/{name}": data for name, data in FILES.items()}}
    assert post(client, zipped(nested), ZIP).status_code == 422


def test_text_that_is_none_is_quoted_not_repeated(client: TestClient) -> None:
    def units(file: h5py.File) -> None:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(3)
        kind.set_cset(h5py.h5t.CSET_UTF8)
        del file["v"].attrs["units"]
        attribute = h5py.h5a.create(file["v"].id, b"units", kind, h5py.h5s.create(h5py.h5s.SCALAR))
        attribute.write(np.array(b"\xff\xfem", "S3"), mtype=kind)

    refused(client, post(client, hdf5(units), NETCDF), 422, "v")
