"""Services in this process, with models that nobody trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fastapi.testclient import TestClient

from models.blocks import PERIODIC
from models.catalogue import Catalogue, describe
from models.held_out import HeldOut, HeldOutSamples
from models.metrics.report import report
from models.networks import Architecture, Network
from models.operators import coarsen
from models.superresolution import SuperResolution, upscale
from models.uncertainty import ErrorHead
from service.app import create_app
from service.settings import Settings
from tests.service.wire import noise
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from service.api.dependencies import Services

Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Small networks: of factors 4 and 2, measured on samples; for three frames; and one that predicts its error."""
    torch.manual_seed(3)
    made = Catalogue(tmp_path_factory.mktemp("weights"))
    measure(made, SuperResolution(Network(Architecture("relaxed", "O", 1, 1))))
    three = SuperResolution(Network(Architecture("conv", "C1", 2, 1, frames=3)))
    made.save(three, describe(three, flow="isotropic"))
    measure(made, SuperResolution(Network(Architecture("relaxed", "O", 1, 1, factor=2))))
    network = Network(Architecture("equivariant", "O", 1, 1))
    general = SuperResolution(network, error_head=ErrorHead(network.architecture, network.halo))
    made.save(general, describe(general, flow="general", uncertainty={"quantiles": {"0.5": 0.8, "0.9": 2.0}}))
    return made


def measure(catalogue: Catalogue, model: SuperResolution) -> None:
    """Store a model, a held-out sample of its factor, and on its card the error on that."""
    fine = torch.from_numpy(noise(3, 16, 16, 16, seed=9))
    sample = HeldOut(coarsen(fine, model.factor).numpy()[None], fine.numpy())
    HeldOutSamples(catalogue.folder).write("isotropic", sample)
    measured = report(
        torch.from_numpy(upscale(model.frozen(), sample.coarse, PERIODIC)), fine, torch.from_numpy(sample.coarse[0])
    )
    card = catalogue.save(model, describe(model, flow="isotropic"))
    catalogue.write(dataclasses.replace(card, sample={"mae_over_rms": measured["mae_over_rms"]}))


@pytest.fixture
def serve(catalogue: Catalogue, shared: TestClient) -> Iterator[Serve]:
    """Start a service with some settings, and wait until it is ready; blocks are computed one by one unless told."""
    with ExitStack() as running:

        def start(weights: Path = catalogue.folder, **settings: Any) -> TestClient:  # noqa: ANN401 passed on to Settings
            app = create_app(Settings(weights=weights, device="cpu", threads=1, **{"region": 1, **settings}))
            spare_work(app, shared)
            return running.enter_context(ready(app))

        yield start


@pytest.fixture(scope="session")
def shared(catalogue: Catalogue) -> Iterator[TestClient]:
    """A service that all tests share which leave it as it was."""
    with ready(create_app(Settings(weights=catalogue.folder, device="cpu", threads=1))) as client:
        yield client


@pytest.fixture
def client(shared: TestClient) -> TestClient:
    """The shared service; many a test file has another one under this name."""
    return shared


@contextmanager
def ready(app: FastAPI) -> Iterator[TestClient]:
    """Run a service; it has loaded its models."""
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/health/ready").is_success and is_loaded(client))
        yield client


def spare_work(app: FastAPI, like: TestClient) -> None:
    """Give a service the routes of another one, which FastAPI prepares as they are first asked for, and its models."""
    app.router.routes[:] = like.app.router.routes  # type: ignore[attr-defined]
    registry, loaded = app.state.services.engine.registry, parts(like).engine.registry
    if (registry.catalogue.folder, registry.precision) == (loaded.catalogue.folder, loaded.precision):
        registry._models |= loaded._models
        registry.precisions |= loaded.precisions


def parts(client: TestClient) -> Services:
    """The inside of a service."""
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    return services


def call_in_loop(client: TestClient, function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 what it returns
    """Call a function in the event loop of a service, and wait for it."""
    assert client.portal is not None
    return client.portal.call(function, *arguments)


def serve_as(name: str, client: TestClient, model: SuperResolution) -> None:
    """Serve another model under the name, and with the card, of one."""
    registry = parts(client).engine.registry
    registry._models[name] = (registry.card(name), model)


serve_as_trilinear = partial(serve_as, "trilinear-x4")


def is_loaded(client: TestClient) -> bool:
    """Whether all models have been loaded; the first of them makes a service ready."""
    registry = parts(client).engine.registry
    return {*registry.catalogue.names()} <= {*registry._models, *registry.failures}
