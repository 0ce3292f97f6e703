"""Snapshots in a repository of restic: stored, forgotten, and their room given back."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from maintd.actions.backup import SnapshotExpired, StoreSnapshot
from maintd.actions.hands import Hands
from maintd.actions.staging import BackupFailed
from maintd.child import Worker
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Repository


@dataclass(frozen=True, kw_only=True)
class RepositoryPruned(Event):
    """restic gave back the room of what no snapshot has any more."""

    name: ClassVar[str] = "repository.pruned"

    @property
    def msg(self) -> str:
        return "gave back what no snapshot has any more"


def _ask(hands: Hands, repository: Repository, function: str, **given: Any) -> Any:
    """In a child that ends restic if it is told to end."""
    with Worker(lock_fd=hands.lock_fd, background=hands.background, parting=signal.SIGTERM) as worker:
        arguments = {"repository": repository.fields(), **given}
        return worker.call(f"maintd.restic:{function}", arguments, deadline=hands.deadline, stop=hands.stop)


@dataclass(frozen=True, kw_only=True)
class StoreWithRestic(StoreSnapshot):
    """Has restic store what was staged, below /maintd, and the files, which it reads itself."""

    repository: Repository

    def made(self, hands: Hands) -> dict[str, Any]:
        made: dict[str, Any] = _ask(hands, self.repository, "store", request=self.request())
        self.staged.discard()
        return made


@dataclass(frozen=True, kw_only=True)
class ForgetSnapshot(Action):
    """Has restic forget one snapshot, by its id, which stands behind the # of the target."""

    verb: ClassVar[str] = "expire"
    failure: ClassVar[type[Failure]] = BackupFailed

    repository: Repository

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        _ask(hands, self.repository, "forget", snapshot=self.target.rpartition("#")[2])
        yield SnapshotExpired(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class PruneRepository(Action):
    """Has restic give back the room of what was forgotten."""

    verb: ClassVar[str] = "prune"
    failure: ClassVar[type[Failure]] = BackupFailed

    repository: Repository

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        _ask(hands, self.repository, "prune")
        yield RepositoryPruned(target=self.target)
