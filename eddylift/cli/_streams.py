"""Commands that read a volume and write another; ``-`` stands for standard input or output."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import typer

from eddylift import _writing
from eddylift._errors import InvalidInputError
from eddylift._files import is_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from eddylift._calls import Call
    from eddylift.cli._session import Session

STREAM: Final = Path("-")


@contextlib.contextmanager
def source(path: Path) -> Iterator[Path]:
    """Give the path of a volume; standard input is written to a temporary file first.

    Raises:
        InvalidInputError: in place of one inside that names this file.
    """
    if path != STREAM:
        yield path
        return
    with tempfile.NamedTemporaryFile() as file:
        shutil.copyfileobj(typer.get_binary_stream("stdin"), file)
        file.flush()
        try:
            yield Path(file.name)
        except InvalidInputError as error:
            # The user never gave that path.
            raise InvalidInputError(str(error).replace(file.name, "standard input")) from error


@contextlib.contextmanager
def target(path: Path, source: Path, *, in_space: bool, overwrite: bool) -> Iterator[Path]:
    """Give the path to write the answer to; for standard output a temporary file, which is sent when complete.

    Raises:
        InvalidInputError: if the answer cannot be written.
    """
    if path != STREAM:
        _writing.check_target(path, source, in_space=in_space, overwrite=overwrite)
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


def convert(
    session: Session,
    ask: Callable[[Path], Call[Any]],
    source_path: Path,
    target_path: Path,
    *,
    dims: Sequence[str],
    overwrite: bool,
) -> None:
    """Write the answer to a volume, and show its sizes, model and boundary, and how long it took.

    Args:
        session: of the command.
        ask: makes the call about the volume at a path.
        source_path: path of the volume.
        target_path: path of the answer.
        dims: of answers, in the order of an array; the last ones if it has fewer.
        overwrite: replace the target if it exists.

    Raises:
        InvalidInputError: if the answer cannot be written.
    """
    in_space = "z" in dims
    with source(source_path) as given, target(target_path, given, in_space=in_space, overwrite=overwrite) as written:
        start = time.perf_counter()
        with session.bars as bars:
            call = ask(given)
            whole = replace(call, read=lambda reply: (call.read(reply), reply))
            answer, reply = session.client._send(whole, progress=bars)  # noqa: SLF001 our own, as arrays have no names
        seconds = time.perf_counter() - start
        _writing.write(written, answer)
    if isinstance(answer, np.ndarray):
        sizes = dict(zip(dims[-answer.ndim :], answer.shape, strict=True))
    else:
        sizes = {name: answer.sizes[name] for name in dims if name in answer.sizes}
    result = {
        "model": reply.model,
        "boundary": reply.boundary,
        "source": str(source_path),
        "target": str(target_path),
        "sizes": sizes,
        "seconds": seconds,
    }
    extent = " x ".join(f"{name} {size}" for name, size in sizes.items())
    sentence = f"{target_path}: {extent}, by {reply.model} (boundary={reply.boundary}) in {seconds:.1f} s"
    session.show(result, sentence, err=target_path == STREAM)
