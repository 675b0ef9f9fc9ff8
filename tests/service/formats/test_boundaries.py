"""One rule for boundaries: the request, else the data, else the card."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from models.catalogue import TRILINEAR
from service.formats.boundaries import choose_boundary, read_boundary, requested_or_stored
from service.problems import Problem

CHANNEL = ("periodic", "wall", "periodic")
CARD = dataclasses.replace(TRILINEAR, name="channel", flow="channel", boundary=CHANNEL)
OPEN = ("open", "open", "open")


@pytest.mark.parametrize(
    "said",
    [
        "periodic,wall,periodic",
        "Periodic, Wall, periodic",
        ["periodic", "wall", "periodic"],
        CHANNEL,
        np.array(CHANNEL),
        {"y": "wall"},
        '{"y": "wall"}',
        '["periodic", "wall", "periodic"]',
    ],
)
def test_spellings(said: object) -> None:
    assert read_boundary(said) == CHANNEL


@pytest.mark.parametrize(
    "said", ["", "{", "[" * 2000, "none", "wall,wall", ["wall"] * 4, 7, {"t": "wall"}, ["periodic", None, "wall"]]
)
def test_what_is_no_boundary(said: Any) -> None:  # noqa: ANN401
    with pytest.raises(Problem) as caught:
        read_boundary(said)
    assert caught.value.kind == "unfit"
    assert caught.value.fields[0].field == "boundary"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("walls", "joined by commas"),
        ("wall:w=-1..1,open,open", "; walls at the ends of z move along themselves, not by w: 'wall:w=-1..1'"),
        ("wall:u=inf..1,open,open", "; velocities of walls must be from -1e+12 to 1e+12, not u=inf..1"),
        ("open,open,wall:v=-1e39..0", "; velocities of walls must be from -1e+12 to 1e+12, not v=-1e39..0"),
        ("open,open,wall:v=0..nan", "; velocities of walls must be from -1e+12 to 1e+12, not v=0..nan"),
        ("wall:q=1..2", "; walls that move are spelled as wall:u=-1..1 or wall:u=0..1:w=-0.5..0.5, not 'wall:q=1..2'"),
    ],
)
def test_what_is_wrong_with_a_wall(said: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        read_boundary(said)
    expected = caught.value.fields[0].expected
    assert expected.startswith("one of periodic, wall, open, wall:u=-1..1 (velocities along the wall), or three")
    assert expected.endswith(why)


def test_who_says() -> None:
    assert choose_boundary(None, None, CARD) == (CHANNEL, ())
    assert choose_boundary(None, "open", CARD).boundary == OPEN
    several = dataclasses.replace(CARD, boundary=None)
    assert choose_boundary(None, None, several) == (("periodic",) * 3, ())
    assert choose_boundary(OPEN, None, several) == (OPEN, ())
    assert choose_boundary(CHANNEL, "open", CARD) == (CHANNEL, ())
    assert choose_boundary(CHANNEL, "nonsense", CARD) == (CHANNEL, ())


def test_the_boundary_of_the_request_counts_or_else_the_first_one_stored() -> None:
    assert requested_or_stored(None, {"source": None, "reference": None}) is None
    assert requested_or_stored(None, {"source": None, "reference": "open"}) == OPEN
    assert requested_or_stored(None, {"source": "open", "reference": "nonsense"}) == OPEN
    assert requested_or_stored(CHANNEL, {"source": "nonsense", "reference": "open"}) == CHANNEL
    with pytest.raises(Problem) as caught:
        requested_or_stored(None, {"source": None, "reference": "nonsense"})
    assert caught.value.fields[0].field == "reference.boundary"


def test_what_contradicts_the_card_is_said() -> None:
    (warning,) = choose_boundary(OPEN, None, CARD).warnings
    assert "open,open,open" in warning
    assert "channel was trained on periodic,wall,periodic" in warning
    assert not choose_boundary(("periodic", "wall:u=-1..1", "periodic"), None, CARD).warnings
    assert not choose_boundary(OPEN, None, TRILINEAR).warnings
