"""A GPU on which every call fails after an error, as after an illegal access: only another process can use it again."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from models.catalogue import TRILINEAR
from models.forecasting.catalogue import ForecastCatalogue
from service.engine.engine import Engine
from service.engine.forecasts import Forecasts
from service.engine.registry import ModelRegistry
from service.problems import Problem
from service.runtime.threads import Threads
from service.settings import CHECKOUT
from tests.service.engine.conftest import Watched, check, request
from tests.service.wire import Gate
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    import numpy as np
    from numpy.typing import NDArray

    from models.catalogue import Card, Catalogue
    from models.convolution import Axes
    from models.superresolution import SuperResolution
    from service.engine.device import Compute, PendingResult
    from tests.service.engine.conftest import Start

FAILURE = RuntimeError("CUDA error: an illegal memory access was encountered")


class Failing(Watched):
    """A device that works ahead, and that fails with one of its batches."""

    failed = False

    def works(self) -> bool:
        return not self.failed

    def fail(self) -> NoReturn:
        self.failed = True
        raise FAILURE

    def launch(self, compute: Compute, blocks: Sequence[NDArray[np.float32]], circular: Axes) -> PendingResult:
        land = super().launch(compute, blocks, circular)
        return lambda: self.fail() if self.failed else land()


@pytest.mark.parametrize("batch_blocks", [1, 2])
def test_it_ends_the_process_and_what_it_left_can_be_tried_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, batch_blocks: int
) -> None:
    model, device = Gate(), Failing(depth=2)
    device.when[5] = device.fail
    requests = [request(model, 4, 4, 8, seed=seed) for seed in range(6)]
    ends: list[tuple[int, int]] = []

    def end(process: int, number: int) -> None:
        # A Dask worker is dead now, before it could have failed a request.
        assert not any(each.future.exception() for each in requests if each.future.done())
        ends.append((process, number))

    monkeypatch.setattr(os, "kill", end)
    batcher = start(*requests, device=device, batch_blocks=batch_blocks)
    model.open.set()
    wait_until(lambda: all(each.future.done() for each in requests))
    answered = [each for each in requests if not each.future.exception()]
    assert len(answered) < 6
    for each in requests:
        if each in answered:
            check(each, each.future)
        else:
            refusal = each.future.exception()
            assert isinstance(refusal, Problem)
            assert refusal.kind == "unready"
    assert ends == [(os.getpid(), signal.SIGTERM)]
    assert not batcher.alive
    with pytest.raises(Problem) as refused:
        batcher.queue.submit(request(model))
    assert refused.value.kind == "unready"


def test_it_ends_the_process_also_if_it_fails_while_models_are_loaded(
    start: Start, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them needs no GPU, so that the service is ready by then."""
    device, load = Failing(), catalogue.load
    batcher, registry, ends = start(device=device), ModelRegistry(catalogue, device), []

    def fail(card: Card, *options: Any) -> SuperResolution:  # noqa: ANN401 passed on
        return load(card, *options) if card.architecture is None else device.fail()

    monkeypatch.setattr(catalogue, "load", fail)
    monkeypatch.setattr(os, "kill", lambda *end: ends.append(end))
    loading = registry.warm()
    assert next(loading) == TRILINEAR.name
    assert [batcher.alive, [*loading], batcher.alive] == [True, [], False]
    assert set(registry.failures.values()) == {"the device has failed, and this service ends"}
    forecasts = Forecasts(
        ForecastCatalogue(CHECKOUT / "weights"),
        Engine(registry, batcher, Threads(1), block=4, region=4, deadline_s=None),
    )
    monkeypatch.setattr(ForecastCatalogue, "load", lambda *_: device.fail())
    with pytest.raises(Problem) as refused:
        forecasts._model(forecasts.find(None))
    assert refused.value.kind == "unready"
    assert ends == [(os.getpid(), signal.SIGTERM)]


def test_an_error_after_which_it_works_fails_its_request_alone(start: Start) -> None:
    model, device = Gate(), Watched(depth=2)
    model.open.set()
    device.late[0] = FAILURE
    failed, made = request(model, seed=1), request(model, seed=2)
    batcher = start(failed, device=device)
    with pytest.raises(RuntimeError, match="illegal"):
        failed.future.result(PATIENCE_S)
    check(made, batcher.queue.submit(made))
