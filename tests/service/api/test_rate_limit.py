"""How often a client may ask, by a clock of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from service.api import rate_limit as rates
from service.api.auth import make_token
from service.api.middleware import PROBES
from service.api.rate_limit import Rates, host
from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from models.catalogue import Catalogue


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    bucket = Rates(2, 3, clock)
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take("b") == 0
    clock.now += 0.25
    assert bucket.take("a") == 0.25
    clock.now += 0.25
    assert [bucket.take("a") for _ in range(2)] == [0, 0.5]
    clock.now += 1000
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_clients_that_do_not_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_CLIENTS", 10)
    clock = Clock()
    bucket = Rates(1, 5, clock)
    for number in range(1000):
        clock.now += 1
        assert bucket.take(str(number)) == 0
    assert len(bucket._buckets) <= 10
    # One that asks all the time is not.
    assert [bucket.take("busy") for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    for number in range(20):
        bucket.take(str(number))
    assert bucket.take("busy") > 0


@pytest.mark.parametrize(
    ("address", "name"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("testclient", "testclient")],
)
def test_one_host_is_one_client(address: str, name: str) -> None:
    assert host(address) == name


def test_a_client_that_asks_too_often_is_told_when_to_come_back(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("service.api.middleware.Rates", lambda per_second, burst: Rates(per_second, burst, clock))
    (mine, line), (yours, other) = make_token("mine", "read"), make_token("yours", "read")
    (tmp_path / "tokens").write_text(f"{line}\n{other}\n")
    settings = Settings(
        weights=catalogue.folder, device="cpu", tokens=tmp_path / "tokens", rate_per_s=0.25, rate_burst=2
    )
    client = TestClient(create_app(settings))

    def ask(secret: str, path: str = "/v1/models") -> int:
        return client.get(path, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [ask(mine) for _ in range(3)] == [200, 200, 429]
    answer = client.get("/v1/models", headers={"Authorization": f"Bearer {mine}"})
    assert answer.headers["Retry-After"] == "4"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "0.25" in answer.json()["detail"]
    # Another token from the same address has a bucket of its own, and so have those without one.
    assert ask(yours) == 200
    assert [ask(f"guess-{number}") for number in range(3)] == [401, 401, 429]
    # Probes are never turned away; that the models are not warm is another matter.
    assert {ask(mine, path) for path in PROBES} <= {200, 503}
    clock.now += 4
    assert [ask(mine) for _ in range(2)] == [200, 429]
