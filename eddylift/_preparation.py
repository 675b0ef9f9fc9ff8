"""Options that change volumes before they are sent: names, drop, resample."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eddylift._codecs import as_array, as_dataset
from eddylift._errors import InvalidInputError
from eddylift._files import is_array, open_dataset, own_errors, read
from eddylift._paths import read_list, read_names, spell_attribute
from eddylift._unnamed_axes import name_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from eddylift._types import Boundary, Names


class Preparation(NamedTuple):
    """Renames, leaves out and resamples, so that the service accepts a volume.

    Attributes:
        names: new names of variables and dims, by old ones.
        drop: variables to leave out.
        resample: axes to resample to uniform cells, such as ``y``, or ``y:128`` with a number of cells.
        boundary: what lies beyond the ends; None takes the attributes of the volumes.
    """

    names: Names | None = None
    drop: Sequence[str] | None = None
    resample: Sequence[str] | None = None
    boundary: Boundary | None = None

    def apply(self, *volumes: Any) -> Sequence[Any]:  # noqa: ANN401 each comes back as the kind that it is
        """Return prepared volumes: one, or a pair with the same names. Of a path, what is left after `drop` is read.

        Raises:
            InvalidInputError: for an option that cannot be read, a name that no volume has, an axis that cannot be
                resampled, or may be periodic as there is no boundary, or a bare array.
        """
        changes = bool(self.names or self.drop or self.resample)
        with contextlib.ExitStack() as files:
            given = [_open(volume, files) for volume in volumes]
            renamed = self._renamed(given) if changes else given
            for volume, left in zip(volumes, renamed, strict=True):
                if isinstance(volume, str | Path) and not isinstance(left, np.ndarray):
                    with own_errors(volume, "read"):
                        left.load()
        return [_alike(*pair) for pair in zip(self._resampled(renamed), given, strict=True)] if changes else given

    def _renamed(self, volumes: Sequence[Any]) -> list[xr.Dataset]:
        if any(isinstance(volume, np.ndarray) for volume in volumes):
            message = "names, drop and resample are for volumes with names and coordinates, got a bare array"
            raise InvalidInputError(message)
        import xarray as xr  # noqa: PLC0415 slow

        from eddylift import _renaming  # noqa: PLC0415 needs xarray

        names, drop = read_names(self.names), read_list("drop", self.drop)
        given = [volume if isinstance(volume, xr.DataArray) else as_dataset(volume) for volume in volumes]
        return [name_axes(as_dataset(volume)) for volume in _renaming.rename(given, names, drop)]

    def _resampled(self, datasets: list[xr.Dataset]) -> list[xr.Dataset]:
        axes = read_list("resample", self.resample)
        if len(datasets) > 1 and (numbered := [axis for axis in axes if ":" in str(axis)]):
            message = (
                f"resample: {numbered[0]}; expected no number of cells for two volumes, which differ in it: open each "
                "by open_volume, which takes resample too"
            )
            raise InvalidInputError(message)
        if axes and self.boundary is None and not any("boundary" in dataset.attrs for dataset in datasets):
            message = (
                f"resample: {self.resample}; expected a boundary too, as without one an axis may be periodic, and "
                "the length of a period is not known"
            )
            raise InvalidInputError(message)
        from eddylift import _resample  # noqa: PLC0415 needs xarray

        return [_resample.to_uniform(dataset, axes, self.boundary) for dataset in datasets]


def open_volume(
    path: str | Path,
    *,
    names: Names | None = None,
    drop: Sequence[str] | None = None,
    resample: Sequence[str] | None = None,
    boundary: Boundary | None = None,
) -> xr.Dataset:
    """Open a volume in a file: .npy, NetCDF, HDF5, a cutout of JHTDB, Zarr or zipped Zarr.

    Args:
        path: path of the file or folder. The format is recognised by the content.
        names: new names of variables and dims, by old ones.
        drop: variables and coordinates to leave out, by their names in the file.
        resample: axes to resample to uniform cells, such as ``y``, or ``y:128`` with a number of cells; this reads the
            velocity at once.
        boundary: what lies beyond the ends, as for `Client.upscale`, since a periodic axis cannot be resampled; None
            takes the attribute of the file. The volume gets it as its attribute.

    Returns:
        ``u``, ``v``, ``w`` over (z, y, x) or (time, z, y, x) along ascending axes, and the other variables of the file.
        Velocity is read lazily; times are not decoded.

    Raises:
        InvalidInputError: if the file cannot be read, or holds no velocity; the message names the option that helps.
    """
    from eddylift import _velocity  # noqa: PLC0415 needs xarray, which is slow

    dataset = open_dataset(Path(path))
    try:
        (prepared,) = Preparation(names, drop, resample, boundary).apply(dataset)
        volume = _velocity.split(prepared, _velocity.find(prepared))
        if (boundary := volume.attrs.get("boundary") if boundary is None else boundary) is not None:
            volume = volume.assign_attrs(boundary=spell_attribute(boundary))
    except InvalidInputError:
        dataset.close()
        raise
    volume.set_close(dataset.close)
    return volume


def _open(volume: Any, files: contextlib.ExitStack) -> Any:  # noqa: ANN401 as `Preparation.apply`
    """Open the file of a volume lazily, until the stack closes it; arrays are read."""
    if not isinstance(volume, str | Path):
        return volume
    return read(Path(volume)) if is_array(Path(volume)) else files.enter_context(open_dataset(Path(volume)))


def _alike(dataset: xr.Dataset, volume: xr.Dataset | xr.DataArray) -> xr.Dataset | xr.DataArray:
    import xarray as xr  # noqa: PLC0415 slow

    return as_array(dataset, volume.name) if isinstance(volume, xr.DataArray) else dataset
