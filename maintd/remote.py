"""Puts one file away into an object store, in a child process: uploaded, read back, listed, and only then removed.

The manifest is kept in a private directory of maintd's, where files are made ready too, and goes to the store after
each run. On a machine that has none of it, it is fetched from there first.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from maintd import codec, copies, durable, formats, inventory, losses, names, sharing
from maintd.codec import Codec
from maintd.durable import Ownership
from maintd.errors import MaintdError, NotYet
from maintd.inventory import Entry
from maintd.objects import Bucket, heard, sha256
from maintd.sharing import Sharing
from maintd.stores import Store
from maintd.storing import Place, Request, answer, check

_MARK = "uploaded"
_TRIES = 5
_PLACE = "place"
"""The file in the private directory of a store that says what it is for."""


def reach(progress: codec.Progress, *, store: dict[str, Any], directory: str) -> None:
    """Sees whether the store can be reached, and fetches its manifest if there is none here.

    What was listed while the store was reached by another endpoint, and never got there, is taken over.
    """
    place = Store.of(store)
    bucket = Bucket(place)
    bucket.reach()
    sharing.agree(bucket, directory)
    with durable.directory(directory) as dir_fd:
        if not copies.exists(_PLACE, dir_fd):
            durable.write_whole(_PLACE, place.to.encode(), dir_fd=dir_fd)
        if not copies.exists(inventory.NAME, dir_fd):
            with suppress(FileNotFoundError):  # whole or not at all: a part of it would be taken for all, and go there
                durable.write_whole(inventory.NAME, b"".join(_listed_there(progress, bucket)), dir_fd=dir_fd)
        _inherit(progress, place, bucket, directory, dir_fd)


def _inherit(progress: codec.Progress, place: Store, bucket: Bucket, directory: str, dir_fd: int) -> None:
    """Adds lines from private directories of the same place by another endpoint, if the store has what they list.

    It may be another store, in which there is a bucket of the same name, and an object of the same name and size.
    """
    known = inventory.read(directory).entries
    missing = {
        entry.key: entry
        for other in _others(place, directory)
        for entry in inventory.read(other).entries.values()
        if entry.key not in known
    }
    if missing:
        sizes = bucket.sizes()
        alike = [entry for entry in missing.values() if sizes.get(entry.name) == entry.stored_bytes]
        objects = {entry.name for entry in alike}
        said = {name: sha256(heard(bucket.chunks(name), progress))[1] for name in objects}
        here = [entry.line() for entry in alike if said[entry.name] == entry.stored_sha256]
        if here:
            inventory.add(b"".join(here), dir_fd=dir_fd)


def _others(place: Store, directory: str) -> Iterator[str]:
    """The private directories of the same place by other endpoints whose manifest the store does not have."""
    above, own = os.path.split(directory)
    for name in os.listdir(above):
        other = os.path.join(above, name)
        with suppress(OSError, ValueError), open(os.path.join(other, _PLACE), encoding="utf-8") as said:
            if name != own and said.read() == place.to and not is_uploaded(other):
                yield other


def upload_manifest(progress: codec.Progress, *, store: dict[str, Any], directory: str) -> int | None:
    """Stores the manifest as it is here, and returns its bytes; None if nothing is listed yet.

    What another machine stores there meanwhile is taken over first.
    """
    shared = Sharing.of(Bucket(Store.of(store)), directory)
    if not os.path.exists(os.path.join(directory, inventory.NAME)):
        return None
    for _ in range(_TRIES):
        with durable.directory(directory) as dir_fd:
            tag = _take_over(progress, shared.bucket, directory, dir_fd)
            with durable.opened(inventory.NAME, dir_fd=dir_fd) as listed:
                size = os.fstat(listed).st_size
                stored = shared.replace(inventory.NAME, listed, tag, progress)
            if stored is not None:
                mark = f"{size} {stored}\n".encode()
                durable.append(_MARK, mark, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
                return size
    raise MaintdError("other machines store their manifests there all the time", hint="the next run tries it again")


def _take_over(progress: codec.Progress, bucket: Bucket, directory: str, dir_fd: int) -> str | None:
    """Adds what the store's manifest has and the one here has not: that of another machine, or of a state that is lost.

    Lines are only ever added, so that all of both, in their order, says what both say. Returns the store's tag of it.
    """
    tag = bucket.tag(inventory.NAME)
    if tag is None or (tag and tag == _marked(directory)[1]):
        return tag
    with open(os.path.join(directory, inventory.NAME), "rb") as listed:
        known = set(listed)
    there = b"".join(_listed_there(progress, bucket)).splitlines(keepends=True)
    missing = [line for line in there if line not in known]
    if missing:
        inventory.add(b"".join(missing), dir_fd=dir_fd)
    return tag


def _listed_there(progress: codec.Progress, bucket: Bucket) -> Iterator[bytes]:
    """The manifest of the store."""
    return heard(bucket.chunks(inventory.NAME), progress)


def _marked(directory: str) -> tuple[int | None, str]:
    """The bytes of the manifest as it was stored last, and the store's tag of it; None if it never was from here."""
    try:
        with open(os.path.join(directory, _MARK), encoding="utf-8") as marks:
            size, _, tag = marks.read().splitlines()[-1].partition(" ")
            return int(size), tag
    except (OSError, ValueError, IndexError):
        return None, ""


