"""What noisy pairs keep on average, read from the gradient of each pair's loss at an equivariant fit.

Turning a pair by g permutes its gradient with respect to the relaxation weights. The departure of a pair from g is its
gradient less that of the turned pair. If the pairs keep g on average, departures have a mean of zero.

- If pairs are independent, a permutation test decides (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010). If they
  keep a group, turning each at random by elements of it does not change how far their mean gradient is from invariant
  under it. The p-value is the share of random turns after which it is at least as far as for the pairs themselves.
  Whole groups are tested, as the more elements are tested one by one, the more often one of them is broken by chance.
- If they are not, such as snapshots of one run, p-values are too low, as pairs share a slow drift. Then the size of the
  effect tells more: the part of the squared departures that two pairs have in common, an intraclass correlation
  (Shrout & Fleiss, Psychol. Bull. 86, 1979). It is small for small grids too, where single pairs are noisy. How far it
  is off by chance is seen by leaving out some pairs, neighbours in time together: a jackknife, which overestimates it
  (Efron & Stein, Ann. Stat. 9, 1981).
"""

from __future__ import annotations

import statistics
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.discovery.point_groups import generated, subgroups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.group import Group

TURNS = 2000
PARTS = 8
"""Of the pairs, in their order, of which each is left out in turn."""
ROUNDING = 1e-6


def p_value(gradients: Float[Tensor, "pair layer element"], over: Group, inside: Iterable[int], seed: int) -> float:
    """How often pairs turned at random by elements of a subgroup keep it no better than the pairs do."""
    # The gradient of a pair turned by k is a(k^-1 h). The mean over k is its invariant part.
    orbit = torch.stack([gradients[:, :, over.quotients[k]] for k in sorted(inside)])
    moving = (orbit - orbit.mean(dim=0)).flatten(2)
    turns, pairs, _ = moving.shape
    chosen = torch.randint(turns, (TURNS, pairs), generator=torch.Generator().manual_seed(seed))
    turned = nn.functional.embedding_bag(pairs * chosen + torch.arange(pairs), moving.flatten(0, 1), mode="sum")
    far = turned.norm(dim=1) >= moving[0].sum(dim=0).norm() * (1 - ROUNDING)
    return float((1 + far.sum()) / (1 + TURNS))


def p_values(gradients: Float[Tensor, "pair layer element"], over: Group, seed: int) -> list[float]:
    """The p-value of each element: that of the group of its powers."""
    return [p_value(gradients, over, generated(over, [g]), seed) for g in range(over.order)]


def largest_kept(
    fits: Sequence[Float[Tensor, "pair layer element"]], over: Group, level: float, exact: Sequence[int]
) -> list[int]:
    """The largest subgroup whose p-value is at least a level, sorted; of several, that of the highest p-value.

    The group that pairs do keep is missed if its own p-value is below the level, so in about this share of cases.

    Args:
        fits: gradients of several fits, over which p-values are medians.
        over: the symmetries that are asked about.
        level: see above.
        exact: elements that are kept to rounding, and need no test.
    """

    def median(inside: frozenset[int]) -> float:
        if inside <= {*exact}:
            return 1.0
        return statistics.median(p_value(each, over, inside, seed) for seed, each in enumerate(fits))

    for _, alike in groupby(subgroups(over), key=len):
        p, kept = max((median(inside), sorted(inside)) for inside in alike)
        if p >= level:
            return kept
    return [0]


def common_shares(gradients: Float[Tensor, "pair layer element"], over: Group) -> list[float]:
    """For each element g, the mean product of the departures of two pairs over the mean square of those of one.

    It is one where all pairs depart alike, about zero where g is kept on the average, and zero for the identity.
    """
    shares = [0.0]
    for turned in over.quotients[1:]:
        departures = (gradients - gradients[:, :, turned]).flatten(1)
        products = departures @ departures.T
        square = products.trace()
        common = (products.sum() - square) / (len(products) - 1)
        shares.append(float(common / square.clamp_min(1e-300)))
    return shares


def standard_errors(gradients: Float[Tensor, "pair layer element"], over: Group) -> Float[Tensor, " order"]:
    """Of the common share of each element, from those that are found without an eighth of the pairs."""
    parts = gradients.tensor_split(PARTS)
    without = [torch.cat([*parts[:left], *parts[left + 1 :]]) for left in range(PARTS)]
    shares = torch.tensor([common_shares(rest, over) for rest in without])
    return ((PARTS - 1) * shares.var(dim=0, correction=0)).sqrt()
