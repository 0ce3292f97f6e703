"""Snapshots in a repository of restic: stored, forgotten, and their room given back."""

import os
import signal
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from maintd import durable, names
from maintd.actions.backup import SnapshotExpired, StoreSnapshot
from maintd.actions.drill import ROOM, UNNOTED, DrillFailed, RestoreProven
from maintd.actions.hands import Hands
from maintd.actions.staging import BackupFailed
from maintd.child import Worker
from maintd.destinations import STAMP, id_of
from maintd.errors import Damaged, MaintdError
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Repository
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RepositoryPruned(Event):
    """restic gave back the room of what no snapshot has any more."""

    name: ClassVar[str] = "repository.pruned"

    @property
    def msg(self) -> str:
        return "gave back what no snapshot has any more"


@dataclass(frozen=True, kw_only=True)
class RepositoryVerified(Event):
    """All the data of a repository was read, and is what it was (restic check --read-data)."""

    name: ClassVar[str] = "repository.verified"

    @property
    def msg(self) -> str:
        return "read all its data, which is what it was"


_SECONDS = 300.0
"""For each invariant."""


def _ask(hands: Hands, repository: Repository, function: str, **given: Any) -> Any:
    """In a child that ends restic if it is told to end."""
    with Worker(lock_fd=hands.lock_fd, background=hands.background, parting=signal.SIGTERM) as worker:
        arguments = {"repository": repository.fields(), **given}
        return worker.call(f"maintd.{function}", arguments, deadline=hands.deadline, stop=hands.stop)


@dataclass(frozen=True, kw_only=True)
class StoreWithRestic(StoreSnapshot):
    """Has restic store what was staged, below /maintd, and the files, which it reads itself."""

    repository: Repository

    def made(self, hands: Hands) -> dict[str, Any]:
        made: dict[str, Any] = _ask(hands, self.repository, "restic:store", request=self.request())
        self.staged.discard()
        if made["is_doubtful"]:
            at = _stamp(datetime.fromisoformat(self.about["taken"]))
            _ask(hands, self.repository, "soundness:certify", snapshot=made["id"], at=at)
        return made


@dataclass(frozen=True, kw_only=True)
class DrillWithRestic(Action):
    """Has restic restore a snapshot aside, opens and checks the databases, and notes that as a tag of the snapshot."""

    verb: ClassVar[str] = "drill"
    failure: ClassVar[type[Failure]] = DrillFailed

    repository: Repository
    set: str
    scratch: str
    now: datetime
    taken: datetime
    proven: datetime | None

    @property
    def detail(self) -> str:
        return f"into {names.printable(self.scratch)}"

    @property
    def what(self) -> str:
        return f"the set {self.set}"

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        try:
            yield self._proven(hands, id_of(self.target))
        except Damaged as error:
            try:
                _ask(hands, self.repository, "soundness:condemn", snapshot=id_of(self.target), at=_stamp(self.now))
            except MaintdError as other:
                raise Damaged(f"{error}; that could not be noted: {other}", hint=UNNOTED) from error
            raise

    def _proven(self, hands: Hands, snapshot: str) -> Event:
        parent, name = os.path.split(self.scratch)
        durable.private_directory(parent)
        what = {"snapshot": snapshot, "directory": self.scratch, "hint": ROOM}
        with durable.directory(parent) as dir_fd:
            try:
                found = _ask(hands, self.repository, "restored:bring_all", **what)
                for one in found["databases"]:
                    self._prove(hands, one)
            finally:
                durable.discard_tree(name, dir_fd=dir_fd)
        before = self.proven.strftime(STAMP) if self.proven else None
        _ask(hands, self.repository, "restic:prove", snapshot=snapshot, at=_stamp(self.now), before=before)
        age = int((self.now - self.taken).total_seconds())
        return RestoreProven(
            target=self.target,
            files=found["files"],
            databases=len(found["databases"]),
            bytes=found["bytes"],
            snapshot_age_s=age,
        )

    def _prove(self, hands: Hands, one: Mapping[str, Any]) -> None:
        directory, name = os.path.split(one["at"])
        where = {"directory": directory, "name": name}
        hands.call("maintd.livedb:prove", self, where=where, promised=one["database"])
        where["temporaries"] = directory
        hands.call("maintd.livedb:hold", self, where=where, invariants=one["invariants"], seconds=_SECONDS)


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime(STAMP)


@dataclass(frozen=True, kw_only=True)
class VerifyRepository(Action):
    """Has restic read all the data of a repository; which snapshots of the set are damaged is noted as their tag."""

    verb: ClassVar[str] = "verify"
    failure: ClassVar[type[Failure]] = DrillFailed

    repository: Repository
    set: str
    now: datetime

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        _ask(hands, self.repository, "soundness:check", only=self.set, at=_stamp(self.now))
        yield RepositoryVerified(target=self.target)


@dataclass(frozen=True, kw_only=True)
class ForgetSnapshot(Action):
    """Has restic forget one snapshot, by its id, which stands behind the # of the target."""

    verb: ClassVar[str] = "expire"
    failure: ClassVar[type[Failure]] = BackupFailed

    repository: Repository

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        _ask(hands, self.repository, "restic:forget", snapshot=id_of(self.target))
        yield SnapshotExpired(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class PruneRepository(Action):
    """Has restic give back the room of what was forgotten."""

    verb: ClassVar[str] = "prune"
    failure: ClassVar[type[Failure]] = BackupFailed

    repository: Repository

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        _ask(hands, self.repository, "restic:prune")
        yield RepositoryPruned(target=self.target)
