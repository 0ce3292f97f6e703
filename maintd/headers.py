"""What the first bytes of a SQLite database say (https://sqlite.org/fileformat2.html), and which files belong to it.

A process reads them only of databases to which it has no connection: closing a file drops its locks (fcntl(2)).
"""

import os
from typing import Literal, Self

from maintd.values import dataclass

MAGIC = b"SQLite format 3\0"
LENGTH = 100
SMALLEST_PAGE = 512
"""A database consists of whole pages, which have this size or a multiple of it."""
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by what is added to its name; without its database it is worth nothing."""


@dataclass(frozen=True)
class Header:
    """`is_wal`: readers and writers do not wait for each other."""

    page_size: int
    is_wal: bool
    freelist: int
    auto_vacuum: Literal["none", "full", "incremental"] = "none"

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """None if they are not those of a database."""
        if len(data) < LENGTH or not data.startswith(MAGIC):
            return None
        size = int.from_bytes(data[16:18])
        kind: Literal["none", "full", "incremental"]
        kind = "none" if data[52:56] == bytes(4) else "full" if data[64:68] == bytes(4) else "incremental"
        return cls(65536 if size == 1 else size, data[18] == 2, int.from_bytes(data[36:40]), kind)


def read(path: str) -> Header | None:
    """The header of a file; None if it is no database, or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Header.of(os.pread(descriptor, LENGTH, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def main_of(path: str) -> str | None:
    """The database that a file lies beside, by its name; None if it is not called so."""
    return next((path.removesuffix(suffix) for suffix in BESIDE if path.endswith(suffix)), None)
