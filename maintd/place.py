"""One rotation in place: the open log, the open archive that is being made of it, and the intents."""

import os
from collections.abc import Sequence
from typing import Literal

from maintd import codec, durable, marks
from maintd.codec import Codec, Part
from maintd.errors import Refused
from maintd.intents import Intent, Journal, Way
from maintd.steps import Seen
from maintd.values import dataclass

_BACK = 64 << 10
_LONGEST_MARK = 256 << 10
"""A mark takes less than two units of at most 128 KiB (allocation.py)."""

How = Literal["completed", "undone", "abandoned", "lost"]


@dataclass(frozen=True)
class Request:
    """What the child is asked: to rotate `path`, as `seen`, to `archive` (its final path).

    `intents` is the directory of intents. With `adopt`, writers that do not append are made to before a collapse.
    `folder` is the (device, inode) of the archive's directory, None if that was still to be made. `unit` is by how many
    bytes the file system can collapse the log, 0 if that is not known.
    """

    path: str
    seen: Seen
    archive: str
    codec: str
    level: int | None
    way: Way
    intents: str
    adopt: bool = False
    folder: Sequence[int] | None = None
    unit: int = 0


@dataclass(frozen=True)
class Made:
    """What came of it. `lost_bytes` were written while the log was cut with its writers at work."""

    in_bytes: int
    out_bytes: int
    stopped_ms: float | None = None
    lost_bytes: int | None = None


@dataclass(frozen=True)
class Place:
    """The descriptors, open for reading and writing; -1 for a log or an archive that is gone."""

    log: int
    copy: int
    journal: Journal

    @property
    def intent(self) -> Intent:
        assert self.journal.latest is not None
        return self.journal.latest

    @property
    def length(self) -> int:
        """How many bytes of the archive count."""
        return self.journal.latest.length if self.journal.latest else 0

    def archive(self, part: Part, how: Codec, progress: codec.Progress) -> int:
        """Adds a part of the log to the archive, verified and durable; returns the archive's length with it."""
        done = codec.compress_fd(self.log, self.copy, how, progress, part)
        assert part.end is not None
        if done.in_bytes != part.end - part.start:
            raise Refused("somebody else cut the log while it was being archived")
        os.fsync(self.copy)
        return part.at + done.out_bytes

    def intend(self, part: Part, length: int, how: str, *, cut: int, mark_at: int) -> Intent:
        """The intent to take a part out of the log that the archive, now `length` bytes long, holds.

        The log is synced first: what a power cut would take of it, it would seem that somebody else had cut off.
        """
        assert part.end is not None
        os.fdatasync(self.log)
        info = os.fstat(self.log)
        return Intent(
            ino=info.st_ino,
            uid=info.st_uid,
            copy_ino=os.fstat(self.copy).st_ino,
            codec=how,
            start=part.start,
            end=part.end,
            at=part.at,
            length=length,
            mark_at=mark_at,
            nonce=os.urandom(marks.NONCE_BYTES).hex(),
            cut=cut,
        )

    def is_intended(self) -> bool:
        """Whether the log is the one that the intent speaks of."""
        return self.log >= 0 and os.fstat(self.log).st_ino == self.intent.ino


def require_named(wanted: Request) -> None:
    """Refused if the log has another name by now: whoever gave it that, as logrotate does, is about to read it.

    Who reads a log whose head is taken out meanwhile passes over lines. Raises FileNotFoundError if the name is free.
    """
    folder, name = os.path.split(wanted.path)
    with durable.directory(folder) as dir_fd:
        durable.require_inode(name, wanted.seen.inode, dir_fd=dir_fd)


def mark_of(intent: Intent) -> bytes:
    return marks.make(bytes.fromhex(intent.nonce), intent.end - intent.mark_at)


def head_of(log: int) -> int:
    """How many bytes at the head of a log are the mark of what was archived before."""
    return marks.length_at(os.pread(log, _LONGEST_MARK, 0))


def last_line_end(log: int, end: int, begin: int) -> int:
    """The offset after the last newline between `begin` and `end`; `begin` if there is none."""
    while end > begin:
        at = max(begin, end - _BACK)
        newline = os.pread(log, end - at, at).rfind(b"\n")
        if newline >= 0:
            return at + newline + 1
        end = at
    return begin


def next_line_end(log: int, begin: int, end: int) -> int:
    """The offset after the first newline from `begin` on; `end` if there is none before it."""
    while begin < end:
        data = os.pread(log, min(_BACK, end - begin), begin)
        newline = data.find(b"\n")
        if newline >= 0:
            return begin + newline + 1
        if not data:
            break
        begin += len(data)
    return end
