"""A job compares a stored volume with a true one as a request does."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.metrics import compare as comparison
from models.operators import coarsen
from tests.service.conftest import parts
from tests.service.orders import HALF, LEARNED, ORDER, THREE, cancel_held, finish, order
from tests.service.wire import NETCDF, dataset, in_units, netcdf, noise, npy, send
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient
    from numpy.typing import NDArray

    from tests.service.conftest import Serve


def smooth(*cells: int) -> NDArray[np.float32]:
    """A fine velocity that is not all noise, (3, z, y, x)."""
    z, y, x = np.meshgrid(*(2 * np.pi * (np.arange(n) + 0.5) / n for n in cells), indexing="ij")
    waves = np.stack([np.sin(x + 2 * y), np.cos(y - z) + 0.3 * np.sin(3 * x), np.sin(z) * np.cos(x)])
    return np.asarray(waves + 0.1 * noise(3, *cells, seed=4), np.float32)


@pytest.mark.parametrize("boundary", ["periodic", "periodic,wall,periodic"])
@pytest.mark.parametrize(("target", "model", "factor"), [(None, LEARNED, 4), ("fine", LEARNED, 4), (None, HALF, 2)])
def test_a_job_compares_as_a_request_does(
    client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    boundary: str,
    target: str | None,
    model: str,
    factor: int,
) -> None:
    monkeypatch.setattr("service.jobs.compare.SLAB", 4000)
    true = smooth(20, 24, 28)
    coarse = dataset(coarsen(torch.from_numpy(true), factor).numpy()).assign_attrs(boundary=boundary)
    send(client, "box", coarse)
    send(client, "true", dataset(true).drop_vars(["z", "y", "x"]))
    done = finish(client, order(client, target=target, model=model, reference="true"))
    sent = {"coarse": ("coarse.nc", netcdf(coarse)), "reference": ("reference.npy", npy(true))}
    asked = {"model": model, "boundary": boundary}
    expected = client.post("/v1/validate", params=asked, files=sent).json()
    assert done["stage"] == "comparing"
    assert done["blocks_done"] == done["blocks"] > 2
    assert set(done["report"]) == set(expected)
    assert done["report"]["boundary"] == expected["boundary"]
    for side in ("metrics", "trilinear"):
        for name, value in expected[side].items():
            if value is None:
                assert done["report"][side][name] is None
            else:
                # Interpolation has waves of no energy, of which round-off decides.
                close = 0.05 if (side, name) == ("trilinear", "spectrum_error_high") else 1e-5
                np.testing.assert_allclose(done["report"][side][name], value, rtol=close, atol=1e-7, err_msg=name)
    assert (tmp_path / "data" / "volumes" / "fine").exists() == (target is not None)
    assert done["report"]["warnings"] == expected["warnings"]
    wait_until(lambda: not list((tmp_path / "data" / "scratch").iterdir()))


def test_spectra_leave_as_much_of_the_disk_free_as_is_spared(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, spectra = 2**40, 8 * 16**3
    monkeypatch.setattr("service.volumes.files.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    client = serve(data=tmp_path / "data", spare_bytes=2**20, block=4)
    true = smooth(16, 16, 16)
    send(client, "box", dataset(coarsen(torch.from_numpy(true), 4).numpy()))
    send(client, "true", dataset(true).drop_vars(["z", "y", "x"]))
    free = 2**20 + spectra - 1
    job = order(client, reference="true")
    expected = "the spectra of true cannot be written: less than 1048576 bytes of the disk are free"
    assert finish(client, job, "failed")["detail"].startswith(expected)
    for lacking, told in ((0, False), (1, True)):
        free = 2**20 + spectra + 3 * 4 * 16**3 - lacking
        answer = client.post("/v1/jobs", json={**ORDER, "reference": "true", "target": f"fine-{told}"}).json()
        assert any("the job writes" in each for each in answer["warnings"]) == told
        finish(client, answer["id"])
    free = 2**20 + spectra
    client.post(f"/v1/jobs/{job}/resume").raise_for_status()
    finish(client, job)


def test_a_job_looks_whether_the_source_is_the_block_mean(client: TestClient) -> None:
    true = smooth(80, 16, 16)
    coarse = dataset(coarsen(torch.from_numpy(true), 4).numpy()).drop_vars(["z", "y", "x"])
    send(client, "box", coarse)
    send(client, "strided", dataset(true[:, ::4, ::4, ::4]).drop_vars(["z", "y", "x"]))
    send(client, "true", dataset(true).drop_vars(["z", "y", "x"]))
    for source, warned in (("box", False), ("strided", True)):
        job = client.post("/v1/jobs", json={**ORDER, "source": source, "target": None, "reference": "true"}).json()
        for told in (job, finish(client, job["id"])["report"]):
            assert any("not the block mean" in each for each in told["warnings"]) == warned


def test_a_job_tells_of_coordinates_along_some_axes_alone(client: TestClient) -> None:
    """Unless those of the reference are along the others."""
    fine = dataset(smooth(16, 16, 16))
    send(client, "box", fine.coarsen(z=4, y=4, x=4).mean().drop_vars(["z", "x"]))
    for name, lacks, told in (("bare", ["z", "y", "x"], True), ("true", ["y"], False)):
        send(client, name, fine.drop_vars(lacks))
        report = finish(client, order(client, target=None, reference=name))["report"]
        assert any("coordinates are along y alone" in each for each in report["warnings"]) == told


@pytest.mark.parametrize(
    ("asked", "source", "reference", "expected"),
    [(None, None, "open", "open"), (None, "wall", "open", "wall"), ("open", "wall", None, "open")],
)
def test_the_boundary_is_that_of_a_request(
    client: TestClient, asked: str | None, source: str | None, reference: str | None, expected: str
) -> None:
    """That of the order, else of the source, else of the reference."""
    volumes = {"coarse": dataset(noise(3, 4, 4, 4)), "reference": dataset(noise(3, 16, 16, 16))}
    for (name, volume), boundary in zip(volumes.items(), (source, reference), strict=True):
        volumes[name] = volume.drop_vars([*"zyx"]).assign_attrs({} if boundary is None else {"boundary": boundary})
        send(client, name, volumes[name])
    job = order(client, source="coarse", target=None, reference="reference", boundary=asked)
    sent = {name: (name, netcdf(volume), NETCDF) for name, volume in volumes.items()}
    query = {"model": LEARNED, **({} if asked is None else {"boundary": asked})}
    validated = client.post("/v1/validate", params=query, files=sent).json()
    assert finish(client, job)["report"]["boundary"] == validated["boundary"] == [expected] * 3


@pytest.mark.parametrize("other", ["coarse", "reference"])
def test_names_may_be_those_of_one_volume(client: TestClient, other: str) -> None:
    """In a job as in a request; a name that neither has is refused."""
    volumes = {"coarse": dataset(noise(3, 4, 4, 4)), "reference": dataset(noise(3, 16, 16, 16))}
    plain = {name: volume.drop_vars([*"zyx"]) for name, volume in volumes.items()}
    renamed = plain[other].rename(u="ux", v="uy", w="uz").assign(p=plain[other].u)
    for name, volume in (plain | {other: renamed}).items():
        send(client, name, volume)
    names = {"ux": "u", "uy": "v", "uz": "w"}
    naming = {"names": names, "drop": ["p"]}
    spec = {**ORDER, "source": "coarse", "target": None, "reference": "reference", **naming}
    sent = {name: (name, netcdf(volume), NETCDF) for name, volume in (plain | {other: renamed}).items()}
    query = {"model": LEARNED, "names": "ux:u,uy:v,uz:w", "drop": "p"}
    validated = client.post("/v1/validate", params=query, files=sent)
    report = finish(client, order(client, **spec))["report"]
    assert report["metrics"]["mae"] == pytest.approx(validated.json()["metrics"]["mae"])
    wrong: list[tuple[str, object, str]] = [
        ("drop", ["p", "q"], "p,q"),
        ("names", {**names, "q": "z"}, "ux:u,uy:v,uz:w,q:z"),
    ]
    for option, value, text in wrong:
        refusals = [
            client.post("/v1/jobs", json={**spec, option: value}),
            client.post("/v1/validate", params={**query, option: text}, files=sent),
        ]
        for refused in refusals:
            assert refused.status_code == 422, refused.text
            (error,) = refused.json()["errors"]
            assert (error["field"], error["value"]) == (option, "q")
            assert {"u", "ux"} <= {*error["expected"].removeprefix("one of ").split(", ")}


def test_an_answer_may_have_larger_chunks_than_other_volumes(serve: Serve, tmp_path: Path) -> None:
    """They are as large as the blocks of the service."""
    client = serve(data=tmp_path / "data", block=8, max_decoded_bytes=200_000)
    send(client, "box", dataset(noise(3, 8, 8, 8)).to_dataarray("component").to_dataset(name="velocity"))
    send(client, "true", dataset(noise(3, 32, 32, 32)).drop_vars(["z", "y", "x"]))
    assert finish(client, order(client, target=None, reference="true"))["report"]["metrics"]["mae"] > 0


def test_an_answer_in_too_many_chunks_to_compare_is_refused_at_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with small blocks in a large plane."""
    client = serve(data=tmp_path / "data", block=1)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    send(client, "true", dataset(noise(3, 16, 16, 16)).drop_vars(["z", "y", "x"]))
    monkeypatch.setattr("service.volumes.cost.PLANE_CHUNKS", 15)
    refused = client.post("/v1/jobs", json={**ORDER, "reference": "true"})
    assert refused.status_code == 413
    assert "answer: in chunks of 4 x 4 x 4 cells, 16 across a plane; expected at most 15" in refused.json()["detail"]
    assert "EDDYLIFT_BLOCK" in refused.json()["detail"]
    finish(client, order(client))


