"""What every request passes before a route sees it: whose it is, how often they ask, and how its body comes."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from service.access import unauthorized
from service.bodies import bounded
from service.errors import busy, respond
from service.rates import Rates, host

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.access import Access
    from service.settings import Settings

# Probes carry no token and are never turned away.
PROBES: Final = frozenset({"/health/live", "/health/ready"})
# A browser sends no token for a page: these are open to the service's own machine.
DOCUMENTATION: Final = frozenset({"/docs", "/openapi.json"})


class Guard:
    """Middleware that refuses before anything of a body is read.

    Args:
        app: what is guarded.
        access: the tokens.
        settings: the limits.
        rates: those of the settings if None.
    """

    def __init__(self, app: ASGIApp, access: Access, settings: Settings, rates: Rates | None = None) -> None:
        self.app = app
        self.access = access
        self.settings = settings
        if rates is None and settings.rate_per_s:
            rates = Rates(settings.rate_per_s, settings.rate_burst)
        self.rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        authorization = request.headers.get("authorization")
        token = self.access.find(authorization)
        request.state.token = token
        path = scope["path"]
        client = scope["client"][0] if scope.get("client") else ""
        if path not in PROBES:
            known = token is not None and self.access.tokens is not None
            # Also of those with a wrong token, so that guessing is slow.
            wait = self.rates.take(f"token {token.name}" if known and token else host(client)) if self.rates else 0.0
            if wait:
                problem = busy(f"this client asks more often than {self.settings.rate_per_s:g} times a second", wait)
                await respond(request, problem)(scope, receive, send)
                return
            if token is None and not (path in DOCUMENTATION and _is_here(client)):
                problem = unauthorized(sent=authorization is not None)
                await respond(request, problem)(scope, receive, send)
                return
        await self.app(scope, bounded(receive, self.settings), send)


def _is_here(client: str) -> bool:
    """Whether an address is of this machine itself."""
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False
