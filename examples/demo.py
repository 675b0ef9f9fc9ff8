"""The main job, end to end: a coarse turbulent volume goes over HTTP into the networks and comes back four times finer.

Starts the service on a free port, upscales a volume that no network has seen with every model, prints the errors and
draws what came back. ``make demo`` runs it.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from eddylift import Client, UnreachableError
from models.catalogue import Catalogue
from models.metrics import spectrum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from eddylift import Metrics

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("trilinear", "conv", "equivariant", "relaxed")
COLOURS = {"trilinear": "tab:orange", "conv": "tab:purple", "equivariant": "tab:green", "relaxed": "tab:blue"}
console = Console()


@contextmanager
def service() -> Iterator[Client]:
    """A running service on a free port of this machine, and a client of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603 our own command
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            while process.poll() is None:
                try:
                    client.models()
                    break
                except UnreachableError:
                    time.sleep(0.2)
            else:
                message = f"the service ended with status {process.returncode}"
                raise RuntimeError(message)
            console.print(f"service on http://127.0.0.1:{port}")
            yield client
    finally:
        process.terminate()
        process.wait()


def numbers(metrics: Metrics) -> dict[str, float]:
    """The metrics that are one number."""
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def upscale_with_all(
    client: Client, coarse: NDArray[np.float32], fine: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Every model's answer; prints what each is worth."""
    table = Table(title="one held-out volume of isotropic turbulence, 4x in every direction")
    columns = ("model", "parameters", "MAE", "MAE / rms", "MAE / trilinear's", "relative L2", "consistency", "seconds")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right")
    answers = {}
    for family in FAMILIES:
        name = "trilinear-x4" if family == "trilinear" else f"{family}-isotropic-x4"
        with console.status(f"{name} ..."):
            began = time.perf_counter()
            answers[family] = client.upscale(coarse, model=name, boundary="periodic")
            seconds = time.perf_counter() - began
            report = client.validate(coarse, fine, model=name, boundary="periodic")
        ours, plain = (numbers(report[part]) for part in ("metrics", "trilinear"))
        table.add_row(
            name,
            f"{client.model(name)['parameters']:,}",
            f"{ours['mae']:.4f}",
            f"{ours['mae_over_rms']:.4f}",
            f"{ours['mae'] / plain['mae']:.3f}",
            f"{ours['relative_l2']:.3f}",
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
    slices = {
        f"coarse, {coarse.shape[-1]}³": coarse[0, level // 4],
        f"trilinear, {fine.shape[-1]}³": answers["trilinear"][0, level],
        f"relaxed, {fine.shape[-1]}³": answers["relaxed"][0, level],
        f"true, {fine.shape[-1]}³": fine[0, level],
    }
    errors = {f"|error|, {name}": np.abs(answers[name][0, level] - fine[0, level]) for name in ("trilinear", "relaxed")}
    figure, axes = plt.subplot_mosaic(
        [[*slices], [*errors, "spectra", "spectra"]], figsize=(13, 6.6), layout="constrained"
    )
    bound, worst = (max(float(np.abs(values).max()) for values in maps.values()) for maps in (slices, errors))
    for title, values in slices.items():
        image = axes[title].imshow(values, origin="lower", cmap="RdBu_r", vmin=-bound, vmax=bound)
    figure.colorbar(image, ax=[axes[title] for title in slices], label="u", shrink=0.85)
    for title, values in errors.items():
        image = axes[title].imshow(values, origin="lower", cmap="magma", vmin=0, vmax=worst)
    figure.colorbar(image, ax=[axes[title] for title in errors], label="|u - true u|", shrink=0.85)
    for title in (*slices, *errors):
        axes[title].set(title=title, xticks=[], yticks=[])
    draw_spectra(axes["spectra"], fine, answers, nyquist=coarse.shape[-1] // 2)
    figure.savefig(path, dpi=110)
    console.print(f"picture: {path}")


def draw_spectra(axes: Axes, fine: NDArray[np.float32], answers: dict[str, NDArray[np.float32]], nyquist: int) -> None:
    """Kinetic energy by wavenumber of the truth and of every answer."""
    k, energy = spectrum(torch.from_numpy(fine))
    axes.loglog(k, energy, color="black", linewidth=4, alpha=0.3, label="true")
    for family, answer in answers.items():
        style = "--" if family == "trilinear" else "-"
        axes.loglog(k, spectrum(torch.from_numpy(answer)).energy, style, color=COLOURS[family], label=family)
    axes.axvline(nyquist, color="grey", linestyle=":")
    axes.annotate("coarse Nyquist", (nyquist, float(energy.max())), rotation=90, va="top", ha="right", color="grey")
    axes.set(xlabel="k", ylabel="E(k)", title="kinetic energy spectrum")
    axes.set_ylim(float(energy[: 2 * len(energy) // 3].min()) / 10, 3 * float(energy.max()))
    axes.legend(loc="lower left")


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="where the picture goes")
    args = parser.parse_args()
    held_out = Catalogue(ROOT / "weights").held_out("isotropic")
    if held_out is None:
        parser.exit(1, "weights/held-out has no isotropic sample; python -m training evaluate --ship writes one\n")
    coarse, fine = held_out.coarse[0], held_out.fine
    with service() as client:
        answers = upscale_with_all(client, coarse, fine)
    draw(coarse, fine, answers, args.out)


if __name__ == "__main__":
    main()
