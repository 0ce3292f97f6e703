"""Puts one file away into an archive that is a local directory: moved, or copied and compressed, in a child process.

The manifest's line is durable before the file has gone from where it was. A file that is moved as it is gets its line
first, then its new name; one that is copied is copied, read back and synced, then gets its line, then goes.
"""

import contextlib
import errno
import os
from dataclasses import replace
from typing import Any

from maintd import codec, copies, durable, holders, inventory, names
from maintd.codec import Codec
from maintd.errors import NotYet, Refused
from maintd.inventory import Entry
from maintd.steps import Seen
from maintd.values import dataclass


@dataclass(frozen=True)
class Request:
    """What the child is asked: to put the file as `seen` away as `name` in the archive `root` (a path).

    `at` is when, as RFC 3339, `why` the reason, and `job` whose it is; with `keeps` it also stays where it is. `listed`
    is its line if it was touched since it was stored.
    """

    seen: Seen
    root: str
    name: str
    codec: str
    level: int | None
    at: str
    why: str
    job: str
    keeps: bool = False
    listed: Entry | None = None

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.name)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Request":
        listed = Entry(**fields["listed"]) if fields["listed"] else None
        return cls(**(fields | {"seen": Seen(**fields["seen"]), "listed": listed}))


def store_file(progress: codec.Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Archives one file. Refused if it is not the planned one, NotYet if it is open, FileExistsError if its name is."""
    wanted = Request.of(request)
    directory, name = os.path.split(wanted.seen.path)
    with (
        durable.directory(directory) as dir_fd,
        durable.directory(os.path.dirname(wanted.path)) as archive_fd,
        durable.directory(wanted.root) as root_fd,
        durable.opened(name, dir_fd=dir_fd) as source,
    ):
        exact = check(wanted.seen, source)
        place = Place(progress, wanted, exact, source, dir_fd, archive_fd, root_fd)
        if listed := place.listed_anew():
            return answer(listed, is_listed=True)
        is_there = copies.exists(place.target, archive_fd)
        is_whole = wanted.codec == "none" and not (is_there or wanted.keeps)
        is_moved = is_whole and os.fstat(archive_fd).st_dev == exact.dev
        entry = _move_or_copy(place) if is_moved else _copy(place)
    return answer(entry)


def answer(entry: Entry, *, is_listed: bool = False) -> dict[str, Any]:
    """What the child says of a file; `is_listed` if its content was stored before."""
    said = {"in_bytes": entry.size, "out_bytes": entry.stored_bytes, "sha256": entry.sha256}
    return said | {"is_listed": is_listed}


def check(planned: Seen, source: int) -> Seen:
    """The opened file as it is now. Refused if it is not as planned, or odd; NotYet if another process has it open."""
    now = os.fstat(source)
    if not planned.is_unchanged(now):
        raise Refused(f"{names.printable(planned.path)} has changed since it was planned, and was left alone")
    durable.require_plain(planned.path, now)
    copies.require_dense(planned.path, now)
    if holders.is_open_elsewhere(source):
        raise NotYet(f"{names.printable(planned.path)} is open in another process")
    return Seen.of(planned.path, now)


@dataclass(frozen=True)
class Place:
    """The file, where it is, and where it goes. `exact` is how it was when it was opened."""

    progress: codec.Progress
    wanted: Request
    exact: Seen
    source: int
    dir_fd: int
    archive_fd: int
    root_fd: int

    @property
    def target(self) -> str:
        return os.path.basename(self.wanted.name)

    def digest(self) -> str:
        return copies.digest(self.progress, self.source)

    def entry(self, sha256: str, stored_bytes: int, stored_sha256: str) -> Entry:
        return entry_of(self.wanted, self.exact, sha256, stored_bytes, stored_sha256)

    def listed_anew(self) -> Entry | None:
        """The line of a file with the content that was stored before, as it is now; it is durable."""
        listed = self.wanted.listed
        if listed is None or self.digest() != listed.sha256:
            return None
        copies.require_untouched(self.exact, self.source, free=not holders.may_be_written(self.source))
        entry = listed.touched(self.exact)
        inventory.add(entry.line(), dir_fd=self.root_fd)
        return entry

    def mismatch(self, error: FileExistsError) -> Exception:
        """What is to be raised for other content under its name: NotYet if that is what the manifest lists there.

        That line then gets no inode, by which the next run knows that this file is another.
        """
        entry = inventory.read(self.wanted.root).entries.get((self.wanted.name, ""))
        if entry is None or entry.sha256 == self.digest():
            return error
        inventory.add(replace(entry, ino=0).line(), dir_fd=self.root_fd)
        return NotYet("a file with the same size and time, and other content, has its name: the next run takes another")

    def part(self) -> None:
        """Removes the original, unless it is to stay; NotYet if it was touched in any way since."""
        if self.wanted.keeps:
            copies.require_untouched(self.exact, self.source, free=not holders.may_be_written(self.source))
        else:
            copies.remove_original(self.exact, self.source, dir_fd=self.dir_fd)

    @contextlib.contextmanager
    def listed(self, entry: Entry) -> Any:
        """Adds the line before the block; if the block fails, and the file is still where it was, takes it back."""
        inventory.add(entry.line(), dir_fd=self.root_fd)
        try:
            yield
        except BaseException:
            if copies.is_still(os.path.basename(self.exact.path), self.source, self.dir_fd):
                inventory.add(inventory.void(entry), dir_fd=self.root_fd)
            raise


def entry_of(wanted: Request, exact: Seen, sha256: str, stored_bytes: int, stored_sha256: str) -> Entry:
    """The line of a file that was put away as a whole object."""
    return Entry(
        name=wanted.name,
        original=exact.path,
        ino=exact.ino,
        size=exact.size,
        mtime_ns=exact.mtime_ns,
        mode=exact.mode & 0o7777,
        uid=exact.uid,
        gid=exact.gid,
        sha256=sha256,
        codec=wanted.codec,
        stored_bytes=stored_bytes,
        stored_sha256=stored_sha256,
        at=wanted.at,
        why=wanted.why,
        job=wanted.job,
        ctime_ns=exact.ctime_ns,
    )


def _move_or_copy(place: Place) -> Entry:
    """Copies what cannot be renamed: the archive is of another mount of the file system, or another quota project."""
    try:
        return _move(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    return _copy(place)


def _move(place: Place) -> Entry:
    """Renames it, on the same file system, as it is."""
    os.fsync(place.source)
    sha256 = place.digest()
    entry = place.entry(sha256, place.exact.size, sha256)
    with place.listed(entry):
        with holders.unwritable(place.source) as free:
            copies.require_untouched(place.exact, place.source, free=free)
            durable.set_aside(place.exact, place.target, dir_fd=place.dir_fd, archive_fd=place.archive_fd)
        os.fsync(place.archive_fd)
        os.fsync(place.dir_fd)
    return entry


def _copy(place: Place) -> Entry:
    """Copies it, compressed or not, and removes it; a copy that an interrupted run made is compared and taken."""
    how = Codec(place.wanted.codec, place.wanted.level)
    was_there = copies.exists(place.target, place.archive_fd)
    if was_there:
        try:
            copies.check_content(place.progress, place.source, place.target, how, dir_fd=place.archive_fd)
        except FileExistsError as error:
            raise place.mismatch(error) from error
    else:
        copies.compress_beside(place.progress, place.source, place.target, how, dir_fd=place.archive_fd)
    sha256 = place.digest()
    made = Seen.of(place.wanted.path, os.lstat(place.target, dir_fd=place.archive_fd))
    try:
        with durable.opened(place.target, dir_fd=place.archive_fd) as copy:
            stored = sha256 if place.wanted.codec == "none" else copies.digest(place.progress, copy)
        entry = place.entry(sha256, made.size, stored)
        with place.listed(entry):
            place.part()
    except BaseException:
        is_left = copies.is_still(os.path.basename(place.exact.path), place.source, place.dir_fd)
        if is_left and not was_there:
            durable.remove(made, dir_fd=place.archive_fd)
            os.fsync(place.archive_fd)
        raise
    return entry
