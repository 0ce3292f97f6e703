"""What jobs remember of their runs: when each did something, or sizes, of which a trend needs a few numbers a day."""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from sys import intern
from typing import Any

from maintd import trends
from maintd.alert_store import Change
from maintd.trends import Sample

THINNED = """
    CREATE TABLE thinned (
        job TEXT NOT NULL, at TEXT NOT NULL, what BLOB NOT NULL, size INTEGER NOT NULL, count INTEGER NOT NULL
    ) STRICT;
    INSERT INTO thinned SELECT job, at, what, size, 1 FROM sample
        WHERE job NOT LIKE 'storage.%' OR (job, at) IN (
            SELECT job, max(at) FROM (SELECT DISTINCT job, at FROM sample) GROUP BY job, substr(at, 1, 13)
        );
    DROP TABLE sample;
    ALTER TABLE thinned RENAME TO sample;
    CREATE INDEX sample_of_job ON sample (job, at);
"""
"""Samples may stand for several; of the runs of a storage job the last of each hour stays."""
OF_JOB = "SELECT at, what, size, count FROM sample WHERE job = ? ORDER BY at"
_INSERT = "INSERT INTO sample VALUES (?, ?, ?, ?, ?)"
_KEPT = timedelta(days=60)
_APART = timedelta(minutes=50)
"""Of runs that are closer to each other some are forgotten, so that it does not matter how often a job runs."""


class SampleStore:
    """Belongs to the daemon's main thread; only `of` may be asked in any. `write` gets changes to be made at once."""

    def __init__(self, write: Callable[[Sequence[Change]], None]) -> None:
        self._write = write
        self._known: dict[str, tuple[Sample, ...]] = {}

    def load(self, database: sqlite3.Connection) -> None:
        for (job,) in database.execute("SELECT DISTINCT job FROM sample").fetchall():
            self._known[job] = tuple(map(sample, database.execute(OF_JOB, [job])))

    def of(self, job: str) -> tuple[Sample, ...]:
        """Oldest first."""
        return self._known.get(job, ())

    def record(self, job: str, new: Sequence[Sample]) -> None:
        """Adds these, each for itself, and forgets what is older than 60 days."""
        oldest = max(sample.at for sample in new) - _KEPT
        self._known[job] = (*(sample for sample in self.of(job) if sample.at >= oldest), *new)
        inserted: list[Change] = [(_INSERT, _row(job, sample)) for sample in new]
        self._write([*inserted, ("DELETE FROM sample WHERE job = ? AND at < ?", (job, oldest.isoformat()))])

    def replace(self, job: str, what: str, new: Sequence[Sample]) -> None:
        """These are all that there is about a thing."""
        self._known[job] = (*(one for one in self.of(job) if one.what != what), *new)
        gone: Change = ("DELETE FROM sample WHERE job = ? AND what = ?", (job, os.fsencode(what)))
        self._write([gone, *((_INSERT, _row(job, one)) for one in new)])

    def record_sizes(self, job: str, new: Sequence[Sample]) -> None:
        """Adds the sizes of one run. Of its day runs that are close to each other are thinned, other days summed up."""
        day = trends.day(new[0])
        self._thin(job, day)
        self._sum_up(job, but=day)
        self.record(job, new)

    def _thin(self, job: str, day: int) -> None:
        """Forgets the last run of the day if the one before it was shortly before."""
        known = self.of(job)
        times = sorted({sample.at for sample in known if trends.day(sample) == day})
        if len(times) > 1 and times[-1] - times[-2] < _APART:
            self._known[job] = tuple(sample for sample in known if sample.at != times[-1])
            self._write([("DELETE FROM sample WHERE job = ? AND at = ?", (job, times[-1].isoformat()))])

    def _sum_up(self, job: str, but: int) -> None:
        """Has one sample of each thing stand for a day."""
        days: dict[int, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for one in self.of(job):
            days[trends.day(one)][one.what].append(one)
        kept: list[Sample] = []
        for day, things in sorted(days.items()):
            whole = [one for thing in things.values() for one in thing]
            summed = [trends.summed_up(thing) for thing in things.values()]
            if day == but or len(summed) == len(whole):
                kept += whole
                continue
            kept += summed
            inserted: list[Change] = [(_INSERT, _row(job, one)) for one in summed]
            self._write([("DELETE FROM sample WHERE job = ? AND at >= ? AND at < ?", (job, *_bounds(day))), *inserted])
        self._known[job] = tuple(kept)

    def shift(self, job: str, by: timedelta) -> None:
        """The wall clock has jumped by so much: what was measured is as long ago as it was before that."""
        known = self.of(job)
        self._known[job] = tuple(replace(sample, at=sample.at + by) for sample in known)
        times = sorted({sample.at for sample in known}, reverse=by > timedelta(0))  # so that none meets another's
        moved = "UPDATE sample SET at = ? WHERE job = ? AND at = ?"
        self._write([(moved, ((at + by).isoformat(), job, at.isoformat())) for at in times])


def sample(row: Sequence[Any]) -> Sample:
    """A row of OF_JOB. The names, of which there are few, are in memory once."""
    at, what, size, count = row
    return Sample(datetime.fromisoformat(at), intern(os.fsdecode(what)), size, count)


def _row(job: str, one: Sample) -> tuple[str | bytes | int, ...]:
    return job, one.at.isoformat(), os.fsencode(one.what), one.size, one.count


def _bounds(day: int) -> Iterator[str]:
    """Where a day begins and the next one, as the database has times."""
    return (datetime.fromtimestamp(at * trends.DAY, UTC).isoformat() for at in (day, day + 1))