def test_levels_of_a_reference(client: TestClient) -> None:
    """One for each answer, or for each level that the answers are made from."""
    true = np.stack([smooth(16, 16, 16), 2 * smooth(16, 16, 16), smooth(16, 16, 16)], axis=1)
    coarse = coarsen(torch.from_numpy(np.moveaxis(true, 1, 0).copy())).numpy()
    send(client, "box", dataset(coarse))
    send(client, "all", dataset(np.moveaxis(true, 1, 0)).drop_vars(["z", "y", "x"]))
    send(client, "middle", dataset(true[:, 1]).drop_vars(["z", "y", "x"]))
    send(client, "two", dataset(np.moveaxis(true, 1, 0)[:2]).drop_vars(["z", "y", "x"]))
    reports = [
        finish(client, order(client, target=None, model=THREE, reference=name))["report"] for name in ("all", "middle")
    ]
    assert reports[0] == reports[1]
    refused = client.post("/v1/jobs", json={**ORDER, "model": THREE, "reference": "two"})
    assert refused.status_code == 422
    assert "reference.levels: 2" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("reference", "status", "detail"),
    [
        ("nothing", 404, "reference: there is no volume nothing"),
        ("small", 422, "expected [16, 16, 16], 4 times the coarse one"),
        ("slow", 422, "reference.units: cm s-1; expected the units of the coarse velocity, m s-1"),
        ("fine", 422, "expected another volume than the source and the reference"),
        (
            "later",
            422,
            "reference.time: from 20.0 to 20.0; expected those of the coarse volume, from 10.0 to 10.0; drop=time",
        ),
        ("mixed", 422, "reference: x: in km; expected m, as y has; drop=z,y,x takes cells as cubes"),
        ("down", 422, "coarse.y: missing; expected coordinates, as those of reference.y descend"),
        ("closed", 422, "reference: x: periodic, but the last plane repeats the first one (along x)"),
        ("twice", 422, "reference.levels: 2; expected 1, one for each answer"),
    ],
)
def test_references_that_do_not_fit(client: TestClient, reference: str, status: int, detail: str) -> None:
    """A request refuses the same references, in the same words."""
    fine = noise(3, 16, 16, 16)
    there_twice = dataset(np.concatenate([fine[..., :15], fine[..., :1]], -1)).drop_vars([*"zyx"])
    source = in_units(noise(3, 4, 4, 4), "m s-1").expand_dims(time=[10.0])
    references = {
        "later": in_units(fine, "m s-1").expand_dims(time=[20.0]),
        "mixed": dataset(fine).assign_coords(x=dataset(fine).x.assign_attrs(units="km")),
        "down": dataset(fine).isel(y=slice(None, None, -1)),
        "small": dataset(noise(3, 16, 16, 20)),
        "fine": dataset(fine).drop_vars(["z", "y", "x"]),
        "slow": in_units(fine, "cm s-1"),
        "closed": there_twice,
        "twice": dataset(np.stack([fine, fine])).drop_vars([*"zyx"]),
    }
    send(client, "box", source)
    if reference in references:
        send(client, reference, references[reference])
    response = client.post("/v1/jobs", json={**ORDER, "reference": reference})
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    if reference not in {"nothing", "fine"}:
        sent = {"coarse": source, "reference": references[reference]}
        files = {name: (name, netcdf(volume), NETCDF) for name, volume in sent.items()}
        validated = client.post("/v1/validate", params={"model": LEARNED}, files=files)
        assert all(validated.json()[each] == response.json()[each] for each in ("status", "detail", "errors"))


