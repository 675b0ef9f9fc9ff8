"""Receives bodies, piece by piece and within limits."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.api.errors import HttpProblem
from service.formats.containers import Body, check_media_type
from service.formats.volume import LARGER
from service.problems import Problem, malformed, too_large, unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
    from typing import TypeVar

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import Message, Receive

    from service.settings import Settings

    Result = TypeVar("Result")


MULTIPART = "multipart/form-data"
# Of a Content-Length; Python does not read thousands of them.
MOST_DIGITS = 18


def essence(content_type: str | None) -> str:
    """A media type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def check_head(request: Request, most: int, field: str = "body") -> None:
    """Refuse a body by its headers: a part (400), one that is compressed (415) or too long (413, for ``field``)."""
    if part := request.headers.get("content-range"):
        raise malformed(field="Content-Range", value=part, expected="no such header: bodies are sent whole")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise unsupported(
            field="Content-Encoding", value=coding, expected="identity: bodies are not compressed as a whole"
        )
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > MOST_DIGITS or int(length) > most):
        raise too_large(field=field, value=f"{length} bytes", limit=f"{most} bytes")


@contextmanager
def instead(advice: str) -> Iterator[None]:
    """Say in the refusal of a body that is too long what to do instead."""
    try:
        yield
    except Problem as problem:
        if problem.kind == "too-large":
            problem.fields = [each._replace(expected=f"{each.expected}; {advice}") for each in problem.fields]
            problem.detail = f"{problem.detail}; {advice}"
        raise


def limited(receive: Receive, most: int) -> Receive:
    """A ``receive`` that refuses bodies that are too long (413)."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise too_large(field="body", value=f"more than {most} bytes", limit=f"{most} bytes")
        return message

    return receive_limited


def bounded(receive: Receive, settings: Settings) -> Receive:
    """A ``receive`` that refuses bodies that are too long (413), stop coming, or come too slowly (408)."""
    received, waited, whole = 0, 0.0, False

    async def receive_bounded() -> Message:
        nonlocal received, waited, whole
        if whole:
            # The only message after the body is that the client has disconnected, which may take any time.
            return await receive()
        clock = asyncio.get_running_loop().time
        # Only time spent waiting for the client counts.
        left = settings.body_idle_s + received / settings.body_bytes_per_s - waited
        start = clock()
        try:
            async with asyncio.timeout(min(settings.body_idle_s, left)):
                message = await receive()
        except TimeoutError:
            raise _late(settings, slow=left < settings.body_idle_s) from None
        waited += clock() - start
        received += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        return message

    return limited(receive_bounded, settings.max_body_bytes)


def _late(settings: Settings, *, slow: bool) -> HttpProblem:
    detail = f"no more of the body came for {settings.body_idle_s:g} s"
    if slow:
        detail = f"the body came at less than {settings.body_bytes_per_s:g} bytes per second"
    return HttpProblem("timeout", detail, headers={"Connection": "close"})


async def receive_pieces(request: Request, settings: Settings, field: str = "body") -> AsyncGenerator[bytes]:
    """Receive a body in pieces; see ``check_head``."""
    check_head(request, settings.max_body_bytes, field)
    async with aclosing(request.stream()) as stream:
        async for piece in stream:
            yield piece


async def receive_body(request: Request, settings: Settings, advice: str = LARGER) -> Body:
    """Receive a body that is one volume; ``advice`` says what to do with one that is too long."""
    media_type = essence(request.headers.get("content-type"))
    check_media_type(media_type)
    content = io.BytesIO()
    with instead(advice):
        async with aclosing(receive_pieces(request, settings)) as pieces:
            async for piece in pieces:
                content.write(piece)
    if not content.tell():
        raise malformed(field="body", value="empty", expected="a coarse volume")
    return Body(content.getvalue(), media_type)  # its own bytes, not a copy


class Form(NamedTuple):
    """A multipart body of files.

    Attributes:
        parts: what each holds, by name.
        required: names of those that must be there.
        advice: what to do with parts that are too long together.
    """

    parts: Mapping[str, str]
    required: Sequence[str]
    advice: str

    @property
    def openapi(self) -> dict[str, Any]:
        """The body, for the description of an operation."""
        properties = {
            name: {"type": "string", "format": "binary", "description": holds} for name, holds in self.parts.items()
        }
        schema = {"type": "object", "required": list(self.required), "properties": properties}
        return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}

    async def receive(self, request: Request, settings: Settings) -> dict[str, Body]:
        """Receive the parts, by name."""
        with instead(self.advice):
            return await self._receive(request, settings)

    async def _receive(self, request: Request, settings: Settings) -> dict[str, Body]:
        check_head(request, settings.max_body_bytes)
        media_type = essence(request.headers.get("content-type"))
        if media_type != MULTIPART:
            raise unsupported(field="Content-Type", value=media_type or None, expected=MULTIPART)
        try:
            async with request.form(max_files=len(self.parts), max_fields=len(self.parts)) as form:
                parts = await self._read(form)
        except HTTPException as error:  # starlette cannot parse it, or there are more parts
            found, expected = error.detail.rstrip("."), f"{MULTIPART}, with its boundary, of {self._expected}"
            raise malformed(field="body", value=found, expected=expected) from error
        for name in self.required:
            if name not in parts:
                raise malformed(field=name, value=None, expected="a file part of this name")
        return parts

    @property
    def _expected(self) -> str:
        return f"parts named {' and '.join(self.parts)}, each once"

    async def _read(self, form: FormData) -> dict[str, Body]:
        parts: dict[str, Body] = {}
        for name, part in form.multi_items():
            if name not in self.parts or name in parts:
                found = "there twice" if name in parts else "there"
                raise malformed(field=name, value=found, expected=self._expected)
            if not isinstance(part, UploadFile):
                raise malformed(field=name, value="a text field", expected="a file part, with a file name")
            parts[name] = Body(await part.read(), essence(part.content_type))
        return parts


async def unless_gone(request: Request, awaited: Awaitable[Result]) -> Result:
    """Wait for a result while the client does.

    Raises:
        ClientDisconnect: if it hangs up first; the awaitable is cancelled.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(awaited)
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        watch.cancel()
        task.cancel()
