"""A set of several directories, databases and a program, for the trials of vault.py.

What lies beside its files is called as SQLite calls its own: the write-ahead log of an encrypted database, which is
SQLite's, and a directory, which is not.
"""

import contextlib
import shutil  # noqa: TID251 - clears a directory
import sqlite3
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from maintd import rpc
from tests.supervised.supervisord import Supervisord
from tests.tree import Tree

from .vault import Scene, State, Vault, VaultBench

SET = """
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db", "LOGS/more/*.db"]
files = ["LOGS/*.csv", "LOGS/tree"]
programs = ["service"]
checks = [["/bin/true"]]
"""
WIDE = (
    Scene("restore of directories", ("restore", "app", "--in-place", "--json"), SET),
    Scene("undo of directories", ("restore", "app", "--undo"), SET, is_restored=True),
)
_WAL = b"\x37\x7f\x06\x82"
"""How a write-ahead log begins."""
_SERVICE = "service"


@dataclass
class WideVault(Vault):
    """Its program is to run whenever maintd is through."""

    supervisord: Supervisord

    def at_rest(self) -> list[str]:
        return [] if self.state() == "RUNNING" else [_SERVICE]

    def state(self) -> str:
        found: dict[str, str] = self._asked("getProcessInfo")
        return found["statename"]

    def start(self) -> None:
        if self.at_rest():
            self._asked("startProcess")

    def _asked(self, method: str) -> Any:
        return rpc.call(f"unix://{self.supervisord.socket}", ("", ""), f"supervisor.{method}", _SERVICE)


class WideBench(VaultBench):
    """With a supervisord of its own, which stays as long as the bench does; the stage has a link to its socket."""

    def __enter__(self) -> Self:
        super().__enter__()
        folder = self.root / "supervisord"
        folder.mkdir()
        self._supervisord = Supervisord(folder, {_SERVICE: ("idle", "autorestart=true")})
        self._supervisord.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._supervisord.stop()
        super().__exit__(kind, error, at)

    def fill(self, tree: Tree) -> None:
        self._link(tree)
        (tree.logs / "more").mkdir()
        for name in ("b.db", "more/b.db"):
            with contextlib.closing(sqlite3.connect(tree.logs / name, isolation_level=None)) as database:
                database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
                database.execute("INSERT INTO t VALUES (1, 'first')")
        for name in ("sealed.csv", "tree/n", "tree/n-journal/z", "tree/gone/g"):
            tree.log(name, f"{name}, at first\n".encode())

    def change(self, tree: Tree) -> None:
        with contextlib.closing(sqlite3.connect(tree.logs / "more/b.db", isolation_level=None)) as database:
            database.execute("INSERT INTO t VALUES (2, 'second')")
        tree.log("sealed.csv", b"other bytes that nobody can read\n")
        tree.log("sealed.csv-wal", _WAL + b" and pages\n")
        tree.log("sealed.csv-shm", b"where they are\n")
        tree.log("tree/n-journal/z", b"what came later\n")
        shutil.rmtree(tree.logs / "tree/gone")

    def vault(self, tree: Tree, old: State, kept: State) -> Vault:
        return WideVault(tree, old, kept, self._supervisord)

    def set(self, scene: Scene) -> Vault:
        vault = super().set(scene)
        self._link(vault.tree)
        assert isinstance(vault, WideVault)
        vault.start()
        return vault

    def _link(self, tree: Tree) -> None:
        (tree.folder / "supervisor.sock").symlink_to(self._supervisord.socket)
