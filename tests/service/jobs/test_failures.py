"""What goes wrong fails one job alone, says why, and is over once its cause is."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.jobs.checks import open_view
from service.jobs.dask_worker import Task, Worker, fill_blocks
from service.jobs.executor import is_stored, store_block
from service.jobs.spec import JobSpec
from service.problems import Problem
from service.volumes.blocks import BlockComputer
from service.volumes.files import write_whole
from service.volumes.uploads import UploadStore
from service.volumes.view import BlockIndex
from tests.service.conftest import call_in_loop, parts
from tests.service.orders import LEARNED, Gate, fine, finish, look, order, wanted
from tests.service.wire import dataset, noise, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.catalogue import Catalogue
    from tests.service.conftest import Serve


def test_bad_values_fail_the_job_alone(client: TestClient) -> None:
    velocity = noise(3, 8, 4, 4)
    velocity[2, 7, 1, 1] = np.inf
    send(client, "box", dataset(velocity))
    assert "w: inf at (z, y, x)" in finish(client, order(client), "failed")["detail"]
    send(client, "good", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client, source="good", target="other"))


def test_a_full_disk_fails_the_job_and_room_lets_it_go_on(
    client: TestClient,
    catalogue: Catalogue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    velocity = noise(3, 8, 8, 8)
    send(client, "box", dataset(velocity))
    written = itertools.count()

    def fills_up(path: Path, content: bytes, spare: int) -> None:
        if "/c/" in str(path) and next(written) >= 15:
            raise OSError(28, "No space left on device", str(path))
        write_whole(path, content, spare)

    with monkeypatch.context() as patch:
        patch.setattr("service.volumes.local_storage.write_whole", fills_up)
        job = order(client)
        detail = finish(client, job, "failed")["detail"]
    assert "No space left on device" in detail
    assert str(tmp_path) not in detail
    assert f"No space left on device: {str(tmp_path / 'data')!r}"[:-1] in caplog.text
    computed = parts(client).jobs.runner.executor.computed
    files = [path for path in (tmp_path / "data" / "volumes" / "fine").rglob("c/*/*/*") if path.is_file()]
    done = Counter(path.parts[-3:] for path in files)
    whole = sum(count == 3 for count in done.values())
    assert 0 < whole < 8
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)
    assert parts(client).jobs.runner.executor.computed == computed + 8 - whole
    assert np.array_equal(fine(tmp_path), wanted(catalogue, velocity))


def test_a_disk_is_not_filled_to_the_last_byte(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs and uploads stop where the disk has no more bytes than stay free; views let go of older blocks."""
    free = [2**40]
    monkeypatch.setattr("service.volumes.files.shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    client = serve(data=tmp_path / "data", spare_bytes=2**20, block=4)
    send(client, "box", dataset(noise(3, 8, 8, 8)))
    before, after = (f"/v1/views/box/{LEARNED}/u/c/0/0/{x}" for x in range(2))
    kept = client.get(before).content
    free[0] = 2**20 - 1
    response = client.put("/v1/volumes/other/a", content=b"1")
    assert response.status_code == 507
    assert "in require_room" in caplog.text  # the trace
    assert "less than 1048576 bytes of the disk are free" in response.json()["detail"]
    assert client.get("/v1/volumes/other").status_code == 404
    job = order(client)
    failed = finish(client, job, "failed")
    assert "less than 1048576 bytes" in failed["detail"]
    assert failed["warnings"][-1].startswith(
        "the job writes 0.000393 GB, but the disk of the service has room for 0 GB"
    )
    shelter = parts(client).chunk_cache.store
    drop = shelter._drop_oldest

    def room() -> None:
        drop()
        free[0] = 2**20

    monkeypatch.setattr(shelter, "_drop_oldest", room)
    assert client.get(after).is_success
    names = {path.name for path in shelter.root.rglob("*") if path.is_file()}
    assert names == {"0", "1"}  # of the older block, not all three chunks
    assert len([path for path in shelter.root.rglob("*") if path.is_file()]) == 5
    assert client.get(before).content == kept  # computed anew
    client.post(f"/v1/jobs/{job}/resume")
    finish(client, job)


def test_a_source_that_changes_fails_the_job(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("service.volumes.uploads.TAG_TTL_S", 0.0)
    send(client, "box", dataset(noise(3, 8, 8, 16)))
    gate = Gate(client, monkeypatch, 3)
    job = order(client)
    wait_until(lambda: look(client, job)["blocks_done"] >= 2)
    path = tmp_path / "data" / "volumes" / "box" / "u" / "c" / "0" / "0" / "0"  # behind the service's back
    os.utime(path)
    gate.open.set()
    assert "box has changed since it was opened" in finish(client, job, "failed")["detail"]


def test_a_source_that_changes_after_its_last_block_was_read_fails_the_job(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    path = tmp_path / "data" / "volumes" / "box" / "u" / "c" / "0" / "0" / "0"

    def change_and_store(*arguments: Any) -> None:  # noqa: ANN401 as they are
        os.utime(path)
        store_block(*arguments)

    monkeypatch.setattr("service.jobs.executor.store_block", change_and_store)
    assert "box has changed since it was opened" in finish(client, order(client), "failed")["detail"]


def test_a_model_that_cannot_be_loaded_fails_the_job(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))

    def broken(_: str) -> None:
        message = "the weights are torn"
        raise ValueError(message)

    monkeypatch.setattr(parts(client).engine.registry, "get", broken)
    assert "the weights are torn" in finish(client, order(client), "failed")["detail"]


def test_a_target_that_is_replaced_meanwhile_stays_as_it_is(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    gate, job = Gate(client, monkeypatch, 0), order(client)
    box, target = (tmp_path / "data" / "volumes" / name for name in ("box", "fine"))
    wait_until((target / "zarr.json").exists)
    shutil.rmtree(target)
    shutil.copytree(box, target)
    gate.open.set()
    assert "it has other content" in finish(client, job, "failed")["detail"]
    for path in box.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (target / path.relative_to(box)).read_bytes()


def test_a_worker_that_a_job_left_writes_to_no_target_that_is_gone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    service, place = parts(client), BlockIndex(0, (0, 0, 0))
    blocks = BlockComputer(service.engine, service.threads)
    worker = Worker(service.engine, service.opener, blocks, service.threads)
    monkeypatch.setattr("service.jobs.dask_worker.worker_parts", lambda: worker)
    view, target = (
        open_view(JobSpec(source="box", target="fine", model=LEARNED), service.engine.registry, service.opener),
        service.opener.storages.find("fine"),
    )
    task = Task.of(view, target)
    with pytest.raises(Problem, match="it has other content"):
        call_in_loop(client, fill_blocks, task, (place,))
    assert target.is_free()
    target.begin(view.documents)
    call_in_loop(client, fill_blocks, task, (place,))
    assert is_stored(view, target, place)
    service.uploads.delete("fine", None, lambda: None)  # between two of a block's chunks
    with pytest.raises(Problem, match="it has other content"):
        target.put(view.keys(place)[1], b"1")
    assert target.is_free()


def test_what_killed_services_leave_is_removed_while_jobs_go_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, although there is no job yet, and although removing something takes long or fails."""
    monkeypatch.setattr("service.jobs.tidying.TIDY_S", 0.01)
    begun, go_on, tidy = threading.Event(), threading.Event(), UploadStore.tidy

    def slow(self: UploadStore, stopped: threading.Event) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        tidy(self, stopped)
        raise OSError

    volumes = tmp_path / "data" / "volumes"
    monkeypatch.setattr(UploadStore, "tidy", slow)
    client = serve(data=tmp_path / "data", block=4, readers=1)
    assert begun.wait(PATIENCE_S)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    finish(client, order(client))
    go_on.set()
    for left in (volumes / ".gone-1", volumes / ".gone-2"):
        left.mkdir(parents=True)
        wait_until(lambda left=left: not left.exists())  # type: ignore[misc]


def test_jobs_are_free_for_others_before_tidying_has_stopped(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, freed = threading.Event(), threading.Event()

    def slow(_: UploadStore, stopped: threading.Event) -> None:
        begun.set()
        assert stopped.wait(PATIENCE_S)
        jobs = parts(client).jobs
        wait_until(lambda: jobs.repository.unfinished()[0].owner is None)
        freed.set()

    monkeypatch.setattr(UploadStore, "tidy", slow)
    client = serve(data=tmp_path / "data", block=4)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    Gate(client, monkeypatch, 0)
    order(client)
    assert begun.wait(PATIENCE_S)
    call_in_loop(client, parts(client).jobs.close)
    assert freed.is_set()
