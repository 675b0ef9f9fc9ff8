"""References: true fine volumes that answers are compared with."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import torch
import xarray as xr

from models.ends import check_on_walls
from models.operators import coarsen
from service.formats.decoding import load
from service.formats.field_checks import check_ends
from service.formats.grid import Grid, check_axis_units, check_known, finer, rounding, spacing
from service.formats.names import AXES, TIME
from service.formats.units import same_units
from service.problems import invalid_field, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.blocks import Boundaries
    from models.catalogue import Card
    from models.ends import FieldSummary
    from service.formats.volume import Volume


# Rms of the difference between coarse values and the block means of a reference, relative to how the means vary.
APART: Final = 0.01
# Of means in single precision, relative to the largest one.
ROUNDING: Final = 1e-6
# Coordinates of a reference may be so far from the centres of the fine cells, in fine spacings.
TOLERANCE: Final = 0.05


class Compared(Grid, Protocol):
    """A coarse volume or a reference, in memory or stored."""

    @property
    def levels(self) -> int:
        """Number of times."""

    @property
    def units(self) -> object:
        """Attribute of the velocity; None if there is none."""

    @property
    def rest(self) -> xr.Dataset:
        """All that came with the velocity, in memory."""

    @property
    def summary(self) -> FieldSummary:
        """See [`summarise`][service.formats.field_checks.summarise]."""


def require_fit(coarse: Compared, reference: Compared, card: Card, boundary: Boundaries) -> None:
    """Refuse a reference that the answer to a coarse volume cannot be compared with.

    Args:
        coarse: what the answer is made from, with as many times as the model takes.
        reference: the true fine volume.
        card: of the model.
        boundary: what lies beyond the ends of each axis (z, y, x).

    Raises:
        Problem: "unfit" if its ends do not fit the boundary, its cells are not the fine ones, its units or times are
            others, the axes have different units, or it has another number of times than the answer and the coarse
            volume.
    """
    _require_own_ends(reference, boundary)
    check_pair(coarse, reference, card.factor)
    check_units(coarse.units, reference.units)
    check_lengths(coarse.rest, reference.rest)
    _require_levels(reference.levels, coarse.levels, card.frames)
    check_moments(coarse.rest, reference.rest)


def comparison_warnings(coarse: Compared, reference: Compared, boundary: Boundaries) -> tuple[str, ...]:
    """What seems doubtful about a reference, but for its values beside the coarse ones, see ``check_means``."""
    return check_known(reference, coarse) + check_on_walls(reference.summary, boundary, " of the reference")


def coarsened(reference: Volume, factor: int, boundary: Boundaries) -> Volume:
    """The block means of a volume, on the grid of the coarse cells.

    Raises:
        Problem: "unfit" if an axis is not a whole number of coarse cells long, or an end does not fit the boundary,
            which is often the reason.
    """
    _require_own_ends(reference, boundary)
    for axis, n in zip(AXES, reference.cells, strict=True):
        if n % factor:
            raise invalid_field(
                field="reference.shape",
                value=list(reference.cells),
                expected=f"a multiple of {factor} cells along {axis}",
            )
    return dataclasses.replace(
        reference,
        velocity=coarsen(torch.from_numpy(reference.velocity), factor).numpy(),
        coordinates=tuple(
            None if values is None else values.reshape(-1, factor).mean(axis=1, dtype=np.float64)
            for values in reference.coordinates
        ),
    )


def _require_own_ends(reference: Compared, boundary: Boundaries) -> None:
    with within("reference"):
        check_ends(reference.summary.ends, boundary)


def _require_levels(levels: int, coarse: int, frames: int) -> None:
    """Refuse other levels of a reference than those of the answer, and those that the answer is made from."""
    answers = coarse - frames + 1
    if levels not in (answers, coarse):
        either = f"{answers}, one for each answer"
        expected = either if answers == coarse else f"{either}, or {coarse}, one for each time of the coarse volume"
        raise invalid_field(field="reference.levels", value=levels, expected=expected)


def first_compared(reference: Compared, answers: int) -> int:
    """Which level of a reference the first answer is compared with: levels without an answer are at both ends."""
    return (reference.levels - answers) // 2


def check_means(coarse: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[str, ...]:
    """A warning if coarse values are not the block means of a reference, which models were trained on.

    Args:
        coarse: velocity, (..., 3, z, y, x).
        reference: true velocity in the same place, (..., 3, fine z, fine y, fine x).
    """
    factor = reference.shape[-1] // coarse.shape[-1]
    means = coarsen(torch.from_numpy(np.ascontiguousarray(reference)), factor).numpy()
    off = float(np.sqrt(np.square(coarse - means, dtype=np.float64).mean()))
    usual = float(np.sqrt(means.var(axis=(-3, -2, -1), dtype=np.float64).mean()))
    if off <= max(APART * usual, ROUNDING * float(np.abs(means).max())):
        return ()
    warning = (
        f"the coarse volume is not the block mean of the reference: they differ by {off:.3g} (rms), and the means vary "
        f"by {usual:.3g}. Is it strided, filtered, or of other axes, units or times? All errors are affected"
    )
    return (warning,)


def check_units(coarse: object, reference: object) -> None:
    """Refuse (422) a reference whose attribute ``units`` names another unit than that of the coarse velocity."""
    if coarse is not None and reference is not None and not same_units(coarse, reference):
        expected = f"the units of the coarse velocity, {coarse}"
        raise invalid_field(field="reference.units", value=str(reference), expected=expected)


def check_lengths(coarse: xr.Dataset, reference: xr.Dataset) -> None:
    """Refuse (422) axes in different units: those of a reference, else of a coarse volume; see ``length_of``."""
    with within("reference"):
        check_axis_units(reference)
    with within("coarse"):
        check_axis_units(reference, coarse)


def check_moments(coarse: xr.Dataset, reference: xr.Dataset) -> None:
    """Refuse (422) a reference at other times than a coarse volume, where both have dates, or numbers of one unit.

    Args:
        coarse: what came with the coarse velocity.
        reference: what came with the reference, which may lack the times without an answer.
    """
    lags = _lags(coarse, reference)
    if lags and np.abs(lags.seconds).max() > lags.slack:
        told, expected = (f"from {times[0]} to {times[-1]}" for times in (lags.given, lags.wanted))
        expected = f"those of the coarse volume, {expected}; drop=time leaves them out"
        raise invalid_field(field="reference.time", value=told, expected=expected)


def check_lags(x: xr.Dataset, y: xr.Dataset) -> None:
    """Refuse (422) pairs (X, Y) of which Y is later than X by more in one than in another, where both have times.

    Args:
        x: with the times of X, which are compared if both are dates, or numbers of one unit.
        y: with the times of Y, as many.
    """
    lags = _lags(x, y)
    if lags and np.ptp(lags.seconds) > lags.slack:
        odd = int(np.abs(lags.seconds - lags.seconds[0]).argmax())
        first, other = (f"{lags.given[i]} beside {lags.wanted[i]} of the source" for i in (0, odd))
        expected = "the times of the source, or all later by the same; drop=time leaves them out"
        raise invalid_field(field="reference.time", value=f"{first}, {other}", expected=expected)


class _Lags(NamedTuple):
    """How much later each time is than that of a coarse volume, in seconds or their unit, and what may be rounding."""

    wanted: NDArray[Any]
    given: NDArray[Any]
    seconds: NDArray[np.floating[Any]]
    slack: float


def _lags(coarse: xr.Dataset, reference: xr.Dataset) -> _Lags | None:
    ours, theirs = _moments(coarse), _moments(reference)
    if ours is None or theirs is None or not same_units(ours.attrs["units"], theirs.attrs["units"]):
        return None
    ends = (ours.size - theirs.size) // 2
    wanted, given = ours.values[ends : ends + theirs.size], theirs.values
    first, second = _numbers(wanted), _numbers(given)
    slack = TOLERANCE * float(np.abs(np.diff(first)).min()) if len(first) > 1 else 0.0
    return _Lags(wanted, given, second - first, slack + rounding(first) + rounding(second))


def _moments(dataset: xr.Dataset) -> xr.Variable | None:
    """Times as numbers, dates or durations, with units; None if there are none."""
    # A scalar is no coordinate in a file that is opened without decoding.
    if TIME not in dataset.variables or dataset[TIME].dims not in ((), (TIME,)):
        return None
    # A copy, as xarray decodes durations in place.
    times = xr.Variable(TIME, np.array(load(dataset[TIME], TIME), ndmin=1), dataset[TIME].attrs)
    with suppress(ValueError, TypeError, OverflowError):  # units that are only like those of dates
        times = xr.conventions.decode_cf_variable(TIME, times, decode_timedelta=True).load()
    kinds = {"M": "dates", "m": "s"}
    units = kinds.get(times.dtype.kind, times.attrs.get("units"))
    return xr.Variable(TIME, times.values, {"units": units}) if times.dtype.kind in "fiumM" else None


def _numbers(times: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Times as numbers, dates and durations in seconds."""
    if times.dtype.kind in "mM":
        seconds: NDArray[np.float64] = (times - times.dtype.type(0, "s")) / np.timedelta64(1, "s")
        return seconds
    return times if times.dtype == np.float32 else times.astype(np.float64)


