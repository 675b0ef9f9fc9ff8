"""What cannot be used ends the start in a line that names it."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
import torch

from service.__main__ import main
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from models.catalogue import Catalogue
    from service.runtime.server import Server


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("DEVICE", "abacus", "error: EDDYLIFT_DEVICE is abacus, which is not available: "),
        ("DEVICE", "cuda:99", "error: EDDYLIFT_DEVICE is cuda:99, which is not available: "),
        ("WEIGHTS", "/nowhere", "error: EDDYLIFT_WEIGHTS is /nowhere, where there are no models"),
        ("MAX_JOBS", "none", "error: EDDYLIFT_MAX_JOBS is 'none': "),
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


@pytest.mark.parametrize("broken", [False, True])
def test_a_failed_device_is_no_regular_end(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    """So that what starts again only services that failed starts this one."""

    def run(server: Server) -> None:
        app: FastAPI = server.config.app  # type: ignore[assignment]
        app.state.services.engine.batcher.broken = broken
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


def test_lists_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDYLIFT_TRUSTED_HOSTS", '["gpu-host.example", "*"]')
    monkeypatch.setenv("EDDYLIFT_S3_BUCKETS", "")
    settings = Settings()
    assert settings.trusted_hosts == ("gpu-host.example", "*")
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
        *("BLOCKS", "block_", "ZZZZ", "URL", "TOKEN", "PORT", "PORT_8000_TCP", "SERVICE_HOST", "MAX_JOBS"),
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
