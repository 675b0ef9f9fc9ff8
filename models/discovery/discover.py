"""Which symmetries of a square or a cube pairs (X, Y) keep, read from relaxation weights of a network fitted to them.

    Y ~ copy(X) + project(act(convolve(act(lift(X)))))

Each of the three layers is a relaxed group convolution. If X and Y have the same fields, copy repeats X; else it is
left out. At the start all relaxation weights w are one and the network is equivariant. If an element g maps the set of
pairs onto itself, the loss over all pairs and its gradient are invariant under g. Then w(g h) = w(h) holds after any
number of steps, to round-off: g is kept. Elements that the pairs break change w (Wang et al., arXiv 2310.02299, section
4.1).

Noisy pairs keep a symmetry only on average. [`statistics`][models.discovery.statistics] tells that from the gradient of
each pair's loss with respect to w at the equivariant fit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from models.discovery.fit import USUAL, Checkpoints, Fit, Recipe
from models.discovery.pairs import ENOUGH_PAIRS
from models.discovery.point_groups import largest_subgroup, symbol
from models.discovery.statistics import common_shares, largest_kept, p_values, standard_errors
from models.discovery.units import PairUnits
from models.irreps import element_names, irrep_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.discovery.pairs import Pairs
    from models.group import Group

EXACT = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative differences of relaxation weights up to this count as round-off, by precision of the fit."""
ROUNDING = 1e-6
"""If copying X leaves less of the square of a channel of Y than this, there is nothing to fit."""
APART = 10
"""X and Y of one kind whose rms differs by a larger factor may be in different units."""
BETTER = 0.99
"""A channel's fit with more than this part of the squared error of trivial answers has hardly seen how Y follows."""
UNEXPLAINED = 0.01
"""Exact data whose fit leaves more than this part may break symmetries in it."""


def departures(weights: Float[Tensor, "banks element"], over: Group) -> Float[Tensor, " order"]:
    """How far w is from w(g h) = w(h), for each element g: rms over h, over the rms of w."""
    moved = (weights[:, over.products] - weights[:, None]).square().mean(dim=(0, 2))
    return (moved / weights.square().mean()).sqrt()


def kept_to_rounding(weights: Float[Tensor, "banks element"], over: Group, tolerance: float) -> list[int]:
    """Elements of the largest group of which each leaves w as it is, up to a departure; sorted."""
    far = departures(weights, over)
    return largest_subgroup(over, [g for g in far.argsort().tolist() if far[g] < tolerance])


@dataclass(frozen=True)
class LayerFinding:
    """What the relaxation weights of a layer keep.

    Attributes:
        kept: elements that leave the relaxation weights unchanged, to rounding.
        symbol: Hermann-Mauguin symbol of the group of these elements.
        irreps: share of each irrep in the squared norm of the relaxation weights.
    """

    kept: list[str]
    symbol: str
    irreps: dict[str, float]


