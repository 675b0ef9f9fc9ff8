"""What reads or writes the disk runs in threads: in the event loop, all requests would wait for a slow disk."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from tests.service.conftest import call_in_loop
from tests.service.orders import LEARNED, finish, order
from tests.service.wire import NPY, dataset, noise, npy, send

if TYPE_CHECKING:
    from pathlib import Path

    from models.catalogue import Catalogue
    from tests.service.conftest import Serve

EVENTS = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir", "sqlite3.connect"}


def test_no_request_touches_the_disk_in_the_event_loop(serve: Serve, catalogue: Catalogue, tmp_path: Path) -> None:
    folders, seen, loop = (str(catalogue.folder), str(tmp_path)), [], 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if threading.get_ident() == loop and event in EVENTS and str(arguments[0]).startswith(folders):
            seen.append((event, arguments[0]))

    client = serve(data=tmp_path / "data", block=4)
    loop = call_in_loop(client, threading.get_ident)
    sys.addaudithook(watch)  # for good
    velocity = noise(3, 4, 4, 4)
    send(client, "draft", dataset(velocity))
    assert client.post("/v1/volumes/draft/rename", json={"to": "box"}).is_success
    finish(client, order(client))
    for path in (
        "/health/ready",
        "/metrics",
        "/v1/models",
        "/v1/samples",
        "/v1/volumes",
        "/v1/volumes/box",
        "/v1/volumes/box/",
        "/v1/volumes/box/u/c/0/0/0",
        "/v1/jobs",
        f"/v1/views/box/{LEARNED}/zarr.json",
        f"/v1/views/box/{LEARNED}/u/c/0/0/0",
    ):
        assert client.get(path).is_success, path
    for path in ("upscale?error=true", "check", "velocity", "velocity?model=trilinear-x2"):
        assert client.post(f"/v1/{path}", content=npy(velocity), headers={"Content-Type": NPY}).is_success
    assert client.delete("/v1/volumes/box").is_success
    loop = 0
    assert not seen
