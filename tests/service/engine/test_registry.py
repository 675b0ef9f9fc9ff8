"""Models are served in a precision that their cards allow, in batches that fit the memory."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
import torch

from models.blocks import PERIODIC
from models.catalogue import TRILINEAR, Card, Catalogue
from models.convolution import EVERYWHERE
from models.held_out import HeldOutSamples
from models.networks import Architecture, Network
from models.superresolution import SuperResolution, upscale
from models.weights import CorruptWeightsError
from service.engine.batcher import Batcher
from service.engine.device import Device, Gpu, open_device
from service.engine.engine import Engine
from service.engine.queue import Limits
from service.engine.registry import ModelRegistry, card_mismatch
from service.problems import Problem
from service.runtime.metrics import Metrics
from service.runtime.threads import Threads
from tests.service.conftest import parts
from tests.service.wire import dataset, noise, send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient

    from models.convolution import Precision

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
    HeldOutSamples(tmp_path).write("isotropic", HeldOutSamples(catalogue.folder).find("isotropic"))  # type: ignore[arg-type]
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


@pytest.mark.parametrize(("factor", "reproduced"), [(1.004, True), (1.006, False)])
def test_a_card_is_reproduced_within_half_a_percent(catalogue: Catalogue, factor: float, *, reproduced: bool) -> None:
    card, sample = catalogue.card(LEARNED), HeldOutSamples(catalogue.folder).find("isotropic")
    assert sample is not None
    promises = dataclasses.replace(card, sample={"mae_over_rms": factor * card.sample["mae_over_rms"]})
    assert (card_mismatch(catalogue.load(LEARNED), promises, sample) is None) is reproduced


def test_what_cannot_be_certified_is_served_in_float32(catalogue: Catalogue) -> None:
    made = registry(catalogue, "bfloat16")
    assert made.precisions[UNMEASURED] == made.precisions[TRILINEAR.name] == "float32"
    assert "no held-out sample" in made.warnings[UNMEASURED]
    assert TRILINEAR.name not in made.warnings
    assert not registry(catalogue, "float32").warnings


def test_a_precision_that_the_device_lacks_is_not_served(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cpu has no tf32" in registry(catalogue, "tf32").warnings[LEARNED]
    load = catalogue.load

    def without(card: Card, device: str = "cpu", precision: Precision = "float32") -> SuperResolution:
        model = load(card, device, precision)
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


@pytest.mark.parametrize(
    ("full", "errors"),
    [
        (False, [torch.OutOfMemoryError("CUDA out of memory")]),
        (False, [RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")]),
        (False, [RuntimeError("no kernel for bfloat16"), RuntimeError("CUDA is busy")]),
        (True, [RuntimeError("CUDA: GET was unable to find an engine to execute this computation")]),
    ],
)
def test_a_model_that_cannot_be_loaded_at_first_is_served_as_if_it_could(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, errors: list[RuntimeError], *, full: bool
) -> None:
    """Memory that is short for a moment changes no precision, and no warning of that moment stays."""
    made, left = ModelRegistry(catalogue, CPU, "bfloat16"), iter(errors)

    def check(*_: object) -> None:
        if error := next(left, None):
            raise error

    monkeypatch.setattr("service.engine.registry.card_mismatch", check)
    monkeypatch.setattr(CPU, "is_full", lambda: full)
    with pytest.raises(RuntimeError, match="CUDA"):
        made.get(LEARNED)
    made.get(LEARNED)
    assert made.precisions[LEARNED] == "bfloat16"
    assert not made.warnings


def test_memory_is_not_measured_while_a_model_is_loaded(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that takes would count as what the measured model takes."""

    class Measured(Gpu):
        _free = 10**9

        def __init__(self) -> None:
            Device.__init__(self, CPU.place)

        def _peak(self, model: SuperResolution, edge: int) -> int:  # noqa: ARG002 as of a GPU
            assert self.quiet.locked()
            return edge**3

    device, load = Measured(), catalogue.load
    made = ModelRegistry(catalogue, device)

    def alone(*arguments: Any) -> SuperResolution:  # noqa: ANN401 passed on
        assert device.quiet.locked()
        return load(*arguments)

    monkeypatch.setattr(catalogue, "load", alone)
    assert device.room(made.get(LEARNED)) > 1
    assert not device.quiet.locked()


