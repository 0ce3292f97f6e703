"""Reads a log file's lines, and goes on as it grows and is rotated, however often, without losing one."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from io import FileIO

from maintd.cli import output
from maintd.cli.generations import Generation, after, first
from maintd.errors import trouble
from maintd.names import printable

_PAUSE = 0.2
_CHUNK = 256 * 1024


def lines_of(path: str, *, since: datetime | None = None, follow: bool = False) -> Iterator[bytes]:
    """The lines of a log file; with `since`, first those of its older generations that can be of that time or later.

    With `follow` it never ends: it goes on with whatever file has this path next, and before that with those that had
    it in between. A generation that cannot be read is passed over, which is told.
    """
    opened = _open(path, partial(first, path, since))
    while opened:
        held, file = opened
        with file or nullcontext():
            if file:
                yield from _lines(_chunks(path, held, file, follow=follow))
            while not (opened := _open(path, partial(after, path, held, file))) and follow:
                time.sleep(_PAUSE)


def _open(path: str, find: Callable[[], Generation | None]) -> tuple[Generation, FileIO | None] | None:
    """What `find` finds, open unless that is not allowed. It is looked for again if it was renamed at this moment."""
    while found := find():
        try:
            return found, found.open()
        except FileNotFoundError:
            continue
        except OSError as error:
            if found == Generation.at(path):
                raise
            _tell(found, error)
            return found, None
    return None


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _chunks(path: str, held: Generation, file: FileIO, *, follow: bool) -> Iterator[bytes]:
    """What a generation holds, to its end.

    A writer that was told to reopen its log goes on with the old one for a while: the old one is read until a newer one
    holds something, and then to its end. A file that was cut short is read from its start.
    """
    if held.codec:
        try:
            yield from held.contents(file)
        except OSError as error:
            _tell(held, error)
        return
    is_last = False
    while True:
        chunk = file.read(_CHUNK)
        if chunk:
            yield chunk
        elif is_last:
            return
        elif after(path, held, file):
            is_last = True
        elif not follow:
            return
        else:
            if file.seekable() and os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            time.sleep(_PAUSE)


def _tell(held: Generation, error: OSError) -> None:
    output.lose(f"maintd: {printable(held.path)} cannot be read, or not to its end: {trouble(error).error_msg}")
