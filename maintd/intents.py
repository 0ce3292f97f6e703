"""What a rotation in place is about to do, written beside its archive first: the log itself cannot show it half done.

The file has two slots that are written in turn, each with a checksum, so that a write that is cut off leaves the one
before it. It takes all its room when it is made, so that writing to it works on a disk that is full by then.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from maintd import durable, names
from maintd.durable import Ownership
from maintd.errors import NotYet, Refused
from maintd.names import printable

SLOT = 4096
Way = Literal["collapse", "pause", "lossy"]
"""How what was archived is taken out of a log."""
_CHECKSUM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One part of a log that its archive holds, and that is to go from the log. Offsets and lengths in bytes.

    The archive's bytes from `at` to `length` hold the log's from `start` to `end`; the last of these, from `mark_at`,
    become the mark with this `nonce` (hex). Then `cut` bytes, whole blocks, are collapsed; with 0 the log is cut to
    `rest`, the part of a line that it ends with. `phase` says what is durable: the part in the archive, the mark in the
    log too, or that all is done but the names. `taken` is the length of the parts before it; `stopped` are the (pid,
    start time) of writers that were stopped for it.
    """

    dev: int
    ino: int
    codec: str
    start: int
    end: int
    at: int
    length: int
    mark_at: int
    nonce: str
    cut: int = 0
    rest: int = 0
    taken: int = 0
    phase: Literal["archived", "marked", "done"] = "archived"
    stopped: tuple[tuple[int, int], ...] = ()
    turn: int = 0

    def encoded(self) -> bytes:
        """One slot."""
        text = json.dumps(asdict(self)).encode()
        return (f"{zlib.crc32(text):08x}".encode() + text).ljust(SLOT, b"\0")

    @classmethod
    def decoded(cls, slot: bytes) -> Self | None:
        """What a slot holds; None if it was never written, or not to its end."""
        checksum, text = slot[:_CHECKSUM], slot[_CHECKSUM:].rstrip(b"\0")
        if not text or f"{zlib.crc32(text):08x}".encode() != checksum:
            return None
        fields = json.loads(text)
        return cls(**fields | {"stopped": tuple((pid, start) for pid, start in fields["stopped"])})


class Journal:
    """The open file of one rotation's intents. `latest` is the one that counts, None before the first."""

    def __init__(self, name: str, descriptor: int, dir_fd: int) -> None:
        self.name, self._descriptor, self._dir_fd = name, descriptor, dir_fd
        slots = [Intent.decoded(os.pread(descriptor, SLOT, SLOT * slot)) for slot in (0, 1)]
        self.latest = max((slot for slot in slots if slot), key=lambda intent: intent.turn, default=None)

    def commit(self, intent: Intent) -> Intent:
        """Makes durable what is to be done next, and returns it; after an OSError nobody may rely on it."""
        turn = self.latest.turn + 1 if self.latest else 1
        self.latest = replace(intent, turn=turn)
        durable.overwrite(self._descriptor, self.latest.encoded(), SLOT * (turn % 2))
        return self.latest

    def withdraw(self) -> None:
        """Has nothing count any more: what was committed was taken back."""
        durable.overwrite(self._descriptor, bytes(2 * SLOT), 0)
        self.latest = None

    def remove(self) -> None:
        """Removes the file for good: all that it spoke of is done, or undone."""
        durable.forget_intent(self.name, dir_fd=self._dir_fd)


@contextmanager
def created(name: str, *, dir_fd: int) -> Iterator[Journal]:
    """A new file of intents, durable. FileExistsError if an interrupted rotation left one."""
    descriptor = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            durable.overwrite(descriptor, bytes(2 * SLOT), 0)
            os.fsync(dir_fd)
        except BaseException:
            durable.forget_intent(name, dir_fd=dir_fd)
            raise
        yield Journal(name, descriptor, dir_fd)
    finally:
        os.close(descriptor)


@contextmanager
def found(name: str, *, dir_fd: int) -> Iterator[Journal]:
    """The file that an interrupted rotation left.

    NotYet if another maintd is at work with it; Refused if another user made it: it says what to cut out of a log.
    """
    descriptor = durable.opened_to_change(name, dir_fd=dir_fd)
    try:
        if os.fstat(descriptor).st_uid not in (0, os.geteuid()):
            raise Refused(
                f"{printable(name)} was not made by maintd, and is not believed", hint="look at it, remove it"
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYet(f"{printable(name)} is in use by another maintd") from None
        yield Journal(name, descriptor, dir_fd)
    finally:
        os.close(descriptor)


def undo(archive: str) -> None:
    """Removes what a child that was killed had begun of an archive (its path), if nothing of it counts yet."""
    name = os.path.basename(archive)
    with (
        suppress(FileNotFoundError, NotYet),
        durable.directory(os.path.dirname(archive)) as dir_fd,
        found(names.intent(name), dir_fd=dir_fd) as journal,
    ):
        if journal.latest is None:
            take_back(name, journal, dir_fd=dir_fd)


def take_back(archive: str, journal: Journal, *, dir_fd: int) -> None:
    """Removes an archive that was being made, by its name, and the file of its intents; the log has all its lines."""
    durable.discard(names.temporary(archive), dir_fd=dir_fd)
    journal.remove()
