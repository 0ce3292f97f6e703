"""What is done to the files of a logrotate stanza, here or in a confined child; all arguments are plain values."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from maintd import codec, copies, durable, holders, moves, names, place
from maintd.durable import Ownership
from maintd.errors import Blind, MaintdError, NotYet, Refused
from maintd.logrotate import programs
from maintd.steps import Seen

Progress = Callable[[int], None]
Identity = Sequence[int] | None
SHRED_CYCLES = 3
_PIECE = 1 << 20
_TRIES, _BREATH = 20, 0.005
"""How often, and after how many seconds, it is tried to be alone with a log, which its writers open and close."""
_NAME = "LOGROTATE_COMPRESSED_FILENAME"


def shift(_progress: Progress, *, path: str, to: str, inode: Identity) -> None:
    """Renames a file to another path, which must be free."""
    with durable.directory(os.path.dirname(path)) as dir_fd, durable.directory(os.path.dirname(to)) as new_fd:
        durable.move(os.path.basename(path), os.path.basename(to), inode, dir_fd=dir_fd, new_fd=new_fd)


def remove(_progress: Progress, *, path: str, inode: Identity) -> None:
    """Removes a file."""
    with durable.directory(os.path.dirname(path)) as dir_fd:
        durable.unlink(os.path.basename(path), inode, dir_fd=dir_fd)


def shred(progress: Progress, *, path: str, inode: Identity, cycles: int) -> None:
    """Overwrites a file with random bytes, so many times; one with other names stays as it is there, and is refused."""
    name = os.path.basename(path)
    with durable.directory(os.path.dirname(path)) as dir_fd:
        descriptor = durable.opened_to_change(name, dir_fd=dir_fd)
        try:
            info = os.fstat(descriptor)
            if inode is not None and [info.st_dev, info.st_ino] != list(inode):
                raise Refused(f"{names.printable(path)} is another file than was planned by now, and was left alone")
            durable.require_plain(path, info)
            for _ in range(cycles):
                for offset in range(0, info.st_size, _PIECE):
                    durable.add(descriptor, os.urandom(min(_PIECE, info.st_size - offset)), offset)
                    progress(offset)
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(
    progress: Progress, *, seen: dict[str, Any], archive: str, ownership: dict[str, Any] | None, is_lenient: bool
) -> int:
    """Renames a log, and makes a new one unless `ownership` is None; returns the bytes it holds.

    One that `is_lenient` may have hard links, or be a log that who rotates it cannot read: then the new one gets
    nothing but its mode.
    """
    try:
        return moves.set_aside(progress, seen=seen, archive=archive, folder=None, ownership=ownership)
    except (PermissionError, Refused):
        if not is_lenient:
            raise
    log = Seen(**seen)
    shift(progress, path=log.path, to=archive, inode=log.inode)
    if ownership is not None:
        make(progress, path=log.path, ownership=ownership)
    return log.size


def make(_progress: Progress, *, path: str, ownership: dict[str, Any]) -> None:
    """Makes an empty file, if there is none."""
    name = os.path.basename(path)
    with durable.directory(os.path.dirname(path)) as dir_fd:
        durable.discard(names.temporary(name), dir_fd=dir_fd)
        os.close(durable.create(names.temporary(name), Ownership(**ownership), dir_fd=dir_fd))
        durable.put_fresh(names.temporary(name), name, dir_fd=dir_fd)


def tidy(_progress: Progress, *, to: str) -> None:
    """Removes what a child that was killed left of what it was making."""
    with durable.directory(os.path.dirname(to)) as dir_fd:
        durable.discard(names.temporary(os.path.basename(to)), dir_fd=dir_fd)


def truncate(_progress: Progress, *, path: str, to: str | None) -> bool:
    """Cuts a log to nothing; what came to it since it was copied `to` there goes there first.

    Returns whether nobody can have written to it meanwhile. Refused if somebody else has cut it since it was copied.
    """
    with durable.directory(os.path.dirname(path)) as dir_fd, contextlib.ExitStack() as stack:
        log = durable.opened_to_change(os.path.basename(path), dir_fd=dir_fd)
        stack.callback(os.close, log)
        copied = _reopened(stack, to) if to is not None else None
        for _ in range(_TRIES):
            with holders.alone(log) as is_alone:
                if is_alone:
                    _empty(log, copied, path)
                    return True
            if copied is None:
                break
            time.sleep(_BREATH)
        _empty(log, copied, path)
    return False


def _reopened(stack: contextlib.ExitStack, path: str) -> int:
    dir_fd = stack.enter_context(durable.directory(os.path.dirname(path)))
    descriptor = durable.opened_to_change(os.path.basename(path), dir_fd=dir_fd)
    stack.callback(os.close, descriptor)
    return descriptor


def _empty(log: int, copied: int | None, path: str) -> None:
    """Cuts a log when its copy, if there is one, has all of it, durable but for what came during the last sync."""
    if copied is not None:
        start, done = place.head_of(log), os.fstat(copied).st_size
        if os.fstat(log).st_size < start + done:
            raise Refused(f"somebody else cut {names.printable(path)} while it was being copied")
        for _ in range(2):
            done = _added(log, copied, start, done)
            os.fsync(copied)
        _added(log, copied, start, done)
    durable.cut(log, 0)
    if copied is not None:
        os.fsync(copied)


def _added(log: int, copied: int, start: int, done: int) -> int:
    """Adds what a log, from `start` on, has beyond the `done` bytes of its copy; returns how many that has then."""
    while piece := os.pread(log, _PIECE, start + done):
        durable.add(copied, piece, done)
        done += len(piece)
    return done


def copy(progress: Progress, *, path: str, to: str, is_su: bool, is_cut: bool) -> None:
    """Copies a log to a name that is free, with its owner, mode and attributes, durable; holes stay holes.

    The mark of what was taken out of it before, if it begins with one, is left out. What `is_cut` afterwards is not
    copied if it cannot be written.
    """
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        _source(os.path.basename(path), dir_fd, is_cut=is_cut) as source,
        _made(to, source, is_su=is_su) as copied,
    ):
        start, done = place.head_of(source), 0
        while piece := os.pread(source, _PIECE, start + done):
            if piece.count(0) != len(piece):
                durable.add(copied, piece, done)
            done += len(piece)
            progress(done)
        durable.cut(copied, done)


@contextlib.contextmanager
def _source(name: str, dir_fd: int, *, is_cut: bool) -> Iterator[int]:
    if is_cut:
        os.close(durable.opened_to_change(name, dir_fd=dir_fd))
    with durable.opened(name, dir_fd=dir_fd) as source:
        yield source


def compress(progress: Progress, *, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Compresses a file that nobody writes to `request["to"]`, and removes it then, unless it is to be kept.

    NotYet if somebody writes it, or has come to it meanwhile.
    """
    name = os.path.basename(path)
    with durable.directory(os.path.dirname(path)) as dir_fd, durable.opened(name, dir_fd=dir_fd) as source:
        before = os.fstat(source)
        if request["inode"] is not None and [before.st_dev, before.st_ino] != list(request["inode"]):
            raise Refused(f"{names.printable(path)} is another file than was planned by now, and was left alone")
        if _is_busy(source, is_su=request["is_su"]):
            raise NotYet(f"{names.printable(path)} is open in another process")
        said, made = "", os.path.basename(request["to"])
        if not request["command"] and is_compressed(path, request["to"]):  # by a run that was cut off then
            copies.check_content(progress, source, made, codec.Codec("gzip"), dir_fd=dir_fd)
            _require_untouched(path, source, before, is_su=request["is_su"])
        else:
            said = _compress(source, before, path, request, progress)
        size = os.lstat(made, dir_fd=dir_fd).st_size
        if not request["keeps"]:
            durable.unlink(name, (before.st_dev, before.st_ino), dir_fd=dir_fd)
    return {"in_bytes": before.st_size, "out_bytes": size, "said": said}


