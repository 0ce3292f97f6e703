"""Reads a log through its generations as one stream, and goes on as it grows and is rotated, without losing a byte."""

import errno
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from datetime import datetime
from functools import partial
from io import FileIO

from maintd import marks
from maintd.cli import output
from maintd.cli.generations import Generation, Lineage
from maintd.errors import trouble
from maintd.names import printable

PAUSE = 0.2
"""Seconds between two looks at a log that is followed."""
_CHUNK = 256 * 1024
_DESCRIPTORS_LEFT = 64

Opened = tuple[Generation, FileIO]


def lines_of(path: str, *, since: datetime | None = None, follow: bool = False) -> Iterator[bytes]:
    """The lines of a log file; with `since`, first those of its older generations that can be of that time or later.

    With `follow` it never ends: it goes on with whatever file has this path next, and before that with those that had
    it in between. A generation that cannot be read is passed over, which is told.
    """
    lineage = Lineage(path)
    for chunks in stream(lineage, _open(lineage, partial(lineage.first, since)), follow=follow):
        yield from _lines(_awake(chunks))


def _awake(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks that hold something; for one that holds nothing, which says that there is no more just now, it waits."""
    for chunk in chunks:
        if chunk:
            yield chunk
        else:
            time.sleep(PAUSE)


def stream(
    lineage: Lineage, opened: tuple[Generation, FileIO | None] | None, *, follow: bool
) -> Iterator[Iterator[bytes]]:
    """One generation after the other from an open one on, each as chunks, which are to be read to their end.

    With `follow` it never ends, and an empty chunk says that there is nothing more just now.
    """
    while opened:
        held, file = opened
        with file or nullcontext():
            if file:
                yield _chunks(lineage, held, file, follow=follow)
            while not (opened := _open(lineage, partial(lineage.after, held, file))) and follow:
                yield iter([b""])


def all_open(lineage: Lineage, since: datetime | None, until: datetime | None, stack: ExitStack) -> list[Opened]:
    """The generations of that time, all open at once: whatever is renamed or deleted from now on is still read.

    One that may not be read is told, and left out. The files are closed with the `stack`.
    """
    while True:
        found = lineage.span(since, until)
        _allow_descriptors(len(found))
        with ExitStack() as attempt:
            try:
                opened = [(one, attempt.enter_context(file)) for one in found if (file := _readable(one))]
            except FileNotFoundError:  # it was renamed, compressed or deleted at this moment
                continue
            stack.push(attempt.pop_all())
            return opened


def content(held: Generation, file: FileIO) -> Iterator[bytes]:
    """What an open generation holds now, without maintd's mark. Raises OSError where it is damaged."""
    chunks = held.contents(file) if held.codec else iter(partial(file.read, _CHUNK), b"")
    return _unmarked(chunks)


def tell(held: Generation, error: OSError) -> None:
    """Says that a generation is not shown, or not to its end."""
    output.lose(f"maintd: {printable(held.path)} cannot be read, or not to its end: {trouble(error).error_msg}")


def _readable(one: Generation) -> FileIO | None:
    try:
        return one.open()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        tell(one, error)
        return None


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _DESCRIPTORS_LEFT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _open(lineage: Lineage, find: Callable[[], Generation | None]) -> tuple[Generation, FileIO | None] | None:
    """What `find` finds, open unless that is not allowed. It is looked for again if it was renamed at this moment."""
    while found := find():
        try:
            return found, found.open()
        except FileNotFoundError:
            continue
        except OSError as error:
            if found.path == lineage.path:
                raise
            tell(found, error)
            return found, None
    return None


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _unmarked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a file from its start, without the mark of a rotation in place."""
    is_head = True
    for chunk in chunks:
        yield chunk[marks.length_at(chunk) :] if is_head else chunk
        is_head = is_head and not chunk


def _chunks(lineage: Lineage, held: Generation, file: FileIO, *, follow: bool) -> Iterator[bytes]:
    """What a generation holds, to its end.

    A writer that was told to reopen its log goes on with the old one for a while: the old one is read until a newer one
    holds something, and then to its end. A file that was cut short is read from its start.
    """
    if held.codec:
        try:
            yield from filter(None, content(held, file))
        except OSError as error:
            tell(held, error)
        return
    is_last, is_head = False, True
    while True:
        chunk = file.read(_CHUNK)
        if chunk:
            yield chunk[marks.length_at(chunk) :] if is_head else chunk
            is_head = False
        elif is_last:
            return
        elif lineage.after(held, file):
            is_last = True
        elif not follow:
            return
        else:
            if file.seekable() and os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
                is_head = True
            yield b""
