"""What an archive job has put away of a log: generations that lie in an archive, perhaps several in one bundle."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from maintd import codec, inventory
from maintd.errors import MaintdError
from maintd.inventory import Entry

_CODECS = {".zst": "zstd", ".gz": "gzip"}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a generation lies in an object: its bytes begin at `offset`, as `codec`, and are `size` of what it was.

    It was called `name`, which says how it was compressed itself.
    """

    name: str
    codec: str
    offset: int
    size: int

    @property
    def own_codec(self) -> str:
        return _CODECS.get(os.path.splitext(self.name)[1], "")

    @property
    def is_packed(self) -> bool:
        return self.codec != "none" or bool(self.own_codec)

    def contents(self, descriptor: int) -> Iterator[bytes]:
        """What the generation holds. Raises OSError EIO where it is damaged."""
        whole = self._bytes(descriptor)
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


@dataclass(frozen=True, slots=True)
class Find:
    """A generation in an archive: the object's path, the line of the manifest, and where in the object it lies."""

    path: str
    entry: Entry

    @property
    def stored(self) -> Stored:
        entry = self.entry
        return Stored(os.path.basename(entry.original), entry.codec, entry.offset, entry.size)


def finds(root: str, folders: tuple[str, ...], log: str) -> Iterator[Find]:
    """What lies in the archive `root`, a directory, of what began with the name `log` in these folders."""
    for entry in _entries(root):
        folder, name = os.path.split(entry.original)
        if folder in folders and name.startswith(f"{log}."):
            yield Find(os.path.join(root, entry.name), entry)


def _entries(root: str) -> tuple[Entry, ...]:
    try:
        info = os.stat(os.path.join(root, inventory.NAME))
    except OSError:
        return ()
    return _read(root, info.st_ino, info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=16)
def _read(root: str, *_state: int) -> tuple[Entry, ...]:
    """The manifest is read again only when it has changed: who follows a log looks several times a second."""
    with suppress(OSError, MaintdError):
        return tuple(inventory.read(root).entries.values())
    return ()
