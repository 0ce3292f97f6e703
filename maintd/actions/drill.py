"""Proving that a snapshot can be restored: into a scratch directory, every file compared, every database opened."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from maintd import durable, manifest, names, restoring, scratch, snapshots, trust
from maintd.actions import offsite
from maintd.actions.hands import Hands
from maintd.errors import Damaged, MaintdError, trouble
from maintd.events import Event, Failure
from maintd.manifest import Entry, Manifest
from maintd.snapshots import Snapshot
from maintd.steps import Action
from maintd.stores import Store
from maintd.units import counted, format_size
from maintd.values import dataclass

_FILES = "files"
ROOM = "set scratch to a directory with more room"
UNNOTED = "until it is, the snapshot counts as sound: see that it can be written there, and run the drill again"


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
class DrillShared(Event):
    """A drill without `host` goes by this machine's snapshots, and others there are newer."""

    name: ClassVar[str] = "drill.shared"
    level: ClassVar[str] = "warning"

    of: str
    whose: str
    host: str

    @property
    def msg(self) -> str:
        return (
            f"other machines have newer snapshots of {self.of} there ({self.whose}), which are not drilled: "
            f'set host, to "{self.host}", or to the name that its backup job has'
        )


@dataclass(frozen=True, kw_only=True)
class _OnSnapshot(Action):
    """Something that is done with a snapshot, in a directory or in a bucket."""

    failure: ClassVar[type[Failure]] = DrillFailed

    store: Store
    now: datetime

    @property
    def what(self) -> str:
        return snapshots.label_of(self.target)

    def verified(self, hands: Hands, packs: tuple[str, ...] | None) -> int:
        """Bytes that are what they were; what is not is noted in the snapshot, with the packs that are damaged."""
        try:
            count: int = self._ask(hands, "verify", packs=packs)
        except Damaged as error:
            self.condemn(hands, error)
        return count

    def condemn(self, hands: Hands, error: Damaged) -> NoReturn:
        """Notes damage in the snapshot, and raises it, also if there is no room for the note."""
        try:
            self.note(hands, str(error), self._ask(hands, "damaged_packs"))
        except (MaintdError, OSError) as other:
            raise Damaged(
                f"{error}; that could not be noted in the snapshot: {trouble(other).error_msg}",
                hint=UNNOTED,
            ) from error
        raise error

    def note(self, hands: Hands, damage: str = "", packs: Sequence[str] = ()) -> None:
        """Keeps in the snapshot how a drill of it went."""
        proof = snapshots.proof(self.now, damage, packs)
        if self.store.is_remote:
            name = os.path.basename(self.target)
            offsite.ask(hands, self, self.store, "note", snapshot=name, proof=proof.decode())
            return
        with durable.directory(self.target) as dir_fd:
            try:
                durable.write_whole(snapshots.PROOF, proof, dir_fd=dir_fd)
            except OSError as error:
                if not damage or not _is_full(error):
                    raise
                self._note_without_room(proof, packs, dir_fd)

    def _note_without_room(self, damage: bytes, packs: Sequence[str], dir_fd: int) -> None:
        """In place of what was noted before, which is no proof any more; or by names alone, which take no room."""
        durable.unlink_own(snapshots.PROOF, dir_fd=dir_fd)
        try:
            durable.write_whole(snapshots.PROOF, damage, dir_fd=dir_fd)
        except OSError as error:
            if not _is_full(error):
                raise
            for mark in snapshots.marks(packs):
                with suppress(FileExistsError):
                    durable.link(manifest.NAME, mark, dir_fd=dir_fd, new_fd=dir_fd)
            os.fsync(dir_fd)

    def _ask(self, hands: Hands, function: str, **given: Any) -> Any:
        if self.store.is_remote:
            name = os.path.basename(self.target)
            return offsite.ask(hands, self, self.store, function, snapshot=name, **given)
        return hands.call(f"maintd.unpacking:{function}", self, snapshot=self.target, **given)


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class Verify(_OnSnapshot):
    """Compares the files of a snapshot with their checksums: those packs that no other step reads, or all."""

    verb: ClassVar[str] = "verify"

    packs: tuple[str, ...] | None
    stored: int

    @property
    def in_bytes(self) -> int:
        return self.stored

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        count = self.verified(hands, self.packs)
        yield SnapshotVerified(target=self.target, bytes=count)


@dataclass(frozen=True, kw_only=True)
class Drill(_OnSnapshot):
    """Restores a snapshot into a scratch directory, opens and checks it, and notes in the snapshot how that went."""

    verb: ClassVar[str] = "drill"

    snapshot: Snapshot = field(repr=False)
    scratch: str
    identity: str | None
    taken: datetime

    @property
    def detail(self) -> str:
        return f"{counted(self.snapshot.files, 'file')} into {names.printable(self.scratch)}"

    @property
    def in_bytes(self) -> int:
        return self.snapshot.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        parent, name = os.path.split(self.scratch)
        if self.store.is_remote:
            durable.private_directory(parent)
        packed = sum(pack.size for pack in self._manifest.packs) if self.store.is_remote else 0
        scratch.require_space(parent, self.snapshot.size + packed, ROOM)
        scratch.make_anew(self.scratch, is_fenced=True)
        with durable.directory(parent) as dir_fd:
            try:
                databases = self._restored(hands, self._at_hand(hands))
                self._prove(hands, databases)
            except Damaged as error:
                self.condemn(hands, error)
            finally:
                durable.discard_tree(name, dir_fd=dir_fd)
        self.note(hands)
        yield RestoreProven(
            target=self.target,
            files=self.snapshot.files,
            databases=len(databases),
            bytes=self.snapshot.size,
            snapshot_age_s=int((self.now - self.taken).total_seconds()),
        )

    @property
    def _manifest(self) -> Manifest:
        assert self.snapshot.manifest is not None
        return self.snapshot.manifest

    def _at_hand(self, hands: Hands) -> str:
        """The directory of the snapshot, compared with its checksums; one in a bucket is brought for it."""
        if not self.store.is_remote:
            self._ask(hands, "verify", packs=None)
            return self.target
        name = os.path.basename(self.target)
        directory = os.path.join(self.scratch, names.temporary(name))
        offsite.ask(hands, self, self.store, "bring", snapshot=name, packs=None, directory=directory)
        hands.call("maintd.unpacking:verify", self, snapshot=directory)
        return directory

    def _restored(self, hands: Hands, snapshot: str) -> list[tuple[Entry, str]]:
        """Unpacks all of it, and returns its databases and where they are."""
        given = {"snapshot": snapshot, "directory": os.path.join(self.scratch, _FILES), "identity": self.identity}
        found = hands.call("maintd.unpacking:unpack_all", self, trust.confinement([self.scratch]), **given)
        return [(Entry(**one), path) for one, path in found]

    def _prove(self, hands: Hands, at: Sequence[tuple[Entry, str]]) -> None:
        for entry, path in at:
            fence = restoring.within(entry, os.path.dirname(path))
            hands.call("maintd.livedb:prove", self, fence, **restoring.to_prove(entry, path))
        for entry, path in at:
            fence = restoring.within(entry, os.path.dirname(path))
            queries = self._manifest.invariants.get(entry.path, ())
            given = restoring.to_hold(path, queries, temporaries=os.path.dirname(path))
            hands.call("maintd.livedb:hold", self, fence, **given)
