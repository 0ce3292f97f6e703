"""state.sqlite: what is convenient to remember between runs: how they went, pauses, refusals. No data depends on it.

What cannot be kept there is remembered in memory alone, until the daemon ends.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta

from maintd import alert_store, clock_store, owed, sample_store
from maintd.alert_store import AlertStore, Change, Incident
from maintd.clock_store import ClockStore
from maintd.database import Database, rows_of
from maintd.events import Event
from maintd.owed import Owed
from maintd.readings import Health
from maintd.sample_store import SampleStore
from maintd.steps import Outcome
from maintd.trends import Sample
from maintd.values import dataclass

_STEPS = (
    """
    CREATE TABLE success (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
    CREATE TABLE pause (job TEXT PRIMARY KEY, until TEXT) STRICT;
    """,
    """
    CREATE TABLE last (job TEXT PRIMARY KEY, outcome TEXT NOT NULL, at TEXT NOT NULL, msg TEXT NOT NULL) STRICT;
    CREATE TABLE refusal (
        job TEXT NOT NULL, log BLOB NOT NULL, reason TEXT NOT NULL, advice TEXT NOT NULL, since TEXT NOT NULL,
        digest TEXT NOT NULL, inode TEXT NOT NULL, PRIMARY KEY (job, log)
    ) STRICT;
    """,
    """
    CREATE TABLE sample (job TEXT NOT NULL, at TEXT NOT NULL, what BLOB NOT NULL, size INTEGER NOT NULL) STRICT;
    CREATE INDEX sample_of_job ON sample (job, at);
    """,
    """
    CREATE TABLE standing (
        job TEXT PRIMARY KEY, health TEXT NOT NULL, since TEXT NOT NULL, reason TEXT NOT NULL, said TEXT NOT NULL
    ) STRICT;
    CREATE TABLE beat (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
    """,
    alert_store.TABLES,
    alert_store.MORE,
    alert_store.HEARD,
    owed.TABLES,
    alert_store.CAPPED,
    clock_store.TABLES,
    "CREATE TABLE seen (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;",
    "ALTER TABLE standing ADD COLUMN bad_from TEXT;",
    sample_store.THINNED,
    alert_store.WORST,
)
"""What makes each version of the database of the one before; a step that was released is never changed."""
ALL_JOBS = "*"

GIVEN_UP = "given up to guards"
"""What the sample of a job is about that says how many of its files guards have deleted since its last run."""
_GIVEN_UP = "SELECT job, sum(size) FROM sample WHERE CAST(what AS TEXT) = ? GROUP BY job"


@dataclass(frozen=True)
class Last:
    """How the last run of a job that had something to do went; `at` is when it ended."""

    outcome: Outcome
    at: datetime
    msg: str


@dataclass(frozen=True)
class Refusal:
    """A log that a job does not rotate, since when, and the config of the job and the inode for which that holds.

    `log` may be a place in a config file as well, if that is the error; then there is a word for the inode.
    """

    job: str
    log: str
    reason: str
    advice: str
    since: datetime
    digest: str
    inode: str


@dataclass(frozen=True)
class Standing:
    """How a check stands, `since` when and why. `said` is what was told last: a Health, that it is flapping, or blind.

    `bad_from` is when anything else than up was told first.
    """

    job: str
    health: Health
    since: datetime
    reason: str
    said: str
    bad_from: datetime | None = None


class State:
    """Used by the daemon's main thread alone; only `samples` may be asked for in any.

    Times are aware, in UTC. `report` gets what goes wrong.
    """

    def __init__(self, directory: str, report: Callable[[Event], None]) -> None:
        self._successes: dict[str, datetime] = {}
        self._pauses: dict[str, datetime | None] = {}
        self._lasts: dict[str, Last] = {}
        self._refusals: dict[tuple[str, str], Refusal] = {}
        self._standings: dict[str, Standing] = {}
        self._beats: dict[str, datetime] = {}
        self._seen: dict[str, datetime] = {}
        self._samples = SampleStore(self._write_together)
        self.alerts = AlertStore(self._write_together)
        self.pings = Owed(self._write_together)
        self.clock = ClockStore(self._write_together)
        self._database = Database(_file(directory), _STEPS, self._load, report)

    def _load(self, database: sqlite3.Connection) -> None:
        rows = database.execute("SELECT job, at FROM success")
        self._successes = {job: datetime.fromisoformat(at) for job, at in rows}
        rows = database.execute("SELECT job, until FROM pause ORDER BY job")
        self._pauses = {job: datetime.fromisoformat(until) if until else None for job, until in rows}
        rows = database.execute("SELECT job, outcome, at, msg FROM last")
        self._lasts = {job: Last(Outcome(outcome), datetime.fromisoformat(at), msg) for job, outcome, at, msg in rows}
        rows = database.execute("SELECT job, log, reason, advice, since, digest, inode FROM refusal ORDER BY job, log")
        for job, log, reason, advice, since, *rest in rows:
            path = os.fsdecode(log)
            self._refusals[job, path] = Refusal(job, path, reason, advice, datetime.fromisoformat(since), *rest)
        self._samples.load(database)
        rows = database.execute("SELECT job, health, since, reason, said, bad_from FROM standing")
        for job, health, since, reason, said, bad_from in rows:
            bad = datetime.fromisoformat(bad_from) if bad_from else None
            self._standings[job] = Standing(job, Health(health), datetime.fromisoformat(since), reason, said, bad)
        self._beats = {job: datetime.fromisoformat(at) for job, at in database.execute("SELECT job, at FROM beat")}
        self._seen = {job: datetime.fromisoformat(at) for job, at in database.execute("SELECT job, at FROM seen")}
        self.alerts.load(database)
        self.pings.load(database)
        self.clock.load(database)

    def tick(self) -> None:
        """Once a second: keeps what could not be kept before."""
        self._database.again()

    def close(self) -> None:
        self._database.close()

    def _write_together(self, changes: Sequence[Change]) -> None:
        self._database.write_together(changes)

    # Runs

    def last_success(self, job: str) -> datetime | None:
        return self._successes.get(job)

    def record_success(self, job: str, at: datetime) -> None:
        self._successes[job] = at
        self._database.write("INSERT OR REPLACE INTO success VALUES (?, ?)", job, at.isoformat())

    def first_seen(self, job: str, now: datetime) -> datetime:
        """Since when the job is to run now and then; from `now` on if that is not known, or lies in the future."""
        known = self._seen.get(job)
        if known is None or known > now:
            known = now
            self._record_seen(job, now)
        return known

    def _record_seen(self, job: str, at: datetime) -> None:
        self._seen[job] = at
        self._database.write("INSERT OR REPLACE INTO seen VALUES (?, ?)", job, at.isoformat())

    def forget_seen(self, but: AbstractSet[str]) -> None:
        """All but these jobs are gone, or do not run now and then any more."""
        for job in self._seen.keys() - but:
            del self._seen[job]
            self._database.write("DELETE FROM seen WHERE job = ?", job)

    def last(self, job: str) -> Last | None:
        return self._lasts.get(job)

    def record_last(self, job: str, last: Last) -> None:
        self._lasts[job] = last
        values = (last.outcome, last.at.isoformat(), last.msg)
        self._database.write("INSERT OR REPLACE INTO last VALUES (?, ?, ?, ?)", job, *values)

    # What was measured

    def samples(self, job: str) -> tuple[Sample, ...]:
        """What the job's runs have measured within 60 days, oldest first."""
        return self._samples.of(job)

    def record_samples(self, job: str, new: Sequence[Sample]) -> None:
        """What a run has done or found, each for itself."""
        self._samples.record(job, new)

    def record_sizes(self, job: str, new: Sequence[Sample]) -> None:
        """What a run has measured, of which not more is kept than trends go by."""
        self._samples.record_sizes(job, new)

    def given_up(self, job: str) -> int:
        """How many of the job's files guards have deleted since its last run."""
        return sum(sample.size for sample in self.samples(job) if sample.what == GIVEN_UP)

    def record_given_up(self, job: str, count: int, at: datetime) -> None:
        """So many they are by now; none if it ran itself."""
        self._samples.replace(job, GIVEN_UP, [Sample(at, GIVEN_UP, count)] if count else [])

    def shift_samples(self, job: str, by: timedelta) -> None:
        """The wall clock has jumped by so much: what was measured is as long ago as it was before that."""
        self._samples.shift(job, by)

    # Refusals

    def refusals(self) -> list[Refusal]:
        return list(self._refusals.values())

    def refuse(self, refusal: Refusal) -> None:
        self._refusals[refusal.job, refusal.log] = refusal
        self._database.write(
            "INSERT OR REPLACE INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?)",
            refusal.job,
            os.fsencode(refusal.log),
            refusal.reason,
            refusal.advice,
            refusal.since.isoformat(),
            refusal.digest,
            refusal.inode,
        )

    def accept(self, refusal: Refusal) -> None:
        """The log is not refused any more."""
        del self._refusals[refusal.job, refusal.log]
        self._database.write("DELETE FROM refusal WHERE job = ? AND log = ?", refusal.job, os.fsencode(refusal.log))

    # Checks

    def standings(self) -> list[Standing]:
        return list(self._standings.values())

    def record_standing(self, standing: Standing) -> None:
        self._standings[standing.job] = standing
        since = standing.since.astimezone(UTC).isoformat()
        bad_from = standing.bad_from.astimezone(UTC).isoformat() if standing.bad_from else None
        values = (standing.job, standing.health.value, since, standing.reason, str(standing.said), bad_from)
        self._database.write("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?, ?)", *values)

    def forget_standing(self, job: str) -> None:
        if self._standings.pop(job, None):
            self._database.write("DELETE FROM standing WHERE job = ?", job)

    def beat(self, job: str) -> datetime | None:
        """When something last called in for a heartbeat."""
        return self._beats.get(job)

    def record_beat(self, job: str, at: datetime) -> None:
        self._beats[job] = at
        self._database.write("INSERT OR REPLACE INTO beat VALUES (?, ?)", job, at.isoformat())

    def shift_beats(self, jobs: Iterable[str], by: timedelta) -> None:
        """The wall clock has jumped by so much: heartbeats, and the wait for a first one, are as old as before that."""
        for job in jobs:
            if job in self._beats:
                self.record_beat(job, self._beats[job] + by)
            if job in self._seen:
                self._record_seen(job, self._seen[job] + by)

    # Pauses

    def pauses(self, now: datetime) -> dict[str, datetime | None]:
        """The paused jobs (ALL_JOBS for all) and until when; None means until resumed. Those that ran out are gone."""
        for job in [job for job, until in self._pauses.items() if until is not None and until <= now]:
            self._end(job)
        return dict(self._pauses)

    def is_paused(self, job: str) -> bool:
        """Whether it is, by itself or with all others; a pause counts until it was seen to have run out."""
        return bool({job, ALL_JOBS} & self._pauses.keys())

    def pause(self, job: str, until: datetime | None) -> None:
        self._pauses[job] = until
        end = until.astimezone(UTC).isoformat() if until else None
        self._database.write("INSERT OR REPLACE INTO pause VALUES (?, ?)", job, end)

    def resume(self, job: str) -> bool:
        """Whether the job had been paused; ALL_JOBS ends every pause."""
        if job == ALL_JOBS:
            found, self._pauses = bool(self._pauses), {}
            self._database.write("DELETE FROM pause")
            return found
        found = job in self._pauses
        self._end(job)
        return found

    def resume_together(self) -> None:
        """Ends the pause of all jobs together; those that are paused by themselves stay so."""
        self._end(ALL_JOBS)

    def _end(self, job: str) -> None:
        self._pauses.pop(job, None)
        self._database.write("DELETE FROM pause WHERE job = ?", job)


def leave(directory: str, incidents: Sequence[Incident]) -> None:
    """Has the next maintd find these, from any thread: the main thread hangs, perhaps while it writes."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(_file(directory), timeout=0.5)) as base:
        for incident in incidents:
            base.execute(*alert_store.kept(incident, "INSERT OR IGNORE"))
        base.commit()


def samples_kept(directory: str, job: str) -> list[Sample]:
    """What a job's runs have measured, for who is not the daemon; none if that cannot be read."""
    return list(map(sample_store.sample, rows_of(_file(directory), sample_store.OF_JOB, job)))


def paused(directory: str, now: datetime) -> frozenset[str]:
    """The jobs that are paused (ALL_JOBS for all), for who is not the daemon."""
    rows = rows_of(_file(directory), "SELECT job FROM pause WHERE until IS NULL OR until > ?", now.isoformat())
    return frozenset(job for (job,) in rows)


def given_up(directory: str) -> dict[str, int]:
    """How many files guards have given up of jobs since the last run of each, for who is not the daemon."""
    return dict(rows_of(_file(directory), _GIVEN_UP, GIVEN_UP))


def clock_doubted(directory: str) -> float | None:
    """By how many seconds the daemon doubts the clock, for who is not the daemon; None if it does not."""
    rows = rows_of(_file(directory), "SELECT away FROM clock WHERE away IS NOT NULL")
    return float(rows[0][0]) if rows else None


def _file(directory: str) -> str:
    return os.path.join(directory, "state.sqlite")
