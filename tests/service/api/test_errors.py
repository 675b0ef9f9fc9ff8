"""Problems and what they are answered with."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import service
from service.api.errors import KINDS
from service.problems import Kind

RAISERS = {"Problem", "HttpProblem", "_refusal"}


def test_every_kind_has_a_status_and_every_status_a_kind() -> None:
    calls = [
        node
        for path in Path(service.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISERS
    ]
    kinds = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    assert kinds == KINDS.keys() == {*get_args(Kind)}
