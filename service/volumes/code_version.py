"""The version of the code that computes blocks, as a hash of its files.

Not the version of eddylift: it is not installed in the image, only copied there. Comments and docstrings do not count:
a target that was begun outlives a change of them.
"""

from __future__ import annotations

import ast
import hashlib
from typing import TYPE_CHECKING, Final

from service.settings import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

# All files in these folders count, but for the others below and for deeper folders: a new one does until it is named.
COMPUTING: Final = ("models", "service/engine", "service/formats", "service/volumes")
# Files on which no number in a block depends: they read bodies of requests, warn or refuse, judge models, forecast,
# find symmetries, draw parts of volumes, or keep and find what is stored.
OTHERS: Final = frozenset(
    f"{folder}/{name}.py"
    for folder, names in {
        "models": "ends held_out irreps npy replacing symmetries",
        "service/engine": "forecasts queue scores tracing",
        "service/formats": "containers decompressed_size field_checks frames netcdf npy pairs reference sandbox units "
        "volume zarr_zip",
        "service/volumes": "chunk_cache code_version content_tag cost derived files generations parts storages uploads",
    }.items()
    for name in names.split()
)


def computing_files(root: Path = CHECKOUT) -> list[Path]:
    """The files of a checkout that count."""
    found = (path for folder in COMPUTING for path in (root / folder).glob("*.py"))
    return sorted(path for path in found if path.relative_to(root).as_posix() not in OTHERS)


def hash_code(root: Path = CHECKOUT) -> str:
    """Hash of the code in these files."""
    code = [_syntax(ast.parse(path.read_bytes())) for path in computing_files(root)]
    return hashlib.sha256(repr(code).encode()).hexdigest()


def _syntax(node: object) -> object:
    """What a syntax tree does, as plain values, which are the same in each version of Python."""
    if isinstance(node, list):
        return [_syntax(each) for each in node if not _does_nothing(each)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, getattr(node, name, None)) for name in node._fields]
    return type(node).__name__, [(name, _syntax(value)) for name, value in fields if value is not None and value != []]


def _does_nothing(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


CODE: Final = hash_code()
