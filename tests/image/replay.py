"""What a container engine makes of the Dockerfile, without one: files, environment and commands of its last stage.

Packages are not installed again but linked, those alone that the image installs. Nothing of the image can be written,
and what runs in it has no privileges, as Compose has it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from pathspec import PathSpec

from tests.service.servers import UNPRIVILEGED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

PORT = 8000


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile: its options, such as ``--chmod``, and the rest."""

    name: str
    options: dict[str, str]
    rest: str

    @classmethod
    def of(cls, name: str, value: str) -> Instruction:
        found = re.match(r"((?:--\S+\s+)*)(.*)", value, re.DOTALL)
        assert found is not None
        options = dict(option.removeprefix("--").split("=", 1) for option in found[1].split())
        return cls(name, options, found[2])


def stages(dockerfile: Path) -> list[list[Instruction]]:
    """The instructions of each stage."""
    found: list[list[Instruction]] = []
    for each in DockerfileParser(path=str(dockerfile)).structure:
        if each["instruction"] == "FROM":
            found.append([])
        elif found and each["instruction"] != "COMMENT":
            found[-1].append(Instruction.of(each["instruction"], each["value"]))
    return found


def ignored_in(checkout: Path) -> PathSpec[Any]:
    """What .dockerignore keeps from all stages. The last line that matches decides, as in git."""
    return PathSpec.from_lines("gitignore", (checkout / ".dockerignore").read_text().splitlines())


class Image:
    """The image of a checkout, made in a folder.

    Args:
        checkout: of this repository.
        root: an empty folder.
        port: in place of the container's.

    Attributes:
        app: folder of what was copied.
        environment: of whatever runs.
        service: the command that serves.
        healthcheck: the command that says whether it does.
    """

    def __init__(self, checkout: Path, root: Path, port: int) -> None:
        self.app, self._venv, data = root / "app", root / "venv", root / "data"
        requirements, environment, last = stages(checkout / "Dockerfile")
        for instruction in last:
            if instruction.name == "COPY" and "from" not in instruction.options:
                self._copy(checkout, instruction)
        (collect,) = (each for each in requirements if each.name == "RUN")
        (install,) = (each for each in environment if "pip install" in each.rest)
        self._install(collect, checkout, left_out=re.findall(r"site-packages/(\S+)", install.rest))
        data.mkdir()
        said = {each.name: each.rest for each in last}
        places = {"/opt/venv": self._venv, "/data": data, "$PATH": os.environ["PATH"]}
        settings = said["ENV"]
        for place, here in places.items():
            settings = settings.replace(place, str(here))
        self.environment = dict(setting.split("=", 1) for setting in shlex.split(settings))
        command = said["HEALTHCHECK"].partition("CMD")[2]
        self.service = self._here([*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])], port)
        self.healthcheck = self._here(json.loads(command), port)
        for path in [*self.app.rglob("*"), self.app]:
            path.chmod(path.stat().st_mode & 0o555)

    def _copy(self, checkout: Path, instruction: Instruction) -> None:
        """Copy what .dockerignore lets through, from a clone that was made under umask 077."""
        ignored = ignored_in(checkout)
        *sources, target = instruction.rest.split()
        for source in (checkout / each for each in sources):
            # What is in a folder, but a file by its name.
            base = source if source.is_dir() else source.parent
            for path in [*source.rglob("*"), source]:
                if path.is_file() and not ignored.match_file(path.relative_to(checkout)):
                    place = self.app / target / path.relative_to(base)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
                    place.chmod(int(instruction.options.get("chmod", "600"), 8))

    def _install(self, collect: Instruction, checkout: Path, left_out: list[str]) -> None:
        """Link what pip would install, and what that requires."""
        venv.create(self._venv, symlinks=True)
        shutil.copy(checkout / "pyproject.toml", self._venv)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(["sh", "-c", collect.rest], cwd=self._venv, env={"PATH": path}, check=True)  # noqa: S603 S607
        wanted = (self._venv / "requirements.txt").read_text().splitlines()
        (site,) = self._venv.glob("lib/python*/site-packages")
        for package in required(wanted):
            for file in package.files or []:
                name = str(file)
                if ".." not in file.parts and not any(name.startswith(f"{each}/") for each in left_out):
                    (site / name).parent.mkdir(parents=True, exist_ok=True)
                    (site / name).symlink_to(str(package.locate_file(file)))

    def _here(self, command: list[str], port: int) -> list[str]:
        python, *rest = command
        return [*UNPRIVILEGED, str(self._venv / "bin" / python), *(each.replace(str(PORT), str(port)) for each in rest)]


def required(wanted: list[str]) -> Iterator[Distribution]:
    """The distributions that requirements ask for, and those that these ask for."""
    waiting = [Requirement(line) for line in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    names: set[str] = set()
    while waiting:
        each = waiting.pop()
        if (each.name, frozenset(each.extras)) in seen:
            continue
        seen.add((each.name, frozenset(each.extras)))
        found = distribution(each.name)
        for line in found.requires or []:
            other = Requirement(line)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in each.extras or {""}):
                waiting.append(other)
        if found.name not in names:
            names.add(found.name)
            yield found
