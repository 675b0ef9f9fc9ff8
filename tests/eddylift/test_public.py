from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eddylift
from eddylift import _errors
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from types import ModuleType

ROOM = Path(eddylift.__file__).parent


def test_public_names_exist() -> None:
    assert [name for name in eddylift.__all__ if not hasattr(eddylift, name)] == []


def test_classes_that_users_meet_are_public() -> None:
    """Those that a call of a client returns, and those that it raises."""
    ours = {name for room, module in sys.modules.items() if room.startswith("eddylift.") for name in classes(module)}
    calls = [call for kind in (eddylift.Client, eddylift.AsyncClient) for call in public(kind).values()]
    returned = {name for call in calls for name in re.findall(r"\w+", inspect.signature(call).return_annotation)}
    raised = {name for name, each in classes(_errors).items() if issubclass(each, Exception)}
    assert {"StoredVolume", "AsyncJob"} < ours & returned
    assert ours & returned | raised <= {*eddylift.__all__}


def public(of: object) -> dict[str, Any]:
    return {name: each for name, each in vars(of).items() if not name.startswith("_")}


def classes(module: ModuleType) -> dict[str, type]:
    """Those that a module defines."""
    return {
        name: each
        for name, each in public(module).items()
        if isinstance(each, type) and each.__module__ == module.__name__
    }


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return public(kind).keys() - {"close", "aclose"}

    # zarr waits for a store in an event loop of its own, which an asynchronous client of another loop cannot serve.
    assert calls(eddylift.Client) - calls(eddylift.AsyncClient) == {"store"}
    assert calls(eddylift.AsyncClient) <= calls(eddylift.Client)


def test_types_are_shipped() -> None:
    assert (ROOM / "py.typed").exists()


def test_starts_without_what_is_slow_or_optional() -> None:
    code = "import sys, eddylift.cli; print([name for name in ('xarray', 'zarr', 'torch') if name in sys.modules])"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S)  # noqa: S603 our own
    assert found.stdout.strip() == "[]"
