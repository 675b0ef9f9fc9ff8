"""The shipped general models on fields unlike turbulence: better than interpolation wherever that is possible."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.catalogue import Catalogue
from models.convolution import EVERYWHERE
from models.operators import FACTOR, coarsen, trilinear
from tests.models.strange import RESOLVED, UNRESOLVED

if TYPE_CHECKING:
    from models.superresolution import SuperResolution
    from tests.models.strange import Draw

WEIGHTS = Path(__file__).parents[2] / "weights"
MODELS = ["equivariant-general-x4", "equivariant-general-wide-x4", "relaxed-general-x4"]
EDGE = 32
FEW = 10
MANY = pytest.param(75, marks=pytest.mark.long)
"""Of each kind; a thousand fields in all."""


@functools.cache
def model(name: str) -> SuperResolution:
    return Catalogue(WEIGHTS).load(name)


def over_trilinear(name: str, draw: Draw, seed: int) -> float:
    """Error of a model over that of trilinear interpolation."""
    field = draw(np.random.default_rng((7, seed)), EDGE)
    fine = torch.from_numpy(field / np.sqrt(np.square(field).mean())).float()[None]
    coarse = coarsen(fine, FACTOR)
    with torch.inference_mode():
        answer = model(name)(coarse[:, None], EVERYWHERE)
    plain = trilinear(coarse, EVERYWHERE, FACTOR)
    return float((answer - fine).abs().mean() / (plain - fine).abs().mean())


@pytest.mark.parametrize("count", [2, MANY])
@pytest.mark.parametrize("draw", RESOLVED)
@pytest.mark.parametrize("name", MODELS)
def test_fields_that_coarse_cells_tell_something_of(name: str, draw: Draw, count: int) -> None:
    ratios = [over_trilinear(name, draw, seed) for seed in range(count)]
    assert np.mean(ratios) < (1.2 if count < FEW else 1)
    assert max(ratios) < 2  # a wave along the diagonal of the cells


@pytest.mark.parametrize("count", [2, MANY])
@pytest.mark.parametrize("draw", UNRESOLVED)
@pytest.mark.parametrize("name", MODELS)
def test_fields_that_coarse_cells_tell_nothing_of(name: str, draw: Draw, count: int) -> None:
    assert max(over_trilinear(name, draw, seed) for seed in range(count)) < 2.5
