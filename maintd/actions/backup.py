"""Taking a snapshot: databases copied and checked, commands' output, and all of it stored; and old ones deleted."""

import os
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from maintd import durable, names, trust
from maintd.actions.delete import TemporaryRemoved
from maintd.actions.hands import Hands
from maintd.child import Worker
from maintd.durable import Ownership
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.manifest import Source
from maintd.names import TEMPORARY
from maintd.steps import Action, Seen
from maintd.units import counted, format_duration, format_size

_COPIES = f"copies{TEMPORARY}"
_STARTING = 5.0


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
class SourceUnsettled(Event):
    """A file was being changed each time that it was read; the snapshot has it as it was read last."""

    name: ClassVar[str] = "source.unsettled"
    level: ClassVar[str] = "warning"

    tries: int

    @property
    def msg(self) -> str:
        return f"it was changed while it was read, {self.tries} times"


@dataclass(frozen=True, kw_only=True)
class SnapshotStored(Event):
    """A snapshot was read back, synced and given its name. `missing` counts sources that it does not have."""

    name: ClassVar[str] = "snapshot.stored"

    files: int
    new: int
    in_bytes: int
    out_bytes: int
    missing: int

    @property
    def msg(self) -> str:
        stored = f"{counted(self.files, 'file')}, {format_size(self.in_bytes)}; {self.new} of them new or changed"
        lacks = f"; it lacks {counted(self.missing, 'source')}" if self.missing else ""
        return f"{stored}, which take {format_size(self.out_bytes)}{lacks}"


@dataclass(frozen=True, kw_only=True)
class SnapshotExpired(Event):
    """A snapshot was deleted because the retention gave it up."""

    name: ClassVar[str] = "snapshot.expired"

    reason: str

    @property
    def msg(self) -> str:
        return f"deleted: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class BackupFailed(Failure):
    """A source, a snapshot or a destination of a backup failed. Snapshots that are there are as they were."""

    name: ClassVar[str] = "backup.failed"


