"""What the OpenAPI document says is what the service does: schemathesis makes requests up from it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.service.api.validation import FINE, post
from tests.service.wire import NPY, dataset, noise, npy, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

EXAMPLES = 12
# Of what a route answers when all is well; what tells of nothing has none.
BODILESS = {201, 204}


@schemathesis.serializer("application/x-npy", "application/netcdf", "application/zip")
def as_it_is(_context: object, value: object) -> bytes:
    """A body of bytes is sent as it was made up."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def check(client: TestClient, operation: Any, mode: GenerationMode, seen: set[int]) -> None:  # noqa: ANN401 no stubs
    """Ask what an operation may be asked, or may not, and see that each answer is one that is written down."""
    documented = operation.definition.raw["responses"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
        assert made.method
        assert made.url
        response = client.request(made.method, made.url, headers=dict(made.headers), content=made.body)  # type: ignore[arg-type]
        seen.add(response.status_code)
        assert response.status_code < 500, response.text
        # Below a prefix that is not a route's, or with another method, it is another operation's.
        assert str(response.status_code) in documented or response.status_code == 405, response.text
        if response.status_code not in BODILESS and response.status_code != 405:
            media_type = response.headers["Content-Type"].partition(";")[0]
            described = {name.partition(";")[0] for name in documented[str(response.status_code)].get("content", {})}
            assert media_type in described or not described

    ask()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation(serve: Callable[..., TestClient], tmp_path: Path, mode: GenerationMode) -> None:
    client = serve(data=tmp_path / "data", max_body_bytes=1 << 20)
    send(client, "box", dataset(noise(3, 4, 4, 4)))
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    seen: set[int] = set()
    labels = set()
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        labels.add(operation.label)
        try:
            # What is asked for without parameters cannot be asked for wrongly.
            with suppress(*[Unsatisfiable] * (mode is GenerationMode.NEGATIVE)):
                check(client, operation, mode, seen)
        except AssertionError as error:
            error.add_note(f"{operation.label}, {mode}")
            raise
    assert {"POST /v1/upscale", "PUT /v1/volumes/{name}/{key}", "POST /v1/jobs"} <= labels
    assert {200, 404, 422} <= seen
    assert client.get("/health/live").is_success


def test_openapi_explains_every_metric(client: TestClient) -> None:
    found = post(client, reference=(npy(FINE), NPY)).json()["metrics"]
    described = client.get("/openapi.json").json()["components"]["schemas"]["Metrics"]["properties"]
    assert described.keys() == found.keys()
    assert described["mae"]["description"] == "mean absolute error of all components; unit: velocity; better: lower"
