"""What an archive job has put away of a log: generations that lie in an archive, perhaps several in one bundle."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from maintd import codec, inventory, retrieval
from maintd.cli.places import Place
from maintd.errors import MaintdError, trouble
from maintd.inventory import Entry, Manifest
from maintd.names import printable
from maintd.stores import Store
from maintd.values import dataclass

_CODECS = {".zst": "zstd", ".gz": "gzip"}


@dataclass(frozen=True)
class Stored:
    """Where a generation lies in an object: its bytes begin at `offset`, as `codec`, and are `size` of what it was.

    It was called `name`, which says how it was compressed itself. With a `store` the object lies there, and is read
    from there as it is shown.
    """

    name: str
    codec: str
    offset: int
    size: int
    entry: Entry
    store: Store | None = None

    @property
    def own_codec(self) -> str:
        return _CODECS.get(os.path.splitext(self.name)[1], "")

    @property
    def is_packed(self) -> bool:
        """Whether there is more to do than to read a file."""
        return self.store is not None or self.codec != "none" or bool(self.own_codec)

    def contents(self, descriptor: int) -> Iterator[bytes]:
        """What the generation holds. Raises OSError: EIO where it is damaged, or the store does not give it."""
        whole = self._fetched(self.store) if self.store else self._bytes(descriptor)
        return codec.contents_of(whole, self.own_codec) if self.own_codec else whole

    def _bytes(self, descriptor: int) -> Iterator[bytes]:
        left = self.size
        for piece in codec.contents_fd(descriptor, self.codec, self.offset) if left else ():
            yield piece[:left]
            left -= min(left, len(piece))
            if not left:
                return
        if left:
            raise OSError(5, "it holds less than its original")

    def _fetched(self, store: Store) -> Iterator[bytes]:
        try:
            yield from retrieval.content(retrieval.archive_at(store), self.entry)
        except MaintdError as error:
            raise OSError(errno.EIO, f"{error} ({error.hint})" if error.hint else str(error)) from error


@dataclass(frozen=True)
class Find:
    """A generation in an archive: where the object is, for people too, the line of the manifest, and how it is read."""

    path: str
    entry: Entry
    store: Store | None = None

    @property
    def stored(self) -> Stored:
        entry = self.entry
        return Stored(os.path.basename(entry.original), entry.codec, entry.offset, entry.size, entry, self.store)


def originals(place: Place) -> list[str]:
    """The paths of all that lies in an archive; none if that is not known."""
    with suppress(OSError, MaintdError):
        return [entry.original for entry in _manifest(place.root).entries.values()]
    return []


def finds(place: Place, folders: tuple[str, ...], log: str) -> Iterator[Find]:
    """What lies in an archive of what began with the name `log` in these folders; nothing if that is not known."""
    with suppress(OSError, MaintdError):
        for entry in _manifest(place.root).entries.values():
            folder, name = os.path.split(entry.original)
            if folder in folders and name.startswith(f"{log}."):
                yield Find(os.path.join(_where(place), entry.name), entry, place.store)


def problem(place: Place, folders: tuple[str, ...], log: str) -> str:
    """Why it is not known what lies in an archive that may hold something of this log, or nothing."""
    if not any(place.may_hold(folder, log) for folder in folders):
        return ""
    where = printable(_where(place))
    try:
        is_there = _manifest(place.root).is_there
    except (OSError, MaintdError) as error:
        return f"the manifest of {where} cannot be read: {trouble(error).error_msg}"
    if is_there or place.store or place.is_noted is False:
        return ""
    if place.is_noted is None:
        return f"{where} is not there, and only maintd's own user may know whether it ever was: is its disk mounted?"
    return f"{where} is not there any more: is its disk mounted?"


def _where(place: Place) -> str:
    return place.store.to.rstrip("/") if place.store else place.root


def _manifest(root: str) -> Manifest:
    try:
        info = os.stat(os.path.join(root, inventory.NAME))
    except FileNotFoundError:
        return Manifest()
    return _read(root, info.st_ino, info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=16)
def _read(root: str, *_state: int) -> Manifest:
    """The manifest is read again only when it has changed: who follows a log looks several times a second."""
    return inventory.read(root)
