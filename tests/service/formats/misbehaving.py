"""A reader that fails on request, in a file without torch, as each reading process imports it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np

from service.formats.sandbox import read_body

if TYPE_CHECKING:
    from service.formats.containers import Body
    from service.formats.sandbox import Reading
    from service.formats.volume import ReadOptions
    from service.settings import Settings


def misbehaving(body: Body, settings: Settings, options: ReadOptions) -> Reading:
    """Read a body; not those that say otherwise."""
    if body.content.endswith(b"hang"):
        time.sleep(600)
    if body.content.endswith(b"crash"):
        os.abort()
    for what in (signal.SIGKILL, signal.SIGTERM):
        if body.content.endswith(what.name.encode()):
            signal.raise_signal(what)
    if body.content.endswith(b"grow"):
        np.zeros(1 << 42, np.uint8)
    if body.content.endswith(b"bug"):
        message = "ours"
        raise ZeroDivisionError(message)
    return read_body(body, settings, options)