@dataclass(frozen=True)
class Finding:
    """Which symmetries pairs keep.

    Attributes:
        group: group of the network, whose elements were tested; such as ``D4`` or ``Oh``.
        elements: its elements, each named by the image of a point.
        kept: elements of the largest subgroup that the pairs keep.
        symbol: Hermann-Mauguin symbol of the group of the kept elements.
        exact: whether the relaxation weights of all layers keep this group to rounding; otherwise the pairs keep it on
            average, also if it is the identity alone.
        tolerance: relative differences of relaxation weights that count as rounding, by precision of the pairs.
        layers: what each layer keeps, to rounding.
        moved: irreps in the relaxation weights of any layer, averaged over the kept elements.
        p_values: p-value of each element, tested with its powers; empty with too few pairs for a test.
        common: part of the departures from each element that all pairs have in common; empty likewise.
        common_errors: standard errors of ``common``; empty likewise.
        equivariance_errors: equivariance error of the fitted network for each element.
        mse, mse_zero, mse_copy: mean squared error of the fit, of predicting zero, and of copying X, over all channels
            in the units of Y; constants that are added to scalars do not count.
        unfitted: channels of Y in which the fit is hardly better than predicting zero or copying X.
        unexplained: the largest part, over channels of Y, of the squared error of the better of predicting zero and
            copying X that the fit leaves; zero where these are right to rounding.
        unlike: channels of Y whose rms is so far from that of X, of which they have a copy, that units may differ.
    """

    group: str
    elements: list[str]
    kept: list[str]
    symbol: str
    exact: bool
    tolerance: float
    layers: dict[str, LayerFinding]
    moved: list[str]
    p_values: dict[str, float]
    common: dict[str, float]
    common_errors: dict[str, float]
    equivariance_errors: dict[str, float]
    mse: float
    mse_zero: float
    mse_copy: float
    unfitted: list[int]
    unexplained: float
    unlike: list[int]

    @property
    def error_inside(self) -> float:
        """The largest equivariance error among the elements that are kept."""
        return max(self.equivariance_errors[element] for element in self.kept)

    @property
    def error_outside(self) -> float | None:
        """The smallest one among the others; None if all are kept."""
        return min((self.equivariance_errors[each] for each in self.elements if each not in self.kept), default=None)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as it is stored."""
        more = {name: getattr(self, name) for name in ("error_inside", "error_outside", "verdict")}
        return {**asdict(self), **more}

    @property
    def verdict(self) -> str:
        """What was found, how sure it is, and whether the network made anything of X."""
        how = "to rounding" if self.exact else "on the average"
        if self.exact and self.tolerance > EXACT[torch.float64]:
            how = f"to {self.tolerance:g}, as far as float32 tells"
        found = f"{self.symbol}: {len(self.kept)} of the {len(self.elements)} elements of {self.group} are kept {how}"
        if not self.p_values and len(self.kept) == 1 < len(self.elements):
            found += f"; what noisy data keep on the average is seen from {ENOUGH_PAIRS} pairs on"
        if self.p_values and not self.exact and len(self.kept) < len(self.elements):
            found += "; if the pairs are not independent, as snapshots of one run, judge by the common shares"
        if self.unfitted:
            found += (
                f". In channels {self.unfitted} of Y, counted from 0, the fit is hardly better than predicting zero "
                "or copying X: elements that count as kept may be broken"
            )
        elif self.exact and self.unexplained > UNEXPLAINED and len(self.kept) > 1:
            found += (
                f". The fit leaves {self.unexplained:.0%} of how Y differs from X, or from zero, in some channel: what "
                "breaks a symmetry there is not seen"
            )
        if self.unlike:
            found += (
                f". In channels {self.unlike} of Y, counted from 0, the rms is more than {APART} times that of X, or "
                f"less than 1/{APART}: as Y - X is fitted, this holds only if both are in the same units"
            )
        return f"{found}."


def discover(
    pairs: Pairs,
    over: Group,
    recipe: Recipe | None = None,
    progress: Callable[[], None] = lambda: None,
    checkpoints: Checkpoints = Checkpoints(),  # noqa: B008 it keeps nothing
) -> Finding:
    """Fit a relaxed network to pairs and read which symmetries they keep.

    Args:
        pairs: X and Y.
        over: the symmetries that are asked about, a named group of the pairs' dimension.
        recipe: how it is fitted; the usual way if None.
        progress: called after each batch of cells, which takes seconds at most.
        checkpoints: keep the state of the fits after each step.

    Raises:
        ValueError: if the group is of another dimension.
    """
    recipe = recipe or USUAL[pairs.dimension]
    if over.dimension != pairs.dimension:
        message = f"group must be of dimension {pairs.dimension}, as the pairs are, not {over.dimension}"
        raise ValueError(message)
    names, tolerance = element_names(over), EXACT[pairs.x.dtype]
    seeds = recipe.seeds if pairs.many else 1
    units = PairUnits.of(pairs, progress)
    fits = [Fit(pairs, units, over, recipe, seed, progress, checkpoints) for seed in range(seeds)]
    before = [fit.gradients() for fit in fits] if pairs.many else []
    fit = fits[0]
    fit.relax()
    weights = {name: each.detach().double() for name, each in fit.network.relaxation.items()}
    kept = {name: kept_to_rounding(w, over, tolerance) for name, w in weights.items()}
    exact = sorted(set.intersection(*map(set, kept.values())))
    largest, p, shares, spread = exact, torch.empty(0), torch.empty(0), torch.empty(0)
    if pairs.many:
        tests = torch.tensor([p_values(each, over, seed) for seed, each in enumerate(before)])
        p = tests.median(dim=0).values
        gradients = torch.cat(before, dim=1)
        shares, spread = torch.tensor(common_shares(gradients, over)), standard_errors(gradients, over)
        if recipe.sigmas is None:
            largest = largest_kept(before, over, recipe.level, exact)
        else:
            plausible = [g for g in shares.argsort().tolist() if shares[g] <= recipe.sigmas * spread[g]]
            largest = largest_subgroup(over, [*exact, *plausible])
    errors, trivial = fit.errors(), torch.minimum(units.y_square, units.change_square)
    left = torch.where(BETTER * trivial > ROUNDING * units.y_square, errors / trivial.clamp_min(1e-300), 0.0)
    ratio = (units.y_square / units.x_square).sqrt() if pairs.copies else torch.ones(len(errors))
    unlike = ((ratio > APART) & ratio.isfinite()) | ((ratio < 1 / APART) & (ratio > 0))
    averages = [irrep_shares(w[:, over.products[largest]].mean(dim=1), over) for w in weights.values()]
    return Finding(
        group=over.name,
        elements=names,
        kept=[names[g] for g in largest],
        symbol=symbol(over.matrices[largest]),
        # Noisy data keep the identity alone to rounding, whatever they keep on average.
        exact=largest == exact and (not pairs.many or len(exact) > 1),
        tolerance=tolerance,
        layers={
            name: LayerFinding(
                [names[g] for g in kept[name]], symbol(over.matrices[kept[name]]), irrep_shares(weights[name], over)
            )
            for name in weights
        },
        moved=[irrep for irrep in averages[0] if max(each[irrep] for each in averages) > tolerance**2],
        p_values=dict(zip(names, p.tolist(), strict=pairs.many)),
        common=dict(zip(names, shares.tolist(), strict=pairs.many)),
        common_errors=dict(zip(names, spread.tolist(), strict=pairs.many)),
        equivariance_errors=dict(zip(names, fit.equivariance_errors(), strict=True)),
        mse=float(errors.mean()),
        mse_zero=float(units.y_square.mean()),
        mse_copy=float(units.change_square.mean()),
        unfitted=(left > BETTER).nonzero().flatten().tolist(),
        unexplained=float(left.max()),
        unlike=unlike.nonzero().flatten().tolist(),
    )
