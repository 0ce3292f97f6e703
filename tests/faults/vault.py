"""A set with databases and files, its snapshots, and what must hold of both whatever was cut off."""

import contextlib
import errno
import hashlib
import json
import os
import shutil  # noqa: TID251 - clears and copies the stage
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.tree import Tree, files

from .lab import Answer, Call, Decide, Fail, Kill, Lab, Ran, proceed
from .trial import Report

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
CODES = ("ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE", "ENOMEM")


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
            assert did.code == 0, did
        kept = vault.services()
        _change(tree)
        old = vault.services()
        if scene.is_restored:
            ran = self.run(tree, "restore", "app", "--in-place")
            assert ran.code == 0, ran
        shutil.copytree(folder, template)
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


@dataclass(frozen=True)
class Point:
    """What happens at this call: a kill of everything, of the caller alone, or an errno, once or from there on.

    Calls are counted that maintd makes itself, or those of restic, whichever is `of`.
    """

    scene: Scene
    number: int
    what: str
    of: str = "maintd"

    def __str__(self) -> str:
        return f"{self.what} in {self.scene.name!r} at call {self.number} of {self.of}"


class Strike:
    """Has the fault take place in one run; `struck` is the call, once it was reached."""

    def __init__(self, point: Point) -> None:
        self._point, self._count = point, 0
        self.struck: Call | None = None

    def __call__(self, call: Call) -> Answer:
        what = self._point.what
        if maker(call) != self._point.of:
            return None
        self._count += 1
        if self._count == self._point.number:
            self.struck = call
        if self.struck is None or (self.struck is not call and not what.endswith("on")):
            return None
        if what.startswith("kill"):
            return Kill(caller_only=what.endswith("caller"))
        return Fail(getattr(errno, what.split()[0]))


def maker(call: Call) -> str:
    """Which program makes a call."""
    return "restic" if Path(f"/proc/{call.pid}/comm").read_text() == "restic\n" else "maintd"


def points(bench: VaultBench, scene: Scene) -> Iterator[Point]:
    """Each call with a kill, and with three of the errnos in turn, once and from there on."""
    vault, made = bench.set(scene), list[tuple[str, int]]()

    def note(call: Call) -> None:
        made.append((maker(call), call.pid))

    bench.run(vault.tree, *scene.argv, decide=note)
    own = [pid for by, pid in made if by == "maintd"]
    for number, pid in enumerate(own, 1):
        yield Point(scene, number, "kill")
        if pid != own[0]:
            yield Point(scene, number, "kill the caller")
        for turn, rest in enumerate((" once", " from there on", " once")):
            yield Point(scene, number, CODES[(number + turn) % len(CODES)] + rest)
    for number in range(1, len(made) - len(own) + 1):
        yield Point(scene, number, "kill", "restic")


def trial(bench: VaultBench, point: Point) -> Report:
    """The fault, what is there right after it, and what is there after the next run."""
    report, vault, strike = Report(str(point)), bench.set(point.scene), Strike(point)
    ran = bench.run(vault.tree, *point.scene.argv, decide=strike)
    report.reached = strike.struck is not None
    report.noticed = ran.code != 0
    if not report.reached:
        return report
    report.what += f" ({strike.struck})"
    wrong = report.wrongs.append
    if "Traceback" in ran.err:
        wrong(f"a traceback: {ran}")
    if not vault.sound():
        wrong(f"no sound snapshot is left: {ran}")
    CHECKS[point.scene.argv[0] if point.scene.name != "undo" else "undo"](bench, vault, ran, wrong)
    again = bench.do(vault.tree)
    if again.code != 0 or not vault.is_newest_sound():
        wrong(f"the next backup failed: {again}")
    if vault.temporaries():
        wrong(f"temporaries were left: {vault.temporaries()}")
    return report


Wrong = Callable[[str], None]


def _after_do(_: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    if _without_shm(vault.services()) != _without_shm(vault.old):
        wrong(f"a backup changed what it copies: {sorted(vault.services())} {ran}")


def _after_restore(bench: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    """Either the snapshot exactly, or, at once or after --undo, the old state exactly."""
    note = vault.note
    if note is not None and note["phase"] != "done":
        undone = bench.run(vault.tree, "restore", "app", "--undo")
        if undone.code != 0:
            wrong(f"it could not be undone: {undone}")
    is_done = note is not None and note["phase"] == "done"
    _compare(vault, vault.kept if is_done else vault.old, ran, wrong)
    if ran.code == 0 and not is_done:
        wrong(f"it said that all is well: {ran}")
    if not is_done:
        again = bench.run(vault.tree, "restore", "app", "--in-place")
        if again.code != 0:
            wrong(f"the next restore failed: {again}")
        _compare(vault, vault.kept, again, wrong)


def _after_undo(bench: VaultBench, vault: Vault, ran: Ran, wrong: Wrong) -> None:
    if vault.note is not None:
        undone = bench.run(vault.tree, "restore", "app", "--undo")
        if undone.code != 0:
            wrong(f"it could not be undone the second time: {undone}")
    _compare(vault, vault.old, ran, wrong)


def _compare(vault: Vault, wanted: State, ran: Ran, wrong: Wrong) -> None:
    found = vault.services()
    is_snapshot = wanted is vault.kept
    names = [name for name in wanted if not (is_snapshot and name.endswith(("-wal", "-shm")))]
    if sorted(found) != sorted(names):
        wrong(f"there are {sorted(found)}, not {sorted(names)}: {ran}")
    differing = [name for name in names if name in found and not _is_same(name, found[name], wanted[name], is_snapshot)]
    if differing:
        wrong(f"{differing} are not what they should be: {ran}")


def _is_same(name: str, found: bytes, wanted: bytes, is_snapshot: bool) -> bool:
    if is_snapshot and name.endswith(".db"):  # a copy by the backup interface has other counters in its header
        return found[100:] == wanted[100:] and len(found) == len(wanted)
    return found == wanted


def _without_shm(state: State) -> State:
    """An index that SQLite makes anew from the WAL, by whoever opens it first."""
    return {name: data for name, data in state.items() if not name.endswith("-shm")}


CHECKS: dict[str, Callable[[VaultBench, Vault, Ran, Wrong], None]] = {
    "do": _after_do,
    "restore": _after_restore,
    "undo": _after_undo,
}
