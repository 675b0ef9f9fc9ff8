"""``python -m training seeds``: write the results of `forecast...` and `discover` to ``SEEDS.md``."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.forecast_network import FORECAST_FAMILIES
from models.group import group
from models.irreps import element_names
from models.point_groups import symbol
from training.experiments.turbulence import expected, kept_by_all
from training.forecast import SPLITS, spread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from training.forecast import Errors

HEAD = """# Experiments over seeds

Written by `python -m training seeds`. Numbers are means and standard deviations over training seeds;
those without a deviation are of one seed.
"""
FORECASTS = """
## Forecasts

Root mean square errors of forecasts of 20 frames, relative to the rms of the true frames. *Future* are later times of
the training runs. *Domain* are runs whose smoke enters elsewhere, or other runs of planar turbulence. All networks have
equally many channels.

Networks see velocities in cells per frame, `u dt / dx`, which are the same in all units; only *plain* sees them in
their own units. Runs of smoke-scale-32 are in units of velocity from half to twice the usual one, with a buoyancy of
0.8 to 1.2 of the usual one in these units, which breaks the scaling symmetry. In *relaxed-scale*, an offset may depend
on the units.

```sh
python -m training simulate --flow smoke --set rotation
python -m training forecast --data data/smoke-rotation-32 --seeds 0 1 2 --steps 400 \\
    --families conv equivariant relaxed relaxed-steerable
python -m training simulate --flow smoke --set scale
python -m training forecast --data data/smoke-scale-32 --seeds 0 --steps 200 --families plain conv relaxed-scale
```

"""
PUBLISHED = """
Published for smoke, rotated, on other data (Wang et al., arXiv 2201.11969), future / domain: relaxed group convolution
0.82 / 0.73, relaxed steerable convolution 0.80 / 0.67. These figures are from their paper.
"""
SYMMETRIES = """
## Turned, boosted and scaled turbulence

Errors as above, relative to fluctuations about the mean velocity, of networks trained on planar turbulence. They are
measured on runs that the networks have not seen, and on the same runs after a quarter turn, with a mean velocity of one
cell per frame along both axes, in other units (`u -> a u(a x, a^2 t)` with a = 2), and with all three. *Plain* is
without the steps by which forecasters follow boosts and units; on runs in one unit it learns as conv does.

```sh
python -m training simulate --flow planar --seed 0
python -m training forecast --data data/planar-decaying-32-seed0 --seeds 0 1 2 --steps 300 \\
    --families plain conv equivariant
python -m training forecast-symmetries --data data/planar-decaying-32-seed0
```

"""
LEVELS = """
## Does a relaxed network break as much of a symmetry as its data do?

Ten sets of smoke break the symmetry, each more than the last, and a relaxed network was trained on each. These are the
equivariance errors of the data, and of the network: the difference between a turned forecast and the forecast of
turned frames, relative to the forecast change.

```sh
python -m training simulate --flow smoke --set levels
for seed in 0 1 2; do python -m training forecast-levels --data data/smoke-levels-32 --seed $seed; done
```

"""
PENALTIES = """
## How far from its symmetry does a penalty let a network learn?

A relaxed steerable network was trained with each penalty on the mean of delta^2 in its loss, on the last of these ten
sets. The table has its equivariance error and the error of its forecasts of 20 frames, on inflows that it has not seen.

```sh
python -m training forecast-penalties --data data/smoke-levels-32
```

"""
PLACES = """
## Do weights w(x) tell where a flow changes?

The networks relaxed-translation of the first table, whose weights w(x) may differ from place to place, have learned
from smoke that is twice as buoyant right of the middle as left of it. The table has the cell along x at which w(x),
averaged over y, changes most between three cells and the next three, in all layers and banks together; among the cells
where smoke comes in, and among all, since near walls w(x) changes, too. This way to read w(x) was chosen on these
networks.

```sh
python -m training simulate --flow smoke --set translation
python -m training forecast --data data/smoke-translation-32 --seeds 0 1 2 --steps 400 \\
    --families conv relaxed-translation
python -m training forecast-places --data data/smoke-translation-32 --seeds 0 1 2
```

"""
DISCOVERIES = """
## Which symmetries do data break?

A relaxed network is fitted to pairs (X, Y). The table has the group elements that its relaxation weights keep, and the
irreps in which these weights changed; the largest equivariance error among the elements that are kept, and the smallest
among the others; and the mean squared errors of the fit and of copying X.

```sh
python -m training discover square
python -m training discover perovskite
```

"""
PLACES_FIGURE = """
![Weights w(x) along x](FORECAST-places.png)
"""
THEIRS = """
Published for the rectangle, in 50 steps: a mean squared error of 0.015 (Wang, Walters, Smidt & Yu, arXiv 2310.02299).
This figure is from their paper.

