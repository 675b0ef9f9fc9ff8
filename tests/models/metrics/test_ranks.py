"""Ranks depend on the order alone, and not on the places of equal values."""

from __future__ import annotations

import pytest
import torch

from models.metrics.ranks import rank_correlation


def test_rank_correlation_is_of_the_order_alone() -> None:
    rising = torch.tensor([0.0, 1.0, 5.0, 100.0])
    assert rank_correlation(rising, rising.exp()) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    assert rank_correlation(rising, torch.tensor([1.0, 0.0, 2.0, 3.0])) == pytest.approx(0.8)


def test_equal_values_have_the_mean_of_their_ranks() -> None:
    """1.5, 1.5, 3, 4 and 1, 3, 3, 3: product 2, squares 4.5 and 3."""
    a, b = torch.tensor([0.0, 0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    assert rank_correlation(a, b) == pytest.approx(2 / (4.5 * 3) ** 0.5)
