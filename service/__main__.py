"""``python -m service``: serve on an address until told to stop."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import math
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.api.auth import Scope
    from service.settings import Settings


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve super-resolution over HTTP. Everything else is set by EDDYLIFT_* variables.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", title="instead of serving")
    token = commands.add_parser(
        "token",
        help="make a token",
        description="Make a token. It is printed on standard error and stored nowhere. Standard output has the line "
        "for the file that EDDYLIFT_TOKENS names: append it there, and restart the service.",
    )
    token.add_argument("--name", required=True, help="name of the token's owner, for the log")
    token.add_argument(
        "--scope", required=True, choices=("read", "write", "admin"), help="each includes those before it"
    )
    return parser.parse_args(arguments)


def reachable(host: str) -> bool:
    """Whether other machines may reach what listens on this address."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def with_trusted_hosts(settings: Settings, host: str) -> Settings:
    """Settings for a service that listens on a host. On loopback, it allows only the host names in the settings."""
    if settings.trusted_hosts is None and not reachable(host):
        return settings.model_copy(update={"trusted_hosts": ()})
    return settings


def warn_without_tokens(settings: Settings, host: str) -> None:
    """Log that a service asks for no tokens, if so.

    Raises:
        TokensError: if others can reach the address and nothing says whether they may use the service.
    """
    from service.api.auth import OFF, TokensError  # noqa: PLC0415

    if settings.tokens not in {None, OFF}:
        return
    logger = logging.getLogger("service")
    if os.environ.get("EDDYLIFT_TOKEN"):
        logger.warning("EDDYLIFT_TOKEN is a setting of clients; is EDDYLIFT_TOKENS meant?")
    if settings.tokens is None and reachable(host):
        message = (
            f"other machines can reach {host}, and no tokens are set. EDDYLIFT_TOKENS=<file> lets in those who "
            "have one (`python -m service token --help` says how to make it); EDDYLIFT_TOKENS=off lets in everyone"
        )
        raise TokensError(message)
    logger.log(
        logging.WARNING if reachable(host) else logging.INFO,
        "listening on %s without tokens: anyone who can reach this address, such as through a proxy, can use the "
        "service",
        host,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    # Not at the top: the processes that read foreign bodies start from this file too, and need none of it.
    from pydantic import ValidationError  # noqa: PLC0415

    from service.settings import SettingError  # noqa: PLC0415

    options = parse(arguments)
    try:
        if options.command == "token":
            return print_token(options.name, options.scope)
        return serve(options.host, options.port)
    except ValidationError as error:
        for each in error.errors():
            name = f"EDDYLIFT_{'.'.join(map(str, each['loc']))}".upper()
            message = each["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"error: {name} is {each['input']!r}: {message}\n")
        return 2
    except SettingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def print_token(name: str, scope: Scope) -> int:
    """Make a token; print the secret for its bearer, and the line for the service."""
    from service.api.auth import make_token  # noqa: PLC0415

    secret, line = make_token(name, scope)
    sys.stderr.write(f"{secret}\n")
    sys.stdout.write(f"{line}\n")
    return 0


def serve(host: str, port: int) -> int:
    """Serve on an address.

    Raises:
        SettingError: if a setting cannot be used; TokensError if others can reach the address and nothing says whether
            they may use the service.
    """
    import uvicorn  # noqa: PLC0415

    from models.catalogue import CARD  # noqa: PLC0415
    from service.api.connections import BACKLOG, Connection, Connections  # noqa: PLC0415
    from service.app import create_app  # noqa: PLC0415
    from service.runtime.logs import configure  # noqa: PLC0415
    from service.runtime.malloc import keep_tidy  # noqa: PLC0415
    from service.runtime.server import Server  # noqa: PLC0415
    from service.settings import SettingError, Settings, unknown_variables  # noqa: PLC0415
    from service.volumes.files import why_unwritable  # noqa: PLC0415

    keep_tidy()
    settings = Settings()
    configure(settings.log_format)
    for message in unknown_variables():
        logging.getLogger("service").warning(message)
    warn_without_tokens(settings, host)
    settings = with_trusted_hosts(settings, host)
    if not any(settings.weights.glob(f"*/{CARD}")):
        message = f"EDDYLIFT_WEIGHTS is {settings.weights}, where there are no models"
        raise SettingError(message)
    if reason := why_unwritable(settings.data):
        message = (
            f"EDDYLIFT_DATA is {settings.data}, where volumes and jobs are stored, and cannot be written: {reason}"
        )
        raise SettingError(message)
    # uvicorn raises SIGTERM again once it has shut down; that is a regular end, unless the device has failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = create_app(settings)
    device = app.state.services.engine.registry.device
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(device.broken)))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        # A factory is all that uvicorn asks for.
        http=cast("type[Connection]", partial(Connection, Connections(settings))),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,  # ours says more
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.grace_s),
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again, too
        Server(config, app.state.services.lifecycle, settings.drain_s).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
