"""Puts files away as one bundle, a tar.zst, in a child: written, read back, listed, in its place, then they go.

The lines of the manifest are durable before the bundle has its name: as long as it has not, they do not count, since
the files are where they were. A bundle that is there and listed is only compared, member by member, with what is left
of its files: so an interrupted run is completed.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from typing import Any

from maintd import codec, copies, durable, holders, inventory, names, retrieval
from maintd.durable import Ownership
from maintd.errors import MaintdError, NotYet, trouble
from maintd.inventory import Entry
from maintd.objects import Bucket, heard, sha256
from maintd.sharing import Sharing
from maintd.steps import Seen
from maintd.stores import Store
from maintd.storing import check
from maintd.tarring import Member, Tar, unreadable
from maintd.values import dataclass


@dataclass(frozen=True)
class Wanted:
    """A file that is to go into a bundle: as planned, its name there, and why."""

    seen: Seen
    member: str
    why: str


@dataclass(frozen=True)
class Request:
    """What the child is asked: to put these files away as the bundle `name` of the archive `root` (a path).

    `at` is when, as RFC 3339, and `job` whose they are; with `keeps` they also stay where they are.
    """

    root: str
    name: str
    level: int | None
    at: str
    job: str
    keeps: bool
    files: tuple[Wanted, ...]

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Request":
        files = tuple(Wanted(Seen(**one["seen"]), one["member"], one["why"]) for one in fields["files"])
        return cls(**(fields | {"files": files}))


@dataclass
class Bundled:
    """The lines of the files that are in the bundle, each with how the file was; and what was left, by path, with the
    reason.
    """

    entries: list[tuple[Entry, Seen]] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def leave(self, path: str, error: Exception) -> None:
        where = self.waiting if isinstance(error, (NotYet, FileNotFoundError)) else self.failed
        where[path] = trouble(error).error_msg

    def fields(self, size: int, stored_sha256: str) -> dict[str, Any]:
        files = [{"path": entry.original, "size": entry.size, "sha256": entry.sha256} for entry, _ in self.entries]
        said = {"files": files, "waiting": self.waiting, "failed": self.failed}
        return said | {"out_bytes": size, "sha256": stored_sha256}


def store_bundle(progress: codec.Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """Makes or completes a bundle in a local archive; what is open, or has changed, is left where it is, and said."""
    wanted = Request.of(request)
    with durable.directory(wanted.root) as root_fd:
        if copies.exists(wanted.name, root_fd):
            made = _compared(progress, wanted, retrieval.Directory(wanted.root), root_fd)
        else:
            with _written(progress, wanted, root_fd) as (made, temporary, descriptor):
                if not made.entries:
                    return made.fields(0, "")
                with _listed(wanted, made, root_fd, lambda: copies.exists(wanted.name, root_fd)):
                    durable.publish(temporary, wanted.name, descriptor, dir_fd=root_fd)
        _part(wanted, made, root_fd)
    entry = made.entries[0][0] if made.entries else None
    return made.fields(entry.stored_bytes if entry else 0, entry.stored_sha256 if entry else "")


def upload_bundle(progress: codec.Progress, *, request: dict[str, Any], store: dict[str, Any]) -> dict[str, Any]:
    """The same for an object store; `root` of the request is the private directory for it."""
    wanted, place = Request.of(request), Store.of(store)
    shared = Sharing.of(Bucket(place), wanted.root)
    with durable.directory(wanted.root) as root_fd:
        if shared.has(wanted.name):
            made = _compared(progress, wanted, retrieval.Remote(place), root_fd)
        else:
            with _written(progress, wanted, root_fd) as (made, _, descriptor):
                if not made.entries:
                    return made.fields(0, "")
                _reserve(shared, wanted.name)
                with _listed(wanted, made, root_fd, lambda: _may_be_there(shared, wanted.name)):
                    _upload(progress, shared, descriptor, made.entries[0][0])
        _part(wanted, made, root_fd)
    entry = made.entries[0][0] if made.entries else None
    return made.fields(entry.stored_bytes if entry else 0, entry.stored_sha256 if entry else "")


def _reserve(shared: Sharing, name: str) -> None:
    """Takes the name before its lines are written: they must never be beside those of another machine's bundle."""
    if not shared.reserve(name):
        raise NotYet(f"another machine has just stored {names.printable(name)}: the next run takes another name")


def _may_be_there(shared: Sharing, name: str) -> bool:
    """Whether the store has it, or does not tell: then the lines stay, and the next run compares."""
    try:
        return shared.has(name)
    except (OSError, MaintdError):
        return True


def _upload(progress: codec.Progress, shared: Sharing, descriptor: int, entry: Entry) -> None:
    name = entry.name
    shared.put(name, descriptor, progress)
    if sha256(heard(shared.bucket.chunks(name), progress)) != (entry.stored_bytes, entry.stored_sha256):
        shared.take_back(name)  # its lines are taken back as well, which is to be never after another machine's
        raise MaintdError(
            f"the object store gave back something else than was stored as {names.printable(name)}",
            hint="look at the store; the files are where they were, and are tried again",
        )