![Four pixels](DISCOVERY-square.png)

![Barium titanate](DISCOVERY-perovskite.png)
"""
TURBULENCE = """
## Which symmetries do turbulent flows break?

Of 16 snapshots all over a run, *finer* goes from the velocity made coarse to one that is twice as fine, and *later*
from the first to the last frame of a snapshot. Snapshots of a run are not independent, so an element counts as broken
where more than a tenth of the departures from it, in squares, is common to all pairs. Beside what each reading keeps
stand the largest such share of the elements that it keeps, and the smallest of the others. *Read* are the elements that
all readings keep, *expected* those that the equations keep, with their walls and forces.

```sh
python -m training simulate --flow rotating --n 32 --seed 201 --spin-up 15 --snapshots 16 --frames 3 --spacing 0.1
python -m training discover --run data/rotating-32-3frames-seed201
```

"""
ADAPTATION = """
## Which symmetries of turbulence do relaxation weights of a trained network see?

An equivariant network, trained on turbulence of many kinds, gets relaxation weights. The gradient of each snapshot's
loss with respect to them is how they move where an adaptation begins. The table has the part of the departures from an
element, in squares, that all snapshots have in common: the largest of the rotations that the equations of the flow
keep, and the smallest of those that they break; *apart*, if the first is below the second. Isotropic turbulence breaks
none and is the control. The network has rotations alone, so that reflections are not read, and it has learned from
these runs. Each row is one run.

```sh
python -m training discover --run data/stratified-64-seed1 --from equivariant-general-x4
```

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--runs", type=Path, default=Path("runs/forecast"), help="the --out of these commands")
    parser.add_argument("--discoveries", type=Path, default=Path("runs/discover"), help="the --out of `discover`")
    parser.add_argument("--out", type=Path, default=Path("weights/SEEDS.md"), help="file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(args.runs.glob("*.json"))}
    forecasts = {name: result["rmse"] for name, result in results.items() if "rmse" in result}
    penalties = [result["penalties"] for result in results.values() if "penalties" in result]
    symmetries = [result["symmetries"] for result in results.values() if "symmetries" in result]
    places = [result for result in results.values() if "places" in result]
    levels = [result for result in results.values() if "rank correlation" in result]
    discoveries = {path.stem: json.loads(path.read_text()) for path in sorted(args.discoveries.glob("*.json"))}
    findings = [each["findings"] for each in discoveries.values() if "flow" not in each]
    flows = {name: each for name, each in discoveries.items() if "flow" in each and "findings" in each}
    adaptations = {name: each for name, each in discoveries.items() if "adaptation" in each}
    if not results and not discoveries:
        print(f"nothing to write: no results are in {args.runs} and {args.discoveries}")
        return 1
    text = HEAD
    if forecasts:
        text += FORECASTS + forecast_table(forecasts) + PUBLISHED
    for found in symmetries:
        text += SYMMETRIES + symmetry_table(found)
    if levels:
        text += LEVELS + level_table(levels)
    if penalties:
        text += PENALTIES + penalty_table(penalties)
    for found in places:
        text += PLACES + place_table(found["places"], found["middle"]) + PLACES_FIGURE
    if findings:
        text += DISCOVERIES + discovery_table(findings) + THEIRS
    if flows:
        text += TURBULENCE + turbulence_table(flows)
    if adaptations:
        text += ADAPTATION + adaptation_table(adaptations)
    args.out.write_text(text)
    print(args.out)
    return 0


def forecast_table(sets: dict[str, Errors]) -> str:
    """Errors by set, split and family; the lowest mean in bold."""
    families = ["persistence", *(name for name in FORECAST_FAMILIES if any(name in each for each in sets.values()))]
    lines = [_row("set", "split", *families), _row("---", "---", *["---:"] * len(families))]
    for name, found in sets.items():
        for split in SPLITS:
            best = min(found, key=lambda family: statistics.mean(found[family][split]))
            cells = {family: spread(errors[split]) for family, errors in found.items()}
            cells[best] = f"**{cells[best]}**"
            lines.append(_row(name, split, *(cells.get(family, "") for family in families)))
    return "".join(lines)


def symmetry_table(errors: dict[str, dict[str, list[float]]]) -> str:
    """Errors by network and set of runs, to four digits, and how far apart seeds are."""
    sets = next(iter(errors.values()))
    lines = [_row("runs", *errors), _row("---", *["---:"] * len(errors))]
    lines += [_row(moved, *(spread(found[moved], digits=4) for found in errors.values())) for moved in sets]
    return "".join(lines)


def level_table(seeds: list[dict[str, Any]]) -> str:
    """Errors of data and networks by level, and the rank correlation between them for each seed."""
    lines = [_row("level", "data", "network"), _row("---:", "---:", "---:")]
    for level, errors in enumerate(zip(*(seed["errors"] for seed in seeds), strict=True)):
        lines.append(_row(str(level), f"{errors[0][0]:.3f}", _small([error for _, error in errors])))
    correlations = ", ".join(f"{seed['rank correlation']:.3f}" for seed in seeds)
    return "".join(lines) + f"\nRank correlation of the two, by seed: {correlations}.\n"


def penalty_table(seeds: list[list[tuple[float, ...]]]) -> str:
    """Equivariance errors and errors of roll-outs by penalty."""
    lines = [_row("penalty", "rms of delta", "equivariance error", "RMSE"), _row(*4 * ["---:"])]
    for rows in zip(*seeds, strict=True):
        strength, squares, errors, rmse = zip(*rows, strict=True)
        lines.append(_row(f"{strength[0]:g}", _small([x**0.5 for x in squares]), _small(errors), spread(rmse)))
    return "".join(lines)


def place_table(cells: list[list[int]], middle: float) -> str:
    """Where w(x) changes most, by seed."""
    lines = [_row("network", "where smoke comes in", "anywhere", "middle"), _row("---", *3 * ["---:"])]
    lines += [_row(str(n), str(inside), str(anywhere), f"{middle:g}") for n, (inside, anywhere) in enumerate(cells, 1)]
    return "".join(lines)


def discovery_table(experiments: list[dict[str, Any]]) -> str:
    """What pairs keep, and how well they were fitted."""
    heads = ("to", "kept", "group kept", "irreps", "error inside", "outside", "MSE", "of copying")
    lines = [_row(*heads), _row("---", "---:", "---", "---", *4 * ["---:"])]
    for name, finding in ((name, each[name]) for each in experiments for name in each):
        errors = finding["equivariance_errors"]
        kept = [errors[element] for element in finding["kept"]]
        broken = [error for element, error in errors.items() if element not in finding["kept"]]
        numbers = [max(kept), *([min(broken)] if broken else []), finding["mse"], finding["mse_copy"]]
        cells = [f"{number:.1e}" for number in numbers]
        cells = cells if broken else [cells[0], "", *cells[1:]]
        lines.append(_row(name, str(len(kept)), finding["symbol"], " ".join(finding["moved"]), *cells))
    return "".join(lines)


def _small(values: Sequence[float]) -> str:
    """Mean and, of several, standard deviation, of values over many decades."""
    deviation = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2g}{deviation}"


