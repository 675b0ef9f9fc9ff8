"""Mutated bodies, orders, keys, names and options: each is answered, or refused by a problem document.

What is drawn is the same in every run. The bodies of foreign containers are read in this process here, without the
limits of a reading process, so that what a parser holds can be measured.
"""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.errors import document as problem_document
from service.api.errors import status_of
from service.formats.containers import Body
from service.formats.sandbox import read_body
from service.formats.volume import ReadOptions
from service.problems import Problem
from service.settings import Settings
from tests.service.conftest import parts
from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, netcdf, noise, npy, send, zipped
from tests.service.wire import post_bytes as post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2
    from fastapi.testclient import TestClient
    from hypothesis.strategies import SearchStrategy

MEBI = 1 << 20
LIMITS = Settings(max_body_bytes=MEBI, max_decoded_bytes=4 * MEBI)
# Most that reading a body of a few kilobytes may take at a time: so many times what it may decode to.
ROOM = 3 * LIMITS.max_decoded_bytes
GOOD = noise(3, 4, 4, 4)
HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
FOREIGN = HealthCheck.function_scoped_fixture, HealthCheck.too_slow
BODIES = {
    NPY: (npy(GOOD), npy(GOOD.astype(np.float64)), npy(np.asfortranarray(GOOD))),
    NETCDF: (
        netcdf(dataset(GOOD)),
        netcdf(dataset(GOOD), encoding={name: {"zlib": True, "shuffle": True} for name in "uvw"}),
    ),
    ZIP: (
        zipped(files_of(dataset(GOOD))),
        zipped(files_of(dataset(GOOD), version=2), method=zipfile.ZIP_DEFLATED),
    ),
}