def test_models_are_loaded_one_by_one_the_quickest_first(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that fails holds up no other."""
    made = ModelRegistry(catalogue, CPU)
    load = made._load

    def fail(card: Card) -> tuple[Card, SuperResolution]:
        if card.name == UNMEASURED:
            raise RuntimeError(card.name)
        return load(card)

    monkeypatch.setattr(made, "_load", fail)
    caplog.set_level("INFO", "service.engine")
    assert list(made.warm()) == [
        "trilinear-x4",
        *(name for name in catalogue.names() if name not in {"trilinear-x4", UNMEASURED}),
    ]
    assert f"trilinear-x4 is loaded: 1 of {len(catalogue.names())} models" in caplog.messages
    assert made.failures == {UNMEASURED: UNMEASURED}


@pytest.mark.parametrize(("factor", "mirrored"), [(2, False), (1, True)])
def test_a_card_is_that_of_the_model_that_is_loaded(altered: Catalogue, factor: float, *, mirrored: bool) -> None:
    """Both may be replaced after the card was read. The same weights in another architecture are another model."""
    made = ModelRegistry(altered, CPU)
    old = made.card(LEARNED)
    made.failures[LEARNED] = "torn"
    model = altered.trained(LEARNED)
    for weights in model.parameters():
        weights.data *= factor
    assert old.architecture is not None
    new = altered.save(model, dataclasses.replace(old, architecture={**old.architecture, "mirrored": mirrored}))
    engine = Engine(made, Batcher(CPU, Limits(), Metrics()), Threads(1), block=4, region=4, deadline_s=None)
    with pytest.raises(Problem, match="relaxed-isotropic-x4 was replaced meanwhile"):
        anyio.run(engine.load, old)
    assert made.card(LEARNED) == new != old
    assert anyio.run(engine.load, new) is made.get(LEARNED)
    # It is the same model, whatever was measured since its card was read, as that of a view may have been long ago.
    assert anyio.run(engine.load, dataclasses.replace(new, measured=[{"run": "other"}])) is made.get(LEARNED)
    assert not made.failures


def test_what_no_header_can_name_is_not_served(altered: Catalogue) -> None:
    (altered.folder / LEARNED).rename(altered.folder / "größer")
    made = ModelRegistry(altered, CPU)
    assert [*made.warm()] == [card.name for card in made.cards()] == [TRILINEAR.name]
    assert "name: größer; expected letters, digits" in made.failures["größer"]


def test_weights_are_those_of_the_card_that_was_read(altered: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are replaced between the reading of one and of the other."""
    read, made = altered.card, ModelRegistry(altered, CPU)
    new = dataclasses.replace(read(LEARNED), boundary=("wall", "wall", "wall"))

    def replaced(name: str) -> Card:
        card = read(name)
        altered.save(SuperResolution(Network(Architecture("relaxed", "O", 1, 1))), new)
        return card

    with monkeypatch.context() as patch:
        patch.setattr(altered, "card", replaced)
        with pytest.raises(CorruptWeightsError):
            made.get(LEARNED)
    made.get(LEARNED)
    assert made.card(LEARNED) == altered.card(LEARNED) != new


def test_a_consistency_that_breaks_is_a_fault(catalogue: Catalogue) -> None:
    """Trilinear interpolation is not consistent, which is a fault in a model whose card says that it is."""
    sample = HeldOutSamples(catalogue.folder).find("isotropic")
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
    assert ready["precisions"][LEARNED] == "bfloat16"
    assert ready["precisions"][UNMEASURED] == ready["precisions"][TRILINEAR.name] == "float32"
    assert UNMEASURED in ready["warnings"]


def test_a_view_is_of_the_precision_in_which_its_model_is_served(
    serve: Callable[..., TestClient], tmp_path: Path
) -> None:
    """Not of the setting: a service that falls back to float32 must not continue what another one began."""
    plain, fallen = (serve(data=tmp_path, precision=each) for each in ("float32", "tf32"))
    send(plain, "box", dataset(noise(3, 4, 4, 4)))

    def fingerprint(client: TestClient) -> str:
        found: str = client.get(f"/v1/views/box/{LEARNED}/zarr.json").json()["attributes"]["eddylift_fingerprint"]
        return found

    assert fingerprint(fallen) == fingerprint(plain)  # a CPU has no tf32
    parts(fallen).engine.registry.precisions[LEARNED] = "tf32"  # as on a GPU
    assert fingerprint(fallen) != fingerprint(plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_answers_of_the_cpu(catalogue: Catalogue) -> None:
    """Two batches ahead of the answers, in the order in which they were sent."""
    gpu = open_device(torch.device("cuda"))
    assert isinstance(gpu, Gpu)
    made, plain = registry(catalogue, "float32", gpu), catalogue.load(LEARNED)
    volumes = [noise(1, 3, 12, 12, 12, seed=seed) for seed in range(8)]
    with torch.inference_mode():
        pairs = [volumes[place : place + 2] for place in range(0, 8, 2)]
        landings = [gpu.launch(made.get(LEARNED), pair, EVERYWHERE) for pair in pairs]
        for pair, land in zip(pairs, landings, strict=True):
            fine, seconds = land()
            wanted, _ = CPU.launch(plain, pair, EVERYWHERE)()
            np.testing.assert_allclose(fine, wanted, rtol=0, atol=1e-4 * wanted.std())
            assert seconds > 0
    assert gpu.room(plain.to("cuda")) > 0
