"""Which programs are being stopped to be started again, written down first: no restart that is cut off leaves one down.

A small file for each in maintd's state, there from before the stop until the program runs.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress

from maintd import durable
from maintd.values import dataclass

SUFFIX = ".restart"


@dataclass(frozen=True)
class Begun:
    """A restart that was begun by a job, when (seconds since the epoch): as the sample says that counts it."""

    program: str
    job: str
    at: float


def note(folder: str, begun: Begun) -> None:
    """Writes down in `folder` that a program is about to be stopped, durable."""
    durable.private_directory(folder)
    data = json.dumps({"program": begun.program, "job": begun.job, "at": begun.at}).encode()
    with durable.directory(folder) as dir_fd:
        durable.write_whole(_name(begun.program), data, dir_fd=dir_fd)


def forget(folder: str, program: str) -> None:
    """The program was started again, or is no longer to be started by us."""
    if not folder:
        return
    with suppress(FileNotFoundError), durable.directory(folder) as dir_fd:
        durable.unlink_own(_name(program), dir_fd=dir_fd)


def unfinished(folder: str) -> Iterator[Begun]:
    """The restarts that were cut off, or are under way; what cannot be read is none."""
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX)) if folder else []
    for name in names:
        path = os.path.join(folder, name)
        with suppress(OSError, ValueError, KeyError, TypeError), open(path, encoding="utf-8") as file:
            fields = json.load(file)
            at = float(fields.get("at", os.fstat(file.fileno()).st_mtime))
            yield Begun(str(fields["program"]), str(fields["job"]), at)


def _name(program: str) -> str:
    return hashlib.sha256(program.encode(errors="surrogateescape")).hexdigest()[:32] + SUFFIX
