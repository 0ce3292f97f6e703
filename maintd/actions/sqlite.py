"""Looking after live databases: statistics, checks, checkpoints and VACUUM, each within a pause."""

import os
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import field
from datetime import timedelta
from typing import Any, ClassVar

from maintd import headers, interim_modes, names, scratch, trust
from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.durable import Ownership
from maintd.errors import Damaged, MaintdError, NotYet
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.units import counted, format_size
from maintd.values import dataclass

_STARTING = 10.0
"""Seconds beyond its pause that a child may take to begin, to wait for a lock, and to end."""
_LOCKED = (
    "who has it open must let go of it between transactions (PRAGMA locking_mode = NORMAL); or run the job when its "
    "service is at rest; the next run tries it again"
)


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
class ReferencesBroken(Event):
    """Foreign keys of a database point to nothing (PRAGMA foreign_key_check)."""

    name: ClassVar[str] = "references.broken"
    level: ClassVar[str] = "warning"

    violations: int

    @property
    def msg(self) -> str:
        return f"{counted(self.violations, 'foreign key')} without what they point to"


@dataclass(frozen=True, kw_only=True)
class DatabaseFailed(Failure):
    """Something could not be done for a live database, or it is damaged. What was broken off has changed nothing."""

    name: ClassVar[str] = "database.failed"


@dataclass
class Health:
    """What the checks of a run have found of one database, which its later steps go by."""

    is_damaged: bool = False


@dataclass(frozen=True, kw_only=True)
class OnDatabase(Action):
    """Something that is done to one live database, in a child, as its owner. `pause` bounds what holds up writers.

    `place` is where copies of it and SQLite's temporary files may lie for a while.
    """

    verb: ClassVar[str] = "keep"
    failure: ClassVar[type[Failure]] = DatabaseFailed

    seen: Seen
    pause: timedelta
    place: str
    health: Health = field(default_factory=Health, repr=False, compare=False)
    looks: ClassVar[bool] = False
    """Whether it looks for damage, and is done whatever was found; nothing else is, once there is some."""

    def is_possible(self, done: AbstractSet[int]) -> bool:
        return super().is_possible(done) and (self.looks or not self.health.is_damaged)

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    @property
    def where(self) -> Mapping[str, Any]:
        directory, name = os.path.split(self.target)
        return {"directory": directory, "name": name, "inode": [self.seen.dev, self.seen.ino]}

    @contextmanager
    def room(self) -> Iterator[str]:
        """A private directory below `place`, for the block, of whoever does the work."""
        name = names.temporary(os.path.basename(self.target))
        with scratch.of_owner(self.place, name, self._owner()) as path:
            yield path

    def _owner(self) -> Ownership:
        """The owner of database and directory, else maintd's user."""
        if os.geteuid() == 0 and os.stat(os.path.dirname(self.target)).st_uid == self.seen.uid:
            return Ownership(0o700, self.seen.uid, self.seen.gid)
        return Ownership(0o700, os.geteuid(), os.getegid())

    def ask(
        self, hands: Hands, function: str, *, temporaries: str = "", within_s: float | None = None, **arguments: Any
    ) -> Any:
        """In a child that is not in the background: whoever waits for its lock would wait for the others too.

        It may take `within_s` seconds, or its pause, and what it takes to begin; `temporaries` is the room for SQLite.
        """
        directories = [os.path.dirname(self.target), *filter(None, [temporaries])]
        within = trust.confinement(directories, file=self.seen, moves=False)
        latest = time.monotonic() + (self.pause.total_seconds() if within_s is None else within_s) + _STARTING
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:
            return worker.call(
                f"maintd.{function}",
                {"where": {**self.where, "temporaries": temporaries}, **arguments},
                within=within,
                deadline=latest if hands.deadline is None else min(latest, hands.deadline),
                stop=hands.stop,
            )

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        try:
            yield from self.done(hands)
        except Damaged:
            self.health.is_damaged = True
            raise
        except NotYet as error:  # at each run, if its service never lets go: that must not pass for done
            raise MaintdError(str(error), hint=_LOCKED) from error

    def done(self, hands: Hands) -> Iterator[Event]:
        """Does it, and yields what happened."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Optimize(OnDatabase):
    """Brings a database's statistics up to date, where SQLite thinks that it pays."""

    verb: ClassVar[str] = "optimize"

    def done(self, hands: Hands) -> Iterator[Event]:
        self.ask(hands, "tuning:optimize", pause=self.pause.total_seconds())
        yield DatabaseKept(target=self.target, what="its statistics are up to date")


