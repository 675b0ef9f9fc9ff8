"""A network in training: its loss, its schedule and its checkpoints.

The loss is the mean absolute error of velocity relative to trilinear interpolation, so that all flows have equal
weight. The optimiser is AdamW, with a short warm-up and a cosine schedule. The stored weights are an exponential moving
average.
"""

from __future__ import annotations

import json
import math
import platform
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from models.networks import Architecture, Network
from models.replacing import replacing
from models.superresolution import SuperResolution
from training.checkpoints import readable_checkpoint
from training.dataset import identity
from training.optimizing import clip_gradients, share_of_rate
from training.samples import Sample, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from models.blocks import Boundaries
    from training.dataset import Dataset

CHECKPOINT = "checkpoint.pt"
LOSSES = "losses.csv"
WARM_UP = 30
# Without normalisation layers, a rare large gradient resets training to plain interpolation; most are near 1.
LARGEST_GRADIENT = 0.4


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Two runs of one recipe on the same data see the same samples; on one CPU thread they agree in every bit.

    Attributes:
        steps: in all.
        rate: highest learning rate.
        average: decay of the moving average of the weights.
        seed: of the initial weights and of the samples.
        augment: whether samples are rotated and reflected at random.
        precision: of the convolutions.
        relaxation_rate: highest learning rate of relaxation weights; None for that of the others.
        relaxation_steps: number of first steps in which only relaxation weights learn.
        checks: how many times the error on held-out data is measured; the result has the weights with the least one.
            With 0 it has the last ones.
        parent: the model whose weights it begins from, if any.
        parent_sha256: of these weights.
    """

    steps: int
    rate: float = 1e-3
    average: float = 0.995
    seed: int = 0
    augment: bool = False
    precision: str = "float32"
    relaxation_rate: float | None = None
    relaxation_steps: int = 0
    checks: int = 0
    parent: str | None = None
    parent_sha256: str | None = None


@dataclass(frozen=True)
class Checked:
    """Weights, and their error on held-out data.

    Attributes:
        step: after which they were taken.
        error: mean absolute error relative to trilinear interpolation.
        weights: as a state dictionary.
    """

    step: int
    error: float
    weights: dict[str, Tensor]


class Trainer:
    """A network in training, and its progress.

    Args:
        architecture: what to train.
        recipe: how.
        runs: on what.
        folder: for the checkpoint, and the loss of each step as ``losses.csv``.
        device: where.
        start: a model of this architecture whose weights training begins from; None for random ones.
        kept: runs for validation alone, see [`Source`][training.samples.Source].
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: Recipe,
        runs: Sequence[Dataset],
        folder: Path,
        device: str = "cpu",
        *,
        start: SuperResolution | None = None,
        kept: Sequence[Dataset] = (),
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.architecture = architecture
        self.recipe = recipe
        self.folder = folder
        self.device = device
        self.model = SuperResolution(Network(architecture)).to(device)
        if start is not None:
            self.model.load_state_dict(start.state_dict())
        self.source = Source(
            runs,
            halo=self.model.halo,
            factor=self.model.factor,
            frames=self.model.frames,
            augment=recipe.augment,
            device=device,
            seed=recipe.seed,
            kept=kept,
        )
        self.about = {
            "architecture": architecture.to_dict(),
            "recipe": asdict(recipe),
            "data": list(map(identity, runs)),
            "held-out data": list(map(identity, kept)),
        }
        """What a checkpoint must agree in."""
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
        # All banks of a kernel have the same gradient at the start, so that the kernel moves faster by their number.
        rates = {
            "psi": recipe.rate / architecture.banks,
            "relaxation": recipe.rate if recipe.relaxation_rate is None else recipe.relaxation_rate,
        }
        grouped: dict[str, list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            grouped.setdefault(name.rpartition(".")[2], []).append(parameter)
        groups = [{"params": parameters, "lr": rates.get(kind, recipe.rate)} for kind, parameters in grouped.items()]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
        firsts = [0 if kind == "relaxation" else recipe.relaxation_steps for kind in grouped]
        shares = [share_of_rate(recipe.steps, WARM_UP, first) for first in firsts]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, shares)
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.best: Checked | None = None
        self.random = self.source.random.bit_generator.state
        """After the last step; a stop in the next one may come when its sample was drawn."""
        self.whole = True
        """Whether all that a step changes is of the same step."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._resume()

    def loss(self, sample: Sample) -> Tensor:
        """See [`relative_error`][training.trainer.relative_error]."""
        with torch.autocast(
            torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        ):
            answer = self.model(sample.coarse, sample.circular)
        return relative_error(answer, sample, self.model)

    def run(self, every: float = 120.0) -> SuperResolution:
        """Train to the end of the recipe, with a checkpoint after ``every`` seconds.

        Returns:
            The model with averaged weights: those that were best on held-out data if the recipe has ``checks``, or else
            the last ones.
        """
        began = saved = time.monotonic()
        before = self.seconds
        if self.step in self._checked_steps():  # the last run may have been stopped in this check
            self._check()
        with tqdm(total=self.recipe.steps, initial=self.step, unit="step", dynamic_ncols=True) as bar:
            try:
                while self.step < self.recipe.steps:
                    self._advance()
                    if self.step in self._checked_steps():
                        self._check()
                    self.seconds = before + time.monotonic() - began
                    bar.update()
                    bar.set_postfix(loss=f"{sum(self.losses[-50:]) / len(self.losses[-50:]):.4f}")
                    if time.monotonic() - saved > every:
                        self.save()
                        saved = time.monotonic()
            finally:
                if self.whole:
                    self.save()
        if self.best:
            self.averaged.module.load_state_dict(self.best.weights)
        return cast("SuperResolution", self.averaged.module)

    def _checked_steps(self) -> set[int]:
        """Steps after which the error on held-out data is measured, the last one among them."""
        checks = self.recipe.checks
        return {self.recipe.steps * check // checks for check in range(1, checks + 1)} - {0}

    def _check(self) -> None:
        model = cast("SuperResolution", self.averaged.module)
        error = self.held_out_error(model)
        if math.isfinite(error) and (self.best is None or error < self.best.error):
            self.best = Checked(self.step, error, {key: value.clone() for key, value in model.state_dict().items()})

    def held_out_error(self, model: SuperResolution) -> float:
        """See [`over_trilinear`][training.trainer.over_trilinear]."""
        return over_trilinear(model, [sample for each in self.source.validation().values() for sample in each])

    def _advance(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.source.draw())
        loss.backward()
        clip_gradients(self.model, LARGEST_GRADIENT, loss, self.step)
        self.whole = False
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.model)
        self.losses.append(loss.item())
        self.random = self.source.random.bit_generator.state
        self.step += 1
        self.whole = True

    def save(self) -> None:
        """Replace the checkpoint, in one step, and the losses."""
        state = {
            **self.about,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": json.dumps(self.random),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "best": vars(self.best) if self.best else None,
        }
        with replacing(self.folder / CHECKPOINT) as path:
            torch.save(state, path)
        rows = (f"{step},{loss:.6g}\n" for step, loss in enumerate(self.losses, start=1))
        with replacing(self.folder / LOSSES) as path:
            path.write_text("step,loss\n" + "".join(rows))

    def _resume(self) -> None:
        path, ours = self.folder / CHECKPOINT, self.about
        with readable_checkpoint(path):
            # Not to the device: AdamW reads its counters of steps by each step, which would wait for a GPU.
            state = torch.load(path, map_location="cpu", weights_only=True)
            recipe = state["recipe"] | {"steps": max(self.recipe.steps, state["step"])}
            # What an older version did not write cannot be compared.
            found = ours | state | {"recipe": ours["recipe"] | recipe}
        for name, wanted in ours.items():
            if found[name] != wanted:
                message = f"{self.folder} holds a training with {name} {found[name]}, not {wanted}; use another --out"
                raise ValueError(message)
        with readable_checkpoint(path):
            self.best = Checked(**state["best"]) if state["best"] else None
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.source.random.bit_generator.state = self.random = json.loads(state["random"])
            self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]


def relative_error(answer: Tensor, sample: Sample, model: SuperResolution) -> Tensor:
    """Mean absolute error of an answer, relative to trilinear interpolation; 0 where that is exact but for rounding.

    So samples of uniform flow, of which nothing can be learned, have no gradients.
    """
    error, theirs = (answer - sample.fine).abs().mean(), sample.trilinear_error(model.halo, model.factor)
    return 0 * error if theirs == 0 else error / theirs


@torch.inference_mode()
def over_trilinear(model: SuperResolution, samples: Sequence[Sample]) -> float:
    """Mean absolute error of a model relative to trilinear interpolation, averaged over samples."""
    frozen = model.frozen()
    ratios = [float(relative_error(frozen(each.coarse, each.circular), each, model)) for each in samples]
    return sum(ratios) / len(ratios)


def common_boundary(runs: Sequence[Dataset]) -> Boundaries | None:
    """What lies beyond the ends of each axis in all runs, for a card; None if they differ."""
    boundaries = {run.boundary for run in runs}
    return boundaries.pop() if len(boundaries) == 1 else None


def provenance(trainer: Trainer, runs: Sequence[Dataset]) -> dict[str, Any]:
    """The training, for a card."""
    device = trainer.device
    return {
        "data": [{**run.provenance(), "flow": run.flow} for run in runs],
        "loss": "L1 over trilinear's",
        **asdict(trainer.recipe),
        "minutes": round(trainer.seconds / 60, 1),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine(),
        "torch": torch.__version__,
    }
