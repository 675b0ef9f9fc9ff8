"""A data folder on NFS, where a file that is removed while it is open keeps a name, or gives ESTALE to other hosts."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from service.jobs.lease import ReplicaLease
from service.problems import Problem
from service.runtime.file_lock import locked
from service.volumes.chunk_cache import DiskCache
from service.volumes.local_storage import LocalStorage
from service.volumes.uploads import UploadStore

if TYPE_CHECKING:
    from collections.abc import Callable

STALE = OSError(errno.ESTALE, "Stale file handle")


def removed_by_this_host(path: Path) -> None:
    path.rename(path.with_name(".nfs1"))


def removed_by_another_host(path: Path) -> None:
    path.unlink()
    raise STALE


def fail(*_: object) -> bytes:
    raise STALE


@pytest.mark.parametrize("remove", [removed_by_this_host, removed_by_another_host])
@pytest.mark.parametrize("shared", [False, True])
def test_whoever_waited_for_a_removed_file_locks_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Path], None], *, shared: bool
) -> None:
    path, flock = tmp_path / "box", fcntl.flock
    path.touch()

    def removed_meanwhile(file: BinaryIO, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        remove(path)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    if shared:
        with pytest.raises(FileNotFoundError), locked(path, shared=True):
            pass
    else:
        with locked(path) as file:
            assert os.path.samestat(os.fstat(file.fileno()), path.stat())


def test_what_another_host_removed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"chunk")
    cache, storage, lease = DiskCache(tmp_path, budget=100), LocalStorage("box", tmp_path), ReplicaLease(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", fail)
    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(fcntl, "flock", fail)
    assert cache.get("key", 5) is None
    assert storage.get("key") is None
    assert storage.size("key") is None
    assert storage.is_free()
    assert not lease.is_alive("key")


def test_what_lies_in_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "u").write_bytes(b"chunk")
    storage = LocalStorage("box", tmp_path)
    assert storage.get("u/c/0") is None
    assert storage.size("u/c/0") is None
    assert LocalStorage("box", tmp_path / "u" / "c").is_free()


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage: storage.is_free(),
        lambda storage: storage.size("u"),
        lambda storage: storage.get("u"),
        lambda storage: storage.put("u", b"chunk"),
    ],
)
def test_a_fault_of_the_disk_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[LocalStorage], object]
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    storage = LocalStorage("box", tmp_path, UploadStore(tmp_path))
    for name in ("read_bytes", "stat"):
        monkeypatch.setattr(Path, name, broken)
    with pytest.raises(Problem, match="Input/output error") as caught:
        ask(storage)
    assert caught.value.kind == "not-stored"
