"""``make image-check``: the very image, built and run by buildah, on a base that debootstrap makes.

It takes root, some minutes and, on Debian, ``apt-get install buildah debootstrap``; no container engine and no registry
of images. Arguments go to ``buildah build``; ``--volume /wheels:/wheels:ro --volume pip.conf:/etc/pip.conf:ro`` has pip
find wheels of the host, as buildah does not pass ``--env`` on to the commands of a Dockerfile.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack

import httpx2
import numpy as np

from service.settings import CHECKOUT
from tests.image.replay import PORT
from tests.service.servers import free_port
from tests.service.wire import NPY, from_npy
from tests.waiting import PATIENCE_S, wait_until

# What the Dockerfile begins with, and what stands in for it.
BASE = "docker.io/library/python:3.11-slim"
PACKAGES = "ca-certificates,python-is-python3,python3,python3-venv"
IMAGE = "localhost/eddylift:check"
SAMPLE = CHECKOUT / "weights" / "held-out" / "isotropic-x4"


def run(*command: str) -> str:
    """What a command prints on standard output; the rest is seen."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()  # noqa: S603


def make_base() -> None:
    """An image with Debian's Python, unless there is one of that name."""
    if not subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:  # noqa: S603 S607
        return
    with tempfile.TemporaryDirectory() as folder:
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder)
        container = run("buildah", "from", "scratch")
        run("buildah", "copy", container, folder, "/")
        run("buildah", "commit", "--rm", container, BASE)


def check() -> None:
    """Start it as its configuration says, without privileges; ask for its health and an answer; end it."""
    port = str(free_port())
    with ExitStack() as kept:
        container = run("buildah", "from", "--pull-never", IMAGE)
        kept.callback(run, "buildah", "rm", container)
        config = json.loads(run("buildah", "inspect", container))["Docker"]["config"]

        def inside(*command: str) -> list[str]:
            words = [word.replace(str(PORT), port) for word in command]
            options = ["--isolation=chroot", "--cap-drop=all", "--env=EDDYLIFT_TOKENS=off", "--env=EDDYLIFT_DEVICE=cpu"]
            return ["buildah", "run", *options, container, "--", *words]

        def is_healthy() -> bool:
            command = inside(*config["Healthcheck"]["Test"][1:])
            return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode  # noqa: S603

        # It shares the processes of this machine, and says which it is.
        begin = ["sh", "-c", 'echo $$ > /data/pid; id; exec "$@"', "sh"]
        process = kept.enter_context(subprocess.Popen(inside(*begin, *config["Entrypoint"], *config["Cmd"])))  # noqa: S603
        wait_until(lambda: process.poll() is not None or is_healthy())
        pid = int(run(*inside("cat", "/data/pid")))
        try:
            answer = httpx2.post(
                f"http://127.0.0.1:{port}/v1/upscale?boundary=periodic",
                content=(SAMPLE / "coarse.npy").read_bytes(),
                headers={"Content-Type": NPY},
                timeout=PATIENCE_S,
            ).raise_for_status()
            fine, true = from_npy(answer.content), np.load(SAMPLE / "fine.npy")
            assert np.abs(fine - true).mean() < 0.1 * true.std(), "the answer is wrong"
        finally:
            os.kill(pid, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, "SIGTERM does not end it well"


def main() -> None:
    """Build it and check it."""
    make_base()
    # HEALTHCHECK is of Docker's format alone.
    options = ["--format=docker", "--isolation=chroot", "--layers=false", "--pull-never", f"--tag={IMAGE}"]
    subprocess.run(["buildah", "build", *options, *sys.argv[1:], str(CHECKOUT)], check=True)  # noqa: S603 S607
    check()
    sys.stdout.write("the image is built, becomes healthy, answers and ends\n")


if __name__ == "__main__":
    main()
