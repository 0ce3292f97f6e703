"""A set with databases and files, and its snapshots: the stage of the trials in which something is cut off."""

import contextlib
import hashlib
import json
import os
import shutil  # noqa: TID251 - clears and copies the stage
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.tree import Tree, files

from .lab import Decide, Lab, Ran, proceed

JOB = """
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db"]
files = ["LOGS/*.csv"]
"""
State = dict[str, bytes]


@dataclass(frozen=True)
class Scene:
    """What is run, where two snapshots are; the database has changed since, with some of it in its WAL."""

    name: str
    argv: tuple[str, ...]
    jobs: str = JOB
    is_restored: bool = False


SCENES = (
    Scene("backup", ("do", "--all", "--json")),
    Scene("retention", ("do", "--all", "--json"), JOB + "keep = 1\n"),
    Scene("restore", ("restore", "app", "--in-place", "--json")),
    Scene("undo", ("restore", "app", "--undo"), is_restored=True),
)


@dataclass
class Vault:
    """The stage as a scene begins: what the services have, and what the newest snapshot has; in a directory."""

    tree: Tree
    old: State
    kept: State

    def services(self) -> State:
        """The services' files, byte for byte, without what was put aside."""
        return {
            str(path.relative_to(self.tree.logs)): path.read_bytes()
            for path in files(self.tree.logs)
            if ".maintd-aside" not in str(path)
        }

    def snapshots(self) -> list[Path]:
        kept = self.tree.folder / "kept"
        return sorted(path for path in kept.iterdir() if not path.name.endswith(".maintd-tmp"))

    def sound(self) -> list[Path]:
        """The snapshots of which every file has its checksum, and that lack nothing."""
        return [path for path in self.snapshots() if _is_sound(path)]

    def is_newest_sound(self) -> bool:
        return self.snapshots()[-1] in self.sound()

    def temporaries(self) -> list[str]:
        """What maintd has left on its way."""
        return [str(path) for path in self.tree.folder.rglob("*.maintd-tmp")]

    def at_rest(self) -> list[str]:
        """The programs that do not run, though they did."""
        return []

    @property
    def note(self) -> dict[str, object] | None:
        path = self.tree.folder / "state/restores/app.json"
        return json.loads(path.read_text()) if path.exists() else None


def _is_sound(path: Path) -> bool:
    try:
        sums = dict(reversed(line.split("  ", 1)) for line in (path / "SHA256SUMS").read_text().splitlines())
        same = all(hashlib.sha256((path / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
        return same and not json.loads((path / "manifest.json").read_text())["missing"]
    except (OSError, ValueError):
        return False


class VaultBench:
    """A lab, and a folder that is filled anew before each trial from one that was made once for each scene."""

    def __enter__(self) -> Self:
        root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._temporary = tempfile.TemporaryDirectory(prefix="faults-", dir=root)
        self.root = Path(self._temporary.name).resolve()
        self.lab = self.laboratory().__enter__()
        self._made: dict[str, tuple[State, State]] = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.lab.__exit__(kind, error, at)
        self._temporary.cleanup()

    def laboratory(self) -> Lab:
        return Lab()

    def fill(self, tree: Tree) -> None:
        """What a scene needs before its first snapshot."""

    def change(self, tree: Tree) -> None:
        """What becomes of that after its last one."""

    def vault(self, tree: Tree, old: State, kept: State) -> Vault:
        return Vault(tree, old, kept)

    def set(self, scene: Scene) -> Vault:
        folder, template = self.root / "site", self.root / f"template of {scene.name}"
        if scene.name not in self._made:
            self._made[scene.name] = self._make(scene, folder, template)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, copy_function=shutil.copy2)
        tree = Tree.__new__(Tree)
        tree.folder, tree.logs, tree.config = folder, folder / "logs", folder / "maintd.toml"
        _renew_note(folder)
        return self.vault(tree, *self._made[scene.name])

    def _make(self, scene: Scene, folder: Path, template: Path) -> tuple[State, State]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        tree = Tree(folder, scene.jobs)
        self.fill(tree)
        vault = Vault(tree, {}, {})
        path = tree.logs / "a.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
            database.executemany("INSERT INTO t VALUES (?, randomblob(200))", ((n,) for n in range(200)))
        tree.log("p.csv", b"first\n")
        for content in (b"first\n", b"second\n"):
            tree.log("p.csv", content)
            did = self.do(tree)
            if did.code != 0:  # moto answered 500 to the first requests once, on a busy machine
                did = self.do(tree)
            assert did.code == 0, did
        kept = vault.services()
        _change(tree)
        self.change(tree)
        old = vault.services()
        if scene.is_restored:
            ran = self.run(tree, "restore", "app", "--in-place")
            assert ran.code == 0, ran
        shutil.copytree(folder, template, ignore=shutil.ignore_patterns("*.sock"))
        return old, kept

    def run(self, tree: Tree, *argv: str, decide: Decide = proceed) -> Ran:
        return self.lab.run(tree.folder, "-c", str(tree.config), *argv, decide=decide)

    def do(self, tree: Tree) -> Ran:
        return self.run(tree, "do", "--all", "--json")


def _change(tree: Tree) -> None:
    """The database goes on, and its last transaction is in a WAL that a crash left; a file is changed."""
    path = tree.logs / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM t WHERE id < 100")
        wal = Path(f"{path}-wal").read_bytes()
        shm = Path(f"{path}-shm").read_bytes()
        whole = path.read_bytes()
    path.write_bytes(whole)
    Path(f"{path}-wal").write_bytes(wal)
    Path(f"{path}-shm").write_bytes(shm)
    tree.log("p.csv", b"third\n")


def _renew_note(folder: Path) -> None:
    """A copy has other inodes than the note of a restore that was done in the original."""
    note = folder / "state/restores/app.json"
    if not note.exists():
        return
    fields = json.loads(note.read_text())
    for item in fields["items"]:
        info = os.stat(item["path"])
        item["new"] = [info.st_dev, info.st_ino]
    note.write_text(json.dumps(fields))
