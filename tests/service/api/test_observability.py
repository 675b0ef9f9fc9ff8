"""That what watches the service asks for what the service tells."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import torch
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.jobs.spec import JobSpec
from service.runtime.metrics import StateCollector
from service.settings import CHECKOUT
from tests.service.conftest import parts
from tests.service.wire import NPY, noise, npy

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from fastapi.testclient import TestClient

    from tests.service.conftest import Serve

FOLDER = CHECKOUT / "service" / "observability"
COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
DASHBOARD = json.loads((FOLDER / "grafana" / "eddylift.json").read_text())
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus itself keeps of whatever it scrapes.
BUILT_IN = {"up"}
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def labels_by_metric(client: TestClient) -> dict[str, set[str]]:
    """Names of samples that /metrics gives, or would once there is something to tell, and labels seen with them."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for suffix in SUFFIXES[family.type]:
            found[family.name + suffix] = set()
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(expression: str) -> set[str]:
    """Names of metrics in a PromQL expression: words that are no function, no keyword and no label."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without) *\([^)]*\)", "", bare)
    words: list[str] = re.findall(r"[a-zA-Z_]\w*(?!\w* *\()", bare)
    return {
        word for word in words if word not in {"or", "and", "unless"} and word not in {"sum", "count", "min", "max"}
    }


def labels(expression: str) -> set[str]:
    """Labels that a PromQL expression selects or groups by."""
    groups = re.findall(r"\bby *\(([^)]*)\)", expression)
    selected: list[str] = re.findall(r"[{,] *(\w+) *[=!]", expression)
    return {name.strip() for group in groups for name in group.split(",")} | set(selected)


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES]


def test_names_are_found_in_expressions() -> None:
    text = 'histogram_quantile(0.9, sum by (le) (rate(a_bucket{b="c(d)"}[5m]))) / sum by (x) (e) > 0 or vector(0)'
    assert asked(text) == {"a_bucket", "e"}
    assert labels(text) == {"le", "b", "x"}


def test_every_metric_that_is_asked_for_exists(client: TestClient) -> None:
    body = npy(noise(3, 4, 4, 4))
    answer = client.post("/v1/upscale?model=trilinear-x4", content=body, headers={"Content-Type": NPY})
    assert answer.is_success
    assert client.get("/v1/models/none").status_code == 404
    known = labels_by_metric(client)
    # Of Prometheus's own making, or seen on no CPU.
    known_labels = set().union(*known.values(), {"instance", "job", "state"})
    for expression in expressions():
        assert asked(expression), expression
        assert asked(expression) <= known.keys() | BUILT_IN, expression
        assert labels(expression) <= known_labels, expression


def test_every_metric_of_ours_is_shown(client: TestClient) -> None:
    shown = {name for expression in expressions() for name in asked(expression)}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        if family.name.startswith("eddylift_") and not family.name.endswith("_created"):
            assert any(name.startswith(family.name) for name in shown), family.name


def test_panels_have_titles_places_and_a_source_of_data() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    uid = yaml.safe_load((FOLDER / "grafana" / "datasource.yml").read_text())["datasources"][0]["uid"]
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == uid
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_compose_mounts_what_there_is_under_a_profile_of_its_own() -> None:
    watchers = {name: COMPOSE["services"][name] for name in ("prometheus", "grafana")}
    for service in watchers.values():
        assert service["profiles"] == ["observability"]
        assert re.fullmatch(r"\S+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for mounted in service["configs"]:
            config = COMPOSE["configs"][mounted["source"]]
            assert "content" in config or (CHECKOUT / config["file"]).is_file()
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    targets = {mounted["target"] for mounted in watchers["prometheus"]["configs"]}
    assert {f"/etc/prometheus/{name}" for name in prometheus["rule_files"]} <= targets
    (scrape,) = prometheus["scrape_configs"]
    assert f"/etc/prometheus/{scrape['authorization']['credentials_file']}" in targets
    assert set(scrape["dns_sd_configs"][0]["names"]) <= COMPOSE["services"].keys()
    folder = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"][0]["options"]["path"]
    assert f"{folder}/eddylift.json" in {mounted["target"] for mounted in watchers["grafana"]["configs"]}


def test_a_service_without_tokens_minds_none(client: TestClient) -> None:
    assert client.get("/metrics", headers={"Authorization": "Bearer none"}).is_success


def samples(client: TestClient, name: str) -> dict[str, float]:
    """Values of a metric by its only label."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        next(iter(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_jobs_and_blocks_are_looked_up(serve: Serve, tmp_path: Path) -> None:
    client = serve(data=tmp_path)
    states = {"queued": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0}
    assert samples(client, "eddylift_jobs") == states
    jobs = parts(client).jobs
    with jobs.lease.exclusive():  # so that no job is taken up
        for state in ("failed", "failed", "done"):
            job = jobs.repository.add(JobSpec(source="a", target="b", model="trilinear-x4"), "me")
            jobs.repository.mark(job.id, state)
    assert samples(client, "eddylift_jobs") == {**states, "failed": 2, "done": 1}
    parts(client).chunk_cache.computed += 3
    assert samples(client, "eddylift_volume_blocks_total") == {"view": 3, "job": 0}


def test_memory_is_that_of_the_gpu(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert samples(client, "eddylift_device_memory_bytes") == {}
    service = parts(client)
    monkeypatch.setattr(service.engine.registry.device, "place", torch.device("cuda:1"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (10 + place.index, 100))
    (memory,) = (
        family
        for family in StateCollector(dict, dict, service.engine.registry.device.place).collect()
        if family.name == "eddylift_device_memory_bytes"
    )
    assert {sample.labels["state"]: sample.value for sample in memory.samples} == {"free": 11, "used": 89}
