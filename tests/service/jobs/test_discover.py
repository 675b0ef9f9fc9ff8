"""A job finds in stored volumes the symmetries that a request finds in arrays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from fastapi.testclient import TestClient

from models.discovery.fit import USUAL, Recipe
from service.app import create_app
from service.jobs.discover import StoredCheckpoints
from service.jobs.progress import Progress
from service.settings import Settings
from service.volumes.local_storage import LocalStorage
from tests.service.conftest import parts
from tests.service.orders import LEARNED, finish, look, order
from tests.service.wire import dataset, noise, npy, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.catalogue import Catalogue

RECIPE = Recipe(fields=1, equivariant_steps=2, steps=3)
X, Y = noise(2, 2, 3, 4, 4, 4)
ORDER = {"task": "discover", "source": "x", "reference": "y", "group": "O"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(USUAL, 3, RECIPE)


def upload(client: TestClient) -> None:
    for name, fields in (("x", X), ("y", Y)):
        send(client, name, dataset(fields).drop_vars(["z", "y", "x"]))


def requested(client: TestClient, x: NDArray[Any] = X, y: NDArray[Any] = Y, **query: str) -> dict[str, Any]:
    files = {name: (name, npy(fields)) for name, fields in (("x", x), ("y", y))}
    query = {"x_kind": "vector", "y_kind": "vector", "group": "O"} | query
    found: dict[str, Any] = client.post("/v1/discover", files=files, params=query).json()
    return found


def test_a_service_that_starts_again_goes_on_with_a_discovery(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, reached, save = [], threading.Event(), StoredCheckpoints.save
    settings = Settings(weights=catalogue.folder, data=tmp_path / "data", device="cpu", threads=1)
    with TestClient(create_app(settings)) as client:
        jobs = parts(client).jobs

        def held(self: StoredCheckpoints, name: str, state: dict[str, Any]) -> None:
            save(self, name, state)
            steps.append(name)
            if len(steps) == 3:
                reached.set()
                wait_until(lambda: jobs._running[self.storage.name].task.cancelling() > 0)

        monkeypatch.setattr(StoredCheckpoints, "save", held)
        upload(client)
        job = order(client, ORDER)
        assert reached.wait(PATIENCE_S)
        running = look(client, job)
        assert (running["stage"], running["blocks"], running["blocks_done"]) == ("discovering", 5, 3)
        assert running["voxels_per_second"] > 0
        assert client.delete("/v1/volumes/y").status_code == 409
    with TestClient(create_app(settings)) as client:
        done = finish(client, job)
        assert done["blocks_done"] == 5
        assert done["report"] == requested(client)
        assert client.get("/v1/jobs").json()["jobs"] == [done]
        assert steps == 2 * ["equivariant-0"] + 3 * ["relaxed"]
        wait_until(lambda: not list((tmp_path / "data" / "scratch").iterdir()))


PLANE = ("time", "y", "x")
UNITS = {"u": "m/s", "v": "cm/s"}


@pytest.mark.parametrize(
    ("kind", "names", "dims", "group"),
    [
        ("scalar", ["O", "Ti"], ("time", "z", "y", "x"), "O"),
        ("scalar", ["density"], PLANE, "C4"),
        ("vector", ["u", "v"], PLANE, "D4"),
    ],
)
def test_scalars_and_planes_are_read_as_in_a_request(
    stored: TestClient, monkeypatch: pytest.MonkeyPatch, kind: str, names: list[str], dims: tuple[str, ...], group: str
) -> None:
    """From velocities on the grid of X to fields on one that is twice as fine, along an axis that descends."""
    monkeypatch.setitem(USUAL, 2, RECIPE)
    space = len(dims) - 1
    x, y = noise(2, space, *space * [4]), noise(2, len(names), *space * [8], seed=1)
    volumes = {"source": f"from-{group}", "reference": f"to-{group}"}
    velocity = {name: (dims, x[:, i]) for i, name in enumerate("uvw"[:space])}
    send(stored, volumes["source"], xr.Dataset(velocity, {"x": np.arange(-6.5, 0, 2)}))
    fields = xr.Dataset({name: (dims, y[:, i]) for i, name in enumerate(names)}, {"x": -np.arange(8.0)})
    send(stored, volumes["reference"], fields)
    found = finish(stored, order(stored, ORDER, **volumes, y_kind=kind, group=group))["report"]
    assert found == requested(stored, x, y[..., ::-1], y_kind=kind, group=group)


def test_names_may_be_those_of_one_volume(stored: TestClient) -> None:
    bare = dataset(X).drop_vars([*"zyx"])
    send(stored, "named-x", bare)
    send(stored, "named-y", dataset(Y).drop_vars([*"zyx"]).rename(u="ux").assign(p=bare.u))
    spec = {"source": "named-x", "reference": "named-y", "names": {"ux": "u"}, "drop": ["p"]}
    assert finish(stored, order(stored, ORDER, **spec))["report"] == requested(stored)
    refused = stored.post("/v1/jobs", json={**ORDER, **spec, "drop": ["p", "q"]})
    assert refused.json()["errors"][0]["field"] == "drop"


def test_a_checkpoint_that_was_cut_short_or_is_of_another_fit_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress()
    checkpoints = StoredCheckpoints(LocalStorage("job", tmp_path / "job"), "tag", progress, lambda: None)
    about = {"recipe": {"fields": 1}}
    state = {"about": about, "decay": {"last_epoch": 7}}
    checkpoints.save("relaxed", state)
    assert checkpoints.load("relaxed", about) == state
    assert progress.done == 1 + 7
    assert checkpoints.load("relaxed", {"recipe": {"fields": 2}}) == {}
    assert progress.done == 1 + 7
    assert "by another version: it begins anew" in caplog.text
    file = tmp_path / "job" / "tag-relaxed"
    file.write_bytes(file.read_bytes()[:-100])
    assert checkpoints.load("relaxed", about) == {}


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"reference": None}, 422, "reference"),
        ({"reference": "nothing"}, 404, None),
        ({"reference": "one"}, 422, "reference"),
        ({"reference": "flat"}, 422, "reference"),
        ({"source": "flat", "reference": "flat"}, 413, "source.shape"),
        ({"reference": "fine"}, 413, "reference.shape"),
        ({"target": "fine"}, 422, "target"),
        ({"model": LEARNED}, 422, "model"),
        ({"boundary": "wall"}, 422, "boundary"),
        ({"error": True}, 422, "error"),
        ({"group": "D4"}, 422, "group"),
        ({"y_kind": "tensor"}, 422, "y_kind"),
        ({"source": "plane"}, 422, "reference"),
        ({"source": "units"}, 422, "source.v"),
        ({"source": "stretched", "reference": "stretched", "group": "C4"}, 422, "source.spacing"),
        ({"source": "plane", "reference": "stretched", "group": None}, 422, "reference.spacing"),
        ({"source": "layer", "x_kind": "scalar"}, 422, "source.shape"),
        ({"source": "empty", "x_kind": "scalar"}, 422, "source.shape"),
        ({"source": "mixed", "x_kind": "scalar"}, 422, "source.variables"),
        ({"source": "plane", "reference": "mixed"}, 422, "reference.variables"),
        ({"source": "now", "reference": "uneven"}, 422, "reference.time"),
        ({"source": "metres", "reference": "centimetres"}, 422, "reference.units"),
        ({"task": "upscale", "target": "fine"}, 422, "group"),
        ({"task": "upscale", "target": "fine", "group": None, "y_kind": "scalar"}, 422, "y_kind"),
        ({"task": "other"}, 422, "task"),
    ],
)
def test_what_does_not_fit_is_refused(
    stored: TestClient, changes: dict[str, object], status: int, field: str | None
) -> None:
    answer = stored.post("/v1/jobs", json={**ORDER, "reference": "y", **changes})
    assert answer.status_code == status, answer.text
    assert field is None or answer.json()["errors"][0]["field"].endswith(field), answer.text


@pytest.mark.parametrize(
    "times", [{"reference": "later"}, {"reference": "dates"}, {"reference": "uneven", "drop": ["time"]}]
)
def test_times_may_all_be_later_or_in_other_units(
    stored: TestClient, monkeypatch: pytest.MonkeyPatch, times: dict[str, object]
) -> None:
    monkeypatch.setitem(USUAL, 2, RECIPE)
    finish(stored, order(stored, ORDER, source="now", group="C2", **times))


def test_a_half_turn_does_not_swap_axes(stored: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(USUAL, 2, RECIPE)
    found = finish(stored, order(stored, ORDER, source="stretched", reference="stretched", group="C2"))["report"]
    assert found["elements"] == ["x,y", "-x,-y"]


@pytest.fixture(scope="module")
def stored(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with volumes that fit together, and others."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(weights=catalogue.folder, data=data, device="cpu", threads=1, max_cells=100)
    with TestClient(create_app(settings)) as client:
        upload(client)
        for name, fields in (("one", Y[:1]), ("flat", noise(2, 3, 4, 4, 8)), ("fine", noise(2, 3, 12, 12, 12))):
            send(client, name, dataset(fields).drop_vars(["z", "y", "x"]))
        plane = xr.Dataset({name: (PLANE, noise(2, 4, 4)) for name in "uv"})
        send(client, "plane", plane)
        send(
            client, "units", plane.assign({name: plane[name].assign_attrs(units=unit) for name, unit in UNITS.items()})
        )
        send(client, "stretched", plane.assign_coords(y=2 * np.arange(4.0), x=np.arange(4.0)))
        for name, layers in (("layer", 1), ("empty", 0)):
            density = (("time", "z", "y", "x"), noise(2, layers, 4, 4))
            send(client, name, xr.Dataset({"density": density}, {"z": np.arange(1.0 * layers)}))
        for name, times, units in (
            ("now", [0.0, 1.0], "s"),
            ("later", [5.0, 6.0], "seconds"),
            ("uneven", [0.0, 1.5], "s"),
            ("dates", [0, 5], "days since 2000-01-01"),
        ):
            send(client, name, plane.assign_coords(time=("time", times, {"units": units})))
        for name, unit in (("metres", "m/s"), ("centimetres", "cm s-1")):
            send(client, name, plane.assign({each: plane[each].assign_attrs(units=unit) for each in "uv"}))
        send(client, "mixed", plane.assign(p=(("time", "y"), noise(2, 4))))
        yield client