def _compress(source: int, before: os.stat_result, path: str, request: dict[str, Any], progress: Progress) -> str:
    """Makes what it is compressed to; returns what the command said."""
    said = ""
    with _made(request["to"], source, is_su=request["is_su"]) as copied:
        if request["command"]:
            where, called = request["directory"], {_NAME: request["called"]}
            said = programs.filter_file(request["command"], source, copied, where, called)
        else:
            codec.compress_fd(source, copied, codec.Codec("gzip", request["level"]), progress)
        _require_untouched(path, source, before, is_su=request["is_su"])
        durable.set_times(copied, before)
        if request["mtime_ns"] is not None:
            durable.set_mtime(copied, request["mtime_ns"])
    return said


def is_compressed(path: str, to: str) -> bool:
    """Whether a file stands compressed beside itself: a run was cut off before it removed the original."""
    try:
        with (
            durable.directory(os.path.dirname(path)) as dir_fd,
            durable.opened(os.path.basename(path), dir_fd=dir_fd) as source,
            durable.opened(os.path.basename(to), dir_fd=dir_fd) as made,
        ):
            whole = codec.Part(end=os.fstat(source).st_size)
            return codec.holds(made, codec.Codec("gzip"), os.fstat(made).st_size, source, whole)
    except (OSError, MaintdError):
        return False


def mail(_progress: Progress, *, path: str, reader: list[str], argv: list[str], directory: str) -> None:
    """Runs a program in a directory that takes a file on its standard input, as `reader` makes it of that.

    Refused if the file has hard links: it may be one that nobody was to read.
    """
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        durable.opened(os.path.basename(path), dir_fd=dir_fd) as source,
    ):
        durable.require_plain(path, os.fstat(source))
        programs.feed(reader, argv, source, directory)


def _is_busy(source: int, *, is_su: bool) -> bool:
    """Whether somebody may write a file. Who works as another user cannot see it: it was looked at before that."""
    try:
        return holders.may_be_written(source)
    except Blind:
        if is_su:
            return False
        raise


def _require_untouched(path: str, source: int, before: os.stat_result, *, is_su: bool) -> None:
    now = os.fstat(source)
    is_same = (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    if not is_same or _is_busy(source, is_su=is_su):
        raise NotYet(f"{names.printable(path)} was touched while it was being compressed, and was left alone")


@contextlib.contextmanager
def _made(to: str, source: int, *, is_su: bool) -> Iterator[int]:
    """A descriptor of a new file with the owner, mode and attributes of `source`, which gets its name at the end."""
    name = os.path.basename(to)
    temporary = names.temporary(name)
    with durable.directory(os.path.dirname(to)) as dir_fd:
        durable.discard(temporary, dir_fd=dir_fd)
        made = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
        try:
            yield made
            info = os.fstat(source)
            is_another = is_su and os.geteuid() != 0
            owner = (os.geteuid(), os.getegid()) if is_another else (info.st_uid, info.st_gid)
            durable.copy_extended(source, made)
            durable.dress(made, Ownership(info.st_mode & 0o7777, *owner))
            os.fsync(made)
            durable.publish(temporary, name, made, dir_fd=dir_fd)
        except BaseException:
            durable.discard(temporary, dir_fd=dir_fd)
            raise
        finally:
            os.close(made)