def turbulence_table(runs: dict[str, dict[str, Any]]) -> str:
    """What readings of each run keep, beside what the equations of its flow keep."""
    lines = [_row("run", "expected", "read", "finer", "later"), _row(*5 * ["---"])]
    for name, each in runs.items():
        findings = {reading.split()[0]: finding for reading, finding in each["findings"].items()}
        known = expected(each["flow"])
        read = kept_by_all(finding["kept"] for finding in findings.values())
        columns = [_margins(findings[reading]) if reading in findings else "" for reading in ("finer", "later")]
        lines.append(_row(name, "" if known is None else _subgroup(known), _subgroup(read), *columns))
    return "".join(lines)


def adaptation_table(runs: dict[str, dict[str, Any]]) -> str:
    """Common shares of the elements that the equations of each run's flow keep, and of the others."""
    lines = [_row("run", "kept by the equations", "kept: at most", "broken: at least", "apart"), _row(*5 * ["---"])]
    names = element_names(group("Oh"))
    for name, each in runs.items():
        shares = {names.index(element): share for element, share in each["adaptation"].items()}
        known = [element for element in expected(each["flow"]) or [] if element in shares]
        kept = max(shares[element] for element in known[1:])  # without the identity
        broken = min((share for element, share in shares.items() if element not in known), default=None)
        cells = ["", ""] if broken is None else [f"{broken:.3f}", "yes" if kept < broken else "no"]
        lines.append(_row(name.removesuffix("-adaptation"), _subgroup(known), f"{kept:.3f}", *cells))
    return "".join(lines)


def _subgroup(elements: list[int]) -> str:
    return f"{symbol(group('Oh').matrices[elements])}, {len(elements)}"


def _margins(finding: dict[str, Any]) -> str:
    kept = [share for element, share in finding["common"].items() if element in finding["kept"]]
    broken = [share for element, share in finding["common"].items() if element not in finding["kept"]]
    bounds = f"≤ {max(kept):.2f}" + (f", ≥ {min(broken):.2f}" if broken else "")
    return f"{finding['symbol']}, {len(kept)} ({bounds})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
