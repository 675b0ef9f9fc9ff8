"""Relaxed networks that are fitted to pairs (X, Y) to see which symmetries these keep."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.activation import Activation
from models.discovery.units import over_components
from models.group import rotate_scalar, rotate_vector
from models.layers import Convolve, GroupLayer, Lift, LiftScalar, Project, ProjectScalar, SeeingLift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from models.discovery.pairs import Kind, Pairs
    from models.discovery.units import PairUnits
    from models.group import Group

HALO = 3
"""Cells around X that the answer depends on, one for each layer."""


class DiscoveryNetwork(nn.Module):
    """Three relaxed layers with [`Activation`][models.activation.Activation] between them.

    Args:
        over: the group.
        like: pairs of the kind that it maps.
        recipe: how many fields there are between the layers, and whether constant vectors count.
    """

    def __init__(self, over: Group, like: Pairs, recipe: Recipe) -> None:
        super().__init__()
        self.dimension, fields = over.dimension, recipe.fields
        inputs, outputs = like.x.shape[1], like.y.shape[1]
        lift: GroupLayer
        if like.x_kind == "vector":
            # A break may be in the response to the mean of X, such as a drag that depends on the direction of a wind.
            lift = (Lift if recipe.galilean else SeeingLift)(over, inputs // over.dimension, fields, relaxed=True)
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

    def forward(
        self, x: Float[Tensor, "pair channel *cells"], *, whole: bool = True
    ) -> Float[Tensor, "pair channel2 *fine"]:
        """The part of Y that is no copy of X, in its units.

        Args:
            x: in its units.
            whole: whether its first axis is whole, and so periodic; else it has a halo there.
        """
        lift, convolve, project = self.layers.values()
        first, second = self.activations
        circular = (whole, *(self.dimension - 1) * [True])
        answer: Tensor = project(second(convolve(first(lift(x, circular)), circular)), circular)
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
        level: p-value below which a group is taken to be broken: how often one is that all pairs keep, about.
        sigmas: where pairs are not independent, standard errors by which the share of the departures that pairs have
            in common is above zero where an element is taken to be broken, in the place of p-values of groups. Elements
            are judged one by one, so that some of many are taken to be broken by chance.
        galilean: whether a constant that is added to a vector of X counts for nothing, as in turbulence, where it only
            carries small scales along; else it counts as any other part of X.
    """

    fields: int = 4
    equivariant_steps: int = 50
    steps: int = 250
    rate: float = 0.02
    relaxation_rate: float = 0.02
    seeds: int = 3
    level: float = 0.02
    sigmas: float | None = None
    galilean: bool = False


USUAL = {2: Recipe(), 3: Recipe(fields=1, equivariant_steps=20, steps=250, rate=0.003, relaxation_rate=0.1)}
"""By dimension. In space groups are large, and atoms that move by hundredths of a cell move slow weights too little."""


def steps_of(pairs: Pairs, recipe: Recipe) -> int:
    """How many steps all fits of a discovery take."""
    return (recipe.seeds if pairs.many else 1) * recipe.equivariant_steps + recipe.steps


def operations(pairs: Pairs, over: Group, recipe: Recipe) -> int:
    """About how many products the convolutions of a discovery add up; a step backwards counts as two forwards."""
    channels, outputs = recipe.fields * over.order, math.prod(pairs.y.shape[1:]) // pairs.cells
    kernel: int = 3**pairs.dimension
    forward = pairs.count * pairs.cells * kernel * channels * (pairs.x.shape[1] + channels + outputs)
    return forward * (3 * steps_of(pairs, recipe) + over.order)


