"""A file of nothing that holds room for a full disk: made whole at once, known by its first bytes, removed whole."""

import os
from collections.abc import Callable
from typing import Any

from maintd import durable, names
from maintd.durable import Ownership
from maintd.errors import Refused
from maintd.steps import Seen

MARK = b"maintd ballast: it holds room for the moment when the disk is full, and may be removed at any time\n"


def is_ours(path: str) -> bool:
    """Whether a file is a ballast. Raises OSError, Refused."""
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        durable.opened(os.path.basename(path), dir_fd=dir_fd) as file,
    ):
        return os.pread(file, len(MARK), 0) == MARK


def make(_progress: Callable[[int], None], *, path: str, size: int) -> None:
    """Makes a ballast of `size` bytes, for root alone. FileExistsError if the name is taken; no space, no file."""
    name = os.path.basename(path)
    with durable.directory(os.path.dirname(path)) as dir_fd:
        temporary = names.temporary(name)
        durable.discard(temporary, dir_fd=dir_fd)
        file = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
        try:
            durable.reserve(file, size)
            durable.add(file, MARK, 0)
            os.fsync(file)
            durable.publish(temporary, name, file, dir_fd=dir_fd)
        except BaseException:
            durable.discard(temporary, dir_fd=dir_fd)
            raise
        finally:
            os.close(file)


def release(_progress: Callable[[int], None], *, seen: dict[str, Any]) -> None:
    """Removes the planned ballast. Refused if the file is none."""
    file = Seen(**seen)
    if not is_ours(file.path):
        raise Refused(f"{names.printable(file.path)} is no ballast of maintd", hint="name another ballast_file")
    with durable.directory(os.path.dirname(file.path)) as dir_fd:
        durable.remove(file, dir_fd=dir_fd)
        os.fsync(dir_fd)
