"""Moments of parts are those of the whole."""

from __future__ import annotations

import pytest
import torch

from models.metrics.moments import Moments


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("parts", [[1000], [1, 999], [300, 0, 7, 693], [10] * 100])
def test_parts_give_the_moments_of_the_whole(parts: list[int], offset: float) -> None:
    samples = torch.randn(2, 1000, generator=torch.Generator().manual_seed(5), dtype=torch.float64).exp()
    centred = samples - samples.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1)
    moments = Moments(order=4)
    for part in samples.split(parts, dim=1):
        # Rms 2, so the mean is many times as large.
        moments.add(part + offset)
    assert moments.count == 1000
    torch.testing.assert_close(moments.mean, samples.mean(dim=1) + offset, rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(moments.skewness, centred.pow(3).mean(dim=1) / variance.pow(1.5), rtol=1e-9, atol=0)
    torch.testing.assert_close(moments.flatness, centred.pow(4).mean(dim=1) / variance.square(), rtol=1e-9, atol=0)
    torch.testing.assert_close(moments.rms, variance.mean().sqrt(), rtol=1e-9, atol=0)


def test_parts_with_means_far_apart() -> None:
    samples = torch.arange(60, dtype=torch.float64).square()[None]
    moments = Moments(order=4)
    for part in samples.split([11, 30, 19], dim=1):
        moments.add(part)
    centred = samples - samples.mean()
    scale = centred.square().mean()
    assert float(moments.variance) == pytest.approx(float(scale), rel=1e-12)
    assert float(moments.skewness) == pytest.approx(float(centred.pow(3).mean() / scale**1.5), rel=1e-12)
    assert float(moments.flatness) == pytest.approx(float(centred.pow(4).mean() / scale**2), rel=1e-12)
