"""What is remembered of the wall clock between starts: where the clocks were, and whether it was doubted."""

import sqlite3
import time
from collections.abc import Callable, Sequence

from maintd.alert_store import Change
from maintd.values import dataclass

TABLES = """
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 0), wall REAL NOT NULL, since_boot REAL NOT NULL, boot TEXT NOT NULL,
        away REAL, most REAL, remaining REAL
    ) STRICT;
    CREATE TABLE clock_released (job TEXT PRIMARY KEY) STRICT;
"""
_KNOWN = "SELECT wall, since_boot, boot, away, most, remaining FROM clock"


@dataclass(frozen=True)
class Reading:
    """What the clocks show: `wall` in seconds since 1970, and since the boot of this name, suspension included."""

    wall: float
    since_boot: float
    boot: str

    @classmethod
    def now(cls) -> "Reading":
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), _BOOT)


@dataclass(frozen=True)
class Doubt:
    """So many seconds the clock is `away` from where it was believed. Up to `most` ahead it may be right; in any case
    it is believed when `left` seconds have passed.
    """

    away: float
    most: float
    left: float


class ClockStore:
    """Belongs to the daemon's main thread; `write` gets several changes to be made at once."""

    def __init__(self, write: Callable[[Sequence[Change]], None]) -> None:
        self._write = write
        self.known: tuple[Reading, Doubt | None] | None = None
        self.released: frozenset[str] = frozenset()

    def load(self, database: sqlite3.Connection) -> None:
        self.released = frozenset(job for (job,) in database.execute("SELECT job FROM clock_released"))
        for wall, since_boot, boot, *doubt in database.execute(_KNOWN):
            self.known = Reading(wall, since_boot, boot), None if None in doubt else Doubt(*doubt)

    def keep(self, reading: Reading, doubt: Doubt | None) -> None:
        self.known = reading, doubt
        values = (reading.wall, reading.since_boot, reading.boot)
        doubted = (doubt.away, doubt.most, doubt.left) if doubt else (None, None, None)
        self._write([("INSERT OR REPLACE INTO clock VALUES (0, ?, ?, ?, ?, ?, ?)", (*values, *doubted))])

    def release(self, job: str) -> None:
        """A person had the job run as the clock is."""
        self.released |= {job}
        self._write([("INSERT OR REPLACE INTO clock_released VALUES (?)", (job,))])

    def begin_anew(self) -> None:
        """What a person had run does not count any more."""
        if self.released:
            self.released = frozenset()
            self._write([("DELETE FROM clock_released", ())])


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


_BOOT = _boot()
