"""Reads archives: which files are in one, what each holds, whether it is whole, and how it is brought back."""

import contextlib
import errno
import hashlib
import os
import stat as st
from collections.abc import Callable, Collection, Iterator
from dataclasses import field
from itertools import count
from typing import Protocol

from maintd import durable, formats, grounds, inventory, names
from maintd.durable import Ownership
from maintd.errors import MaintdError, trouble
from maintd.inventory import Entry, Manifest
from maintd.objects import Bucket
from maintd.stores import Store
from maintd.values import dataclass

_CHUNK = 256 << 10
_NOBODY = 65534


class Archive(Protocol):
    """Where objects lie. `where` is what people call it."""

    where: str

    def manifest(self) -> Manifest:
        """What is listed in it."""

    def sizes(self) -> dict[str, int]:
        """The objects that are there, by name, with their bytes; the manifest apart."""

    def owner(self, name: str) -> tuple[int, int]:
        """Whose an object is: user and group."""

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """An object's bytes from there on. OSError or MaintdError if it cannot be read."""


class Directory:
    """An archive that is a local directory."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._root = os.path.realpath(where)

    def manifest(self) -> Manifest:
        return inventory.read(self._root)

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), durable.directory(self._root) as root_fd:
            for folder, _, files, dir_fd in os.fwalk(".", dir_fd=root_fd):
                for file in files:
                    name = os.path.normpath(os.path.join(folder, file))
                    info = os.lstat(file, dir_fd=dir_fd)
                    if st.S_ISREG(info.st_mode) and name != inventory.NAME:
                        found[name] = info.st_size
        return found

    def owner(self, name: str) -> tuple[int, int]:
        info = os.lstat(os.path.join(self._root, name))
        return info.st_uid, info.st_gid

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        path = os.path.join(self._root, name)
        with (
            durable.directory(os.path.dirname(path)) as dir_fd,
            durable.opened(os.path.basename(path), dir_fd=dir_fd) as descriptor,
        ):
            while chunk := os.pread(descriptor, _CHUNK, offset):
                yield chunk
                offset += len(chunk)


class Remote:
    """An archive in an object store. Its manifest there may lag behind a run that was cut off, until the next one.

    The last piece that was fetched is kept: who reads the files of a bundle in their order fetches it once.
    """

    def __init__(self, store: Store) -> None:
        self.where = store.to
        self._bucket = Bucket(store)
        self._last: tuple[str, int, bytes] = "", 0, b""

    def manifest(self) -> Manifest:
        found = Manifest()
        try:
            found.take(b"".join(self._bucket.chunks(inventory.NAME)).splitlines())
            found.is_there = True
        except FileNotFoundError:
            self._bucket.reach()
        return found

    def sizes(self) -> dict[str, int]:
        own = (inventory.NAME, names.MACHINE)
        found = self._bucket.sizes()
        return {name: size for name, size in found.items() if name not in own and not name.startswith(names.PROBE)}

    def owner(self, name: str) -> tuple[int, int]:  # noqa: ARG002 - a store has no owners
        return os.geteuid(), os.getegid()

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        of, start, last = self._last
        if of == name and start <= offset < start + len(last):
            yield last[offset - start :]
            offset = start + len(last)
        for piece in self._bucket.chunks(name, offset):
            self._last = name, offset, piece
            yield piece
            offset += len(piece)


def archive_at(store: Store) -> Archive:
    return Remote(store) if store.is_remote else Directory(store.to)


def content(archive: Archive, entry: Entry) -> Iterator[bytes]:
    """What an archived file holds. OSError EIO where the object is damaged, cut off or goes on too long."""
    chunks = archive.chunks(entry.name, entry.offset)
    whole = chunks if entry.codec == "none" else formats.all_contents(entry.codec, chunks)
    left = entry.size
    for piece in whole:
        yield piece[:left]
        if len(piece) > left and not entry.member:
            raise OSError(errno.EIO, "it holds more than its original", entry.name)
        left -= min(left, len(piece))
        if entry.member and not left:
            return
    if left:
        raise OSError(errno.EIO, "it holds less than its original", entry.name)


@dataclass(frozen=True)
class Listed:
    """The entries of an archive with those that are there, and what does not fit together.

    `keepers` are the jobs that leave originals where they are.
    """

    archive: Archive
    manifest: Manifest
    sizes: dict[str, int]
    keepers: frozenset[str] = frozenset()
    _hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, archive: Archive, keepers: frozenset[str] = frozenset()) -> "Listed":
        return cls(archive, archive.manifest(), archive.sizes(), keepers)

    def entries(self) -> list[Entry]:
        """In the order in which they were archived, without what was listed and then not moved."""
        return [
            entry
            for entry in self.manifest.entries.values()
            if self.is_there(entry) or entry.job in self.keepers or not entry.is_unmoved()
        ]

    def is_there(self, entry: Entry) -> bool:
        return entry.name in self.sizes

    @property
    def exists(self) -> bool:
        """Whether there is an archive at all: a manifest, or anything else."""
        return self.manifest.is_there or bool(self.sizes)

    def stored_sha256(self, name: str) -> str:
        """Of an object as it is now; a bundle, in which are many files, is read once."""
        if name not in self._hashes:
            self._hashes[name] = _sha256(self.archive.chunks(name))
        return self._hashes[name]

    def strays(self) -> list[str]:
        """Objects that the manifest does not list."""
        return sorted(self.sizes.keys() - {entry.name for entry in self.manifest.entries.values()})


def object_fault(listed: Listed, entry: Entry) -> str:
    """What is wrong with the object that a file lies in, alone or with others, or nothing: all of it is read."""
    if not listed.is_there(entry):
        return "it is missing"
    if listed.sizes[entry.name] != entry.stored_bytes:
        return f"it has {listed.sizes[entry.name]} bytes instead of {entry.stored_bytes}"
    try:
        is_stored = listed.stored_sha256(entry.name) == entry.stored_sha256
    except (OSError, MaintdError) as error:
        return f"it cannot be read: {trouble(error).error_msg}"
    return "" if is_stored else "it is not what was stored: its SHA-256 is another"


def content_fault(listed: Listed, entry: Entry) -> str:
    """What is wrong with what an object that is there holds of a file, or nothing."""
    try:
        is_original = _sha256(content(listed.archive, entry)) == entry.sha256
    except (OSError, MaintdError) as error:
        return f"it cannot be read: {trouble(error).error_msg}"
    return "" if is_original else "what it holds is not the original: its SHA-256 is another"


def remedy(listed: Listed, entry: Entry) -> str:
    """What can be done about an archived file that has a fault; it is said of this machine, where its original was."""
    original = names.printable(entry.original)
    if not entry.is_unmoved():
        return f"{original} is not here any more either: only a backup, or another copy, has it"
    is_whole = listed.sizes.get(entry.name) == entry.stored_bytes
    what = "bring back what is whole in it, remove the bundle" if entry.member else "remove the object"
    first = f"{what}, and then " if is_whole else ""
    return f"{original} is still here: {first}{entry.job} stores it anew by itself"


def _sha256(chunks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def below(entry: Entry) -> str:
    """The path of a file that is brought back, below where it goes: that in the archive, without the codec's suffix.

    The number that an object has because its name was taken is left out, before which a long name was cut off; and what
    a store's key has in escapes is as it was.
    """
    path = entry.member or entry.name.removesuffix(names.CODEC_SUFFIXES[entry.codec])
    begin, _, number = path.rpartition("-")
    is_numbered = number.isdecimal() and not entry.member
    original = "/".join(entry.original.split("/")[-1 - path.count("/") :])
    called = (original, names.printable(original))
    return original if path in called or (is_numbered and any(name.startswith(begin) for name in called)) else path


def bring_back(
    listed: Listed,
    entry: Entry,
    to: str,
    progress: Callable[[int], None] | None = None,
    brought: Collection[str] = (),
) -> str:
    """Makes an archived file again, below the directory `to`, and returns its path.

    Where its path is one of `brought` it gets a number. Mode, owner and mtime are as they were, if this user may give
    them; the owner is believed of root's manifest alone. Its hash is compared before it gets its name. MaintdError if
    the archive has lost it, FileExistsError if there is a file of that name, OSError EIO if what the archive holds is
    not the original.
    """
    if not listed.is_there(entry):
        raise MaintdError(f"it is missing in the archive, where it was {entry.name}")
    path = os.path.join(grounds.resolve(to), os.path.normpath(f"/{below(entry)}").lstrip("/"))
    if path in brought:
        path = next(each for number in count(1) if (each := names.numbered(path, number)) not in brought)
    directory, name = os.path.split(path)
    durable.make_directories(directory)
    temporary = names.temporary(name)
    with durable.directory(directory) as dir_fd:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "a file of that name is there", path)
        durable.discard(temporary, dir_fd=dir_fd)
        made = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
        try:
            digest = hashlib.sha256()
            for piece in content(listed.archive, entry):
                durable.write_all(made, piece)
                digest.update(piece)
                if progress:
                    progress(len(piece))
            if digest.hexdigest() != entry.sha256:
                raise OSError(
                    errno.EIO, "what the archive holds is not the original: its SHA-256 is another", entry.name
                )
            durable.dress(made, _ownership(listed, entry))
            durable.set_mtime(made, entry.mtime_ns)
            os.fsync(made)
            durable.publish(temporary, name, made, dir_fd=dir_fd)
        except BaseException:
            durable.discard(temporary, dir_fd=dir_fd)
            raise
        finally:
            os.close(made)
    return path


def _ownership(listed: Listed, entry: Entry) -> Ownership:
    """Owner and mode of a file that is brought back; never a set-id bit, and another's owner only by root.

    What a manifest says of them is believed of root's alone, if others cannot write it. Otherwise the owner is that of
    the object, or of the manifest, and the group one that the owner has; what of that is not known is nobody's.
    """
    mode, user, found = entry.mode & 0o1777, os.geteuid(), listed.manifest
    if user != 0:
        return Ownership(mode, user, os.getegid())
    if found.uid == 0 and not found.is_open:
        return Ownership(mode, entry.uid, entry.gid)
    if found.is_open and entry.member:
        return Ownership(mode & 0o1700, _NOBODY, _NOBODY)
    owner, group = listed.archive.owner(entry.name)
    if found.is_open and owner != entry.uid:
        return Ownership(mode & 0o1700, owner, _NOBODY)
    uid = entry.uid if found.is_open else found.uid
    return Ownership(mode, uid, entry.gid if grounds.is_member(uid, entry.gid) else group)