@dataclass(slots=True)
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
        where = {"directory": source, "name": os.path.basename(self.target), "inode": [self.seen.dev, self.seen.ino]}
        made = {"directory": copies, "name": "copy"}
        within = trust.confinement([source, copies], file=self.seen)
        pause = None if self.pause is None else self.pause.total_seconds()
        arguments = {"source": where, "target": made, "pause": pause}
        if pause is None:
            size = hands.call("maintd.livedb:copy", self, within, **arguments)
        else:  # not in the background: its writers wait for it
            with Worker(lock_fd=hands.lock_fd, background=False) as worker:
                deadline = time.monotonic() + pause + 2 * _STARTING
                size = worker.call("maintd.livedb:copy", arguments, within=within, deadline=deadline, stop=hands.stop)
        copied_ms = (time.monotonic() - begun) * 1000
        within = trust.confinement([copies], file=self.seen)
        facts = hands.call(
            "maintd.livedb:examine", self, within, where=made, invariants=self.invariants, seconds=self.seconds
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
class DumpOutput(Action):
    """Takes what a command prints, never through a shell, as a file of the snapshot."""

    verb: ClassVar[str] = "dump"
    failure: ClassVar[type[Failure]] = BackupFailed

    argv: tuple[str, ...]
    limit: timedelta
    user: str | None
    number: int
    staged: Staged = field(repr=False, compare=False)

    @property
    def detail(self) -> str:
        who = f"as {self.user}, " if self.user else ""
        return f"{who}at most {format_duration(self.limit)}"

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


@dataclass(frozen=True, kw_only=True)
class StoreSnapshot(Action):
    """Packs what was staged and the files, in a child, and gives the snapshot its name when all is on the disk.

    `expected` are the databases and outputs that should be staged by now; what is not, the snapshot says it lacks.
    """

    verb: ClassVar[str] = "store"
    failure: ClassVar[type[Failure]] = BackupFailed

    files: tuple[Source, ...] = field(repr=False)
    expected: tuple[str, ...]
    lacking: tuple[str, ...]
    previous: str
    oldest: str
    level: int | None
    recipient: str | None
    about: Mapping[str, Any] = field(repr=False, compare=False)
    staged: Staged = field(repr=False, compare=False)

    @property
    def detail(self) -> str:
        sealed = ", encrypted" if self.recipient else ""
        beside = f", unchanged ones from {os.path.basename(self.previous)}" if self.previous else ""
        return f"{counted(len(self.files) + len(self.expected), 'file')}{beside}{sealed}"

    @property
    def in_bytes(self) -> int:
        return sum(source.size for source in self.files)

    def is_possible(self, _done: AbstractSet[int]) -> bool:
        """Always: what could not be staged, the snapshot lacks, and says so."""
        return True

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        self.staged.prepare()
        try:
            if not (self.files or self.staged.sources):
                raise MaintdError("none of its sources could be taken, so there is no snapshot")
            made = self.made(hands)
        except BaseException:
            self.staged.discard()
            raise
        for path in made["unsettled"]:
            yield SourceUnsettled(target=path, tries=3)
        yield SnapshotStored(
            target=self.target,
            files=made["files"],
            new=made["new"],
            in_bytes=made["in_bytes"],
            out_bytes=made["out_bytes"],
            missing=len(self.missing) + len(made["missing"]),
        )
        if made["missing"]:
            raise MaintdError(f"some files could not be taken: {names.enumerated(made['missing'])}")

    def made(self, hands: Hands) -> dict[str, Any]:
        """Makes the snapshot of what is staged, and says what is in it, as packing.pack does."""
        made: dict[str, Any] = hands.call("maintd.packing:pack", self, request=self.request())
        self.staged.discard_copies()
        self.put_away(hands)
        return made

    def put_away(self, _hands: Hands) -> None:
        """Gives what is whole and synced in the staging directory its place among the snapshots."""
        destination, name = os.path.split(self.target)
        with durable.directory(destination) as dir_fd:
            durable.publish_directory(os.path.basename(self.staged.directory), name, dir_fd=dir_fd)

    @property
    def missing(self) -> list[str]:
        """What it lacks by now."""
        return [*self.lacking, *(names.printable(path) for path in self.expected if path not in self.staged.sources)]

    def request(self) -> dict[str, Any]:
        """What packing.pack is asked."""
        sources = [*self.staged.sources.values(), *self.files]
        return {
            "staging": self.staged.directory,
            "previous": self.previous,
            "store": os.path.basename(self.target).rpartition(".")[2],
            "level": self.level,
            "recipient": self.recipient,
            "oldest": self.oldest,
            "sources": [asdict(source) for source in sources],
            "about": {**self.about, "missing": self.missing},
        }


@dataclass(frozen=True, kw_only=True)
class ExpireSnapshot(Action):
    """Deletes one snapshot: it loses its name first, so that what is half deleted is taken for none."""

    verb: ClassVar[str] = "expire"
    failure: ClassVar[type[Failure]] = BackupFailed

    inode: tuple[int, int]
    stored: int

    @property
    def in_bytes(self) -> int:
        return self.stored

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        destination, name = os.path.split(self.target)
        with durable.directory(destination) as dir_fd:
            gone = names.temporary(name)
            durable.move(name, gone, self.inode, dir_fd=dir_fd, new_fd=dir_fd)
            os.fsync(dir_fd)
            durable.discard_tree(gone, dir_fd=dir_fd)
        yield SnapshotExpired(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class CleanSnapshot(Action):
    """Removes what an interrupted run left of a snapshot that it was making, or taking away."""

    verb: ClassVar[str] = "clean"
    failure: ClassVar[type[Failure]] = BackupFailed

    inode: tuple[int, int]

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        destination, name = os.path.split(self.target)
        with durable.directory(destination) as dir_fd:
            durable.require_inode(name, self.inode, dir_fd=dir_fd)
            durable.discard_tree(name, dir_fd=dir_fd)
        yield TemporaryRemoved(target=self.target)