@dataclass(frozen=True, kw_only=True)
class QuickCheck(OnDatabase):
    """Looks for damage in a live database; in WAL mode nobody waits, else writers do."""

    verb: ClassVar[str] = "check"
    looks: ClassVar[bool] = True

    limit: timedelta

    def done(self, hands: Hands) -> Iterator[Event]:
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        seconds = self.limit.total_seconds()
        if self.limit > self.pause:  # nobody waits for it
            hands.call("maintd.tuning:quick_check", self, within, where=self.where, seconds=seconds)
        else:
            self.ask(hands, "tuning:quick_check", seconds=seconds)
        yield DatabaseKept(target=self.target, what="quick_check found nothing")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(OnDatabase):
    """Moves a write-ahead log that has grown too large into its database, without anybody waiting.

    What a reader of the moment keeps from being moved is left for the next time; if that is most of it, it has failed.
    """

    verb: ClassVar[str] = "checkpoint"

    def done(self, hands: Hands) -> Iterator[Event]:
        pages, moved = self.ask(hands, "tuning:checkpoint")
        if pages == -1:
            yield DatabaseKept(target=self.target, what="somebody else is moving its write-ahead log")
            return
        if moved < pages / 2:
            raise MaintdError(
                f"a reader holds on to its write-ahead log: {moved} of {pages} pages could be moved",
                hint="look for a long transaction, or a connection that is never closed",
            )
        left = f"; {pages - moved} are still read" if moved < pages else ""
        yield DatabaseKept(target=self.target, what=f"moved {counted(moved, 'page')} of its write-ahead log{left}")


@dataclass(frozen=True, kw_only=True)
class Vacuum(OnDatabase):
    """Gives the free pages of a database back, if there is room for it: three times its size, and some."""

    verb: ClassVar[str] = "vacuum"

    def done(self, hands: Hands) -> Iterator[Event]:
        pause = self.pause.total_seconds()
        with self.room() as room:
            require_room(self.target, self.seen.size, room)
            size = self.ask(hands, "tuning:vacuum", temporaries=room, pause=pause, size=self.seen.size)
        freed = self.seen.size - size
        yield DatabaseKept(target=self.target, what=f"gave back {format_size(freed)}", changed_bytes=freed)


def require_room(path: str, size: int, temporaries: str) -> None:
    """MaintdError if VACUUM of a database may not have room, beside it and where SQLite has its temporary files."""
    needed = int(3.2 * size)
    for place in (os.path.dirname(path), temporaries):
        info = os.statvfs(place)
        if info.f_bavail * info.f_frsize < needed:
            raise MaintdError(f"VACUUM may take {format_size(needed)} in {place}, which is not free there")


@dataclass(frozen=True, kw_only=True)
class VacuumSome(OnDatabase):
    """Gives the free pages of a database with auto_vacuum = incremental back, a MiB at a time."""

    verb: ClassVar[str] = "vacuum"

    def done(self, hands: Hands) -> Iterator[Event]:
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:  # it takes as long as there is something free
            size = worker.call(
                "maintd.tuning:vacuum_some",
                {"where": self.where, "pause": self.pause.total_seconds()},
                within=trust.confinement([os.path.dirname(self.target)], file=self.seen),
                deadline=hands.deadline,
                stop=hands.stop,
            )
        freed = self.seen.size - size
        yield DatabaseKept(target=self.target, what=f"gave back {format_size(freed)}", changed_bytes=freed)


