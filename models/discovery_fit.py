"""Relaxed networks that are fitted to pairs (X, Y) to see which symmetries these keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.activation import Activation
from models.group import rotate_scalar, rotate_vector
from models.layers import Convolve, GroupLayer, Lift, LiftScalar, Project, ProjectScalar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.group import Group
    from models.pairs import Kind, Pairs


class DiscoveryNetwork(nn.Module):
    """Three relaxed layers with [`Activation`][models.activation.Activation] between them.

    Args:
        over: the group.
        like: pairs of the kind that it maps.
        fields: regular fields between the layers.
    """

    def __init__(self, over: Group, like: Pairs, fields: int) -> None:
        super().__init__()
        self.circular = over.dimension * (True,)
        inputs, outputs = like.x.shape[1], like.y.shape[1]
        lift: GroupLayer
        if like.x_kind == "vector":
            lift = Lift(over, inputs // over.dimension, fields, relaxed=True)
        else:
            lift = LiftScalar(over, inputs, fields, relaxed=True)
        project: GroupLayer
        if like.y_kind == "vector":
            project = Project(over, fields, outputs // over.dimension, relaxed=True, factor=like.factor)
        else:
            project = ProjectScalar(over, fields, outputs, relaxed=True, factor=like.factor)
        project.psi.data *= 0.1
        self.layers = nn.ModuleDict(
            {"lift": lift, "convolve": Convolve(over, fields, fields, relaxed=True), "project": project}
        )
        self.activations = nn.ModuleList([Activation(over, fields), Activation(over, fields)])

    def forward(self, x: Float[Tensor, "pair channel *cells"]) -> Float[Tensor, "pair channel2 *fine"]:
        """The part of Y that is no copy of X, in units of its rms."""
        lift, convolve, project = self.layers.values()
        first, second = self.activations
        answer: Tensor = project(second(convolve(first(lift(x, self.circular)), self.circular)), self.circular)
        return answer

    @property
    def relaxation(self) -> dict[str, Tensor]:
        """The relaxation weights of each layer, (1, element)."""
        return {name: cast("Tensor", layer.relaxation) for name, layer in self.layers.items()}


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted.

    Attributes:
        fields: regular fields between layers.
        equivariant_steps: of Adam with all relaxation weights one.
        steps: of Adam with all weights learning, after these.
        rate: the highest learning rate.
        relaxation_rate: that of the relaxation weights; where what breaks a symmetry is small, they learn slowly.
        seeds: equivariant fits with weights of their own, if there are pairs enough for p-values, which are medians
            over them; all else is of the first.
        level: p-value below which an element is taken to be broken.
        common: where pairs are not independent, share of the departures that pairs have in common above which an
            element is taken to be broken, in the place of its p-value.
    """

    fields: int = 4
    equivariant_steps: int = 50
    steps: int = 250
    rate: float = 0.02
    relaxation_rate: float = 0.02
    seeds: int = 3
    level: float = 0.02
    common: float | None = None


USUAL = {2: Recipe(), 3: Recipe(fields=1, equivariant_steps=20, steps=250, rate=0.003, relaxation_rate=0.1)}
"""By dimension. In space groups are large, and atoms that move by hundredths of a cell move slow weights too little."""


def operations(pairs: Pairs, over: Group, recipe: Recipe) -> int:
    """About how many products the convolutions of a discovery add up; a step backwards counts as two forwards."""
    cells = pairs.x[0, 0].numel()
    channels, outputs = recipe.fields * over.order, pairs.y[0].numel() // cells
    kernel: int = 3**pairs.dimension
    forward = len(pairs.x) * cells * kernel * channels * (pairs.x.shape[1] + channels + outputs)
    extra = (recipe.seeds - 1) * recipe.equivariant_steps if pairs.many else 0
    return forward * (3 * (recipe.equivariant_steps + recipe.steps + extra) + over.order)


