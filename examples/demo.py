"""Super-resolve a held-out turbulent volume over HTTP, with one model of each family.

Starts the service on a free port, makes the volume four times finer, prints the errors and draws the answers.
``make demo`` runs it.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import Normalize
from rich.console import Console
from rich.table import Table

from eddylift import Client
from models.held_out import HeldOutSamples
from models.metrics.spectra import spectrum
from training.figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from numpy.typing import NDArray

    from eddylift import Metrics

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "trilinear": "trilinear-x4",
    "conv": "conv-general-x4",
    "equivariant": "equivariant-general-x4",
    "relaxed": "relaxed-general-x4",
}
"""Model of each family."""
SHOWN = ("trilinear", "equivariant")
LINES = {"trilinear": ("--", 1.5), "equivariant": ("-", 5), "conv": ("-", 2.5), "relaxed": ((0, (3, 3)), 1.3)}
"""Style and width of the spectra, in the order in which they are drawn: where they coincide, all are seen."""
console = Console()


@contextmanager
def service() -> Iterator[Client]:
    """A running service on a free port of this machine, and a client of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", str(port)]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process,  # noqa: S603 our own command
        Client(url) as client,
    ):
        try:
            wait_for(url, process)
            yield client
        except BaseException:
            log.seek(0)
            console.print(log.read(), markup=False)
            raise
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the service says that it is ready."""
    with console.status("starting the service ..."):
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/health/ready"):  # noqa: S310 an address of ours
                return
            time.sleep(0.1)
    message = f"the service ended with status {process.returncode}"
    raise RuntimeError(message)


def numbers(metrics: Metrics) -> dict[str, float]:
    """The metrics that are one number."""
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def upscale_with_all(
    client: Client, coarse: NDArray[np.float32], fine: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Every model's answer; prints what each is worth."""
    table = Table(box=None, pad_edge=False, title="a volume of isotropic turbulence that no model has seen, 4x finer")
    for column in ("model", "weights", "MAE", "MAE / rms", "/ trilinear's", "consistency", "seconds"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    answers = {}
    for family, name in MODELS.items():
        with console.status(f"{name} ..."):
            # First, so that the time below has no loading and warming up in it.
            report = client.validate(coarse, fine, model=name, boundary="periodic")
            began = time.perf_counter()
            answers[family] = client.upscale(coarse, model=name, boundary="periodic")
            seconds = time.perf_counter() - began
        ours, plain = (numbers(report[part]) for part in ("metrics", "trilinear"))
        table.add_row(
            family,
            f"{client.model(name)['parameters']:,}",
            f"{ours['mae']:.4f}",
            f"{ours['mae_over_rms']:.4f}",
            f"{ours['mae'] / plain['mae']:.3f}",
            f"{ours['consistency']:.0e}",
            f"{seconds:.2f}",
        )
    console.print(table)
    return answers


def draw(
    coarse: NDArray[np.float32], fine: NDArray[np.float32], answers: dict[str, NDArray[np.float32]], path: Path
) -> None:
    """One slice of u as sent, interpolated, super-resolved and true, the errors, and the spectra."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 after the backend is chosen

    level = fine.shape[1] // 2
    true = fine[0, level]
    small, large = (f"{field.shape[-1]}³" for field in (coarse, fine))
    slices = {f"coarse, {small}": coarse[0, level // 4]}
    slices |= {f"{MODELS[family]}, {large}": answers[family][0, level] for family in SHOWN}
    slices[f"true, {large}"] = true
    errors = {f"error, {MODELS[family]}": np.abs(answers[family][0, level] - true) for family in SHOWN}
    bound, worst = (max(float(np.abs(values).max()) for values in maps.values()) for maps in (slices, errors))
    figure = plt.figure(figsize=(13, 7.1), layout="constrained")
    figure.suptitle(f"plane {level} of {fine.shape[1]} along z: x to the right, y up", fontsize=11)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.1, 1])
    draw_maps(
        figure.add_subfigure(grid[0, :]),
        slices,
        Normalize(-bound, bound),
        cmap="RdBu_r",
        label="u, in units of the simulation",
    )
    draw_maps(
        figure.add_subfigure(grid[1, 0]),
        errors,
        Normalize(0, worst),
        cmap="magma",
        label="|u - true u|, in the same units",
    )
    draw_spectra(figure.add_subfigure(grid[1, 1]).subplots(), fine, answers, nyquist=coarse.shape[-1] // 2)
    figure.savefig(path, dpi=110)
    console.print(f"picture: {path}")


def draw_maps(part: SubFigure, maps: dict[str, NDArray[np.float32]], norm: Normalize, *, cmap: str, label: str) -> None:
    """Slices side by side, in one scale of colours."""
    row = [part.add_subplot(1, len(maps), column + 1) for column in range(len(maps))]
    for axes, (title, values) in zip(row, maps.items(), strict=True):
        axes.imshow(values, origin="lower", cmap=cmap, norm=norm)
        axes.set(title=title, xticks=[], yticks=[])
    part.colorbar(mpl.cm.ScalarMappable(norm, cmap), ax=row, label=label, shrink=0.9)


def draw_spectra(axes: Axes, fine: NDArray[np.float32], answers: dict[str, NDArray[np.float32]], nyquist: int) -> None:
    """Kinetic energy by wavenumber of the truth and of every answer."""
    k, energy = spectrum(torch.from_numpy(fine))
    axes.loglog(k, energy, color="black", linewidth=8, alpha=0.25, label="true")
    for family, (style, width) in LINES.items():
        theirs = spectrum(torch.from_numpy(answers[family])).energy
        axes.loglog(k, theirs, linestyle=style, linewidth=width, color=COLOURS[family], label=MODELS[family])
    axes.axvline(nyquist, color="grey", linestyle=":")
    axes.annotate(" coarse Nyquist", (nyquist, float(energy.max())), ha="left", va="bottom", color="grey")
    axes.set(xlabel="wavenumber k, in waves per box", ylabel="E(k)", title="kinetic energy spectrum")
    axes.set_ylim(float(energy[: 2 * len(energy) // 3].min()) / 10, 5 * float(energy.max()))
    axes.legend(loc="lower left")


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="file to write")
    args = parser.parse_args()
    held_out = HeldOutSamples(ROOT / "weights").find("isotropic")
    if held_out is None:
        parser.exit(1, "weights/held-out has no isotropic sample; python -m training evaluate --ship writes one\n")
    coarse, fine = held_out.coarse[0], held_out.fine
    with service() as client:
        answers = upscale_with_all(client, coarse, fine)
    draw(coarse, fine, answers, args.out)


if __name__ == "__main__":
    main()
