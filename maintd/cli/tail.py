"""Reads a file's lines, and goes on as it grows and is rotated, without losing one."""

import os
import time
from collections.abc import Iterator
from io import FileIO

_PAUSE = 0.2
_CHUNK = 256 * 1024


def lines_of(path: str, *, follow: bool) -> Iterator[bytes]:
    """The lines of a file. With `follow` it never ends: it goes on with whatever file has this path next.

    A writer that was told to reopen its log goes on with the old one for a while: the old one is read until the new one
    holds something, and then to its end. A file that was cut short is read from its start.
    """
    with FileIO(path) as file:
        yield from _to_its_end(file, path, follow=follow)
    while follow:
        try:
            file = FileIO(path)
        except FileNotFoundError:
            time.sleep(_PAUSE)
            continue
        with file:
            yield from _to_its_end(file, path, follow=True)


def _to_its_end(file: FileIO, path: str, *, follow: bool) -> Iterator[bytes]:
    rest = b""
    is_last = not follow
    while True:
        chunk = file.read(_CHUNK)
        if chunk:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        elif is_last:
            break
        elif not (is_last := _is_replaced(path, file.fileno())):
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            time.sleep(_PAUSE)
    if rest:
        yield rest


def _is_replaced(path: str, descriptor: int) -> bool:
    """Whether another file has the path now, and something was written into it."""
    try:
        new = os.stat(path)
    except FileNotFoundError:
        return False
    old = os.fstat(descriptor)
    return (new.st_dev, new.st_ino) != (old.st_dev, old.st_ino) and new.st_size > 0
