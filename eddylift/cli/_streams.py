"""Volumes on standard input or output, which ``-`` stands for."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from eddylift._errors import InvalidInputError
from eddylift._files import is_array
from eddylift._writing import check_target

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM: Final = Path("-")


@contextlib.contextmanager
def source(path: Path) -> Iterator[Path]:
    """Give the path of a volume; standard input is written to a temporary file first."""
    if path != STREAM:
        yield path
        return
    with tempfile.NamedTemporaryFile() as file:
        shutil.copyfileobj(typer.get_binary_stream("stdin"), file)
        file.flush()
        yield Path(file.name)


@contextlib.contextmanager
def target(path: Path, source: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give the path to write the answer to; for standard output a temporary file, which is sent when complete.

    Raises:
        InvalidInputError: if the answer cannot be written.
    """
    if path != STREAM:
        check_target(path, source, overwrite=overwrite)
        yield path
        return
    stream = typer.get_binary_stream("stdout")
    if stream.isatty():
        message = "standard output is a terminal: name a file, or redirect it with > FILE"
        raise InvalidInputError(message)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / ("answer.npy" if is_array(source) else "answer.nc")
        yield whole
        with whole.open("rb") as content:
            shutil.copyfileobj(content, stream)
