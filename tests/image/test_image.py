"""What the image holds starts, is healthy, answers and ends: the Dockerfile, .dockerignore and Compose file hold."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess

import httpx2
import numpy as np
import pytest
import yaml

from eddylift import Client, open_volume
from service.settings import CHECKOUT
from tests.image.replay import Image, ignored_in, stages
from tests.service.servers import free_port
from tests.service.wire import NPY, from_npy
from tests.waiting import PATIENCE_S, wait_until

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
DEFAULTS = {
    name: value.removeprefix(f"${{{name}:-").removesuffix("}")
    for name, value in COMPOSE["eddylift"]["environment"].items()
    if value and value.startswith("$")
}
COARSE = CHECKOUT / "weights" / "held-out" / "isotropic-x4" / "coarse.npy"
FINE = COARSE.with_name("fine.npy")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, port: int) -> Image:
    return Image(CHECKOUT, tmp_path_factory.mktemp("image"), port)


def test_it_holds_what_serves_and_no_more(image: Image) -> None:
    assert {path.name for path in image.app.iterdir()} == {"LICENSE", "models", "service", "weights"}
    names = {path.name for path in image.app.rglob("*")}
    assert not [name for name in names if name.endswith((".png", ".md", ".pyc"))]
    assert all(path.stat().st_mode & 0o005 for path in image.app.rglob("*"))  # whatever the umask of the clone


def test_each_stage_is_given_what_it_copies() -> None:
    ignored = ignored_in(CHECKOUT)
    for each in itertools.chain(*stages(CHECKOUT / "Dockerfile")):
        if each.name == "COPY" and "from" not in each.options:
            for source in each.rest.split()[:-1]:
                assert (CHECKOUT / source).exists()
                assert not ignored.match_file(source)


def test_it_starts_is_healthy_answers_and_ends(image: Image, port: int) -> None:
    # A proxy that is not there, which the healthcheck must not ask.
    environment = {**image.environment, **DEFAULTS, "http_proxy": "http://127.0.0.1:9"}

    def is_healthy() -> bool:
        return subprocess.call(image.healthcheck, env=environment, stderr=subprocess.DEVNULL, timeout=PATIENCE_S) == 0  # noqa: S603

    assert not is_healthy()
    with subprocess.Popen(image.service, cwd=image.app, env=environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            wait_until(lambda: process.poll() is not None or is_healthy())
            answer = httpx2.post(
                f"http://127.0.0.1:{port}/v1/upscale?boundary=periodic",
                content=COARSE.read_bytes(),
                headers={"Content-Type": NPY},
                timeout=PATIENCE_S,
            ).raise_for_status()
            fine, true = from_npy(answer.content), np.load(FINE)
            assert np.abs(fine - true).mean() < 0.1 * true.std()
            with Client(f"http://127.0.0.1:{port}") as client:
                client.upload(open_volume(COARSE), "box")
                view = client.open("box", boundary="periodic")
                assert np.abs(view["u"].values - fine[0]).max() < 1e-5 * fine.std()
            # By address, as Prometheus asks; a browser that was led here sends the name of the page's host.
            for host, status in {"172.18.0.2:8000": 200, "localhost": 200, "rebound.example": 421}.items():
                metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics", headers={"Host": host}, timeout=PATIENCE_S)
                assert metrics.status_code == status
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_an_image_is_built_by_one_service_alone() -> None:
    built = [service["image"] for service in COMPOSE.values() if "build" in service]
    assert len(built) == len(set(built))
    for service in COMPOSE.values():
        if service["image"] in built and "build" not in service:
            assert service["pull_policy"] == "never"


def test_each_image_may_take_torch_from_an_index_of_its_own() -> None:
    indexes = [service["build"]["args"]["PIP_EXTRA_INDEX_URL"] for service in COMPOSE.values() if "build" in service]
    assert len(indexes) == len(set(indexes))


def test_what_an_object_store_needs_is_taken_from_the_shell() -> None:
    section = (CHECKOUT / "docs" / "volumes.md").read_text().partition("## Object stores")[2].partition("\n## ")[0]
    names = set(re.findall(r"`([A-Z][A-Z0-9_]+)", section))
    assert "AWS_SESSION_TOKEN" in names
    assert names <= COMPOSE["eddylift"]["environment"].keys()


def test_the_healthcheck_stands_in_the_image_alone() -> None:
    for name in ("eddylift", "eddylift-cpu"):
        assert "healthcheck" not in COMPOSE[name]


def test_a_worker_has_the_settings_of_the_service() -> None:
    service, worker = COMPOSE["eddylift"], COMPOSE["worker"]
    assert (worker["env_file"], worker["environment"]) == (service["env_file"], service["environment"])
    assert not service["env_file"][0]["required"]


def test_each_service_can_have_a_gpu_of_its_own() -> None:
    chosen = {name: service["deploy"] for name, service in COMPOSE.items() if "deploy" in service}
    assert chosen.keys() == {"eddylift", "worker"}
    gpus = []
    for deploy in chosen.values():
        (device,) = deploy["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert "count" not in device  # which is the same for all
        gpus += device["device_ids"]
    assert gpus == ["${SERVICE_GPU:-0}", "${WORKER_GPU:-0}"]


def test_nothing_is_published_to_others_unless_it_is_told_to() -> None:
    for service in COMPOSE.values():
        for published in service.get("ports", []):
            assert published.startswith(("127.0.0.1:", "${SCHEDULER_HOST:-127.0.0.1}:"))