@pytest.mark.parametrize("source_changes", [False, True])
def test_a_comparison_can_be_cancelled_and_resumed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, source_changes: bool
) -> None:
    monkeypatch.setattr("service.jobs.compare.SLAB", 8000)
    send(client, "box", dataset(noise(3, 8, 8, 8)).drop_vars(["z", "y", "x"]))
    send(client, "true", dataset(noise(3, 32, 32, 32)).drop_vars(["z", "y", "x"]))
    compare, go_on, begun = comparison.compare, threading.Event(), threading.Event()

    def held(*given: Any, **options: Any) -> Any:  # noqa: ANN401
        begun.set()
        go_on.wait(PATIENCE_S)
        return compare(*given, **options)

    monkeypatch.setattr(comparison, "compare", held)
    job = order(client, target=None, reference="true")
    assert begun.wait(PATIENCE_S)
    assert cancel_held(client, job, go_on) == "cancelled"
    computed = parts(client).jobs.runner.executor.computed
    if source_changes:
        client.delete("/v1/volumes/box")
        send(client, "box", dataset(noise(3, 8, 8, 8, seed=1)).drop_vars(["z", "y", "x"]))
    client.post(f"/v1/jobs/{job}/resume")
    assert finish(client, job)["report"]["metrics"]["mae"] > 0
    # The answer was kept, unless it is that of another source.
    assert (parts(client).jobs.runner.executor.computed == computed) != source_changes
    wait_until(lambda: not list((tmp_path / "data" / "scratch").iterdir()))
