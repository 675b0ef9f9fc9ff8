"""How far a super-resolved field is from the true one: one definition a metric.

Fields are velocity, (3, z, y, x) with components (u, v, w), on uniform cell-centred grids. Everything is computed in
double precision, whatever the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from models.blocks import Boundaries

Value = float | list[float] | None
CUBE = (2 * math.pi,) * 3
# Share of the energy of a float32 field that may be round-off: eps^2 is 1e-14.
ROUND_OFF = 1e-12
# Array axes (z, y, x) that the components (u, v, w) lie along.
ALONG = (-1, -2, -3)


def coarsen(fine: Float[Tensor, "*lead z y x"], factor: int = 4) -> Float[Tensor, "*lead z2 y2 x2"]:
    """The mean over blocks of ``factor``^3 cells, which commutes with every rotation and reflection.

    Raises:
        ValueError: if an axis is not a whole number of blocks long.
    """
    cells = fine.shape[-3:]
    if any(n % factor for n in cells):
        message = f"every axis must be a multiple of {factor} cells long, got {tuple(cells)}"
        raise ValueError(message)
    lead = fine.shape[:-3]
    return functional.avg_pool3d(fine.reshape(-1, 1, *cells), factor).reshape(*lead, *(n // factor for n in cells))


def rms(field: Float[Tensor, "3 z y x"]) -> Tensor:
    """Root mean square of all components about their means."""
    return (field - field.mean(dim=(1, 2, 3), keepdim=True)).square().mean().sqrt()


def mae_over_rms(answer: Float[Tensor, "3 z y x"], reference: Float[Tensor, "3 z y x"]) -> float:
    """Mean absolute error of all components over the reference's [`rms`][models.metrics.rms]."""
    reference = reference.double()
    return _ratio((answer.double() - reference).abs().mean(), rms(reference))


class Spectrum(NamedTuple):
    """Kinetic energy by wavenumber shell.

    Attributes:
        k: shell k holds the wavenumbers that round to k, in units of 2 pi over the longest edge's period.
        energy: E(k); its sum is the kinetic energy of the fluctuations, mean |u|^2 / 2.
    """

    k: Tensor
    energy: Tensor


def spectrum(field: Float[Tensor, "3 z y x"]) -> Spectrum:
    """E(k) = sum over the shell |k'| in [k - 1/2, k + 1/2) of |u_k'|^2 / 2 (Pope, Turbulent Flows, eq. 6.188).

    For a cube with the same spacing along all axes; shells run to the Nyquist wavenumber of the shortest axis.
    """
    _, nz, ny, nx = field.shape
    modes = torch.fft.rfftn(field.double(), dim=(1, 2, 3), norm="forward")
    power = modes.abs().square().sum(dim=0) / 2
    # rfft keeps half of the modes: all but the first and, for even lengths, the last plane stand for two.
    weight = torch.full((power.shape[-1],), 2.0, dtype=power.dtype, device=power.device)
    weight[0] = 1
    if nx % 2 == 0:
        weight[-1] = 1
    longest = max(nz, ny, nx)
    kz, ky, kx = (
        torch.fft.fftfreq(nz, 1 / longest),
        torch.fft.fftfreq(ny, 1 / longest),
        torch.fft.rfftfreq(nx, 1 / longest),
    )
    k = (kz[:, None, None].square() + ky[None, :, None].square() + kx.square()).sqrt().to(power.device)
    shell = (k + 0.5).floor().long()
    energy = torch.zeros(int(shell.max()) + 1, dtype=power.dtype, device=power.device)
    energy.index_add_(0, shell.flatten(), (power * weight).flatten())
    last = longest // 2
    return Spectrum(torch.arange(1, last + 1), energy[1 : last + 1])


def line_spectrum(field: Float[Tensor, "3 z y x"], axis: int) -> Spectrum:
    """E(k) along one axis (Pope, eq. 6.206, summed over components), averaged over the other two.

    Args:
        field: velocity, periodic along ``axis``.
        axis: array axis, -3 to -1 for z, y, x.
    """
    n = field.shape[axis]
    power = torch.fft.rfft(field.double(), dim=axis, norm="forward").abs().square().sum(dim=0) / 2
    energy = 2 * power.movedim(axis, 0).flatten(1).mean(dim=1)
    if n % 2 == 0:
        energy[-1] /= 2
    last = n // 2
    return Spectrum(torch.arange(1, last + 1), energy[1 : last + 1])


def spectrum_errors(answer: Spectrum, reference: Spectrum, factor: int = 4) -> tuple[float, float]:
    """Rms of log10(E_answer / E_reference) over the shells below and above the coarse Nyquist wavenumber.

    Shells that a simulation left empty, so that the reference has only round-off there, are left out.
    """
    tiny = torch.finfo(torch.float64).tiny
    ratio = ((answer.energy + tiny) / (reference.energy + tiny)).log10()
    ratio = ratio.where(reference.energy > ROUND_OFF * reference.energy.sum(), torch.nan)
    cut = len(ratio) // factor
    return float(ratio[:cut].square().nanmean().sqrt()), float(ratio[cut:].square().nanmean().sqrt())


