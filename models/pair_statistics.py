"""What noisy pairs keep on average, read from the gradient of each pair's loss at an equivariant fit.

Turning a pair by g permutes its gradient with respect to the relaxation weights. The departure of a pair from g is its
gradient less that of the turned pair. If the pairs keep g on average, departures have a mean of zero.

- If pairs are independent, a permutation test decides (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010). If g
  is a symmetry, turning pairs at random by powers of g does not change how far their mean gradient is from invariant
  under g. The p-value is the share of random turns after which it is at least as far as for the pairs themselves.
- If they are not, such as snapshots of one run, p-values are too low, as pairs share a slow drift. Then the size of the
  effect tells more: the part of the squared departures that two pairs have in common, an intraclass correlation
  (Shrout & Fleiss, Psychol. Bull. 86, 1979). It is small for small grids too, where single pairs are noisy. How far it
  is off by chance is seen by leaving out some pairs, neighbours in time together: a jackknife, which overestimates it
  (Efron & Stein, Ann. Stat. 9, 1981).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from models.group import Group

TURNS = 2000
PARTS = 8
"""Of the pairs, in their order, of which each is left out in turn."""
ROUNDING = 1e-6


def p_values(gradients: Float[Tensor, "pair layer element"], over: Group, seed: int) -> list[float]:
    """For each element g, how often pairs turned at random by powers of g keep g no better than the pairs do."""
    generator = torch.Generator().manual_seed(seed)
    return [1.0, *(_p_value(gradients, over, g, generator) for g in range(1, over.order))]


def _p_value(gradients: Tensor, over: Group, element: int, generator: torch.Generator) -> float:
    powers = [0]
    while (power := int(over.products[element, powers[-1]])) != 0:
        powers.append(power)
    # The gradient of a pair turned by k is a(k^-1 h). The mean over k is its invariant part.
    orbit = torch.stack([gradients[:, :, over.quotients[k]] for k in powers])
    moving = (orbit - orbit.mean(dim=0)).flatten(2)
    chosen = torch.randint(len(powers), (TURNS, gradients.shape[0]), generator=generator)
    found = moving[0].sum(dim=0).norm()
    turns = nn.functional.one_hot(chosen, len(powers)).permute(0, 2, 1).flatten(1).to(moving.dtype)
    far = (turns @ moving.flatten(0, 1)).norm(dim=1) >= found * (1 - ROUNDING)
    return float((1 + far.sum()) / (1 + TURNS))


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
