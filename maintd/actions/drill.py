"""Proving that a snapshot can be restored: into a scratch directory, every file compared, every database opened."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from maintd import durable, names, restoring, snapshots
from maintd.actions.hands import Hands
from maintd.errors import Damaged, Refused
from maintd.events import Event, Failure
from maintd.manifest import Entry, Manifest
from maintd.steps import Action
from maintd.units import counted, format_size


@dataclass(frozen=True, kw_only=True)
class RestoreProven(Event):
    """A snapshot was restored into a scratch directory: every file and every database is what its manifest says."""

    name: ClassVar[str] = "restore.proven"

    files: int
    databases: int
    bytes: int
    snapshot_age_s: int

    @property
    def msg(self) -> str:
        what = f"{counted(self.files, 'file')}, {counted(self.databases, 'database')}, {format_size(self.bytes)}"
        return f"restored and compared {what}"


@dataclass(frozen=True, kw_only=True)
class SnapshotVerified(Event):
    """The files of a snapshot were compared with their checksums."""

    name: ClassVar[str] = "snapshot.verified"

    bytes: int

    @property
    def msg(self) -> str:
        return f"compared {format_size(self.bytes)} with its checksums"


@dataclass(frozen=True, kw_only=True)
class DrillFailed(Failure):
    """A snapshot could not be restored, or is damaged. One that is damaged does not count as a backup any more."""

    name: ClassVar[str] = "drill.failed"


@dataclass(frozen=True, kw_only=True)
class Verify(Action):
    """Compares the files of a snapshot with their checksums: of its packs those that no other step reads."""

    verb: ClassVar[str] = "verify"
    failure: ClassVar[type[Failure]] = DrillFailed

    packs: tuple[str, ...]
    now: datetime
    stored: int

    @property
    def in_bytes(self) -> int:
        return self.stored

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        count = _verified(self, hands, self.packs, self.now)
        yield SnapshotVerified(target=self.target, bytes=count)


@dataclass(frozen=True, kw_only=True)
class Drill(Action):
    """Restores a snapshot into a scratch directory, opens and checks it, and notes in the snapshot how that went."""

    verb: ClassVar[str] = "drill"
    failure: ClassVar[type[Failure]] = DrillFailed

    manifest: Manifest = field(repr=False)
    scratch: str
    identity: str | None
    now: datetime
    taken: datetime

    @property
    def detail(self) -> str:
        return f"{counted(len(self.manifest.entries), 'file')} into {names.printable(self.scratch)}"

    @property
    def in_bytes(self) -> int:
        return self.manifest.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        parent, name = os.path.split(self.scratch)
        info = os.statvfs(parent)
        if info.f_bavail * info.f_frsize < self.manifest.size:
            raise Refused(
                f"a restore takes {format_size(self.manifest.size)}, more than is free in {names.printable(parent)}",
                hint="set scratch to a directory with more room",
            )
        _verified(self, hands, None, self.now)
        with durable.directory(parent) as dir_fd:
            durable.discard_tree(name, dir_fd=dir_fd)
            try:
                self._restore(hands)
            except Damaged as error:
                note(self.target, snapshots.proof(self.now, str(error)))
                raise
            finally:
                durable.discard_tree(name, dir_fd=dir_fd)
        note(self.target, snapshots.proof(self.now))
        yield RestoreProven(
            target=self.target,
            files=len(self.manifest.entries),
            databases=len(self._databases()),
            bytes=self.manifest.size,
            snapshot_age_s=int((self.now - self.taken).total_seconds()),
        )

    def _databases(self) -> list[Entry]:
        return [entry for entry in self.manifest.entries if entry.kind == "sqlite"]

    def _restore(self, hands: Hands) -> None:
        paths = {entry.name: os.path.join(self.scratch, entry.name) for entry in self.manifest.entries}
        request = {"snapshot": self.target, "targets": list(paths.items()), "identity": self.identity}
        hands.call("maintd.unpacking:unpack", self, request=request)
        for entry in self._databases():
            directory = os.path.dirname(paths[entry.name])
            hands.call(
                "maintd.livedb:prove",
                self,
                restoring.within(entry, directory),
                **restoring.to_prove(entry, paths[entry.name], self.manifest.invariants.get(entry.path, ())),
            )


def _verified(action: Action, hands: Hands, packs: tuple[str, ...] | None, now: datetime) -> int:
    """Bytes that are what they were; what is not is noted in the snapshot, with the packs that are damaged."""
    try:
        count: int = hands.call("maintd.unpacking:verify", action, snapshot=action.target, packs=packs)
    except Damaged as error:
        bad = hands.call("maintd.unpacking:damaged_packs", action, snapshot=action.target)
        note(action.target, snapshots.proof(now, str(error), bad))
        raise
    return count


def note(snapshot: str, proof: bytes) -> None:
    """Keeps in a snapshot how a drill of it went."""
    with durable.directory(snapshot) as dir_fd:
        durable.write_whole(snapshots.PROOF, proof, dir_fd=dir_fd)
