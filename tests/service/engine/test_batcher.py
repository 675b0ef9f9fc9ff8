"""Blocks from all requests are computed together."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from service.problems import Problem
from tests.service.engine.conftest import Watched, check, request, sample
from tests.service.wire import Gate
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.service.engine.conftest import Start


def test_works_waiting_together_are_computed_together(start: Start) -> None:
    gate, batcher = Gate(), start()
    first = batcher.queue.submit(request(gate, seed=9))
    assert gate.entered.wait(PATIENCE_S)
    requests = [request(gate, seed=seed) for seed in range(5)]
    futures = [batcher.queue.submit(each) for each in requests]
    assert sample(batcher, "queue_blocks") == 5
    gate.open.set()
    for made, future in zip(requests, futures, strict=True):
        check(made, future)
    assert first.result(PATIENCE_S).fine.shape == (1, 3, 16, 16, 16)
    assert gate.batches == [1, 5]
    assert sample(batcher, "batch_requests_sum", model="gate") == 6
    assert sample(batcher, "queue_blocks") == sample(batcher, "queue_cells") == 0


def test_the_first_block_waits_for_others(start: Start) -> None:
    gate, batcher = Gate(), start(wait_s=PATIENCE_S, batch_blocks=3)
    gate.open.set()
    futures = [batcher.queue.submit(request(gate, seed=seed)) for seed in range(2)]
    wait_until(lambda: bool(gate.batches or batcher.queue._changed._waiters))  # type: ignore[attr-defined]
    assert not gate.batches
    futures.append(batcher.queue.submit(request(gate, seed=2)))
    for future in futures:
        future.result(PATIENCE_S)
    assert gate.batches == [3]


def test_the_first_block_does_not_wait_for_ever(start: Start) -> None:
    gate, batcher = Gate(), start(wait_s=0.05)
    gate.open.set()
    begin = time.monotonic()
    answer = batcher.queue.submit(request(gate)).result(PATIENCE_S)
    assert time.monotonic() - begin >= 0.05
    assert answer.queue_seconds >= 0.04


def test_blocks_that_differ_are_computed_apart(start: Start) -> None:
    gate = Gate()
    gate.open.set()
    requests = [
        request(gate, 4, 4, 4),
        request(gate, 4, 4, 5, block=5),
        request(gate, 8, 4, 4),
        request(gate, name="other"),
    ]
    start(*requests)
    for made in requests:
        check(made, made.future)
    assert sorted(gate.batches) == [1, 1, 1, 2]


def test_a_batch_holds_so_many_blocks_and_cells(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=4)
    gate.open.set()
    batcher.queue.submit(request(gate, 4, 4, 40)).result(PATIENCE_S)
    assert gate.batches == [4, 4, 2]
    gate.batches.clear()
    # Blocks of 4 x 4 x 4 with a halo of one along x alone, which they do not span.
    batcher = start(batch_cells=2 * 4 * 4 * 6 + 1)
    batcher.queue.submit(request(gate, 4, 4, 20)).result(PATIENCE_S)
    assert gate.batches == [2, 2, 1]
    gate.batches.clear()
    start(batch_cells=1).queue.submit(request(gate, 4, 4, 8)).result(PATIENCE_S)
    assert gate.batches == [1, 1]


def test_a_device_that_works_ahead_has_the_next_batch_while_it_computes_one(start: Start) -> None:
    gate, device = Gate(), Watched(depth=2)
    gate.open.set()
    made = request(gate, 4, 4, 16)
    start(made, device=device, batch_blocks=1)
    check(made, made.future)
    assert device.events == [
        *("launch 0", "launch 1", "land 0"),
        *("launch 2", "land 1"),
        *("launch 3", "land 2", "land 3"),
    ]


def test_answers_do_not_wait_for_works_to_come(start: Start) -> None:
    """Though the next block would wait for others to join it, and another of its kind may come at any time."""
    gate, device = Gate(), Watched(depth=2)
    gate.open.set()
    first, second = request(gate, 4, 4, 8, seed=1), request(gate, 4, 4, 8, seed=2)
    batcher = start(first, device=device, batch_blocks=2, wait_s=PATIENCE_S)
    check(first, first.future)
    check(second, batcher.queue.submit(second))


def test_what_a_device_tells_late_concerns_one_batch(start: Start) -> None:
    gate, device = Gate(), Watched(depth=2)
    gate.open.set()
    device.late[1] = RuntimeError("an illegal instruction")
    requests = [request(gate, seed=seed) for seed in range(3)]
    batcher = start(*requests, device=device, batch_blocks=1)
    with pytest.raises(RuntimeError, match="illegal"):
        requests[1].future.result(PATIENCE_S)
    check(requests[0], requests[0].future)
    check(requests[2], requests[2].future)
    assert sample(batcher, "queue_cells") == 0


def test_closing_lets_a_device_finish(start: Start) -> None:
    gate, device = Gate(), Watched(depth=2)
    gate.open.set()
    requests = [request(gate, seed=seed) for seed in range(3)]
    closing = threading.Event()

    def close() -> None:
        batcher.queue._closed = True
        closing.set()

    device.when[1] = close
    batcher = start(device=device, batch_blocks=1)
    with batcher.queue._changed:
        for made in requests:
            batcher.queue.submit(made)
    assert closing.wait(PATIENCE_S)
    batcher.close()
    check(requests[0], requests[0].future)
    check(requests[1], requests[1].future)
    with pytest.raises(Problem) as refusal:
        requests[2].future.result(0)
    assert refusal.value.kind == "unready"


def test_closing_fails_what_waits(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=1)
    futures = [batcher.queue.submit(request(gate, seed=seed)) for seed in range(3)]
    closing = threading.Thread(target=batcher.close)
    with gate:
        assert gate.entered.wait(PATIENCE_S)
        closing.start()
        for future in futures[1:]:
            error = future.exception(PATIENCE_S)
            assert isinstance(error, Problem)
            assert error.kind == "unready"
    closing.join(PATIENCE_S)
    futures[0].result(0)
    assert not batcher.alive
    with pytest.raises(Problem) as refusal:
        batcher.queue.submit(request(gate))
    assert refusal.value.kind == "unready"
