"""Writes files one after the other into a tar.zst in which each can be found by itself: its content begins a frame.

Any tar with zstd reads it. The last member, `maintd-index.jsonl`, has a line for each of the others: where its frames
begin, and what is to be known of the file; so that a bundle can be read without the archive's manifest.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import field

from maintd import codec, durable
from maintd.codec import Codec
from maintd.errors import MaintdError, NotYet, trouble
from maintd.names import printable
from maintd.values import dataclass

INDEX = "maintd-index.jsonl"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Member:
    """A file for a bundle: its name there, and a descriptor of it with what stat(2) said when it was opened."""

    name: str
    source: int
    info: os.stat_result


@dataclass
class Written:
    """What was written of a member: where its content's frames begin, and the SHA-256 of that content."""

    offset: int
    sha256: str


@dataclass
class Tar:
    """A bundle that is being written to `target`, a new file; `end` is how long it is so far."""

    target: int
    level: int | None
    progress: Progress
    end: int = 0
    _done: int = 0
    _rest: int = 0
    _begins: list[int] = field(default_factory=list)

    def add(self, member: Member) -> Written:
        """Adds a file. NotYet if it has become shorter than it was; OSError EIO if it is not read back as it is."""
        digest = hashlib.sha256()
        self._begins.clear()
        self._write(self._pieces(member, digest.update), member.info.st_size)
        offset = self._begins[1] if len(self._begins) > 1 else self.end
        return Written(offset, digest.hexdigest())

    def mark(self) -> tuple[int, int, int]:
        """Where it stands, for `take_back`."""
        return self.end, self._rest, self._done

    def take_back(self, mark: tuple[int, int, int]) -> None:
        """Forgets what was added since."""
        self.end, self._rest, self._done = mark

    def finish(self, index: bytes) -> None:
        """Adds the index and the end of the tar (POSIX.1-2001, pax), and syncs it all."""
        info = tarfile.TarInfo(INDEX)
        info.size, info.mode = len(index), 0o600
        self._write(iter([bytes(self._rest) + info.tobuf(tarfile.PAX_FORMAT)]))
        padded = index + bytes(-len(index) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
        self._write(padded[at : at + codec.PIECE] for at in range(0, len(padded), codec.PIECE))
        durable.cut(self.target, self.end)
        os.fsync(self.target)

    def _write(self, pieces: Iterator[bytes], size: int = 0) -> None:
        how = Codec("zstd", self.level, threads=1 if size <= codec.SMALL else 2)
        made = codec.compress_pieces(pieces, self.target, how, self.end, self._begins.append)
        self.end += made.out_bytes

    def _pieces(self, member: Member, update: Callable[[bytes], None]) -> Iterator[bytes]:
        """What fills the block of the member before, with the head; then the content, each piece as one frame."""
        yield bytes(self._rest) + _head(member)
        offset, size = 0, member.info.st_size
        while offset < size:
            try:
                piece = os.pread(member.source, min(codec.PIECE, size - offset), offset)
            except OSError as error:
                raise unreadable(error) from error
            if not piece:
                raise NotYet(f"{printable(member.name)} has become shorter while it was read")
            update(piece)
            offset += len(piece)
            self.progress(self._done + offset)
            yield piece
        self._done += size
        self._rest = -size % tarfile.BLOCKSIZE


def unreadable(error: OSError) -> MaintdError:
    """That a file cannot be read, told apart from what goes wrong with the bundle."""
    found = trouble(error)
    return MaintdError(f"it cannot be read: {found.error_msg}", hint=found.advice)


def _head(member: Member) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.info.st_size, member.info.st_mode & 0o7777
    info.uid, info.gid = member.info.st_uid, member.info.st_gid
    info.mtime = member.info.st_mtime_ns // 1_000_000_000
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
