"""Whether anybody still uses what a restore in place would move away."""

import os
import stat as st
from collections.abc import Sequence

from maintd import capabilities, durable, holders
from maintd.asides import Item, inode_of
from maintd.errors import Blind, Refused
from maintd.names import printable

_HINT = "stop that first, or name its program under `programs` of the set, before the snapshot is taken"


def require_unused(items: Sequence[Item]) -> None:
    """Refuses a database that anybody has open, or a file that anybody may write, with who it is.

    What /proc may not show to this process, other users' for example, the kernel is asked by a lease, which does not
    say who; Blind if that is not to be had either.
    """
    there = [(item, path, inode) for item in items for path in _paths(item) if (inode := inode_of(path))]
    found = holders.find({inode for *_, inode in there}) if there else {}
    for item, path, inode in there:
        busy = [holder for holder in found.get(inode, ()) if holder.writing or item.is_used_as_database]
        if busy:
            raise Refused(f"{printable(path)} is open in {', '.join(map(str, busy))}", hint=_HINT)
    if "CAP_SYS_PTRACE" in capabilities.missing():
        for item, path, _ in there:
            _ask_for_a_lease(item, path)


def _paths(item: Item) -> list[str]:
    directory = os.path.dirname(item.path)
    return [item.path, *(os.path.join(directory, name) for name in item.beside if item.is_database)]


def _ask_for_a_lease(item: Item, path: str) -> None:
    directory, name = os.path.split(path)
    is_open = holders.is_open_elsewhere if item.is_used_as_database else holders.may_be_written
    with durable.directory(directory) as dir_fd:
        if not st.S_ISREG(os.lstat(name, dir_fd=dir_fd).st_mode):
            return
        try:
            with durable.opened(name, dir_fd=dir_fd) as descriptor:
                if not is_open(descriptor):
                    return
        except PermissionError as error:
            raise Blind(f"{printable(path)} may be open in another process: it cannot be opened to ask") from error
        except Blind as error:
            raise Blind(f"{printable(path)}: {error}", hint=error.hint) from error
    raise Refused(f"{printable(path)} is open in a process that maintd may not look into", hint=_HINT)
