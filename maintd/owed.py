"""Which ends of runs are still to be told to a monitor, from one life of the daemon to the next."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import field

from maintd.alert_store import Change
from maintd.values import dataclass

TABLES = "CREATE TABLE ping (run TEXT PRIMARY KEY, job TEXT NOT NULL, code INTEGER) STRICT;"


@dataclass(frozen=True)
class Owing:
    """A run whose end is to be told: its exit code, or None while it goes on."""

    run: str
    job: str
    code: int | None = None


@dataclass
class Owed:
    """Used by the daemon's main thread alone. `write` makes changes durable."""

    write: Callable[[Sequence[Change]], None]
    runs: dict[str, Owing] = field(default_factory=dict)

    def load(self, database: sqlite3.Connection) -> None:
        self.runs = {row[0]: Owing(*row) for row in database.execute("SELECT run, job, code FROM ping ORDER BY rowid")}

    def note(self, owing: Owing) -> None:
        self.runs[owing.run] = owing
        self.write([("INSERT OR REPLACE INTO ping VALUES (?, ?, ?)", [owing.run, owing.job, owing.code])])

    def settle(self, run: str) -> None:
        """It was told, or nobody is to be told any more."""
        if self.runs.pop(run, None):
            self.write([("DELETE FROM ping WHERE run = ?", [run])])
