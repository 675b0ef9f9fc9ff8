"""Frames of a velocity in a plane, as ``.npy`` bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.forecasting.forecaster import Units
from models.missing import MAX_SPEED
from service.formats.containers import read_npy
from service.formats.decoding import START, to_float32
from service.problems import invalid_field, too_large

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.forecasting.catalogue import ForecastCard
    from service.formats.containers import Body
    from service.settings import Settings

BOUNDARIES: Final = ("periodic", "wall")
# Velocities that vary more than so many times as much as those that a model has learned, or less, are told.
APART: Final = 10
# Units, and the numbers that a model makes of them, are within these: it computes in float32, which ends at 3e38.
LEAST: Final = 1e-30
MOST: Final = 1e30


def read_frames(body: Body, settings: Settings, card: ForecastCard, steps: int, units: Units) -> NDArray[np.float32]:
    """Read the frames, (time, 2, y, x).

    Args:
        body: that was sent.
        settings: for limits.
        card: of the model.
        steps: that are to be forecast, which count as cells of the request.
        units: of the frames.

    Raises:
        Problem: if it is no such array, does not fit the model, has values that are no velocities, or are none in these
            units, or is over a limit.
    """
    values = read_npy(body, settings)
    if values.ndim != 4 or values.shape[1] != 2 or min(values.shape) < 1:  # noqa: PLR2004 (time, component, y, x)
        raise invalid_field(field="shape", value=list(values.shape), expected="(time, 2, y, x) with components u, v")
    if len(values) < card.frames:
        raise invalid_field(field="time", value=f"{len(values)} frames", expected=f"at least {card.frames}")
    if (fixed := card.architecture["cells"]) and list(values.shape[2:]) != fixed:
        raise invalid_field(field="shape", value=list(values.shape), expected=f"(y, x) of {fixed} for {card.name}")
    cells = (len(values) + steps) * values.shape[2] * values.shape[3]
    if cells > settings.max_cells:
        raise too_large(field="shape", value=f"{cells} cells, steps included", limit=f"{settings.max_cells} cells")
    frames = np.stack([to_float32(values[:, i], name, START[1:]) for i, name in enumerate("uv")], axis=1)
    fastest = float(np.abs(frames).max()) * units.dt / units.dx
    if fastest > MAX_SPEED:
        expected = f"units in which velocities are up to {MAX_SPEED:g} cells a frame, not {fastest:.3g}"
        raise invalid_field(field="dx", value=f"{units.dx:g} beside dt {units.dt:g}", expected=expected)
    return frames


def check_speed(
    frames: NDArray[np.float32], units: Units, card: ForecastCard, sample: NDArray[np.float32]
) -> tuple[str, ...]:
    """A warning if a velocity is far from those that a model has learned, as it is where dx or dt is wrong.

    Args:
        frames: that the forecast is made from, (time, 2, y, x).
        units: of the frames.
        card: of the model.
        sample: a run like those that the model has learned, in cells a frame.
    """
    # A plume speeds up, so frames that a model is given are compared with such frames.
    given = sample[: card.frames]
    found, usual = (float(np.sqrt(each.var(axis=(0, 2, 3), dtype=np.float64).mean())) for each in (frames, given))
    found *= units.dt / units.dx
    if usual / APART <= found <= APART * usual:
        return ()
    warning = (
        f"the velocity varies by {found:.2g} cells a frame (rms), in the sample of {card.name} by {usual:.2g}: so far "
        "from what the model has learned, its forecast may be nonsense. Are dx and dt right?"
    )
    return (warning,)


def read_plane_boundary(said: str | None, usual: tuple[str, str]) -> tuple[str, str]:
    """Read the boundary of the axes (y, x); None takes the usual one.

    Raises:
        Problem: 422 if it is not ``periodic`` or ``wall``, or one of them for each axis.
    """
    if said is None:
        return usual
    names = [name.strip().lower() for name in said.split(",")]
    names = 2 * names if len(names) == 1 else names
    if len(names) != 2 or not set(names) <= set(BOUNDARIES):  # noqa: PLR2004 two axes
        expected = f"{' or '.join(BOUNDARIES)}, or one of them for each of y, x, joined by a comma"
        raise invalid_field(field="boundary", value=said, expected=expected)
    y, x = names
    return y, x


def read_units(dx: float, dt: float, nu: float, card: ForecastCard) -> Units:
    """Read the units of frames.

    Raises:
        Problem: 422 if one is not above 0 (nu: is below 0, or 0 for a model that needs it), or if a model cannot
            compute with numbers of this size.
    """
    for name, value, least in (("dx", dx, LEAST), ("dt", dt, LEAST), ("nu", nu, 0.0)):
        if not least <= value <= MOST:
            raise invalid_field(field=name, value=str(value), expected=f"a number from {least:g} to {MOST:g}")
    for name, value, least in (("dt / dx", dt / dx, LEAST), ("nu dt / dx^2", nu * dt / dx**2, 0.0)):
        if not least <= value <= MOST:
            expected = f"{name} from {least:g} to {MOST:g}, not {value:.3g}"
            raise invalid_field(field="dx", value=f"{dx:g} beside dt {dt:g} and nu {nu:g}", expected=expected)
    if nu == 0 and card.architecture["viscous"]:
        raise invalid_field(field="nu", value="0", expected=f"the viscosity, which {card.name} needs, more than 0")
    return Units(dx, dt, nu)
