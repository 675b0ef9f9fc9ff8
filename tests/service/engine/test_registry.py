"""Models are served in a precision that their cards allow, in batches that fit the memory."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.catalogue import TRILINEAR, Catalogue
from models.layers import EVERYWHERE
from models.superresolution import SuperResolution, upscale
from service.engine.device import Device, Gpu, open_device
from service.engine.registry import PORTION, ModelRegistry, card_mismatch
from tests.service.conftest import parts
from tests.service.wire import noise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.layers import Precision

LEARNED = "relaxed-isotropic-x4"
UNMEASURED = "conv-isotropic-x4-3frames"
CPU = Device(torch.device("cpu"))
rounds = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU does not compute in bfloat16"
)


@pytest.fixture
def altered(catalogue: Catalogue, tmp_path: Path) -> Catalogue:
    """The same models, with a card that promises a tenth more error."""
    copy = Catalogue(tmp_path)
    copy.save(catalogue.trained(LEARNED), catalogue.card(LEARNED))
    copy.write_held_out("isotropic", catalogue.held_out("isotropic"))  # type: ignore[arg-type]
    card = catalogue.card(LEARNED)
    error = 1.1 * card.sample["mae_over_rms"]
    copy.write(dataclasses.replace(card, sample={"mae_over_rms": error}))
    return copy


def registry(catalogue: Catalogue, precision: Precision, device: Device = CPU) -> ModelRegistry:
    made = ModelRegistry(catalogue, device, precision)
    assert list(made.warm())
    assert not made.failures
    return made


@rounds
def test_a_model_that_keeps_to_its_card_is_served_in_bfloat16(catalogue: Catalogue) -> None:
    made = registry(catalogue, "bfloat16")
    assert made.precisions[LEARNED] == "bfloat16"
    assert LEARNED not in made.warnings
    volume = noise(3, 8, 8, 8)
    exact, rounded = (upscale(model, volume, PERIODIC) for model in (catalogue.load(LEARNED), made.get(LEARNED)))
    assert rounded.dtype == np.float32
    difference = np.abs(exact - rounded).max() / exact.std()
    assert 1e-7 < difference < 1e-2
    # The consistency step is not rounded.
    means = rounded.reshape(3, 8, 4, 8, 4, 8, 4).mean(axis=(2, 4, 6))
    np.testing.assert_allclose(means, volume, rtol=0, atol=1e-5 * volume.std())


@rounds
def test_a_model_that_does_not_is_served_in_float32(altered: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = registry(altered, "bfloat16")
    assert made.precisions[LEARNED] == "float32"
    assert "not served in bfloat16 but in float32: its MAE over rms is" in made.warnings[LEARNED]
    # It is not what its card says in float32 either.
    assert "not what its card says" in made.warnings[LEARNED]
    assert "not served in bfloat16" in caplog.text
    volume = noise(3, 8, 8, 8)
    np.testing.assert_array_equal(
        upscale(made.get(LEARNED), volume, PERIODIC), upscale(altered.load(LEARNED), volume, PERIODIC)
    )


def test_what_cannot_be_certified_is_served_in_float32(catalogue: Catalogue) -> None:
    made = registry(catalogue, "bfloat16")
    assert made.precisions[UNMEASURED] == made.precisions[TRILINEAR.name] == "float32"
    assert "no held-out sample" in made.warnings[UNMEASURED]
    assert TRILINEAR.name not in made.warnings
    assert not registry(catalogue, "float32").warnings


def test_a_precision_that_the_device_lacks_is_not_served(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cpu has no tf32" in registry(catalogue, "tf32").warnings[LEARNED]
    load = catalogue.load

    def without(name: str, device: str = "cpu", precision: Precision = "float32") -> SuperResolution:
        model = load(name, device, precision)
        if precision == "bfloat16":
            model.register_forward_pre_hook(lambda *_: lacks())
        return model

    def lacks() -> None:
        message = "no kernel for bfloat16"
        raise RuntimeError(message)

    monkeypatch.setattr(catalogue, "load", without)
    made = registry(catalogue, "bfloat16")
    assert made.precisions[LEARNED] == "float32"
    assert made.warnings[LEARNED].endswith("no kernel for bfloat16")


def test_models_are_loaded_one_by_one_the_quickest_first(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that fails holds up no other."""
    made = ModelRegistry(catalogue, CPU)
    load = made._load

    def fail(name: str) -> SuperResolution:
        if name == UNMEASURED:
            raise RuntimeError(name)
        return load(name)

    monkeypatch.setattr(made, "_load", fail)
    caplog.set_level("INFO", "service.engine")
    assert list(made.warm()) == ["trilinear-x4", LEARNED]
    assert "trilinear-x4 is loaded: 1 of 3 models" in caplog.messages
    assert made.failures == {UNMEASURED: UNMEASURED}