def ask(_progress: codec.Progress, *, store: dict[str, Any], directory: str, longest: float) -> dict[str, int]:
    """The bytes of all objects that are listed here and that the store has now; what it has lost of them is noted.

    A disk that is too full for the note is what a guard asks for. OutOfReach after `longest` seconds (0: the store's).
    """
    sizes = Bucket(Store.of(store)).sizes(longest)
    entries = inventory.read(directory).entries.values()
    note = losses.written(datetime.now(UTC), losses.compared(entries, sizes))
    with durable.directory(directory) as dir_fd:
        try:
            durable.write_whole(losses.NOTE, note, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
    return {entry.name: sizes[entry.name] for entry in entries if entry.name in sizes}


def is_uploaded(directory: str) -> bool:
    """Whether the store has the manifest as it is here."""
    try:
        return _marked(directory)[0] == os.stat(os.path.join(directory, inventory.NAME)).st_size
    except FileNotFoundError:
        return True


def store_object(progress: codec.Progress, *, request: dict[str, Any], store: dict[str, Any]) -> dict[str, Any]:
    """Archives one file; `root` of the request is the private directory. Raises as storing.store_file does."""
    wanted = Request.of(request)
    folder, name = os.path.split(wanted.seen.path)
    with (
        durable.directory(folder) as dir_fd,
        durable.directory(wanted.root) as root_fd,
        durable.opened(name, dir_fd=dir_fd) as source,
    ):
        exact = check(wanted.seen, source)
        place = Place(progress, wanted, exact, source, dir_fd, root_fd, root_fd)
        if listed := place.listed_anew():
            return answer(listed, is_listed=True)
        entry = _uploaded(place, Sharing.of(Bucket(Store.of(store)), wanted.root))
        with place.listed(entry):
            place.part()
    return answer(entry)


def _uploaded(place: Place, shared: Sharing) -> Entry:
    """The object's line, once what the store gives back is the file; what is there already is compared."""
    name, content = place.wanted.name, place.digest()
    if shared.has(name):
        try:
            return _as_it_is(place, shared.bucket, content)
        except FileExistsError as error:
            raise place.mismatch(error) from error
    temporary = names.temporary(f"upload-{os.getpid()}")
    with durable.directory(place.wanted.root) as root_fd:
        made = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=root_fd)
        try:
            with _roomy():
                codec.compress_fd(place.source, made, Codec(place.wanted.codec, place.wanted.level), place.progress)
            size, stored = os.fstat(made).st_size, copies.digest(place.progress, made)
            is_put = shared.put(name, made, place.progress)
        finally:
            os.close(made)
            durable.discard(temporary, dir_fd=root_fd)
    if not is_put:
        try:
            return _as_it_is(place, shared.bucket, content)
        except FileExistsError as error:
            where = names.printable(name)
            raise NotYet(f"another machine has just stored {where}: the next run takes another name") from error
    if sha256(heard(shared.bucket.chunks(name), place.progress)) != (size, stored):
        shared.bucket.try_to_remove(name)
        raise MaintdError(
            f"the object store gave back something else than was stored as {names.printable(name)}",
            hint="look at the store; the file is where it was, and is tried again",
        )
    return place.entry(content, size, stored)


@contextmanager
def _roomy() -> Iterator[None]:
    """Where there is no room to make a file ready, it is not the store that is full: that is said."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = "no room in state_dir, where it is made ready for the store"
        raise OSError(error.errno, text, error.filename) from error


def _as_it_is(place: Place, bucket: Bucket, content: str) -> Entry:
    """The line of an object that is there: an interrupted run's. FileExistsError if it is not of this content."""
    name = place.wanted.name
    size, stored = sha256(heard(bucket.chunks(name), place.progress))
    if _content_of(bucket, place) != content:
        raise FileExistsError(17, "an object of that name with other content is there already", name)
    return place.entry(content, size, stored)


def _content_of(bucket: Bucket, place: Place) -> str:
    chunks: Iterator[bytes] = heard(bucket.chunks(place.wanted.name), place.progress)
    if place.wanted.codec != "none":
        chunks = formats.all_contents(place.wanted.codec, chunks)
    try:
        return sha256(chunks)[1]
    except OSError:  # damaged, or cut off: what a store left of an upload
        return ""
