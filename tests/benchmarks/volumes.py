"""Whole volumes: our blocks beside sliding windows and a naive loop; and interpolation beside scipy's and torch's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from models.blocks import PERIODIC, plan
from models.convolution import EVERYWHERE
from models.networks import Network
from models.superresolution import SuperResolution, upscale
from tests.benchmarks.networks import difference
from tests.benchmarks.timing import Row, alternate, by_voxels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from tests.benchmarks.scale import Scale

    Field = NDArray[np.float32]

MONAI: Final = "monai.inferers.utils.sliding_window_inference"
SCIPY: Final = "scipy.ndimage.zoom"
WHOLE = "Whole volumes"
INTERPOLATION = "Interpolation"
MISSING = "not measured: `pip install 'eddylift[bench]'`"


def noise(*shape: int, seed: int = 0) -> Field:
    """A velocity with a mean and a scale of its own."""
    return (3 * np.random.default_rng(seed).standard_normal(shape) + 1).astype(np.float32)


def optional(name: str) -> Any:  # noqa: ANN401 whatever it is
    """A function of a module that need not be installed, by its full name; or None."""
    module, _, function = name.rpartition(".")
    try:
        return getattr(import_module(module), function)
    except ImportError:
        return None


@torch.inference_mode()
def measure(scale: Scale) -> Sequence[Row]:
    """Rows of both sections."""
    return [*_whole(scale), *_interpolation(scale)]


def _whole(scale: Scale) -> Sequence[Row]:
    model = SuperResolution(Network(scale.network)).frozen().to(scale.device)
    source = noise(3, *scale.whole)
    layout = plan(scale.whole, halo=model.halo, boundary=PERIODIC, block=scale.edge)

    def window(x: Tensor) -> Tensor:
        """A window by itself; its ends wrap, as they would be padded with zeros elsewhere, and cost as much."""
        return model(x[:, None], EVERYWHERE)  # type: ignore[no-any-return]

    def naive() -> Field:
        fine = np.empty((3, *(4 * n for n in scale.whole)), np.float32)
        for block in layout.blocks:
            z, y, x = (slice(a, b) for a, b in zip(block.start, block.stop, strict=True))
            part = torch.from_numpy(source[:, z, y, x]).to(scale.device)
            fine[:, *block.fine(4)] = window(part[None])[0].cpu().numpy()
        return fine

    contestants: dict[str, Callable[[], Field]] = {
        "ours": lambda: upscale(model, source, PERIODIC, block=scale.edge),
        "naive": naive,
    }
    slide = optional(MONAI)
    if slide:

        def sliding() -> Field:
            x = torch.from_numpy(source).to(scale.device)[None]
            answer: Tensor = slide(x, layout.block_shape, 4, window, overlap=0.25, mode="gaussian")
            return answer[0].cpu().numpy()

        contestants["monai"] = sliding
    answers: dict[str, Field] = {}

    def keep(name: str) -> Callable[[], None]:
        return lambda: answers.__setitem__(name, contestants[name]())

    seconds = alternate({name: keep(name) for name in contestants}, scale.slow_rounds, warm=False)
    whole = upscale(model, source, PERIODIC, block=max(scale.whole))
    away = {name: difference(torch.from_numpy(whole), torch.from_numpy(answer)) for name, answer in answers.items()}
    edge = " x ".join(map(str, layout.block_shape))
    size = " x ".join(map(str, scale.whole))
    of = f"{size} in blocks of {edge}; off the undivided volume's answer by {away['ours']:.0e}"
    names = {"monai": "MONAI, sliding windows, gaussian, overlap 0.25", "naive": "a loop over blocks without halos"}
    rows = []
    for name, other in names.items():
        if name not in seconds:
            rows.append(Row(WHOLE, "blocks with halos", other, note=MISSING))
            continue
        note = f"{of}, the other by {away[name]:.0e}"
        ours = ("blocks with halos", seconds["ours"])
        rows.append(by_voxels(WHOLE, ours, (other, seconds[name]), source.size / 3 * 64, note=note))
    return rows


def _interpolation(scale: Scale) -> Sequence[Row]:
    source = noise(3, *(3 * [2 * scale.cells]))
    trilinear = SuperResolution().to(scale.device)
    network = SuperResolution(Network(scale.network)).frozen().to(scale.device)
    here = torch.from_numpy(source)[None]
    contestants: dict[str, Callable[[], Any]] = {
        "trilinear": lambda: upscale(trilinear, source, PERIODIC),
        "network": lambda: upscale(network, source, PERIODIC),
        "torch": lambda: (
            functional.interpolate(here.to(scale.device), scale_factor=4, mode="trilinear").cpu().numpy()[0]
        ),
    }
    zoom = optional(SCIPY)
    if zoom:
        for order in (1, 3):
            contestants[f"scipy {order}"] = lambda order=order: np.stack(  # type: ignore[misc]
                [zoom(part, 4, order=order, mode="grid-wrap", grid_mode=True) for part in source]
            )
    seconds = alternate(contestants, scale.rounds)
    inside = (slice(None), *(3 * [slice(4, -4)]))  # torch knows no periodic ends

    def away(name: str) -> float:
        ours, other = (torch.from_numpy(contestants[each]()[inside]) for each in ("trilinear", name))
        return difference(ours, other)

    of, voxels = f"{2 * scale.cells}^3 to {8 * scale.cells}^3", (8.0 * scale.cells) ** 3
    entries = [
        (
            "trilinear",
            "torch",
            "torch interpolate, trilinear",
            True,
            f"{of}; agree but at the ends, which torch repeats",
        ),
        ("trilinear", "scipy 1", "scipy zoom, order 1", True, of),
        ("network", "scipy 3", "scipy zoom, order 3", False, of),
    ]
    titles = {"trilinear": "trilinear-x4", "network": "relaxed, frozen"}
    rows = []
    for ours, name, title, same, note in entries:
        if name not in seconds:
            rows.append(Row(INTERPOLATION, titles[ours], title, note=MISSING))
            continue
        pair = (titles[ours], seconds[ours]), (title, seconds[name])
        rows.append(by_voxels(INTERPOLATION, *pair, voxels, difference=away(name) if same else None, note=note))
    return rows