@dataclass(frozen=True, kw_only=True)
class Settle(OnDatabase):
    """Gives a database the journal mode, page size or auto_vacuum that is asked for.

    `owes_wal`: an earlier run took its WAL mode from it for that, and was killed.
    """

    verb: ClassVar[str] = "settle"

    wanted: Mapping[str, str | int]
    owes_wal: bool = False

    @property
    def detail(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.wanted.items())

    def done(self, hands: Hands) -> Iterator[Event]:
        is_wal_due = self.owes_wal or self._is_wal()
        with self.room() as room:
            try:
                self._settle(hands, room)
            except (OSError, MaintdError) as error:
                if is_wal_due:
                    self._back_to_wal(hands, error)
                raise
        interim_modes.forget(self.place, self.target)
        before = "; a run that was killed had left it without WAL mode" if self.owes_wal else ""
        yield DatabaseKept(target=self.target, what=f"it has {self.detail} now{before}")

    def _settle(self, hands: Hands, room: str) -> None:
        if self.wanted.keys() & {"page_size", "auto_vacuum"}:
            require_room(self.target, self.seen.size, room)
        if "page_size" in self.wanted and self.wanted.get("journal_mode") != "delete" and self._is_wal():
            interim_modes.note(self.place, self.target, self.seen.inode)
        pause = self.pause.total_seconds()
        self.ask(hands, "tuning:settle", temporaries=room, wanted=dict(self.wanted), pause=pause, size=self.seen.size)

    def _is_wal(self) -> bool:
        header = headers.read(self.target)
        return header is not None and header.is_wal

    def _back_to_wal(self, hands: Hands, error: Exception) -> None:
        """The page size cannot be changed in WAL mode: a VACUUM that did not come to its end leaves a journal."""
        if not self._is_wal():
            pause = self.pause.total_seconds()
            try:  # also if the run is to end by now
                unhurried = Hands(lock_fd=hands.lock_fd)
                self.ask(unhurried, "tuning:settle", wanted={"journal_mode": "wal"}, pause=pause, size=0)
            except (OSError, MaintdError) as other:
                if not self._is_wal():
                    raise MaintdError(
                        f"{error}; and it is not in WAL mode any more, which could not be set again: {other}",
                        hint="the next run tries it again; or PRAGMA journal_mode = WAL, while nobody else has it open",
                    ) from error
        interim_modes.forget(self.place, self.target)


@dataclass(frozen=True, kw_only=True)
class CheckCopy(OnDatabase):
    """Copies a database into a private directory, and runs integrity_check and foreign_key_check on the copy.

    `limit` bounds for how long writers wait for the copy; None where they do not.
    """

    verb: ClassVar[str] = "examine"
    looks: ClassVar[bool] = True

    limit: timedelta | None

    @property
    def detail(self) -> str:
        return "integrity_check and foreign_key_check on a copy"

    def done(self, hands: Hands) -> Iterator[Event]:
        with self.room() as room:
            info = os.statvfs(room)
            if info.f_bavail * info.f_frsize < self.seen.size:
                raise MaintdError(f"a copy takes {format_size(self.seen.size)}, which is not free in {self.place}")
            orphans = self._examined(hands, room)
        yield DatabaseKept(target=self.target, what="integrity_check found nothing in a copy")
        if orphans:
            yield ReferencesBroken(target=self.target, violations=orphans)

    def _examined(self, hands: Hands, copies: str) -> int:
        source = os.path.dirname(self.target)
        within = trust.confinement([source, copies], file=self.seen, moves=False)
        pause = None if self.limit is None else self.limit.total_seconds()
        with Worker(lock_fd=hands.lock_fd, background=pause is None) as worker:
            count: int = worker.call(
                "maintd.tuning:examine_copy",
                {"source": self.where, "target": {"directory": copies, "name": "copy"}, "pause": pause},
                within=within,
                deadline=hands.deadline,
                stop=hands.stop,
            )
        return count