def test_a_consistency_that_breaks_is_a_fault(catalogue: Catalogue) -> None:
    """Trilinear interpolation is not consistent, which is a fault in a model whose card says that it is."""
    sample = catalogue.held_out("isotropic")
    assert sample is not None
    model = SuperResolution()
    card = dataclasses.replace(TRILINEAR, sample={"mae_over_rms": 1.0})
    found = card_mismatch(model, card, sample, tolerance=0.9)
    assert found is None
    found = card_mismatch(model, dataclasses.replace(card, consistent=True), sample, tolerance=0.9)
    assert found is not None
    assert found.startswith("its consistency is 0.")


@rounds
def test_clients_are_told_the_precision(serve: Callable[..., TestClient]) -> None:
    client = serve(precision="bfloat16")
    answer = client.post(f"/v1/models/{LEARNED}/validate").json()
    assert answer["precision"] == "bfloat16"
    assert answer["reproduced"]
    ready = client.get("/health/ready").json()
    assert ready["precisions"] == {LEARNED: "bfloat16", UNMEASURED: "float32", TRILINEAR.name: "float32"}
    assert [*ready["warnings"]] == [UNMEASURED]


def test_a_batch_of_as_many_cells_as_there_is_room_for_fits(catalogue: Catalogue) -> None:
    class Small(Device):
        free = 40_000_000

    made = registry(catalogue, "float32", Small(torch.device("cpu")))
    for name in catalogue.names():
        model = made.get(name)
        blocks = made.room[name] // 12**3
        coarse = torch.zeros(blocks, model.frames, 3, 12, 12, 12)
        with torch.inference_mode():
            taken = CPU.peak(lambda coarse=coarse: model(coarse, EVERYWHERE))  # type: ignore[misc] # noqa: B023
        # The narrower a block, the more of its memory is a halo: the estimate, from wider ones, errs to the safe side.
        assert 0.8 < taken / (PORTION * Small.free) < 1.05


def test_batches_heed_the_room(serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "free", 10_000_000)
    service = parts(serve())
    assert service.engine.batcher.room[LEARNED] == service.engine.registry.room[LEARNED] < 10_000


def test_memory_is_counted_at_its_peak() -> None:
    def run() -> None:
        first = torch.zeros(1000)
        second = first + 1
        view = second[10:]
        del first, second
        assert view.sum() + torch.zeros(500).sum() == 990

    assert CPU.peak(run) == 8000


def test_free_memory_is_told_where_the_system_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr("service.engine.device.MEMORY", meminfo)
    monkeypatch.setattr("service.engine.device.GROUP", tmp_path)

    def free() -> int | None:
        return CPU.free

    assert free() is None
    meminfo.write_text("MemTotal:       32 kB\nMemAvailable:   20 kB\n")
    assert free() == 20 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free() == 20 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert free() == 4000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_answers_of_the_cpu(catalogue: Catalogue) -> None:
    """Two batches ahead of the answers, in the order in which they were sent."""
    gpu = open_device(torch.device("cuda"))
    assert isinstance(gpu, Gpu)
    made, plain = registry(catalogue, "float32", gpu), catalogue.load(LEARNED)
    volumes = [noise(1, 3, 12, 12, 12, seed=seed) for seed in range(8)]
    rest: tuple[Any, ...] = np.zeros((2, 3), np.float32), np.ones(2, np.float32), EVERYWHERE
    with torch.inference_mode():
        pairs = [volumes[place : place + 2] for place in range(0, 8, 2)]
        landings = [gpu.launch(made.get(LEARNED), pair, *rest) for pair in pairs]
        for pair, land in zip(pairs, landings, strict=True):
            fine, seconds = land()
            wanted, _ = CPU.launch(plain, pair, *rest)()
            np.testing.assert_allclose(fine, wanted, rtol=0, atol=1e-4 * wanted.std())
            assert seconds > 0
    assert made.room[LEARNED] > 0
