"""Jobs that both clients and the command line have done by the service itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from typer.testing import CliRunner

from eddylift import (
    AsyncClient,
    EddyliftWarning,
    InvalidInputError,
    JobError,
    NotFoundError,
    Progress,
    RefusedError,
    cli,
)
from tests.eddylift.service.conftest import TRILINEAR, channel

if TYPE_CHECKING:
    from eddylift import Client


def test_a_job_is_waited_for(client: Client) -> None:
    volume = channel()
    client.upload(volume, "series")
    job = client.submit("series", "series-fine", model=TRILINEAR)
    assert job.status["state"] == "queued"
    told: list[Progress] = []
    done = job.wait(progress=told.append)
    assert (done["state"], done["blocks"], done["blocks_done"]) == ("done", 8, 8)
    assert told[-1] == Progress("compute", 8, 8)
    assert client.job(job.id).status["state"] == "done"
    assert client.jobs()[0].id == job.id
    assert {each["name"] for each in client.volumes()} >= {"series", "series-fine"}
    with pytest.raises(RefusedError, match="another volume than the source"):
        client.submit("series", "series", model=TRILINEAR)
    with pytest.raises(NotFoundError, match="there is no job nothing"):
        client.job("nothing")
    for name in ("series", "series-fine"):
        client.delete_volume(name)


def test_a_job_compares_and_says_how_far_off(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    fine = channel((16, 32, 16))
    coarse = fine.coarsen(z=4, y=4, x=4).mean().astype("float32").assign_attrs(boundary="periodic,open,periodic")
    client.upload(coarse, "compared")
    client.upload(fine, "compared-true")
    told: list[Progress] = []
    done = client.submit("compared", model=TRILINEAR, reference="compared-true").wait(progress=told.append)
    assert told[-1].stage == "compare"
    assert {each.stage for each in told} <= {"compute", "compare"}  # computing may be over before the first look
    assert done["report"] is not None
    assert done["report"]["metrics"]["mae"] == pytest.approx(done["report"]["trilinear"]["mae"])
    assert done["target"] is None
    job = client.submit("compared", model=TRILINEAR, reference="compared-true")
    assert job.wait(progress=True)["state"] == "done"
    assert "compared" not in capsys.readouterr().out
    for name in ("compared", "compared-true"):
        client.delete_volume(name)


def test_a_job_that_fails_says_why_and_is_resumed(client: Client) -> None:
    bad = channel()
    bad["v"][0, 0, 0] = np.nan
    with pytest.raises(InvalidInputError, match="v: NaN or infinity, 1 in all"):
        client.upload(bad, "bad")
    bad.to_zarr(client.store("bad"), consolidated=False)
    job = client.submit("bad", "bad-fine", model=TRILINEAR, boundary={"y": "wall"})
    with pytest.raises(JobError, match=f"job {job.id} failed: v: nan at") as failure:
        job.wait()
    assert failure.value.status["boundary"] == "periodic,wall,periodic"
    assert job.resume()["state"] in {"queued", "running", "failed"}
    with pytest.raises(JobError):
        job.wait()
    assert job.cancel()["state"] == "failed"
    client.delete_volume("bad")
    client.delete_volume("bad-fine")


def test_jobs_of_the_asynchronous_client(url: str) -> None:
    async def go() -> None:
        async with AsyncClient(url) as client:
            await client.upload(channel((4, 4, 4)), "small")
            job = await client.submit("small", "small-fine", model=TRILINEAR)
            assert (await job.wait())["state"] == "done"
            assert (await client.job(job.id)).status == job.status
            assert (await client.jobs())[0].id == job.id
            assert (await job.cancel())["state"] == "done"
            assert (await job.resume())["state"] == "done"
            for name in ("small", "small-fine"):
                await client.delete_volume(name)

    anyio.run(go)


def test_jobs_on_the_command_line(client: Client, url: str) -> None:
    with pytest.warns(EddyliftWarning, match="drop="):
        client.upload(channel().assign(p=channel()["u"]), "ordered")
    runner, where = CliRunner(), ["--url", url]
    ordered = runner.invoke(
        cli.app, ["submit", "ordered", "ordered-fine", "-m", TRILINEAR, "--drop", "p", "--json", *where]
    )
    assert ordered.exit_code == 0, ordered.output
    job = json.loads(ordered.output)["id"]
    watched = runner.invoke(cli.app, ["watch", job, *where])
    assert watched.exit_code == 0, watched.output
    assert "8/8" in watched.output
    assert job in runner.invoke(cli.app, ["jobs", *where]).output
    for command in ("cancel", "resume"):
        ended = runner.invoke(cli.app, [command, job, "--json", *where])
        assert json.loads(ended.output)["state"] == "done"
    infinite = channel().assign(w=lambda volume: volume["w"] * np.inf)
    infinite.to_zarr(client.store("ordered-bad"), consolidated=False)
    bad = runner.invoke(cli.app, ["submit", "ordered-bad", "ordered-more", "-m", TRILINEAR, "--json", *where])
    failed = runner.invoke(cli.app, ["watch", json.loads(bad.output)["id"], *where])
    assert failed.exit_code == 1
    assert "failed: w: " in failed.output
