"""Folders are swapped, whatever the system can."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from service.volumes.files import exchange

if TYPE_CHECKING:
    from pathlib import Path

NO_CALL = SimpleNamespace()
REFUSED = SimpleNamespace(renameat2=lambda *_: -1)


@pytest.mark.parametrize("libc", [None, NO_CALL, REFUSED])
def test_folders_are_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libc: SimpleNamespace | None) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    if libc:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)
    exchange(one, other)
    assert (one / "other").exists()
    assert (other / "one").exists()
    assert len([*tmp_path.iterdir()]) == 2