@st.composite
def mutated(draw: st.DrawFn, bodies: tuple[bytes, ...]) -> bytes:
    """A valid body with a few bits turned over, bytes cut, joined or repeated, or numbers made huge."""
    body = bytearray(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(body) - 1)) | st.integers(0, min(200, max(0, len(body) - 1))))
        match draw(st.sampled_from(["flip", "cut", "splice", "number", "drop", "noise"])):
            case "flip" if body:
                body[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del body[place:]
            case "splice":
                other = draw(st.sampled_from(bodies))
                start = draw(st.integers(0, len(other) - 1))
                body[place:] = other[start:]
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                number = draw(st.sampled_from(HUGE)) % (1 << (8 * width))
                body[place : place + width] = number.to_bytes(width, draw(st.sampled_from(["little", "big"])))
            case "drop":
                del body[place : place + draw(st.integers(1, 32))]
            case "noise":
                body[place:place] = draw(st.binary(max_size=32))
    return bytes(body)


def header(shape: str, descr: str) -> bytes:
    """An npy body whose header says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) % 65536).to_bytes(2, "little") + text + bytes(768)


@st.composite
def lying_npy(draw: st.DrawFn) -> bytes:
    """Shapes and dtypes that nobody has."""
    whole = st.integers(-(2**70), 2**70).map(str)
    odd = st.sampled_from(["True", "None", "'3'", "1.5", "()", "[" * 60, "-" * 300 + "1", "9" * 5000, "1e400", "{}"])
    shape = draw(st.lists(st.sampled_from(["3", "4"]) | whole | odd, max_size=40))
    descr = draw(st.sampled_from(["'<f4'", "'>f8'", "'|O'", "'<f4096'", "'f'", "[('u', '<f4')]", "'<U99999999'", "3"]))
    return header(f"({', '.join(shape)}{',' * (len(shape) == 1)})", descr)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def lying_zarr(draw: st.DrawFn) -> bytes:
    """A zipped group in whose metadata one or two entries are something else."""
    version = draw(st.sampled_from([2, 3]))
    files = dict(FILES[version])
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(key for key in files if key.rpartition("/")[2] in DOCUMENTS)))
        document = json.loads(files[name])
        node = document
        while True:
            step = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            inside = node[step]
            if not isinstance(inside, dict | list) or not inside or draw(st.booleans()):
                break
            node = inside
        node[step] = draw(JSON)
        files[name] = json.dumps(document).encode()
        if not isinstance(document, dict) or not document:
            break
    return zipped(files)


DOCUMENTS = {"zarr.json", ".zarray", ".zattrs", ".zgroup"}
FILES = {version: files_of(dataset(GOOD), version=version) for version in (2, 3)}


def outcome(body: bytes, media_type: str) -> str:
    """How a body was read, in this process; whatever is raised must be a refusal, and memory must be bounded."""
    tracemalloc.start()
    try:
        read_body(Body(body, media_type), LIMITS, ReadOptions())
    except Problem as problem:
        assert 400 <= status_of(problem) < 500  # noqa: PT017 it may also not be raised
        json.dumps(problem_document(problem, "/"), allow_nan=False)
        return problem.kind
    else:
        return "read"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < ROOM


def repeatable(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=FOREIGN
    )


@pytest.mark.parametrize("media_type", BODIES)
def test_what_is_mutated_was_valid(media_type: str) -> None:
    assert {outcome(body, media_type) for body in BODIES[media_type]} == {"read"}


@given(body=mutated(BODIES[NPY]) | lying_npy() | st.binary(max_size=300).map(lambda rest: b"\x93NUMPY" + rest))
@repeatable(400)
def test_npy(body: bytes) -> None:
    outcome(body, NPY)


@given(body=mutated(BODIES[ZIP]) | lying_zarr() | st.binary(max_size=300).map(lambda rest: b"PK\x03\x04" + rest))
@repeatable(120)
@pytest.mark.filterwarnings("ignore")
def test_zarr(body: bytes) -> None:
    outcome(body, ZIP)


@given(body=mutated(BODIES[NPY] + BODIES[ZIP]), media_type=st.sampled_from(["", "text/plain", NPY, ZIP, NETCDF, "é;q"]))
@repeatable(100)
@pytest.mark.filterwarnings("ignore")
def test_containers(body: bytes, media_type: str) -> None:
    """What a body says that it is need not be what it is."""
    outcome(body, media_type)


@pytest.fixture(scope="module")
def fuzzed(catalogue: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:  # noqa: ANN401
    """A service with a stored volume, whose readers stay within a few megabytes."""
    from fastapi.testclient import TestClient  # noqa: PLC0415

    from service.app import create_app  # noqa: PLC0415
    from tests.waiting import wait_until  # noqa: PLC0415

    data: Path = tmp_path_factory.mktemp("data")
    app = create_app(
        LIMITS.model_copy(update={"weights": catalogue.folder, "device": "cpu", "threads": 1, "data": data})
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/health/ready").is_success)
        send(client, "box", dataset(GOOD))
        yield client
        assert parts(client).slots.taken == 0


def answered(response: httpx2.Response) -> None:
    """A success, or a problem document that is the client's to mend."""
    if response.is_success:
        return
    assert 400 <= response.status_code < 500, (response.status_code, response.text)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code


@given(body=mutated(BODIES[NETCDF]) | st.binary(max_size=300).map(lambda rest: b"\x89HDF\r\n\x1a\n" + rest))
@repeatable(80)
def test_netcdf(fuzzed: TestClient, body: bytes) -> None:
    """In its reading process, which it may well break."""
    answered(post(fuzzed, body, NETCDF))


@given(content=mutated(BODIES[NPY]) | lying_npy() | lying_zarr())
@repeatable(60)
def test_requests(fuzzed: TestClient, content: bytes) -> None:
    media_type = ZIP if content.startswith(b"PK") else NPY
    answered(post(fuzzed, content, media_type))


FIELDS = ("source", "target", "model", "boundary", "names", "reference")
TEXT = st.text(max_size=12) | st.sampled_from(["box", "fine", "trilinear-x4", "periodic", "s3://a/b", "s3:", "..", "/"])


@given(order=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), TEXT | JSON, max_size=7))
@repeatable(150)
def test_orders(fuzzed: TestClient, order: dict[str, Any]) -> None:
    """Of jobs; a source that is there must be asked for too seldom to matter."""
    answered(fuzzed.post("/v1/jobs", content=json.dumps(order), headers={"Content-Type": "application/json"}))


