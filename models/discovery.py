"""Which symmetries of a square or a cube pairs (X, Y) keep, read from relaxation weights of a network fitted to them.

    Y ~ copy(X) + project(act(convolve(act(lift(X)))))

Each of the three layers is a relaxed group convolution; copy repeats X where Y has the same fields, and is absent else.
At first all relaxation weights w are one and the network is equivariant. The loss over all pairs is invariant under an
element g that maps the set of pairs onto itself, and then so is its gradient: w(g h) = w(h) stays true for ever, and g
is kept to rounding. Elements that the pairs break move w (Wang et al., arXiv 2310.02299, section 4.1).

Many noisy pairs keep a symmetry just on the average. What tells is then the gradient of each pair with respect to w at
the equivariant fit, as turning a pair by g permutes its gradient: under a symmetry, pairs turned at random by powers of
g have mean gradients that are as far from invariant as that of the pairs themselves. The share of such turns that are
at least as far is the p-value of g, a permutation test (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.group import rotate_scalar, rotate_vector
from models.irreps import element_names, irrep_shares
from models.layers import Activation, Convolve, GroupLayer, Lift, LiftScalar, Project, ProjectScalar
from models.point_groups import largest_subgroup, symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.group import Group
    from models.pairs import Kind, Pairs

EXACT = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative difference of relaxation weights that is taken for rounding, by what the fit computes in."""
TURNS = 2000
ROUNDING = 1e-6


class DiscoveryNetwork(nn.Module):
    """Three relaxed layers with [`Activation`][models.layers.Activation] between them.

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
    """

    fields: int = 4
    equivariant_steps: int = 50
    steps: int = 250
    rate: float = 0.02
    relaxation_rate: float = 0.02
    seeds: int = 3
    level: float = 0.02


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
        self.x = pairs.x / _rms(pairs.x)
        self.copied = pairs.copied()
        change = pairs.y - self.copied
        self.unit = _rms(change)
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


def _rms(values: Tensor) -> Tensor:
    rms = values.square().mean().sqrt()
    return rms if rms > 0 else torch.ones_like(rms)


def _turned(field: Tensor, kind: Kind, matrix: Tensor) -> Tensor:
    if kind == "scalar":
        return rotate_scalar(field, matrix)
    return rotate_vector(field.unflatten(1, (-1, len(matrix))), matrix).flatten(1, 2)


def departures(weights: Float[Tensor, "banks element"], over: Group) -> Float[Tensor, " order"]:
    """How far w is from w(g h) = w(h), for each element g: rms over h, over the rms of w."""
    return (weights[:, over.products] - weights[:, None]).square().mean(dim=(0, 2)).sqrt() / _rms(weights)


def p_values(gradients: Float[Tensor, "pair layer element"], over: Group, seed: int) -> list[float]:
    """For each element g, how often pairs turned at random by powers of g keep g no better than the pairs do."""
    generator = torch.Generator().manual_seed(seed)
    return [1.0, *(_p_value(gradients, over, g, generator) for g in range(1, over.order))]


def _p_value(gradients: Tensor, over: Group, element: int, generator: torch.Generator) -> float:
    powers = [0]
    while (power := int(over.products[element, powers[-1]])) != 0:
        powers.append(power)
    # The gradient of a pair turned by k is a(k^-1 h); in the spectrum of these along k, what g keeps is the mean.
    orbit = torch.stack([gradients[:, :, over.quotients[k]] for k in powers])
    moving = (orbit - orbit.mean(dim=0)).flatten(2)
    chosen = torch.randint(len(powers), (TURNS, gradients.shape[0]), generator=generator)
    found = moving[0].sum(dim=0).norm()
    turns = nn.functional.one_hot(chosen, len(powers)).permute(0, 2, 1).flatten(1).to(moving.dtype)
    far = (turns @ moving.flatten(0, 1)).norm(dim=1) >= found * (1 - ROUNDING)
    return float((1 + far.sum()) / (1 + TURNS))


