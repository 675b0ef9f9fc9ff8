"""What training does on a GPU, as far as it can be told without one."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from models.networks import Architecture
from training.__main__ import COMMANDS, main
from training.precision import fastest_precision
from training.trainer import Recipe, Trainer, provenance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

    from training.dataset import StoredRun

SMALL = Architecture("equivariant", "O", 1, 1)


def test_float32_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)

    def run(_: object) -> int:
        assert not torch.backends.cudnn.allow_tf32
        return 0

    monkeypatch.setitem(COMMANDS, "train", SimpleNamespace(add_arguments=lambda _: None, run=run))
    assert main(["train"]) == 0


def test_too_little_memory_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> NoReturn:
        message = "CUDA out of memory. Tried to allocate 20.00 GiB."
        raise torch.OutOfMemoryError(message)

    monkeypatch.setitem(COMMANDS, "train", SimpleNamespace(add_arguments=lambda _: None, run=run))
    with pytest.raises(SystemExit) as exit_:
        main(["train"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "python -m training train: CUDA out of memory. Tried to allocate 20.00 GiB.\n"


def test_of_several_gpus_the_one_that_computes_counts(
    run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which the second one alone computes in bfloat16."""
    current = ["cuda:0"]

    @contextmanager
    def device(name: str) -> Iterator[None]:
        current.append(name)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == "cuda:1")
    assert [fastest_precision(name) for name in ("cuda:0", "cuda:1")] == ["float32", "bfloat16"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=None: f"the GPU {name or current[-1]}")
    trainer = Trainer(SMALL, Recipe(1), [run], tmp_path)
    trainer.device = "cuda:1"
    assert provenance(trainer, [run])["device"] == "the GPU cuda:1"


@pytest.mark.filterwarnings("ignore:.*no-op:UserWarning")
def test_counters_of_steps_stay_on_the_cpu(run: StoredRun, tmp_path: Path) -> None:
    """After a training was resumed, too. The device ``meta`` stands for a GPU."""
    Trainer(SMALL, Recipe(1), [run], tmp_path).run()
    again = Trainer(SMALL, Recipe(1), [run], tmp_path, "meta")
    assert again.step == 1
    states = again.optimizer.state.values()
    assert {(each["step"].device.type, each["exp_avg"].device.type) for each in states} == {("cpu", "meta")}
