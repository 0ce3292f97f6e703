"""What a rotation in place is about to do, written down in maintd's state first: the log cannot show it half done.

One file for each log that is being rotated so, in a directory that no user can write: it says what to cut out of logs.
Behind its head, which names the log and the archive, it has two slots that are written in turn, each with a checksum,
so that a write that is cut off leaves the one before it. It takes all its room when it is made, so that writing to it
works on a disk that is full by then.
"""

import errno
import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, Literal, Self

from maintd import durable, names
from maintd.durable import Ownership
from maintd.errors import NotYet, Refused
from maintd.names import printable
from maintd.values import dataclass

DIRECTORY = "intents"
"""Below state_dir."""
SLOT = 4096
HEAD = 5 * SLOT
"""Room for two paths of 4,096 bytes in hex, and more."""
FORMAT = 2
Way = Literal["collapse", "pause", "lossy"]
"""How what was archived is taken out of a log."""
_CHECKSUM = 8


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One part of a log that its archive holds, and that is to go from the log. Offsets and lengths in bytes.

    `ino` is the inode of the log, `uid` its owner, `copy_ino` the inode of the archive; device numbers may be others
    after a reboot. The archive's bytes from `at` to `length` hold the log's from `start` to `end`; the last of these,
    from `mark_at`, become the mark with this `nonce` (hex). Then `cut` bytes, whole blocks, are collapsed; with 0 the
    log is cut to `rest`, the part of a line that it ends with. `phase` says what is durable: the part in the archive,
    the mark in the log too, or that all is done but the names; or that the log was left alone since somebody else had
    changed it. `taken` is the length of the parts before it; `stopped` are the (pid, start time) of writers that were
    stopped.
    """

    ino: int
    copy_ino: int
    codec: str
    start: int
    end: int
    at: int
    length: int
    mark_at: int
    nonce: str
    uid: int = -1
    adopt: bool = False
    cut: int = 0
    rest: int = 0
    taken: int = 0
    phase: Literal["archived", "marked", "done", "abandoned"] = "archived"
    stopped: tuple[tuple[int, int], ...] = ()
    turn: int = 0

    def is_copy(self, info: os.stat_result) -> bool:
        """Whether this is the archive that is being made, under one name only."""
        return (info.st_ino, info.st_nlink) == (self.copy_ino, 1)

    def is_log(self, info: os.stat_result) -> bool:
        """Whether this may be the log: another file with its number has another owner, or holds nothing of others."""
        return (info.st_ino, info.st_uid) == (self.ino, self.uid)

    def encoded(self) -> bytes:
        """One slot."""
        return _encoded(asdict(self), SLOT)

    @classmethod
    def decoded(cls, slot: bytes) -> Self | None:
        """What a slot holds; None if it was never written, or not to its end."""
        fields = _decoded(slot)
        if fields is None:
            return None
        return cls(**fields | {"stopped": tuple((pid, start) for pid, start in fields["stopped"])})


@dataclass(frozen=True)
class Interrupted:
    """A rotation in place that is under way or was cut off: the file of its intents, and the two paths it is about.

    `folder` is the inode of the archive's directory, which another may have taken the place of.
    """

    journal: str
    log: str
    archive: str
    folder: int


class Journal:
    """The open file of one rotation's intents. `latest` is the one that counts, None before the first."""

    def __init__(self, about: Interrupted, descriptor: int, dir_fd: int) -> None:
        self.about, self._descriptor, self._dir_fd = about, descriptor, dir_fd
        slots = [Intent.decoded(os.pread(descriptor, SLOT, HEAD + SLOT * slot)) for slot in (0, 1)]
        self.latest = max((slot for slot in slots if slot), key=lambda intent: intent.turn, default=None)

    def commit(self, intent: Intent) -> Intent:
        """Makes durable what is to be done next, and returns it; after an OSError nobody may rely on it."""
        turn = self.latest.turn + 1 if self.latest else 1
        self.latest = replace(intent, turn=turn)
        durable.overwrite(self._descriptor, self.latest.encoded(), HEAD + SLOT * (turn % 2))
        return self.latest

    def withdraw(self) -> None:
        """Has nothing count any more: what was committed was taken back."""
        durable.overwrite(self._descriptor, bytes(2 * SLOT), HEAD)
        self.latest = None

    def remove(self) -> None:
        """Removes the file for good: all that it spoke of is done, or undone."""
        durable.forget_intent(os.path.basename(self.about.journal), dir_fd=self._dir_fd)


