"""Under which names the service answers, and what strangers can make it count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from service.__main__ import with_trusted_hosts
from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    import httpx2

    from models.catalogue import Catalogue

OWN = ["localhost:8000", "127.0.0.1", "[::1]:8000", "192.0.2.7:80", "gpu-host:8000", "GPU-HOST"]
OTHER = ["rebound.example:8000", "localhost.rebound.example", "127.0.0.1.nip.example", "[", ""]


def ask(catalogue: Catalogue, trusted: tuple[str, ...] | None, host: str, path: str = "/v1/models") -> httpx2.Response:
    app = create_app(Settings(weights=catalogue.folder, device="cpu", trusted_hosts=trusted))
    return TestClient(app).get(path, headers={"Host": host})


@pytest.mark.parametrize("host", OWN)
def test_addresses_and_names_that_are_its_own_are_answered(catalogue: Catalogue, host: str) -> None:
    assert ask(catalogue, ("gpu-host",), host).is_success


@pytest.mark.parametrize("host", OTHER)
def test_other_names_are_refused(catalogue: Catalogue, host: str) -> None:
    answer = ask(catalogue, (), host)
    assert answer.status_code == 421
    expected = "an address, localhost or a name listed in EDDYLIFT_TRUSTED_HOSTS"
    assert answer.json()["errors"] == [{"field": "Host", "value": host, "expected": expected}]
    assert ask(catalogue, None, host).is_success
    assert ask(catalogue, ("*",), host).is_success


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/nothing", "/metrics"])
def test_other_names_are_refused_everywhere(catalogue: Catalogue, path: str) -> None:
    assert ask(catalogue, (), OTHER[0], path).status_code == 421


@pytest.mark.parametrize(
    ("address", "chosen", "trusted"),
    [("127.0.0.1", None, ()), ("localhost", None, ()), ("::1", ("a",), ("a",)), ("0.0.0.0", None, None)],  # noqa: S104
)
def test_a_service_for_its_own_machine_trusts_no_other_names(
    address: str, chosen: tuple[str, ...] | None, trusted: tuple[str, ...] | None
) -> None:
    assert with_trusted_hosts(Settings(trusted_hosts=chosen), address).trusted_hosts == trusted


def test_made_up_methods_and_paths_make_no_series(client: TestClient) -> None:
    for number in range(100):
        assert client.request(f"M{number}", f"/made-up/{number}").status_code == 404
    samples = client.get("/metrics").text
    assert 'eddylift_requests_total{method="other",route="unknown",status="404"} 100.0' in samples
    assert "M99" not in samples
    assert "made-up" not in samples
