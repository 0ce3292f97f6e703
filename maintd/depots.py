"""Where a set's snapshots go, and the steps that put one there and take one away: a directory, a bucket, or restic."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from maintd import asides, at_hand, destinations, snapshots, whereabouts
from maintd.actions.backup import CleanSnapshot, ExpireSnapshot, StoreSnapshot
from maintd.actions.offsite import ClearObjects, ExpireObjects, UploadSnapshot
from maintd.actions.repository import ForgetSnapshot, PruneRepository, StoreWithRestic
from maintd.child import Worker
from maintd.destinations import Contents
from maintd.errors import MaintdError
from maintd.snapshots import Snapshot
from maintd.steps import Action
from maintd.stores import Repository, Store
from maintd.values import dataclass


class Depot(Protocol):
    """`where` is what people call it, `making` the directory in which a snapshot is made."""

    @property
    def where(self) -> str: ...

    @property
    def making(self) -> str: ...

    def look(self, of: str, worker: Worker) -> Contents:
        """What is there of a set. Raises OSError, MaintdError."""

    def clearing(self, there: Contents, of: str) -> Iterator[Action]:
        """What takes away that an interrupted run left there."""

    def storing(self, base: Snapshot | None, **what: Any) -> StoreSnapshot:
        """What makes a snapshot; what did not change since `base` is not stored again."""

    def expiring(self, one: Snapshot, **what: Any) -> Action:
        """What takes a snapshot away."""

    def concluding(self, gone: Sequence[Action]) -> Iterator[Action]:
        """What is to be done once, after snapshots were taken away."""


def of(place: Store, repository: Repository | None, stores: str) -> Depot:
    """The depot of a job; `stores` is maintd's private directory for all that are elsewhere."""
    if repository is not None:
        return InRepository(repository, os.path.join(stores, "copies"))
    return (
        InBucket(place, place.directory(stores)) if place.is_remote else InDirectory(place.to, place.directory(stores))
    )


def leftovers(making: str, of: str, stores: str) -> Iterator[Action]:
    """What takes away the snapshots of a set that interrupted runs were making, or had brought for a restore."""
    with contextlib.suppress(FileNotFoundError):
        if not asides.is_begun(os.path.dirname(stores), of):  # which may be at work, and reads it
            info, left = os.lstat(at_hand.brought(stores, of)), at_hand.brought(stores, of)
            yield CleanSnapshot(
                target=left, reason="a restore that was cut off left it", inode=(info.st_dev, info.st_ino)
            )
    for name, inode in snapshots.leftovers(making, of):
        yield CleanSnapshot(target=os.path.join(making, name), reason="an interrupted run left it", inode=inode)


@dataclass(frozen=True)
class InDirectory:
    """`private`, and what begins so, are directories of maintd's own elsewhere."""

    where: str
    private: str

    @property
    def making(self) -> str:
        return self.where

    def look(self, of: str, worker: Worker) -> Contents:
        """MaintdError if nothing is there, where something was stored: with its disk not mounted it looks so."""
        there = destinations.look(Store(self.where), of, worker)
        noted = self._noted(of)
        if not there.snapshots and whereabouts.is_noted(noted):
            raise MaintdError(
                f"no snapshot of {of} is there any more, where there were some",
                hint=f"mount its disk; if they are gone for good: {whereabouts.forgetting(noted)}",
            )
        return there

    def _noted(self, of: str) -> str:
        return f"{self.private}-{of}"

    def clearing(self, there: Contents, of: str) -> Iterator[Action]:  # noqa: ARG002 - as the protocol has it
        yield from ()

    def storing(self, base: Snapshot | None, **what: Any) -> StoreSnapshot:
        return StoreSnapshot(**what, previous=base.path if base else "", noted=self._noted(what["about"]["set"]))

    def expiring(self, one: Snapshot, **what: Any) -> Action:
        return ExpireSnapshot(target=one.path, inode=one.inode, **what)

    def concluding(self, gone: Sequence[Action]) -> Iterator[Action]:  # noqa: ARG002 - as the protocol has it
        yield from ()


@dataclass(frozen=True)
class InBucket:
    store: Store
    making: str

    @property
    def where(self) -> str:
        return self.store.to

    def look(self, of: str, worker: Worker) -> Contents:
        return destinations.look(self.store, of, worker)

    def clearing(self, there: Contents, of: str) -> Iterator[Action]:
        if there.loose:
            reason = "an interrupted run left them"
            yield ClearObjects(target=self.where, reason=reason, store=self.store, of=of, keys=there.loose)

    def storing(self, base: Snapshot | None, **what: Any) -> StoreSnapshot:
        return UploadSnapshot(**what, previous=base.path if base else "", store=self.store)

    def expiring(self, one: Snapshot, **what: Any) -> Action:
        return ExpireObjects(target=one.path, store=self.store, **what)

    def concluding(self, gone: Sequence[Action]) -> Iterator[Action]:  # noqa: ARG002 - as the protocol has it
        yield from ()


@dataclass(frozen=True)
class InRepository:
    repository: Repository
    making: str

    @property
    def where(self) -> str:
        return self.repository.url

    def look(self, of: str, worker: Worker) -> Contents:  # noqa: ARG002 - restic needs one that is ended otherwise
        return Contents(destinations.in_repository(self.repository, of))

    def clearing(self, there: Contents, of: str) -> Iterator[Action]:  # noqa: ARG002 - as the protocol has it
        yield from ()

    def storing(self, base: Snapshot | None, **what: Any) -> StoreSnapshot:
        del base  # restic finds out by itself what it has
        what["target"] = self.where
        return StoreWithRestic(**what, previous="", repository=self.repository)

    def expiring(self, one: Snapshot, **what: Any) -> Action:
        del what["stored"]
        return ForgetSnapshot(target=one.path, repository=self.repository, **what)

    def concluding(self, gone: Sequence[Action]) -> Iterator[Action]:
        if gone:
            reason = "what was forgotten takes room until then"
            yield PruneRepository(target=self.where, reason=reason, needs=tuple(gone[-1:]), repository=self.repository)
