"""What noisy pairs keep on the average, by their gradients alone."""

from __future__ import annotations

import pytest
import torch

from models.discovery.point_groups import generated
from models.discovery.statistics import common_shares, largest_kept, standard_errors
from models.group import group
from models.irreps import element_names


@pytest.mark.parametrize("together", [0.0, 1.0])
def test_standard_errors_are_about_the_spread_of_common_shares(together: float) -> None:
    """Over many sets of independent gradients, from a half turn that is kept, and one that is broken."""
    over, generator = group("C2", 2), torch.Generator().manual_seed(0)
    sets = torch.randn(300, 16, 1, 2, generator=generator) + torch.tensor([together, 0.0])
    shares = torch.tensor([common_shares(each, over) for each in sets])[:, 1]
    errors = torch.stack([standard_errors(each, over) for each in sets])[:, 1]
    assert float(errors.mean() / shares.std()) == pytest.approx(1, abs=0.3)
    assert together or (shares > 2 * errors).float().mean() < 0.02


@pytest.mark.parametrize("kept", [["z,y,x", "-y,x,z", "-x,y,z"], ["-y,x,z", "-x,y,z", "x,y,-z"]])
def test_a_group_that_is_kept_is_rarely_broken_by_chance_though_it_has_many_elements(kept: list[str]) -> None:
    over, generator = group("Oh"), torch.Generator().manual_seed(1)
    inside = sorted(generated(over, map(element_names(over).index, kept)))
    common = torch.randn(3, over.order, generator=generator, dtype=torch.float64)
    common = torch.stack([common[:, over.quotients[k]] for k in inside]).mean(dim=0)
    sets = common + torch.randn(30, 12, 3, over.order, generator=generator, dtype=torch.float64)
    right = [largest_kept([each], over, 0.02, [0]) == inside for each in sets]
    assert sum(right) >= 28


def test_what_is_kept_to_rounding_needs_no_test() -> None:
    over = group("C4", 2)
    round_off = 1e-15 * torch.randn(12, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert largest_kept([1 + round_off], over, 1.0, [0]) == [0]
    assert largest_kept([1 + round_off], over, 1.0, range(4)) == [0, 1, 2, 3]
