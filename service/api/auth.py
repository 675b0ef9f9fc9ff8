"""Tokens, and what the bearer of each may do.

A token is 256 random bits, so that a plain SHA-256 of it can be stored: only trying all tokens would find it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, get_args

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.errors import HttpProblem, responses
from service.problems import FieldError
from service.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


Scope = Literal["read", "write", "admin"]
# Each includes those before it.
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
OFF: Final = "off"
# Refusals of every route that asks for a token.
REFUSALS: Final = responses(401, 403, 429)
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
CHALLENGE: Final = 'Bearer realm="eddylift"'


class Token(NamedTuple):
    """A token that the service knows, without its secret.

    Attributes:
        name: of its bearer, in logs.
        scope: what the bearer may do.
        digest: SHA-256 of the secret, in hex.
    """

    name: str
    scope: Scope
    digest: str = ""

    def allows(self, scope: Scope) -> bool:
        """Whether it includes a scope."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


# The token of all requests where the service asks for none.
ANYONE: Final = Token("anyone", "admin")


class TokensError(SettingError):
    """The file of tokens cannot be used."""


def digest(secret: str) -> str:
    """The digest of a secret, which is stored in its place."""
    # A header may hold any bytes; starlette reads them as Latin-1.
    return hashlib.sha256(secret.encode("latin-1", "replace")).hexdigest()


def make_token(name: str, scope: Scope) -> tuple[str, str]:
    """Make a token: its secret, and the line to store.

    Raises:
        TokensError: if the name is not allowed.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r} cannot name a token; expected letters, digits, dots, hyphens and underscores"
        raise TokensError(message)
    secret = f"eddylift_{secrets.token_urlsafe(32)}"
    return secret, f"{name} {scope} {digest(secret)}"


def read_tokens(path: Path) -> list[Token]:
    """Read a file of tokens: a line each, ``name scope sha256``; empty lines and those that begin with # are skipped.

    Raises:
        TokensError: if it cannot be read, or holds something else or nothing.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"EDDYLIFT_TOKENS: {path} cannot be read: {error}"
        raise TokensError(message) from error
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match line.split():
            case [name, ("read" | "write" | "admin") as scope, hexadecimal] if (
                NAME.fullmatch(name) and DIGEST.fullmatch(hexadecimal) and name not in tokens
            ):
                tokens[name] = Token(name, scope, hexadecimal)
            case _:
                # The line is not shown: it may hold a secret by mistake.
                message = (
                    f"EDDYLIFT_TOKENS: line {number} of {path} is no token; expected a name of its own, read, write or "
                    "admin, and 64 hexadecimal digits, as `python -m service token` prints them"
                )
                raise TokensError(message)
    if not tokens:
        message = f"EDDYLIFT_TOKENS: {path} holds no token; `python -m service token --help` tells how to make one"
        raise TokensError(message)
    return list(tokens.values())


class Access:
    """The tokens of a service.

    Args:
        tokens: that are known; None asks for none.
    """

    def __init__(self, tokens: Sequence[Token] | None) -> None:
        self.tokens = tokens

    @classmethod
    def of(cls, setting: Path | Literal["off"] | None) -> Access:
        """By the setting ``EDDYLIFT_TOKENS``.

        Raises:
            TokensError: if it names a file that cannot be used.
        """
        return cls(None if setting is None or setting == OFF else read_tokens(setting))

    def find(self, authorization: str | None) -> Token | None:
        """The token in an Authorization header; None without one, or if it is not known."""
        if self.tokens is None:
            return ANYONE
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            return None
        sent = digest(secret.strip())
        # In constant time and through the whole list, so that the time reveals nothing.
        same = [token for token in self.tokens if hmac.compare_digest(token.digest, sent)]
        return same[0] if same else None


def unauthorized(*, sent: bool) -> HttpProblem:
    """The refusal (401) of a missing or unknown token."""
    value = "a token that is not known here" if sent else None
    expected = "Bearer and a token of this service"
    error = FieldError("Authorization", value, expected)
    challenge = f'{CHALLENGE}, error="invalid_token"' if sent else CHALLENGE
    headers = {"WWW-Authenticate": challenge}
    return HttpProblem("unauthorized", str(error), [error], headers=headers)


def bearer(request: Request) -> Token | None:
    """The token that [`AccessMiddleware`][service.api.middleware.AccessMiddleware] found; None on an open route."""
    token: Token | None = request.state.token
    return token


SCHEME = HTTPBearer(
    auto_error=False,
    description="Asked for if the service was started with `EDDYLIFT_TOKENS`. A token's scope is read, write (which "
    "reads too) or admin (everything).",
)


class RequireScope:
    """Refuses tokens whose scope does not include that of a route."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(SCHEME)] = None
    ) -> Token:
        """The token of a request.

        Raises:
            Problem: 401 without one, 403 if its scope is too small.
        """
        token = bearer(request)
        if token is None:
            raise unauthorized(sent=False)
        if not token.allows(self.scope):
            value, expected = f"a token of scope {token.scope}", f"one of scope {self.scope}"
            headers = {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{self.scope}"'}
            error = FieldError("Authorization", value, expected)
            raise HttpProblem("forbidden", str(error), [error], headers=headers)
        return token


def needs(scope: Scope) -> Any:  # noqa: ANN401 as FastAPI types what Depends gives
    """The dependency of a route or a router that asks for a scope."""
    return Depends(RequireScope(scope))