def resolved_wavenumber(answer: Spectrum, reference: Spectrum) -> float:
    """The first shell at which less than half of the reference's energy is there; the last one if there is none."""
    short = (answer.energy < reference.energy / 2).nonzero()
    return float(answer.k[int(short[0]) if len(short) else -1])


def gradients(
    field: Float[Tensor, "3 z y x"], boundary: Boundaries, length: tuple[float, float, float] = CUBE
) -> Float[Tensor, "3 3 z2 y2 x2"]:
    """du_i/dx_j by second-order central differences.

    Args:
        field: velocity.
        boundary: of each axis (z, y, x); the end cells of those that are not periodic are left out.
        length: of each axis (z, y, x).
    """
    field = field.double()
    columns = []
    for axis in ALONG:
        spacing = length[axis] / field.shape[axis]
        columns.append((field.roll(-1, axis) - field.roll(1, axis)) / (2 * spacing))
    inside = torch.stack(columns, dim=1)
    for axis in ALONG:
        if boundary[axis] != "periodic":
            inside = inside.narrow(axis, 1, field.shape[axis] - 2)
    return inside


def near_walls(field: Float[Tensor, "3 z y x"], boundary: Boundaries, cells: int = 4) -> Bool[Tensor, "z y x"]:
    """Which cells are among the first so many from a wall; by default those of the first coarse cell."""
    near = torch.zeros(field.shape[1:], dtype=torch.bool, device=field.device)
    for axis, name in enumerate(boundary):
        if name == "wall":
            near.narrow(axis, 0, cells).fill_(value=True)
            near.narrow(axis, near.shape[axis] - cells, cells).fill_(value=True)
    return near


def profile_errors(
    answer: Float[Tensor, "3 z y x"], reference: Float[Tensor, "3 z y x"], planes: tuple[int, int]
) -> tuple[float, float]:
    """Errors of the mean velocity U_i and of the Reynolds stresses <u_i' u_j'> as profiles along one axis.

    Each is ||profile of the answer - that of the reference|| / ||that of the reference||, the norm over positions and
    components, and averages <> over planes.

    Args:
        answer: the super-resolved field.
        reference: the true field.
        planes: the two array axes, -3 to -1, to average over.
    """
    pairs = []
    for field in (answer.double(), reference.double()):
        mean = field.mean(dim=planes, keepdim=True)
        fluctuation = field - mean
        stress = (fluctuation[:, None] * fluctuation[None]).mean(dim=planes)
        pairs.append((mean, stress))
    (mean, stress), (true_mean, true_stress) = pairs
    return _ratio((mean - true_mean).norm(), true_mean.norm()), _ratio(
        (stress - true_stress).norm(), true_stress.norm()
    )


class Gradients(NamedTuple):
    """What the velocity gradient says of a field.

    Attributes:
        divergence: rms(du_i/dx_i) over rms(|grad u|); 0 for an incompressible field resolved by central differences.
        enstrophy: mean of |curl u|^2 / 2.
        dissipation: mean of 2 S_ij S_ij, the dissipation rate over the viscosity.
        skewness: of du_i/dx_i for i = 1, 2, 3; about -0.5 in turbulence (Sreenivasan & Antonia 1997).
        flatness: of du_i/dx_i for i = 1, 2, 3; 3 for a Gaussian.
    """

    divergence: float
    enstrophy: float
    dissipation: float
    skewness: list[float]
    flatness: list[float]


def gradient_statistics(
    field: Float[Tensor, "3 z y x"], boundary: Boundaries, length: tuple[float, float, float] = CUBE
) -> Gradients:
    """Statistics of the velocity gradient; see [`gradients`][models.metrics.gradients]."""
    grad = gradients(field, boundary, length)
    trace = grad.diagonal().sum(dim=-1)
    strain = (grad + grad.transpose(0, 1)) / 2
    spin = (grad - grad.transpose(0, 1)) / 2
    longitudinal = grad.diagonal().movedim(-1, 0).flatten(1)
    centred = longitudinal - longitudinal.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1)
    return Gradients(
        divergence=_ratio(trace.square().mean().sqrt(), grad.square().sum(dim=(0, 1)).mean().sqrt()),
        enstrophy=float(spin.square().sum(dim=(0, 1)).mean()),
        dissipation=float(2 * strain.square().sum(dim=(0, 1)).mean()),
        skewness=(centred.pow(3).mean(dim=1) / variance.pow(1.5)).tolist(),
        flatness=(centred.pow(4).mean(dim=1) / variance.square()).tolist(),
    )


