"""That all is compared which is to be, and that contestants give the same answers where they have to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from models.convolution import EVERYWHERE, freeze
from models.layers import Convolve
from models.networks import Network
from tests.benchmarks.__main__ import main
from tests.benchmarks.networks import Published, multiplications
from tests.benchmarks.roofline import Count
from tests.benchmarks.scale import FULL, QUICK
from tests.benchmarks.timing import Ratio, alternate
from tests.benchmarks.volumes import MISSING, MONAI, SCIPY, optional

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNATURE = b"\x89PNG"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a quick run has written to."""
    folder = tmp_path_factory.mktemp("bench")
    threads = torch.get_num_threads()
    try:
        assert main(["--quick", "--out", str(folder)]) == 0
        yield folder
    finally:
        torch.set_num_threads(threads)


def tables(folder: Path) -> dict[str, list[list[str]]]:
    """Cells of the rows of each section."""
    found: dict[str, list[list[str]]] = {}
    for part in (folder / "BENCH.md").read_text().split("\n## ")[1:]:
        title, *lines = part.splitlines()
        found[title] = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    return found


@pytest.mark.long
def test_the_table_has_every_row(written: Path) -> None:
    found = tables(written)
    entrants = {section: [(row[0], row[2]) for row in rows] for section, rows in found.items() if section != "Roofline"}
    published = "published layout, hidden 1 x 48"
    assert entrants == {
        "Networks": [
            ("relaxed, frozen", "plain Conv3d network, 24 channels"),
            ("relaxed, frozen", "the same, kernels built at every call"),
            ("relaxed, frozen", published),
            ("relaxed, frozen", f"{published}, frozen"),
        ],
        "Whole volumes": [
            ("blocks with halos", "MONAI, sliding windows, gaussian, overlap 0.25"),
            ("blocks with halos", "a loop over blocks without halos"),
        ],
        "Interpolation": [
            ("trilinear-x4", "torch interpolate, trilinear"),
            ("trilinear-x4", "scipy zoom, order 1"),
            ("relaxed, frozen", "scipy zoom, order 3"),
        ],
        "Served throughput": [
            (f"served to {clients}", "the bare model, one volume after another")
            for clients in ("1 client", "3 clients")
        ],
        "Latency at a fixed load": [
            (f"p{percentile}, batched", f"p{percentile}, one block at a time") for percentile in (50, 95, 99)
        ],
        "First block of a view": [
            ("opening a view of 32^3, and its first block", "a block in its middle"),
            ("opening a view of 64^3, sparse, and its first block", "a block in its middle"),
        ],
        "Jobs": [("a job, from volume to volume", "the bare model, undivided")],
        "Memory of jobs": [("peak memory of the service, 64 blocks", "8 blocks")],
    }
    families = ["trilinear", "conv", "equivariant", "relaxed", "published, frozen", "published"]
    assert [row[0] for row in found["Roofline"]] == families


@pytest.mark.long
def test_what_was_compared_has_a_ratio_and_what_was_not_says_why(written: Path) -> None:
    optionals = {"MONAI": optional(MONAI), "scipy": optional(SCIPY)}
    for section, rows in tables(written).items():
        for row in rows if section != "Roofline" else []:
            absent = any(row[2].startswith(name) and there is None for name, there in optionals.items())
            assert (row[4] == "-") == absent
            assert (MISSING in row[6]) == absent


@pytest.mark.long
def test_contestants_agree(written: Path) -> None:
    found = tables(written)
    same = [
        *found["Networks"][:2],
        *(row for row in found["Interpolation"][:2] if MISSING not in row[6]),
        *found["Served throughput"],
        *found["Jobs"],
    ]
    for row in same:
        assert float(row[5]) < 1e-5, row
    for row in found["Whole volumes"]:
        if MISSING not in row[6]:
            ours, other = map(float, re.findall(r"by (\d\S*e\S*\d)", row[6]))
            assert ours < 1e-5 < other


@pytest.mark.long
def test_the_figure_is_one(written: Path) -> None:
    assert (written / "BENCH.png").read_bytes().startswith(SIGNATURE)


def test_turns_are_taken_in_both_orders() -> None:
    order: list[str] = []
    seconds = alternate({name: lambda name=name: order.append(name) for name in "ab"}, 2)  # type: ignore[misc]
    assert "".join(order) == "ba" + "ab" + "ba"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_taken_round_by_round() -> None:
    assert Ratio.of([2, 6, 20], [1, 2, 5]) == Ratio(3, 2, 4)


@torch.no_grad()
def test_operations_are_counted_as_they_run() -> None:
    network = Network(QUICK.network)
    frozen, x = freeze(network), torch.randn(1, 3, 5, 6, 7)
    with Count() as counted:
        frozen(x, EVERYWHERE)
    convolutions = 2 * network.multiplications * 4**3 * x[0, 0].numel()
    assert convolutions < counted.operations < 1.5 * convolutions
    x, kernel = torch.randn(1, 2, 5, 5, 5), torch.randn(4, 2, 3, 3, 3)
    with Count() as counted:
        functional.conv3d(x, kernel)
    assert counted.operations == 2 * (4 * 3**3) * (2 * 3**3)
    assert counted.moved == 4 * (2 * 5**3 + 4 * 2 * 3**3 + 4 * 3**3)


def test_views_move_nothing() -> None:
    x = torch.randn(4, 5)
    with Count() as counted:
        x[1:].transpose(0, 1).reshape(5, 3)
    assert counted.moved == 0
    with Count() as counted:
        x.add_(1)
    assert counted.moved == 2 * 4 * 20


def test_multiplications_of_a_frozen_network_are_those_of_the_network() -> None:
    network = Network(QUICK.network)
    assert multiplications(freeze(network), 5) == network.multiplications * 20**3


def test_the_published_layout_has_its_width() -> None:
    published = Published(FULL.published_fields)
    kernels = [layer.kernel().shape for layer in published.modules() if isinstance(layer, Convolve)]
    assert kernels == 6 * [(768, 768, 3, 3, 3)]
    small = Published(1)
    assert small(torch.randn(1, 3, 2, 2, 2)).shape == (1, 3, 8, 8, 8)
