"""What a canvas shows, and what it should: the colours of cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from service.settings import CHECKOUT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Locator

# The largest square in the middle of a canvas, read in the middle of each of its cells.
PICTURE = """(canvas, cells) => {
    const { width, height } = canvas;
    const side = Math.min(width, height);
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    const place = (all, cell) => Math.floor((all - side) / 2 + (cell + 0.5) * side / cells);
    const found = [];
    for (let row = cells - 1; row >= 0; row--)
        for (let column = 0; column < cells; column++) {
            const at = 4 * (place(height, row) * width + place(width, column));
            found.push(...pixels.slice(at, at + 3));
        }
    return found;
}"""


# The smallest box around what is drawn on a canvas.
DRAWN = """canvas => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let y = 0, at = 3; y < height; y++)
        for (let x = 0; x < width; x++, at += 4)
            if (data[at]) {
                [left, top] = [Math.min(left, x), Math.min(top, y)];
                [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
            }
    return [left, top, right, bottom];
}"""


def picture(canvas: Locator, cells: int) -> NDArray[np.int64]:
    """Colours of the cells of a square plane, (row, column, 3), row 0 at the bottom."""
    return np.array(canvas.evaluate(PICTURE, cells)).reshape(cells, cells, 3)


def drawn(canvas: Locator) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is drawn on a canvas, in its pixels."""
    left, top, right, bottom = canvas.evaluate(DRAWN)
    return left, top, right, bottom


def diverging(values: NDArray[np.float32], most: float) -> NDArray[np.float64]:
    """The colours of the page's map from -most to most."""
    source = (CHECKOUT / "web/src/colours.ts").read_text()
    stops = bytes.fromhex(re.findall(r'DIVERGING =\s+"([0-9a-f]+)"', source)[0])
    table = np.frombuffer(stops, np.uint8).reshape(-1, 3)
    place = np.clip(np.round((values + most) * 255 / (2 * most)), 0, 255) / 255 * (len(table) - 1)
    channels = [np.interp(place, np.arange(len(table)), table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1)