def journal_of(folder: str, log: str) -> str:
    """The path of the intents of a log, in the directory `folder`."""
    return os.path.join(folder, hashlib.sha256(os.fsencode(log)).hexdigest()[:32] + names.INTENT)


@contextmanager
def created(folder: str, log: str, archive: str, into: int) -> Iterator[Journal]:
    """A new file of intents in `folder`, durable; `into` is the inode of the archive's directory.

    NotYet if an interrupted rotation left one, which is to be finished first.
    """
    durable.private_directory(folder)
    about = Interrupted(journal_of(folder, log), log, archive, into)
    head = {"format": FORMAT, "log": os.fsencode(log).hex(), "archive": os.fsencode(archive).hex(), "folder": into}
    name = os.path.basename(about.journal)
    with durable.directory(folder) as dir_fd:
        descriptor = _made(name, dir_fd)
        try:
            _lock(descriptor, about)
            if _decoded(os.pread(descriptor, HEAD, 0)) is not None:
                raise NotYet(f"an interrupted rotation of {printable(log)} is completed first")
            try:
                durable.overwrite(descriptor, _encoded(head, HEAD) + bytes(2 * SLOT), 0)
                os.fsync(dir_fd)
            except BaseException:
                durable.forget_intent(name, dir_fd=dir_fd)
                raise
            yield Journal(about, descriptor, dir_fd)
        finally:
            os.close(descriptor)


@contextmanager
def found(journal: str) -> Iterator[Journal]:
    """The file that an interrupted rotation left, by its path.

    FileNotFoundError if there is none, NotYet if another maintd is at work with it, Refused if this one cannot read it.
    """
    folder, name = os.path.split(journal)
    with durable.directory(folder) as dir_fd:
        descriptor = durable.opened_to_change(name, dir_fd=dir_fd)
        try:
            about = _about(journal, os.pread(descriptor, HEAD, 0))
            if about is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), journal)
            _lock(descriptor, about)
            yield Journal(about, descriptor, dir_fd)
        finally:
            os.close(descriptor)


def interrupted(folder: str) -> list[Interrupted]:
    """What rotations in place have left behind, or are at, sorted by log. Raises OSError if that cannot be read."""
    about: list[Interrupted | None] = []
    with suppress(FileNotFoundError), durable.directory(folder) as dir_fd:
        for name in sorted(os.listdir(dir_fd)):
            if name.endswith(names.INTENT):
                with suppress(FileNotFoundError), durable.opened(name, dir_fd=dir_fd) as descriptor:
                    about.append(_about(os.path.join(folder, name), os.pread(descriptor, HEAD, 0)))
    return sorted((one for one in about if one), key=lambda one: one.log)


def undo(journal: str) -> None:
    """Removes what a child that was killed had begun of an archive, if nothing of it counts yet."""
    with suppress(FileNotFoundError, NotYet), found(journal) as one:
        if one.latest is None:
            take_back(one)


def take_back(journal: Journal) -> None:
    """Removes an archive that was being made, and the file of its intents; the log has all its lines."""
    folder, name = os.path.split(journal.about.archive)
    with suppress(FileNotFoundError, NotADirectoryError), durable.directory(folder) as dir_fd:
        if os.fstat(dir_fd).st_ino == journal.about.folder:
            durable.discard(names.temporary(name), dir_fd=dir_fd)
    journal.remove()


def _made(name: str, dir_fd: int) -> int:
    """A descriptor of a new file, or of one that was made and never written to its end."""
    try:
        return durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    except FileExistsError:
        return durable.opened_to_change(name, dir_fd=dir_fd)


def _lock(descriptor: int, about: Interrupted) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotYet(f"{printable(about.log)} is being rotated by another maintd") from None


def _about(journal: str, head: bytes) -> Interrupted | None:
    fields = _decoded(head)
    if fields is None:
        return None
    if fields["format"] != FORMAT:
        raise Refused(
            f"{printable(journal)} was written by another version of maintd", hint="run that version until it is gone"
        )
    log, archive = (os.fsdecode(bytes.fromhex(fields[key])) for key in ("log", "archive"))
    return Interrupted(journal, log, archive, fields["folder"])


def _encoded(fields: dict[str, Any], room: int) -> bytes:
    text = json.dumps(fields).encode()
    return (f"{zlib.crc32(text):08x}".encode() + text).ljust(room, b"\0")


def _decoded(data: bytes) -> dict[str, Any] | None:
    checksum, text = data[:_CHECKSUM], data[_CHECKSUM:].rstrip(b"\0")
    if not text or f"{zlib.crc32(text):08x}".encode() != checksum:
        return None
    fields: dict[str, Any] = json.loads(text)
    return fields
