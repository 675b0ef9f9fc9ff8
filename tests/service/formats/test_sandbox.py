"""What hangs or kills a reader costs one request, and no more."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import h5py
import numpy as np
import pytest

from service.api.errors import status_of
from service.formats.containers import Body
from service.formats.sandbox import Sandbox, read_body
from service.formats.volume import ReadOptions
from service.problems import Problem
from service.settings import Settings
from tests.service.formats.misbehaving import misbehaving
from tests.service.wire import NETCDF, NPY, ZIP, dataset, files_of, netcdf, noise, npy, zipped
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from service.formats.sandbox import Task

GOOD = Body(netcdf(dataset(noise(3, 4, 4, 4))), NETCDF)
CLASSIC = Body(bytes(dataset(noise(3, 4, 4, 4)).to_netcdf(engine="scipy")), NETCDF)
GROUP = Body(zipped(files_of(dataset(noise(3, 4, 4, 4)))), ZIP)
# Bodies, and what is called as they are decoded.
DECODERS = [
    (Body(npy(noise(3, 4, 4, 4)), NPY), "service.formats.npy.npy.read_array_header_1_0"),
    (GOOD, "h5py.File.__init__"),
    (GOOD, "h5py.Dataset.__getitem__"),
    (GOOD, "service.formats.decoding.np.asarray"),
    (GOOD, "xarray.Dataset.to_netcdf"),
    (CLASSIC, "scipy.io.netcdf_file._read"),
    (GROUP, "zipfile.ZipFile.read"),
    (GROUP, "service.formats.zarr_codecs.Chunks.measure"),
    (GROUP, "zarr.storage.MemoryStore.get"),
]
Make = Callable[..., Sandbox]


def fail_for_memory(*_: object, **__: object) -> NoReturn:
    raise MemoryError


def says(what: bytes) -> Body:
    return Body(GOOD.content + what, NETCDF)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Sandbox] = []

    def start(task: Task = misbehaving, **settings: Any) -> Sandbox:  # noqa: ANN401 passed on to Settings
        sandbox = Sandbox(Settings(readers=1, **settings), task)
        made.append(sandbox)
        return sandbox

    yield start
    for sandbox in made:
        processes = [process.process for process in sandbox._running]
        sandbox.close()
        assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("what", [b"hang", b"crash"])
def test_a_reader_that_fails_is_replaced(make: Make, what: bytes) -> None:
    sandbox = make(read_timeout_s=PATIENCE_S)
    sandbox.read(GOOD)
    patient = sandbox.settings
    sandbox.settings = patient.model_copy(update={"read_timeout_s": 2.0 if what == b"hang" else PATIENCE_S})
    with pytest.raises(Problem) as refusal:
        sandbox.read(says(what))
    sandbox.settings = patient
    assert status_of(refusal.value) == 400
    assert refusal.value.fields[0].field == "body"
    volume = sandbox.read(GOOD).volume
    np.testing.assert_array_equal(volume.velocity[0], noise(3, 4, 4, 4))


def test_memory_that_is_short_is_no_fault_of_the_body(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a reader, which the system may kill for it, nor where its answer is received."""
    sandbox = make()
    for what in (b"grow", b"SIGKILL"):
        with pytest.raises(Problem) as refusal:
            sandbox.read(says(what))
        assert (refusal.value.kind, refusal.value.retry_after) == ("out-of-memory", 60)
    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.connection.Connection.recv", fail_for_memory)
        with pytest.raises(Problem) as refusal:
            sandbox.read(GOOD)
    assert refusal.value.kind == "out-of-memory"
    np.testing.assert_array_equal(sandbox.read(GOOD).volume.velocity[0], noise(3, 4, 4, 4))


def test_a_body_is_read_while_the_service_stops(make: Make) -> None:
    """Though systemd sends SIGTERM to the readers, too."""
    np.testing.assert_array_equal(make().read(says(b"SIGTERM")).volume.velocity[0], noise(3, 4, 4, 4))


@pytest.mark.parametrize(("body", "broken"), DECODERS)
def test_every_decoder_tells_short_memory_from_broken_bytes(
    body: Body, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken, fail_for_memory)
    with pytest.raises((Problem, MemoryError)) as short:
        read_body(body, Settings(), ReadOptions())
    if isinstance(short.value, Problem):
        assert short.value.kind == "out-of-memory"


def test_a_bug_is_no_fault_of_the_body(make: Make) -> None:
    sandbox = make()
    with pytest.raises(RuntimeError, match="ZeroDivisionError: ours"):
        sandbox.read(says(b"bug"))
    sandbox.read(GOOD)


def test_a_process_is_used_again(make: Make) -> None:
    sandbox = make(read_body)
    assert not sandbox._running
    sandbox.warm()
    (process,) = sandbox._running
    for _ in range(3):
        sandbox.read(GOOD)
    assert sandbox._running == {process}
    process.process.kill()
    wait_until(lambda: not process.process.is_alive())
    sandbox.read(GOOD)
    assert sandbox._running
    assert process not in sandbox._running


def test_a_reader_that_cannot_be_started_is_no_fault_of_the_body(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    sandbox = make(read_body)
    with monkeypatch.context() as patch:
        patch.setattr("service.formats.sandbox._Process", fail)
        for use in (sandbox.warm, lambda: sandbox.read(GOOD)):
            with pytest.raises(Problem) as refusal:
                use()
            assert refusal.value.kind == "unready"
    sandbox.read(GOOD)


def test_arrays_need_no_process(make: Make) -> None:
    sandbox = make()
    sandbox.read(Body(npy(noise(3, 4, 4, 4)), NPY))
    assert not sandbox._running


def test_problems_come_through_whole(make: Make) -> None:
    sandbox = make(read_body)
    with pytest.raises(Problem) as refusal:
        sandbox.read(Body(netcdf(dataset(noise(3, 4, 4, 4)).drop_vars("v")), NETCDF))
    assert status_of(refusal.value) == 422
    assert refusal.value.fields[0].field == "v"
    assert "expected" in refusal.value.detail
    assert str(refusal.value) == refusal.value.detail


def test_attributes_that_cannot_be_sent_back(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "volume.nc"
    path.write_bytes(GOOD.content)
    with h5py.File(path, "r+") as file:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(4)
        kind.set_cset(h5py.h5t.CSET_UTF8)
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        attribute = h5py.h5a.create(file["u"].id, b"note", kind, space)
        attribute.write(np.array(b"\xff\xfe\xf9", "S4"), mtype=kind)
    with pytest.raises(Problem) as refusal:
        make(read_body).read(Body(path.read_bytes(), NETCDF))
    assert status_of(refusal.value) == 422
    assert refusal.value.fields[0].field == "attributes"
