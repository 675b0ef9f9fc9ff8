"""Symmetries that pairs are made to keep are those that are found, exactly and on the average."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from models.discovery.discover import departures, discover, kept_to_rounding
from models.discovery.fit import Checkpoints, Recipe, steps_of
from models.discovery.pairs import Pairs
from models.group import Group, group, rotate_scalar, rotate_vector
from training.experiments.squares import square_to

if TYPE_CHECKING:
    from torch import Tensor

SHORT = Recipe(fields=2, equivariant_steps=5, steps=20)


def turned(pairs: Pairs, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Both fields of pairs of vectors, or of scalars."""
    move = rotate_vector if pairs.x_kind == "vector" else rotate_scalar
    return move(pairs.x[:], matrix), move(pairs.y[:], matrix)


def closed(of: Group, dimension: int, kind: str, factor: int) -> Pairs:
    """A random pair and its images under a group: what they keep are its elements."""
    channels = dimension if kind == "vector" else 2
    x = torch.randn(1, channels, *dimension * [4], dtype=torch.float64)
    y = torch.randn(1, channels, *dimension * [4 * factor], dtype=torch.float64)
    one = Pairs(x, y, kind, kind)  # type: ignore[arg-type]
    images = [turned(one, matrix) for matrix in of.matrices]
    return Pairs(torch.cat([x for x, _ in images]), torch.cat([y for _, y in images]), kind, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kept", "symbol"), [("C1", "1"), ("C2", "2"), ("C4", "4")])
@pytest.mark.parametrize("kind", ["scalar", "vector"])
@pytest.mark.parametrize("factor", [1, 2])
def test_exactly_what_pairs_keep(kept: str, symbol: str, kind: str, factor: int) -> None:
    torch.manual_seed(0)
    finding = discover(closed(group(kept, 2), 2, kind, factor), group("D4", 2), SHORT)
    assert finding.exact
    assert finding.symbol == symbol
    assert len(finding.kept) == group(kept, 2).order
    assert finding.moved[0] == "A1"
    errors = finding.equivariance_errors
    assert max(errors[name] for name in finding.kept) < 1e-12
    assert min(error for name, error in errors.items() if name not in finding.kept) > 1e-3
    assert finding.mse < finding.mse_zero


def test_a_vector_along_an_axis_of_a_cube_keeps_four_elements_and_their_mirrors() -> None:
    """From nothing but a constant scalar to a vector along z: 4mm, by weights that tell up from down."""
    torch.manual_seed(0)
    x, y = torch.ones(1, 1, 3, 3, 3).double(), torch.zeros(1, 3, 3, 3, 3).double()
    y[:, 2] = 1
    finding = discover(Pairs(x, y, "scalar", "vector"), group("Oh"), Recipe(fields=1, equivariant_steps=2, steps=10))
    assert finding.symbol == "4mm"
    assert set(finding.kept) >= {"x,y,z", "-y,x,z", "-x,y,z"}
    assert finding.moved == ["A1g", "Eg", "T1u"]
    assert finding.mse_copy == finding.mse_zero  # a scalar is no prediction of a vector


def test_a_symmetry_that_noisy_pairs_keep_on_the_average() -> None:
    """Y is a mean of X along x, and noise: quarter turns are broken, both mirrors kept, no weight exactly so."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24, 1, 8, 8, dtype=torch.float64, generator=generator)
    y = 0.5 * (x.roll(-1, 3) + x.roll(1, 3)) + 0.3 * torch.randn(x.shape, dtype=torch.float64, generator=generator)
    finding = discover(Pairs(x, y), group("D4", 2), Recipe(fields=2, equivariant_steps=30, steps=10, seeds=1))
    assert not finding.exact
    assert finding.symbol == "2mm"
    assert {layer.symbol for layer in finding.layers.values()} == {"1"}
    assert set(finding.kept) == {"x,y", "-x,-y", "-x,y", "x,-y"}
    assert finding.moved == ["A1", "B1"]


@pytest.mark.parametrize(("seed", "galilean"), [(0, False), (1, False), (0, True)])
def test_a_break_in_the_response_to_the_mean_of_a_vector(seed: int, *, galilean: bool) -> None:
    """A drag takes the x-component of the mean of each X, and none of the fluctuations."""
    generator = torch.Generator().manual_seed(seed)
    mean, noise = (torch.randn(16, 2, n, n, dtype=torch.float64, generator=generator) for n in (1, 4))
    x = mean + 0.5 * noise
    y = x - mean * torch.tensor([1.0, 0.0]).reshape(2, 1, 1)
    recipe = Recipe(fields=2, equivariant_steps=30, steps=2, seeds=1, galilean=galilean)
    finding = discover(Pairs(x, y, "vector", "vector"), group("D4", 2), recipe)
    assert (set(finding.kept) == {"x,y", "-x,-y", "-x,y", "x,-y"}) == (not galilean)


def test_a_constant_vector_is_seen() -> None:
    """Y is half of X, which points along x: that keeps the mirror, and no network that ignores X could tell."""
    x = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    x[:, 0] = 1
    finding = discover(Pairs(x, x / 2, "vector", "vector"), group("D4", 2), SHORT)
    assert set(finding.kept) == {"x,y", "x,-y"}
    assert not finding.unfitted


def test_pairs_that_are_not_independent() -> None:
    """What eight pairs break by chance is significant once each is there five times, but not against their spread."""
    generator = torch.Generator().manual_seed(2)
    x, noise = (torch.randn(8, 1, 8, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    x, noise = (each.repeat_interleave(5, dim=0) for each in (x, noise))
    pairs = Pairs(x, 0.5 * (x.roll(-1, 3) + x.roll(1, 3)) + noise)
    recipe = Recipe(fields=2, equivariant_steps=30, steps=2, seeds=1)
    strict, wide = (discover(pairs, group("D4", 2), replace(recipe, sigmas=each)) for each in (None, 2.0))
    assert len(strict.kept) < 4
    assert strict.common == wide.common
    assert set(wide.kept) == {"x,y", "-x,-y", "-x,y", "x,-y"}


@pytest.mark.parametrize("seed", range(2))
def test_noisy_pairs_that_break_all_do_so_on_the_average(seed: int) -> None:
    """The identity alone is kept to rounding by any data, and says nothing of exact ones."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, 10, 1, 8, 8, dtype=torch.float64, generator=generator)
    y = x.roll(1, 3) + 0.5 * x.roll(1, 2) + 0.1 * noise
    finding = discover(Pairs(x, y), group("D4", 2), Recipe(fields=2, equivariant_steps=30, steps=2, seeds=1))
    assert not finding.exact
    assert finding.verdict.startswith("1: 1 of the 8 elements of D4 are kept on the average; if the pairs are not ind")


SQUARE, RECTANGLE = (field[:] for field in (square_to("rectangle").x, square_to("rectangle").y))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (SQUARE.roll((1, 2), (2, 3)), RECTANGLE.roll((1, 2), (2, 3))),
        ((SQUARE + 300).float(), (RECTANGLE + 300).float()),
        ((1e25 * SQUARE).float(), (1e25 * RECTANGLE).float()),
        (torch.cat([1e9 * SQUARE, SQUARE], 1), torch.cat([1e9 * SQUARE, RECTANGLE], 1)),
        (torch.cat([SQUARE, SQUARE], 1), torch.cat([SQUARE + 1e-10 * RECTANGLE, RECTANGLE], 1)),
        (SQUARE, torch.cat([1e9 * SQUARE, RECTANGLE], 1)),
    ],
)
def test_places_units_and_offsets_do_not_matter(x: Tensor, y: Tensor) -> None:
    finding = discover(Pairs(x, y), group("D4", 2), replace(SHORT, relaxation_rate=0.1))
    assert (finding.symbol, finding.exact) == ("2mm", True)
    assert finding.error_outside is not None
    assert finding.error_inside < 1e-5
    assert finding.error_outside > 0.01


