"""Takes objects that a policy has given up out of an archive, and then their lines off its manifest.

An object that is gone and still listed is what a kill in between leaves: the next run takes back the lines. The other
way round nobody would know what it is.
"""

import os
from collections.abc import Callable
from typing import Any

from maintd import durable, holders, inventory, losses, names
from maintd.errors import NotYet
from maintd.objects import Bucket
from maintd.steps import Seen
from maintd.stores import Store

Progress = Callable[[int], None]


def drop(_progress: Progress, *, root: str, lines: str, seen: dict[str, Any] | None) -> None:
    """Of an archive that is a directory. `seen` is the planned object, None if it is gone. NotYet if it is open.

    `lines` are those that take its own back.
    """
    with durable.directory(root) as root_fd:
        if seen is not None:
            file = Seen(**seen)
            folder, base = os.path.split(file.path)
            with durable.directory(folder) as dir_fd, durable.opened(base, dir_fd=dir_fd) as opened:
                if holders.is_open_elsewhere(opened):
                    raise NotYet(f"{names.printable(file.path)} is open in another process")
                durable.remove(file, dir_fd=dir_fd)
                os.fsync(dir_fd)
        inventory.add(lines.encode(), dir_fd=root_fd)


def disown(_progress: Progress, *, root: str, lines: str, noted: str | None) -> None:
    """Adds lines that take others back, and takes the name of an object off the note of what a store has lost."""
    with durable.directory(root) as root_fd:
        inventory.add(lines.encode(), dir_fd=root_fd)
        known = losses.noted(root) if noted is not None else None
        if known and known.at:
            left = {name: size for name, size in known.found.items() if name != noted}
            durable.write_whole(losses.NOTE, losses.written(known.at, left), dir_fd=root_fd)


def drop_object(_progress: Progress, *, store: dict[str, Any], root: str, name: str, lines: str) -> None:
    """Of an object store; `root` is the private directory for it. An object that is gone counts as removed."""
    Bucket(Store.of(store)).remove(name)
    with durable.directory(root) as root_fd:
        inventory.add(lines.encode(), dir_fd=root_fd)
