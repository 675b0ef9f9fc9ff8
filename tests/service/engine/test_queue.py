"""Requests take turns, those that somebody waits for first; what nobody waits for is not computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.engine.queue import PRECEDENCE, client
from service.problems import Problem
from tests.service.engine.conftest import Watched, blocks_of, check, request, sample
from tests.service.wire import Gate
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.service.engine.conftest import Start


def test_clients_take_turns(start: Start) -> None:
    """However much one has in line, another one's request comes after one of them."""
    gate, batcher = Gate(), start(batch_blocks=1)
    first = batcher.queue.submit(request(gate, seed=9))
    assert gate.entered.wait(PATIENCE_S)
    futures = [first]
    for owner, seeds in (("greedy", range(6)), ("other", (10, 11))):
        token = client.set(owner)
        futures += [batcher.queue.submit(request(gate, seed=seed)) for seed in seeds]
        client.reset(token)
    gate.open.set()
    for future in futures:
        future.result(PATIENCE_S)
    assert np.round(gate.blocks).tolist() == [9, 0, 10, 1, 11, 2, 3, 4, 5]


def test_clients_that_wait_for_nothing_are_forgotten(start: Start) -> None:
    gate, batcher = Gate(), start()
    gate.open.set()
    for owner in ("one", "other"):
        token = client.set(owner)
        asked = request(gate)
        client.reset(token)
        check(asked, batcher.queue.submit(asked))
    wait_until(lambda: not batcher.queue._turns)


def test_a_large_volume_does_not_hold_up_small_ones(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=2)
    large = batcher.queue.submit(request(gate, 4, 4, 80, seed=1))
    assert gate.entered.wait(PATIENCE_S)
    small = [batcher.queue.submit(request(gate, 4, 4, 8, seed=seed)) for seed in (2, 3)]
    gate.open.set()
    large.result(PATIENCE_S)
    assert all(future.done() for future in small)
    # Two blocks of the large one were taken before the others came; then each request gives one in turn.
    order = np.round(gate.blocks).astype(int).tolist()
    assert order[:8] == [1, 1, 1, 2, 3, 1, 2, 3]
    assert order[8:] == [1] * 16


def test_works_of_another_key_get_their_turn(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=1)
    batcher.queue.submit(request(gate, 4, 4, 40, seed=1))
    assert gate.entered.wait(PATIENCE_S)
    other = batcher.queue.submit(request(gate, 4, 4, 5, seed=2, block=5))
    gate.open.set()
    other.result(PATIENCE_S)
    assert np.round(gate.blocks).tolist().index(2) <= 2


def test_nobody_computes_what_nobody_waits_for(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=1)
    left = batcher.queue.submit(request(gate, 4, 4, 400, seed=1))
    assert gate.entered.wait(PATIENCE_S)
    stays = request(gate, seed=2)
    waiting = batcher.queue.submit(stays)
    assert left.cancel()
    assert sample(batcher, "dropped_blocks_total") == 99
    assert sample(batcher, "queue_blocks") == 1
    gate.open.set()
    check(stays, waiting)
    assert np.round(gate.blocks).tolist() == [1, 2]


def test_the_queue_has_an_end(start: Start) -> None:
    gate, batcher = Gate(), start(queue_cells=200)
    # One request alone may be larger.
    first = batcher.queue.submit(request(gate, 4, 4, 16))
    assert gate.entered.wait(PATIENCE_S)
    with pytest.raises(Problem) as refusal:
        batcher.queue.submit(request(gate))
    assert refusal.value.kind == "busy"
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after >= 0
    gate.open.set()
    first.result(PATIENCE_S)
    wait_until(lambda: sample(batcher, "queue_cells") == 0)
    batcher.queue.submit(request(gate)).result(PATIENCE_S)


def test_what_somebody_waits_for_goes_first(start: Start) -> None:
    gate = Gate()
    gate.open.set()
    requests = [
        request(gate, 4, 4, 8, seed=1, background=True),
        request(gate, 4, 4, 8, seed=2),
        request(gate, 4, 4, 8, seed=3),
    ]
    start(*requests, batch_blocks=8)
    for made in requests:
        check(made, made.future)
    assert blocks_of(gate) == [2, 3, 2, 3, 1, 1]
    # A batch is of one line: what is in the background never makes it larger.
    assert gate.batches == [4, 2]


@pytest.mark.parametrize("edge", [4, 12])
def test_neither_line_starves(start: Start, edge: int) -> None:
    """With blocks of the background as large as the others, and larger."""
    gate = Gate()
    gate.open.set()
    others = request(gate, 4, 4, 4 * 100, seed=1)
    behind = request(gate, 4, 4, edge * 20, seed=2, block=edge, background=True)
    start(others, behind, batch_blocks=1)
    others.future.result(PATIENCE_S)
    behind.future.result(PATIENCE_S)
    # Of one block, halos along x included.
    ahead, back = 4 * 4 * 6, 4 * 4 * (edge + 2)
    order = blocks_of(gate)
    while order[-1] == 2:
        order.pop()  # nobody else waited any more
    assert order.count(1) == 100
    assert order.count(2) > 3
    for place in range(len(order)):
        foremost, behindhand = ahead * order[:place].count(1), back * order[:place].count(2)
        assert PRECEDENCE * behindhand <= foremost < PRECEDENCE * (behindhand + back) + ahead


def test_nothing_is_owed_for_times_without_work(start: Start) -> None:
    """The background leaves before its turn, and is idle then; when it comes again, it waits like at the start."""
    device, gate = Watched(), Gate()
    gate.open.set()
    first, second = request(gate, 4, 4, 400, seed=1), request(gate, 4, 4, 8, seed=2, background=True)
    leaves = request(gate, 4, 4, 8, seed=3, background=True)
    device.when[5] = lambda: batcher.queue.submit(leaves)
    device.when[5 + PRECEDENCE - 1] = leaves.future.cancel
    device.when[50] = lambda: batcher.queue.submit(second)
    batcher = start(device=device, batch_blocks=1)
    batcher.queue.submit(first)
    first.future.result(PATIENCE_S)
    second.future.result(PATIENCE_S)
    places = [place for place, seed in enumerate(blocks_of(gate)) if seed == 2]
    # The batch that was being computed as it came does not count.
    assert places == [50 + 1 + PRECEDENCE, 50 + 1 + 2 * PRECEDENCE + 1]


def test_a_work_that_is_overdue_leaves_at_once(start: Start) -> None:
    gate, batcher = Gate(), start(batch_blocks=1)
    begun = request(gate, 4, 4, 8, seed=1)
    first = batcher.queue.submit(begun)
    assert gate.entered.wait(PATIENCE_S)
    late = request(gate, 4, 4, 40, seed=2)
    future = batcher.queue.submit(late)
    batcher.queue.expire(late)
    with pytest.raises(Problem) as refusal:
        future.result(0)
    assert refusal.value.kind == "overdue"
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after > 0
    assert sample(batcher, "dropped_blocks_total") == 10
    assert sample(batcher, "queue_blocks") == 1
    # Of this one, blocks were taken: it is finished.
    batcher.queue.expire(begun)
    gate.open.set()
    check(begun, first)
    assert blocks_of(gate) == [1, 1]
