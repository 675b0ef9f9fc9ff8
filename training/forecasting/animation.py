"""``python -m training forecast-animation``: a run that a model has not seen beside its forecast, as a moving picture.

The run is the model's sample: its first frames go in, and the others are what the forecast is held against.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.forecasting.catalogue import DEFAULT, SAMPLE, ForecastCatalogue
from models.forecasting.forecaster import Units
from training.figures import BASELINE, COLOURS

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

FRAMES_A_SECOND = 5
SHARE = 99.0
"""Percentile of vorticity that has the deepest colour."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", default=DEFAULT, help="name of a stored forecasting model (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="folder of models")
    parser.add_argument("--out", type=Path, default=Path("docs/forecast.gif"), help="file to write")


def run(args: argparse.Namespace) -> int:
    """Forecast, and draw."""
    catalogue = ForecastCatalogue(args.weights)
    card = catalogue.card(args.model)
    truth = np.load(catalogue.folder / card.name / SAMPLE)
    given = torch.from_numpy(truth[: card.frames])[None]
    y, x = (axis == "periodic" for axis in card.boundary)
    units = Units(**card.units)
    cell_a_frame = units.dx / units.dt
    answer = catalogue.load(card.name)(given * cell_a_frame, len(truth) - card.frames, (y, x), units)
    draw(args.out, truth, answer[0].numpy() / cell_a_frame, card.name)
    print(args.out)
    return 0


def draw(path: Path, truth: NDArray[np.float32], forecast: NDArray[np.float32], name: str) -> None:
    """Vorticity of the truth and of the forecast, frame by frame, and the errors so far beside those of persistence.

    Args:
        path: GIF to write.
        truth: velocity (u, v) in cells per frame, (time, 2, y, x), the frames that were given first.
        forecast: those that follow, likewise.
        name: of the model; it begins with the family, which has a colour.
    """
    from matplotlib.animation import FuncAnimation, PillowWriter  # noqa: PLC0415 training runs on hosts without it
    from matplotlib.figure import Figure  # noqa: PLC0415

    given, steps = len(truth) - len(forecast), len(forecast)
    whole = np.concatenate((truth[:given], forecast))
    bound = np.percentile(np.abs(vorticity(truth)), SHARE)
    figure = Figure(figsize=(9.4, 3.0), dpi=80, layout="constrained")
    *maps, curves = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    images = [axes.imshow(vorticity(truth)[0], origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound) for axes in maps]
    figure.colorbar(images[0], ax=maps, label="vorticity, per frame", extend="both", location="left")
    for axes in maps:
        axes.set(xticks=[], yticks=[])
    errors = {
        "persistence": (np.square(truth[given - 1] - truth[given:]), BASELINE),
        name: (np.square(forecast - truth[given:]), COLOURS[name.partition("-")[0]]),
    }
    scale = np.square(truth[given:]).mean()
    relative = {name: np.sqrt(each.mean((1, 2, 3)) / scale) for name, (each, _) in errors.items()}
    lines = [curves.plot([], [], color=colour, label=name, lw=2)[0] for name, (_, colour) in errors.items()]
    curves.set(xlim=(1, steps), ylim=(0, 1.05 * max(map(np.max, relative.values()))))
    curves.set(xlabel="frames ahead", title="RMSE over rms")
    curves.legend(loc="upper left", frameon=False)

    def show(frame: int) -> None:
        ahead = frame + 1 - given
        for axes, image, field, what in zip(maps, images, (truth, whole), ("truth", "forecast"), strict=True):
            image.set_data(vorticity(field)[frame])
            axes.set_title(what if ahead > 0 or what == "truth" else "given")
            axes.set_xlabel(f"frame {ahead:+d}")
        for line, values in zip(lines, relative.values(), strict=True):
            seen = values[: max(ahead, 0)]
            line.set_data(range(1, len(seen) + 1), seen)

    # The last frame stays for a second.
    order = [*range(len(truth)), *[len(truth) - 1] * FRAMES_A_SECOND]
    FuncAnimation(figure, show, frames=order).save(path, writer=PillowWriter(FRAMES_A_SECOND))


def vorticity(velocity: NDArray[np.float32]) -> NDArray[np.float32]:
    """``dv/dx - du/dy`` over cells of edge one, of (..., 2, y, x)."""
    u, v = velocity[..., 0, :, :], velocity[..., 1, :, :]
    curl: NDArray[np.float32] = np.gradient(v, axis=-1) - np.gradient(u, axis=-2)
    return curl
