"""Small JSON files, such as results of experiments, to which those of further seeds and families are added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path


def add_result(path: Path, result: dict[str, Any]) -> None:
    """Add a result to a file.

    What a result has beside dictionaries, such as a number of steps, says how it was obtained. One that was obtained
    otherwise than that in the file replaces it.

    Args:
        path: of the file.
        result: with seeds and families as keys of dictionaries.
    """
    stored = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, added(stored, result))


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all, and its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as path:
        path.write_text(json.dumps(content, indent=1) + "\n")


def added(stored: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """What a file has after a result was added to what is stored."""
    return _merged(stored, result) if _recipe(stored) == _recipe(result) else result


def _recipe(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if not isinstance(value, dict)}


def _merged(stored: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    deeper = [key for key in added if isinstance(added[key], dict) and isinstance(stored.get(key), dict)]
    return {**stored, **added, **{key: _merged(stored[key], added[key]) for key in deeper}}
