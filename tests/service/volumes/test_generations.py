"""A reader knows that a volume was changed while it read, whoever changed it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from service.problems import Problem
from service.runtime import file_lock
from service.volumes.generations import Generations
from service.volumes.uploads import UploadStore
from tests.waiting import age


def test_every_change_gives_another_generation(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    one, other = Generations(tmp_path), Generations(tmp_path)
    assert one.read("box") == ""
    seen = {""}
    for _ in range(3):
        with one.change("box"):
            pass
        seen.add(other.read("box"))
    assert len(seen) == 4
    assert other.read("bax") == ""


def test_a_change_that_fails_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    generations = Generations(tmp_path)
    with suppress(OSError), generations.change("box"):
        raise OSError
    assert generations.read("box")


def test_the_same_generation_twice_means_that_nothing_changed_between(tmp_path: Path) -> None:
    volume, aside, stop = tmp_path / "box", tmp_path / "aside", threading.Event()
    volume.write_bytes(b"0")

    def write() -> None:
        generations = Generations(tmp_path)
        for number in range(300):
            with generations.change("box"):
                volume.write_bytes(str(number).encode())
            if number % 50 == 0:
                with generations.change("box"):
                    volume.rename(aside)  # then there is no volume, and its token goes
                with generations.change("box"):
                    aside.rename(volume)

    def read() -> int:
        generations, same = Generations(tmp_path), 0
        while not stop.is_set():
            before = generations.read("box")
            with suppress(FileNotFoundError):
                first, second = volume.read_bytes(), volume.read_bytes()
                if before == generations.read("box") != "":
                    assert first == second
                    same += 1
        return same

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        try:
            write()
        finally:
            stop.set()
        assert sum(reader.result() for reader in readers)


def test_who_holds_a_volume_costs_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "PATIENCE_S", 0.05)
    (tmp_path / "box").mkdir()
    generations = Generations(tmp_path)
    with generations.change("box"), pytest.raises(Problem) as refused:
        generations.read("box")
    assert refused.value.kind == "unready"
    assert generations.read("box")


def test_a_change_that_is_refused_is_none(tmp_path: Path) -> None:
    generations, refused = Generations(tmp_path), Problem("taken", "a job uses it")

    def refuse() -> None:
        raise refused

    with pytest.raises(Problem, match="a job uses it"), generations.change("none", refuse):
        pass
    assert not list(generations.folder.iterdir())
    (tmp_path / "box").mkdir()
    with generations.change("box"):
        pass
    before = generations.read("box")
    with pytest.raises(Problem, match="a job uses it"), generations.change("box", refuse):
        pass
    assert generations.read("box") == before


def test_what_killed_deletions_left_is_removed_at_once(tmp_path: Path) -> None:
    """By several services at a time; a file that is being received stays."""
    (tmp_path / ".part-received").touch()
    for number in range(200):
        key = tmp_path / f".gone-{number % 4}" / f"{number % 7}" / str(number)
        key.parent.mkdir(parents=True, exist_ok=True)
        key.touch()
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(UploadStore(tmp_path).tidy, threading.Event()) for _ in range(4)]:
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == [".part-received"]


def test_a_volume_that_gives_way_to_another_is_not_taken_for_an_abandoned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that cannot swap two folders, such as NFS, while another service tidies."""
    volumes = UploadStore(tmp_path)
    for name in ("box", "new"):
        (tmp_path / ".part-sent").write_text(name)
        volumes.store(tmp_path / ".part-sent", name, "u", lambda: None)
        os.utime(tmp_path / name, (0, 0))
    rename = Path.rename

    def tidied(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        UploadStore(tmp_path).tidy(threading.Event())
        return moved

    with monkeypatch.context() as patch:
        patch.setattr("service.volumes.files.RENAME_EXCHANGE", -1)
        patch.setattr(Path, "rename", tidied)
        volumes.rename("new", "box", lambda: None, replace=True)
    assert volumes.names() == ["box"]
    assert volumes.object("box", "u").read_text() == "new"


def test_uploads_of_clients_that_were_killed_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also if they had sent everything; but nothing that was changed within a day, or that has another name."""
    volumes = UploadStore(tmp_path)
    left, recent, whole = (f"box.part-0123456789a{digit}" for digit in "bcd")
    others = ["box.part-0123456789abc", "box.part-0123456789AB", "box"]
    for name in (left, recent, whole, *others):
        for key in ("u/c/0", "u/zarr.json", *(["zarr.json"] if name == whole else [])):
            (tmp_path / ".part-sent").touch()
            volumes.store(tmp_path / ".part-sent", name, key, lambda: None)
        os.utime(tmp_path / name, (0, 0))  # the folder itself changes with its first objects alone
        age(tmp_path / ".generations" / name, 80_000 if name == recent else 87_000)
    for _ in range(2):
        UploadStore(tmp_path).tidy(threading.Event())
        assert volumes.names() == sorted([recent, *others])
    assert [record.getMessage().partition(" is deleted")[0] for record in caplog.records] == [left, whole]


def test_removing_a_large_folder_can_be_stopped(tmp_path: Path) -> None:
    for number in range(9):
        key = tmp_path / ".gone-1" / f"{number % 3}" / f"{number}"
        key.parent.mkdir(parents=True, exist_ok=True)
        key.touch()

    class Stopped(threading.Event):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 5

    UploadStore(tmp_path).tidy(Stopped())
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4
    UploadStore(tmp_path).tidy(threading.Event())
    assert not list(tmp_path.iterdir())


def test_names_of_uploads_are_not_kept(tmp_path: Path) -> None:
    volumes = UploadStore(tmp_path)
    for name in ("box", "draft"):
        (tmp_path / name).mkdir()
        volumes.tag(name)
    volumes.rename("draft", "box", lambda: None, replace=True)
    volumes.tidy(threading.Event())
    assert list(volumes._tags) == ["box"]