def _ratio(part: Tensor | float, whole: Tensor | float) -> float:
    """Part / whole, and NaN rather than an error for 0 / 0."""
    return float(torch.as_tensor(part, dtype=torch.float64) / torch.as_tensor(whole, dtype=torch.float64))


def report(
    answer: Float[Tensor, "3 z y x"],
    reference: Float[Tensor, "3 z y x"],
    coarse: Float[Tensor, "3 coarse_z coarse_y coarse_x"],
    *,
    baseline: Float[Tensor, "3 z y x"] | None = None,
    boundary: Boundaries = ("periodic", "periodic", "periodic"),
    length: tuple[float, float, float] = CUBE,
) -> dict[str, Value]:
    """Every metric of an answer.

    Args:
        answer: the super-resolved field.
        reference: the true field.
        coarse: what the answer was made from.
        baseline: trilinear interpolation of ``coarse``, for the skill.
        boundary: of each axis (z, y, x).
        length: of each axis (z, y, x).

    Returns:
        - ``mae``, ``mae_u``, ``mae_v``, ``mae_w``: mean absolute error, of all components and of each;
        - ``mae_over_rms``: see [`mae_over_rms`][models.metrics.mae_over_rms];
        - ``relative_l2``: ||a - b|| / ||b - mean(b)||;
        - ``skill``: 1 - MSE / MSE of the baseline (Murphy 1988), None without one;
        - ``spectrum_error_low``, ``spectrum_error_high``: see [`spectrum_errors`][models.metrics.spectrum_errors], by
          shells if all axes are periodic, else the rms of those along each periodic axis;
          ``resolved_wavenumber``: see [`resolved_wavenumber`][models.metrics.resolved_wavenumber], by shells only;
        - ``divergence`` and ``divergence_reference``, ``skewness``, ``flatness``: see
          [`Gradients`][models.metrics.Gradients];
        - ``kinetic_energy_ratio`` (of the fluctuations), ``enstrophy_ratio``, ``dissipation_ratio``: the answer's over
          the reference's;
        - ``consistency``: ||block mean of the answer - coarse|| / ||coarse - its mean||;
        - ``mae_near_wall``: mean absolute error in the coarse cells next to walls, None if there are none;
          ``mean_profile_error``, ``stress_profile_error``: see [`profile_errors`][models.metrics.profile_errors], None
          unless just one axis is not periodic.
    """
    answer, reference, coarse = answer.double(), reference.double(), coarse.double()
    error = answer - reference
    each = error.abs().mean(dim=(1, 2, 3))
    ours, true = (gradient_statistics(field, boundary, length) for field in (answer, reference))
    factor = answer.shape[-1] // coarse.shape[-1]
    low = high = resolved = mean_profile = stress_profile = None
    periodic = [axis for axis in (-3, -2, -1) if boundary[axis] == "periodic"]
    if len(periodic) == 3:  # noqa: PLR2004
        spectra = spectrum(answer), spectrum(reference)
        low, high = spectrum_errors(*spectra, factor)
        resolved = resolved_wavenumber(*spectra)
    elif periodic:
        lines = ((line_spectrum(answer, axis), line_spectrum(reference, axis)) for axis in periodic)
        errors = torch.tensor([spectrum_errors(ours, theirs, factor) for ours, theirs in lines], dtype=torch.float64)
        low, high = errors.square().nanmean(dim=0).sqrt().tolist()
    if len(periodic) == 2:  # noqa: PLR2004
        mean_profile, stress_profile = profile_errors(answer, reference, (periodic[0], periodic[1]))
    near = near_walls(error, boundary, factor)
    gap = coarsen(answer, factor) - coarse
    return {
        "mae": float(each.mean()),
        "mae_u": float(each[0]),
        "mae_v": float(each[1]),
        "mae_w": float(each[2]),
        "mae_over_rms": mae_over_rms(answer, reference),
        "relative_l2": _ratio(error.square().mean().sqrt(), rms(reference)),
        "skill": None if baseline is None else 1 - _ratio(_mse(answer, reference), _mse(baseline, reference)),
        "spectrum_error_low": low,
        "spectrum_error_high": high,
        "resolved_wavenumber": resolved,
        "divergence": ours.divergence,
        "divergence_reference": true.divergence,
        "kinetic_energy_ratio": _ratio(rms(answer).square(), rms(reference).square()),
        "enstrophy_ratio": _ratio(ours.enstrophy, true.enstrophy),
        "dissipation_ratio": _ratio(ours.dissipation, true.dissipation),
        "skewness": ours.skewness,
        "flatness": ours.flatness,
        "consistency": _ratio(gap.square().mean().sqrt(), rms(coarse)),
        "mae_near_wall": float(error[:, near].abs().mean()) if near.any() else None,
        "mean_profile_error": mean_profile,
        "stress_profile_error": stress_profile,
    }


def _mse(field: Tensor, reference: Tensor) -> Tensor:
    return (field.double() - reference).square().mean()
