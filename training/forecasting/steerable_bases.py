"""Bases of steerable kernels, from escnn (Cesa, Lang & Weiler, ICLR 2022), for `models/forecasting/steerable.py`.

Here weights are made; a frozen network needs neither this nor escnn.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import warnings
from functools import cache
from tempfile import mkdtemp
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from models.convolution import SIZE
from models.forecasting.steerable import FREQUENCY, field_size
from models.group import rotate_scalar

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from models.forecasting.steerable import Kind

PLANE = 2


@cache
def escnn() -> Any:  # noqa: ANN401 escnn is not typed
    """The library, on numpy 2, with a cache on disk that lives no longer than this process.

    Its own cache lies inside its package, for ever. Stale, that breaks equivariance silently.
    """
    import joblib  # noqa: PLC0415 it is for escnn alone

    # lie_learn's compiled code is for numpy 1. escnn has it imported, but does not call it.
    stub = ModuleType("lie_learn.representations.SO3.irrep_bases")
    stub.change_of_basis_matrix = None  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    memory = joblib.Memory(folder, verbose=0)
    with patch("joblib.Memory", lambda *_, **__: memory), warnings.catch_warnings():
        # It says that py3nj is missing.
        warnings.simplefilter("ignore")
        import escnn.nn  # noqa: PLC0415
    return escnn


def space_of(name: str) -> Any:  # noqa: ANN401
    """A group by its name, see [`field_size`][models.forecasting.steerable.field_size], as escnn has it.

    Raises:
        ValueError: for any other name.
    """
    field_size(name)
    gspaces = escnn().gspaces
    if name == "O":
        return gspaces.octaOnR3()
    if name == "SO2":
        return gspaces.rot2dOnR2(-1, maximum_frequency=FREQUENCY)
    return (gspaces.flipRot2dOnR2 if name[0] == "D" else gspaces.rot2dOnR2)(int(name[1:]))


def representation(space: Any, kind: Kind) -> Any:  # noqa: ANN401
    """How a group acts on the channels of a field, as escnn has it."""
    over = space.fibergroup
    if kind == "scalar":
        return over.trivial_representation
    if kind == "vector":
        return space.basespace_action
    if over.order() > 0:
        return over.regular_representation
    return escnn().group.directsum([over.irrep(k) for k in range(FREQUENCY + 1)])


@cache
def steerable_basis(name: str, source: Kind, target: Kind) -> Float[Tensor, "basis out in *k"]:
    """The steerable kernels of three cells from one kind of fields to another, in float64.

    Args:
        name: of the group, see [`field_size`][models.forecasting.steerable.field_size].
        source: kind of fields in.
        target: kind of fields out.
    """
    space = space_of(name)
    given, wanted = representation(space, source), representation(space, target)
    convolution = escnn().nn.R2Conv if space.dimensionality == PLANE else escnn().nn.R3Conv
    fields = [escnn().nn.FieldType(space, [each]) for each in (given, wanted)]
    layer = convolution(*fields, kernel_size=SIZE, bias=False, initialize=False)
    kernels = []
    for weights in torch.eye(len(layer.weights)):
        layer.weights.data = weights
        kernels.append(layer.expand_parameters()[0].detach().double())
    basis = _exact(torch.stack(kernels), space, given, wanted)
    ours = _ours(space)
    if target == "vector":
        basis = torch.einsum("r,br...->br...", ours, basis)
    if source == "vector":
        basis = torch.einsum("s,brs...->brs...", ours, basis)
    return basis


def _exact(basis: Tensor, space: Any, given: Any, wanted: Any) -> Tensor:  # noqa: ANN401
    """Make kernels that escnn has sampled in float32 steerable in float64.

    They are what the elements that map the grid onto itself make of them; in float64 the mean of that is what these
    elements do not change.
    """
    over, ours = space.fibergroup, _ours(space)
    total, count = torch.zeros_like(basis), 0
    for element in over.elements if over.order() > 0 else over.grid(4):
        matrix = ours[:, None] * torch.from_numpy(space.basespace_action(element)) * ours
        turn = matrix.round().long()
        if torch.allclose(matrix, turn.double()):
            out, back = torch.from_numpy(wanted(element)), torch.from_numpy(given(~element))
            total += torch.einsum("or,brs...,si->boi...", out, rotate_scalar(basis, turn), back)
            count += 1
    return total / count


def _ours(space: Any) -> Tensor:  # noqa: ANN401
    """The signs that components of escnn's vectors, along (x, -y) or (x, -y, -z), have in ours."""
    return torch.tensor([1.0, *(space.dimensionality - 1) * [-1.0]], dtype=torch.float64)
