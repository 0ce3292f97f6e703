"""Rotation in place, in a child: a log is archived where it lies, and what was archived is taken out of it.

The archive is made under its temporary name and synced. The intent says what it holds before the log is touched. Then
the archived part goes from the log, in the way that its file system and the job allow (collapse.py, cut.py), and at the
very end the archive gets its name and the intent goes. What is interrupted, `finish` completes or takes back.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import count
from typing import Any

from maintd import codec, collapse, copies, cut, durable, freeze, intents, names
from maintd.durable import Ownership
from maintd.intents import Intent, Journal
from maintd.place import How, Place, Request
from maintd.steps import Seen


def rotate(progress: codec.Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Rotates one log in place; returns what came of it, with the path that the `archive` got.

    Raises Refused, NotYet or OSError, and then every line is where it was, or in the archive, and `finish` is for it.
    """
    wanted = Request(**(request | {"seen": Seen(**request["seen"])}))
    folder, archive = os.path.split(wanted.archive)
    with (
        durable.directory(os.path.dirname(wanted.path)) as dir_fd,
        durable.directory(folder, wanted.folder) as archive_fd,
        durable.live(os.path.basename(wanted.path), wanted.seen, dir_fd=dir_fd) as log,
        intents.created(wanted.intents, wanted.path, wanted.archive, os.fstat(archive_fd).st_ino) as journal,
        _archive_being_made(archive, archive_fd, journal) as copy,
    ):
        copies.require_dense(wanted.path, os.fstat(log))
        way = collapse if wanted.way == "collapse" else cut
        made = way.rotate(wanted, Place(log, copy, journal), progress)
        name = _publish(log, copy, archive, archive_fd, journal)
    return asdict(made) | {"archive": os.path.join(folder, name)}


def finish(_progress: codec.Progress, *, journal: str) -> dict[str, Any]:
    """Completes, or takes back, a rotation in place that was interrupted, and says which. `journal` is its path.

    Returns {"how": …, "archive": path, "in_bytes": n, "out_bytes": n}. `how` is completed; undone; abandoned: somebody
    replaced or cut the log meanwhile, so the archive was completed, and the log left alone; or lost: somebody removed
    the archive. Raises FileNotFoundError if there is nothing to finish, NotYet if that is for later.
    """
    with intents.found(journal) as one, ExitStack() as stack:
        latest = one.latest
        if latest is None:
            intents.take_back(one)
            return {"how": "undone", "archive": one.about.archive, "in_bytes": 0, "out_bytes": 0}
        freeze.go_on(latest.stopped)
        intent = one.commit(latest)  # what is read may be in memory only: the sync of it may be what failed
        folder, name = os.path.split(one.about.archive)
        archive_fd = _entered(stack, folder)
        if archive_fd >= 0 and os.fstat(archive_fd).st_ino != one.about.folder:  # another took its place
            archive_fd = -1
        log, copy = _opened(stack, one.about.log), _being_made(stack, archive_fd, name, intent)
        place = Place(log, copy, one)
        how: How = "lost"
        if copy >= 0:
            how = _recovered(place)
            if how == "undone":
                intents.take_back(one)
                return {"how": how, "archive": one.about.archive, "in_bytes": 0, "out_bytes": 0}
            one.commit(replace(place.intent, phase="abandoned" if how == "abandoned" else "done"))
            name = _publish(log, copy, name, archive_fd, one)
        elif intent.phase in ("done", "abandoned") and (published := _name_of(archive_fd, intent)):
            how, name = ("abandoned" if intent.phase == "abandoned" else "completed"), published
            one.remove()
        else:
            one.remove()
        size = intent.taken + intent.end - intent.start
        return {"how": how, "archive": os.path.join(folder, name), "in_bytes": size, "out_bytes": place.length}


@contextlib.contextmanager
def _archive_being_made(archive: str, archive_fd: int, journal: Journal) -> Iterator[int]:
    """A descriptor of the new archive under its temporary name; it goes if the block fails before anything counts."""
    copy = -1
    try:
        durable.discard(names.temporary(archive), dir_fd=archive_fd)
        owner = Ownership(0o600, os.geteuid(), os.getegid())
        copy = durable.create(names.temporary(archive), owner, dir_fd=archive_fd)
        os.fsync(archive_fd)  # its name is to be there whenever something counts that it holds
        yield copy
    except BaseException:
        if journal.latest is None:
            durable.discard(names.temporary(archive), dir_fd=archive_fd)
            journal.remove()
        raise
    finally:
        if copy >= 0:
            os.close(copy)


def _entered(stack: ExitStack, folder: str) -> int:
    """A descriptor of a directory, -1 if it is gone."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return stack.enter_context(durable.directory(folder))
    return -1


def _opened(stack: ExitStack, path: str) -> int:
    """A descriptor for changing a file, -1 if it is gone."""
    dir_fd = _entered(stack, os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        if dir_fd >= 0:
            descriptor = durable.opened_to_change(os.path.basename(path), dir_fd=dir_fd)
            stack.callback(os.close, descriptor)
            return descriptor
    return -1


def _being_made(stack: ExitStack, archive_fd: int, archive: str, intent: Intent) -> int:
    """A descriptor of the archive under its temporary name, -1 if that is gone or another file by now."""
    with contextlib.suppress(FileNotFoundError):
        if archive_fd >= 0:
            copy = durable.opened_to_change(names.temporary(archive), dir_fd=archive_fd)
            stack.callback(os.close, copy)
            return copy if intent.is_copy(os.fstat(copy)) else -1
    return -1


def _name_of(archive_fd: int, intent: Intent) -> str:
    """The name under which the archive was published already, or nothing."""
    for name in os.listdir(archive_fd) if archive_fd >= 0 else ():
        with contextlib.suppress(FileNotFoundError):
            if not name.endswith(names.TEMPORARY) and intent.is_copy(os.lstat(name, dir_fd=archive_fd)):
                return name
    return ""


def _publish(log: int, copy: int, archive: str, archive_fd: int, journal: Journal) -> str:
    """Gives the archive, which is whole by now, its name, or the next one that is free, and forgets the intent.

    What took the log's place meanwhile does not say who may read the archive.
    """
    assert journal.latest is not None
    durable.cut(copy, journal.latest.length)  # less than what is there if a later part could not be finished
    if log >= 0 and journal.latest.is_log(os.fstat(log)):
        durable.copy_attributes(log, copy)
    os.fsync(copy)
    for name in _free_names(archive):
        try:
            durable.publish(names.temporary(archive), name, copy, dir_fd=archive_fd)
        except FileExistsError:  # somebody made a file of that name meanwhile, which stays as it is
            continue
        break
    journal.remove()
    return name


def _free_names(archive: str) -> Iterator[str]:
    """The name of an archive, and those for when it is taken: of maintd's own the next ones, else out of the way."""
    wanted = names.parse_archive(archive)
    if wanted is not None:
        yield from (str(replace(wanted, n=n)) for n in count(wanted.n))
    yield archive
    yield from (f"{archive}-{n}.backup" for n in count(1))


def _recovered(place: Place) -> How:
    if place.intent.phase == "done":
        return "completed"
    if place.intent.phase == "abandoned" or not place.is_intended():
        return "abandoned"
    return collapse.recover(place) if place.intent.cut else cut.recover(place)
