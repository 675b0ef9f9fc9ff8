from __future__ import annotations

import pickle

import pytest
import torch

from models.catalogue import UnknownModelError
from models.discovery.pairs import UnfitPairsError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnknownModelError("a", ["b", "c"]), "there is no model 'a'; there are b, c"),
        (UnfitPairsError("x", torch.Size([1, 2]), "more"), "x: (1, 2); expected more"),
    ],
)
def test_errors_travel_between_processes(error: Exception, message: str) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 our own
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (message, vars(error))
