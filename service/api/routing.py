"""Routes that check a request before FastAPI reads its JSON body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.api.auth import RequireScope
from service.api.bodies import check_head, limited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Longest JSON body. Parsing it blocks the event loop.
MAX_JSON_BYTES: Final = 64 * 1024


class CheckedRoute(APIRoute):
    """A route that parses a JSON body of at most 64 KiB, after checking the scope of the token.

    FastAPI itself parses a body before it resolves dependencies such as the scope.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        scopes = [each.call for each in self.dependant.dependencies if isinstance(each.call, RequireScope)]

        async def check(request: Request) -> Response:
            for require_scope in scopes:
                await require_scope(request)
            check_head(request, MAX_JSON_BYTES)
            return await handle(Request(request.scope, limited(request.receive, MAX_JSON_BYTES)))

        return check
