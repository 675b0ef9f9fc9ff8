"""How a service starts and ends: what cannot be used is named in a line."""

from __future__ import annotations

import json
import logging
import re
import signal
from typing import TYPE_CHECKING

import pytest
import torch
from fastapi.testclient import TestClient

from service.__main__ import main
from service.runtime.logs import request_id
from service.runtime.server import Server
from service.settings import CHECKOUT, Settings

if TYPE_CHECKING:
    from pathlib import Path

    import uvicorn
    from fastapi import FastAPI

    from models.catalogue import Catalogue


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("DEVICE", "abacus", "error: EDDYLIFT_DEVICE is abacus, which is not available: "),
        ("DEVICE", "cuda:99", "error: EDDYLIFT_DEVICE is cuda:99, which is not available: "),
        ("WEIGHTS", "/nowhere", "error: EDDYLIFT_WEIGHTS is /nowhere, where there are no models"),
        ("MAX_JOBS", "none", "error: EDDYLIFT_MAX_JOBS is 'none': "),
        ("GRACE_S", "inf", "error: EDDYLIFT_GRACE_S is 'inf': Input should be a finite number"),
        ("REQUEST_DEADLINE_S", "nan", "error: EDDYLIFT_REQUEST_DEADLINE_S is 'nan': Input should be a finite number"),
        ("S3_BUCKETS", "flows", """error: EDDYLIFT_S3_BUCKETS is 'flows': expected a JSON list, such as ["flows"]"""),
        (
            "TRUSTED_HOSTS",
            "[a, b",
            """error: EDDYLIFT_TRUSTED_HOSTS is '[a, b': expected a JSON list, such as ["a", "b"]""",
        ),
        ("CORS_ORIGINS", "3", """error: EDDYLIFT_CORS_ORIGINS is '3': expected a JSON list, such as ["3"]"""),
        ("TOKENS", "/nowhere/tokens", "error: EDDYLIFT_TOKENS: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    name: str,
    value: str,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EDDYLIFT_DATA", str(tmp_path))
    monkeypatch.setenv(f"EDDYLIFT_{name}", value)
    assert main([]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("TRUSTED_HOSTS", value) for value in ("gpu-host:8000", "https://gpu-host", "*.example", "gpu host", "")),
        *(("CORS_ORIGINS", value) for value in ("https://flows.example/", "flows.example", "https://*.example", "")),
    ],
)
def test_a_name_that_no_request_can_have_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"EDDYLIFT_{name}", json.dumps(["*", value]))
    assert main([]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: EDDYLIFT_{name}.1 is {value!r}: ")


@pytest.mark.parametrize("broken", [False, True])
def test_a_failed_device_is_no_regular_end(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    """So that what starts again only services that failed starts this one."""

    def run(server: Server) -> None:
        app: FastAPI = server.config.app  # type: ignore[assignment]
        app.state.services.engine.registry.device.broken = broken
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("service.runtime.server.Server.run", run)
    for name, value in {"WEIGHTS": catalogue.folder, "DATA": tmp_path, "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"EDDYLIFT_{name}", str(value))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            main([])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == broken


def test_no_test_works_on_what_the_developer_has_stored() -> None:
    assert not Settings().data.is_relative_to(CHECKOUT)


def test_lists_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDYLIFT_TRUSTED_HOSTS", '["GPU-Host.example", "*"]')
    monkeypatch.setenv("EDDYLIFT_CORS_ORIGINS", '["*", "https://Flows.example:8443", "http://[::1]:5173"]')
    monkeypatch.setenv("EDDYLIFT_S3_BUCKETS", "")
    settings = Settings()
    assert settings.trusted_hosts == ("gpu-host.example", "*")
    assert settings.cors_origins == ("*", "https://flows.example:8443", "http://[::1]:5173")
    assert settings.s3_buckets == ()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_cuda_where_there_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("EDDYLIFT_DATA", str(tmp_path))
    monkeypatch.setenv("EDDYLIFT_DEVICE", "cuda")
    assert main([]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_data_folder_that_cannot_be_written_is_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDDYLIFT_DATA", str(tmp_path / "file" / "data"))
    assert main([]) == 2
    assert re.fullmatch(
        r"error: EDDYLIFT_DATA is \S+/data, .* cannot be written: Not a directory\n", capsys.readouterr().err
    )


def test_variables_that_are_no_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        *("BLOCKS", "block_", "ZZZZ", "URL", "METRICS_TOKEN", "PORT", "PORT_8000_TCP", "SERVICE_HOST", "MAX_JOBS"),
        *("SCHEDULER_SERVICE_HOST", "SCHEDULER_PORT_8786_TCP_ADDR", "METRICS_SERVICE_PORT_HTTP"),
    ):
        monkeypatch.setenv(f"EDDYLIFT_{name}", "3")
    monkeypatch.setenv("EDDYLIFT_WEIGHTS", "/nowhere")
    assert main([]) == 2
    assert caplog.messages == [
        "EDDYLIFT_BLOCKS is no setting; is EDDYLIFT_BLOCK meant?",
        "EDDYLIFT_ZZZZ is no setting",
        "EDDYLIFT_block_ is no setting; is EDDYLIFT_BLOCK meant?",
    ]


@pytest.mark.parametrize(
    ("host", "variables", "said"),
    [
        ("127.0.0.1", {"TOKEN": "/data/tokens"}, ["EDDYLIFT_TOKENS meant?", "127.0.0.1 without tokens"]),
        ("127.0.0.1", {}, ["127.0.0.1 without tokens"]),
        ("0.0.0.0", {"TOKENS": "off"}, ["0.0.0.0 without tokens"]),  # noqa: S104 not started
        ("127.0.0.1", {"TOKENS": "/data/tokens", "TOKEN": "a client's"}, []),
    ],
)
def test_a_service_that_asks_for_no_tokens_says_so(
    host: str,
    variables: dict[str, str],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On loopback too, where a proxy may be, and the name of the setting may be misspelt."""
    caplog.set_level(logging.INFO)
    for name, value in {"WEIGHTS": "/nowhere", **variables}.items():
        monkeypatch.setenv(f"EDDYLIFT_{name}", value)
    assert main(["--host", host]) == 2
    assert len(caplog.messages) == len(said)
    for message, words in zip(caplog.messages, said, strict=True):
        assert words in message


@pytest.mark.parametrize(
    ("style", "line"),
    [("text", r"\S+ \S+ INFO root \[mine\]: ready"), ("json", r'\{.*"message": "ready", "request_id": "mine"\}')],
)
def test_each_line_of_the_log_has_the_id_of_its_request(
    style: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("logging.root", logging.RootLogger(logging.WARNING))  # the other one belongs to the tests
    monkeypatch.setenv("EDDYLIFT_LOG_FORMAT", style)
    monkeypatch.setenv("EDDYLIFT_WEIGHTS", "/nowhere")
    assert main([]) == 2
    named = request_id.set("mine")
    logging.root.info("ready")
    request_id.reset(named)
    assert re.fullmatch(line, capsys.readouterr().err.splitlines()[-1])


@pytest.mark.parametrize(("proxy", "statuses"), [("127.0.0.1", [200, 200]), ("192.0.2.1", [200, 429])])
def test_a_proxy_that_is_named_says_which_client_asks_and_no_other_host_does(
    proxy: str, statuses: list[int], catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[uvicorn.Config] = []
    monkeypatch.setattr(Server, "run", lambda server: served.append(server.config))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", proxy)
    limits = {"rate_per_s": 1e-3, "rate_burst": 1}
    settings = {"weights": catalogue.folder, "data": tmp_path, "device": "cpu", "threads": 1, **limits}
    for name, value in settings.items():
        monkeypatch.setenv(f"EDDYLIFT_{name.upper()}", str(value))
    assert main([]) == 0
    (config,) = served
    config.load()
    client = TestClient(config.loaded_app, "http://127.0.0.1", client=("127.0.0.1", 50_000))
    headers = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(2)]
    assert [client.get("/v1/models", headers=each).status_code for each in headers] == statuses