class Fit:
    """A network fitted to pairs with relaxation weights of one, in their precision.

    Args:
        pairs: all of which make one batch: with some of them a step would break what all keep.
        over: the group.
        recipe: how.
        seed: of the free weights.
        progress: called after each step.
    """

    def __init__(
        self, pairs: Pairs, over: Group, recipe: Recipe, seed: int, progress: Callable[[], None] = lambda: None
    ) -> None:
        self.pairs, self.over = pairs, over
        self.x = pairs.x / rms(pairs.x)
        self.copied = pairs.copied()
        change = pairs.y - self.copied
        self.unit = rms(change)
        self.target = change / self.unit
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = DiscoveryNetwork(over, pairs, recipe.fields).to(pairs.x.dtype)
        self.weights: list[Tensor] = list(self.network.relaxation.values())
        self.free: list[Tensor] = [
            each for each in self.network.parameters() if not any(each is weight for weight in self.weights)
        ]
        self._descend([(self.free, recipe.rate)], recipe.equivariant_steps, progress)

    def relax(self, recipe: Recipe, progress: Callable[[], None] = lambda: None) -> None:
        """Let all weights learn; in float64, what pairs keep is kept to 1e-15."""
        rates = [(self.free, recipe.rate), (self.weights, recipe.relaxation_rate)]
        self._descend(rates, recipe.steps, progress)

    def _descend(
        self, rates: Sequence[tuple[Sequence[Tensor], float]], steps: int, progress: Callable[[], None]
    ) -> None:
        optimizer = torch.optim.Adam([{"params": weights, "lr": rate} for weights, rate in rates])
        # A cosine down to a hundredth, as the last digits of the fit need small steps.
        decay = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.505 + 0.495 * math.cos(math.pi * step / max(1, steps))
        )
        for _ in range(steps):
            optimizer.zero_grad()
            (self.network(self.x) - self.target).square().mean().backward()
            optimizer.step()
            decay.step()
            progress()

    def gradients(self) -> Float[Tensor, "pair layer element"]:
        """Of each pair's loss with respect to the relaxation weights, each layer's in units of its rms."""
        rows = []
        for x, target in zip(self.x.split(1), self.target.split(1), strict=True):
            loss = (self.network(x) - target).square().mean()
            rows.append(torch.cat(torch.autograd.grad(loss, self.weights)))
        gradients = torch.stack(rows).double()
        return gradients / gradients.square().mean(dim=(0, 2), keepdim=True).sqrt().clamp_min(1e-300)

    @torch.no_grad()
    def answer(self, x: Tensor | None = None) -> Tensor:
        """What the network makes of X, or of another x, without the part that is a copy."""
        answer: Tensor = self.network(self.x if x is None else x) * self.unit
        return answer

    def error(self) -> float:
        """Mean squared error, in the units of Y."""
        return float((self.answer() + self.copied - self.pairs.y).square().mean())

    def equivariance_errors(self) -> list[float]:
        """||f(g X) - g f(X)|| / ||f(X)|| for each element; the copy that is a part of f commutes with all of them."""
        answer = self.answer()
        scale = (answer + self.copied).norm().clamp_min(1e-300)
        return [
            float((self.answer(_turned(self.x, self.pairs.x_kind, matrix)) - turned).norm() / scale)
            for matrix in self.over.matrices
            for turned in [_turned(answer, self.pairs.y_kind, matrix)]
        ]


def rms(values: Tensor) -> Tensor:
    """Root mean square, and one for zeros, so that it can be divided by."""
    rms = values.square().mean().sqrt()
    return rms if rms > 0 else torch.ones_like(rms)


def _turned(field: Tensor, kind: Kind, matrix: Tensor) -> Tensor:
    if kind == "scalar":
        return rotate_scalar(field, matrix)
    return rotate_vector(field.unflatten(1, (-1, len(matrix))), matrix).flatten(1, 2)
