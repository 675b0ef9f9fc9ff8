"""Blocks from all requests are computed together, in turns, within what fits; what nobody waits for is not computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.convolution import NOWHERE
from models.superresolution import SuperResolution, upscale
from service.engine.batcher import RECOVERY, Batcher
from service.engine.device import Device
from service.engine.inference import VolumeRequest
from service.engine.queue import PRECEDENCE, Limits, client
from service.problems import Problem
from service.runtime.metrics import Metrics
from tests.service.wire import Cramped, Gate, noise
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from models.convolution import Axes
    from service.engine.device import Compute, PendingResult
    from service.engine.inference import InferenceResult

Start = Callable[..., Batcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a batcher with some limits, and requests that are in line before it computes."""
    running: list[Batcher] = []

    def make(*requests: VolumeRequest, device: Device | None = None, **limits: float) -> Batcher:
        device = device or Device(torch.device("cpu"))
        batcher = Batcher(device, Limits(**{"wait_s": 0, **limits}), Metrics())  # type: ignore[arg-type]
        for each in requests:
            batcher.queue.submit(each)
        batcher.start()
        running.append(batcher)
        return batcher

    yield make
    for batcher in running:
        batcher.close()
        assert not batcher.alive


def request(
    model: SuperResolution, *shape: int, seed: int = 0, block: int = 4, name: str = "gate", background: bool = False
) -> VolumeRequest:
    """A request whose blocks are told apart by their mean velocity."""
    volume = noise(1, 1, 3, *(shape or (4, 4, 4)), seed=seed) / np.float32(100)
    volume += seed - volume.mean(axis=(3, 4, 5), keepdims=True)
    made = VolumeRequest(name, model, volume, PERIODIC, block)
    made.background = background
    return made


def check(made: VolumeRequest, future: Future[InferenceResult]) -> None:
    """Its answer is what the model makes of it by itself."""
    answer = future.result(PATIENCE_S)
    block = max(made.plan.block_shape)
    wanted = upscale(SuperResolution(), made.sources[0], made.plan.boundary, block=block)
    np.testing.assert_array_equal(answer.fine[0], wanted)


def sample(batcher: Batcher, name: str, **labels: str) -> float:
    return batcher.metrics.registry.get_sample_value(f"eddylift_{name}", labels) or 0.0


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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(start: Start, error: Exception) -> None:
    model, batcher = Cramped(2, error), start(batch_blocks=8)
    made = request(model, 4, 4, 72)
    check(made, batcher.queue.submit(made))
    # What was learned of the first batch holds for the rest of it and for the next ones.
    assert model.batches == [8, 4, *[2] * 9]
    assert sample(batcher, "out_of_memory_total") == 2


def test_larger_batches_are_tried_again_later(start: Start) -> None:
    model = Cramped(1, torch.OutOfMemoryError("full"))
    batcher = start(batch_blocks=2)
    batcher.queue.submit(request(model, 4, 4, 8)).result(PATIENCE_S)
    model.room = 2
    model.batches.clear()
    batcher.queue.submit(request(model, 4, 4, 4 * (RECOVERY + 4))).result(PATIENCE_S)
    assert model.batches[0] == 1
    assert model.batches[-1] == 2


def test_a_block_that_never_fits_fails_its_request_alone(start: Start) -> None:
    class Picky(Cramped):
        def forward(self, coarse: torch.Tensor, circular: Axes = NOWHERE) -> torch.Tensor:
            if (coarse.mean(dim=(1, 2, 3, 4, 5)).round() == 7).any():
                raise self.error
            return super().forward(coarse, circular)

    model = Picky(8, torch.OutOfMemoryError("full"))
    batcher = start(wait_s=0.2, batch_blocks=4)
    requests = [request(model, seed=seed) for seed in (1, 7, 2, 3)]
    futures = [batcher.queue.submit(made) for made in requests]
    with pytest.raises(Problem, match="4 x 4 x 4") as refusal:
        futures[1].result(PATIENCE_S)
    assert refusal.value.kind == "out-of-memory"
    for index in (0, 2, 3):
        check(requests[index], futures[index])
    model.error = ZeroDivisionError("a bug")
    futures = [batcher.queue.submit(request(model, seed=seed)) for seed in (1, 7, 2, 3)]
    with pytest.raises(ZeroDivisionError):
        futures[1].result(PATIENCE_S)
    assert all(futures[index].result(PATIENCE_S) for index in (0, 2, 3))
    assert sample(batcher, "queue_cells") == 0


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


def blocks_of(gate: Gate) -> list[int]:
    """The seeds of the requests that blocks were of, in the order in which they were computed."""
    return [round(mean) for mean in gate.blocks]


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


def test_a_batch_takes_no_more_than_the_memory_holds(start: Start) -> None:
    gate, small = Gate(), Gate()
    gate.open.set()
    small.open.set()

    class Small(Device):
        def room(self, model: SuperResolution) -> int | None:
            return 2 * 4 * 4 * 6 + 1 if model is small else None

    batcher = start(device=Small(torch.device("cpu")))
    for _ in range(2):
        batcher.queue.submit(request(small, 4, 4, 20)).result(PATIENCE_S)
    assert small.batches == 2 * [2, 2, 1]
    batcher.queue.submit(request(gate, 4, 4, 20, name="other")).result(PATIENCE_S)
    assert gate.batches == [5]


class Watched(Device):
    """The CPU, which tells what it does, and says late what it found if it requests ahead."""

    def __init__(self, depth: int = 1) -> None:
        super().__init__(torch.device("cpu"))
        self.depth = depth
        self.events: list[str] = []
        # What to do when a batch is launched, or to raise when it lands, by the number of the batch.
        self.when: dict[int, Callable[[], object]] = {}
        self.late: dict[int, Exception] = {}
        self.launched = 0

    def launch(
        self,
        compute: Compute,
        blocks: Sequence[NDArray[np.float32]],
        circular: Axes,
    ) -> PendingResult:
        number = self.launched
        self.launched += 1
        self.events.append(f"launch {number}")
        self.when.get(number, lambda: None)()
        land = super().launch(compute, blocks, circular)

        def tell() -> tuple[NDArray[np.float32], float]:
            self.events.append(f"land {number}")
            if number in self.late:
                raise self.late[number]
            return land()

        return tell


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


def test_a_batch_that_does_not_fit_waits_for_those_ahead_of_it(start: Start) -> None:
    """What they hold may be what it lacked."""
    model, device = Gate(), Watched(depth=2)
    model.open.set()

    def full() -> None:
        message = "CUDA out of memory"
        raise torch.OutOfMemoryError(message)

    device.when[1] = full
    made = request(model, 4, 4, 16)
    start(made, device=device, batch_blocks=2)
    check(made, made.future)
    assert device.events[:4] == ["launch 0", "launch 1", "land 0", "launch 2"]
    assert model.batches == [2, 1, 1]


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
    assert gate.entered.wait(PATIENCE_S)
    gate.open.set()
    batcher.close()
    assert not batcher.alive
    for future in futures[1:]:
        if error := future.exception(PATIENCE_S):
            assert isinstance(error, Problem)
            assert error.kind == "unready"
    with pytest.raises(Problem) as refusal:
        batcher.queue.submit(request(gate))
    assert refusal.value.kind == "unready"