@contextlib.contextmanager
def _written(progress: codec.Progress, wanted: Request, root_fd: int) -> Iterator[tuple[Bundled, str, int]]:
    """The bundle as a synced temporary, which goes if the block leaves it, with the lines of its files."""
    temporary = names.temporary(wanted.name)
    durable.discard(temporary, dir_fd=root_fd)
    descriptor = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=root_fd)
    made = Bundled()
    try:
        tar = Tar(descriptor, wanted.level, progress)
        for file in wanted.files:
            begun = tar.mark()
            try:
                with _readable(file.seen) as source:
                    exact = check(file.seen, source)
                    written = tar.add(Member(file.member, source, os.fstat(source)))
                    copies.require_untouched(exact, source, free=not holders.may_be_written(source))
            except (MaintdError, FileNotFoundError) as error:
                tar.take_back(begun)
                made.leave(file.seen.path, error)
            else:
                made.entries.append((_entry(wanted, file, exact, written.offset, written.sha256), exact))
        tar.finish(b"".join(entry.line() for entry, _ in made.entries))
        stored = copies.digest(progress, descriptor)
        made.entries = [
            (replace(entry, stored_bytes=tar.end, stored_sha256=stored), exact) for entry, exact in made.entries
        ]
        yield made, temporary, descriptor
    finally:
        if copies.is_still(temporary, descriptor, root_fd):
            durable.discard(temporary, dir_fd=root_fd)
        os.close(descriptor)


@contextlib.contextmanager
def _readable(seen: Seen) -> Iterator[int]:
    """A planned file that is to be read. What hinders that is a MaintdError, and not the bundle's."""
    with contextlib.ExitStack() as held:
        try:
            _, source = held.enter_context(_opened(seen))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(error) from error
        yield source


@contextlib.contextmanager
def _opened(seen: Seen) -> Iterator[tuple[int, int]]:
    """The directory of a planned file, and the file."""
    folder, name = os.path.split(seen.path)
    with durable.directory(folder) as dir_fd, durable.opened(name, dir_fd=dir_fd) as source:
        yield dir_fd, source


def _entry(wanted: Request, file: Wanted, exact: Seen, offset: int, content: str) -> Entry:
    return Entry(
        name=wanted.name,
        original=exact.path,
        ino=exact.ino,
        size=exact.size,
        mtime_ns=exact.mtime_ns,
        mode=exact.mode & 0o7777,
        uid=exact.uid,
        gid=exact.gid,
        sha256=content,
        codec="zstd",
        stored_bytes=0,
        stored_sha256="",
        at=wanted.at,
        why=file.why,
        job=wanted.job,
        member=file.member,
        offset=offset,
        ctime_ns=exact.ctime_ns,
    )


@contextlib.contextmanager
def _listed(wanted: Request, made: Bundled, root_fd: int, is_there: Callable[[], bool]) -> Iterator[None]:
    """Adds the lines before the block, and takes them back if it fails and the bundle is not there.

    Lines that an interrupted run wrote for a bundle that it then did not make are taken back as well.
    """
    here = {entry.key for entry, _ in made.entries}
    known = inventory.read(wanted.root).entries.values()
    stale = [entry for entry in known if entry.name == wanted.name and entry.key not in here and entry.is_unmoved()]
    inventory.add(b"".join([*map(inventory.void, stale), *(entry.line() for entry, _ in made.entries)]), dir_fd=root_fd)
    try:
        yield
    except BaseException:
        if not is_there():
            inventory.add(b"".join(inventory.void(entry) for entry, _ in made.entries), dir_fd=root_fd)
        raise


def _compared(progress: codec.Progress, wanted: Request, archive: retrieval.Archive, root_fd: int) -> Bundled:
    """The files that are in the bundle as they are here: the manifest says so, and what is read of it too.

    Where they are to stay only their lines are made anew. The line of one with other content gets no inode, by which
    the next run knows that it is to be stored anew.
    """
    known = inventory.read(wanted.root).entries
    made = Bundled()
    lines: list[bytes] = []
    for file in wanted.files:
        try:
            with _opened(file.seen) as (_, source):
                exact = check(file.seen, source)
                entry = known.get((wanted.name, file.member))
                if entry is None or not entry.is_of(exact.path, exact.size, exact.mtime_ns):
                    raise FileExistsError(17, "a bundle of that name without this file is there already", wanted.name)
                content = copies.digest(progress, source)
                if content != entry.sha256:
                    lines.append(replace(entry, ino=0).line())
                    raise NotYet("it has changed since it was stored: the next run stores it anew")
                if content != sha256(heard(retrieval.content(archive, entry), progress))[1]:
                    raise FileExistsError(17, "what the bundle holds of it is something else", wanted.name)
                copies.require_untouched(exact, source, free=not holders.may_be_written(source))
        except (OSError, MaintdError) as error:
            made.leave(file.seen.path, error)
        else:
            if wanted.keeps:
                lines.append(entry.touched(exact).line())
            else:
                made.entries.append((entry, exact))
    if lines:
        inventory.add(b"".join(lines), dir_fd=root_fd)
    return made


def _part(wanted: Request, made: Bundled, root_fd: int) -> None:
    """Removes the files that are in the bundle; one that was touched meanwhile stays, and its line is taken back.

    Where only the removing failed, the line stays as well: the next run compares the file with it, and removes it.
    """
    if wanted.keeps:
        return
    touched: list[Entry] = []
    gone: list[tuple[Entry, Seen]] = []
    for entry, exact in made.entries:
        try:
            with _opened(exact) as (dir_fd, source):
                copies.remove_original(exact, source, dir_fd=dir_fd)
        except OSError as error:
            made.leave(exact.path, error)
        except MaintdError as error:
            made.leave(exact.path, error)
            touched.append(entry)
        else:
            gone.append((entry, exact))
    if touched:
        inventory.add(b"".join(map(inventory.void, touched)), dir_fd=root_fd)
    made.entries = gone
