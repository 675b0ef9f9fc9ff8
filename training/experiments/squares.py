"""Four pixels of a square that go to those of a square, a rectangle, a diagonal or nowhere in particular."""

from __future__ import annotations

import torch

from models.discovery.pairs import Pairs

CELLS = 9
SQUARE = ((-1, -1), (-1, 1), (1, -1), (1, 1))
TARGETS = {
    "square": SQUARE,
    "rectangle": ((-1, -2), (-1, 2), (1, -2), (1, 2)),
    "diagonal": ((-2, -2), (-1, -1), (1, 1), (2, 2)),
    "random": ((-3, 1), (0, 2), (2, -2), (3, 3)),
}
"""Pixels (y, x) about the middle."""


def square_to(target: str) -> Pairs:
    """One pair of images: the square, and a target."""
    images = torch.zeros(2, 1, CELLS, CELLS, dtype=torch.float64)
    for image, pixels in zip(images, (SQUARE, TARGETS[target]), strict=True):
        for y, x in pixels:
            image[0, CELLS // 2 + y, CELLS // 2 + x] = 1
    return Pairs(images[:1], images[1:])
