"""Blocks cover a volume once, and read beyond its ends what the boundary says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.blocks import PERIODIC, Boundaries, collect, format_boundary, parse_boundary, plan
from models.group import group, rotate_boundary, rotate_vector
from models.walls import is_wall

LENGTHS = st.tuples(*[st.integers(1, 15)] * 3)


@settings(deadline=None)
@given(shape=LENGTHS, block=st.integers(1, 20))
def test_blocks_cover_every_cell_once(shape: tuple[int, int, int], block: int) -> None:
    layout = plan(shape, halo=2, boundary=PERIODIC, block=block)
    count = np.zeros(shape, int)
    fine = np.zeros([4 * n for n in shape], int)
    for part in layout.blocks:
        assert max(part.shape) <= block
        count[tuple(slice(a, b) for a, b in zip(part.start, part.stop, strict=True))] += 1
        fine[part.fine(4)] += 1
    assert (count == 1).all()
    assert (fine == 1).all()


@settings(deadline=None)
@given(shape=LENGTHS, block=st.integers(1, 20))
def test_blocks_form_a_regular_grid_of_nearly_equal_edges(shape: tuple[int, int, int], block: int) -> None:
    """Regular, so that a block can be a chunk; nearly equal, so that the last is no sliver."""
    layout = plan(shape, halo=2, boundary=PERIODIC, block=block)
    for part in layout.blocks:
        for start, edge in zip(part.start, layout.block_shape, strict=True):
            assert start % edge == 0
    for n, edge in zip(shape, layout.block_shape, strict=True):
        assert edge == -(-n // -(-n // block))


def line(values: list[float]) -> np.ndarray:
    """A source that varies along y only; y is the axis under test."""
    return np.broadcast_to(np.array(values)[None, None, None, :, None], (1, 3, 1, len(values), 1))


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("periodic", [2, 3, 4, 1, 2, 3, 4, 1, 2, 3]),
        ("open", [3, 2, 1, 1, 2, 3, 4, 4, 3, 2]),
        ("wall", [-3, -2, -1, 1, 2, 3, 4, -4, -3, -2]),
    ],
)
def test_what_lies_beyond_the_ends(boundary: str, expected: list[float]) -> None:
    layout = plan((1, 4, 1), halo=3, boundary=parse_boundary(f"open,{boundary},open"), block=4)
    found = layout.gather(line([1, 2, 3, 4]), layout.blocks[0])
    if boundary == "periodic":
        assert layout.circular == (False, True, False)
        layout = plan((1, 4, 1), halo=3, boundary=parse_boundary("open,periodic,open"), block=2)
        found = np.concatenate(
            [
                layout.gather(line([1, 2, 3, 4]), layout.blocks[0])[..., :5, :],
                layout.gather(line([1, 2, 3, 4]), layout.blocks[1])[..., 3:, :],
            ],
            axis=-2,
        )
    assert found[0, 0, 3, :, 3].tolist() == expected


def test_a_halo_longer_than_the_volume() -> None:
    layout = plan((1, 2, 1), halo=5, boundary=parse_boundary("open,wall,open"))
    found = layout.gather(line([1, 2]), layout.blocks[0])
    # Odd about both walls: of period four cells.
    assert found[0, 0, 5, :, 5].tolist() == [-1, 1, 2, -2, -1, 1, 2, -2, -1, 1, 2, -2]


def test_walls_that_move_carry_the_field_along() -> None:
    """Linear flow between the walls goes on linearly, however far; the rest is odd about them."""
    boundary = parse_boundary("open,wall:u=-1..3:w=0..0.5,open")
    layout = plan((1, 4, 1), halo=11, boundary=boundary)
    y = (np.arange(-11, 15) + 0.5) / 4
    odd = np.sin(np.pi * y)
    expected = np.stack([-1 + 4 * y + odd, odd, 0.5 * y])
    found = layout.gather(expected[:, None, 11:15, None], layout.blocks[0])
    np.testing.assert_allclose(found[:, 11, :, 11], expected, atol=1e-13)


@pytest.mark.parametrize("text", ["wall:u=-1..2:v=0..1,wall:u=1..-1:w=0..2,wall", "periodic,wall:u=0..1:w=2..3,wall"])
def test_walls_turn_with_the_field(text: str) -> None:
    """A turned volume is continued as the turned continuation, in corners too."""
    boundary = parse_boundary(text)
    source = np.random.default_rng(0).standard_normal((3, 3, 4, 5))

    def whole(values: np.ndarray, beyond: Boundaries) -> np.ndarray:
        layout = plan(values.shape[1:], halo=4, boundary=beyond, block=8)
        return layout.gather(values, layout.blocks[0])

    plain = torch.from_numpy(whole(source, boundary))
    for matrix in group("Oh").matrices:
        turned = rotate_vector(torch.from_numpy(source), matrix).numpy()
        found = whole(turned, rotate_boundary(boundary, matrix))
        np.testing.assert_allclose(found, rotate_vector(plain, matrix).numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("periodic,wall,open", "periodic,wall,open"),
        ("open", "open,open,open"),
        ("periodic,wall:u=-1.0..+1,periodic", "periodic,wall:u=-1..1,periodic"),
        ("periodic,wall:u=0..-0.0,wall:v=0..1e10:w=.1..0", "periodic,wall,wall:v=0..10000000000:w=0.1..0"),
    ],
)
def test_a_boundary_has_one_spelling(text: str, spelled: str) -> None:
    boundary = parse_boundary(text)
    assert format_boundary(boundary) == spelled
    assert parse_boundary(spelled) == boundary
    assert [is_wall(name) for name in boundary] == ["wall" in name for name in spelled.split(",")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("periodic,wall:v=0..1,periodic", "walls at the ends of y move along themselves, not by v"),
        ("wall:u=0..1", "walls at the ends of x move along themselves, not by u"),
        ("open,wall:u=1,open", "spelled as wall:u=-1..1"),
        ("open,wall:u=-1...1,open", "spelled as wall:u=-1..1"),
        ("open,wall:w=0..1:u=0..1,open", "spelled as wall:u=-1..1"),
        ("open,wall:u=0..1:u=0..1,open", "spelled as wall:u=-1..1"),
        ("open,wall:,open", "spelled as wall:u=-1..1"),
        ("open,wall:u=0..nan,open", "must be from -1e.+12 to 1e.+12"),
        ("open,wall:u=0..fast,open", "could not convert"),
        ("open,open:u=0..1,open", "boundary must be one of"),
    ],
)
def test_walls_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_boundary(text)


def test_true_neighbours_are_read_inside() -> None:
    source = np.random.default_rng(0).standard_normal((1, 3, 9, 9, 9))
    layout = plan((9, 9, 9), halo=2, boundary=parse_boundary("open"), block=3)
    middle = layout.blocks[13]
    assert np.array_equal(layout.gather(source, middle), source[:, :, 1:8, 1:8, 1:8])


@pytest.mark.parametrize("text", ["", "slippery", "periodic,wall", "wall,wall,wall,wall", "periodic wall open"])
def test_unknown_boundary(text: str) -> None:
    with pytest.raises(ValueError, match="boundary must be one of periodic, wall, open"):
        parse_boundary(text)


def test_empty_volume() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        plan((4, 0, 4), halo=1, boundary=PERIODIC)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_cells_are_collected_in_their_order(index: list[int]) -> None:
    values = np.arange(7 * 5 * 7).reshape(7, 5, 7)
    found = collect(lambda *box: values[box], (np.array(index), np.arange(5), np.array(index[::-1])))
    assert np.array_equal(found, values[index][:, :, index[::-1]])


@pytest.mark.parametrize("boundary", ["periodic", "wall", "open"])
def test_a_block_reads_no_more_than_it_needs(boundary: str) -> None:
    source = np.random.default_rng(0).standard_normal((3, 30, 30, 30))
    layout = plan((30, 30, 30), halo=2, boundary=parse_boundary(boundary), block=5)
    corner, read = layout.blocks[-1], []

    def count(z: slice, y: slice, x: slice) -> np.ndarray:
        part = source[:, z, y, x]
        read.append(part[0].size)
        return part

    assert np.array_equal(layout.assemble(count, corner), layout.gather(source, corner))
    assert sum(read) <= 9**3


@pytest.mark.parametrize("boundary", ["periodic", "wall", "open"])
def test_a_volume_that_a_halo_goes_round_is_read_once(boundary: str) -> None:
    source = np.random.default_rng(0).standard_normal((3, 5, 6, 7))
    layout = plan((5, 6, 7), halo=9, boundary=parse_boundary(boundary), block=4)
    read = []

    def note(z: slice, y: slice, x: slice) -> np.ndarray:
        read.append((z, y, x))
        return source[:, z, y, x]

    for part in layout.blocks:
        assert np.array_equal(layout.assemble(note, part), layout.gather(source, part))
    assert read == [(slice(0, 5), slice(0, 6), slice(0, 7))] * len(layout.blocks)