def check_pair(coarse: Grid, reference: Grid, factor: int) -> None:
    """Refuse (422) a reference whose cells are not the fine cells of a coarse volume."""
    wanted = tuple(factor * n for n in coarse.cells)
    if reference.cells != wanted:
        raise invalid_field(
            field="reference.shape",
            value=list(reference.cells),
            expected=f"{list(wanted)}, {factor} times the coarse one",
        )
    axes = AXES[-len(coarse.cells) :]
    for axis, coarser, finest in zip(axes, coarse.coordinates, reference.coordinates, strict=True):
        if coarser is None or finest is None:
            if axis in (*coarse.turned, *reference.turned):
                missing, given = ("coarse", "reference") if coarser is None else ("reference", "coarse")
                expected = f"coordinates, as those of {given}.{axis} descend: without them, the ends may be swapped"
                raise invalid_field(field=f"{missing}.{axis}", value=None, expected=expected)
            continue
        off = float(np.abs(finer(coarser, factor) - finest).max())
        if off > TOLERANCE * spacing(finest) + rounding(coarser) + rounding(finest):
            places = ", ".join(f"{(i + 0.5) / factor - 0.5:+g}" for i in range(factor))
            raise invalid_field(
                field=f"reference.{axis}",
                value=f"off by {off / spacing(finest):.2g} fine cells",
                expected=f"cell centres at {places} of the cells of coarse.{axis}",
            )
