"""Other processes' descriptors of a log, changed where a job allows it: made to append, or set back to an offset.

A descriptor that pidfd_getfd(2) duplicates is the same open file: its flags and its offset are those of the writer.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence

from maintd import holders, linux
from maintd.errors import NotYet, Refused
from maintd.holders import Holder

MAPPED = "has it mapped into memory and writes to it there, so it can neither be collapsed nor cut"
_LOOKS = 1000


def writers(log: int) -> list[Holder]:
    """The processes, other than this one, that have the log open for writing. NotYet if maintd's own are among them."""
    info = os.fstat(log)
    found = holders.find({(info.st_dev, info.st_ino)}).get((info.st_dev, info.st_ino), [])
    writing = [holder for holder in found if holder.writing and holder.pid != os.getpid()]
    if any(holder.is_at_work for holder in writing):
        raise NotYet("maintd itself is at work on it")
    return writing


def require_unmapped(log: int) -> None:
    """Refused if a process writes the log through a mapping: at its place there will be other lines, or none."""
    info = os.fstat(log)
    found = [holder for mapping in holders.mappers({(info.st_dev, info.st_ino)}).values() for holder in mapping]
    if found:
        raise Refused(f"{found[0]} {MAPPED}", hint="have it told to reopen its log: set signal or command in the job")


def make_append(log: int, found: Sequence[Holder]) -> None:
    """Has those that do not append do so from now on (fcntl(2), F_SETFL): what they write goes to the end of the file.

    Refused if one writes somewhere in the middle of it, which appending would change.
    """
    with not_appending(log, found) as others:
        for holder, descriptor in others:
            if not any(_is_at_end(log, descriptor) for _ in range(_LOOKS)):
                raise Refused(f"{holder} writes in the middle of the log, so its descriptor is not turned to append")
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)


@contextlib.contextmanager
def set_back(others: Sequence[tuple[Holder, int]], offset: int) -> Iterator[None]:
    """For the block, in which their log is cut, these descriptors append; afterwards they go on at `offset`.

    Whoever dies in between leaves them appending, which is where they are to write anyway. They must be stopped.
    """
    flags = [(descriptor, fcntl.fcntl(descriptor, fcntl.F_GETFL)) for _, descriptor in others]
    for descriptor, found in flags:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, found | os.O_APPEND)
    try:
        yield
        for descriptor, _ in flags:
            os.lseek(descriptor, offset, os.SEEK_SET)
    finally:
        for descriptor, found in flags:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, found)


def check_at_end(log: int, others: Sequence[tuple[Holder, int]]) -> None:
    """Refused if one of these descriptors is not at the end of the file; their processes must be stopped."""
    for holder, descriptor in others:
        if os.lseek(descriptor, 0, os.SEEK_CUR) != os.fstat(log).st_size:
            raise Refused(f"{holder} writes in the middle of the log, so it cannot be rotated in place")


def _is_at_end(log: int, descriptor: int) -> bool:
    """Whether a descriptor is at the end; a write that is under way has moved the end, and not yet the offset."""
    size = os.fstat(log).st_size
    return os.lseek(descriptor, 0, os.SEEK_CUR) >= size


@contextlib.contextmanager
def not_appending(log: int, found: Sequence[Holder]) -> Iterator[list[tuple[Holder, int]]]:
    """Duplicates of the descriptors with which these processes write the log and do not append.

    NotYet if a process has gone meanwhile, or has closed the log: who writes it is to be looked for anew. Refused if it
    is a thread's own descriptor (pidfd_getfd(2) takes those of processes).
    """
    info = os.fstat(log)
    with contextlib.ExitStack() as stack:
        others = []
        for holder in {(one.pid, one.thread): one for one in found if not one.appending}.values():
            if holder.thread:
                raise Refused(f"a thread of {holder} writes it without appending, with a descriptor of its own")
            pidfd = _pidfd(holder)
            stack.callback(os.close, pidfd)
            if holders.start_and_uid(holder.pid) != (holder.start, holder.uid):
                raise NotYet(f"{holder}, which wrote the log, is another process by now")
            for number, flags in holders.descriptors(holder.pid, (info.st_dev, info.st_ino)):
                if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND:
                    others.append((holder, _duplicate(holder, pidfd, number)))
                    stack.callback(os.close, others[-1][1])
                    if not os.path.samestat(os.fstat(others[-1][1]), info):  # closed, and its number given again
                        raise NotYet(f"{holder} has just closed the log")
        yield others


def _pidfd(holder: Holder) -> int:
    try:
        return os.pidfd_open(holder.pid)
    except ProcessLookupError:
        raise NotYet(f"{holder}, which wrote the log, has just gone") from None


def _duplicate(holder: Holder, pidfd: int, number: int) -> int:
    try:
        return linux.descriptor_of(pidfd, number)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EBADF):
            raise
        raise NotYet(f"{holder} has just closed the log, or has gone") from None
