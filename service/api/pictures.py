"""Parts of views as float16, for pictures."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fastapi import Response

from service.api.bodies import unless_gone
from service.api.responses import BINARY, unchanged
from service.api.viewing import answer_from_view
from service.volumes.parts import check

if TYPE_CHECKING:
    from fastapi import Request

    from service.api.dependencies import Services
    from service.volumes.parts import Part
    from service.volumes.view import View

SCALE: Final = "X-Eddylift-Scale"
SHAPE: Final = "X-Eddylift-Shape"
PICTURE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The values: float16, little-endian, the last axis running fastest.",
        "content": {"application/octet-stream": BINARY},
        "headers": {
            SCALE: {"schema": {"type": "number"}, "description": "Factor by which to multiply the values."},
            SHAPE: {"schema": {"type": "string"}, "description": "Shape of the array, such as `256,256`."},
        },
    },
    304: {"description": "The client has it already."},
}


async def answer_with_picture(request: Request, services: Services, path: tuple[str, str], part: Part) -> Response:
    """Answer with a part of a view as float16 and a scale, unless the client has it already.

    Args:
        request: that asks for it.
        services: of the app.
        path: volume and model, as in the path of a view.
        part: a tile or a box.
    """

    async def respond(view: View) -> Response:
        check(view, part)
        etag = hashlib.sha256(f"{view.fingerprint}/{part}".encode()).hexdigest()[:32]
        if response := unchanged(request, etag):
            return response
        services.lifecycle.require_ready()
        values = await unless_gone(request, services.parts.read(view, part))
        # A power of two, so that the largest number is at most 1 and only exponents change.
        scale = np.exp2(np.ceil(np.log2(np.abs(values).max() or 1)))
        headers = {
            "ETag": f'"{etag}"',
            "Cache-Control": "no-cache",
            SCALE: f"{scale:.9g}",
            SHAPE: ",".join(map(str, values.shape)),
        }
        return Response((values / scale).astype("<f2").tobytes(), 200, headers, "application/octet-stream")

    return await answer_from_view(services, *path, respond)
