"""Rotation in place, in a child: a log is archived where it lies, and what was archived is taken out of it.

The archive is made under its temporary name and synced. The intent beside it says what it holds before the log is
touched. Then the archived part goes from the log, in the way that its file system and the job allow (collapse.py,
cut.py), and at the very end the archive gets its name and the intent goes. What is interrupted, `finish` completes or
takes back.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from maintd import codec, collapse, copies, cut, durable, freeze, intents, names
from maintd.durable import Ownership
from maintd.intents import Journal
from maintd.place import How, Place, Request
from maintd.steps import Seen


def rotate(progress: codec.Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Rotates one log in place.

    Raises Refused, NotYet or OSError, and then every line is where it was, or in the archive, and `finish` is for it.
    """
    wanted = Request(**(request | {"seen": Seen(**request["seen"])}))
    name, archive = os.path.basename(wanted.path), os.path.basename(wanted.archive)
    with (
        durable.directory(os.path.dirname(wanted.path)) as dir_fd,
        durable.directory(os.path.dirname(wanted.archive), wanted.folder) as archive_fd,
        durable.live(name, wanted.seen, dir_fd=dir_fd) as log,
        intents.created(names.intent(archive), dir_fd=archive_fd) as journal,
        _archive_being_made(archive, archive_fd, journal) as copy,
    ):
        copies.require_dense(wanted.path, os.fstat(log))
        way = collapse if wanted.way == "collapse" else cut
        made = way.rotate(wanted, Place(log, copy, journal), progress)
        _publish(log, copy, archive, archive_fd, journal)
    return asdict(made)


def finish(_progress: codec.Progress, *, path: str, archive: str) -> dict[str, Any]:
    """Completes, or takes back, a rotation in place that was interrupted, and says which.

    `archive` is the final path. Returns {"how": "completed" | "undone" | "abandoned", "in_bytes": n, "out_bytes": n};
    abandoned: somebody replaced or cut the log meanwhile, so the archive was completed, and the log left alone. Raises
    NotYet if another maintd is at work on it.
    """
    name = os.path.basename(archive)
    with (
        durable.directory(os.path.dirname(path)) as dir_fd,
        durable.directory(os.path.dirname(archive)) as archive_fd,
        intents.found(names.intent(name), dir_fd=archive_fd) as journal,
        ExitStack() as stack,
    ):
        intent = journal.latest
        if intent is None:
            return _undone(name, archive_fd, journal)
        freeze.go_on(intent.stopped)
        log, copy = -1, -1
        with contextlib.suppress(FileNotFoundError):
            log = stack.enter_context(_open(os.path.basename(path), dir_fd))
        with contextlib.suppress(FileNotFoundError):
            copy = stack.enter_context(_open(names.temporary(name), archive_fd))
        if copy < 0 and intent.phase != "done":  # somebody removed the archive that was being made
            journal.remove()
            return {"how": "abandoned", "in_bytes": 0, "out_bytes": 0}
        how = _recovered(Place(log, copy, journal))
        if how == "undone":
            return _undone(name, archive_fd, journal)
        if copy >= 0:
            _publish(log, copy, name, archive_fd, journal)
        journal.remove()
        return {"how": how, "in_bytes": intent.taken + intent.end - intent.start, "out_bytes": intent.length}


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
            _undone(archive, archive_fd, journal)
        raise
    finally:
        if copy >= 0:
            os.close(copy)


@contextlib.contextmanager
def _open(name: str, dir_fd: int) -> Iterator[int]:
    descriptor = durable.opened_to_change(name, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _publish(log: int, copy: int, archive: str, archive_fd: int, journal: Journal) -> None:
    """Gives the archive, which is whole by now, its name, and forgets the intent."""
    assert journal.latest is not None
    durable.cut(copy, journal.latest.length)  # less than what is there if a later part could not be finished
    if log >= 0:
        durable.copy_attributes(log, copy)
    os.fsync(copy)
    durable.publish(names.temporary(archive), archive, copy, dir_fd=archive_fd)
    journal.remove()


def _recovered(place: Place) -> How:
    if place.intent.phase == "done":
        return "completed"
    if not place.is_intended():
        return "abandoned"
    return collapse.recover(place) if place.intent.cut else cut.recover(place)


def _undone(archive: str, archive_fd: int, journal: Journal) -> dict[str, Any]:
    intents.take_back(archive, journal, dir_fd=archive_fd)
    return {"how": "undone", "in_bytes": 0, "out_bytes": 0}
