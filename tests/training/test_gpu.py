"""What training does on a GPU, as far as it can be told without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

from training.__main__ import COMMANDS, main

if TYPE_CHECKING:
    import pytest


def test_float32_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)

    def run(_: object) -> int:
        assert not torch.backends.cudnn.allow_tf32
        return 0

    monkeypatch.setitem(COMMANDS, "train", SimpleNamespace(add_arguments=lambda _: None, run=run))
    assert main(["train"]) == 0
