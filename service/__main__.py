"""``python -m service``: serve on an address until told to stop."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve super-resolution over HTTP. Everything else is set by EDDYLIFT_* variables.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    return parser.parse_args(arguments)


def reachable(host: str) -> bool:
    """Whether other machines may reach what listens on this address."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


# Seconds that requests have to end in when the service is stopped.
GRACE_S = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    # Not at the top: the processes that read foreign bodies start from this file too, and need neither.
    import uvicorn  # noqa: PLC0415

    from service import create_app  # noqa: PLC0415

    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if reachable(options.host):
        logging.getLogger("service").warning(
            "listening on %s: anyone who can reach this address can use the service", options.host
        )
    # uvicorn hands a SIGTERM on once it has shut down; that is an end as it should be.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Batching needs all requests in one process: the device has one owner.
    uvicorn.run(
        create_app(),
        host=options.host,
        port=options.port,
        workers=1,
        log_config=None,
        server_header=False,
        # Whoever watches a job would hold the service up for as long as the job takes.
        timeout_graceful_shutdown=GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
