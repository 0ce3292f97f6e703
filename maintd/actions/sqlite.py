"""Looking after live databases: indexes, statistics, checks, checkpoints and VACUUM, each within a pause."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from maintd import trust
from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.units import counted, format_duration, format_size

_STARTING = 10.0
"""Seconds beyond its pause that a child may take to begin, to wait for a lock, and to end."""


@dataclass(frozen=True, kw_only=True)
class IndexCreated(Event):
    """A declared index was made."""

    name: ClassVar[str] = "index.created"

    index: str
    declared: str
    took_ms: float

    @property
    def msg(self) -> str:
        return f"made the index {self.declared} as {self.index} in {self.took_ms:.0f} ms"


@dataclass(frozen=True, kw_only=True)
class IndexFound(Event):
    """A declared index need not be made: it is there, under whatever name, or a wider one begins with its columns."""

    name: ClassVar[str] = "index.found"

    index: str
    declared: str
    how: str

    @property
    def msg(self) -> str:
        return f"the index {self.declared} is {self.how} ({self.index})"


@dataclass(frozen=True, kw_only=True)
class ProbeMeasured(Event):
    """A probe query was run before and after: its time, and how SQLite goes about it."""

    name: ClassVar[str] = "probe.measured"

    query: str
    before_ms: float
    after_ms: float
    plan_before: str
    plan_after: str

    @property
    def msg(self) -> str:
        plan = self.plan_after if self.plan_before == self.plan_after else f"{self.plan_before} → {self.plan_after}"
        return f"{self.before_ms} ms → {self.after_ms} ms, {plan}: {self.query}"


@dataclass(frozen=True, kw_only=True)
class DatabaseKept(Event):
    """Something was done for a live database: `what` says it in words, `changed_bytes` how much smaller a file is."""

    name: ClassVar[str] = "database.kept"

    what: str
    changed_bytes: int | None = None

    @property
    def msg(self) -> str:
        return self.what


@dataclass(frozen=True, kw_only=True)
class DatabaseFailed(Failure):
    """Something could not be done for a live database, or it is damaged. What was broken off has changed nothing."""

    name: ClassVar[str] = "database.failed"


@dataclass(frozen=True, kw_only=True)
class _OnDatabase(Action):
    """Something that is done to one live database, in a child, as its owner. `pause` bounds what holds up writers."""

    verb: ClassVar[str] = "keep"
    failure: ClassVar[type[Failure]] = DatabaseFailed

    seen: Seen
    pause: timedelta

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    @property
    def where(self) -> Mapping[str, Any]:
        directory, name = os.path.split(self.target)
        return {"directory": directory, "name": name, "inode": [self.seen.dev, self.seen.ino]}

    def ask(self, hands: Hands, function: str, **arguments: Any) -> Any:
        """In a child that is not in the background: whoever waits for its lock would wait for the others too."""
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        latest = time.monotonic() + self.pause.total_seconds() + _STARTING
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:
            return worker.call(
                f"maintd.tuning:{function}",
                {"where": self.where, **arguments},
                within=within,
                deadline=latest if hands.deadline is None else min(latest, hands.deadline),
                stop=hands.stop,
            )

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        yield from self.done(hands)

    def done(self, hands: Hands) -> Iterator[Event]:
        """Does it, and yields what happened."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class EnsureIndexes(_OnDatabase):
    """Makes the declared indexes that are missing, and measures the probes before and after."""

    verb: ClassVar[str] = "index"

    indexes: tuple[str, ...]
    probes: tuple[str, ...] = ()
    seconds: float = field(default=10.0)

    @property
    def detail(self) -> str:
        return f"{counted(len(self.indexes), 'declared index')}, writers wait {format_duration(self.pause)} at most"

    def done(self, hands: Hands) -> Iterator[Event]:
        before = self._probed(hands)
        pause = self.pause.total_seconds()
        for one in self.ask(hands, "index", indexes=self.indexes, pause=pause, size=self.seen.size):
            if one["state"] == "created":
                yield IndexCreated(target=self.target, index=one["name"], declared=one["declared"], took_ms=one["ms"])
            else:
                how = "there" if one["state"] == "present" else "the beginning of another"
                yield IndexFound(target=self.target, index=one["name"], declared=one["declared"], how=how)
        for query, old, new in zip(self.probes, before, self._probed(hands), strict=True):
            yield ProbeMeasured(
                target=self.target,
                query=query,
                before_ms=old["ms"],
                after_ms=new["ms"],
                plan_before=old["plan"],
                plan_after=new["plan"],
            )

    def _probed(self, hands: Hands) -> list[dict[str, Any]]:
        if not self.probes:
            return []
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        found: list[dict[str, Any]] = hands.call(
            "maintd.tuning:probe", self, within, where=self.where, queries=self.probes, seconds=self.seconds
        )
        return found


@dataclass(frozen=True, kw_only=True)
class Optimize(_OnDatabase):
    """Brings a database's statistics up to date, where SQLite thinks that it pays."""

    verb: ClassVar[str] = "optimize"

    def done(self, hands: Hands) -> Iterator[Event]:
        self.ask(hands, "optimize", pause=self.pause.total_seconds())
        yield DatabaseKept(target=self.target, what="its statistics are up to date")


@dataclass(frozen=True, kw_only=True)
class QuickCheck(_OnDatabase):
    """Looks for damage in a live database; in WAL mode nobody waits, else writers do."""

    verb: ClassVar[str] = "check"

    limit: timedelta

    def done(self, hands: Hands) -> Iterator[Event]:
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        seconds = self.limit.total_seconds()
        if self.limit > self.pause:  # nobody waits for it
            hands.call("maintd.tuning:quick_check", self, within, where=self.where, seconds=seconds)
        else:
            self.ask(hands, "quick_check", seconds=seconds)
        yield DatabaseKept(target=self.target, what="quick_check found nothing")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(_OnDatabase):
    """Moves a write-ahead log that has grown too large into its database, without anybody waiting."""

    verb: ClassVar[str] = "checkpoint"

    def done(self, hands: Hands) -> Iterator[Event]:
        pages, moved = self.ask(hands, "checkpoint")
        if moved < pages:
            raise MaintdError(
                f"a reader holds on to its write-ahead log: {moved} of {pages} pages could be moved",
                hint="look for a long transaction, or a connection that is never closed",
            )
        yield DatabaseKept(target=self.target, what=f"moved {counted(moved, 'page')} of its write-ahead log")


@dataclass(frozen=True, kw_only=True)
class Vacuum(_OnDatabase):
    """Gives the free pages of a database back, if there is room for it: three times its size, and some."""

    verb: ClassVar[str] = "vacuum"

    def done(self, hands: Hands) -> Iterator[Event]:
        needed = int(3.2 * self.seen.size)
        for place in (os.path.dirname(self.target), "/var/tmp"):  # noqa: S108 - where SQLite has its temporaries
            info = os.statvfs(place)
            if info.f_bavail * info.f_frsize < needed:
                raise MaintdError(f"VACUUM may take {format_size(needed)} in {place}, which is not free there")
        size = self.ask(hands, "vacuum", pause=self.pause.total_seconds(), size=self.seen.size)
        freed = self.seen.size - size
        yield DatabaseKept(target=self.target, what=f"gave back {format_size(freed)}", changed_bytes=freed)
