"""What goes into a snapshot, put into a staging directory: databases copied and checked, the output of commands."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any, ClassVar

from maintd import durable, names, trust
from maintd.actions.command import OfCommand
from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.durable import Ownership
from maintd.errors import MaintdError, NotYet
from maintd.events import Event, Failure
from maintd.manifest import Source
from maintd.names import TEMPORARY
from maintd.steps import Action, Seen
from maintd.units import counted, format_duration, format_size
from maintd.values import dataclass

_COPIES = f"copies{TEMPORARY}"
_STARTING = 5.0
_LOCKED = (
    "who has it open must let go of it between transactions: PRAGMA locking_mode = NORMAL; no transaction that lasts "
    "for seconds, unless in WAL mode"
)


@dataclass(frozen=True, kw_only=True)
class DatabaseCopied(Event):
    """A live database was copied in one transaction, and the copy passed its checks."""

    name: ClassVar[str] = "database.copied"

    bytes: int
    rows: int
    copy_ms: float
    foreign_key_violations: int
    invariants: int

    @property
    def msg(self) -> str:
        held = f", {counted(self.invariants, 'invariant')} held" if self.invariants else ""
        orphans = self.foreign_key_violations
        bad = f", but {counted(orphans, 'foreign key')} without what they point to" if orphans else ""
        return f"copied {format_size(self.bytes)}, {counted(self.rows, 'row')}, checked{held}{bad}"


@dataclass(frozen=True, kw_only=True)
class OutputDumped(Event):
    """The output of a command was taken into the snapshot."""

    name: ClassVar[str] = "output.dumped"

    bytes: int

    @property
    def msg(self) -> str:
        return f"took {format_size(self.bytes)} of output"


@dataclass(frozen=True, kw_only=True)
class BackupFailed(Failure):
    """A source, a snapshot or a destination of a backup failed. Snapshots that are there are as they were."""

    name: ClassVar[str] = "backup.failed"


@dataclass(frozen=True, kw_only=True)
class ProgramMissed(Event):
    """A program that a set names is not known to supervisord: a restore in place would not stop it."""

    name: ClassVar[str] = "program.missed"
    level: ClassVar[str] = "warning"

    reason: str

    @property
    def msg(self) -> str:
        return f"{self.reason}; correct `programs`, so that a restore in place stops what has the files open"


@dataclass
class Staged:
    """What the steps of one run have put into the staging directory, by the name it gets in the snapshot."""

    directory: str
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def copies(self) -> str:
        return os.path.join(self.directory, _COPIES)

    def prepare(self, *parts: str, owner: Ownership | None = None) -> str:
        """Makes the directory for copies, and one in it, as far as they are not there; returns the path."""
        destination, name = os.path.split(self.directory)
        durable.private_directory(destination)
        with durable.directory(destination) as dir_fd:
            _make_missing(name, dir_fd)
        with durable.directory(self.directory) as dir_fd:
            _make_missing(_COPIES, dir_fd)
        if parts:
            with durable.directory(self.copies) as dir_fd:
                durable.make_directory(parts[0], owner or _ours(), dir_fd=dir_fd)
        return os.path.join(self.copies, *parts)

    def discard_copies(self) -> None:
        """Removes what was only on its way into the snapshot."""
        with durable.directory(self.directory) as dir_fd:
            durable.discard_tree(_COPIES, dir_fd=dir_fd)

    def discard(self) -> None:
        """Removes all of it."""
        parent, name = os.path.split(self.directory)
        with durable.directory(parent) as dir_fd:
            durable.discard_tree(name, dir_fd=dir_fd)

    def require_space(self, size: int) -> None:
        """Raises MaintdError if there are not so many bytes left for it."""
        place = os.path.dirname(self.directory)
        info = os.statvfs(place)
        free = info.f_bavail * info.f_frsize
        if free < size:
            raise MaintdError(
                f"it takes {format_size(size)} in {names.printable(place)}, where {format_size(free)} are free",
                hint="free some space there, or lower keep or max_total; this is tried again at the next run",
            )


def _ours() -> Ownership:
    return Ownership(0o700, os.geteuid(), os.getegid())


def _make_missing(name: str, dir_fd: int) -> None:
    try:
        durable.make_private(name, dir_fd=dir_fd)
    except FileExistsError:
        return


@dataclass(frozen=True, kw_only=True)
class CopyDatabase(Action):
    """Copies one live database in one transaction as its owner, and checks the copy.

    `pause` is for how long its writers may be held up; None where they are not. `seconds` bound each invariant.
    """

    verb: ClassVar[str] = "copy"
    failure: ClassVar[type[Failure]] = BackupFailed
    parallel: ClassVar[int] = 2  # a small server has two cores

    seen: Seen
    number: int
    pause: timedelta | None
    invariants: tuple[str, ...]
    seconds: float
    staged: Staged = field(repr=False, compare=False)

    @property
    def detail(self) -> str:
        how = "beside its writers" if self.pause is None else f"writers wait, {format_duration(self.pause)} at most"
        return f"in one transaction, {how}"

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        source = os.path.dirname(self.target)
        copies = self.staged.prepare(f"{self.number:04}", owner=self._owner(source))
        self.staged.require_space(self.seen.size)
        begun = time.monotonic()
        made = {"directory": copies, "name": "copy", "called": os.path.basename(self.target)}
        try:
            size = self._copied(hands, source, made)
        except NotYet as error:  # at each run, if its service never lets go: that must not pass for a backup
            raise MaintdError(
                f"{names.printable(self.target)} stayed locked, so the snapshot lacks it", hint=_LOCKED
            ) from error
        copied_ms = (time.monotonic() - begun) * 1000
        within = trust.confinement([copies], file=self.seen)
        where = made | {"temporaries": copies}
        facts = hands.call(
            "maintd.livedb:examine", self, within, where=where, invariants=self.invariants, seconds=self.seconds
        )
        self.staged.sources[self.target] = self._source(copies, size, facts)
        yield DatabaseCopied(
            target=self.target,
            bytes=size,
            rows=sum(facts["rows"].values()),
            copy_ms=round(copied_ms, 1),
            foreign_key_violations=facts["foreign_key_violations"],
            invariants=len(self.invariants),
        )

    def _copied(self, hands: Hands, source: str, made: Mapping[str, str]) -> int:
        """Bytes of the copy. NotYet if the database stays locked."""
        where = {"directory": source, "name": os.path.basename(self.target), "inode": [self.seen.dev, self.seen.ino]}
        within = trust.confinement([source, made["directory"]], file=self.seen, moves=False)
        pause = None if self.pause is None else self.pause.total_seconds()
        arguments = {"source": where, "target": made, "pause": pause}
        if pause is None:
            return int(hands.call("maintd.livedb:copy", self, within, **arguments))
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:  # its writers wait for it
            deadline = time.monotonic() + pause + 2 * _STARTING
            return int(worker.call("maintd.livedb:copy", arguments, within=within, deadline=deadline, stop=hands.stop))

    def _owner(self, directory: str) -> Ownership:
        """Whom the directory of the copy belongs to: the owner of database and directory, else maintd's user."""
        if os.geteuid() == 0 and os.stat(directory).st_uid == self.seen.uid:
            return Ownership(0o700, self.seen.uid, self.seen.gid)
        return _ours()

    def _source(self, copies: str, size: int, facts: Mapping[str, Any]) -> Source:
        return Source(
            name=self.target.lstrip("/"),
            path=self.target,
            kind="sqlite",
            directory=copies,
            file="copy",
            mode=self.seen.mode & 0o7777,
            uid=self.seen.uid,
            gid=self.seen.gid,
            mtime_ns=self.seen.mtime_ns,
            size=size,
            database=facts,
        )


@dataclass(frozen=True, kw_only=True)
class DumpOutput(OfCommand):
    """Takes what a command prints as a file of the snapshot."""

    verb: ClassVar[str] = "dump"
    failure: ClassVar[type[Failure]] = BackupFailed

    number: int
    staged: Staged = field(repr=False, compare=False)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        place = self.staged.prepare()
        name = f"output-{self.number:04}"
        answer = hands.call(
            "maintd.commands:dump",
            self,
            argv=self.argv,
            limit=self.limit.total_seconds(),
            user=self.user,
            directory=place,
            name=name,
        )
        if answer["status"] != 0:
            raise MaintdError(f"{self.argv[0]} ended with {answer['status']}: {answer['output']}")
        self.staged.sources[self.target] = Source(
            name=f"commands/{self.target}",
            path=self.target,
            kind="output",
            directory=place,
            file=name,
            mode=0o600,
            uid=os.geteuid(),
            gid=os.getegid(),
            mtime_ns=time.time_ns(),
            size=answer["size"],
        )
        yield OutputDumped(target=self.target, bytes=answer["size"])
