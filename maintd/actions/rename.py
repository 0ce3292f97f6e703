"""Setting a live log aside under its archive name, and giving its writer a new one."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from maintd import durable, names
from maintd.actions.hands import Hands
from maintd.durable import Ownership
from maintd.events import Event, Failure
from maintd.steps import Action, Lane, Seen


@dataclass(frozen=True, kw_only=True)
class LogRotated(Event):
    """A log was set aside under its archive name."""

    name: ClassVar[str] = "log.rotated"

    rotated_to: str
    reason: str
    in_bytes: int

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
    """Renames the log and makes a new one (unless `ownership` is None). The log is never overwritten nor copied."""

    verb: ClassVar[str] = "rotate"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    seen: Seen
    archive: str
    ownership: Ownership | None
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
        log, archive = os.path.basename(self.target), os.path.basename(self.archive)
        fresh = names.temporary(log)
        with (
            durable.directory(os.path.dirname(self.target)) as dir_fd,
            durable.directory(os.path.dirname(self.archive)) as archive_fd,
        ):
            durable.discard(fresh, dir_fd=dir_fd)
            try:
                if self.ownership is not None:
                    self._make(fresh, self.ownership, dir_fd)
                durable.set_aside(self.seen, archive, dir_fd=dir_fd, archive_fd=archive_fd)
            except BaseException:
                durable.discard(fresh, dir_fd=dir_fd)
                raise
            if self.ownership is not None:
                durable.put_fresh(fresh, log, dir_fd=dir_fd)
            os.fsync(archive_fd)
            os.fsync(dir_fd)
            size = os.lstat(archive, dir_fd=archive_fd).st_size
        yield LogRotated(target=self.target, rotated_to=self.archive, reason=self.reason, in_bytes=size)

    def _make(self, fresh: str, ownership: Ownership, dir_fd: int) -> None:
        """Makes the new log, with the old one's extended attributes and access control list if it gets its mode."""
        made = durable.create(fresh, ownership, dir_fd=dir_fd)
        try:
            if ownership.mode == self.seen.mode & 0o7777:
                with durable.opened(os.path.basename(self.target), dir_fd=dir_fd) as old:
                    durable.copy_extended(old, made)
        finally:
            os.close(made)


@dataclass(frozen=True, kw_only=True)
class FinishRotation(Action):
    """Puts the new log in place that an interrupted rotation had made already; its old one is set aside."""

    verb: ClassVar[str] = "create"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        log = os.path.basename(self.target)
        with durable.directory(os.path.dirname(self.target)) as dir_fd:
            durable.put_fresh(names.temporary(log), log, dir_fd=dir_fd)
            os.fsync(dir_fd)
        yield LogCreated(target=self.target, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class MakeDirectory(Action):
    """Makes the configured olddir, with mode and owner of the directory that it lies in."""

    verb: ClassVar[str] = "mkdir"
    failure: ClassVar[type[Failure]] = RotateFailed
    lane: ClassVar[Lane] = Lane.ROTATE

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        with durable.directory(os.path.dirname(self.target)) as dir_fd:
            info = os.fstat(dir_fd)
            ownership = Ownership(info.st_mode & 0o777, info.st_uid, info.st_gid)
            durable.make_directory(os.path.basename(self.target), ownership, dir_fd=dir_fd)
        yield DirectoryMade(target=self.target, reason=self.reason)
