"""Setting a live log aside under its archive name, and giving its writer a new one."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar

from maintd import grounds, moves, trust
from maintd.actions.hands import Hands
from maintd.durable import Ownership
from maintd.events import Event, Failure
from maintd.steps import Action, Lane, Seen
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class LogRotated(Event):
    """A log was set aside under its archive name; or, with `out_bytes`, archived where it lies and taken out of it.

    Its writers were stopped for `stopped_ms`, or wrote on and lost at most about `lost_bytes`, if the job allows that.
    """

    name: ClassVar[str] = "log.rotated"

    rotated_to: str
    reason: str
    in_bytes: int
    out_bytes: int | None = None
    stopped_ms: float | None = None
    lost_bytes: int | None = None

    @property
    def msg(self) -> str:
        return f"rotated to {os.path.basename(self.rotated_to)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LogCreated(Event):
    """A rotation that was interrupted between its two renames was completed."""

    name: ClassVar[str] = "log.created"

    reason: str

    @property
    def msg(self) -> str:
        return f"made the new log: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class DirectoryMade(Event):
    """The directory for archives was made."""

    name: ClassVar[str] = "directory.made"

    reason: str

    @property
    def msg(self) -> str:
        return f"made the directory: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class RotateFailed(Failure):
    """A step of a rotation failed. Every line is whole in one place, and what is missing is done by the next run."""

    name: ClassVar[str] = "rotate.failed"


@dataclass(frozen=True, kw_only=True)
class SetAside(Action):
    """Renames the log and makes a new one (unless `ownership` is None). The log is never overwritten nor copied.

    `folder` is the (device, inode) of the archive's directory, None if that is still to be made.
    """

    verb: ClassVar[str] = "rotate"
    failure: ClassVar[type[Failure]] = RotateFailed
    relieves: ClassVar[bool] = True
    lane: ClassVar[Lane] = Lane.ROTATE

    seen: Seen
    archive: str
    ownership: Ownership | None
    folder: tuple[int, int] | None = None
    was_held: bool = False

    @property
    def detail(self) -> str:
        same = os.path.dirname(self.archive) == os.path.dirname(self.target)
        return os.path.basename(self.archive) if same else self.archive

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        made = self.ownership
        is_all_one = made is None or made.uid == self.seen.uid
        within = trust.confinement(
            [os.path.dirname(self.target), os.path.dirname(self.archive)],
            file=self.seen if is_all_one else None,
            gid=made.gid if made else None,
        )
        size = hands.work(
            moves.set_aside,
            within,
            seen=asdict(self.seen),
            archive=self.archive,
            folder=self.folder,
            ownership=asdict(made) if made else None,
        )
        yield LogRotated(target=self.target, rotated_to=self.archive, reason=self.reason, in_bytes=size)


@dataclass(frozen=True, kw_only=True)
class FinishRotation(Action):
    """Puts the new log in place that an interrupted rotation had made already; its old one is set aside."""

    verb: ClassVar[str] = "create"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    seen: Seen

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([os.path.dirname(self.target)], file=self.seen)
        hands.work(moves.finish, within, seen=asdict(self.seen), log=self.target)
        yield LogCreated(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class MakeDirectory(Action):
    """Makes olddir, or a directory on the way to it; without an `ownership` with that of the directory it lies in.

    `parent` is the (device, inode) of that, None if it is still to be made. `of_roots` is what is taken over of the
    mode of a directory of root's.
    """

    verb: ClassVar[str] = "mkdir"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE
    of_roots: ClassVar[int] = 0o1777

    ownership: Ownership | None = None
    parent: tuple[int, int] | None = None

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        parent = grounds.survey(os.path.dirname(self.target))
        wanted = self.ownership or Ownership(
            parent.mode & (0o1777 if parent.uid else self.of_roots), parent.uid, parent.gid
        )
        within = trust.to_make_directory(parent, wanted.uid, wanted.gid)
        hands.work(moves.make_directory, within, path=self.target, parent=self.parent, ownership=asdict(wanted))
        yield DirectoryMade(target=self.target, reason=self.reason)