@given(order=mutated((b'{"source": "box", "model": "cubic-x4", "target": "fine", "names": {"ux": "u"}}',)))
@repeatable(100)
def test_orders_that_are_no_json(fuzzed: TestClient, order: bytes) -> None:
    answered(fuzzed.post("/v1/jobs", content=order, headers={"Content-Type": "application/json"}))


def test_deep_json(fuzzed: TestClient) -> None:
    for order in (
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        b'{"source": "\\ud800"}',
        b'{"names": {"\\u0000": "u"}}',
    ):
        answered(fuzzed.post("/v1/jobs", content=order, headers={"Content-Type": "application/json"}))


def segments(*known: str) -> SearchStrategy[str]:
    """Parts of a path, percent-encoded: known ones, odd ones, any text."""
    from urllib.parse import quote  # noqa: PLC0415

    odd = st.sampled_from(
        ["..", ".", "%00", "a" * 300, "s3:a:b", "s3:", ":", ";", "c/0/0/0", "c/-1/0/0", "c/9/9/9", "é"]
    )
    return st.sampled_from(known) | (odd | st.text(min_size=1, max_size=12)).map(
        lambda text: quote(text.encode("utf-8", "replace"), safe="")
    )


KEYS = segments("zarr.json", "u/zarr.json", "u/c/0/0/0", "time/c/0", ".zarray", f"u/c/{'9' * 4301}/0/0", "u/c/٣/0/0")


@given(volume=segments("box", "other"), key=KEYS, method=st.sampled_from(["GET", "HEAD", "DELETE", "PUT"]))
@repeatable(200)
def test_keys_and_names(fuzzed: TestClient, volume: str, key: str, method: str) -> None:
    if volume == "box" and method in {"PUT", "DELETE"}:
        volume = "spare"
    response = fuzzed.request(method, f"/v1/volumes/{volume}/{key}", content=b"x" if method == "PUT" else None)
    if method != "HEAD":
        answered(response)
    assert response.status_code < 500


@st.composite
def looks(draw: st.DrawFn) -> str:
    """A model with options, most of them wrong."""
    from urllib.parse import quote  # noqa: PLC0415

    names = st.sampled_from(
        ["u:w", "u:u", "u", "u:v:w", ":", ",", "", "u:v,u:w", "z:y,y:z", "x:" + "a" * 300, "u:\x00"]
    )
    ends = st.sampled_from(["periodic", "wall,open,periodic", "none", "", "open,open", "periodic,", "wall"])
    option = (
        names.map("names={}".format) | ends.map("boundary={}".format) | st.sampled_from(["", "=", "periodic", "a=b"])
    )
    options = draw(st.lists(option | st.text(max_size=8), max_size=3))
    text = ";".join([draw(st.sampled_from(["trilinear-x4", "relaxed-isotropic-x4", "none", ""])), *options])
    return quote(text.encode("utf-8", "replace"), safe=";=:,")


@given(volume=segments("box"), look=looks(), key=KEYS)
@repeatable(250)
def test_views(fuzzed: TestClient, volume: str, look: str, key: str) -> None:
    answered(fuzzed.get(f"/v1/views/{volume}/{look}/{key}"))


@given(data=st.binary(max_size=200) | mutated((zipped(FILES[3]),)))
@repeatable(30)
@pytest.mark.filterwarnings("ignore")
def test_stored_metadata(fuzzed: TestClient, data: bytes) -> None:
    """Whatever lies in a volume that was sent, it is described, and looked at or refused."""
    fuzzed.put("/v1/volumes/odd/zarr.json", content=data)
    answered(fuzzed.get("/v1/volumes/odd"))
    answered(fuzzed.get("/v1/volumes"))
    answered(fuzzed.get("/v1/views/odd/trilinear-x4/zarr.json"))


@given(body=lying_zarr())
@repeatable(20)
@pytest.mark.filterwarnings("ignore")
def test_stored_groups(fuzzed: TestClient, body: bytes) -> None:
    fuzzed.delete("/v1/volumes/lying")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            answered(fuzzed.put(f"/v1/volumes/lying/{name}", content=archive.read(name)))
    answered(fuzzed.get("/v1/volumes/lying"))
    for key in ("zarr.json", "u/zarr.json", "u/c/0/0/0"):
        answered(fuzzed.get(f"/v1/views/lying/trilinear-x4/{key}"))