@dataclass(frozen=True)
class LayerFinding:
    """What the relaxation weights of a layer keep.

    Attributes:
        kept: elements that leave them as they are to rounding.
        symbol: of the group that these are.
        irreps: share of each irrep in their squared norm.
    """

    kept: list[str]
    symbol: str
    irreps: dict[str, float]


@dataclass(frozen=True)
class Finding:
    """Which symmetries pairs keep.

    Attributes:
        group: of the network, ``D4`` or ``Oh`` for example.
        elements: of it, by where they take a point.
        kept: elements of the largest subgroup that is kept.
        symbol: its Hermann-Mauguin symbol.
        exact: whether it is kept to rounding, in all layers; otherwise by its p-values.
        layers: what each layer keeps to rounding.
        moved: irreps in which the relaxation weights of any layer, averaged over the elements that are kept, moved.
        p_values: of each element; empty with too few pairs for a test.
        equivariance_errors: of the fitted network, for each element.
        mse, mse_zero, mse_copy: mean squared error of the fit, of predicting nothing, and of copying X.
    """

    group: str
    elements: list[str]
    kept: list[str]
    symbol: str
    exact: bool
    layers: dict[str, LayerFinding]
    moved: list[str]
    p_values: dict[str, float]
    equivariance_errors: dict[str, float]
    mse: float
    mse_zero: float
    mse_copy: float


def discover(
    pairs: Pairs, over: Group, recipe: Recipe | None = None, progress: Callable[[], None] = lambda: None
) -> Finding:
    """Fit a relaxed network to pairs and read which symmetries they keep.

    Args:
        pairs: X and Y.
        over: the symmetries that are asked about, a named group of the pairs' dimension.
        recipe: how it is fitted.
        progress: called after each step of each fit.

    Raises:
        ValueError: if the group is of another dimension.
    """
    recipe = recipe or Recipe()
    if over.dimension != pairs.dimension:
        message = f"group must be of dimension {pairs.dimension}, as the pairs are, not {over.dimension}"
        raise ValueError(message)
    names, tolerance = element_names(over), EXACT[pairs.x.dtype]
    fits = [Fit(pairs, over, recipe, seed, progress) for seed in range(recipe.seeds if pairs.many else 1)]
    before = [fit.gradients() for fit in fits] if pairs.many else []
    fit = fits[0]
    fit.relax(recipe, progress)
    weights = {name: each.detach().double() for name, each in fit.network.relaxation.items()}
    kept = {name: (departures(w, over) < tolerance).nonzero().flatten().tolist() for name, w in weights.items()}
    exact = sorted(set.intersection(*map(set, kept.values())))
    largest, p = exact, torch.empty(0)
    if pairs.many:
        tests = torch.tensor([p_values(gradients, over, seed) for seed, gradients in enumerate(before)])
        p = tests.median(dim=0).values
        plausible = [g for g in p.argsort(descending=True).tolist() if p[g] >= recipe.level]
        largest = largest_subgroup(over, [*exact, *plausible])
    averaged = [irrep_shares(w[:, over.products[largest]].mean(dim=1), over) for w in weights.values()]
    return Finding(
        group=over.name,
        elements=names,
        kept=[names[g] for g in largest],
        symbol=symbol(over.matrices[largest]),
        exact=largest == exact,
        layers={
            name: LayerFinding(
                [names[g] for g in kept[name]], symbol(over.matrices[kept[name]]), irrep_shares(weights[name], over)
            )
            for name in weights
        },
        moved=[irrep for irrep in averaged[0] if max(shares[irrep] for shares in averaged) > tolerance**2],
        p_values=dict(zip(names, p.tolist(), strict=pairs.many)),
        equivariance_errors=dict(zip(names, fit.equivariance_errors(), strict=True)),
        mse=fit.error(),
        mse_zero=float(pairs.y.square().mean()),
        mse_copy=float((fit.copied - pairs.y).square().mean()),
    )
