"""The flows that can be simulated: how each is made, its usual times and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.flows.channel_simulation import ChannelSimulation
from training.flows.couette import CouetteSimulation
from training.flows.decaying import DecayingSimulation, TaylorGreenSimulation
from training.flows.isotropic import InertialSimulation, IsotropicSimulation
from training.flows.kolmogorov import KolmogorovSimulation
from training.flows.rotating import RotatingSimulation
from training.flows.sheared import ShearedSimulation
from training.flows.stratified import StratifiedSimulation
from training.flows.synthetic import SyntheticSimulation
from training.runs import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.flows.periodic_simulation import PeriodicSimulation


@dataclass(frozen=True)
class FlowKind:
    """A flow and its default times: for channels in h/u_tau, for Couette flow in h over the speed of the walls."""

    make: type[PeriodicSimulation | ChannelSimulation | SyntheticSimulation]
    about: str
    interval: float
    """Time between snapshots, after which they are decorrelated."""
    spin_up: float
    settle: float
    spacing: float
    """Time between frames, in which the fluid moves by a fraction of a coarse cell on 96^3 points."""


FLOWS: dict[str, FlowKind] = {
    "isotropic": FlowKind(IsotropicSimulation, "forced isotropic turbulence", 2.5, 10.0, 5.0, 0.1),
    "inertial": FlowKind(InertialSimulation, "the same with an inertial range up to the cutoff", 2.5, 5.0, 5.0, 0.1),
    "decaying": FlowKind(DecayingSimulation, "decaying turbulence from several spectra", 2.0, 0.0, 1.0, 0.1),
    "taylor-green": FlowKind(TaylorGreenSimulation, "the Taylor-Green vortex through transition", 4.0, 0.0, 3.0, 0.1),
    "rotating": FlowKind(RotatingSimulation, "forced turbulence in a rotating frame", 2.5, 10.0, 5.0, 0.1),
    "stratified": FlowKind(StratifiedSimulation, "forced turbulence under stable stratification", 2.5, 10.0, 5.0, 0.1),
    "sheared": FlowKind(ShearedSimulation, "turbulence in a uniform shear", 2.5, 10.0, 5.0, 0.1),
    "kolmogorov": FlowKind(KolmogorovSimulation, "Kolmogorov flow, driven by a steady cosine", 2.5, 0.0, 20.0, 0.1),
    "channel": FlowKind(ChannelSimulation, "plane channel flow", 1.2, 0.0, 5.0, 0.01),
    "couette": FlowKind(CouetteSimulation, "plane Couette flow", 20.0, 0.0, 100.0, 0.2),
    "synthetic": FlowKind(SyntheticSimulation, "no flow: random phases, fronts, drops ...", 1.0, 0.0, 0.1, 0.1),
    "single-cells": FlowKind(SyntheticSimulation, "no flow: single cells in a fluid at rest", 1.0, 0.0, 0.1, 0.1),
}
OPTIONS = {
    "resolution": "k_max times the Kolmogorov length at a dissipation of one",
    "reynolds": "one over the viscosity",
    "re_tau": "friction Reynolds number, nominally",
    "nx": "points along x, 0 for n times the box",
    "nz": "points along z, 0 for n times the box",
    "rotation": "angular velocity about z",
    "shear": "gradient of the mean velocity",
    "frequency": "Brunt-Vaisala frequency",
}
"""All options of all flows."""


def recipe_of(  # noqa: PLR0913 they are what a person may say
    flow: str,
    n: int,
    seed: int,
    *,
    interval: float | None = None,
    spin_up: float | None = None,
    settle: float | None = None,
    box: float = 1.0,
    frames: int = 1,
    spacing: float | None = None,
    compact: bool = False,
    options: Mapping[str, float] | None = None,
) -> Recipe:
    """The recipe of a run; what is None has the default of the flow.

    Raises:
        ValueError: for an option that the flow does not have, and for values that no run can have.
    """
    kind, options = FLOWS[flow], options or {}
    for name, value in options.items():
        if name not in kind.make.usual:
            message = f"{flow} flow has no option {name}; it has {', '.join(kind.make.usual) or 'none'}"
            raise ValueError(message)
        if not (value > 0 or value == kind.make.usual[name]):
            message = f"{name}: {value:g}; expected more than 0"
            raise ValueError(message)
    return Recipe(
        flow,
        n,
        seed,
        kind.interval if interval is None else interval,
        kind.spin_up if spin_up is None else spin_up,
        kind.settle if settle is None else settle,
        box,
        frames,
        0.0 if frames == 1 else kind.spacing if spacing is None else spacing,
        compact,
        {name: value for name, value in options.items() if value != kind.make.usual[name]},
    )