class Checkpoints:
    """Keeps the state of fits, so that a discovery that was stopped can go on; this one keeps nothing."""

    def load(self, name: str, about: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 there is none
        """The state of a fit as it was last saved; empty if it has not begun, or another one was saved.

        Args:
            name: of the fit.
            about: ``state["about"]`` of the state that is wanted: the recipe, and the shape of all weights.
        """
        return {}

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Keep the state of a fit; called after each step."""


class Fit:
    """A network fitted to pairs with relaxation weights of one, in their precision.

    Args:
        pairs: all of which count in each step: with some of them a step would break what all keep.
        units: of the pairs.
        over: the group.
        recipe: how.
        seed: of the free weights.
        progress: called after each batch.
        checkpoints: keep the state.
    """

    def __init__(
        self,
        pairs: Pairs,
        units: PairUnits,
        over: Group,
        recipe: Recipe,
        seed: int,
        progress: Callable[[], None],
        checkpoints: Checkpoints,
    ) -> None:
        self.pairs, self.over, self.recipe = pairs, over, recipe
        self.units = units
        self._progress, self._checkpoints = progress, checkpoints
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = DiscoveryNetwork(over, pairs, recipe).to(pairs.x.dtype)
        self.weights: list[Tensor] = list(self.network.relaxation.values())
        self.free: list[Tensor] = [
            each for each in self.network.parameters() if not any(each is weight for weight in self.weights)
        ]
        self._descend(f"equivariant-{seed}", [(self.free, recipe.rate)], recipe.equivariant_steps)

    def relax(self) -> None:
        """Let all weights learn; in float64, what pairs keep is kept to 1e-15."""
        rates = [(self.free, self.recipe.rate), (self.weights, self.recipe.relaxation_rate)]
        self._descend("relaxed", rates, self.recipe.steps)

    def _descend(self, name: str, rates: Sequence[tuple[Sequence[Tensor], float]], steps: int) -> None:
        optimizer = torch.optim.Adam([{"params": weights, "lr": rate} for weights, rate in rates])
        # A cosine down to a hundredth, as the last digits of the fit need small steps.
        decay = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.505 + 0.495 * math.cos(math.pi * step / max(1, steps))
        )
        parts: dict[str, Any] = {"network": self.network, "optimizer": optimizer, "decay": decay}
        shapes = {weight: list(values.shape) for weight, values in self.network.state_dict().items()}
        about = {"recipe": asdict(self.recipe), "shapes": shapes}
        if state := self._checkpoints.load(name, about):
            for part, each in parts.items():
                each.load_state_dict(state[part])
        for _ in range(decay.last_epoch, steps):
            optimizer.zero_grad()
            for x, target in self._batches():
                for loss in self._losses(x, target):
                    (loss / math.prod(self.pairs.y.shape)).backward()
            optimizer.step()
            decay.step()
            self._checkpoints.save(name, {"about": about, **{part: each.state_dict() for part, each in parts.items()}})

    def _batches(self, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """X, and the part of Y that is no copy of it, in their units."""
        units = self.units
        for x, y in self.pairs.batches(most):
            yield (x - units.x_offset) / units.x, (y - self.pairs.copied(x) - units.change_offset) / units.change

    def _answers(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """What the network makes of X, and where along the first axis of Y that is; a large X is taken in slabs."""
        rows, factor = x.shape[2], self.pairs.factor
        thick = max(1, self.pairs.batch * rows // x[:, 0].numel())
        for start in range(0, rows, thick):
            stop = min(start + thick, rows)
            whole = stop - start == rows
            slab = x if whole else x[:, :, torch.arange(start - HALO, stop + HALO) % rows]
            yield slice(factor * start, factor * stop), self.network(slab, whole=whole)
            self._progress()

    def _losses(self, x: Tensor, target: Tensor) -> Iterator[Tensor]:
        """Squared errors, in sum, slab by slab."""
        for where, answer in self._answers(x):
            yield (answer - target[:, :, where]).square().sum()

    def gradients(self) -> Float[Tensor, "pair layer element"]:
        """Of each pair's loss with respect to the relaxation weights, each layer's in units of its rms."""
        rows = []
        for x, target in self._batches(1):
            slabs = [torch.autograd.grad(loss / target.numel(), self.weights) for loss in self._losses(x, target)]
            rows.append(torch.stack([torch.cat(slab) for slab in slabs]).sum(dim=0))
        gradients = torch.stack(rows).double()
        return gradients / gradients.square().mean(dim=(0, 2), keepdim=True).sqrt().clamp_min(1e-300)

    @torch.no_grad()
    def errors(self) -> Float[Tensor, " channel"]:
        """Mean squared errors, in the units of Y; that of a vector is the mean over its components."""
        unit, pairs = self.units.change.double(), self.pairs
        gaps = (self._answer(x) - target for x, target in self._batches())
        sums = [(unit * gap).square().transpose(0, 1).flatten(1).sum(dim=1) for gap in gaps]
        errors = torch.stack(sums).sum(dim=0) * pairs.y.shape[1] / math.prod(pairs.y.shape)
        return over_components(errors, pairs.dimension) if pairs.y_kind == "vector" else errors

    @torch.no_grad()
    def equivariance_errors(self) -> list[float]:
        """||f(g X) - g f(X)|| / ||f(X)|| for each element g; the copy that is a part of f commutes with all of them.

        Each channel is in its units.
        """
        pairs, units, size = self.pairs, self.units, 0.0
        squares = torch.zeros(self.over.order, dtype=torch.float64)
        for x, _ in self._batches():
            answer = self._answer(x)
            size += float((answer + pairs.copied(units.x * x) / units.change).square().sum())
            for element, matrix in enumerate(self.over.matrices):
                gap = self._answer(_turned(x, pairs.x_kind, matrix)) - _turned(answer, pairs.y_kind, matrix)
                squares[element] += float(gap.square().sum())
        errors: list[float] = (squares / max(size, 1e-300)).sqrt().tolist()
        return errors

    def _answer(self, x: Tensor) -> Tensor:
        return torch.cat([answer for _, answer in self._answers(x)], dim=2)


def _turned(field: Tensor, kind: Kind, matrix: Tensor) -> Tensor:
    if kind == "scalar":
        return rotate_scalar(field, matrix)
    return rotate_vector(field.unflatten(1, (-1, len(matrix))), matrix).flatten(1, 2)
