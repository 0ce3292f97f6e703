"""Snapshots in an object store: made here and stored there, deleted there, and cleared of what was interrupted."""

import os
from collections.abc import Iterator
from dataclasses import field
from typing import Any, ClassVar

from maintd import destinations
from maintd.actions.backup import SnapshotExpired, StoreSnapshot
from maintd.actions.hands import Hands
from maintd.actions.staging import BackupFailed
from maintd.child import Worker
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Store
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class ObjectsRemoved(Event):
    """Objects that an interrupted run had left in a bucket were removed."""

    name: ClassVar[str] = "objects.removed"

    objects: int

    @property
    def msg(self) -> str:
        return f"removed {counted(self.objects, 'object')} that an interrupted run had left"


def ask(hands: Hands, action: Action, store: Store, function: str, **given: Any) -> Any:
    """Asks a bucket in a child of its own: the library starts threads, which nobody may fork with."""
    with Worker(lock_fd=hands.lock_fd, background=hands.background) as worker:
        return destinations.ask(
            worker,
            store,
            function,
            deadline=hands.deadline,
            stop=hands.stop,
            progress=lambda count: hands.progress(action, count),
            **given,
        )


@dataclass(frozen=True, kw_only=True)
class UploadSnapshot(StoreSnapshot):
    """Packs what was staged and the files, and stores that in a bucket: read back, and the manifest last.

    The packs of the snapshot before are named again for what did not change: its manifest is brought for that.
    """

    verb: ClassVar[str] = "upload"

    store: Store

    def made(self, hands: Hands) -> dict[str, Any]:
        if self.previous:
            name, copies = os.path.basename(self.previous), self.staged.copies
            ask(hands, self, self.store, "fetch_manifest", snapshot=name, directory=copies)
        return super().made(hands)

    def put_away(self, hands: Hands) -> None:
        """Stores it, and removes it here."""
        name = os.path.basename(self.target)
        ask(hands, self, self.store, "upload", snapshot=name, staging=self.staged.directory)
        self.staged.discard()

    def request(self) -> dict[str, Any]:
        return super().request() | {"previous": "", "known": self.staged.copies if self.previous else ""}


@dataclass(frozen=True, kw_only=True)
class ExpireObjects(Action):
    """Deletes one snapshot in a bucket, its manifest first, and the packs that no other one has."""

    verb: ClassVar[str] = "expire"
    failure: ClassVar[type[Failure]] = BackupFailed

    store: Store
    stored: int

    @property
    def in_bytes(self) -> int:
        return self.stored

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        ask(hands, self, self.store, "expire", snapshot=os.path.basename(self.target))
        yield SnapshotExpired(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class ClearObjects(Action):
    """Removes the objects that an interrupted run left in a bucket, as far as they belong to nothing still."""

    verb: ClassVar[str] = "clear"
    failure: ClassVar[type[Failure]] = BackupFailed

    store: Store
    of: str
    keys: tuple[str, ...] = field(repr=False)

    @property
    def detail(self) -> str:
        return counted(len(self.keys), "object")

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        count = ask(hands, self, self.store, "clear", only=self.of, keys=self.keys)
        yield ObjectsRemoved(target=self.target, objects=count)
