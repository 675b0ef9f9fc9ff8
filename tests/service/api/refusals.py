"""What is sent to be refused, and how a refusal looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.service.wire import noise, npy
from tests.service.wire import post_bytes as post

if TYPE_CHECKING:
    import httpx2
    from fastapi.testclient import TestClient

GOOD = noise(3, 4, 5, 6)


def refused(client: TestClient, response: httpx2.Response, status: int, field: str) -> dict[str, Any]:
    """A problem document of this status and about this field; the service is none the worse for it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    assert problem["status"] == status
    assert problem["type"].startswith("urn:eddylift:problem:")
    (error,) = problem["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert field in problem["detail"]
    assert post(client, npy(GOOD)).status_code == 200
    named: dict[str, Any] = error
    return named
