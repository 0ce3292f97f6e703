"""What a restore in place has brought takes the place of what was there, which goes aside, and comes back.

The files of a directory are moved together, so that services do not wait for the disk with each of them.
"""

import os
import stat as st
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import count

from maintd import durable, names
from maintd.asides import Aside, Item, inode_of
from maintd.errors import MaintdError, Refused
from maintd.names import printable

_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
"""How write-ahead logs, in either byte order, and rollback journals begin."""


def by_directory(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The files of each directory, which are moved together."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(os.path.dirname(item.path), []).append(item)
    return found


def put_in_place(items: Sequence[Item]) -> None:
    """Moves what is there aside, with write-ahead logs, and gives the new files of one directory their names.

    All of it is durable; nothing gets its name before what had it is durable aside. Refused if what is there is not
    what was planned. What was moved by then stays aside, for put_back.
    """
    with (
        durable.directory(os.path.dirname(items[0].path)) as dir_fd,
        durable.directory(items[0].aside) as aside,
    ):
        for item in items:
            _set_aside(item, aside, dir_fd)
        os.fsync(aside)
        os.fsync(dir_fd)
        for item in items:
            fresh, name = os.path.basename(item.fresh), os.path.basename(item.path)
            durable.move(fresh, name, item.new, dir_fd=dir_fd, new_fd=dir_fd)
        os.fsync(dir_fd)


def _set_aside(item: Item, aside: int, dir_fd: int) -> None:
    name = os.path.basename(item.path)
    if item.old is not None:
        durable.move(name, name, item.old, dir_fd=dir_fd, new_fd=aside)
    elif _inode(name, dir_fd) is not None:
        raise Refused(f"{printable(item.path)} was made by somebody else meanwhile")
    for other in _beside(item, aside, dir_fd):
        durable.move(other, other, None, dir_fd=dir_fd, new_fd=aside)


def _beside(item: Item, aside: int, dir_fd: int) -> list[str]:
    """What SQLite keeps beside a file now, and whatever has a name by now that something in the aside directory had.

    Of what has such a name beside no database it is SQLite's if it begins so, or if such files were set aside with it.
    """
    kept = [name for name in item.beside if _inode(name, aside) is not None]
    found = [name for name in item.beside if _is_file(name, dir_fd)]
    if not (item.is_database or kept or any(_begins_as_sqlites(name, dir_fd) for name in found)):
        found = []
    return [*found, *(name for name in kept if name not in found and _inode(name, dir_fd) is not None)]


def _begins_as_sqlites(name: str, dir_fd: int) -> bool:
    """Whether it is a write-ahead log or a journal (https://sqlite.org/fileformat2.html, 3 and 4.1)."""
    with durable.opened(name, dir_fd=dir_fd) as descriptor:
        return os.pread(descriptor, 8, 0).startswith(_MAGICS)


def put_back(items: Sequence[Item], *, keep: bool) -> None:
    """Gives the files of one directory their state of before, from wherever put_in_place, or an earlier put_back, got.

    With `keep` what takes its leave goes into the aside directory as NAME.undone, else it is removed. So does, in any
    case, what somebody else has given the name meanwhile, as a program does that writes a file anew and renames it.
    """
    with durable.directory(os.path.dirname(items[0].path)) as dir_fd:
        if os.path.lexists(items[0].aside):
            with durable.directory(items[0].aside) as aside:
                for item in items:
                    _clear(item, aside, dir_fd, keep=keep)
                os.fsync(aside)
                os.fsync(dir_fd)
                for item in items:
                    _bring_back(item, aside, dir_fd)
                os.fsync(dir_fd)
                os.fsync(aside)
        for item in items:
            durable.unlink_own(os.path.basename(item.fresh), dir_fd=dir_fd)
        os.fsync(dir_fd)


def _clear(item: Item, aside: int, dir_fd: int, *, keep: bool) -> None:
    """Frees the names, if they mean what was restored, or what took its place."""
    name = os.path.basename(item.path)
    there = _inode(name, dir_fd)
    is_ours = _is_same(there, item.new)
    is_gone = there is None and _inode(os.path.basename(item.fresh), dir_fd) is None  # it was put in place, and removed
    if is_ours or is_gone or (there is not None and _inode(name, aside) is not None):
        for other in (*_beside(item, aside, dir_fd), name):
            _take_away(other, aside, dir_fd, keep=keep or not is_ours or not _is_file(other, dir_fd))


def _bring_back(item: Item, aside: int, dir_fd: int) -> None:
    for name in (os.path.basename(item.path), *item.beside):
        if _inode(name, aside) is not None:
            durable.move(name, name, None, dir_fd=aside, new_fd=dir_fd)


def may_be_entered(item: Item) -> bool:
    """Whether the directory of a file is one, and no link."""
    try:
        with durable.directory(os.path.dirname(item.path)):
            return True
    except (OSError, MaintdError):
        return False


def lost(aside: Aside) -> list[str]:
    """The files that were there before a restore in place, and are neither there nor aside any more."""
    if aside.phase == "unpacking":
        return []
    kept = _kept(aside)
    is_done = aside.phase == "done"
    return [
        item.path
        for item in aside.items
        if item.old is not None and _is_lost(item, kept.get(item.aside, set()), is_done=is_done)
    ]


def only_aside(aside: Aside) -> list[str]:
    """The files of which nothing is in their place, and what was there before is aside."""
    kept = _kept(aside)
    return [
        item.path
        for item in aside.items
        if os.path.basename(item.path) in kept.get(item.aside, ()) and not os.path.lexists(item.path)
    ]


def _kept(aside: Aside) -> dict[str, set[str]]:
    """The names in each of the aside directories that are there."""
    return {path: set(os.listdir(path)) for path in {item.aside for item in aside.items} if os.path.lexists(path)}


def _is_lost(item: Item, kept: Collection[str], *, is_done: bool) -> bool:
    """One that was never moved may have been replaced by somebody; one that was put back before has left an .undone."""
    name = os.path.basename(item.path)
    if name in kept or _undone(name) in kept:
        return False
    there = inode_of(item.path)
    return not _is_same(there, item.old) and (is_done or there is None or _is_same(there, item.new))


def _is_same(there: tuple[int, int] | None, noted: tuple[int, int] | None) -> bool:
    """Whether it is the noted file, by its inode: a file system may have got another device number since, in a reboot.

    All that is noted lies in one directory, or was renamed from there, and so is on one file system.
    """
    return there is not None and noted is not None and there[1] == noted[1]


def _undone(name: str, number: int = 0) -> str:
    """How what takes its leave is called in the aside directory."""
    return names.with_suffix(name, f".undone{f'-{number}' if number else ''}")


def _take_away(name: str, aside: int, dir_fd: int, *, keep: bool) -> None:
    inode = _inode(name, dir_fd)
    if inode is None:
        return
    if keep:
        free = next(new for new in map(partial(_undone, name), count()) if _inode(new, aside) is None)
        durable.move(name, free, inode, dir_fd=dir_fd, new_fd=aside)
    else:
        durable.unlink(name, inode, dir_fd=dir_fd)


def remove_empty(items: tuple[Item, ...]) -> list[str]:
    """Removes the aside directories in which nothing is left; returns the others."""
    there = filter(os.path.lexists, sorted({item.aside for item in items}))
    return [path for path in there if not durable.remove_empty(path)]


def drop(paths: Iterable[str]) -> None:
    """Removes aside directories with all that was kept in them."""
    for path in sorted(set(paths)):
        if os.path.lexists(path):
            parent, name = os.path.split(path)
            with durable.directory(parent) as dir_fd:
                gone = names.temporary(name)
                durable.move(name, gone, None, dir_fd=dir_fd, new_fd=dir_fd)
                durable.discard_tree(gone, dir_fd=dir_fd)


def prepare(items: tuple[Item, ...]) -> None:
    """Makes the aside directories, for maintd's user alone."""
    for path in sorted({item.aside for item in items}):
        parent, name = os.path.split(path)
        with durable.directory(parent) as dir_fd:
            durable.make_private(name, dir_fd=dir_fd)


def _is_file(name: str, dir_fd: int) -> bool:
    try:
        return st.S_ISREG(os.lstat(name, dir_fd=dir_fd).st_mode)
    except FileNotFoundError:
        return False


def _inode(name: str, dir_fd: int) -> tuple[int, int] | None:
    try:
        info = os.lstat(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    return info.st_dev, info.st_ino
