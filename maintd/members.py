"""Sources as members of a tar archive (POSIX.1-2001, pax), each read as often as it was changed meanwhile."""

import grp
import hashlib
import os
import pwd
import stat as st
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace

from maintd import codec, durable, names
from maintd.errors import MaintdError
from maintd.manifest import Entry, Source
from maintd.values import dataclass

Progress = Callable[[int], None]
TRIES = 3
"""How often a file is read that was changed while it was read; after that it is said to be unsettled."""


_SHORTEST_QUIET, _LONGEST_QUIET = 0.05, 5.0
"""Seconds for which such a file must stay as it is to be read again: times of files go by ticks of up to 10 ms."""


class Count:
    """How many bytes were read so far, told as they come."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._bytes = progress, 0

    def add(self, length: int) -> None:
        self._bytes += length
        self._progress(self._bytes)


@contextmanager
def opened(source: Source) -> Iterator[int]:
    """A descriptor of the regular file that has its name by now, which may be another one than was planned."""
    with (
        durable.directory(source.directory) as dir_fd,
        durable.opened(source.file, dir_fd=dir_fd) as descriptor,
    ):
        yield descriptor


@dataclass
class Members:
    """What was stored, by name; what could not be: name → what to say; and what `went` of a pattern or a directory."""

    entries: dict[str, Entry] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    went: dict[str, Source] = field(default_factory=dict)


def tar(sources: Sequence[Source], members: Members, count: Count) -> Iterator[bytes]:
    """The members one after the other, and the end of the archive (POSIX.1-2001, pax)."""
    for source in sources:
        try:
            with opened(source) as descriptor:
                yield from _read_through(source, descriptor, members, count)
        except (OSError, MaintdError) as error:
            members.entries.pop(source.name, None)
            if source.of and isinstance(error, FileNotFoundError | NotADirectoryError):
                members.went[source.name] = source
                continue
            members.gone[source.name] = f"{names.printable(source.path)}: {error}"
    yield bytes(2 * tarfile.BLOCKSIZE)


def _read_through(source: Source, descriptor: int, members: Members, count: Count) -> Iterator[bytes]:
    """One file, anew if it was changed meanwhile: of several members of one name tar keeps the last.

    What is changed all the time is not stored each time that it is read.
    """
    took = 0.0
    for number in range(TRIES):
        if number and _is_changing(descriptor, took):
            continue
        begun, before = time.monotonic(), os.fstat(descriptor)
        now = source if source.kind != "file" else _looked_at(source, before)
        yield _head(now)
        digest, error = hashlib.sha256(), None
        for piece in _content(descriptor, now.size, count):
            if isinstance(piece, OSError):
                error = piece
                continue
            digest.update(piece)
            yield piece
        yield bytes(-now.size % tarfile.BLOCKSIZE)
        if error:
            raise error
        is_settled = _state(before) == _state(os.fstat(descriptor))
        members.entries[source.name] = entry(now, digest.hexdigest(), is_unsettled=not is_settled)
        if is_settled:
            return
        took = time.monotonic() - begun


def _is_changing(descriptor: int, seconds: float) -> bool:
    """Whether it is changed in about the time that storing it takes."""
    before = os.fstat(descriptor)
    time.sleep(min(max(seconds, _SHORTEST_QUIET), _LONGEST_QUIET))
    return _state(before) != _state(os.fstat(descriptor))


def _looked_at(source: Source, info: os.stat_result) -> Source:
    return replace(
        source,
        mode=st.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size,
        seen=(info.st_dev, info.st_ino, info.st_ctime_ns),
    )


def _state(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _content(descriptor: int, size: int, count: Count) -> Iterator[bytes | OSError]:
    """Exactly `size` bytes, as the head has promised: NULs where the file became shorter, or could not be read."""
    offset = 0
    while offset < size:
        length = min(codec.PIECE, size - offset)
        try:
            data = os.pread(descriptor, length, offset)
        except OSError as error:
            yield error
            data = b""
        data = data or bytes(length)
        offset += len(data)
        count.add(len(data))
        yield data


def _head(source: Source) -> bytes:
    info = tarfile.TarInfo(source.name)
    info.size, info.mode, info.uid, info.gid = source.size, source.mode, source.uid, source.gid
    info.mtime = source.mtime_ns // 1_000_000_000
    info.uname, info.gname = user_name(source.uid), group_name(source.gid)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def entry(source: Source, sha256: str, *, is_unsettled: bool = False) -> Entry:
    """The line of the manifest for it."""
    return Entry(
        name=source.name,
        path=source.path,
        kind=source.kind,
        size=source.size,
        sha256=sha256,
        mode=source.mode,
        uid=source.uid,
        gid=source.gid,
        owner=user_name(source.uid),
        group=group_name(source.gid),
        mtime_ns=source.mtime_ns,
        seen=source.seen,
        database=source.database,
        is_unsettled=is_unsettled,
    )


def user_name(uid: int) -> str:
    """A user's name for people and for tar, "" if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
