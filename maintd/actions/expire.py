"""Removing files that a policy gives up and nobody has open, and the directories that are empty then."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from os.path import dirname
from typing import ClassVar

from maintd import moves, trust
from maintd.actions.delete import ExpireFailed
from maintd.actions.hands import Hands
from maintd.events import Event, Failure
from maintd.steps import Action, Seen
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class FileExpired(Event):
    """A file was deleted because the policy of its job gave it up."""

    name: ClassVar[str] = "file.expired"

    reason: str
    freed_bytes: int

    @property
    def msg(self) -> str:
        return f"deleted: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ExpireLimited(Event):
    """A job has given up more files than may go in one run; the oldest of them go now, the others in later runs."""

    name: ClassVar[str] = "expire.limited"
    level: ClassVar[str] = "warning"

    left: int
    left_bytes: int
    share: str

    @property
    def msg(self) -> str:
        what = f"{counted(self.left, 'file')} of {format_size(self.left_bytes)}"
        return f"left {what} to a later run: at most {self.share} go in one (max_share)"


@dataclass(frozen=True, kw_only=True)
class DirectoryRemoved(Event):
    """A directory was removed because nothing was left in it."""

    name: ClassVar[str] = "directory.removed"

    reason: str

    @property
    def msg(self) -> str:
        return f"removed the directory: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ExpireFile(Action):
    """Deletes one file, if it is still the planned one and no process has it open, not even for reading."""

    verb: ClassVar[str] = "delete"
    failure: ClassVar[type[Failure]] = ExpireFailed

    seen: Seen
    untouched: ClassVar[bool] = False

    @property
    def in_bytes(self) -> int:
        return self.seen.size

    @property
    def common_place(self) -> str:
        return dirname(self.target)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([dirname(self.target)], file=self.seen)
        hands.work(moves.delete, within, seen=asdict(self.seen), undisturbed=True, untouched=self.untouched)
        yield FileExpired(target=self.target, reason=self.reason, freed_bytes=self.seen.size)


@dataclass(frozen=True, kw_only=True)
class GiveUpFile(ExpireFile):
    """The same for room on a full disk; a file that an earlier step has compressed is none of its business."""

    def apply(self, hands: Hands) -> Iterator[Event]:
        with suppress(FileNotFoundError):
            yield from super().apply(hands)


@dataclass(frozen=True, kw_only=True)
class GiveUpStored(GiveUpFile):
    """The same for a file that is stored elsewhere as it was when this was planned."""

    untouched: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class RemoveDirectory(Action):
    """Removes a directory, if it is still the planned one and empty. `inode` is its (device, inode)."""

    verb: ClassVar[str] = "rmdir"
    failure: ClassVar[type[Failure]] = ExpireFailed

    inode: tuple[int, int]

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        within = trust.confinement([dirname(self.target)])
        if hands.work(moves.remove_directory, within, path=self.target, inode=self.inode):
            yield DirectoryRemoved(target=self.target, reason=self.reason)
