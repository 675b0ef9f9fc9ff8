"""What constraints.txt pins: what is installed from a commit is the same later."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.image.replay import required

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
DECLARED = {line for lines in (PROJECT["dependencies"], *EXTRAS) for line in lines if not line.startswith("eddylift[")}
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINNED = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}


def release(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("line", sorted(DECLARED))
def test_each_requirement_has_one_release_that_satisfies_it(line: str) -> None:
    pin = PINNED[canonicalize_name(Requirement(line).name)]
    assert Requirement(line).specifier.contains(release(pin))


def test_what_these_require_is_pinned_too() -> None:
    """But for what torch requires, which depends on its build; extras that are not installed are not looked at."""
    installed = {canonicalize_name(each.name) for each in distributions()}
    declared = [line for line in DECLARED if canonicalize_name(Requirement(line).name) in installed]
    found = {canonicalize_name(each.name) for each in required(declared)}
    assert {name for name in found if not re.match("nvidia|cuda|triton", name)} <= PINNED.keys()


def test_no_pin_is_of_one_build() -> None:
    """A local version, such as that of a build for CPUs, would refuse the others."""
    assert not [line for line in LINES if "+" in line]
    assert len(PINNED) == len(LINES)


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_whatever_is_installed_is_constrained(name: str) -> None:
    installs = [line for line in (ROOT / name).read_text().splitlines() if "pip install" in line]
    # Without requirements there is nothing to constrain.
    assert all("constraints.txt" in line or "--no-deps $(ESCNN)" in line for line in installs)
    assert len(installs) > 0
