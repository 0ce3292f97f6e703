"""Taking a snapshot: what was staged is packed and stored, and old snapshots are deleted."""

import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, field
from typing import Any, ClassVar

from maintd import durable, names, whereabouts
from maintd.actions.delete import TemporaryRemoved
from maintd.actions.hands import Hands
from maintd.actions.staging import BackupFailed, Staged
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.folded import Folded
from maintd.steps import Action
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceUnsettled(Event):
    """A file was being changed each time that it was read; the snapshot has it as it was read once."""

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
class StoreSnapshot(Action):
    """Packs what was staged and the files, in a child, and gives the snapshot its name when all is on the disk.

    `expected` are the databases and outputs that should be staged by now; what is not, the snapshot says it lacks.
    `noted` is the private directory in which it is noted that there is one, "" if that is not noted.
    """

    verb: ClassVar[str] = "store"
    failure: ClassVar[type[Failure]] = BackupFailed

    files: Folded
    expected: tuple[str, ...]
    lacking: tuple[str, ...]
    previous: str
    noted: str = field(default="", repr=False, compare=False)
    oldest: str
    level: int | None
    recipient: str | None
    about: Mapping[str, Any] = field(repr=False, compare=False)
    staged: Staged = field(repr=False, compare=False)

    @property
    def detail(self) -> str:
        sealed = ", encrypted" if self.recipient else ""
        beside = f", unchanged ones from {os.path.basename(self.previous)}" if self.previous else ""
        return f"{counted(self.files.files + len(self.expected), 'file')}{beside}{sealed}"

    @property
    def in_bytes(self) -> int:
        return self.files.size

    def is_possible(self, _done: AbstractSet[int]) -> bool:
        """Always: what could not be staged, the snapshot lacks, and says so."""
        return True

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        self.staged.prepare()
        try:
            if not (self.files.files or self.staged.sources):
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
        if self.noted:
            whereabouts.note(self.noted)

    @property
    def missing(self) -> list[str]:
        """What it lacks by now."""
        return [*self.lacking, *(names.printable(path) for path in self.expected if path not in self.staged.sources)]

    def request(self) -> dict[str, Any]:
        """What packing.pack is asked."""
        return {
            "staging": self.staged.directory,
            "previous": self.previous,
            "store": os.path.basename(self.target).rpartition(".")[2],
            "level": self.level,
            "recipient": self.recipient,
            "oldest": self.oldest,
            "sources": [asdict(source) for source in self.staged.sources.values()],
            "files": self.files.text,
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