@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_units_that_differ_are_told(factor: float) -> None:
    """X is no prediction of Y in other units. Fields of other kinds, and constants, have no units in common."""
    recipe = Recipe(fields=1, equivariant_steps=1, steps=1)
    x = torch.cat([SQUARE, SQUARE], 1)
    finding = discover(Pairs(x, torch.cat([SQUARE, factor * RECTANGLE], 1)), group("C2", 2), recipe)
    assert finding.unlike == ([] if factor == 1 else [1])
    assert ("In channels [1] of Y, counted from 0, the rms is more than 10 times" in finding.verdict) == (factor != 1)
    assert discover(Pairs(x, factor * RECTANGLE), group("C2", 2), recipe).unlike == []
    assert discover(Pairs(torch.full_like(SQUARE, 0.1), factor * RECTANGLE), group("C2", 2), recipe).unlike == []


def test_a_copy_up_to_rounding_keeps_all() -> None:
    noise = torch.randn(SQUARE.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    finding = discover(Pairs(SQUARE + 3, SQUARE + 3 + 1e-15 * noise), group("D4", 2), SHORT)
    assert finding.verdict == "4mm: 8 of the 8 elements of D4 are kept to rounding."


@pytest.mark.parametrize("size", [0.0, 1e-5])
def test_what_float32_cannot_tell_is_not_called_rounding(size: float) -> None:
    """A break far above its rounding is not seen; in float64, one is."""
    noise = torch.randn(SQUARE.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = 2 * SQUARE + size * noise
    kept = "4mm: 8 of the 8 elements of D4 are kept"
    recipe = replace(SHORT, steps=60)
    finding = discover(Pairs(SQUARE.float(), y.float()), group("D4", 2), recipe)
    assert finding.verdict == f"{kept} to 0.0001, as far as float32 tells."
    assert (discover(Pairs(SQUARE, y), group("D4", 2), recipe).verdict == f"{kept} to rounding.") == (size == 0)


def test_what_cannot_be_fitted_is_told() -> None:
    finding = discover(Pairs(torch.ones_like(SQUARE), RECTANGLE), group("D4", 2), SHORT)
    assert "In channels [0] of Y, counted from 0, the fit is hardly better" in finding.verdict


def test_what_is_left_of_exact_data_is_told() -> None:
    """X repeats itself after four cells, Y after eight: no network that commutes with shifts can tell."""
    lattice = SQUARE[..., 1:9, 1:9].clone().zero_()
    lattice[..., ::4, ::4] = 1
    stripes = torch.tensor([1.0, 0, 0, 0, -1, 0, 0, 0], dtype=lattice.dtype)
    pairs = Pairs(lattice, 2 * lattice + 0.5 * stripes)
    finding = discover(pairs, group("D4", 2), Recipe(fields=2, equivariant_steps=5, steps=100))
    assert finding.verdict == (
        "4mm: 8 of the 8 elements of D4 are kept to rounding. The fit leaves "
        f"{finding.unexplained:.0%} of how Y differs from X, or from zero, in some channel: what breaks a symmetry "
        "there is not seen."
    )
    assert 0.1 < finding.unexplained < 0.9


def test_a_channel_that_cannot_be_fitted_is_told_beside_one_of_large_values() -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(2, 8, 1, 16, 16, dtype=torch.float64)
    pairs = Pairs(x, torch.cat([1e5 * x.roll(1, 3), noise], 1))
    finding = discover(pairs, group("C2", 2), Recipe(fields=1, equivariant_steps=5, steps=30))
    assert finding.unfitted == [1]
    assert finding.mse < 0.9 * finding.mse_zero


def test_what_is_kept_to_rounding_is_a_group() -> None:
    """The departures of quarter turns are below a tolerance, and that of the half turn above it."""
    over = group("C4", 2)
    weights = 1 + 1e-9 * torch.tensor([[0.0, 2.0, 1.0, 1.0]], dtype=torch.float64)
    assert departures(weights, over).tolist() == pytest.approx([0, 2**0.5 * 1e-9, 1e-9, 1e-9])
    assert [len(kept_to_rounding(weights, over, tolerance)) for tolerance in (0.9e-9, 1.2e-9, 1.5e-9)] == [1, 1, 4]


@pytest.mark.parametrize(("limit", "most"), [("BATCH", 12), ("BATCH_VALUES", 96)])
def test_large_fields_are_computed_in_slabs_with_what_is_around_them(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    """No more than 12 of the 16 cells of X, with 8 values of Y for each, are computed together."""
    torch.manual_seed(0)
    pairs, over = closed(group("C2", 2), 2, "vector", 2), group("C4", 2)
    recipe = Recipe(fields=1, equivariant_steps=1, steps=2)
    whole = discover(pairs, over, recipe)
    monkeypatch.setattr(f"models.discovery.pairs.{limit}", most)
    assert [len(x) for x, _ in pairs.batches()] == [1, 1]
    batches: list[None] = []
    found = discover(replace(pairs), over, recipe, progress=lambda: batches.append(None))
    passes = 3 + 1 + (1 + 4)  # steps, the error of the fit, and that of each turn
    assert len(batches) == (passes * 2 + 2) * 2  # two slabs of each pair, which is read twice for its units
    assert (found.kept, found.exact) == (whole.kept, True)
    assert found.mse == pytest.approx(whole.mse)
    assert found.mse_copy == pytest.approx(whole.mse_copy)
    assert found.equivariance_errors == pytest.approx(whole.equivariance_errors, abs=1e-9)


class Stopping(Checkpoints):
    """Keeps states in memory, and stops the discovery after a number of steps."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.steps = 0
        self.stop: int | None = None

    def load(self, name: str, about: dict[str, Any]) -> dict[str, Any]:
        state = self.states.get(name, {"about": about})
        assert state["about"] == about
        return self.states.get(name, {})

    def save(self, name: str, state: dict[str, Any]) -> None:
        self.states[name] = copy.deepcopy(state)
        self.steps += 1
        if self.steps == self.stop:
            raise InterruptedError


def test_a_discovery_that_was_stopped_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    pairs = Pairs(torch.randn(10, 1, 4, 4), torch.randn(10, 1, 4, 4))
    recipe = Recipe(fields=1, equivariant_steps=2, steps=3, seeds=2)
    whole = discover(pairs, group("C2", 2), recipe)
    checkpoints = Stopping()
    for checkpoints.stop in (3, 5):
        with pytest.raises(InterruptedError):
            discover(pairs, group("C2", 2), recipe, checkpoints=checkpoints)
    assert discover(pairs, group("C2", 2), recipe, checkpoints=checkpoints) == whole
    assert checkpoints.steps == steps_of(pairs, recipe) == 7


@pytest.mark.parametrize(
    ("x", "y", "kinds", "message"),
    [
        ((2, 1, 4), (2, 1, 4), ("scalar", "scalar"), "x: (2, 1, 4); expected axes (pair, channel, y, x)"),
        ((2, 1, 4, 4), (2, 1, 4, 4, 4), ("scalar", "scalar"), "y: (2, 1, 4, 4, 4); expected as many axes and pairs"),
        ((2, 1, 4, 4), (3, 1, 4, 4), ("scalar", "scalar"), "y: (3, 1, 4, 4); expected as many axes and pairs"),
        ((2, 1, 4, 4), (2, 1, 8, 4), ("scalar", "scalar"), "y: (2, 1, 8, 4); expected one whole number of cells"),
        ((2, 1, 4, 4), (2, 1, 6, 6), ("scalar", "scalar"), "y: (2, 1, 6, 6); expected one whole number of cells"),
        ((2, 3, 4, 4), (2, 2, 4, 4), ("vector", "vector"), "x: 3 channels; expected 2 for each vector"),
        (
            (2, 1, 2, 4),
            (2, 1, 2, 4),
            ("scalar", "scalar"),
            "x: (2, 1, 2, 4); expected at least 3 cells",
        ),
        ((0, 1, 4, 4), (0, 1, 4, 4), ("scalar", "scalar"), "x: (0, 1, 4, 4); expected no empty axis"),
    ],
)
def test_pairs_that_do_not_fit(x: Any, y: Any, kinds: Any, message: str) -> None:  # noqa: ANN401 cases
    with pytest.raises(ValueError, match=re.escape(message)):
        Pairs(torch.zeros(x).double(), torch.zeros(y).double(), *kinds)


def test_values_and_groups_that_do_not_fit() -> None:
    x = torch.zeros(1, 1, 4, 4).double()
    with pytest.raises(ValueError, match="y: NaN or inf; expected finite values"):
        Pairs(x, x + torch.nan)
    for largest in (1e200, 1e-200):
        with pytest.raises(
            ValueError, match=re.escape(f"y: up to {largest:g}; expected values of which the largest is")
        ):
            Pairs(x, x + largest)
    with pytest.raises(ValueError, match=r"y: torch\.float32; expected float64 or float32, the same of x and y"):
        Pairs(x, x.float())
    with pytest.raises(ValueError, match="group must be of dimension 2, as the pairs are, not 3"):
        discover(Pairs(x, x), group("O"), SHORT)
